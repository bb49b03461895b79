//! Webhooks, destinations and workspaces that are refused.

use super::{API, refused};

#[test]
fn webhooks() {
    #[rustfmt::skip]
    let cases = [
        ("{}", "4:10: error: `webhook` needs `url` (help: where to send it, such as https://api.example/v1/messages)"),
        ("https://h.example/", "4:10: error: `webhook` must be a map, not text"),
        ("{url: http://h.example/}",
         "4:16: error: `url` must begin with https:// (help: http is allowed only with `delivery.allow_http: true`)"),
        ("{url: h.example/x}", "4:16: error: `url` must begin with https:// (help: did you mean `https://h.example/x`?)"),
        ("{url: 'https://{{ user.host }}/x'}",
         "4:16: error: the host must be fixed text, not a template (help: templates may stand after the host, in path, `params`, headers and body)"),
        ("{url: 'https://u:p@h.example/'}", "4:16: error: user name and password do not belong into a url (help: send them in a header)"),
        ("{url: {{ event.url }}}",
         r#"4:16: error: a template without quotes: YAML reads `{{ ... }}` as a map (help: put the whole value in quotes: "{{ ... }}")"#),
        ("{url: 'https://h.example/#a'}", "4:16: error: `url` has a fragment, which is never sent (help: remove `#` and what follows)"),
        ("{url: 'https://h.example/', method: post}", "4:46: error: `method` cannot be `post` (help: did you mean `POST`?)"),
        ("{url: 'https://h.example/', method: HEAD}",
         "4:46: error: `method` cannot be `HEAD` (help: one of: GET, POST, PUT, PATCH, DELETE)"),
        ("{url: 'https://h.example/', method: GET, body: {a: 1}}",
         "4:57: error: a GET has no body (help: use `params`, or another method)"),
        ("{url: 'https://h.example/', body: 5}", "4:44: error: `body` must be a map or text, not a number"),
        ("{url: 'https://h.example/', body: [1]}", "4:44: error: `body` must be a map or text, not a list"),
        ("{url: 'https://h.example/', content_type: text, body: {profiles: {}}}", "4:64: error: `content_type: text` needs a text body, not a map (help: write it in quotes, or use `content_type: json`)"),
        ("{url: 'https://h.example/', body: {profiles: {field: [Email]}}}", "4:56: error: unknown key `field` in `profiles` (help: did you mean `fields`?)"),
        ("{url: 'https://h.example/', body: {profiles: {fields: [email]}}}", "4:65: error: `fields` cannot name `email` (help: did you mean `Email`?)"),
        ("{url: 'https://h.example/', body: {profiles: {fields: Email, key_values: 5, profile_data: [1]}}}", "4:64: error: `fields` must be a list, not text (help: write it in brackets: [\"Email\"])\n\
          4:83: error: `key_values` must be a map, not a number\n\
          4:101: error: an item of `profile_data` must be text, not a number (help: put it in quotes: \"1\")"),
        ("{url: 'https://h.example/', body: {version: 1.10, subscribed: yes, list: [NO], n: 1.5, quoted: 'no'}}", "4:54: warning: `1.10` without quotes is the number 1.1 (help: write \"1.10\" in quotes if it is text such as a version, else 1.1)\n\
          4:72: warning: `yes` without quotes is text here, and true to other YAML readers (help: write true, or \"yes\" in quotes)\n\
          4:84: warning: `NO` without quotes is text here, and false to other YAML readers (help: write false, or \"NO\" in quotes)"),
        ("{url: 'https://h.example/', params: {version: 1.10}}", r#"4:56: warning: `1.10` without quotes is the number 1.1 (help: write "1.10" in quotes if it is text such as a version, else 1.1)"#),
        ("{url: 'https://h.example/', body: {to: {{ user.phone }}}}",
         r#"4:49: error: a template without quotes: YAML reads `{{ ... }}` as a map (help: put the whole value in quotes: "{{ ... }}")"#),
        ("{url: 'https://h.example/', body: {to: +821012345678}}",
         r#"4:49: error: `+821012345678` without quotes is a number and would lose its sign or leading zeros (help: if it is text, put it in quotes: "+821012345678")"#),
        ("{url: 'https://h.example/', content_type: xml}", "4:52: error: `content_type` cannot be `xml` (help: one of: json, text)"),
        ("{url: 'https://h.example/', content_type: text}",
         "4:10: error: `content_type: text` needs a body (help: without one the body is JSON: write `body`, or `content_type: json`)"),
        ("{url: 'https://h.example/', content_type: text, body: {a: 1}}",
         "4:64: error: `content_type: text` needs a text body, not a map (help: write it in quotes, or use `content_type: json`)"),
        ("{url: 'https://h.example/', headers: {Content-Type: text/plain}}",
         "4:48: error: the header `Content-Type` cannot be set: it follows from `content_type` (help: remove it)"),
        ("{url: 'https://h.example/', headers: {Webhook-Id: x}}",
         "4:48: error: the header `Webhook-Id` cannot be set: names that begin with `webhook-` are the sender's own (help: choose another name)"),
        ("{url: 'https://h.example/', headers: {Connection: close, Host: x, User-Agent: y}}",
         "4:48: error: the header `Connection` cannot be set: it belongs to the connection (help: remove it)\n\
          4:67: error: the header `Host` cannot be set: it follows from the url (help: remove it)\n\
          4:76: error: the header `User-Agent` cannot be set: it is always campanile's own (help: remove it)"),
        ("{url: 'https://h.example/', headers: {'X Y': a}}",
         "4:48: error: `X Y` cannot be the name of a header (help: letters, digits and hyphens; only the value may be a template)"),
        ("{url: 'https://h.example/', headers: {'{{ a }}': a}}",
         "4:48: error: `{{ a }}` cannot be the name of a header (help: letters, digits and hyphens; only the value may be a template)"),
        ("{url: 'https://h.example/', headers: {X-A: 1}}",
         r#"4:53: error: the header `X-A` must be text, not a number (help: put it in quotes: "1")"#),
        ("{url: 'https://h.example/', headers: {X-A: a, x-a: b}}", "4:56: error: the header `x-a` comes twice: case makes no difference"),
        (r#"{url: 'https://h.example/', headers: {X-A: "a\tb\x0ac"}}"#,
         "4:53: error: the header `X-A` has a line break or another control character (help: a value over several lines: write it on one)"),
        ("{url: 'https://h.example/', headers: [X-A]}", "4:47: error: `headers` must be a map, not a list"),
        ("{url: 'https://h.example/', params: {a: [1]}}", "4:50: error: the parameter `a` must be one value, not a list"),
        ("{url: 'https://h.example/', params: {'': 1}}", "4:47: error: a parameter's name must not be empty"),
        ("{url: 'https://h.example/', params: a=1}", "4:46: error: `params` must be a map, not text"),
        ("{url: 'https://h.example/', link: {weather: {}}}", "4:54: error: the link `weather` needs `url` (help: what to fetch, such as https://weather.example/{{ user.city }})"),
        ("{url: 'https://h.example/', link: {weather: 'https://w.example/'}}", r#"4:54: error: the link `weather` must be a map, not text (help: write {url: "https://w.example/"})"#),
        ("{url: 'https://h.example/', link: [a]}", "4:44: error: `link` must be a map, not a list"),
        ("{url: 'https://h.example/', link: {my-weather: {url: 'https://w.example/'}}}", "4:45: error: `my-weather` cannot be the name of a link (help: letters, digits and `_`, the first no digit: templates say `link.<name>`)"),
        ("{url: 'https://h.example/', link: {w: {url: 'http://w.example/', ttl: 2d, timeout: 11s, on_error: skip, method: GET}}}", "4:54: error: `url` must begin with https:// (help: http is allowed only with `delivery.allow_http: true`)\n\
          4:80: error: `ttl` must be from 0s to 1d, not 2d\n\
          4:93: error: `timeout` must be from 100ms to 10s, not 11s\n\
          4:108: error: `on_error` cannot be `skip` (help: one of: drop, empty)\n\
          4:114: error: unknown key `method` in the link `w` (help: known keys: url, ttl, timeout, on_error)"),
        ("{url: 'https://h.example/', link: {w: {url: 'https://{{ user.host }}/'}}}", "4:54: error: the host must be fixed text, not a template (help: templates may stand after the host, in path, `params`, headers and body)"),
        ("{url: 'https://h.example/', link: {a: {url: 'https://w.example/'}, b: {url: 'https://w.example/'}, c: {url: 'https://w.example/'}, d: {url: 'https://w.example/'}, e: {url: 'https://w.example/'}}}", "4:173: error: `link` has at most 4 entries, not 5"),
        ("{url: 'https://h.example/', uri: x}", "4:38: error: unknown key `uri` in `webhook` (help: did you mean `url`?)"),
        ("{url: 'https://h.example/', timeout: 3s}",
         "4:38: error: unknown key `timeout` in `webhook` (help: known keys: url, method, params, headers, content_type, body, link, destination)"),
        ("{url: 'https://h.example/', destination: 5}",
         r#"4:51: error: `destination` must be text, not a number (help: put it in quotes: "5")"#),
        ("{url: 'https://h.example/', headers: {X-A: a, X-A: b}}",
         "4:56: error: the key `X-A` comes twice (help: the first is on line 4)"),
    ];
    for (written, expect) in cases {
        refused(&format!("kind: campaign\nkey: k\n{API}\nwebhook: {written}"), expect);
    }
}

#[test]
fn destinations_and_workspaces() {
    #[rustfmt::skip]
    let cases = [
        ("kind: destination", "1:1: error: a destination needs `key` (help: a name of its own: lower-case letters, digits and hyphens)\n\
          1:1: error: a destination needs `match` (help: the host[:port] of the urls it is for)"),
        ("kind: destination\nkey: d\nmatch: https://h.example/x", "3:8: error: `match` is a host, not a url (help: write h.example)"),
        ("kind: destination\nkey: d\nmatch: 'h.{{ x }}.example'",
         "3:8: error: `match` is one host, without templates or wildcards (help: write a destination for each host)"),
        ("kind: destination\nkey: d\nmatch: h.example\ntimeout: 500ms", "4:10: error: `timeout` must be from 1s to 90s, not 500ms"),
        ("kind: destination\nkey: d\nmatch: h.example\ntimeout: 2m", "4:10: error: `timeout` must be from 1s to 90s, not 2m"),
        ("kind: destination\nkey: d\nmatch: h.example\nmax_retries: 11", "4:14: error: `max_retries` must be from 0 to 10, not 11"),
        ("kind: destination\nkey: d\nmatch: h.example\nmax_in_flight: 0", "4:16: error: `max_in_flight` must be from 1 to 10000, not 0"),
        ("kind: destination\nkey: d\nmatch: h.example\nrate: 100", "4:7: error: `rate` must be a map, not a number"),
        ("kind: destination\nkey: d\nmatch: h.example\nrate: {}", "4:7: error: `rate` needs `per_second` (help: how many requests a second, such as {per_second: 100})"),
        ("kind: destination\nkey: d\nmatch: h.example\nrate: {per_second: 0, burst: 0}", "4:20: error: `per_second` must be 0.00001 to 100000, not 0\n\
          4:30: error: `burst` must be from 1 to 4294967295, not 0"),
        ("kind: destination\nkey: d\nmatch: h.example\nrate: {per_second: '10'}", "4:20: error: `per_second` must be a number, not text (help: remove the quotes: 10)"),
        ("kind: destination\nkey: d\nmatch: h.example\nrate: {per_minute: 10}", "4:7: error: `rate` needs `per_second` (help: how many requests a second, such as {per_second: 100})\n\
          4:8: error: unknown key `per_minute` in `rate` (help: known keys: per_second, burst)"),
        ("kind: destination\nkey: d\nmatch: h.example\nauth: {basic: {username: u}}", "4:15: error: `basic` needs `password` (help: the password: {secret: name})"),
        ("kind: destination\nkey: d\nmatch: h.example\nauth: {basic: {username: 'a:b', password: {secret: p}}}", "4:15: error: a user name for `basic` has no colon"),
        ("kind: destination\nkey: d\nmatch: h.example\nauth: {basic: {username: u, password: p}}", "4:39: error: `password` must be the name of a secret: definitions are stored, and many may read them (help: write {secret: name}, and its value into a file of that name in `secrets.dir`, or CAMPANILE_SECRET_<NAME>)"),
        ("kind: destination\nkey: d\nmatch: h.example\nauth: {}", "4:7: error: `auth` needs either `basic` or `bearer` (help: {basic: {username: u, password: {secret: name}}} or {bearer: {secret: name}})"),
        ("kind: destination\nkey: d\nmatch: h.example\nauth: {bearer: {secret: t}, basic: {username: u, password: {secret: p}}}", "4:29: error: `auth` needs either `basic` or `bearer` (help: {basic: {username: u, password: {secret: name}}} or {bearer: {secret: name}})"),
        ("kind: destination\nkey: d\nmatch: h.example\nauth: {bearer: {secret: t}}\nheaders: {authorization: x}", "4:7: error: `auth` and the header `Authorization` exclude each other (help: keep the one that is meant)"),
        ("kind: destination\nkey: d\nmatch: h.example\nauth: {bearer: '{{ secret.t }}'}", "4:16: error: `bearer` is no template (help: name the secret: {secret: name})"),
        ("kind: destination\nkey: d\nmatch: h.example\nauth: {bearer: {secret: 'a b'}}", "4:16: error: `a b` cannot be the name of a secret (help: letters, digits, `-`, `_` and `.`)"),
        ("kind: destination\nkey: d\nmatch: h.example\nauth: {bearer: {secrt: t}}", "4:16: error: `bearer` needs `secret` (help: the name of a secret: {secret: name})\n\
          4:17: error: unknown key `secrt` in `bearer` (help: did you mean `secret`?)"),
        ("kind: destination\nkey: d\nmatch: h.example\nsign: []", "4:7: error: `sign` has 1 to 3 secrets, not 0"),
        ("kind: destination\nkey: d\nmatch: h.example\nauth: {bearer: shown-to-all}", "4:16: error: `bearer` must be the name of a secret: definitions are stored, and many may read them (help: write {secret: name}, and its value into a file of that name in `secrets.dir`, or CAMPANILE_SECRET_<NAME>)"),
        ("kind: destination\nkey: d\nmatch: h.example\nauth: {bearer: 17}", "4:16: error: `bearer` must be the name of a secret: definitions are stored, and many may read them (help: write {secret: name}, and its value into a file of that name in `secrets.dir`, or CAMPANILE_SECRET_<NAME>)"),
        ("kind: destination\nkey: d\nmatch: h.example\nsign: whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "4:7: error: `sign` must be the name of a secret: definitions are stored, and many may read them (help: write {secret: name}, and its value into a file of that name in `secrets.dir`, or CAMPANILE_SECRET_<NAME>)"),
        ("kind: destination\nkey: d\nmatch: h.example\nsign: [{secret: a}, plain]", "4:21: error: an item of `sign` must be the name of a secret: definitions are stored, and many may read them (help: write {secret: name}, and its value into a file of that name in `secrets.dir`, or CAMPANILE_SECRET_<NAME>)"),
        ("kind: destination\nkey: d\nmatch: h.example\nsign: [{secret: a}, {secret: b}, {secret: c}, {secret: d}]", "4:7: error: `sign` has 1 to 3 secrets, not 4"),
        ("kind: destination\nkey: d\nmatch: h.example\nca: /etc/ca.pem", "4:5: error: `ca` is no PEM certificate (help: the text of the file with its `-----BEGIN CERTIFICATE-----`, or {secret: name}; a path is not read)"),
        ("kind: destination\nkey: d\nmatch: h.example\nslow_retries: [2m]", "4:16: error: an item of `slow_retries` cannot be `2m` (help: did you mean `1m`?)"),
        ("kind: destination\nkey: d\nmatch: h.example\nslow_retries: 5m", r#"4:15: error: `slow_retries` must be a list, not text (help: write it in brackets: ["5m"])"#),
        ("kind: destination\nkey: d\nmatch: h.example\nbatch: {max: 1}", "4:14: error: `max` must be from 2 to 1000, not 1"),
        ("kind: destination\nkey: d\nmatch: h.example\nbatch: {linger: 2m}", "4:8: error: `batch` needs `max` (help: how many users in one request at most: {max: 100})\n\
          4:17: error: `linger` must be from 1ms to 1m, not 2m"),
        ("kind: destination\nkey: d\nmatch: h.example\nbatch: 100", "4:8: error: `batch` must be a map, not a number"),
        ("kind: destination\nkey: d\nmatch: h.example\nheaders: {Host: x}",
         "4:11: error: the header `Host` cannot be set: it follows from the url (help: remove it)"),
        ("kind: destination\nkey: d\nmacth: h.example",
         "1:1: error: a destination needs `match` (help: the host[:port] of the urls it is for)\n\
          3:1: error: unknown key `macth` in a destination (help: did you mean `match`?)"),
        ("kind: workspace\nkey: w",
         "2:1: error: unknown key `key` in a workspace (help: known keys: kind, timezone, frequency_caps, quiet_hours, track)"),
        ("kind: workspace\ntimezone: Asia/Seul", "2:11: error: there is no time zone `Asia/Seul` (help: did you mean `Asia/Seoul`?)"),
        ("kind: workspace\ntimezone: KST+9", "2:11: error: there is no time zone `KST+9` (help: an IANA name such as Asia/Seoul or UTC)"),
        ("kind: workspace\nquiet_hours: {from: \"21:00\"}", r#"2:14: error: `quiet_hours` needs `to` (help: when they end, such as "08:00")"#),
        ("kind: workspace\nquiet_hours: {from: 21:00, to: 21:00}", "2:32: error: `to` is the same as `from` (help: quiet hours have a beginning and another end; to have none leave them out)"),
        ("kind: workspace\nquiet_hours: {from: 9:00, to: 24:00}", "2:21: error: `from` must be a time of day such as \"09:00\", not `9:00` (help: did you mean \"09:00\"?)\n\
          2:31: error: `to` must be a time of day such as \"09:00\", not `24:00` (help: hours and minutes of a 24-hour clock, \"00:00\" to \"23:59\")"),
        ("kind: workspace\nquiet_hours: {from: 1260, to: 9 pm}", "2:21: error: `from` must be a time of day such as \"09:00\", not a number (help: did you mean \"21:00\"? in quotes: YAML 1.1 reads a time as a number)\n\
          2:31: error: `to` must be a time of day such as \"09:00\", not `9 pm` (help: hours and minutes of a 24-hour clock, \"00:00\" to \"23:59\")"),
        ("kind: workspace\nquiet_hours: {from: 21:00, to: 08:00, on_hit: wait}", "2:47: error: `on_hit` cannot be `wait` (help: one of: drop, defer)"),
        ("kind: workspace\nquiet_hours: 21:00-08:00", "2:14: error: `quiet_hours` must be a map, not text"),
        ("kind: workspace\nfrequency_caps: {limit: 3, per: 1d}", "2:17: error: `frequency_caps` must be a list, not a map"),
        ("kind: workspace\nfrequency_caps: [{limit: 0, per: 1d}]", "2:26: error: `limit` must be from 1 to 1000, not 0"),
        ("kind: workspace\nfrequency_caps: [{limit: 3, per: 31d}]", "2:34: error: `per` must be from 1ms to 30d, not 31d"),
        ("kind: workspace\nfrequency_caps: [{limit: 3, calendar: year}]", "2:39: error: `calendar` cannot be `year` (help: one of: day, week, month)"),
        ("kind: workspace\nfrequency_caps: [{limit: 3, calendar: day, per: 1d}]", "2:29: error: `per` excludes `calendar` (help: keep the one that is meant, or write two caps)"),
        ("kind: workspace\nfrequency_caps: [{limit: 3}]", "2:18: error: a frequency cap needs `per` (help: the window, such as 1d)"),
        ("kind: workspace\nfrequency_caps: [{per: 1d}]", "2:18: error: a frequency cap needs `limit` (help: how many sends at most)"),
        ("kind: workspace\nfrequency_caps: [{limit: 3, per: 1}, {limit: 3, per: 1d, chanel: sms}]",
         "2:34: error: `per` must be a duration with its unit, not a number (help: write 1s, 1m, 1h or 1d)\n\
          2:58: error: unknown key `chanel` in a frequency cap (help: did you mean `channel`?)"),
        ("kind: workspace\nfrequency_caps: [{limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 2d}]",
         "2:228: error: there are at most 10 frequency caps, not 11"),
        ("kind: workspace\ntrack: [$mine]", "2:9: error: no event can be named `$mine` (help: only campaigns' own events begin with `$`: $sent, $delivered, $failed)"),
        ("kind: workspace\ntrack: login", r#"2:8: error: `track` must be a list, not text (help: write it in brackets: ["login"])"#),
    ];
    for (written, expect) in cases {
        refused(written, expect);
    }
}

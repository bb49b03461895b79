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
        ("{url: 'https://h.example/', body: {profiles: {}}}",
         "4:45: error: `profiles` is not supported by this version yet (help: remove it, or wait for a later version)"),
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
        ("{url: 'https://h.example/', link: {weather: {}}}",
         "4:38: error: `link` is not supported by this version yet (help: remove it, or wait for a later version)"),
        ("{url: 'https://h.example/', uri: x}", "4:38: error: unknown key `uri` in `webhook` (help: did you mean `url`?)"),
        ("{url: 'https://h.example/', timeout: 3s}",
         "4:38: error: unknown key `timeout` in `webhook` (help: known keys: url, method, params, headers, content_type, body, destination)"),
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
        ("kind: destination\nkey: d\nmatch: h.example\nrate: {per_second: 10}\nauth: {bearer: x}\nsign: x\nbatch: {max: 2}\nca: x\nslow_retries: [1m]",
         "4:1: error: `rate` is not supported by this version yet (help: remove it, or wait for a later version)\n\
          5:1: error: `auth` is not supported by this version yet (help: remove it, or wait for a later version)\n\
          6:1: error: `sign` is not supported by this version yet (help: remove it, or wait for a later version)\n\
          7:1: error: `batch` is not supported by this version yet (help: remove it, or wait for a later version)\n\
          8:1: error: `ca` is not supported by this version yet (help: remove it, or wait for a later version)\n\
          9:1: error: `slow_retries` is not supported by this version yet (help: remove it, or wait for a later version)"),
        ("kind: destination\nkey: d\nmatch: h.example\nheaders: {Host: x}",
         "4:11: error: the header `Host` cannot be set: it follows from the url (help: remove it)"),
        ("kind: destination\nkey: d\nmacth: h.example",
         "1:1: error: a destination needs `match` (help: the host[:port] of the urls it is for)\n\
          3:1: error: unknown key `macth` in a destination (help: did you mean `match`?)"),
        ("kind: workspace\nkey: w",
         "2:1: error: unknown key `key` in a workspace (help: known keys: kind, timezone, frequency_caps, track)"),
        ("kind: workspace\ntimezone: Asia/Seul", "2:11: error: there is no time zone `Asia/Seul` (help: did you mean `Asia/Seoul`?)"),
        ("kind: workspace\ntimezone: KST+9", "2:11: error: there is no time zone `KST+9` (help: an IANA name such as Asia/Seoul or UTC)"),
        ("kind: workspace\nquiet_hours: {from: \"21:00\", to: \"08:00\"}",
         "2:1: error: `quiet_hours` is not supported by this version yet (help: remove it, or wait for a later version)"),
        ("kind: workspace\nfrequency_caps: {limit: 3, per: 1d}", "2:17: error: `frequency_caps` must be a list, not a map"),
        ("kind: workspace\nfrequency_caps: [{limit: 0, per: 1d}]", "2:26: error: `limit` must be from 1 to 1000, not 0"),
        ("kind: workspace\nfrequency_caps: [{limit: 3, per: 31d}]", "2:34: error: `per` must be from 1ms to 30d, not 31d"),
        ("kind: workspace\nfrequency_caps: [{limit: 3, calendar: day}]",
         "2:29: error: `calendar` is not supported by this version yet (help: remove it, or wait for a later version)"),
        ("kind: workspace\nfrequency_caps: [{limit: 3}]", "2:18: error: a frequency cap needs `per` (help: the window, such as 1d)"),
        ("kind: workspace\nfrequency_caps: [{per: 1d}]", "2:18: error: a frequency cap needs `limit` (help: how many sends at most)"),
        ("kind: workspace\nfrequency_caps: [{limit: 3, per: 1}, {limit: 3, per: 1d, chanel: sms}]",
         "2:34: error: `per` must be a duration with its unit, not a number (help: write 1s, 1m, 1h or 1d)\n\
          2:58: error: unknown key `chanel` in a frequency cap (help: did you mean `channel`?)"),
        ("kind: workspace\nfrequency_caps: [{limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 1d}, {limit: 1, per: 2d}]",
         "2:228: error: there are at most 10 frequency caps, not 11"),
        ("kind: workspace\ntrack: [$sent]",
         "2:9: error: `$sent` is not supported by this version yet (help: remove it, or wait for a later version)"),
        ("kind: workspace\ntrack: login", r#"2:8: error: `track` must be a list, not text (help: write it in brackets: ["login"])"#),
    ];
    for (written, expect) in cases {
        refused(written, expect);
    }
}

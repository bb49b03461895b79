//! Texts with many faults: every one of them is told at once, at its place, and nothing that only follows from one.

use super::NOW;
use crate::engine::catalog::{Apply, Catalog, check};
use crate::engine::definition::read;

/// Exactly these problems, as `line:column: message`.
fn told(text: &str, expect: &[&str]) {
    let problems = check(&Catalog::default(), read("t", text, &Apply::default().read), &Apply::default(), NOW);
    let shown = problems.iter().map(|problem| format!("{}:{}: {}", problem.place.line, problem.place.column, problem.message));
    assert_eq!(shown.collect::<Vec<_>>(), expect, "{text}");
}

#[test]
fn one_run_names_every_fault_in_order() {
    let text = r#"kind: campaign
key: cart-abandoned
titel: Cart
status: runing
tags: [cart, cart]
trigger: {inaction: {after: {event: cart_added}, without: {event: purchase}, within: 30}}
audience:
  all:
    - cohort: vpi
    - user: {email: {matches: "(unclosed"}}
    - cohort: kr
webhook:
  url: "https://h.example/{{ user.id | upcas }}"
  destination: kakoa
  headers: {Content-Type: text/plain, X-A: "{{ user.name"}
  body: {to: "{{ user.phone | defaul: 'x' }}", text: "{{ link.weather.t }}"}
---
kind: cohort
key: vip
where: {user: {plan: {gold: true}}}
---
kind: cohort
key: kr
where: {any: [{user: {country: KR}}, {cohort: asia}]}
---
kind: cohort
key: asia
wher: x
where: {cohort: kr}
---
kind: destination
key: kakao
match: other.example/path
max_retries: 99
---
kind: campaing
key: Win Back
trigger: {action: {event: $sent}}
webhook: {url: "http://h.example/{{ user.id | upcas }}", method: PSOT}
"#;
    told(
        text,
        &[
            "3:1: unknown key `titel` in a campaign",
            "4:9: `status` cannot be `runing`",
            "5:14: the tag `cart` comes twice",
            "6:86: `within` must be a duration with its unit, not a number",
            "9:15: there is no cohort `vpi`",
            "10:31: not a regular expression: unclosed group",
            "13:8: `webhook.url` does not compile: there is no filter `upcas`; did you mean `upcase`?",
            "14:16: there is no destination `kakoa`",
            "15:13: the header `Content-Type` cannot be set: it follows from `content_type`",
            "15:44: `webhook.headers.X-A` does not compile: `{{` is not closed: `}}` is missing",
            "16:14: `webhook.body.to` does not compile: there is no filter `defaul`; did you mean `default`?",
            "16:54: `webhook.body.text` does not compile: there is no link `weather`; write it under `webhook.link.weather`",
            "20:23: unknown operator `gold`",
            "24:1: cohorts are defined by one another: kr -> asia -> kr",
            "28:1: unknown key `wher` in a cohort",
            "33:8: `match` is a host without a path",
            "34:14: `max_retries` must be from 0 to 10, not 99",
            "36:7: unknown kind `campaing`",
            "37:6: `Win Back` cannot be a key",
            "38:1: campaign `(no key)` starts itself without delay",
            "39:16: `url` must begin with https://",
            "39:16: `webhook.url` does not compile: there is no filter `upcas`; did you mean `upcase`?",
            "39:66: `method` cannot be `PSOT`",
        ],
    );
}

#[test]
fn an_error_of_syntax_hides_only_its_own_document() {
    told(
        r#"kind: campaign
key: a
audience: {cohort: gone}
trigger: {api: {}}
webhook: {url: "https://h.example/{{ user.id | upcas }}"}
---
kind: cohort
key: vip
where: {user: {plan: gold}
---
kind: campaign
key: b
audience: {cohort: vip}
trigger: {api: {}}
webhook: {url: "https://h.example/", destination: kakao}
---
	kind: destination
key: kakao
---
kind: campaign
key: c
audience: {cohort: vip, user: {a: 1}}
trigger: {api: {}}
webhook: {url: "https://h.example/", body: {a: "{{"}}
"#,
        &[
            "3:20: there is no cohort `gone`",
            "5:16: `webhook.url` does not compile: there is no filter `upcas`; did you mean `upcase`?",
            "10:1: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'",
            "18:1: not valid YAML: did not find expected <document start>",
            "22:25: a rule has one kind",
            "24:48: `webhook.body.a` does not compile: `{{` is not closed: `}}` is missing",
        ],
    );
}

#[test]
fn nothing_is_told_that_only_follows() {
    // What is referred to is there, only faulty: by its key as written, by the one that was meant, by any when none can be read.
    told(
        "[{kind: cohort, key: VIP, users: [a]}, {kind: campaign, key: a, audience: {cohort: vip}, trigger: {api: {}}, webhook: {url: 'https://h.example/'}}]",
        &["1:22: `VIP` cannot be a key"],
    );
    told(
        "[{kind: cohort, users: [a]}, {kind: campaign, key: a, audience: {cohort: vip}, trigger: {api: {}}, webhook: {url: 'https://h.example/'}}]",
        &["1:2: a cohort needs `key`"],
    );
    told(
        "[{key: kakao, match: h.example}, {kind: campaign, key: a, trigger: {api: {}}, webhook: {url: 'https://h.example/', destination: kakao}}]",
        &["1:2: a document needs `kind`"],
    );
    // A destination without a host is no other host's; one with a faulty batch may still send batches.
    told(
        "[{kind: destination, key: kakao, match: 'h.example/x'}, {kind: campaign, key: a, trigger: {api: {}}, webhook: {url: 'https://h.example/', destination: kakao}}]",
        &["1:41: `match` is a host without a path"],
    );
    told(
        "[{kind: destination, key: kakao, match: h.example, batch: {max: 0}}, {kind: campaign, key: a, trigger: {api: {}}, webhook: {url: 'https://h.example/', body: {a: 1}}}]",
        &["1:65: `max` must be from 2 to 1000, not 0"],
    );
    told(
        "[{kind: destination, key: kakao, match: h.example, batch: {max: 2}}, {kind: campaign, key: a, trigger: {api: {}}, webhook: {url: 'https://h.example/', body: 7}}]",
        &["1:158: `body` must be a map or text, not a number"],
    );
    // A link without a sound address can be named all the same.
    told(
        "{kind: campaign, key: a, trigger: {api: {}}, webhook: {url: 'https://h.example/', link: {w: {url: 'h.example'}, x: 'https://y.example', '1': {}}, body: '{{ link.w.a | json }}{{ link.x.b }}'}}",
        &[
            "1:99: `url` must begin with https://",
            "1:116: the link `x` must be a map, not text",
            "1:137: `1` cannot be the name of a link",
            "1:142: the link `1` needs `url`",
        ],
    );
    // Two without a key are not the same one.
    told("[{kind: cohort, users: [a]}, {kind: cohort, users: [b]}]", &["1:2: a cohort needs `key`", "1:30: a cohort needs `key`"]);
    // Who says twice the same key is told once.
    told(
        "[{kind: cohort, key: a, users: [a]}, {kind: cohort, key: a, users: [b], x: 1}]",
        &["1:53: the key `a` is taken by another cohort", "1:73: unknown key `x` in a cohort"],
    );
    told(
        "[{kind: campaign, key: a, status: running, trigger: {api: {}}, webhook: {url: 'https://h.example/'}}, {kind: campaign, key: a, status: running, trigger: {api: {}}, webhook: {url: 'https://i.example/'}}]",
        &["1:120: the key `a` is taken by another campaign"],
    );
}

#[test]
fn a_faulty_part_hides_no_other() {
    told(
        "{kind: campaign, key: A, trigger: {schedule: {cron: x}}, webhook: {url: 'https://{{ user.h }}/{{ user.id | upcas }}', content_type: text, body: {a: '{{ x'}}}",
        &[
            "1:23: `A` cannot be a key",
            "1:26: a recurring trigger needs `fatigue.resend`",
            "1:26: a schedule needs `audience`",
            "1:53: a cron expression has five fields, not 1: `x`",
            "1:73: the host must be fixed text, not a template",
            "1:73: `webhook.url` does not compile: there is no filter `upcas`; did you mean `upcase`?",
            "1:145: `content_type: text` needs a text body, not a map",
            "1:149: `webhook.body.a` does not compile: `{{` is not closed: `}}` is missing",
        ],
    );
    told(
        "{key: a, trigger: {action: {event: $sent}, api: {}}, audience: {cohort: vip}, webhook: {body: {profiles: {fields: [Emial], target_id: '{{ x | y }}', key_values: {a: '{{'}}}}}",
        &[
            "1:1: a document needs `kind`",
            "1:44: a campaign has exactly one kind of trigger",
            "1:73: there is no cohort `vip`",
            "1:88: `webhook` needs `url`",
            "1:116: `fields` cannot name `Emial`",
            "1:135: `webhook.body.profiles.target_id` does not compile: there is no variable `x`: a variable begins with `event.`, `user.`, `campaign.`, `trigger.` or `delivery.`",
            "1:135: `webhook.body.profiles.target_id` does not compile: there is no filter `y`",
            "1:166: `webhook.body.profiles.key_values.a` does not compile: `{{` is not closed: `}}` is missing",
        ],
    );
    told(
        "[{kind: campaign, trigger: {action: {event: $sent, where: {campaign: {ne: b}}}}, webhook: {url: 'https://h.example/'}}, {kind: campaign, key: b, trigger: {action: {event: $sent, where: {campaign: {ne: b}}}}, webhook: {url: 'https://h.example/'}}]",
        &["1:2: a campaign needs `key`"],
    );
    told(
        "{kind: destination, key: k, match: h.example, headers: {X-A: '{{ user.id }}', content-type: x}, auth: {bearer: plain}, rate: {per_second: 0}, sign: 3}",
        &[
            "1:62: `headers.X-A` does not compile: `user` is not known here: a destination's headers see `campaign` and `secret` only",
            "1:79: the header `content-type` cannot be set: it follows from `content_type`",
            "1:112: `bearer` must be the name of a secret: definitions are stored, and many may read them",
            "1:139: `per_second` must be 0.00001 to 100000, not 0",
            "1:149: `sign` must be the name of a secret: definitions are stored, and many may read them",
        ],
    );
}

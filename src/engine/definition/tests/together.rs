//! What shows only when documents are seen together.

use super::{API, accepted, check_batches, clash, shown};

#[test]
fn clashes_show_only_together() {
    let campaign =
        |key: &str, extra: &str| format!("---\nkind: campaign\nkey: {key}\n{API}\nwebhook: {{url: 'https://h.example/'{extra}}}\n");
    let destination = |key: &str, host: &str| format!("---\nkind: destination\nkey: {key}\nmatch: {host}\n");
    let cases = [
        ([campaign("a", ""), campaign("b", "")].concat(), ""),
        ([campaign("a", ""), destination("a", "h.example")].concat(), ""),
        (
            [campaign("a", ""), campaign("a", "")].concat(),
            "8:1: error: the key `a` is taken by another campaign (help: the first is at t:2)",
        ),
        ("kind: workspace\n---\nkind: workspace".into(), "3:1: error: there is more than one workspace (help: the first is at t:1)"),
        (
            [campaign("a", ", destination: kakoa"), destination("kakao", "h.example")].concat(),
            "5:51: error: there is no destination `kakoa` (help: did you mean `kakao`?)",
        ),
        (
            campaign("a", ", destination: x"),
            "5:51: error: there is no destination `x` (help: write a document with `kind: destination` and this key)",
        ),
        (
            [campaign("a", ", destination: x"), destination("x", "other.example")].concat(),
            "5:51: error: the destination `x` is for `other.example`, not for `h.example` (help: its headers would go to another host: correct the url or the destination)",
        ),
        (
            [campaign("a", ""), destination("x", "h.example"), destination("y", "h.example")].concat(),
            "5:16: error: several destinations match `h.example`: x, y (help: name the one that is meant with `webhook.destination`)",
        ),
        ([campaign("a", ", destination: y"), destination("x", "h.example"), destination("y", "h.example")].concat(), ""),
        ([campaign("a", ", destination: x").replace("key: a", "key: a\nstatus: ended")].concat(), ""),
    ];
    for (text, expect) in cases {
        clash(&text, expect);
    }
}

/// A campaign that is started so.
fn started(key: &str, trigger: &str) -> String {
    format!("---\nkind: campaign\nkey: {key}\ntrigger: {trigger}\nwebhook: {{url: 'https://h.example/'}}\n")
}

#[test]
fn campaigns_that_start_one_another_without_delay() {
    let sent = |key: &str, of: &str| started(key, &format!("{{action: {{event: $sent, where: {{campaign: {of}}}}}}}"));
    let itself = "4:1: error: campaign `a` starts itself without delay (help: say which campaigns it is about: `where: {campaign: key}`; without it the event concerns every campaign, this one too)";
    let round = "4:1: error: campaigns start one another without delay: a -> b -> a (help: put a delay between two of them: `inaction` with `within`, or `date` with `offset`)";
    let after =
        |key: &str, form: &str, of: &str| started(key, &form.replace('#', &format!("{{event: $failed, where: {{campaign: {of}}}}}")));
    let cases = [
        (sent("a", "b"), ""),
        (sent("a", "a"), itself),
        (started("a", "{action: {event: $sent}}"), itself),
        (started("a", "{action: {event: $sent, where: {attempts: 1}}}"), itself),
        (started("a", "{action: {event: $sent, where: {campaign: {ne: a}}}}"), ""),
        (started("a", "{action: {event: $sent, where: {campaign: {not_in: [a, b]}}}}"), ""),
        (started("a", "{action: {event: $sent, where: {campaign: {starts_with: a}}}}"), itself),
        (started("a", "{action: {event: $sent, where: {any: [{campaign: b}, {channel: sms}]}}}"), ""),
        (started("a", "{action: {event: $sent, where: {not: {campaign: b}}}}"), itself),
        (started("a", "{action: {event: $sent, where: {campaign: {eq: {user: favourite}}}}}"), itself),
        ([sent("a", "b"), sent("b", "a")].concat(), round),
        ([sent("a", "b"), sent("b", "c"), sent("c", "d")].concat(), ""),
        ([after("a", "{actions: {events: [#, {event: x}]}}", "b"), sent("b", "a")].concat(), round),
        ([sent("a", "b"), after("b", "{inaction: {after: #, without: {event: x}, within: 1m}}", "a")].concat(), ""),
        ([sent("a", "b"), after("b", "{inaction: {after: #, without: {event: x}, in_last: 1m}}", "a")].concat(), round),
        ([sent("a", "b"), started("b", "{date: {event: $sent, where: {campaign: a}, offset: 1h}}")].concat(), ""),
        ([sent("a", "b"), started("b", "{date: {event: $sent, where: {campaign: a}, offset: 1h, at: \"09:00\"}}")].concat(), round),
        ([sent("a", "b"), started("b", "{date: {event: $sent, where: {campaign: a}, offset: 1d, at: \"09:00\"}}")].concat(), ""),
        ([sent("a", "b"), started("b", "{date: {event: $sent, where: {campaign: a}, property: trigger.when}}")].concat(), ""),
        ([sent("a", "b"), sent("b", "a").replace("key: b", "key: b\nstatus: ended")].concat(), ""),
    ];
    for (text, expect) in cases {
        clash(&text, expect);
    }
}

#[test]
fn cohorts_that_are_missing_or_go_round() {
    let cohort = |key: &str, rule: &str| format!("---\nkind: cohort\nkey: {key}\nwhere: {rule}\n");
    let audience = |rule: &str| format!("---\nkind: campaign\nkey: k\n{API}\nwebhook: {{url: 'https://h.example/'}}\naudience: {rule}\n");
    let nested: String = (0..17).map(|at| cohort(&format!("c{at:02}"), &format!("{{cohort: c{:02}}}", at + 1))).collect();
    let cases = [
        ([audience("{cohort: vip}"), cohort("vip", "{user: {a: 1}}")].concat(), ""),
        (audience("{cohort: vip}"), "6:20: error: there is no cohort `vip` (help: write a document with `kind: cohort` and this key)"),
        (
            [audience("[{not: {cohort: vpi}}]"), cohort("vip", "everyone")].concat(),
            "6:27: error: there is no cohort `vpi` (help: did you mean `vip`?)",
        ),
        (
            started("a", "{cohort: {left: vip}}"),
            "4:26: error: there is no cohort `vip` (help: write a document with `kind: cohort` and this key)",
        ),
        (
            cohort("a", "{cohort: a}"),
            "4:1: error: cohort `a` is defined by itself (help: a rule cannot wait for its own answer: remove one of the references)",
        ),
        (
            [cohort("a", "{any: [{cohort: b}, {user: {x: 1}}]}"), cohort("b", "{not: {cohort: a}}")].concat(),
            "4:1: error: cohorts are defined by one another: a -> b -> a (help: a rule cannot wait for its own answer: remove one of the references)",
        ),
        (
            [&nested, &*cohort("c17", "everyone")].concat(),
            "4:1: error: cohorts name cohorts more than 16 levels deep (help: write some of the rules out)",
        ),
        (
            "kind: cohort\nkey: k\nusers_file: vip.txt".into(),
            "3:1: error: the users of `vip.txt` are not here (help: apply it with `campanile apply`, which reads and uploads the file, or write `users`)",
        ),
    ];
    for (text, expect) in cases {
        clash(&text, expect);
    }
}

#[test]
fn a_batch_needs_profiles() {
    let texts = |body: &str| {
        format!(
            "kind: campaign\nkey: k\n{API}\nwebhook:\n  url: https://h.example/\n  {body}\n---\nkind: destination\nkey: d\nmatch: h.example\nbatch: {{max: 10}}"
        )
    };
    let expect = |place: &str| {
        format!(
            "{place}: error: the destination `d` sends batches, which need a `profiles` body (help: write `body: {{profiles: {{...}}}}`, or name a destination without `batch`)"
        )
    };
    clash(&texts("body: {a: 1}"), &expect("6:9"));
    clash(&texts("method: PUT"), &expect("5:3"));
    clash(&texts("body: {profiles: {}}"), "");
}

#[test]
fn who_would_always_be_alone_in_a_batch_is_warned() {
    let check = |webhook: &str, destination: &str, expect: &str| {
        let text =
            format!("kind: campaign\nkey: k\n{API}\nwebhook:\n{webhook}\n---\nkind: destination\nkey: d\nmatch: h.example\n{destination}");
        assert_eq!(shown(&check_batches(&accepted(&text))), expect, "{text}");
    };
    let batch = "batch: {max: 10}";
    let expect = |place: &str, own: &str| {
        format!(
            "{place}: warning: each user is alone in a request of `d`, which sends batches: `{own}` is not the same for all (help: what is a user's own belongs into the entry of `profiles`: name the trait in `profile_data`, send the property with the event)"
        )
    };
    let with = |url: &str, more: &str| format!("  url: \"https://h.example/{url}\"\n  {more}");
    let profiles = |inside: &str| with("", &format!("body: {{profiles: {{{inside}}}}}"));
    check(&profiles(""), batch, "");
    check(&profiles("key_values: {a: '{{ campaign.key }}', b: 1}"), batch, "");
    check(&profiles("key_values: {a: {b: ['{{ user.name }}']}}"), batch, &expect("6:9", "user.name"));
    check(&profiles("key_values: {a: '{{ user.name }}'}"), "max_in_flight: 2", "");
    check(&profiles("target_id: '{{ event.target }}'"), batch, &expect("6:9", "event.target"));
    check(&with("{{ user.id }}", "body: {profiles: {}}"), batch, &expect("5:8", "user.id"));
    check(&with("", "params: {u: '{{ user.id }}'}\n  body: {profiles: {}}"), batch, &expect("6:11", "user.id"));
}

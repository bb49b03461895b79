//! Texts that are read, and what they mean; what shows only among several; canonical texts and places.

use std::time::Duration;

use proptest::prelude::*;

use super::super::*;
use super::{API, HOOK, accepted, definition};
use crate::engine::value::Value;

fn campaign(text: &str) -> Campaign {
    match definition(text) {
        Definition::Campaign(campaign) => *campaign,
        other => panic!("a campaign, not {other:?}"),
    }
}

/// A campaign with the usual head and these lines.
fn with(lines: &str) -> Campaign {
    campaign(&format!("kind: campaign\nkey: k\n{lines}"))
}

fn text(text: &str) -> Operand {
    Operand::Value(Value::text(text))
}

fn number(number: i64) -> Operand {
    Operand::Value(Value::Int(number))
}

fn test(path: &str, test: Test) -> Condition {
    Condition::Test { path: path.into(), test }
}

#[test]
fn a_whole_campaign() {
    let read = campaign(
        r#"
kind: campaign
key: cart-abandoned
title: Cart abandoned
description: After half an hour
status: running
tags: [cart, promo]
channel: sms
priority: -3
trigger:
  inaction:
    after: {event: cart_added, where: {amount: {gte: 50000}}}
    without: {event: purchase}
    within: 30m
    same: [cart_id, {after: shop, without: order.shop}]
    again: restart
audience:
  - user: {country: KR}
  - not: {user: {staff: true}}
fatigue: {resend: {after: 1w}, frequency_cap: false}
webhook:
  url: "https://API.kakao.example:443/v1/{{ event.kind }}"
  method: PUT
  params: {user: "{{ user.id }}", n: 1, none: null}
  headers: {X-Source: campanile}
  body: {to: "{{ user.phone }}", nested: {list: [1, null, "{{ x }}"]}}
  destination: kakao
"#,
    );
    let pattern = |event: &str, condition| Pattern { event: event.into(), condition };
    let same = |after: &str, without: &str| SamePair { after: after.into(), without: without.into() };
    let expect = Campaign {
        title: Some("Cart abandoned".into()),
        description: Some("After half an hour".into()),
        status: Some(Status::Running),
        tags: vec!["cart".into(), "promo".into()],
        channel: Some("sms".into()),
        priority: -3,
        audience: Rule::All(vec![
            Rule::User(test("country", Test::Eq(text("KR")))),
            Rule::Not(Box::new(Rule::User(test("staff", Test::Eq(Operand::Value(true.into())))))),
        ]),
        fatigue: Fatigue { resend: Resend::After(Duration::from_secs(7 * 86_400)), frequency_cap: false, ..Fatigue::default() },
        ..Campaign::new(
            "cart-abandoned",
            Trigger::Inaction(Inaction {
                after: pattern("cart_added", test("amount", Test::Gte(number(50_000)))),
                without: pattern("purchase", Condition::ALWAYS),
                within: Duration::from_secs(1800),
                same: vec![same("cart_id", "cart_id"), same("shop", "order.shop")],
                again: Again::Restart,
            }),
            Webhook {
                method: Method::Put,
                params: vec![("user".into(), "{{ user.id }}".into()), ("n".into(), 1.into())],
                headers: vec![("X-Source".into(), "campanile".into())],
                body: Body::Map(Value::from_json(r#"{"to":"{{ user.phone }}","nested":{"list":[1,null,"{{ x }}"]}}"#).unwrap()),
                destination: Some("kakao".into()),
                ..Webhook::new("https://API.kakao.example:443/v1/{{ event.kind }}", "api.kakao.example")
            },
        )
    };
    assert_eq!(read, expect);
}

#[test]
fn what_is_not_written_has_its_default() {
    let read = with(&format!("{API}\n{HOOK}"));
    assert_eq!((read.status, read.priority, read.channel.as_deref(), read.tags.len()), (None, 0, None, 0));
    assert_eq!(read.audience, Rule::All(vec![]));
    assert_eq!(read.fatigue, Fatigue::default());
    let Webhook { method, content_type, body, destination, .. } = read.webhook;
    assert_eq!((method, content_type, body, destination), (Method::Post, ContentType::Json, Body::Default, None));
}

#[test]
fn triggers_are_read() {
    for written in ["{api: {}}", "{api: }", "\n  api: {}"] {
        assert_eq!(with(&format!("trigger: {written}\n{HOOK}")).trigger, Trigger::Api, "{written}");
    }
    let Trigger::Action(pattern) = with(&format!("trigger: {{action: {{event: a b}}}}\n{HOOK}")).trigger else { panic!("an action") };
    assert_eq!(pattern, Pattern { event: "a b".into(), condition: Condition::ALWAYS });
    let written = "trigger: {inaction: {after: {event: a}, without: {event: b}, within: 1mo}}";
    let Trigger::Inaction(inaction) = with(&format!("{written}\n{HOOK}")).trigger else { panic!("an inaction") };
    assert_eq!((inaction.within, inaction.again, inaction.same), (Duration::from_secs(30 * 86_400), Again::Ignore, vec![]));
}

#[test]
fn conditions_are_read() {
    let list = |items: &[Operand]| items.to_vec();
    let cases = [
        ("{}", Condition::ALWAYS),
        ("{a: x}", test("a", Test::Eq(text("x")))),
        ("{a: 1.5}", test("a", Test::Eq(Operand::Value(Value::Float(1.5))))),
        ("{a.b: [x, 2]}", test("a.b", Test::In(list(&[text("x"), number(2)])))),
        ("{a: {eq: 1}}", test("a", Test::Eq(number(1)))),
        ("{a: {ne: x}}", test("a", Test::Ne(text("x")))),
        ("{a: {in: [1]}}", test("a", Test::In(list(&[number(1)])))),
        ("{a: {not_in: [1, {user: b}]}}", test("a", Test::NotIn(list(&[number(1), Operand::User("b".into())])))),
        ("{a: {in: {event: b}}}", test("a", Test::In(list(&[Operand::Event("b".into())])))),
        ("{a: {in: {user: b}}}", test("a", Test::In(list(&[Operand::User("b".into())])))),
        ("{a: {in: [x, {user: b}]}}", test("a", Test::In(list(&[text("x"), Operand::User("b".into())])))),
        ("{a: {gt: 1}}", test("a", Test::Gt(number(1)))),
        ("{a: {gte: {event: b.c}}}", test("a", Test::Gte(Operand::Event("b.c".into())))),
        ("{a: {lt: {user: b}}}", test("a", Test::Lt(Operand::User("b".into())))),
        ("{a: {lte: 2}}", test("a", Test::Lte(number(2)))),
        ("{a: {between: [1, 1]}}", test("a", Test::Between(number(1), number(1)))),
        ("{a: {between: [{user: b}, 1]}}", test("a", Test::Between(Operand::User("b".into()), number(1)))),
        ("{a: {contains: 3}}", test("a", Test::Contains(number(3)))),
        ("{a: {not_contains: x}}", test("a", Test::NotContains(text("x")))),
        ("{a: {starts_with: x}}", test("a", Test::StartsWith(text("x")))),
        ("{a: {ends_with: x}}", test("a", Test::EndsWith(text("x")))),
        ("{a: {ieq: x}}", test("a", Test::Ieq(text("x")))),
        ("{a: {icontains: x}}", test("a", Test::Icontains(text("x")))),
        ("{a: {istarts_with: x}}", test("a", Test::IstartsWith(text("x")))),
        ("{a: {iends_with: x}}", test("a", Test::IendsWith(text("x")))),
        ("{a: {matches: '^x+$'}}", test("a", Test::Matches(Regex(regex::Regex::new("^x+$").unwrap())))),
        ("{a: {exists: false}}", test("a", Test::Exists(false))),
        ("{a: {before: 2026-11-01}}", test("a", Test::Before(text("2026-11-01")))),
        ("{a: {after: '2026-11-01T09:00:00+09:00'}}", test("a", Test::After(text("2026-11-01T09:00:00+09:00")))),
        ("{a: {after: 2026-11-01T09:00:00}}", test("a", Test::After(text("2026-11-01T09:00:00")))),
        ("{a: {before: 1790000000}}", test("a", Test::Before(number(1_790_000_000)))),
        ("{a: {in_last: 7d}}", test("a", Test::InLast(Duration::from_secs(7 * 86_400)))),
        ("{a: {in_next: 2h}}", test("a", Test::InNext(Duration::from_secs(7200)))),
        ("{a: {multiple_of: 5}}", test("a", Test::MultipleOf(number(5)))),
        ("{a: {version_gt: '1.10'}}", test("a", Test::VersionGt(text("1.10")))),
        ("{a: {version_gte: 1.2.3}}", test("a", Test::VersionGte(text("1.2.3")))),
        ("{a: {version_lt: 2}}", test("a", Test::VersionLt(number(2)))),
        ("{a: {version_lt: v2.0.0-rc.1+7}}", test("a", Test::VersionLt(text("v2.0.0-rc.1+7")))),
        ("{a: {version_lt: v2}}", test("a", Test::VersionLt(text("v2")))),
        ("{a: {version_lte: {user: app}}}", test("a", Test::VersionLte(Operand::User("app".into())))),
        ("{a: {gt: 1, lt: 5}}", Condition::All(vec![test("a", Test::Gt(number(1))), test("a", Test::Lt(number(5)))])),
        ("{a: 1, b: 2}", Condition::All(vec![test("a", Test::Eq(number(1))), test("b", Test::Eq(number(2)))])),
        ("{any: [{a: 1}, {b: 2}]}", Condition::Any(vec![test("a", Test::Eq(number(1))), test("b", Test::Eq(number(2)))])),
        ("{all: [{a: 1}]}", Condition::All(vec![test("a", Test::Eq(number(1)))])),
        ("{not: {a: 1}}", Condition::Not(Box::new(test("a", Test::Eq(number(1)))))),
    ];
    for (written, expect) in cases {
        let read = with(&format!("trigger: {{action: {{event: e, where: {written}}}}}\n{HOOK}"));
        let Trigger::Action(pattern) = read.trigger else { panic!("an action") };
        assert_eq!(pattern.condition, expect, "{written}");
    }
}

#[test]
fn rules_are_read() {
    let user = |path: &str, value| Rule::User(test(path, Test::Eq(number(value))));
    let cases = [
        ("everyone", Rule::All(vec![])),
        ("{user: {a: 1}}", user("a", 1)),
        ("[{user: {a: 1}}]", Rule::All(vec![user("a", 1)])),
        ("{any: [{user: {a: 1}}, {not: {user: {b: 2}}}]}", Rule::Any(vec![user("a", 1), Rule::Not(Box::new(user("b", 2)))])),
        ("{not: [{user: {a: 1}}, {user: {b: 2}}]}", Rule::Not(Box::new(Rule::All(vec![user("a", 1), user("b", 2)])))),
        ("{all: [{all: [{user: {a: 1}}]}]}", Rule::All(vec![Rule::All(vec![user("a", 1)])])),
    ];
    for (written, expect) in cases {
        assert_eq!(with(&format!("{API}\n{HOOK}\naudience: {written}")).audience, expect, "{written}");
    }
}

#[test]
fn webhooks_are_read() {
    let hook = |written: &str| with(&format!("{API}\nwebhook: {{url: 'https://h.example/', {written}}}")).webhook;
    assert_eq!(hook("method: GET").body, Body::Default);
    assert_eq!(hook("method: DELETE, body: x").body, Body::Text("x".into()));
    assert_eq!(hook("body: '{\"a\": {{ user.id | json }}}'").content_type, ContentType::Json);
    assert_eq!(hook("content_type: text, body: 'hi {{ user.name }}'").content_type, ContentType::Text);
    assert_eq!(hook("method: GET, content_type: text").content_type, ContentType::Text);
    assert_eq!(hook("body: {}").body, Body::Map(Value::from_json("{}").unwrap()));
    assert_eq!(hook("body: {profiles: 3}").body, Body::Map(Value::from_json(r#"{"profiles":3}"#).unwrap()));
    let block =
        with(&format!("{API}\nwebhook:\n  url: http://127.0.0.1:9000/\n  body:\n    text: Hi {{{{ user.name | upcase }}}}, hello\n"));
    assert_eq!(block.webhook.host.as_ref(), "127.0.0.1:9000");
    assert_eq!(block.webhook.body, Body::Map(Value::from_json(r#"{"text":"Hi {{ user.name | upcase }}, hello"}"#).unwrap()));
}

#[test]
fn fatigue_is_read() {
    for (written, expect) in
        [("never", Resend::Never), ("always", Resend::Always), ("{after: 12h}", Resend::After(Duration::from_secs(43_200)))]
    {
        assert_eq!(with(&format!("{API}\n{HOOK}\nfatigue: {{resend: {written}}}")).fatigue.resend, expect, "{written}");
    }
}

#[test]
fn destinations_are_read() {
    let least = definition("{kind: destination, key: d, match: H.example}");
    let bare = Destination::new("d".into(), "h.example".into());
    assert_eq!(least, Definition::Destination(Box::new(bare.clone())));
    let full = definition(
        "kind: destination\nkey: d\nmatch: h.example:8443\nmax_in_flight: 8\ntimeout: 90s\nmax_retries: 0\nheaders: {X-Key: 'Key {{ secret.k }}'}",
    );
    let expect = Destination {
        host: "h.example:8443".into(),
        max_in_flight: Some(8),
        timeout: Some(Duration::from_secs(90)),
        max_retries: Some(0),
        headers: vec![("X-Key".into(), "Key {{ secret.k }}".into())],
        ..bare
    };
    assert_eq!(full, Definition::Destination(Box::new(expect)));
}

#[test]
fn workspaces_are_read() {
    assert_eq!(definition("kind: workspace"), Definition::Workspace(Box::default()));
    let written = "kind: workspace\ntimezone: asia/seoul\ntrack: [login]\nfrequency_caps:\n  - {limit: 3, per: 1d}\n  - {limit: 1, per: 60m, channel: sms, tag: promo}";
    let cap = |limit, hours: u64, channel: Option<&str>, tag: Option<&str>| FrequencyCap {
        limit,
        period: Period::Sliding(Duration::from_secs(hours * 3600)),
        channel: channel.map(Into::into),
        tag: tag.map(Into::into),
    };
    let expect = Workspace {
        timezone: Some("Asia/Seoul".into()),
        frequency_caps: vec![cap(3, 24, None, None), cap(1, 1, Some("sms"), Some("promo"))],
        quiet_hours: None,
        track: vec!["login".into()],
    };
    assert_eq!(definition(written), Definition::Workspace(Box::new(expect)));
}

#[test]
fn the_canonical_text_is_what_was_written_in_one_order() {
    let canonical = |text: &str| accepted(text)[0].canonical.clone();
    let first = canonical(&format!("kind: campaign\nkey: k\nstatus: running\ntitle: x\n{API}\n{HOOK}"));
    assert_eq!(first, r#"{"key":"k","kind":"campaign","title":"x","trigger":{"api":{}},"webhook":{"url":"https://h.example/"}}"#);
    let reordered = format!("status: paused\ntitle: \"x\"\n# a remark\n{HOOK}\n{API}\nkey: k\ndescription:\nkind: campaign");
    assert_eq!(canonical(&reordered), first, "status, order, quotes, remarks and nulls are no edit");
    let json = r#"{"kind": "campaign", "key": "k", "title": "x", "trigger": {"api": {}}, "webhook": {"url": "https://h.example/"}}"#;
    assert_eq!(canonical(json), first, "JSON says the same");
    assert_ne!(canonical(&format!("kind: campaign\nkey: k\ntitle: y\n{API}\n{HOOK}")), first);
    let ordered = canonical(
        "kind: campaign\nkey: k\ntrigger: {api: {}}\nwebhook: {url: 'https://h.example/', body: {b: null, a: 1}, params: {z: 1, y: 2}}",
    );
    assert!(ordered.contains(r#""body":{"b":null,"a":1},"params":{"z":1,"y":2}"#), "what is sent keeps its order: {ordered}");
}

#[test]
fn a_canonical_text_that_is_refused_says_so_without_a_place() {
    let check = |canonical: &str, expect: &str| {
        let problems = read_canonical("(stored)", canonical, &ReadOptions::default()).unwrap_err();
        assert_eq!(super::shown(&problems), expect);
    };
    check(
        r#"{"kind":"workspace","zone":"UTC"}"#,
        "(stored):1:1: error: unknown key `zone` in a workspace (help: known keys: kind, timezone, frequency_caps, quiet_hours, track)",
    );
    check("{", "(stored):1:1: error: not valid JSON: EOF while parsing an object at line 1 column 1");
}

#[test]
fn fields_keep_their_places() {
    let text = "kind: campaign\nkey: k\ntrigger: {api: {}}\nwebhook:\n  url: https://h.example/\n  headers:\n    X.A: a\n  body:\n    list:\n      - one\n      - two\n";
    let document = &accepted(text)[0];
    let at = |field: &str| {
        let place = document.places.of(field);
        (place.line, place.column)
    };
    for (field, expect) in [
        ("webhook.url", (5, 8)),
        ("webhook.headers.X.A", (7, 10)),
        ("webhook.body.list[1]", (11, 9)),
        ("webhook.body.list.0", (10, 9)),
        ("webhook.body.list[7].x", (10, 7)),
        ("webhook.method", (5, 3)),
        ("key", (2, 1)),
        ("nowhere", (1, 1)),
    ] {
        assert_eq!(at(field), expect, "{field}");
    }
}

/// Texts of values that conditions compare with.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-100_000_i64..100_000).prop_map(|cents| Value::Float(cents as f64 / 100.0)),
        "\\PC{1,12}".prop_map(Value::text),
    ]
}

fn object(pairs: Vec<(String, Value)>) -> Value {
    Value::Object(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

proptest! {
    #[test]
    fn a_canonical_text_means_what_the_written_one_meant(
        conditions in prop::collection::vec(("[a-z.]{1,8}x", value()), 0..5),
        body in prop::collection::vec(("\\PC{0,8}", value()), 0..5),
        title in "[ -~é한\u{2028}\u{1f600}]{0,20}",
        priority in any::<i64>(),
    ) {
        let document = object(vec![
            ("kind".into(), "campaign".into()),
            ("key".into(), "k".into()),
            ("title".into(), Value::text(title)),
            ("priority".into(), priority.into()),
            ("trigger".into(), object(vec![("api".into(), object(vec![]))])),
            ("audience".into(), object(vec![("user".into(), object(conditions))])),
            ("webhook".into(), object(vec![("url".into(), "https://h.example/".into()), ("body".into(), object(body))])),
        ]);
        let Reading { documents: written, problems, .. } = read("t", &document.to_string(), &ReadOptions::default());
        prop_assert_eq!(super::shown(&problems), "");
        let again = read_canonical("t", &written[0].canonical, &ReadOptions::default());
        let again = again.map_err(|problems| TestCaseError::fail(super::shown(&problems)))?;
        prop_assert_eq!(&again.definition, &written[0].definition);
        prop_assert_eq!(&again.canonical, &written[0].canonical);
    }
}

#[test]
fn documents_may_be_items_of_a_list() {
    let text = r#"[{"kind": "workspace"}, {"kind": "cohort", "key": "vip", "users": ["u1"]}]"#;
    let Reading { documents, problems, .. } = read("t", text, &ReadOptions::default());
    assert_eq!(problems, []);
    assert_eq!(documents.iter().map(|document| &*document.key).collect::<Vec<_>>(), ["workspace", "vip"]);
}

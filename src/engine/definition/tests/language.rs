//! Texts of the whole language that are read, and what they mean.

use std::time::Duration;

use super::super::*;
use super::{API, HOOK, definition, refused};
use crate::engine::calendar::{self, Cron, DateValue, DayOfMonth, TimeOfDay};
use crate::engine::time::Timestamp;
use crate::engine::value::Value;

const DAY: u64 = 86_400;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn campaign(lines: &str) -> Campaign {
    match definition(&format!("kind: campaign\nkey: k\n{lines}")) {
        Definition::Campaign(campaign) => *campaign,
        other => panic!("a campaign, not {other:?}"),
    }
}

fn event(name: &str) -> Pattern {
    Pattern { event: name.into(), condition: Condition::ALWAYS }
}

fn instant(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("an instant")
}

#[test]
fn triggers() {
    let when = |offset_ms: i64, at: Option<u16>, zone: ZoneChoice| DateOffset { offset_ms, at: at.map(TimeOfDay::of_minutes), zone };
    let date = |property: Option<&str>, when: DateOffset| EventDate {
        pattern: event("e"),
        property: property.map(Into::into),
        when,
        same: vec![],
        again: Again::Ignore,
    };
    let actions = Actions { events: vec![event("a"), event("b")], order: Order::Any, within: None, same: vec![] };
    let absence = |in_last| Trigger::Absence(Absence { after: event("a"), without: event("b"), in_last });
    let cases = [
        ("{actions: {events: [{event: a}, {event: b}]}}", Trigger::Actions(actions.clone())),
        (
            "{actions: {events: [{event: a}, {event: b}], order: given, within: 1d, same: [id]}}",
            Trigger::Actions(Actions { order: Order::Given, within: Some(seconds(DAY)), same: vec!["id".into()], ..actions }),
        ),
        ("{inaction: {after: {event: a}, without: {event: b}, in_last: 7d}}", absence(Some(seconds(7 * DAY)))),
        ("{date: {event: e, offset: 3d}}", Trigger::EventDate(date(None, when(3 * 86_400_000, None, ZoneChoice::User)))),
        (
            "{date: {event: e, property: a.b, offset: -1h, at: \"10:00\", same: [id], again: restart, timezone: asia/seoul}}",
            Trigger::EventDate(EventDate {
                same: vec!["id".into()],
                again: Again::Restart,
                ..date(Some("a.b"), when(-3_600_000, Some(600), ZoneChoice::Named("Asia/Seoul".into())))
            }),
        ),
        (
            "{date: {user: birthday, yearly: true, offset: -1d, at: 09:00}}",
            Trigger::UserDate(UserDate { property: "birthday".into(), yearly: true, when: when(-86_400_000, Some(540), ZoneChoice::User) }),
        ),
        ("{cohort: {entered: vip}}", Trigger::Cohort { cohort: "vip".into(), crossing: Crossing::Entered }),
        ("{cohort: {left: vip}}", Trigger::Cohort { cohort: "vip".into(), crossing: Crossing::Left }),
        ("{action: {event: $delivered}}", Trigger::Action(event("$delivered"))),
    ];
    for (written, expect) in cases {
        assert_eq!(campaign(&format!("fatigue: {{resend: always}}\ntrigger: {written}\n{HOOK}")).trigger, expect, "{written}");
    }
    let ever = "{inaction: {after: {event: a}, without: {event: b}}}";
    refused(
        &format!("kind: campaign\nkey: k\ntrigger: {ever}\n{HOOK}"),
        "3:21: warning: `inaction` without `within` and `in_last` asks whether `b` ever happened (help: to wait for it write `within: 30m`; the past is known only since the campaign began to ask, so give `in_last` where it is enough)",
    );
    let misspelt = "{inaction: {after: {event: a}, without: {event: b}, whitin: 30m, same: [id]}}";
    refused(
        &format!("kind: campaign\nkey: k\ntrigger: {misspelt}\n{HOOK}"),
        "3:62: error: unknown key `whitin` in `inaction` (help: did you mean `within`?)",
    );
}

#[test]
fn schedules() {
    use calendar::Schedule as Times;
    let at = |text: &str| Times::At(DateValue::parse(text).unwrap());
    let cron = |text: &str| Times::Cron(Cron::parse(text).unwrap());
    let cases = [
        ("{at: 2026-12-01T09:00:00}", at("2026-12-01T09:00:00"), ZoneChoice::Workspace),
        ("{at: 2026-12-01T09:00, timezone: Asia/Seoul}", at("2026-12-01T09:00:00"), ZoneChoice::Named("Asia/Seoul".into())),
        ("{at: 2026-12-01T09:00:00+09:00}", at("2026-12-01T00:00:00Z"), ZoneChoice::Workspace),
        ("{cron: 0 9 * * MON, timezone: user}", cron("0 9 * * MON"), ZoneChoice::User),
        ("{cron: '*/15 8-18/2 1,15 jan-MAR 0,7'}", cron("*/15 8-18/2 1,15 jan-MAR 0,7"), ZoneChoice::Workspace),
        (
            "{monthly: {day: 7, at: '09:00'}}",
            Times::Monthly { day: DayOfMonth::Day(7), at: TimeOfDay::of_minutes(540) },
            ZoneChoice::Workspace,
        ),
        (
            "{monthly: {day: last, at: 23:59}}",
            Times::Monthly { day: DayOfMonth::Last, at: TimeOfDay::of_minutes(1439) },
            ZoneChoice::Workspace,
        ),
    ];
    for (written, times, zone) in cases {
        let read = campaign(&format!("audience: everyone\nfatigue: {{resend: always}}\ntrigger: {{schedule: {written}}}\n{HOOK}"));
        assert_eq!(read.trigger, Trigger::Schedule(Schedule { times, zone }), "{written}");
    }
}

#[test]
fn how_far_a_campaign_goes() {
    let read = campaign(&format!(
        "{API}\n{HOOK}\nactive: {{from: 2026-11-01T00:00:00+09:00, until: 2026-12-01T00:00:00+09:00}}\ncontrol: {{percent: 12.5}}\nlimit: 100\n\
         goal: {{event: purchase, where: {{amount: 5}}, within: 7d}}\n\
         fatigue: {{per: [order_id, shop.id], on_cap: {{defer: 2h}}, quiet_hours: false, refund_on_failure: true}}"
    ));
    let amount = Condition::Test { path: "amount".into(), test: Test::Eq(Operand::Value(Value::Int(5))) };
    let goal = Goal { pattern: Pattern { event: "purchase".into(), condition: amount }, within: seconds(7 * DAY) };
    let expect = Campaign {
        active: Active { from: Some(instant("2026-10-31T15:00:00Z")), until: Some(instant("2026-11-30T15:00:00Z")) },
        control: Control { per_ten_thousand: 1250 },
        limit: Some(Limit { users: 100, per_run: false }),
        goal: Some(goal),
        fatigue: Fatigue {
            per: vec!["order_id".into(), "shop.id".into()],
            defer_on_cap: Some(seconds(7200)),
            quiet_hours: false,
            refund_on_failure: true,
            ..Fatigue::default()
        },
        ..Campaign::new("k", Trigger::Api, Webhook::new("https://h.example/", "h.example"))
    };
    assert_eq!(read, expect);
}

#[test]
fn a_limit_is_per_run_where_runs_recur() {
    let cron = "{schedule: {cron: 0 9 * * *}}";
    let once = "{schedule: {at: 2026-12-01T09:00:00}}";
    for (trigger, limit, per_run) in [
        ("{api: {}}", "5", false),
        ("{api: {}}", "{users: 5}", false),
        (once, "5", false),
        (once, "{users: 5, per: run}", true),
        (cron, "5", true),
        (cron, "{users: 5}", true),
        ("{schedule: {monthly: {day: 1, at: '09:00'}}}", "5", true),
        ("{date: {user: birthday}}", "5", false),
    ] {
        let read = campaign(&format!("audience: everyone\nfatigue: {{resend: never}}\ntrigger: {trigger}\nlimit: {limit}\n{HOOK}"));
        assert_eq!(read.limit, Some(Limit { users: 5, per_run }), "{trigger} {limit}");
    }
}

#[test]
fn rules() {
    let did = |measure, window| Rule::Did(Box::new(Did { pattern: event("e"), measure, window }));
    let once = || Measure::Count(vec![Bound::Gte(1.0)]);
    let not = |rule| Rule::Not(Box::new(rule));
    let (ever, last) = (Window::Ever, Window::InLast(seconds(30 * DAY)));
    let amount = || Path::from("amount");
    let november = Window::Between(instant("2026-11-01T00:00:00Z"), instant("2026-12-01T00:00:00Z"));
    let cases = [
        ("{cohort: vip}", Rule::Cohort("vip".into())),
        ("{did: {event: e}}", did(once(), ever)),
        ("{did: {event: e, in_last: 30d}}", did(once(), last)),
        ("{did: {event: e, between: [2026-11-01T00:00:00Z, 2026-12-01T00:00:00Z]}}", did(once(), november)),
        ("{did_not: {event: e, in_last: 30d}}", not(did(once(), last))),
        ("{did: {event: e, count: {gte: 3, lt: 10}}}", did(Measure::Count(vec![Bound::Gte(3.0), Bound::Lt(10.0)]), ever)),
        ("{did: {event: e, count: {lt: 3}, in_last: 30d}}", did(Measure::Count(vec![Bound::Lt(3.0)]), last)),
        ("{did: {event: e, count: {between: [1, 2]}}}", did(Measure::Count(vec![Bound::Between(1.0, 2.0)]), ever)),
        ("{did: {event: e, sum: {property: amount, gte: 0.5}, in_last: 30d}}", did(Measure::Sum(amount(), vec![Bound::Gte(0.5)]), last)),
        ("{did: {event: e, avg: {property: amount, gt: 1}}}", did(Measure::Avg(amount(), vec![Bound::Gt(1.0)]), ever)),
        ("{did: {event: e, min: {property: amount, lte: 1}}}", did(Measure::Min(amount(), vec![Bound::Lte(1.0)]), ever)),
        ("{did: {event: e, max: {property: amount, eq: 1}}}", did(Measure::Max(amount(), vec![Bound::Eq(1.0)]), ever)),
        ("{did: {event: e, distinct: {property: amount, ne: 0}}}", did(Measure::Distinct(amount(), vec![Bound::Ne(0.0)]), ever)),
        ("{did: {event: e, last: {between: [2026-11-01T00:00:00Z, 2026-12-01T00:00:00Z]}}}", did(Measure::Last(november), ever)),
        ("{not: {not: {did: {event: e}}}}", not(not(did(once(), ever)))),
        ("{not: {did_not: {event: e}}}", not(not(did(once(), ever)))),
    ];
    for (written, expect) in cases {
        assert_eq!(campaign(&format!("{API}\n{HOOK}\naudience: {written}")).audience, expect, "{written}");
    }
    // Warned of, and read.
    let text = format!("kind: campaign\nkey: k\n{API}\n{HOOK}\naudience: {{did: {{event: e, first: {{in_last: 30d}}}}}}");
    let read = super::read("t", &text, &ReadOptions::default()).documents.remove(0).definition;
    assert!(matches!(read, Definition::Campaign(campaign) if campaign.audience == did(Measure::First(last), ever)));
}

#[test]
fn cohorts() {
    let check = |written: &str, members: Members| {
        let read = definition(&format!("kind: cohort\nkey: c\n{written}"));
        assert_eq!(read, Definition::Cohort(Box::new(Cohort { key: "c".into(), members })), "{written}");
    };
    check("where: [{cohort: a}]", Members::Rule(Rule::All(vec![Rule::Cohort("a".into())])));
    check("title: Ours\nusers: [u2, u1, u2, 7]", Members::List(vec!["7".into(), "u1".into(), "u2".into()]));
    check("users: []", Members::List(vec![]));
}

#[test]
fn the_users_of_a_file_take_its_place() {
    let mut document = super::accepted("kind: cohort\nkey: c\nusers_file: vip.txt").remove(0);
    assert_eq!(document.users_file.as_deref(), Some("vip.txt"));
    document.put_users(users_of_file("vip.txt", "\u{feff}u2\r\n\n  u1 \nu2\n").expect("users"));
    assert_eq!(document.canonical, r#"{"key":"c","kind":"cohort","users":["u1","u2"]}"#);
    let written = super::accepted("kind: cohort\nkey: c\nusers: [u1, u2]").remove(0);
    assert_eq!((&document.definition, &document.canonical, &document.users_file), (&written.definition, &written.canonical, &None));
    let long = format!("u1\n{}\n", "x".repeat(257));
    let problems = users_of_file("vip.txt", &long).expect_err("too long");
    assert_eq!(problems[0].to_string(), "vip.txt:2:1: error: a user id has at most 256 bytes, not 257");
}

#[test]
fn webhooks() {
    let hook = |written: &str| campaign(&format!("{API}\nwebhook: {{url: 'https://h.example/', {written}}}")).webhook;
    let link = |name: &str, ttl: u64, timeout: u64, on_error| Link {
        name: name.into(),
        url: "https://w.example:8443/{{ user.city }}".into(),
        host: "w.example:8443".into(),
        ttl: seconds(ttl),
        timeout: seconds(timeout),
        on_error,
    };
    let read = hook("link: {weather: {url: 'https://w.example:8443/{{ user.city }}'}}");
    assert_eq!(read.links, [link("weather", 0, 2, OnLinkError::Drop)]);
    let read = hook("link: {b_2: {url: 'https://w.example:8443/{{ user.city }}', ttl: 5m, timeout: 1s, on_error: empty}}");
    assert_eq!(read.links, [link("b_2", 300, 1, OnLinkError::Empty)]);
    let object = |json: &str| Value::from_json(json).expect("JSON");
    let bare = Profiles { target_id: None, key_values: object("{}"), fields: None, profile_data: None };
    assert_eq!(hook("body: {profiles: {}}").body, Body::Profiles(bare));
    let full = Profiles {
        target_id: Some("{{ campaign.key }}".into()),
        key_values: object(r#"{"a":"{{ event.a }}","n":1}"#),
        fields: Some(vec!["Email".into(), "ProfileData".into()]),
        profile_data: Some(vec!["plan".into()]),
    };
    let written =
        "{target_id: '{{ campaign.key }}', key_values: {a: '{{ event.a }}', n: 1}, fields: [Email, ProfileData], profile_data: [plan]}";
    assert_eq!(hook(&format!("body: {{profiles: {written}}}")).body, Body::Profiles(full));
    assert_eq!(hook("body: {profiles: {}, more: 1}").body, Body::Map(object(r#"{"profiles":{},"more":1}"#)));
}

#[test]
fn destinations() {
    let check = |written: &str, expect: Destination| {
        let read = definition(&format!("kind: destination\nkey: d\nmatch: h.example\n{written}"));
        assert_eq!(read, Definition::Destination(Box::new(expect)), "{written}");
    };
    let bare = || Destination::new("d".into(), "h.example".into());
    let secret = |name: &str| Credential::Secret(name.into());
    check("rate: {per_second: 100, burst: 20}", Destination { rate: Some(Rate { per_second: 100.0, burst: 20 }), ..bare() });
    check("rate: {per_second: 0.5}", Destination { rate: Some(Rate { per_second: 0.5, burst: 1 }), ..bare() });
    check("slow_retries: [1m, 5m, 30m]", Destination { slow_retries: [60, 300, 1800].map(seconds).to_vec(), ..bare() });
    check("auth: {bearer: {secret: t}}", Destination { auth: Some(Auth::Bearer(secret("t"))), ..bare() });
    let basic = Auth::Basic { username: Credential::Text("u".into()), password: secret("p") };
    check("auth: {basic: {username: u, password: {secret: p}}}", Destination { auth: Some(basic), ..bare() });
    check("sign: {secret: a}", Destination { sign: vec![secret("a")], ..bare() });
    check("sign: [{secret: a}, {secret: b}]", Destination { sign: vec![secret("a"), secret("b")], ..bare() });
    check("ca: {secret: pem}", Destination { ca: Some(secret("pem")), ..bare() });
    check("ca: null", bare());
    let pem = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n";
    let written = "ca: |\n  -----BEGIN CERTIFICATE-----\n  MII=\n  -----END CERTIFICATE-----\n";
    check(written, Destination { ca: Some(Credential::Text(pem.into())), ..bare() });
    check("batch: {max: 100, linger: 2s}", Destination { batch: Some(Batch { max: 100, linger: seconds(2) }), ..bare() });
    check("batch: {max: 2}", Destination { batch: Some(Batch { max: 2, linger: seconds(1) }), ..bare() });
}

#[test]
fn workspaces() {
    let read = definition(
        "kind: workspace\nquiet_hours: {from: \"21:00\", to: 08:30, on_hit: defer}\ntrack: [login, $sent]\n\
         frequency_caps: [{limit: 1, calendar: day}, {limit: 2, calendar: week, tag: promo}, {limit: 3, calendar: month}]",
    );
    let cap =
        |limit, unit, tag: Option<&str>| FrequencyCap { limit, period: Period::Calendar(unit), channel: None, tag: tag.map(Into::into) };
    let expect = Workspace {
        timezone: None,
        frequency_caps: vec![
            cap(1, calendar::Period::Day, None),
            cap(2, calendar::Period::Week, Some("promo")),
            cap(3, calendar::Period::Month, None),
        ],
        quiet_hours: Some(QuietHours { from: TimeOfDay::of_minutes(1260), to: TimeOfDay::of_minutes(510), on_hit: OnQuiet::Defer }),
        track: vec!["login".into(), "$sent".into()],
    };
    assert_eq!(read, Definition::Workspace(Box::new(expect)));
}

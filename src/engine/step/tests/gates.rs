//! The gates, one after the other: which one stops a send, and that an earlier one is the recorded reason.

use super::*;

/// A body that compiles, and renders to what is not JSON.
const NOT_JSON: &str = r#"{"n":{{ event.nope }}}"#;

#[test]
fn status_of_an_action() {
    for (status, expect) in [("running", "sent hello, hello#1"), ("paused", "hello: campaign_paused"), ("ready", ""), ("ended", "")] {
        check(
            &[action("hello", "buy")],
            &format!(
                "
                0s set hello {status}
                1s track buy => {expect}
            "
            ),
        );
    }
}

#[test]
fn status_of_an_api_campaign() {
    let cases = [
        ("running", "sent points, points#1"),
        ("paused", "points: campaign_paused"),
        ("ready", "points: campaign_paused"),
        ("ended", "points: campaign_ended"),
        ("gone", ""),
    ];
    for (status, expect) in cases {
        check(
            &[api("points")],
            &format!(
                "
                0s set points {status}
                1s send points => {expect}
            "
            ),
        );
    }
}

#[test]
fn pause_holds_clocks_and_stops_new_ones() {
    check(
        &[inaction("cart", "add", "buy")],
        "
        0s track add
        1m set cart paused
        2m track add => cart: campaign_paused
        30m wake
        31m timers => 30m
        32m set cart running
        33m wake => sent cart, cart#1
    ",
    );
    check(
        &[inaction("cart", "add", "buy")],
        "
        0s track add
        1m set cart paused
        2m track buy
        3m timers
    ",
    );
    check(
        &[inaction("cart", "add", "buy")],
        "
        0s track add
        1m set cart paused
        91m set cart running
        91m wake => cart: stale
    ",
    );
    check(
        &[inaction("cart", "add", "buy")],
        "
        0s track add
        1m set cart paused
        90m set cart running
        90m wake => sent cart, cart#1
    ",
    );
}

#[test]
fn end_drops_clocks() {
    check(
        &[inaction("cart", "add", "buy")],
        "
        0s track add
        1m set cart ended
        2m wake
        30m wake read=0s => cart: campaign_ended
        31m timers
    ",
    );
    check(
        &[inaction("cart", "add", "buy")],
        "
        0s track add
        1m set cart gone
        30m wake
        31m timers
    ",
    );
}

#[test]
fn a_definition_that_had_to_be_left_out_holds_what_is_under_way() {
    let carts = || vec![inaction("cart", "add", "buy"), action("a", "call"), action("b", "call")];
    let mut bench = Bench::new(&carts(), Workspace::default());
    let script = ["0s track add", "1s track call", "1s parked a 0", "1s parked b 1"];
    script.iter().for_each(|line| drop(bench.line(line)));
    bench.campaigns = carts().into_iter().map(|campaign| campaign.body("{% broken %}")).collect();
    bench.in_force = in_force(2, &bench.campaigns, &bench.workspace);
    assert_eq!(bench.line("3s retry a 0"), "postpone a 63s");
    assert_eq!(bench.line("3s retry b 1"), "b#2");
    assert_eq!(bench.line("4s delivered b 2"), "");
    assert_eq!(bench.line("31m wake"), "");
    assert_eq!(bench.line("31m timers"), "30m");
    assert_eq!(bench.line("31m pending"), "a parked 0 bare");
    bench.campaigns = carts();
    bench.in_force = in_force(3, &bench.campaigns, &bench.workspace);
    assert_eq!(bench.line("32m wake"), "sent cart, cart#1");
    assert_eq!(bench.line("32m retry a 0"), "sent a, a#1");
}

#[test]
fn late_events_change_state_and_send_nothing() {
    for (age, expect) in
        [("-60m", "sent hello, hello#1"), ("-3601s", "hello: late_event"), ("-2d", "hello: late_event"), ("5m", "sent hello, hello#1")]
    {
        check(
            &[action("hello", "buy")],
            &format!(
                "
                0s track buy @{age} => {expect}
            "
            ),
        );
    }
    check(
        &[api("points")],
        "
        0s send points @-2h => points: late_event
    ",
    );
    check(
        &[action("gold", "buy").only("plan", "gold")],
        r#"
        0s identify {"plan":"gold"} @-3h
        0s track buy => sent gold, gold#1
    "#,
    );
}

#[test]
fn audience() {
    check(
        &[action("gold", "buy").only("plan", "gold")],
        r#"
        0s track buy => gold: not_in_audience
        1s identify {"plan":"gold"}
        2s identify {"plan":"free"} @1s
        3s track buy => gold: not_in_audience
        4s identify {"plan":"gold"}
        5s identify {"plan":"late"} @0s
        6s track buy => sent gold, gold#1
    "#,
    );
    check(
        &[inaction("cart", "add", "buy").only("plan", "gold").always()],
        r#"
        0s identify {"plan":"gold"}
        1s track add
        2m identify {"plan":null}
        40m wake => cart: not_in_audience
        41m track add
        42m identify {"plan":"gold"}
        72m wake => sent cart, cart#1
    "#,
    );
}

#[test]
fn audience_may_ask_for_the_event() {
    let same_city = Condition::Test { path: "city".into(), test: Test::Eq(Operand::Event("city".into())) };
    let campaign = || action("near", "visit").always().with(|campaign| campaign.audience = Rule::User(same_city.clone()));
    check(
        &[campaign()],
        r#"
        0s identify {"city":"Seoul"}
        1s track visit {"city":"Seoul"} => sent near, near#1
        2s track visit {"city":"Busan"} => near: not_in_audience
    "#,
    );
}

#[test]
fn resend() {
    check(
        &[action("once", "buy"), action("daily", "buy").every("1d"), action("each", "buy").always()],
        "
        0s track buy => sent daily, daily#1, sent each, each#1, sent once, once#1
        1m track buy => daily: resend_wait, sent each, each#1, once: already_sent
        86399s track buy => daily: resend_wait, sent each, each#1, once: already_sent
        1d track buy => sent daily, daily#1, sent each, each#1, once: already_sent
        47h track buy => daily: resend_wait, sent each, each#1, once: already_sent
    ",
    );
}

#[test]
fn once_survives_pause_end_and_edits() {
    check(
        &[action("once", "buy")],
        "
        0s track buy => sent once, once#1
        1s delivered once 1
        1m set once paused
        2m track buy => once: campaign_paused
        3m set once running
        4m track buy => once: already_sent
        300d wake
        300d track buy => once: already_sent
        300d ledger => 1 sent, 0 counted
    ",
    );
    let mut bench = Bench::new(&[action("once", "buy").always()], Workspace::default());
    assert_eq!(bench.line("0s track buy"), "sent once, once#1");
    bench.campaigns = vec![action("once", "buy").with(|campaign| campaign.version = 2)];
    bench.in_force = in_force(2, &bench.campaigns, &bench.workspace);
    assert_eq!(bench.line("1m track buy"), "once: already_sent");
}

#[test]
fn an_exposure_outlives_its_campaign_by_thirty_days() {
    check(
        &[action("once", "buy")],
        "
        0s track buy => sent once, once#1
        1s delivered once 1
        2s set once ended
        29d wake
        29d ledger => 1 sent, 1 counted
        30d wake
        30d ledger => 0 sent, 1 counted
        33d wake
        33d ledger => 0 sent, 0 counted
    ",
    );
}

#[test]
fn caps_slide_and_are_half_open() {
    check_capped(
        &[action("a", "buy").always()],
        &[cap(2, "1h")],
        "
        0s track buy => sent a, a#1
        10m track buy => sent a, a#1
        20m track buy => a: frequency_cap 2/1h
        3599s track buy => a: frequency_cap 2/1h
        60m track buy => sent a, a#1
        61m track buy => a: frequency_cap 2/1h
        70m track buy => sent a, a#1
    ",
    );
}

#[test]
fn all_caps_must_allow_and_the_first_that_does_not_is_named() {
    check_capped(
        &[action("a", "buy").always()],
        &[cap(3, "1d"), cap(1, "1h")],
        "
        0s track buy => sent a, a#1
        1m track buy => a: frequency_cap 1/1h
        1h track buy => sent a, a#1
        2h track buy => sent a, a#1
        150m track buy => a: frequency_cap 3/1d
        23h track buy => a: frequency_cap 3/1d
        24h track buy => sent a, a#1
    ",
    );
}

#[test]
fn a_user_stopped_by_a_cap_stays_eligible() {
    check_capped(
        &[action("a", "one"), action("b", "two")],
        &[cap(1, "1h")],
        "
        0s track one => sent a, a#1
        1m track two => b: frequency_cap 1/1h
        61m track two => sent b, b#1
    ",
    );
}

#[test]
fn caps_of_a_channel_or_a_tag() {
    let sms = || FrequencyCap { channel: Some("sms".into()), ..cap(1, "1h") };
    let promo = || FrequencyCap { tag: Some("promo".into()), ..cap(1, "2h") };
    check_capped(
        &[
            action("text", "text").channel("sms").always(),
            action("mail", "mail").channel("email").tags(&["promo", "x"]).always(),
            action("sale", "sale").channel("sms").tags(&["promo"]).always(),
            action("plain", "plain").always(),
        ],
        &[sms(), promo()],
        "
        0s track text => sent text, text#1
        1m track text => text: frequency_cap 1/1h
        2m track sale => sale: frequency_cap 1/1h
        3m track mail => sent mail, mail#1
        4m track mail => mail: frequency_cap 1/2h
        5m track plain => sent plain, plain#1
        6m track plain => sent plain, plain#1
        61m track sale => sale: frequency_cap 1/2h
        123m track sale => sent sale, sale#1
        124m track text => text: frequency_cap 1/1h
    ",
    );
}

#[test]
fn labels_count_as_they_were_when_it_was_sent() {
    let sms = FrequencyCap { channel: Some("sms".into()), ..cap(1, "1h") };
    let workspace = Workspace { frequency_caps: vec![sms], ..Workspace::default() };
    let mut bench = Bench::new(&[action("a", "buy").channel("sms").always()], workspace);
    assert_eq!(bench.line("0s track buy"), "sent a, a#1");
    bench.campaigns = vec![action("a", "buy").channel("email").always(), action("b", "call").channel("sms")];
    bench.in_force = in_force(2, &bench.campaigns, &bench.workspace);
    assert_eq!(bench.line("1m track call"), "b: frequency_cap 1/1h");
    assert_eq!(bench.line("2m track buy"), "sent a, a#1");
}

#[test]
fn a_campaign_outside_caps_is_neither_stopped_nor_counted() {
    check_capped(
        &[action("otp", "login").uncapped().always(), action("a", "buy").always()],
        &[cap(1, "1h")],
        "
        0s track login => sent otp, otp#1
        1m track login => sent otp, otp#1
        2m track buy => sent a, a#1
        3m track login => sent otp, otp#1
        4m track buy => a: frequency_cap 1/1h
    ",
    );
}

#[test]
fn a_clock_that_went_back_opens_no_cap() {
    check_capped(
        &[action("a", "buy").always(), action("daily", "call").every("1d")],
        &[cap(1, "1h")],
        "
        5h track buy => sent a, a#1
        1h track buy @1h => a: frequency_cap 1/1h
        6h track call => sent daily, daily#1
        2h track call @2h => daily: resend_wait
    ",
    );
}

#[test]
fn content_comes_before_the_claim() {
    check_capped(
        &[action("stops", "buy").body("{% abort 'enough' %}"), action("wrong", "buy").body(NOT_JSON), action("z", "buy")],
        &[cap(1, "1h")],
        "
        0s track buy => stops: aborted_by_template, wrong: render_failed, sent z, z#1
        0s ledger => 1 sent, 1 counted
        1m track buy => stops: frequency_cap 1/1h, wrong: frequency_cap 1/1h, z: already_sent
    ",
    );
}

#[test]
fn missing_variables_are_counted() {
    check(
        &[action("a", "buy").body(r#"{"t":"{{ event.nope }}"}"#)],
        "
        0s track buy => sent a, a#1, missing a 1
    ",
    );
}

#[test]
fn the_first_gate_that_fails_is_the_reason() {
    let gold = || action("a", "buy").only("plan", "gold");
    check_capped(
        &[gold(), action("b", "other").always(), gold().with(|campaign| (campaign.key, campaign.id) = ("c".into(), CampaignId::of("c")))],
        &[cap(2, "1d")],
        r#"
        0s identify {"plan":"gold"}
        0s track buy => sent a, a#1, sent c, c#1
        1s set a paused
        2s identify {"plan":"free"}
        3s track buy @-2h => a: campaign_paused, c: late_event
        4s set a running
        5s track buy @-2h => a: late_event, c: late_event
        6s track buy => a: not_in_audience, c: not_in_audience
        7s identify {"plan":"gold"}
        8s track buy => a: already_sent, c: already_sent
        9s track other => b: frequency_cap 2/1d
    "#,
    );
    check_capped(
        &[inaction("cart", "add", "buy").body(NOT_JSON), action("b", "other")],
        &[cap(1, "1d")],
        "
        0s track add
        0s track other => sent b, b#1
        1s delivered b 1
        5h wake => cart: stale
    ",
    );
}

#[test]
fn a_decision_line_says_who_what_and_why() {
    let workspace = Workspace { frequency_caps: vec![cap(1, "1h")], ..Workspace::default() };
    let mut bench = Bench::new(&[action("a", "buy").always().channel("sms").tags(&["t"])], workspace);
    let mut lines = Vec::new();
    for line in ["0s track buy id=m1", "1m track buy id=m2"] {
        let words: Vec<&str> = line.split_whitespace().collect();
        bench.now = at(words[0]);
        let input = bench.input(&words, line);
        let stepped = step(&bench.in_force, &bench.user, bench.known.clone(), &input, bench.now);
        for effect in stepped.effects {
            if let Effect::Decided(line) = effect {
                lines.push(serde_json::to_value(&*line).unwrap());
            }
        }
        bench.known = stepped.known;
    }
    let id = bench.known.record.pending[0].id.to_string();
    let common = |at: &str, event: &str| {
        serde_json::json!({"at": at, "campaign": "a", "version": 1, "channel": "sms", "tags": ["t"], "arm": "treatment", "user_id": "u1",
            "event_id": event, "outcome": "sent", "reason": null, "rule": null, "until": null, "run": null, "delivery_id": id})
    };
    let mut held = common("2026-11-20T10:01:00.000Z", "m2");
    held["outcome"] = "suppressed".into();
    held["reason"] = "frequency_cap".into();
    held["rule"] = serde_json::json!({"limit": 1, "per": "1h"});
    held["delivery_id"] = serde_json::Value::Null;
    assert_eq!(lines, [common("2026-11-20T10:00:00.000Z", "m1"), held]);
}

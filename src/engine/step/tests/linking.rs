//! Sends whose content is linked.

use super::*;

fn body(bench: &Bench, campaign: &str) -> String {
    let body = bench.deliveries[campaign].1.body.as_ref().map(|body| format!("{body:?}"));
    body.unwrap_or_default()
}

#[test]
fn the_wish_comes_first_then_the_claim() {
    let mut bench = Bench::new(&[action("a", "buy").linked()], Workspace::default());
    assert_eq!(bench.line(r#"0s identify {"city":"Seoul"}"#), "");
    assert_eq!(bench.line("1m track buy"), "fetch a /Seoul by 72s");
    assert_eq!(
        (bench.line("1m timers"), bench.line("1m pending"), bench.line("1m ledger")),
        ("72s".into(), "".into(), "0 sent, 0 counted".into())
    );
    assert_eq!(bench.line(r#"61s fetched a {"w":{"t":3}}"#), "sent a, a#1");
    assert!(body(&bench, "a").contains(r#"{\"t\":\"3\"}"#), "{}", body(&bench, "a"));
    assert_eq!((bench.line("61s timers"), bench.line("61s ledger")), ("".into(), "1 sent, 1 counted".into()));
    assert_eq!(bench.line(r#"62s fetched a {"w":{"t":4}}"#), "skipped");
}

#[test]
fn what_cannot_be_fetched_is_not_sent_and_spends_nothing() {
    check(
        &[action("a", "buy").linked()],
        r#"
        0s track buy => fetch a / by 12s
        1s unfetched a => a: link_failed
        2s ledger => 0 sent, 0 counted
        3s timers
        4s track buy => fetch a / by 16s
        5s fetched a {"w":null} => sent a, a#1, missing a 1
    "#,
    );
}

#[test]
fn when_the_lease_ends_it_is_fetched_again() {
    check(
        &[action("a", "buy").linked()],
        r#"
        0s track buy => fetch a / by 12s
        11s wake
        12s wake => fetch a / by 24s
        13s fetched a {"w":{"t":1}} => sent a, a#1
        14s wake
    "#,
    );
    // But not for ever: the event grows old.
    check(
        &[action("a", "buy").linked()],
        "
        0s track buy => fetch a / by 12s
        59m wake => fetch a / by 3552s
        61m wake => a: late_event
        62m timers
    ",
    );
}

#[test]
fn all_gates_are_judged_again() {
    let after = |between: &str, fetched: &str| {
        let script = format!(
            r#"
            0s identify {{"vip":true}}
            0s track buy => fetch a / by 12s
            {between}
            2s fetched a {{"w":{{"t":1}}}} => {fetched}
        "#
        );
        check_capped(&[action("a", "buy").linked().only("vip", true), action("b", "call").always()], &[cap(1, "1h")], &script);
    };
    after("", "sent a, a#1");
    after("1s track call => sent b, b#1", "a: frequency_cap 1/1h");
    after(r#"1s identify {"vip":false}"#, "a: not_in_audience");
    after("1s set a ended", "skipped");
    after("1s delete => a: user_deleted", "skipped");
    // Two wishes of a campaign that sends once.
    check(
        &[action("a", "buy").linked()],
        r#"
        0s track buy => fetch a / by 12s
        1s fetched a {"w":{"t":1}} => sent a, a#1
        2s track buy => a: already_sent
    "#,
    );
}

#[test]
fn an_end_cancels_the_wish_and_a_pause_holds_it() {
    check(
        &[action("a", "buy").linked()],
        r#"
        0s track buy => fetch a / by 12s
        1s set a ended
        12s wake => a: campaign_ended
    "#,
    );
    check(
        &[action("a", "buy").linked()],
        r#"
        0s track buy => fetch a / by 12s
        1s set a paused
        2s fetched a {"w":{"t":1}} => skipped
        12s wake
        10m set a running
        10m wake => fetch a / by 612s
        601s fetched a {"w":{"t":1}} => sent a, a#1
    "#,
    );
}

#[test]
fn a_without_inside_the_window_cancels_the_wish() {
    let check = |cancelling: &str, fetched: &str| {
        let script = format!(
            r#"
            0s track search
            30m wake => fetch a / by 1812s
            {cancelling}
            1802s fetched a {{"w":{{"t":1}}}} => {fetched}
        "#
        );
        self::check(&[inaction("a", "search", "book").linked()], &script);
    };
    check("", "sent a, a#1");
    check("1801s track book @29m => a: cancelled_by_event", "skipped");
    check("1801s track book @30m", "sent a, a#1");
}

#[test]
fn a_limit_is_asked_for_when_all_else_is_known() {
    let limited = action("a", "buy").linked().with(|campaign| campaign.limit = Some(Limit { users: 1, per_run: false }));
    let mut bench = Bench::new(&[limited], Workspace::default());
    assert_eq!(bench.line("0s track buy"), "fetch a / by 12s");
    assert!(bench.limits.is_empty());
    bench.limits.insert("a".into(), BTreeSet::from(["other".into()]));
    assert_eq!(bench.line(r#"1s fetched a {"w":{"t":1}}"#), "a: target_limit");
}

#[test]
fn a_run_that_waits_for_its_content_comes_once() {
    check(
        &[schedule("r", "0 9 * * *", ZoneChoice::Named("UTC".into())).linked()],
        r#"
        0s run r 2026-11-20T09:00 => fetch r / by 12s
        1s run r 2026-11-20T09:00 => skipped
        2s fetched r {"w":{"t":1}} => sent r, r#1
        3s run r 2026-11-20T09:00 => skipped
    "#,
    );
}

#[test]
fn nobody_can_explain_what_is_not_fetched() {
    let mut bench = Bench::new(&[action("a", "buy").linked()], Workspace::default());
    bench.line("0s track buy");
    let campaign = bench.in_force.by_key("a").unwrap();
    let origin = &bench.known.record.timers[0].origin;
    let views = explain(&bench.in_force, &bench.user, &bench.known, campaign, origin, None, bench.now);
    let last = views.last().map(|view| (view.gate, view.verdict));
    assert_eq!(last, Some((Gate::Content, Passage::Unknown)));
}

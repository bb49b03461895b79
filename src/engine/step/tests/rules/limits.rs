//! Limits, active windows, refunds.

use super::*;

#[test]
fn a_limit_lets_in_so_many_users() {
    let mut bench = Bench::new(&[action("a", "buy").always().limit(2), action("b", "buy").always().limit(1)], Workspace::default());
    for (user, expect) in [
        ("u1", "sent a, a#1, sent b, b#1"),
        ("u2", "sent a, a#1, b: target_limit"),
        ("u3", "a: target_limit, b: target_limit"),
        ("u1", "sent a, a#1, sent b, b#1"),
    ] {
        (bench.user, bench.known) = (user.into(), Known::default());
        assert_eq!(bench.line("0s track buy"), expect, "{user}");
    }
}

#[test]
fn the_store_is_asked_only_for_what_would_be_sent() {
    let limited = |key: &str| action(key, "buy").limit(5);
    let check = |campaigns: &[Campaign], expect: &[&str]| {
        let workspace = Workspace { frequency_caps: vec![cap(1, "1h")], ..Workspace::default() };
        let mut bench = Bench::new(campaigns, workspace);
        bench.line("0s track buy");
        let asked: Vec<&str> = bench.limits.keys().map(|counter| &**counter).collect();
        assert_eq!(asked, expect);
    };
    check(&[limited("a")], &["a"]);
    check(&[limited("a").control(10_000)], &[]);
    check(&[limited("a").body("{% abort 'no' %}")], &[]);
    check(&[limited("a").only("plan", "gold")], &[]);
    // The first takes what the cap allows: nobody is let in for the second.
    check(&[limited("a"), limited("b")], &["a"]);
    check(&[limited("a").uncapped(), limited("b")], &["a", "b"]);
}

#[test]
fn a_limit_per_run_counts_each_run() {
    let mut limited = action("a", "buy");
    limited.limit = Some(Limit { users: 1, per_run: true });
    let mut bench = Bench::new(&[limited], Workspace::default());
    bench.line("0s track buy");
    assert_eq!(bench.limits.keys().map(|counter| &**counter).collect::<Vec<_>>(), ["a"], "without a run, the campaign's");
}

#[test]
fn an_active_window_is_half_open() {
    check_settled(
        Workspace::default(),
        &[action("a", "buy").always().active("1h", "2h")],
        "
        3599s track buy => a: outside_window
        1h track buy => sent a, a#1
        7199s track buy => sent a, a#1
        2h track buy => a: outside_window
    ",
    );
    // What falls due counts, not what started it; and what comes after the end is not sent however early it was due.
    check_settled(
        Workspace::default(),
        &[inaction("cart", "add", "buy").always().active("30m", "2h")],
        "
        0s track add
        30m wake => sent cart, cart#1
        31m track add
        60m wake
        119m wake => sent cart, cart#1
    ",
    );
    check_settled(
        Workspace::default(),
        &[inaction("cart", "add", "buy").always().active("31m", "2h")],
        "
        0s track add
        31m wake => cart: outside_window
        89m track add
        120m wake => cart: outside_window
    ",
    );
}

#[test]
fn a_final_failure_may_give_back_what_caps_count() {
    let check = |campaign: Campaign, expect: &str| {
        check_capped(
            &[campaign, action("b", "call").always()],
            &[cap(1, "1h")],
            &format!(
                "
                0s track buy => sent a, a#1
                1m track call => b: frequency_cap 1/1h
                2m failed a 1
                3m track call => {expect}
                4m delivered a 1 => skipped
                5m track buy => a: already_sent
            "
            ),
        );
    };
    check(action("a", "buy"), "b: frequency_cap 1/1h");
    check(action("a", "buy").refunding(), "sent b, b#1");
    check_capped(
        &[action("a", "buy").refunding(), action("b", "call").always()],
        &[cap(1, "1h")],
        "
        0s track buy => sent a, a#1
        1m delivered a 1
        2m track call => b: frequency_cap 1/1h
    ",
    );
}

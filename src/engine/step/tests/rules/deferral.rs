//! Caps by the calendar, and sends that wait for a cap.

use super::*;

#[test]
fn calendar_caps_count_the_users_day() {
    // 24:00 UTC is `14h`; 24:00 in Seoul `5h`.
    check_settled(
        capped(&[daily(1)]),
        &[action("a", "buy").always()],
        r#"
        0s track buy => sent a, a#1
        839m track buy => a: frequency_cap 1/day
        14h track buy => sent a, a#1
        15h identify {"timezone":"Asia/Seoul"}
        16h track buy => a: frequency_cap 1/day
        29h track buy => sent a, a#1
    "#,
    );
}

#[test]
fn a_cap_defers_until_it_frees() {
    let deferring = || action("a", "buy").always().defer("2h");
    check_settled(
        capped(&[cap(1, "3h")]),
        &[deferring(), action("b", "call").always()],
        "
        0s track call => sent b, b#1
        59m track buy => a: frequency_cap 1/3h
        60m track buy {\"n\":1} => a until 180m: frequency_cap
        61m timers => 180m
        179m wake
        180m wake => sent a, a#1
        181m ledger => 2 sent, 2 counted
    ",
    );
    // The second waits for the first again, within two hours of its own decision, not of the first's.
    check_settled(
        capped(&[cap(1, "1h")]),
        &[deferring()],
        "
        0s track buy => sent a, a#1
        10m track buy => a until 60m: frequency_cap
        20m track buy => a until 60m: frequency_cap
        30m track buy => a until 60m: frequency_cap
        60m wake => sent a, a#1, a until 120m: frequency_cap, a until 120m: frequency_cap
        120m wake => sent a, a#1, a: frequency_cap 1/1h
    ",
    );
}

#[test]
fn several_caps_defer_until_the_last_frees() {
    check_settled(
        capped(&[cap(1, "1h"), daily(1), cap(2, "3h")]),
        &[action("a", "buy").always().defer("1d"), action("b", "call").always()],
        "
        0s track call => sent b, b#1
        1m track buy => a until 840m: frequency_cap
        14h wake => sent a, a#1
    ",
    );
    // Of two that are lowered to one both must leave.
    let mut bench = Bench::new(&[action("a", "buy").always().defer("2h")], Workspace::default());
    bench.line("0s track buy");
    bench.line("10m track buy");
    bench.settle();
    bench.workspace.frequency_caps = vec![cap(1, "1h")];
    bench.in_force = in_force(2, &bench.campaigns, &bench.workspace);
    assert_eq!(bench.line("20m track buy"), "a until 70m: frequency_cap");
    assert_eq!(bench.line("69m wake"), "");
    assert_eq!(bench.line("70m wake"), "sent a, a#1");
}

#[test]
fn a_deferred_send_is_judged_again_by_all_gates() {
    let deferring = || action("a", "buy").defer("2h");
    let check = |campaigns: &[Campaign], between: &str, late: &str, expect: &str| {
        let script = format!(
            r#"
            0s identify {{"plan":"gold"}}
            0s track call => sent b, b#1
            1m track buy => a until 60m: frequency_cap
            {between}
            {late} wake => {expect}
            {late} timers
        "#
        );
        check_settled(capped(&[cap(1, "1h")]), campaigns, &script);
    };
    let call = || action("b", "call");
    check(&[deferring(), call()], "2m set a ended", "60m", "a: campaign_ended");
    check(&[deferring(), call()], "2m set a gone", "60m", "");
    check(&[deferring(), call()], "2m delete => a: user_deleted", "60m", "");
    check(&[deferring(), call()], "", "121m", "a: stale");
    check(&[deferring(), call()], "", "120m", "sent a, a#1");
    check(&[deferring().active("0s", "60m"), call()], "", "60m", "a: outside_window");
    check(&[deferring().only("plan", "gold"), call()], r#"2m identify {"plan":"free"}"#, "60m", "a: not_in_audience");
    check(&[deferring(), call()], "2m track buy => a until 60m: frequency_cap", "60m", "sent a, a#1, a: already_sent");
    check(&[deferring().body(r#"{"n":{{ event.nope }}}"#), call()], "", "60m", "a: render_failed");
}

#[test]
fn pause_holds_what_is_deferred() {
    check_settled(
        capped(&[cap(1, "1h")]),
        &[action("a", "buy").defer("2h"), action("b", "call")],
        "
        0s track call => sent b, b#1
        1m track buy => a until 60m: frequency_cap
        2m set a paused
        60m wake
        61m timers => 60m
        62m set a running
        63m wake => sent a, a#1
    ",
    );
}

#[test]
fn a_without_cancels_what_is_deferred() {
    let cart = || inaction("cart", "add", "buy").same("n", "n").always().defer("2h");
    let check = |line: &str, expect: &str| {
        let script = format!(
            r#"
            0s track add {{"n":1}}
            1m track call => sent b, b#1
            30m wake => cart until 61m: frequency_cap
            40m track {line}
            61m wake => {expect}
            62m timers
        "#
        );
        check_settled(capped(&[cap(1, "1h")]), &[cart(), action("b", "call")], &script);
    };
    // After the window, or late and inside it; not before, and not for another cart.
    check(r#"buy {"n":1} => cart: cancelled_by_event"#, "");
    check(r#"buy {"n":1} @10m => cart: cancelled_by_event"#, "");
    check(r#"buy {"n":1} @-1m =>"#, "sent cart, cart#1");
    check(r#"buy {"n":2} =>"#, "sent cart, cart#1");
}

#[test]
fn what_is_deferred_waits_for_what_could_cancel_it() {
    check_settled(
        capped(&[cap(1, "1h")]),
        &[inaction("cart", "add", "buy").defer("2h"), action("a", "call").always().defer("2h"), action("b", "call")],
        "
        0s track add
        1m track call => sent a, a#1, b: frequency_cap 1/1h
        30m wake => cart until 61m: frequency_cap
        61m wake read=60m => held 61m
        62m track buy @50m => cart: cancelled_by_event
        63m track call => sent a, a#1, b: frequency_cap 1/1h
        64m track call => a until 123m: frequency_cap, b: frequency_cap 1/1h
        123m wake read=60m => sent a, a#1
    ",
    );
}

#[test]
fn a_clock_starts_anew_beside_what_is_deferred() {
    check_settled(
        capped(&[cap(1, "1h")]),
        &[inaction("cart", "add", "buy").always().defer("2h"), action("b", "call")],
        "
        0s track add
        1m track call => sent b, b#1
        30m wake => cart until 61m: frequency_cap
        40m track add
        41m timers => 61m, 70m
        61m wake => sent cart, cart#1
        70m wake => cart until 121m: frequency_cap
    ",
    );
}

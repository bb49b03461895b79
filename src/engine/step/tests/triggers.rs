//! What starts a send, and when.

use super::*;

#[test]
fn action_sends_at_once_and_once() {
    check(
        &[action("hello", "buy")],
        "
        0s track look
        1s track buy => sent hello, hello#1
        2s pending => hello sending 1
        3s track buy => hello: already_sent
    ",
    );
}

#[test]
fn action_conditions() {
    let at_least = |limit: i64| Test::Gte(Operand::Value(Value::Int(limit)));
    check(
        &[action("big", "buy").given("amount", at_least(100)).always()],
        r#"
        0s track buy {"amount":99}
        1s track buy {"amount":100} => sent big, big#1
        2s track buy {"amount":"100"}
        3s track buy
        4s track sell {"amount":100}
    "#,
    );
    check(
        &[action("home", "visit").given("city", Test::Eq(Operand::User("city".into()))).always()],
        r#"
        0s track visit {"city":"Seoul"}
        1s identify {"city":"Seoul"}
        2s track visit {"city":"Seoul"} => sent home, home#1
        3s track visit {"city":"Busan"}
        4s identify {"city":"Busan"}
        5s track visit {"city":"Busan"} => sent home, home#1
    "#,
    );
}

#[test]
fn several_campaigns_by_priority_then_key() {
    check(
        &[action("b", "buy"), action("a", "buy"), action("z", "buy").priority(5), action("y", "buy").priority(-5)],
        "
        0s track buy => sent z, z#1, sent a, a#1, sent b, b#1, sent y, y#1
    ",
    );
    check_capped(
        &[action("b", "buy"), action("a", "buy"), action("z", "buy").priority(5)],
        &[cap(2, "1d")],
        "
        0s track buy => sent z, z#1, sent a, a#1, b: frequency_cap 2/1d
    ",
    );
}

#[test]
fn traits_of_an_event_are_applied_before_it_is_judged() {
    check(
        &[action("gold", "buy").only("plan", "gold")],
        r#"
        0s track buy traits=plan:free => gold: not_in_audience
        1s track buy traits=plan:gold => sent gold, gold#1
    "#,
    );
}

#[test]
fn inaction_fires_at_the_end_of_its_window() {
    check(
        &[inaction("cart", "add", "buy")],
        "
        0s track add
        0s timers => 30m
        29m wake
        30m wake => sent cart, cart#1
        30m timers
        1801s wake
    ",
    );
}

#[test]
fn without_inside_the_window_cancels() {
    for (bought, left) in [("0s", ""), ("1s", ""), ("1799s", ""), ("30m", "30m"), ("31m", "30m"), ("-1s", "30m")] {
        check(
            &[inaction("cart", "add", "buy")],
            &format!(
                "
                0s track add
                35m track buy @{bought}
                35m timers => {left}
            "
            ),
        );
    }
}

#[test]
fn without_that_is_read_before_its_after_cancels_it_too() {
    for (bought, left) in [("0s", ""), ("1s", ""), ("1799s", ""), ("30m", "30m"), ("31m", "30m"), ("-1s", "30m")] {
        check(
            &[inaction("cart", "add", "buy")],
            &format!(
                "
                35m track buy @{bought}
                36m track add @0s
                36m timers => {left}
            "
            ),
        );
    }
}

#[test]
fn a_cancelled_clock_leaves_no_line_and_can_start_again() {
    check(
        &[inaction("cart", "add", "buy")],
        "
        0s track add
        1m track buy
        2m wake
        3m track add
        33m wake => sent cart, cart#1
    ",
    );
}

#[test]
fn an_event_that_is_both_cancels_then_starts() {
    let both = || inaction("open", "launch", "launch").always();
    check(
        &[both()],
        "
        0s track launch
        10m track launch
        10m timers => 40m
        30m wake
        40m wake => sent open, open#1
    ",
    );
    // The same, read the other way round.
    check(
        &[both()],
        "
        10m track launch
        10m timers => 40m
        11m track launch @0s
        11m timers => 40m
    ",
    );
}

#[test]
fn timers_due_come_before_an_event_of_that_time() {
    // Not woken in time: what happens at or after the due time neither cancels nor counts as `again`.
    for again in [Again::Ignore, Again::Restart] {
        check(
            &[inaction("cart", "add", "buy").again(again).always()],
            "
            0s track add
            30m track buy
            30m timers => 30m
            31m track add
            31m timers => 30m, 61m
            32m wake => sent cart, cart#1
            32m timers => 61m
        ",
        );
    }
}

#[test]
fn again_while_one_pends() {
    check(
        &[inaction("cart", "add", "buy")],
        "
        0s track add
        10m track add
        10m timers => 30m
        11m track add @-10m
        11m timers => 30m
        12m track add @-40m
        12m timers => 30m, 0m
    ",
    );
    check(
        &[inaction("cart", "add", "buy").again(Again::Restart)],
        "
        0s track add
        10m track add
        10m timers => 40m
        11m track add @5m
        11m timers => 40m
        12m track buy @5m
        12m timers => 40m
        13m track buy @10m
        13m timers
    ",
    );
}

#[test]
fn a_restarted_clock_renders_the_latest_event() {
    let mut bench = Bench::new(&[inaction("cart", "add", "buy").again(Again::Restart)], Workspace::default());
    bench.line(r#"0s track add {"n":1}"#);
    bench.line(r#"1m track add {"n":2}"#);
    assert_eq!(bench.known.record.timers[0].origin.properties, object(r#"{"n":2}"#));
    assert_eq!(bench.line("31m wake"), "sent cart, cart#1");
    assert_eq!(&*bench.known.record.pending[0].claim.event_id, "0/1");
}

#[test]
fn same_keeps_one_clock_per_value() {
    check(
        &[inaction("cart", "add", "buy").same("cart_id", "order.cart").always()],
        r#"
        0s track add {"cart_id":1}
        1m track add {"cart_id":2}
        2m track add {"cart_id":1.0}
        2m timers => 30m, 31m
        3m track buy {"order":{"cart":1}}
        3m timers => 31m
        4m track buy {"order":{"cart":"2"}}
        4m track buy {"cart_id":2}
        4m timers => 31m
        5m track add
        5m track add {"cart_id":null}
        5m timers => 31m, 35m
        6m track buy
        6m timers => 31m
        31m wake => sent cart, cart#1
    "#,
    );
}

#[test]
fn clocks_of_two_keys_are_two_deliveries() {
    let mut bench = Bench::new(&[inaction("cart", "add", "buy").same("id", "id").always()], Workspace::default());
    bench.line(r#"0s track add {"id":1}"#);
    bench.line(r#"0s track add {"id":2}"#);
    assert_eq!(bench.line("30m wake"), "sent cart, cart#1, sent cart, cart#1");
    assert_ne!(bench.known.record.pending[0].id, bench.known.record.pending[1].id);
}

#[test]
fn inaction_waits_until_all_is_read() {
    check(
        &[inaction("cart", "add", "buy")],
        "
        0s track add
        40m wake read=29m => held 30m
        40m timers => 30m
        41m track buy @29m
        41m timers
    ",
    );
    check(
        &[inaction("cart", "add", "buy"), inaction("other", "add2", "buy")],
        "
        0s track add
        5m track add2
        40m wake read=30m => sent cart, cart#1, held 35m
        2401s wake read=35m => sent other, other#1
    ",
    );
}

#[test]
fn timers_fire_in_order_of_time_then_priority_then_key() {
    check_capped(
        &[
            inaction("b", "add", "x"),
            inaction("a", "add", "x"),
            inaction("z", "add", "x").priority(1),
            inaction("early", "add0", "x").priority(-9),
        ],
        &[cap(3, "1d")],
        "
        0s track add
        0s track add0 @-1s
        30m wake => sent early, early#1, sent z, z#1, sent a, a#1, b: frequency_cap 3/1d
    ",
    );
}

#[test]
fn api_sends_only_what_it_names() {
    check(
        &[api("points"), api("other"), action("hello", "points")],
        r#"
        0s send points {"n":1} => sent points, points#1
        1s send points => points: already_sent
        2s send nothing
        3s send hello
        4s send other => sent other, other#1
    "#,
    );
}

#[test]
fn a_window_of_a_changed_trigger_has_no_meaning() {
    let mut bench = Bench::new(&[inaction("cart", "add", "buy")], Workspace::default());
    bench.line("0s track add");
    bench.campaigns = vec![action("cart", "add")];
    bench.in_force = in_force(2, &bench.campaigns, &bench.workspace);
    assert_eq!(bench.line("30m wake"), "");
    assert_eq!(bench.line("30m timers"), "");
}

#[test]
fn a_late_after_starts_its_clock_and_a_clock_long_due_is_stale() {
    check(
        &[inaction("cart", "add", "buy")],
        "
        0s track add @-70m
        0s timers => 0m
        0s wake => sent cart, cart#1
    ",
    );
    check(
        &[inaction("cart", "add", "buy")],
        "
        0s track add @-91m
        0s wake => cart: stale
    ",
    );
}

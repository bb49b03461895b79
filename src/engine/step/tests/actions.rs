//! Actions: several events, together.

use super::*;

#[test]
fn a_set_is_complete_with_its_last_event_and_used_up() {
    check(
        &[actions("both", &["open", "look"]).always()],
        "
        0s track open
        1s track buy
        2s track open
        3s kept => open 2s
        4s track look => sent both, both#1
        5s kept
        6s track look
        7s track open => sent both, both#1
    ",
    );
}

#[test]
fn a_given_order_is_that_of_the_events_time() {
    check(
        &[actions("path", &["open", "look"]).within(Order::Given, None).always()],
        "
        0s track look
        1s track open
        2s kept => look 0m, open 1s
        3s track look => sent path, path#1
        10m track look @8m
        10m track open @7m => sent path, path#1
        11m kept
    ",
    );
}

#[test]
fn the_last_less_than_within_after_the_first() {
    check(
        &[actions("fast", &["open", "look"]).within(Order::Any, Some("10m")).always()],
        "
        0s track open
        10m track look
        19m track open => sent fast, fast#1
    ",
    );
}

#[test]
fn sets_of_different_values_are_apart() {
    check(
        &[actions("same", &["open", "look"]).same("id", "id").always()],
        r#"
        0s track open {"id":1}
        1s track look {"id":2}
        2s track look
        3s track look {"id":1.0} => sent same, same#1
        4s track open => sent same, same#1
    "#,
    );
}

#[test]
fn conditions_and_names() {
    check(
        &[actions("more", &["buy", "buy"]).given("n", Test::Gte(Operand::Value(Value::Int(10)))).always()],
        r#"
        0s track buy {"n":10}
        1s track buy {"n":1} => sent more, more#1
        2s track buy {"n":1}
        3s track buy {"n":2}
        4s track buy {"n":20} => sent more, more#1
    "#,
    );
}

#[test]
fn templates_see_each_event_and_the_last_as_the_event() {
    let body =
        r#"{"open":"{{ events.open.n }}","look":"{{ events.look.n }}","last":"{{ event.n }} {{ trigger.event }} {{ trigger.kind }}"}"#;
    let mut bench = Bench::new(&[actions("both", &["open", "look"]).body(body)], Workspace::default());
    bench.line(r#"9s track look {"n":2} id=late"#);
    assert_eq!(bench.line(r#"9s track open {"n":1} @3s"#), "sent both, both#1");
    let request = bench.deliveries["both"].1.clone();
    let crate::engine::record::Piece::Text(text) = &request.body.as_ref().unwrap().0[0] else { panic!("no text") };
    assert_eq!(&**text, r#"{"open":"1","look":"2","last":"2 look actions"}"#);
    assert_eq!(&*bench.known.record.pending[0].claim.event_id, "late");
}

#[test]
fn a_set_that_is_held_back_is_used_up_too() {
    check(
        &[actions("gold", &["open", "look"]).only("plan", "gold").always()],
        r#"
        0s track open
        1s track look => gold: not_in_audience
        2s identify {"plan":"gold"}
        3s track look
        4s set gold paused
        5s track open => gold: campaign_paused
        6s set gold running
        7s track look
        8s track open => sent gold, gold#1
        9s track look
        3h track open @10s => gold: late_event
    "#,
    );
}

#[test]
fn what_is_kept_is_forgotten_with_its_campaign_and_with_its_window() {
    let campaigns = [actions("fast", &["open", "look"]).within(Order::Any, Some("1h")), actions("ever", &["call", "look"])];
    check(
        &campaigns,
        "
        0s track open
        1s track call
        2s delete @-1s
        3s track open
        4s track call
        72h wake
        72h kept => open 3s, call 4s
        74h wake
        74h kept => call 4s
        75h set ever ended
        76h wake
        76h kept
    ",
    );
}

#[test]
fn an_edit_asks_what_is_kept_again() {
    let with = |event: &str, version| actions("both", &["open", event]).with(|campaign| campaign.version = version);
    let mut bench = Bench::new(&[with("look", 1)], Workspace::default());
    bench.line("0s track look");
    bench.in_force = in_force(2, &[with("buy", 2)], &Workspace::default());
    assert_eq!(bench.line("1s track open"), "");
    assert_eq!(bench.line("1s kept"), "open 1s");
    assert_eq!(bench.line("2s track buy"), "sent both, both#1");
}

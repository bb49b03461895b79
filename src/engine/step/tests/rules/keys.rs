//! Once per user and event properties.

use super::*;
use crate::engine::fatigue::MAX_EXPOSURE_KEYS;

#[test]
fn once_per_user_and_property() {
    check_settled(
        Workspace::default(),
        &[action("order", "buy").per("order")],
        r#"
        0s track buy {"order":1} => sent order, order#1
        1s track buy {"order":1} => order: already_sent
        2s track buy {"order":"1"} => sent order, order#1
        3s track buy {"order":1.0} => order: already_sent
        4s track buy => sent order, order#1
        5s track buy {"order":null} => order: already_sent
        6s ledger => 3 sent, 3 counted
    "#,
    );
    check_settled(
        Workspace::default(),
        &[action("order", "buy").per("order").every("1h")],
        r#"
        0s track buy {"order":1} => sent order, order#1
        30m track buy {"order":2} => sent order, order#1
        59m track buy {"order":1} => order: resend_wait
        60m track buy {"order":1} => sent order, order#1
        61m track buy {"order":2} => order: resend_wait
    "#,
    );
}

#[test]
fn a_clock_is_judged_by_the_key_of_its_event() {
    check_settled(
        Workspace::default(),
        &[inaction("cart", "add", "buy").same("cart", "cart").per("cart")],
        r#"
        0s track add {"cart":1}
        1m track add {"cart":2}
        31m wake => sent cart, cart#1, sent cart, cart#1
        32m track add {"cart":2}
        62m wake => cart: already_sent
    "#,
    );
}

#[test]
fn an_edit_from_once_per_key_to_once_per_user_forgets_nobody() {
    let mut bench = Bench::new(&[action("order", "buy").per("order")], Workspace::default());
    assert_eq!(bench.line(r#"0s track buy {"order":1}"#), "sent order, order#1");
    bench.campaigns = vec![action("order", "buy")];
    bench.in_force = in_force(2, &bench.campaigns, &bench.workspace);
    assert_eq!(bench.line(r#"1m track buy {"order":2}"#), "order: already_sent");
}

#[test]
fn as_many_keys_as_are_known_and_none_twice() {
    let mut bench = Bench::new(&[action("order", "buy").per("order").uncapped()], Workspace::default());
    let buy = |bench: &mut Bench, order: usize| {
        let got = bench.line(&format!(r#"{order}s track buy {{"order":{order}}}"#));
        bench.known.record.pending.clear();
        got
    };
    for order in 1..=MAX_EXPOSURE_KEYS {
        assert_eq!(buy(&mut bench, order), "sent order, order#1");
    }
    assert_eq!(buy(&mut bench, MAX_EXPOSURE_KEYS + 1), "order: state_full");
    assert_eq!(bench.line(r#"1h track buy {"order":1}"#), "order: already_sent");
}

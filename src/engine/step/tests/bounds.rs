//! A user who is too much for one record is refused, not fatal.

use super::*;
use crate::engine::record::codec::size;
use crate::engine::step::bounds::*;

/// A property as large as this many bytes.
fn bulk(bytes: usize) -> String {
    format!(r#"{{"bulk":"{}"}}"#, "x".repeat(bytes))
}

#[test]
fn timers_are_bounded_in_number() {
    let mut bench = Bench::new(&[inaction("cart", "add", "buy").same("id", "id").again(Again::Restart)], Workspace::default());
    for i in 0..MAX_TIMERS {
        assert_eq!(bench.line(&format!(r#"0s track add {{"id":{i}}}"#)), "");
    }
    assert_eq!(bench.line(r#"1s track add {"id":"more"}"#), "cart: state_full");
    assert_eq!(bench.line(r#"2s track add {"id":1}"#), "", "a restart takes no further place");
    assert_eq!(bench.line(r#"3s track buy {"id":0}"#), "");
    assert_eq!(bench.line(r#"4s track add {"id":"more"}"#), "");
    assert_eq!(bench.known.record.timers.len(), MAX_TIMERS);
}

#[test]
fn timers_are_bounded_in_bytes() {
    let mut bench = Bench::new(&[inaction("cart", "add", "buy").same("id", "id")], Workspace::default());
    let add = |bench: &mut Bench, id: u32, bytes: usize| {
        let json = bulk(bytes).replacen('{', &format!(r#"{{"id":{id},"#), 1);
        bench.line(&format!("0s track add {json}"))
    };
    assert_eq!(add(&mut bench, 1, RECORD_SOFT_BYTES), "cart: state_full");
    assert_eq!(add(&mut bench, 2, RECORD_SOFT_BYTES / 2), "");
    assert_eq!(add(&mut bench, 3, RECORD_SOFT_BYTES / 2), "cart: state_full");
    assert!(size(&bench.known.record) <= RECORD_SOFT_BYTES);
}

#[test]
fn pending_deliveries_are_bounded_in_number() {
    let mut bench = Bench::new(&[action("a", "buy").always()], Workspace::default());
    for _ in 0..MAX_PENDING {
        assert_eq!(bench.line("0s track buy"), "sent a, a#1");
    }
    assert_eq!(bench.line("1s track buy"), "a: state_full");
    bench.line("2s delivered a 1");
    assert_eq!(bench.line("3s track buy"), "sent a, a#1");
}

#[test]
fn a_record_is_crowded_by_what_is_under_way_or_will_be() {
    let crowds = |campaign: Campaign, then: &str, expect: bool| {
        let mut bench = Bench::new(&[campaign.always()], Workspace::default());
        for _ in 0..CROWDED {
            assert!(!is_crowded(&bench.known.record));
            bench.line("0s track buy");
            bench.line(then);
        }
        assert_eq!(is_crowded(&bench.known.record), expect, "{then}");
    };
    crowds(action("a", "buy"), "0s track else", true);
    crowds(action("a", "buy").linked(), "0s track else", true);
    crowds(action("a", "buy"), "0s parked a 1", false);
    crowds(action("a", "buy"), "0s delivered a 1", false);
}

#[test]
fn an_endpoint_that_is_away_keeps_out_no_others() {
    let campaigns = [action("a", "buy").always(), action("b", "sell").always(), action("c", "rent").always()];
    let mut bench = Bench::new(&campaigns, Workspace::default());
    for _ in 0..MAX_WAITING {
        assert_eq!(bench.line("0s track buy"), "sent a, a#1");
        bench.line("0s parked a 1");
    }
    assert_eq!(bench.line("1s track buy"), "a: state_full");
    // The first of another one that fails, too; whose endpoint answers gets everything.
    assert_eq!(bench.line("1s track sell"), "sent b, b#1");
    bench.line("1s parked b 1");
    assert_eq!(bench.line("2s track sell"), "b: state_full");
    for _ in 0..2 * MAX_PENDING {
        assert_eq!(bench.line("3s track rent"), "sent c, c#1");
        bench.line("3s delivered c 1");
    }
    for _ in 0..MAX_PENDING {
        assert_eq!(bench.line("4s track rent"), "sent c, c#1");
    }
    assert_eq!(bench.line("4s track rent"), "c: state_full", "what is under way is bounded as ever");
    assert!(size(&bench.known.record) < RECORD_SOFT_BYTES);
}

#[test]
fn pending_deliveries_are_bounded_in_bytes() {
    let mut bench = Bench::new(&[action("a", "buy").always()], Workspace::default());
    let event = format!("0s track buy {}", bulk(30_000));
    let sent = (0..10).filter(|_| bench.line(&event).starts_with("sent")).count();
    assert_eq!(sent, MAX_PENDING_BYTES / 31_000);
    assert_eq!(bench.line(&event), "a: state_full");
    bench.line("1s parked a 1");
    assert!(bench.line(&event).starts_with("sent"), "what is parked leaves its bytes to the retry topic");
}

#[test]
fn a_request_comes_back_only_where_it_fits() {
    let mut bench = Bench::new(&[action("a", "buy").always()], Workspace::default());
    let event = format!("0s track buy {}", bulk(30_000));
    let mut parked = Vec::new();
    for _ in 0..MAX_PENDING {
        assert!(bench.line(&event).starts_with("sent"));
        parked.push(bench.deliveries["a"].clone());
        bench.line("1s parked a 1");
    }
    let mut postponed = 0;
    for (id, request) in &parked {
        bench.now = at("2s");
        let answer = bench.give(&Input::Retry { id: *id, attempt: 1, unstarted: false, request: request.clone() });
        postponed += usize::from(answer.starts_with("postpone"));
        assert!(size(&bench.known.record) <= RECORD_HARD_BYTES);
    }
    assert!(postponed > 0 && postponed < parked.len(), "{postponed} postponed");
}

#[test]
fn many_partitions_and_ids_do_not_fill_a_record() {
    let mut bench = Bench::new(&[inaction("cart", "add", "buy").same("id", "id")], Workspace::default());
    for i in 0..1030 {
        bench.line(&format!(r#"0s track buy {{"id":{i}}} p={i}"#));
    }
    assert_eq!((bench.known.record.marks.len(), bench.known.record.seen.len()), (1024, 16));
    assert!(size(&bench.known.record) < RECORD_SOFT_BYTES);
}

#[test]
fn traits_are_bounded_and_what_is_refused_is_told() {
    use crate::engine::profile::MAX_TRAITS_BYTES;

    let mut bench = Bench::new(&[action("a", "buy").only("bulk", "x")], Workspace::default());
    assert_eq!(bench.line(r#"0s identify {"bulk":"x"}"#), "");
    assert_eq!(bench.line(&format!("1s identify {}", bulk(MAX_TRAITS_BYTES))), "refused 1 traits");
    assert_eq!(bench.line("2s track buy"), "a: not_in_audience", "the value of before is not the user's any more");
}

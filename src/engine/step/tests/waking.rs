//! When a record wants a look, and when it is not worth keeping.

use super::*;
use crate::engine::id::TrackerId;
use crate::engine::record::{Data, Tracked};

fn next(bench: &Bench) -> Option<String> {
    wake(&bench.user, &bench.known, &bench.in_force, bench.now).map(show_time)
}

/// Runs lines, then asks for the wake.
fn check_wake(campaigns: &[Campaign], lines: &[&str], expect: &str) {
    let mut bench = Bench::new(campaigns, Workspace::default());
    lines.iter().for_each(|line| drop(bench.line(line)));
    assert_eq!(next(&bench).as_deref(), Some(expect), "{lines:?}");
}

#[test]
fn the_earliest_of_timers_leases_and_expiries() {
    let both = [inaction("cart", "add", "paid"), action("a", "buy")];
    check_wake(&both, &["0s track add"], "30m");
    check_wake(&both, &["0s track add", "1m track buy"], "75s");
    check_wake(&both, &["0s track buy", "1s parked a 1"], "1445m");
    check_wake(&both, &["0s track buy", "1s parked a 1", "2s track add"], "1802s");
    check_wake(&both, &["0s track buy", "1s parked a 1", "24h wake"], "1445m");
    check_wake(&both, &["0s track buy", "1s parked a 1", "86700s wake"], "86730s");
    check_wake(&both, &["0s track buy", "1s parked a 1", "2m set a ended"], "2m");
    check_wake(&both, &["0s track add", "1m set cart paused", "2m wake"], "30m");
    check_wake(&both, &["0s track add", "1m set cart paused", "40m wake"], "41m");
    check_wake(&both, &["0s track add", "40m wake read=0s"], "30m");
}

#[test]
fn clocks_that_a_pause_holds_are_not_late() {
    let check = |lines: &[&str], expect: Option<&str>| {
        let mut bench = Bench::new(&[inaction("cart", "add", "paid"), inaction("trip", "search", "book")], Workspace::default());
        lines.iter().for_each(|line| drop(bench.line(line)));
        assert_eq!(due(&bench.known, &bench.in_force).map(show_time).as_deref(), expect, "{lines:?}");
    };
    check(&[], None);
    check(&["0s track add"], Some("30m"));
    check(&["0s track add", "40m wake read=0s"], Some("30m"));
    check(&["0s track add", "5m track search", "40m set cart paused"], Some("35m"));
    check(&["0s track add", "40m set cart paused"], None);
    check(&["0s track add", "40m set cart ended"], None);
    check(&["0s track add", "40m set cart paused", "50m set cart running"], Some("30m"));
}

#[test]
fn an_idle_record_is_looked_at_rarely_and_at_a_time_that_stays() {
    let mut bench = Bench::new(&[action("a", "buy")], Workspace::default());
    bench.line("0s track buy");
    bench.line("1s delivered a 1");
    let first = wake(&bench.user, &bench.known, &bench.in_force, bench.now).unwrap();
    assert!(first >= at("30d") && first <= at("60d"));
    let later = wake(&bench.user, &bench.known, &bench.in_force, first.before(span("30d"))).unwrap();
    assert_eq!(later, first);
    let other = wake(&"u2".into(), &bench.known, &bench.in_force, bench.now).unwrap();
    assert_ne!(other, first);
}

#[test]
fn a_record_that_only_keeps_repeats_out_goes_when_none_can_come() {
    let mut bench = Bench::new(&[inaction("cart", "add", "buy")], Workspace::default());
    bench.line("0s track buy");
    let look = wake(&bench.user, &bench.known, &bench.in_force, bench.now).unwrap();
    assert!(look >= at("72h") && look <= at("96h"), "{}", show_time(look));
    bench.now = look;
    bench.give(&Input::Wake { read_to: at("60h") });
    assert!(!bench.known.record.marks.is_empty(), "what is not read yet may still repeat it");
    assert!(wake(&bench.user, &bench.known, &bench.in_force, bench.now).unwrap() > look);
    bench.give(&Input::Wake { read_to: look });
    assert_eq!(bench.known, Known { record: Record { definitions: 1, ..Record::default() }, ..Known::default() });
    assert_eq!(next(&bench), None);
}

#[test]
fn a_past_that_rules_ask_for_is_kept() {
    let mut bench = Bench::new(&[action("a", "buy")], Workspace::default());
    assert_eq!(next(&bench), None);
    bench.known.record.history.tracked.push(Tracked { tracker: TrackerId(1), data: Data::Count(1) });
    assert!(wake(&bench.user, &bench.known, &bench.in_force, bench.now).is_some_and(|look| look >= at("30d")));
}

#[test]
fn a_profile_and_an_exposure_are_kept() {
    let mut bench = Bench::new(&[action("a", "buy")], Workspace::default());
    bench.line(r#"0s identify {"plan":"gold"}"#);
    bench.line("365d wake");
    assert!(next(&bench).is_some());
    let mut bench = Bench::new(&[action("a", "buy")], Workspace::default());
    bench.line("0s track buy");
    bench.line("1s delivered a 1");
    bench.line("365d wake");
    assert!(next(&bench).is_some());
    bench.line("365d set a ended");
    bench.line("365d wake");
    assert_eq!(next(&bench), None);
}

#[test]
fn nothing_known_is_nothing_to_keep() {
    assert_eq!(wake(&"u1".into(), &Known::default(), &in_force(1, &[], &Workspace::default()), START), None);
}

#[test]
fn a_reader_days_behind_keeps_the_marks_it_sets() {
    let mut bench = Bench::new(&[], Workspace::default());
    bench.line("10d track look p=0");
    bench.line("10d track look p=1 broker=0s @0s id=old");
    assert_eq!(bench.line("10d replay old"), "skipped");
    assert_eq!(bench.known.record.marks.len(), 2);
    // The ring does not hold it: the mark does.
    assert!(bench.known.record.seen.iter().all(|seen| seen.broker_time == at("10d")));
}

//! Who is too slow, who goes on, and who is left behind by a worker that stops.

use super::*;
use crate::engine::step::Input;
use crate::engine::time::Timestamp;

const MS: Duration = Duration::from_millis(1);

/// An input that tells by its number which one it is.
fn work(number: i64) -> Work {
    Work { may_wait: true, ..Work::of("hot".into(), Input::Wake { read_to: Timestamp(number) }) }
}

fn numbers(works: &[Work]) -> Vec<i64> {
    let number = |work: &Work| match work.input {
        Input::Wake { read_to } => read_to.0,
        _ => panic!("another input"),
    };
    works.iter().map(number).collect()
}

fn patience(events: i64, now: Duration) -> Patience {
    let mut patience = Patience::default();
    (0..events).for_each(|number| patience.push(work(number), now));
    patience
}

#[test]
fn a_user_is_too_slow_by_the_pace_at_which_its_events_go_on() {
    let check = |waiting: usize, gone: u32, passed: Duration, expect: bool| {
        let waiting = (0..waiting).map(|_| (Duration::ZERO, work(0))).collect();
        let patient = Patient { waiting, gone, ..Patient::new(Duration::ZERO) };
        assert_eq!(patient.is_slow(passed), expect, "{gone} went on in {passed:?}");
    };
    check(1000, 0, JUDGED_OVER - MS, false);
    check(1000, 0, JUDGED_OVER, true);
    // 100 ms for sixteen, 400 ms, and 2.5 s.
    check(1000, 160, 1000 * MS, false);
    check(1000, 40, 1000 * MS, true);
    check(1000, 16, 2500 * MS, true);
    check(60, 16, 2500 * MS, false);
}

#[test]
fn a_pace_is_judged_anew_and_the_verdict_stands_meanwhile() {
    let mut patient = Patient { waiting: VecDeque::from([(Duration::ZERO, work(0))]), ..Patient::new(Duration::ZERO) };
    patient.moved(1, 12_000 * MS);
    assert!(patient.is_slow(12_001 * MS), "it stood for longer than all may wait");
    patient.moved(8, 12_100 * MS);
    assert!(!patient.is_slow(12_000 * MS + JUDGED_OVER), "it moves again");
}

#[test]
fn what_waits_goes_on_as_deliveries_end_and_after_a_minute_in_any_case() {
    let mut patience = patience(100, Duration::ZERO);
    let mut check = |busy: usize, now: Duration, expect: std::ops::Range<i64>, may_wait: bool| {
        assert_eq!(patience.is_ready(|_| busy, now), !expect.is_empty(), "{busy} under way after {now:?}");
        let ready = patience.take_ready(|_| busy, now);
        assert_eq!(numbers(&ready), expect.collect::<Vec<i64>>(), "{busy} under way after {now:?}");
        assert!(ready.iter().all(|work| work.may_wait == may_wait));
        ready
    };
    check(20, MS, 0..4, true);
    check(24, MS, 4..4, true);
    check(24, LONGEST_WAIT, 4..4, true);
    check(24, LONGEST_WAIT + MS, 4..5, false);
    let left = check(24, LONGEST_WAIT + MS, 5..6, false);
    patience.put_back(left, LONGEST_WAIT + MS);
    assert_eq!(patience.events(), 95);
    // It has not begun to wait anew.
    assert_eq!(numbers(&patience.take_ready(|_| 24, LONGEST_WAIT + MS)), [5]);
}

#[test]
fn a_crowded_record_is_asked_again_when_a_delivery_ends_or_none_is_under_way() {
    let mut patience = patience(30, Duration::ZERO);
    let ready = patience.take_ready(|_| 20, MS);
    patience.put_back(ready, MS);
    assert!(!patience.is_ready(|_| 20, MS), "nothing has ended");
    assert_eq!(numbers(&patience.take_ready(|_| 0, MS)), [0], "nothing will end");
    patience.eased(&"hot".into());
    assert_eq!(numbers(&patience.take_ready(|_| 20, MS)), [1, 2, 3, 4]);
}

#[test]
fn a_worker_that_stops_begins_nothing_that_waits_nor_what_comes_behind_it() {
    let mut patience = patience(30, Duration::ZERO);
    let left = patience.take_ready(|_| 20, MS);
    patience.stop();
    patience.put_back(left, MS);
    patience.push(work(30), MS);
    assert_eq!((patience.events(), patience.is_ready(|_| 0, 2 * LONGEST_WAIT), patience.has(&"hot".into())), (0, false, true));
    assert!(patience.take_ready(|_| 0, 2 * LONGEST_WAIT).is_empty());
}

//! Tables of offers and releases.

use super::Kind::{First, Retry};
use super::Offered::{Halted, Park, Queued, Start, Wait};
use super::*;
use crate::engine::delivery::breaker::{FAILURES_IN_A_ROW, FIRST_OPEN};

const MS: Duration = Duration::from_millis(1);
const T0: Timestamp = Timestamp(1_000_000);
const AROUND: Around = Around { ceiling: u32::MAX, patience: PATIENCE_ALONE };
const CROWDED: Around = Around { ceiling: u32::MAX, patience: PATIENCE };
const FIRST: Slot = Slot { kind: First, probe: false };
const RETRY: Slot = Slot { kind: Retry, probe: false };
const PROBE: Slot = Slot { kind: First, probe: true };

fn limits(slots: u32, queue: usize) -> Limits {
    Limits { slots, queue, longest_wait: 5_000 * MS, per_second: None, breaks: true }
}

fn admission(slots: u32, queue: usize) -> Admission<u32> {
    Admission::new(limits(slots, queue))
}

impl Admission<u32> {
    fn asks(&mut self, now: Timestamp, item: u32, kind: Kind) -> Offered<u32> {
        self.offer(now, item, kind, AROUND)
    }

    /// A slot given back by an attempt that was answered, and who takes it.
    fn done(&mut self, now: Timestamp, busy_for: Duration, slot: Slot) -> Option<(u32, Slot)> {
        assert_eq!(self.released(now, slot, busy_for, Health::Answered), [0_u32; 0]);
        self.next(u32::MAX)
    }
}

/// All slots taken by first attempts, with a known mean hold.
fn busy(slots: u32, queue: usize, hold: Duration) -> Admission<u32> {
    let mut admission = admission(slots, queue);
    (0..slots).for_each(|i| assert_eq!(admission.asks(T0, i, First), Start(i, FIRST)));
    assert_eq!(admission.done(T0, hold, FIRST), None);
    assert_eq!(admission.asks(T0, 99, First), Start(99, FIRST));
    admission
}

fn is_parked(offered: &Offered<u32>) -> bool {
    matches!(offered, Park(..))
}

#[test]
fn slots_are_taken_then_the_queue_in_order() {
    let mut admission = busy(2, 10, 10 * MS);
    for item in [100, 101, 102] {
        assert_eq!(admission.asks(T0, item, First), Queued);
    }
    assert_eq!((admission.in_flight(), admission.queued()), (2, 3));
    for item in [100, 101, 102] {
        assert_eq!(admission.done(T0, 10 * MS, FIRST), Some((item, FIRST)));
    }
    assert_eq!(admission.done(T0, 10 * MS, FIRST), None);
    assert_eq!(admission.done(T0, 10 * MS, FIRST), None);
    assert_eq!((admission.in_flight(), admission.queued()), (0, 0));
}

#[test]
fn one_slot_in_eight_is_kept_for_first_attempts() {
    for (slots, retries) in [(1, 1), (2, 1), (3, 2), (8, 7), (16, 14), (64, 56), (0, 0)] {
        let mut admission = admission(slots, 1000);
        let started = (0..200).filter(|i| admission.asks(T0, *i, Retry) == Start(*i, RETRY)).count();
        assert_eq!(started, retries, "of {slots} slots");
        let free = slots - u32::try_from(retries).unwrap();
        let started = (0..200).filter(|i| admission.asks(T0, *i, First) == Start(*i, FIRST)).count();
        assert_eq!(started, free as usize, "of {slots} slots");
    }
}

#[test]
fn retries_do_not_starve_behind_first_attempts() {
    let mut admission = busy(2, 10, 10 * MS);
    assert_eq!(admission.asks(T0, 1, First), Queued);
    assert_eq!(admission.asks(T0, 2, Retry), Queued);
    assert_eq!(admission.asks(T0, 3, First), Queued);
    assert_eq!(admission.done(T0, MS, FIRST), Some((1, FIRST)));
    assert_eq!(admission.done(T0, MS, FIRST), Some((2, RETRY)));
    assert_eq!(admission.asks(T0, 4, Retry), Queued);
    // The one slot for retries is held: the first attempt overtakes, the retry follows when that slot is free.
    assert_eq!(admission.done(T0, MS, FIRST), Some((3, FIRST)));
    assert_eq!(admission.done(T0, MS, FIRST), None);
    assert_eq!(admission.done(T0, MS, RETRY), Some((4, RETRY)));
}

#[test]
fn what_would_wait_longer_than_a_third_of_a_lease_is_parked() {
    let check = |slots, hold_ms: u32, before: u32, queues: bool| {
        let mut admission = busy(slots, 1000, hold_ms * MS);
        (0..before).for_each(|i| assert_eq!(admission.asks(T0, i, First), Queued));
        let offered = admission.asks(T0, 7, First);
        assert_eq!(is_parked(&offered), !queues, "{before} before it, {hold_ms} ms over {slots} slots: {offered:?}");
    };
    check(1, 5_000, 0, true);
    check(1, 5_001, 0, false);
    check(2, 3_000, 2, true);
    check(2, 3_000, 3, false);
    check(64, 3_000, 105, true);
    check(64, 3_000, 106, false);
    check(64, 10, 900, true);
}

#[test]
fn what_waits_for_its_rate_is_parked_alike() {
    let mut admission = Admission::new(Limits { per_second: Some(2.0), ..limits(1, 100) });
    assert_eq!(admission.asks(T0, 0, First), Start(0, FIRST));
    (1..=10).for_each(|i| assert_eq!(admission.asks(T0, i, First), Queued, "{i}"));
    // Each in its turn, half a second apart.
    assert_eq!(admission.asks(T0, 11, First), Park(11, T0.after(PARKED_AT_LEAST + 500 * MS)));
    assert_eq!(admission.asks(T0, 12, First), Park(12, T0.after(PARKED_AT_LEAST + 1000 * MS)));
}

#[test]
fn a_full_queue_waits_if_it_is_fast_and_parks_if_it_is_slow() {
    let check = |around, hold_ms: u32, waits: bool| {
        let mut admission = busy(4, 4, hold_ms * MS);
        (0..4).for_each(|i| assert_eq!(admission.asks(T0, i, First), Queued));
        let offered = admission.offer(T0, 7, First, around);
        assert_eq!(offered == Wait(7), waits, "{hold_ms} ms, {around:?}: {offered:?}");
        assert_eq!(is_parked(&offered), !waits);
    };
    check(AROUND, 10, true);
    check(AROUND, 800, true);
    check(AROUND, 801, false);
    check(AROUND, 3_000, false);
    // With others beside it only the quickest may ask for patience.
    check(CROWDED, 10, true);
    check(CROWDED, 40, true);
    check(CROWDED, 41, false);
}

#[test]
fn a_full_queue_is_not_slow_for_a_moment_of_silence() {
    let check = |silence_ms: u64, turn_ms: u32, waits: bool| {
        let mut admission = busy(64, 256, 5 * MS);
        (0..256).for_each(|i| assert_eq!(admission.asks(T0, i, First), Queued));
        let around = Around { ceiling: u32::MAX, patience: patience(false, turn_ms * MS) };
        let offered = admission.offer(T0.after(Duration::from_millis(silence_ms)), 7, First, around);
        assert_eq!(offered == Wait(7), waits, "{silence_ms} ms, turns of {turn_ms} ms: {offered:?}");
    };
    check(0, 0, true);
    check(50, 0, true);
    check(51, 0, false);
    // A worker whose own turns take long waits longer before it makes more of them, but not for ever.
    check(51, 2, false);
    check(51, 3, true);
    check(100, 5, true);
    check(101, 5, false);
    check(1_000, 40_000, true);
    check(1_001, 40_000, false);
}

#[test]
fn no_destination_takes_all_slots_of_the_worker() {
    let mut admission = admission(64, 1000);
    let around = |ceiling| Around { ceiling, ..CROWDED };
    assert_eq!(admission.offer(T0, 1, First, around(0)), Start(1, FIRST), "one at least");
    assert_eq!(admission.offer(T0, 2, First, around(1)), Queued);
    assert_eq!(admission.next(1), None);
    assert_eq!(admission.next(2), Some((2, FIRST)));
}

#[test]
fn what_is_parked_comes_back_as_fast_as_it_can_be_sent() {
    let mut admission = busy(4, 0, 10_000 * MS);
    let mut parked = (0..300).map(|i| match admission.asks(T0, i, First) {
        Park(_, until) => until.since(T0),
        other => panic!("{other:?}"),
    });
    assert_eq!(parked.next(), Some(PARKED_AT_LEAST + 2_500 * MS));
    assert_eq!(parked.next(), Some(PARKED_AT_LEAST + 5_000 * MS));
    assert_eq!(parked.last(), Some(PARKED_AT_MOST));
}

#[test]
fn a_destination_that_never_answered_is_judged_by_its_silence() {
    let mut admission = admission(1, 100);
    assert_eq!(admission.asks(T0, 0, First), Start(0, FIRST));
    assert_eq!(admission.asks(T0.after(100 * MS), 1, First), Queued);
    // After 2.6 s without a release, the third in line would wait two holds of at least that.
    assert!(is_parked(&admission.asks(T0.after(2_600 * MS), 2, First)));
    assert_eq!(admission.asks(T0.after(2_400 * MS), 2, First), Queued);
}

#[test]
fn the_mean_follows_a_destination_that_turns_slow() {
    let mut admission = busy(1, 100, 10 * MS);
    let before = admission.estimated_wait(T0, First);
    for i in 0..40 {
        assert_eq!(admission.done(T0, 3_000 * MS, FIRST), None);
        assert_eq!(admission.asks(T0, i, First), Start(i, FIRST));
    }
    assert!(before <= 10 * MS);
    assert!(admission.estimated_wait(T0, First) > 2_900 * MS);
}

#[test]
fn an_item_that_was_not_started_gives_its_slot_on() {
    let mut admission = busy(1, 10, 10 * MS);
    assert_eq!(admission.asks(T0, 1, First), Queued);
    assert_eq!(admission.asks(T0, 2, First), Queued);
    let before = admission.estimated_wait(T0, First);
    assert_eq!(admission.done(T0, 10 * MS, FIRST), Some((1, FIRST)));
    assert_eq!(admission.released(T0, FIRST, Duration::ZERO, Health::Unknown), [0_u32; 0]);
    assert_eq!(admission.next(u32::MAX), Some((2, FIRST)));
    assert!(admission.estimated_wait(T0, First) * 3 >= before, "the mean is not spoilt by what never ran");
}

/// Fails so often that the breaker opens; answers what waited.
fn halted(admission: &mut Admission<u32>) -> Vec<u32> {
    let mut waited = Vec::new();
    for item in 0..FAILURES_IN_A_ROW {
        assert_eq!(admission.offer(T0, item, First, AROUND), Start(item, FIRST));
        if item + 1 == FAILURES_IN_A_ROW {
            for (item, kind) in [(101, Retry), (102, First), (103, Retry)] {
                assert_eq!(admission.asks(T0, item, kind), Queued);
            }
        }
        waited.extend(admission.released(T0, FIRST, 30 * MS, Health::Failed));
    }
    waited
}

#[test]
fn a_destination_that_fails_is_halted_with_all_that_waits() {
    let mut admission = admission(1, 10);
    assert_eq!(halted(&mut admission), [101, 102, 103]);
    assert!(admission.is_halted());
    assert_eq!((admission.next(u32::MAX), admission.queued(), admission.in_flight()), (None, 0, 0));
    assert_eq!(admission.asks(T0, 1, First), Halted(1));
    // One at a time finds out whether it is back.
    let later = T0.after(FIRST_OPEN);
    assert_eq!(admission.asks(later, 1, First), Start(1, PROBE));
    assert_eq!(admission.asks(later, 2, First), Halted(2));
    assert_eq!(admission.released(later, PROBE, Duration::ZERO, Health::Unknown), [0_u32; 0]);
    assert_eq!(admission.asks(later, 3, First), Start(3, PROBE));
    assert_eq!(admission.done(later, MS, PROBE), None);
    assert!(!admission.is_halted());
    assert_eq!(admission.asks(later, 4, First), Start(4, FIRST));
    assert_eq!(admission.asks(later, 5, First), Queued, "how long it took to fail is forgotten");
}

#[test]
fn without_a_breaker_failures_halt_nothing() {
    let mut admission = Admission::new(Limits { breaks: false, ..limits(1, 10) });
    assert_eq!(halted(&mut admission), [0_u32; 0]);
    assert!(!admission.is_halted());
    assert_eq!(admission.queued(), 3);
}

#[test]
fn what_was_halted_may_come_back_as_far_as_it_would_not_be_parked_again() {
    let check = |per_second, hold_ms: u32, queued: u32, expect: usize| {
        let mut admission = busy(8, 256, hold_ms * MS);
        (0..queued).for_each(|i| assert_eq!(admission.asks(T0, i, First), Queued));
        admission.set_limits(Limits { per_second, ..limits(8, 256) });
        assert_eq!(admission.room_for_halted(), Some(expect), "{per_second:?}/s, held for {hold_ms} ms, {queued} queued");
    };
    check(None, 10, 0, 128);
    check(None, 10, 100, 28);
    check(None, 10, 200, 0);
    // Seven slots for retries, and half of the longest wait.
    check(None, 1_000, 0, 17);
    check(Some(20.0), 10, 0, 50);
    check(Some(20.0), 10, 60, 0);
    check(Some(0.1), 10, 0, 1);
}

#[test]
fn what_was_halted_stays_away_from_who_does_not_answer() {
    let mut admission = admission(64, 256);
    let ends = |admission: &mut Admission<u32>, slot, health| {
        assert_eq!(admission.released(T0.after(FIRST_OPEN), slot, 10 * MS, health), [0_u32; 0]);
        admission.room_for_halted()
    };
    assert_eq!(admission.room_for_halted(), None, "it was never called");
    (0..FAILURES_IN_A_ROW + 1).for_each(|i| assert_eq!(admission.asks(T0, i, First), Start(i, FIRST)));
    assert_eq!(ends(&mut admission, FIRST, Health::Answered), Some(128));
    assert_eq!(ends(&mut admission, FIRST, Health::Failed), None);
    for _ in 1..FAILURES_IN_A_ROW {
        assert_eq!(ends(&mut admission, FIRST, Health::Failed), None);
    }
    assert!(admission.is_halted());
    let later = T0.after(3 * FIRST_OPEN);
    assert_eq!(admission.asks(later, 0, First), Start(0, PROBE));
    assert_eq!(admission.released(later, PROBE, 10 * MS, Health::Answered), [0_u32; 0]);
    assert_eq!(admission.room_for_halted(), Some(128), "it is back");
}

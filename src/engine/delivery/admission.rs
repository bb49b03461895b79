//! Who gets a destination's next slot: the bookkeeping of its slots and of a bounded queue before them, without I/O and without
//! a clock. One destination that is slow fills its own queue and then parks; it never holds anything of another.
//!
//! It starts nothing and keeps no timer: the dispatcher offers, starts what it is told to, and says when a slot is free again.

use std::collections::VecDeque;
use std::time::Duration;

use crate::engine::time::Timestamp;

/// A full queue asks for patience (backpressure) only if it moves this fast; otherwise what is offered is parked.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// One slot in this many is kept for first attempts (at least one, where there are two or more): a wave of retries must not
/// keep new messages out.
const KEPT_ONE_IN: u32 = 8;

/// Weight of the newest measurement in the mean time that a slot is held.
const NEWEST_WEIGHT: f64 = 0.1;

/// First attempts and retries queue apart; retries cannot take the slots that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    First,
    Retry,
}

/// The answer to an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered<T> {
    /// It has a slot: start it now and call [`Admission::released`] when it ends.
    Start(T),
    /// It waits here; a later `released` hands it out.
    Queued,
    /// It would wait too long: park it, without using an attempt.
    Park(T),
    /// The queue is full but moves fast: offer it again after the next release, and read nothing new meanwhile.
    Wait(T),
}

/// Slots and queue of one destination.
#[derive(Debug)]
pub struct Admission<T> {
    slots: u32,
    /// Of the slots, how many retries may hold.
    retry_slots: u32,
    queue_limit: usize,
    /// What is estimated to wait longer than this is parked.
    longest_wait: Duration,
    first: Lane<T>,
    retry: Lane<T>,
    /// Order of arrival over both lanes.
    arrivals: u64,
    /// Mean time a slot is held; `None` until one was released.
    mean_hold: Option<Duration>,
    /// When a slot was last taken from idle or released: while this lies far back with all slots taken, holds are at least that long.
    last_progress: Timestamp,
}

#[derive(Debug)]
struct Lane<T> {
    in_flight: u32,
    /// With the number of its arrival.
    queue: VecDeque<(u64, T)>,
}

impl<T> Admission<T> {
    /// `max_in_flight` below 1 counts as 1. `longest_wait` is what [`super::lease::longest_queue_wait`] says for the destination.
    pub fn new(max_in_flight: u32, queue_limit: usize, longest_wait: Duration) -> Admission<T> {
        let slots = max_in_flight.max(1);
        Admission {
            slots,
            retry_slots: retry_slots(slots),
            queue_limit,
            longest_wait,
            first: Lane { in_flight: 0, queue: VecDeque::new() },
            retry: Lane { in_flight: 0, queue: VecDeque::new() },
            arrivals: 0,
            mean_hold: None,
            last_progress: Timestamp::MIN,
        }
    }

    /// Takes new limits over, as [`Admission::new`] does. What is in flight stays.
    pub fn set_limits(&mut self, max_in_flight: u32, longest_wait: Duration) {
        self.slots = max_in_flight.max(1);
        self.retry_slots = retry_slots(self.slots);
        self.longest_wait = longest_wait;
    }

    /// Asks for a slot. Nothing overtakes what is queued in its own lane.
    pub fn offer(&mut self, now: Timestamp, item: T, kind: Kind) -> Offered<T> {
        if self.lane(kind).queue.is_empty() && self.has_slot(kind) {
            if self.in_flight() == 0 {
                self.last_progress = now;
            }
            self.lane_mut(kind).in_flight += 1;
            return Offered::Start(item);
        }
        let wait = self.estimated_wait(now, kind);
        if wait > self.longest_wait {
            return Offered::Park(item);
        }
        if self.queued() >= self.queue_limit {
            return if wait > PATIENCE { Offered::Park(item) } else { Offered::Wait(item) };
        }
        self.arrivals += 1;
        let arrival = self.arrivals;
        self.lane_mut(kind).queue.push_back((arrival, item));
        Offered::Queued
    }

    /// A slot is free again after having been held for `busy_for`; answers what takes it, if anything may. The caller judges
    /// that item's lease before starting it, and if it does not start calls this again with a `busy_for` of zero.
    pub fn released(&mut self, now: Timestamp, busy_for: Duration, kind: Kind) -> Option<(T, Kind)> {
        debug_assert!(self.lane(kind).in_flight > 0, "released a slot that nobody held");
        let lane = self.lane_mut(kind);
        lane.in_flight = lane.in_flight.saturating_sub(1);
        // Zero is an item that was not started: it says nothing about how long a slot is held.
        if !busy_for.is_zero() {
            self.last_progress = now;
            self.mean_hold = Some(match self.mean_hold {
                None => busy_for,
                Some(mean) => mean.mul_f64(1.0 - NEWEST_WEIGHT) + busy_for.mul_f64(NEWEST_WEIGHT),
            });
        }
        let kind = self.next_kind()?;
        let lane = self.lane_mut(kind);
        let (_, item) = lane.queue.pop_front()?;
        lane.in_flight += 1;
        Some((item, kind))
    }

    /// How long something offered now would wait, by Little's law: those before it times the mean hold, over the slots.
    pub fn estimated_wait(&self, now: Timestamp, kind: Kind) -> Duration {
        let stalled = if self.has_slot(Kind::First) { Duration::ZERO } else { now.since(self.last_progress) };
        let hold = self.mean_hold.unwrap_or_default().max(stalled);
        let (before, slots) = match kind {
            Kind::First => (self.queued(), self.slots),
            Kind::Retry => (self.queued(), self.retry_slots),
        };
        hold.saturating_mul(u32::try_from(before + 1).unwrap_or(u32::MAX)) / slots.max(1)
    }

    pub fn in_flight(&self) -> u32 {
        self.first.in_flight + self.retry.in_flight
    }

    pub fn queued(&self) -> usize {
        self.first.queue.len() + self.retry.queue.len()
    }

    /// Gives up all that is queued, in order of arrival: at shutdown, or when a destination is halted.
    pub fn take_queued(&mut self) -> Vec<T> {
        let mut all: Vec<(u64, T)> = self.first.queue.drain(..).chain(self.retry.queue.drain(..)).collect();
        all.sort_by_key(|(arrival, _)| *arrival);
        all.into_iter().map(|(_, item)| item).collect()
    }

    fn has_slot(&self, kind: Kind) -> bool {
        self.in_flight() < self.slots && (kind == Kind::First || self.retry.in_flight < self.retry_slots)
    }

    /// The lane whose head came first, among those that may take a slot.
    fn next_kind(&self) -> Option<Kind> {
        let head = |kind| self.lane(kind).queue.front().filter(|_| self.has_slot(kind)).map(|(arrival, _)| (*arrival, kind));
        match (head(Kind::First), head(Kind::Retry)) {
            (Some(first), Some(retry)) => Some(if first.0 < retry.0 { Kind::First } else { Kind::Retry }),
            (one, other) => one.or(other).map(|(_, kind)| kind),
        }
    }

    fn lane(&self, kind: Kind) -> &Lane<T> {
        match kind {
            Kind::First => &self.first,
            Kind::Retry => &self.retry,
        }
    }

    fn lane_mut(&mut self, kind: Kind) -> &mut Lane<T> {
        match kind {
            Kind::First => &mut self.first,
            Kind::Retry => &mut self.retry,
        }
    }
}

/// Of so many slots, those that retries may hold.
fn retry_slots(slots: u32) -> u32 {
    if slots >= 2 { slots - (slots / KEPT_ONE_IN).max(1) } else { slots }
}

#[cfg(test)]
mod tests {
    use super::Kind::{First, Retry};
    use super::Offered::{Park, Queued, Start, Wait};
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const T0: Timestamp = Timestamp(1_000_000);

    fn admission(slots: u32, queue_limit: usize) -> Admission<u32> {
        Admission::new(slots, queue_limit, 5_000 * MS)
    }

    /// All slots taken by first attempts, with a known mean hold.
    fn busy(slots: u32, queue_limit: usize, hold: Duration) -> Admission<u32> {
        let mut admission = admission(slots, queue_limit);
        (0..slots).for_each(|i| assert_eq!(admission.offer(T0, i, First), Start(i)));
        assert_eq!(admission.released(T0, hold, First), None);
        assert_eq!(admission.offer(T0, 99, First), Start(99));
        admission
    }

    #[test]
    fn slots_are_taken_then_the_queue_in_order() {
        let mut admission = busy(2, 10, 10 * MS);
        for item in [100, 101, 102] {
            assert_eq!(admission.offer(T0, item, First), Queued);
        }
        assert_eq!((admission.in_flight(), admission.queued()), (2, 3));
        for item in [100, 101, 102] {
            assert_eq!(admission.released(T0, 10 * MS, First), Some((item, First)));
        }
        assert_eq!(admission.released(T0, 10 * MS, First), None);
        assert_eq!(admission.released(T0, 10 * MS, First), None);
        assert_eq!((admission.in_flight(), admission.queued()), (0, 0));
    }

    #[test]
    fn one_slot_in_eight_is_kept_for_first_attempts() {
        for (slots, retries) in [(1, 1), (2, 1), (3, 2), (8, 7), (16, 14), (64, 56), (0, 1)] {
            let mut admission = admission(slots, 1000);
            let started = (0..200).filter(|i| admission.offer(T0, *i, Retry) == Start(*i)).count();
            assert_eq!(started, retries, "of {slots} slots");
            let free = slots.max(1) - u32::try_from(retries).unwrap();
            let started = (0..200).filter(|i| admission.offer(T0, *i, First) == Start(*i)).count();
            assert_eq!(started, free as usize, "of {slots} slots");
        }
    }

    #[test]
    fn retries_do_not_starve_behind_first_attempts() {
        let mut admission = busy(2, 10, 10 * MS);
        assert_eq!(admission.offer(T0, 1, First), Queued);
        assert_eq!(admission.offer(T0, 2, Retry), Queued);
        assert_eq!(admission.offer(T0, 3, First), Queued);
        assert_eq!(admission.released(T0, MS, First), Some((1, First)));
        assert_eq!(admission.released(T0, MS, First), Some((2, Retry)));
        assert_eq!(admission.offer(T0, 4, Retry), Queued);
        // The one slot for retries is held: the first attempt overtakes, the retry follows when that slot is free.
        assert_eq!(admission.released(T0, MS, First), Some((3, First)));
        assert_eq!(admission.released(T0, MS, First), None);
        assert_eq!(admission.released(T0, MS, Retry), Some((4, Retry)));
    }

    #[test]
    fn what_would_wait_longer_than_a_third_of_a_lease_is_parked() {
        let check = |slots, hold_ms: u32, before: u32, expect: Offered<u32>| {
            let mut admission = busy(slots, 1000, hold_ms * MS);
            (0..before).for_each(|i| assert_eq!(admission.offer(T0, i, First), Queued));
            assert_eq!(admission.offer(T0, 7, First), expect, "{before} before it, {hold_ms} ms over {slots} slots");
        };
        check(1, 5_000, 0, Queued);
        check(1, 5_001, 0, Park(7));
        check(2, 3_000, 2, Queued);
        check(2, 3_000, 3, Park(7));
        check(64, 3_000, 105, Queued);
        check(64, 3_000, 106, Park(7));
        check(64, 10, 900, Queued);
    }

    #[test]
    fn a_full_queue_waits_if_it_is_fast_and_parks_if_it_is_slow() {
        let check = |hold_ms: u32, expect: Offered<u32>| {
            let mut admission = busy(4, 4, hold_ms * MS);
            (0..4).for_each(|i| assert_eq!(admission.offer(T0, i, First), Queued));
            assert_eq!(admission.offer(T0, 7, First), expect, "{hold_ms} ms");
        };
        check(10, Wait(7));
        check(800, Wait(7));
        check(801, Park(7));
        check(3_000, Park(7));
    }

    #[test]
    fn a_destination_that_never_answered_is_judged_by_its_silence() {
        let mut admission = admission(1, 100);
        assert_eq!(admission.offer(T0, 0, First), Start(0));
        assert_eq!(admission.offer(T0.after(100 * MS), 1, First), Queued);
        // After 2.6 s without a release, the third in line would wait two holds of at least that.
        assert_eq!(admission.offer(T0.after(2_600 * MS), 2, First), Park(2));
        assert_eq!(admission.offer(T0.after(2_400 * MS), 2, First), Queued);
    }

    #[test]
    fn the_mean_follows_a_destination_that_turns_slow() {
        let mut admission = busy(1, 100, 10 * MS);
        let before = admission.estimated_wait(T0, First);
        for i in 0..40 {
            assert_eq!(admission.released(T0, 3_000 * MS, First), None);
            assert_eq!(admission.offer(T0, i, First), Start(i));
        }
        assert!(before <= 10 * MS);
        assert!(admission.estimated_wait(T0, First) > 2_900 * MS);
    }

    #[test]
    fn an_item_that_was_not_started_gives_its_slot_on() {
        let mut admission = busy(1, 10, 10 * MS);
        assert_eq!(admission.offer(T0, 1, First), Queued);
        assert_eq!(admission.offer(T0, 2, First), Queued);
        let before = admission.estimated_wait(T0, First);
        assert_eq!(admission.released(T0, 10 * MS, First), Some((1, First)));
        assert_eq!(admission.released(T0, Duration::ZERO, First), Some((2, First)));
        assert!(admission.estimated_wait(T0, First) * 3 >= before, "the mean is not spoilt by what never ran");
    }

    #[test]
    fn what_is_queued_can_be_taken_back_in_order() {
        let mut admission = busy(1, 10, MS);
        for (item, kind) in [(1, First), (2, Retry), (3, First)] {
            assert_eq!(admission.offer(T0, item, kind), Queued);
        }
        assert_eq!(admission.take_queued(), [1, 2, 3]);
        assert_eq!(admission.queued(), 0);
        assert_eq!(admission.released(T0, MS, First), None);
    }
}

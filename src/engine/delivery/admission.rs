//! Who gets a destination's next slot: the bookkeeping of its slots, of a bounded queue before them, and of its breaker, without I/O
//! and without a clock. One destination that is slow fills its own queue and then parks; it never holds anything of another.
//!
//! It starts nothing and keeps no timer: the dispatcher offers, starts what it is told to, and says when a slot is free again.

use std::collections::VecDeque;
use std::time::Duration;

use super::breaker::{self, Breaker, Health, Passage};
use crate::engine::time::Timestamp;

/// A full queue asks for patience (backpressure) only if it is over in so short a time: everything else waits with it. What moves
/// more slowly is parked.
const PATIENCE: Duration = Duration::from_millis(50);

/// The same where there is no other destination that would have to wait: parking costs more than waiting.
const PATIENCE_ALONE: Duration = Duration::from_secs(1);

/// Parking is work too: a message written and read, and two turns more. Others gain by it only where the queue takes longer to move
/// than so many turns: a worker that has little of its processor is not helped by more work. A turn takes some 75 inputs in 5 ms (with
/// the machine to itself), so what takes less than about a tenth of what the lanes turn is parked.
const TURNS_WORTH_PARKING: u32 = 20;

/// How long others may be made to wait for a full queue. `turn`: how long a turn of this worker takes.
pub fn patience(alone: bool, turn: Duration) -> Duration {
    if alone { PATIENCE_ALONE } else { turn.saturating_mul(TURNS_WORTH_PARKING).clamp(PATIENCE, PATIENCE_ALONE) }
}

/// What is parked because too many wait comes back no sooner than this.
pub const PARKED_AT_LEAST: Duration = Duration::from_secs(5);

/// And no later than this, by our estimate of when its turn will be.
pub const PARKED_AT_MOST: Duration = Duration::from_secs(10 * 60);

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

/// A slot that was taken, to be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub kind: Kind,
    /// Its attempt is the one that shows whether the destination is back.
    pub probe: bool,
}

impl Slot {
    pub fn of(kind: Kind) -> Slot {
        Slot { kind, probe: false }
    }
}

/// What else the worker is doing, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around {
    /// Slots that this destination may hold so that others find some; at least one is given.
    pub ceiling: u32,
    /// How long a full queue may hold up everything else: [`patience`].
    pub patience: Duration,
}

/// The answer to an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered<T> {
    /// It has a slot: start it now and call [`Admission::released`] when it ends.
    Start(T, Slot),
    /// It waits here; a later [`Admission::next`] hands it out.
    Queued,
    /// It would wait too long: park it until about then, without using an attempt.
    Park(T, Timestamp),
    /// The destination is not called now: park it, without using an attempt.
    Halted(T),
    /// The queue is full but moves fast: offer it again after the next release, and read nothing new meanwhile.
    Wait(T),
}

/// Slots, queue and breaker of one destination.
#[derive(Debug)]
pub struct Admission<T> {
    limits: Limits,
    first: Lane<T>,
    retry: Lane<T>,
    /// Order of arrival over both lanes.
    arrivals: u64,
    /// Mean time a slot is held; `None` until one was released.
    mean_hold: Option<Duration>,
    /// When a slot was last taken from idle or released: while this lies far back with all slots taken, holds are at least that long.
    last_progress: Timestamp,
    /// The last attempt that told anything was answered.
    answers: bool,
    /// Until when what was parked before is expected to take the slots, in microseconds.
    reserved_us: i64,
    breaker: Breaker,
}

/// What a destination is held to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// With none nothing starts; it waits.
    pub slots: u32,
    pub queue: usize,
    /// What is estimated to wait longer than this is parked: [`super::lease::longest_queue_wait`].
    pub longest_wait: Duration,
    /// Attempts a second that it takes at most, if it says.
    pub per_second: Option<f64>,
    /// Whether failures halt it.
    pub breaks: bool,
}

#[derive(Debug)]
struct Lane<T> {
    in_flight: u32,
    /// With the number of its arrival.
    queue: VecDeque<(u64, T)>,
}

impl<T> Admission<T> {
    pub fn new(limits: Limits) -> Admission<T> {
        Admission {
            limits,
            first: Lane { in_flight: 0, queue: VecDeque::new() },
            retry: Lane { in_flight: 0, queue: VecDeque::new() },
            arrivals: 0,
            mean_hold: None,
            last_progress: Timestamp::MIN,
            answers: false,
            reserved_us: i64::MIN,
            breaker: Breaker::default(),
        }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Takes new limits over. What is in flight stays.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Asks for a slot. Nothing overtakes what is queued in its own lane.
    pub fn offer(&mut self, now: Timestamp, item: T, kind: Kind, around: Around) -> Offered<T> {
        let probe = match self.passage(now) {
            Passage::Open => false,
            // The probe wants a slot like any other, though what hung before may still hold them all.
            Passage::Probe if self.has_slot(kind, around.ceiling) => true,
            Passage::Probe | Passage::Halted(_) => return Offered::Halted(item),
        };
        if self.lane(kind).queue.is_empty() && self.has_slot(kind, around.ceiling) {
            if self.in_flight() == 0 {
                self.last_progress = now;
            }
            if probe {
                self.breaker.probing(now);
            }
            self.lane_mut(kind).in_flight += 1;
            return Offered::Start(item, Slot { kind, probe });
        }
        let wait = self.estimated_wait(now, kind);
        if wait > self.limits.longest_wait {
            return Offered::Park(item, self.reserve(now));
        }
        if self.queued() >= self.limits.queue {
            return if self.is_too_slow(now, kind, around.patience) { Offered::Park(item, self.reserve(now)) } else { Offered::Wait(item) };
        }
        self.arrivals += 1;
        let arrival = self.arrivals;
        self.lane_mut(kind).queue.push_back((arrival, item));
        Offered::Queued
    }

    /// A slot is free again after having been held for `busy_for` (not counted where nothing was sent). Answers all that waited if the
    /// destination is halted from now on: park it. Else [`Admission::next`] hands out who may start.
    pub fn released(&mut self, now: Timestamp, slot: Slot, busy_for: Duration, health: Health) -> Vec<T> {
        debug_assert!(self.lane(slot.kind).in_flight > 0, "released a slot that nobody held");
        let lane = self.lane_mut(slot.kind);
        lane.in_flight = lane.in_flight.saturating_sub(1);
        if health != Health::Unknown {
            self.last_progress = now;
            self.answers = health == Health::Answered;
            self.mean_hold = Some(match self.mean_hold {
                None => busy_for,
                Some(mean) => mean.mul_f64(1.0 - NEWEST_WEIGHT) + busy_for.mul_f64(NEWEST_WEIGHT),
            });
        }
        if !self.limits.breaks {
            return Vec::new();
        }
        let was_closed = self.breaker.is_closed();
        if self.breaker.told(now, health, slot.probe) {
            return self.take_queued();
        }
        if !was_closed && self.breaker.is_closed() {
            // How long it took to fail says nothing of how long it takes to work.
            self.mean_hold = None;
            self.reserved_us = i64::MIN;
        }
        Vec::new()
    }

    /// Who waited longest and may start now, with its slot. The caller judges its lease before starting it, and if it does not start
    /// releases the slot as of unknown health.
    pub fn next(&mut self, ceiling: u32) -> Option<(T, Slot)> {
        let kind = self.next_kind(ceiling)?;
        let lane = self.lane_mut(kind);
        let (_, item) = lane.queue.pop_front()?;
        lane.in_flight += 1;
        Some((item, Slot::of(kind)))
    }

    /// How long something offered now would wait, if those in flight are held no longer than they are held already.
    pub fn estimated_wait(&self, now: Timestamp, kind: Kind) -> Duration {
        self.wait_by(self.mean_hold.unwrap_or_default().max(self.stalled(now)), kind)
    }

    /// Whether a full queue takes longer to move than anybody should wait. A moment in which nothing comes back says little of what
    /// follows it (something else had the processor): it counts as long as it is, not times all that wait.
    fn is_too_slow(&self, now: Timestamp, kind: Kind, patience: Duration) -> bool {
        self.stalled(now) > patience || self.wait_by(self.mean_hold.unwrap_or_default(), kind) > patience
    }

    /// How long all slots have been taken without one being given back.
    fn stalled(&self, now: Timestamp) -> Duration {
        if self.in_flight() == 0 || self.in_flight() < self.limits.slots { Duration::ZERO } else { now.since(self.last_progress) }
    }

    /// By Little's law: those before it times the hold, over the slots.
    fn wait_by(&self, hold: Duration, kind: Kind) -> Duration {
        let slots = match kind {
            Kind::First => self.limits.slots,
            Kind::Retry => retry_slots(self.limits.slots),
        };
        let before = u32::try_from(self.queued() + 1).unwrap_or(u32::MAX);
        let by_rate = self.limits.per_second.map_or(0.0, |per_second| f64::from(before) / per_second);
        (hold.saturating_mul(before) / slots.max(1)).max(Duration::try_from_secs_f64(by_rate).unwrap_or(Duration::MAX))
    }

    /// How many retries get a slot in so long, by what is known.
    fn taken_within(&self, wait: Duration) -> usize {
        let hold = self.mean_hold.unwrap_or_default().as_secs_f64();
        let by_slots = wait.as_secs_f64() * f64::from(retry_slots(self.limits.slots)) / hold.max(f64::MIN_POSITIVE);
        let by_rate = self.limits.per_second.map_or(f64::INFINITY, |per_second| wait.as_secs_f64() * per_second);
        by_slots.min(by_rate) as usize
    }

    pub fn in_flight(&self) -> u32 {
        self.first.in_flight + self.retry.in_flight
    }

    pub fn queued(&self) -> usize {
        self.first.queue.len() + self.retry.queue.len()
    }

    /// What its breaker is at.
    pub fn breaker(&self, now: Timestamp) -> breaker::Shown {
        if self.limits.breaks { self.breaker.shown(now) } else { breaker::Shown::Closed }
    }

    /// Whether the destination is halted: its breaker is open, or half open.
    pub fn is_halted(&self) -> bool {
        self.limits.breaks && !self.breaker.is_closed()
    }

    /// How many of what was halted may come back although their wait is not over; `None` while the destination is not known to answer.
    /// Half of the queue, and of the wait that is too long, is left to what comes in its time.
    pub fn room_for_halted(&self) -> Option<usize> {
        let most = (self.limits.queue / 2).min(self.taken_within(self.limits.longest_wait / 2)).max(1);
        (self.answers && !self.is_halted()).then(|| most.saturating_sub(self.queued()))
    }

    /// Gives up all that is queued, in order of arrival.
    pub fn take_queued(&mut self) -> Vec<T> {
        let mut all: Vec<(u64, T)> = self.first.queue.drain(..).chain(self.retry.queue.drain(..)).collect();
        all.sort_by_key(|(arrival, _)| *arrival);
        all.into_iter().map(|(_, item)| item).collect()
    }

    /// When one more that is parked should come back: one after another, as fast as the destination takes them. Otherwise all
    /// would come back together, and be parked together again.
    fn reserve(&mut self, now: Timestamp) -> Timestamp {
        let by_slots = self.mean_hold.unwrap_or_default() / self.limits.slots.max(1);
        let by_rate = self.limits.per_second.and_then(|per_second| Duration::try_from_secs_f64(per_second.recip()).ok());
        let apart = by_slots.max(by_rate.unwrap_or_default()).min(PARKED_AT_MOST);
        let us = |at: Timestamp| at.0.saturating_mul(1000);
        let (earliest, latest) = (us(now.after(PARKED_AT_LEAST)), us(now.after(PARKED_AT_MOST)));
        let apart_us = i64::try_from(apart.as_micros()).unwrap_or(i64::MAX);
        self.reserved_us = self.reserved_us.max(earliest).saturating_add(apart_us).min(latest);
        Timestamp(self.reserved_us / 1000)
    }

    fn passage(&self, now: Timestamp) -> Passage {
        if self.limits.breaks { self.breaker.passage(now) } else { Passage::Open }
    }

    fn has_slot(&self, kind: Kind, ceiling: u32) -> bool {
        let free = self.in_flight() < self.limits.slots.min(ceiling.max(1));
        free && (kind == Kind::First || self.retry.in_flight < retry_slots(self.limits.slots))
    }

    /// The lane whose head came first, among those that may take a slot.
    fn next_kind(&self, ceiling: u32) -> Option<Kind> {
        let head = |kind| self.lane(kind).queue.front().filter(|_| self.has_slot(kind, ceiling)).map(|(arrival, _)| (*arrival, kind));
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
mod tests;

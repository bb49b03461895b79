//! Deliveries on their way to a destination: who may start, who waits, who is parked. The bookkeeping of one destination is
//! `engine::delivery::Admission`; here it is shared by the lanes. Nothing here waits for anything.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::engine::catalog::Route;
use crate::engine::definition::Rate;
use crate::engine::delivery::admission::{self, Admission, Around, Kind, Slot};
use crate::engine::delivery::breaker::{self, Health};
use crate::engine::delivery::lease;
use crate::engine::delivery::rate::{self, Leased};
use crate::engine::effect::Passed;
use crate::engine::id::UserId;
use crate::engine::record::{Member, Pending};
use crate::engine::time::Timestamp;

use super::appending::Ack;
use super::lane::Mail;
use super::leaving::Unfinished;
use super::links::Fetching;
use super::members::Share;
use super::offsets::Ticket;
use super::retry::RetryMessage;

/// A pending entry that somebody is to send now.
pub struct Delivery {
    pub user: UserId,
    pub entry: Box<Pending>,
    /// The decision lines of the turn that gave it out.
    pub decided: Ack,
    /// The broker time of the event that triggered it, while that is at hand.
    pub since: Option<Timestamp>,
    /// The users who share the request, each with a delivery of their own; none where it is the user's alone.
    pub members: Vec<Member>,
    /// Attempts made before it was sent again from a dead letter: its retries are counted from there.
    pub before: u32,
}

impl Delivery {
    pub fn new(user: UserId, entry: Pending, decided: Ack) -> Delivery {
        Delivery { user, entry: Box::new(entry), decided, since: None, members: Vec::new(), before: 0 }
    }

    /// The destination's name; empty for an entry whose request is in the retry topic.
    pub fn destination(&self) -> &str {
        self.entry.request.as_ref().map_or("", |request| &request.destination)
    }
}

/// What waits for a slot: a first attempt (or a take-over), whose request is in the record, or a retry message that has not
/// yet moved its entry.
pub enum Waiting {
    Delivery(Delivery),
    Retry(Box<RetryMessage>, Ticket),
    /// Linked content, before its send is decided.
    Fetch(Fetching),
}

impl Waiting {
    pub fn destination(&self) -> &str {
        match self {
            Waiting::Delivery(delivery) => delivery.destination(),
            Waiting::Retry(message, _) => &message.request.destination,
            Waiting::Fetch(fetching) => &fetching.service,
        }
    }

    /// Whether both want the same slots.
    pub fn waits_with(&self, other: &Waiting) -> bool {
        self.kind() == other.kind() && self.destination() == other.destination()
    }

    fn kind(&self) -> Kind {
        match self {
            Waiting::Delivery(_) | Waiting::Fetch(_) => Kind::First,
            Waiting::Retry(..) => Kind::Retry,
        }
    }
}

/// What became of an offer.
pub enum Offered {
    /// It has a slot.
    Start(Waiting, Slot),
    /// It waits; it comes back to its lane as [`Mail::Granted`] or [`Mail::Park`].
    Queued,
    /// To the retry topic, without using an attempt.
    Park(Waiting, Parking),
    /// Everything is busy but moving: offer it again, and take nothing new before.
    Later(Waiting),
}

/// Why something is parked that was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parking {
    /// It would wait too long; about then it is its turn.
    Busy(Timestamp),
    /// Its destination is not called just now.
    Halted,
}

/// How many may wait for one destination in this worker. At 13,000 requests a second that is 20 ms of work: more would only make what
/// is decided wait in records instead of in the log.
const QUEUE_LIMIT: usize = 256;

/// A destination is alone until another was called within this time.
const ALONE_AFTER: Duration = Duration::from_secs(10 * 60);

/// Weight of the newest turn in the mean of how long they take.
const NEWEST_WEIGHT: f64 = 0.1;

/// How much longer than its timeout a request of a destination with a rate may hold its slot before it begins.
const RATE_AHEAD: Duration = Duration::from_secs(1);

/// How a destination is called, over all workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub slots: u32,
    pub timeout: Duration,
    pub rate: Option<Rate>,
}

impl Limits {
    pub fn of(route: &Route<'_>) -> Limits {
        Limits { slots: route.max_in_flight, timeout: route.timeout, rate: route.rate }
    }

    /// What this worker keeps to. Slots are divided, at least one for each worker: they hold over all workers unless there are more
    /// workers than slots. Of a rate each may use all that the others leave; it only takes no more slots than can begin.
    fn of_share(self, share: Sharing, now: Timestamp) -> admission::Limits {
        let (share, guarded) = match share {
            Sharing::Unguarded => (Some(Share { workers: 1, taken_until: Timestamp::MIN }), false),
            Sharing::Guarded(share) => (share, true),
        };
        // What others started before they counted this worker is over after its timeout.
        let share = share.filter(|share| now >= share.taken_until.after(self.timeout));
        let workers = share.map_or(1, |share| share.workers.max(1));
        let per_second = self.rate.filter(|_| guarded).map(|rate| rate.per_second / f64::from(workers));
        let beginning = per_second.map(|per_second| (per_second * (self.timeout + RATE_AHEAD).as_secs_f64()).ceil() as u32);
        let slots = (self.slots / workers).min(beginning.unwrap_or(u32::MAX)).max(1);
        admission::Limits {
            slots: if share.is_some() { slots } else { 0 },
            queue: QUEUE_LIMIT,
            longest_wait: lease::longest_queue_wait(lease::length(self.timeout)),
            per_second,
            breaks: guarded,
        }
    }
}

/// What a worker takes of what all workers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// It is alone, and keeps neither breakers nor rates.
    Unguarded,
    /// Nothing, while it is not known.
    Guarded(Option<Share>),
}

/// What one worker has under way to a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    pub name: Box<str>,
    pub in_flight: u32,
    pub waiting: usize,
    pub breaker: breaker::Shown,
}

/// All destinations of this worker.
pub struct Destinations {
    inner: Mutex<Inner>,
    lanes: Vec<mpsc::UnboundedSender<Mail>>,
    max_in_flight: u32,
    /// Something wants to begin for which no rate is leased.
    pub rate_wanted: Notify,
    /// What the lanes have to do, for when the worker stops.
    pub unfinished: Unfinished,
}

struct Inner {
    by_name: HashMap<Box<str>, Entry>,
    sharing: Sharing,
    in_flight: u32,
    /// The worker stops: nothing waits here any longer.
    closed: bool,
    /// Which destination was offered to last, and since when no other was.
    last: usize,
    alone_since: Option<Timestamp>,
    /// Mean of how long turns take.
    turn: Duration,
}

struct Entry {
    number: usize,
    admission: Admission<(usize, Waiting)>,
    limits: Limits,
    leased: Leased,
    /// What has a slot and waits for its rate, with the time until which it may still begin.
    beginning: VecDeque<(Timestamp, oneshot::Sender<()>)>,
}

impl Destinations {
    /// `guarded`: breakers halt, rates are kept, for which somebody must [`Destinations::lease`], and slots are shared, as
    /// [`Destinations::shared`] says. Where nothing takes time none of it means anything.
    pub fn new(lanes: Vec<mpsc::UnboundedSender<Mail>>, max_in_flight: usize, guarded: bool) -> Destinations {
        Destinations {
            inner: Mutex::new(Inner {
                by_name: HashMap::new(),
                sharing: if guarded { Sharing::Guarded(None) } else { Sharing::Unguarded },
                in_flight: 0,
                closed: false,
                last: 0,
                alone_since: None,
                turn: Duration::ZERO,
            }),
            unfinished: Unfinished::of(lanes.len()),
            lanes,
            max_in_flight: u32::try_from(max_in_flight).unwrap_or(u32::MAX),
            rate_wanted: Notify::new(),
        }
    }

    /// What is this worker's share from now on; `None`: nothing. To be said again and again: a share that grows with time lets start what
    /// waits.
    pub fn shared(&self, share: Option<Share>, now: Timestamp) {
        let mut inner = self.lock();
        let Inner { by_name, sharing, in_flight, alone_since, .. } = &mut *inner;
        *sharing = Sharing::Guarded(share);
        for entry in by_name.values_mut() {
            entry.admission.set_limits(entry.limits.of_share(*sharing, now));
            self.start_waiting(entry, in_flight, is_alone(*alone_since, now));
        }
    }

    /// Offers work of `lane`.
    pub fn offer(&self, lane: usize, waiting: Waiting, limits: Limits, now: Timestamp) -> Offered {
        let kind = waiting.kind();
        let mut inner = self.lock();
        let own = limits.of_share(inner.sharing, now);
        let known = inner.by_name.len();
        if !inner.by_name.contains_key(waiting.destination()) {
            inner.by_name.insert(waiting.destination().into(), Entry::new(known, limits, own));
        }
        let Inner { by_name, in_flight, closed, last, alone_since, turn, .. } = &mut *inner;
        let Some(entry) = by_name.get_mut(waiting.destination()) else { return Offered::Later(waiting) };
        entry.limits = limits;
        if entry.admission.limits() != own {
            entry.admission.set_limits(own);
        }
        if *last != entry.number {
            (*last, *alone_since) = (entry.number, Some(now));
        }
        let alone = is_alone(*alone_since, now);
        let ceiling = ceiling(self.max_in_flight, *in_flight, &entry.admission, alone);
        let around = Around { ceiling, patience: admission::patience(alone, *turn) };
        match entry.admission.offer(now, (lane, waiting), kind, around) {
            admission::Offered::Start((_, waiting), slot) => {
                *in_flight += 1;
                Offered::Start(waiting, slot)
            }
            admission::Offered::Queued => {
                if *closed {
                    self.park_queued(entry, now);
                }
                Offered::Queued
            }
            admission::Offered::Wait((_, waiting)) if *closed => Offered::Park(waiting, Parking::Busy(now)),
            admission::Offered::Park((_, waiting), until) => Offered::Park(waiting, Parking::Busy(until)),
            admission::Offered::Halted((_, waiting)) => Offered::Park(waiting, Parking::Halted),
            admission::Offered::Wait((_, waiting)) => Offered::Later(waiting),
        }
    }

    /// A lane's turn took so long, its waits for the store included: that is this worker's own pace.
    pub fn turned(&self, took: Duration) {
        let mut inner = self.lock();
        inner.turn = inner.turn.mul_f64(1.0 - NEWEST_WEIGHT) + took.mul_f64(NEWEST_WEIGHT);
    }

    /// Gives a slot back after `held`, and hands it on to who waits longest; `health` is what its attempt showed.
    pub fn released(&self, destination: &str, slot: Slot, held: Duration, health: Health, now: Timestamp) {
        let mut inner = self.lock();
        let Inner { by_name, in_flight, alone_since, .. } = &mut *inner;
        *in_flight = in_flight.saturating_sub(1);
        let Some(entry) = by_name.get_mut(destination) else { return };
        for (lane, waiting) in entry.admission.released(now, slot, held, health) {
            // A lane that is gone is a worker that stops: the entry's lease will be taken over.
            let _ = self.lanes[lane].send(Mail::Park(waiting, Parking::Halted));
        }
        self.start_waiting(entry, in_flight, is_alone(*alone_since, now));
    }

    fn start_waiting(&self, entry: &mut Entry, in_flight: &mut u32, alone: bool) {
        while let Some(((lane, waiting), slot)) = entry.admission.next(ceiling(self.max_in_flight, *in_flight, &entry.admission, alone)) {
            *in_flight += 1;
            let _ = self.lanes[lane].send(Mail::Granted(waiting, slot));
        }
    }

    /// Whether the requests to this destination are kept to a rate.
    pub fn has_rate(&self, destination: &str) -> bool {
        let inner = self.lock();
        inner.sharing != Sharing::Unguarded && inner.by_name.get(destination).is_some_and(|entry| entry.limits.rate.is_some())
    }

    /// The worker stops: what still waits for a slot is parked, for others to take at once. It would use an attempt if it were left to its
    /// lease.
    pub fn close(&self, now: Timestamp) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.by_name.values_mut().for_each(|entry| self.park_queued(entry, now));
    }

    fn park_queued(&self, entry: &mut Entry, now: Timestamp) {
        for (lane, waiting) in entry.admission.take_queued() {
            match waiting {
                // It stands in the retry topic, unread.
                Waiting::Retry(..) => {}
                Waiting::Delivery(_) | Waiting::Fetch(_) => drop(self.lanes[lane].send(Mail::Park(waiting, Parking::Busy(now)))),
            }
        }
    }

    /// Asks whether a request that has its slot may begin by its destination's rate: at once (`None`), or when this says so. Should it
    /// say nothing until `latest`, it fails: then it is too late to begin.
    pub fn may_begin(&self, destination: &str, latest: Timestamp, now: Timestamp) -> Option<oneshot::Receiver<()>> {
        let mut inner = self.lock();
        let guarded = inner.sharing != Sharing::Unguarded;
        let entry = inner.by_name.get_mut(destination).filter(|entry| guarded && entry.limits.rate.is_some())?;
        if entry.beginning.is_empty() && entry.leased.take(now) {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        entry.beginning.push_back((latest, sender));
        self.rate_wanted.notify_one();
        Some(receiver)
    }

    /// What is to be asked of the store, so that what waits for its rate may begin. What waited too long is told so.
    pub fn wishes(&self, now: Timestamp) -> Vec<(Box<str>, u32, rate::Bucket)> {
        let mut inner = self.lock();
        let wish = |name: &str, entry: &mut Entry| {
            entry.beginning.retain(|(latest, sender)| *latest > now && !sender.is_closed());
            let Some(rate) = entry.limits.rate else {
                entry.begin(|_| true);
                return None;
            };
            let bucket = rate::bucket(&rate);
            let want = entry.leased.wanted(entry.beginning.len(), &bucket);
            (want > 0).then(|| (name.into(), want, bucket))
        };
        inner.by_name.iter_mut().filter_map(|(name, entry)| wish(name, entry)).collect()
    }

    /// The store gave so much of the rate of a destination, asked for at `asked_at`: who waits longest begins.
    pub fn lease(&self, destination: &str, given: u32, asked_at: Timestamp, now: Timestamp) {
        if let Some(entry) = self.lock().by_name.get_mut(destination) {
            entry.leased.lease(given, asked_at);
            entry.begin(|leased| leased.take(now));
        }
    }

    /// Hands to a lane of this worker, be it another, what a record has to say. One that is gone is a worker that stops.
    pub fn pass(&self, lane: usize, to: UserId, passed: Box<Passed>) {
        self.unfinished.begin();
        if self.lanes[lane].send(Mail::Passed(to, passed)).is_err() {
            self.unfinished.end();
        }
    }

    /// How many wait for this destination.
    pub fn queued(&self, destination: &str) -> usize {
        self.lock().by_name.get(destination).map_or(0, |entry| entry.admission.queued() + entry.beginning.len())
    }

    /// How many of what was halted for this destination may come back before their time; `None` while it is not called.
    pub fn room_for_halted(&self, destination: &str) -> Option<usize> {
        self.lock().by_name.get(destination)?.admission.room_for_halted()
    }

    /// How many wait for each destination, and whether it is halted.
    pub fn observe(&self, mut each: impl FnMut(&str, usize, bool)) {
        let waiting = |entry: &Entry| entry.admission.queued() + entry.beginning.len();
        self.lock().by_name.iter().for_each(|(name, entry)| each(name, waiting(entry), entry.admission.is_halted()));
    }

    /// All that were called, as they are now.
    pub fn look(&self, now: Timestamp) -> Vec<Look> {
        let look = |name: &str, entry: &Entry| Look {
            name: name.into(),
            in_flight: entry.admission.in_flight(),
            waiting: entry.admission.queued() + entry.beginning.len(),
            breaker: entry.admission.breaker(now),
        };
        self.lock().by_name.iter().map(|(name, entry)| look(name, entry)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(number: usize, limits: Limits, own: admission::Limits) -> Entry {
        Entry { number, admission: Admission::new(own), limits, leased: Leased::default(), beginning: VecDeque::new() }
    }

    /// Lets begin who waits, as many as `may` says.
    fn begin(&mut self, may: impl Fn(&mut Leased) -> bool) {
        self.beginning.retain(|(_, sender)| !sender.is_closed());
        while !self.beginning.is_empty() && may(&mut self.leased) {
            if let Some((_, sender)) = self.beginning.pop_front() {
                let _ = sender.send(());
            }
        }
    }
}

fn is_alone(since: Option<Timestamp>, now: Timestamp) -> bool {
    since.is_none_or(|since| now.since(since) >= ALONE_AFTER)
}

/// How many slots of the worker a destination may hold: no more than it leaves free for all others together, so that a few that hang
/// never take all of them. With `n` that take what they can, one in `n + 1` stays free.
fn ceiling(max_in_flight: u32, in_flight: u32, admission: &Admission<(usize, Waiting)>, alone: bool) -> u32 {
    let free = max_in_flight.saturating_sub(in_flight);
    if alone { admission.in_flight().saturating_add(free) } else { free }
}

#[cfg(test)]
mod tests;

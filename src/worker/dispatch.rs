//! Deliveries on their way to a destination: who may start, who waits, who is parked. The bookkeeping of one destination is
//! `engine::delivery::Admission`; here it is shared by the lanes. Nothing here waits for anything.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Shared;
use hashbrown::HashMap;
use tokio::sync::mpsc;

use crate::engine::delivery::admission::{self, Admission, Kind};
use crate::engine::delivery::lease;
use crate::engine::id::UserId;
use crate::engine::record::Pending;
use crate::engine::time::Timestamp;

use super::lane::Mail;
use super::offsets::Ticket;
use super::ports::{Append, AppendError, Line, SendFuture};
use super::retry::RetryMessage;

/// An acknowledgement that several deliveries wait for.
#[derive(Clone)]
pub struct Ack(Option<Shared<SendFuture<'static, Result<(), AppendError>>>>);

impl Ack {
    /// Nothing to wait for.
    pub fn done() -> Ack {
        Ack(None)
    }

    pub fn of(append: SendFuture<'static, Result<(), AppendError>>) -> Ack {
        Ack(Some(append.shared()))
    }

    pub async fn wait(self) -> Result<(), AppendError> {
        match self.0 {
            Some(shared) => shared.await,
            None => Ok(()),
        }
    }
}

/// Appends until it is acknowledged: the caller cannot go on without. A line that the log refuses for good (too large, no such
/// topic) is logged and given up, so that it does not hold everything behind it.
pub async fn append_surely(append: &dyn Append, lines: Vec<Line>) {
    loop {
        match append.append(lines.clone()).await {
            Ok(()) => return,
            Err(AppendError::Unavailable(error)) => {
                tracing::warn!(%error, lines = lines.len(), "the log does not acknowledge: trying again")
            }
            Err(AppendError::Refused(error)) => {
                tracing::error!(%error, topic = %lines.first().map_or("", |line| &line.topic), "the log refuses a line for good: it is lost");
                return;
            }
        }
    }
}

/// A pending entry that somebody is to send now.
pub struct Delivery {
    pub user: UserId,
    pub entry: Box<Pending>,
    /// The decision lines of the turn that gave it out.
    pub decided: Ack,
    /// Which kind of slot it holds or wants: a retry that won has taken its slot as one.
    pub slot: Kind,
    /// The broker time of the event that triggered it, while that is at hand.
    pub since: Option<Timestamp>,
}

impl Delivery {
    pub fn new(user: UserId, entry: Pending, decided: Ack) -> Delivery {
        Delivery { user, entry: Box::new(entry), decided, slot: Kind::First, since: None }
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
}

impl Waiting {
    pub fn destination(&self) -> &str {
        match self {
            Waiting::Delivery(delivery) => delivery.destination(),
            Waiting::Retry(message, _) => &message.request.destination,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Waiting::Delivery(_) => Kind::First,
            Waiting::Retry(..) => Kind::Retry,
        }
    }
}

/// What became of an offer.
pub enum Offered {
    /// It has a slot.
    Start(Waiting),
    /// It waits; it comes back to its lane as [`Mail::Granted`].
    Queued,
    /// It would wait too long: to the retry topic, without using an attempt.
    Park(Waiting),
    /// Everything is busy but moving: offer it again, and take nothing new before.
    Later(Waiting),
}

/// How many may wait for one destination in this worker. At 13,000 requests a second that is 20 ms of work: more would only make what
/// is decided wait in records instead of in the log.
const QUEUE_LIMIT: usize = 256;

/// How a destination is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub slots: u32,
    pub timeout: Duration,
}

/// All destinations of this worker.
pub struct Destinations {
    by_name: Mutex<HashMap<Box<str>, Entry>>,
    lanes: Vec<mpsc::UnboundedSender<Mail>>,
    in_flight: AtomicUsize,
    max_in_flight: usize,
}

struct Entry {
    admission: Admission<(usize, Waiting)>,
    limits: Limits,
}

impl Destinations {
    pub fn new(lanes: Vec<mpsc::UnboundedSender<Mail>>, max_in_flight: usize) -> Destinations {
        Destinations { by_name: Mutex::default(), lanes, in_flight: AtomicUsize::new(0), max_in_flight }
    }

    /// Offers work of `lane`.
    pub fn offer(&self, lane: usize, waiting: Waiting, limits: Limits, now: Timestamp) -> Offered {
        if self.in_flight.load(Ordering::Relaxed) >= self.max_in_flight {
            return Offered::Later(waiting);
        }
        let kind = waiting.kind();
        let mut by_name = self.lock();
        if !by_name.contains_key(waiting.destination()) {
            by_name.insert(waiting.destination().into(), Entry::new(limits));
        }
        let Some(entry) = by_name.get_mut(waiting.destination()) else { return Offered::Later(waiting) };
        if entry.limits != limits {
            entry.limits = limits;
            entry.admission.set_limits(limits.slots, longest_wait(limits));
        }
        match entry.admission.offer(now, (lane, waiting), kind) {
            admission::Offered::Start((_, waiting)) => {
                self.in_flight.fetch_add(1, Ordering::Relaxed);
                Offered::Start(waiting)
            }
            admission::Offered::Queued => Offered::Queued,
            admission::Offered::Park((_, waiting)) => Offered::Park(waiting),
            admission::Offered::Wait((_, waiting)) => Offered::Later(waiting),
        }
    }

    /// Gives a slot back after `held` (zero: nothing was sent), and hands it on to who waits longest.
    pub fn released(&self, destination: &str, kind: Kind, held: Duration, now: Timestamp) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let next = self.lock().get_mut(destination).and_then(|entry| entry.admission.released(now, held, kind));
        if let Some(((lane, waiting), _)) = next {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            // A lane that is gone is a worker that stops: the entry's lease will be taken over.
            let _ = self.lanes[lane].send(Mail::Granted(waiting));
        }
    }

    /// How many wait for this destination.
    pub fn queued(&self, destination: &str) -> usize {
        self.lock().get(destination).map_or(0, |entry| entry.admission.queued())
    }

    /// How many wait for each destination.
    pub fn observe(&self, mut each: impl FnMut(&str, usize)) {
        self.lock().iter().for_each(|(name, entry)| each(name, entry.admission.queued()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Entry>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(limits: Limits) -> Entry {
        Entry { admission: Admission::new(limits.slots, QUEUE_LIMIT, longest_wait(limits)), limits }
    }
}

fn longest_wait(limits: Limits) -> Duration {
    lease::longest_queue_wait(lease::length(limits.timeout))
}

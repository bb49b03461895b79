//! The one entrance: from what is known of a user and one input to what is then known and what should be done.
//!
//! `step` is pure and total. It reads no clock (`now` is the store's time), no network, no randomness; every input has an answer.
//! Spurious inputs are safe: an event, an early or repeated wake, a retry message or a result that comes twice changes nothing.
//! It performs nothing: effects are carried out by the worker, after the record is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::catalog::InForce;
use super::definition::Status;
use super::effect::{Effect, Passed};
use super::event::{Event, Position};
use super::history::{self, Plan};
use super::id::{CampaignId, DeliveryId, UserId};
use super::profile::Profile;
use super::record::{Dead, Record, Request};
use super::time::Timestamp;
use super::value::Value;

mod about;
mod actions;
mod applied;
mod backfill;
mod batch;
mod belongs;
pub mod bounds;
mod chain;
mod claim;
mod compared;
mod dates;
mod deferral;
mod due;
mod event;
mod explain;
mod gates;
mod goals;
mod happening;
mod joining;
mod linking;
mod memberships;
mod moving;
mod pending;
mod redrive;
mod run;
mod seen;
mod wake;

#[cfg(test)]
mod tests;

pub use about::{About, Clock, Delivering, Exposed, Remembered, Standing, Waiting, about, standing};
pub use belongs::belongs;
use chain::Internals;
pub use chain::{DELIVERED, FAILED, MAX_CHAIN, SENT};
pub use compared::Shown;
pub use explain::{GateView, Passage, WITHOUT_EVENT, explain, needs_event, verdict};
pub use gates::Gate;
pub use redrive::{LETTERS_COUNT, Refusal, redrivable};
pub use seen::{Part, SeenView, seen};
pub use wake::{due, wake};

/// All that is known of one user. Nothing known is `Known::default()`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    pub record: Record,
    pub profile: Profile,
    /// What the store answered to [`Stepped::asks`]: whether the user is among those that the counter lets in.
    pub admitted: Vec<(Counter, bool)>,
    /// What it answered too: whether these deliveries still are their batch's.
    pub standing: Vec<(DeliveryId, bool)>,
    /// Where this worker last heard of room in a batch.
    pub places: Option<Arc<Places>>,
}

/// By [`super::delivery::batch::key`], the place to ask first; 0 where nothing is said. No more than a guess.
pub type Places = BTreeMap<u64, u32>;

/// A bounded set of users in the store: a campaign's key, for a limit per run `<key>/<run>`.
pub type Counter = Box<str>;

/// A question to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Is this user among the first `limit` of this counter? Who is in stays in, however often it is asked.
    Admitted { counter: Counter, limit: u64 },
    /// Is this delivery of another user still this batch's to make?
    Stands { user: UserId, id: DeliveryId },
}

/// One time that a schedule names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Run {
    pub due: Timestamp,
    /// Its local time (`2026-12-07T09:00:00`), the same in every zone: a user gets each once. Sorts by time.
    pub name: Box<str>,
}

/// Everything that can make work for one user.
#[derive(Clone, Debug)]
pub enum Input {
    /// One event from the log.
    Event(Arc<Event>),
    /// The record wants a look. Every events partition has been read up to `read_to` (its broker time).
    Wake { read_to: Timestamp },
    /// The retry topic's message for this delivery is due, and a slot is taken for it. `attempt` requests were made.
    /// `unstarted` as in [`Input::Parked`].
    Retry { id: DeliveryId, attempt: u32, unstarted: bool, request: Arc<Request> },
    /// This dead letter is to be sent again, and a slot is taken for it.
    Redrive(Box<Dead>),
    /// The retry topic has acknowledged the message: `attempt` requests were made, the next starts not before `until`. `unstarted`: that
    /// next one was given out already, and is given back by whoever was to make it and did not.
    Parked { id: DeliveryId, attempt: u32, until: Timestamp, unstarted: bool },
    /// Request number `attempt` came to its end: lines and dead letters are written. `status` and `cause` are those of its line.
    Attempted { id: DeliveryId, attempt: u32, verdict: Verdict, status: Option<u16>, cause: Option<Box<str>> },
    /// A scheduled run reaches this user; its walk came here at `reached`. What waits for too long since then is stale: a walk over
    /// many users takes its time, and whether it began in time was judged when it began.
    Run { campaign: CampaignId, run: Run, reached: Timestamp },
    /// The linked content of a send was fetched, or could not be.
    Fetched { campaign: CampaignId, delivery: DeliveryId, fetched: Fetched },
    /// A campaign has started: from now on its dates and memberships of this user are watched.
    Arm { campaign: CampaignId },
    /// An event that cannot be stepped (it made `step` panic) and is dead-lettered: only note that it is done with.
    Poisoned { position: Position, message_id: Box<str> },
    /// An event that is read again for trackers that did not see it. Only history learns of it: nothing is sent, no clock starts, and
    /// no profile changes.
    Backfill { event: Arc<Event>, plan: Arc<Plan> },
    /// What another record has to say, a batch or one of its deliveries.
    Passed(Box<Passed>),
}

/// Linked content by the link's name, null where it failed and may be empty. Or why there is none.
pub type Fetched = Result<Vec<(Box<str>, Value)>, Box<str>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A 2xx.
    Delivered,
    /// Final: no attempt follows.
    Failed,
}

/// What a step came to.
#[derive(Clone, Debug)]
pub struct Stepped {
    pub known: Known,
    /// The record is another than before and must be written: true exactly then.
    pub record_changed: bool,
    /// The profile must be written too.
    pub profile_changed: bool,
    pub effects: Vec<Effect>,
    /// What the store must be asked first. Not empty: this result counts for nothing; step again with the answers in
    /// [`Known::admitted`] and [`Known::standing`].
    pub asks: Vec<Ask>,
    /// The earliest timer that is due but must wait until all events up to its due time are read. [`wake`] goes on saying that it
    /// is due: look again when the positions read have passed this.
    pub held_until_read: Option<Timestamp>,
}

/// Applies one input. The order within an event is: applied before? deleted later? merge traits; then the campaigns that
/// match, by priority and key, for one campaign cancelling before starting.
pub fn step(in_force: &InForce, user: &UserId, mut known: Known, input: &Input, now: Timestamp) -> Stepped {
    if in_force.revision > known.record.definitions {
        history::forget_former(&mut known.record.history, &in_force.asked, known.record.definitions);
    }
    // A look or a walk usually changes nothing, and what it changes is not said by its effects alone.
    let walk = matches!(input, Input::Run { .. } | Input::Arm { .. });
    let before = (walk || matches!(input, Input::Wake { .. })).then(|| known.record.clone());
    let mut work = Work::new(in_force, user, known, now);
    match input {
        Input::Event(event) => work.event(event),
        Input::Wake { read_to } => work.look(*read_to),
        Input::Retry { id, attempt, unstarted, request } => work.retry(*id, *attempt, *unstarted, request),
        Input::Redrive(dead) => work.redrive(dead),
        Input::Parked { id, attempt, until, unstarted } => work.parked(*id, *attempt, *until, *unstarted),
        Input::Attempted { id, attempt, verdict, status, cause } => work.attempted(*id, *attempt, *verdict, *status, cause.as_deref()),
        Input::Run { campaign, run, reached } => work.run(*campaign, run, *reached),
        Input::Fetched { campaign, delivery, fetched } => work.fetched(*campaign, *delivery, fetched),
        Input::Arm { campaign } => work.arm(*campaign),
        Input::Poisoned { position, message_id } => work.poisoned(*position, message_id),
        Input::Backfill { event, plan } => work.backfill(event, plan),
        Input::Passed(passed) => work.passed(passed),
    }
    work.follow_chain();
    let Work { mut known, trace, profile_changed, effects, asks, held_until_read, .. } = work;
    let mut record_changed = before.map_or(trace == Trace::Changed, |before| before != known.record);
    // An answer holds for one input: limits are edited, and asking again lets nobody else in.
    if asks.is_empty() {
        known.admitted.clear();
        known.standing.clear();
    }
    // Also where a judgement changed nothing: nobody with older definitions shall come to another. Not for a walk, which would write
    // the records of all users; its one reader repeats a part of it at most.
    let judged = if walk { record_changed } else { trace != Trace::Skipped };
    if judged && in_force.revision > known.record.definitions {
        known.record.definitions = in_force.revision;
        record_changed = true;
    }
    Stepped { known, record_changed, profile_changed, effects, asks, held_until_read }
}

/// What an input other than a wake leaves in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trace {
    /// It was not even judged.
    Skipped,
    /// It was judged, and the record stays as it is.
    Judged,
    Changed,
}

/// One step in progress. The files of this room add what it does with each kind of input.
struct Work<'a> {
    in_force: &'a InForce,
    user: &'a UserId,
    now: Timestamp,
    known: Known,
    trace: Trace,
    profile_changed: bool,
    effects: Vec<Effect>,
    asks: Vec<Ask>,
    held_until_read: Option<Timestamp>,
    internals: Internals,
}

impl<'a> Work<'a> {
    fn new(in_force: &'a InForce, user: &'a UserId, known: Known, now: Timestamp) -> Work<'a> {
        Work {
            in_force,
            user,
            now,
            known,
            trace: Trace::Changed,
            profile_changed: false,
            effects: Vec::new(),
            asks: Vec::new(),
            held_until_read: None,
            internals: Internals::new(),
        }
    }

    /// Nothing comes of the input, and nothing of it needs to be stored.
    fn skip(&mut self) {
        self.trace = Trace::Skipped;
        self.skip_noted();
    }

    /// Nothing comes of the input, but that it was read is to be stored.
    fn skip_noted(&mut self) {
        self.effects.push(Effect::Skipped);
    }

    /// A campaign's status as a record sees it.
    fn status(&self, campaign: CampaignId) -> Status {
        status_of(self.in_force, campaign)
    }
}

/// A campaign that is not defined has ended. But where this worker had to leave some definition out (a newer language), the one it
/// does not know may be that: then its clocks and first attempts are held, as by a pause.
fn status_of(in_force: &InForce, campaign: CampaignId) -> Status {
    match in_force.campaign(campaign) {
        Some(campaign) => campaign.definition.status.unwrap_or(Status::Ready),
        None if in_force.left_out.is_empty() => Status::Ended,
        None => Status::Paused,
    }
}

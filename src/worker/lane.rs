//! A lane: turns what its users bring, and finds slots for what the turns give out. It waits for the store and for nothing else; the
//! jobs it answers with are run beside it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::engine::catalog::InForce;
use crate::engine::delivery::admission::Slot;
use crate::engine::delivery::breaker::Health;
use crate::engine::effect::{FailCause, Passed};
use crate::engine::id::{DeliveryId, UserId};
use crate::engine::record::Ending;
use crate::engine::step::{Input, bounds};
use crate::engine::time::Timestamp;
use crate::telemetry::metrics::Counted;

use super::appending::{Ack, append_in_the_end};
use super::attempt::{self, Manner, Outside};
use super::definitions::Follower;
use super::dispatch::{Delivery, Destinations, Limits, Offered, Parking, Waiting};
use super::due::Held;
use super::links::{self, Fetching, SERVICE_SLOTS};
use super::offsets::Ticket;
use super::ports::StateError;
use super::retry::RetryMessage;
use super::store_clock::StoreClock;
use super::turn::{Origin, Turn, Turned, Work};

/// Everything that can make a lane work.
pub enum Mail {
    /// An input from the events topics.
    Work(Work),
    /// A retry message whose time has come.
    Retry(Box<RetryMessage>, Ticket),
    /// A user whose wake has passed.
    Wake { user: UserId, read_to: Timestamp },
    /// A slot is free for what waited.
    Granted(Waiting, Slot),
    /// What waited is not sent from here, for now.
    Park(Waiting, Parking),
    /// A job of this user's delivery is over and its lines are acknowledged; the input that settles it, if there is one. Until that is
    /// stored it is in flight.
    Done(UserId, Option<Input>, Option<Counted>),
    /// The retry topic has acknowledged that a retry is put off.
    PutOff(UserId, Input),
    /// What another record has to say to this one, a batch or one of its deliveries.
    Passed(UserId, Box<Passed>),
}

/// What a lane wants done beside it.
pub enum Job {
    /// Make the attempt; it has a slot.
    Attempt(Delivery, Slot, Manner),
    /// Hand it to the retry topic.
    Park(Delivery, Parking),
    /// Fetch the linked content; it has a slot.
    Fetch(Fetching, Slot),
    /// Write a retry message again, for its new time.
    Repark(Box<RetryMessage>, Ticket),
    /// Write the last lines of what is over.
    GiveUp(Delivery, FailCause),
    /// Write the dead letter of what failed with its batch.
    Bury(Delivery, Box<Ending>),
    /// Hand what records have to say to the lanes of others, once their own lines are acknowledged.
    Pass(Vec<(UserId, Box<Passed>)>, Ack),
}

/// Deliveries of one user under way at once: its further events wait in the lane, so that a backlog of one user does not fill its record
/// (`state_full`) while its endpoint keeps up. What the record holds beside them, the turn looks at.
const USER_DELIVERIES: usize = bounds::CROWDED;

/// Events that wait for their busy users. When there are so many, nothing new is taken until their users' endpoints have caught up, or
/// one of these users is too slow for all others.
const PATIENT_EVENTS: usize = 1024;

/// How long all others wait for a burst of one user, by the pace at which its events go on. Who needs longer is too slow for them:
/// while too many wait, that user's oldest are turned all the same. What its record has no room for is `state_full`: that is what its
/// bound means.
const PATIENCE: Duration = Duration::from_secs(10);

/// The least time over which a user's pace is judged, and half of the longest while it moves.
const JUDGED_OVER: Duration = Duration::from_millis(500);

/// Events of one user that wait, in their order.
struct Patient {
    waiting: VecDeque<Work>,
    /// Monotonic time since when its pace is counted, and the events that have gone on since then.
    since: Duration,
    gone: u32,
    /// Whether it was too slow before that.
    was_slow: bool,
    /// Its record had no room for the first of them. Until one of its deliveries here ends there is no more; where none is under way, what
    /// fills the record waits elsewhere, and its events go on one by one whatever becomes of them.
    crowded: bool,
}

impl Patient {
    fn new(now: Duration) -> Patient {
        Patient { waiting: VecDeque::new(), since: now, gone: 0, was_slow: false, crowded: false }
    }

    /// Whether those that wait would take longer than [`PATIENCE`].
    fn is_slow(&self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.since);
        let waiting = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        if passed < JUDGED_OVER { self.was_slow } else { passed.saturating_mul(waiting) > PATIENCE.saturating_mul(self.gone) }
    }

    /// So many have gone on.
    fn moved(&mut self, count: usize, now: Duration) {
        if now.saturating_sub(self.since) >= 2 * JUDGED_OVER {
            let (was_slow, waiting) = (self.is_slow(now), std::mem::take(&mut self.waiting));
            *self = Patient { was_slow, waiting, crowded: self.crowded, ..Patient::new(now) };
        }
        self.gone = self.gone.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// How many may go on, of whose deliveries so many are under way; and whether the turn may leave them.
    fn may_go(&self, busy: usize) -> (usize, bool) {
        match (self.crowded, busy) {
            (true, 0) => (1, false),
            (true, _) => (0, true),
            (false, busy) => (USER_DELIVERIES.saturating_sub(busy), true),
        }
    }
}

pub struct Lane {
    number: usize,
    turn: Turn,
    destinations: Arc<Destinations>,
    follower: Arc<Follower>,
    clock: Arc<StoreClock>,
    held: Arc<Held>,
    /// What found everything busy; nothing new is taken before it is placed.
    overflow: VecDeque<Waiting>,
    /// Work of a turn that the store did not answer.
    unanswered: Vec<Work>,
    /// Jobs and queued deliveries of each user.
    busy: HashMap<UserId, usize>,
    /// Events of users that are busy enough.
    patient: HashMap<UserId, Patient>,
    patient_events: usize,
    /// Attempts that are over and whose settling is in the turn.
    settling: Vec<Counted>,
    /// Retry messages that hold a slot of their destination and are in the turn.
    granted: Vec<(DeliveryId, Box<str>, Slot)>,
}

impl Lane {
    pub fn new(
        number: usize,
        turn: Turn,
        destinations: Arc<Destinations>,
        follower: Arc<Follower>,
        clock: Arc<StoreClock>,
        held: Arc<Held>,
    ) -> Lane {
        Lane {
            number,
            turn,
            destinations,
            follower,
            clock,
            held,
            overflow: VecDeque::new(),
            unanswered: Vec::new(),
            busy: HashMap::new(),
            patient: HashMap::new(),
            patient_events: 0,
            settling: Vec::new(),
            granted: Vec::new(),
        }
    }

    /// Whether new events may be handed in.
    pub fn takes_events(&self) -> bool {
        !self.has_leftovers() && (self.patient_events < PATIENT_EVENTS || self.slowest().is_some())
    }

    /// Whether events that waited may go on with the next call.
    pub fn is_ready(&self) -> bool {
        self.patient.iter().any(|(user, patient)| patient.may_go(self.busy(user)).0 > 0)
    }

    /// Whether something is left over from before that only another call moves on.
    pub fn has_leftovers(&self) -> bool {
        !self.overflow.is_empty() || !self.unanswered.is_empty()
    }

    /// Whether nothing at all is left to do here, and nothing waits for a slot.
    pub fn is_empty(&self) -> bool {
        !self.has_leftovers() && self.patient_events == 0 && self.busy.is_empty()
    }

    pub fn sequence(&self) -> u64 {
        self.turn.sequence()
    }

    pub async fn confirm(&mut self) -> Result<(), StateError> {
        self.turn.confirm().await
    }

    /// Handles all that has come. On `Unavailable` everything is kept: call again, with or without new mail.
    pub async fn handle(&mut self, mail: impl IntoIterator<Item = Mail>) -> Result<Vec<Job>, StateError> {
        let mut jobs = self.receive(mail);
        match self.turn().await {
            Ok(more) => jobs.extend(more),
            Err(StateError::Unavailable(error)) if !jobs.is_empty() => tracing::warn!(%error, "the turn will be tried again"),
            Err(error) => return Err(error),
        }
        Ok(jobs)
    }

    /// Takes in what has come. The jobs that it answers with need no turn: run them before the next one, a slot stands empty meanwhile.
    pub fn receive(&mut self, mail: impl IntoIterator<Item = Mail>) -> Vec<Job> {
        let in_force = self.follower.in_force();
        let mut jobs = Vec::new();
        for waiting in std::mem::take(&mut self.overflow) {
            // Behind one that still found no room there is none: all are looked at whenever anything comes.
            if self.overflow.back().is_some_and(|before| before.waits_with(&waiting)) {
                self.overflow.push_back(waiting);
            } else {
                self.offer(waiting, &in_force, &mut jobs);
            }
        }
        for mail in mail {
            match mail {
                Mail::Work(work) => self.admit(work),
                Mail::Wake { user, read_to } => self.unanswered.push(Work::of(user, Input::Wake { read_to })),
                Mail::Done(user, input, under_way) => {
                    self.finished(&user);
                    self.settling.extend(under_way.filter(|_| input.is_some()));
                    self.unanswered.extend(input.map(|input| Work::of(user, input)));
                }
                Mail::Retry(message, ticket) if message.is_over(self.clock.now()) => ticket.finish(),
                // There is nothing to send any more: no slot is waited for, of a destination that may be halted for long.
                Mail::Retry(message, ticket) if message.is_expired(self.clock.now()) => self.step_retry(*message, ticket),
                Mail::Retry(message, ticket) => self.offer(Waiting::Retry(message, ticket), &in_force, &mut jobs),
                Mail::Granted(waiting, slot) => self.start(waiting, slot, &in_force, &mut jobs),
                Mail::Park(waiting, parking) => self.park(waiting, parking, &mut jobs),
                Mail::Passed(user, passed) => {
                    self.destinations.unfinished.end();
                    self.unanswered.push(Work::of(user, Input::Passed(passed)));
                }
                Mail::PutOff(user, input) => self.unanswered.push(Work::of(user, input)),
            }
        }
        // Behind what settles their users' deliveries and so makes room for them.
        self.go_on();
        jobs
    }

    /// Turns what was taken in. On `Unavailable` everything is kept: call again.
    pub async fn turn(&mut self) -> Result<Vec<Job>, StateError> {
        let (began, idle) = (self.clock.monotonic(), self.unanswered.is_empty());
        match self.turn.turn(&mut self.unanswered).await {
            Ok(turned) => {
                if !idle {
                    self.destinations.turned(self.clock.monotonic().saturating_sub(began));
                }
                self.settling.clear();
                let mut jobs = Vec::new();
                self.place(turned, &mut jobs);
                Ok(jobs)
            }
            Err(error) => {
                self.turn.forget();
                Err(error)
            }
        }
    }

    /// Takes an event in, or has it wait while its user is busy enough; the user's events keep their order.
    fn admit(&mut self, work: Work) {
        if !self.patient.contains_key(&work.user) && self.busy(&work.user) < USER_DELIVERIES {
            return self.unanswered.push(work);
        }
        let now = self.clock.monotonic();
        let patient = self.patient.entry_ref(&work.user).or_insert_with(|| Patient::new(now));
        patient.waiting.push_back(work);
        self.patient_events += 1;
        if self.patient_events > PATIENT_EVENTS
            && let Some(user) = self.slowest().cloned()
        {
            self.take_patient(&user, 1, false);
        }
    }

    /// Of the users who are too slow for all others, the one of whom most events wait.
    fn slowest(&self) -> Option<&UserId> {
        let now = self.clock.monotonic();
        let slow = self.patient.iter().filter(|(_, patient)| patient.is_slow(now));
        slow.max_by_key(|(user, patient)| (patient.waiting.len(), *user)).map(|(user, _)| user)
    }

    fn busy(&self, user: &UserId) -> usize {
        self.busy.get(user).copied().unwrap_or(0)
    }

    /// Takes in what may go on of the events that wait.
    fn go_on(&mut self) {
        let now = self.clock.monotonic();
        let going = |(user, patient): (&UserId, &Patient)| (user.clone(), patient.may_go(self.busy(user)));
        let all: Vec<(UserId, (usize, bool))> = self.patient.iter().map(going).filter(|(_, (most, _))| *most > 0).collect();
        for (user, (most, may_wait)) in all {
            let gone = self.take_patient(&user, most, may_wait);
            self.patient.get_mut(&user).into_iter().for_each(|patient| patient.moved(gone, now));
        }
    }

    /// Takes in so many of a user's events that wait; answers how many there were.
    fn take_patient(&mut self, user: &UserId, most: usize, may_wait: bool) -> usize {
        let Some(Patient { waiting, .. }) = self.patient.get_mut(user) else { return 0 };
        let count = most.min(waiting.len());
        self.unanswered.extend(waiting.drain(..count).map(|work| Work { may_wait, ..work }));
        if waiting.is_empty() {
            self.patient.remove(user);
        }
        self.patient_events -= count;
        count
    }

    /// Has what a turn left wait, before all that waits already.
    fn leave(&mut self, left: Vec<Work>) {
        let now = self.clock.monotonic();
        self.patient_events += left.len();
        for work in left.into_iter().rev() {
            let patient = self.patient.entry_ref(&work.user).or_insert_with(|| Patient::new(now));
            patient.waiting.push_front(Work { may_wait: true, ..work });
            patient.gone = patient.gone.saturating_sub(1);
            patient.crowded = true;
        }
    }

    /// A job of this user is over.
    fn finished(&mut self, user: &UserId) {
        if let Some(busy) = self.busy.get_mut(user) {
            *busy -= 1;
            if *busy == 0 {
                self.busy.remove(user);
            }
        }
        self.patient.get_mut(user).into_iter().for_each(|patient| patient.crowded = false);
    }

    /// Offers what a turn gave out.
    fn place(&mut self, turned: Turned, jobs: &mut Vec<Job>) {
        let in_force = self.follower.in_force();
        let failures = turned.failures.iter().map(|(delivery, _)| delivery).chain(turned.buried.iter().map(|(delivery, _)| delivery));
        let deliveries = turned.deliveries.iter().chain(failures);
        for user in deliveries.map(|delivery| &delivery.user).chain(turned.fetches.iter().map(|fetching| &fetching.user)) {
            *self.busy.entry_ref(user).or_insert(0) += 1;
        }
        self.leave(turned.left);
        for (user, until) in turned.held {
            self.held.hold(until, user);
        }
        jobs.extend(turned.postponed.into_iter().map(|(message, ticket)| Job::Repark(message, ticket)));
        if !turned.passed.is_empty() {
            jobs.push(Job::Pass(turned.passed, turned.decided));
        }
        jobs.extend(turned.failures.into_iter().map(|(delivery, cause)| Job::GiveUp(delivery, cause)));
        jobs.extend(turned.buried.into_iter().map(|(delivery, ending)| Job::Bury(delivery, ending)));
        for fetching in turned.fetches {
            self.offer(Waiting::Fetch(fetching), &in_force, jobs);
        }
        let mut granted = std::mem::take(&mut self.granted);
        for delivery in turned.deliveries {
            // A retry that won holds its slot already.
            match granted.iter().position(|(id, ..)| *id == delivery.entry.id) {
                Some(at) => {
                    let (_, _, slot) = granted.swap_remove(at);
                    let manner = manner(&in_force, &delivery);
                    jobs.push(Job::Attempt(delivery, slot, manner));
                }
                // Its members' `sent` lines are not repeated, for which a take-over waits while the log is away: here the retry topic is.
                None if !delivery.members.is_empty() && delivery.entry.phase.attempt() > 1 => {
                    jobs.push(Job::Park(delivery, Parking::Busy(self.clock.now())));
                }
                None => self.offer(Waiting::Delivery(delivery), &in_force, jobs),
            }
        }
        for (_, destination, slot) in granted {
            self.destinations.released(&destination, slot, Duration::ZERO, Health::Unknown, self.clock.now());
        }
    }

    fn offer(&mut self, waiting: Waiting, in_force: &InForce, jobs: &mut Vec<Job>) {
        let limits = match &waiting {
            Waiting::Fetch(fetching) => Limits { slots: SERVICE_SLOTS, timeout: fetching.fetch.timeout(), rate: None },
            Waiting::Delivery(_) | Waiting::Retry(..) => Limits::of(&in_force.route(waiting.destination())),
        };
        match self.destinations.offer(self.number, waiting, limits, self.clock.now()) {
            Offered::Start(waiting, slot) => self.start(waiting, slot, in_force, jobs),
            Offered::Queued => {}
            Offered::Park(waiting, parking) => self.park(waiting, parking, jobs),
            Offered::Later(waiting) => self.overflow.push_back(waiting),
        }
    }

    fn park(&mut self, waiting: Waiting, parking: Parking, jobs: &mut Vec<Job>) {
        match waiting {
            Waiting::Delivery(delivery) => jobs.push(Job::Park(delivery, parking)),
            // Its time to come back is over: its step fails it, now that its request is at hand.
            Waiting::Retry(message, ticket) if message.is_expired(self.clock.now()) => self.step_retry(*message, ticket),
            Waiting::Retry(mut message, ticket) => {
                message.park(parking, self.clock.now());
                jobs.push(Job::Repark(message, ticket));
            }
            // The wish stands in the record and comes up again when its lease ends.
            Waiting::Fetch(fetching) => self.finished(&fetching.user),
        }
    }

    /// Starts what has a slot: a delivery at once, a retry message once its turn has moved the entry.
    fn start(&mut self, waiting: Waiting, slot: Slot, in_force: &InForce, jobs: &mut Vec<Job>) {
        match waiting {
            Waiting::Delivery(delivery) => {
                let manner = manner(in_force, &delivery);
                jobs.push(Job::Attempt(delivery, slot, manner));
            }
            Waiting::Fetch(fetching) => jobs.push(Job::Fetch(fetching, slot)),
            Waiting::Retry(message, ticket) => {
                self.granted.push((message.delivery_id, message.request.destination.clone(), slot));
                self.step_retry(*message, ticket);
            }
        }
    }

    /// Has the record say what becomes of it.
    fn step_retry(&mut self, message: RetryMessage, ticket: Ticket) {
        let (user, input) = message.into_input();
        self.unanswered.push(Work { origin: Some(Origin { ticket, raw: None }), ..Work::of(user, input) });
    }
}

fn manner(in_force: &InForce, delivery: &Delivery) -> Manner {
    let credentials = delivery.entry.request.as_ref().and_then(|request| in_force.credentials(request));
    Manner::of(&in_force.route(delivery.destination()), &in_force.policy, credentials)
}

/// Runs one job to its end. Answers what is to be handed back to the lane.
pub async fn run(job: Job, outside: &Outside) -> Option<Mail> {
    let (user, input) = match job {
        Job::Attempt(delivery, slot, manner) => {
            let user = delivery.user.clone();
            let under_way = delivery.entry.request.as_ref().map(|request| outside.metrics.in_flight(&request.destination));
            let settled = attempt::attempt(outside, delivery, slot, manner).await;
            return Some(Mail::Done(user, settled.map(|(_, input)| input), under_way));
        }
        Job::Park(delivery, parking) => (delivery.user.clone(), attempt::park(outside, delivery, parking).await),
        Job::GiveUp(delivery, cause) => (delivery.user.clone(), Some(attempt::give_up(outside, delivery, cause).await)),
        Job::Bury(delivery, ending) => (delivery.user.clone(), Some(attempt::bury(outside, delivery, *ending).await)),
        Job::Pass(passed, decided) => {
            attempt::confirm_announced(outside, &passed, decided).await;
            for (to, passed) in passed {
                outside.destinations.pass(outside.settings.lane_of(&to), to, passed);
            }
            return None;
        }
        Job::Fetch(fetching, slot) => {
            let user = fetching.user.clone();
            let input = links::fetch(outside, fetching, slot).await;
            return Some(Mail::Done(user, input, None));
        }
        Job::Repark(mut message, ticket) => {
            // The lease that it was to come back in may end before it does: parked, its entry is not taken over.
            let leased = std::mem::take(&mut message.leased);
            append_in_the_end(&*outside.append, message.line(&outside.settings.topics, outside.clock.now())).await;
            ticket.finish();
            let RetryMessage { user, delivery_id: id, attempt, not_before: until, .. } = *message;
            return leased.then(|| Mail::PutOff(user, Input::Parked { id, attempt, until, unstarted: false }));
        }
    };
    Some(Mail::Done(user, input.map(|(_, input)| input), None))
}

#[cfg(test)]
mod tests;

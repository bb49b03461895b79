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
use crate::engine::step::Input;
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
    patience: Patience,
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
            patience: Patience::default(),
            settling: Vec::new(),
            granted: Vec::new(),
        }
    }

    /// Whether new events may be handed in.
    pub fn takes_events(&self) -> bool {
        !self.has_leftovers() && (self.patience.events() < PATIENT_EVENTS || self.patience.slowest(self.clock.monotonic()).is_some())
    }

    /// Whether events that waited may go on with the next call.
    pub fn is_ready(&self) -> bool {
        self.patience.is_ready(under_way(&self.busy), self.clock.monotonic())
    }

    /// Whether something is left over from before that only another call moves on.
    pub fn has_leftovers(&self) -> bool {
        !self.overflow.is_empty() || !self.unanswered.is_empty()
    }

    /// Whether nothing at all is left to do here, and nothing waits for a slot.
    pub fn is_empty(&self) -> bool {
        !self.has_leftovers() && self.patience.events() == 0 && self.busy.is_empty()
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
        let tries_again = !self.unanswered.is_empty();
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
        if !tries_again {
            self.go_on();
        }
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
        if !self.patience.has(&work.user) && under_way(&self.busy)(&work.user) < USER_DELIVERIES {
            return self.unanswered.push(work);
        }
        let now = self.clock.monotonic();
        self.patience.push(work, now);
        if self.patience.events() > PATIENT_EVENTS
            && let Some(user) = self.patience.slowest(now).cloned()
        {
            self.unanswered.extend(self.patience.take_oldest(&user));
        }
    }

    /// Takes in what may go on of the events that wait: once before each turn, however often that is tried.
    fn go_on(&mut self) {
        self.unanswered.extend(self.patience.take_ready(under_way(&self.busy), self.clock.monotonic()));
    }

    /// Begins no event any more that waits for its busy user.
    pub fn stop(&mut self) {
        self.patience.stop();
    }

    /// A job of this user is over.
    fn finished(&mut self, user: &UserId) {
        if let Some(busy) = self.busy.get_mut(user) {
            *busy -= 1;
            if *busy == 0 {
                self.busy.remove(user);
            }
        }
        self.patience.eased(user);
    }

    /// Offers what a turn gave out.
    fn place(&mut self, turned: Turned, jobs: &mut Vec<Job>) {
        let in_force = self.follower.in_force();
        let failures = turned.failures.iter().map(|(delivery, _)| delivery).chain(turned.buried.iter().map(|(delivery, _)| delivery));
        let deliveries = turned.deliveries.iter().chain(failures);
        for user in deliveries.map(|delivery| &delivery.user).chain(turned.fetches.iter().map(|fetching| &fetching.user)) {
            *self.busy.entry_ref(user).or_insert(0) += 1;
        }
        self.patience.put_back(turned.left, self.clock.monotonic());
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

/// How many jobs and queued deliveries of a user there are.
fn under_way(busy: &HashMap<UserId, usize>) -> impl Fn(&UserId) -> usize {
    |user| busy.get(user).copied().unwrap_or(0)
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

mod patience;

use patience::{PATIENT_EVENTS, Patience, USER_DELIVERIES};

#[cfg(test)]
mod tests;

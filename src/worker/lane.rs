//! A lane: turns what its users bring, and finds slots for what the turns give out. It waits for the store and for nothing else; the
//! jobs it answers with are run beside it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::catalog::InForce;
use crate::engine::delivery::admission::Kind;
use crate::engine::effect::FailCause;
use crate::engine::id::{DeliveryId, UserId};
use crate::engine::step::Input;
use crate::engine::time::Timestamp;

use super::attempt::{self, Manner, Outside};
use super::definitions::Follower;
use super::dispatch::{Delivery, Destinations, Limits, Offered, Waiting, append_surely};
use super::due::Held;
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
    Granted(Waiting),
    /// The input that settles an attempt; its lines are acknowledged.
    Settled(UserId, Input),
}

/// What a lane wants done beside it.
pub enum Job {
    /// Make the attempt; it has a slot.
    Attempt(Delivery, Manner),
    /// Hand it to the retry topic, not before the span is over.
    Park(Delivery, Duration),
    /// Write a retry message again, for its new time.
    Repark(Box<RetryMessage>, Ticket),
    /// Write the last lines of what is over.
    GiveUp(Delivery, FailCause),
}

/// How long what found no place waits in the retry topic.
const PARKED_FOR: Duration = Duration::from_secs(5);

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
    /// Retry messages that hold a slot of their destination and are in the turn.
    granted: Vec<(DeliveryId, Box<str>)>,
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
        Lane { number, turn, destinations, follower, clock, held, overflow: VecDeque::new(), unanswered: Vec::new(), granted: Vec::new() }
    }

    /// Whether new events may be handed in.
    pub fn takes_events(&self) -> bool {
        self.overflow.is_empty() && self.unanswered.is_empty()
    }

    /// Whether something is left over from before.
    pub fn has_leftovers(&self) -> bool {
        !self.takes_events()
    }

    pub fn sequence(&self) -> u64 {
        self.turn.sequence()
    }

    pub async fn confirm(&mut self) -> Result<(), StateError> {
        self.turn.confirm().await
    }

    /// Handles all that has come. On `Unavailable` everything is kept: call again, with or without new mail.
    pub async fn handle(&mut self, mail: impl IntoIterator<Item = Mail>) -> Result<Vec<Job>, StateError> {
        let in_force = self.follower.in_force();
        let mut jobs = Vec::new();
        for waiting in std::mem::take(&mut self.overflow) {
            self.offer(waiting, &in_force, &mut jobs);
        }
        for mail in mail {
            match mail {
                Mail::Work(work) => self.unanswered.push(work),
                Mail::Wake { user, read_to } => self.unanswered.push(Work { user, input: Input::Wake { read_to }, origin: None }),
                Mail::Settled(user, input) => self.unanswered.push(Work { user, input, origin: None }),
                Mail::Retry(message, ticket) => self.offer(Waiting::Retry(message, ticket), &in_force, &mut jobs),
                Mail::Granted(waiting) => self.start(waiting, &in_force, &mut jobs),
            }
        }
        match self.turn.turn(&mut self.unanswered).await {
            Ok(turned) => self.place(turned, &mut jobs),
            Err(error) => {
                self.turn.forget();
                if !matches!(error, StateError::Unavailable(_)) || jobs.is_empty() {
                    return Err(error);
                }
                tracing::warn!(%error, "the turn will be tried again");
            }
        }
        Ok(jobs)
    }

    /// Offers what a turn gave out.
    fn place(&mut self, turned: Turned, jobs: &mut Vec<Job>) {
        let in_force = self.follower.in_force();
        for (user, until) in turned.held {
            self.held.hold(until, user);
        }
        jobs.extend(turned.postponed.into_iter().map(|(message, ticket)| Job::Repark(message, ticket)));
        jobs.extend(turned.failures.into_iter().map(|(delivery, cause)| Job::GiveUp(delivery, cause)));
        let mut granted = std::mem::take(&mut self.granted);
        for delivery in turned.deliveries {
            // A retry that won holds its slot already.
            match granted.iter().position(|(id, _)| *id == delivery.entry.id) {
                Some(at) => {
                    granted.swap_remove(at);
                    let manner = manner(&in_force, delivery.destination());
                    jobs.push(Job::Attempt(Delivery { slot: Kind::Retry, ..delivery }, manner));
                }
                None => self.offer(Waiting::Delivery(delivery), &in_force, jobs),
            }
        }
        for (_, destination) in granted {
            self.destinations.released(&destination, Kind::Retry, Duration::ZERO, self.clock.now());
        }
    }

    fn offer(&mut self, waiting: Waiting, in_force: &InForce, jobs: &mut Vec<Job>) {
        let route = in_force.route(waiting.destination());
        let limits = Limits { slots: route.max_in_flight, timeout: route.timeout };
        match self.destinations.offer(self.number, waiting, limits, self.clock.now()) {
            Offered::Start(waiting) => self.start(waiting, in_force, jobs),
            Offered::Queued => {}
            Offered::Park(Waiting::Delivery(delivery)) => jobs.push(Job::Park(delivery, PARKED_FOR)),
            Offered::Park(Waiting::Retry(mut message, ticket)) => {
                message.not_before = self.clock.now().after(PARKED_FOR);
                jobs.push(Job::Repark(message, ticket));
            }
            Offered::Later(waiting) => self.overflow.push_back(waiting),
        }
    }

    /// Starts what has a slot: a delivery at once, a retry message once its turn has moved the entry.
    fn start(&mut self, waiting: Waiting, in_force: &InForce, jobs: &mut Vec<Job>) {
        match waiting {
            Waiting::Delivery(delivery) => {
                let manner = manner(in_force, delivery.destination());
                jobs.push(Job::Attempt(delivery, manner));
            }
            Waiting::Retry(message, ticket) => {
                let RetryMessage { user, delivery_id, attempt, request, .. } = *message;
                self.granted.push((delivery_id, request.destination.clone()));
                let input = Input::Retry { id: delivery_id, attempt, request: Box::new(request) };
                self.unanswered.push(Work { user, input, origin: Some(Origin { ticket, raw: None }) });
            }
        }
    }
}

fn manner(in_force: &InForce, destination: &str) -> Manner {
    Manner::of(&in_force.route(destination), in_force.policy.backoff)
}

/// Runs one job to its end. Answers what is to be handed back to the lane.
pub async fn run(job: Job, outside: &Outside) -> Option<Mail> {
    let settled = match job {
        Job::Attempt(delivery, manner) => attempt::attempt(outside, delivery, manner).await,
        Job::Park(delivery, wait) => attempt::park(outside, delivery, wait).await,
        Job::GiveUp(delivery, cause) => Some(attempt::give_up(outside, delivery, cause).await),
        Job::Repark(message, ticket) => {
            append_surely(&*outside.append, vec![message.line(&outside.settings.topics, outside.clock.now())]).await;
            ticket.finish();
            None
        }
    };
    settled.map(|(user, input)| Mail::Settled(user, input))
}

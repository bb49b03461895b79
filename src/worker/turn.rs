//! The turn: the numbered order in which inputs become records, lines and deliveries.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::catalog::InForce;
use crate::engine::effect::{Effect, FailCause, Passed};
use crate::engine::id::{DeliveryId, UserId, stable_hash};
use crate::engine::record::codec::{self, CodecError};
use crate::engine::record::{Ending, Member, Pending};
use crate::engine::step::{self, Input, Known, Stepped};
use crate::engine::time::Timestamp;

use super::appending::{Ack, append_surely};
use super::cache::{Cache, Remembered};
use super::counters::Counters;
use super::definitions::Follower;
use super::dispatch::Delivery;
use super::links::Fetching;
use super::offsets::Ticket;
use super::outcomes::{self, DeadEvent};
use super::ports::{Append, Change, Line, ProfileChange, State, StateError, Stored};
use super::retry::RetryMessage;
use super::settings::Settings;
use super::store_clock::StoreClock;

/// One input for one user, with the duty to finish its place in a log.
pub struct Work {
    pub user: UserId,
    pub input: Input,
    /// What is left of the record that carried it: finished when the turn is stored.
    pub origin: Option<Origin>,
    /// Whether it is left (see [`Turned::left`]) while its user's record is crowded: an event, or a run that has reached its user.
    pub may_wait: bool,
}

impl Work {
    /// What came from no log.
    pub fn of(user: UserId, input: Input) -> Work {
        Work { user, input, origin: None, may_wait: false }
    }
}

/// The record that an input came from.
pub struct Origin {
    pub ticket: Ticket,
    /// The record as it was, for the dead-letter topic should its step fail.
    pub raw: Option<DeadEvent>,
}

/// What a turn leaves to be done.
#[derive(Default)]
pub struct Turned {
    pub deliveries: Vec<Delivery>,
    pub failures: Vec<(Delivery, FailCause)>,
    /// What failed with the batch that made its request.
    pub buried: Vec<(Delivery, Box<Ending>)>,
    /// What records have to say to others, in turn.
    pub passed: Vec<(UserId, Box<Passed>)>,
    /// When the lines of this turn are acknowledged.
    pub decided: Ack,
    /// Linked content that sends wait for.
    pub fetches: Vec<Fetching>,
    /// Users with a timer that waits for the events topics to be read up to this time.
    pub held: Vec<(UserId, Timestamp)>,
    /// Retry messages that cannot start now: to be appended again before their tickets are finished.
    pub postponed: Vec<(Box<RetryMessage>, Ticket)>,
    /// What is not turned, because so many of its user's deliveries are under way: with the first event all that logs brought after it.
    pub left: Vec<Work>,
}

/// Users remembered by a lane.
const REMEMBERED_USERS: usize = 2048;

/// The engine's one entrance, as the turn calls it.
type Step = fn(&InForce, &UserId, Known, &Input, Timestamp) -> Stepped;

/// One lane's turning: its session, what it remembers, and where its lines go.
pub struct Turn {
    state: Box<dyn State>,
    cache: Cache,
    append: Arc<dyn Append>,
    clock: Arc<StoreClock>,
    follower: Arc<Follower>,
    settings: Arc<Settings>,
    /// The store's sequence after our last commit.
    sequence: u64,
    metrics: Counters,
    places: KnownPlaces,
    full: FullSets,
    step: Step,
}

/// A delivery that a turn gives out, gives up, or has buried.
struct Starting {
    user: UserId,
    entry: Pending,
    members: Vec<Member>,
    doing: Doing,
    since: Option<Timestamp>,
    /// As in [`Delivery::before`].
    before: u32,
}

/// What is to be done about it.
enum Doing {
    Send,
    Fail(FailCause),
    Bury(Box<Ending>),
}

/// A retry message that cannot start now.
struct Postponed {
    id: DeliveryId,
    until: Timestamp,
    /// Of its pending entry.
    expires: Option<Timestamp>,
}

impl Turn {
    pub fn new(
        state: Box<dyn State>,
        append: Arc<dyn Append>,
        clock: Arc<StoreClock>,
        follower: Arc<Follower>,
        settings: Arc<Settings>,
        metrics: Counters,
    ) -> Turn {
        let (cache, places, full) = (Cache::new(REMEMBERED_USERS), KnownPlaces::default(), FullSets::default());
        Turn { state, cache, append, clock, follower, settings, sequence: 0, metrics, places, full, step: step::step }
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    pub async fn confirm(&mut self) -> Result<(), StateError> {
        self.state.confirm().await
    }

    /// Turns a batch. The order is the contract; each number has a crash test.
    ///
    /// 1. (The reader has read: unreadable records are on the dead-letter topic, those of no interest are finished.)
    /// 2. The work of one user stays in its order, whatever its kind: nobody else turns this lane's users here.
    /// 3. Load the records of all users that are not remembered, in one round trip.
    /// 4. `step`, folding all of a user's waiting inputs. A panic is caught: that input goes to the dead-letter topic and is marked
    ///    as applied, the others go on. What steps must know of the store first is asked for all users at once, and they step again.
    /// 5. Commit all users in one call. Where another was faster, step again on what is stored now. Also without any
    ///    change the ledger advances, so that what was only read is confirmed too.
    /// 6. Append the decision lines, and give out the deliveries that the stored record says are being sent by this turn.
    /// 7. Finish the inputs' places in their logs. (The reader commits the contiguous prefix later, after `confirm`.)
    ///
    /// On `Unavailable` nothing is known of step 5: call again with the same work. What was stored is then recognised as applied, and its
    /// deliveries are taken over when their leases run out.
    pub async fn turn(&mut self, work: &mut Vec<Work>) -> Result<Turned, StateError> {
        if work.is_empty() {
            return Ok(Turned::default());
        }
        let mut turning = self.load(group_by_user(work), work).await?;
        let all = (0..turning.len()).collect();
        self.step_all(&mut turning, all, work).await?;
        self.commit(&mut turning, work).await?;
        let left: BTreeSet<usize> = turning.iter_mut().flat_map(|turning| std::mem::take(&mut turning.left)).collect();
        let (mut turned, postponed) = self.carry_out(turning);
        let now = self.clock.now();
        for (at, done) in work.drain(..).enumerate() {
            match left.contains(&at) {
                true => turned.left.push(done),
                false => finish(done, &postponed, now, &mut turned),
            }
        }
        Ok(turned)
    }

    /// Step 3. What is remembered may be older than what another worker stored. Inputs that are written find that out at their commit; a
    /// retry message that does not win is not written but dropped, and must not lose against a record that never knew its delivery. Nor must
    /// what records say to each other.
    async fn load(&mut self, grouped: Vec<(UserId, Vec<usize>)>, work: &[Work]) -> Result<Vec<Turning>, StateError> {
        let suffices = |inputs: &[usize], known: &Known| inputs.iter().all(|at| turning::suffices(&work[*at].input, known));
        let take = |(user, inputs): &(UserId, Vec<usize>)| self.cache.take(user).filter(|remembered| suffices(inputs, &remembered.known));
        let mut remembered: Vec<Option<Remembered>> = grouped.iter().map(take).collect();
        let missing: Vec<UserId> =
            grouped.iter().zip(&remembered).filter(|(_, known)| known.is_none()).map(|((user, _), _)| user.clone()).collect();
        if !missing.is_empty() {
            let loaded = self.state.load(&missing).await?;
            self.clock.told(loaded.now);
            let mut loaded = loaded.users.into_iter();
            for slot in remembered.iter_mut().filter(|slot| slot.is_none()) {
                *slot = Some(remember(loaded.next().flatten())?);
            }
        }
        let of_a_walk = |at: &usize| matches!(work[*at].input, Input::Run { .. } | Input::Arm { .. });
        let begin = |((user, inputs), remembered): ((UserId, Vec<usize>), Option<Remembered>)| {
            let passing = inputs.iter().all(of_a_walk);
            Turning { passing, ..Turning::new(user, inputs, remembered.unwrap_or_default()) }
        };
        Ok(grouped.into_iter().zip(remembered).map(begin).collect())
    }

    /// Step 4 for these users. Whoever must know something of the store first is stepped again with the answers.
    async fn step_all(&mut self, turning: &mut [Turning], which: Vec<usize>, work: &mut [Work]) -> Result<(), StateError> {
        let mut waiting = which;
        for round in 0.. {
            let mut asking = Vec::new();
            for at in waiting {
                self.fold(&mut turning[at], work).await?;
                if !turning[at].asks.is_empty() {
                    asking.push(at);
                }
            }
            if asking.is_empty() {
                break;
            }
            questions::answer(&mut *self.state, &self.follower.in_force(), turning, &asking, round, &mut self.full).await?;
            waiting = asking;
        }
        Ok(())
    }

    /// Folds a user's inputs over what is known of it.
    async fn fold(&mut self, turning: &mut Turning, work: &mut [Work]) -> Result<(), StateError> {
        loop {
            let in_force = self.in_force_for(&turning.known).await?;
            match self.fold_once(turning, work, &in_force) {
                ControlFlow::Continue(()) => return Ok(()),
                ControlFlow::Break(poisoned) => {
                    if !self.bury(&mut work[poisoned]).await {
                        turning.inputs.retain(|at| *at != poisoned);
                    }
                    let loaded = self.state.load(std::slice::from_ref(&turning.user)).await?;
                    turning.restart(remember(loaded.users.into_iter().next().flatten())?);
                }
            }
        }
    }

    /// Breaks with the position of the input whose step panicked; what was known of the user is lost then, as it is when a step
    /// asks something of the store.
    fn fold_once(&self, turning: &mut Turning, work: &[Work], in_force: &InForce) -> ControlFlow<usize> {
        let now = self.clock.now();
        for &at in &turning.inputs {
            let Work { input, may_wait, .. } = &work[at];
            if turning.leaves(input, *may_wait) {
                turning.left.push(at);
                continue;
            }
            let mut known = std::mem::take(&mut turning.known);
            // A step forgets the answers of the one before.
            known.admitted.clone_from(&turning.admitted);
            known.standing.clone_from(&turning.standing);
            known.places = self.places.now(now);
            if matches!(input, Input::Wake { .. }) && !known.record.timers.is_empty() {
                self.metrics.timer_overdue(step::due(&known, in_force).map_or(Duration::ZERO, |due| now.since(due)));
            }
            let Ok(stepped) = catch_unwind(AssertUnwindSafe(|| (self.step)(in_force, &turning.user, known, input, now))) else {
                return ControlFlow::Break(at);
            };
            if !stepped.asks.is_empty() {
                turning.asks = stepped.asks;
                return ControlFlow::Continue(());
            }
            turning.known = stepped.known;
            turning.profile_changed |= stepped.profile_changed;
            turning.changed |= stepped.record_changed || stepped.profile_changed;
            turning.effects.extend(stepped.effects);
            turning.held_until_read = stepped.held_until_read.or(turning.held_until_read);
            if let Input::Event(event) = input {
                turning.since = turning.since.or(Some(event.position.broker_time));
            }
            if matches!(input, Input::Wake { .. }) {
                // Taken, so hidden: only a wake that is written shows it again.
                turning.wake = None;
                turning.changed |= stepped.held_until_read.is_none();
            }
        }
        ControlFlow::Continue(())
    }

    /// Puts an event whose step panicked on the dead-letter topic and leaves only its mark to be applied. Any other input is left
    /// out (`false`): what it was about stands in the record and comes up again by its lease or its timer.
    async fn bury(&mut self, work: &mut Work) -> bool {
        let Input::Event(event) = &work.input else {
            tracing::error!(user_hash = stable_hash(&[work.user.as_bytes()]), "a step panicked on an input that is not an event");
            return false;
        };
        let raw = work.origin.as_mut().and_then(|origin| origin.raw.take());
        tracing::error!(message_id = %event.message_id, "a step panicked: the event goes to the dead-letter topic");
        work.input = Input::Poisoned { position: event.position, message_id: event.message_id.clone() };
        let Some(raw) = raw else { return true };
        let line = outcomes::dead_event(&self.settings.topics, self.clock.now(), &raw, "panic", "the event could not be applied");
        self.metrics.dead("panic");
        // Refused, the event is only in its own topic.
        let _ = append_surely(&*self.append, vec![line]).await;
        true
    }

    /// The definitions to step this user with: at least those that it was last stepped with.
    async fn in_force_for(&mut self, known: &Known) -> Result<Arc<InForce>, StateError> {
        let in_force = self.follower.in_force();
        if known.record.definitions <= in_force.revision {
            return Ok(in_force);
        }
        self.follower.catch_up(&mut *self.state).await?;
        Ok(self.follower.in_force())
    }

    /// Step 5.
    async fn commit(&mut self, turning: &mut [Turning], work: &mut [Work]) -> Result<(), StateError> {
        let mut waiting: Vec<usize> = (0..turning.len()).collect();
        let mut first = true;
        while first || !waiting.is_empty() {
            first = false;
            let writing: Vec<usize> = waiting.iter().copied().filter(|at| turning[*at].changed).collect();
            let changes: Vec<Change> = writing.iter().map(|at| self.change(&turning[*at])).collect();
            let began = self.clock.monotonic();
            let committed = self.state.commit(&changes).await?;
            self.metrics.committed(self.clock.monotonic().saturating_sub(began), committed.conflicts.len());
            self.clock.told(committed.now);
            self.sequence = committed.sequence;
            for (at, change) in writing.iter().zip(&changes) {
                turning[*at].token = change.record.is_some().then_some(committed.token);
                turning[*at].wake = change.wake.or(turning[*at].wake);
            }
            waiting.clear();
            for (conflict, stored) in committed.conflicts {
                let at = writing[conflict];
                turning[at].restart(remember(stored)?);
                waiting.push(at);
            }
            self.step_all(turning, waiting.clone(), work).await?;
        }
        Ok(())
    }

    fn change(&self, turning: &Turning) -> Change {
        let Known { record, profile, .. } = &turning.known;
        let in_force = self.follower.in_force();
        let wake = step::wake(&turning.user, &turning.known, &in_force, self.clock.now());
        let encoded = wake.map(|_| codec::encode(record));
        if let Some(bytes) = &encoded {
            self.metrics.record_bytes(bytes.len());
        }
        Change {
            user: turning.user.clone(),
            expected: turning.token,
            profile: match (&encoded, turning.profile_changed) {
                (None, _) => ProfileChange::Remove,
                (_, false) => ProfileChange::Keep,
                (_, true) if profile.is_empty() => ProfileChange::Remove,
                (_, true) => ProfileChange::Set(codec::encode_profile(profile)),
            },
            record: encoded,
            // A wake that stands already costs no write; one that was taken is hidden, which only a new one undoes.
            wake: wake.filter(|wake| turning.wake != Some(*wake)),
        }
    }

    /// Step 6. From here on nothing waits for the store. Answers what is postponed beside what is to be done.
    fn carry_out(&mut self, turning: Vec<Turning>) -> (Turned, Vec<Postponed>) {
        let mut turned = Turned::default();
        let mut lines: Vec<Line> = Vec::new();
        let mut postponed = Vec::new();
        let mut starting: Vec<Starting> = Vec::new();
        for turning in turning {
            let Turning { user, token, wake, mut known, effects, held_until_read, since, passing, changed, .. } = turning;
            known.admitted = Vec::new();
            known.places = None;
            for effect in effects {
                self.count(&effect);
                let (id, doing) = match effect {
                    Effect::Decided(decision) => {
                        match outcomes::decision(&self.settings, &decision) {
                            Some(line) => lines.push(line),
                            None => self.metrics.not_written(&decision),
                        }
                        continue;
                    }
                    Effect::Converted(conversion) => {
                        lines.push(outcomes::conversion(&self.settings.topics, &conversion));
                        continue;
                    }
                    Effect::Send(id) => (id, Doing::Send),
                    Effect::Fail(id, cause) => (id, Doing::Fail(cause)),
                    Effect::Bury(id, ending) => (id, Doing::Bury(ending)),
                    Effect::Postpone { id, until } => {
                        let expires = known.record.pending.iter().find(|entry| entry.id == id).map(|entry| entry.expires);
                        postponed.push(Postponed { id, until, expires });
                        continue;
                    }
                    Effect::Pass { to, passed } => {
                        self.places.hear(&known.record, &passed, self.clock.now());
                        turned.passed.push((to, passed));
                        continue;
                    }
                    Effect::Fetch(fetch) => {
                        turned.fetches.push(Fetching::new(user.clone(), fetch));
                        continue;
                    }
                    Effect::VariableMissing { .. } | Effect::TraitsRefused { .. } | Effect::Skipped => continue,
                };
                // What is sent is what the stored record holds, never what `step` returned on the way there.
                if let Some(entry) = known.record.pending.iter().find(|entry| entry.id == id) {
                    let members = known.record.batch.as_ref().map_or_else(Vec::new, |batch| batch.members.clone());
                    let before = known.record.resumed.find(id).map_or(0, |resumed| resumed.before);
                    starting.push(Starting { user: user.clone(), entry: entry.clone(), members, doing, since, before });
                }
            }
            if let Some(until) = held_until_read {
                turned.held.push((user.clone(), until));
            }
            // A walk comes by everybody once: whom it left as they were would push out those who come again.
            if changed || !passing {
                self.cache.put(user, Remembered { token, wake, known });
            }
        }
        let decided = if lines.is_empty() { Ack::done() } else { Ack::of(self.append.append(&lines)) };
        turned.decided = decided.clone();
        for Starting { user, entry, members, doing, since, before } in starting {
            let delivery = Delivery { since, members, before, ..Delivery::new(user, entry, decided.clone()) };
            match doing {
                Doing::Send => turned.deliveries.push(delivery),
                Doing::Fail(cause) => turned.failures.push((delivery, cause)),
                Doing::Bury(ending) => turned.buried.push((delivery, ending)),
            }
        }
        (turned, postponed)
    }

    fn count(&self, effect: &Effect) {
        match effect {
            Effect::Decided(decision) => self.metrics.decided(decision),
            Effect::VariableMissing { campaign, count } => self.metrics.variable_missing(campaign, *count),
            Effect::TraitsRefused { count } => self.metrics.traits_refused(*count),
            Effect::Converted(_)
            | Effect::Send(_)
            | Effect::Fail(..)
            | Effect::Bury(..)
            | Effect::Fetch(_)
            | Effect::Pass { .. }
            | Effect::Postpone { .. }
            | Effect::Skipped => {}
        }
    }

    /// Forgets everything after an answer that leaves open what is stored.
    pub fn forget(&mut self) {
        self.cache.clear();
    }
}

/// Step 7 for one input: its place in the log is finished, unless its retry message must be written again first.
fn finish(done: Work, postponed: &[Postponed], now: Timestamp, turned: &mut Turned) {
    let Some(Origin { ticket, .. }) = done.origin else { return };
    let id = match &done.input {
        Input::Retry { id, .. } => Some(*id),
        Input::Redrive(dead) => Some(dead.entry.id),
        _ => None,
    };
    let put_off = id.and_then(|id| postponed.iter().find(|postponed| postponed.id == id));
    match put_off.and_then(|put_off| RetryMessage::of_input(done.user, done.input, put_off.until, put_off.expires, now)) {
        Some(message) => turned.postponed.push((Box::new(message), ticket)),
        None => ticket.finish(),
    }
}

pub(super) fn remember(stored: Option<Stored>) -> Result<Remembered, StateError> {
    let Some(stored) = stored else { return Ok(Remembered::default()) };
    Ok(Remembered { token: Some(stored.token), wake: None, known: known(&stored)? })
}

/// What is stored of a user. A record that cannot be read is no reason to go on without it: that would send again what was sent.
pub fn known(stored: &Stored) -> Result<Known, StateError> {
    let refused = |error: CodecError| StateError::Refused(format!("a stored record cannot be read: {error}"));
    let record = codec::decode(&stored.record).map_err(refused)?;
    let profile = stored.profile.as_deref().map(codec::decode_profile).transpose().map_err(refused)?;
    Ok(Known { record, profile: profile.unwrap_or_default(), ..Known::default() })
}

mod places;
mod questions;
mod turning;

use places::KnownPlaces;
pub use questions::CAMPAIGN_KEPT;
use questions::FullSets;
use turning::{Turning, group_by_user};

#[cfg(test)]
mod tests;

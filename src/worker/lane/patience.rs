//! Events that wait for their busy users, so that a backlog of one user does not fill its record (`state_full`) while its endpoint keeps up.
//! Nobody else waits for one user for long: who is too slow for all others is turned all the same.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;

use crate::engine::id::UserId;
use crate::engine::step::bounds;
use crate::worker::turn::Work;

/// Deliveries of one user under way at once: its further events wait. What its record holds beside them, the turn looks at.
pub(super) const USER_DELIVERIES: usize = bounds::CROWDED;

/// When so many events wait, nothing new is taken until their users' endpoints have caught up, or one of these users is too slow for
/// all others.
pub(super) const PATIENT_EVENTS: usize = 1024;

/// How long all others wait for a burst of one user, by the pace at which its events go on. Who needs longer is too slow for them:
/// while too many wait, that user's oldest are turned all the same. What its record has no room for is `state_full`: that is what its
/// bound means.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long an event waits for its busy user at most: timers of all users wait until the events before them are turned.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The least time over which a user's pace is judged, and half of the longest while it moves.
pub(super) const JUDGED_OVER: Duration = Duration::from_millis(500);

/// All events of a lane that wait, by user.
#[derive(Default)]
pub(super) struct Patience {
    users: HashMap<UserId, Patient>,
    events: usize,
    stopping: bool,
}

/// Events of one user that wait, in their order.
pub(super) struct Patient {
    /// Each with the monotonic time since when it waits.
    waiting: VecDeque<(Duration, Work)>,
    /// Since when those waited that were taken last.
    taken: Duration,
    /// Monotonic time since when its pace is counted, and the events that have gone on since then.
    since: Duration,
    gone: u32,
    /// Whether it was too slow before that.
    was_slow: bool,
    /// Its record had no room for the first of them. Until one of its deliveries here ends there is no more; where none is under way, what
    /// fills the record waits elsewhere, and its events go on one by one whatever becomes of them.
    crowded: bool,
}

impl Patience {
    /// How many wait.
    pub fn events(&self) -> usize {
        self.events
    }

    /// Whether what comes of this user waits behind what came before.
    pub fn has(&self, user: &UserId) -> bool {
        self.users.contains_key(user)
    }

    /// Has an event wait.
    pub fn push(&mut self, work: Work, now: Duration) {
        let patient = self.users.entry_ref(&work.user).or_insert_with(|| Patient::new(now));
        if !self.stopping {
            patient.waiting.push_back((now, work));
            self.events += 1;
        }
    }

    /// Of the users who are too slow for all others, the one of whom most events wait.
    pub fn slowest(&self, now: Duration) -> Option<&UserId> {
        let slow = self.users.iter().filter(|(_, patient)| patient.is_slow(now));
        slow.max_by_key(|(user, patient)| (patient.waiting.len(), *user)).map(|(user, _)| user)
    }

    /// Whether some may go on, by how many deliveries of their users are under way.
    pub fn is_ready(&self, busy: impl Fn(&UserId) -> usize, now: Duration) -> bool {
        self.users.iter().any(|(user, patient)| patient.may_go(busy(user), now).0 > 0)
    }

    /// Those that may go on.
    pub fn take_ready(&mut self, busy: impl Fn(&UserId) -> usize, now: Duration) -> Vec<Work> {
        let mut ready = Vec::new();
        for (user, patient) in &mut self.users {
            let (most, may_wait) = patient.may_go(busy(user), now);
            if most > 0 {
                let gone = patient.take(most, may_wait, &mut ready);
                patient.moved(gone, now);
            }
        }
        self.events -= ready.len();
        ready
    }

    /// A user's oldest, whatever its record has room for.
    pub fn take_oldest(&mut self, user: &UserId) -> Option<Work> {
        let mut oldest = Vec::new();
        self.events -= self.users.get_mut(user)?.take(1, false, &mut oldest);
        oldest.pop()
    }

    /// Has what a turn left wait, before all that waits already.
    pub fn put_back(&mut self, left: Vec<Work>, now: Duration) {
        for work in left.into_iter().rev() {
            let patient = self.users.entry_ref(&work.user).or_insert_with(|| Patient::new(now));
            if !self.stopping {
                patient.waiting.push_front((patient.taken, Work { may_wait: true, ..work }));
                patient.gone = patient.gone.saturating_sub(1);
                patient.crowded = true;
                self.events += 1;
            }
        }
        if !self.stopping {
            self.users.retain(|_, patient| !patient.waiting.is_empty());
        }
    }

    /// One of this user's deliveries is over.
    pub fn eased(&mut self, user: &UserId) {
        self.users.get_mut(user).into_iter().for_each(|patient| patient.crowded = false);
    }

    /// The worker stops: events that wait are not begun any more. Nothing of them is stored, so whoever comes next reads them again; and
    /// with them all that comes after them for these users, who stay known: what is stored says how far a log is applied.
    pub fn stop(&mut self) {
        self.stopping = true;
        self.users.values_mut().for_each(|patient| patient.waiting.clear());
        self.events = 0;
    }
}

impl Patient {
    fn new(now: Duration) -> Patient {
        Patient { waiting: VecDeque::new(), taken: now, since: now, gone: 0, was_slow: false, crowded: false }
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
            (self.was_slow, self.since, self.gone) = (self.is_slow(now), now, 0);
        }
        self.gone = self.gone.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// How many may go on, of whose deliveries so many are under way; and whether the turn may leave them.
    fn may_go(&self, busy: usize, now: Duration) -> (usize, bool) {
        let Some((since, _)) = self.waiting.front() else { return (0, true) };
        match (self.crowded, busy) {
            _ if now.saturating_sub(*since) > LONGEST_WAIT => (1, false),
            (true, 0) => (1, false),
            (true, _) => (0, true),
            (false, busy) => (USER_DELIVERIES.saturating_sub(busy), true),
        }
    }

    /// Takes so many; answers how many there were.
    fn take(&mut self, most: usize, may_wait: bool, into: &mut Vec<Work>) -> usize {
        let count = most.min(self.waiting.len());
        self.taken = self.waiting.front().map_or(self.taken, |(since, _)| *since);
        into.extend(self.waiting.drain(..count).map(|(_, work)| Work { may_wait, ..work }));
        count
    }
}

#[cfg(test)]
mod tests;

//! What is due: users whose wake has passed are handed to their lanes. Any worker may take any user; nobody owns shards. Taken
//! users are hidden for a while, so a worker that dies with them only delays them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::engine::delivery::batch;
use crate::engine::id::UserId;
use crate::engine::time::Timestamp;

use super::ports::{PSEUDO, State, StateError};
use super::read_positions::ReadPositions;
use super::store_clock::StoreClock;

/// How long a taken user is hidden from the others.
pub const HIDDEN_FOR: Duration = Duration::from_secs(30);

/// Users taken at once.
const BATCH: usize = 500;

/// Users that wait for the topics to be read, at most; what does not fit comes back when it is no longer hidden.
const HELD_USERS: usize = 10_000;

/// Users with a timer that is due but whose events are not read up to it yet.
#[derive(Default)]
pub struct Held(Mutex<BTreeMap<(Timestamp, UserId), ()>>);

impl Held {
    pub fn hold(&self, until: Timestamp, user: UserId) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() < HELD_USERS {
            held.insert((until, user), ());
        }
    }

    /// Since when the one that has waited longest is due.
    fn since(&self) -> Option<Timestamp> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.first_key_value().map(|((due, _), ())| *due)
    }

    fn ripe(&self, read_to: Timestamp) -> Vec<UserId> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ripe = Vec::new();
        while let Some(first) = held.first_entry() {
            if first.key().0 > read_to {
                break;
            }
            ripe.push(first.remove_entry().0.1);
        }
        ripe
    }
}

/// How long nobody must have been found before nothing counts as overdue: longer than those are hidden who were found and could not be
/// served.
const QUIET_FOR: Duration = Duration::from_secs(35);
const _: () = assert!(QUIET_FOR.as_secs() > HIDDEN_FOR.as_secs());

pub struct Due {
    state: Box<dyn State>,
    clock: Arc<StoreClock>,
    positions: Arc<ReadPositions>,
    held: Arc<Held>,
    /// When somebody was last found, by the monotonic clock.
    found_at: Option<Duration>,
}

/// What a look found.
pub struct Found {
    pub users: Vec<UserId>,
    /// Agendas of campaigns, which are no users.
    pub agendas: Vec<UserId>,
    /// Events are applied up to here.
    pub read_to: Timestamp,
    /// How overdue what waits for events to be read is, or 0; `None` while users are found, whose turns tell how late they are.
    pub overdue: Option<Duration>,
    /// There is probably more.
    pub more: bool,
}

impl Due {
    pub fn new(state: Box<dyn State>, clock: Arc<StoreClock>, positions: Arc<ReadPositions>, held: Arc<Held>) -> Due {
        Due { state, clock, positions, held, found_at: None }
    }

    /// Takes the users that are due now, if there is room for them; without room only the read positions are exchanged.
    pub async fn look(&mut self, has_room: bool) -> Result<Found, StateError> {
        self.positions.exchange(&mut *self.state).await?;
        let read_to = self.positions.read_to();
        if !has_room {
            // They are found, and wait here.
            let overdue = self.overdue(true);
            return Ok(Found { users: Vec::new(), agendas: Vec::new(), read_to, overdue, more: false });
        }
        let mut users = self.held.ripe(read_to);
        let taken = self.state.take_due(self.clock.now(), BATCH, HIDDEN_FOR).await?;
        let more = taken.len() == BATCH;
        // A batch has a record like a user's, and is turned like one.
        let (agendas, taken): (Vec<_>, Vec<_>) = taken.into_iter().partition(|id| id.starts_with(PSEUDO) && !batch::is_id(id));
        users.extend(taken);
        let overdue = self.overdue(!users.is_empty());
        Ok(Found { users, agendas, read_to, overdue, more })
    }

    fn overdue(&mut self, found: bool) -> Option<Duration> {
        let now = self.clock.monotonic();
        if found {
            self.found_at = Some(now);
        }
        let quiet = self.found_at.is_none_or(|found_at| now.saturating_sub(found_at) > QUIET_FOR);
        quiet.then(|| self.held.since().map_or(Duration::ZERO, |due| self.clock.now().since(due)))
    }

    /// The session, for what else is asked between looks.
    pub fn state(&mut self) -> &mut dyn State {
        &mut *self.state
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::simulator::ports::{MemoryStore, SharedFaults, VirtualClock};
    use crate::worker::ports::{Clock, testing};

    #[test]
    fn nothing_is_overdue_once_nobody_was_found_for_longer_than_they_are_hidden() {
        let clock = VirtualClock::new(Timestamp(1_000_000));
        let store = MemoryStore::new("store", Arc::new(clock.clone()), SharedFaults::default());
        let mut session = testing::session(&store);
        // Due since long.
        testing::commit(&mut *session, &[testing::change("u1", None, "record")]);
        let held: Arc<Held> = Arc::default();
        let mut due = Due::new(testing::session(&store), Arc::new(StoreClock::new(Arc::new(clock.clone()))), Arc::default(), held.clone());
        // Without room nobody is taken, nor hidden.
        let found = due.look(false).now_or_never().expect("the store in memory answers at once").expect("it answers");
        assert_eq!((found.users.len(), found.overdue, found.more), (0, None, false));
        let mut check = |users: usize, overdue: Option<Duration>| {
            let found = due.look(true).now_or_never().expect("the store in memory answers at once").expect("it answers");
            assert_eq!((found.users.len(), found.overdue), (users, overdue), "at {:?}", clock.now());
        };
        check(1, None);
        // Nobody turned it: it is found again when it is no longer hidden.
        clock.advance(HIDDEN_FOR - Duration::from_secs(1));
        check(0, None);
        clock.advance(Duration::from_secs(1));
        check(1, None);

        let stored = testing::load(&mut *session, "u1").expect("stored");
        let later =
            crate::worker::ports::Change { wake: Some(Timestamp(1_000_000_000)), ..testing::change("u1", Some(stored.token), "record") };
        testing::commit(&mut *session, &[later]);
        clock.advance(QUIET_FOR);
        check(0, None);
        clock.advance(Duration::from_secs(1));
        check(0, Some(Duration::ZERO));
        held.hold(clock.now(), "u2".into());
        clock.advance(Duration::from_secs(7));
        check(0, Some(Duration::from_secs(7)));
    }
}

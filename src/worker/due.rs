//! What is due: users whose wake has passed are handed to their lanes. Any worker may take any user; nobody owns shards. Taken
//! users are hidden for a while, so a worker that dies with them only delays them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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

pub struct Due {
    state: Box<dyn State>,
    clock: Arc<StoreClock>,
    positions: Arc<ReadPositions>,
    held: Arc<Held>,
}

/// What a look found.
pub struct Found {
    pub users: Vec<UserId>,
    /// Agendas of campaigns, which are no users.
    pub agendas: Vec<UserId>,
    /// Events are applied up to here.
    pub read_to: Timestamp,
    /// Since when a timer waits for events to be read up to it.
    pub held_since: Option<Timestamp>,
    /// There is probably more.
    pub more: bool,
}

impl Due {
    pub fn new(state: Box<dyn State>, clock: Arc<StoreClock>, positions: Arc<ReadPositions>, held: Arc<Held>) -> Due {
        Due { state, clock, positions, held }
    }

    /// Takes the users that are due now.
    pub async fn look(&mut self) -> Result<Found, StateError> {
        self.positions.exchange(&mut *self.state).await?;
        let read_to = self.positions.read_to();
        let mut users = self.held.ripe(read_to);
        let taken = self.state.take_due(self.clock.now(), BATCH, HIDDEN_FOR).await?;
        let more = taken.len() == BATCH;
        let (agendas, taken): (Vec<_>, Vec<_>) = taken.into_iter().partition(|id| id.starts_with(PSEUDO));
        users.extend(taken);
        Ok(Found { users, agendas, read_to, held_since: self.held.since(), more })
    }

    /// The session, for following the definitions between looks.
    pub fn state(&mut self) -> &mut dyn State {
        &mut *self.state
    }
}

//! The worker's ports in memory: the same answers to the same calls, ready at once, no thread and no real time. What can go wrong
//! with a network is asked of [`Faults`] at every call; a worker crashes by being dropped, store and log outlive it.

mod clock;
mod group;
mod log;
mod state;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::id::UserId;
use crate::engine::time::Timestamp;
use crate::worker::ports::{Append, Source, Store};

pub use clock::VirtualClock;
pub use log::{MemoryLog, MemorySource, Start};
pub use state::{MemoryStore, Snapshot};

/// A store that a simulation may look into.
pub trait OpenStore: Store {
    /// When the next user wants a look: where a simulation may jump to.
    fn next_wake(&self) -> Option<Timestamp>;

    /// Shows records, those written last first, until `found` says that it is the one.
    fn look_for(&self, found: &mut dyn FnMut(&UserId, &[u8]) -> bool);
}

/// A log that a simulation may look into.
pub trait OpenLog: Append {
    /// Joins a group that begins at the earliest offset.
    fn join(&self, group: &str, topics: &[&str]) -> Box<dyn Source>;

    /// The values of all records of a topic, partition by partition.
    fn values(&self, topic: &str) -> Vec<Vec<u8>>;
}

/// A call of a port, as the faults see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Session,
    Load,
    Commit,
    Confirm,
    TakeDue,
    Users,
    Admit,
    Spend,
    Documents,
    PutDocuments,
    ReadPositions,
    Identity,
    Append,
    Poll,
    Hold,
    CommitOffsets,
    Ends,
    Partitions,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Go,
    /// Nothing was done; the caller learns only that it does not know.
    FailBefore,
    /// It was done, the reply got lost. For a call that changes nothing it is the same as [`Fate::FailBefore`].
    FailAfter,
    /// The log will never accept it. Only an append comes to this; any other call goes on.
    Refuse,
}

/// Decides over every call, in the order in which they are made.
pub trait Faults: Send {
    fn fate(&mut self, call: Call) -> Fate;
}

impl<F: FnMut(Call) -> Fate + Send> Faults for F {
    fn fate(&mut self, call: Call) -> Fate {
        self(call)
    }
}

/// Faults at random: a seed always gives the same ones.
#[derive(Clone, Debug)]
pub struct SeededFaults {
    state: u64,
    per_mille: u64,
}

impl SeededFaults {
    /// `per_mille` of all calls fail, half of them after they were done.
    pub fn new(seed: u64, per_mille: u32) -> SeededFaults {
        SeededFaults { state: seed, per_mille: u64::from(per_mille) }
    }
}

impl Faults for SeededFaults {
    fn fate(&mut self, _: Call) -> Fate {
        let number = split_mix(&mut self.state);
        match (number % 1_000 < self.per_mille, number >> 63) {
            (false, _) => Fate::Go,
            (true, 0) => Fate::FailBefore,
            (true, _) => Fate::FailAfter,
        }
    }
}

/// The faults of one world, shared by its ports. By default there are none.
#[derive(Clone)]
pub struct SharedFaults(Arc<Mutex<dyn Faults>>);

impl SharedFaults {
    pub fn new(faults: impl Faults + 'static) -> SharedFaults {
        SharedFaults(Arc::new(Mutex::new(faults)))
    }

    fn fate(&self, call: Call) -> Fate {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fate(call)
    }
}

impl Default for SharedFaults {
    fn default() -> SharedFaults {
        SharedFaults::new(|_| Fate::Go)
    }
}

/// Sebastiano Vigna's SplitMix64 (public domain): enough chance for faults, and it fits here.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

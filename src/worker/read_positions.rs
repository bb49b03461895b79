//! How far the events topics have been read by everybody: what did not happen can only be decided up to there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine::time::Timestamp;

use super::ports::{Partition, State, StateError};

/// Shared by the reader, which notes, and the due loop, which publishes and asks. (The topic of runs has one of its own, by which a
/// walk sees how far ahead it is.)
pub struct ReadPositions {
    inner: Mutex<Inner>,
    read_to: AtomicI64,
}

#[derive(Default)]
struct Inner {
    /// Every partition there is.
    all: Vec<Partition>,
    /// Of ours, up to when they are read.
    ours: BTreeMap<Partition, Timestamp>,
}

impl Default for ReadPositions {
    fn default() -> ReadPositions {
        ReadPositions { inner: Mutex::default(), read_to: AtomicI64::new(i64::MIN) }
    }
}

impl ReadPositions {
    /// Notes that everything the partition held at `at` is applied.
    pub fn reached(&self, partition: &Partition, at: Timestamp) {
        self.lock().ours.insert(partition.clone(), at);
    }

    /// Notes which partitions there are: one that nobody reads holds all.
    pub fn expect(&self, all: Vec<Partition>) {
        self.lock().all = all;
    }

    /// Publishes ours and learns the others'.
    pub async fn exchange(&self, state: &mut dyn State) -> Result<(), StateError> {
        let (ours, all): (Vec<_>, _) = {
            let inner = self.lock();
            (inner.ours.iter().map(|(partition, at)| (partition.clone(), *at)).collect(), inner.all.clone())
        };
        if all.is_empty() {
            return Ok(());
        }
        let known: BTreeMap<Partition, Timestamp> = state.read_positions(&ours).await?.into_iter().collect();
        let read_to = all.iter().map(|partition| known.get(partition).copied().unwrap_or(Timestamp::MIN)).min();
        self.read_to.store(read_to.unwrap_or(Timestamp::MIN).0, Ordering::Release);
        self.lock().ours.clear();
        Ok(())
    }

    /// Whether there is something of ours that the others do not know.
    pub fn has_news(&self) -> bool {
        !self.lock().ours.is_empty()
    }

    /// Everything in the events topics up to this time is applied.
    pub fn read_to(&self) -> Timestamp {
        Timestamp(self.read_to.load(Ordering::Acquire))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! How far the events topics have been read by everybody: what did not happen can only be decided up to there. And the same of the topic of
//! runs, where a walk sees by it how far ahead it is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::engine::time::Timestamp;

use super::offsets::Offsets;
use super::ports::{Partition, Source, SourceError, State, StateError};
use super::store_clock::StoreClock;

/// Shared by the reader, which notes, and the due loop or the walker, which publishes and asks.
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

/// The ends that one reader asked its log for, until what lies before them is finished.
pub struct Ends {
    open: Vec<(Partition, i64)>,
    /// When they were asked for: monotonic, and the store's time.
    asked: (Duration, Timestamp),
    asking: Asking,
}

/// When a reader asks for new ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// At each interval, whatever became of the former ones.
    Always,
    /// Not before the former ones are reached, else under load none ever is.
    OnceReached,
}

impl Ends {
    pub fn new(asking: Asking) -> Ends {
        Ends { open: Vec::new(), asked: (Duration::ZERO, Timestamp::MIN), asking }
    }

    /// Notes up to when the partitions are done with, and asks for new ends every `every`: a question to the broker.
    pub fn note(
        &mut self,
        source: &mut dyn Source,
        offsets: &Offsets,
        positions: &ReadPositions,
        clock: &StoreClock,
        every: Duration,
    ) -> Result<(), SourceError> {
        let asked = self.asked.1;
        self.open.retain(|(partition, end)| {
            // What was taken away is its new reader's to note.
            let Some((_, progress)) = offsets.find(&partition.topic, partition.number) else { return false };
            let reached = progress.finished() >= *end;
            if reached {
                positions.reached(partition, asked);
            }
            !reached
        });
        let now = clock.monotonic();
        let waits = self.asking == Asking::OnceReached && !self.open.is_empty();
        if waits || now.saturating_sub(self.asked.0) < every {
            return Ok(());
        }
        self.asked = (now, clock.now());
        match source.ends().and_then(|ends| Ok((ends, source.partitions()?))) {
            Ok((ends, partitions)) => {
                self.open = ends;
                positions.expect(partitions);
                Ok(())
            }
            Err(SourceError::Unavailable(error)) => {
                tracing::debug!(%error, "the ends of the partitions are not known just now");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

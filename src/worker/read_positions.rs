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
}

impl Default for Ends {
    fn default() -> Ends {
        Ends { open: Vec::new(), asked: (Duration::ZERO, Timestamp::MIN) }
    }
}

impl Ends {
    /// Notes up to when the partitions are done with, and asks for new ends every `every`, a question to the broker; but not before the
    /// former ones are reached: a reader that is always behind would run after ends that move away, and reach none.
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
        if !self.open.is_empty() || now.saturating_sub(self.asked.0) < every {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::simulator::ports::{MemoryLog, MemoryStore, SharedFaults, VirtualClock};
    use crate::worker::ports::testing::{block_on, session};
    use crate::worker::ports::{Append, Line};

    const SECOND: Duration = Duration::from_secs(1);

    /// Ten records come each second, and the reader finishes ten each second, always `behind` of them too late.
    fn read_to_after_a_minute(behind: i64) -> Timestamp {
        let wall = VirtualClock::new(Timestamp(0));
        let (clock, shared) = (StoreClock::new(Arc::new(wall.clone())), Arc::new(wall.clone()));
        let log = MemoryLog::new(1, shared.clone(), SharedFaults::default());
        let mut source = log.source("g", &["events"]);
        let store = MemoryStore::new("s", shared, SharedFaults::default());
        let (mut offsets, mut ends, positions) = (Offsets::default(), Ends::default(), ReadPositions::default());
        for assigned in source.poll(SECOND, &mut |_| std::ops::ControlFlow::Continue(())).unwrap().assigned {
            offsets.assign(assigned.partition, assigned.committed);
        }
        for second in 1..=60 {
            let line = || Line { topic: "events".into(), key: None, value: b"{}".to_vec() };
            block_on(log.append(&[0; 10].map(|_| line()))).unwrap();
            // Read and handed to lanes, which have not finished all of it.
            source.poll(SECOND, &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
            let (_, progress) = offsets.find("events", 0).unwrap();
            if second * 10 > behind {
                progress.pass(second * 10 - behind - 1);
            }
            wall.advance(SECOND);
            ends.note(&mut source, &offsets, &positions, &clock, SECOND).unwrap();
            block_on(positions.exchange(&mut *session(&store))).unwrap();
        }
        positions.read_to()
    }

    #[test]
    fn read_positions_go_on_for_a_reader_that_is_always_behind() {
        for (behind, least) in [(0, 59), (5, 58), (25, 54), (100, 40)] {
            let read_to = read_to_after_a_minute(behind);
            assert!(read_to >= Timestamp(least * 1000), "{behind} records behind: read up to {read_to}");
        }
    }
}

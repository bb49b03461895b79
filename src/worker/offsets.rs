//! How far each partition is finished: the contiguous prefix, and when it may be committed. Pure bookkeeping; the reader and
//! the lanes share it, the broker is told by `reader`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ports::{Offset, Partition};

/// Offsets are committed this long after they were finished, so that a store that loses its last writes is still ahead of them.
pub const COMMIT_LAG: Duration = Duration::from_secs(3);

/// Progress of one assigned partition.
#[derive(Debug)]
pub struct Progress(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// Everything below was read.
    next: i64,
    /// Read and not finished, each with the number of its tickets that are out.
    open: BTreeMap<i64, usize>,
}

/// The duty to finish one record. Dropped without `finish`, the record counts as unfinished for ever: a successor reads it again.
#[derive(Debug)]
#[must_use = "an unfinished record holds its partition's offset"]
pub struct Ticket {
    progress: Arc<Progress>,
    offset: i64,
}

impl Ticket {
    pub fn finish(self) {
        let mut progress = self.progress.lock();
        if let Some(left) = progress.open.get_mut(&self.offset) {
            *left -= 1;
            if *left == 0 {
                progress.open.remove(&self.offset);
            }
        }
    }
}

impl Progress {
    pub fn new(next: i64) -> Arc<Progress> {
        Arc::new(Progress(Mutex::new(Inner { next, open: BTreeMap::new() })))
    }

    /// Notes a record that needs nothing more.
    pub fn pass(&self, offset: i64) {
        self.lock().next = offset + 1;
    }

    /// Notes a record that somebody will finish.
    pub fn open(self: &Arc<Self>, offset: i64) -> Ticket {
        self.note(offset, 1);
        Ticket { progress: self.clone(), offset }
    }

    /// Notes a record of which several parts are to be finished, at least one: it is when the last of them is.
    pub fn open_parts(self: &Arc<Self>, offset: i64, parts: usize) -> Vec<Ticket> {
        self.note(offset, parts);
        (0..parts).map(|_| Ticket { progress: self.clone(), offset }).collect()
    }

    fn note(&self, offset: i64, parts: usize) {
        let mut inner = self.lock();
        inner.next = offset + 1;
        inner.open.insert(offset, parts);
    }

    /// The end of the contiguous finished prefix: the first unfinished offset.
    pub fn finished(&self) -> i64 {
        let inner = self.lock();
        inner.open.first_key_value().map_or(inner.next, |(first, _)| *first)
    }

    /// Records that are read and not finished, or their parts.
    pub fn unfinished(&self) -> usize {
        self.lock().open.values().sum()
    }

    // The data is a counter and a set: a panic elsewhere leaves them whole.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The assigned partitions of one reader, and which of their prefixes may be committed when.
#[derive(Debug, Default)]
pub struct Offsets {
    partitions: BTreeMap<Partition, Tracked>,
}

#[derive(Debug)]
struct Tracked {
    progress: Arc<Progress>,
    committed: Option<i64>,
    snapshots: VecDeque<Snapshot>,
}

#[derive(Debug)]
struct Snapshot {
    /// Monotonic time at which it was taken.
    taken: Duration,
    next: i64,
    /// The store's sequence at that time.
    sequence: u64,
}

impl Offsets {
    pub fn assign(&mut self, partition: Partition, committed: Option<i64>) {
        let progress = Progress::new(committed.unwrap_or(0));
        self.partitions.insert(partition, Tracked { progress, committed, snapshots: VecDeque::new() });
    }

    pub fn revoke(&mut self, partition: &Partition) {
        self.partitions.remove(partition);
    }

    /// An assigned partition and its progress. Looks through all: whoever reads a run of records asks once.
    pub fn find(&self, topic: &str, number: i32) -> Option<(&Partition, &Arc<Progress>)> {
        self.iter().find(|(partition, _)| partition.number == number && &*partition.topic == topic)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Partition, &Arc<Progress>)> {
        self.partitions.iter().map(|(partition, tracked)| (partition, &tracked.progress))
    }

    pub fn partitions(&self) -> Vec<Partition> {
        self.partitions.keys().cloned().collect()
    }

    /// Notes where every prefix ends now, with the store's sequence as of now (it covers every write of that prefix).
    pub fn snapshot(&mut self, now: Duration, sequence: u64) {
        for tracked in self.partitions.values_mut() {
            let next = tracked.progress.finished();
            let newest = tracked.snapshots.back().map(|snapshot| snapshot.next).or(tracked.committed);
            if newest.is_none_or(|newest| next > newest) && (next > 0 || tracked.committed.is_some()) {
                tracked.snapshots.push_back(Snapshot { taken: now, next, sequence });
            }
        }
    }

    /// What may be committed: of each partition the newest snapshot taken at or before `confirmed - COMMIT_LAG`, where `confirmed` is
    /// when every lane last began a successful confirmation. `note` writes the commit's note from the sequence.
    pub fn committable(&mut self, confirmed: Duration, note: impl Fn(u64) -> String) -> Vec<Offset> {
        self.ready(confirmed.checked_sub(COMMIT_LAG), note)
    }

    /// What may be committed by a worker that leaves: everything snapshotted before `confirmed`, without the lag.
    pub fn committable_at_leaving(&mut self, confirmed: Duration, note: impl Fn(u64) -> String) -> Vec<Offset> {
        self.ready(Some(confirmed), note)
    }

    fn ready(&mut self, until: Option<Duration>, note: impl Fn(u64) -> String) -> Vec<Offset> {
        let Some(until) = until else { return Vec::new() };
        let mut ready = Vec::new();
        for (partition, tracked) in &mut self.partitions {
            let mut newest = None;
            while tracked.snapshots.front().is_some_and(|snapshot| snapshot.taken <= until) {
                newest = tracked.snapshots.pop_front();
            }
            if let Some(snapshot) = newest {
                ready.push(Offset { partition: partition.clone(), next: snapshot.next, note: note(snapshot.sequence) });
            }
        }
        ready
    }

    /// Notes what the broker acknowledged.
    pub fn committed(&mut self, offsets: &[Offset]) {
        for offset in offsets {
            if let Some(tracked) = self.partitions.get_mut(&offset.partition) {
                tracked.committed = Some(offset.next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> Partition {
        Partition { topic: "events".into(), number: 0 }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_prefix_ends_at_the_first_unfinished_record() {
        let progress = Progress::new(5);
        progress.pass(5);
        let first = progress.open(6);
        let second = progress.open(7);
        progress.pass(8);
        assert_eq!(progress.finished(), 6);
        second.finish();
        assert_eq!(progress.finished(), 6);
        first.finish();
        assert_eq!((progress.finished(), progress.unfinished()), (9, 0));
    }

    #[test]
    fn a_record_is_finished_when_its_last_part_is() {
        let progress = Progress::new(0);
        let mut parts = progress.open_parts(0, 3);
        progress.open(1).finish();
        assert_eq!((progress.finished(), progress.unfinished()), (0, 3));
        parts.drain(..2).for_each(Ticket::finish);
        assert_eq!((progress.finished(), progress.unfinished()), (0, 1));
        parts.into_iter().for_each(Ticket::finish);
        assert_eq!((progress.finished(), progress.unfinished()), (2, 0));
    }

    #[test]
    fn a_dropped_ticket_keeps_the_offset_back() {
        let progress = Progress::new(0);
        drop(progress.open(0));
        progress.pass(1);
        assert_eq!(progress.finished(), 0);
    }

    #[test]
    fn a_prefix_is_committed_with_the_sequence_of_its_time_once_confirmed_later() {
        let mut offsets = Offsets::default();
        offsets.assign(partition(), Some(0));
        offsets.find("events", 0).unwrap().1.pass(0);
        offsets.snapshot(seconds(10), 100);
        offsets.find("events", 0).unwrap().1.pass(1);
        offsets.snapshot(seconds(12), 200);
        let note = |sequence: u64| sequence.to_string();
        assert_eq!(offsets.committable(seconds(12), note), []);
        let ready = offsets.committable(seconds(13), note);
        assert_eq!(ready, [Offset { partition: partition(), next: 1, note: "100".into() }]);
        offsets.committed(&ready);
        assert_eq!(offsets.committable(seconds(14), note), []);
        assert_eq!(offsets.committable_at_leaving(seconds(14), note)[0].next, 2);
    }

    #[test]
    fn nothing_is_committed_without_progress() {
        let mut offsets = Offsets::default();
        offsets.assign(partition(), Some(7));
        offsets.snapshot(seconds(1), 1);
        assert_eq!(offsets.committable(seconds(100), |_| String::new()), []);
    }

    #[test]
    fn a_ticket_of_a_revoked_partition_does_not_touch_its_successor() {
        let mut offsets = Offsets::default();
        offsets.assign(partition(), Some(3));
        let ticket = offsets.find("events", 0).unwrap().1.open(3);
        offsets.revoke(&partition());
        offsets.assign(partition(), Some(3));
        let again = offsets.find("events", 0).unwrap().1.open(3);
        ticket.finish();
        assert_eq!(offsets.find("events", 0).unwrap().1.finished(), 3);
        again.finish();
        assert_eq!(offsets.find("events", 0).unwrap().1.finished(), 4);
    }
}

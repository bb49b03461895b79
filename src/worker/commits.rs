//! When offsets are committed, with which note, and what a note says when it comes back.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::engine::id::stable_hash;

use super::appending::Appending;
use super::offsets::Offsets;
use super::ports::{Append, Identity, Offset, Partition, Polled, Source, SourceError, StateError};
use super::store_clock::StoreClock;

/// What a lane tells the readers.
#[derive(Default)]
pub struct LaneStatus {
    /// Monotonic time (ms) at which its last successful confirmation began.
    confirmed_ms: AtomicU64,
    /// The store's sequence after its last commit.
    sequence: AtomicU64,
    /// It has ended, and confirmed after its last turn.
    left: AtomicBool,
}

impl LaneStatus {
    pub fn confirmed(&self, began: Duration, sequence: u64) {
        self.sequence.fetch_max(sequence, Ordering::Release);
        self.confirmed_ms.store(u64::try_from(began.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// The lane turns no more and its last turn is confirmed.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Release);
    }

    pub fn stored(&self, sequence: u64) {
        self.sequence.fetch_max(sequence, Ordering::Release);
    }
}

/// Commits are looked at this often.
const EVERY: Duration = Duration::from_secs(1);

/// While a log is away, it says so this often: its client answers ten times a second.
const AWAY_SAID_EVERY: Duration = Duration::from_secs(10);

/// Asks the store who it is, waiting and asking again for the answer; gives up only on a store that stays away.
pub type AskIdentity = Box<dyn FnMut() -> Result<Identity, StateError> + Send>;

/// The rules of committing for one reader.
pub struct Commits {
    lanes: Vec<Arc<LaneStatus>>,
    clock: Arc<StoreClock>,
    identity: AskIdentity,
    store: Identity,
    accept_state: bool,
    /// Commits whose notes belong to another store, to be made again with one of this store: a partition to which nothing is written
    /// would keep its note, and `--accept-state` would be needed for ever.
    accepted: Vec<Offset>,
    looked: Duration,
    away_said: Option<Duration>,
}

impl Commits {
    pub fn new(
        lanes: Vec<Arc<LaneStatus>>,
        clock: Arc<StoreClock>,
        mut identity: AskIdentity,
        accept_state: bool,
    ) -> Result<Commits, StateError> {
        let store = identity()?;
        Ok(Commits { lanes, clock, identity, store, accept_state, accepted: Vec::new(), looked: Duration::ZERO, away_said: None })
    }

    /// Takes over what a poll learned, and answers the partitions that it brought: whoever holds its others holds them, too. A log that is
    /// away is waited for.
    pub fn polled(&mut self, offsets: &mut Offsets, polled: Result<Polled, SourceError>) -> Result<Vec<Partition>, SourceError> {
        match polled {
            Ok(polled) => {
                self.rebalanced(offsets, &polled)?;
                Ok(polled.assigned.into_iter().map(|assigned| assigned.partition).collect())
            }
            Err(SourceError::Unavailable(error)) => {
                let now = self.clock.monotonic();
                if self.away_said.is_none_or(|said| now.saturating_sub(said) >= AWAY_SAID_EVERY) {
                    tracing::warn!(%error, "the log cannot be read just now: waiting for it");
                    self.away_said = Some(now);
                }
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes a rebalance over. Refuses partitions whose notes speak of another store, or of more than this one has seen.
    fn rebalanced(&mut self, offsets: &mut Offsets, polled: &Polled) -> Result<(), SourceError> {
        for partition in &polled.revoked {
            tracing::debug!(topic = %partition.topic, partition = partition.number, "partition handed over");
            offsets.revoke(partition);
        }
        if polled.assigned.is_empty() {
            return Ok(());
        }
        self.store = (self.identity)().map_err(|error| SourceError::Fatal(error.to_string()))?;
        for assigned in &polled.assigned {
            let partition = &assigned.partition;
            if let Some(note) = &assigned.note
                && let Err(why) = check(note, &self.store)
            {
                let place = format!("{}/{}", partition.topic, partition.number);
                if !self.accept_state {
                    return Err(SourceError::Fatal(format!(
                        "{why} (commit of {place}): going on could send again what was sent; restore the state store that belongs to these \
                         offsets, or go on with this one by `campanile run --accept-state`"
                    )));
                }
                tracing::warn!(%why, partition = %place, "going on, as --accept-state says");
                let note = note_of(&self.store, self.store.sequence);
                self.accepted.extend(assigned.committed.map(|next| Offset { partition: partition.clone(), next, note }));
            }
            tracing::debug!(topic = %partition.topic, partition = partition.number, offset = assigned.committed, "partition taken");
            offsets.assign(partition.clone(), assigned.committed);
        }
        tracing::info!(taken = polled.assigned.len(), handed_over = polled.revoked.len(), held = offsets.partitions().len(), "partitions");
        Ok(())
    }

    /// Once a second: notes where the prefixes end, and commits what is old enough and confirmed since.
    pub fn commit(&mut self, source: &mut dyn Source, offsets: &mut Offsets) -> Result<(), SourceError> {
        let now = self.clock.monotonic();
        if now.saturating_sub(self.looked) < EVERY {
            return Ok(());
        }
        self.looked = now;
        offsets.snapshot(now, self.sequence());
        let store = &self.store;
        let ready = offsets.committable(self.confirmed(), |sequence| note_of(store, sequence));
        self.tell(source, offsets, ready)
    }

    /// Keeps the group served while a stopping worker finishes its work; nothing more is read.
    pub fn rest(&mut self, source: &mut dyn Source, offsets: &mut Offsets) -> Result<(), SourceError> {
        source.hold(&offsets.partitions(), true)?;
        let polled = source.poll(Duration::ZERO, &mut |_| ControlFlow::Break(()));
        self.polled(offsets, polled).map(drop)
    }

    /// For a worker that leaves: commits all that is finished, without the lag, if every lane has confirmed after its last turn.
    pub fn leave(&mut self, source: &mut dyn Source, offsets: &mut Offsets) -> Result<(), SourceError> {
        if !self.lanes.iter().all(|lane| lane.left.load(Ordering::Acquire)) {
            tracing::warn!("the store did not confirm the last turns: their offsets are left to the next worker");
            return Ok(());
        }
        let now = self.clock.monotonic();
        offsets.snapshot(now, self.sequence());
        let store = &self.store;
        let ready = offsets.committable_at_leaving(now, |sequence| note_of(store, sequence));
        self.tell(source, offsets, ready)
    }

    fn tell(&mut self, source: &mut dyn Source, offsets: &mut Offsets, mut ready: Vec<Offset>) -> Result<(), SourceError> {
        if !self.accepted.is_empty() {
            let held = offsets.partitions();
            self.accepted.retain(|accepted| held.contains(&accepted.partition));
            let newer: Vec<Partition> = ready.iter().map(|offset| offset.partition.clone()).collect();
            ready.extend(self.accepted.iter().filter(|accepted| !newer.contains(&accepted.partition)).cloned());
        }
        if ready.is_empty() {
            return Ok(());
        }
        match source.commit(&ready) {
            Ok(()) => {
                offsets.committed(&ready);
                self.accepted.clear();
                Ok(())
            }
            Err(SourceError::Fatal(error)) => Err(SourceError::Fatal(error)),
            // What is not committed is read again by whoever comes next, and recognised as applied.
            Err(error) => {
                tracing::warn!(%error, "offsets were not committed");
                Ok(())
            }
        }
    }

    fn sequence(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.sequence.load(Ordering::Acquire)).fold(self.store.sequence, u64::max)
    }

    /// When the lane that confirmed longest ago began to.
    fn confirmed(&self) -> Duration {
        Duration::from_millis(self.lanes.iter().map(|lane| lane.confirmed_ms.load(Ordering::Acquire)).min().unwrap_or(0))
    }
}

/// `1 <store> <sequence>`: the form's version, the store's id as a hash (the id itself keys delivery ids), its sequence.
fn note_of(store: &Identity, sequence: u64) -> String {
    format!("1 {:016x} {sequence}", stable_hash(&[store.id.as_bytes()]))
}

/// Why a note does not belong to this store.
fn check(note: &str, store: &Identity) -> Result<(), String> {
    let words: Vec<&str> = note.split(' ').collect();
    let ["1", id, sequence] = words[..] else {
        // Commits of other tools have no note of ours: nothing is known, nothing is refused.
        return Ok(());
    };
    if u64::from_str_radix(id, 16) != Ok(stable_hash(&[store.id.as_bytes()])) {
        return Err("the state store is not the one that these offsets were committed with: it was emptied or replaced".into());
    }
    match sequence.parse::<u64>() {
        Ok(sequence) if sequence > store.sequence => Err(format!(
            "the state store is older than the committed offsets (sequence {} of {sequence}): it was restored, or lost writes",
            store.sequence
        )),
        _ => Ok(()),
    }
}

/// What a reader of a log has in hand.
pub struct Parts<'a> {
    pub source: &'a mut dyn Source,
    pub offsets: &'a mut Offsets,
    /// Lines that it writes itself.
    pub appending: &'a mut Appending,
    pub append: &'a dyn Append,
}

/// A reader whose records are finished elsewhere: when the worker stops, all of them wait and go alike.
pub trait LogReader {
    fn parts(&mut self) -> Parts<'_>;

    /// Keeps the group served while a stopping worker finishes its work; nothing more is read.
    fn rest(&mut self, commits: &mut Commits) -> Result<(), SourceError> {
        let Parts { source, offsets, appending, append } = self.parts();
        commits.rest(source, offsets)?;
        appending.look(append);
        Ok(())
    }

    /// Commits what is finished, without the lag: for a worker that leaves. Every lane has confirmed.
    fn leave(&mut self, commits: &mut Commits) -> Result<(), SourceError> {
        let Parts { source, offsets, appending, append } = self.parts();
        appending.look(append);
        commits.leave(source, offsets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::time::Timestamp;
    use crate::simulator::ports::VirtualClock;
    use crate::worker::ports::{Assigned, Message};

    fn store(id: &str, sequence: u64) -> Identity {
        Identity { id: id.into(), sequence }
    }

    #[test]
    fn a_note_belongs_to_its_store_and_to_no_older_state_of_it() {
        let ours = store("a", 100);
        let cases = [
            (note_of(&ours, 100), true),
            (note_of(&ours, 7), true),
            (note_of(&ours, 101), false),
            (note_of(&store("b", 100), 7), false),
            (String::new(), true),
            ("written by hand".into(), true),
        ];
        for (note, belongs) in cases {
            assert_eq!(check(&note, &ours).is_ok(), belongs, "{note}");
        }
    }

    /// Keeps what is committed; has nothing to read.
    #[derive(Default)]
    struct Committed(Vec<Offset>);

    impl Source for Committed {
        fn poll(&mut self, _: Duration, _: &mut dyn FnMut(Message<'_>) -> ControlFlow<()>) -> Result<Polled, SourceError> {
            Ok(Polled::default())
        }

        fn hold(&mut self, _: &[Partition], _: bool) -> Result<(), SourceError> {
            Ok(())
        }

        fn commit(&mut self, offsets: &[Offset]) -> Result<(), SourceError> {
            self.0.extend_from_slice(offsets);
            Ok(())
        }

        fn ends(&mut self) -> Result<Vec<(Partition, i64)>, SourceError> {
            Ok(Vec::new())
        }

        fn partitions(&mut self) -> Result<Vec<Partition>, SourceError> {
            Ok(Vec::new())
        }
    }

    /// A partition to which nothing is written, committed with a note of another store.
    #[test]
    fn a_store_that_is_accepted_is_accepted_for_good() {
        let partition = Partition { topic: "campanile.retry".into(), number: 7 };
        let assigned = |note: &str| Polled {
            assigned: vec![Assigned { partition: partition.clone(), committed: Some(41), note: Some(note.into()) }],
            ..Polled::default()
        };
        let theirs = note_of(&store("b", 900), 900);
        let commits = |accept_state| {
            let clock = VirtualClock::new(Timestamp(0));
            let commits = Commits::new(
                Vec::new(),
                Arc::new(StoreClock::new(Arc::new(clock.clone()))),
                Box::new(|| Ok(store("a", 100))),
                accept_state,
            );
            (commits.expect("it answers"), clock)
        };

        let (mut refusing, _) = commits(false);
        let refused = refusing.polled(&mut Offsets::default(), Ok(assigned(&theirs))).unwrap_err();
        assert!(refused.to_string().contains("--accept-state"), "{refused}");

        let (mut accepting, clock) = commits(true);
        let (mut offsets, mut source) = (Offsets::default(), Committed::default());
        accepting.polled(&mut offsets, Ok(assigned(&theirs))).expect("accepted");
        for _ in 0..3 {
            clock.advance(EVERY);
            accepting.commit(&mut source, &mut offsets).expect("committed");
        }
        let [Offset { next: 41, note, .. }] = source.0.as_slice() else { panic!("{:?}", source.0) };
        let (mut next, _) = commits(false);
        next.polled(&mut Offsets::default(), Ok(assigned(note))).expect("it is ours now");
    }
}

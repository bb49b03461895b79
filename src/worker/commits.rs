//! When offsets are committed, with which note, and what a note says when it comes back.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;

use crate::engine::id::stable_hash;

use super::offsets::{Offsets, Ticket};
use super::ports::{Append, AppendError, Identity, Line, Offset, Polled, SendFuture, Source, SourceError, StateError};
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
        Ok(Commits { lanes, clock, identity, store, accept_state, looked: Duration::ZERO, away_said: None })
    }

    /// Takes over what a poll learned. A log that is away is waited for.
    pub fn polled(&mut self, offsets: &mut Offsets, polled: Result<Polled, SourceError>) -> Result<(), SourceError> {
        match polled {
            Ok(polled) => self.rebalanced(offsets, &polled),
            Err(SourceError::Unavailable(error)) => {
                let now = self.clock.monotonic();
                if self.away_said.is_none_or(|said| now.saturating_sub(said) >= AWAY_SAID_EVERY) {
                    tracing::warn!(%error, "the log cannot be read just now: waiting for it");
                    self.away_said = Some(now);
                }
                Ok(())
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
        let ready = offsets.committable(self.confirmed(), |sequence| note(store, sequence));
        tell(source, offsets, &ready)
    }

    /// Keeps the group served while a stopping worker finishes its work; nothing more is read.
    pub fn rest(&mut self, source: &mut dyn Source, offsets: &mut Offsets) -> Result<(), SourceError> {
        source.hold(&offsets.partitions(), true)?;
        let polled = source.poll(Duration::ZERO, &mut |_| ControlFlow::Break(()));
        self.polled(offsets, polled)
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
        let ready = offsets.committable_at_leaving(now, |sequence| note(store, sequence));
        tell(source, offsets, &ready)
    }

    fn sequence(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.sequence.load(Ordering::Acquire)).fold(self.store.sequence, u64::max)
    }

    /// When the lane that confirmed longest ago began to.
    fn confirmed(&self) -> Duration {
        Duration::from_millis(self.lanes.iter().map(|lane| lane.confirmed_ms.load(Ordering::Acquire)).min().unwrap_or(0))
    }
}

fn tell(source: &mut dyn Source, offsets: &mut Offsets, ready: &[Offset]) -> Result<(), SourceError> {
    if ready.is_empty() {
        return Ok(());
    }
    match source.commit(ready) {
        Ok(()) => {
            offsets.committed(ready);
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

/// `1 <store> <sequence>`: the form's version, the store's id as a hash (the id itself keys delivery ids), its sequence.
fn note(store: &Identity, sequence: u64) -> String {
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

/// Lines on their way, each with the ticket that its acknowledgement finishes.
#[derive(Default)]
pub struct Appending(Vec<InFlight>);

struct InFlight {
    answer: SendFuture<'static, Result<(), AppendError>>,
    line: Line,
    ticket: Option<Ticket>,
}

impl Appending {
    pub fn push(&mut self, append: &dyn Append, line: Line, ticket: Option<Ticket>) {
        self.0.push(InFlight { answer: append.append(std::slice::from_ref(&line)), line, ticket });
    }

    /// Looks which have been acknowledged; what failed is handed over again.
    pub fn look(&mut self, append: &dyn Append) {
        for mut waiting in std::mem::take(&mut self.0) {
            match (&mut waiting.answer).now_or_never() {
                None => self.0.push(waiting),
                Some(Ok(())) => waiting.ticket.into_iter().for_each(Ticket::finish),
                Some(Err(AppendError::Unavailable(error))) => {
                    tracing::warn!(%error, topic = %waiting.line.topic, "the log does not acknowledge: trying again");
                    self.push(append, waiting.line, waiting.ticket);
                }
                Some(Err(AppendError::Refused(error))) => {
                    tracing::error!(%error, topic = %waiting.line.topic, bytes = waiting.line.value.len(), "the log refuses a line for good: its record is only in its own topic");
                    waiting.ticket.into_iter().for_each(Ticket::finish);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(id: &str, sequence: u64) -> Identity {
        Identity { id: id.into(), sequence }
    }

    #[test]
    fn a_note_belongs_to_its_store_and_to_no_older_state_of_it() {
        let ours = store("a", 100);
        let cases = [
            (note(&ours, 100), true),
            (note(&ours, 7), true),
            (note(&ours, 101), false),
            (note(&store("b", 100), 7), false),
            (String::new(), true),
            ("written by hand".into(), true),
        ];
        for (note, belongs) in cases {
            assert_eq!(check(&note, &ours).is_ok(), belongs, "{note}");
        }
    }
}

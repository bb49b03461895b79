//! Statistics: reads the outcomes topic and keeps a tally of each campaign in the store. It waits for the store and for the log, and
//! nobody waits for it: what goes wrong here delays figures and nothing else.
//!
//! **Exact over crashes.** A tally says up to which offset it holds the lines, and is changed by compare-and-set together with the
//! counts; an offset is committed only after every tally that its lines concern is stored and confirmed. So whoever takes a partition
//! over, and even two that read it at once, count each line once. Decisions that are not written at all (`outcomes.omit`) are counted in
//! memory and added to the tallies with the next flush: a crash loses those of the last one.

mod unwritten;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::engine::id::UserId;
use crate::engine::statistics::{self, Line, Tally};
use crate::engine::time::Timestamp;

use super::commits::Commits;
use super::offsets::{Offsets, Progress, Ticket};
use super::ports::{Change, Message, PSEUDO, ProfileChange, Source, SourceError, State, StateError, Stored};

pub use unwritten::{Counted, NotWritten};

/// Lines that wait to be counted, beyond which nothing is read: some 10 MB.
const MAX_WAITING: usize = 100_000;

/// How often tallies are written.
const FLUSH_EVERY: Duration = Duration::from_secs(2);

/// A flush that took long is followed by a rest so many times as long: it takes a twentieth of the store's time at most.
const REST: u32 = 20;

/// Tallies written at once: with the largest 2 MiB.
const AT_ONCE: usize = 32;

/// Workers that count one campaign meet at its tally.
const TRIES: usize = 20;

/// Nobody looks at a tally but who counts or asks: its wake lies where no worker gets to.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The note that holds a campaign's tally.
pub fn note(campaign: &str) -> UserId {
    format!("{PSEUDO}stats/{campaign}").into()
}

/// A campaign's tally as it is stored; an empty one where there is none.
///
/// # Errors
/// One that cannot be read.
pub fn tally(stored: Option<&Stored>) -> Result<Tally, StateError> {
    let refused = |error| StateError::Refused(format!("stored statistics cannot be read: {error}"));
    stored.map_or_else(|| Ok(Tally::default()), |stored| Tally::decode(&stored.record).map_err(refused))
}

/// Reads one worker's partitions of the outcomes topic.
pub struct StatsReader {
    source: Box<dyn Source>,
    generation: u32,
    not_written: Arc<NotWritten>,
    offsets: Offsets,
    /// What is read and not being written yet.
    next: Batch,
    /// What is being written.
    writing: Batch,
    held: bool,
    /// Monotonic time before which nothing is written.
    rests_until: Duration,
    /// The store's sequence after the last write.
    sequence: u64,
}

/// What is read and not stored, by campaign.
#[derive(Default)]
struct Batch {
    campaigns: HashMap<String, Waiting>,
    lines: usize,
    /// One for each partition as it was assigned: it holds back the offset of the first record.
    tickets: Vec<(Arc<Progress>, Ticket)>,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<Line>,
    not_written: Vec<Counted>,
}

impl StatsReader {
    pub fn new(source: Box<dyn Source>, generation: u32, not_written: Arc<NotWritten>) -> StatsReader {
        StatsReader {
            source,
            generation,
            not_written,
            offsets: Offsets::default(),
            next: Batch::default(),
            writing: Batch::default(),
            held: false,
            rests_until: Duration::ZERO,
            sequence: 0,
        }
    }

    /// Reads what there is, waiting up to `wait`, and commits the offsets of what is stored.
    pub fn look(&mut self, wait: Duration, commits: &mut Commits) -> Result<(), SourceError> {
        let mut taking = Taking { offsets: &self.offsets, batch: &mut self.next, run: None, unreadable: None, room: 0 };
        taking.room = MAX_WAITING.saturating_sub(taking.batch.lines + self.writing.lines);
        let polled = self.source.poll(wait, &mut |message| taking.take(&message));
        if let Some((count, error)) = taking.unreadable {
            tracing::warn!(lines = count, %error, "lines of the outcomes topic are not counted: they cannot be read");
        }
        let taken = commits.polled(&mut self.offsets, polled)?;
        if self.held {
            self.source.hold(&taken, true)?;
        }
        let full = self.waiting() >= MAX_WAITING;
        if full != self.held {
            self.source.hold(&self.offsets.partitions(), full)?;
            self.held = full;
        }
        commits.commit(&mut *self.source, &mut self.offsets)
    }

    /// Whether tallies are to be written now.
    pub fn is_due(&self, now: Duration) -> bool {
        now >= self.rests_until || self.waiting() >= MAX_WAITING
    }

    /// Writes some tallies, with all that is read and counted of their campaigns. Answers whether there are more. What fails is kept for the
    /// next call, but for what was counted and not written: nobody knows then whether it is stored.
    pub async fn flush(&mut self, state: &mut dyn State) -> Result<bool, StateError> {
        if self.writing.is_empty() {
            self.writing = std::mem::take(&mut self.next);
            for (campaign, counted) in self.not_written.take() {
                self.writing.of(&campaign).not_written.extend(counted);
            }
        }
        let campaigns: Vec<String> = self.writing.campaigns.keys().take(AT_ONCE).cloned().collect();
        if !campaigns.is_empty() {
            self.write(state, &campaigns).await?;
        }
        for campaign in &campaigns {
            let done = self.writing.campaigns.remove(campaign);
            self.writing.lines = self.writing.lines.saturating_sub(done.map_or(0, |done| done.lines.len()));
        }
        if !self.writing.campaigns.is_empty() {
            return Ok(true);
        }
        self.writing.tickets.drain(..).for_each(|(_, ticket)| ticket.finish());
        Ok(false)
    }

    /// Says how long the last writes took; with `more` to write they go on after a rest.
    pub fn rest(&mut self, now: Duration, took: Duration, more: bool) {
        let rest = took.saturating_mul(REST);
        self.rests_until = now.saturating_add(if more { rest } else { rest.max(FLUSH_EVERY) });
    }

    /// The store's sequence after the last write.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Commits what is stored, without the lag: for a worker that leaves.
    pub fn leave(&mut self, commits: &mut Commits) -> Result<(), SourceError> {
        commits.leave(&mut *self.source, &mut self.offsets)
    }

    fn waiting(&self) -> usize {
        self.next.lines + self.writing.lines
    }

    async fn write(&mut self, state: &mut dyn State, campaigns: &[String]) -> Result<(), StateError> {
        let notes: Vec<UserId> = campaigns.iter().map(|campaign| note(campaign)).collect();
        let loaded = state.load(&notes).await?;
        let mut open: Vec<(usize, Option<Stored>)> = loaded.users.into_iter().enumerate().collect();
        for _ in 0..TRIES {
            let mut changes = Vec::with_capacity(open.len());
            for (place, stored) in &open {
                let Some(waiting) = self.writing.campaigns.get(&campaigns[*place]) else { continue };
                let record = self.counted(stored.as_ref(), waiting, loaded.now)?;
                changes.push(Change {
                    user: notes[*place].clone(),
                    expected: stored.as_ref().map(|stored| stored.token),
                    record: Some(record),
                    profile: ProfileChange::Keep,
                    wake: Some(loaded.now.after(NEVER)),
                });
            }
            let committed = state.commit(&changes).await.inspect_err(|_| self.writing.forget_not_written(campaigns))?;
            self.sequence = committed.sequence;
            if committed.conflicts.is_empty() {
                return Ok(());
            }
            open = committed.conflicts.into_iter().map(|(place, stored)| (open[place].0, stored)).collect();
        }
        Err(StateError::Unavailable("the statistics are changed by others all the time".into()))
    }

    fn counted(&self, stored: Option<&Stored>, waiting: &Waiting, now: Timestamp) -> Result<Vec<u8>, StateError> {
        let mut tally = tally(stored)?;
        tally.fold(self.generation, &waiting.lines);
        let not_written: Vec<_> = waiting.not_written.iter().map(Counted::as_unwritten).collect();
        tally.add(&not_written);
        tally.touch(now);
        Ok(tally.encode())
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.campaigns.is_empty() && self.tickets.is_empty()
    }

    fn of(&mut self, campaign: &str) -> &mut Waiting {
        self.campaigns.entry_ref(campaign).or_default()
    }

    fn forget_not_written(&mut self, campaigns: &[String]) {
        for campaign in campaigns {
            self.of(campaign).not_written.clear();
        }
    }
}

/// Takes the records of one poll.
struct Taking<'a> {
    offsets: &'a Offsets,
    batch: &'a mut Batch,
    /// The partition of the last record: records come in runs.
    run: Option<(i32, Arc<Progress>)>,
    unreadable: Option<(u64, String)>,
    room: usize,
}

impl Taking<'_> {
    fn take(&mut self, message: &Message<'_>) -> ControlFlow<()> {
        let Some(progress) = self.progress(message) else { return ControlFlow::Continue(()) };
        progress.pass(message.offset);
        match message.value.map(|value| statistics::read(message.partition, message.offset, value)) {
            Some(Ok(Some((campaign, line)))) => {
                self.batch.of(campaign).lines.push(line);
                self.batch.lines += 1;
                self.room = self.room.saturating_sub(1);
            }
            Some(Err(error)) => self.unreadable = Some((self.unreadable.as_ref().map_or(0, |(count, _)| *count) + 1, error)),
            Some(Ok(None)) | None => {}
        }
        if self.room == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// The progress of the record's partition, whose offset is held back from the first record of a batch.
    fn progress(&mut self, message: &Message<'_>) -> Option<Arc<Progress>> {
        if let Some((number, progress)) = &self.run
            && *number == message.partition
        {
            return Some(progress.clone());
        }
        let (_, progress) = self.offsets.find(message.topic, message.partition)?;
        // Not by its number: what was taken away and came back is read anew, and held back anew.
        if !self.batch.tickets.iter().any(|(known, _)| Arc::ptr_eq(known, progress)) {
            self.batch.tickets.push((progress.clone(), progress.open(message.offset)));
        }
        self.run = Some((message.partition, progress.clone()));
        Some(progress.clone())
    }
}

#[cfg(test)]
mod tests;

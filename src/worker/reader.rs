//! The reader of the events topics: records in, work out to the lanes.
//!
//! It finishes on its own thread what is of no interest: no copy, no store. It never waits for a lane: what a full lane
//! cannot take now is kept, and nothing more is read meanwhile.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::catalog::InForce;
use crate::engine::event::{Body, Event, SourceId};
use crate::engine::matching::Match;
use crate::engine::reading::{self, Header, Kind, Limits, Place, Unreadable};
use crate::engine::step::Input;
use crate::engine::time::Timestamp;

use super::appending::{Appending, IfRefused};
use super::commits::{Commits, LogReader, Parts};
use super::counters::ReaderCounters;
use super::definitions::Follower;
use super::offsets::{Offsets, Progress};
use super::outcomes::{self, DeadEvent};
use super::ports::{Append, Message, Partition, Source, SourceError};
use super::read_positions::{Ends, ReadPositions};
use super::settings::Settings;
use super::store_clock::StoreClock;
use super::turn::{Origin, Work};

/// Where the lanes take their events. Never waits.
pub trait Intake {
    /// Hands work over, or gives it back when the lane is full.
    fn offer(&mut self, lane: usize, work: Work) -> Result<(), Box<Work>>;
}

/// What a look at the log came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    Read,
    /// A lane is full: look again soon, nothing was read.
    Stalled,
}

/// A stall longer than this pauses the partitions, so that the group can be served while nothing is read.
const PAUSE_AFTER: Duration = Duration::from_secs(1);

pub struct Reader {
    source: Box<dyn Source>,
    append: Arc<dyn Append>,
    settings: Arc<Settings>,
    follower: Arc<Follower>,
    clock: Arc<StoreClock>,
    positions: Arc<ReadPositions>,
    counters: ReaderCounters,
    offsets: Offsets,
    appending: Appending,
    stalled: Option<Stalled>,
    ends: Ends,
}

struct Stalled {
    lane: usize,
    work: Box<Work>,
    since: Duration,
    paused: bool,
}

/// The handles that a reader, or a walker, shares with others.
#[derive(Clone)]
pub struct Shared {
    pub append: Arc<dyn Append>,
    pub settings: Arc<Settings>,
    pub follower: Arc<Follower>,
    pub clock: Arc<StoreClock>,
    /// How far the topics are done with: the events topics for their reader, that of runs for its reader and the walker.
    pub positions: Arc<ReadPositions>,
}

impl LogReader for Reader {
    fn parts(&mut self) -> Parts<'_> {
        Parts { source: &mut *self.source, offsets: &mut self.offsets, appending: &mut self.appending, append: &*self.append }
    }
}

impl Reader {
    pub fn new(source: Box<dyn Source>, shared: Shared, counters: ReaderCounters) -> Reader {
        let Shared { append, settings, follower, clock, positions } = shared;
        Reader {
            source,
            append,
            settings,
            follower,
            clock,
            positions,
            counters,
            offsets: Offsets::default(),
            appending: Appending::default(),
            stalled: None,
            ends: Ends::default(),
        }
    }

    /// Reads what there is, waiting up to `wait`, and hands it out.
    pub fn look(&mut self, wait: Duration, intake: &mut dyn Intake, commits: &mut Commits) -> Result<Looked, SourceError> {
        let stalled = self.place_stalled(intake)?;
        // While a lane is full only the group is served, and only once the partitions are paused: a poll would read on.
        if self.stalled.as_ref().is_none_or(|stalled| stalled.paused) {
            self.poll(if stalled == Looked::Stalled { Duration::ZERO } else { wait }, intake, commits)?;
        }
        self.appending.look(&*self.append);
        self.note_positions()?;
        commits.commit(&mut *self.source, &mut self.offsets)?;
        Ok(if self.stalled.is_some() { Looked::Stalled } else { Looked::Read })
    }

    fn poll(&mut self, wait: Duration, intake: &mut dyn Intake, commits: &mut Commits) -> Result<(), SourceError> {
        let in_force = self.follower.in_force();
        let mut sorter = Sorter {
            in_force: &in_force,
            settings: &self.settings,
            offsets: &self.offsets,
            now: self.clock.now(),
            run: None,
            matches: Vec::new(),
            append: &*self.append,
            appending: &mut self.appending,
            counters: &mut self.counters,
            intake,
            stalled: None,
            failed: None,
        };
        let polled = self.source.poll(wait, &mut |message| sorter.take(&message));
        let Sorter { stalled, failed, counters, now, run, .. } = sorter;
        counters.end_run(now);
        let offsets = &self.offsets;
        match &polled {
            // A poll that did not wait may have had no time to find anything.
            Ok(polled) => counters.answered(now, polled, run.is_none() && !wait.is_zero(), || offsets.partitions()),
            Err(_) => counters.away(now, || offsets.partitions()),
        }
        if let Some((lane, work)) = stalled {
            debug_assert!(self.stalled.is_none(), "what is kept back would be lost");
            self.stalled = Some(Stalled { lane, work, since: self.clock.monotonic(), paused: false });
        }
        let taken = commits.polled(&mut self.offsets, polled)?;
        // What a rebalance brought meanwhile rests like the others.
        if self.stalled.as_ref().is_some_and(|stalled| stalled.paused) {
            self.source.hold(&taken, true)?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Offers what was kept back; pauses and resumes the partitions around a long stall.
    fn place_stalled(&mut self, intake: &mut dyn Intake) -> Result<Looked, SourceError> {
        let Some(Stalled { lane, work, since, paused }) = self.stalled.take() else { return Ok(Looked::Read) };
        match intake.offer(lane, *work) {
            Ok(()) => {
                if paused {
                    self.source.hold(&self.offsets.partitions(), false)?;
                }
                Ok(Looked::Read)
            }
            Err(work) => {
                let pause = self.clock.monotonic().saturating_sub(since) > PAUSE_AFTER;
                if pause && !paused {
                    self.source.hold(&self.offsets.partitions(), true)?;
                }
                self.stalled = Some(Stalled { lane, work, since, paused: pause });
                self.counters.stalled(self.clock.now());
                Ok(Looked::Stalled)
            }
        }
    }

    /// Notes which partitions are read up to when. Only where a definition waits for it: it costs the broker a question a second.
    fn note_positions(&mut self) -> Result<(), SourceError> {
        if !self.follower.in_force().waits_for_reading() {
            return Ok(());
        }
        let Reader { source, offsets, positions, clock, settings, .. } = self;
        self.ends.note(&mut **source, offsets, positions, clock, settings.ends_every)
    }
}

/// Sorts the records of one poll.
struct Sorter<'a> {
    in_force: &'a InForce,
    settings: &'a Settings,
    offsets: &'a Offsets,
    now: Timestamp,
    /// The partition of the last record: records come in runs.
    run: Option<Run>,
    matches: Vec<Match>,
    append: &'a dyn Append,
    appending: &'a mut Appending,
    counters: &'a mut ReaderCounters,
    intake: &'a mut dyn Intake,
    stalled: Option<(usize, Box<Work>)>,
    failed: Option<SourceError>,
}

/// One partition's: its progress, and what its users' marks are kept by.
#[derive(Clone)]
struct Run {
    partition: Partition,
    progress: Arc<Progress>,
    source: SourceId,
}

impl Sorter<'_> {
    fn take(&mut self, message: &Message<'_>) -> ControlFlow<()> {
        let Some(run) = self.run(message) else {
            self.failed =
                Some(SourceError::Fatal(format!("a record of {}/{} came that is not assigned", message.topic, message.partition)));
            return ControlFlow::Break(());
        };
        let Some(value) = message.value else {
            self.counters.read("empty", message.time);
            run.progress.pass(message.offset);
            return ControlFlow::Continue(());
        };
        match self.interest(message, run.source, value) {
            Ok(None) => {
                self.counters.uninteresting(message.time);
                run.progress.pass(message.offset);
                ControlFlow::Continue(())
            }
            Ok(Some(event)) => {
                self.counters.read("handled", message.time);
                self.hand_out(message, &run, event)
            }
            Err(unreadable) => {
                self.counters.dead(unreadable.reason, message.time);
                let dead = DeadEvent::of(&run.partition, message);
                let line = outcomes::dead_event(&self.settings.topics, self.now, &dead, unreadable.reason, &unreadable.error);
                self.appending.push(self.append, line, run.progress.open(message.offset), IfRefused::Finish);
                ControlFlow::Continue(())
            }
        }
    }

    /// The run that the record belongs to; `None` when its partition is not assigned.
    fn run(&mut self, message: &Message<'_>) -> Option<Run> {
        if let Some(run) = &self.run
            && run.partition.number == message.partition
            && *run.partition.topic == *message.topic
        {
            return Some(run.clone());
        }
        let (partition, progress) = self.offsets.find(message.topic, message.partition)?;
        self.counters.begin_run(partition, self.now);
        let source = SourceId::of(message.topic, self.settings.generation, message.partition);
        self.run = Some(Run { partition: partition.clone(), progress: progress.clone(), source });
        self.run.clone()
    }

    /// The event, if anything asks for it.
    fn interest(&mut self, message: &Message<'_>, source: SourceId, value: &[u8]) -> Result<Option<Event>, Unreadable> {
        let place = Place {
            source,
            topic: message.topic,
            partition: message.partition,
            generation: self.settings.generation,
            offset: message.offset,
            broker_time: message.time,
        };
        interest(self.in_force, reading::header(value)?, &place, self.now, &mut self.matches)
    }

    fn hand_out(&mut self, message: &Message<'_>, run: &Run, event: Event) -> ControlFlow<()> {
        let lane = self.settings.lane_of(&event.user);
        let origin = Origin { ticket: run.progress.open(message.offset), raw: Some(DeadEvent::of(&run.partition, message)) };
        let work = Work { user: event.user.clone(), input: Input::Event(Arc::new(event)), origin: Some(origin), may_wait: true };
        match self.intake.offer(lane, work) {
            Ok(()) => ControlFlow::Continue(()),
            Err(work) => {
                self.stalled = Some((lane, work));
                ControlFlow::Break(())
            }
        }
    }
}

/// The event that a record holds, if any definition asks for it. `matches` is room that is used again.
pub fn interest(
    in_force: &InForce,
    header: Header<'_>,
    place: &Place<'_>,
    now: Timestamp,
    matches: &mut Vec<Match>,
) -> Result<Option<Event>, Unreadable> {
    match header.kind() {
        Kind::Ignored => return Ok(None),
        Kind::Track if !header.event_name().is_some_and(|name| in_force.index.knows(name)) => return Ok(None),
        Kind::Track | Kind::Identify | Kind::Delete | Kind::Send => {}
    }
    let event = header.into_event(place, &Limits { max_lateness: in_force.policy.max_lateness })?;
    if let Body::Track { name, properties } = &event.body {
        matches.clear();
        let zone = in_force.zone();
        in_force.index.matches(name, properties, now, zone, matches);
        let is_wanted = !matches.is_empty() || in_force.trackers.wants(name, properties, now, zone);
        if !is_wanted && event.context_traits.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(event))
}

#[cfg(test)]
mod tests;

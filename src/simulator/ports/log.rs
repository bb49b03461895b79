//! A log in memory: topics with partitions, appending, and groups whose members read it. Nobody waits: a poll hands out what is there, and
//! the simulation moves time. Nothing is removed, unless the log is told to forget what was read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::group::Group;
use super::{Call, Fate, OpenLog, SharedFaults};
use crate::engine::id::stable_hash;
use crate::engine::time::Timestamp;
use crate::worker::ports::{
    Append, AppendError, Assigned, Clock, Line, Message, Offset, Partition, Polled, SendFuture, Source, SourceError,
};

/// Most records handed out in a call: few, so that a simulation stops in many places.
const MAX_POLL_RECORDS: usize = 100;

/// A log in memory. Clones are the same log.
#[derive(Clone)]
pub struct MemoryLog {
    world: Arc<Mutex<World>>,
    clock: Arc<dyn Clock>,
    faults: SharedFaults,
}

struct World {
    partitions: i32,
    topics: BTreeMap<Arc<str>, Vec<Kept>>,
    /// What a poll handed out is removed: for long runs of one reader that never starts again.
    forgetful: bool,
    groups: BTreeMap<String, Group>,
    /// Numbers given to members, and turns to lines without a key.
    members: u64,
    turns: u64,
}

/// One partition: its records, and the offset of the first.
#[derive(Default)]
struct Kept {
    first: i64,
    records: VecDeque<Stored>,
}

#[derive(Clone)]
struct Stored {
    time: Timestamp,
    key: Option<Arc<[u8]>>,
    value: Arc<[u8]>,
}

/// Where a group begins that has committed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Earliest,
    /// At the end as it is when a partition is assigned.
    Latest,
}

/// A member of a group.
pub struct MemorySource {
    log: MemoryLog,
    group: String,
    topics: BTreeSet<Arc<str>>,
    member: u64,
    start: Start,
    /// The partitions that this member believes to be its own.
    feeds: BTreeMap<Partition, Feed>,
}

/// One partition as it is read.
struct Feed {
    /// The next offset to hand out.
    next: i64,
    /// The offset after the last record handed out; before the first, the committed one, or 0.
    passed: i64,
    held: bool,
}

impl MemoryLog {
    /// An empty log; every topic has so many partitions, at least one.
    pub fn new(partitions: i32, clock: Arc<dyn Clock>, faults: SharedFaults) -> MemoryLog {
        let (topics, groups) = (BTreeMap::new(), BTreeMap::new());
        let world = World { partitions: partitions.max(1), topics, forgetful: false, groups, members: 0, turns: 0 };
        MemoryLog { world: Arc::new(Mutex::new(world)), clock, faults }
    }

    /// From now on what is handed out is forgotten, and so is what [`MemoryLog::take`] takes.
    pub fn forget_what_is_read(&self) {
        self.lock().forgetful = true;
    }

    /// Takes all records of a topic that nobody reads: their values, partition by partition.
    pub fn take(&self, topic: &str) -> Vec<Arc<[u8]>> {
        let mut world = self.lock();
        let partitions = world.topics.get_mut(topic).into_iter().flatten();
        partitions.flat_map(|kept| kept.forget(i64::MAX)).map(|record| record.value).collect()
    }

    /// Joins a group that begins at the earliest offset. Its partitions are divided among its members as they poll.
    pub fn source(&self, group: &str, topics: &[&str]) -> MemorySource {
        self.source_from(group, topics, Start::Earliest)
    }

    /// Joins a group. Its partitions are divided among its members as they poll.
    pub fn source_from(&self, group: &str, topics: &[&str], start: Start) -> MemorySource {
        let mut world = self.lock();
        let topics: BTreeSet<Arc<str>> = topics.iter().map(|topic| Arc::from(*topic)).collect();
        for topic in &topics {
            world.topic(topic);
        }
        world.members += 1;
        let member = world.members;
        world.group(group).join(member, topics.clone());
        MemorySource { log: self.clone(), group: group.to_owned(), topics, member, start, feeds: BTreeMap::new() }
    }

    /// Takes a member for dead, as a broker does whose session timed out. It finds out when it next polls or commits.
    pub fn expel(&self, group: &str, member: u64) {
        self.lock().group(group).remove(member);
    }

    /// All records of a topic, partition by partition: key and value. For the assertions of a simulation.
    pub fn records(&self, topic: &str) -> Vec<(Option<Vec<u8>>, Vec<u8>)> {
        let world = self.lock();
        let records = world.topics.get(topic).into_iter().flatten().flat_map(|kept| &kept.records);
        records.map(|record| (record.key.as_ref().map(|key| key.to_vec()), record.value.to_vec())).collect()
    }

    /// What a group has committed for a partition.
    pub fn committed(&self, group: &str, partition: &Partition) -> Option<(i64, String)> {
        self.lock().groups.get(group)?.committed.get(partition).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call over the network.
    fn ask<T>(&self, call: Call, answer: impl FnOnce(&mut World) -> Result<T, SourceError>) -> Result<T, SourceError> {
        let fate = self.faults.fate(call);
        if fate == Fate::FailBefore {
            return Err(lost(call));
        }
        let answer = answer(&mut self.lock());
        if fate == Fate::FailAfter { Err(lost(call)) } else { answer }
    }
}

impl OpenLog for MemoryLog {
    fn join(&self, group: &str, topics: &[&str]) -> Box<dyn Source> {
        Box::new(self.source(group, topics))
    }

    fn values(&self, topic: &str) -> Vec<Vec<u8>> {
        self.records(topic).into_iter().map(|(_, value)| value).collect()
    }
}

/// Why a line is refused that is to be.
const REFUSED: &str = "a line that is never accepted";

impl Append for MemoryLog {
    fn append(&self, lines: &[Line]) -> SendFuture<'static, Result<(), AppendError>> {
        let fate = self.faults.fate(Call::Append);
        if matches!(fate, Fate::Go | Fate::FailAfter) {
            self.lock().append(lines, self.clock.now());
        }
        let answer = match fate {
            Fate::Go => Ok(()),
            Fate::FailBefore | Fate::FailAfter => Err(AppendError::Unavailable("a fault at Append".to_owned())),
            Fate::Refuse => Err(AppendError::Refused(REFUSED.to_owned())),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl MemorySource {
    /// This member's number in its group, for [`MemoryLog::expel`].
    pub fn member(&self) -> u64 {
        self.member
    }

    /// What a rebalance changed; a member that was expelled loses all and joins again.
    fn rebalance(&mut self) -> Polled {
        let mut world = self.log.lock();
        let partitions = world.partitions(&self.topics);
        let group = world.group(&self.group);
        let mut polled = Polled::default();
        if !group.holds(self.member) {
            group.join(self.member, self.topics.clone());
            polled.revoked = std::mem::take(&mut self.feeds).into_keys().collect();
        }
        let (revoked, assigned) = group.settle(self.member, &partitions);
        self.feeds.retain(|partition, _| !revoked.contains(partition));
        polled.revoked.extend(revoked);
        for partition in assigned {
            let (committed, note) = world.group(&self.group).committed.get(&partition).cloned().unzip();
            let next = committed.unwrap_or_else(|| match self.start {
                Start::Earliest => 0,
                Start::Latest => world.end(&partition),
            });
            self.feeds.insert(partition.clone(), Feed { next, passed: committed.unwrap_or(0), held: false });
            polled.assigned.push(Assigned { partition, committed, note: note.filter(|note| !note.is_empty()) });
        }
        polled
    }
}

impl Source for MemorySource {
    /// A call that learns of a rebalance hands out no record: its caller does not know the new partitions before it returned.
    /// `wait` is no time here. A poll whose reply would get lost is one that does not happen.
    fn poll(&mut self, _wait: Duration, each: &mut dyn FnMut(Message<'_>) -> ControlFlow<()>) -> Result<Polled, SourceError> {
        if self.log.faults.fate(Call::Poll) != Fate::Go {
            return Err(lost(Call::Poll));
        }
        let polled = self.rebalance();
        if !polled.revoked.is_empty() || !polled.assigned.is_empty() {
            return Ok(polled);
        }
        // A share for each, so that a long one does not keep the others waiting.
        let share = (MAX_POLL_RECORDS / self.feeds.len().max(1)).max(1);
        for (partition, feed) in self.feeds.iter_mut().filter(|(_, feed)| !feed.held) {
            // Copied out first, and the lock given back: `each` may append to the same log.
            let records = self.log.lock().hand_out(partition, feed.next, share);
            for record in records {
                let message = Message {
                    topic: &partition.topic,
                    partition: partition.number,
                    offset: feed.next,
                    time: record.time,
                    key: record.key.as_deref(),
                    value: Some(&record.value),
                };
                feed.next += 1;
                feed.passed = feed.next;
                if each(message).is_break() {
                    return Ok(polled);
                }
            }
        }
        Ok(polled)
    }

    fn hold(&mut self, partitions: &[Partition], held: bool) -> Result<(), SourceError> {
        self.log.ask(Call::Hold, |_| Ok(()))?;
        for partition in partitions {
            if let Some(feed) = self.feeds.get_mut(partition) {
                feed.held = held;
            }
        }
        Ok(())
    }

    fn commit(&mut self, offsets: &[Offset]) -> Result<(), SourceError> {
        self.log.ask(Call::CommitOffsets, |world| {
            let group = world.group(&self.group);
            if let Some(lost) = offsets.iter().find(|offset| !group.owns(self.member, &offset.partition)) {
                return Err(SourceError::Fenced(format!("{}/{}", lost.partition.topic, lost.partition.number)));
            }
            for Offset { partition, next, note } in offsets {
                group.committed.insert(partition.clone(), (*next, note.clone()));
            }
            Ok(())
        })
    }

    fn ends(&mut self) -> Result<Vec<(Partition, i64)>, SourceError> {
        self.log.ask(Call::Ends, |world| {
            let end = |(partition, feed): (&Partition, &Feed)| {
                let end = world.end(partition);
                // What lies between the last record handed out and the end was never to be handed out: nothing is left to wait for.
                (partition.clone(), if feed.next >= end { end.min(feed.passed) } else { end })
            };
            Ok(self.feeds.iter().map(end).collect())
        })
    }

    fn partitions(&mut self) -> Result<Vec<Partition>, SourceError> {
        self.log.ask(Call::Partitions, |world| Ok(world.partitions(&self.topics)))
    }
}

impl Drop for MemorySource {
    fn drop(&mut self) {
        self.log.lock().group(&self.group).remove(self.member);
    }
}

impl World {
    fn group(&mut self, name: &str) -> &mut Group {
        self.groups.entry(name.to_owned()).or_default()
    }

    fn topic(&mut self, name: &Arc<str>) -> &mut Vec<Kept> {
        let partitions = usize::try_from(self.partitions).unwrap_or(1);
        self.topics.entry(Arc::clone(name)).or_insert_with(|| (0..partitions).map(|_| Kept::default()).collect())
    }

    fn append(&mut self, lines: &[Line], time: Timestamp) {
        for Line { topic, key, value } in lines {
            self.turns = self.turns.wrapping_add(1);
            let hash = key.as_ref().map_or(self.turns, |key| stable_hash(&[key]));
            let partitions = self.topic(topic);
            let turn = hash % partitions.len() as u64;
            partitions[turn as usize].records.push_back(Stored {
                time,
                key: key.as_deref().map(Arc::from),
                value: Arc::from(value.as_slice()),
            });
        }
    }

    fn partitions(&self, topics: &BTreeSet<Arc<str>>) -> Vec<Partition> {
        let numbers = 0..self.partitions;
        topics.iter().flat_map(|topic| numbers.clone().map(|number| Partition { topic: Arc::clone(topic), number })).collect()
    }

    fn kept(&self, partition: &Partition) -> Option<&Kept> {
        self.topics.get(&partition.topic)?.get(usize::try_from(partition.number).ok()?)
    }

    fn end(&self, partition: &Partition) -> i64 {
        self.kept(partition).map_or(0, |kept| kept.first.saturating_add_unsigned(kept.records.len() as u64))
    }

    /// Up to `most` records from an offset on. In a forgetful log what lies before that is dropped.
    fn hand_out(&mut self, partition: &Partition, from: i64, most: usize) -> Vec<Stored> {
        let forgetful = self.forgetful;
        let number = usize::try_from(partition.number).ok();
        let Some(kept) = number.and_then(|number| self.topics.get_mut(&partition.topic)?.get_mut(number)) else { return Vec::new() };
        if forgetful {
            drop(kept.forget(from));
        }
        let skipped = usize::try_from(from.saturating_sub(kept.first)).unwrap_or(0);
        kept.records.iter().skip(skipped).take(most).cloned().collect()
    }
}

impl Kept {
    /// Removes what lies before an offset.
    fn forget(&mut self, before: i64) -> Vec<Stored> {
        let count = usize::try_from(before.saturating_sub(self.first)).unwrap_or(0).min(self.records.len());
        self.first = self.first.saturating_add_unsigned(count as u64);
        self.records.drain(..count).collect()
    }
}

fn lost(call: Call) -> SourceError {
    SourceError::Unavailable(format!("a fault at {call:?}"))
}

//! Reading the log: the only member of a group, so all partitions are its own from the first poll until it is dropped.

use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use redb::{ReadableDatabase, ReadableTable};

use super::tables::{self, Place, Tables, decode_line};
use super::writer::Failure;
use super::{Shared, Start, log};
use crate::worker::ports::{Assigned, Message, Offset, Partition, Polled, Source, SourceError};

/// Most records handed out in a call.
const MAX_POLL_RECORDS: usize = 2_000;

pub struct EmbeddedSource {
    shared: Arc<Shared>,
    group: String,
    topics: Vec<Arc<str>>,
    /// All partitions of all topics, in their order.
    feeds: Vec<Feed>,
    /// The feed that is served first at the next poll: a long one does not keep the others waiting.
    turn: usize,
    joined: bool,
}

/// One partition as it is read.
struct Feed {
    partition: Partition,
    place: Place,
    /// The next offset to hand out.
    next: i64,
    /// The offset after the last record handed out; before the first, the committed one, or 0.
    passed: i64,
    held: bool,
    committed: Option<(i64, String)>,
}

impl EmbeddedSource {
    pub fn join(shared: Arc<Shared>, group: &str, topics: &[&str], start: Start, keeps: bool) -> Result<EmbeddedSource, SourceError> {
        let (partitions, name) = (shared.partitions, group.to_owned());
        let topics: Vec<Arc<str>> = topics.iter().map(|topic| Arc::from(*topic)).collect();
        enter(&shared, group, &topics)?;
        // From here on dropping it leaves the group.
        let mut source = EmbeddedSource {
            shared: Arc::clone(&shared),
            group: name.clone(),
            topics: topics.clone(),
            feeds: Vec::new(),
            turn: 0,
            joined: false,
        };
        source.feeds =
            shared.writer.call_and_wait(move |tables| subscribe(tables, (&name, keeps), &topics, partitions, start)).map_err(fatal)?;
        for feed in &source.feeds {
            source.check_offset(feed)?;
        }
        Ok(source)
    }

    /// The log may be a copy older than the commit, or have been trimmed by hand.
    fn check_offset(&self, feed: &Feed) -> Result<(), SourceError> {
        let end = self.shared.tail.end(feed.place);
        if feed.next <= end {
            return Ok(());
        }
        let (Partition { topic, number }, next) = (&feed.partition, feed.next);
        Err(SourceError::Fatal(format!("group {} has read {topic}/{number} up to {next}, the log ends at {end}", self.group)))
    }

    /// Hands out what is there, round-robin between the partitions from poll to poll.
    fn hand_out(&mut self, each: &mut dyn FnMut(Message<'_>) -> ControlFlow<()>) -> Result<(), redb::Error> {
        let transaction = self.shared.database.begin_read()?;
        let log = transaction.open_table(tables::LOG)?;
        let (count, first, mut left) = (self.feeds.len(), self.turn, MAX_POLL_RECORDS);
        for step in 0..count {
            let index = (first + step) % count;
            self.turn = (index + 1) % count;
            let feed = &mut self.feeds[index];
            if feed.held {
                continue;
            }
            let (topic, partition) = feed.place;
            for row in log.range((topic, partition, feed.next)..(topic, partition, i64::MAX))?.take(left) {
                let (key, row) = row?;
                let (offset, line) = (key.value().2, decode_line(row.value())?);
                (feed.next, feed.passed) = (offset + 1, offset + 1);
                left -= 1;
                let Partition { topic, number } = &feed.partition;
                let message = Message { topic, partition: *number, offset, time: line.time, key: line.key, value: Some(line.value) };
                if each(message).is_break() {
                    return Ok(());
                }
            }
            if left == 0 {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Source for EmbeddedSource {
    /// The first call only assigns: its caller does not know the partitions of a record before it returned.
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Message<'_>) -> ControlFlow<()>) -> Result<Polled, SourceError> {
        if !self.joined {
            self.joined = true;
            let assigned = self.feeds.iter_mut().map(|feed| {
                let (committed, note) = feed.committed.take().unzip();
                Assigned { partition: feed.partition.clone(), committed, note: note.filter(|note| !note.is_empty()) }
            });
            return Ok(Polled { revoked: Vec::new(), assigned: assigned.collect() });
        }
        let feeds = &self.feeds;
        let ready = self
            .shared
            .tail
            .wait(wait, |ends| feeds.iter().any(|feed| !feed.held && ends.get(&feed.place).is_some_and(|end| feed.next < *end)));
        if ready {
            self.hand_out(each).map_err(unreadable)?;
        }
        Ok(Polled::default())
    }

    fn hold(&mut self, partitions: &[Partition], held: bool) -> Result<(), SourceError> {
        for feed in self.feeds.iter_mut().filter(|feed| partitions.contains(&feed.partition)) {
            feed.held = held;
        }
        Ok(())
    }

    fn commit(&mut self, offsets: &[Offset]) -> Result<(), SourceError> {
        let mut rows = Vec::with_capacity(offsets.len());
        for offset in offsets {
            let feed = self.feeds.iter().find(|feed| feed.partition == offset.partition);
            let feed = feed.ok_or_else(|| {
                let Partition { topic, number } = &offset.partition;
                SourceError::Fatal(format!("group {} does not read {topic}/{number}, its offset cannot be committed", self.group))
            })?;
            rows.push((feed.place, offset.next, offset.note.clone()));
        }
        let group = self.group.clone();
        let write = move |tables: &mut Tables<'_>| {
            for ((topic, partition), next, note) in &rows {
                tables.offsets.insert((group.as_str(), *topic, *partition), (*next, note.as_str()))?;
            }
            Ok(())
        };
        self.shared.writer.call_and_wait(write).map_err(fatal)
    }

    fn ends(&mut self) -> Result<Vec<(Partition, i64)>, SourceError> {
        let assigned = self.feeds.iter().filter(|_| self.joined);
        let end = |feed: &Feed| {
            let end = self.shared.tail.end(feed.place);
            // What lies between the last record handed out and the end was never to be handed out: nothing is left to wait for.
            if feed.next >= end { end.min(feed.passed) } else { end }
        };
        Ok(assigned.map(|feed| (feed.partition.clone(), end(feed))).collect())
    }

    fn partitions(&mut self) -> Result<Vec<Partition>, SourceError> {
        Ok(self.feeds.iter().map(|feed| feed.partition.clone()).collect())
    }
}

impl Drop for EmbeddedSource {
    fn drop(&mut self) {
        let mut members = self.shared.members.lock().unwrap_or_else(PoisonError::into_inner);
        for topic in &self.topics {
            members.remove(&(self.group.clone(), topic.to_string()));
        }
    }
}

/// Takes the group's place for these topics, or none of them.
fn enter(shared: &Shared, group: &str, topics: &[Arc<str>]) -> Result<(), SourceError> {
    let mut members = shared.members.lock().unwrap_or_else(PoisonError::into_inner);
    let key = |topic: &Arc<str>| (group.to_owned(), topic.to_string());
    if let Some(topic) = topics.iter().find(|topic| members.contains(&key(topic))) {
        return Err(SourceError::Fatal(format!("group {group} already reads {topic}: the embedded log has one member a group")));
    }
    members.extend(topics.iter().map(key));
    Ok(())
}

/// Looks up where the group is in each partition of these topics; notes that it reads them, if the log is to keep what it has not read.
fn subscribe(
    tables: &mut Tables<'_>,
    (group, keeps): (&str, bool),
    topics: &[Arc<str>],
    partitions: u32,
    start: Start,
) -> Result<Vec<Feed>, redb::Error> {
    let mut feeds = Vec::new();
    for name in topics {
        let (topic, _) = log::topic(tables, name, partitions)?;
        if keeps {
            tables.readers.insert((topic, group), ())?;
        }
        for row in tables.partitions.range((topic, 0)..=(topic, i32::MAX))? {
            let (place, row) = row?;
            let (place, (end, first, _)) = (place.value(), row.value());
            let stored = tables.offsets.get((group, topic, place.1))?;
            let committed = stored.map(|row| (row.value().0, row.value().1.to_owned()));
            let passed = committed.as_ref().map_or(0, |(next, _)| *next);
            let next = match (&committed, start) {
                (Some((next, _)), _) => *next,
                (None, Start::Earliest) => first,
                (None, Start::Latest) => end,
            };
            let partition = Partition { topic: Arc::clone(name), number: place.1 };
            feeds.push(Feed { partition, place, next, passed, held: false, committed });
        }
    }
    Ok(feeds)
}

fn fatal(failure: Failure) -> SourceError {
    SourceError::Fatal(failure.to_string())
}

pub(super) fn unreadable(error: redb::Error) -> SourceError {
    SourceError::Fatal(format!("the embedded log cannot be read: {error}; repair its disk or restore the file, then restart"))
}

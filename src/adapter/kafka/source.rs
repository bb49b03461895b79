//! The log as a member of a consumer group reads it. It never commits by itself, never skips an offset that is gone, and hands out
//! a partition's records in order, each once as long as the partition stays.

use std::collections::VecDeque;
use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset as Position, TopicPartitionList};

use super::failure::{missing_topic, read_failed, source_error};
use super::native::{BATCH, Change, Committed, Consumer, Received};
use super::settings::{KafkaSettings, SettingsError, Start, client_error};
use crate::engine::time::Timestamp;
use crate::worker::ports::{Assigned, Message, Offset, Partition, Polled, Source, SourceError};

/// A member of the group of the settings, reading some topics.
pub struct KafkaSource {
    // Records hold on to their client, which waits for them when it is dropped: so they go first, and fields are dropped in the order
    // in which they stand here.
    /// Taken from the client, not yet handed out; none of it belongs to a held partition.
    queue: VecDeque<Received>,
    slots: Slots,
    consumer: Consumer,
    settings: KafkaSettings,
    topics: Vec<Arc<str>>,
    /// What the next successful poll tells.
    polled: Polled,
    known: Option<(Instant, Vec<Partition>)>,
}

/// How long a broker may take for an answer that the polling thread waits for. Well under the interval of polls that the group
/// demands (`max.poll.interval.ms`, 5 min).
const ANSWER: Duration = Duration::from_secs(5);
/// How old the list of all partitions may be.
const PARTITIONS_KNOWN: Duration = Duration::from_secs(5);

const BOUNDS: &str = "asking for the bounds of the partitions";

/// The assigned partitions. A fetch brings many records of one partition in a row, so the last one found is looked at first.
#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    last: Option<(usize, i32, usize)>,
}

struct Slot {
    partition: Partition,
    /// Where it was begun.
    begin: i64,
    /// Behind the last record handed out, at first what the group has committed, else 0. What lies below is not handed out again.
    next: i64,
    held: bool,
    /// What was taken from the client but not handed out when the partition was held.
    parked: VecDeque<Received>,
}

impl KafkaSource {
    /// Joins the group with the first poll. Needs no broker: an unreachable one shows as `Unavailable`, a missing topic as `Fatal`.
    pub fn open(settings: &KafkaSettings, topics: &[String]) -> Result<KafkaSource, SettingsError> {
        let consumer = Consumer::open(&settings.consumer()?).map_err(|error| client_error(&error))?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|code| SettingsError::Client(format!("topics {names:?} cannot be subscribed to: {code}")))?;
        Ok(KafkaSource {
            consumer,
            settings: settings.clone(),
            topics: names.into_iter().map(Arc::from).collect(),
            slots: Slots::default(),
            queue: VecDeque::new(),
            polled: Polled::default(),
            known: None,
        })
    }

    /// Answers the changes of the group that wait. A revocation after an assignment is left to the next poll, because what a poll
    /// tells was revoked before it was assigned.
    fn rebalance(&mut self) -> Result<(), SourceError> {
        while let Some(change) = self.consumer.change() {
            match change {
                Change::Revoke(_) if !self.polled.assigned.is_empty() => return Ok(()),
                Change::Revoke(partitions) => self.revoke(&partitions),
                Change::Assign(partitions) => self.assign(&partitions)?,
            }
        }
        Ok(())
    }

    fn revoke(&mut self, partitions: &[(String, i32)]) {
        match self.consumer.unassign(partitions) {
            Ok(true) => tracing::warn!(?partitions, "partitions were lost: the group had given them away before we knew"),
            Ok(false) => tracing::info!(?partitions, "partitions revoked"),
            Err(code) => tracing::warn!(?partitions, %code, "partitions could not be given back"),
        }
        for (topic, number) in partitions {
            if let Some(slot) = self.slots.remove(topic, *number) {
                self.polled.revoked.push(slot.partition);
            }
        }
        let slots = &mut self.slots;
        self.queue.retain(|received| slots.find(received).is_some());
    }

    /// Begins where the group has committed; the client is told an offset for every partition and never asked to choose.
    fn assign(&mut self, partitions: &[(String, i32)]) -> Result<(), SourceError> {
        let committed = if partitions.is_empty() {
            Vec::new()
        } else {
            self.consumer.committed(partitions, ANSWER).map_err(|code| source_error(code, "asking for the committed offsets"))?
        };
        if let Some((one, code)) = committed.iter().find_map(|one| one.error.map(|code| (one, code))) {
            return Err(source_error(code, &format!("asking for the committed offset of {}/{}", one.topic, one.partition)));
        }
        let begins = self.begins(&committed)?;
        let mut list = TopicPartitionList::with_capacity(begins.len());
        for (one, begin) in committed.iter().zip(&begins) {
            list.add_partition_offset(&one.topic, one.partition, Position::Offset(*begin))
                .map_err(|error| read_failed(&error, &format!("starting {}/{} at {begin}", one.topic, one.partition)))?;
        }
        self.consumer.assign(&list).map_err(|code| source_error(code, "taking the partitions that the group assigned"))?;
        for (one, begin) in committed.into_iter().zip(begins) {
            self.begin(one, begin);
        }
        Ok(())
    }

    /// Where each partition is begun. Known before it counts as assigned: what is written from then on is read, from whichever end
    /// it is begun.
    fn begins(&self, committed: &[Committed]) -> Result<Vec<i64>, SourceError> {
        let never_read: Vec<(String, i32)> =
            committed.iter().filter(|one| one.offset.is_none()).map(|one| (one.topic.clone(), one.partition)).collect();
        let which = if self.settings.start == Start::Earliest { Position::Beginning } else { Position::End };
        let bounds = if never_read.is_empty() { Vec::new() } else { self.bounds(&never_read, which)? };
        let bound = |one: &Committed| bounds.iter().find(|(partition, _)| of(partition, one)).map(|(_, offset)| *offset);
        committed
            .iter()
            .map(|one| {
                one.offset
                    .or_else(|| bound(one))
                    .ok_or_else(|| SourceError::Unavailable(format!("{BOUNDS} left out {}/{}", one.topic, one.partition)))
            })
            .collect()
    }

    fn bounds(&self, partitions: &[(String, i32)], which: Position) -> Result<Vec<(Partition, i64)>, SourceError> {
        let told = self.consumer.bounds(partitions, which, ANSWER).map_err(|code| source_error(code, BOUNDS))?;
        told.into_iter()
            .map(|one| match (one.offset, one.error) {
                (Some(offset), None) => Ok((Partition { topic: self.topic(&one.topic), number: one.partition }, offset)),
                (_, code) => {
                    // What the client last heard of the leaders may be of the moment when a broker went away, and it would go on
                    // by that for minutes; this asks a broker. The next try has it.
                    let asked = self.consumer.partitions(&one.topic, ANSWER).err();
                    let what = format!("{BOUNDS}, {}/{}", one.topic, one.partition);
                    tracing::debug!(what, ?code, refreshed = asked.is_none(), "the leaders were asked for again");
                    Err(source_error(code.unwrap_or(Code::LeaderNotAvailable), &what))
                }
            })
            .collect()
    }

    fn begin(&mut self, committed: Committed, begin: i64) {
        let partition = Partition { topic: self.topic(&committed.topic), number: committed.partition };
        tracing::info!(topic = %partition.topic, partition = partition.number, committed = committed.offset, begin, "partition assigned");
        // Told twice by a client that was asked twice: the first is over.
        self.slots.remove(&partition.topic, partition.number);
        self.slots.add(partition.clone(), begin, committed.offset.unwrap_or(0));
        self.polled.assigned.push(Assigned { partition, committed: committed.offset, note: committed.note });
    }

    fn topic(&self, name: &str) -> Arc<str> {
        self.topics.iter().find(|topic| &***topic == name).cloned().unwrap_or_else(|| Arc::from(name))
    }

    /// Hands out what was taken. An error stands among the records of its partition and comes in its turn.
    fn hand_out(&mut self, each: &mut dyn FnMut(Message<'_>) -> ControlFlow<()>) -> Result<(), SourceError> {
        while let Some(received) = self.queue.pop_front() {
            if let Some(code) = received.error() {
                self.told(code, &received)?;
                continue;
            }
            let Some(slot) = self.slots.find(&received) else { continue };
            let offset = received.offset();
            // A pause within a rebalance makes the client fetch again what it has given out already.
            if offset < slot.next {
                continue;
            }
            slot.next = offset + 1;
            let message = Message {
                topic: &slot.partition.topic,
                partition: slot.partition.number,
                offset,
                time: Timestamp(received.time_ms().max(0)),
                key: received.key(),
                value: received.value(),
            };
            if each(message).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn told(&mut self, code: Code, received: &Received) -> Result<(), SourceError> {
        match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation => Err(SourceError::Fatal(self.gone(received))),
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => self.missing(received),
            // The revocation that follows says the same.
            Code::PollExceeded => {
                tracing::warn!("nobody polled for max.poll.interval.ms: the group takes our partitions away");
                Ok(())
            }
            _ => match source_error(code, &received.reason()) {
                // It stands in the place of a record, which the client would pass over after the next pause.
                SourceError::Unavailable(reason) if received.offset() >= 0 => {
                    let (topic, number, offset) = (received.topic(), received.partition(), received.offset());
                    Err(SourceError::Fatal(format!("offset {offset} of {topic}/{number} cannot be read: {reason}")))
                }
                error => Err(error),
            },
        }
    }

    fn gone(&self, received: &Received) -> String {
        let (topic, number, offset) = (received.topic(), received.partition(), received.offset());
        let kept = match self.consumer.kept(topic, number, ANSWER) {
            Ok((first, end)) => format!("the broker now has offsets {first} to {end}"),
            Err(error) => format!("what the broker still has is not known: {error}"),
        };
        format!(
            "offset {offset} of {topic}/{number} is gone ({kept}): it was deleted before it was read, or the topic was made anew. Ways out, with no \
             worker running: to accept the loss, move the group with `kafka-consumer-groups.sh --bootstrap-server {} --group {} --topic {topic}:{number} \
             --reset-offsets --to-earliest --execute`; if the topic was made anew or moved to another cluster, also raise kafka.generation",
            self.settings.brokers, self.settings.group,
        )
    }

    /// A topic is missing only when a broker says so when asked: right after its creation the group's broker may not know it yet.
    fn missing(&mut self, received: &Received) -> Result<(), SourceError> {
        for topic in &self.topics {
            match self.consumer.partitions(topic, ANSWER) {
                Ok(Some(_)) => {}
                Ok(None) => return Err(SourceError::Fatal(missing_topic(topic))),
                Err(error) => return Err(read_failed(&error, &format!("asking for topic `{topic}`"))),
            }
        }
        tracing::warn!(reason = received.reason(), "a topic was not known to the broker, but is now");
        Ok(())
    }

    fn names(&self) -> Vec<(String, i32)> {
        self.slots.slots.iter().map(|slot| name(&slot.partition)).collect()
    }
}

impl Source for KafkaSource {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Message<'_>) -> ControlFlow<()>) -> Result<Polled, SourceError> {
        // Kept by a poll that ended with an error: it is told before any record of a partition that it names.
        if !self.polled.assigned.is_empty() || !self.polled.revoked.is_empty() {
            return Ok(mem::take(&mut self.polled));
        }
        let wait = if self.queue.is_empty() { wait } else { Duration::ZERO };
        let room = BATCH.saturating_sub(self.queue.len());
        self.consumer.take(wait, room, &mut self.queue);
        self.rebalance()?;
        let handed = !self.queue.is_empty();
        self.hand_out(each)?;
        match self.consumer.unreachable() {
            Some(why) if !handed => Err(SourceError::Unavailable(why)),
            _ => Ok(mem::take(&mut self.polled)),
        }
    }

    fn hold(&mut self, partitions: &[Partition], held: bool) -> Result<(), SourceError> {
        let changed: Vec<(String, i32)> =
            partitions.iter().filter(|one| self.slots.get(one).is_some_and(|slot| slot.held != held)).map(name).collect();
        if changed.is_empty() {
            return Ok(());
        }
        self.consumer.pause(&changed, held).map_err(|code| source_error(code, "holding or resuming partitions"))?;
        if held {
            self.park(partitions);
        } else {
            self.unpark(partitions);
        }
        Ok(())
    }

    fn commit(&mut self, offsets: &[Offset]) -> Result<(), SourceError> {
        let (ours, gone): (Vec<&Offset>, Vec<&Offset>) = offsets.iter().partition(|offset| self.slots.get(&offset.partition).is_some());
        if !ours.is_empty() {
            let mut list = TopicPartitionList::with_capacity(ours.len());
            for offset in ours {
                let mut element = list.add_partition(&offset.partition.topic, offset.partition.number);
                element.set_offset(Position::Offset(offset.next)).map_err(|error| read_failed(&error, "committing offsets"))?;
                element.set_metadata(&offset.note);
            }
            let refused = self.consumer.commit(&list, ANSWER).map_err(|code| source_error(code, "committing offsets"))?;
            if let Some((one, code)) = refused.iter().find_map(|one| one.error.map(|code| (one, code))) {
                return Err(source_error(code, &format!("committing the offset of {}/{}", one.topic, one.partition)));
            }
        }
        // Committed after the next owner's, an older offset would make the group read again what it has finished.
        match gone.first() {
            Some(offset) => Err(SourceError::Fenced(format!("{}/{} is no longer ours", offset.partition.topic, offset.partition.number))),
            None => Ok(()),
        }
    }

    fn ends(&mut self) -> Result<Vec<(Partition, i64)>, SourceError> {
        let names = self.names();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut ends = self.bounds(&names, Position::End)?;
        let positions = self.consumer.positions(&names).map_err(|code| source_error(code, BOUNDS))?;
        for (partition, end) in &mut ends {
            let Some(slot) = self.slots.get(partition) else { continue };
            let taken = positions.iter().find(|one| of(partition, one)).and_then(|one| one.offset).unwrap_or(slot.begin);
            let all_handed_out = slot.parked.is_empty() && !self.queue.iter().any(|received| slot.is_of(received));
            // What lies between the last record and the end holds none: nothing is left to wait for.
            if taken >= *end && all_handed_out {
                *end = (*end).min(slot.next);
            }
        }
        Ok(ends)
    }

    fn partitions(&mut self) -> Result<Vec<Partition>, SourceError> {
        if let Some((_, known)) = self.known.as_ref().filter(|(asked, _)| asked.elapsed() < PARTITIONS_KNOWN) {
            return Ok(known.clone());
        }
        let mut all = Vec::new();
        for topic in &self.topics {
            match self.consumer.partitions(topic, ANSWER) {
                Ok(Some(count)) => all.extend((0..count).map(|number| Partition { topic: topic.clone(), number })),
                Ok(None) => return Err(SourceError::Fatal(missing_topic(topic))),
                Err(error) => return Err(read_failed(&error, &format!("asking for the partitions of topic `{topic}`"))),
            }
        }
        self.known = Some((Instant::now(), all.clone()));
        Ok(all)
    }
}

impl KafkaSource {
    /// Takes what waits for these partitions out of the way of the others.
    fn park(&mut self, partitions: &[Partition]) {
        for one in partitions {
            if let Some(slot) = self.slots.get_mut(one) {
                slot.held = true;
            }
        }
        let slots = &mut self.slots;
        for received in mem::take(&mut self.queue) {
            match slots.find(&received) {
                Some(slot) if slot.held => slot.parked.push_back(received),
                _ => self.queue.push_back(received),
            }
        }
    }

    /// Puts it back before everything that was taken since.
    fn unpark(&mut self, partitions: &[Partition]) {
        for one in partitions {
            if let Some(slot) = self.slots.get_mut(one).filter(|slot| slot.held) {
                slot.held = false;
                let mut parked = mem::take(&mut slot.parked);
                parked.append(&mut self.queue);
                self.queue = parked;
            }
        }
        self.slots.last = None;
    }
}

impl Slot {
    fn is_of(&self, received: &Received) -> bool {
        self.partition.number == received.partition() && &*self.partition.topic == received.topic()
    }
}

impl Slots {
    fn find(&mut self, received: &Received) -> Option<&mut Slot> {
        let (topic, number) = (received.topic_handle(), received.partition());
        let at = match self.last {
            Some((known, partition, at)) if known == topic && partition == number => at,
            _ => {
                let at = self.slots.iter().position(|slot| slot.is_of(received))?;
                self.last = Some((topic, number, at));
                at
            }
        };
        self.slots.get_mut(at)
    }

    fn get(&self, partition: &Partition) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.partition == *partition)
    }

    fn get_mut(&mut self, partition: &Partition) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.partition == *partition)
    }

    fn add(&mut self, partition: Partition, begin: i64, next: i64) {
        self.slots.push(Slot { partition, begin, next, held: false, parked: VecDeque::new() });
    }

    fn remove(&mut self, topic: &str, number: i32) -> Option<Slot> {
        self.last = None;
        let at = self.slots.iter().position(|slot| slot.partition.number == number && &*slot.partition.topic == topic)?;
        Some(self.slots.swap_remove(at))
    }
}

fn of(partition: &Partition, one: &Committed) -> bool {
    partition.number == one.partition && *partition.topic == one.topic
}

fn name(partition: &Partition) -> (String, i32) {
    (partition.topic.to_string(), partition.number)
}

//! A span of the log, read from a time or the beginning to its end as of now, or parts of one topic, one after the other: for those
//! who look back. It is no member of a group, commits nothing, and never disturbs the workers.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::{Offset as Position, TopicPartitionList};

use super::Told;
use super::failure::{missing_topic, read_failed};
use super::settings::{KafkaSettings, client_error};
use crate::engine::time::Timestamp;
use crate::worker::ports::{Archive, Message, Partition, SourceError, Span, Topic};

/// All partitions of some topics.
pub struct KafkaSpan {
    consumer: BaseConsumer<Told>,
    parts: Vec<Part>,
}

struct Part {
    partition: Partition,
    /// The oldest record that was kept and the end, when it was opened.
    oldest: i64,
    newest: i64,
    /// Where it is read from.
    begin: i64,
    /// The first offset that is not read.
    end: i64,
    /// Behind the last record handed out.
    next: i64,
    /// It begins at the oldest record that is kept, and older ones were there: when that one was written, once it is read.
    cut: Option<Option<Timestamp>>,
}

/// How long a broker may take for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Records handed out in one call.
const BATCH: usize = 1024;
/// How long nothing may come from a broker before that is an error.
const SILENCE: Duration = Duration::from_secs(60);
/// A wait for the next record; then it is seen whether the end is reached.
const WAIT: Duration = Duration::from_millis(200);

/// Topics of this Kafka.
pub struct KafkaArchive {
    pub settings: KafkaSettings,
}

impl Archive for KafkaArchive {
    fn open(&self, topic: &str) -> Result<Box<dyn Topic>, SourceError> {
        Ok(Box::new(KafkaSpan::open(&self.settings, &[topic.to_owned()], None)?))
    }
}

impl Topic for KafkaSpan {
    fn spans(&self, since: Option<Timestamp>) -> Result<Vec<Span>, SourceError> {
        let all: Vec<Partition> = self.parts.iter().map(|part| part.partition.clone()).collect();
        let begins = match since {
            Some(since) => self.offsets(&all, Position::Offset(since.0.max(0)))?,
            None => self.parts.iter().map(|part| Some(part.oldest)).collect(),
        };
        let span = |(part, begin): (&Part, Option<i64>)| {
            let begin = begin.unwrap_or(part.newest).clamp(part.oldest.min(part.newest), part.newest);
            Span { partition: part.partition.number, begin, end: part.newest }
        };
        Ok(self.parts.iter().zip(begins).map(span).collect())
    }

    fn read(&mut self, spans: &[Span], each: &mut dyn FnMut(Message<'_>)) -> Result<(), SourceError> {
        for part in &mut self.parts {
            let span = spans.iter().find(|span| span.partition == part.partition.number);
            (part.begin, part.end) = span.map_or((0, 0), |span| (span.begin, span.end));
        }
        self.begin()?;
        while KafkaSpan::read(self, each)? {}
        Ok(())
    }
}

impl KafkaSpan {
    /// From the first record whose time is not before `from`, else from the oldest that is kept, to the end as it is now.
    pub fn open(settings: &KafkaSettings, topics: &[String], from: Option<Timestamp>) -> Result<KafkaSpan, SourceError> {
        let unusable = |error: &dyn std::fmt::Display| SourceError::Fatal(error.to_string());
        let config = settings.consumer().map_err(|error| unusable(&error))?;
        let consumer: BaseConsumer<Told> = config.create_with_context(Told::default()).map_err(|error| unusable(&client_error(&error)))?;
        let mut span = KafkaSpan { consumer, parts: Vec::new() };
        let all = span.partitions(topics)?;
        let oldest = span.offsets(&all, Position::Beginning)?;
        let ends = span.offsets(&all, Position::End)?;
        let begins = match from {
            Some(from) => span.offsets(&all, Position::Offset(from.0.max(0)))?,
            None => oldest.clone(),
        };
        for (((partition, oldest), end), begin) in all.into_iter().zip(oldest).zip(ends).zip(begins) {
            let end = end.unwrap_or(0);
            // No record is that young: there is nothing to read.
            let begin = begin.unwrap_or(end).min(end);
            let cut = (begin < end && oldest == Some(begin) && begin > 0).then_some(None);
            span.parts.push(Part { partition, oldest: oldest.unwrap_or(end), newest: end, begin, end, next: begin, cut });
        }
        span.begin()?;
        Ok(span)
    }

    /// How many offsets it spans; some may hold no record.
    pub fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.end.saturating_sub(part.begin).unsigned_abs()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Once it is read: since when nothing of it has been deleted, where something was. `None`: it has all that was written since its
    /// beginning.
    pub fn kept_since(&self) -> Option<Timestamp> {
        self.parts.iter().filter_map(|part| part.cut.flatten()).max()
    }

    /// Starts over; the end stays where it is.
    pub fn begin(&mut self) -> Result<(), SourceError> {
        let mut list = TopicPartitionList::with_capacity(self.parts.len());
        for part in &mut self.parts {
            part.next = part.begin;
            if part.begin < part.end {
                let added = list.add_partition_offset(&part.partition.topic, part.partition.number, Position::Offset(part.begin));
                added.map_err(|error| read_failed(&error, "starting to read"))?;
            }
        }
        self.consumer.assign(&list).map_err(|error| read_failed(&error, "starting to read"))
    }

    /// Hands out the next records, those of a partition in order. `false`: the end is reached and nothing was handed out.
    pub fn read(&mut self, each: &mut dyn FnMut(Message<'_>)) -> Result<bool, SourceError> {
        let mut handed = 0;
        let mut silent = Duration::ZERO;
        while handed < BATCH && !self.is_over() {
            let wait = if handed == 0 { WAIT } else { Duration::ZERO };
            match self.consumer.poll(wait) {
                Some(Ok(record)) => {
                    handed += 1;
                    let time = Timestamp(record.timestamp().to_millis().unwrap_or(0).max(0));
                    let found = |part: &&mut Part| part.partition.number == record.partition() && *part.partition.topic == *record.topic();
                    let Some(part) = self.parts.iter_mut().find(found) else { continue };
                    part.next = record.offset() + 1;
                    if record.offset() >= part.end {
                        continue;
                    }
                    if let Some(cut @ None) = &mut part.cut {
                        *cut = Some(time);
                    }
                    each(Message {
                        topic: record.topic(),
                        partition: record.partition(),
                        offset: record.offset(),
                        time,
                        key: record.key(),
                        value: record.payload(),
                    });
                }
                Some(Err(KafkaError::MessageConsumption(Code::AutoOffsetReset | Code::OffsetOutOfRange))) => {
                    return Err(SourceError::Fatal("events were deleted while they were read; run the command again".into()));
                }
                // The client goes on by itself; what is final stays silent and is told below.
                Some(Err(KafkaError::MessageConsumption(code))) => tracing::warn!(%code, "reading stumbles"),
                Some(Err(error)) => return Err(read_failed(&error, "reading")),
                None if handed > 0 => break,
                None => {
                    self.pass_markers()?;
                    silent += WAIT;
                    if silent > SILENCE {
                        let why = self.consumer.context().unreachable().unwrap_or_else(|| "no record came".into());
                        return Err(SourceError::Unavailable(format!("{why}; nothing for {} s", SILENCE.as_secs())));
                    }
                }
            }
        }
        Ok(handed > 0)
    }

    fn is_over(&self) -> bool {
        self.parts.iter().all(|part| part.next >= part.end)
    }

    /// Offsets at the end that hold no record (transaction markers) are passed where the client has passed them.
    fn pass_markers(&mut self) -> Result<(), SourceError> {
        let positions = self.consumer.position().map_err(|error| read_failed(&error, "asking how far was read"))?;
        for one in positions.elements() {
            let part = self.parts.iter_mut().find(|part| part.partition.number == one.partition() && *part.partition.topic == *one.topic());
            if let (Some(part), Position::Offset(offset)) = (part, one.offset()) {
                part.next = part.next.max(offset);
            }
        }
        Ok(())
    }

    fn partitions(&self, topics: &[String]) -> Result<Vec<Partition>, SourceError> {
        let mut all = Vec::new();
        for topic in topics {
            let asked = self.consumer.fetch_metadata(Some(topic), ANSWER);
            let metadata = asked.map_err(|error| read_failed(&error, &format!("asking for the partitions of topic `{topic}`")))?;
            let found = metadata.topics().iter().find(|found| found.name() == topic).filter(|found| found.error().is_none());
            let Some(found) = found.filter(|found| !found.partitions().is_empty()) else {
                return Err(SourceError::Fatal(missing_topic(topic)));
            };
            let name: Arc<str> = topic.as_str().into();
            all.extend(found.partitions().iter().map(|one| Partition { topic: name.clone(), number: one.id() }));
        }
        Ok(all)
    }

    /// Of each partition the offset of a time in milliseconds, the first one or the end; `None`: there is nothing at or after the time.
    fn offsets(&self, partitions: &[Partition], which: Position) -> Result<Vec<Option<i64>>, SourceError> {
        const ASKING: &str = "asking for the bounds of the partitions";
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for one in partitions {
            list.add_partition_offset(&one.topic, one.number, which).map_err(|error| read_failed(&error, ASKING))?;
        }
        let told = self.consumer.offsets_for_times(list, ANSWER).map_err(|error| read_failed(&error, ASKING))?;
        partitions
            .iter()
            .map(|one| {
                let found = told.find_partition(&one.topic, one.number);
                let found = found.ok_or_else(|| SourceError::Unavailable(format!("{ASKING} left out {}/{}", one.topic, one.number)))?;
                found.error().map_err(|error| read_failed(&error, ASKING))?;
                Ok(match found.offset() {
                    Position::Offset(offset) => Some(offset),
                    _ => None,
                })
            })
            .collect()
    }
}

//! Looking back in the log: what is kept of a topic, read beside its groups.

use std::sync::Arc;

use redb::ReadableDatabase;

use super::Shared;
use super::source::unreadable;
use super::tables::{self, decode_line};
use crate::engine::time::Timestamp;
use crate::worker::ports::{Archive, Message, SourceError, Span, Topic};

/// Topics of this file.
pub struct EmbeddedArchive {
    shared: Arc<Shared>,
}

struct EmbeddedTopic {
    shared: Arc<Shared>,
    name: Arc<str>,
    /// `None`: nothing was ever written to it, nor read.
    number: Option<u32>,
}

impl EmbeddedArchive {
    pub fn new(shared: Arc<Shared>) -> EmbeddedArchive {
        EmbeddedArchive { shared }
    }
}

impl Archive for EmbeddedArchive {
    fn open(&self, topic: &str) -> Result<Box<dyn Topic>, SourceError> {
        let number = || -> Result<Option<u32>, redb::Error> {
            let topics = self.shared.database.begin_read()?.open_table(tables::TOPICS)?;
            Ok(topics.get(topic)?.map(|row| row.value().0))
        };
        Ok(Box::new(EmbeddedTopic { shared: Arc::clone(&self.shared), name: topic.into(), number: number().map_err(unreadable)? }))
    }
}

impl EmbeddedTopic {
    fn find(&self, since: Option<Timestamp>) -> Result<Vec<Span>, redb::Error> {
        let Some(number) = self.number else { return Ok(Vec::new()) };
        let transaction = self.shared.database.begin_read()?;
        let (partitions, log) = (transaction.open_table(tables::PARTITIONS)?, transaction.open_table(tables::LOG)?);
        let mut spans = Vec::new();
        for row in partitions.range((number, 0)..=(number, i32::MAX))? {
            let (place, row) = row?;
            let (partition, (end, first, _)) = (place.value().1, row.value());
            // Times grow with the offsets, but for a clock that was set back.
            let (mut begin, mut young) = (first, end);
            while let Some(since) = since.filter(|_| begin < young) {
                let middle = begin + (young - begin) / 2;
                let line = log.get((number, partition, middle))?;
                let time = line.map(|line| decode_line(line.value()).map(|line| line.time)).transpose()?;
                if time.is_some_and(|time| time >= since) { young = middle } else { begin = middle + 1 }
            }
            spans.push(Span { partition, begin, end });
        }
        Ok(spans)
    }

    fn hand_out(&self, span: &Span, each: &mut dyn FnMut(Message<'_>)) -> Result<(), redb::Error> {
        let Some(number) = self.number else { return Ok(()) };
        let log = self.shared.database.begin_read()?.open_table(tables::LOG)?;
        for row in log.range((number, span.partition, span.begin)..(number, span.partition, span.end))? {
            let (key, row) = row?;
            let line = decode_line(row.value())?;
            let offset = key.value().2;
            each(Message { topic: &self.name, partition: span.partition, offset, time: line.time, key: line.key, value: Some(line.value) });
        }
        Ok(())
    }
}

impl Topic for EmbeddedTopic {
    fn spans(&self, since: Option<Timestamp>) -> Result<Vec<Span>, SourceError> {
        self.find(since).map_err(unreadable)
    }

    fn read(&mut self, spans: &[Span], each: &mut dyn FnMut(Message<'_>)) -> Result<(), SourceError> {
        spans.iter().filter(|span| span.begin < span.end).try_for_each(|span| self.hand_out(span, each)).map_err(unreadable)
    }
}

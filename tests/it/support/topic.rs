//! Reading a topic from its beginning, as somebody would who knows Kafka and not Campanile: a bare consumer, no group, no code of ours.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;

const ASK_WITHIN: Duration = Duration::from_secs(10);

/// A record with a JSON value.
#[derive(Clone, Debug)]
pub struct Line {
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    pub value: Value,
    /// The value as it is.
    pub bytes: Vec<u8>,
}

/// Follows a topic; what was read stays.
pub struct Follow {
    topic: String,
    consumer: BaseConsumer,
    pub lines: Vec<Line>,
}

impl Follow {
    pub fn new(brokers: &str, topic: &str) -> Follow {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "only-reads")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .create()
            .expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(topic), ASK_WITHIN).expect("a reachable broker");
        let mut all = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            all.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("a partition once");
        }
        assert!(all.count() > 0, "topic {topic} does not exist");
        consumer.assign(&all).expect("an assignment");
        Follow { topic: topic.to_owned(), consumer, lines: Vec::new() }
    }

    /// Reads what is at hand.
    pub fn look(&mut self) -> &[Line] {
        while let Some(read) = self.consumer.poll(Duration::ZERO) {
            match read {
                Ok(message) => {
                    let bytes = message.payload().unwrap_or_default().to_vec();
                    let value = serde_json::from_slice(&bytes)
                        .unwrap_or_else(|error| panic!("{}: {error}: {}", self.topic, String::from_utf8_lossy(&bytes)));
                    let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
                    self.lines.push(Line { partition: message.partition(), offset: message.offset(), key, value, bytes });
                }
                // A broker that is being restarted: the client goes on by itself.
                Err(KafkaError::MessageConsumption(_)) => break,
                Err(error) => panic!("{}: {error}", self.topic),
            }
        }
        &self.lines
    }

    /// Reads to the end as it is now: whoever wrote has stopped.
    pub fn all(mut self) -> Vec<Line> {
        let assigned = self.consumer.assignment().expect("an assignment");
        let ends: BTreeMap<i32, i64> = assigned
            .elements()
            .iter()
            .map(|one| {
                let (_, end) = self.consumer.fetch_watermarks(&self.topic, one.partition(), ASK_WITHIN).expect("a reachable broker");
                (one.partition(), end)
            })
            .collect();
        // A list that outlives the consumer dead-locks its end.
        drop(assigned);
        let what = format!("{} is read to its end", self.topic);
        super::wait::until(&what, ASK_WITHIN, || {
            self.look();
            let next = |partition| self.lines.iter().filter(|line| line.partition == partition).map(|line| line.offset + 1).max();
            ends.iter().all(|(partition, end)| next(*partition).unwrap_or(0) >= *end)
        });
        self.lines
    }
}

/// How many records of a topic a group has committed as read, over all partitions.
pub fn committed(brokers: &str, group: &str, topic: &str) -> i64 {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", group).create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), ASK_WITHIN).expect("a reachable broker");
    let mut all = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        all.add_partition(topic, partition.id());
    }
    let offsets = consumer.committed_offsets(all, ASK_WITHIN).expect("a reachable broker");
    offsets.elements().iter().filter_map(|one| one.offset().to_raw().filter(|offset| *offset >= 0)).sum()
}

//! What comes in: one event of one user, in the Segment spec, with its place in the log.
//!
//! `reading.rs` makes these from bytes; nothing here knows where the bytes came from.

use serde::{Deserialize, Serialize};

use super::id::{UserId, stable_hash};
use super::time::Timestamp;
use super::value::Object;

/// One readable input from the events topics. `page` and `screen` are [`Body::Track`] with `name` and `category` among the properties.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub user: UserId,
    /// `messageId`, else `topic/partition/offset`, from generation 2 on `topic/generation/partition/offset`.
    pub message_id: Box<str>,
    /// When it happened: `timestamp`, else the record's Kafka time; never more than five minutes ahead of the latter.
    pub timestamp: Timestamp,
    pub position: Position,
    /// `anonymousId`, where the event has one: beside its user, or as its user.
    pub anonymous_id: Option<Box<str>>,
    /// `context.device.token`.
    pub device_token: Option<Box<str>>,
    /// `context.traits`, applied before the event itself.
    pub context_traits: Object,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Something the person did.
    Track { name: Box<str>, properties: Object },
    /// What is known of the person.
    Identify { traits: Object },
    /// Forget the person.
    Delete,
    /// An internal server asks for one campaign to be sent to this person; `traits` are merged first.
    Send { campaign: Box<str>, properties: Object, traits: Object },
}

/// Where an input lies in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub source: SourceId,
    pub offset: i64,
    /// The record's time as the broker has it.
    pub broker_time: Timestamp,
}

/// One partition of one generation of one topic, as a stable hash: what a record's marks are kept by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u64);

impl SourceId {
    pub fn of(topic: &str, generation: u32, partition: i32) -> SourceId {
        SourceId(stable_hash(&[topic.as_bytes(), &generation.to_le_bytes(), &partition.to_le_bytes()]))
    }
}

// Fixed width, as for campaign ids: a hash does not shrink.
impl Serialize for SourceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.to_le_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SourceId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<SourceId, D::Error> {
        <[u8; 8]>::deserialize(deserializer).map(|bytes| SourceId(u64::from_le_bytes(bytes)))
    }
}

//! Messages on topics of the worker's own (retries, users of a walk), as JSON that says the version of its form. One of a newer form is
//! not for this worker, and nothing of it may be lost: the worker ends, and its place in the topic stays. What has another form
//! altogether is no message of ours.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ports::{Message, SourceError};

/// Why a message cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Written by a newer version of this program. What a worker that reads it can only say before it ends.
    Newer(String),
    /// For the dead-letter topic.
    Broken(String),
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// Reads a message whose form is at most `newest`.
pub fn read<T: DeserializeOwned>(bytes: &[u8], newest: u32) -> Result<T, Unread> {
    let broken = |error: serde_json::Error| Unread::Broken(error.to_string());
    // First of all: a newer form may have anything in it.
    let Version { v } = serde_json::from_slice(bytes).map_err(broken)?;
    if v > newest {
        let upgrade = "upgrade this worker to the version that wrote it";
        return Err(Unread::Newer(format!("written in form {v}, this version of campanile reads up to {newest}: {upgrade}")));
    }
    serde_json::from_slice(bytes).map_err(broken)
}

/// What ends a worker that meets such a message.
pub fn not_for_us(message: &Message<'_>, why: &str) -> SourceError {
    let Message { topic, partition, offset, .. } = message;
    SourceError::Fatal(format!("the message at {topic}/{partition}/{offset} cannot be read: {why}"))
}

//! Walks over all users: scheduled runs, and the passes that arm a campaign's dates and memberships. Whoever takes a campaign's
//! agenda as due walks ([`Walker`]): users by pages of the store, as chunks of ids on a topic of their own, of which any worker takes
//! its part ([`RunReader`]). What a walk is for, and when, `engine::runs` says; here it is only carried out.
//!
//! **A crash at any point repeats and loses nothing.** A page's chunks are acknowledged before the agenda's cursor moves, so that who
//! takes over repeats a page at most; a chunk's offset is committed after its users are stored. A user that a run reaches twice is
//! decided once: what was sent or waits is in the record under the run's name.

pub mod reader;
pub mod walker;

use serde::{Deserialize, Serialize};

use crate::engine::id::UserId;
use crate::engine::step::Run;
use crate::engine::time::Timestamp;

use super::form::{self, Unread};
use super::outcomes;
use super::ports::Line;
use super::settings::Topics;

pub use reader::RunReader;
pub use walker::Walker;

/// Some users that a walk has reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Version of this form.
    pub v: u32,
    pub campaign: Box<str>,
    /// `None`: an arming pass.
    pub run: Option<Run>,
    /// When the walk reached them.
    pub at: Timestamp,
    pub users: Vec<UserId>,
}

const VERSION: u32 = 1;

/// Users of one chunk, at most: with the longest ids 128 KiB.
const CHUNK_USERS: usize = 500;

impl Chunk {
    /// The lines for these users. They have no key, so that they spread over all partitions: a chunk's users are everybody's.
    fn lines(topics: &Topics, campaign: &str, run: Option<&Run>, at: Timestamp, users: &[UserId]) -> Vec<Line> {
        let line = |users: &[UserId]| {
            let chunk = Chunk { v: VERSION, campaign: campaign.into(), run: run.cloned(), at, users: users.to_vec() };
            Line { topic: topics.runs.clone(), key: None, value: outcomes::json(&chunk) }
        };
        users.chunks(CHUNK_USERS).map(line).collect()
    }

    fn read(bytes: &[u8]) -> Result<Chunk, Unread> {
        form::read(bytes, VERSION)
    }
}

#[cfg(test)]
mod tests;

//! What a record keeps of the past: instants, counters and samples, never the events. Opaque here; `history` holds the rules.

use serde::{Deserialize, Serialize};

use super::Mark;
use crate::engine::event::SourceId;
use crate::engine::id::{CampaignId, TrackerId};
use crate::engine::time::Timestamp;

/// The past of one user, as far as a definition asks for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Instants of the `without` events of inaction campaigns.
    pub without: Vec<Instants>,
    /// What the trackers keep, in order of their ids. A tracker that never met an event of this user has no entry.
    pub tracked: Vec<Tracked>,
    /// Some of it had to give way: of what happened before this instant, absence says nothing.
    pub lost: Option<Timestamp>,
    /// Since when workers note what lies before a tracker's `tracked_since`.
    pub early: Vec<Early>,
    /// How far backfills came, the one that moved last at the end.
    pub backfilled: Vec<Backfilled>,
}

impl Kept {
    pub fn is_empty(&self) -> bool {
        let Kept { without, tracked, lost, early, backfilled } = self;
        without.is_empty() && tracked.is_empty() && lost.is_none() && early.is_empty() && backfilled.is_empty()
    }
}

/// From here on what a partition holds of this user was noted for a tracker by workers, although it happened before the tracker's
/// `tracked_since`: a backfill leaves it to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Early {
    pub tracker: TrackerId,
    pub source: SourceId,
    pub offset: i64,
    pub broker_time: Timestamp,
}

/// What a backfill has noted of one partition: up to the mark everything that happened from `from` on and, for each tracker, before its
/// instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfilled {
    pub id: u64,
    pub from: Timestamp,
    pub until: Vec<(TrackerId, Timestamp)>,
    pub mark: Mark,
    /// Hashes of the last message ids, oldest first: a message that was written twice is noted once.
    pub seen: Vec<[u8; 8]>,
}

/// The newest instants of one `without` and key, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instants {
    /// The campaign that asks, for it alone knows its pattern.
    pub tracker: CampaignId,
    /// Stable hash of the correlating values, zero without `same`.
    pub key: [u8; 8],
    pub at: Vec<Timestamp>,
}

/// What one tracker keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tracked {
    pub tracker: TrackerId,
    pub data: Data,
}

/// The shape depends on what the tracker measures; its id says which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Data {
    /// How often.
    Count(u64),
    /// The first and the last time.
    Ends { first: Timestamp, last: Timestamp },
    /// The newest times, oldest first; one for each event.
    Newest(Vec<Timestamp>),
    /// Numbers without their times.
    Totals(Totals),
    /// Numbers with their times.
    Samples(Samples),
    /// Different values.
    Distinct(Distinct),
    /// Whatever may be asked later: how often, the first time, and the newest times, oldest first.
    Ahead { count: u64, first: Timestamp, newest: Vec<Timestamp> },
}

/// Numbers added up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    pub count: u64,
    pub sum: f64,
    /// What rounding took from `sum` (Neumaier's summation): ten times 0.1 is 1.
    pub rest: f64,
    pub min: f64,
    pub max: f64,
}

/// Numbers with their times: the newest singly, those before in buckets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// Oldest first.
    pub recent: Vec<Sample>,
    /// Oldest first; all of them are older than `recent`.
    pub older: Vec<Bucket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub at: Timestamp,
    pub value: f64,
}

/// The numbers of one slice of time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Which slice: the time divided by its length.
    pub slice: i64,
    pub newest: Timestamp,
    pub totals: Totals,
}

/// Different values by their stable hashes, with the newest time of each, in order of the hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distinct {
    /// Only hashes that end in so many zero bits are kept: one in 2^level.
    pub level: u8,
    pub values: Vec<(ValueHash, Timestamp)>,
}

/// Eight bytes as they are: a hash does not shrink as a variable-length integer.
pub type ValueHash = [u8; 8];

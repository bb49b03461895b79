//! What the log forgets, so that the file does not grow without end. A batch that adds lines to a partition pays for it by removing up
//! to twice as many old ones there: no timer, no pause, and a partition that does not grow is left alone.
//!
//! A topic that groups read loses only what every one of them has committed, and of that what is older than an hour or above 64 MiB
//! a partition. A topic that no group ever read (outcomes, dead letters) loses what is older than 7 days or above 64 MiB.
//! A group that will never return holds the log for ever: its offsets are part of the file.

use std::ops::Range;
use std::time::Duration;

use redb::ReadableTable;

use super::tables::{Place, Tables, decode_line};
use crate::engine::time::Timestamp;

/// How long and how much of a partition is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// After every group has committed a record.
    pub read: Duration,
    /// Of a topic without readers.
    pub unread: Duration,
    /// More than this of either is removed earlier, bytes a partition.
    pub bytes: u64,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { read: Duration::from_secs(60 * 60), unread: Duration::from_secs(7 * 24 * 60 * 60), bytes: 64 << 20 }
    }
}

/// How many records a batch that added so many may remove: more than it added, or a backlog would never shrink.
pub fn pace(added: usize) -> usize {
    added.saturating_mul(2).saturating_add(16)
}

/// Removes up to `most` records from the front of a partition that holds the offsets `kept` in `bytes`; answers the new first offset
/// and the bytes left.
pub fn trim(
    tables: &mut Tables<'_>,
    place: Place,
    kept: Range<i64>,
    bytes: u64,
    most: usize,
    now: Timestamp,
    retention: Retention,
) -> Result<(i64, u64), redb::Error> {
    let (floor, age) = match committed_by_all(tables, place, &kept)? {
        Some(committed) => (committed.min(kept.end), retention.read),
        None => (kept.end, retention.unread),
    };
    let oldest = now.before(age);
    let (mut first, mut left) = (kept.start, bytes);
    for row in tables.log.range((place.0, place.1, kept.start)..(place.0, place.1, floor))?.take(most) {
        let (key, row) = row?;
        if decode_line(row.value())?.time >= oldest && left <= retention.bytes {
            break;
        }
        first = key.value().2 + 1;
        left = left.saturating_sub(row.value().len() as u64);
    }
    tables.log.retain_in((place.0, place.1, kept.start)..(place.0, place.1, first), |_, _| false)?;
    Ok((first, left))
}

/// The offset below which every group that reads the topic has committed; `None` when no group reads it.
fn committed_by_all(tables: &Tables<'_>, place: Place, kept: &Range<i64>) -> Result<Option<i64>, redb::Error> {
    let mut floor = None;
    for row in tables.readers.range((place.0, "")..(place.0 + 1, ""))? {
        let (reader, _) = row?;
        let (_, group) = reader.value();
        let committed = tables.offsets.get((group, place.0, place.1))?.map_or(kept.start, |row| row.value().0);
        floor = Some(floor.map_or(committed, |floor: i64| floor.min(committed)));
    }
    Ok(floor)
}

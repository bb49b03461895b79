//! Writing to the log. A line goes to partition `stable_hash(key) mod n`, one without a key to each in turn, and carries the time at
//! which the writer took it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use redb::ReadableTable;

use super::Shared;
use super::retention::{self, Retention};
use super::tables::{Place, Tables, encode_line};
use crate::engine::id::stable_hash;
use crate::engine::time::Timestamp;
use crate::worker::ports::{Append, AppendError, Line, SendFuture};

/// Longest line, key and value: four times the largest input, so that a dead letter with its bytes in base64 fits.
pub const MAX_LINE_BYTES: usize = 4 << 20;

/// Lines that may wait for the disk before more are refused for the moment.
const MAX_WAITING_BYTES: usize = 64 << 20;

pub struct EmbeddedLog {
    shared: Arc<Shared>,
}

/// A row of the partitions table while a batch is written.
struct Grown {
    next: i64,
    first: i64,
    bytes: u64,
    /// Lines that this batch added.
    added: usize,
}

impl EmbeddedLog {
    pub fn new(shared: Arc<Shared>) -> EmbeddedLog {
        EmbeddedLog { shared }
    }
}

impl Append for EmbeddedLog {
    fn append(&self, lines: &[Line]) -> SendFuture<'static, Result<(), AppendError>> {
        if let Some(line) = lines.iter().find(|line| size(line) > MAX_LINE_BYTES) {
            let refused = format!("a line of {} bytes for {}, at most {MAX_LINE_BYTES} fit", size(line), line.topic);
            return Box::pin(std::future::ready(Err(AppendError::Refused(refused))));
        }
        let waiting = self.shared.writer.waiting_bytes();
        if waiting > MAX_WAITING_BYTES {
            let behind = format!("{waiting} bytes wait for the disk of the embedded store");
            return Box::pin(std::future::ready(Err(AppendError::Unavailable(behind))));
        }
        let (bytes, lines) = (lines.iter().map(size).sum(), lines.to_vec());
        let turn = self.shared.rotation.fetch_add(1, Ordering::Relaxed);
        let (partitions, retention, clock) = (self.shared.partitions, self.shared.retention, Arc::clone(&self.shared.clock));
        let written = self.shared.writer.call(bytes, move |tables| write(tables, &lines, partitions, turn, clock.now(), retention));
        Box::pin(async { written.await.map_err(|failure| AppendError::Unavailable(failure.to_string())) })
    }
}

/// The number and the partitions of a topic; makes it when there is none.
pub fn topic(tables: &mut Tables<'_>, name: &str, partitions: u32) -> Result<(u32, u32), redb::Error> {
    if let Some(row) = tables.topics.get(name)? {
        return Ok(row.value());
    }
    let mut number = 0;
    for row in tables.topics.iter()? {
        number = number.max(row?.1.value().0 + 1);
    }
    tables.topics.insert(name, (number, partitions))?;
    for partition in 0..partitions {
        let place = (number, signed(partition));
        tables.partitions.insert(place, (0, 0, 0))?;
        tables.ends.insert(place, 0);
    }
    Ok((number, partitions))
}

fn write(
    tables: &mut Tables<'_>,
    lines: &[Line],
    partitions: u32,
    turn: u32,
    now: Timestamp,
    retention: Retention,
) -> Result<(), redb::Error> {
    let mut topics: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let mut grown: BTreeMap<Place, Grown> = BTreeMap::new();
    for (index, line) in lines.iter().enumerate() {
        let (number, partitions) = match topics.get(&*line.topic) {
            Some(known) => *known,
            None => *topics.entry(&line.topic).or_insert(topic(tables, &line.topic, partitions)?),
        };
        let hash = line.key.as_ref().map_or((turn as usize).wrapping_add(index) as u64, |key| stable_hash(&[key]));
        let place = (number, signed((hash % u64::from(partitions)) as u32));
        let partition = match grown.entry(place) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                let (next, first, bytes) = tables.partitions.get(place)?.map_or((0, 0, 0), |row| row.value());
                new.insert(Grown { next, first, bytes, added: 0 })
            }
        };
        let row = encode_line(now, line.key.as_deref(), &line.value);
        tables.log.insert((place.0, place.1, partition.next), row.as_slice())?;
        partition.next += 1;
        partition.bytes += row.len() as u64;
        partition.added += 1;
    }
    for (place, partition) in grown {
        let Grown { next, first, bytes, added } = partition;
        let (first, bytes) = retention::trim(tables, place, first..next, bytes, retention::pace(added), now, retention)?;
        tables.partitions.insert(place, (next, first, bytes))?;
        tables.ends.insert(place, next);
    }
    Ok(())
}

fn size(line: &Line) -> usize {
    line.key.as_ref().map_or(0, Vec::len) + line.value.len()
}

/// Partition numbers are signed in the log's port; there are never so many that it matters.
fn signed(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

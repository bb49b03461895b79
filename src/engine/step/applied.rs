//! What of the log was applied to a record: marks by partition and a ring of message ids. Whoever reads a partition again, from
//! wherever, changes nothing.

use crate::engine::event::Position;
use crate::engine::id::stable_hash;
use crate::engine::record::{Mark, Record, SEEN_IDS, SeenId};
use crate::engine::time::Timestamp;

/// Marks that stay however old they are: a reader that is days behind needs the marks it is just setting.
pub(super) const KEPT_MARKS: usize = 8;

/// Marks a record has at most; the one that has not moved for longest gives way.
pub(super) const MAX_MARKS: usize = 1024;

/// Whether this input was applied before: its partition's mark lies above it neither in offset nor in time.
pub(super) fn is_applied(record: &Record, position: Position) -> bool {
    let mark = record.marks.iter().find(|mark| mark.source == position.source);
    mark.is_some_and(|mark| position.offset <= mark.offset && position.broker_time <= mark.broker_time)
}

/// Notes that an input which [`is_applied`] denies is applied now.
pub(super) fn advance(record: &mut Record, position: Position) {
    let mut mark = Mark { source: position.source, offset: position.offset, broker_time: position.broker_time };
    if let Some(place) = record.marks.iter().position(|known| known.source == position.source) {
        // A smaller offset with a later time: the log began again, and its offsets count from here.
        mark.broker_time = mark.broker_time.max(record.marks[place].broker_time);
        record.marks.remove(place);
    } else if record.marks.len() >= MAX_MARKS {
        record.marks.remove(0);
    }
    record.marks.push(mark);
}

/// Remembers a message id; false if it is among the last already.
pub(super) fn remember(record: &mut Record, message_id: &str, broker_time: Timestamp) -> bool {
    let hash = stable_hash(&[b"message", message_id.as_bytes()]).to_le_bytes();
    if record.seen.iter().any(|seen| seen.hash == hash) {
        return false;
    }
    if record.seen.len() >= SEEN_IDS {
        record.seen.remove(0);
    }
    record.seen.push(SeenId { hash, broker_time });
    true
}

/// The newest broker time the record knows of.
pub(super) fn newest(record: &Record) -> Option<Timestamp> {
    let marks = record.marks.iter().map(|mark| mark.broker_time);
    marks.chain(record.seen.iter().map(|seen| seen.broker_time)).max()
}

/// Drops marks, ids and the tombstone from before `horizon`, a broker time before which nothing is read any more. The marks
/// that moved last survive unless `all` is said: then the positions read have passed the horizon.
pub(super) fn prune(record: &mut Record, horizon: Timestamp, all: bool) {
    let safe = if all { 0 } else { KEPT_MARKS };
    let oldest = record.marks.len().saturating_sub(safe);
    let mut place = 0;
    record.marks.retain(|mark| {
        place += 1;
        place > oldest || mark.broker_time >= horizon
    });
    record.seen.retain(|seen| seen.broker_time >= horizon);
    record.tombstone = record.tombstone.filter(|deleted| *deleted >= horizon);
}

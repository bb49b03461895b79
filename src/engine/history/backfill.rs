//! Backfill: past events noted for trackers that did not see them, so that none is noted twice, whoever reads it how often.
//!
//! Two read the same log: workers, from where they stand, and a backfill, from a time long before. Of one user's events in one
//! partition each goes by offset, so a record needs two numbers to tell who noted what, and both are written with what they say:
//!
//! - [`Early`]: from this offset on workers note for a tracker, though the event lies before its `tracked_since` (it came late, or
//!   just after the definition). What a backfill meets from there on was noted, or will be.
//! - [`Backfilled`]: up to this offset a backfill has noted what lies in its span of time. A worker that is behind passes over that,
//!   and so does the backfill when it is repeated.
//!
//! A file's lines have no place in a log. For them broker times stand for offsets: what happened before workers began to note is
//! theirs to add.

use std::cell::RefCell;
use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::Trackers;
use super::note::{note_event, note_where};
use crate::engine::condition::Scope;
use crate::engine::event::Position;
use crate::engine::id::{TrackerId, stable_hash};
use crate::engine::record::{Backfilled, Early, Kept, Mark, SEEN_IDS};
use crate::engine::time::Timestamp;
use crate::engine::value::Object;

/// What one backfill notes. The same for every event of it, also when it is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// A stable hash of what it reads and for which trackers.
    pub id: u64,
    /// Events are noted that happened at or after this.
    pub from: Timestamp,
    /// For each tracker those before this, its `tracked_since` when the backfill began. In order of the ids.
    pub until: Vec<(TrackerId, Timestamp)>,
    /// It reads a file: its positions are of no log that workers read.
    pub of_file: bool,
}

/// An event as it is noted.
#[derive(Clone, Copy, Debug)]
pub struct Noted<'a> {
    pub name: &'a str,
    pub properties: &'a Object,
    pub at: Timestamp,
    /// `None`: it is not of a log, and nobody reads it again.
    pub position: Option<Position>,
}

/// Entries of `early` that a record has at most; the oldest gives way.
const MAX_EARLY: usize = 1024;

/// Backfills that a record knows of at most, over all partitions; the oldest gives way.
const MAX_BACKFILLED: usize = 64;

/// Notes what a worker reads, for all trackers that want it and did not get it by a backfill. `tracked`: `tracked_since` of each.
pub fn note_read(kept: &mut Kept, trackers: &Trackers, tracked: &BTreeMap<TrackerId, Timestamp>, event: &Noted, scope: &Scope) {
    let Noted { name, properties, at, position } = *event;
    let Some(position) = position else {
        note_event(kept, trackers, name, properties, at, scope);
        return;
    };
    let backfilled = std::mem::take(&mut kept.backfilled);
    let begun: RefCell<SmallVec<[TrackerId; 4]>> = RefCell::default();
    note_where(kept, trackers, name, properties, at, scope, &|tracker| {
        let is_noted =
            |one: &Backfilled| one.mark.source == position.source && position.offset <= one.mark.offset && covers(one, tracker, at);
        if backfilled.iter().any(is_noted) {
            return false;
        }
        if tracked.get(&tracker).is_some_and(|since| at < *since) {
            begun.borrow_mut().push(tracker);
        }
        true
    });
    for tracker in begun.into_inner() {
        begin_early(kept, tracker, position, &backfilled);
    }
    kept.backfilled = backfilled;
}

/// Notes what a backfill reads, for its trackers that want it and did not get it. Answers whether it was news.
pub fn note_again(kept: &mut Kept, trackers: &Trackers, plan: &Plan, message_id: &str, event: &Noted, scope: &Scope) -> bool {
    let Noted { name, properties, at, position } = *event;
    let Some(position) = position.filter(|_| at >= plan.from) else { return false };
    let known = kept.backfilled.iter().find(|one| one.id == plan.id && one.mark.source == position.source);
    let hash = stable_hash(&[b"message", message_id.as_bytes()]).to_le_bytes();
    if known.is_some_and(|known| position.offset <= known.mark.offset || known.seen.contains(&hash)) {
        return false;
    }
    let early = std::mem::take(&mut kept.early);
    let noted = note_where(kept, trackers, name, properties, at, scope, &|tracker| {
        let wanted = plan.until(tracker).is_some_and(|until| at < until);
        wanted && !early.iter().any(|one| one.tracker == tracker && one.reaches(position, plan.of_file))
    });
    kept.early = early;
    if noted {
        advance(kept, plan, position, hash);
    }
    noted
}

/// Forgets what nobody can read again: of backfills that are over, what lies before `horizon`, a broker time before which no worker
/// reads any more. `unfinished` says which may still be repeated.
pub fn prune_backfilled(kept: &mut Kept, unfinished: &dyn Fn(u64) -> bool, horizon: Timestamp) {
    kept.backfilled.retain(|one| one.mark.broker_time >= horizon || unfinished(one.id));
}

impl Plan {
    /// The end of a tracker's span.
    pub fn until(&self, tracker: TrackerId) -> Option<Timestamp> {
        let place = self.until.binary_search_by_key(&tracker, |(id, _)| *id).ok()?;
        self.until.get(place).map(|(_, until)| *until)
    }
}

impl Early {
    /// Whether workers note what stands there.
    fn reaches(&self, position: Position, of_file: bool) -> bool {
        if of_file { position.broker_time >= self.broker_time } else { self.source == position.source && position.offset >= self.offset }
    }
}

fn covers(one: &Backfilled, tracker: TrackerId, at: Timestamp) -> bool {
    at >= one.from && one.until.iter().any(|(id, until)| *id == tracker && at < *until)
}

/// Where a worker is the first to note for a tracker. What a backfill has noted before stays the backfill's.
fn begin_early(kept: &mut Kept, tracker: TrackerId, position: Position, backfilled: &[Backfilled]) {
    if kept.early.iter().any(|one| one.tracker == tracker && one.source == position.source) {
        return;
    }
    let of_tracker = backfilled.iter().filter(|one| one.mark.source == position.source && one.until.iter().any(|(id, _)| *id == tracker));
    let behind = of_tracker.map(|one| one.mark.offset.saturating_add(1)).max();
    if kept.early.len() >= MAX_EARLY {
        kept.early.remove(0);
    }
    let offset = behind.map_or(position.offset, |behind| behind.max(position.offset));
    kept.early.push(Early { tracker, source: position.source, offset, broker_time: position.broker_time });
}

fn advance(kept: &mut Kept, plan: &Plan, position: Position, hash: [u8; 8]) {
    let place = kept.backfilled.iter().position(|one| one.id == plan.id && one.mark.source == position.source);
    let mut one = match place {
        Some(place) => kept.backfilled.remove(place),
        None => Backfilled {
            id: plan.id,
            from: plan.from,
            until: plan.until.clone(),
            mark: Mark { source: position.source, offset: position.offset, broker_time: position.broker_time },
            seen: Vec::new(),
        },
    };
    one.mark.offset = position.offset;
    one.mark.broker_time = position.broker_time.max(one.mark.broker_time);
    if one.seen.len() >= SEEN_IDS {
        one.seen.remove(0);
    }
    one.seen.push(hash);
    if kept.backfilled.len() >= MAX_BACKFILLED {
        kept.backfilled.remove(0);
    }
    kept.backfilled.push(one);
}

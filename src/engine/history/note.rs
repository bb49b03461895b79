//! Noting what happened, and forgetting what nobody can ask for any more.

use smallvec::SmallVec;

use super::tracker::{MAX_NEWEST, Tracker, What};
use super::{Trackers, distinct, samples, totals, without};
use crate::engine::condition::{Scope, reach};
use crate::engine::definition::Window;
use crate::engine::id::{TrackerId, stable_hash};
use crate::engine::record::{Data, Distinct, Kept, Samples, Tracked, ValueHash};
use crate::engine::time::Timestamp;
use crate::engine::trigger::correlation;
use crate::engine::value::{Object, Value};

/// Instants kept beyond those that decide a rule, for what is judged as of a time before the newest: events may be read late.
pub const SPARE_NEWEST: usize = 8;

/// Instants that are remembered ahead of need.
pub const MAX_AHEAD: usize = 32;

/// What is kept for trackers takes about so many bytes at most. Above it the largest gives way, and the record says so.
pub const MAX_TRACKED_BYTES: usize = 24 * 1024;

/// Values taken from one property of one event: it may be an array.
const MAX_VALUES: usize = 64;

/// Notes an event for all trackers that want it, as of its own time, in whatever order events are read. `scope` is that of the user; a
/// value reference `{event: path}` in a tracker's conditions is the event's own property. Answers whether any wanted it. Each
/// event is to be noted once: nothing here knows it again.
pub fn note_event(kept: &mut Kept, trackers: &Trackers, event: &str, properties: &Object, at: Timestamp, scope: &Scope) -> bool {
    note_where(kept, trackers, event, properties, at, scope, &|_| true)
}

/// As [`note_event`], only for the trackers that `admits`: what is read again for those that did not see it (backfill).
pub fn note_where(
    kept: &mut Kept,
    trackers: &Trackers,
    event: &str,
    properties: &Object,
    at: Timestamp,
    scope: &Scope,
    admits: &dyn Fn(TrackerId) -> bool,
) -> bool {
    let mut wanted = false;
    let scope = Scope { event: Some(properties), now: at, ..*scope };
    trackers.each_wanting(event, properties, &scope, &mut |tracker| {
        if admits(tracker.id) {
            wanted = true;
            note_for(kept, tracker, properties, at);
        }
    });
    if wanted {
        make_room(kept, at);
    }
    wanted
}

fn note_for(kept: &mut Kept, tracker: &Tracker, properties: &Object, at: Timestamp) {
    if !tracker.what.dates().contains(at) {
        return;
    }
    let place = match kept.tracked.binary_search_by_key(&tracker.id, |tracked| tracked.tracker) {
        Ok(place) => place,
        Err(place) => {
            kept.tracked.insert(place, Tracked { tracker: tracker.id, data: nothing(&tracker.what, at) });
            place
        }
    };
    if let Some(tracked) = kept.tracked.get_mut(place) {
        add(&mut tracked.data, &tracker.what, properties, at);
    }
}

/// Where the first event finds nothing.
fn nothing(what: &What, at: Timestamp) -> Data {
    match what {
        What::Count(_) => Data::Count(0),
        What::Ends => Data::Ends { first: at, last: at },
        What::Newest { .. } => Data::Newest(Vec::new()),
        What::Totals(..) => Data::Totals(totals::NONE),
        What::Samples(..) => Data::Samples(Samples::default()),
        What::Distinct { .. } => Data::Distinct(Distinct::default()),
        What::Ahead => Data::Ahead { count: 0, first: at, newest: Vec::new() },
    }
}

fn add(data: &mut Data, what: &What, properties: &Object, at: Timestamp) {
    match (data, what) {
        (Data::Count(count), What::Count(_)) => *count = count.saturating_add(1),
        (Data::Ends { first, last }, What::Ends) => {
            *first = at.min(*first);
            *last = at.max(*last);
        }
        (Data::Newest(newest), What::Newest { n, .. }) => insert(newest, at, *n as usize + SPARE_NEWEST),
        (Data::Totals(sum), What::Totals(property, _)) => {
            numbers(properties, property).into_iter().for_each(|number| totals::add(sum, number));
        }
        (Data::Samples(kept), What::Samples(None, within)) => samples::note(kept, *within, at, 1.0),
        (Data::Samples(kept), What::Samples(Some(property), within)) => {
            numbers(properties, property).into_iter().for_each(|number| samples::note(kept, *within, at, number));
        }
        (Data::Distinct(kept), What::Distinct { property, n, .. }) => {
            hashes(properties, property).into_iter().for_each(|hash| distinct::note(kept, *n, hash, at));
        }
        (Data::Ahead { count, first, newest }, What::Ahead) => {
            *count = count.saturating_add(1);
            *first = at.min(*first);
            insert(newest, at, MAX_AHEAD);
        }
        // The id says the shape.
        _ => debug_assert!(false, "a tracker's data has another shape than the tracker"),
    }
}

/// Oldest first; one for each event, also at the same time.
fn insert(newest: &mut Vec<Timestamp>, at: Timestamp, most: usize) {
    let place = newest.partition_point(|known| *known <= at);
    newest.insert(place, at);
    if newest.len() > most {
        newest.remove(0);
    }
}

/// The numbers at a path; of an array every one.
fn numbers(properties: &Object, path: &str) -> SmallVec<[f64; 2]> {
    let mut found = SmallVec::new();
    each_value(properties, path, &mut |value| match value {
        Value::Int(number) => found.push(*number as f64),
        Value::Unsigned(number) => found.push(*number as f64),
        Value::Float(number) => found.push(*number),
        _ => {}
    });
    found
}

fn hashes(properties: &Object, path: &str) -> SmallVec<[ValueHash; 2]> {
    let mut found = SmallVec::new();
    let mut text = Vec::new();
    each_value(properties, path, &mut |value| {
        if !value.is_null() {
            text.clear();
            correlation::write(value, &mut text);
            found.push(stable_hash(&[b"distinct", &text]).to_le_bytes());
        }
    });
    found
}

fn each_value(properties: &Object, path: &str, show: &mut dyn FnMut(&Value)) {
    let mut left = MAX_VALUES;
    reach::any_at(properties, path, &mut |value| {
        let items = if let Value::List(items) = value { items.as_slice() } else { std::slice::from_ref(value) };
        for item in items.iter().take(left) {
            show(item);
            left -= 1;
        }
        left == 0
    });
}

fn make_room(kept: &mut Kept, at: Timestamp) {
    while kept.tracked.iter().map(|tracked| weight(&tracked.data)).sum::<usize>() > MAX_TRACKED_BYTES {
        let Some(largest) = (0..kept.tracked.len()).max_by_key(|place| kept.tracked.get(*place).map(|tracked| weight(&tracked.data)))
        else {
            return;
        };
        let gone = kept.tracked.remove(largest);
        let known_to = newest_of(&gone.data).map_or(at, |newest| newest.max(at));
        kept.lost = kept.lost.max(Some(known_to));
    }
}

/// About how many bytes it takes in a record.
fn weight(data: &Data) -> usize {
    const INSTANT: usize = 7;
    const NUMBER: usize = 8;
    const HEAD: usize = 12;
    HEAD + match data {
        Data::Count(_) => 3,
        Data::Ends { .. } => 2 * INSTANT,
        Data::Newest(newest) => newest.len() * INSTANT,
        Data::Totals(_) => 3 + 4 * NUMBER,
        Data::Samples(samples) => samples.recent.len() * (INSTANT + NUMBER) + samples.older.len() * (2 * INSTANT + 3 + 4 * NUMBER),
        Data::Distinct(distinct) => distinct.values.len() * (INSTANT + NUMBER),
        Data::Ahead { newest, .. } => (newest.len() + 2) * INSTANT,
    }
}

fn newest_of(data: &Data) -> Option<Timestamp> {
    match data {
        Data::Count(_) | Data::Totals(_) => None,
        Data::Ends { last, .. } => Some(*last),
        Data::Newest(newest) | Data::Ahead { newest, .. } => newest.last().copied(),
        Data::Samples(samples) => samples.recent.last().map(|sample| sample.at),
        Data::Distinct(distinct) => distinct.values.iter().map(|(_, newest)| *newest).max(),
    }
}

/// The newest instant that is known, if any is.
pub fn newest(kept: &Kept) -> Option<Timestamp> {
    let tracked = kept.tracked.iter().filter_map(|tracked| newest_of(&tracked.data));
    tracked.chain(kept.without.iter().filter_map(|list| list.at.last().copied())).max()
}

/// Whether the record must stay for what is remembered, however long nothing happens: without it all would count as never done.
pub fn must_stay(kept: &Kept) -> bool {
    !kept.tracked.is_empty() || kept.lost.is_some()
}

/// Drops what nobody can ask for any more. `horizon` is the oldest time that an event still to be read can have, so no rule is
/// judged as of a time before it. What no tracker wants is dropped where `trackers` are given: not by a worker whose definitions
/// are older than the record.
pub fn prune(kept: &mut Kept, trackers: Option<&Trackers>, horizon: Timestamp) {
    without::prune(&mut kept.without, horizon);
    let Some(trackers) = trackers else { return };
    kept.early.retain(|early| trackers.get(early.tracker).is_some());
    kept.tracked.retain_mut(|tracked| match trackers.get(tracked.tracker) {
        Some(tracker) => prune_data(&mut tracked.data, &tracker.what, horizon),
        None => false,
    });
}

/// Whether anything is left.
fn prune_data(data: &mut Data, what: &What, horizon: Timestamp) -> bool {
    match (data, what) {
        (Data::Newest(newest), What::Newest { n, within }) => {
            let over = horizon.before(*within);
            newest.retain(|at| *at > over);
            // The spare ones are for times up to the horizon.
            let settled = newest.partition_point(|at| *at <= horizon);
            newest.drain(..settled.saturating_sub(*n as usize));
            !newest.is_empty()
        }
        (Data::Samples(kept), What::Samples(_, within)) => {
            samples::prune(kept, horizon.before(*within));
            !kept.recent.is_empty() || !kept.older.is_empty()
        }
        (Data::Distinct(kept), What::Distinct { over: Window::InLast(within), .. }) => {
            distinct::prune(kept, horizon.before(*within));
            !kept.values.is_empty()
        }
        _ => true,
    }
}

/// Every rule that counts up to this needs no more than what is kept ahead.
const _: () = assert!(MAX_AHEAD <= MAX_NEWEST as usize);

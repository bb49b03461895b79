//! Numbers over a moving window: the newest are kept singly, older ones in slices of the window.
//!
//! **How exact.** While no more than [`MAX_RECENT`] numbers lie in the window, everything is. Beyond that the oldest are added up
//! in slices of 1/[`SLICES`] of the window, and a slice counts as long as its newest number does: what is measured is the window
//! lengthened by less than 1/32 at its old end. So a count or a sum is too large by at most what happened in that 1/32, and a
//! least or greatest number may be one from there. Numbers later than the instant asked for are left out as long as they are
//! among the recent.

use std::time::Duration;

use super::totals;
use crate::engine::record::{Bucket, Sample, Samples, Totals};
use crate::engine::time::{Timestamp, millis};

/// Numbers kept singly.
pub const MAX_RECENT: usize = 64;

/// Slices that a window has.
pub const SLICES: i64 = 32;

/// Slices that are kept before those beyond the window are looked for: events may be read late.
const MAX_OLDER: usize = 48;

/// Adds a number.
pub fn note(samples: &mut Samples, within: Duration, at: Timestamp, value: f64) {
    let is_older = samples.recent.first().is_some_and(|oldest| at < oldest.at);
    if is_older && !samples.older.is_empty() {
        add(&mut samples.older, within, at, value);
    } else {
        let place = samples.recent.partition_point(|known| known.at <= at);
        samples.recent.insert(place, Sample { at, value });
        if samples.recent.len() > MAX_RECENT {
            let oldest = samples.recent.remove(0);
            add(&mut samples.older, within, oldest.at, oldest.value);
        }
    }
    if samples.older.len() > MAX_OLDER {
        // What is left spans one window: as many slices, and one.
        let newest = samples.recent.last().map_or(at, |newest| newest.at);
        samples.older.retain(|bucket| bucket.newest > newest.before(within));
    }
}

fn add(older: &mut Vec<Bucket>, within: Duration, at: Timestamp, value: f64) {
    let slice = at.0.div_euclid((millis(within) / SLICES).max(1));
    let place = older.partition_point(|bucket| bucket.slice < slice);
    if older.get(place).is_none_or(|bucket| bucket.slice != slice) {
        older.insert(place, Bucket { slice, newest: at, totals: totals::NONE });
    }
    if let Some(bucket) = older.get_mut(place) {
        bucket.newest = bucket.newest.max(at);
        totals::add(&mut bucket.totals, value);
    }
}

/// All numbers of (after, until] added up.
pub fn measure(samples: &Samples, after: Timestamp, until: Timestamp) -> Totals {
    let mut sum = totals::NONE;
    samples.older.iter().filter(|bucket| bucket.newest > after).for_each(|bucket| totals::merge(&mut sum, &bucket.totals));
    samples.recent.iter().filter(|sample| after < sample.at && sample.at <= until).for_each(|sample| totals::add(&mut sum, sample.value));
    sum
}

/// Drops what lies at or before `over`, beyond every window that will be asked for.
pub fn prune(samples: &mut Samples, over: Timestamp) {
    samples.older.retain(|bucket| bucket.newest > over);
    samples.recent.retain(|sample| sample.at > over);
}

/// The times at which something may leave a window of any length, oldest first.
pub fn times(samples: &Samples) -> impl Iterator<Item = Timestamp> {
    samples.older.iter().map(|bucket| bucket.newest).chain(samples.recent.iter().map(|sample| sample.at))
}

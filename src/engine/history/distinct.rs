//! How many different values: their stable hashes, each with the newest time it was seen.
//!
//! **How exact.** A rule that asks for at most [`MAX_DISTINCT`] needs only so many values, those seen last, and is exact. One that
//! asks for more gets an estimate by adaptive sampling (Wegman; Flajolet, "On Adaptive Sampling", 1990): exact up to
//! [`MAX_SAMPLED`] values, then only hashes that end in a zero bit are kept, then in two, and each stands for 2, 4, ... values. Its
//! standard error is 1.2 / sqrt([`MAX_SAMPLED`]): 7.5 % of what was the most so far; a window that empties again keeps its step. Values seen only after the instant asked for count as well; that
//! concerns events that were read late.

use super::tracker::MAX_DISTINCT;
use crate::engine::record::{Distinct, ValueHash};
use crate::engine::time::Timestamp;

/// Values kept to estimate larger numbers.
pub const MAX_SAMPLED: usize = 256;

/// Hashes have 64 bits.
const MAX_LEVEL: u8 = 63;

/// Notes that a value was seen.
pub fn note(distinct: &mut Distinct, n: u32, value: ValueHash, at: Timestamp) {
    if !is_kept(value, distinct.level) {
        return;
    }
    match distinct.values.binary_search_by_key(&value, |(known, _)| *known) {
        Ok(place) => {
            if let Some((_, newest)) = distinct.values.get_mut(place) {
                *newest = at.max(*newest);
            }
        }
        Err(place) => distinct.values.insert(place, (value, at)),
    }
    if n <= MAX_DISTINCT {
        keep_newest(distinct, n);
    } else {
        while distinct.values.len() > MAX_SAMPLED && distinct.level < MAX_LEVEL {
            distinct.level += 1;
            let level = distinct.level;
            distinct.values.retain(|(value, _)| is_kept(*value, level));
        }
    }
}

/// What was seen last decides: the one seen longest ago is the first to leave every window.
fn keep_newest(distinct: &mut Distinct, n: u32) {
    while distinct.values.len() > n as usize {
        let stalest = (0..distinct.values.len()).min_by_key(|place| distinct.values.get(*place).map(|(_, newest)| *newest));
        stalest.map(|place| distinct.values.remove(place));
    }
}

/// How many were seen after `after`.
pub fn measure(distinct: &Distinct, after: Timestamp) -> u64 {
    let seen = distinct.values.iter().filter(|(_, newest)| *newest > after).count() as u64;
    seen.checked_shl(u32::from(distinct.level)).unwrap_or(u64::MAX)
}

/// Drops what was last seen at or before `over`.
pub fn prune(distinct: &mut Distinct, over: Timestamp) {
    distinct.values.retain(|(_, newest)| *newest > over);
}

fn is_kept(value: ValueHash, level: u8) -> bool {
    u64::from_le_bytes(value).trailing_zeros() >= u32::from(level)
}

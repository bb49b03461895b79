//! What is counted of each campaign: outcome lines (contract, section 6) folded into one tally, kept beside the records of users.
//!
//! A tally says up to which offset of each partition it holds the lines, so reading again counts nothing twice: whoever folds, and
//! however often, it comes to the same. What it cannot tell is a line that was *written* twice; of those it recognises what its
//! memory of the last [`REMEMBERED`] deliveries reaches.

mod line;
mod report;
mod seen;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::record::Arm;
use super::record::codec::{self, CodecError};
use super::time::Timestamp;

pub use line::{Line, What, day, parse_day, read, show_day};
pub use report::{Arms, BEFORE_AUDIENCE, Converting, DayTotals, Report, Totals};
pub use seen::REMEMBERED;

use seen::{Once, Seen};

/// Days that are counted apart, in UTC; older ones are in the total only.
pub const KEPT_DAYS: usize = 90;

/// Different causes of failure that are counted apart. More are counted as [`OTHER`].
pub const MAX_CAUSES: usize = 24;

/// The name of all causes beyond [`MAX_CAUSES`].
pub const OTHER: &str = "other";

/// A tally takes no more than this, in bytes; days give way first.
pub const MAX_BYTES: usize = 64 * 1024;

/// All that is counted of one campaign.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Which log the positions speak of (`kafka.generation`).
    generation: u32,
    /// Partition, and the first offset that is not counted yet.
    applied: Vec<(i32, i64)>,
    /// When it last changed, by the store's clock.
    changed: Option<Timestamp>,
    total: Counts,
    /// By UTC day, oldest first.
    days: Vec<(i32, Counts)>,
    /// Reasons and causes, which counts refer to by their place.
    names: Vec<Box<str>>,
    seen: Seen,
}

/// What a day, or all time, has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    sent: u64,
    deferred: u64,
    delivered: u64,
    failed: u64,
    /// Held back, by reason.
    held: Named,
    /// Held back after they had been sent off, by reason: counted in `sent` already.
    taken_back: Named,
    /// Final failures by cause.
    causes: Named,
    /// Conversions of those who were sent to, and of those held out.
    converted: [u64; 2],
}

/// Counts by the place of their name.
type Named = Vec<(u8, u64)>;

/// Decisions that are not written, only counted: so many of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritten<'a> {
    pub day: i32,
    pub reason: &'a str,
    pub count: u64,
}

impl Tally {
    /// Reads what [`Tally::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Tally, CodecError> {
        codec::read(bytes)
    }

    /// At most [`MAX_BYTES`]: what does not fit is left out, oldest days first.
    pub fn encode(&mut self) -> Vec<u8> {
        loop {
            let bytes = codec::write(self);
            if bytes.len() <= MAX_BYTES || self.days.is_empty() {
                return bytes;
            }
            self.days.drain(..self.days.len().div_ceil(8));
        }
    }

    /// Counts these lines, of any partitions, each partition's in their order. What is counted already is passed over.
    pub fn fold(&mut self, generation: u32, lines: &[Line]) {
        if generation > self.generation {
            (self.generation, self.applied) = (generation, Vec::new());
        }
        self.seen.expect(lines.len());
        for line in lines {
            let place = match self.applied.binary_search_by_key(&line.partition, |(partition, _)| *partition) {
                Ok(place) if line.offset < self.applied[place].1 => continue,
                Ok(place) => place,
                Err(place) => {
                    self.applied.insert(place, (line.partition, 0));
                    place
                }
            };
            self.applied[place].1 = line.offset + 1;
            self.count(line);
        }
        self.forget();
    }

    /// Counts what is not written.
    pub fn add(&mut self, unwritten: &[Unwritten<'_>]) {
        for Unwritten { day, reason, count } in unwritten {
            let name = self.name(reason);
            self.both(*day, |counts| add(&mut counts.held, name, *count));
        }
        self.forget();
    }

    /// Notes when it changed.
    pub fn touch(&mut self, now: Timestamp) {
        self.changed = Some(now);
    }

    fn count(&mut self, line: &Line) {
        match &line.what {
            What::Sent => {
                if self.seen.is_first(line.key, Once::Sent) {
                    self.both(line.day, |counts| counts.sent += 1);
                }
            }
            What::Deferred => self.both(line.day, |counts| counts.deferred += 1),
            What::Held { reason, taken_back } => {
                let name = self.name(reason);
                let list = |counts: &mut Counts| add(if *taken_back { &mut counts.taken_back } else { &mut counts.held }, name, 1);
                self.both(line.day, list);
            }
            What::Delivered => {
                if self.seen.is_first(line.key, Once::Delivered) {
                    self.both(line.day, |counts| counts.delivered += 1);
                }
            }
            What::Failed { cause } => {
                if self.seen.is_first(line.key, Once::Failed) {
                    let name = self.cause(cause);
                    self.both(line.day, |counts| {
                        counts.failed += 1;
                        add(&mut counts.causes, name, 1);
                    });
                }
            }
            What::Converted { arm } => {
                if self.seen.is_first(line.key, Once::Sent) {
                    self.both(line.day, |counts| counts.converted[usize::from(*arm == Arm::Control)] += 1);
                }
            }
        }
    }

    fn both(&mut self, day: i32, mut change: impl FnMut(&mut Counts)) {
        change(&mut self.total);
        let place = match self.days.binary_search_by_key(&day, |(day, _)| *day) {
            Ok(place) => place,
            Err(place) => {
                self.days.insert(place, (day, Counts::default()));
                place
            }
        };
        change(&mut self.days[place].1);
    }

    fn forget(&mut self) {
        self.days.drain(..self.days.len().saturating_sub(KEPT_DAYS));
    }

    fn cause(&mut self, cause: &str) -> u8 {
        let counted = |(place, _): &(u8, u64)| self.names.get(usize::from(*place)).is_some_and(|name| **name == *cause);
        let has_room = self.total.causes.len() < MAX_CAUSES;
        if has_room || self.total.causes.iter().any(counted) { self.name(cause) } else { self.name(OTHER) }
    }

    /// The place of a name. There are no more than the reasons, [`MAX_CAUSES`] and [`OTHER`].
    fn name(&mut self, name: &str) -> u8 {
        let place = self.names.iter().position(|known| **known == *name).unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        });
        u8::try_from(place).unwrap_or(u8::MAX)
    }
}

fn add(counts: &mut Named, name: u8, count: u64) {
    match counts.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known += count,
        None => counts.push((name, count)),
    }
}

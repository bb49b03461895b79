//! What is remembered, and under which name. A tracker is one kind of event with one thing kept of it; what asks for the same
//! shares it. Everything that decides what is kept is in its id, so what was kept for another question is never taken for it.

use std::fmt;
use std::time::Duration;

use super::canonical;
use crate::engine::condition::shown;
use crate::engine::definition::{Bound, Did, Measure, Path, Pattern, Window, duration_text};
use crate::engine::id::{TrackerId, stable_hash};
use crate::engine::time::{Timestamp, millis};

/// Instants that are kept singly to count over a window. A rule that asks for more is counted in slices
/// ([`super::samples`] says how exactly).
pub const MAX_NEWEST: u32 = 64;

/// Different values that are kept exactly. A rule that asks for more gets an estimate ([`super::distinct`] says how good).
pub const MAX_DISTINCT: u32 = 128;

/// One thing that is remembered of every user.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracker {
    pub id: TrackerId,
    pub pattern: Pattern,
    pub what: What,
}

/// What is kept of the events.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// How often, ever or between two dates.
    Count(Dates),
    /// The first and the last time.
    Ends,
    /// The newest `n` times within a span: they decide whether it was at least `n` times.
    Newest { n: u32, within: Duration },
    /// A property's sum, least and greatest, ever or between two dates.
    Totals(Path, Dates),
    /// A property's numbers within a span; `None`: only how many events.
    Samples(Option<Path>, Duration),
    /// Whether a property had at least `n` different values.
    Distinct { property: Path, n: u32, over: Window },
    /// `workspace.track`: what later questions may need.
    Ahead,
}

/// A past that does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dates {
    Ever,
    /// Both included.
    Between(Timestamp, Timestamp),
}

impl Tracker {
    pub fn new(pattern: &Pattern, what: What) -> Tracker {
        let id = TrackerId(stable_hash(&[b"tracker", &key(pattern, &what)]));
        Tracker { id, pattern: pattern.clone(), what }
    }
}

/// What it remembers, for people.
impl fmt::Display for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pattern.event)?;
        let condition = shown(&self.pattern.condition);
        if !condition.is_empty() {
            write!(f, " where {condition}")?;
        }
        let within = |window: Window| match window {
            Window::Ever => "ever".to_owned(),
            Window::InLast(span) => format!("in the last {}", duration_text::format(span)),
            Window::Between(from, until) => format!("between {from} and {until}"),
        };
        match &self.what {
            What::Count(dates) => write!(f, ": how often, {}", within((*dates).into())),
            What::Ends => f.write_str(": the first and the last time"),
            What::Newest { n: 1, within } => write!(f, ": whether in the last {}", duration_text::format(*within)),
            What::Newest { n, within } => write!(f, ": how often up to {n}, in the last {}", duration_text::format(*within)),
            What::Totals(property, dates) => write!(f, ": totals of {property}, {}", within((*dates).into())),
            What::Samples(None, span) => write!(f, ": how often, in the last {}", duration_text::format(*span)),
            What::Samples(Some(property), span) => write!(f, ": numbers of {property}, in the last {}", duration_text::format(*span)),
            What::Distinct { property, over, .. } => write!(f, ": different values of {property}, {}", within(*over)),
            What::Ahead => f.write_str(": ahead of need"),
        }
    }
}

/// What must be kept to measure this.
pub fn needed(did: &Did) -> What {
    let property = match &did.measure {
        Measure::Count(bounds) => return counted(limit(bounds), did.window),
        Measure::First(_) => return What::Ends,
        Measure::Last(Window::InLast(within)) => return What::Newest { n: 1, within: *within },
        Measure::Last(Window::Ever | Window::Between(..)) => return What::Ends,
        Measure::Distinct(property, bounds) => {
            let n = class(limit(bounds), MAX_DISTINCT);
            return What::Distinct { property: property.clone(), n, over: did.window };
        }
        Measure::Sum(property, _) | Measure::Avg(property, _) | Measure::Min(property, _) | Measure::Max(property, _) => property.clone(),
    };
    match did.window {
        Window::Ever => What::Totals(property, Dates::Ever),
        Window::Between(from, until) => What::Totals(property, Dates::Between(from, until)),
        Window::InLast(within) => What::Samples(Some(property), within),
    }
}

fn counted(n: u64, window: Window) -> What {
    match window {
        Window::Ever => What::Count(Dates::Ever),
        Window::Between(from, until) => What::Count(Dates::Between(from, until)),
        Window::InLast(within) if n <= u64::from(MAX_NEWEST) => What::Newest { n: class(n, MAX_NEWEST), within },
        Window::InLast(within) => What::Samples(None, within),
    }
}

/// The number from which on more makes no difference to any of the bounds.
fn limit(bounds: &[Bound]) -> u64 {
    let one = |bound: &Bound| match *bound {
        Bound::Gte(number) | Bound::Lt(number) => number.ceil(),
        Bound::Eq(number) | Bound::Ne(number) | Bound::Gt(number) | Bound::Lte(number) => number.floor() + 1.0,
        Bound::Between(low, high) => low.ceil().max(high.floor() + 1.0),
    };
    // A conversion from a float saturates.
    bounds.iter().map(|bound| one(bound) as u64).max().unwrap_or(1).max(1)
}

/// In steps of powers of two, so that a threshold can be edited a little and what is kept still serves. One above `most` for all
/// that is beyond it.
fn class(n: u64, most: u32) -> u32 {
    u32::try_from(n).ok().filter(|n| *n <= most).map_or(most + 1, u32::next_power_of_two)
}

/// The text that the id is the hash of. The numbers are part of the stored ids: new kinds take new ones.
pub fn key(pattern: &Pattern, what: &What) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    match what {
        What::Count(dates) => {
            out.push(0);
            write_dates(*dates, &mut out);
        }
        What::Ends => out.push(1),
        What::Newest { n, within } => {
            out.push(2);
            out.extend(n.to_le_bytes());
            write_window(Window::InLast(*within), &mut out);
        }
        What::Totals(property, dates) => {
            out.push(3);
            canonical::text(property, &mut out);
            write_dates(*dates, &mut out);
        }
        What::Samples(property, within) => {
            out.extend([4, u8::from(property.is_some())]);
            canonical::text(property.as_deref().unwrap_or(""), &mut out);
            write_window(Window::InLast(*within), &mut out);
        }
        What::Distinct { property, n, over } => {
            out.push(5);
            canonical::text(property, &mut out);
            out.extend(n.to_le_bytes());
            write_window(*over, &mut out);
        }
        What::Ahead => out.push(6),
    }
    canonical::text(&pattern.event, &mut out);
    canonical::condition(&pattern.condition, &mut out);
    out
}

fn write_dates(dates: Dates, out: &mut Vec<u8>) {
    write_window(dates.into(), out);
}

fn write_window(window: Window, out: &mut Vec<u8>) {
    match window {
        Window::Ever => out.push(0),
        Window::InLast(span) => {
            out.push(1);
            out.extend(millis(span).to_le_bytes());
        }
        Window::Between(from, until) => {
            out.push(2);
            out.extend(from.0.to_le_bytes());
            out.extend(until.0.to_le_bytes());
        }
    }
}

impl What {
    /// Which events concern it at all.
    pub fn dates(&self) -> Dates {
        match self {
            What::Count(dates) | What::Totals(_, dates) => *dates,
            What::Distinct { over: Window::Between(from, until), .. } => Dates::Between(*from, *until),
            What::Distinct { .. } | What::Ends | What::Newest { .. } | What::Samples(..) | What::Ahead => Dates::Ever,
        }
    }
}

impl Dates {
    pub fn contains(self, at: Timestamp) -> bool {
        match self {
            Dates::Ever => true,
            Dates::Between(from, until) => from <= at && at <= until,
        }
    }
}

impl From<Dates> for Window {
    fn from(dates: Dates) -> Window {
        match dates {
            Dates::Ever => Window::Ever,
            Dates::Between(from, until) => Window::Between(from, until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::condition::notation::condition;

    #[test]
    fn what_is_remembered_is_told() {
        let check = |what: What, expect: &str| {
            let pattern = Pattern { event: "purchase".into(), condition: condition(r#"{"amount": {"gte": 5}}"#) };
            assert_eq!(Tracker::new(&pattern, what).to_string(), format!("purchase where amount gte 5{expect}"));
        };
        let week = Duration::from_secs(7 * 86_400);
        check(What::Count(Dates::Ever), ": how often, ever");
        check(What::Ends, ": the first and the last time");
        check(What::Newest { n: 1, within: week }, ": whether in the last 7d");
        check(What::Newest { n: 4, within: week }, ": how often up to 4, in the last 7d");
        let between = Dates::Between(Timestamp(0), Timestamp(1));
        check(What::Totals("amount".into(), between), ": totals of amount, between 1970-01-01T00:00:00.000Z and 1970-01-01T00:00:00.001Z");
        check(What::Samples(Some("amount".into()), week), ": numbers of amount, in the last 7d");
        check(What::Distinct { property: "sku".into(), n: 4, over: Window::Ever }, ": different values of sku, ever");
        check(What::Ahead, ": ahead of need");
    }
}

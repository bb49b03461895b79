//! Dates in properties and traits, and when a trigger on one falls due.

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};

use super::{TimeOfDay, Zone};
use crate::engine::time::Timestamp;
use crate::engine::value::Value;

/// Unix numbers below this are seconds (until the year 5138), from it on milliseconds (since March 1973); so are their negatives.
pub const FIRST_MILLISECONDS: i64 = 100_000_000_000;

/// A date as it was written. Only the first kind means the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateValue {
    /// ISO 8601 with an offset, or Unix time.
    Instant(Timestamp),
    /// ISO 8601 without an offset: what a clock reads.
    Local(DateTime),
    /// A day.
    Day(Date),
}

impl DateValue {
    /// Reads ISO 8601: a date-time with or without an offset, or a date.
    pub fn parse(text: &str) -> Option<DateValue> {
        if let Some(instant) = Timestamp::parse(text) {
            return Some(DateValue::Instant(instant));
        }
        let time = text.find(['T', 't', ' ']).map(|at| &text[at..]);
        // The parser of local times passes over an offset and the name of a zone. Those that the parser of instants did not take
        // must not get lost here.
        if text.contains('[') || time.is_some_and(|time| time.contains(['+', '-', 'Z', 'z'])) {
            return None;
        }
        match time {
            Some(_) => text.parse().ok().map(DateValue::Local),
            None => text.parse().ok().map(DateValue::Day),
        }
    }

    /// The instant in a zone; of a day its start.
    pub fn instant(&self, zone: &Zone) -> Timestamp {
        match self {
            DateValue::Instant(at) => *at,
            DateValue::Local(_) | DateValue::Day(_) => zone.instant(self.local(zone)),
        }
    }

    /// What a clock in the zone reads; of a day midnight, also where the clock skips it.
    pub fn local(&self, zone: &Zone) -> DateTime {
        match self {
            DateValue::Instant(at) => zone.local(*at),
            DateValue::Local(local) => *local,
            DateValue::Day(day) => day.to_datetime(jiff::civil::Time::midnight()),
        }
    }
}

/// The date that a property or trait stands for: ISO 8601 in text, Unix seconds or milliseconds as a number (see
/// [`FIRST_MILLISECONDS`]). `None` for everything else, also for digits in quotes.
pub fn read_date(value: &Value) -> Option<DateValue> {
    let at = match value {
        Value::Text(text) => return DateValue::parse(text),
        Value::Int(number) if number.unsigned_abs() < FIRST_MILLISECONDS.unsigned_abs() => number * 1000,
        Value::Int(number) => *number,
        Value::Float(number) if number.abs() < FIRST_MILLISECONDS as f64 => (number * 1000.0).round() as i64,
        Value::Float(number) => *number as i64,
        _ => return None,
    };
    Some(DateValue::Instant(Timestamp(at)))
}

/// When a trigger on a date falls due. Without `at`, `offset_ms` is elapsed time. With it, the calendar day of date + offset at
/// that time: there a day of offset is a day of the calendar, also when the clock changes and it has 23 or 25 hours.
pub fn due(value: &DateValue, offset_ms: i64, at: Option<TimeOfDay>, zone: &Zone) -> Timestamp {
    match at {
        None => Timestamp(value.instant(zone).0.saturating_add(offset_ms)),
        Some(at) => zone.instant(at.on(value.local(zone).saturating_add(SignedDuration::from_millis(offset_ms)).date())),
    }
}

/// A yearly occurrence: the year names it, so that a user gets each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Yearly {
    /// The year of the date itself; `due` may lie in another one (a day before the 1st of January).
    pub year: i16,
    pub due: Timestamp,
}

/// The first yearly occurrence of a date that falls due at `from` or later. The 29th of February falls on the 28th in common
/// years. The date itself is the first of them. `None` beyond the year 9999.
pub fn next_yearly(value: &DateValue, offset_ms: i64, at: Option<TimeOfDay>, zone: &Zone, from: Timestamp) -> Option<Yearly> {
    let date = value.local(zone);
    // By the offset alone the occurrence of this year lies about `from`; `at` and clock changes move it by days, not by a year.
    let about = zone.local(Timestamp(from.0.saturating_sub(offset_ms))).year();
    let first = date.year().max(about.saturating_sub(1));
    (first..=first.saturating_add(3)).find_map(|year| {
        let this_year = DateValue::Local(in_year(date, year)?);
        let due = due(&this_year, offset_ms, at, zone);
        (due >= from).then_some(Yearly { year, due })
    })
}

fn in_year(date: DateTime, year: i16) -> Option<DateTime> {
    let month = Date::new(year, date.month(), 1).ok()?;
    let day = date.day().min(month.days_in_month());
    Some(Date::new(year, date.month(), day).ok()?.to_datetime(date.time()))
}

//! Instants in properties and traits (contract, section 3): ISO 8601 with or without an offset, a date, or Unix time.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::engine::time::Timestamp;
use crate::engine::value::Value;

/// Unix numbers below this are seconds (until the year 5138), from it on milliseconds (since March 1973).
pub const FIRST_MILLISECONDS: i64 = 100_000_000_000;

/// The instant a value stands for. Text with an offset is absolute; a local date-time is read in the zone, a date is its
/// midnight there (where a clock change skips it, the first instant after). `None` for everything else, also for digits in quotes.
pub fn of(value: &Value, zone: &str) -> Option<Timestamp> {
    match value {
        Value::Int(number) if number.unsigned_abs() < FIRST_MILLISECONDS.unsigned_abs() => Some(Timestamp(number * 1000)),
        Value::Int(number) => Some(Timestamp(*number)),
        Value::Float(number) if number.abs() < FIRST_MILLISECONDS as f64 => Some(Timestamp((number * 1000.0).round() as i64)),
        Value::Float(number) => Some(Timestamp(*number as i64)),
        Value::Text(text) => Timestamp::parse(text).or_else(|| local(text, zone)),
        _ => None,
    }
}

/// A date-time or a date without an offset. The name of a zone in brackets is not ISO 8601 and would be passed over.
fn local(text: &str, zone: &str) -> Option<Timestamp> {
    // The parser of civil times passes an offset over; one that the parser of instants did not take must not get lost here.
    let time = text.find(['T', 't', ' ']).map_or("", |at| &text[at..]);
    if text.contains('[') || time.contains(['+', '-', 'Z', 'z']) {
        return None;
    }
    let civil: DateTime = text.parse().ok()?;
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    civil.to_zoned(zone).ok().map(|zoned| Timestamp(zoned.timestamp().as_millisecond()))
}

//! Instants in properties and traits, for the operators that compare with time.

use crate::engine::calendar::{DateValue, Zone, read_date};
use crate::engine::time::Timestamp;
use crate::engine::value::Value;

/// The instant a value stands for. Text with an offset and numbers are absolute; a local date-time is read in the zone, a date is
/// its midnight there (where a clock change skips it, the first instant after). `None` for what is no date.
pub fn of(value: &Value, zone: &str) -> Option<Timestamp> {
    match read_date(value)? {
        DateValue::Instant(at) => Some(at),
        local => Some(local.instant(&Zone::find(zone).unwrap_or(Zone::UTC))),
    }
}

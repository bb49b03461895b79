//! Filters of time: instants formatted, and shown as a zone's clock shows them.

use jiff::Zoned;
use jiff::civil;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::{Offset, TimeZone};
use liquid_core::error::Result;
use liquid_core::model::ValueCow;
use liquid_core::{Error, Runtime, Value, ValueView};

use super::runtime::Meter;
use crate::engine::calendar::{DateValue, Zone, read_date};
use crate::engine::definition::problem::nearest;
use crate::engine::time::Timestamp;
use crate::engine::value::Value as Number;

/// Formats a time (ISO 8601 text, Unix seconds or milliseconds, `now`) as `strftime` does, in the offset it was written with, else
/// UTC. `now` is the time of decision. What is empty stays as it is; what is no time is an error.
pub fn date(input: &dyn ValueView, arguments: &[ValueCow<'_>], runtime: &dyn Runtime) -> Result<Value> {
    if is_empty(input) {
        return Ok(input.to_value());
    }
    let at = Time::of(input, now(runtime))?.at;
    formatted(&at, &arguments[0].to_kstr()).map(Value::scalar).map_err(Error::with_msg)
}

/// A time as the clock of a zone shows it (`user.timezone`, `'Asia/Seoul'`), with its offset, for `date` to format. Without a zone,
/// or where it is empty, it stays as it is; what is no time is an error. A day has no zone: it stays that day, from its midnight on.
pub fn time_zone(input: &dyn ValueView, arguments: &[ValueCow<'_>], runtime: &dyn Runtime) -> Result<Value> {
    if is_empty(input) {
        return Ok(input.to_value());
    }
    let time = Time::of(input, now(runtime))?;
    let name = arguments[0].to_kstr();
    if name.is_empty() {
        return Ok(input.to_value());
    }
    let zone = Zone::find(name.as_str()).ok_or_else(|| Error::with_msg(format!("there is no time zone `{name}`")))?;
    let at = match time.is_day {
        true => zone.instant(time.at.date().to_datetime(civil::Time::midnight())),
        false => Timestamp(time.at.timestamp().as_millisecond()),
    };
    let local = zone.local(at);
    let ahead_ms = local.to_zoned(TimeZone::UTC).map_or(0, |read| read.timestamp().as_millisecond().saturating_sub(at.0));
    let offset = i32::try_from(ahead_ms / 1000).ok().and_then(|seconds| Offset::from_seconds(seconds).ok()).unwrap_or(Offset::UTC);
    Ok(Value::scalar(Pieces::from(local).with_offset(offset).to_string()))
}

/// A format that no time can be written in.
pub fn refuse_format(_argument: usize, format: &dyn ValueView) -> Option<String> {
    formatted(&jiff::Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC), &format.to_kstr()).err()
}

pub fn refuse_zone(_argument: usize, name: &dyn ValueView) -> Option<String> {
    let name = name.to_kstr();
    if name.is_empty() || Zone::find(&name).is_some() {
        return None;
    }
    let known: Vec<Zone> = Zone::all().collect();
    let near = nearest(&name, known.iter().map(Zone::name)).map(|near| format!("; did you mean `{near}`?"));
    Some(format!("there is no time zone `{name}`{}", near.unwrap_or_default()))
}

/// What a time was written as.
struct Time {
    /// In the offset it was written with, else in UTC.
    at: Zoned,
    /// Neither time of day nor offset was written.
    is_day: bool,
}

impl Time {
    fn of(input: &dyn ValueView, now: Timestamp) -> Result<Time> {
        let is_text = input.type_name() == "string";
        let read = if is_text { Time::of_text(input.to_kstr().trim(), now) } else { Time::of_number(input) };
        read.ok_or_else(|| Error::with_msg(format!("expected a time, found {}", if is_text { "other text" } else { input.type_name() })))
    }

    fn of_number(input: &dyn ValueView) -> Option<Time> {
        let scalar = input.as_scalar()?;
        let value = match (scalar.to_integer(), scalar.to_float()) {
            (Some(whole), _) => Number::Int(whole),
            (None, fraction) => Number::Float(fraction?),
        };
        match read_date(&value)? {
            DateValue::Instant(at) => Time::instant(at),
            DateValue::Local(_) | DateValue::Day(_) => None,
        }
    }

    fn of_text(text: &str, now: Timestamp) -> Option<Time> {
        if text.eq_ignore_ascii_case("now") || text.eq_ignore_ascii_case("today") {
            return Time::instant(now);
        }
        let pieces = Pieces::parse(text).ok()?;
        let offset = pieces.to_numeric_offset();
        let is_day = pieces.time().is_none() && offset.is_none();
        let local = pieces.date().to_datetime(pieces.time().unwrap_or_default());
        let at = local.to_zoned(TimeZone::fixed(offset.unwrap_or(Offset::UTC))).ok()?;
        Some(Time { at, is_day })
    }

    fn instant(at: Timestamp) -> Option<Time> {
        let at = jiff::Timestamp::from_millisecond(at.0).ok()?.to_zoned(TimeZone::UTC);
        Some(Time { at, is_day: false })
    }
}

fn now(runtime: &dyn Runtime) -> Timestamp {
    runtime.registers().get_mut::<Meter>().now
}

/// As what is missing, which no filter of time is asked for.
fn is_empty(input: &dyn ValueView) -> bool {
    input.is_state() || (input.type_name() == "string" && input.to_kstr().trim().is_empty())
}

/// Padding such as %200d is bounded by the crate (a width has one byte); the format itself by the work.
fn formatted(at: &Zoned, format: &str) -> std::result::Result<String, String> {
    let known = with_milliseconds(format);
    BrokenDownTime::from(at).to_string(&known).map_err(|error| format!("date format `{format}`: {error}"))
}

/// `%L`, Ruby's milliseconds, as the crate writes them.
fn with_milliseconds(format: &str) -> String {
    let mut known = String::with_capacity(format.len());
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        known.push(character);
        if character == '%' {
            match characters.next() {
                Some('L') => known.push_str("3f"),
                directive => known.extend(directive),
            }
        }
    }
    known
}

//! Filters of time: instants formatted, and shown as a zone's clock shows them.

use jiff::Zoned;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::{Offset, TimeZone};
use liquid_core::error::Result;
use liquid_core::model::ValueCow;
use liquid_core::{Error, Runtime, Value, ValueView};

use super::runtime::Meter;
use crate::engine::calendar::Zone;
use crate::engine::time::Timestamp;

/// Formats an instant (ISO 8601 text, Unix seconds or milliseconds, `now`) as `strftime` does, in the offset it was written
/// with, else UTC. `now` is the time of decision. What is no instant stays as it is, as in Liquid.
pub fn date(input: &dyn ValueView, arguments: &[ValueCow<'_>], runtime: &dyn Runtime) -> Result<Value> {
    let now = runtime.registers().get_mut::<Meter>().now;
    let Some(at) = instant(input, now.0) else {
        return Ok(input.to_value());
    };
    let format = arguments[0].to_kstr();
    // Padding such as %200d is bounded by the crate (a width has one byte); the format itself by the work.
    let text = BrokenDownTime::from(&at)
        .to_string(format.as_str())
        .map_err(|error| Error::with_msg(format!("date format `{format}`: {error}")))?;
    Ok(Value::scalar(text))
}

/// An instant as the clock of a zone shows it (`user.timezone`, `'Asia/Seoul'`), with its offset, for `date` to format. Without a zone,
/// or of what is no instant, it stays as it is.
pub fn time_zone(input: &dyn ValueView, arguments: &[ValueCow<'_>], runtime: &dyn Runtime) -> Result<Value> {
    let now = runtime.registers().get_mut::<Meter>().now;
    let name = arguments[0].to_kstr();
    let Some(at) = instant(input, now.0).filter(|_| !name.is_empty()) else {
        return Ok(input.to_value());
    };
    let zone = Zone::find(name.as_str()).ok_or_else(|| Error::with_msg(format!("there is no time zone `{name}`")))?;
    let ms = at.timestamp().as_millisecond();
    let local = zone.local(Timestamp(ms));
    let ahead_ms = local.to_zoned(TimeZone::UTC).map_or(0, |read| read.timestamp().as_millisecond().saturating_sub(ms));
    let offset = i32::try_from(ahead_ms / 1000).ok().and_then(|seconds| Offset::from_seconds(seconds).ok()).unwrap_or(Offset::UTC);
    Ok(Value::scalar(Pieces::from(local).with_offset(offset).to_string()))
}

/// Numbers above this are milliseconds (as seconds they lie beyond the year 5000).
const LARGEST_SECONDS: u64 = 100_000_000_000;

fn instant(input: &dyn ValueView, now_ms: i64) -> Option<Zoned> {
    let utc = |ms: i64| Some(jiff::Timestamp::from_millisecond(ms).ok()?.to_zoned(TimeZone::UTC));
    if input.type_name() != "string" {
        let number = input.as_scalar()?.to_integer()?;
        return utc(if number.unsigned_abs() > LARGEST_SECONDS { number } else { number.checked_mul(1000)? });
    }
    let text = input.to_kstr();
    let text = text.trim();
    if text.eq_ignore_ascii_case("now") || text.eq_ignore_ascii_case("today") {
        return utc(now_ms);
    }
    let pieces = Pieces::parse(text).ok()?;
    let offset = pieces.to_numeric_offset().unwrap_or(Offset::UTC);
    pieces.date().to_datetime(pieces.time().unwrap_or_default()).to_zoned(TimeZone::fixed(offset)).ok()
}

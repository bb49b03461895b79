//! Durations in the contract's notation: `30s 15m 12h 7d 2w 1mo` (1d = 24 h, 1mo = 30 days).

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

const UNITS: [(&str, u64); 7] =
    [("mo", 30 * 86_400_000), ("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads `30s`; `None` for anything else, also for a number without a unit.
pub fn parse(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let millis = UNITS.iter().find(|(name, _)| *name == unit)?.1;
    number.parse::<u64>().ok()?.checked_mul(millis).map(Duration::from_millis)
}

/// The shortest exact notation.
pub fn format(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let (unit, size) = UNITS
        .iter()
        .filter(|(unit, _)| *unit != "mo" && *unit != "w")
        .find(|(_, size)| millis >= *size && millis % size == 0)
        .copied()
        .unwrap_or(("s", 1000));
    format!("{}{unit}", millis / size)
}

pub fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*span))
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| serde::de::Error::custom(format_args!("`{text}` is not a duration such as 30m or 7d")))
}

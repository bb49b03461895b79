//! Reads of an outcome line what is counted. Nothing is copied but the cause of a failure: two lines come with every delivery.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::OTHER;
use crate::engine::effect::Reason;
use crate::engine::id::stable_hash;
use crate::engine::record::Arm;
use crate::engine::time::Timestamp;

/// What is counted of one line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub partition: i32,
    pub offset: i64,
    /// The UTC day of its `at`, counted from 1970-01-01.
    pub day: i32,
    /// Of the delivery, or of the conversion.
    pub key: u64,
    pub what: What,
}

/// The lines that are counted.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Sent,
    Deferred,
    /// `taken_back`: it had been sent off before, and is counted as sent.
    Held {
        reason: &'static str,
        taken_back: bool,
    },
    Delivered,
    Failed {
        cause: Box<str>,
    },
    Converted {
        arm: Arm,
    },
}

const DAY_MS: i64 = 86_400_000;

/// The form of the lines that are read.
const VERSION: u32 = 1;

#[derive(Deserialize)]
struct Fields<'a> {
    v: u32,
    r#type: &'a str,
    at: &'a str,
    campaign: &'a str,
    #[serde(borrow)]
    user_id: &'a RawValue,
    outcome: Option<&'a str>,
    reason: Option<&'a str>,
    arm: Option<&'a str>,
    delivery_id: Option<&'a str>,
    result: Option<&'a str>,
    #[serde(borrow)]
    cause: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event_id: Option<&'a RawValue>,
    sent_at: Option<&'a str>,
}

/// The campaign and what is counted of it; `Ok(None)` for a line of which nothing is.
///
/// # Errors
/// Why it is no line of this form.
pub fn read(partition: i32, offset: i64, bytes: &[u8]) -> Result<Option<(&str, Line)>, String> {
    let fields: Fields<'_> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if fields.v > VERSION {
        return Err(format!("form {} is newer than this version reads ({VERSION})", fields.v));
    }
    let at = Timestamp::parse(fields.at).ok_or_else(|| format!("`{}` is no time", fields.at))?;
    let mut key = fields.delivery_id.map_or(0, delivery_key);
    let what = match (fields.r#type, fields.outcome, fields.result) {
        ("decision", Some("sent"), _) => What::Sent,
        ("decision", Some("deferred"), _) => What::Deferred,
        ("decision", Some("suppressed"), _) => {
            What::Held { reason: known(fields.reason.unwrap_or_default()), taken_back: fields.delivery_id.is_some() }
        }
        ("attempt", _, Some("delivered")) => What::Delivered,
        ("attempt", _, Some("failed")) => What::Failed { cause: fields.cause.as_deref().unwrap_or(OTHER).into() },
        ("conversion", ..) => {
            let sent_at = fields.sent_at.unwrap_or_default();
            let event = fields.event_id.map_or("", RawValue::get);
            key = stable_hash(&[b"conversion", fields.user_id.get().as_bytes(), event.as_bytes(), sent_at.as_bytes()]);
            What::Converted { arm: if fields.arm == Some("control") { Arm::Control } else { Arm::Treatment } }
        }
        _ => return Ok(None),
    };
    Ok(Some((fields.campaign, Line { partition, offset, day: day(at), key, what })))
}

/// The UTC day of an instant.
pub fn day(at: Timestamp) -> i32 {
    i32::try_from(at.0.div_euclid(DAY_MS)).unwrap_or(i32::MAX)
}

/// A day as `2026-11-21`.
pub fn show_day(day: i32) -> String {
    Timestamp(i64::from(day).saturating_mul(DAY_MS)).to_string().chars().take(10).collect()
}

/// Reads `2026-11-21`.
pub fn parse_day(text: &str) -> Option<i32> {
    (text.len() == 10).then(|| Timestamp::parse(&format!("{text}T00:00:00Z")).map(day)).flatten()
}

/// An id is a keyed hash already: its first digits do.
fn delivery_key(id: &str) -> u64 {
    let digits = id.strip_prefix("msg_").and_then(|digits| digits.get(..16));
    digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_else(|| stable_hash(&[id.as_bytes()]))
}

fn known(reason: &str) -> &'static str {
    Reason::ALL.iter().map(|known| known.as_str()).find(|known| *known == reason).unwrap_or(OTHER)
}

//! Whether an event can be read, asked before it is written: what is refused here would only be dead-lettered later.

use std::time::Duration;

use serde_json::{Map, Value};

use super::MAX_EVENT_BYTES;
use crate::engine::id::MAX_ID_BYTES;
use crate::engine::time::Timestamp;

/// Nesting of arrays and objects (contract, section 4).
const MAX_DEPTH: usize = 64;
/// The types that belong to nobody here (contract, section 4): written, counted, ignored.
const IGNORED: [&str; 2] = ["alias", "group"];

/// An event that can be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Checked {
    /// The key of its line; `None` for a type that is ignored.
    pub user: Option<String>,
}

/// Why it cannot be.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// A code of contract section 4.
    pub reason: &'static str,
    pub error: String,
}

/// Judges the bytes of one event that arrived at `now`.
pub fn check(bytes: &[u8], now: Timestamp, max_lateness: Duration) -> Result<Checked, Refused> {
    if bytes.len() > MAX_EVENT_BYTES {
        return refused("too_large", format!("the event has {} bytes, more than {MAX_EVENT_BYTES}", bytes.len()));
    }
    if depth(bytes) > MAX_DEPTH {
        return refused("too_deep", format!("the event is nested more than {MAX_DEPTH} deep"));
    }
    let event: Map<String, Value> = match serde_json::from_slice(bytes) {
        Ok(event) => event,
        Err(error) => return refused("not_json", error.to_string()),
    };
    let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
    if IGNORED.contains(&kind) {
        return Ok(Checked { user: None });
    }
    let Some(user) = ["userId", "anonymousId"].into_iter().find_map(|name| id(&event, name)) else {
        return refused("no_user", "neither `userId` nor `anonymousId` is given");
    };
    bounded("no_user", "the user id", &user)?;
    match kind {
        "track" => named(&event)?,
        "identify" | "page" | "screen" | "delete" | "send" => {}
        other => return refused("unsupported_type", format!("`{other}` is not a type of event")),
    }
    timely(&event, now, max_lateness)?;
    Ok(Checked { user: Some(user) })
}

fn named(event: &Map<String, Value>) -> Result<(), Refused> {
    let name = event.get("event").and_then(Value::as_str).unwrap_or_default();
    match name {
        "" => refused("no_event", "`event`, the name of what happened, is missing"),
        name if name.starts_with('$') => refused("reserved_name", format!("`{name}`: names that begin with `$` are reserved")),
        name => bounded("no_event", "the event's name", name),
    }
}

fn timely(event: &Map<String, Value>, now: Timestamp, max_lateness: Duration) -> Result<(), Refused> {
    match event.get("timestamp") {
        None | Some(Value::Null) => Ok(()),
        Some(value) => match value.as_str().and_then(Timestamp::parse) {
            Some(at) if now.since(at) > max_lateness => {
                refused("too_late", format!("{at} is longer ago than {} s", max_lateness.as_secs()))
            }
            Some(_) => Ok(()),
            None => refused("bad_timestamp", format!("{value} is not an ISO 8601 instant such as 2026-11-20T10:00:00Z")),
        },
    }
}

fn bounded(reason: &'static str, what: &str, text: &str) -> Result<(), Refused> {
    match text.len() {
        0..=MAX_ID_BYTES => Ok(()),
        bytes => refused(reason, format!("{what} has {bytes} bytes, more than {MAX_ID_BYTES}")),
    }
}

fn id(event: &Map<String, Value>, name: &str) -> Option<String> {
    match event.get(name)? {
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// How deep brackets and braces are nested, outside of texts.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn refused<T>(reason: &'static str, error: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { reason, error: error.into() })
}

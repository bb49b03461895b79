//! Whether an event can be read, asked before it is written: what is refused here would only be dead-lettered later.

use std::time::Duration;

use crate::engine::event::{Body, SourceId};
use crate::engine::reading::{self, Kind, Limits, Place, Unreadable};
use crate::engine::time::Timestamp;

/// An event that can be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Checked {
    /// The key of its line; `None` for a type that is ignored.
    pub user: Option<String>,
    /// It has the user forgotten.
    pub deletes: bool,
}

/// Judges the bytes of one event that arrived at `now`, as the worker will.
///
/// # Errors
/// A code of contract section 4, with what is wrong.
pub fn check(bytes: &[u8], now: Timestamp, max_lateness: Duration) -> Result<Checked, Unreadable> {
    let header = reading::header(bytes)?;
    if header.kind() == Kind::Ignored {
        return Ok(Checked { user: None, deletes: false });
    }
    // Where it will stand in the log is not known yet, and nothing that is refused depends on it.
    let place = Place { source: SourceId(0), topic: "", partition: 0, generation: 0, offset: 0, broker_time: now };
    let event = header.into_event(&place, &Limits { max_lateness })?;
    Ok(Checked { user: Some(event.user.to_string()), deletes: matches!(event.body, Body::Delete) })
}

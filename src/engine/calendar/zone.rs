//! A time zone of the IANA database, bundled with the program: between instants and what its clock reads.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use crate::engine::time::Timestamp;

/// A zone by its IANA name (`Asia/Seoul`, `UTC`). Cheap to clone. A fixed offset is none: it says nothing about clock changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    pub const UTC: Zone = Zone(TimeZone::UTC);

    /// Looks a name up, in any case. The database caches what it has read, so this is cheap enough to do per decision.
    pub fn find(name: &str) -> Option<Zone> {
        let zone = TimeZone::get(name).ok()?;
        (zone.iana_name().is_some() && !zone.is_unknown()).then_some(Zone(zone))
    }

    /// Every zone there is, under each of its names.
    pub fn all() -> impl Iterator<Item = Zone> {
        jiff::tz::db().available().filter_map(|name| Zone::find(name.as_str()))
    }

    /// The name in its proper spelling.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// What the clock reads at an instant.
    pub fn local(&self, at: Timestamp) -> DateTime {
        self.0.to_datetime(known(at))
    }

    /// The first instant at which the clock reads `local` or later: it never goes back while `local` goes on.
    pub fn instant(&self, local: DateTime) -> Timestamp {
        match self.0.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => reading(local, offset),
            AmbiguousOffset::Fold { before, .. } => reading(local, before),
            AmbiguousOffset::Gap { before, after } => {
                // By the old offset it would be at or after the change, by the new one before it.
                let earliest = known(reading(local, after));
                let change = self.0.following(earliest).find(|change| change.offset() == after);
                let change = change.map(|change| Timestamp(change.timestamp().as_millisecond()));
                change.unwrap_or_else(|| reading(local, before))
            }
        }
    }

    /// From an instant on as far as the clock runs evenly.
    pub(super) fn stretch(&self, from: Timestamp) -> Stretch {
        let from = known(from);
        let next = self.0.following(from).next().map(|change| Timestamp(change.timestamp().as_millisecond()));
        Stretch { offset: self.0.to_offset(from), until: next.unwrap_or(Timestamp::MAX) }
    }
}

/// A time without clock change.
pub(super) struct Stretch {
    offset: Offset,
    /// The instant of the next change, [`Timestamp::MAX`] when none comes: no longer in it.
    pub until: Timestamp,
}

impl Stretch {
    /// The instant at which the clock would read `local` if it ran on evenly; `None` if it is changed before.
    pub fn instant(&self, local: DateTime) -> Option<Timestamp> {
        Some(reading(local, self.offset)).filter(|at| *at < self.until)
    }
}

/// An instant within the years that the database knows.
fn known(at: Timestamp) -> jiff::Timestamp {
    let outside = if at.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_millisecond(at.0).unwrap_or(outside)
}

fn reading(local: DateTime, offset: Offset) -> Timestamp {
    let outside = if local.year() < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    Timestamp(offset.to_timestamp(local).unwrap_or(outside).as_millisecond())
}

//! Quiet hours: what the user's clock reads decides, as it runs. An hour that comes twice is quiet twice; one that is skipped is
//! quiet never.

use jiff::civil::DateTime;

use super::{TimeOfDay, Zone};
use crate::engine::time::Timestamp;

/// Whether the clock reads a quiet time: from `from`, which is quiet, to `to`, which is not. `from` after `to` means over
/// midnight; both the same, never.
pub fn inside(now: Timestamp, from: TimeOfDay, to: TimeOfDay, zone: &Zone) -> bool {
    quiet(zone.local(now), from, to)
}

/// The first instant at or after `now` that is not quiet; `now` itself when it is not.
pub fn ends(now: Timestamp, from: TimeOfDay, to: TimeOfDay, zone: &Zone) -> Timestamp {
    let mut at = now;
    loop {
        let clock = zone.local(at);
        if !quiet(clock, from, to) {
            return at;
        }
        let day = if to.reached(clock.time()) { clock.date().tomorrow() } else { Ok(clock.date()) };
        let Ok(day) = day else { return Timestamp::MAX };
        let stretch = zone.stretch(at);
        match stretch.instant(to.on(day)) {
            Some(end) => return end.max(now),
            // The clock is changed first, and may then read a time that is not quiet.
            None => at = stretch.until,
        }
    }
}

fn quiet(clock: DateTime, from: TimeOfDay, to: TimeOfDay) -> bool {
    let (begun, over) = (from.reached(clock.time()), to.reached(clock.time()));
    if from <= to { begun && !over } else { begun || !over }
}

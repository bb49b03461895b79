//! The clock of the machine, behind the worker's port. The only room where time is read; it decides nothing.

use std::time::{Duration, Instant, SystemTime};

use crate::engine::time::{Timestamp, millis};
use crate::worker::ports::Clock;

/// Wall time and monotonic time of this machine.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that the ban points to")]
    pub fn new() -> SystemClock {
        SystemClock { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    /// A clock set before 1970 reads as 1970.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that the ban points to")]
    fn now(&self) -> Timestamp {
        Timestamp(millis(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_this_century_and_never_goes_back() {
        let clock = SystemClock::new();
        let (wall, first) = (clock.now(), clock.monotonic());
        assert!(wall > Timestamp::parse("2020-01-01T00:00:00Z").unwrap() && wall < Timestamp::parse("2200-01-01T00:00:00Z").unwrap());
        assert!(clock.monotonic() >= first);
    }
}

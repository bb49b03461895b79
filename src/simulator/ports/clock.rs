//! Virtual time: stands still until it is moved.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::engine::time::Timestamp;
use crate::worker::ports::Clock;

/// A clock that its owner moves. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    time: Arc<Mutex<Time>>,
}

#[derive(Debug)]
struct Time {
    wall: Timestamp,
    monotonic: Duration,
}

impl VirtualClock {
    pub fn new(now: Timestamp) -> VirtualClock {
        VirtualClock { time: Arc::new(Mutex::new(Time { wall: now, monotonic: Duration::ZERO })) }
    }

    /// Moves wall time to `now`. Monotonic time goes along forward, and stands still when the wall clock is set back.
    pub fn set(&self, now: Timestamp) {
        let mut time = self.lock();
        let forward = now.since(time.wall);
        time.monotonic += forward;
        time.wall = now;
    }

    pub fn advance(&self, by: Duration) {
        self.set(self.now().after(by));
    }

    fn lock(&self) -> MutexGuard<'_, Time> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.lock().wall
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_only_when_told_and_monotonic_time_never_back() {
        let clock = VirtualClock::new(Timestamp(1_000));
        clock.advance(Duration::from_millis(5));
        assert_eq!((clock.now(), clock.monotonic()), (Timestamp(1_005), Duration::from_millis(5)));
        clock.clone().set(Timestamp(900));
        assert_eq!((clock.now(), clock.monotonic()), (Timestamp(900), Duration::from_millis(5)));
    }
}

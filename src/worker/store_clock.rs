//! The store's time, estimated between its answers: caps, leases and deadlines of all workers are judged by one clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::engine::time::{Timestamp, millis};

use super::ports::Clock;

/// No answer came yet.
const UNKNOWN: i64 = i64::MIN;

/// An estimate that is further off than this was set by a clock that jumped, not by an answer that was long on its way.
const JUMP_MS: i64 = 2000;

/// How often the estimate is lowered by a millisecond, so that it follows clocks that drift apart.
const LOWERED_EVERY_MS: i64 = 1000;

/// Shared by all threads of a worker.
pub struct StoreClock {
    local: Arc<dyn Clock>,
    /// Store time minus local time, milliseconds.
    ahead_ms: AtomicI64,
    /// Monotonic time, milliseconds, at which that was last set or lowered.
    set_ms: AtomicI64,
}

impl StoreClock {
    pub fn new(local: Arc<dyn Clock>) -> StoreClock {
        StoreClock { local, ahead_ms: AtomicI64::new(UNKNOWN), set_ms: AtomicI64::new(0) }
    }

    pub fn now(&self) -> Timestamp {
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed);
        Timestamp(self.local.now().0.saturating_add(if ahead_ms == UNKNOWN { 0 } else { ahead_ms }))
    }

    /// Notes an answer that carried the store's time. It is old by its way back, and by the time it waited to be looked at, so the answer
    /// that was quickest holds: otherwise a busy moment would set the clock back, and a wait begun in it would end too early.
    /// What error is left makes leases look longer; the two seconds that an attempt keeps in hand cover it.
    pub fn told(&self, store_now: Timestamp) {
        let told_ms = store_now.0.saturating_sub(self.local.now().0);
        let known_ms = self.ahead_ms.load(Ordering::Relaxed);
        let now_ms = millis(self.local.monotonic());
        let slower = known_ms != UNKNOWN && told_ms < known_ms && known_ms.saturating_sub(told_ms) <= JUMP_MS;
        if slower && now_ms.saturating_sub(self.set_ms.load(Ordering::Relaxed)) < LOWERED_EVERY_MS {
            return;
        }
        self.ahead_ms.store(if slower { known_ms - 1 } else { told_ms }, Ordering::Relaxed);
        self.set_ms.store(now_ms, Ordering::Relaxed);
    }

    pub fn monotonic(&self) -> Duration {
        self.local.monotonic()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// Wall time and monotonic time in one, in milliseconds.
    #[derive(Default)]
    struct Local(AtomicI64);

    impl Clock for Local {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed).unsigned_abs())
        }
    }

    #[test]
    fn the_quickest_answer_holds() {
        let local = Arc::new(Local::default());
        let clock = StoreClock::new(local.clone());
        // (local time, the store's time as told then, what the clock says afterwards)
        let cases = [
            (1_000, 600_900, 600_900),
            // Slower: the clock is not set back.
            (1_100, 600_500, 601_000),
            // Quicker: it is set forward.
            (1_200, 601_190, 601_190),
            (2_199, 601_800, 602_189),
            // A second later it gives way by a millisecond.
            (2_200, 601_800, 602_189),
            (2_300, 602_000, 602_289),
            // The store's clock was set back.
            (2_400, 500_000, 500_000),
        ];
        for (at, told, expect) in cases {
            local.0.store(at, Ordering::Relaxed);
            clock.told(Timestamp(told));
            assert_eq!(clock.now(), Timestamp(expect), "at {at}");
        }
    }
}

//! The store's time, estimated between its answers: caps, leases and deadlines of all workers are judged by one clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::engine::time::Timestamp;

use super::ports::Clock;

/// Shared by all threads of a worker.
pub struct StoreClock {
    local: Arc<dyn Clock>,
    /// Store time minus local time, milliseconds, as of the last answer.
    ahead_ms: AtomicI64,
}

impl StoreClock {
    pub fn new(local: Arc<dyn Clock>) -> StoreClock {
        StoreClock { local, ahead_ms: AtomicI64::new(0) }
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.local.now().0.saturating_add(self.ahead_ms.load(Ordering::Relaxed)))
    }

    /// Notes an answer that carried the store's time. The answer is taken as given when it arrived: the estimate lags by the
    /// way back, which makes leases look longer by that much; the two seconds that an attempt keeps in hand cover it.
    pub fn told(&self, store_now: Timestamp) {
        self.ahead_ms.store(store_now.0.saturating_sub(self.local.now().0), Ordering::Relaxed);
    }

    pub fn monotonic(&self) -> Duration {
        self.local.monotonic()
    }
}

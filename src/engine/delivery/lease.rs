//! Leases, as arithmetic. Whoever sends a delivery holds the right to make one attempt until its lease ends; then anybody may
//! take it over as the next attempt. So a request may only be started while the lease outlasts it, judged just before writing:
//! in a model, queueing without this rule sent 36,000 messages 260,000 times.

use std::time::Duration;

use crate::engine::time::Timestamp;

/// What an attempt may need beyond the destination's timeout: writing the outcome, and clocks that differ.
pub const MARGIN: Duration = Duration::from_secs(2);

/// A lease holds this many whole attempts: one for the wait before it, one for itself, one to spare.
pub const ATTEMPTS_PER_LEASE: u32 = 3;

/// How long a lease is taken for: `3 x (timeout + 2 s)`, so 15 s for the default timeout of 3 s.
pub fn length(timeout: Duration) -> Duration {
    timeout.saturating_add(MARGIN).saturating_mul(ATTEMPTS_PER_LEASE)
}

/// Whether a request started now ends, with everything that follows it, before the lease does.
pub fn may_start(now: Timestamp, lease: Timestamp, timeout: Duration) -> bool {
    lease.since(now) >= needed(timeout)
}

/// What must be left of a lease when a request starts.
pub fn needed(timeout: Duration) -> Duration {
    timeout.saturating_add(MARGIN)
}

/// Whether a retry after `wait` can still start under this lease: then nothing more need be written before it.
pub fn fits(now: Timestamp, wait: Duration, lease: Timestamp, timeout: Duration) -> bool {
    may_start(now.after(wait), lease, timeout)
}

/// The longest estimated wait for a slot that is worth queueing for: a third of a lease.
pub fn longest_queue_wait(lease: Duration) -> Duration {
    lease / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_lease_is_three_attempts_long() {
        for (timeout, expect) in [(1, 9), (3, 15), (10, 36), (90, 276)] {
            assert_eq!(length(timeout * SECOND), expect * SECOND);
        }
        assert_eq!(length(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn a_request_starts_only_while_its_lease_outlasts_it() {
        let lease = Timestamp(15_000);
        let check = |now, expect| assert_eq!(may_start(Timestamp(now), lease, 3 * SECOND), expect, "at {now}");
        check(0, true);
        check(9_999, true);
        check(10_000, true);
        check(10_001, false);
        check(15_000, false);
        check(20_000, false);
        check(i64::MIN, true);
        assert!(!may_start(Timestamp::MAX, Timestamp::MAX, SECOND));
    }

    #[test]
    fn a_retry_fits_if_it_may_start_after_its_wait() {
        let check = |wait, expect| {
            assert_eq!(fits(Timestamp(1_000), Duration::from_millis(wait), Timestamp(15_000), 3 * SECOND), expect, "{wait}");
        };
        check(0, true);
        check(9_000, true);
        check(9_001, false);
        check(u64::MAX, false);
    }
}

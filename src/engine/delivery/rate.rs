//! A destination's rate over all workers, as arithmetic. The store keeps one token bucket; each worker leases a little of it at a time
//! and spends that within [`HOLD`]. What is leased ahead of being spent must not add up to more than was promised, so the
//! bucket is kept smaller than the rate that its users are told.
//!
//! The promise: **never more than `per_second + burst` requests begin in any second**, over all workers, however they come and go.

use std::time::Duration;

use crate::engine::definition::Rate;
use crate::engine::time::Timestamp;

/// For how long a leased token may be spent.
pub const HOLD: Duration = Duration::from_millis(100);

/// How often a worker asks for more while something waits.
pub const ASK_EVERY: Duration = Duration::from_millis(20);

/// What requests that begin in one moment may arrive apart, which the receiver sees as more in a second.
const SPREAD: Duration = Duration::from_millis(50);

/// The bucket to keep in the store for a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    pub per_second: f64,
    pub capacity: u32,
}

/// In any second, a bucket of capacity C that fills at R gives out at most C + R x (1 s + hold + spread) of what arrives in it. That
/// is at most `per_second + burst` if C leaves room for what is held. A burst too small to leave room costs some of the rate.
pub fn bucket(rate: &Rate) -> Bucket {
    let ahead = (HOLD + SPREAD).as_secs_f64();
    let burst = f64::from(rate.burst.max(1));
    // What comes between two questions must fit, or it is lost; twice that, as no worker asks on the instant.
    let needed = (rate.per_second * 2.0 * ASK_EVERY.as_secs_f64()).ceil().max(1.0);
    let capacity = (burst - rate.per_second * ahead).floor().max(needed);
    // Whole requests: less than one too many is none too many.
    let room = (rate.per_second + burst - capacity).floor() + 0.999;
    Bucket { per_second: rate.per_second.min(room / (1.0 + ahead)), capacity: capacity as u32 }
}

/// Tokens that this worker has leased and not spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leased {
    tokens: u32,
    until: Option<Timestamp>,
}

impl Leased {
    /// Takes one, if there is one that still counts.
    pub fn take(&mut self, now: Timestamp) -> bool {
        let valid = self.until.is_some_and(|until| now < until) && self.tokens > 0;
        if valid {
            self.tokens -= 1;
        }
        valid
    }

    /// How many to ask for, so that so many who wait can begin.
    pub fn wanted(&self, waiting: usize, bucket: &Bucket) -> u32 {
        u32::try_from(waiting).unwrap_or(u32::MAX).min(bucket.capacity)
    }

    /// The store gave so many, asked at `asked_at`; what was left of the lease before is lost, as its time is not known to be longer.
    pub fn lease(&mut self, given: u32, asked_at: Timestamp) {
        *self = Leased { tokens: given, until: Some(asked_at.after(HOLD)) };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bucket_leaves_room_for_what_is_held() {
        let check = |per_second: f64, burst: u32, capacity: u32, at_least: f64| {
            let bucket = bucket(&Rate { per_second, burst });
            assert_eq!(bucket.capacity, capacity, "{per_second}/{burst}");
            assert!(bucket.per_second <= per_second && bucket.per_second >= at_least, "{per_second}/{burst}: {bucket:?}");
        };
        check(100.0, 100, 85, 100.0);
        check(100.0, 25, 10, 100.0);
        check(100.0, 20, 5, 100.0);
        check(100.0, 5, 4, 88.0);
        check(1000.0, 1, 40, 836.0);
        check(1.0, 1, 1, 1.0);
        check(0.01, 1, 1, 0.01);
        check(5.0, 1, 1, 5.0);
    }

    #[test]
    fn a_lease_is_spent_in_time_or_lost() {
        let mut leased = Leased::default();
        assert!(!leased.take(Timestamp(0)));
        leased.lease(2, Timestamp(1000));
        assert!(leased.take(Timestamp(1000)) && leased.take(Timestamp(1099)) && !leased.take(Timestamp(1099)));
        leased.lease(2, Timestamp(1000));
        assert!(!leased.take(Timestamp(1100)));
        let bucket = Bucket { per_second: 1.0, capacity: 7 };
        assert_eq!((leased.wanted(0, &bucket), leased.wanted(3, &bucket), leased.wanted(300, &bucket)), (0, 3, 7));
    }

    /// The store's bucket, as exact as numbers allow.
    struct Store {
        tokens: f64,
        at: i64,
    }

    impl Store {
        fn give(&mut self, want: u32, bucket: &Bucket, now: i64) -> u32 {
            let filled = self.tokens + (now - self.at) as f64 / 1000.0 * bucket.per_second;
            self.tokens = filled.min(f64::from(bucket.capacity));
            self.at = now;
            let given = f64::from(want).min(self.tokens.floor());
            self.tokens -= given;
            given as u32
        }
    }

    proptest! {
        /// Workers that ask and spend at any times, each request arriving a little late: no second sees more than was promised.
        #[test]
        fn no_second_sees_more_than_rate_and_burst(
            per_second in prop_oneof![0.1_f64..20.0, 20.0_f64..500.0],
            burst in 1_u32..200,
            acts in prop::collection::vec((0_i64..60, 0_usize..3, any::<bool>(), 0_i64..50), 1..600),
        ) {
            let rate = Rate { per_second, burst };
            let bucket = bucket(&rate);
            let mut store = Store { tokens: f64::from(bucket.capacity), at: 0 };
            let mut workers = [Leased::default(); 3];
            let mut arrived = Vec::new();
            let mut now = 0;
            for (ms, worker, ask, late) in acts {
                now += ms;
                let leased = &mut workers[worker];
                if ask {
                    let given = store.give(leased.wanted(1000, &bucket), &bucket, now);
                    leased.lease(given, Timestamp(now));
                } else {
                    while leased.take(Timestamp(now)) {
                        arrived.push(now + late);
                    }
                }
            }
            arrived.sort_unstable();
            let allowed = (per_second + f64::from(burst)).floor() as usize;
            for (at, first) in arrived.iter().enumerate() {
                let in_second = arrived[at..].iter().take_while(|other| **other < first + 1000).count();
                prop_assert!(in_second <= allowed, "{in_second} of {allowed} within a second");
            }
        }
    }
}

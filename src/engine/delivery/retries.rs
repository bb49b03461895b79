//! Which retry comes next, and when. Only arithmetic: whether the delivery has expired, or its destination is halted, is judged
//! elsewhere.

use std::time::Duration;

use super::{Backoff, MAX_HINT, wait};

/// How a destination is tried again: fast ones with growing waits, then slow ones with the waits that its definition lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    pub fast: u32,
    pub backoff: Backoff,
    pub slow: Vec<Duration>,
}

impl Retries {
    /// How long to wait after request number `attempt` (from 1) failed; `None` when it was the last. Never less than the
    /// receiver's `hint` (at most [`MAX_HINT`]); `spread` moves it upward by up to a quarter.
    pub fn after(&self, attempt: u32, hint: Option<Duration>, spread: u64) -> Option<Duration> {
        if attempt <= self.fast {
            return Some(wait(&self.backoff, attempt, hint, spread));
        }
        let place = usize::try_from(attempt - self.fast - 1).ok()?;
        let slow = *self.slow.get(place)?;
        Some(wait(&Backoff { base: slow, max: MAX_HINT }, 1, hint, spread))
    }
}

/// Waits of what is halted by an open breaker, the first for a fault that passes at once, the others those of the tiers.
const CLIMB: [Duration; 4] = [Duration::from_secs(5), Duration::from_secs(60), Duration::from_secs(5 * 60), Duration::from_secs(30 * 60)];

/// What is to wait in a tier is written within this: so much longer than the tier it waits, or a shorter tier would be the one that fits.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

/// How long a delivery waits that is halted for the time number `halts` (from 1) without having been sent in between. Grows with
/// each, so that what is halted for an hour costs a few messages each and not one a second. The first wait is spread as in
/// [`Retries::after`]; what comes out of a tier comes one after another as it went in, and a longer wait would send it through others.
pub fn halted(halts: u32, spread: u64) -> Duration {
    let place = usize::try_from(halts.saturating_sub(1)).unwrap_or(usize::MAX).min(CLIMB.len() - 1);
    match place {
        0 => wait(&Backoff { base: CLIMB[0], max: MAX_HINT }, 1, None, spread),
        tier => CLIMB[tier] + WRITTEN_WITHIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn fast_ones_first_then_the_listed_ones() {
        let check = |slow: &[u64], attempt, hint: Option<u64>, expect: Option<u64>| {
            let retries = Retries {
                fast: 2,
                backoff: Backoff { base: SECOND, max: 10 * SECOND },
                slow: slow.iter().map(|seconds| Duration::from_secs(*seconds)).collect(),
            };
            let waited = retries.after(attempt, hint.map(Duration::from_secs), 0);
            assert_eq!(waited, expect.map(Duration::from_secs), "{slow:?} {attempt} {hint:?}");
        };
        check(&[], 1, None, Some(1));
        check(&[], 2, None, Some(2));
        check(&[], 3, None, None);
        check(&[60, 1800], 2, None, Some(2));
        check(&[60, 1800], 3, None, Some(60));
        check(&[60, 1800], 4, None, Some(1800));
        check(&[60, 1800], 5, None, None);
        check(&[60], u32::MAX, None, None);
        // A hint lengthens any of them, and adds none.
        check(&[60], 1, Some(30), Some(30));
        check(&[60], 3, Some(30), Some(60));
        check(&[60], 3, Some(300), Some(300));
        check(&[60], 3, Some(86_400), Some(3600));
        check(&[60], 4, Some(5), None);
    }

    #[test]
    fn the_spread_only_lengthens_and_by_a_quarter_at_most() {
        let retries = Retries { fast: 0, backoff: Backoff { base: SECOND, max: SECOND }, slow: vec![60 * SECOND] };
        for spread in (0..64).map(|i| 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(i)) {
            let waited = retries.after(1, None, spread).unwrap();
            assert!((60 * SECOND..=75 * SECOND).contains(&waited), "{waited:?}");
            let waited = halted(1, spread).as_millis();
            assert!((5_000..=6_250).contains(&waited), "{waited} ms");
        }
    }

    #[test]
    fn what_is_halted_climbs_to_the_last_tier() {
        for (halts, expect) in [(0, 5), (1, 5), (2, 61), (3, 301), (4, 1801), (5, 1801), (u32::MAX, 1801)] {
            assert_eq!(halted(halts, 0), Duration::from_secs(expect), "{halts}");
        }
    }
}

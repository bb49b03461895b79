//! The arithmetic of a budget, once for every store that runs in this process: a token bucket that fills as time goes by. Pure; it
//! reads no clock. (Redis says the same in its own script.)

use crate::engine::time::Timestamp;

use super::ports::Spend;

/// Tokens at a time. Never more than the burst, so that a long silence is not made up for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    tokens: f64,
    at: Timestamp,
}

impl Bucket {
    /// A new one is full.
    pub fn full(wish: &Spend, now: Timestamp) -> Bucket {
        Bucket { tokens: f64::from(wish.burst.max(1)), at: now }
    }

    /// Fills up to now and gives of what is wanted as many whole tokens as there are. A clock that was set back fills nothing and
    /// is followed, else the bucket would stand still until the clock is where it was.
    pub fn spend(&mut self, wish: &Spend, now: Timestamp) -> u32 {
        let filled = self.tokens + now.since(self.at).as_secs_f64() * wish.per_second.max(0.0);
        self.tokens = filled.min(f64::from(wish.burst.max(1)));
        self.at = now;
        let given = f64::from(wish.want).min(self.tokens.floor());
        self.tokens -= given;
        given as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_by_time_keeps_fractions_and_never_overflows() {
        let wish = |want| Spend { budget: "b".into(), want, per_second: 2.5, burst: 4 };
        let mut bucket = Bucket::full(&wish(0), Timestamp(1000));
        // (time in ms, wanted, given)
        let steps = [
            (1000, 3, 3),
            (1000, 3, 1),
            (1399, 1, 0),
            (1400, 1, 1),
            // 2.5 tokens come, two are whole; the half is kept.
            (2400, 9, 2),
            (2600, 9, 1),
            // Set back: nothing comes, and it goes on from there.
            (1000, 9, 0),
            (1400, 9, 1),
            // A long silence fills it up to the burst.
            (100_000, 9, 4),
            (100_000, 9, 0),
        ];
        for (at, want, expect) in steps {
            assert_eq!(bucket.spend(&wish(want), Timestamp(at)), expect, "{want} at {at}");
        }
    }

    #[test]
    fn senseless_numbers_give_little() {
        let check = |per_second, burst, expect: u32| {
            let wish = Spend { budget: "b".into(), want: u32::MAX, per_second, burst };
            let mut bucket = Bucket::full(&wish, Timestamp(0));
            assert_eq!((bucket.spend(&wish, Timestamp(0)), bucket.spend(&wish, Timestamp(1000))), (burst.max(1), expect), "{wish:?}");
        };
        check(0.0, 0, 0);
        check(-1.0, 3, 0);
        check(f64::INFINITY, 3, 3);
        check(f64::NAN, 3, 0);
    }
}

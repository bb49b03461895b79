//! Whether a destination is called at all: a circuit breaker as a state machine, without I/O and without a clock. While it is open, what
//! is to be sent is halted and uses no attempt; now and then one attempt goes out to see whether the destination is back.
//!
//! It sends nothing, keeps no timer and knows no delivery: it is asked before a start and told of every answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Answer, Failure};
use crate::engine::time::Timestamp;

/// Over how long the share of failures is counted, in whole seconds.
pub const WINDOW_SECONDS: usize = 10;

/// Fewer answers than this in the window say nothing by their share.
pub const SHARE_ANSWERS: u32 = 20;

/// It opens when at least one in this many answers of the window is a failure.
pub const SHARE_ONE_IN: u32 = 2;

/// It opens after so many failures in a row, whatever the window says: a destination that is seldom called is noticed, too.
pub const FAILURES_IN_A_ROW: u32 = 10;

/// How long it is open at first; twice as long after each probe that failed.
pub const FIRST_OPEN: Duration = Duration::from_secs(5);

/// It is never open longer than this without a probe. What was halted comes back when its own wait is over (`retries::halted`).
pub const LONGEST_OPEN: Duration = Duration::from_secs(60);

/// A probe that nobody answers for is given up after this: an attempt takes 90 s at most.
pub const PROBE_WITHIN: Duration = Duration::from_secs(120);

/// What an attempt says of its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It works: also where it refuses this one request.
    Answered,
    /// It is unwell, or cannot be reached.
    Failed,
    /// Nothing was sent.
    Unknown,
}

impl Health {
    pub fn of(answer: &Answer) -> Health {
        match answer.status {
            Ok(408 | 429 | 500..=599) => Health::Failed,
            Ok(_) => Health::Answered,
            Err(Failure::Timeout | Failure::Connect | Failure::Dns | Failure::Protocol | Failure::Tls | Failure::AddressRefused) => {
                Health::Failed
            }
            Err(Failure::Unsent) => Health::Unknown,
        }
    }
}

/// What may be done with a destination now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    Open,
    /// One attempt, to see whether it is back: say [`Breaker::probing`] when it starts.
    Probe,
    /// Nothing, before this time.
    Halted(Timestamp),
}

/// What a breaker is at, for people. The more it holds back, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Shown {
    Closed,
    /// One attempt may see whether the destination is back, or does.
    HalfOpen,
    Open,
}

/// One destination's breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    state: State,
    /// Answers and failures by second.
    recent: [Second; WINDOW_SECONDS],
    failures_in_a_row: u32,
    /// How often it was opened since the destination last worked.
    openings: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    /// Open before this time, half open after it.
    Open(Timestamp),
    /// Half open, and the one probe is under way until this time at the latest.
    Probing(Timestamp),
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    number: i64,
    answers: u32,
    failures: u32,
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker { state: State::Closed, recent: [Second::default(); WINDOW_SECONDS], failures_in_a_row: 0, openings: 0 }
    }
}

impl Breaker {
    /// Asking changes nothing.
    pub fn passage(&self, now: Timestamp) -> Passage {
        match self.state {
            State::Closed => Passage::Open,
            State::Open(until) | State::Probing(until) if until > now => Passage::Halted(until),
            State::Open(_) | State::Probing(_) => Passage::Probe,
        }
    }

    /// The probe starts: until it is answered nothing else does.
    pub fn probing(&mut self, now: Timestamp) {
        if self.passage(now) == Passage::Probe {
            self.state = State::Probing(now.after(PROBE_WITHIN));
        }
    }

    /// Notes how an attempt ended; `probe` if it was the one. While it is open, attempts that started before say nothing new.
    /// Answers whether this opened it.
    pub fn told(&mut self, now: Timestamp, health: Health, probe: bool) -> bool {
        match (self.state, probe, health) {
            (State::Closed, _, Health::Unknown) => false,
            (State::Closed, _, _) => self.count(now, health),
            (State::Probing(_), true, Health::Answered) => {
                *self = Breaker::default();
                false
            }
            (State::Probing(_), true, Health::Failed) => {
                self.open(now);
                true
            }
            // It was never sent: the next one is the probe.
            (State::Probing(_), true, Health::Unknown) => {
                self.state = State::Open(now);
                false
            }
            (State::Open(_) | State::Probing(_), _, _) => false,
        }
    }

    pub fn shown(&self, now: Timestamp) -> Shown {
        match self.state {
            State::Closed => Shown::Closed,
            State::Open(until) if until > now => Shown::Open,
            State::Open(_) | State::Probing(_) => Shown::HalfOpen,
        }
    }

    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    fn count(&mut self, now: Timestamp, health: Health) -> bool {
        let number = now.0.div_euclid(1000);
        let place = usize::try_from(number.rem_euclid(WINDOW_SECONDS as i64)).unwrap_or(0);
        let second = &mut self.recent[place];
        if second.number != number {
            *second = Second { number, ..Second::default() };
        }
        second.answers = second.answers.saturating_add(1);
        if health == Health::Answered {
            self.failures_in_a_row = 0;
            return false;
        }
        second.failures = second.failures.saturating_add(1);
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        let trips = self.failures_in_a_row >= FAILURES_IN_A_ROW || self.share_is_bad(number);
        if trips {
            self.open(now);
        }
        trips
    }

    fn share_is_bad(&self, newest: i64) -> bool {
        let inside = self.recent.iter().filter(|second| (0..WINDOW_SECONDS as i64).contains(&newest.saturating_sub(second.number)));
        let (answers, failures) = inside.fold((0_u32, 0_u32), |(answers, failures), second| {
            (answers.saturating_add(second.answers), failures.saturating_add(second.failures))
        });
        answers >= SHARE_ANSWERS && failures.saturating_mul(SHARE_ONE_IN) >= answers
    }

    fn open(&mut self, now: Timestamp) {
        let open_for = FIRST_OPEN.saturating_mul(1 << self.openings.min(16)).min(LONGEST_OPEN);
        self.openings = self.openings.saturating_add(1);
        self.state = State::Open(now.after(open_for));
        self.failures_in_a_row = 0;
        self.recent = [Second::default(); WINDOW_SECONDS];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A script of `<health>[*times]` and `<milliseconds>ms`: `f` failed, `a` answered, `u` unknown; capitals are the probe.
    fn check(script: &str, expect: &str) {
        let mut breaker = Breaker::default();
        let mut now = Timestamp(1_000_000);
        for word in script.split_whitespace() {
            if let Some(ms) = word.strip_suffix("ms") {
                now = Timestamp(now.0 + ms.parse::<i64>().unwrap());
                continue;
            }
            let (what, times) = word.split_once('*').unwrap_or((word, "1"));
            for _ in 0..times.parse::<u32>().unwrap() {
                let health = match what.to_lowercase().as_str() {
                    "f" => Health::Failed,
                    "a" => Health::Answered,
                    _ => Health::Unknown,
                };
                let probe = what.chars().all(char::is_uppercase);
                if probe {
                    breaker.probing(now);
                }
                breaker.told(now, health, probe);
            }
        }
        let shown = match breaker.passage(now) {
            Passage::Open => "closed".to_owned(),
            Passage::Probe => "probe".to_owned(),
            Passage::Halted(until) => format!("halted {}", until.since(now).as_millis()),
        };
        assert_eq!(shown, expect, "{script}");
    }

    #[test]
    fn opens_by_failures_in_a_row_or_by_their_share() {
        check("", "closed");
        check("f*9", "closed");
        check("f*10", "halted 5000");
        check("f*9 a f*9", "closed");
        check("u*50", "closed");
        // Half of twenty, never ten in a row; with nineteen too few have answered.
        check("a f a f a f a f a f a f a f a f a f a", "closed");
        check("a f a f a f a f a f a f a f a f a f a f", "halted 5000");
        check("a*11 f*9", "closed");
        check("a*100 f*9 a f*9", "closed");
        // Seldom called: the failures count however far apart.
        check("f*5 600000ms f*5", "halted 5000");
    }

    #[test]
    fn old_answers_leave_the_window() {
        // Nine bad ones, then a good one: nothing in a row. They count for ten seconds.
        check("f*9 a 9000ms f*5 a*5", "closed");
        check("f*9 a 9000ms f*5 a*4 f", "halted 5000");
        check("f*9 a 10000ms f*5 a*4 f", "closed");
        check("f*9 a 86400000ms f*5 a*4 f", "closed");
    }

    #[test]
    fn one_probe_decides() {
        check("f*10 4999ms", "halted 1");
        check("f*10 5000ms", "probe");
        check("f*10 5000ms A", "closed");
        check("f*10 5000ms F", "halted 10000");
        check("f*10 5000ms F 10000ms F", "halted 20000");
        check("f*10 5000ms F 10000ms F 20000ms F", "halted 40000");
        check("f*10 5000ms F 10000ms F 20000ms F 40000ms F", "halted 60000");
        check("f*10 5000ms F 10000ms F 20000ms F 40000ms F 60000ms F", "halted 60000");
        // Once it works, all is forgotten.
        check("f*10 5000ms F 10000ms A f*9", "closed");
        check("f*10 5000ms F 10000ms A f*10", "halted 5000");
        // A probe that was never sent gives its turn on.
        check("f*10 5000ms U", "probe");
        // What started before it opened changes nothing.
        check("f*30", "halted 5000");
        check("f*10 a*30", "halted 5000");
        check("f*10 5000ms a", "probe");
    }

    #[test]
    fn only_one_probe_at_a_time_and_a_lost_one_is_replaced() {
        let mut breaker = Breaker::default();
        let now = Timestamp(0);
        assert_eq!((0..10).filter(|_| breaker.told(now, Health::Failed, false)).count(), 1);
        let later = now.after(FIRST_OPEN);
        breaker.probing(later);
        assert_eq!(breaker.passage(later), Passage::Halted(later.after(PROBE_WITHIN)));
        assert_eq!(breaker.passage(later.after(PROBE_WITHIN)), Passage::Probe);
    }

    #[test]
    fn health_is_the_destinations_not_the_requests() {
        let of = |status| Health::of(&Answer { status, cut: None, retry_after: None, latency: Duration::ZERO, body_excerpt: None });
        for status in [200, 204, 301, 400, 401, 404, 410, 422] {
            assert_eq!(of(Ok(status)), Health::Answered, "{status}");
        }
        for status in [408, 429, 500, 503, 599] {
            assert_eq!(of(Ok(status)), Health::Failed, "{status}");
        }
        for failure in [Failure::Timeout, Failure::Connect, Failure::Dns, Failure::Protocol, Failure::Tls, Failure::AddressRefused] {
            assert_eq!(of(Err(failure)), Health::Failed, "{failure}");
        }
        assert_eq!(of(Err(Failure::Unsent)), Health::Unknown);
    }

    proptest! {
        /// Whatever happens: it is never halted longer than a probe may take, at most one probe is under way, a destination
        /// that answers is called again, and one that only fails is soon left alone.
        #[test]
        fn never_shut_for_good(steps in prop::collection::vec((0_i64..20_000, 0_u8..3, any::<bool>()), 0..200)) {
            let mut breaker = Breaker::default();
            let mut now = Timestamp(0);
            for (ms, health, late) in steps {
                now = Timestamp(now.0 + ms);
                let health = [Health::Answered, Health::Failed, Health::Unknown][usize::from(health)];
                match breaker.passage(now) {
                    Passage::Open => { breaker.told(now, health, false); }
                    Passage::Probe => {
                        breaker.probing(now);
                        prop_assert!(matches!(breaker.passage(now), Passage::Halted(_)));
                        breaker.told(now, health, !late);
                    }
                    Passage::Halted(until) => {
                        prop_assert!(until.since(now) <= PROBE_WITHIN);
                        breaker.told(now, health, false);
                    }
                }
            }
            let mut well = breaker.clone();
            let later = now.after(PROBE_WITHIN);
            well.probing(later);
            well.told(later, Health::Answered, true);
            prop_assert!(well.is_closed());
            let mut ill = breaker;
            ill.probing(later);
            ill.told(later, Health::Failed, true);
            for _ in 0..FAILURES_IN_A_ROW {
                ill.told(later, Health::Failed, false);
            }
            prop_assert!(!ill.is_closed());
        }
    }
}

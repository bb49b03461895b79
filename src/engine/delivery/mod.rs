//! Delivery, as rules: what a response means, how long to wait, what identifies a delivery, which headers an attempt carries,
//! how it is signed, when a lease allows a start, who gets a destination's next slot. Nothing is sent here and no clock is read.

pub mod admission;
mod answer;
pub mod batch;
pub mod breaker;
pub mod credentials;
pub mod lease;
pub mod rate;
pub mod retries;
mod retry_after;
mod secret;
pub mod signature;
pub mod wire;

use std::fmt;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::id::{CampaignId, DeliveryId};
use super::time::Timestamp;

pub use answer::{Answer, Failure};
pub use credentials::{Credentials, SecretError};
pub use secret::Secret;

/// A longer `Retry-After` is honoured up to this (contract, section 2).
pub const MAX_HINT: Duration = Duration::from_secs(3600);

/// What an answer means for the delivery (contract, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// 2XX.
    Delivered,
    /// Worth another attempt: 408, 429, 5xx, timeouts, connection and DNS errors. The hint is the receiver's `Retry-After`.
    Retry { hint: Option<Duration> },
    /// Another attempt would end the same: redirects, other statuses, TLS, refused addresses.
    Failed,
    /// No attempt was made: it is this machine that lacks something.
    Unsent,
}

/// Judges an answer; `now` is when it arrived (a `Retry-After` may be a date).
pub fn meaning(answer: &Answer, now: Timestamp) -> Meaning {
    match answer.status {
        Ok(200..=299) => Meaning::Delivered,
        Ok(408 | 429 | 500..=599) => Meaning::Retry { hint: answer.retry_after.as_deref().and_then(|text| retry_after::parse(text, now)) },
        Ok(_) => Meaning::Failed,
        Err(Failure::Timeout | Failure::Connect | Failure::Dns | Failure::Protocol) => Meaning::Retry { hint: None },
        Err(Failure::Tls | Failure::AddressRefused) => Meaning::Failed,
        Err(Failure::Unsent) => Meaning::Unsent,
    }
}

/// Why an attempt was not a delivery, in the contract's words (section 6): `http 503`, `redirect 301`, `timeout`, ...
pub fn cause(answer: &Answer) -> String {
    match answer.status {
        Ok(status @ 300..=399) => format!("redirect {status}"),
        Ok(status) => format!("http {status}"),
        Err(failure) => failure.to_string(),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::Timeout => "timeout",
            // The contract's list of causes is closed: an answer that is not HTTP is a connection that did not work, and so is one that this
            // machine had no room for.
            Failure::Connect | Failure::Protocol | Failure::Unsent => "connect",
            Failure::Tls => "tls",
            Failure::Dns => "dns",
            Failure::AddressRefused => "address refused",
        })
    }
}

/// How waits between attempts grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first attempt.
    pub base: Duration,
    /// The longest wait that is our own choice.
    pub max: Duration,
}

/// How long to wait after attempt number `attempt` (from 1): `base * 2^(attempt - 1)`, or the receiver's hint if that is longer
/// (at most [`MAX_HINT`]). `spread` is any hash of the delivery; it moves the wait upward by up to a quarter, so that what
/// failed together does not come back together. Never above `max` by our own choice, never below the hint.
pub fn wait(backoff: &Backoff, attempt: u32, hint: Option<Duration>, spread: u64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(31);
    let own = backoff.base.saturating_mul(1 << doublings).min(backoff.max);
    let hint = hint.unwrap_or_default().min(MAX_HINT);
    let (floor, ceiling) = if hint > own { (hint, MAX_HINT) } else { (own, backoff.max) };
    // A quarter of the floor, scaled by the hash's upper 16 bits.
    let upward = (floor / 4).mul_f64((spread >> 48) as f64 / f64::from(1 << 16));
    floor.saturating_add(upward).min(ceiling)
}

/// The id of a delivery: HMAC-SHA256 over campaign, user and instance (what made this send: the trigger's message id or due
/// instant), cut to 16 bytes. The same inputs give the same id on every worker and every replay; without the key nobody can
/// guess one.
pub fn delivery_id(key: &[u8], campaign: CampaignId, user: &str, instance: &str) -> DeliveryId {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("HMAC takes keys of any length");
    };
    mac.update(&campaign.0.to_le_bytes());
    for part in [user, instance] {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part.as_bytes());
    }
    let mut id = [0; 16];
    id.copy_from_slice(&mac.finalize().into_bytes()[..16]);
    DeliveryId(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: Result<u16, Failure>, retry_after: Option<&str>) -> Answer {
        Answer { status, cut: None, retry_after: retry_after.map(Into::into), latency: Duration::from_millis(12), body_excerpt: None }
    }

    #[test]
    fn every_answer_has_its_meaning_and_cause() {
        let retry = Meaning::Retry { hint: None };
        let check = |status, expect: (Meaning, &str)| {
            let answer = answer(status, None);
            assert_eq!((meaning(&answer, Timestamp(0)), cause(&answer).as_str()), expect, "{status:?}");
        };
        check(Ok(200), (Meaning::Delivered, "http 200"));
        check(Ok(204), (Meaning::Delivered, "http 204"));
        check(Ok(299), (Meaning::Delivered, "http 299"));
        check(Ok(101), (Meaning::Failed, "http 101"));
        for status in [300, 301, 302, 303, 304, 307, 308, 399] {
            check(Ok(status), (Meaning::Failed, &format!("redirect {status}")));
        }
        for status in [400, 401, 403, 404, 409, 410, 418, 422, 499, 600, 999, 0] {
            check(Ok(status), (Meaning::Failed, &format!("http {status}")));
        }
        for status in [408, 429, 500, 501, 502, 503, 504, 599] {
            check(Ok(status), (retry, &format!("http {status}")));
        }
        check(Err(Failure::Timeout), (retry, "timeout"));
        check(Err(Failure::Connect), (retry, "connect"));
        check(Err(Failure::Protocol), (retry, "connect"));
        check(Err(Failure::Dns), (retry, "dns"));
        check(Err(Failure::Tls), (Meaning::Failed, "tls"));
        check(Err(Failure::AddressRefused), (Meaning::Failed, "address refused"));
        check(Err(Failure::Unsent), (Meaning::Unsent, "connect"));
    }

    #[test]
    fn a_hint_counts_only_where_a_retry_does() {
        let hint = |status, text| meaning(&answer(Ok(status), Some(text)), Timestamp(0));
        assert_eq!(hint(429, "7"), Meaning::Retry { hint: Some(Duration::from_secs(7)) });
        assert_eq!(hint(503, "never"), Meaning::Retry { hint: None });
        assert_eq!(hint(404, "7"), Meaning::Failed);
        assert_eq!(hint(301, "7"), Meaning::Failed);
    }

    #[test]
    fn waits_double_up_to_the_maximum_and_honour_the_hint() {
        let backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(10) };
        let check = |attempt, hint: Option<u64>, spread, expect_ms: u64| {
            let hint = hint.map(Duration::from_secs);
            assert_eq!(wait(&backoff, attempt, hint, spread), Duration::from_millis(expect_ms), "{attempt} {hint:?} {spread:x}");
        };
        let half = 1 << 63;
        check(0, None, 0, 1_000);
        check(1, None, 0, 1_000);
        check(2, None, 0, 2_000);
        check(3, None, 0, 4_000);
        check(4, None, 0, 8_000);
        check(5, None, 0, 10_000);
        check(u32::MAX, None, 0, 10_000);
        check(1, None, half, 1_125);
        check(4, None, half, 9_000);
        check(5, None, u64::MAX, 10_000);
        check(1, Some(0), 0, 1_000);
        check(1, Some(1), 0, 1_000);
        check(1, Some(30), 0, 30_000);
        check(1, Some(30), half, 33_750);
        check(1, Some(3600), u64::MAX, 3_600_000);
        check(1, Some(86_400), 0, 3_600_000);
    }

    #[test]
    fn jitter_never_shortens_and_adds_at_most_a_quarter() {
        let backoff = Backoff { base: Duration::from_secs(4), max: Duration::from_secs(600) };
        for spread in (0..64).map(|i| 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(i)) {
            let waited = wait(&backoff, 2, None, spread);
            assert!((Duration::from_secs(8)..=Duration::from_secs(10)).contains(&waited), "{waited:?}");
        }
    }

    #[test]
    fn a_delivery_id_depends_on_every_part_and_never_changes() {
        let campaign = CampaignId::of("cart-abandoned");
        let id = delivery_id(b"key", campaign, "u1", "m1");
        assert_eq!(id, delivery_id(b"key", campaign, "u1", "m1"));
        for other in [
            delivery_id(b"other", campaign, "u1", "m1"),
            delivery_id(b"key", CampaignId::of("points"), "u1", "m1"),
            delivery_id(b"key", campaign, "u2", "m1"),
            delivery_id(b"key", campaign, "u1", "m2"),
            delivery_id(b"key", campaign, "u1m", "1"),
            delivery_id(b"", campaign, "u1", "m1"),
        ] {
            assert_ne!(id, other);
        }
    }
}

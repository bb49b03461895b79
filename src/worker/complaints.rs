//! What keeps deliveries from being sent, said to the operator: once in a while for each cause, not once for each delivery. It decides
//! nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::delivery::SecretError;

/// One cause is told this often at most, by each lane.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Causes that are remembered; the destinations of one deployment have fewer secrets.
const MAX_CAUSES: usize = 256;

/// The complaints of one lane: when each was last told, by the monotonic clock, and how often it was swallowed since.
#[derive(Default)]
pub struct Complaints(RefCell<BTreeMap<String, Told>>);

struct Told {
    at: Duration,
    since: u64,
}

impl Complaints {
    /// Tells it, unless it was told a short while ago.
    pub fn hear(&self, destination: &str, why: &SecretError, now: Duration) {
        if let Some(deliveries) = self.tells(format!("{destination}: {why}"), now) {
            tracing::error!(destination, %why, deliveries, "deliveries wait for a secret");
        }
    }

    /// Tells that this machine has no connection to give, unless it was told a short while ago.
    pub fn no_room(&self, now: Duration) {
        if let Some(deliveries) = self.tells("no room".to_owned(), now) {
            tracing::error!(
                deliveries,
                "deliveries wait for a connection: this process has no descriptor or memory left; raise `ulimit -n`, or see who holds them"
            );
        }
    }

    /// How many deliveries it stands for, when it is time to tell it.
    fn tells(&self, cause: String, now: Duration) -> Option<u64> {
        let mut told = self.0.borrow_mut();
        if told.len() >= MAX_CAUSES && !told.contains_key(&cause) {
            told.clear();
        }
        let Some(last) = told.get_mut(&cause) else {
            told.insert(cause, Told { at: now, since: 0 });
            return Some(1);
        };
        last.since += 1;
        if now.saturating_sub(last.at) < AGAIN_AFTER {
            return None;
        }
        last.at = now;
        Some(std::mem::take(&mut last.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once_a_minute_with_its_count() {
        let complaints = Complaints::default();
        let check = |cause: &str, second: u64, expect: Option<u64>| {
            assert_eq!(complaints.tells(cause.to_owned(), Duration::from_secs(second)), expect, "{cause} at {second}");
        };
        check("a", 10, Some(1));
        check("a", 11, None);
        check("b", 12, Some(1));
        check("a", 69, None);
        check("a", 70, Some(3));
        check("a", 129, None);
        check("a", 500, Some(2));
        for other in 0..MAX_CAUSES {
            check(&format!("other {other}"), 501, Some(1));
        }
        assert!(complaints.0.borrow().len() <= MAX_CAUSES);
    }
}

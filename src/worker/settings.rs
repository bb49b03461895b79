//! What the worker is told: names of topics, bounds, and the spans that its loops keep to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::effect::Reason;
use crate::engine::id::stable_hash;

/// How often a live worker asks for the ends of the partitions, where a definition waits for them.
pub const ENDS_EVERY: Duration = Duration::from_secs(1);

/// Checked settings of one worker.
#[derive(Clone, Debug)]
pub struct Settings {
    pub topics: Topics,
    /// Raised when an input topic was recreated or moved to another cluster.
    pub generation: u32,
    /// One per core.
    pub lanes: usize,
    /// Requests in flight over all destinations of this worker.
    pub max_in_flight: usize,
    /// How often the ends of the partitions are asked for, where a definition waits for them.
    pub ends_every: Duration,
    /// How long a stopping worker finishes what is started.
    pub drain: Duration,
    /// Reasons that are counted and not written.
    pub omit: BTreeSet<Reason>,
    /// Go on with a store that was restored or emptied.
    pub accept_state: bool,
    /// The store serves one process: nobody else has a share of what destinations allow, nor had one that a predecessor left behind.
    pub alone: bool,
}

/// The topics by name.
#[derive(Clone, Debug)]
pub struct Topics {
    pub events: Vec<Arc<str>>,
    pub outcomes: Arc<str>,
    pub dead: Arc<str>,
    /// Users that scheduled runs and arming passes have reached.
    pub runs: Arc<str>,
    /// Waits of at most a minute.
    pub retry: Arc<str>,
    /// Fixed delays for longer waits, shortest first.
    pub retry_tiers: [(Arc<str>, Duration); 3],
}

impl Topics {
    pub fn new(events: &[String], prefix: &str) -> Topics {
        let named = |name: &str| Arc::<str>::from(format!("{prefix}.{name}"));
        Topics {
            events: events.iter().map(|topic| Arc::from(topic.as_str())).collect(),
            outcomes: named("outcomes"),
            dead: named("dead"),
            runs: named("runs"),
            retry: named("retry"),
            retry_tiers: [
                (named("retry.1m"), Duration::from_secs(60)),
                (named("retry.5m"), Duration::from_secs(5 * 60)),
                (named("retry.30m"), Duration::from_secs(30 * 60)),
            ],
        }
    }

    /// The topics that the retry reader reads.
    pub fn retries(&self) -> Vec<Arc<str>> {
        std::iter::once(&self.retry).chain(self.retry_tiers.iter().map(|(topic, _)| topic)).cloned().collect()
    }
}

impl Settings {
    /// The lane that turns a user in this worker.
    pub fn lane_of(&self, user: &str) -> usize {
        usize::try_from(stable_hash(&[user.as_bytes()]) % self.lanes as u64).unwrap_or(0)
    }
}

#[cfg(test)]
impl Settings {
    /// As small as can be: one lane, one slot, and nothing is waited for.
    pub fn of_one_lane() -> Settings {
        Settings {
            topics: Topics::new(&["events".into()], "campanile"),
            generation: 1,
            lanes: 1,
            max_in_flight: 1,
            ends_every: Duration::ZERO,
            drain: Duration::ZERO,
            omit: BTreeSet::new(),
            accept_state: false,
            alone: true,
        }
    }
}

//! Where a lane last heard of room in batches, so that a claim asks there first and not where it would be turned away. A guess: the
//! records alone say what is true.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::delivery::batch;
use crate::engine::effect::Passed;
use crate::engine::record::{Phase, Record};
use crate::engine::step::Places;
use crate::engine::time::Timestamp;

/// How long a place is remembered: when a burst is over, all workers meet again at the first one.
const KEPT: Duration = Duration::from_secs(10);

/// Kinds of requests whose places are remembered.
const MOST: usize = 4096;

#[derive(Default)]
pub(super) struct KnownPlaces {
    places: Arc<Places>,
    /// When the first of them was heard of.
    since: Timestamp,
}

impl KnownPlaces {
    pub(super) fn now(&self, now: Timestamp) -> Option<Arc<Places>> {
        (!self.places.is_empty() && now.since(self.since) < KEPT).then(|| self.places.clone())
    }

    /// A delivery that was turned away from the first place goes to another: others need not ask where it was.
    pub(super) fn hear(&mut self, record: &Record, passed: &Passed, now: Timestamp) {
        let Passed::Join(joining) = passed else { return };
        let entry = record.pending.iter().find(|entry| entry.id == joining.member.id);
        let Some(entry) = entry.filter(|entry| matches!(entry.phase, Phase::Batched { place: 1.., .. })) else { return };
        let (Phase::Batched { place, .. }, Some((_, key, _))) = (entry.phase, batch::of_entry(entry)) else { return };
        if self.places.is_empty() || self.places.len() >= MOST || now.since(self.since) >= KEPT {
            self.places = Arc::default();
            self.since = now;
        }
        Arc::make_mut(&mut self.places).insert(key, place);
    }
}

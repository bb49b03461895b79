//! Backfills in the catalog: which history is to be completed, that it began, and from when on it is known afterwards.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Catalog, InForce};
use crate::engine::audience::each_cohort;
use crate::engine::definition::{Cohort, Members, Trigger, Workspace};
use crate::engine::history::{Plan, Trackers};
use crate::engine::id::{TrackerId, stable_hash};
use crate::engine::time::Timestamp;

/// A backfill that began and did not end. It can be repeated until it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfill {
    pub id: u64,
    /// What was asked for, as it was written on the command line: for who must repeat it.
    pub asked: Box<str>,
    /// In order. Their `tracked_since` does not move until it ends.
    pub trackers: Vec<TrackerId>,
}

/// Another backfill of the same history must end first, or parts of it would be noted twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a backfill of the same history is not finished: run `campanile backfill {asked}` again first")]
pub struct Unfinished {
    pub asked: Box<str>,
}

impl InForce {
    /// The trackers that a backfill from `from` on can complete: those of the campaign or cohort `key` with all cohorts within it, or all;
    /// tracked since later only, and not of what sends make, for that is in no log. `None`: there is no such campaign or cohort.
    pub fn incomplete(&self, key: Option<&str>, from: Timestamp) -> Option<Vec<(TrackerId, Timestamp)>> {
        let of_key: Option<BTreeSet<TrackerId>> = match key {
            None => None,
            Some(key) => Some(trackers_of(self, key)?.all().iter().map(|tracker| tracker.id).collect()),
        };
        let asked = self.trackers.all().iter().filter(|tracker| {
            let of_log = !tracker.pattern.event.starts_with('$');
            of_log && of_key.as_ref().is_none_or(|wanted| wanted.contains(&tracker.id))
        });
        let since = asked.filter_map(|tracker| Some((tracker.id, *self.tracked.get(&tracker.id)?)));
        Some(since.filter(|(_, since)| *since > from).collect())
    }
}

impl Catalog {
    /// The catalog in which this backfill has begun, and what it notes. `source`: what it reads, the same whenever it is repeated.
    ///
    /// # Errors
    /// Another one of some of these trackers has not ended.
    pub fn begin_backfill(
        &self,
        asked: &str,
        source: &str,
        from: Timestamp,
        until: Vec<(TrackerId, Timestamp)>,
        of_file: bool,
    ) -> Result<(Catalog, Plan), Unfinished> {
        let mut text = Vec::with_capacity(until.len() * 16);
        for (tracker, since) in &until {
            text.extend(tracker.0.to_le_bytes());
            text.extend(since.0.to_le_bytes());
        }
        let id = stable_hash(&[b"backfill", source.as_bytes(), &from.0.to_le_bytes(), &text]);
        let trackers: Vec<TrackerId> = until.iter().map(|(tracker, _)| *tracker).collect();
        let shares = |other: &&Backfill| other.id != id && other.trackers.iter().any(|tracker| trackers.binary_search(tracker).is_ok());
        if let Some(other) = self.backfills.iter().find(shares) {
            return Err(Unfinished { asked: other.asked.clone() });
        }
        let mut next = self.clone();
        if next.backfills.iter().all(|known| known.id != id) {
            next.backfills.push(Backfill { id, asked: asked.into(), trackers });
        }
        Ok((next, Plan { id, from, until, of_file }))
    }

    /// The catalog in which this backfill has ended: its history is known from its beginning. Of a tracker that was asked anew meanwhile
    /// nothing more is known than before.
    #[must_use]
    pub fn end_backfill(&self, plan: &Plan) -> Catalog {
        let mut next = self.clone();
        next.backfills.retain(|backfill| backfill.id != plan.id);
        for (tracker, since) in &mut next.tracked {
            if plan.until(*tracker) == Some(*since) {
                *since = plan.from;
            }
        }
        next
    }

    /// Those unfinished whose trackers are all asked for as before. The others cannot be repeated: their history begins anew.
    pub(super) fn still_wanted(&self, tracked: &BTreeMap<TrackerId, Timestamp>) -> Vec<Backfill> {
        let stays = |tracker: &TrackerId| tracked.get(tracker).is_some() && tracked.get(tracker) == self.tracked.get(tracker);
        self.backfills.iter().filter(|backfill| backfill.trackers.iter().all(stays)).cloned().collect()
    }
}

/// What of the past one campaign or cohort asks for, with all cohorts within it. `None`: there is none of that key.
fn trackers_of(in_force: &InForce, key: &str) -> Option<Trackers> {
    let campaign = in_force.by_key(key).map(|campaign| &campaign.definition);
    let cohort = in_force.cohorts.get(key);
    if campaign.is_none() && cohort.is_none() {
        return None;
    }
    let mut cohorts: BTreeMap<&str, &Cohort> = BTreeMap::new();
    let mut open: Vec<&Cohort> = cohort.into_iter().collect();
    let mut named = |rule| each_cohort(rule, &mut |key| open.extend(in_force.cohorts.get(key)));
    if let Some(campaign) = campaign {
        named(&campaign.audience);
        if let Trigger::Cohort { cohort, .. } = &campaign.trigger {
            open.extend(in_force.cohorts.get(cohort));
        }
    }
    while let Some(cohort) = open.pop() {
        if let (None, Members::Rule(rule)) = (cohorts.insert(&cohort.key, cohort), &cohort.members) {
            each_cohort(rule, &mut |key| open.extend(in_force.cohorts.get(key)));
        }
    }
    Some(Trackers::compile(campaign, cohorts.into_values(), &Workspace::default()))
}

//! Matching: which campaigns an event concerns. An index built from all campaigns in force, so that the cost of an event grows
//! with the campaigns it may match and not with those that exist. It knows no users: what depends on one counts as matching,
//! and whoever knows the user judges again.
//!
//! An event goes by its name, then by the values of the properties under which campaigns are filed (the most selective equality
//! of each), and only the campaigns found there are verified. Campaigns without any equality on a literal are verified on
//! every event of their name.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::audience::Cohorts;
use super::condition::Scope;
use super::definition::{Campaign, Condition, Pattern, Status, Trigger};
use super::history::Trackers;
use super::time::Timestamp;
use super::value::Object;

mod cover;
mod filed;
mod key;

pub use filed::Filed;

#[cfg(test)]
mod tests;

/// The index. Campaigns are named by their position in the slice it was built from.
#[derive(Debug, Default)]
pub struct Index {
    /// Also the names that only trackers want: then nothing is filed.
    names: HashMap<Box<str>, Filed<Match>>,
    by_membership: Vec<u32>,
}

/// What an event means to a campaign. For one campaign they are handled in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It is the goal: sends before it have converted.
    Converts,
    /// It is the `without` of an inaction: it stops a clock.
    Cancels,
    /// It is the `after` of an inaction: it starts a clock.
    Starts,
    /// It is the action, or the `after` of an inaction that is judged at once.
    Fires,
    /// It is one of the actions, by its place among them.
    Part(u8),
    /// It is the event of a date.
    Dates,
    /// The campaign's cohort counts such events: a membership may have changed.
    Joins,
}

impl Role {
    /// Whether it leads to a send, now or later.
    pub fn triggers(self) -> bool {
        match self {
            Role::Starts | Role::Fires | Role::Part(_) | Role::Dates | Role::Joins => true,
            Role::Converts | Role::Cancels => false,
        }
    }

    /// Its place among several actions.
    pub fn part(self) -> Option<u8> {
        match self {
            Role::Part(place) => Some(place),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    pub campaign: u32,
    pub role: Role,
}

impl Index {
    /// Files the campaigns that are running or paused (a paused one's clocks are still started and stopped), the goals of ended ones,
    /// and the names of the events that trackers want. Campaigns that wait for an API request, a time or a trait are in no list.
    /// Cost: a few microseconds a campaign.
    pub fn build(campaigns: &[&Campaign], cohorts: &Cohorts, trackers: &Trackers) -> Index {
        // Ordered, so that equal campaigns give equal indexes.
        let mut by_name: BTreeMap<&str, Vec<(Match, &Condition)>> = BTreeMap::new();
        for event in trackers.events() {
            by_name.entry(event).or_default();
        }
        let mut by_membership = Vec::new();
        for (position, campaign) in (0u32..).zip(campaigns) {
            let awake = matches!(campaign.status, Some(Status::Running | Status::Paused));
            // What was sent before a campaign ended may still convert.
            let goal = campaign.goal.as_ref().filter(|_| awake || campaign.status == Some(Status::Ended));
            let mut patterns: Vec<(Role, &Pattern)> = goal.map(|goal| (Role::Converts, &goal.pattern)).into_iter().collect();
            if awake {
                patterns.extend(waits_for(&campaign.trigger));
            }
            if let (Trigger::Cohort { cohort, .. }, true) = (&campaign.trigger, awake) {
                by_membership.push(position);
                patterns.extend(cohorts.patterns(cohort).into_iter().map(|pattern| (Role::Joins, pattern)));
            }
            for (role, pattern) in patterns {
                by_name.entry(&pattern.event).or_default().push((Match { campaign: position, role }, &pattern.condition));
            }
        }
        let names = by_name.into_iter().map(|(name, waiting)| (name.into(), Filed::build(&waiting))).collect();
        Index { names, by_membership }
    }

    /// Whether anything waits for events of this name, a campaign or a tracker: one look-up. An identify is of interest to all.
    pub fn knows(&self, event: &str) -> bool {
        self.names.contains_key(event)
    }

    /// Appends what the event means to whom, in order of campaign, and for one campaign in the order of [`Role`]. Conditions that
    /// need the user count as met. `zone` is the workspace's IANA zone, `now` the instant of judging.
    pub fn matches(&self, event: &str, properties: &Object, now: Timestamp, zone: &str, out: &mut Vec<Match>) {
        let Some(filed) = self.names.get(event) else { return };
        let scope = Scope { event: Some(properties), user: None, user_id: "", now, zone };
        filed.each_possible(properties, &scope, &mut |found| {
            if out.last() != Some(&found) {
                out.push(found);
            }
        });
    }

    /// The campaigns that wait for a membership to change, in order: what their users' traits or the time can change, too.
    pub fn by_membership(&self) -> &[u32] {
        &self.by_membership
    }
}

/// The events a trigger waits for, in the order of [`Role`].
fn waits_for(trigger: &Trigger) -> Vec<(Role, &Pattern)> {
    match trigger {
        Trigger::Action(pattern) => vec![(Role::Fires, pattern)],
        Trigger::Actions(actions) => (0u8..).zip(&actions.events).map(|(place, pattern)| (Role::Part(place), pattern)).collect(),
        Trigger::Inaction(inaction) => vec![(Role::Cancels, &inaction.without), (Role::Starts, &inaction.after)],
        Trigger::Absence(absence) => vec![(Role::Fires, &absence.after)],
        Trigger::EventDate(date) => vec![(Role::Dates, &date.pattern)],
        Trigger::UserDate(_) | Trigger::Schedule(_) | Trigger::Api | Trigger::Cohort { .. } => Vec::new(),
    }
}

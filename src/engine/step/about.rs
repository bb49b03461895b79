//! What is known of one user, for people: profile, past, what was sent, what still runs. It judges nothing but memberships and changes
//! nothing.

use serde::Serialize;

use super::{Known, gates};
use crate::engine::audience::{self, Scope};
use crate::engine::catalog::InForce;
use crate::engine::definition::{Campaign, Rule};
use crate::engine::history::History;
use crate::engine::id::{CampaignId, DeliveryId, UserId};
use crate::engine::record::{Arm, Data, Exposure, Pending, Phase, Timer};
use crate::engine::time::Timestamp;
use crate::engine::value::Object;

/// One user as of now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct About {
    pub traits: Object,
    /// In which the user's days are counted: the user's own, else the workspace's, else UTC.
    pub timezone: Box<str>,
    /// The `anonymousId` last seen.
    pub anonymous_id: Option<Box<str>>,
    /// When the user was deleted, as long as late events are still refused for it.
    pub deleted: Option<Timestamp>,
    pub history: Vec<Remembered>,
    /// The last first.
    pub exposures: Vec<Exposed>,
    /// The next first.
    pub timers: Vec<Clock>,
    pub pending: Vec<Delivering>,
    pub cohorts: Vec<Box<str>>,
}

/// What is kept of the past because a definition asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remembered {
    /// Which events, and what of them.
    pub what: String,
    pub value: String,
}

/// What reached the user, or was held out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exposed {
    pub campaign: Box<str>,
    pub arm: Arm,
    pub times: u64,
    pub last: Timestamp,
}

/// A clock that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Clock {
    pub campaign: Box<str>,
    pub what: &'static str,
    pub due: Timestamp,
    /// What started it; empty without an event.
    pub event: Box<str>,
    pub event_id: Box<str>,
}

/// A delivery that is decided and not settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivering {
    pub delivery_id: DeliveryId,
    pub campaign: Box<str>,
    pub phase: &'static str,
    /// As [`Phase`] counts.
    pub attempt: u32,
    /// The end of its lease, not before when it is tried again, or when its batch is asked what became of it.
    pub until: Timestamp,
    pub expires: Timestamp,
}

/// Where one campaign stands with a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Clocks that run, deferrals among them; the next first.
    pub waiting: Vec<Waiting>,
    pub pending: Vec<Delivering>,
    pub exposures: Vec<Exposed>,
}

/// A clock of the campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    pub due: Timestamp,
    pub kind: &'static str,
    /// What started it; empty without an event.
    pub event: Box<str>,
    pub event_id: Box<str>,
}

/// What is shown of campaigns that are not in force any more.
const FORMER: &str = "(a former campaign)";

pub fn standing(known: &Known, campaign: &Campaign) -> Standing {
    let record = &known.record;
    let name = |id: CampaignId| if id == campaign.id { campaign.key.clone() } else { FORMER.into() };
    let waiting = |timer: &Timer| Waiting {
        due: timer.due,
        kind: timer.kind.as_str(),
        event: timer.origin.event.clone(),
        event_id: timer.origin.message_id.clone(),
    };
    let mut waiting: Vec<Waiting> = record.timers.iter().filter(|timer| timer.campaign == campaign.id).map(waiting).collect();
    waiting.sort_by_key(|clock| clock.due);
    Standing {
        waiting,
        pending: record.pending.iter().filter(|entry| entry.campaign == campaign.id).map(delivering).collect(),
        exposures: exposures(record.ledger.exposures.iter().filter(|exposure| exposure.campaign == campaign.id), name),
    }
}

pub fn about(in_force: &InForce, user: &UserId, known: &Known, now: Timestamp) -> About {
    let Known { record, profile, .. } = known;
    let name = |id: CampaignId| in_force.campaign(id).map_or_else(|| FORMER.into(), |campaign| campaign.definition.key.clone());
    let remembered = record.history.tracked.iter().filter_map(|tracked| {
        let tracker = in_force.trackers.get(tracked.tracker)?;
        Some(Remembered { what: tracker.to_string(), value: shown(&tracked.data) })
    });
    let mut timers: Vec<Clock> = record.timers.iter().map(|timer| clock(timer, name(timer.campaign))).collect();
    timers.sort_by_key(|clock| clock.due);
    About {
        traits: profile.traits().clone(),
        timezone: gates::zone(profile, &in_force.workspace).into(),
        anonymous_id: profile.anonymous_id().map(Box::from),
        deleted: record.tombstone,
        history: remembered.collect(),
        exposures: exposures(&record.ledger.exposures, name),
        timers,
        pending: record.pending.iter().map(delivering).collect(),
        cohorts: cohorts(in_force, user, known, now),
    }
}

/// One for each campaign and arm, the last first.
fn exposures<'e>(kept: impl IntoIterator<Item = &'e Exposure>, name: impl Fn(CampaignId) -> Box<str>) -> Vec<Exposed> {
    let mut exposures: Vec<Exposed> = Vec::new();
    for exposure in kept {
        let (campaign, arm) = (name(exposure.campaign), exposure.arm);
        match exposures.iter_mut().find(|known| known.campaign == campaign && known.arm == arm) {
            Some(known) => {
                known.times += u64::from(exposure.count);
                known.last = known.last.max(exposure.last);
            }
            None => exposures.push(Exposed { campaign, arm, times: exposure.count.into(), last: exposure.last }),
        }
    }
    exposures.sort_by_key(|exposed| std::cmp::Reverse(exposed.last));
    exposures
}

fn clock(timer: &Timer, campaign: Box<str>) -> Clock {
    let (event, event_id) = (timer.origin.event.clone(), timer.origin.message_id.clone());
    Clock { campaign, what: timer.kind.as_str(), due: timer.due, event, event_id }
}

fn delivering(entry: &Pending) -> Delivering {
    let (phase, until) = match entry.phase {
        Phase::Sending { lease, .. } => ("sending", lease),
        Phase::Parked { until, .. } => ("parked", until),
        Phase::Failing { again, .. } => ("failing", again),
        Phase::Batched { again, .. } => ("batched", again),
    };
    let (delivery_id, campaign, attempt) = (entry.id, entry.claim.campaign.clone(), entry.phase.attempt());
    Delivering { delivery_id, campaign, phase, attempt, until, expires: entry.expires }
}

fn cohorts(in_force: &InForce, user: &UserId, known: &Known, now: Timestamp) -> Vec<Box<str>> {
    let history = History { kept: &known.record.history, trackers: &in_force.trackers, tracked: &in_force.tracked, at: now };
    let zone = gates::zone(&known.profile, &in_force.workspace);
    let cohorts = &in_force.cohorts;
    let scope = Scope { event: None, user: Some(&known.profile), user_id: user, now, zone, history: Some(history), cohorts };
    let is_member = |key: &str| audience::includes(&Rule::Cohort(key.into()), &scope);
    cohorts.iter().filter(|cohort| is_member(&cohort.key)).map(|cohort| cohort.key.clone()).collect()
}

fn shown(data: &Data) -> String {
    let times = |count: u64| if count == 1 { "once".to_owned() } else { format!("{count} times") };
    let last = |times: &[Timestamp]| times.last().map_or_else(String::new, |last| format!(", last {last}"));
    match data {
        Data::Count(count) => times(*count),
        Data::Ends { first, last } if first == last => format!("once, {first}"),
        Data::Ends { first, last } => format!("first {first}, last {last}"),
        Data::Newest(newest) => format!("{}{}", times(newest.len() as u64), last(newest)),
        Data::Totals(totals) => {
            format!("{}, sum {}, least {}, greatest {}", times(totals.count), totals.sum + totals.rest, totals.min, totals.max)
        }
        Data::Samples(samples) => {
            let older: u64 = samples.older.iter().map(|bucket| bucket.totals.count).sum();
            let newest: Vec<Timestamp> = samples.recent.iter().map(|sample| sample.at).collect();
            format!("{}{}", times(older + newest.len() as u64), last(&newest))
        }
        Data::Distinct(distinct) => {
            let about = if distinct.level == 0 { "" } else { "about " };
            format!("{about}{} different values", (distinct.values.len() as u64) << distinct.level)
        }
        Data::Ahead { count, first, newest } => format!("{}, first {first}{}", times(*count), last(newest)),
    }
}

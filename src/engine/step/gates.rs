//! The gates between a trigger and a send. In order, the first that fails is the recorded reason:
//!
//! 1. status: the campaign is running
//! 2. trigger: judged before, where the event is matched; what does not match is no occasion
//! 3. late: the event itself is not older than `max_age`
//! 4. audience
//! 5. resend: once, or not within the period
//! 6. stale: what fell due did so at most `max_overdue` ago
//! 7. caps
//! 8. content: it renders (in `claim.rs`, where the result is kept)
//! 9. claim: the record has room (in `claim.rs`)
//!
//! They are judged when a send falls due, not when a clock starts. A gate decides; it changes nothing.

use jiff::tz::TimeZone;

use super::claim::Occasion;
use crate::engine::audience::{self, Scope};
use crate::engine::catalog::InForce;
use crate::engine::definition::{Campaign, Rule, Status, Workspace};
use crate::engine::effect::{Reason, RuleShown};
use crate::engine::fatigue;
use crate::engine::id::UserId;
use crate::engine::profile::Profile;
use crate::engine::record::Ledger;
use crate::engine::time::Timestamp;
use crate::engine::value::{Object, Value};

/// Why a gate stays shut.
#[derive(Debug)]
pub(super) struct Stop {
    pub reason: Reason,
    pub rule: Option<RuleShown>,
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Stop {
        Stop { reason, rule: None }
    }
}

/// All that a gate may look at.
pub(super) struct Case<'a> {
    pub in_force: &'a InForce,
    pub campaign: &'a Campaign,
    pub user: &'a UserId,
    pub profile: &'a Profile,
    pub ledger: &'a Ledger,
    pub now: Timestamp,
}

/// Gates 1 to 7, for a send that falls due.
pub(super) fn judge(case: &Case, occasion: &Occasion) -> Result<(), Stop> {
    status(case)?;
    late(case, occasion)?;
    in_audience(case, occasion)?;
    resend(case)?;
    stale(case, occasion)?;
    caps(case)
}

/// The gates that time can shut between a claim and a first attempt long after it. The triggering event is not kept that long: an
/// audience that asks for it keeps its verdict. Late and stale were judged when the send fell due, which it did in time; the
/// frozen request is the content.
pub(super) fn judge_again(case: &Case) -> Result<(), Stop> {
    status(case)?;
    still_in_audience(case)?;
    resend(case)?;
    caps(case)
}

/// The zone of a user: the trait `timezone`, else the workspace's, else UTC. A trait that names no zone counts as none.
pub(super) fn zone<'a>(profile: &'a Profile, workspace: &'a Workspace) -> &'a str {
    let own = profile.traits().get("timezone").and_then(Value::as_str).filter(|name| TimeZone::get(name).is_ok());
    own.or(workspace.timezone.as_deref()).unwrap_or("UTC")
}

fn status(case: &Case) -> Result<(), Stop> {
    match case.campaign.status {
        Some(Status::Running) => Ok(()),
        Some(Status::Ended) => Err(Reason::CampaignEnded.into()),
        Some(Status::Paused | Status::Ready) | None => Err(Reason::CampaignPaused.into()),
    }
}

/// Clocks are exempt: their event may be as old as the window is long. They have `stale`.
fn late(case: &Case, occasion: &Occasion) -> Result<(), Stop> {
    let late = occasion.due.is_none() && case.now.since(occasion.timestamp) > case.in_force.policy.max_age;
    if late { Err(Reason::LateEvent.into()) } else { Ok(()) }
}

fn in_audience(case: &Case, occasion: &Occasion) -> Result<(), Stop> {
    let included = audience::includes(&case.campaign.audience, &scope(case, Some(occasion.properties)));
    if included { Ok(()) } else { Err(Reason::NotInAudience.into()) }
}

fn still_in_audience(case: &Case) -> Result<(), Stop> {
    let scope = scope(case, None);
    if audience::includes(&case.campaign.audience, &scope) {
        return Ok(());
    }
    // Three-valued: what is neither true nor false without the event depends on it.
    let certainly_not = audience::includes(&Rule::Not(Box::new(case.campaign.audience.clone())), &scope);
    if certainly_not { Err(Reason::NotInAudience.into()) } else { Ok(()) }
}

fn resend(case: &Case) -> Result<(), Stop> {
    fatigue::resend(case.ledger, case.campaign, case.now).map_err(Stop::from)
}

fn stale(case: &Case, occasion: &Occasion) -> Result<(), Stop> {
    let overdue = occasion.due.is_some_and(|due| case.now.since(due) > case.in_force.policy.max_overdue);
    if overdue { Err(Reason::Stale.into()) } else { Ok(()) }
}

fn caps(case: &Case) -> Result<(), Stop> {
    match fatigue::exceeded(case.ledger, case.campaign, &case.in_force.workspace.frequency_caps, case.now) {
        Some(cap) => Err(Stop { reason: Reason::FrequencyCap, rule: Some(RuleShown::Cap(cap.clone())) }),
        None => Ok(()),
    }
}

fn scope<'a>(case: &Case<'a>, event: Option<&'a Object>) -> Scope<'a> {
    let zone = zone(case.profile, &case.in_force.workspace);
    let cohorts = &case.in_force.cohorts;
    Scope { event, user: Some(case.profile), user_id: case.user, now: case.now, zone, history: None, cohorts }
}

//! The gates between a trigger and a send. In order, the first that fails is the recorded reason:
//!
//! 1. status: the campaign is running
//! 2. trigger: judged before, where the event is matched; what does not match is no occasion
//! 3. late: the event itself is not older than `max_age`
//! 4. audience: the user is in it (`history_incomplete` where nobody can know)
//! 5. resend: once, or not within the period; with `per`, for this key
//! 6. active window: it falls due within
//! 7. stale: what fell due did so at most `max_overdue` ago
//! 8. control: the user is not held out. Who is counts as reached for 5, so that `control_group` is recorded as often as
//!    the others are sent something: that makes the arms comparable
//! 9. quiet hours: the user's clock shows none; else drop, or defer to their end
//! 10. caps: all allow; else drop, or defer until all do
//! 11. limit: the campaign may reach one more user (the store knows; it is asked when all else allows)
//! 12. content: it renders (in `claim.rs`, where the result is kept). What is linked is fetched first (`linking.rs`); then all gates are
//!     judged again
//! 13. claim: the record has room (in `claim.rs`)
//!
//! They are judged when a send falls due, not when a clock starts, and all again when a deferral ends. A gate decides; it
//! changes nothing.

use std::cell::OnceCell;

use serde::Serialize;

use super::Counter;
use super::claim::Occasion;
use crate::engine::audience::{self, Lack, Scope, Verdict};
use crate::engine::calendar::Zone;
use crate::engine::catalog::InForce;
use crate::engine::definition::{Campaign, OnQuiet, Status, Workspace};
use crate::engine::effect::{Reason, RuleShown};
use crate::engine::fatigue;
use crate::engine::history::History;
use crate::engine::id::UserId;
use crate::engine::profile::Profile;
use crate::engine::record::{Arm, ExposureKey, Ledger};
use crate::engine::rendering::Held;
use crate::engine::time::Timestamp;
use crate::engine::value::{Object, Value};

/// The gates by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    Status,
    /// Judged where events are matched; shown where more than a condition on the event decides.
    Trigger,
    Late,
    Audience,
    Resend,
    ActiveWindow,
    Stale,
    Control,
    QuietHours,
    FrequencyCaps,
    Limit,
    /// Judged where its result is kept.
    Content,
    /// Judged where the record grows.
    Room,
}

impl Gate {
    /// Those that are judged from what is known, in order.
    pub const ORDER: [Gate; 10] = [
        Gate::Status,
        Gate::Late,
        Gate::Audience,
        Gate::Resend,
        Gate::ActiveWindow,
        Gate::Stale,
        Gate::Control,
        Gate::QuietHours,
        Gate::FrequencyCaps,
        Gate::Limit,
    ];
}

/// Why a gate stays shut.
#[derive(Debug)]
pub(super) struct Stop {
    pub reason: Reason,
    pub rule: Option<RuleShown>,
    /// When time alone would open this gate.
    pub frees: Option<Timestamp>,
    /// The send waits for that.
    pub waits: bool,
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Stop {
        Stop { reason, rule: None, frees: None, waits: false }
    }
}

impl From<Held> for Stop {
    fn from(held: Held) -> Stop {
        Stop { rule: Some(RuleShown::Text(held.why.into())), ..Stop::from(held.reason) }
    }
}

impl Stop {
    pub fn until(reason: Reason, frees: Option<Timestamp>) -> Stop {
        Stop { frees, ..Stop::from(reason) }
    }

    /// Until when the send is to be deferred, if it is.
    pub fn defers_until(&self) -> Option<Timestamp> {
        self.frees.filter(|_| self.waits)
    }
}

/// All that a gate may look at.
pub(super) struct Case<'a> {
    pub in_force: &'a InForce,
    pub campaign: &'a Campaign,
    pub user: &'a UserId,
    pub profile: &'a Profile,
    pub ledger: &'a Ledger,
    pub history: History<'a>,
    /// What the store said of limits.
    pub admitted: &'a [(Counter, bool)],
    /// Why to send. `None` for a claim that is taken anew: its event is not kept that long.
    pub occasion: Option<&'a Occasion<'a>>,
    pub key: ExposureKey,
    /// When it was first judged: now, unless it was deferred.
    pub decided: Timestamp,
    pub now: Timestamp,
    pub arm: OnceCell<Arm>,
}

/// All gates in order.
pub(super) fn judge(case: &Case) -> Result<(), Stop> {
    Gate::ORDER.iter().try_for_each(|gate| pass(*gate, case))
}

/// One gate.
pub(super) fn pass(gate: Gate, case: &Case) -> Result<(), Stop> {
    match gate {
        Gate::Status => status(case),
        Gate::Late => late(case),
        Gate::Audience => in_audience(case),
        Gate::Resend => resend(case),
        Gate::ActiveWindow => active_window(case),
        Gate::Stale => stale(case),
        Gate::Control => control(case),
        Gate::QuietHours => quiet_hours(case),
        Gate::FrequencyCaps => caps(case),
        Gate::Limit => limit(case),
        Gate::Trigger | Gate::Content | Gate::Room => Ok(()),
    }
}

impl Case<'_> {
    /// The arm of this user, whatever comes of it.
    pub fn arm(&self) -> Arm {
        *self.arm.get_or_init(|| if fatigue::held_out(self.campaign, self.user) { Arm::Control } else { Arm::Treatment })
    }

    /// When the send falls due: a clock's time, else now.
    pub fn due(&self) -> Timestamp {
        self.occasion.and_then(|occasion| occasion.due).unwrap_or(self.now)
    }

    pub fn zone(&self) -> Zone {
        Zone::find(zone(self.profile, &self.in_force.workspace)).unwrap_or(Zone::UTC)
    }

    /// The limit that counts here, if the campaign has one.
    pub fn counter(&self) -> Option<Counter> {
        let limit = self.campaign.limit?;
        let run = self.occasion.and_then(Occasion::scheduled_run).filter(|_| limit.per_run);
        Some(run.map_or_else(|| self.campaign.key.clone(), |run| format!("{}/{run}", self.campaign.key).into()))
    }

    /// What the store said of that limit.
    pub fn admission(&self, counter: &Counter) -> Option<bool> {
        self.admitted.iter().find(|(asked, _)| asked == counter).map(|(_, admitted)| *admitted)
    }
}

/// The zone of a user: the trait `timezone`, else the workspace's, else UTC. A trait that names no zone counts as none.
pub(super) fn zone<'a>(profile: &'a Profile, workspace: &'a Workspace) -> &'a str {
    let own = profile.traits().get("timezone").and_then(Value::as_str).filter(|name| Zone::find(name).is_some());
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
fn late(case: &Case) -> Result<(), Stop> {
    let direct = case.occasion.filter(|occasion| occasion.due.is_none());
    let late = direct.is_some_and(|occasion| case.now.since(occasion.timestamp) > case.in_force.policy.max_age);
    if late { Err(Reason::LateEvent.into()) } else { Ok(()) }
}

/// Without the event, an audience that asks for it keeps its verdict.
fn in_audience(case: &Case) -> Result<(), Stop> {
    match audience::judge(&case.campaign.audience, &scope(case)) {
        Verdict::In => Ok(()),
        Verdict::Unknown(Lack::History) => Err(Reason::HistoryIncomplete.into()),
        Verdict::Unknown(Lack::Scope) if case.occasion.is_none() => Ok(()),
        Verdict::Out | Verdict::Unknown(Lack::Cohort | Lack::Scope) => Err(Reason::NotInAudience.into()),
    }
}

fn resend(case: &Case) -> Result<(), Stop> {
    match fatigue::repeat(case.ledger, case.campaign, case.key, case.arm(), case.now) {
        Some(repeat) => Err(Stop::until(repeat.reason, repeat.frees)),
        None => Ok(()),
    }
}

/// What falls due within and comes late is not sent after the end either.
fn active_window(case: &Case) -> Result<(), Stop> {
    let active = case.campaign.active;
    let (due, now) = (case.due(), case.now);
    if active.until.is_some_and(|until| due.max(now) >= until) {
        return Err(Reason::OutsideWindow.into());
    }
    match active.from.filter(|from| due < *from) {
        Some(from) => Err(Stop::until(Reason::OutsideWindow, Some(from))),
        None => Ok(()),
    }
}

fn stale(case: &Case) -> Result<(), Stop> {
    let overdue = case.now.since(case.due()) > case.in_force.policy.max_overdue;
    if overdue { Err(Reason::Stale.into()) } else { Ok(()) }
}

fn control(case: &Case) -> Result<(), Stop> {
    match case.arm() {
        Arm::Treatment => Ok(()),
        Arm::Control => Err(Reason::ControlGroup.into()),
    }
}

fn quiet_hours(case: &Case) -> Result<(), Stop> {
    let quiet = case.in_force.workspace.quiet_hours.as_ref();
    let Some(end) = fatigue::quiet_until(case.campaign, quiet, case.now, || case.zone()) else { return Ok(()) };
    // The end of time is no end.
    let frees = Some(end).filter(|end| *end < Timestamp::MAX);
    Err(Stop { waits: quiet.is_some_and(|quiet| quiet.on_hit == OnQuiet::Defer), ..Stop::until(Reason::QuietHours, frees) })
}

/// The first that is exceeded is named; the send waits for all of them.
fn caps(case: &Case) -> Result<(), Stop> {
    let caps = &case.in_force.workspace.frequency_caps;
    let mut exceeded = fatigue::exceeded(case.ledger, case.campaign, caps, case.now, || case.zone());
    let Some(first) = exceeded.next() else { return Ok(()) };
    let frees = exceeded.fold(first.frees, |latest, next| Some(latest?.max(next.frees?)));
    let waits = case.campaign.fatigue.defer_on_cap.zip(frees).is_some_and(|(span, frees)| frees <= case.decided.after(span));
    Err(Stop { reason: Reason::FrequencyCap, rule: Some(RuleShown::Cap(first.cap.clone())), frees, waits })
}

/// What the store was not asked yet is no refusal. A claim that is taken anew was admitted.
fn limit(case: &Case) -> Result<(), Stop> {
    let refused = case.occasion.is_some() && case.counter().is_some_and(|counter| case.admission(&counter) == Some(false));
    if refused { Err(Reason::TargetLimit.into()) } else { Ok(()) }
}

pub(super) fn scope<'a>(case: &Case<'a>) -> Scope<'a> {
    let event: Option<&Object> = case.occasion.map(|occasion| occasion.properties);
    let zone = zone(case.profile, &case.in_force.workspace);
    let cohorts = &case.in_force.cohorts;
    Scope { event, user: Some(case.profile), user_id: case.user, now: case.now, zone, history: Some(case.history), cohorts }
}

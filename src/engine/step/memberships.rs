//! Memberships of cohorts: who was not certainly a member before something, and is after it, has entered; the other way round has left.
//! Judged before and after every input that can change it, and when the time comes at which passing time alone can. So being a
//! member when a campaign starts is not entering, and neither is what becomes known only.

use super::Work;
use super::bounds;
use super::claim::Occasion;
use super::gates;
use crate::engine::audience::{self, Scope, Verdict};
use crate::engine::catalog::{CampaignInForce, InForce};
use crate::engine::definition::{Campaign, Crossing, Members, Rule, Status, Trigger};
use crate::engine::history::History;
use crate::engine::record::{Origin, Timer, TimerKind, TriggerKind};
use crate::engine::time::Timestamp;
use crate::engine::trigger::correlation::NO_KEY;

/// The verdicts before something, by the campaigns' positions.
pub(super) type Memberships = Vec<(u32, Verdict)>;

impl<'a> Work<'a> {
    /// Notes what holds now of this campaign's cohort, unless that is noted already. `at`: now, or the time of the event that is to
    /// be handled if that is later.
    pub(super) fn note_membership(&self, before: &mut Memberships, position: u32, at: Timestamp) {
        if before.iter().any(|(noted, _)| *noted == position) {
            return;
        }
        let Some(campaign) = self.in_force.campaigns.get(position as usize) else { return };
        let Some(rule) = self.cohort_rule(&campaign.definition) else { return };
        before.push((position, audience::judge(rule, &self.scope(at))));
    }

    /// The campaigns that wait for what has changed since, in order; their clocks are set anew.
    pub(super) fn crossings(&mut self, before: &Memberships, at: Timestamp) -> Vec<u32> {
        let in_force: &'a _ = self.in_force;
        let mut crossed = Vec::new();
        for (position, before) in before {
            let Some(campaign) = in_force.campaigns.get(*position as usize) else { continue };
            let Some(rule) = self.cohort_rule(&campaign.definition) else { continue };
            if is_crossing(&campaign.definition, *before, audience::judge(rule, &self.scope(at))) {
                crossed.push(*position);
            }
            self.watch_membership(campaign, at);
        }
        crossed.sort_unstable();
        crossed
    }

    /// What time has changed comes before an input, whether or not a wake has seen it.
    pub(super) fn fire_memberships(&mut self) {
        let in_force: &'a _ = self.in_force;
        let now = self.now;
        let is_due = |timer: &mut Timer| {
            let due = timer.kind == TimerKind::Membership && timer.due <= now;
            due && super::status_of(in_force, timer.campaign) == Status::Running
        };
        let mut due: Vec<Timer> = self.known.record.timers.extract_if(.., is_due).collect();
        due.sort_by_key(|timer| (timer.due, in_force.position(timer.campaign)));
        for timer in &due {
            if let Some(campaign) = in_force.campaign(timer.campaign) {
                self.fire_membership(campaign, timer);
            }
        }
    }

    /// The time has come at which a membership could change.
    pub(super) fn fire_membership(&mut self, campaign: &'a CampaignInForce, timer: &Timer) {
        let definition = &campaign.definition;
        let Some(rule) = self.cohort_rule(definition) else { return };
        let before = audience::judge(rule, &self.scope(just_before(timer.due)));
        let after = audience::judge(rule, &self.scope(self.now));
        if is_crossing(definition, before, after) {
            self.decide(campaign, &Occasion::of_timer(timer));
        }
        self.watch_membership(campaign, self.now);
    }

    /// Sets the clock of the next instant at which time alone can change a membership. One that is due stays while a pause holds it;
    /// without room it is not set, and the change is seen with the user's next input.
    pub(super) fn watch_membership(&mut self, campaign: &CampaignInForce, at: Timestamp) {
        let definition = &campaign.definition;
        let status = self.status(definition.id);
        let Some(rule) = self.cohort_rule(definition) else { return };
        if !matches!(status, Status::Running | Status::Paused) {
            return;
        }
        let due = audience::changes_after(rule, &self.scope(at));
        let clock = self.membership_clock(definition).map(|(place, timer)| (place, timer.due));
        match clock {
            Some((_, known)) if Some(known) == due || (status == Status::Paused && known <= self.now) => return,
            Some((place, _)) => drop(self.known.record.timers.remove(place)),
            None => {}
        }
        let Some(due) = due else { return };
        let origin = Origin { kind: TriggerKind::Cohort, timestamp: due, ..Origin::default() };
        let timer = Timer { campaign: definition.id, kind: TimerKind::Membership, key: NO_KEY, due, origin };
        if bounds::has_room_for_timer(&self.known.record, &timer, None) {
            self.known.record.timers.push(timer);
        }
    }

    /// The rule whose verdict the campaign waits for. A list changes only with its definition, which is no crossing.
    fn cohort_rule(&self, campaign: &Campaign) -> Option<&'a Rule> {
        let in_force: &'a _ = self.in_force;
        match (&campaign.trigger, campaign.status) {
            (Trigger::Cohort { cohort, .. }, Some(Status::Running | Status::Paused)) => match &in_force.cohorts.get(cohort)?.members {
                Members::Rule(rule) => Some(rule),
                Members::List(_) => None,
            },
            _ => None,
        }
    }

    fn membership_clock(&self, campaign: &Campaign) -> Option<(usize, &Timer)> {
        let mut timers = self.known.record.timers.iter().enumerate();
        timers.find(|(_, timer)| timer.campaign == campaign.id && timer.kind == TimerKind::Membership)
    }

    /// The user's past, seen from an instant.
    pub(super) fn history(&self, at: Timestamp) -> History<'_> {
        let InForce { trackers, tracked, .. } = self.in_force;
        History { kept: &self.known.record.history, trackers, tracked, at }
    }

    fn scope(&self, at: Timestamp) -> Scope<'_> {
        Scope {
            event: None,
            user: Some(&self.known.profile),
            user_id: self.user,
            now: at,
            zone: gates::zone(&self.known.profile, &self.in_force.workspace),
            history: Some(self.history(at)),
            cohorts: &self.in_force.cohorts,
        }
    }
}

/// Only from one certainty to the other.
fn is_crossing(campaign: &Campaign, before: Verdict, after: Verdict) -> bool {
    match &campaign.trigger {
        Trigger::Cohort { crossing: Crossing::Entered, .. } => (before, after) == (Verdict::Out, Verdict::In),
        Trigger::Cohort { crossing: Crossing::Left, .. } => (before, after) == (Verdict::In, Verdict::Out),
        _ => false,
    }
}

fn just_before(at: Timestamp) -> Timestamp {
    Timestamp(at.0.saturating_sub(1))
}

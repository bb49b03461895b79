//! Something that happened, outside or by a send: what it means to each campaign, by priority and key, and for one campaign
//! cancelling before starting.

use super::chain::MAX_CHAIN;
use super::claim::Occasion;
use super::memberships::Memberships;
use super::{Work, bounds, gates};
use crate::engine::catalog::{CampaignInForce, InForce};
use crate::engine::condition::{Scope, Truth, holds};
use crate::engine::definition::{Absence, Inaction, Pattern, Status, Trigger};
use crate::engine::effect::Reason;
use crate::engine::event::Event;
use crate::engine::history;
use crate::engine::id::UserId;
use crate::engine::matching::{Match, Role};
use crate::engine::profile::Profile;
use crate::engine::record::{Timer, TimerKind, TriggerKind};
use crate::engine::time::Timestamp;
use crate::engine::trigger::correlation::{self, Key};
use crate::engine::trigger::inaction::{self, Start};
use crate::engine::value::Object;

/// One thing that happened.
#[derive(Clone, Copy)]
pub(super) struct Happening<'a> {
    /// Empty for an API request.
    pub name: &'a str,
    pub message_id: &'a str,
    pub timestamp: Timestamp,
    pub properties: &'a Object,
    /// How many sends led here.
    pub depth: u8,
}

impl<'a> Happening<'a> {
    pub fn of_event(event: &'a Event, name: &'a str, properties: &'a Object) -> Happening<'a> {
        Happening { name, message_id: &event.message_id, timestamp: event.timestamp, properties, depth: 0 }
    }
}

impl<'a> Work<'a> {
    /// Something that happened, after the user's traits were learned from it. `before`: memberships before that.
    pub(super) fn happened(&mut self, event: &Happening, mut before: Memberships) {
        let in_force: &'a _ = self.in_force;
        let mut matches = Vec::new();
        let zone = gates::zone(&self.known.profile, &in_force.workspace);
        // Patterns are judged as of the event's own time: read again, or late, it means the same.
        in_force.index.matches(event.name, event.properties, event.timestamp, zone, &mut matches);
        let at = event.timestamp.max(self.now);
        for joins in matches.iter().filter(|found| found.role == Role::Joins) {
            self.note_membership(&mut before, joins.campaign, at);
        }
        matches.retain(|found| found.role != Role::Joins && self.is_met(found, event));
        let past = &mut self.known.record.history;
        let scope = condition_scope(in_force, self.user, &self.known.profile, event.timestamp, event.properties);
        history::note_event(past, &in_force.trackers, event.name, event.properties, event.timestamp, &scope);
        let crossed = self.crossings(&before, at);
        matches.extend(crossed.into_iter().map(|campaign| Match { campaign, role: Role::Joins }));
        matches.sort_unstable();
        // First: what this event triggers itself, it does not convert.
        self.convert(&matches, event);
        self.trigger(&matches, event);
        // Noted only now: an event that is both `without` and `after` cancels what ran, not what it starts itself.
        for found in matches.iter().filter(|found| found.role == Role::Cancels) {
            let Some(campaign) = in_force.campaigns.get(found.campaign as usize) else { continue };
            if let Trigger::Inaction(inaction) = &campaign.definition.trigger {
                let key = key_of_without(inaction, event.properties);
                history::note(&mut self.known.record.history, campaign.definition.id, key, event.timestamp);
            }
        }
    }

    /// What an event means to each campaign, in order.
    pub(super) fn trigger(&mut self, matches: &[Match], event: &Happening) {
        let in_force: &'a _ = self.in_force;
        for found in matches {
            let Some(campaign) = in_force.campaigns.get(found.campaign as usize) else { continue };
            let occasion = Occasion::of_event(TriggerKind::of(&campaign.definition.trigger), event);
            if event.depth > MAX_CHAIN && found.role.triggers() {
                self.hold(campaign, &occasion, Reason::ChainTooLong.into());
                continue;
            }
            match (found.role, &campaign.definition.trigger) {
                (Role::Fires, Trigger::Action(_) | Trigger::Api) => self.decide(campaign, &occasion),
                (Role::Joins, Trigger::Cohort { .. }) => self.decide(campaign, &occasion),
                (Role::Fires, Trigger::Absence(absence)) => self.judge_absence(campaign, absence, event),
                (Role::Part(place), Trigger::Actions(actions)) => {
                    let parts = matches.iter().filter(|other| other.campaign == found.campaign).filter_map(|other| other.role.part());
                    let meets = parts.clone().fold(0, |meets, part| meets | 1 << part);
                    // Once for all of its events that this one meets.
                    if parts.min() == Some(place) {
                        self.one_of_several(campaign, actions, meets, event);
                    }
                }
                (Role::Starts, Trigger::Inaction(inaction)) => self.start_clock(campaign, inaction, event),
                (Role::Dates, Trigger::EventDate(date)) => self.start_date(campaign, date, event),
                (Role::Cancels, Trigger::Inaction(inaction)) => {
                    let key = key_of_without(inaction, event.properties);
                    inaction::cancel(&mut self.known.record.timers, campaign.definition.id, key, event.timestamp);
                    self.cancel_deferred(campaign, key, event.timestamp);
                }
                _ => {}
            }
        }
    }

    /// Judges a match again, now that the user is known: the index takes what depends on one as met.
    fn is_met(&self, found: &Match, event: &Happening) -> bool {
        let Some(campaign) = self.in_force.campaigns.get(found.campaign as usize) else { return false };
        let pattern = match (found.role, &campaign.definition.trigger) {
            (Role::Converts, _) => match &campaign.definition.goal {
                Some(goal) => &goal.pattern,
                None => return false,
            },
            (Role::Fires, Trigger::Action(pattern)) => pattern,
            (Role::Fires, Trigger::Absence(absence)) => &absence.after,
            (Role::Part(place), Trigger::Actions(actions)) => match actions.events.get(usize::from(place)) {
                Some(pattern) => pattern,
                None => return false,
            },
            (Role::Starts, Trigger::Inaction(inaction)) => &inaction.after,
            (Role::Dates, Trigger::EventDate(date)) => &date.pattern,
            (Role::Cancels, Trigger::Inaction(inaction)) => &inaction.without,
            _ => return false,
        };
        self.holds(pattern, event.timestamp, event.properties)
    }

    pub(super) fn holds(&self, pattern: &Pattern, at: Timestamp, properties: &Object) -> bool {
        let scope = condition_scope(self.in_force, self.user, &self.known.profile, at, properties);
        holds(&pattern.condition, properties, &scope)
    }

    /// T4: an `after`, judged at its own time. What did happen is no occasion; what nobody can know is not sent.
    fn judge_absence(&mut self, campaign: &CampaignInForce, absence: &Absence, event: &Happening) {
        let occasion = Occasion::of_event(TriggerKind::Inaction, event);
        let itself = *absence.without.event == *event.name && self.holds(&absence.without, event.timestamp, event.properties);
        match history::never(&self.history(event.timestamp), absence, itself) {
            Truth::False => {}
            Truth::Unknown if self.status(campaign.definition.id) == Status::Running => {
                self.hold(campaign, &occasion, Reason::HistoryIncomplete.into());
            }
            Truth::True | Truth::Unknown => self.decide(campaign, &occasion),
        }
    }

    /// An `after`: starts a clock unless a `without` inside its window is known already, or one pends. A late one starts its
    /// clock, too: how late the send may be is judged when it falls due.
    fn start_clock(&mut self, campaign: &CampaignInForce, inaction: &Inaction, event: &Happening) {
        let definition = &campaign.definition;
        let occasion = Occasion::of_event(TriggerKind::Inaction, event);
        if self.status(definition.id) != Status::Running {
            return self.hold(campaign, &occasion, Reason::CampaignPaused.into());
        }
        let key = correlation::key(inaction.same.iter().map(|pair| &*pair.after), event.properties);
        let record = &mut self.known.record;
        let due = event.timestamp.after(inaction.within);
        if history::any_within(&record.history, definition.id, key, event.timestamp, due) {
            return;
        }
        let place = match inaction::start(&record.timers, definition.id, key, event.timestamp, inaction.within, inaction.again) {
            Start::New => None,
            Start::Restart(place) => Some(place),
            Start::Ignored => return,
        };
        let timer = Timer { campaign: definition.id, kind: TimerKind::Inaction, key, due, origin: occasion.to_origin() };
        self.set_timer(campaign, place, timer, &occasion);
    }

    /// Adds a clock, or puts it in another's place, if the record has room.
    pub(super) fn set_timer(&mut self, campaign: &CampaignInForce, place: Option<usize>, timer: Timer, occasion: &Occasion) {
        let record = &mut self.known.record;
        let instead = place.and_then(|place| record.timers.get(place));
        if !bounds::has_room_for_timer(record, &timer, instead) {
            return self.hold(campaign, occasion, Reason::StateFull.into());
        }
        match place.and_then(|place| record.timers.get_mut(place)) {
            Some(old) => *old = timer,
            None => record.timers.push(timer),
        }
    }
}

/// What the conditions of an event may look at.
pub(super) fn condition_scope<'b>(
    in_force: &'b InForce,
    user: &'b UserId,
    profile: &'b Profile,
    at: Timestamp,
    event: &'b Object,
) -> Scope<'b> {
    Scope { event: Some(event), user: Some(profile), user_id: user, now: at, zone: gates::zone(profile, &in_force.workspace) }
}

fn key_of_without(inaction: &Inaction, properties: &Object) -> Key {
    correlation::key(inaction.same.iter().map(|pair| &*pair.without), properties)
}

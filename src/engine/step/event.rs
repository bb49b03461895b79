//! An event of the log: applied once, traits first, then the campaigns that it concerns.

use super::claim::Occasion;
use super::{Work, applied, bounds, gates};
use crate::engine::catalog::CampaignInForce;
use crate::engine::condition::{Scope, holds};
use crate::engine::definition::{Inaction, Status, Trigger};
use crate::engine::effect::Reason;
use crate::engine::event::{Body, Event, Position};
use crate::engine::history;
use crate::engine::matching::{Match, Role};
use crate::engine::record::{Origin, Timer};
use crate::engine::trigger::correlation::{self, Key};
use crate::engine::trigger::inaction::{self, Start};
use crate::engine::value::Object;

impl<'a> Work<'a> {
    pub(super) fn event(&mut self, event: &Event) {
        if applied::is_applied(&self.known.record, event.position) {
            return self.skip();
        }
        applied::advance(&mut self.known.record, event.position);
        if !applied::remember(&mut self.known.record, &event.message_id, event.position.broker_time) {
            return self.skip_noted();
        }
        if self.known.record.tombstone.is_some_and(|deleted| event.timestamp <= deleted) {
            return self.skip_noted();
        }
        self.learn(event);
        match &event.body {
            Body::Track { name, properties } => self.tracked(event, name, properties),
            Body::Identify { .. } => {}
            Body::Delete => self.forget(event),
            Body::Send { campaign, properties, .. } => self.asked(event, campaign, properties),
        }
        if let Some(newest) = applied::newest(&self.known.record) {
            applied::prune(&mut self.known.record, newest.before(self.in_force.policy.max_lateness), false);
        }
    }

    /// An event that could not be stepped: done with, whatever it was.
    pub(super) fn poisoned(&mut self, position: Position, message_id: &str) {
        if applied::is_applied(&self.known.record, position) {
            return self.skip();
        }
        applied::advance(&mut self.known.record, position);
        applied::remember(&mut self.known.record, message_id, position.broker_time);
    }

    /// Traits and devices, before anything is judged by them.
    fn learn(&mut self, event: &Event) {
        let profile = &mut self.known.profile;
        let mut changed = profile.note_device(event.anonymous_id.as_deref(), event.device_token.as_deref(), event.timestamp);
        changed |= profile.merge(&event.context_traits, event.timestamp);
        if let Body::Identify { traits } | Body::Send { traits, .. } = &event.body {
            changed |= profile.merge(traits, event.timestamp);
        }
        self.profile_changed |= changed;
    }

    fn tracked(&mut self, event: &Event, name: &str, properties: &Object) {
        let in_force: &'a _ = self.in_force;
        let mut matches = Vec::new();
        let zone = gates::zone(&self.known.profile, &in_force.workspace);
        // Patterns are judged as of the event's own time: read again, or late, it means the same.
        in_force.index.matches(name, properties, event.timestamp, zone, &mut matches);
        matches.retain(|found| self.is_met(found, properties, event));
        for found in &matches {
            let Some(campaign) = in_force.campaigns.get(found.campaign as usize) else { continue };
            match (found.role, &campaign.definition.trigger) {
                (Role::Fires, _) => self.decide(campaign, &Occasion::of_event("action", event, name, properties)),
                (Role::Starts, Trigger::Inaction(inaction)) => self.start_clock(campaign, inaction, event, name, properties),
                (Role::Cancels, Trigger::Inaction(inaction)) => {
                    let key = key_of_without(inaction, properties);
                    inaction::cancel(&mut self.known.record.timers, campaign.definition.id, key, event.timestamp);
                }
                _ => {}
            }
        }
        // Noted only now: an event that is both `without` and `after` cancels what ran, not what it starts itself.
        for found in matches.iter().filter(|found| found.role == Role::Cancels) {
            let Some(campaign) = in_force.campaigns.get(found.campaign as usize) else { continue };
            if let Trigger::Inaction(inaction) = &campaign.definition.trigger {
                let key = key_of_without(inaction, properties);
                history::note(&mut self.known.record.history, campaign.definition.id, key, event.timestamp);
            }
        }
    }

    /// Judges a match again, now that the user is known: the index takes what depends on one as met.
    fn is_met(&self, found: &Match, properties: &Object, event: &Event) -> bool {
        let Some(campaign) = self.in_force.campaigns.get(found.campaign as usize) else { return false };
        let pattern = match (found.role, &campaign.definition.trigger) {
            (Role::Fires, Trigger::Action(pattern)) => pattern,
            (Role::Starts, Trigger::Inaction(inaction)) => &inaction.after,
            (Role::Cancels, Trigger::Inaction(inaction)) => &inaction.without,
            _ => return false,
        };
        let scope = Scope {
            event: Some(properties),
            user: Some(&self.known.profile),
            user_id: self.user,
            now: event.timestamp,
            zone: gates::zone(&self.known.profile, &self.in_force.workspace),
        };
        holds(&pattern.condition, properties, &scope)
    }

    /// An `after`: starts a clock unless a `without` inside its window is known already, or one pends. A late one starts its
    /// clock, too: how late the send may be is judged when it falls due.
    fn start_clock(&mut self, campaign: &CampaignInForce, inaction: &Inaction, event: &Event, name: &str, properties: &Object) {
        let definition = &campaign.definition;
        if self.status(definition.id) != Status::Running {
            return self.suppress(campaign, &event.message_id, Reason::CampaignPaused.into());
        }
        let key = correlation::key(inaction.same.iter().map(|pair| &*pair.after), properties);
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
        let origin =
            Origin { event: name.into(), message_id: event.message_id.clone(), timestamp: event.timestamp, properties: properties.clone() };
        let timer = Timer { campaign: definition.id, key, due, origin };
        let instead = place.and_then(|place| record.timers.get(place));
        if !bounds::has_room_for_timer(record, &timer, instead) {
            return self.suppress(campaign, &event.message_id, Reason::StateFull.into());
        }
        match place.and_then(|place| record.timers.get_mut(place)) {
            Some(old) => *old = timer,
            None => record.timers.push(timer),
        }
    }

    /// An API request. It names its campaign; one that does not exist, or is not for API requests, was refused over HTTP and is
    /// ignored from elsewhere: there is nothing to decide.
    fn asked(&mut self, event: &Event, campaign: &str, properties: &Object) {
        let in_force: &'a _ = self.in_force;
        let Some(campaign) = in_force.by_key(campaign) else { return };
        if campaign.definition.trigger == Trigger::Api {
            self.decide(campaign, &Occasion::of_event("api", event, "", properties));
        }
    }

    /// The person is to be forgotten. What was applied stays known, so that nothing comes back by being read again.
    fn forget(&mut self, event: &Event) {
        let record = &mut self.known.record;
        let timers = std::mem::take(&mut record.timers);
        let pending = std::mem::take(&mut record.pending);
        record.history = Default::default();
        record.ledger = Default::default();
        record.tombstone = record.tombstone.max(Some(event.timestamp));
        self.profile_changed |= !self.known.profile.is_empty();
        self.known.profile = Default::default();
        for timer in timers {
            if let Some(campaign) = self.in_force.campaign(timer.campaign) {
                self.suppress(campaign, &timer.origin.message_id, Reason::UserDeleted.into());
            }
        }
        for entry in pending {
            self.drop_pending(&entry, Reason::UserDeleted.into());
        }
    }
}

fn key_of_without(inaction: &Inaction, properties: &Object) -> Key {
    correlation::key(inaction.same.iter().map(|pair| &*pair.without), properties)
}

//! An input of the log: applied once, traits first, then what it means to campaigns (`happening.rs`).

use super::claim::Occasion;
use super::happening::Happening;
use super::memberships::Memberships;
use super::{Work, applied};
use crate::engine::definition::Trigger;
use crate::engine::effect::{Effect, Reason};
use crate::engine::event::{Body, Event, Position};
use crate::engine::matching::{Match, Role};
use crate::engine::record::TimerKind;
use crate::engine::value::Object;

impl<'a> Work<'a> {
    pub(super) fn event(&mut self, event: &Event) {
        if applied::is_applied(&self.known.record, event.position) {
            self.convert_again(event);
            return self.skip();
        }
        let zone = self.zone_before(event);
        applied::advance(&mut self.known.record, event.position);
        if !applied::remember(&mut self.known.record, &event.message_id, event.position.broker_time) {
            return self.skip_noted();
        }
        if self.known.record.tombstone.is_some_and(|deleted| event.timestamp <= deleted) {
            return self.skip_noted();
        }
        // Nothing is sent to somebody who is being forgotten.
        if event.body != Body::Delete {
            self.fire_memberships();
        }
        let mut before = self.memberships_before(event);
        self.learn(event);
        if self.profile_changed {
            self.follow_dates();
            if let Some(zone) = zone {
                self.follow_move(&zone);
            }
        } else {
            before.clear();
        }
        match &event.body {
            Body::Track { name, properties } => self.happened(&Happening::of_event(event, name, properties), before),
            Body::Identify { .. } => self.asked(&Happening::of_event(event, "", &Object::new()), None, &before),
            Body::Delete => self.forget(event),
            Body::Send { campaign, properties, .. } => {
                self.asked(&Happening::of_event(event, "", properties), Some(campaign), &before);
            }
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
        let mut refused = 0;
        let mut learn = |traits| {
            let learned = profile.learn(traits, event.timestamp);
            changed |= learned.changed;
            refused += learned.refused;
        };
        learn(&event.context_traits);
        if let Body::Identify { traits } | Body::Send { traits, .. } = &event.body {
            learn(traits);
        }
        if refused > 0 {
            self.effects.push(Effect::TraitsRefused { count: refused });
        }
        self.profile_changed |= changed;
    }

    /// What traits may change, before they do.
    fn memberships_before(&self, event: &Event) -> Memberships {
        let mut before = Memberships::new();
        let says_traits = matches!(event.body, Body::Identify { .. } | Body::Send { .. });
        if says_traits || !event.context_traits.is_empty() || event.device_token.is_some() {
            let at = event.timestamp.max(self.now);
            self.in_force.index.by_membership().iter().for_each(|position| self.note_membership(&mut before, *position, at));
        }
        before
    }

    /// An input that is no event of the person: what comes of its traits, and the campaign that an API request names. One that does
    /// not exist, or is not for API requests, was refused over HTTP and is ignored from elsewhere: there is nothing to decide.
    fn asked(&mut self, event: &Happening, campaign: Option<&str>, before: &Memberships) {
        let crossed = self.crossings(before, event.timestamp.max(self.now));
        let mut matches: Vec<Match> = crossed.into_iter().map(|campaign| Match { campaign, role: Role::Joins }).collect();
        let asked = campaign.and_then(|key| self.in_force.by_key(key)).filter(|campaign| campaign.definition.trigger == Trigger::Api);
        let position = asked.and_then(|campaign| self.in_force.position(campaign.definition.id));
        matches.extend(position.map(|campaign| Match { campaign, role: Role::Fires }));
        matches.sort_unstable();
        self.trigger(&matches, event);
    }

    /// The person is to be forgotten. What was applied stays known, so that nothing comes back by being read again.
    fn forget(&mut self, event: &Event) {
        let record = &mut self.known.record;
        let timers = std::mem::take(&mut record.timers);
        let pending = std::mem::take(&mut record.pending);
        record.history = Default::default();
        record.sequences = Vec::new();
        record.occurrences = Vec::new();
        record.ledger = Default::default();
        record.resumed = Default::default();
        record.tombstone = record.tombstone.max(Some(event.timestamp));
        self.profile_changed |= !self.known.profile.is_empty();
        self.known.profile = Default::default();
        // Where nothing happened that would have led to a send, nothing was lost.
        for timer in timers.into_iter().filter(|timer| !matches!(timer.kind, TimerKind::UserDate | TimerKind::Membership)) {
            if let Some(campaign) = self.in_force.campaign(timer.campaign) {
                self.hold(campaign, &Occasion::of_timer(&timer), Reason::UserDeleted.into());
            }
        }
        for entry in pending {
            self.drop_pending(&entry, Reason::UserDeleted.into());
        }
    }
}

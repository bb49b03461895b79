//! An input of the log: applied once, traits first, then what it means to campaigns (`happening.rs`).

use super::claim::Occasion;
use super::happening::Happening;
use super::{Work, applied};
use crate::engine::definition::Trigger;
use crate::engine::effect::Reason;
use crate::engine::event::{Body, Event, Position};
use crate::engine::record::{TimerKind, TriggerKind};

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
        if self.profile_changed {
            self.follow_dates();
        }
        match &event.body {
            Body::Track { name, properties } => self.happened(&Happening::of_event(event, name, properties)),
            Body::Identify { .. } => {}
            Body::Delete => self.forget(event),
            Body::Send { campaign, properties, .. } => self.asked(&Happening::of_event(event, "", properties), campaign),
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

    /// An API request. It names its campaign; one that does not exist, or is not for API requests, was refused over HTTP and is
    /// ignored from elsewhere: there is nothing to decide.
    fn asked(&mut self, event: &Happening, campaign: &str) {
        let in_force: &'a _ = self.in_force;
        let Some(campaign) = in_force.by_key(campaign) else { return };
        if campaign.definition.trigger == Trigger::Api {
            self.decide(campaign, &Occasion::of_event(TriggerKind::Api, event));
        }
    }

    /// The person is to be forgotten. What was applied stays known, so that nothing comes back by being read again.
    fn forget(&mut self, event: &Event) {
        let record = &mut self.known.record;
        let timers = std::mem::take(&mut record.timers);
        let pending = std::mem::take(&mut record.pending);
        record.history = Vec::new();
        record.sequences = Vec::new();
        record.occurrences = Vec::new();
        record.ledger = Default::default();
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

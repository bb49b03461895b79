//! From an occasion through the gates to a claim: the moment from which a send counts, once, however often it is tried.

use std::borrow::Cow;

use super::gates::{self, Case, Stop};
use super::{Work, bounds};
use crate::engine::catalog::CampaignInForce;
use crate::engine::definition::Campaign;
use crate::engine::delivery::delivery_id;
use crate::engine::delivery::lease;
use crate::engine::effect::{Decision, Effect, Outcome, Reason, RuleShown};
use crate::engine::event::Event;
use crate::engine::fatigue;
use crate::engine::id::DeliveryId;
use crate::engine::record::{Arm, Claim, Pending, Phase, Timer};
use crate::engine::rendering::{self, Rendered, Triggered};
use crate::engine::time::Timestamp;
use crate::engine::trigger::correlation::{Key, NO_KEY};
use crate::engine::value::Object;

/// A reason to send, borrowed: most occasions come to nothing, and then nothing is copied.
pub(super) struct Occasion<'a> {
    /// `trigger.kind`: `action`, `inaction`, `api`.
    pub kind: &'static str,
    /// `trigger.event`; empty for an API request, which has none.
    pub event: &'a str,
    pub message_id: &'a str,
    pub timestamp: Timestamp,
    pub properties: &'a Object,
    /// When it fell due, if a clock ran.
    pub due: Option<Timestamp>,
    pub key: Key,
}

impl<'a> Occasion<'a> {
    pub fn of_event(kind: &'static str, event: &'a Event, name: &'a str, properties: &'a Object) -> Occasion<'a> {
        let (message_id, timestamp) = (&*event.message_id, event.timestamp);
        Occasion { kind, event: name, message_id, timestamp, properties, due: None, key: NO_KEY }
    }

    pub fn of_timer(timer: &'a Timer) -> Occasion<'a> {
        let origin = &timer.origin;
        Occasion {
            kind: "inaction",
            event: &origin.event,
            message_id: &origin.message_id,
            timestamp: origin.timestamp,
            properties: &origin.properties,
            due: Some(timer.due),
            key: timer.key,
        }
    }

    /// What tells this delivery from the campaign's others to the same user: the message, and the clock's key.
    fn instance(&self) -> Cow<'a, str> {
        match u64::from_be_bytes(self.key) {
            0 => self.message_id.into(),
            key => format!("{}/{key:016x}", self.message_id).into(),
        }
    }
}

impl Work<'_> {
    /// Takes an occasion through all gates, to a claim or to the reason why not.
    pub(super) fn decide(&mut self, campaign: &CampaignInForce, occasion: &Occasion) {
        let in_force = self.in_force;
        let definition = &campaign.definition;
        let identify = || delivery_id(&in_force.policy.id_key, definition.id, self.user, &occasion.instance());
        // A keyed hash costs more than all the gates: most occasions need none.
        let pending = &self.known.record.pending;
        let early = pending.iter().any(|entry| entry.campaign == definition.id).then(identify);
        if early.is_some_and(|id| pending.iter().any(|entry| entry.id == id)) {
            return;
        }
        if let Err(stop) = gates::judge(&self.case(definition), occasion) {
            return self.suppress(campaign, occasion.message_id, stop);
        }
        let id = early.unwrap_or_else(identify);
        match self.render(campaign, occasion, id) {
            Err(stop) => self.suppress(campaign, occasion.message_id, stop),
            Ok(rendered) if !bounds::has_room_for_claim(&self.known.record, &rendered.request) => {
                self.suppress(campaign, occasion.message_id, Reason::StateFull.into());
            }
            Ok(rendered) => self.claim(campaign, occasion.message_id, id, rendered),
        }
    }

    /// The decision line of a send that was held back.
    pub(super) fn suppress(&mut self, campaign: &CampaignInForce, event_id: &str, stop: Stop) {
        let claim = claim_of(&campaign.definition, event_id, self.now);
        let line = Decision {
            outcome: Outcome::Suppressed,
            reason: Some(stop.reason),
            rule: stop.rule,
            ..Decision::of_claim(self.user, &claim, None)
        };
        self.effects.push(Effect::Decided(Box::new(line)));
    }

    /// The line of a claimed send that will not go out after all.
    pub(super) fn drop_pending(&mut self, entry: &Pending, stop: Stop) {
        let sent = Decision::of_claim(self.user, &entry.claim, Some(entry.id));
        let line = Decision { at: self.now, outcome: Outcome::Suppressed, reason: Some(stop.reason), rule: stop.rule, ..sent };
        self.effects.push(Effect::Decided(Box::new(line)));
    }

    /// The `sent` line, the same word for word whenever it is repeated, and the dispatch.
    pub(super) fn send(&mut self, claim: &Claim, id: DeliveryId) {
        self.effects.push(Effect::Decided(Box::new(Decision::of_claim(self.user, claim, Some(id)))));
        self.effects.push(Effect::Send(id));
    }

    pub(super) fn case<'b>(&'b self, campaign: &'b Campaign) -> Case<'b> {
        Case {
            in_force: self.in_force,
            campaign,
            user: self.user,
            profile: &self.known.profile,
            ledger: &self.known.record.ledger,
            now: self.now,
        }
    }

    /// Gate 8.
    fn render(&self, campaign: &CampaignInForce, occasion: &Occasion, id: DeliveryId) -> Result<Rendered, Stop> {
        let scope = rendering::Scope {
            user_id: self.user,
            user: &self.known.profile,
            trigger: Triggered {
                kind: occasion.kind,
                event: occasion.event,
                message_id: occasion.message_id,
                timestamp: occasion.timestamp,
                properties: occasion.properties,
            },
            campaign: &campaign.definition,
            delivery: id,
            now: self.now,
        };
        let held = |held: rendering::Held| Stop { reason: held.reason, rule: Some(RuleShown::Text(held.why.into())) };
        rendering::render(&campaign.template, &scope).map_err(held)
    }

    /// The send counts from here, and its bytes are frozen.
    fn claim(&mut self, campaign: &CampaignInForce, event_id: &str, id: DeliveryId, rendered: Rendered) {
        let definition = &campaign.definition;
        let policy = &self.in_force.policy;
        fatigue::note_send(&mut self.known.record.ledger, definition, &self.in_force.workspace.frequency_caps, self.now);
        let claim = claim_of(definition, event_id, self.now);
        let lease = self.now.after(lease::length(self.in_force.destination_of(&definition.webhook).timeout));
        self.send(&claim, id);
        if rendered.missing > 0 {
            self.effects.push(Effect::VariableMissing { campaign: definition.key.clone(), count: rendered.missing });
        }
        self.known.record.pending.push(Pending {
            id,
            campaign: definition.id,
            claim,
            expires: self.now.after(policy.expires),
            phase: Phase::Sending { attempt: 1, lease },
            request: Some(rendered.request),
        });
    }
}

fn claim_of(campaign: &Campaign, event_id: &str, at: Timestamp) -> Claim {
    Claim {
        at,
        campaign: campaign.key.clone(),
        version: campaign.version,
        channel: campaign.channel.clone(),
        tags: campaign.tags.clone(),
        event_id: event_id.into(),
        arm: Arm::Treatment,
    }
}

//! From an occasion through the gates to a claim: the moment from which a send counts, once, however often it is tried.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use super::gates::{self, Case, Stop};
use super::happening::Happening;
use super::{Ask, Fetched, Known, Work, bounds, deferral, linking};
use crate::engine::catalog::{CampaignInForce, InForce};
use crate::engine::definition::Campaign;
use crate::engine::delivery::delivery_id;
use crate::engine::delivery::lease;
use crate::engine::effect::{Decision, Effect, Outcome, Reason};
use crate::engine::fatigue;
use crate::engine::history::History;
use crate::engine::id::DeliveryId;
use crate::engine::record::{Arm, Claim, ExposureKey, Origin, Pending, Phase, Timer, TimerKind, TriggerKind};
use crate::engine::rendering::{self, Rendered, Triggered};
use crate::engine::time::Timestamp;
use crate::engine::trigger::correlation::{self, Key, NO_KEY};
use crate::engine::value::{Object, Value};

/// A reason to send, borrowed: most occasions come to nothing, and then nothing is copied. [`Origin`] is its kept form.
#[derive(Clone, Copy)]
pub(super) struct Occasion<'a> {
    pub kind: TriggerKind,
    /// `trigger.event`; empty without an event.
    pub event: &'a str,
    /// Empty without an event.
    pub message_id: &'a str,
    /// Of the event, else when it fell due.
    pub timestamp: Timestamp,
    pub properties: &'a Object,
    /// `events.<name>` of a completed set.
    pub others: &'a [(Box<str>, Object)],
    /// How many sends led here.
    pub depth: u8,
    /// Which date or run it is.
    pub run: Option<&'a str>,
    /// When it fell due, if a clock ran.
    pub due: Option<Timestamp>,
    /// When it was first decided, if it was deferred since.
    pub decided: Option<Timestamp>,
    pub key: Key,
}

impl<'a> Occasion<'a> {
    pub fn of_event(kind: TriggerKind, event: &Happening<'a>) -> Occasion<'a> {
        let Happening { name, message_id, timestamp, properties, depth, .. } = *event;
        Occasion {
            kind,
            event: name,
            message_id,
            timestamp,
            properties,
            others: &[],
            depth,
            run: None,
            due: None,
            decided: None,
            key: NO_KEY,
        }
    }

    /// A scheduled run. `due`: when it reached the user.
    pub fn of_run(name: &'a str, at: Timestamp, due: Timestamp, none: &'a Object) -> Occasion<'a> {
        Occasion {
            kind: TriggerKind::Schedule,
            event: "",
            message_id: "",
            timestamp: at,
            properties: none,
            others: &[],
            depth: 0,
            run: Some(name),
            due: Some(due),
            decided: None,
            key: NO_KEY,
        }
    }

    pub fn of_timer(timer: &'a Timer) -> Occasion<'a> {
        let (due, decided) = match timer.kind {
            TimerKind::Deferred { decided } => (Some(timer.due), Some(decided)),
            TimerKind::Linking { due, decided } => (due, decided),
            _ => (Some(timer.due), None),
        };
        Occasion { due, decided, key: timer.key, ..Occasion::of_origin(&timer.origin) }
    }

    pub fn of_origin(origin: &'a Origin) -> Occasion<'a> {
        let Origin { kind, event, message_id, timestamp, properties, others, depth, run } = origin;
        let (timestamp, depth, run) = (*timestamp, *depth, run.as_deref());
        Occasion { kind: *kind, event, message_id, timestamp, properties, others, depth, run, due: None, decided: None, key: NO_KEY }
    }

    /// What a clock keeps of it.
    pub fn to_origin(self) -> Origin {
        Origin {
            kind: self.kind,
            event: self.event.into(),
            message_id: self.message_id.into(),
            timestamp: self.timestamp,
            properties: self.properties.clone(),
            others: self.others.to_vec(),
            depth: self.depth,
            run: self.run.map(Box::from),
        }
    }

    /// The message id; without an event, the instant at which it fell due.
    pub fn event_id(&self) -> Cow<'a, str> {
        if self.message_id.is_empty() { self.timestamp.to_string().into() } else { self.message_id.into() }
    }

    /// The scheduled run, as lines name it.
    pub fn scheduled_run(&self) -> Option<&'a str> {
        self.run.filter(|_| self.kind == TriggerKind::Schedule)
    }

    /// What tells this delivery from the campaign's others to the same user: the message, else the date or run, and the
    /// clock's key. However often it is deferred, it stays the same.
    pub fn instance(&self) -> Cow<'a, str> {
        let name = match self.run {
            Some(run) if self.message_id.is_empty() => run.into(),
            _ => self.event_id(),
        };
        match u64::from_be_bytes(self.key) {
            0 => name,
            key => format!("{name}/{key:016x}").into(),
        }
    }
}

impl Work<'_> {
    /// Takes an occasion through all gates, to a claim or to the reason why not.
    pub(super) fn decide(&mut self, campaign: &CampaignInForce, occasion: &Occasion) {
        self.decide_with(campaign, occasion, None);
    }

    /// The same with the linked content, if that was asked for.
    pub(super) fn decide_with(&mut self, campaign: &CampaignInForce, occasion: &Occasion, fetched: Option<&Fetched>) {
        // The store is asked one question at a time: what follows may turn out otherwise by its answer, and an answer lets somebody in.
        if !self.asks.is_empty() {
            return;
        }
        let in_force = self.in_force;
        let definition = &campaign.definition;
        let identify = || delivery_id(&in_force.policy.id_key, definition.id, self.user, &occasion.instance());
        // A keyed hash costs more than all the gates: most occasions need none.
        let pending = &self.known.record.pending;
        let early = pending.iter().any(|entry| entry.campaign == definition.id).then(identify);
        if early.is_some_and(|id| pending.iter().any(|entry| entry.id == id)) {
            return;
        }
        if deferral::is_deferred(&self.known.record.timers, definition.id, occasion) {
            return;
        }
        let case = self.case(definition, Some(occasion));
        if let Err(stop) = gates::judge(&case) {
            return self.stop(campaign, occasion, stop);
        }
        let unanswered = case.counter().filter(|counter| case.admission(counter).is_none()).zip(definition.limit);
        let id = early.unwrap_or_else(identify);
        let links = match fetched {
            _ if !campaign.template.has_links() => &[],
            Some(Ok(values)) if campaign.template.is_linked_by(values) => &values[..],
            Some(Err(why)) => return self.hold(campaign, occasion, linking::failed(why)),
            Some(Ok(_)) | None => return self.wish(campaign, occasion, id),
        };
        match self.render(campaign, occasion, id, links) {
            Err(stop) => self.hold(campaign, occasion, stop),
            Ok(rendered) if !self.has_room(definition, occasion, &rendered) => {
                self.hold(campaign, occasion, Reason::StateFull.into());
            }
            Ok(rendered) => match unanswered {
                Some((counter, limit)) => self.asks.push(Ask::Admitted { counter, limit: limit.users }),
                None => self.claim(campaign, occasion, id, rendered),
            },
        }
    }

    fn has_room(&self, campaign: &Campaign, occasion: &Occasion, rendered: &Rendered) -> bool {
        let record = &self.known.record;
        let key = exposure_key(campaign, occasion.properties);
        bounds::has_room_for_claim(record, campaign.id, &rendered.request)
            && fatigue::has_room(&record.ledger, campaign, key, Arm::Treatment, self.now)
    }

    /// The decision line of an occasion that comes to nothing.
    pub(super) fn hold(&mut self, campaign: &CampaignInForce, occasion: &Occasion, stop: Stop) {
        self.unsent(campaign, occasion, stop, None);
    }

    /// The line of one that does not, or not before `until`, lead to a send.
    pub(super) fn unsent(&mut self, campaign: &CampaignInForce, occasion: &Occasion, stop: Stop, until: Option<Timestamp>) {
        let claim = claim_of(&campaign.definition, occasion, self.now);
        let line = Decision {
            outcome: if until.is_some() { Outcome::Deferred } else { Outcome::Suppressed },
            reason: Some(stop.reason),
            rule: stop.rule,
            until,
            arm: self.case(&campaign.definition, None).arm(),
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

    /// The `sent` line, which says so when it is repeated, and the dispatch.
    pub(super) fn send(&mut self, claim: &Claim, id: DeliveryId) {
        self.announce(claim, id);
        self.effects.push(Effect::Send(id));
    }

    /// The `sent` line alone. A batch has none: those of its members are written.
    pub(super) fn announce(&mut self, claim: &Claim, id: DeliveryId) {
        if self.known.record.batch.is_none() {
            // What is pending already was announced when it came to be.
            let again = self.known.record.pending.iter().any(|entry| entry.id == id);
            let line = Decision { again, ..Decision::of_claim(self.user, claim, Some(id)) };
            self.effects.push(Effect::Decided(Box::new(line)));
        }
    }

    pub(super) fn case<'b>(&'b self, campaign: &'b Campaign, occasion: Option<&'b Occasion<'b>>) -> Case<'b> {
        let Known { record, profile, admitted, .. } = &self.known;
        let key = occasion.and_then(|occasion| exposure_key(campaign, occasion.properties));
        let decided = occasion.and_then(|occasion| occasion.decided).unwrap_or(self.now);
        let InForce { trackers, tracked, .. } = self.in_force;
        // The triggering event counts, though its time may be ahead of the clock.
        let at = occasion.map_or(self.now, |occasion| occasion.timestamp.max(self.now));
        let history = History { kept: &record.history, trackers, tracked, at };
        Case {
            in_force: self.in_force,
            campaign,
            user: self.user,
            profile,
            ledger: &record.ledger,
            history,
            admitted,
            occasion,
            key,
            decided,
            now: self.now,
            arm: OnceCell::new(),
        }
    }

    /// Gate 12.
    pub(super) fn render(
        &self,
        campaign: &CampaignInForce,
        occasion: &Occasion,
        id: DeliveryId,
        links: &[(Box<str>, Value)],
    ) -> Result<Rendered, Stop> {
        let scope = rendering::Scope { links, ..self.rendering_scope(campaign, occasion, id) };
        rendering::render(&campaign.template, &scope).map_err(Stop::from)
    }

    /// What templates see while nothing is fetched.
    pub(super) fn rendering_scope<'b>(
        &'b self,
        campaign: &'b CampaignInForce,
        occasion: &'b Occasion<'_>,
        delivery: DeliveryId,
    ) -> rendering::Scope<'b> {
        rendering::Scope {
            user_id: self.user,
            user: &self.known.profile,
            trigger: Triggered {
                kind: occasion.kind.as_str(),
                event: occasion.event,
                message_id: occasion.message_id,
                timestamp: occasion.timestamp,
                properties: occasion.properties,
                others: occasion.others,
            },
            campaign: &campaign.definition,
            delivery,
            now: self.now,
            links: &[],
        }
    }

    /// The send counts from here, and its bytes are frozen.
    fn claim(&mut self, campaign: &CampaignInForce, occasion: &Occasion, id: DeliveryId, rendered: Rendered) {
        let definition = &campaign.definition;
        let policy = &self.in_force.policy;
        let (ledger, caps) = (&mut self.known.record.ledger, &self.in_force.workspace.frequency_caps);
        let counts = fatigue::note_send(ledger, definition, exposure_key(definition, occasion.properties), caps, self.now);
        fatigue::open_goal(ledger, definition, Some(id), self.now);
        let claim = claim_of(definition, occasion, self.now);
        let route = self.in_force.destination_of(&definition.webhook);
        let lease = self.now.after(lease::length(route.timeout));
        let profile_at = rendered.profile_at.filter(|_| route.batch.is_some());
        self.announce(&claim, id);
        if profile_at.is_none() {
            self.effects.push(Effect::Send(id));
        }
        self.chain_sent(&claim, id, occasion);
        if let Some(run) = occasion.scheduled_run() {
            self.note_occurrence(definition.id, run);
        }
        let origin = self.kept_origin(occasion);
        if rendered.missing > 0 {
            self.effects.push(Effect::VariableMissing { campaign: definition.key.clone(), count: rendered.missing });
        }
        self.known.record.pending.push(Pending {
            id,
            campaign: definition.id,
            claim: Arc::new(claim),
            counts,
            expires: self.now.after(policy.expires),
            phase: Phase::Sending { attempt: 1, lease },
            origin,
            request: Some(Arc::new(rendered.request)),
        });
        if let Some(profile_at) = profile_at {
            self.hand_to_batch(self.known.record.pending.len() - 1, profile_at);
        }
    }
}

/// F1: what an exposure to this campaign is about.
fn exposure_key(campaign: &Campaign, properties: &Object) -> ExposureKey {
    let per = &campaign.fatigue.per;
    (!per.is_empty()).then(|| correlation::key(per.iter().map(|path| &**path), properties))
}

fn claim_of(campaign: &Campaign, occasion: &Occasion, at: Timestamp) -> Claim {
    Claim {
        at,
        campaign: campaign.key.clone(),
        version: campaign.version,
        channel: campaign.channel.clone(),
        tags: campaign.tags.clone(),
        event_id: occasion.event_id().into(),
        run: occasion.scheduled_run().map(Box::from),
        arm: Arm::Treatment,
    }
}

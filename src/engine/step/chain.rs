//! Chaining: what becomes of a send is an event like any other, of the same user and within the same step. `$sent` happens at the
//! claim, `$delivered` and `$failed` when the last attempt's lines are written.

use std::collections::VecDeque;

use super::Work;
use super::claim::Occasion;
use super::happening::Happening;
use super::memberships::Memberships;
use crate::engine::effect;
use crate::engine::id::DeliveryId;
use crate::engine::record::{Claim, Origin, Pending};
use crate::engine::step::Verdict;
use crate::engine::time::Timestamp;
use crate::engine::value::{Object, Value};

/// So many sends may each be triggered by the one before (contract, section 3).
pub const MAX_CHAIN: u8 = 8;

pub const SENT: &str = "$sent";
pub const DELIVERED: &str = "$delivered";
pub const FAILED: &str = "$failed";

/// An event that a send made and that is not handled yet.
#[derive(Debug)]
pub(super) struct Internal {
    name: &'static str,
    message_id: Box<str>,
    timestamp: Timestamp,
    properties: Object,
    depth: u8,
}

/// Events that sends made, the oldest first. Bounded by what a step can claim.
pub(super) type Internals = VecDeque<Internal>;

impl Work<'_> {
    /// Handles what sends made, and what that makes. It ends: each is one deeper than what made it.
    pub(super) fn follow_chain(&mut self) {
        while let Some(event) = self.internals.pop_front() {
            let Internal { name, message_id, timestamp, properties, depth } = &event;
            let (timestamp, depth) = (*timestamp, *depth);
            self.happened(&Happening { name, message_id, timestamp, properties, position: None, depth }, Memberships::new());
        }
    }

    /// A send was claimed.
    pub(super) fn chain_sent(&mut self, claim: &Claim, id: DeliveryId, occasion: &Occasion) {
        if self.in_force.index.knows(SENT) {
            let properties = properties(claim, id, original(occasion.event, occasion.properties), 0);
            self.internal(SENT, format!("{id}/{SENT}"), properties, occasion.depth);
        }
    }

    /// A delivery was settled. What triggered it is known where a campaign waited for this when it was claimed.
    pub(super) fn chain_settled(&mut self, entry: &Pending, verdict: Verdict, attempts: u32, status: Option<u16>, cause: Option<&str>) {
        let name = match verdict {
            Verdict::Delivered => DELIVERED,
            Verdict::Failed => FAILED,
        };
        if !self.in_force.index.knows(name) {
            return;
        }
        let unknown = Origin::default();
        let origin = entry.origin.as_deref().unwrap_or(&unknown);
        let mut properties = properties(&entry.claim, entry.id, original(&origin.event, &origin.properties), attempts);
        if let Some(status) = status {
            properties.insert("status", Value::Int(status.into()));
        }
        if let (Verdict::Failed, Some(cause)) = (verdict, cause) {
            properties.insert("error", Value::text(format!("{}: {cause}", effect::DISPATCH_FAILED)));
        }
        // What is sent again from its dead letter may end so twice. Not the number of attempts: a crash makes them more.
        let message_id = match self.known.record.resumed.find(entry.id).map_or(0, |resumed| resumed.before) {
            0 => format!("{}/{name}", entry.id),
            anew => format!("{}/{name}/{anew}", entry.id),
        };
        self.internal(name, message_id, properties, origin.depth);
    }

    /// What a delivery keeps of its trigger: all of it if a campaign waits for what becomes of deliveries. How many sends led to it in
    /// any case: a campaign that waits may be added before it is settled.
    pub(super) fn kept_origin(&self, occasion: &Occasion) -> Option<Box<Origin>> {
        let index = &self.in_force.index;
        if index.knows(DELIVERED) || index.knows(FAILED) {
            return Some(Box::new(Origin { others: Vec::new(), ..occasion.to_origin() }));
        }
        (occasion.depth > 0).then(|| Box::new(Origin { depth: occasion.depth, ..Origin::default() }))
    }

    fn internal(&mut self, name: &'static str, message_id: String, properties: Object, depth: u8) {
        let event = Internal { name, message_id: message_id.into(), timestamp: self.now, properties, depth: depth.saturating_add(1) };
        self.internals.push_back(event);
    }
}

/// The properties of the event that a chain began with. What a send made carries them as its `trigger`: they are handed on, so that they
/// stand at the same place however long the chain is. No event from outside is named so.
fn original<'o>(event: &str, properties: &'o Object) -> Option<&'o Object> {
    match event {
        SENT | DELIVERED | FAILED => properties.get("trigger").and_then(Value::as_object),
        _ => Some(properties),
    }
}

/// The properties of the contract, those of the original event as `trigger`.
fn properties(claim: &Claim, id: DeliveryId, trigger: Option<&Object>, attempts: u32) -> Object {
    let mut properties = Object::new();
    properties.insert("campaign", Value::text(claim.campaign.clone()));
    properties.insert("version", Value::Int(claim.version.into()));
    if let Some(channel) = &claim.channel {
        properties.insert("channel", Value::text(channel.clone()));
    }
    properties.insert("tags", Value::List(claim.tags.iter().map(|tag| Value::text(tag.clone())).collect()));
    properties.insert("delivery_id", Value::text(id.to_string()));
    properties.insert("message_id", Value::text(claim.event_id.clone()));
    properties.insert("attempts", Value::Int(attempts.into()));
    properties.insert("trigger", Value::Object(trigger.cloned().unwrap_or_default()));
    properties
}

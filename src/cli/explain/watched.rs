//! What is noted of a replay as it goes: the events that the campaign's trigger waits for, those of what became of other sends among them,
//! and what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::SeenEvent;
use super::together::{Met, Together};
use crate::engine::catalog::{CampaignInForce, InForce};
use crate::engine::definition::{Campaign, Trigger};
use crate::engine::effect::DISPATCH_FAILED;
use crate::engine::event::{Body, Event};
use crate::engine::record::{Origin, TriggerKind};
use crate::engine::step::{DELIVERED, FAILED, Known, Part, SENT, SeenView, seen};
use crate::engine::time::Timestamp;
use crate::engine::value::{Object, Value};
use crate::simulator::replay::Replay;

/// The latest events of interest to the trigger that are shown.
const MAX_SEEN: usize = 20;

/// What stands in `event` of a request to send, which is no event of the user.
const SEND: &str = "send";

pub struct Watched<'a> {
    in_force: &'a InForce,
    campaign: &'a Campaign,
    pub user: Arc<str>,
    pub seen: Vec<SeenEvent>,
    /// Outcome lines of the campaign.
    pub lines: Vec<Json>,
    /// Of the latest event that met the trigger: what the gates are shown for.
    pub origin: Origin,
    /// The properties of the event that a chain began with, by the id of each of its events.
    originals: BTreeMap<Box<str>, Object>,
    together: Together,
    /// What the events of a delivery say, by its id: its claim's.
    claims: BTreeMap<String, Object>,
}

impl<'a> Watched<'a> {
    pub fn new(user: &str, in_force: &'a InForce, campaign: &'a CampaignInForce) -> Watched<'a> {
        let campaign = &campaign.definition;
        let origin = Origin { kind: TriggerKind::of(&campaign.trigger), message_id: "explain".into(), ..Origin::default() };
        let (seen, lines, originals, claims) = (Vec::new(), Vec::new(), BTreeMap::new(), BTreeMap::new());
        Watched { in_force, campaign, user: user.into(), seen, lines, origin, originals, together: Together::default(), claims }
    }

    /// `replay` has just applied the event, if there is one, and done what was due before it.
    pub fn note(&mut self, replay: &mut Replay, event: Option<&Event>) {
        let known = replay.known(&self.user);
        // Before the lines that it led to: they may tell of what it began.
        match event.map(|event| (event, &event.body)) {
            Some((event, Body::Track { name, properties })) => {
                self.originals.insert(event.message_id.clone(), properties.clone());
                self.happened(&known, name, &event.message_id, event.timestamp, properties);
            }
            Some((event, Body::Send { campaign, properties, .. })) => {
                self.originals.insert(event.message_id.clone(), properties.clone());
                if **campaign == *self.campaign.key && self.campaign.trigger == Trigger::Api {
                    let parts = vec![SeenView { part: Part::Api, meets: true, compared: Vec::new() }];
                    self.saw(SeenEvent { at: event.timestamp, event_id: event.message_id.clone(), event: SEND.into(), parts });
                    self.origin_of("", properties);
                }
            }
            Some((_, Body::Identify { .. } | Body::Delete)) | None => {}
        }
        for line in replay.take().lines {
            let Ok(line) = serde_json::from_slice::<Json>(&line) else { continue };
            if line["user_id"].as_str() != Some(&*self.user) {
                continue;
            }
            self.follow(&known, &line);
            if line["campaign"].as_str() == Some(&*self.campaign.key) {
                self.lines.push(line);
            }
        }
    }

    /// The event that a line tells of, as the chain has it (contract, section 3).
    fn follow(&mut self, known: &Known, line: &Json) {
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        let (Some(at), delivery) = (Timestamp::parse(text("at")), text("delivery_id").to_owned()) else { return };
        let (name, properties) = match (text("type"), text("outcome"), text("result")) {
            ("decision", "sent", _) => {
                let mut claim = Object::new();
                for name in ["campaign", "version", "channel", "tags", "delivery_id"] {
                    // A line is JSON, and so is a value.
                    if let Ok(value) = Value::from_json(&line[name].to_string())
                        && value != Value::Null
                    {
                        claim.insert(name, value);
                    }
                }
                claim.insert("message_id", Value::text(text("event_id")));
                let original = self.originals.get(text("event_id")).cloned().unwrap_or_default();
                claim.insert("trigger", Value::Object(original));
                self.claims.insert(delivery.clone(), claim.clone());
                claim.insert("attempts", Value::Int(0));
                (SENT, claim)
            }
            ("attempt", _, result @ ("delivered" | "failed")) => {
                let Some(mut claim) = self.claims.get(&delivery).cloned() else { return };
                claim.insert("attempts", Value::Int(line["attempt"].as_i64().unwrap_or(0)));
                if let Some(status) = line["status"].as_i64() {
                    claim.insert("status", Value::Int(status));
                }
                if result == "delivered" {
                    (DELIVERED, claim)
                } else {
                    claim.insert("error", Value::text(format!("{DISPATCH_FAILED}: {}", text("cause"))));
                    (FAILED, claim)
                }
            }
            _ => return,
        };
        let event_id: Box<str> = format!("{delivery}/{name}").into();
        let original = properties.get("trigger").and_then(Value::as_object).cloned().unwrap_or_default();
        self.originals.insert(event_id.clone(), original);
        self.happened(known, name, &event_id, at, &properties);
    }

    fn happened(&mut self, known: &Known, name: &str, event_id: &str, at: Timestamp, properties: &Object) {
        let mut parts = seen(self.in_force, &self.user, known, self.campaign, (name, properties, at));
        self.together.compare(&self.campaign.trigger, &Met::new(name, event_id, at, properties), &mut parts, known);
        if parts.iter().any(SeenView::triggers) {
            self.origin_of(name, properties);
        }
        if !parts.is_empty() {
            self.saw(SeenEvent { at, event_id: event_id.into(), event: name.into(), parts });
        }
    }

    /// In order of time: what fell due before an event is told after it.
    fn saw(&mut self, event: SeenEvent) {
        let place = self.seen.partition_point(|earlier| earlier.at <= event.at);
        self.seen.insert(place, event);
        if self.seen.len() > MAX_SEEN {
            self.seen.remove(0);
        }
    }

    fn origin_of(&mut self, name: &str, properties: &Object) {
        self.origin = Origin { event: name.into(), properties: properties.clone(), ..std::mem::take(&mut self.origin) };
    }
}

//! Actions: an event that is one of several. What has happened of a set is kept until it is complete.

use super::claim::Occasion;
use super::happening::Happening;
use super::{Work, bounds};
use crate::engine::catalog::CampaignInForce;
use crate::engine::definition::Actions;
use crate::engine::effect::Reason;
use crate::engine::record::{Happened, TriggerKind};
use crate::engine::time::Timestamp;
use crate::engine::trigger::{actions, correlation};
use crate::engine::value::Object;

impl Work<'_> {
    /// Collects an event that meets these of the campaign's, a bit each. The set that it completes is an occasion, whose event is the last by time; the gates judge it also
    /// while the campaign is paused, and it is used up whatever they say.
    pub(super) fn one_of_several(&mut self, campaign: &CampaignInForce, actions: &Actions, meets: u8, event: &Happening) {
        let definition = &campaign.definition;
        let key = correlation::key(actions.same.iter().map(|path| &**path), event.properties);
        let happened = Happened {
            meets,
            event: event.name.into(),
            message_id: event.message_id.into(),
            timestamp: event.timestamp,
            properties: event.properties.clone(),
            depth: event.depth,
        };
        if !bounds::has_room_for_happened(&self.known.record, &happened) {
            return self.hold(campaign, &Occasion::of_event(TriggerKind::Actions, event), Reason::StateFull.into());
        }
        // Out of the record meanwhile: what of it is met is judged with the record in view.
        let mut sequences = std::mem::take(&mut self.known.record.sequences);
        let sequence = actions::sequence(&mut sequences, definition.id, key, definition.version);
        if sequence.version != definition.version {
            sequence.version = definition.version;
            sequence
                .happened
                .iter_mut()
                .for_each(|known| known.meets = self.meets(actions, &known.event, known.timestamp, &known.properties));
            sequence.happened.retain(|known| known.meets != 0);
        }
        let complete = actions::add(sequence, actions, happened);
        sequences.retain(|sequence| !sequence.happened.is_empty());
        self.known.record.sequences = sequences;
        if let Some(set) = complete {
            self.decide_set(campaign, set, key);
        }
    }

    fn decide_set(&mut self, campaign: &CampaignInForce, mut set: Vec<Happened>, key: correlation::Key) {
        set.sort_by_key(|happened| happened.timestamp);
        let depth = set.iter().map(|happened| happened.depth).max().unwrap_or(0);
        let Some(last) = set.last() else { return };
        // Of two events of one name the later one is `events.<name>`.
        let mut others: Vec<(Box<str>, Object)> = Vec::new();
        for happened in set.iter().rev() {
            if others.iter().all(|(name, _)| *name != happened.event) {
                others.push((happened.event.clone(), happened.properties.clone()));
            }
        }
        let Happened { event, message_id, timestamp, properties, .. } = last;
        let event = Happening { name: event, message_id, timestamp: *timestamp, properties, position: None, depth };
        self.decide(campaign, &Occasion { others: &others, key, ..Occasion::of_event(TriggerKind::Actions, &event) });
    }

    /// The same again, after an edit.
    fn meets(&self, actions: &Actions, name: &str, at: Timestamp, properties: &Object) -> u8 {
        let bits = actions.events.iter().zip(0..u8::BITS);
        let met = bits.filter(|(pattern, _)| *pattern.event == *name && self.holds(pattern, at, properties));
        met.fold(0, |meets, (_, bit)| meets | 1 << bit)
    }
}

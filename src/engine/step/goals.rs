//! Conversions: a goal's event after a send, or after what was held out. One line for each exposure; a line that may have been lost
//! with a worker is repeated when its event is read again.

use super::Work;
use super::happening::Happening;
use crate::engine::effect::{Conversion, Effect};
use crate::engine::event::Event;
use crate::engine::fatigue;
use crate::engine::matching::{Match, Role};
use crate::engine::record::{Arm, OpenGoal};
use crate::engine::time::Timestamp;

impl Work<'_> {
    /// What this event converts, of the campaigns whose goal it is.
    pub(super) fn convert(&mut self, matches: &[Match], event: &Happening) {
        for found in matches.iter().filter(|found| found.role == Role::Converts) {
            let Some(campaign) = self.in_force.campaigns.get(found.campaign as usize) else { continue };
            let ledger = &mut self.known.record.ledger;
            if let Some(goal) = fatigue::convert(ledger, campaign.definition.id, event.message_id, event.timestamp) {
                self.converted(&goal, event.message_id, event.timestamp);
            }
        }
    }

    /// The event was applied before: its lines, once more.
    pub(super) fn convert_again(&mut self, event: &Event) {
        let goals: Vec<OpenGoal> = fatigue::converted_by(&self.known.record.ledger, &event.message_id).copied().collect();
        goals.iter().for_each(|goal| self.converted(goal, &event.message_id, event.timestamp));
    }

    fn converted(&mut self, goal: &OpenGoal, event_id: &str, at: Timestamp) {
        let Some(campaign) = self.in_force.campaign(goal.campaign) else { return };
        self.effects.push(Effect::Converted(Box::new(Conversion {
            at,
            campaign: campaign.definition.key.clone(),
            user_id: self.user.clone(),
            arm: if goal.delivery.is_some() { Arm::Treatment } else { Arm::Control },
            event_id: event_id.into(),
            sent_at: goal.sent_at,
            delivery_id: goal.delivery,
        })));
    }
}

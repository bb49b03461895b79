//! C6: exposures whose conversion is waited for, of both arms. One event converts at most one exposure of a campaign, the last
//! before it; an exposure converts once. What was converted stays noted: whoever reads the event again can repeat the line.

use crate::engine::definition::Campaign;
use crate::engine::id::{CampaignId, DeliveryId, stable_hash};
use crate::engine::record::{Ledger, OpenGoal};
use crate::engine::time::Timestamp;

/// Exposures whose conversion a record waits for, or has noted, over all campaigns. Beyond, the oldest that is converted gives way, else
/// the oldest.
pub const MAX_OPEN_GOALS: usize = 32;

/// Waits for the conversion of what was sent (or, without a delivery, held out) at `now`, if the campaign has a goal.
pub fn open_goal(ledger: &mut Ledger, campaign: &Campaign, delivery: Option<DeliveryId>, now: Timestamp) {
    let Some(goal) = &campaign.goal else { return };
    if ledger.goals.len() >= MAX_OPEN_GOALS {
        let converted = ledger.goals.iter().position(|open| open.converted.is_some());
        ledger.goals.remove(converted.unwrap_or(0));
    }
    let place = ledger.goals.partition_point(|open| open.sent_at <= now);
    let until = now.after(goal.within);
    ledger.goals.insert(place, OpenGoal { campaign: campaign.id, sent_at: now, until, delivery, converted: None });
}

/// A send that never started is no exposure.
pub fn close_goal(ledger: &mut Ledger, delivery: DeliveryId) {
    ledger.goals.retain(|open| open.delivery != Some(delivery));
}

/// A goal event of a campaign happened at `at`: the exposure that it converts.
pub fn convert(ledger: &mut Ledger, campaign: CampaignId, message_id: &str, at: Timestamp) -> Option<OpenGoal> {
    let fits = |open: &&mut OpenGoal| open.campaign == campaign && open.converted.is_none() && open.sent_at <= at && at < open.until;
    let goal = ledger.goals.iter_mut().rev().find(fits)?;
    goal.converted = Some(hash(message_id));
    Some(*goal)
}

/// The exposures that this event converted when it was applied: their lines may not have been written yet.
pub fn converted_by<'a>(ledger: &'a Ledger, message_id: &str) -> impl Iterator<Item = &'a OpenGoal> {
    let event = (!ledger.goals.is_empty()).then(|| hash(message_id));
    ledger.goals.iter().filter(move |open| open.converted.is_some() && open.converted == event)
}

fn hash(message_id: &str) -> [u8; 8] {
    stable_hash(&[b"goal", message_id.as_bytes()]).to_le_bytes()
}

//! Duplicate sends, frequency caps, quiet hours, control groups, and the conversions that are waited for. This room alone reads and
//! writes the ledger; it judges and notes, it never sends.
//!
//! All times here are times of decision, but those of goal events. Windows are half open: a send exactly W ago no longer counts. A
//! send that lies in the future (the clock went back) counts.

use super::definition::{Campaign, FrequencyCap};
use super::id::CampaignId;
use super::record::{Arm, Claim, CountedSend, Counts, Exposure, ExposureKey, Ledger};
use super::time::Timestamp;

mod caps;
mod control;
mod exposure;
mod goals;
mod quiet;

#[cfg(test)]
mod tests;

pub use caps::{Counted, LONGEST_CAP, MIN_COUNTED_SENDS, concerned, counted, exceeded};
pub use control::{held_out, share};
pub use exposure::{MAX_EXPOSURE_KEYS, Repeat, exposed, last, repeat};
pub use goals::{MAX_OPEN_GOALS, close_goal, convert, converted_by, open_goal};
pub use quiet::quiet_until;

/// F5: a send starts at `now`. Counts it once, however often it will be retried. The answer is what [`give_back`] and [`refund`] ask
/// for.
pub fn note_send(ledger: &mut Ledger, campaign: &Campaign, key: ExposureKey, caps: &[FrequencyCap], now: Timestamp) -> Counts {
    exposure::note(ledger, campaign, key, Arm::Treatment, now);
    let in_caps = campaign.fatigue.frequency_cap;
    if in_caps {
        let place = ledger.sends.partition_point(|send| send.at <= now);
        let labels = caps::labels(campaign.channel.as_deref(), &campaign.tags);
        ledger.sends.insert(place, CountedSend { at: now, labels });
        caps::prune(ledger, caps, now);
    }
    Counts { key, in_caps }
}

/// C7: what would have been sent at `now` is held out. No cap counts it.
pub fn note_held_out(ledger: &mut Ledger, campaign: &Campaign, key: ExposureKey, now: Timestamp) {
    exposure::note(ledger, campaign, key, Arm::Control, now);
}

/// Undoes [`note_send`] for a send that never started.
pub fn give_back(ledger: &mut Ledger, campaign: &Campaign, claim: &Claim, counts: Counts) {
    refund(ledger, claim, counts);
    exposure::give_back(ledger, campaign, counts.key, claim.at);
}

/// F5: the send failed for good: caps count it no longer. That it was sent stays known. Whoever was sent something in its
/// place keeps it: a 2xx that turns up later changes nothing.
pub fn refund(ledger: &mut Ledger, claim: &Claim, counts: Counts) {
    if !counts.in_caps {
        return;
    }
    let labels = caps::labels(claim.channel.as_deref(), &claim.tags);
    if let Some(place) = ledger.sends.iter().position(|send| send.at == claim.at && send.labels == labels) {
        ledger.sends.remove(place);
    }
}

/// Whether this claim is among what the ledger knows: a ledger that began anew since, or has forgotten it, does not know it.
pub fn knows(ledger: &Ledger, campaign: CampaignId, claim: &Claim, counts: Counts) -> bool {
    exposure::knows(ledger, campaign, counts.key, claim.at)
}

/// Forgets sends that no cap can count any more, goals that no event still to be read (none is older than `horizon`) can meet, and
/// exposures that `keep` does not want.
pub fn prune(ledger: &mut Ledger, caps: &[FrequencyCap], now: Timestamp, horizon: Timestamp, keep: impl Fn(&Exposure) -> bool) {
    ledger.exposures.retain(keep);
    ledger.goals.retain(|goal| goal.until > horizon);
    caps::prune(ledger, caps, now);
}

/// Whether nothing is known.
pub fn is_empty(ledger: &Ledger) -> bool {
    ledger.exposures.is_empty() && ledger.sends.is_empty() && ledger.goals.is_empty()
}

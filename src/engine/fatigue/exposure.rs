//! F1, F2: who was reached by which campaign when, and whether again. Bounded by forgetting; it never forgets all of a campaign.

use crate::engine::definition::{Campaign, Resend};
use crate::engine::effect::Reason;
use crate::engine::id::CampaignId;
use crate::engine::record::{Arm, Exposure, ExposureKey, Ledger};
use crate::engine::time::Timestamp;

/// Keys of `fatigue.per` that a record knows of one campaign and arm. Beyond, the one that was sent longest ago is forgotten, and
/// could be sent again: late events are not, so its trigger would have to happen anew.
pub const MAX_EXPOSURE_KEYS: usize = 64;

/// A send that would come too soon, or once too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// `already_sent` or `resend_wait`.
    pub reason: Reason,
    pub last: Timestamp,
    /// From when it would not, if ever.
    pub frees: Option<Timestamp>,
}

/// Whether [`last`] forbids that this campaign reaches this user (with `per`: for this key) again.
pub fn repeat(ledger: &Ledger, campaign: &Campaign, key: ExposureKey, arm: Arm, now: Timestamp) -> Option<Repeat> {
    let last = last(ledger, campaign, key, arm)?;
    match campaign.fatigue.resend {
        Resend::Always => None,
        Resend::Never => Some(Repeat { reason: Reason::AlreadySent, last, frees: None }),
        Resend::After(span) if last > now.before(span) => Some(Repeat { reason: Reason::ResendWait, last, frees: Some(last.after(span)) }),
        Resend::After(_) => None,
    }
}

/// When this campaign last reached this user, or this key. Who is held out counts as reached among those who are held out; somebody who
/// leaves the control group was sent nothing yet. A campaign that had keys and has none any more counts all of them.
pub fn last(ledger: &Ledger, campaign: &Campaign, key: ExposureKey, arm: Arm) -> Option<Timestamp> {
    let same = |known: &&Exposure| known.campaign == campaign.id && (key.is_none() || known.key == key);
    let counts = |known: &&Exposure| arm == Arm::Control || known.arm == Arm::Treatment;
    ledger.exposures.iter().filter(same).filter(counts).map(|known| known.last).max()
}

/// Over all keys: when this campaign last reached this user, and how often. Who is held out was not reached.
pub fn exposed(ledger: &Ledger, campaign: CampaignId) -> Option<(Timestamp, u64)> {
    let reached = ledger.exposures.iter().filter(|known| known.campaign == campaign && known.arm == Arm::Treatment);
    reached.fold(None, |all, known| match all {
        None => Some((known.last, u64::from(known.count))),
        Some((last, times)) => Some((known.last.max(last), times + u64::from(known.count))),
    })
}

pub(super) fn note(ledger: &mut Ledger, campaign: &Campaign, key: ExposureKey, arm: Arm, now: Timestamp) {
    let of_campaign = |known: &Exposure| known.campaign == campaign.id && known.arm == arm;
    if let Some(known) = ledger.exposures.iter_mut().find(|known| of_campaign(known) && known.key == key) {
        known.last = known.last.max(now);
        known.count = known.count.saturating_add(1);
        return;
    }
    let known = ledger.exposures.iter().enumerate().filter(|(_, known)| of_campaign(known));
    if known.clone().count() >= MAX_EXPOSURE_KEYS {
        let oldest = known.min_by_key(|(_, known)| known.last).map(|(place, _)| place);
        oldest.map(|place| ledger.exposures.remove(place));
    }
    ledger.exposures.push(Exposure { campaign: campaign.id, key, arm, last: now, count: 1 });
}

/// Whether a send at `claimed` can be among those noted: it is the last, or there is one before the last.
pub(super) fn knows(ledger: &Ledger, campaign: CampaignId, key: ExposureKey, claimed: Timestamp) -> bool {
    let same = |known: &&Exposure| known.campaign == campaign && known.arm == Arm::Treatment && known.key == key;
    ledger.exposures.iter().find(same).is_some_and(|known| known.last == claimed || (known.last > claimed && known.count > 1))
}

/// Undoes [`note`] for a send that never started. What was sent before it stays known, as far as it matters: it was allowed
/// then, so the send before lay at least the resend period back.
pub(super) fn give_back(ledger: &mut Ledger, campaign: &Campaign, key: ExposureKey, claimed: Timestamp) {
    let same = |known: &Exposure| known.campaign == campaign.id && known.arm == Arm::Treatment && known.key == key;
    let Some(place) = ledger.exposures.iter().position(same) else { return };
    let known = &mut ledger.exposures[place];
    known.count = known.count.saturating_sub(1);
    if known.count == 0 {
        ledger.exposures.remove(place);
    } else if let (Resend::After(span), true) = (campaign.fatigue.resend, known.last == claimed) {
        known.last = claimed.before(span);
    }
}

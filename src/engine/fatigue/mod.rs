//! Duplicate sends and frequency caps. This room alone reads and writes the ledger; it judges and notes, it never sends.
//!
//! All times here are times of decision. Windows are half open: a send exactly W ago no longer counts. A send that lies in the
//! future (the clock went back) counts.

use std::time::Duration;

use super::definition::{Campaign, FrequencyCap, Period, Resend};
use super::effect::Reason;
use super::id::stable_hash;
use super::record::{Claim, CountedSend, Exposure, Ledger};
use super::time::Timestamp;

/// Counted sends a ledger keeps even if no cap asks for them: a cap that is defined tomorrow finds them.
pub const MIN_COUNTED_SENDS: usize = 16;

/// The longest window of a cap (contract, section 3): older sends are forgotten.
pub const LONGEST_CAP: Duration = Duration::from_secs(30 * 86_400);

/// F1, F2: whether this campaign may reach this user again.
pub fn resend(ledger: &Ledger, campaign: &Campaign, now: Timestamp) -> Result<(), Reason> {
    let Some(exposure) = exposure(ledger, campaign) else { return Ok(()) };
    match campaign.fatigue.resend {
        Resend::Always => Ok(()),
        Resend::Never => Err(Reason::AlreadySent),
        Resend::After(span) if exposure.last > now.before(span) => Err(Reason::ResendWait),
        Resend::After(_) => Ok(()),
    }
}

/// F3, F4: the first cap that this send would exceed.
pub fn exceeded<'a>(ledger: &Ledger, campaign: &Campaign, caps: &'a [FrequencyCap], now: Timestamp) -> Option<&'a FrequencyCap> {
    if !campaign.fatigue.frequency_cap || caps.is_empty() {
        return None;
    }
    caps.iter().filter(|cap| concerns(cap, campaign)).find(|cap| {
        let limit = usize::try_from(cap.limit).unwrap_or(usize::MAX);
        // Labels are hashed only where it may come to that.
        ledger.sends.len() >= limit && {
            let labels = labels_of_cap(cap);
            ledger.sends.iter().filter(|send| send.at > now.before(window(cap)) && carries(send, &labels)).count() >= limit
        }
    })
}

/// F5: a send starts at `now`. Counts it once, however often it will be retried.
pub fn note_send(ledger: &mut Ledger, campaign: &Campaign, caps: &[FrequencyCap], now: Timestamp) {
    match ledger.exposures.iter_mut().find(|exposure| exposure.campaign == campaign.id) {
        Some(exposure) => {
            exposure.last = exposure.last.max(now);
            exposure.count = exposure.count.saturating_add(1);
        }
        None => ledger.exposures.push(Exposure { campaign: campaign.id, last: now, count: 1 }),
    }
    if campaign.fatigue.frequency_cap {
        let place = ledger.sends.partition_point(|send| send.at <= now);
        let labels = labels(campaign.channel.as_deref(), &campaign.tags);
        ledger.sends.insert(place, CountedSend { at: now, labels });
        prune_sends(ledger, caps, now);
    }
}

/// Undoes [`note_send`] for a send that never started. What was sent before it stays known, as far as it matters: it was allowed
/// then, so the send before lay at least the resend period back.
pub fn give_back(ledger: &mut Ledger, campaign: &Campaign, claim: &Claim) {
    let labels = labels(claim.channel.as_deref(), &claim.tags);
    if let Some(place) = ledger.sends.iter().position(|send| send.at == claim.at && send.labels == labels) {
        ledger.sends.remove(place);
    }
    let Some(place) = ledger.exposures.iter().position(|exposure| exposure.campaign == campaign.id) else { return };
    let exposure = &mut ledger.exposures[place];
    exposure.count = exposure.count.saturating_sub(1);
    if exposure.count == 0 {
        ledger.exposures.remove(place);
    } else if let (Resend::After(span), true) = (campaign.fatigue.resend, exposure.last == claim.at) {
        exposure.last = claim.at.before(span);
    }
}

/// Forgets sends that no cap can count any more, and exposures that `keep` does not want.
pub fn prune(ledger: &mut Ledger, caps: &[FrequencyCap], now: Timestamp, keep: impl Fn(&Exposure) -> bool) {
    ledger.exposures.retain(keep);
    prune_sends(ledger, caps, now);
}

/// Whether nothing is known.
pub fn is_empty(ledger: &Ledger) -> bool {
    ledger.exposures.is_empty() && ledger.sends.is_empty()
}

/// A send stays while it is among the newest [`MIN_COUNTED_SENDS`], or among the newest `limit` that some cap counts: more than
/// that no cap needs, less would let mails push the text messages out of sight.
fn prune_sends(ledger: &mut Ledger, caps: &[FrequencyCap], now: Timestamp) {
    ledger.sends.retain(|send| send.at > now.before(LONGEST_CAP));
    if ledger.sends.len() <= MIN_COUNTED_SENDS {
        return;
    }
    let mut room: Vec<(u32, Vec<Label>, Timestamp)> =
        caps.iter().map(|cap| (cap.limit, labels_of_cap(cap), now.before(window(cap)))).collect();
    let count = ledger.sends.len();
    let mut kept: Vec<bool> = vec![false; count];
    for (place, send) in ledger.sends.iter().enumerate().rev() {
        kept[place] = place + MIN_COUNTED_SENDS >= count;
        for (left, labels, from) in &mut room {
            if *left > 0 && send.at > *from && carries(send, labels) {
                *left -= 1;
                kept[place] = true;
            }
        }
    }
    let mut kept = kept.into_iter();
    ledger.sends.retain(|_| kept.next().unwrap_or(true));
}

fn exposure<'a>(ledger: &'a Ledger, campaign: &Campaign) -> Option<&'a Exposure> {
    ledger.exposures.iter().find(|exposure| exposure.campaign == campaign.id)
}

fn concerns(cap: &FrequencyCap, campaign: &Campaign) -> bool {
    let channel = cap.channel.as_ref().is_none_or(|channel| campaign.channel.as_ref() == Some(channel));
    channel && cap.tag.as_ref().is_none_or(|tag| campaign.tags.contains(tag))
}

fn window(cap: &FrequencyCap) -> Duration {
    match cap.period {
        Period::Sliding(span) => span,
        Period::Calendar(_) => LONGEST_CAP,
    }
}

/// A channel or a tag in four bytes. Two that collide count for each other, once in four thousand million pairs.
type Label = [u8; 4];

fn label(kind: &str, name: &str) -> Label {
    let hash = stable_hash(&[kind.as_bytes(), name.as_bytes()]).to_le_bytes();
    [hash[0], hash[1], hash[2], hash[3]]
}

fn labels(channel: Option<&str>, tags: &[Box<str>]) -> Vec<Label> {
    channel.map(|name| label("channel", name)).into_iter().chain(tags.iter().map(|name| label("tag", name))).collect()
}

fn labels_of_cap(cap: &FrequencyCap) -> Vec<Label> {
    labels(cap.channel.as_deref(), cap.tag.as_slice())
}

fn carries(send: &CountedSend, labels: &[Label]) -> bool {
    labels.iter().all(|label| send.labels.contains(label))
}

#[cfg(test)]
mod tests;

//! A dead letter is sent again: its delivery is pending once more, with the same id, the same bytes and the next attempt. The record is
//! the arbiter here too: what went on since, is under way, or is no longer known stays as it is.

use std::time::Duration;

use super::pending::POSTPONED;
use super::{Known, Trace, Work, bounds};
use crate::engine::catalog::InForce;
use crate::engine::definition::Status;
use crate::engine::effect::{Effect, Reason};
use crate::engine::fatigue;
use crate::engine::id::{DeliveryId, UserId};
use crate::engine::record::{Dead, Pending, Phase};
use crate::engine::time::Timestamp;

/// A dead letter older than this is not sent again: a record remembers for as long what went on. Kafka keeps the letters for 14 days,
/// unless told otherwise.
pub const LETTERS_COUNT: Duration = Duration::from_secs(30 * 86_400);

/// Why a dead letter is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A later attempt of it was made, or is to be made.
    UnderWay,
    /// It went on after what the letter tells: it was sent again already, or was delivered after all.
    WentOn,
    CampaignEnded,
    CampaignPaused,
    /// The user was deleted, or the record has forgotten this claim: whether it may be sent, nobody can say.
    Forgotten,
    /// The record no longer knows what went on so long ago.
    TooOld,
    /// It must claim again, and this gate is shut.
    Gate(Reason),
}

impl Refusal {
    /// For people, and for counts.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::UnderWay => "under way",
            Refusal::WentOn => "already sent again or delivered",
            Refusal::CampaignEnded => "campaign ended",
            Refusal::CampaignPaused => "campaign not running",
            Refusal::Forgotten => "user deleted or claim forgotten",
            Refusal::TooOld => "too old",
            Refusal::Gate(reason) => reason.as_str(),
        }
    }
}

/// Why it does not start now.
enum Not {
    Ever(Refusal),
    Before(Timestamp),
}

/// Whether this letter would be sent again as things stand; what waits for its time counts as sent.
pub fn redrivable(in_force: &InForce, user: &UserId, known: &Known, dead: &Dead, now: Timestamp) -> Result<(), Refusal> {
    let mut work = Work::new(in_force, user, known.clone(), now);
    match work.readmit(dead) {
        Err(Not::Ever(refusal)) => Err(refusal),
        Err(Not::Before(_)) | Ok(()) => Ok(()),
    }
}

impl Work<'_> {
    /// Given twice it changes nothing: the delivery is pending by then, or noted as having gone on.
    pub(super) fn redrive(&mut self, dead: &Dead) {
        match self.readmit(dead) {
            Ok(()) => {}
            Err(Not::Ever(_)) => self.skip(),
            Err(Not::Before(until)) => {
                self.trace = Trace::Judged;
                self.effects.push(Effect::Postpone { id: dead.entry.id, until });
            }
        }
    }

    fn readmit(&mut self, dead: &Dead) -> Result<(), Not> {
        let attempts = dead.entry.phase.attempt();
        self.is_over(dead, attempts)?;
        let in_force = self.in_force;
        let Some(campaign) = in_force.campaign(dead.entry.campaign) else { return Err(Not::Ever(Refusal::CampaignEnded)) };
        let Some(request) = &dead.entry.request else { return Err(Not::Ever(Refusal::Forgotten)) };
        if attempts > 0
            && let Some(end) = self.quiet_until(&dead.entry)
        {
            return Err(Not::Before(end));
        }
        if !bounds::has_room_for_claim(&self.known.record, dead.entry.campaign, request) {
            return Err(Not::Before(self.now.after(POSTPONED)));
        }
        // What never started claims when it starts; what was given back is not claimed any longer.
        let refunded = campaign.definition.fatigue.refund_on_failure && dead.entry.counts.in_caps;
        let place = self.known.record.pending.len();
        let expires = self.now.after(in_force.policy.expires);
        self.known.record.pending.push(Pending { expires, ..dead.entry.clone() });
        if attempts == 0 || refunded {
            self.known.record.pending[place].counts.in_caps &= !refunded;
            self.claim_for_redrive(place)?;
        }
        let entry = &self.known.record.pending[place];
        let (id, claim) = (entry.id, entry.claim.clone());
        if claim == dead.entry.claim {
            self.effects.push(Effect::Send(id))
        } else {
            self.send(&claim, id)
        }
        let last = dead.entry.phase.line_number();
        self.known.record.resumed.note(id, attempts, Some(last), self.now);
        self.start(place, last.saturating_add(1), request.clone());
        Ok(())
    }

    /// Whether the letter still stands: the delivery is over with the attempts that it tells, and is known.
    fn is_over(&self, dead: &Dead, attempts: u32) -> Result<(), Not> {
        let Dead { at, entry } = dead;
        let record = &self.known.record;
        let refuse = |refusal| Err(Not::Ever(refusal));
        let resumed = record.resumed.find(entry.id);
        if resumed.is_some_and(|resumed| attempts <= resumed.void) {
            return refuse(if self.is_pending(entry.id) { Refusal::UnderWay } else { Refusal::WentOn });
        }
        match record.pending.iter().find(|known| known.id == entry.id).map(|known| known.phase) {
            None => {}
            Some(phase) if phase.attempt() > attempts => return refuse(Refusal::UnderWay),
            // The letter is written first, then the record learns that it is over.
            Some(Phase::Sending { lease, .. }) if lease > self.now => return Err(Not::Before(lease)),
            Some(_) => return Err(Not::Before(self.now.after(POSTPONED))),
        }
        if *at < self.now.before(LETTERS_COUNT) || (resumed.is_none() && record.resumed.may_have_forgotten(*at)) {
            return refuse(Refusal::TooOld);
        }
        match self.status(entry.campaign) {
            Status::Ended => return refuse(Refusal::CampaignEnded),
            Status::Ready | Status::Paused => return refuse(Refusal::CampaignPaused),
            Status::Running => {}
        }
        let deleted = record.tombstone.is_some_and(|deleted| entry.claim.at <= deleted);
        if deleted || !fatigue::knows(&record.ledger, entry.campaign, &entry.claim, entry.counts) {
            return refuse(Refusal::Forgotten);
        }
        Ok(())
    }

    /// All gates, for a claim as of now. Where one is shut, nothing has changed.
    fn claim_for_redrive(&mut self, place: usize) -> Result<(), Not> {
        self.claim_again(place).map_err(|stop| {
            self.known.record.pending.remove(place);
            stop.defers_until().map_or(Not::Ever(Refusal::Gate(stop.reason)), Not::Before)
        })
    }

    fn is_pending(&self, id: DeliveryId) -> bool {
        self.known.record.pending.iter().any(|known| known.id == id)
    }
}

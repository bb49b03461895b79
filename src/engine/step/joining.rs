//! A delivery that shares its request: its side of the way into a batch (`batch.rs` is the other).
//!
//! 1. The claim is stored with the place of the batch that it is handed to, and the batch is asked ([`Passed::Join`]).
//! 2. If that is closed or other, the delivery is turned away: it stores the next place before it asks there. So it is in one batch at
//!    most, **whatever gets lost between the two records: it asks again at the place that is stored, and nowhere else.**
//! 3. While nobody tells it anything it asks again when it should have ended: the worker that was to carry the question or the answer may
//!    be gone. A closed batch answers that it has it, one that has ended how it ended. Any other sends it back, and with the next
//!    question its `sent` line is repeated: it was to be carried by the same worker. Who is in a batch has it.
//!
//! 4. A request that failed for good has failed for each: a delivery then has a dead letter of its own, with the request it would have had
//!    alone, its own claim and the batch's attempts. Sent again from that it has its request for itself: its attempts go on
//!    counting, and are no other user's.
//!
//! Until the batch is closed the delivery is its own master: deleted with its user it is not in it, and a pause, an end or a claim too old
//! sends it back to be judged here. From then on the batch decides. The frozen request stays here until the end.

use super::pending::{CLAIM_FRESH, POSTPONED, over};
use super::{Trace, Verdict, Work};
use crate::engine::definition::Status;
use crate::engine::delivery::{batch, lease};
use crate::engine::effect::{Effect, Joining, Passed};
use crate::engine::id::DeliveryId;
use crate::engine::record::{Ending, Member, Phase};
use crate::engine::time::Timestamp;
use std::time::Duration;

/// How long a delivery leaves a closed batch alone that has not told how it ended.
pub(super) const KEPT_LOOK: Duration = Duration::from_secs(10 * 60);

impl Work<'_> {
    /// What another record has to say.
    pub(super) fn passed(&mut self, passed: &Passed) {
        match passed {
            Passed::Join(joining) => self.join(joining),
            Passed::TurnedAway { id, asked, from, to, tries } => self.turned_away(*id, *asked, *from, *to, *tries),
            Passed::Kept { id, place } => self.kept(*id, *place),
            Passed::Settled { id, ending } => self.batch_ended(*id, ending),
        }
    }

    /// A claim that was just noted goes to a batch: to the place where there was room last.
    pub(super) fn hand_to_batch(&mut self, at: usize, profile_at: u32) {
        let again = self.batch_answer_by(at);
        let entry = &mut self.known.record.pending[at];
        entry.phase = Phase::Batched { place: 0, profile_at, again };
        if let (Some(places), Some((_, key, _))) = (&self.known.places, batch::of_entry(entry)) {
            let place = places.get(&key).copied().unwrap_or(0);
            entry.phase = Phase::Batched { place, profile_at, again };
        }
        self.ask_batch(at, 0, true);
    }

    /// Nobody has told what came of it.
    pub(super) fn ask_batch_again(&mut self, at: usize) {
        self.wait_for_batch(at, None, self.batch_answer_by(at));
        self.ask_batch(at, 0, false);
    }

    /// The batch of that place is not this delivery's: it asks at the next, unless it is over, or must be judged again.
    pub(super) fn turned_away(&mut self, id: DeliveryId, asked: Timestamp, from: u32, to: u32, tries: u32) {
        // An answer to an earlier question: since then it may have come in.
        let is_answer = |at: &usize| matches!(self.known.record.pending[*at].phase, Phase::Batched { again, .. } if again == asked);
        let Some(at) = self.batched(id, from).filter(is_answer) else { return self.skip() };
        let entry = &self.known.record.pending[at];
        let (before, claimed) = (entry.phase, entry.claim.at);
        let status = self.status(entry.campaign);
        if let Some(cause) = over(entry, status, self.now) {
            return self.fail(at, cause);
        }
        if status != Status::Running {
            return self.wait_for_batch(at, Some(to), self.now.after(POSTPONED));
        }
        if self.now.since(entry.claim.at) > CLAIM_FRESH {
            match self.claim_again(at) {
                Ok(()) => {}
                Err(stop) if stop.defers_until().is_some() => {
                    return self.wait_for_batch(at, Some(to), stop.defers_until().unwrap_or(self.now));
                }
                Err(stop) => return self.take_back(at, stop),
            }
        }
        let claim = self.known.record.pending[at].claim.clone();
        if from == to || claim.at != claimed {
            self.announce(&claim, id);
        }
        self.wait_for_batch(at, Some(to), self.batch_answer_by(at));
        let entry = &self.known.record.pending[at];
        if (entry.phase, entry.claim.at) == (before, claimed) {
            self.trace = Trace::Judged;
        }
        self.ask_batch(at, tries, true);
    }

    /// The batch has it and will tell.
    pub(super) fn kept(&mut self, id: DeliveryId, place: u32) {
        let Some(at) = self.batched(id, place) else { return self.skip() };
        let before = self.known.record.pending[at].phase;
        self.wait_for_batch(at, None, self.now.after(KEPT_LOOK));
        if self.known.record.pending[at].phase == before {
            self.trace = Trace::Judged;
        }
    }

    /// So its batch has ended. After a failure the delivery stays until its dead letter is written: the batch tells again until then.
    fn batch_ended(&mut self, id: DeliveryId, ending: &Ending) {
        let is_batched = |at: &usize| matches!(self.known.record.pending[*at].phase, Phase::Batched { .. });
        if self.place(id).filter(is_batched).is_none() {
            return self.skip();
        }
        if ending.delivered {
            return self.attempted(id, ending.attempt, Verdict::Delivered, ending.status, None);
        }
        self.trace = Trace::Judged;
        self.effects.push(Effect::Bury(id, Box::new(ending.clone())));
    }

    /// By when a batch has usually ended: it lingers, and its request may take a lease.
    fn batch_answer_by(&self, at: usize) -> Timestamp {
        let request = self.known.record.pending[at].request.as_ref();
        let route = self.in_force.route(request.map_or("", |request| &request.destination));
        let linger = route.batch.map_or(Duration::ZERO, |batch| batch.linger);
        self.now.after(linger.saturating_add(lease::length(route.timeout)))
    }

    fn wait_for_batch(&mut self, at: usize, to: Option<u32>, until: Timestamp) {
        if let Phase::Batched { place, again, .. } = &mut self.known.record.pending[at].phase {
            *place = to.unwrap_or(*place);
            *again = until;
        }
    }

    fn ask_batch(&mut self, at: usize, tries: u32, announced: bool) {
        let entry = &self.known.record.pending[at];
        let Phase::Batched { again: asked, .. } = entry.phase else { return };
        let Some((to, _, batch::Split { shared, profile })) = batch::of_entry(entry) else { return };
        let member = Member { user: self.user.clone(), id: entry.id, asked, claimed: entry.claim.at, expires: entry.expires, profile };
        let joining = Joining { campaign: entry.campaign, claim: entry.claim.clone(), shared, member, tries, announced };
        self.effects.push(Effect::Pass { to, passed: Box::new(Passed::Join(Box::new(joining))) });
    }

    /// Where this delivery stands if it is handed to the batch of this place.
    fn batched(&self, id: DeliveryId, place: u32) -> Option<usize> {
        let is_there = |phase: Phase| matches!(phase, Phase::Batched { place: now, .. } if now == place);
        self.place(id).filter(|at| is_there(self.known.record.pending[*at].phase))
    }
}

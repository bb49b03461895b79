//! Deliveries between claim and settlement: who may make the next attempt, and when it is over. The record is the arbiter: a
//! message, a lease or a result that no longer fits what the record says loses.

use std::sync::Arc;
use std::time::Duration;

use super::gates::{self, Case, Stop};
use super::{Trace, Verdict, Work, bounds};
use crate::engine::definition::Status;
use crate::engine::delivery::lease;
use crate::engine::effect::{Effect, FailCause, Reason};
use crate::engine::fatigue;
use crate::engine::id::DeliveryId;
use crate::engine::record::{Arm, Ending, Pending, Phase, Request};
use crate::engine::time::Timestamp;

/// A first attempt that starts later than this after its claim claims again.
pub(super) const CLAIM_FRESH: Duration = Duration::from_secs(60);

/// How long until a failure whose lines nobody reported written is asked for again.
pub(super) const FAIL_LOOK: Duration = Duration::from_secs(30);

/// A retry that is held, by a pause or for want of room, comes again after this.
pub(super) const POSTPONED: Duration = Duration::from_secs(60);

/// What is parked comes back when it expires, with its request for the dead letter. What does not, within so long, is given up
/// without.
pub(super) const BACK_WITHIN: Duration = Duration::from_secs(5 * 60);

/// Quiet hours let a delivery go on for so long after its claim; later retries wait for their end.
pub(super) const QUIET_GRACE: Duration = Duration::from_secs(5 * 60);

impl Work<'_> {
    /// A retry message wins only against the very phase it was made for ([`Phase`] says what the numbers mean). Afterwards the
    /// request is in the record again and the attempt has a lease.
    pub(super) fn retry(&mut self, id: DeliveryId, attempt: u32, unstarted: bool, request: &Arc<Request>) {
        let Some(place) = self.place(id) else { return self.skip() };
        let wins = match self.known.record.pending[place].phase {
            // The message overtook the input that parks its entry, or has come twice. Winning here, two of them would be two requests;
            // dropped, the request might be lost with it. By the end of the lease it is parked, taken over or settled.
            Phase::Sending { attempt: current, lease } if unstarted && current == attempt.saturating_add(1) => {
                return self.postpone(id, if lease > self.now { lease } else { self.now.after(POSTPONED) });
            }
            Phase::Sending { attempt: current, .. } => current == attempt,
            Phase::Parked { attempt: made, .. } => made == attempt,
            Phase::Failing { .. } | Phase::Batched { .. } => false,
        };
        if !wins {
            return self.skip();
        }
        let entry = &self.known.record.pending[place];
        let status = self.status(entry.campaign);
        let started = attempt > 0;
        if entry.request.is_none() && !bounds::has_room_for_request(&self.known.record, request) {
            return self.postpone(id, self.now.after(POSTPONED));
        }
        if let Some(cause) = over(entry, status, self.now) {
            self.known.record.pending[place].request = Some(request.clone());
            return self.fail(place, cause);
        }
        if !started && status != Status::Running {
            return self.postpone(id, self.now.after(POSTPONED));
        }
        if let Some(end) = self.quiet_until(entry).filter(|_| started) {
            return self.postpone(id, end);
        }
        if !started && self.known.record.batch.is_some() && self.batch_is_stale(request) {
            return self.dissolve();
        }
        if !started && self.known.record.batch.is_none() && self.now.since(entry.claim.at) > CLAIM_FRESH {
            match self.claim_again(place) {
                Ok(()) => {}
                Err(stop) if stop.defers_until().is_some() => return self.postpone(id, stop.defers_until().unwrap_or(self.now)),
                Err(stop) => return self.take_back(place, stop),
            }
            let claim = self.known.record.pending[place].claim.clone();
            self.send(&claim, id);
        } else {
            self.effects.push(Effect::Send(id));
        }
        self.start(place, attempt.saturating_add(1), request.clone());
    }

    /// The retry topic has it: the record need not carry the request any longer.
    pub(super) fn parked(&mut self, id: DeliveryId, attempt: u32, until: Timestamp, unstarted: bool) {
        let fits = |phase: Phase| match phase {
            Phase::Sending { attempt: current, .. } => current == attempt.saturating_add(u32::from(unstarted)),
            Phase::Parked { .. } | Phase::Failing { .. } | Phase::Batched { .. } => false,
        };
        let Some(place) = self.place(id).filter(|place| fits(self.known.record.pending[*place].phase)) else {
            return self.skip();
        };
        let entry = &mut self.known.record.pending[place];
        entry.phase = Phase::Parked { attempt, until };
        entry.request = None;
    }

    /// A 2xx of any attempt settles a delivery. A final failure does, unless a later attempt is under way; with
    /// `refund_on_failure` caps count it no longer. A 2xx that turns up after that finds nothing to settle, and changes nothing.
    pub(super) fn attempted(&mut self, id: DeliveryId, attempt: u32, verdict: Verdict, status: Option<u16>, cause: Option<&str>) {
        let settles = |phase: Phase| verdict == Verdict::Delivered || attempt >= phase.attempt();
        let Some(place) = self.place(id).filter(|place| settles(self.known.record.pending[*place].phase)) else {
            return self.skip();
        };
        let entry = self.known.record.pending.remove(place);
        if self.known.record.batch.is_some() {
            let delivered = verdict == Verdict::Delivered;
            return self.settle_batch(Ending { delivered, attempt, status, cause: cause.map(Into::into) });
        }
        // Another attempt may end in a dead letter all the same, or has ended so. Of what was in a batch none is written before that ended.
        let is_last = match entry.phase {
            Phase::Sending { attempt: current, .. } => current == attempt,
            Phase::Batched { .. } => true,
            Phase::Parked { .. } | Phase::Failing { .. } => false,
        };
        if verdict == Verdict::Delivered && !is_last {
            self.known.record.resumed.note(id, entry.phase.attempt(), None, self.now);
        }
        let refunds = self.in_force.campaign(entry.campaign).is_some_and(|campaign| campaign.definition.fatigue.refund_on_failure);
        if verdict == Verdict::Failed && refunds {
            fatigue::refund(&mut self.known.record.ledger, &entry.claim, entry.counts);
        }
        self.chain_settled(&entry, verdict, attempt, status, cause);
    }

    /// Deliveries that want something: a lease ran out, the entry expired, its campaign ended, its failure was not written.
    pub(super) fn look_at_pending(&mut self) {
        for place in 0..self.known.record.pending.len() {
            let entry = &self.known.record.pending[place];
            let over = over(entry, self.status(entry.campaign), self.now);
            match (entry.phase, over) {
                (Phase::Sending { lease, .. }, _) if lease > self.now => {}
                (Phase::Failing { again, .. } | Phase::Batched { again, .. }, _) if again > self.now => {}
                // Whatever has become of it, its batch knows better.
                (Phase::Batched { .. }, _) => self.ask_batch_again(place),
                (Phase::Failing { cause, .. }, _) => self.fail(place, cause),
                (Phase::Parked { .. }, Some(FailCause::Expired)) if self.now < given_up(entry) => {}
                (Phase::Sending { .. } | Phase::Parked { .. }, Some(cause)) => self.fail(place, cause),
                (Phase::Sending { attempt, .. }, None) => match self.quiet_until(entry) {
                    // Nobody makes this attempt: a lease that lasts as long as the quiet keeps it from being taken over.
                    Some(end) => {
                        let entry = &mut self.known.record.pending[place];
                        entry.phase = Phase::Sending { attempt, lease: end.min(entry.expires) };
                    }
                    None => self.take_over(place, attempt),
                },
                (Phase::Parked { .. }, None) => {}
            }
        }
    }

    /// Whoever held the attempt is gone, and it may or may not have gone out: the next number is taken, and the `sent` line
    /// repeated. Also beyond the destination's retries: an attempt of which nobody knows the end must not be the last,
    /// until the entry expires. Should there be a dead letter after all, it is void.
    fn take_over(&mut self, place: usize, attempt: u32) {
        let entry = &mut self.known.record.pending[place];
        let (id, claim) = (entry.id, entry.claim.clone());
        match entry.request.take() {
            Some(request) => {
                self.send(&claim, id);
                // No dead letter is a batch's: its members have theirs when it has ended.
                if self.known.record.batch.is_none() {
                    self.known.record.resumed.note(id, attempt, None, self.now);
                }
                self.start(place, attempt.saturating_add(1), request);
            }
            // Never stored so: whoever is sending has the request. There is nothing left to send.
            None => self.fail(place, FailCause::Expired),
        }
    }

    pub(super) fn start(&mut self, place: usize, attempt: u32, request: Arc<Request>) {
        let lease = self.now.after(lease::length(self.in_force.route(&request.destination).timeout));
        let entry = &mut self.known.record.pending[place];
        entry.phase = Phase::Sending { attempt, lease };
        entry.request = Some(request);
    }

    pub(super) fn fail(&mut self, place: usize, cause: FailCause) {
        let entry = &mut self.known.record.pending[place];
        entry.phase = Phase::Failing { attempt: entry.phase.attempt(), cause, again: self.now.after(FAIL_LOOK) };
        self.effects.push(Effect::Fail(entry.id, cause));
    }

    fn postpone(&mut self, id: DeliveryId, until: Timestamp) {
        self.trace = Trace::Judged;
        self.effects.push(Effect::Postpone { id, until });
    }

    /// When the quiet ends that holds a delivery that was started. What was claimed just before it may still be finished.
    pub(super) fn quiet_until(&self, entry: &Pending) -> Option<Timestamp> {
        if self.now.since(entry.claim.at) <= QUIET_GRACE {
            return None;
        }
        let campaign = &self.in_force.campaign(entry.campaign)?.definition;
        let quiet = self.in_force.workspace.quiet_hours.as_ref();
        fatigue::quiet_until(campaign, quiet, self.now, || self.case(campaign, None).zone())
    }

    /// The claim is old and nothing was sent on it: if all gates are open without it, it is taken anew as of now. Expiry stays that
    /// of the first decision. Where a gate stays shut the claim is as it was.
    pub(super) fn claim_again(&mut self, place: usize) -> Result<(), Stop> {
        let in_force = self.in_force;
        let entry = &self.known.record.pending[place];
        let Some(campaign) = in_force.campaign(entry.campaign) else { return Err(Reason::CampaignEnded.into()) };
        let campaign = &campaign.definition;
        let mut ledger = self.known.record.ledger.clone();
        fatigue::give_back(&mut ledger, campaign, &entry.claim, entry.counts);
        let decided = entry.expires.before(in_force.policy.expires);
        let case = Case { ledger: &ledger, key: entry.counts.key, decided, ..self.case(campaign, None) };
        gates::judge(&case).map_err(|stop| Stop { waits: stop.waits && stop.frees.is_some_and(|frees| frees < entry.expires), ..stop })?;
        let counts = fatigue::note_send(&mut ledger, campaign, entry.counts.key, &in_force.workspace.frequency_caps, self.now);
        fatigue::close_goal(&mut ledger, entry.id);
        fatigue::open_goal(&mut ledger, campaign, Some(entry.id), self.now);
        self.known.record.ledger = ledger;
        let entry = &mut self.known.record.pending[place];
        entry.counts = counts;
        // The labels it counts under are today's; the version stays that of the frozen request.
        let claim = Arc::make_mut(&mut entry.claim);
        claim.at = self.now;
        claim.channel = campaign.channel.clone();
        claim.tags = campaign.tags.clone();
        Ok(())
    }

    /// A claim that never started and never will: as if it had not been.
    pub(super) fn take_back(&mut self, place: usize, stop: Stop) {
        let mut entry = self.known.record.pending.remove(place);
        let ledger = &mut self.known.record.ledger;
        fatigue::close_goal(ledger, entry.id);
        if let Some(campaign) = self.in_force.campaign(entry.campaign) {
            fatigue::give_back(ledger, &campaign.definition, &entry.claim, entry.counts);
            if stop.reason == Reason::ControlGroup {
                Arc::make_mut(&mut entry.claim).arm = Arm::Control;
                fatigue::note_held_out(ledger, &campaign.definition, entry.counts.key, self.now);
                fatigue::open_goal(ledger, &campaign.definition, None, self.now);
            }
        }
        self.drop_pending(&entry, stop);
    }

    pub(super) fn place(&self, id: DeliveryId) -> Option<usize> {
        self.known.record.pending.iter().position(|entry| entry.id == id)
    }
}

/// When a parked entry that has expired is given up, whether or not its request has come back.
pub(super) fn given_up(entry: &Pending) -> Timestamp {
    entry.expires.after(BACK_WITHIN)
}

/// Why no further attempt of this entry may start, if so.
pub(super) fn over(entry: &Pending, status: Status, now: Timestamp) -> Option<FailCause> {
    if status == Status::Ended {
        Some(FailCause::Ended)
    } else if entry.expires <= now {
        Some(FailCause::Expired)
    } else {
        None
    }
}

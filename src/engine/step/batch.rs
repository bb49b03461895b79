//! A batch: one request for several users of one campaign, in a record of its own (`joining.rs` is the side of its members).
//!
//! **One batch is open at a time** for all workers and all users whose deliveries can share a request (`delivery::batch` says which), as
//! long as it can be: two would each be half as full. Under load a lane folds all that ask at once into one write, so many workers meet in
//! few of them. While a batch is under way, its id (campaign, a hash of what is shared, a place) is taken: who asks there is turned away to
//! the next place, and every lane remembers for a while where there was room. What settles is gone, and its place free.
//!
//! - **Open** until it lingered, `max` have come, or the next would make it too large. Then, and only then, the store is asked of which
//!   members the delivery still is this batch's: who was deleted since, has expired or gone elsewhere is left out. If the campaign is not
//!   running any more, or a claim is too old, all are turned away and judged by their own records: nothing has been sent.
//! - **Closed**: the request is frozen and the batch's one pending entry, sent, parked, retried, taken over and expiring as any other
//!   (`pending.rs`). Its id is made of its members' ids: the same on every attempt, another for other members. What was never started
//!   when it comes up too late is dissolved, too.
//! - **Settled**: the members are told how it ended; who stands in his record as not told after a while is told again, and when nobody is
//!   left the record is gone. A member therefore always finds either its batch or its own record changed.
//!
//! A batch knows no gates, no ledger and no `sent` line: all that is its members' own. It holds retries in quiet hours by the workspace's zone.

use std::sync::Arc;
use std::time::Duration;

use super::pending::{CLAIM_FRESH, FAIL_LOOK};
use super::{Ask, Trace, Work};
use crate::engine::definition::Status;
use crate::engine::delivery::{batch, lease};
use crate::engine::effect::{Effect, Joining, Passed};
use crate::engine::id::UserId;
use crate::engine::record::{Batch, BatchPhase, Counts, Ending, Member, Pending, Phase, Request};

/// When members are looked at that may not have been told.
pub(super) const SETTLED_LOOK: Duration = Duration::from_secs(2);

/// Who is turned away again and again asks ever farther on, at most so far at once (a power of two).
const FARTHEST: u32 = 16;

impl Work<'_> {
    /// A delivery asks to be in this batch.
    pub(super) fn join(&mut self, joining: &Joining) {
        if let Some(known) = &self.known.record.batch {
            let is_in = known.members.iter().any(|member| member.id == joining.member.id);
            match &known.phase {
                BatchPhase::Open { .. } if is_in => return self.judged(),
                BatchPhase::Open { .. } if !joining.announced => return self.turn_away_unchanged(joining, true),
                BatchPhase::Open { shared, .. } if fits(known, shared, joining) => {}
                BatchPhase::Open { .. } => {
                    self.close();
                    return self.turn_away(joining, false);
                }
                BatchPhase::Closed if is_in => {
                    return self.answer(joining, Passed::Kept { id: joining.member.id, place: self.batch_place() });
                }
                BatchPhase::Settled { ending, .. } if is_in => {
                    return self.answer(joining, Passed::Settled { id: joining.member.id, ending: ending.clone() });
                }
                BatchPhase::Closed | BatchPhase::Settled { .. } => return self.turn_away_unchanged(joining, !joining.announced),
            }
        }
        let running = self.status(joining.campaign) == Status::Running;
        let is_old = self.now.since(joining.member.claimed) > CLAIM_FRESH;
        if !joining.announced || !running || joining.member.expires <= self.now || is_old {
            return self.turn_away_unchanged(joining, true);
        }
        let limits = self.in_force.route(&joining.shared.destination).batch;
        let until = self.now.after(limits.map_or(Duration::ZERO, |limits| limits.linger));
        let batch = self.known.record.batch.get_or_insert_with(|| {
            let phase = BatchPhase::Open { until, shared: Box::new(joining.shared.clone()) };
            Box::new(Batch { campaign: joining.campaign, claim: joining.claim.clone(), members: Vec::new(), phase })
        });
        batch.members.push(joining.member.clone());
        if batch.members.len() >= limits.map_or(1, |limits| limits.max as usize) {
            self.close();
        }
    }

    /// Time has passed.
    pub(super) fn look_at_batch(&mut self) {
        let Some(batch) = &self.known.record.batch else { return };
        match &batch.phase {
            BatchPhase::Open { until, .. } if *until <= self.now => self.close(),
            BatchPhase::Settled { ending, again } if *again <= self.now => {
                let ending = ending.clone();
                if self.leave_out_who_does_not_stand() {
                    self.tell(&ending);
                    self.settled(ending, FAIL_LOOK);
                }
            }
            BatchPhase::Open { .. } | BatchPhase::Settled { .. } | BatchPhase::Closed => {}
        }
    }

    /// Its request has come to its end: all lines are written.
    pub(super) fn settle_batch(&mut self, ending: Ending) {
        self.tell(&ending);
        let look = if ending.delivered { SETTLED_LOOK } else { FAIL_LOOK };
        self.settled(ending, look);
    }

    /// Whether the oldest claim is too old to be started on. That it lingered does not make it old.
    pub(super) fn batch_is_stale(&self, request: &Request) -> bool {
        let linger = self.in_force.route(&request.destination).batch.map_or(Duration::ZERO, |batch| batch.linger);
        let members = self.known.record.batch.iter().flat_map(|batch| &batch.members);
        let oldest = members.map(|member| member.claimed).min();
        oldest.is_some_and(|oldest| self.now.since(oldest) > CLAIM_FRESH.saturating_add(linger))
    }

    /// No request was made: every member is on its own again, and its record says what is next.
    pub(super) fn dissolve(&mut self) {
        self.known.record.pending.clear();
        let Some(batch) = self.known.record.batch.take() else { return };
        let place = self.batch_place();
        for member in batch.members {
            self.pass(&member.user, Passed::TurnedAway { id: member.id, asked: member.asked, from: place, to: place, tries: 0 });
        }
    }

    /// Nobody joins any more, and the request goes out with all whose it still is.
    fn close(&mut self) {
        if !self.leave_out_who_does_not_stand() {
            return;
        }
        let Some(Batch { campaign, phase: BatchPhase::Open { shared, .. }, .. }) = self.known.record.batch.as_deref() else { return };
        if self.status(*campaign) != Status::Running || self.batch_is_stale(shared) {
            return self.dissolve();
        }
        let (in_force, now) = (self.in_force, self.now);
        let Some(batch) = &mut self.known.record.batch else { return };
        let BatchPhase::Open { shared, .. } = std::mem::replace(&mut batch.phase, BatchPhase::Closed) else { return };
        let id = batch::request_id(&in_force.policy.id_key, batch.campaign, self.user, &batch.members);
        let request = batch::join(&shared, &mut batch.members);
        let expires = batch.members.iter().map(|member| member.expires).min().unwrap_or(now);
        let lease = now.after(lease::length(in_force.route(&request.destination).timeout));
        self.known.record.pending.push(Pending {
            id,
            campaign: batch.campaign,
            claim: batch.claim.clone(),
            counts: Counts::default(),
            expires,
            phase: Phase::Sending { attempt: 1, lease },
            origin: None,
            request: Some(Arc::new(request)),
        });
        self.effects.push(Effect::Send(id));
    }

    /// Keeps only the members whose delivery is this batch's; without any the record is gone. Answers whether it is known of all and
    /// somebody is left: else the store is asked.
    fn leave_out_who_does_not_stand(&mut self) -> bool {
        let Some(batch) = &mut self.known.record.batch else { return false };
        let standing = &self.known.standing;
        let answer = |member: &Member| standing.iter().find(|(id, _)| *id == member.id).map(|(_, stands)| *stands);
        let unknown: Vec<Ask> = batch
            .members
            .iter()
            .filter(|member| answer(member).is_none())
            .map(|member| Ask::Stands { user: member.user.clone(), id: member.id })
            .collect();
        if !unknown.is_empty() {
            self.asks.extend(unknown);
            return false;
        }
        batch.members.retain(|member| answer(member) == Some(true));
        if batch.members.is_empty() {
            self.known.record.batch = None;
        }
        self.known.record.batch.is_some()
    }

    fn settled(&mut self, ending: Ending, look: Duration) {
        let again = self.now.after(look);
        if let Some(batch) = &mut self.known.record.batch {
            batch.phase = BatchPhase::Settled { ending, again };
        }
    }

    fn tell(&mut self, ending: &Ending) {
        let members = self.known.record.batch.as_ref().map_or_else(Vec::new, |batch| batch.members.clone());
        for member in members {
            self.pass(&member.user, Passed::Settled { id: member.id, ending: ending.clone() });
        }
    }

    /// To the next place, or `back`: to be judged by its own record.
    fn turn_away(&mut self, joining: &Joining, back: bool) {
        let from = self.batch_place();
        let farther = if back { 0 } else { 1 << joining.tries.min(FARTHEST) };
        let to = from.wrapping_add(farther);
        let tries = joining.tries.saturating_add(1);
        let Member { user, id, asked, .. } = &joining.member;
        self.pass(user, Passed::TurnedAway { id: *id, asked: *asked, from, to, tries });
    }

    fn turn_away_unchanged(&mut self, joining: &Joining, back: bool) {
        self.judged();
        self.turn_away(joining, back);
    }

    fn answer(&mut self, joining: &Joining, passed: Passed) {
        self.judged();
        self.pass(&joining.member.user, passed);
    }

    fn judged(&mut self) {
        self.trace = Trace::Judged;
    }

    fn pass(&mut self, to: &UserId, passed: Passed) {
        self.effects.push(Effect::Pass { to: to.clone(), passed: Box::new(passed) });
    }

    fn batch_place(&self) -> u32 {
        batch::place_of(self.user)
    }
}

/// Whether it may share this batch's request, and finds room in it.
fn fits(batch: &Batch, shared: &Request, joining: &Joining) -> bool {
    batch.campaign == joining.campaign
        && batch.claim.version == joining.claim.version
        && *shared == joining.shared
        && batch::weight(shared, &batch.members) + batch::member_weight(&joining.member) <= batch::MAX_BATCH_BYTES
}

//! Sends that wait: for the end of quiet hours, or until every cap frees. A deferral is a clock that keeps what triggered it; when it
//! ends all gates are judged again, and it may be deferred again. It always comes to an end: each is later than the one
//! before, caps defer only within a span of the first decision, and quiet hours end.

use super::claim::Occasion;
use super::gates::Stop;
use super::{Work, bounds, linking};
use crate::engine::catalog::CampaignInForce;
use crate::engine::effect::Reason;
use crate::engine::fatigue;
use crate::engine::id::CampaignId;
use crate::engine::record::{Arm, Timer, TimerKind};
use crate::engine::time::Timestamp;
use crate::engine::trigger::correlation::Key;

pub(super) fn is_deferral(timer: &Timer) -> bool {
    matches!(timer.kind, TimerKind::Deferred { .. })
}

/// Whether this very occasion waits already, for a gate or for linked content: it has reached the user twice.
pub(super) fn is_deferred(timers: &[Timer], campaign: CampaignId, occasion: &Occasion) -> bool {
    timers.iter().filter(|timer| (is_deferral(timer) || linking::is_wish(timer)) && timer.campaign == campaign).any(|timer| {
        let origin = &timer.origin;
        *origin.message_id == *occasion.message_id
            && origin.run.as_deref() == occasion.run
            && origin.timestamp == occasion.timestamp
            && timer.key == occasion.key
    })
}

impl Work<'_> {
    /// A gate is shut: the send waits for it, or comes to nothing. What is held out is noted as if it had been sent.
    pub(super) fn stop(&mut self, campaign: &CampaignInForce, occasion: &Occasion, stop: Stop) {
        if let Some(until) = stop.defers_until() {
            return self.defer(campaign, occasion, stop, until);
        }
        if stop.reason == Reason::ControlGroup {
            let definition = &campaign.definition;
            let key = self.case(definition, Some(occasion)).key;
            let record = &self.known.record;
            let knows_room = fatigue::has_room(&record.ledger, definition, key, Arm::Control, self.now);
            if !knows_room || !bounds::has_room_for_exposure(record) {
                return self.hold(campaign, occasion, Reason::StateFull.into());
            }
            fatigue::note_held_out(&mut self.known.record.ledger, definition, key, self.now);
            fatigue::open_goal(&mut self.known.record.ledger, definition, None, self.now);
        }
        self.hold(campaign, occasion, stop);
    }

    fn defer(&mut self, campaign: &CampaignInForce, occasion: &Occasion, stop: Stop, until: Timestamp) {
        let decided = occasion.decided.unwrap_or(self.now);
        let kind = TimerKind::Deferred { decided };
        let timer = Timer { campaign: campaign.definition.id, kind, key: occasion.key, due: until, origin: occasion.to_origin() };
        if !bounds::has_room_for_timer(&self.known.record, &timer, None) {
            return self.hold(campaign, occasion, Reason::StateFull.into());
        }
        self.known.record.timers.push(timer);
        self.unsent(campaign, occasion, stop, Some(until));
    }

    /// A `without` happened at `at`, in the window or after it: what waits although its window is over is not sent any more.
    pub(super) fn cancel_deferred(&mut self, campaign: &CampaignInForce, key: Key, at: Timestamp) {
        let cancelled = |timer: &mut Timer| {
            (is_deferral(timer) || linking::is_cancelled(timer, at))
                && timer.campaign == campaign.definition.id
                && timer.key == key
                && timer.origin.timestamp <= at
        };
        let timers: Vec<Timer> = self.known.record.timers.extract_if(.., cancelled).collect();
        for timer in &timers {
            self.hold(campaign, &Occasion::of_timer(timer), Reason::CancelledByEvent.into());
        }
    }
}

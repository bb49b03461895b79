//! A look at a record whose wake has passed: clocks that are due, deliveries that nobody holds, and what may be forgotten.

use super::Work;
use super::applied;
use super::claim::Occasion;
use super::redrive::LETTERS_COUNT;
use crate::engine::definition::{Actions, Status, Trigger};
use crate::engine::effect::Reason;
use crate::engine::fatigue;
use crate::engine::history;
use crate::engine::record::{Timer, TimerKind};
use crate::engine::time::Timestamp;
use crate::engine::trigger::actions::{self, Keep};
use std::time::Duration;

/// How long a user's exposure to a campaign that has ended, or is gone, is still kept.
pub(super) const KEPT_AFTER_END: Duration = Duration::from_secs(30 * 86_400);

impl<'a> Work<'a> {
    pub(super) fn look(&mut self, read_to: Timestamp) {
        self.fire_timers(read_to);
        self.look_at_pending();
        self.look_at_batch();
        self.prune(read_to);
    }

    /// Clocks that are due, the earliest first, then by the campaigns' priority and key. Held are those of a paused campaign, and
    /// those whose window may still see an event that is not read yet.
    fn fire_timers(&mut self, read_to: Timestamp) {
        if !self.known.record.timers.iter().any(|timer| timer.due <= self.now) {
            return;
        }
        let mut due = Vec::new();
        let mut kept = Vec::new();
        for timer in std::mem::take(&mut self.known.record.timers) {
            let fires = timer.due <= self.now
                && match self.status(timer.campaign) {
                    Status::Ended => true,
                    Status::Ready | Status::Paused => false,
                    Status::Running => !self.waits_for_reading(&timer) || self.is_read(timer.due, read_to),
                };
            if fires { due.push(timer) } else { kept.push(timer) }
        }
        self.known.record.timers = kept;
        due.sort_by_cached_key(|timer| (timer.due, self.rank(timer), timer.key));
        due.iter().for_each(|timer| self.fire(timer));
    }

    /// A clock whose campaign's trigger is another now has lost its meaning and ends without a line, as does one whose campaign is
    /// gone: nothing had been decided.
    fn fire(&mut self, timer: &Timer) {
        let in_force: &'a _ = self.in_force;
        let Some(campaign) = in_force.campaign(timer.campaign) else { return };
        match (timer.kind, &campaign.definition.trigger) {
            (TimerKind::Deferred { .. } | TimerKind::Linking { .. }, _)
            | (TimerKind::Inaction, Trigger::Inaction(_))
            | (TimerKind::EventDate, Trigger::EventDate(_)) => {
                self.decide(campaign, &Occasion::of_timer(timer));
            }
            (TimerKind::UserDate, Trigger::UserDate(_)) => self.fire_user_date(campaign, timer),
            (TimerKind::Membership, Trigger::Cohort { .. }) => self.fire_membership(campaign, timer),
            _ if self.status(timer.campaign) == Status::Ended && timer.kind != TimerKind::Membership => {
                self.hold(campaign, &Occasion::of_timer(timer), Reason::CampaignEnded.into());
            }
            _ => {}
        }
    }

    /// Whether an event that is not read yet may still cancel what falls due: only what waits for something not to happen.
    fn waits_for_reading(&self, timer: &Timer) -> bool {
        let campaign = self.in_force.campaign(timer.campaign);
        matches!(timer.kind, TimerKind::Inaction | TimerKind::Deferred { .. })
            && campaign.is_some_and(|campaign| matches!(campaign.definition.trigger, Trigger::Inaction(_)))
    }

    fn is_read(&mut self, due: Timestamp, read_to: Timestamp) -> bool {
        if due > read_to {
            self.held_until_read = Some(self.held_until_read.map_or(due, |held| held.min(due)));
        }
        due <= read_to
    }

    /// Where the campaign stands in the order of priority and key.
    fn rank(&self, timer: &Timer) -> Option<(std::cmp::Reverse<i64>, &str)> {
        let campaign = &self.in_force.campaign(timer.campaign)?.definition;
        Some((std::cmp::Reverse(campaign.priority), &campaign.key))
    }

    /// Forgets what nothing can ask for any more. All events up to `read_to` are read, and none is older than the allowed
    /// lateness: what lies before both is out of reach. A worker with older definitions than the record forgets no exposure.
    fn prune(&mut self, read_to: Timestamp) {
        let (in_force, now) = (self.in_force, self.now);
        let horizon = read_to.min(now).before(in_force.policy.max_lateness);
        let record = &mut self.known.record;
        applied::prune(record, horizon, true);
        let current = record.definitions <= in_force.revision;
        history::prune(&mut record.history, current.then_some(&in_force.trackers), horizon);
        let unfinished = |id| !current || in_force.backfills.iter().any(|backfill| backfill.id == id);
        history::prune_backfilled(&mut record.history, &unfinished, horizon);
        let ended = |campaign| super::status_of(in_force, campaign) == Status::Ended && current;
        actions::prune(&mut record.sequences, horizon, |campaign| {
            match in_force.campaign(campaign).map(|known| &known.definition.trigger) {
                _ if ended(campaign) => Keep::No,
                Some(Trigger::Actions(Actions { within: Some(within), .. })) => Keep::Within(*within),
                Some(Trigger::Actions(_)) | None => Keep::All,
                Some(_) if current => Keep::No,
                Some(_) => Keep::All,
            }
        });
        record.resumed.prune(now.before(LETTERS_COUNT));
        record.occurrences.retain(|known| !ended(known.campaign) || known.at > now.before(KEPT_AFTER_END));
        fatigue::prune(&mut record.ledger, &in_force.workspace.frequency_caps, now, horizon, |exposure| {
            !ended(exposure.campaign) || exposure.last > now.before(KEPT_AFTER_END)
        });
        self.profile_changed |= self.known.profile.prune(horizon);
    }
}

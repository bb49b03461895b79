//! What reaches a user from a walk over all users: scheduled runs, and the arming of a campaign that has started. What comes to
//! nothing leaves no trace: a walk must not write every record.

use jiff::civil::DateTime;

use super::claim::Occasion;
use super::{Run, Work};
use crate::engine::calendar::{self, Zone};
use crate::engine::definition::{Trigger, ZoneChoice};
use crate::engine::id::CampaignId;
use crate::engine::record::TimerKind;
use crate::engine::time::Timestamp;
use crate::engine::trigger::schedule;
use crate::engine::value::Object;

impl<'a> Work<'a> {
    /// One decision a user and run. A run in the users' own zones comes once for each instant at which some zone has it; it is
    /// only for those whose zone has it then. What was sent or waits is known by the run's name, also after the zone changed; what a change of
    /// zone passes over is decided at the change (`moving.rs`).
    pub(super) fn run(&mut self, campaign: CampaignId, run: &Run, reached: Timestamp) {
        let in_force: &'a _ = self.in_force;
        let Some(campaign) = in_force.campaign(campaign) else { return self.skip() };
        let Trigger::Schedule(schedule) = &campaign.definition.trigger else { return self.skip() };
        let id = campaign.definition.id;
        let own = schedule.zone == ZoneChoice::User;
        if self.is_forgotten() || own && !is_own(run, &schedule.times, &self.zone(&schedule.zone)) {
            return self.skip();
        }
        if self.is_run_decided(id, &run.name) {
            return self.skip();
        }
        self.decide(campaign, &Occasion::of_run(&run.name, run.due, reached, &Object::new()));
    }

    /// Whether the run of this name, or a later one, has come to something: it was sent, or it waits.
    pub(super) fn is_run_decided(&self, campaign: CampaignId, name: &str) -> bool {
        let record = &self.known.record;
        let waits = |kind: TimerKind| matches!(kind, TimerKind::Deferred { .. } | TimerKind::Linking { .. });
        record.occurrences.iter().any(|known| known.campaign == campaign && *known.name >= *name)
            || record
                .timers
                .iter()
                .any(|timer| timer.campaign == campaign && waits(timer.kind) && timer.origin.run.as_deref().is_some_and(|run| run >= name))
    }

    /// Begins to watch a user for a campaign that has started. Coming twice changes nothing.
    pub(super) fn arm(&mut self, campaign: CampaignId) {
        let in_force: &'a _ = self.in_force;
        match in_force.campaign(campaign) {
            Some(campaign) if !self.is_forgotten() => {
                self.follow_date(campaign);
                self.watch_membership(campaign, self.now);
            }
            _ => self.skip(),
        }
    }

    /// Whether the user was deleted and nothing came since: nobody to send anything to.
    fn is_forgotten(&self) -> bool {
        let record = &self.known.record;
        record.tombstone.is_some() && record.history == Default::default() && self.known.profile.is_empty()
    }
}

/// Whether a run of all zones is the one of this zone: its times fall then, and its clock reads what the run is named by. (Where
/// a schedule names several times of day, other zones may have another of them at the same instant.)
fn is_own(run: &Run, times: &calendar::Schedule, zone: &Zone) -> bool {
    run.name.parse().is_ok_and(|name: DateTime| name == zone.local(run.due)) && schedule::falls_at(times, zone, run.due)
}

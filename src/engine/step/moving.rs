//! A user who moves to another zone. A run in the users' own zones is decided by the one that falls in the user's zone at its instant
//! (`run.rs`). Who moves ahead of the clock, from New York to Seoul an hour before New York's nine o'clock, is in neither zone when its nine
//! o'clock comes: that run is decided here, at the move, as one that fell due when the new zone had it.

use std::time::Duration;

use super::Work;
use super::claim::Occasion;
use crate::engine::calendar::{self, Zone, occurrences};
use crate::engine::catalog::CampaignInForce;
use crate::engine::definition::{Status, Trigger, ZoneChoice};
use crate::engine::event::{Body, Event};
use crate::engine::time::Timestamp;
use crate::engine::trigger::schedule;
use crate::engine::value::Object;

/// The trait that says where a user is.
const TIMEZONE: &str = "timezone";

/// Runs that a move may pass over and that are looked at, the earliest first: more are of a schedule whose next run comes soon.
const MAX_PASSED: usize = 64;

impl<'a> Work<'a> {
    /// The user's zone, if the event may change it. `None` for somebody of whom nothing is known yet: who comes does not move.
    pub(super) fn zone_before(&self, event: &Event) -> Option<Zone> {
        let says = |traits: &Object| traits.get(TIMEZONE).is_some();
        let own = match &event.body {
            Body::Identify { traits } | Body::Send { traits, .. } => says(traits),
            Body::Track { .. } | Body::Delete => false,
        };
        let is_known = !self.known.profile.is_empty() || !self.known.record.marks.is_empty();
        (is_known && (own || says(&event.context_traits))).then(|| self.zone(&ZoneChoice::User))
    }

    /// Decides the runs that a move passed over: of each campaign the last.
    pub(super) fn follow_move(&mut self, from: &Zone) {
        let in_force: &'a _ = self.in_force;
        let to = self.zone(&ZoneChoice::User);
        if *from == to {
            return;
        }
        for campaign in &in_force.campaigns {
            let Trigger::Schedule(times) = &campaign.definition.trigger else { continue };
            if times.zone == ZoneChoice::User
                && self.status(campaign.definition.id) == Status::Running
                && let Some(due) = passed_over(&times.times, from, &to, self.now)
                // Never for a date before the start.
                && campaign.definition.since.is_none_or(|since| since <= due)
            {
                self.decide_passed(campaign, due, &to.local(due).to_string());
            }
        }
    }

    fn decide_passed(&mut self, campaign: &CampaignInForce, due: Timestamp, name: &str) {
        if self.is_run_decided(campaign.definition.id, name) {
            return;
        }
        self.decide(campaign, &Occasion::of_run(name, due, due, &Object::new()));
        // Whatever came of it: back in the old zone, its run of that name is not another one.
        self.note_occurrence(campaign.definition.id, name);
    }
}

/// The last run that a user never has who moves now: the new zone's clock has passed it, the old one's has not come to it. `None` for who
/// moves behind the clock, and for times that both zones have at once.
fn passed_over(times: &calendar::Schedule, from: &Zone, to: &Zone, now: Timestamp) -> Option<Timestamp> {
    let ahead = Duration::try_from(to.local(now).duration_since(from.local(now))).ok()?;
    let of_new = occurrences(times, to, now.before(ahead), now).take(MAX_PASSED);
    of_new.filter(|due| !schedule::falls_at(times, from, *due)).last()
}

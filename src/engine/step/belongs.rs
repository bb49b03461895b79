//! Whether a user belongs to a campaign's audience as things stand, without an occasion: for estimates before a start.

use super::gates;
use crate::engine::audience::{self, Scope};
use crate::engine::catalog::InForce;
use crate::engine::definition::Campaign;
use crate::engine::history::History;
use crate::engine::id::UserId;
use crate::engine::profile::Profile;
use crate::engine::record::Record;
use crate::engine::time::Timestamp;

/// Only who is certainly in it: what depends on the triggering event, or on a past that is not known, is not.
pub fn belongs(in_force: &InForce, campaign: &Campaign, user: &UserId, record: &Record, profile: &Profile, now: Timestamp) -> bool {
    let history = History { kept: &record.history, trackers: &in_force.trackers, tracked: &in_force.tracked, at: now };
    let zone = gates::zone(profile, &in_force.workspace);
    let (history, cohorts) = (Some(history), &in_force.cohorts);
    audience::includes(&campaign.audience, &Scope { event: None, user: Some(profile), user_id: user, now, zone, history, cohorts })
}

//! F7: quiet hours, by the user's clock.

use crate::engine::calendar::{self, TimeOfDay, Zone};
use crate::engine::definition::{Campaign, QuietHours};
use crate::engine::time::Timestamp;

/// When the quiet that holds this campaign at `now` ends; `None` when nothing does.
pub fn quiet_until(campaign: &Campaign, quiet: Option<&QuietHours>, now: Timestamp, zone: impl Fn() -> Zone) -> Option<Timestamp> {
    let quiet = quiet.filter(|_| campaign.fatigue.quiet_hours)?;
    let [from, to] = [quiet.from, quiet.to].map(|time| TimeOfDay::of_minutes(time.0));
    let zone = zone();
    calendar::inside(now, from, to, &zone).then(|| calendar::ends(now, from, to, &zone))
}

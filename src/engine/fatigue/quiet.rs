//! F7: quiet hours, by the user's clock.

use crate::engine::calendar::{self, Zone};
use crate::engine::definition::{Campaign, QuietHours};
use crate::engine::time::Timestamp;

/// When the quiet that holds this campaign at `now` ends; `None` when nothing does.
pub fn quiet_until(campaign: &Campaign, quiet: Option<&QuietHours>, now: Timestamp, zone: impl Fn() -> Zone) -> Option<Timestamp> {
    let quiet = quiet.filter(|_| campaign.fatigue.quiet_hours)?;
    let zone = zone();
    calendar::inside(now, quiet.from, quiet.to, &zone).then(|| calendar::ends(now, quiet.from, quiet.to, &zone))
}

//! Schedules: whether a run is one of a zone's own.

use crate::engine::calendar::{Schedule, Zone, next_after};
use crate::engine::time::Timestamp;

/// Whether `due` is one of the instants at which these times fall in this zone.
pub fn falls_at(times: &Schedule, zone: &Zone, due: Timestamp) -> bool {
    let just_before = Timestamp(due.0.saturating_sub(1));
    next_after(times, zone, just_before) == Some(due)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::calendar::{Cron, DateValue, DayOfMonth, TimeOfDay};

    #[test]
    fn a_run_is_of_the_zones_in_which_its_time_falls() {
        let check = |times: &Schedule, zone: &str, due: &str, expect: bool| {
            let zone = Zone::find(zone).unwrap();
            assert_eq!(falls_at(times, &zone, Timestamp::parse(due).unwrap()), expect, "{times:?} {zone:?} {due}");
        };
        let monday = Schedule::Cron(Cron::parse("0 9 * * MON").unwrap());
        check(&monday, "Asia/Seoul", "2026-12-07T00:00:00Z", true);
        check(&monday, "UTC", "2026-12-07T00:00:00Z", false);
        check(&monday, "UTC", "2026-12-07T09:00:00Z", true);
        check(&monday, "UTC", "2026-12-08T09:00:00Z", false);
        let last = Schedule::Monthly { day: DayOfMonth::Last, at: TimeOfDay::of_minutes(9 * 60 + 30) };
        check(&last, "Europe/Berlin", "2026-02-28T08:30:00Z", true);
        check(&last, "Europe/Berlin", "2026-02-27T08:30:00Z", false);
        let seventh = Schedule::Monthly { day: DayOfMonth::Day(7), at: TimeOfDay::of_minutes(0) };
        check(&seventh, "UTC", "2026-12-07T00:00:00Z", true);
        let local = Schedule::At(DateValue::parse("2026-12-01T09:00:00").unwrap());
        check(&local, "Asia/Seoul", "2026-12-01T00:00:00Z", true);
        check(&local, "America/New_York", "2026-12-01T14:00:00Z", true);
        check(&local, "America/New_York", "2026-12-01T00:00:00Z", false);
        let fixed = Schedule::At(DateValue::parse("2026-12-01T00:00:00Z").unwrap());
        check(&fixed, "America/New_York", "2026-12-01T00:00:00Z", true);
    }
}

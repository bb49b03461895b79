//! Schedules: from a definition to the calendar's terms, and whether a run is one of a zone's own.

use crate::engine::calendar::{self, Cron, DateValue, DayOfMonth, TimeOfDay, Zone};
use crate::engine::definition::Times;
use crate::engine::time::Timestamp;

/// The times of a definition as the calendar knows them. `None` for text that names none, which no checked definition has.
pub fn schedule(times: &Times) -> Option<calendar::Schedule> {
    match times {
        Times::At(at) => Some(calendar::Schedule::At(DateValue::Instant(*at))),
        Times::AtLocal(text) => DateValue::parse(text).map(calendar::Schedule::At),
        Times::Cron(text) => Cron::parse(text).ok().map(calendar::Schedule::Cron),
        Times::Monthly { day, at } => {
            let day = day.map_or(DayOfMonth::Last, DayOfMonth::Day);
            Some(calendar::Schedule::Monthly { day, at: TimeOfDay::of_minutes(at.0) })
        }
    }
}

/// Whether `due` is one of the instants at which these times fall in this zone.
pub fn falls_at(times: &Times, zone: &Zone, due: Timestamp) -> bool {
    let just_before = Timestamp(due.0.saturating_sub(1));
    schedule(times).is_some_and(|schedule| calendar::next_after(&schedule, zone, just_before) == Some(due))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::definition;

    #[test]
    fn a_run_is_of_the_zones_in_which_its_time_falls() {
        let check = |times: &Times, zone: &str, due: &str, expect: bool| {
            let zone = Zone::find(zone).unwrap();
            assert_eq!(falls_at(times, &zone, Timestamp::parse(due).unwrap()), expect, "{times:?} {zone:?} {due}");
        };
        let monday = Times::Cron("0 9 * * MON".into());
        check(&monday, "Asia/Seoul", "2026-12-07T00:00:00Z", true);
        check(&monday, "UTC", "2026-12-07T00:00:00Z", false);
        check(&monday, "UTC", "2026-12-07T09:00:00Z", true);
        check(&monday, "UTC", "2026-12-08T09:00:00Z", false);
        let last = Times::Monthly { day: None, at: definition::TimeOfDay(9 * 60 + 30) };
        check(&last, "Europe/Berlin", "2026-02-28T08:30:00Z", true);
        check(&last, "Europe/Berlin", "2026-02-27T08:30:00Z", false);
        let seventh = Times::Monthly { day: Some(7), at: definition::TimeOfDay(0) };
        check(&seventh, "UTC", "2026-12-07T00:00:00Z", true);
        let local = Times::AtLocal("2026-12-01T09:00:00".into());
        check(&local, "Asia/Seoul", "2026-12-01T00:00:00Z", true);
        check(&local, "America/New_York", "2026-12-01T14:00:00Z", true);
        check(&local, "America/New_York", "2026-12-01T00:00:00Z", false);
        let fixed = Times::At(Timestamp::parse("2026-12-01T00:00:00Z").unwrap());
        check(&fixed, "America/New_York", "2026-12-01T00:00:00Z", true);
    }
}

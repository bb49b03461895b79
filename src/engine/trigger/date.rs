//! Dates: when a date of an event or of the user falls due, and under which name a user gets it once.

use std::time::Duration;

use crate::engine::calendar::{self, Zone, read_date};
use crate::engine::definition::{Again, EventDate, UserDate};
use crate::engine::id::CampaignId;
use crate::engine::record::{Timer, TimerKind};
use crate::engine::time::Timestamp;
use crate::engine::value::{Object, Value};

use super::correlation::Key;
use super::inaction::Start;

/// When the date of an event that happened at `at` falls due. `None` where the property is missing or no date.
pub fn due_of_event(date: &EventDate, at: Timestamp, properties: &Object, zone: &Zone) -> Option<Timestamp> {
    let value = match &date.property {
        Some(path) => read_date(properties.lookup(path)?)?,
        None => calendar::DateValue::Instant(at),
    };
    Some(calendar::due(&value, date.when.offset_ms, date.when.at, zone))
}

/// Judges an event at `at` while clocks run: one that is not yet due then pends. With `ignore` it stays; with `restart` the latest
/// event rules, so one that was read late does not turn it back.
pub fn start(timers: &[Timer], campaign: CampaignId, key: Key, at: Timestamp, again: Again) -> Start {
    let pending = timers
        .iter()
        .enumerate()
        .filter(|(_, timer)| timer.campaign == campaign && timer.kind == TimerKind::EventDate && timer.key == key)
        .filter(|(_, timer)| at < timer.due);
    match (pending.max_by_key(|(_, timer)| timer.origin.timestamp), again) {
        (None, _) => Start::New,
        (Some((place, timer)), Again::Restart) if timer.origin.timestamp <= at => Start::Restart(place),
        (Some(_), _) => Start::Ignored,
    }
}

/// A date of a user that is to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coming {
    pub due: Timestamp,
    /// What a user gets once: the year of a yearly date, else the date as it is written.
    pub name: Box<str>,
}

/// The date that the traits say, at `from` or later where it comes yearly. One that does not may lie in the past. `decided` names
/// the one that was decided last: it does not come again. `None` where the trait is missing or no date.
pub fn of_user(date: &UserDate, traits: &Object, zone: &Zone, from: Timestamp, decided: Option<&str>) -> Option<Coming> {
    let written = traits.lookup(&date.property)?;
    let value = read_date(written)?;
    let (offset, at) = (date.when.offset_ms, date.when.at);
    if !date.yearly {
        let coming = Coming { due: calendar::due(&value, offset, at, zone), name: name(written) };
        return Some(coming).filter(|coming| decided != Some(&coming.name));
    }
    let yearly = |from| {
        let yearly = calendar::next_yearly(&value, offset, at, zone, from)?;
        Some(Coming { due: yearly.due, name: yearly.year.to_string().into() })
    };
    let next = yearly(from)?;
    if decided == Some(&next.name) { yearly(next.due.after(Duration::from_millis(1))) } else { Some(next) }
}

/// A date as it is written. Only texts and numbers are read as dates.
fn name(written: &Value) -> Box<str> {
    match written {
        Value::Text(text) => (&**text).into(),
        Value::Int(number) => number.to_string().into(),
        Value::Unsigned(number) => number.to_string().into(),
        Value::Float(number) => number.to_string().into(),
        _ => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::calendar::TimeOfDay;
    use crate::engine::definition::{Condition, DateOffset, Pattern, ZoneChoice};
    use crate::engine::record::Origin;

    const DAY_MS: i64 = 86_400_000;

    fn instant(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn when(offset_ms: i64, at: Option<u16>) -> DateOffset {
        DateOffset { offset_ms, at: at.map(TimeOfDay::of_minutes), zone: ZoneChoice::User }
    }

    #[test]
    fn dates_of_events() {
        let check = |property: Option<&str>, offset_ms, at, properties: &str, expect: Option<&str>| {
            let pattern = Pattern { event: "e".into(), condition: Condition::ALWAYS };
            let date = EventDate {
                pattern,
                property: property.map(Into::into),
                when: when(offset_ms, at),
                same: Vec::new(),
                again: Again::Ignore,
            };
            let properties = serde_json::from_str(properties).unwrap();
            let due = due_of_event(&date, instant("2026-12-01T10:00:00Z"), &properties, &Zone::find("Asia/Seoul").unwrap());
            assert_eq!(due, expect.map(instant), "{property:?} {offset_ms} {at:?}");
        };
        check(None, 3 * DAY_MS, None, "{}", Some("2026-12-04T10:00:00Z"));
        check(None, 3 * DAY_MS, Some(600), "{}", Some("2026-12-04T01:00:00Z"));
        check(Some("d"), 0, None, r#"{"d":"2026-12-05"}"#, Some("2026-12-04T15:00:00Z"));
        check(Some("o.d"), -DAY_MS, None, r#"{"o":{"d":1796083200}}"#, Some("2026-11-30T00:00:00Z"));
        check(Some("d"), 0, None, r#"{"d":"soon"}"#, None);
        check(Some("d"), 0, None, "{}", None);
    }

    #[test]
    fn an_event_while_a_clock_runs() {
        let clock = |from: i64, due: i64, kind| Timer {
            campaign: CampaignId(1),
            kind,
            key: [0; 8],
            due: Timestamp(due),
            origin: Origin { timestamp: Timestamp(from), ..Origin::default() },
        };
        let timers = [clock(10, 100, TimerKind::EventDate), clock(0, 500, TimerKind::Inaction)];
        let check = |campaign, key: u8, at, again, expect| {
            assert_eq!(start(&timers, CampaignId(campaign), [key; 8], Timestamp(at), again), expect, "{at} {again:?}");
        };
        check(1, 0, 20, Again::Ignore, Start::Ignored);
        check(1, 0, 20, Again::Restart, Start::Restart(0));
        check(1, 0, 9, Again::Restart, Start::Ignored);
        check(1, 0, 100, Again::Restart, Start::New);
        check(1, 7, 20, Again::Ignore, Start::New);
        check(2, 0, 20, Again::Ignore, Start::New);
    }

    #[test]
    fn dates_of_users() {
        let check = |yearly, offset_ms, at, written: &str, from: &str, decided: Option<&str>, expect: Option<(&str, &str)>| {
            let date = UserDate { property: "d".into(), yearly, when: when(offset_ms, at) };
            let traits = serde_json::from_str(&format!(r#"{{"d":{written}}}"#)).unwrap();
            let coming = of_user(&date, &traits, &Zone::UTC, instant(from), decided);
            let expect = expect.map(|(due, name)| Coming { due: instant(due), name: name.into() });
            assert_eq!(coming, expect, "{written} from {from}");
        };
        let (june, july) = ("2026-06-01T00:00:00Z", "2026-07-01T00:00:00Z");
        check(false, 0, None, r#""2026-06-15""#, june, None, Some(("2026-06-15T00:00:00Z", "2026-06-15")));
        check(false, 0, None, r#""2026-06-15""#, july, None, Some(("2026-06-15T00:00:00Z", "2026-06-15")));
        check(false, 0, None, r#""2026-06-15""#, july, Some("2026-06-15"), None);
        check(false, -DAY_MS, Some(540), r#""2026-06-15""#, june, None, Some(("2026-06-14T09:00:00Z", "2026-06-15")));
        check(false, 0, None, "1781481600", june, None, Some(("2026-06-15T00:00:00Z", "1781481600")));
        check(false, 0, None, "null", june, None, None);
        check(false, 0, None, "true", june, None, None);
        check(true, 0, Some(540), r#""1990-06-15""#, june, None, Some(("2026-06-15T09:00:00Z", "2026")));
        check(true, 0, Some(540), r#""1990-06-15""#, july, None, Some(("2027-06-15T09:00:00Z", "2027")));
        check(true, 0, Some(540), r#""1990-06-15""#, june, Some("2026"), Some(("2027-06-15T09:00:00Z", "2027")));
        check(true, 0, Some(540), r#""1992-02-29""#, july, None, Some(("2027-02-28T09:00:00Z", "2027")));
        check(true, 0, Some(540), r#""1992-02-29""#, "2028-01-01T00:00:00Z", None, Some(("2028-02-29T09:00:00Z", "2028")));
    }
}

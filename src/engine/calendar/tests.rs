//! Cases one can check by hand; `sweep` holds the rules against every zone.

mod sweep;

use super::*;
use crate::engine::time::Timestamp;
use crate::engine::value::Value;

fn zone(name: &str) -> Zone {
    Zone::find(name).unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn clock(text: &str) -> TimeOfDay {
    TimeOfDay::parse(text).unwrap()
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

#[test]
fn a_zone_is_found_by_its_iana_name() {
    fn check(name: &str, expect: Option<&str>) {
        assert_eq!(Zone::find(name).as_ref().map(Zone::name), expect, "{name}");
    }
    check("Asia/Seoul", Some("Asia/Seoul"));
    check("asia/seoul", Some("Asia/Seoul"));
    check("UTC", Some("UTC"));
    check("Etc/GMT+9", Some("Etc/GMT+9"));
    for no_zone in ["", "+09:00", "KST", "Mars/Base", "Etc/Unknown", "UTC+9", "EST5EDT4"] {
        check(no_zone, None);
    }
}

#[test]
fn a_time_of_day_is_hours_and_minutes() {
    fn check(text: &str, expect: Option<&str>) {
        assert_eq!(TimeOfDay::parse(text).map(|time| time.to_string()).as_deref(), expect, "{text}");
    }
    for whole in ["00:00", "09:00", "19:59", "23:59"] {
        check(whole, Some(whole));
    }
    for wrong in ["", "9:00", "24:00", "12:60", "09:00:00", "09.00", "9 am", "-1:00", "+1:00", "０９:00", "09:0a"] {
        check(wrong, None);
    }
}

/// What the clock skips is the first valid instant after; what comes twice is its first coming.
#[test]
fn a_local_time_has_one_instant() {
    fn check(name: &str, local: &str, expect: &str) {
        assert_eq!(zone(name).instant(local.parse().unwrap()).to_string(), at(expect).to_string(), "{local} in {name}");
    }
    check("Asia/Seoul", "2026-11-20T09:00", "2026-11-20T00:00:00Z");
    check("America/New_York", "2026-03-08T01:59:59", "2026-03-08T06:59:59Z");
    check("America/New_York", "2026-03-08T02:00", "2026-03-08T07:00:00Z");
    check("America/New_York", "2026-03-08T02:30", "2026-03-08T07:00:00Z");
    check("America/New_York", "2026-03-08T03:00", "2026-03-08T07:00:00Z");
    check("America/New_York", "2026-11-01T01:30", "2026-11-01T05:30:00Z");
    check("America/New_York", "2026-11-01T02:00", "2026-11-01T07:00:00Z");
    // Half an hour, two hours, a day without midnight, a change of the zone itself, a whole day skipped.
    check("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:30:00Z");
    check("Australia/Lord_Howe", "2026-04-05T01:45", "2026-04-04T14:45:00Z");
    check("Antarctica/Troll", "2026-03-29T02:30", "2026-03-29T01:00:00Z");
    check("Antarctica/Troll", "2026-10-25T01:30", "2026-10-24T23:30:00Z");
    check("America/Sao_Paulo", "2018-11-04T00:00", "2018-11-04T03:00:00Z");
    check("Asia/Pyongyang", "2015-08-14T23:45", "2015-08-14T14:45:00Z");
    check("Asia/Pyongyang", "2018-05-04T23:45", "2018-05-04T15:00:00Z");
    check("Africa/Casablanca", "2026-02-15T02:30", "2026-02-15T01:30:00Z");
    check("Pacific/Apia", "2011-12-30T09:00", "2011-12-30T10:00:00Z");
    check("UTC", "-009999-01-01T00:00", "-009999-01-02T01:59:59Z");
}

#[test]
fn dates_are_read_as_they_are_written() {
    fn check(json: &str, expect: Option<&str>) {
        let read = read_date(&Value::from_json(json).unwrap());
        let seoul = zone("Asia/Seoul");
        assert_eq!(read.map(|date| date.instant(&seoul).to_string()), expect.map(|expect| at(expect).to_string()), "{json}");
    }
    check(r#""2026-11-20T10:00:00Z""#, Some("2026-11-20T10:00:00Z"));
    check(r#""2026-11-20T10:00:00.25-05:00""#, Some("2026-11-20T15:00:00.250Z"));
    check(r#""2026-11-20T10:00:00""#, Some("2026-11-20T01:00:00Z"));
    check(r#""2026-11-20 10:00""#, Some("2026-11-20T01:00:00Z"));
    check(r#""2026-11-20""#, Some("2026-11-19T15:00:00Z"));
    check("1700000000", Some("2023-11-14T22:13:20Z"));
    check("1700000000000", Some("2023-11-14T22:13:20Z"));
    check("1700000000.5", Some("2023-11-14T22:13:20.500Z"));
    check("99999999999", Some("5138-11-16T09:46:39Z"));
    check("100000000000", Some("1973-03-03T09:46:40Z"));
    check("-86400", Some("1969-12-31T00:00:00Z"));
    check("-100000000000", Some("1966-10-31T14:13:20Z"));
    #[rustfmt::skip]
    let none = [
        r#""1700000000""#, r#""yesterday""#, r#""""#, "null", "true", "[]", "{}", r#""2026-13-01""#, r#""2026-02-29""#, "18446744073709551615",
        r#""2026-11-20T10:00[Asia/Tokyo]""#, r#""2026-11-20T25:00+09:00""#, r#""20.11.2026""#,
    ];
    for none in none {
        check(none, None);
    }
}

#[test]
fn a_date_falls_due_after_its_offset_or_at_a_time_of_day() {
    fn check(name: &str, value: &str, offset_ms: i64, time: Option<&str>, expect: &str) {
        let value = DateValue::parse(value).unwrap();
        let due = due(&value, offset_ms, time.map(clock), &zone(name));
        assert_eq!(due.to_string(), at(expect).to_string(), "{value:?} {offset_ms} {time:?} in {name}");
    }
    check("Asia/Seoul", "2026-11-20T10:00:00Z", 3 * DAY_MS, None, "2026-11-23T10:00:00Z");
    check("Asia/Seoul", "2026-11-20T10:00:00Z", 3 * DAY_MS, Some("10:00"), "2026-11-23T10:00:00+09:00");
    // Half past three in the afternoon UTC is the next day in Seoul.
    check("Asia/Seoul", "2026-11-20T15:30:00Z", 3 * DAY_MS, Some("10:00"), "2026-11-24T10:00:00+09:00");
    check("Asia/Seoul", "2026-11-20", -DAY_MS, Some("09:00"), "2026-11-19T09:00:00+09:00");
    check("Asia/Seoul", "2026-11-20", 0, None, "2026-11-20T00:00:00+09:00");
    check("Asia/Seoul", "2026-12-31T23:00", 2 * HOUR_MS, Some("00:00"), "2027-01-01T00:00:00+09:00");
    // Elapsed time knows no clock change; a day of the calendar is a day, though it has 23 or 25 hours.
    check("Europe/Berlin", "2026-03-28T12:00", DAY_MS, None, "2026-03-29T13:00:00+02:00");
    check("Europe/Berlin", "2026-03-30", -DAY_MS, Some("09:00"), "2026-03-29T09:00:00+02:00");
    check("Europe/Berlin", "2026-10-25", DAY_MS, Some("09:00"), "2026-10-26T09:00:00+01:00");
    check("Europe/Berlin", "2026-03-28", DAY_MS, Some("02:30"), "2026-03-29T03:00:00+02:00");
    check("Europe/Berlin", "2026-10-24", DAY_MS, Some("02:30"), "2026-10-25T02:30:00+02:00");
    check("Europe/Berlin", "2028-02-28", DAY_MS, Some("09:00"), "2028-02-29T09:00:00+01:00");
}

#[test]
fn a_yearly_date_comes_each_year() {
    fn check(value: &str, offset_ms: i64, from: &str, expect: (i16, &str)) {
        let value = DateValue::parse(value).unwrap();
        let next = next_yearly(&value, offset_ms, Some(clock("09:00")), &zone("Asia/Seoul"), at(from)).unwrap();
        assert_eq!((next.year, next.due.to_string()), (expect.0, at(expect.1).to_string()), "{value:?} {offset_ms} from {from}");
    }
    check("1990-05-17", 0, "2026-01-01T00:00:00Z", (2026, "2026-05-17T09:00:00+09:00"));
    check("1990-05-17", 0, "2026-05-17T09:00:00+09:00", (2026, "2026-05-17T09:00:00+09:00"));
    check("1990-05-17", 0, "2026-05-17T09:00:00.001+09:00", (2027, "2027-05-17T09:00:00+09:00"));
    check("2000-02-29", 0, "2026-01-01T00:00:00Z", (2026, "2026-02-28T09:00:00+09:00"));
    check("2000-02-29", 0, "2028-01-01T00:00:00Z", (2028, "2028-02-29T09:00:00+09:00"));
    check("2000-02-29", 0, "2100-01-01T00:00:00Z", (2100, "2100-02-28T09:00:00+09:00"));
    check("2000-02-29", DAY_MS, "2026-01-01T00:00:00Z", (2026, "2026-03-01T09:00:00+09:00"));
    // The day before New Year: due in the year before the one that names it.
    check("1990-01-01", -DAY_MS, "2026-06-01T00:00:00Z", (2027, "2026-12-31T09:00:00+09:00"));
    check("1990-12-31", DAY_MS, "2026-06-01T00:00:00Z", (2026, "2027-01-01T09:00:00+09:00"));
    check("1990-05-17", 800 * DAY_MS, "2026-01-01T00:00:00Z", (2024, "2026-07-26T09:00:00+09:00"));
    // Never before the date itself; of an instant the day it has in the zone.
    check("2030-05-17", 0, "2026-01-01T00:00:00Z", (2030, "2030-05-17T09:00:00+09:00"));
    check("1990-05-16T20:00:00Z", 0, "2026-01-01T00:00:00Z", (2026, "2026-05-17T09:00:00+09:00"));
}

#[test]
fn a_yearly_date_ends_with_the_calendar() {
    let last_year = next_yearly(&DateValue::parse("1990-05-17").unwrap(), 0, None, &Zone::UTC, at("9999-06-01T00:00:00Z"));
    assert_eq!(last_year, None);
}

/// The first runs after an instant, as the clock of the zone reads them.
fn runs(schedule: &Schedule, name: &str, after: &str, count: usize) -> Vec<String> {
    let zone = zone(name);
    occurrences(schedule, &zone, at(after), Timestamp::MAX).take(count).map(|run| zone.local(run).to_string()).collect()
}

fn expanded(first: &str, rest: &[&str]) -> Vec<String> {
    // `first` is whole, the others repeat its beginning.
    let whole = |text: &&str| format!("{}{text}:00", &first[..first.len() - text.len()]);
    std::iter::once(format!("{first}:00")).chain(rest.iter().map(whole)).collect()
}

#[test]
fn cron_names_minutes_of_days() {
    fn check(text: &str, first: &str, rest: &[&str]) {
        let cron = Schedule::Cron(Cron::parse(text).unwrap_or_else(|problem| panic!("{problem}")));
        assert_eq!(runs(&cron, "UTC", "2026-11-20T10:00:00Z", rest.len() + 1), expanded(first, rest), "{text}");
    }
    check("0 9 * * MON", "2026-11-23T09:00", &["11-30T09:00", "12-07T09:00"]);
    check("0 9 * * mon-fri", "2026-11-23T09:00", &["24T09:00", "25T09:00", "26T09:00", "27T09:00", "30T09:00"]);
    check("0 9 * * sat-sun", "2026-11-21T09:00", &["22T09:00", "28T09:00"]);
    check("0 9 * * 7", "2026-11-22T09:00", &["29T09:00"]);
    check("0 9 * * 0", "2026-11-22T09:00", &["29T09:00"]);
    check("0 9 * * */3", "2026-11-21T09:00", &["22T09:00", "25T09:00", "28T09:00"]);
    check("*/20 * * * *", "2026-11-20T10:20", &["10:40", "11:00"]);
    check("5-20/10,30 10 * * *", "2026-11-20T10:05", &["10:15", "10:30", "21T10:05"]);
    check("0 0 29 2 *", "2028-02-29T00:00", &["2032-02-29T00:00"]);
    check("0 0 31 * *", "2026-12-31T00:00", &["2027-01-31T00:00", "2027-03-31T00:00"]);
    check("59 23 31 dec *", "2026-12-31T23:59", &["2027-12-31T23:59"]);
    check("0 12 1 jan,JUL *", "2027-01-01T12:00", &["07-01T12:00"]);
    // Both days set: either. One that begins with a star: both.
    check("0 9 1 * MON", "2026-11-23T09:00", &["11-30T09:00", "12-01T09:00", "12-07T09:00"]);
    check("0 9 */2 * MON", "2026-11-23T09:00", &["12-07T09:00"]);
    check("0 0 30 2 MON", "2027-02-01T00:00", &["08T00:00"]);
    // A 29th of February that is a Sunday, and the longest wait for one.
    check("0 0 29 2 */7", "2032-02-29T00:00", &["2060-02-29T00:00", "2088-02-29T00:00", "2128-02-29T00:00"]);
}

#[test]
fn what_is_no_cron_expression_is_refused_with_a_way_out() {
    fn check(text: &str, expect: &str) {
        assert_eq!(Cron::parse(text).map_err(|problem| problem.to_string()), Err(expect.into()), "{text}");
    }
    check("", "a cron expression has five fields, not 0: ``: minute, hour, day of month, month, day of week, such as `0 9 * * MON`");
    check("0 0 9 * * MON", "a cron expression has five fields, not 6: `0 0 9 * * MON`: there are no seconds and no years");
    check("@daily", "a cron expression has five fields, not 1: `@daily`: write `0 0 * * *`");
    check("60 9 * * *", "`60` is no minute of a cron expression: it takes 0 to 59, lists, ranges and steps");
    check("0 24 * * *", "`24` is no hour of a cron expression: it takes 0 to 23, lists, ranges and steps");
    check("0 9 0 * *", "`0` is no day of month of a cron expression: it takes 1 to 31, lists, ranges and steps");
    check("0 9 L * *", "`L` is no day of month of a cron expression: it takes 1 to 31, lists, ranges and steps");
    check("0 9 * 13 *", "`13` is no month of a cron expression: it takes 1 to 12 or JAN to DEC, lists, ranges and steps");
    check("0 9 * * MONDAY", "`MONDAY` is no day of week of a cron expression: it takes 0 to 7 or SUN to SAT, lists, ranges and steps");
    check("0 9 ? * MON", "`?` is no day of month of a cron expression: it takes 1 to 31, lists, ranges and steps");
    check("0 22-2 * * *", "`22-2` is no hour of a cron expression: a range goes upwards; write 22-23,0-2");
    check("5/15 * * * *", "`5/15` is no minute of a cron expression: a step needs a range: 5-59/15");
    check("*/90 * * * *", "`*/90` is no minute of a cron expression: a step is 1 to 60");
    check("*/0 * * * *", "`*/0` is no minute of a cron expression: a step is 1 to 60");
    check("1,,2 * * * *", "`` is no minute of a cron expression: it takes 0 to 59, lists, ranges and steps");
    check("0 0 30 2 *", "`0 0 30 2 *` never fires: no day 30 comes in month 2: for the end of a month use {monthly: {day: last, at: ..}}");
    check(
        "0 0 31 2,4,6 *",
        "`0 0 31 2,4,6 *` never fires: no day 31 comes in month 2,4,6: for the end of a month use {monthly: {day: last, at: ..}}",
    );
    for wrong in ["-1 * * * *", "+1 * * * *", "1- * * * *", "1-2-3 * * * *", "*/ * * * *", "*-5 * * * *", "0x1 * * * *", "* * * * #"] {
        assert!(Cron::parse(wrong).is_err(), "{wrong}");
    }
}

/// In New York on the 8th of March 2026 two o'clock is three; on the 1st of November one to two o'clock comes twice.
#[test]
fn a_cron_meets_a_clock_change() {
    fn check(text: &str, after: &str, first: &str, rest: &[&str]) {
        let cron = Schedule::Cron(Cron::parse(text).unwrap());
        assert_eq!(runs(&cron, "America/New_York", after, rest.len() + 1), expanded(first, rest), "{text}");
    }
    let (spring, autumn) = ("2026-03-08T06:00:00Z", "2026-11-01T04:00:00Z");
    check("30 2 * * *", spring, "2026-03-08T03:00", &["09T02:30"]);
    check("*/10 2 * * *", spring, "2026-03-08T03:00", &["09T02:00", "09T02:10"]);
    check("0 2,3 * * *", spring, "2026-03-08T03:00", &["09T02:00"]);
    check("30 */2 * * *", spring, "2026-03-08T03:00", &["04:30"]);
    check("30 1 * * *", autumn, "2026-11-01T01:30", &["02T01:30"]);
    check("*/30 1 * * *", autumn, "2026-11-01T01:00", &["01:30", "02T01:00"]);
    check("0 0-2 * * *", autumn, "2026-11-01T01:00", &["02:00", "02T00:00"]);
    // Every hour: as the clock runs.
    check("0 * * * *", spring, "2026-03-08T03:00", &["04:00"]);
    check("30 * * * *", spring, "2026-03-08T01:30", &["03:30", "04:30"]);
    check("30 * * * *", autumn, "2026-11-01T00:30", &["01:30", "01:30", "02:30"]);
    check("30 0-23 * * *", autumn, "2026-11-01T00:30", &["01:30", "01:30", "02:30"]);
    check("*/30 * * * *", autumn, "2026-11-01T00:30", &["01:00", "01:30", "01:00", "01:30", "02:00"]);
}

#[test]
fn a_monthly_schedule_has_its_day_in_every_month() {
    fn check(day: DayOfMonth, after: &str, first: &str, rest: &[&str]) {
        let monthly = Schedule::Monthly { day, at: clock("09:00") };
        assert_eq!(runs(&monthly, "Asia/Seoul", after, rest.len() + 1), expanded(first, rest), "{day:?}");
    }
    let seventh = DayOfMonth::new(7).unwrap();
    check(seventh, "2026-11-06T00:00:00Z", "2026-11-07T09:00", &["12-07T09:00", "2027-01-07T09:00"]);
    check(seventh, "2026-11-07T09:00:00+09:00", "2026-12-07T09:00", &["2027-01-07T09:00"]);
    check(seventh, "2026-11-07T08:59:59.999+09:00", "2026-11-07T09:00", &["12-07T09:00"]);
    check(DayOfMonth::new(31).unwrap(), "2027-01-01T00:00:00Z", "2027-01-31T09:00", &["02-28T09:00", "03-31T09:00", "04-30T09:00"]);
    check(DayOfMonth::new(30).unwrap(), "2028-01-31T00:00:00Z", "2028-02-29T09:00", &["03-30T09:00"]);
    check(DayOfMonth::Last, "2028-01-31T12:00:00Z", "2028-02-29T09:00", &["03-31T09:00", "04-30T09:00"]);
    assert_eq!([0, 32, -1].map(DayOfMonth::new), [None; 3]);
}

#[test]
fn a_schedule_at_an_instant_runs_once() {
    fn check(date: &str, name: &str, expect: &str) {
        let (schedule, due) = (Schedule::At(DateValue::parse(date).unwrap()), at(expect));
        let just_before = Timestamp(due.0 - 1);
        assert_eq!(next_after(&schedule, &zone(name), just_before), Some(due), "{date} in {name}");
        assert_eq!(next_after(&schedule, &zone(name), due), None, "{date} in {name}");
    }
    check("2026-12-01T09:00:00", "Asia/Seoul", "2026-12-01T00:00:00Z");
    check("2026-12-01T09:00:00+01:00", "Asia/Seoul", "2026-12-01T08:00:00Z");
    check("2026-03-08T02:30", "America/New_York", "2026-03-08T07:00:00Z");
    check("2026-11-01T01:30", "America/New_York", "2026-11-01T05:30:00Z");
}

#[test]
fn occurrences_lie_after_the_first_bound_and_not_after_the_second() {
    let daily = Schedule::Cron(Cron::parse("0 9 * * *").unwrap());
    let between: Vec<Timestamp> = occurrences(&daily, &Zone::UTC, at("2026-11-01T09:00:00Z"), at("2026-11-03T09:00:00Z")).collect();
    assert_eq!(between, [at("2026-11-02T09:00:00Z"), at("2026-11-03T09:00:00Z")]);
}

#[test]
fn a_calendar_period_contains_the_instant() {
    fn check(period: Period, name: &str, now: &str, start: &str, end: &str) {
        let window = window(period, at(now), &zone(name));
        assert_eq!((window.start.to_string(), window.end.to_string()), (at(start).to_string(), at(end).to_string()), "{now} in {name}");
    }
    use Period::{Day, Month, Week};
    check(Day, "Asia/Seoul", "2026-11-20T15:00:00Z", "2026-11-21T00:00:00+09:00", "2026-11-22T00:00:00+09:00");
    check(Day, "Asia/Seoul", "2026-11-20T14:59:59.999Z", "2026-11-20T00:00:00+09:00", "2026-11-21T00:00:00+09:00");
    // The 1st of November 2026 is a Sunday, the 2nd a Monday.
    check(Week, "Asia/Seoul", "2026-11-01T23:00:00+09:00", "2026-10-26T00:00:00+09:00", "2026-11-02T00:00:00+09:00");
    check(Week, "Asia/Seoul", "2026-11-02T00:00:00+09:00", "2026-11-02T00:00:00+09:00", "2026-11-09T00:00:00+09:00");
    check(Week, "UTC", "2027-01-01T00:00:00Z", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z");
    check(Month, "UTC", "2028-02-29T23:59:59Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z");
    check(Day, "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00");
    check(Day, "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00");
    check(Day, "America/Sao_Paulo", "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z");
    check(Day, "Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z");
    check(Day, "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z");
    // A minute after midnight the clock went back to a minute after eleven: a day begins once.
    check(Day, "America/St_Johns", "2010-11-07T02:45:00Z", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z");
}

#[test]
fn quiet_hours_are_what_the_clock_reads() {
    /// `expect`: when they end, `None` when it is not quiet.
    fn check(name: &str, hours: (&str, &str), now: &str, expect: Option<&str>) {
        let (from, to, zone, now) = (clock(hours.0), clock(hours.1), zone(name), at(now));
        assert_eq!(inside(now, from, to, &zone), expect.is_some(), "{now} {hours:?} in {name}");
        assert_eq!(ends(now, from, to, &zone).to_string(), expect.map_or(now, at).to_string(), "{now} {hours:?} in {name}");
    }
    let night = ("21:00", "08:00");
    check("Asia/Seoul", night, "2026-11-20T20:59:59.999+09:00", None);
    check("Asia/Seoul", night, "2026-11-20T21:00:00+09:00", Some("2026-11-21T08:00:00+09:00"));
    check("Asia/Seoul", night, "2026-11-21T07:59:59.999+09:00", Some("2026-11-21T08:00:00+09:00"));
    check("Asia/Seoul", night, "2026-11-21T08:00:00+09:00", None);
    check("Asia/Seoul", ("12:00", "13:30"), "2026-11-20T13:29:00+09:00", Some("2026-11-20T13:30:00+09:00"));
    check("Asia/Seoul", ("12:00", "13:30"), "2026-11-20T13:30:00+09:00", None);
    check("Asia/Seoul", ("22:00", "00:00"), "2026-11-20T23:00:00+09:00", Some("2026-11-21T00:00:00+09:00"));
    check("Asia/Seoul", ("00:00", "06:00"), "2026-11-20T00:00:00+09:00", Some("2026-11-20T06:00:00+09:00"));
    check("Asia/Seoul", ("09:00", "09:00"), "2026-11-20T09:00:00+09:00", None);
    // Over a change of the clock.
    check("America/New_York", night, "2026-03-08T02:00:00Z", Some("2026-03-08T08:00:00-04:00"));
    check("America/New_York", ("22:00", "02:30"), "2026-03-08T05:00:00Z", Some("2026-03-08T03:00:00-04:00"));
    check("America/New_York", ("02:15", "05:00"), "2026-03-08T06:59:00Z", None);
    check("America/New_York", ("02:15", "05:00"), "2026-03-08T07:00:00Z", Some("2026-03-08T05:00:00-04:00"));
    check("America/New_York", ("02:10", "02:40"), "2026-03-08T07:00:00Z", None);
    // One to two o'clock comes twice: quiet twice.
    check("America/New_York", ("22:00", "01:30"), "2026-11-01T04:00:00Z", Some("2026-11-01T01:30:00-04:00"));
    check("America/New_York", ("22:00", "01:30"), "2026-11-01T05:45:00Z", None);
    check("America/New_York", ("22:00", "01:30"), "2026-11-01T06:15:00Z", Some("2026-11-01T01:30:00-05:00"));
    check("America/New_York", ("01:30", "06:00"), "2026-11-01T05:45:00Z", Some("2026-11-01T01:00:00-05:00"));
    check("America/New_York", ("01:15", "02:00"), "2026-11-01T05:30:00Z", Some("2026-11-01T01:00:00-05:00"));
    check("America/New_York", ("22:00", "02:00"), "2026-11-01T05:45:00Z", Some("2026-11-01T02:00:00-05:00"));
}

/// No instant and no offset is too far for a rule.
#[test]
fn the_ends_of_time_are_borne() {
    let apia = zone("Pacific/Apia");
    let day = DateValue::parse("2026-11-20").unwrap();
    let schedules = ["* * * * *", "0 0 29 2 *"].map(|text| Schedule::Cron(Cron::parse(text).unwrap()));
    for now in [Timestamp::MIN, Timestamp(i64::MIN / 2), Timestamp(i64::MAX / 2), Timestamp::MAX] {
        assert!(window(Period::Month, now, &apia).end > Timestamp::MIN);
        assert!(ends(now, clock("00:00"), clock("23:59"), &apia) >= now);
        assert!(due(&day, now.0, None, &apia).0.signum() == now.0.signum());
        assert!(due(&DateValue::Instant(now), now.0, Some(clock("09:00")), &apia).0.signum() == now.0.signum());
        for schedule in &schedules {
            assert_eq!(next_after(schedule, &apia, now).is_some(), now.0 < 0);
        }
        assert_eq!(next_yearly(&day, 0, None, &apia, now).is_some(), now.0 < 0);
    }
}

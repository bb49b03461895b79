//! Every zone of the database, 2015 to 2040, around each change of its clock. What is expected is computed from the list of changes
//! alone, in whole milliseconds; zones whose clocks run alike in these years are held against the rules once.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};

use super::*;

const MINUTE_MS: i64 = 60_000;

/// A zone's clock as stretches of even running: from when on, and how far ahead of UTC. The first is from the beginning of time.
struct Clock {
    zone: Zone,
    stretches: Vec<(i64, i64)>,
}

impl Clock {
    fn all() -> Vec<Clock> {
        let mut seen = BTreeSet::new();
        let clocks = jiff::tz::db().available().filter_map(|name| Clock::of(name.as_str()));
        clocks.filter(|clock| seen.insert(clock.stretches.clone())).collect()
    }

    fn of(name: &str) -> Option<Clock> {
        let (zone, from, until) = (Zone::find(name)?, at("2014-12-01T00:00:00Z"), at("2041-02-01T00:00:00Z"));
        let (database, from) = (TimeZone::get(name).unwrap(), jiff::Timestamp::from_millisecond(from.0).unwrap());
        let mut stretches = vec![(i64::MIN, offset_ms(database.to_offset(from)))];
        for change in database.following(from).take_while(|change| change.timestamp().as_millisecond() < until.0) {
            let offset = offset_ms(change.offset());
            if stretches.last().is_some_and(|(_, before)| *before != offset) {
                stretches.push((change.timestamp().as_millisecond(), offset));
            }
        }
        Some(Clock { zone, stretches })
    }

    /// Each change: its instant, and the offsets before and after it.
    fn changes(&self) -> impl Iterator<Item = (i64, i64, i64)> {
        self.stretches.windows(2).map(|pair| (pair[1].0, pair[0].1, pair[1].1))
    }

    /// What the clock reads.
    fn read(&self, at: i64) -> i64 {
        at + self.stretches[self.stretches.partition_point(|(from, _)| *from <= at) - 1].1
    }

    /// The first instant at which it reads `local` or later.
    fn first(&self, local: i64) -> i64 {
        let ends = self.stretches.iter().skip(1).map(|(from, _)| *from).chain([i64::MAX]);
        let reached = self.stretches.iter().zip(ends).map(|((from, offset), end)| ((local - offset).max(*from), end));
        reached.filter(|(at, end)| at < end).map(|(at, _)| at).min().unwrap()
    }

    fn name(&self) -> &str {
        self.zone.name()
    }
}

fn offset_ms(offset: Offset) -> i64 {
    i64::from(offset.seconds()) * 1000
}

fn to_ms(local: DateTime) -> i64 {
    Offset::UTC.to_timestamp(local).unwrap().as_millisecond()
}

fn to_local(ms: i64) -> DateTime {
    Offset::UTC.to_datetime(jiff::Timestamp::from_millisecond(ms).unwrap())
}

/// The time of day of a local time.
fn time_of(local: i64) -> TimeOfDay {
    let minutes = local.rem_euclid(DAY_MS) / MINUTE_MS;
    clock(&format!("{:02}:{:02}", minutes / 60, minutes % 60))
}

/// Times of day that a change may touch: before, in and after what it skips or repeats, midnight, and one far off.
fn touched(change: i64, before: i64, after: i64) -> [i64; 6] {
    let (low, high) = (change + before.min(after), change + before.max(after));
    [low - 30 * MINUTE_MS, low, (low + high) / 2, high, 0, 9 * HOUR_MS].map(|local| local.rem_euclid(DAY_MS) / MINUTE_MS * MINUTE_MS)
}

#[test]
fn the_database_is_swept() {
    let clocks = Clock::all();
    let changes: usize = clocks.iter().map(|clock| clock.changes().count()).sum();
    assert!(clocks.len() > 100 && changes > 2000, "{} clocks, {changes} changes", clocks.len());
    for special in ["Asia/Pyongyang", "Africa/Casablanca", "Australia/Lord_Howe", "Antarctica/Troll"] {
        assert!(Clock::of(special).unwrap().changes().count() >= 2, "{special}");
    }
}

#[test]
fn local_times_and_instants() {
    for clock in Clock::all() {
        for (change, before, after) in clock.changes() {
            let far = [-13 * 4, -9 * 4, -6 * 4, 6 * 4, 9 * 4, 13 * 4];
            for step in (-3 * 4..=3 * 4).chain(far) {
                for at in [-1, 0, 1].map(|ms| change + step * 15 * MINUTE_MS + ms) {
                    assert_eq!(to_ms(clock.zone.local(Timestamp(at))), clock.read(at), "{at} in {}", clock.name());
                    let local = at + if step % 2 == 0 { before } else { after };
                    assert_eq!(clock.zone.instant(to_local(local)).0, clock.first(local), "{} in {}", to_local(local), clock.name());
                }
            }
        }
    }
}

#[test]
fn dates_fall_due_on_the_day_after_the_offset() {
    for clock in Clock::all() {
        for (change, before, after) in clock.changes() {
            for time in touched(change, before, after) {
                for (hours, offset) in [(-30, DAY_MS), (-12, 0), (0, 0), (6, -DAY_MS), (30, -2 * DAY_MS)] {
                    let value = change + hours * HOUR_MS;
                    let day = (clock.read(value) + offset).div_euclid(DAY_MS);
                    let due = due(&DateValue::Instant(Timestamp(value)), offset, Some(time_of(time)), &clock.zone);
                    assert_eq!(due.0, clock.first(day * DAY_MS + time), "{value} {offset} {time} in {}", clock.name());
                }
            }
        }
    }
}

#[test]
fn yearly_dates_come_once_in_each_year() {
    let leap_day = DateValue::parse("2000-02-29").unwrap();
    for clock in Clock::all() {
        let mut changed = clock.changes().map(|(change, before, after)| (clock.read(change), touched(change, before, after)[2]));
        let (date, time) = changed.next().map_or((leap_day, 0), |(local, time)| (DateValue::Day(to_local(local).date()), time));
        for (value, time) in [(leap_day, time), (leap_day, 0), (date, time)] {
            let own = value.local(&clock.zone);
            let mut from = at("2016-01-01T00:00:00Z");
            for year in own.year().max(2016)..=2039 {
                let yearly = next_yearly(&value, 0, Some(time_of(time)), &clock.zone, from).unwrap();
                let last = Date::new(year, own.month(), 1).unwrap().days_in_month();
                let day = Date::new(year, own.month(), own.day().min(last)).unwrap();
                let due = Timestamp(clock.first(to_ms(day.at(0, 0, 0, 0)) + time));
                if due < from {
                    continue; // the first year's had passed
                }
                assert_eq!(yearly, Yearly { year, due }, "{own} {time} from {from} in {}", clock.name());
                from = Timestamp(due.0 + 1);
            }
        }
    }
}

/// No day is skipped, none run twice.
#[test]
fn daily_runs() {
    for clock in Clock::all() {
        for (change, before, after) in clock.changes() {
            for time in touched(change, before, after) {
                let text = format!("{} {} * * *", time % HOUR_MS / MINUTE_MS, time / HOUR_MS);
                let daily = Schedule::Cron(Cron::parse(&text).unwrap());
                let (from, until) = (change - 2 * DAY_MS, change + 2 * DAY_MS);
                let day = clock.read(change).div_euclid(DAY_MS);
                let mut expected: Vec<i64> = (day - 4..=day + 4).map(|day| clock.first(day * DAY_MS + time)).collect();
                expected.retain(|at| (from + 1..=until).contains(at));
                let runs: Vec<i64> = occurrences(&daily, &clock.zone, Timestamp(from), Timestamp(until)).map(|run| run.0).collect();
                assert_eq!(runs, expected, "{text} around {} in {}", Timestamp(change), clock.name());
            }
        }
    }
}

/// Once in each month, also where its day is missing or its midnight is.
#[test]
fn monthly_runs() {
    let (from, until) = (at("2015-01-15T00:00:00Z"), at("2040-12-15T00:00:00Z"));
    for clock in Clock::all() {
        let time = clock.changes().next().map_or(0, |(change, before, after)| touched(change, before, after)[2]);
        for (day, time) in [(DayOfMonth::Day(1), 0), (DayOfMonth::Day(30), time), (DayOfMonth::Last, time)] {
            let monthly = Schedule::Monthly { day, at: time_of(time) };
            let runs: Vec<i64> = occurrences(&monthly, &clock.zone, from, until).map(|run| run.0).collect();
            let months = (2015..=2040).flat_map(|year| (1..=12).map(move |month| Date::new(year, month, 1).unwrap()));
            let expected = months.map(|month| {
                let last = i64::from(month.days_in_month());
                let number = if let DayOfMonth::Day(number) = day { i64::from(number).min(last) } else { last };
                clock.first(to_ms(month.at(0, 0, 0, 0)) + (number - 1) * DAY_MS + time)
            });
            let expected: Vec<i64> = expected.filter(|at| (from.0 + 1..=until.0).contains(at)).collect();
            assert_eq!(runs, expected, "{day:?} {time} in {}", clock.name());
        }
    }
}

#[test]
fn runs_of_every_hour_follow_the_clock() {
    let crons =
        [("*/15 * * * *", 15, 0), ("40 * * * *", 60, 40)].map(|(text, every, at)| (Schedule::Cron(Cron::parse(text).unwrap()), every, at));
    for clock in Clock::all() {
        for (change, ..) in clock.changes() {
            let (from, until) = (change - 5 * HOUR_MS, change + 5 * HOUR_MS);
            for (cron, every, minute) in &crons {
                let named = |at: &i64| clock.read(*at) % (every * MINUTE_MS) == minute * MINUTE_MS;
                let expected: Vec<i64> = (from + MINUTE_MS..=until).step_by(MINUTE_MS as usize).filter(named).collect();
                let runs = occurrences(cron, &clock.zone, Timestamp(from), Timestamp(until));
                let runs: Vec<i64> = runs.map(|run| run.0).collect();
                assert_eq!(runs, expected, "around {} in {}", Timestamp(change), clock.name());
            }
        }
    }
}

/// Each contains its instants, begins where the one before it ends, and begins with its day.
#[test]
fn periods_tile_time() {
    for clock in Clock::all() {
        for (change, ..) in clock.changes() {
            for at in (-30..=30).step_by(3).map(|hours| change + hours * HOUR_MS).chain([change - 1]).map(Timestamp) {
                let name = clock.name();
                let day = window(Period::Day, at, &clock.zone);
                let date = clock.read(at.0).div_euclid(DAY_MS);
                // The day that the clock reads, or the one begun before the clock went back over midnight.
                let days = [date, date + 1].map(|day| clock.first(day * DAY_MS));
                let begun = if days[1] <= at.0 { days[1] } else { days[0] };
                assert_eq!(day.start.0, begun, "{at} in {name}");
                for period in [Period::Day, Period::Week, Period::Month] {
                    let whole = window(period, at, &clock.zone);
                    assert!(whole.contains(&at) && whole.start <= day.start && day.end <= whole.end, "{period:?} of {at} in {name}");
                    assert_eq!(window(period, whole.start, &clock.zone), whole, "{period:?} of {at} in {name}");
                    assert_eq!(window(period, whole.end, &clock.zone).start, whole.end, "{period:?} of {at} in {name}");
                    let before = window(period, Timestamp(whole.start.0 - 1), &clock.zone);
                    assert_eq!(before.end, whole.start, "{period:?} of {at} in {name}");
                    let first = to_local(clock.read(whole.start.0 + 6 * HOUR_MS)).date();
                    match period {
                        Period::Day => {}
                        Period::Week => assert_eq!(first.weekday(), jiff::civil::Weekday::Monday, "{at} in {name}"),
                        Period::Month => assert_eq!(first.day(), 1, "{at} in {name}"),
                    }
                }
            }
        }
    }
}

/// Quiet is what reads so; the end is not, and all before it is.
#[test]
fn quiet_hours_end_when_the_clock_says_so() {
    for clock in Clock::all() {
        for (change, before, after) in clock.changes() {
            let [early, low, middle, high, midnight, morning] = touched(change, before, after);
            for (from, to) in [(early, high), (low, middle), (middle, morning), (morning, middle), (high, midnight)] {
                let quiet = |at: i64| {
                    let local = clock.read(at).rem_euclid(DAY_MS);
                    if from <= to { (from..to).contains(&local) } else { !(to..from).contains(&local) }
                };
                for at in [-26, -20, -14, -8, -3, -2, -1, 0, 1, 2, 3].map(|hours| change + hours * HOUR_MS - MINUTE_MS) {
                    let (begins, ending) = (time_of(from), time_of(to));
                    let end = ends(Timestamp(at), begins, ending, &clock.zone).0;
                    let place = format!("{begins} to {ending} at {} in {}", Timestamp(at), clock.name());
                    assert_eq!(inside(Timestamp(at), begins, ending, &clock.zone), quiet(at), "{place}");
                    assert!(end >= at && !quiet(end), "{place} ends {}", Timestamp(end));
                    let mut until_end = (at..end).step_by(15 * MINUTE_MS as usize).chain([end - 1]).filter(|within| *within >= at);
                    assert!(until_end.all(quiet), "{place} ends {}", Timestamp(end));
                }
            }
        }
    }
}

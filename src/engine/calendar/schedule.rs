//! Schedules: when the next run falls, in a zone.
//!
//! A run is at the instant of its local time: what the clock skips is run at the first valid instant, several such times at once
//! are one run, and what comes twice is run the first time. One kind is different: a cron of every hour (`*/15 * * * *`) follows
//! the clock as it runs. It goes on through an hour that comes twice and makes nothing up for one that is skipped, so that its
//! runs stay as far apart as they are written.

use jiff::ToSpan;
use jiff::civil::{Date, DateTime};

use super::{Cron, DateValue, TimeOfDay, Zone};
use crate::engine::time::Timestamp;

/// When a schedule's runs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Once.
    At(DateValue),
    Cron(Cron),
    Monthly {
        day: DayOfMonth,
        at: TimeOfDay,
    },
}

/// A day that every month has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayOfMonth {
    /// 1 to 31; in a month without it, the last.
    Day(u8),
    Last,
}

impl DayOfMonth {
    /// A day by its number, 1 to 31.
    pub fn new(day: i64) -> Option<DayOfMonth> {
        u8::try_from(day).ok().filter(|day| (1..=31).contains(day)).map(DayOfMonth::Day)
    }
}

/// The first run after an instant, never at it. `None` when no more comes, and beyond the year 9999.
pub fn next_after(schedule: &Schedule, zone: &Zone, after: Timestamp) -> Option<Timestamp> {
    match schedule {
        Schedule::At(date) => Some(date.instant(zone)).filter(|at| *at > after),
        Schedule::Cron(cron) if cron.every_hour() => next_running(cron, zone, after),
        Schedule::Cron(cron) => next_local(zone, after, |from| cron.first_from(from)),
        Schedule::Monthly { day, at } => next_local(zone, after, |from| monthly(*day, *at, from)),
    }
}

/// The runs after `after`, up to and with `until`, in order.
pub fn occurrences(schedule: &Schedule, zone: &Zone, after: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> {
    let next = move |after: Timestamp| next_after(schedule, zone, after).filter(|at| *at <= until);
    std::iter::successors(next(after), move |last| next(*last))
}

/// The first instant after `after` of the local times that `first_from` gives: the first at or after the one it is asked.
fn next_local(zone: &Zone, after: Timestamp, first_from: impl Fn(DateTime) -> Option<DateTime>) -> Option<Timestamp> {
    // A local time that the clock has reached has its instant behind it.
    let mut from = zone.local(after);
    loop {
        let local = first_from(from)?;
        let at = zone.instant(local);
        if at > after {
            return Some(at);
        }
        // Named and over: at `after` itself, or in the second coming of times that were run at their first.
        from = local.checked_add(1.minute()).ok()?;
    }
}

/// Stretch by stretch between changes of the clock.
fn next_running(cron: &Cron, zone: &Zone, after: Timestamp) -> Option<Timestamp> {
    let mut from = Timestamp(after.0.checked_add(1)?);
    loop {
        let stretch = zone.stretch(from);
        match stretch.instant(cron.first_from(zone.local(from))?) {
            // Beyond the years that the database knows the clock stands still.
            Some(at) => return Some(at).filter(|at| *at > after),
            None => from = stretch.until,
        }
    }
}

/// The first monthly local time at `from` or later.
fn monthly(day: DayOfMonth, at: TimeOfDay, from: DateTime) -> Option<DateTime> {
    let this_month = from.date().first_of_month();
    let local = at.on(in_month(day, this_month)?);
    if local >= from { Some(local) } else { Some(at.on(in_month(day, this_month.checked_add(1.month()).ok()?)?)) }
}

fn in_month(day: DayOfMonth, first: Date) -> Option<Date> {
    let last = first.days_in_month();
    let day = match day {
        DayOfMonth::Day(day) => i8::try_from(day).unwrap_or(last).min(last),
        DayOfMonth::Last => last,
    };
    Date::new(first.year(), first.month(), day).ok()
}

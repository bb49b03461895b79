//! Cron expressions: reading them, and which minutes of which days they name. What a zone's clock makes of those minutes is
//! `schedule`'s.

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Time};

/// Up to this many years apart two days can lie that the same expression names: a 29th of February on one weekday, around a year
/// such as 2100 that is no leap year.
const LONGEST_WAIT_YEARS: i16 = 40;

/// A five-field cron expression as Vixie cron reads it: minute, hour, day of month, month, day of week.
///
/// - A field is `*` or a list of numbers and ranges (`1,15`, `9-17`); `*` and ranges may have a step (`*/15`, `9-17/2`).
/// - Months and days of the week have names too, in any case (`JAN`, `MON-FRI`); Sunday is 0 and 7.
/// - With both days set, a day that fits either counts. A day field that begins with `*` (also `*/2`) is not "set": then a day
///   must fit both.
/// - Not supported, and refused: seconds, years, `@daily` and the like, and the `L W # ?` of Quartz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cron {
    // One bit a value.
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    either_day: bool,
}

/// Why a text is no cron expression, and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}: {help}")]
pub struct CronProblem {
    pub message: String,
    pub help: String,
}

impl Cron {
    /// Reads an expression. One that names no day that ever comes (the 30th of February) is refused.
    pub fn parse(text: &str) -> Result<Cron, CronProblem> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let &[minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(not_five(text, fields.len()));
        };
        let mut cron = Cron {
            minutes: MINUTE.read(minutes)?,
            hours: HOUR.read(hours)?,
            days: DAY.read(days)?,
            months: MONTH.read(months)?,
            weekdays: WEEKDAY.read(weekdays)?,
            either_day: !days.starts_with('*') && !weekdays.starts_with('*'),
        };
        if has(cron.weekdays, 7) {
            cron.weekdays |= 1;
        }
        if cron.never() {
            let message = format!("`{text}` never fires: no day {days} comes in month {months}");
            return Err(CronProblem { message, help: "for the end of a month use {monthly: {day: last, at: ..}}".into() });
        }
        Ok(cron)
    }

    /// Whether it names every hour of a day.
    pub(super) fn every_hour(&self) -> bool {
        self.hours == HOUR.all()
    }

    /// The first local minute it names at `from` or later. `None` beyond the year 9999.
    pub(super) fn first_from(&self, from: DateTime) -> Option<DateTime> {
        let whole = Time::new(from.hour(), from.minute(), 0, 0).ok()?;
        let from = if from.time() == whole { from } else { from.date().to_datetime(whole).checked_add(1.minute()).ok()? };
        if self.names_day(from.date())
            && let Some(time) = self.time_from(from.time())
        {
            return Some(from.date().to_datetime(time));
        }
        let day = self.day_from(from.date().tomorrow().ok()?)?;
        Some(day.to_datetime(self.time_from(Time::midnight())?))
    }

    fn time_from(&self, from: Time) -> Option<Time> {
        let hours = (from.hour()..24).filter(|hour| has(self.hours, *hour));
        hours
            .map(|hour| (hour, if hour == from.hour() { from.minute() } else { 0 }))
            .find_map(|(hour, minute)| Some((hour, (minute..60).find(|minute| has(self.minutes, *minute))?)))
            .and_then(|(hour, minute)| Time::new(hour, minute, 0, 0).ok())
    }

    fn day_from(&self, from: Date) -> Option<Date> {
        let mut day = from;
        while day.year() <= from.year().saturating_add(LONGEST_WAIT_YEARS) {
            if self.names_day(day) {
                return Some(day);
            }
            let named = has(self.months, day.month());
            day = if named { day.tomorrow().ok()? } else { day.last_of_month().tomorrow().ok()? };
        }
        None
    }

    fn names_day(&self, day: Date) -> bool {
        let by_month = has(self.days, day.day());
        let by_week = has(self.weekdays, day.weekday().to_sunday_zero_offset());
        has(self.months, day.month()) && if self.either_day { by_month || by_week } else { by_month && by_week }
    }

    /// Every day of a month that exists falls on each weekday in some year, also the 29th of February.
    fn never(&self) -> bool {
        const LONGEST: [i8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut months = (1..).zip(LONGEST).filter(|(month, _)| has(self.months, *month));
        !self.either_day && !months.any(|(_, days)| (1..=days).any(|day| has(self.days, day)))
    }
}

fn has(bits: u64, value: i8) -> bool {
    bits & (1 << value) != 0
}

/// One of the five fields.
struct Field {
    name: &'static str,
    lowest: u8,
    highest: u8,
    /// Names of the values, from `lowest` on.
    names: &'static [&'static str],
}

const MINUTE: Field = Field { name: "minute", lowest: 0, highest: 59, names: &[] };
const HOUR: Field = Field { name: "hour", lowest: 0, highest: 23, names: &[] };
const DAY: Field = Field { name: "day of month", lowest: 1, highest: 31, names: &[] };
const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const MONTH: Field = Field { name: "month", lowest: 1, highest: 12, names: &MONTHS };
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const WEEKDAY: Field = Field { name: "day of week", lowest: 0, highest: 7, names: &WEEKDAYS };

impl Field {
    fn all(&self) -> u64 {
        (self.lowest..=self.highest).fold(0, |bits, value| bits | 1 << value)
    }

    fn read(&self, text: &str) -> Result<u64, CronProblem> {
        text.split(',').try_fold(0, |bits, part| Ok(bits | self.part(part)?))
    }

    /// `*`, `5`, `9-17`, `*/15`, `9-17/2`.
    fn part(&self, part: &str) -> Result<u64, CronProblem> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (first, last) = if range == "*" {
            // Of a week's two Sundays `*` means the first, so that a step counts seven days.
            (self.lowest, if self.names.len() == WEEKDAYS.len() { 6 } else { self.highest })
        } else if let Some((first, last)) = range.split_once('-') {
            (self.value(first, part)?, self.last(last, part)?)
        } else if step.is_some() {
            return Err(self.refused(part, format!("a step needs a range: {range}-{}/{}", self.highest, step.unwrap_or_default())));
        } else {
            let value = self.value(range, part)?;
            (value, value)
        };
        if first > last {
            return Err(self.refused(part, format!("a range goes upwards; write {first}-{},{}-{last}", self.highest, self.lowest)));
        }
        let step = match step.map(number) {
            None => 1,
            Some(Some(step @ 1..)) if step <= self.highest - self.lowest + 1 => step,
            // Vixie cron takes a longer one for the first value alone: `*/90` would be every hour.
            Some(_) => return Err(self.refused(part, format!("a step is 1 to {}", self.highest - self.lowest + 1))),
        };
        Ok((first..=last).step_by(usize::from(step)).fold(0, |bits, value| bits | 1 << value))
    }

    /// The end of a range: a Sunday there is the week's last day (`SAT-SUN`).
    fn last(&self, text: &str, part: &str) -> Result<u8, CronProblem> {
        let value = self.value(text, part)?;
        Ok(if value == 0 && self.names.first().is_some_and(|sunday| text.eq_ignore_ascii_case(sunday)) { 7 } else { value })
    }

    fn value(&self, text: &str, part: &str) -> Result<u8, CronProblem> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)).and_then(|at| u8::try_from(at).ok());
        let value = named.map(|at| at + self.lowest).or_else(|| number(text));
        value.filter(|value| (self.lowest..=self.highest).contains(value)).ok_or_else(|| {
            let named = match self.names {
                [first, .., last] => format!(" or {first} to {last}"),
                _ => String::new(),
            };
            self.refused(part, format!("it takes {} to {}{named}, lists, ranges and steps", self.lowest, self.highest))
        })
    }

    fn refused(&self, part: &str, help: String) -> CronProblem {
        CronProblem { message: format!("`{part}` is no {} of a cron expression", self.name), help }
    }
}

/// Digits alone: no sign.
fn number(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn not_five(text: &str, fields: usize) -> CronProblem {
    let help = match (text.trim(), fields) {
        ("@hourly", _) => "write `0 * * * *`",
        ("@daily" | "@midnight", _) => "write `0 0 * * *`",
        ("@weekly", _) => "write `0 0 * * SUN`",
        ("@monthly", _) => "write `0 0 1 * *`",
        ("@yearly" | "@annually", _) => "write `0 0 1 1 *`",
        (_, 6 | 7) => "there are no seconds and no years",
        _ => "minute, hour, day of month, month, day of week, such as `0 9 * * MON`",
    };
    CronProblem { message: format!("a cron expression has five fields, not {fields}: `{text}`"), help: help.into() }
}

//! Schedules: at times that are the same for all, or each user's own.

use jiff::civil;

use super::super::part;
use super::super::problem::{Problems, meant};
use super::super::reader::{self, Reader};
use super::super::shape::{Shape, Type, key, required};
use super::super::text::{Data, Entry, Node};
use super::super::{Schedule, Times, ZoneChoice};
use crate::engine::time::Timestamp;
use crate::engine::value::Value;

pub(super) static SCHEDULE: Shape = Shape::new(
    "schedule",
    "`schedule`",
    "One of `at`, `cron` and `monthly`.",
    &[
        key("at", Type::Name, "Once: a local time such as 2026-12-01T09:00:00, or an instant with its offset."),
        key("cron", Type::Name, "Five fields: minute, hour, day of month, month, day of week, such as \"0 9 * * MON\"."),
        key("monthly", Type::Map(&MONTHLY), "A day of every month."),
        key("timezone", Type::Named(&part::ZONE), "Whose clock: an IANA zone, or `user`. Absent: the workspace's."),
    ],
);

static MONTHLY: Shape = Shape::new(
    "monthly",
    "`monthly`",
    "A day of every month.",
    &[
        required(
            "day",
            Type::AnyOf(&[Type::Integer(1, 31), Type::Choice(&["last"])]),
            "1 to 31, or `last`; a day that a month does not have is its last.",
        ),
        required("at", Type::TimeOfDay, "The time of day, such as \"09:00\"."),
    ],
);

pub(super) fn schedule(node: &Node, problems: &Problems) -> Option<Schedule> {
    let mut reader = Reader::of(node, &SCHEDULE, problems)?;
    let written = reader.among(&["at", "cron", "monthly"]);
    let zone_place = reader.entry("timezone").filter(|entry| !entry.value.is_null()).map(|entry| entry.place);
    let zone = part::zone_choice(&mut reader, ZoneChoice::Workspace);
    reader.close();
    let times: Vec<Option<Times>> = written.iter().map(|entry| times(entry, problems)).collect();
    let [times] = &times[..] else {
        let place = written.get(1).map_or(node.place, |second| second.place);
        let help = "such as {at: 2026-12-01T09:00:00}, {cron: \"0 9 * * MON\"} or {monthly: {day: 7, at: \"09:00\"}}";
        problems.error_with_help(place, "`schedule` needs one of `at`, `cron` and `monthly`", help);
        return None;
    };
    if let (Some(Times::At(_)), Some(place)) = (times, zone_place) {
        problems.error_with_help(place, "an `at` with an offset excludes `timezone`", "remove the offset of `at`, or `timezone`");
    }
    Some(Schedule { times: times.clone()?, zone: zone? })
}

fn times(entry: &Entry, problems: &Problems) -> Option<Times> {
    match &*entry.key {
        "at" => at(&entry.value, problems),
        "cron" => cron(&entry.value, problems),
        _ => monthly(&entry.value, problems),
    }
}

fn at(node: &Node, problems: &Problems) -> Option<Times> {
    let text = reader::name(node, "`at`", problems)?;
    if let Some(instant) = Timestamp::parse(text) {
        return Some(Times::At(instant));
    }
    let has_time = text.contains(['T', 't', ' ']);
    match text.parse::<civil::DateTime>() {
        Ok(local) if has_time && !text.contains(['[', 'Z', 'z', '+']) => Some(Times::AtLocal(local.to_string().into())),
        Ok(_) if !has_time => {
            problems.error_with_help(node.place, format!("`at` needs a time of day too, not `{text}`"), format!("such as {text}T09:00:00"));
            None
        }
        _ => {
            let help = "such as 2026-12-01T09:00:00, or with an offset 2026-12-01T09:00:00+09:00";
            problems.error_with_help(node.place, format!("`at` must be a date and time, not `{text}`"), help);
            None
        }
    }
}

fn monthly(node: &Node, problems: &Problems) -> Option<Times> {
    let mut reader = Reader::of(node, &MONTHLY, problems)?;
    let day = reader.require("day", "1 to 31, or `last`").and_then(|node| day(node, problems));
    let at = reader.require("at", "the time of day, such as \"09:00\"").and_then(|node| part::time_of_day(node, "`at`", problems));
    reader.close();
    Some(Times::Monthly { day: day?, at: at? })
}

/// `Some(None)` is the last day.
fn day(node: &Node, problems: &Problems) -> Option<Option<u8>> {
    match &node.data {
        Data::Scalar(Value::Text(text)) if &**text == "last" => Some(None),
        Data::Scalar(Value::Text(text)) => {
            problems.error_with_help(node.place, format!("`day` cannot be `{text}`"), meant(text, "a number from 1 to 31, or", ["last"]));
            None
        }
        _ => reader::integer(node, "`day`", 1..=31, problems).and_then(|day| u8::try_from(day).ok()).map(Some),
    }
}

fn cron(node: &Node, problems: &Problems) -> Option<Times> {
    let text = reader::name(node, "`cron`", problems)?;
    match check_cron(text) {
        Ok(()) => Some(Times::Cron(text.into())),
        Err((message, help)) => {
            problems.error_with_help(node.place, message, help);
            None
        }
    }
}

/// The five fields of a cron expression: names, lowest and highest value, names of values from the lowest on.
const FIELDS: [(&str, u8, u8, &[&str]); 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of month", 1, 31, &[]),
    ("month", 1, 12, &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]),
    ("day of week", 0, 7, &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]),
];

/// The shape of a cron expression; which days it names, and whether any ever comes, is the calendar's.
fn check_cron(text: &str) -> Result<(), (String, String)> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let help = if text.starts_with('@') {
            "write the five fields, such as \"0 9 * * MON\""
        } else {
            "minute, hour, day of month, month, day of week"
        };
        return Err((format!("`cron` needs five fields, not {}", fields.len()), help.into()));
    }
    for (written, (name, lowest, highest, names)) in fields.iter().zip(FIELDS) {
        let value = |word: &str| {
            let named = names.iter().position(|known| known.eq_ignore_ascii_case(word)).and_then(|at| u8::try_from(at).ok());
            let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
            named.map(|at| at + lowest).or_else(|| word.parse().ok().filter(|_| digits)).filter(|value| (lowest..=highest).contains(value))
        };
        let fits = |item: &str| {
            let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
            let whole = match range.split_once('-') {
                Some((from, to)) => value(from).zip(value(to)).is_some_and(|(from, to)| from <= to),
                None => range == "*" || (value(range).is_some() && step.is_none()),
            };
            whole && step.is_none_or(|step| step.parse::<u8>().is_ok_and(|step| step > 0))
        };
        if !written.split(',').all(fits) {
            let help = format!("`*`, numbers from {lowest} to {highest}, ranges such as 1-5, steps such as */2, and lists of them");
            return Err((format!("`{written}` is no {name} of a cron expression"), help));
        }
    }
    Ok(())
}

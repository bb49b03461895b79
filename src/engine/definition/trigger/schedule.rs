//! Schedules: at times that are the same for all, or each user's own.

use super::super::part;
use super::super::problem::{Problems, meant};
use super::super::reader::{self, Reader};
use super::super::shape::{Shape, Type, key, required};
use super::super::text::{Data, Entry, Node};
use super::super::{Schedule, ZoneChoice};
use crate::engine::calendar::{Cron, CronProblem, DateValue, DayOfMonth, Schedule as Times};
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
    if let (Some(Times::At(DateValue::Instant(_))), Some(place)) = (times, zone_place) {
        problems.error_with_help(place, "an `at` with an offset excludes `timezone`", "remove the offset of `at`, or `timezone`");
    }
    Some(Schedule { times: (*times)?, zone: zone? })
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
    match DateValue::parse(text) {
        Some(at @ (DateValue::Instant(_) | DateValue::Local(_))) => Some(Times::At(at)),
        Some(DateValue::Day(_)) => {
            problems.error_with_help(node.place, format!("`at` needs a time of day too, not `{text}`"), format!("such as {text}T09:00:00"));
            None
        }
        None => {
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

fn day(node: &Node, problems: &Problems) -> Option<DayOfMonth> {
    match &node.data {
        Data::Scalar(Value::Text(text)) if &**text == "last" => Some(DayOfMonth::Last),
        Data::Scalar(Value::Text(text)) => {
            problems.error_with_help(node.place, format!("`day` cannot be `{text}`"), meant(text, "a number from 1 to 31, or", ["last"]));
            None
        }
        _ => reader::integer(node, "`day`", 1..=31, problems).and_then(DayOfMonth::new),
    }
}

fn cron(node: &Node, problems: &Problems) -> Option<Times> {
    let text = reader::name(node, "`cron`", problems)?;
    match Cron::parse(text) {
        Ok(cron) => Some(Times::Cron(cron)),
        Err(CronProblem { message, help }) => {
            problems.error_with_help(node.place, message, help);
            None
        }
    }
}

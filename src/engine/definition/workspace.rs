//! The workspace: what holds for all campaigns of a deployment.

use std::time::Duration;

use super::problem::Problems;
use super::reader::Reader;
use super::shape::{Shape, Type, key, required};
use super::text::Node;
use super::{FrequencyCap, OnQuiet, Period, QuietHours, Workspace, part, trigger};
use crate::engine::calendar;

/// How many frequency caps there may be, and how long their window (contract, section 3): a record keeps every send that the
/// longest window still counts.
pub const MAX_CAPS: usize = 10;
pub const MAX_CAP_WINDOW: Duration = Duration::from_secs(30 * 86_400);

/// Highest limit of a cap: the sends that a cap counts are kept one by one.
pub const MAX_CAP_LIMIT: u32 = 1000;

/// How many events may be named by `track`.
const MAX_TRACKED: usize = 100;

pub(super) static WORKSPACE: Shape = Shape::new(
    "workspace",
    "a workspace",
    "What holds for all campaigns of a deployment; there is one.",
    &[
        required("kind", Type::Choice(&["workspace"]), "What this document is."),
        key("timezone", Type::Name, "The IANA zone of users who have no `timezone` trait, and of schedules that say none. Default UTC."),
        key("frequency_caps", Type::List(&Type::Map(&CAP), 0, MAX_CAPS), "How many messages one user gets at most; all must allow."),
        key("quiet_hours", Type::Map(&QUIET_HOURS), "When nobody is messaged, in the user's zone."),
        key("track", Type::List(&Type::Name, 0, MAX_TRACKED), "Events to remember ahead of need."),
    ],
);

static CAP: Shape = Shape::new(
    "frequency_cap",
    "a frequency cap",
    "At most so many messages in a time: `per` or `calendar`.",
    &[
        required("limit", Type::Integer(1, MAX_CAP_LIMIT as i64), "How many at most."),
        key("per", Type::Duration, "In any time of this length, at most 30d."),
        key("calendar", Type::Choice(&["day", "week", "month"]), "In each day, week (from Monday) or month of the user's calendar."),
        key("channel", Type::Name, "Only of campaigns with this channel."),
        key("tag", Type::Name, "Only of campaigns with this tag."),
    ],
);

static QUIET_HOURS: Shape = Shape::new(
    "quiet_hours",
    "`quiet_hours`",
    "From inside, to outside; may pass midnight.",
    &[
        required("from", Type::TimeOfDay, "The first minute, such as \"21:00\"."),
        required("to", Type::TimeOfDay, "The first minute after, such as \"08:00\"."),
        key("on_hit", Type::Choice(&["drop", "defer"]), "`drop` (default), or `defer`: sent when they end, if it still should be."),
    ],
);

pub(super) fn workspace(node: &Node, problems: &Problems) -> Option<Workspace> {
    let mut reader = Reader::of(node, &WORKSPACE, problems)?;
    reader.get("kind");
    let timezone = reader.get("timezone").and_then(|node| part::zone(node, problems));
    let caps = reader.list("frequency_caps").unwrap_or_default();
    if let Some(extra) = caps.get(MAX_CAPS) {
        problems.error(extra.place, format!("there are at most {MAX_CAPS} frequency caps, not {}", caps.len()));
    }
    let frequency_caps: Vec<FrequencyCap> = caps.iter().filter_map(|node| cap(node, problems)).collect();
    let quiet_hours = quiet_hours(&mut reader);
    let track = reader.list("track").unwrap_or_default();
    if let Some(extra) = track.get(MAX_TRACKED) {
        problems.error(extra.place, format!("`track` has at most {MAX_TRACKED} events"));
    }
    let track = track.iter().filter_map(|node| trigger::event_name(node, "an item of `track`", problems)).collect();
    reader.close();
    Some(Workspace { timezone, frequency_caps, quiet_hours, track })
}

fn cap(node: &Node, problems: &Problems) -> Option<FrequencyCap> {
    let mut reader = Reader::of(node, &CAP, problems)?;
    let limit = reader.require("limit", "how many sends at most").and(reader.integer("limit", 1..=i64::from(MAX_CAP_LIMIT)));
    let calendar = reader.get("calendar").and(reader.entry("calendar"));
    if calendar.is_none() {
        reader.require("per", "the window, such as 1d");
    }
    let per = reader.duration("per", Duration::from_millis(1)..=MAX_CAP_WINDOW);
    let units = [("day", calendar::Period::Day), ("week", calendar::Period::Week), ("month", calendar::Period::Month)];
    let unit = reader.choice("calendar", &units);
    if let Some(entry) = calendar.filter(|_| per.is_some()) {
        problems.error_with_help(entry.place, "`per` excludes `calendar`", "keep the one that is meant, or write two caps");
    }
    let channel = reader.name("channel").map(Into::into);
    let tag = reader.name("tag").map(Into::into);
    reader.close();
    let period = per.map(Period::Sliding).or(unit.map(Period::Calendar))?;
    Some(FrequencyCap { limit: limit.and_then(|limit| u32::try_from(limit).ok())?, period, channel, tag })
}

fn quiet_hours(workspace: &mut Reader<'_>) -> Option<QuietHours> {
    let problems = workspace.problems;
    let mut reader = workspace.shaped("quiet_hours", &QUIET_HOURS)?;
    let from = reader.require("from", "when they begin, such as \"21:00\"").and_then(|node| part::time_of_day(node, "`from`", problems));
    let to_node = reader.require("to", "when they end, such as \"08:00\"");
    let to = to_node.and_then(|node| part::time_of_day(node, "`to`", problems));
    let on_hit = reader.choice("on_hit", &[("drop", OnQuiet::Drop), ("defer", OnQuiet::Defer)]).unwrap_or(OnQuiet::Drop);
    reader.close();
    let (from, to) = (from?, to?);
    if let Some(node) = to_node.filter(|_| from == to) {
        problems.error_with_help(
            node.place,
            "`to` is the same as `from`",
            "quiet hours have a beginning and another end; to have none leave them out",
        );
        return None;
    }
    Some(QuietHours { from, to, on_hit })
}

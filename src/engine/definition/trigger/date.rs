//! Dates: a time before or after one that an event carries, or that is a trait of the user.

use super::super::condition::CONDITION;
use super::super::part;
use super::super::problem::{Place, Problems};
use super::super::reader::{self, Reader};
use super::super::shape::{Shape, Type, key, required};
use super::super::text::Node;
use super::super::{Again, DateOffset, EventDate, Trigger, UserDate, ZoneChoice};
use super::{MAX_SAME, pattern};

/// A `yearly` offset beyond a year would belong to another year's date.
const MAX_YEARLY_OFFSET_MS: i64 = 366 * 86_400_000;

const OFFSET: &str = "How long after the date, or before it with a minus: 3d, -1d.";
const AT: &str = "The time of day, such as \"10:00\", on the calendar day of date and offset. Without it: elapsed time.";
const TIMEZONE: &str = "Whose calendar: `user` (default), or an IANA zone.";

pub(super) static EVENT_DATE: Shape = Shape::new(
    "event_date",
    "`date`",
    "A date that an event carries, or the time of the event.",
    &[
        required("event", Type::Name, "The event."),
        key("where", Type::Named(&CONDITION), "What its properties must be."),
        key("property", Type::Name, "The property that holds the date. Absent: the time of the event."),
        key("offset", Type::SignedDuration, OFFSET),
        key("at", Type::TimeOfDay, AT),
        key("same", Type::List(&Type::Name, 0, MAX_SAME), "One clock per user and the values of these properties. Absent: one per user."),
        key(
            "again",
            Type::Choice(&["ignore", "restart"]),
            "What a second such event does while one waits: `ignore` (default) or `restart`.",
        ),
        key("timezone", Type::Named(&part::ZONE), TIMEZONE),
    ],
);

pub(super) static USER_DATE: Shape = Shape::new(
    "user_date",
    "`date`",
    "A date that is a trait of the user.",
    &[
        required("user", Type::Name, "The trait that holds the date, such as birthday."),
        key("yearly", Type::Boolean, "Every year anew. Default false."),
        key("offset", Type::SignedDuration, OFFSET),
        key("at", Type::TimeOfDay, AT),
        key("timezone", Type::Named(&part::ZONE), TIMEZONE),
    ],
);

pub(super) fn date(node: &Node, problems: &Problems) -> Option<Trigger> {
    reader::map(node, "`date`", problems)?;
    let (of_event, of_user) = (node.at("event"), node.at("user"));
    match (of_event, of_user) {
        (Some(_), None) => event_date(node, problems).map(Trigger::EventDate),
        (None, Some(_)) => user_date(node, problems).map(Trigger::UserDate),
        (_, second) => {
            let help = "{event: purchase, property: delivered_at, offset: 3d}, or {user: birthday, yearly: true}";
            let place = second.map_or(node.place, |second| second.place);
            problems.error_with_help(place, "`date` needs either `event` or `user`", help);
            None
        }
    }
}

fn event_date(node: &Node, problems: &Problems) -> Option<EventDate> {
    let mut reader = Reader::of(node, &EVENT_DATE, problems)?;
    let pattern = pattern::fields(&mut reader);
    let property_node = reader.get("property");
    let property = property_node.map(|node| part::path(node, "`property`", problems));
    let when = when(&mut reader);
    let same = reader.list("same").map_or(Some(Vec::new()), |items| part::paths(items, "same", MAX_SAME, problems));
    let again = reader.choice("again", &[("ignore", Again::Ignore), ("restart", Again::Restart)]).unwrap_or(Again::Ignore);
    let offset = reader.entry("offset").map(|entry| entry.value.place);
    reader.close();
    let when = when?;
    if property_node.is_none() {
        check_own_time(&when, offset, node.place, problems);
    }
    let property = match property {
        Some(property) => Some(property?),
        None => None,
    };
    Some(EventDate { pattern: pattern?, property, when, same: same?, again })
}

/// Without `property` the date is the event's own time, which has come already.
fn check_own_time(when: &DateOffset, offset: Option<Place>, around: Place, problems: &Problems) {
    if when.offset_ms < 0 {
        let help = "name the property that holds the date: `property: delivered_at`";
        problems.error_with_help(offset.unwrap_or(around), "a time before the event has passed when it comes", help);
    } else if let Some(offset) = offset.filter(|_| when.offset_ms == 0 && when.at.is_none()) {
        let help = "to send at once write {action: {event: ...}}; else name the `property` that holds the date";
        problems.error_with_help(offset, "an `offset` of 0 without `property` and `at` is the event itself, not a date after it", help);
    } else if when.offset_ms == 0 && when.at.is_none() {
        let help = "write `property`, `offset` or `at`; to send at once write {action: {event: ...}}";
        problems.error_with_help(around, "`date` says no date", help);
    }
}

fn user_date(node: &Node, problems: &Problems) -> Option<UserDate> {
    let mut reader = Reader::of(node, &USER_DATE, problems)?;
    let property = reader.get("user").and_then(|node| part::path(node, "`user`", problems));
    let yearly = reader.boolean("yearly").unwrap_or(false);
    let when = when(&mut reader);
    let offset = reader.entry("offset").map(|entry| entry.value.place);
    reader.close();
    let when = when?;
    if let Some(place) = offset.filter(|_| yearly && when.offset_ms.abs() > MAX_YEARLY_OFFSET_MS) {
        problems.error(place, "a yearly date has an offset of at most 366d");
    }
    Some(UserDate { property: property?, yearly, when })
}

fn when(reader: &mut Reader<'_>) -> Option<DateOffset> {
    let problems = reader.problems;
    let offset_ms = reader.get("offset").map_or(Some(0), |node| part::signed_duration(node, "`offset`", problems));
    let at = reader.get("at").map(|node| part::time_of_day(node, "`at`", problems));
    let zone = part::zone_choice(reader, ZoneChoice::User);
    let at = match at {
        Some(at) => Some(at?),
        None => None,
    };
    Some(DateOffset { offset_ms: offset_ms?, at, zone: zone? })
}

//! Several events that must all have happened.

use super::super::condition::every;
use super::super::part;
use super::super::problem::Problems;
use super::super::reader::{MAX_SPAN, Reader};
use super::super::shape::{Shape, Type, key, required};
use super::super::text::Node;
use super::super::{Actions, Order, Pattern};
use super::pattern::{PATTERN, pattern};
use super::{MAX_SAME, OWN_TIME};

/// How many events one trigger may wait for.
const EVENTS: std::ops::RangeInclusive<usize> = 2..=8;

pub(super) static ACTIONS: Shape = Shape::new(
    "actions",
    "`actions`",
    "Several events that have all happened.",
    &[
        required("events", Type::List(&Type::Map(&PATTERN), 2, 8), "The events, 2 to 8. Of a repeated one the latest counts."),
        key("order", Type::Choice(&["any", "given"]), "`any` (default), or `given`: in the order written; others may lie between."),
        key("within", Type::Duration, "The last less than so long after the first."),
        key("same", Type::List(&Type::Name, 0, MAX_SAME), "Properties that must be equal among all of them."),
    ],
);

pub(super) fn actions(node: &Node, problems: &Problems) -> Option<Actions> {
    let mut reader = Reader::of(node, &ACTIONS, problems)?;
    reader.require("events", "the events that must all happen: [{event: a}, {event: b}]");
    let events = reader.list("events").and_then(|items| events(items, node, problems));
    let order = reader.choice("order", &[("any", Order::Any), ("given", Order::Given)]).unwrap_or(Order::Any);
    let within = reader.duration("within", OWN_TIME..=MAX_SPAN);
    let same = reader.list("same").map_or(Some(Vec::new()), |items| part::paths(items, "same", MAX_SAME, problems));
    reader.close();
    Some(Actions { events: events?, order, within, same: same? })
}

fn events(items: &[Node], around: &Node, problems: &Problems) -> Option<Vec<Pattern>> {
    let patterns: Vec<Pattern> = every(items.iter().map(|item| pattern(item, "an item of `events`", problems)))?;
    if !EVENTS.contains(&patterns.len()) {
        let message = format!("`events` needs {} to {} events, not {}", EVENTS.start(), EVENTS.end(), patterns.len());
        let help = if patterns.len() == 1 { "for a single event write {action: ...}" } else { "write several campaigns" };
        problems.error_with_help(items.first().map_or(around.place, |item| item.place), message, help);
        return None;
    }
    for (position, pattern) in patterns.iter().enumerate() {
        if patterns[..position].contains(pattern) {
            let help = "one event is both at once; to ask how often something happened use `did` with `count` in the audience";
            problems.error_with_help(items[position].place, "this item of `events` is there already", help);
            return None;
        }
    }
    Some(patterns)
}

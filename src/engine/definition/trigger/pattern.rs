//! Patterns: events of one name whose properties meet a condition.

use super::super::condition::{CONDITION, condition};
use super::super::problem::{Problems, nearest};
use super::super::reader::{self, Reader};
use super::super::shape::{Shape, Type, key, required};
use super::super::text::{Data, Node};
use super::super::{Condition, Pattern};
use crate::engine::id::MAX_ID_BYTES;
use crate::engine::value::Value;

/// Events that campaigns themselves give rise to.
pub(in super::super) const OWN_EVENTS: [&str; 3] = ["$sent", "$delivered", "$failed"];

pub(super) static PATTERN: Shape = Shape::new(
    "pattern",
    "an event",
    "Events of one name whose properties meet a condition.",
    &[
        required(
            "event",
            Type::Name,
            "The name of the event, such as purchase. `$sent`, `$delivered` and `$failed` are those of campaigns: say which in `where`.",
        ),
        key("where", Type::Named(&CONDITION), "What its properties must be."),
    ],
);

pub(super) fn pattern(node: &Node, what: &str, problems: &Problems) -> Option<Pattern> {
    if let Data::Scalar(Value::Text(text)) = &node.data {
        problems.error_with_help(node.place, format!("{what} must be a map, not text"), format!("write {{event: {text}}}"));
        return None;
    }
    let mut reader = Reader::of_named(node, &PATTERN, what, problems)?;
    let pattern = fields(&mut reader);
    reader.close();
    pattern
}

/// `event` and `where` of a map that may say more.
pub(in super::super) fn fields(reader: &mut Reader<'_>) -> Option<Pattern> {
    let problems = reader.problems;
    let event = reader.require("event", "the name of the event, such as purchase").and_then(|node| event_name(node, "`event`", problems));
    let condition = match reader.get("where") {
        Some(node) => condition(node, "`where`", problems),
        None => Some(Condition::ALWAYS),
    };
    Some(Pattern { event: event?, condition: condition? })
}

/// The name of an event: one from outside, or one of the campaigns' own.
pub(in super::super) fn event_name(node: &Node, what: &str, problems: &Problems) -> Option<Box<str>> {
    let name = reader::name(node, what, problems)?;
    if name.starts_with('$') && !OWN_EVENTS.contains(&name) {
        let help = match nearest(name, OWN_EVENTS) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("only campaigns' own events begin with `$`: {}", OWN_EVENTS.join(", ")),
        };
        problems.error_with_help(node.place, format!("no event can be named `{name}`"), help);
        return None;
    }
    if name.len() > MAX_ID_BYTES {
        problems.error(node.place, format!("the name of an event has at most {MAX_ID_BYTES} bytes, not {}", name.len()));
        return None;
    }
    Some(name.into())
}

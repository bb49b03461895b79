//! Triggers: what starts a send. Exactly one kind in a campaign; those with more to say have files of their own.

mod actions;
mod date;
mod inaction;
mod pattern;
mod schedule;

use std::time::Duration;

use super::part::key_of;
use super::problem::{Problems, meant};
use super::reader::{self, Reader};
use super::shape::{Shape, Type, key};
use super::text::{Data, Entry, Node};
use super::{Crossing, Trigger};
use crate::engine::value::Value;

pub(super) use pattern::{event_name, fields as pattern_fields};

/// The shortest span.
pub(super) const OWN_TIME: Duration = Duration::from_millis(1);

/// How many properties `same` may have.
const MAX_SAME: usize = 8;

pub(super) static TRIGGER: Shape = Shape::kinds(
    "trigger",
    "`trigger`",
    "What starts a send.",
    &[
        key("action", Type::Map(&pattern::PATTERN), "An event happens."),
        key("actions", Type::Map(&actions::ACTIONS), "Several events have all happened."),
        key("inaction", Type::Map(&inaction::INACTION), "An event happens and another one does not follow, or did not happen before."),
        key(
            "date",
            Type::AnyOf(&[Type::Map(&date::EVENT_DATE), Type::Map(&date::USER_DATE)]),
            "A time before or after a date that an event carries, or that is a trait of the user.",
        ),
        key("schedule", Type::Map(&schedule::SCHEDULE), "At times that are the same for all, or each user's own."),
        key("api", Type::Map(&API), "An internal server asks: POST /v1/campaigns/{key}/send."),
        key("cohort", Type::Map(&COHORT), "A user becomes a member of a cohort, or is one no longer."),
    ],
);

static API: Shape = Shape::new("api", "`api`", "Nothing more to say.", &[]);

static COHORT: Shape = Shape::kinds(
    "crossing",
    "`cohort`",
    "Becoming a member, or leaving.",
    &[
        key("entered", Type::DocumentKey, "The cohort's key: fires when a user becomes a member."),
        key("left", Type::DocumentKey, "The cohort's key: fires when a user is no longer a member."),
    ],
);

pub(super) fn trigger(node: &Node, problems: &Problems) -> Option<Trigger> {
    if let Data::Scalar(Value::Text(text)) = &node.data
        && &**text == "api"
    {
        problems.error_with_help(node.place, "`trigger` must be a map, not text", "write {api: {}}");
        return None;
    }
    let entries = reader::map(node, "`trigger`", problems)?;
    match entries {
        [entry] => kind(entry, problems),
        [] => {
            let names = TRIGGER.names().collect::<Vec<_>>().join(", ");
            problems.error_with_help(node.place, "`trigger` says nothing", format!("one of {names}"));
            None
        }
        [_, second, ..] => {
            // Each is still looked into, so that all problems show at once.
            entries.iter().for_each(|entry| drop(kind(entry, problems)));
            problems.error_with_help(second.place, "a campaign has exactly one kind of trigger", "write a second campaign for the other");
            None
        }
    }
}

fn kind(entry: &Entry, problems: &Problems) -> Option<Trigger> {
    let (key, node) = (&*entry.key, &entry.value);
    match key {
        "action" => pattern::pattern(node, "`action`", problems).map(Trigger::Action),
        "actions" => actions::actions(node, problems).map(Trigger::Actions),
        "inaction" => inaction::inaction(node, problems),
        "date" => date::date(node, problems),
        "schedule" => schedule::schedule(node, problems).map(Trigger::Schedule),
        "api" => {
            if !node.is_null() {
                Reader::of(node, &API, problems)?.close();
            }
            Some(Trigger::Api)
        }
        "cohort" => cohort(node, problems),
        _ => {
            let message = format!("unknown kind of trigger `{key}`");
            problems.error_with_help(entry.place, message, meant(key, "kinds", TRIGGER.names()));
            None
        }
    }
}

fn cohort(node: &Node, problems: &Problems) -> Option<Trigger> {
    if let Data::Scalar(Value::Text(text)) = &node.data {
        problems.error_with_help(node.place, "`cohort` must be a map, not text", format!("write {{entered: {text}}} or {{left: {text}}}"));
        return None;
    }
    let mut reader = Reader::of(node, &COHORT, problems)?;
    let written = reader.among(&["entered", "left"]);
    reader.close();
    let [entry] = written[..] else {
        let place = written.get(1).map_or(node.place, |second| second.place);
        problems.error_with_help(place, "`cohort` needs either `entered` or `left`", "write a second campaign for the other");
        return None;
    };
    let crossing = if &*entry.key == "entered" { Crossing::Entered } else { Crossing::Left };
    let cohort = key_of(&entry.value, &format!("`{}`", entry.key), problems)?;
    Some(Trigger::Cohort { cohort: cohort.into(), crossing })
}

/// The node that names the cohort of a trigger, if it is such a trigger.
pub(super) fn cohort_named(trigger: &Node) -> Option<&Node> {
    let cohort = trigger.at("cohort")?;
    cohort.at("entered").or_else(|| cohort.at("left"))
}

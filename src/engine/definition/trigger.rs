//! Triggers: what starts a send. Exactly one kind in a campaign.

use std::time::Duration;

use super::condition::{condition, every};
use super::problem::{Problems, meant};
use super::reader::{self, MAX_SPAN, Reader, unsupported};
use super::text::{Data, Entry, Node};
use super::{Again, Condition, Inaction, Pattern, SamePair, Trigger};
use crate::engine::id::MAX_ID_BYTES;
use crate::engine::value::Value;

const KINDS: [&str; 3] = ["action", "inaction", "api"];

/// Kinds that come with the rest of the language.
const LATER: [&str; 4] = ["actions", "date", "schedule", "cohort"];

/// Events that campaigns themselves give rise to: chaining comes with the rest of the language.
const OWN_EVENTS: [&str; 3] = ["$sent", "$delivered", "$failed"];

/// How many pairs `same` may have.
const MAX_SAME: usize = 8;

pub(super) fn trigger(node: &Node, problems: &Problems) -> Option<Trigger> {
    if let Data::Scalar(Value::Text(text)) = &node.data
        && &**text == "api"
    {
        problems.error_with_help(node.place, "`trigger` must be a map, not text", "write {api: {}}");
        return None;
    }
    let entries = reader::map(node, "`trigger`", problems)?;
    let help = "one of action, inaction, api";
    match entries {
        [entry] => kind(entry, problems),
        [] => {
            problems.error_with_help(node.place, "`trigger` says nothing", help);
            None
        }
        [_, second, ..] => {
            entries.iter().for_each(|entry| drop(kind(entry, problems)));
            problems.error_with_help(second.place, "a campaign has exactly one kind of trigger", "write a second campaign for the other");
            None
        }
    }
}

fn kind(entry: &Entry, problems: &Problems) -> Option<Trigger> {
    let (key, node) = (&*entry.key, &entry.value);
    match key {
        "action" => pattern(node, "`action`", problems).map(Trigger::Action),
        "inaction" => inaction(node, problems).map(Trigger::Inaction),
        "api" => {
            if !node.is_null() {
                Reader::open(node, "`api`", problems)?.close(&[]);
            }
            Some(Trigger::Api)
        }
        _ if LATER.contains(&key) => {
            unsupported(entry.place, key, problems);
            None
        }
        _ => {
            let message = format!("unknown kind of trigger `{key}`");
            problems.error_with_help(entry.place, message, meant(key, "kinds", KINDS.into_iter().chain(LATER)));
            None
        }
    }
}

fn pattern(node: &Node, what: &str, problems: &Problems) -> Option<Pattern> {
    if let Data::Scalar(Value::Text(text)) = &node.data {
        problems.error_with_help(node.place, format!("{what} must be a map, not text"), format!("write {{event: {text}}}"));
        return None;
    }
    let mut reader = Reader::open(node, what, problems)?;
    let event = reader.require("event", "the name of the event, such as purchase").and_then(|node| event_name(node, "`event`", problems));
    let condition = match reader.get("where") {
        Some(node) => condition(node, "`where`", problems),
        None => Some(Condition::ALWAYS),
    };
    reader.close(&[]);
    Some(Pattern { event: event?, condition: condition? })
}

/// The name of an event that can come from outside.
pub(super) fn event_name(node: &Node, what: &str, problems: &Problems) -> Option<Box<str>> {
    let name = reader::name(node, what, problems)?;
    if OWN_EVENTS.contains(&name) {
        unsupported(node.place, name, problems);
        return None;
    }
    if name.starts_with('$') {
        problems.error_with_help(node.place, format!("no event can be named `{name}`"), "events whose name begins with `$` are refused");
        return None;
    }
    if name.len() > MAX_ID_BYTES {
        problems.error(node.place, format!("the name of an event has at most {MAX_ID_BYTES} bytes, not {}", name.len()));
        return None;
    }
    Some(name.into())
}

fn inaction(node: &Node, problems: &Problems) -> Option<Inaction> {
    let mut reader = Reader::open(node, "`inaction`", problems)?;
    let after =
        reader.require("after", "the event that starts the clock: {event: ...}").and_then(|node| pattern(node, "`after`", problems));
    let without =
        reader.require("without", "the event that must not follow: {event: ...}").and_then(|node| pattern(node, "`without`", problems));
    let in_last = reader.entry("in_last");
    let within = match in_last {
        Some(entry) if reader.entry("within").is_some() => {
            problems.error_with_help(entry.place, "`within` excludes `in_last`", "keep the one that is meant");
            None
        }
        Some(entry) => {
            unsupported(entry.place, "in_last", problems);
            None
        }
        None => {
            reader.require("within", "how long to wait for it, such as 30m; without it the form is not supported by this version yet");
            reader.duration("within", Duration::from_millis(1)..=MAX_SPAN)
        }
    };
    let same = reader.list("same").map_or(Some(Vec::new()), |items| same(items, problems));
    let written = reader.entry("again");
    let again = reader.choice("again", &[("ignore", Again::Ignore), ("restart", Again::Restart)]);
    reader.close(&[]);
    let inaction = Inaction { after: after?, without: without?, within: within?, same: same?, again: again.unwrap_or(Again::Ignore) };
    if let Some(entry) = written.filter(|_| inaction.after == inaction.without) {
        let help = "`after` and `without` are the same event: each one cancels, then starts the clock anew";
        problems.warn(entry.place, "`again` has no effect here", help);
    }
    Some(inaction)
}

fn same(items: &[Node], problems: &Problems) -> Option<Vec<SamePair>> {
    if let Some(extra) = items.get(MAX_SAME) {
        problems.error(extra.place, format!("`same` has at most {MAX_SAME} items"));
        return None;
    }
    let pairs: Vec<SamePair> = every(items.iter().map(|item| same_pair(item, problems)))?;
    for (position, pair) in pairs.iter().enumerate() {
        if pairs[..position].contains(pair) {
            problems.warn(items[position].place, "this item of `same` is there already", "remove it");
        }
    }
    Some(pairs)
}

/// A property of both events, or `{after: path, without: path}` where the names differ.
fn same_pair(node: &Node, problems: &Problems) -> Option<SamePair> {
    if let Data::Map(_) = node.data {
        let mut reader = Reader::open(node, "an item of `same`", problems)?;
        let help = "write {after: name, without: name}, or one name for both";
        let present = (reader.require("after", help), reader.require("without", help));
        let (after, without) = (reader.name("after"), reader.name("without"));
        reader.close(&[]);
        present.0.and(present.1)?;
        return Some(SamePair { after: after?.into(), without: without?.into() });
    }
    let name = reader::name(node, "an item of `same`", problems)?;
    Some(SamePair { after: name.into(), without: name.into() })
}

//! An explanation as text for people.

use serde_json::Value;

use super::{Explained, SeenEvent, Waiting};
use crate::engine::effect::RuleShown;
use crate::engine::step::{GateView, Part, Passage, Shown};
use crate::engine::time::Timestamp;

pub fn text(explained: &Explained) -> String {
    let Explained { user, campaign, status, from, at, events, seen, lines, waiting, gates } = explained;
    let mut text = format!("user {user}, campaign {campaign} ({status} since {from}), as of {at}; events of this user: {events}\n");
    let mut section = |title: &str, lines: Vec<String>, none: &str| {
        text.push_str(&format!("\n{title}\n"));
        let none = [none.to_owned()];
        for line in if lines.is_empty() { &none } else { &lines[..] } {
            text.push_str(&format!("  {line}\n"));
        }
    };
    section("what its trigger saw", seen.iter().flat_map(of_event).collect(), "no event that it waits for");
    let undecided = if waiting.is_empty() { "nothing was decided: the trigger did not fire" } else { "nothing is decided yet" };
    section("what came of it", lines.iter().map(of_line).collect(), undecided);
    if !waiting.is_empty() {
        section("what is still to come", waiting.iter().map(of_waiting).collect(), "");
    }
    section("the gates, were it triggered now", gates.iter().flat_map(of_gate).collect(), "");
    text.push_str(&format!("\n{}\n", verdict(gates)));
    text
}

fn of_event(seen: &SeenEvent) -> Vec<String> {
    let mut lines = Vec::new();
    for view in &seen.parts {
        let part = match view.part {
            Part::Action => "the action",
            Part::Actions => "one of the actions",
            Part::After => "`after`",
            Part::Without => "`without`",
            Part::Date => "the event of the date",
            Part::Goal => "the goal",
        };
        let meets = if view.meets { "is" } else { "is not" };
        lines.push(format!("{}  {} ({}) {meets} {part}", seen.at, seen.event, seen.event_id));
        lines.extend(view.compared.iter().map(|part| format!("    {}", of_part(part))));
    }
    lines
}

/// An outcome line, as far as people ask for it.
fn of_line(line: &Value) -> String {
    let field = |name: &str| match &line[name] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let at = field("at").unwrap_or_default();
    let mut text = match line["type"].as_str() {
        Some("decision") => format!("{at}  {} because of {}", or_empty(field("outcome")), or_empty(field("event_id"))),
        Some("attempt") => format!("{at}  attempt {}: {}", or_empty(field("attempt")), or_empty(field("result"))),
        _ => format!("{at}  {} by {}", or_empty(field("type")), or_empty(field("event_id"))),
    };
    let rule = line["rule"].is_object().then(|| cap(&line["rule"])).or_else(|| field("rule"));
    for (name, value) in [("", field("reason")), ("", rule), ("until ", field("until")), ("status ", field("status")), ("", field("cause"))]
    {
        text.extend(value.map(|value| format!(", {name}{value}")));
    }
    text
}

fn of_waiting(waiting: &Waiting) -> String {
    let because = if waiting.event.is_empty() { String::new() } else { format!(" because of {} ({})", waiting.event, waiting.event_id) };
    format!("{}  {} falls due{because}", waiting.due, waiting.kind)
}

fn of_gate(view: &GateView) -> Vec<String> {
    let name = serde_json::to_value(view.gate).ok().and_then(|name| name.as_str().map(|name| name.replace('_', " ")));
    let verdict = match view.verdict {
        Passage::Open => "open",
        Passage::Waits => "waits",
        Passage::Shut => "shut",
        Passage::Unknown => "unknown",
    };
    let mut line = format!("{:14}  {verdict:7}", name.unwrap_or_default());
    line.extend(view.reason.map(|reason| format!("  {}", reason.as_str())));
    line.extend(view.rule.as_ref().map(|rule| format!(", {}", of_rule(rule))));
    line.extend(view.frees.map(|at| format!(", opens at {at}")));
    let compared = view.compared.iter().map(|part| format!("    {}", of_part(part)));
    [line.trim_end().to_owned()].into_iter().chain(compared).collect()
}

fn of_rule(rule: &RuleShown) -> String {
    match rule {
        RuleShown::Text(text) => text.to_string(),
        RuleShown::Cap(defined) => serde_json::to_value(defined).map(|defined| cap(&defined)).unwrap_or_default(),
    }
}

/// A cap as it was defined: `limit 1 per 1d`.
fn cap(defined: &Value) -> String {
    let field = |name: &str| match &defined[name] {
        Value::Null => None,
        Value::String(text) => Some(format!("{name} {text}")),
        other => Some(format!("{name} {other}")),
    };
    ["limit", "per", "calendar", "channel", "tag"].into_iter().filter_map(field).collect::<Vec<_>>().join(" ")
}

fn of_part(part: &Shown) -> String {
    let mut line = if part.value.is_empty() { part.what.to_string() } else { format!("{}: {}", part.what, part.value) };
    line.extend(part.against.as_ref().map(|against| format!(" | {against}")));
    match part.holds {
        Some(true) => line.push_str("  yes"),
        Some(false) => line.push_str("  no"),
        None => {}
    }
    line
}

/// What the gates come to together.
fn verdict(gates: &[GateView]) -> String {
    let closed: Vec<&GateView> = gates.iter().filter(|view| matches!(view.verdict, Passage::Shut | Passage::Waits)).collect();
    let Some(first) = closed.first() else {
        let unknown = gates.iter().any(|view| view.verdict == Passage::Unknown);
        let but = if unknown { ", if the campaign's limit lets this user in: that only the store knows" } else { "" };
        return format!("it would be sent{but}");
    };
    let reason = first.reason.map_or("", |reason| reason.as_str());
    let opens: Option<Vec<Timestamp>> = closed.iter().map(|view| view.frees).collect();
    match (first.verdict, opens.and_then(|opens| opens.into_iter().max())) {
        (Passage::Waits, Some(at)) if closed.len() == 1 => format!("it would be deferred ({reason}) until {at}"),
        (_, Some(at)) => format!("it would be held back ({reason}); possible from {at}"),
        (_, None) => format!("it would be held back ({reason}); time alone does not change that"),
    }
}

fn or_empty(value: Option<String>) -> String {
    value.unwrap_or_default()
}

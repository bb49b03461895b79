//! An explanation as text for people.

use serde::Serialize;
use serde_json::Value;

use super::{Explained, SeenEvent};
use crate::engine::step::Part;

/// The title of clocks that run, and of the next run of a schedule.
const TO_COME: &str = "what is still to come";

pub fn text(explained: &Explained) -> String {
    let Explained { user_id, campaign, status, from, at, events, seen, lines, waiting, pending, gates, verdict, next_run, .. } = explained;
    let mut text = format!("user {user_id}, campaign {campaign} ({status} since {from}), as of {at}; events of this user: {events}\n");
    let mut section = |title: &str, lines: Vec<String>, none: &str| {
        text.push_str(&format!("\n{title}\n"));
        let none = [none.to_owned()];
        for line in if lines.is_empty() { &none } else { &lines[..] } {
            text.push_str(&format!("  {line}\n"));
        }
    };
    section("what its trigger saw", seen.iter().flat_map(of_event).collect(), explained.waits_for);
    let undecided =
        if waiting.is_empty() && next_run.is_none() { "nothing was decided: the trigger did not fire" } else { "nothing is decided yet" };
    section("what came of it", lines.iter().map(of_line).collect(), undecided);
    let runs = next_run.iter().map(|at| of_run(&at.to_string()));
    let to_come: Vec<String> = waiting.iter().map(|waiting| of_waiting(&json(waiting))).chain(runs).collect();
    if !to_come.is_empty() {
        section(TO_COME, to_come, "");
    }
    if !pending.is_empty() {
        section("deliveries under way", pending.iter().map(|entry| of_pending(&json(entry))).collect(), "");
    }
    section("the gates, were it triggered now", gates.iter().flat_map(|view| of_gate(&json(view))).collect(), "");
    text.push_str(&format!("\n{verdict}\n"));
    text
}

/// A title, the field of the answer that it stands for, and how one of its items is shown.
type Section = (&'static str, &'static str, fn(&Value) -> Vec<String>);

/// What a worker answers.
pub fn of_server(explained: &Value) -> String {
    let field = |name: &str| explained[name].as_str().unwrap_or_default();
    let known = if explained["known"] == true { "" } else { "; nothing is known of this user" };
    let mut text = format!("user {}, campaign {}, as of {}{known}\n", field("user_id"), field("campaign"), field("at"));
    let sections: [Section; 4] = [
        ("what came of it", "exposures", |exposed| vec![of_exposed(exposed)]),
        (TO_COME, "waiting", |waiting| vec![of_waiting(waiting)]),
        ("deliveries under way", "pending", |entry| vec![of_pending(entry)]),
        ("the gates, were it triggered now", "gates", of_gate),
    ];
    for (title, name, show) in sections {
        let mut lines: Vec<String> = explained[name].as_array().into_iter().flatten().flat_map(show).collect();
        if title == TO_COME {
            lines.extend(explained["next_run"].as_str().map(of_run));
        }
        if !lines.is_empty() {
            text.push_str(&format!("\n{title}\n"));
            lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
    }
    text.push_str(&format!("\n{}\n", field("verdict")));
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
            Part::Api => "the request that it waits for",
            Part::Goal => "the goal",
        };
        let meets = if view.meets { "is" } else { "is not" };
        lines.push(format!("{}  {} ({}) {meets} {part}", seen.at, seen.event, seen.event_id));
        lines.extend(view.compared.iter().map(|part| format!("    {}", of_part(&json(part)))));
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

fn of_waiting(waiting: &Value) -> String {
    let [due, kind, event, event_id] = ["due", "kind", "event", "event_id"].map(|name| waiting[name].as_str().unwrap_or_default());
    let because = match (event, event_id) {
        ("", "") => String::new(),
        ("", id) => format!(" because of {id}"),
        (event, id) => format!(" because of {event} ({id})"),
    };
    if kind == "deferred" { format!("deferred until {due}{because}") } else { format!("{due}  {kind} falls due{because}") }
}

fn of_run(at: &str) -> String {
    format!("{at}  the next run of its schedule")
}

fn of_pending(entry: &Value) -> String {
    let [id, phase, until] = ["delivery_id", "phase", "until"].map(|name| entry[name].as_str().unwrap_or_default());
    format!("{id}  {phase}, attempt {}, until {until}", entry["attempt"])
}

fn of_exposed(exposed: &Value) -> String {
    let what = if exposed["arm"] == "control" { "held out as control" } else { "sent" };
    format!("{}  {what}, {} in all", exposed["last"].as_str().unwrap_or_default(), exposed["times"])
}

/// A gate as it is written in JSON, by this process or by a worker.
fn of_gate(view: &Value) -> Vec<String> {
    let field = |name: &str| view[name].as_str();
    let name = field("gate").unwrap_or_default().replace('_', " ");
    let mut line = format!("{name:14}  {:7}", field("verdict").unwrap_or_default());
    line.extend(field("reason").map(|reason| format!("  {reason}")));
    match &view["rule"] {
        Value::Null => {}
        Value::String(text) => line.push_str(&format!(", {text}")),
        defined => line.push_str(&format!(", {}", cap(defined))),
    }
    line.extend(field("frees").map(|at| format!(", opens at {at}")));
    let compared = view["compared"].as_array().into_iter().flatten().map(|part| format!("    {}", of_part(part)));
    [line.trim_end().to_owned()].into_iter().chain(compared).collect()
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

fn of_part(part: &Value) -> String {
    let [what, value] = ["what", "value"].map(|name| part[name].as_str().unwrap_or_default());
    let indent = "  ".repeat(part["depth"].as_u64().and_then(|depth| usize::try_from(depth).ok()).unwrap_or(0));
    let mut line = if value.is_empty() { format!("{indent}{what}") } else { format!("{indent}{what}: {value}") };
    line.extend(part["against"].as_str().map(|against| format!(" | {against}")));
    match part["holds"].as_bool() {
        Some(true) => line.push_str("  yes"),
        Some(false) => line.push_str("  no"),
        None if part["unknown"] == true => line.push_str("  unknown"),
        None => {}
    }
    line
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn or_empty(value: Option<String>) -> String {
    value.unwrap_or_default()
}

//! Rules over a user (`audience`).

use super::Rule;
use super::condition::{condition, every};
use super::problem::{Problems, meant};
use super::reader::{self, unsupported};
use super::text::{Data, Entry, Node};
use crate::engine::value::Value;

/// Kinds of rule in this version.
const KINDS: [&str; 4] = ["user", "all", "any", "not"];

/// Kinds that come with the rest of the language.
const LATER: [&str; 3] = ["cohort", "did", "did_not"];

/// Reads a rule: a map with one kind, a list (all of them), or `everyone`.
pub(super) fn rule(node: &Node, what: &str, problems: &Problems) -> Option<Rule> {
    match &node.data {
        Data::Scalar(Value::Text(text)) if &**text == "everyone" => Some(Rule::All(Vec::new())),
        Data::List(items) => rules(items, what, problems).map(Rule::All),
        Data::Map(entries) => single(node, entries, what, problems),
        Data::Broken => None,
        Data::Scalar(_) => {
            let help = "such as {user: {country: KR}}, or `everyone`";
            problems.error_with_help(node.place, format!("{what} must be a rule, not {}", node.kind()), help);
            None
        }
    }
}

fn single(node: &Node, entries: &[Entry], what: &str, problems: &Problems) -> Option<Rule> {
    match entries {
        [entry] => kind(entry, problems),
        [] => {
            problems.error_with_help(node.place, format!("{what} says nothing"), "for everyone write `everyone`, or leave `audience` out");
            None
        }
        [_, second, ..] => {
            // Each is still looked into, so that all problems show at once.
            entries.iter().for_each(|entry| drop(kind(entry, problems)));
            problems.error_with_help(second.place, "a rule has one kind", "to combine rules write a list, `all: [...]` or `any: [...]`");
            None
        }
    }
}

fn kind(entry: &Entry, problems: &Problems) -> Option<Rule> {
    let (key, node) = (&*entry.key, &entry.value);
    let what = format!("`{key}`");
    match key {
        "user" => condition(node, &what, problems).map(Rule::User),
        "all" => combined(node, &what, problems).map(Rule::All),
        "any" => combined(node, &what, problems).map(Rule::Any),
        "not" => rule(node, &what, problems).map(|inner| Rule::Not(Box::new(inner))),
        _ if LATER.contains(&key) => {
            unsupported(entry.place, key, problems);
            None
        }
        _ => {
            let message = format!("unknown kind of rule `{key}`");
            let near = meant(key, "kinds", KINDS.into_iter().chain(LATER));
            let help = if near.starts_with("did") { near } else { format!("for a property of the user write {{user: {{{key}: ...}}}}") };
            problems.error_with_help(entry.place, message, help);
            None
        }
    }
}

fn combined(node: &Node, what: &str, problems: &Problems) -> Option<Vec<Rule>> {
    let items = reader::list(node, what, problems)?;
    if items.is_empty() {
        problems.error(node.place, format!("{what} needs at least one rule"));
        return None;
    }
    rules(items, what, problems)
}

fn rules(items: &[Node], what: &str, problems: &Problems) -> Option<Vec<Rule>> {
    let item = format!("an item of {what}");
    every(items.iter().map(|node| rule(node, &item, problems)))
}

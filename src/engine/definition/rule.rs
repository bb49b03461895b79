//! Rules over a user (`audience`, cohorts): reading them, which cohorts they name, and where one is true by absence alone.

use super::condition::{CONDITION, condition, every};
use super::did::{self, DID};
use super::part::key_of;
use super::problem::{Place, Problems, meant};
use super::reader;
use super::shape::{Named, Shape, Type, key};
use super::text::{Data, Entry, Node};
use super::{Measure, Rule, Window};
use crate::engine::value::Value;

pub(super) static RULE: Named = Named {
    id: "rule",
    doc: "A rule over a user: one kind, a list (all must hold), or `everyone`.",
    value: Type::AnyOf(&[Type::Choice(&["everyone"]), Type::List(&Type::Named(&RULE), 0, usize::MAX), Type::Map(&KINDS)]),
};

static KINDS: Shape = Shape::kinds(
    "rule_kind",
    "a rule",
    "A rule of one kind.",
    &[
        key("user", Type::Named(&CONDITION), "What the traits of the user must be."),
        key("cohort", Type::DocumentKey, "A member of this cohort."),
        key("did", Type::Map(&DID), "What the user did, how often, how much, when."),
        key("did_not", Type::Map(&DID), "The opposite of `did`."),
        key("all", Type::List(&Type::Named(&RULE), 1, usize::MAX), "All of these rules."),
        key("any", Type::List(&Type::Named(&RULE), 1, usize::MAX), "At least one of these rules."),
        key("not", Type::Named(&RULE), "The opposite of this rule."),
    ],
);

/// Reads a rule: a map with one kind, a list (all of them), or `everyone`.
pub(super) fn rule(node: &Node, what: &str, problems: &Problems) -> Option<Rule> {
    Reading { problems, negated: false }.rule(node, what)
}

/// The cohorts that a rule names, with their places.
pub(super) fn cohorts_named(node: &Node, found: &mut Vec<(Box<str>, Place)>) {
    match &node.data {
        Data::List(items) => items.iter().for_each(|item| cohorts_named(item, found)),
        Data::Map(entries) => entries.iter().for_each(|entry| match (&*entry.key, &entry.value.data) {
            ("cohort", Data::Scalar(Value::Text(key))) => found.push((key.as_str().into(), entry.value.place)),
            ("all" | "any" | "not", _) => cohorts_named(&entry.value, found),
            _ => {}
        }),
        Data::Scalar(_) | Data::Broken => {}
    }
}

/// Where in a rule one is: under an odd number of negations or not.
#[derive(Clone, Copy)]
struct Reading<'a> {
    problems: &'a Problems,
    negated: bool,
}

impl Reading<'_> {
    fn rule(self, node: &Node, what: &str) -> Option<Rule> {
        match &node.data {
            Data::Scalar(Value::Text(text)) if &**text == "everyone" => Some(Rule::All(Vec::new())),
            Data::List(items) => self.rules(items, what).map(Rule::All),
            Data::Map(entries) => self.single(node, entries, what),
            Data::Broken => None,
            Data::Scalar(_) => {
                let help = "such as {user: {country: KR}}, or `everyone`";
                self.problems.error_with_help(node.place, format!("{what} must be a rule, not {}", node.kind()), help);
                None
            }
        }
    }

    fn single(self, node: &Node, entries: &[Entry], what: &str) -> Option<Rule> {
        match entries {
            [entry] => self.kind(entry),
            [] => {
                let help = "for everyone write `everyone`";
                self.problems.error_with_help(node.place, format!("{what} says nothing"), help);
                None
            }
            [_, second, ..] => {
                // Each is still looked into, so that all problems show at once.
                entries.iter().for_each(|entry| drop(self.kind(entry)));
                let help = "to combine rules write a list, `all: [...]` or `any: [...]`";
                self.problems.error_with_help(second.place, "a rule has one kind", help);
                None
            }
        }
    }

    fn kind(self, entry: &Entry) -> Option<Rule> {
        let (key, node) = (&*entry.key, &entry.value);
        let what = format!("`{key}`");
        let opposite = Reading { negated: !self.negated, ..self };
        match key {
            "user" => condition(node, &what, self.problems).map(Rule::User),
            "cohort" => self.cohort(node),
            "did" => self.did(node, &what),
            "did_not" => opposite.did(node, &what).map(|did| Rule::Not(Box::new(did))),
            "all" => self.combined(node, &what).map(Rule::All),
            "any" => self.combined(node, &what).map(Rule::Any),
            "not" => opposite.rule(node, &what).map(|inner| Rule::Not(Box::new(inner))),
            _ => {
                let near = meant(key, "kinds", KINDS.names());
                let help =
                    if near.starts_with("did") { near } else { format!("for a property of the user write {{user: {{{key}: ...}}}}") };
                self.problems.error_with_help(entry.place, format!("unknown kind of rule `{key}`"), help);
                None
            }
        }
    }

    fn cohort(self, node: &Node) -> Option<Rule> {
        if let Data::List(_) = node.data {
            let help = "for one of several write `any: [{cohort: a}, {cohort: b}]`";
            return reader::wrong(node, "`cohort`", "one key", Some(help.into()), self.problems);
        }
        key_of(node, "`cohort`", self.problems).map(|key| Rule::Cohort(key.into()))
    }

    fn did(self, node: &Node, what: &str) -> Option<Rule> {
        let did = did::did(node, what, self.problems)?;
        if did.window == Window::Ever && did::holds_of_nothing(&did.measure) != self.negated {
            let message = format!("{what} without a window is true of who did nothing since this was first asked");
            let help = "say which past with `in_last`: then the answer is right once that much is known";
            self.problems.warn(node.place, message, help);
        } else if matches!(did.measure, Measure::First(_)) && !self.negated {
            let message = format!("{what} with `first` is true also of who did it before this was first asked, and again since");
            let help = "read past events with `campanile backfill`: then their first time is known";
            self.problems.warn(node.place, message, help);
        }
        Some(Rule::Did(Box::new(did)))
    }

    fn combined(self, node: &Node, what: &str) -> Option<Vec<Rule>> {
        let items = reader::list(node, what, self.problems)?;
        if items.is_empty() {
            self.problems.error(node.place, format!("{what} needs at least one rule"));
            return None;
        }
        self.rules(items, what)
    }

    fn rules(self, items: &[Node], what: &str) -> Option<Vec<Rule>> {
        let item = format!("an item of {what}");
        every(items.iter().map(|node| self.rule(node, &item)))
    }
}

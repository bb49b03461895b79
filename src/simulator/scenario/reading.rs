//! Reading a scenario file: every problem at once, with its place; definitions are checked as `apply` checks them.

use std::collections::BTreeMap;

use super::changing;
use super::inline::Inline;
use super::{Expected, Scenario, ScenarioEvent};
use crate::engine::catalog::{Apply, Catalog, apply, check};
use crate::engine::definition::problem::{Place, Problem, Problems, meant};
use crate::engine::definition::reader::{self, Reader};
use crate::engine::definition::text::{self, Data, Node};
use crate::engine::definition::{self, Kind, ReadOptions, Reading};
use crate::engine::effect::Reason;
use crate::engine::reading;
use crate::engine::time::Timestamp;
use crate::engine::value::{Object, Value};
use crate::simulator::rules::{AnswerRule, LinkRule, id, secrets};

/// Gives the files of a directory, named relative to the scenario's file: their names and texts, or why there are none.
pub type OpenDirectory<'a> = &'a dyn Fn(&str) -> Result<Vec<(String, String)>, String>;

/// A scenario sends nothing: any URL will do.
pub const READ: ReadOptions = ReadOptions { allow_http: true };

pub const OPTIONS: Apply = Apply { read: READ, cycle: false, prune: false };

/// Recipients of one send, as over HTTP.
const MAX_RECIPIENTS: usize = 1_000;

/// What is read of a scenario before its definitions are.
struct Written<'a> {
    name: Option<&'a str>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    definitions: Option<&'a [Node]>,
    directory: Option<(&'a str, Place)>,
    changes: Vec<changing::Written<'a>>,
    secrets: BTreeMap<String, String>,
    events: Vec<ScenarioEvent>,
    answers: Vec<AnswerRule>,
    links: Vec<LinkRule>,
    expect: Vec<Expected>,
}

pub fn read(file: &str, source: &str, open: OpenDirectory<'_>) -> Result<Scenario, Vec<Problem>> {
    let problems = Problems::of(file);
    let trees = text::documents(source, &problems);
    if let Some(second) = trees.get(1) {
        problems.error_with_help(second.root.place, "a second scenario in one file", "put each into a file of its own");
    }
    let Some(tree) = trees.first() else {
        if problems.errors() == 0 {
            problems.error(Place::START, "a scenario is empty");
        }
        return Err(problems.into_sorted());
    };
    let scenario = Written::read(&tree.root, &problems).and_then(|written| written.check(open, &problems));
    match scenario {
        Some(scenario) if problems.errors() == 0 => Ok(Scenario { warnings: problems.into_sorted(), ..scenario }),
        _ => Err(problems.into_sorted()),
    }
}

/// Whether a text holds definitions: a directory of scenarios may have theirs beside them.
pub fn is_definitions(source: &str) -> bool {
    has_keys(source, |has| has("kind"))
}

/// Whether a text holds a scenario, sound or not: a directory of definitions may have theirs beside them.
pub fn is_scenario(source: &str) -> bool {
    // Parsing is most of what reading definitions costs, and hardly a file of them has this word.
    source.contains("definitions")
        && has_keys(source, |has| !has("kind") && has("from") && has("to") && (has("definitions") || has("definitions_dir")))
}

fn has_keys(source: &str, which: impl Fn(&dyn Fn(&str) -> bool) -> bool) -> bool {
    let problems = Problems::of("");
    let trees = text::documents(source, &problems);
    trees.first().is_some_and(|tree| match &tree.root.data {
        Data::Map(entries) => which(&|key| entries.iter().any(|entry| &*entry.key == key)),
        Data::Scalar(_) | Data::List(_) | Data::Broken => false,
    })
}

impl<'a> Written<'a> {
    fn read(root: &'a Node, problems: &'a Problems) -> Option<Written<'a>> {
        let mut map = Reader::open(root, "a scenario", problems)?;
        map.require("name", "a sentence that says what must hold");
        map.require("from", "when the world begins, such as 2026-11-01T00:00:00Z");
        map.require("to", "when it ends, such as 2026-11-03T00:00:00Z");
        let place = map.place;
        let (from, to) = (map.instant("from"), map.instant("to"));
        if from.zip(to).is_some_and(|(from, to)| to < from) {
            problems.error(map.entry("to").map_or(place, |entry| entry.value.place), "`to` lies before `from`");
        }
        let definitions = map.list("definitions");
        let directory = map.entry("definitions_dir").map(|entry| entry.value.place);
        let directory = map.name("definitions_dir").zip(directory);
        if definitions.is_some() == directory.is_some() {
            problems.error(place, "a scenario needs either `definitions` or `definitions_dir`");
        }
        let written = Written {
            name: map.name("name"),
            from,
            to,
            definitions,
            directory,
            changes: map.list("changes").into_iter().flatten().filter_map(|node| changing::read(node, problems)).collect(),
            secrets: map.get("secrets").map(|node| secrets(node, "`secrets`", problems)).unwrap_or_default(),
            events: events(map.list("events").unwrap_or_default(), from.unwrap_or(Timestamp::MIN), to, problems),
            answers: map.list("answers").into_iter().flatten().filter_map(|node| AnswerRule::read(node, problems)).collect(),
            links: map.list("links").into_iter().flatten().filter_map(|node| LinkRule::read(node, problems)).collect(),
            expect: map.list("expect").into_iter().flatten().filter_map(|node| expected(node, problems)).collect(),
        };
        map.close();
        Some(written)
    }

    fn check(self, open: OpenDirectory<'_>, problems: &Problems) -> Option<Scenario> {
        let begin = self.from.unwrap_or(Timestamp::MIN);
        let catalog = self.catalog(begin, open, problems)?;
        let changes = changing::changes(&catalog, begin, self.to, self.changes, problems);
        // No campaign ever leaves, so the last definitions have all.
        let last = changes.last().map_or(&catalog, |change| &change.catalog);
        let keys: Vec<&str> = last.documents.iter().filter(|document| document.kind == Kind::Campaign).map(|d| &*d.key).collect();
        for expected in &self.expect {
            if let Some(campaign) = expected.campaign.as_deref().filter(|campaign| !keys.contains(campaign)) {
                let help = meant(campaign, "campaigns", keys.iter().copied());
                problems.error_with_help(expected.place, format!("there is no campaign `{campaign}`"), help);
            }
        }
        let Written { secrets, events, answers, links, expect, .. } = self;
        let (name, from, to) = (self.name?.to_owned(), self.from?, self.to?);
        Some(Scenario { name, from, to, catalog, changes, secrets, events, answers, links, expect, warnings: Vec::new() })
    }

    /// The definitions as they would be stored.
    fn catalog(&self, from: Timestamp, open: OpenDirectory<'_>, problems: &Problems) -> Option<Catalog> {
        let inline = Inline::of(self.definitions.unwrap_or_default());
        let mut reading = definition::read(problems.file(), &inline.text, &READ);
        let report = |found: Vec<Problem>| found.into_iter().for_each(|problem| problems.push(inline.in_place(problems.file(), problem)));
        if let Some((directory, place)) = self.directory {
            reading.extend(from_directory(directory, place, open, problems));
        }
        if !reading.is_sound() {
            report(check(&Catalog::default(), reading, &OPTIONS, from));
            return None;
        }
        report(reading.problems);
        match apply(&Catalog::default(), reading.documents, &OPTIONS, from) {
            Ok((mut catalog, _)) => {
                catalog.begin_at(from);
                Some(catalog)
            }
            Err(found) => {
                report(found);
                None
            }
        }
    }
}

fn from_directory(directory: &str, place: Place, open: OpenDirectory<'_>, problems: &Problems) -> Reading {
    let files = match open(directory) {
        Ok(files) => files,
        Err(why) => {
            problems.error(place, why);
            return Reading::default();
        }
    };
    let mut reading = Reading::default();
    files.iter().for_each(|(name, text)| reading.extend(definition::read(name, text, &READ)));
    reading
}

/// The events as a producer would write them. What arrives after `to` is told: it does not happen.
fn events(nodes: &[Node], from: Timestamp, to: Option<Timestamp>, problems: &Problems) -> Vec<ScenarioEvent> {
    let mut events = Vec::with_capacity(nodes.len());
    for node in nodes {
        if reader::map(node, "an event", problems).is_none() {
            continue;
        }
        let Value::Object(event) = node.to_value() else { continue };
        let at = arrival(&event, from);
        if let Some(to) = to.filter(|to| at > *to) {
            problems.warn(
                node.place,
                format!("this event comes at {at}, after `to` ({to}): it does not happen"),
                "move `to`, or the event",
            );
        }
        for event in recipients(&event, node.place, problems).unwrap_or_else(|| vec![event]) {
            let json = Value::Object(event.clone()).to_string();
            if let Err(unreadable) = reading::header(json.as_bytes()) {
                let help = format!("it goes to the dead-letter topic as `{}`", unreadable.reason);
                problems.warn(node.place, format!("this event cannot be read: {}", unreadable.error), help);
            }
            let user = event.get("userId").and_then(Value::as_str).map(str::to_owned);
            events.push(ScenarioEvent { place: node.place, at, user, json });
        }
    }
    events
}

/// A send to several as one for each: own properties and traits over the common ones, `<message id>-<place>` as over HTTP. `None` for
/// any other event.
fn recipients(event: &Object, place: Place, problems: &Problems) -> Option<Vec<Object>> {
    let Some(Value::List(recipients)) = event.get("recipients") else { return None };
    if recipients.is_empty() || recipients.len() > MAX_RECIPIENTS {
        problems.error(place, format!("`recipients` must be from 1 to {MAX_RECIPIENTS}, not {}", recipients.len()));
    }
    if event.get("userId").is_some() {
        problems.error(place, "`userId` and `recipients` exclude each other");
    }
    let base = event.get("messageId").and_then(Value::as_str).map_or_else(|| format!("line-{}", place.line), str::to_owned);
    let mut events = Vec::with_capacity(recipients.len());
    for (index, recipient) in recipients.iter().enumerate() {
        let own = recipient.as_object();
        let field = |name| own.and_then(|own| own.get(name));
        let Some(user) = field("user_id").or_else(|| field("userId")) else {
            problems.error(place, format!("recipient {} needs `user_id`", index + 1));
            continue;
        };
        let merged = |name| {
            let common = event.get(name).and_then(Value::as_object).into_iter().flat_map(Object::iter);
            let own = field(name).and_then(Value::as_object).into_iter().flat_map(Object::iter);
            Value::Object(common.chain(own).map(|(name, value)| (name.into(), value.clone())).collect())
        };
        let kept = event.iter().filter(|(name, _)| !matches!(*name, "recipients" | "messageId" | "properties" | "traits"));
        let mut single: Object = kept.map(|(name, value)| (name.into(), value.clone())).collect();
        single.insert("userId", user.clone());
        single.insert("messageId", Value::text(format!("{base}-{index}")));
        single.insert("properties", merged("properties"));
        single.insert("traits", merged("traits"));
        events.push(single);
    }
    Some(events)
}

/// When an event reaches the log: `receivedAt`, else its own time.
fn arrival(event: &Object, from: Timestamp) -> Timestamp {
    let time = |key: &str| event.get(key)?.as_str().and_then(Timestamp::parse);
    time("receivedAt").or_else(|| time("timestamp")).unwrap_or(from)
}

const OUTCOMES: [(&str, &str); 3] = [("sent", "sent"), ("suppressed", "suppressed"), ("deferred", "deferred")];
const ARMS: [(&str, &str); 2] = [("treatment", "treatment"), ("control", "control")];
const RESULTS: [(&str, &str); 3] = [("delivered", "delivered"), ("retrying", "retrying"), ("failed", "failed")];

fn expected(node: &Node, problems: &Problems) -> Option<Expected> {
    let before = problems.errors();
    let mut map = Reader::open(node, "an expectation", problems)?;
    let reasons: Vec<(&str, &str)> = Reason::ALL.iter().map(|reason| (reason.as_str(), reason.as_str())).collect();
    let mut expected = Expected {
        place: node.place,
        at: map.instant("at"),
        user_id: map.get("user_id").and_then(|node| id(node, "`user_id`", problems)),
        campaign: map.name("campaign").map(Into::into),
        outcome: map.choice("outcome", &OUTCOMES).map(Into::into),
        conversion: map.boolean("conversion").unwrap_or(false),
        arm: map.choice("arm", &ARMS).map(Into::into),
        reason: map.choice("reason", &reasons).map(Into::into),
        body: map.get("body").map(Node::to_value),
        attempts: map.integer("attempts", 0..=i64::from(u32::MAX)).and_then(|attempts| u32::try_from(attempts).ok()),
        result: map.choice("result", &RESULTS).map(Into::into),
    };
    map.close();
    let of_attempts = expected.attempts.is_some() || expected.result.is_some();
    // Only what is sent has a body.
    if expected.body.is_some() && expected.outcome.is_none() && !of_attempts && !expected.conversion {
        expected.outcome = Some("sent".into());
    }
    let of_decisions = expected.outcome.is_some() || of_attempts;
    if problems.errors() == before && !of_decisions && !expected.conversion {
        let help = "such as `outcome: sent`, `attempts: 4, result: failed`, or `conversion: true`";
        problems.error_with_help(node.place, "an expectation needs `outcome`, `body`, `attempts`, `result` or `conversion`", help);
    }
    if expected.conversion && (of_decisions || expected.reason.is_some() || expected.body.is_some()) {
        problems.error(node.place, "a `conversion` has only `at`, `user_id`, `campaign` and `arm`");
    }
    if expected.reason.is_some() && expected.outcome.as_deref() == Some("sent") {
        problems.error(node.place, "what is `sent` has no `reason`: expect `suppressed`, or leave the reason out");
    }
    (problems.errors() == before).then_some(expected)
}

#[cfg(test)]
mod tests {
    use crate::simulator::scenario::Scenario;

    #[test]
    fn a_body_without_an_outcome_is_of_what_is_sent() {
        let check = |expect: &str, outcome: Result<Option<&str>, &str>| {
            let campaign = "{kind: campaign, key: hello, trigger: {api: {}}, webhook: {url: 'https://h.example/'}}";
            let text =
                format!("name: n\nfrom: 2026-11-02T00:00:00Z\nto: 2026-11-03T00:00:00Z\ndefinitions: [{campaign}]\nexpect:\n- {expect}\n");
            let read = Scenario::read("s", &text, &|_| Err("stands alone".into()));
            let read = read.map(|scenario| scenario.expect[0].outcome.clone());
            let read = read.map_err(|problems| problems.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>().join("\n"));
            assert_eq!(read, outcome.map(|outcome| outcome.map(Into::into)).map_err(Into::into), "{expect}");
        };
        check("{campaign: hello, body: {a: 1}}", Ok(Some("sent")));
        check("{campaign: hello, body: {a: 1}, attempts: 2}", Ok(None));
        check("{campaign: hello, outcome: suppressed}", Ok(Some("suppressed")));
        check("{campaign: hello}", Err("an expectation needs `outcome`, `body`, `attempts`, `result` or `conversion`"));
        check("{conversion: true, body: {a: 1}}", Err("a `conversion` has only `at`, `user_id`, `campaign` and `arm`"));
        check(
            "{campaign: hello, body: {a: 1}, reason: frequency_cap}",
            Err("what is `sent` has no `reason`: expect `suppressed`, or leave the reason out"),
        );
    }
}

//! A document: a checked definition with its canonical text and the places of its parts.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::problem::{Place, Problem, Problems, Severity};
use super::text::{Data, Entry, Node};
use super::{Definition, Members, campaign, cohort, destination, reader, rule, trigger, workspace};
use crate::engine::value::{Object, Text, Value};

/// What a document is. Together with the key it names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Workspace,
    Destination,
    Cohort,
    Campaign,
}

/// The key of the workspace, of which there is one.
pub const WORKSPACE_KEY: &str = "workspace";

/// A checked document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub kind: Kind,
    pub key: Box<str>,
    pub definition: Definition,
    /// The document as written, without `status`, as JSON: equal texts mean that nothing was edited. Keys are sorted, apart
    /// from headers, params and body, and absent where they were null.
    pub canonical: String,
    pub file: Box<str>,
    pub line: u32,
    pub places: Places,
    /// The cohorts that it names.
    pub cohorts: Vec<(Box<str>, Place)>,
    /// Of a cohort whose users are in a file: its path as written. They must be put in with [`Document::put_users`] before it is
    /// applied.
    pub users_file: Option<Box<str>>,
}

/// What the deployment allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// `http:` URLs too, not only `https:`.
    pub allow_http: bool,
}

/// Where the fields of a document stand that may hold templates or secrets: `webhook.body.text`, `headers.X-Key`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places(BTreeMap<Box<str>, Place>);

impl Places {
    /// The place of a field, else of the nearest field around it, else the document's.
    pub fn of(&self, field: &str) -> Place {
        let mut path = &*field.replace('[', ".").replace(']', "");
        loop {
            if let Some(place) = self.0.get(path) {
                return *place;
            }
            path = match path.rfind('.') {
                Some(dot) => &path[..dot],
                None => return self.0.get("").copied().unwrap_or(Place::START),
            };
        }
    }

    fn insert(&mut self, path: &str, node: &Node) {
        self.0.insert(path.into(), node.place);
        match &node.data {
            Data::Map(entries) => entries.iter().for_each(|entry| self.insert(&format!("{path}.{}", entry.key), &entry.value)),
            Data::List(items) => items.iter().enumerate().for_each(|(at, item)| self.insert(&format!("{path}.{at}"), item)),
            Data::Scalar(_) | Data::Broken => {}
        }
    }
}

impl Document {
    /// A problem of one of its fields.
    pub fn error(&self, field: &str, message: impl Into<String>) -> Problem {
        Problem::error(&self.file, self.places.of(field), message)
    }

    /// The same, where the document is sound all the same.
    pub fn warning(&self, field: &str, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Warning, ..self.error(field, message) }
    }

    /// Puts the users of its file in their place: from then on they are as if they were written here. Sorted, each once, as
    /// [`super::users_of_file`] reads them.
    pub fn put_users(&mut self, users: Vec<Box<str>>) {
        let Definition::Cohort(cohort) = &mut self.definition else { return };
        let Ok(Value::Object(written)) = Value::from_json(&self.canonical) else { return };
        let list = Value::List(users.iter().map(|user| Value::text(&**user)).collect());
        let mut pairs: Vec<(Text, Value)> =
            written.iter().filter(|(key, _)| *key != "users_file").map(|(key, value)| (key.into(), value.clone())).collect();
        pairs.push(("users".into(), list));
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        self.canonical = Value::Object(pairs.into_iter().collect()).to_string();
        cohort.members = Members::List(users);
        self.users_file = None;
    }
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Campaign, Kind::Cohort, Kind::Destination, Kind::Workspace];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Workspace => "workspace",
            Kind::Destination => "destination",
            Kind::Cohort => "cohort",
            Kind::Campaign => "campaign",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads a document of this kind. What of it cannot be read was reported and has a stand-in; `None` when it is not even a map.
pub(super) fn document(kind: Kind, node: &Node, options: &ReadOptions, problems: &Problems) -> Option<Document> {
    let entries = reader::map(node, "a document", problems)?;
    let mut users_file = None;
    let definition = match kind {
        Kind::Campaign => Definition::Campaign(Box::new(campaign::campaign(node, options, problems)?)),
        Kind::Cohort => {
            let (cohort, file) = cohort::cohort(node, problems)?;
            users_file = file;
            Definition::Cohort(Box::new(cohort))
        }
        Kind::Destination => Definition::Destination(Box::new(destination::destination(node, problems)?)),
        Kind::Workspace => Definition::Workspace(Box::new(workspace::workspace(node, problems)?)),
    };
    let key = match &definition {
        Definition::Campaign(campaign) => campaign.key.clone(),
        Definition::Cohort(cohort) => cohort.key.clone(),
        Definition::Destination(destination) => destination.key.clone(),
        Definition::Workspace(_) => WORKSPACE_KEY.into(),
    };
    let mut places = Places::default();
    places.0.insert("".into(), node.place);
    for entry in entries {
        places.0.insert(entry.key.clone(), entry.place);
        if matches!(&*entry.key, "webhook" | "headers" | "auth" | "sign" | "ca") {
            places.insert(&entry.key, &entry.value);
        }
    }
    let (file, line) = (problems.file().into(), node.place.line);
    Some(Document { kind, key, definition, canonical: canonical(entries), file, line, places, cohorts: cohorts(node), users_file })
}

/// The cohorts that a document names, wherever it may.
fn cohorts(node: &Node) -> Vec<(Box<str>, Place)> {
    let mut found = Vec::new();
    for key in ["audience", "where"] {
        if let Some(rule) = node.at(key) {
            rule::cohorts_named(rule, &mut found);
        }
    }
    if let Some(Node { place, data: Data::Scalar(Value::Text(key)) }) = node.at("trigger").and_then(trigger::cohort_named) {
        found.push((key.as_str().into(), *place));
    }
    found
}

fn canonical(entries: &[Entry]) -> String {
    let mut written: Vec<(Text, Value)> = entries
        .iter()
        .filter(|entry| &*entry.key != "status" && !entry.value.is_null())
        .map(|entry| ((&*entry.key).into(), sorted(&entry.key, &entry.value)))
        .collect();
    written.sort_by(|a, b| a.0.cmp(&b.0));
    Value::Object(written.into_iter().collect::<Object>()).to_string()
}

/// Sorts keys and drops nulls: neither order nor null means anything in the language, only in what is sent.
fn sorted(key: &str, node: &Node) -> Value {
    match &node.data {
        Data::Map(_) if matches!(key, "headers" | "params" | "body") => node.to_value(),
        Data::Map(entries) => {
            let mut pairs: Vec<(Text, Value)> = entries
                .iter()
                .filter(|entry| !entry.value.is_null())
                .map(|entry| ((&*entry.key).into(), sorted(&entry.key, &entry.value)))
                .collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(pairs.into_iter().collect())
        }
        Data::List(items) => Value::List(items.iter().map(|item| sorted("", item)).collect()),
        Data::Scalar(_) | Data::Broken => node.to_value(),
    }
}

//! Documents: from a file's text to checked definitions, each with its canonical text and the places of its parts.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::problem::{Place, Problem, Problems, Severity, meant};
use super::text::{Data, Entry, Node, documents};
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

/// Reads all documents of a file (YAML 1.2 or JSON, separated by `---`, or as the items of a list): those without errors, and every problem in the
/// order of the text. What only shows when documents are seen together is [`super::check_together`]'s.
pub fn read(file: &str, text: &str, options: &ReadOptions) -> (Vec<Document>, Vec<Problem>) {
    let problems = Problems::of(file);
    let trees = documents(text, &problems);
    let roots = trees.iter().flat_map(|tree| one_by_one(&tree.root).iter().map(|root| (root, tree.sound)));
    let read = roots.filter_map(|(root, sound)| document(root, options, &problems).filter(|_| sound)).collect();
    (read, problems.into_sorted())
}

/// The items of a list, else the one.
fn one_by_one(root: &Node) -> &[Node] {
    match &root.data {
        Data::List(items) => items,
        Data::Map(_) | Data::Scalar(_) | Data::Broken => std::slice::from_ref(root),
    }
}

/// Reads a canonical text back. `name` stands for the file in problems, which have no place of their own any more.
pub fn read_canonical(name: &str, canonical: &str, options: &ReadOptions) -> Result<Document, Vec<Problem>> {
    let problems = Problems::of(name);
    let read = match Value::from_json(canonical) {
        Ok(value) => document(&Node::from_value(&value), options, &problems),
        Err(error) => {
            problems.error(Place::START, format!("not valid JSON: {error}"));
            None
        }
    };
    read.ok_or_else(|| problems.into_sorted())
}

fn document(node: &Node, options: &ReadOptions, problems: &Problems) -> Option<Document> {
    let before = problems.errors();
    let entries = reader::map(node, "a document", problems)?;
    let mut users_file = None;
    let (kind, definition) = match kind(node, entries, problems)? {
        Kind::Campaign => {
            (Kind::Campaign, campaign::campaign(node, options, problems).map(|campaign| Definition::Campaign(Box::new(campaign))))
        }
        Kind::Cohort => {
            let (cohort, file) = cohort::cohort(node, problems).unzip();
            users_file = file.flatten();
            (Kind::Cohort, cohort.map(|cohort| Definition::Cohort(Box::new(cohort))))
        }
        Kind::Destination => {
            (Kind::Destination, destination::destination(node, problems).map(|destination| Definition::Destination(Box::new(destination))))
        }
        Kind::Workspace => {
            (Kind::Workspace, workspace::workspace(node, problems).map(|workspace| Definition::Workspace(Box::new(workspace))))
        }
    };
    let definition = definition.filter(|_| problems.errors() == before)?;
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

fn kind(node: &Node, entries: &[Entry], problems: &Problems) -> Option<Kind> {
    let kinds = [Kind::Campaign, Kind::Cohort, Kind::Destination, Kind::Workspace];
    let Some(entry) = entries.iter().find(|entry| &*entry.key == "kind") else {
        problems.error_with_help(node.place, "a document needs `kind`", "one of campaign, cohort, destination, workspace");
        return None;
    };
    let name = reader::text(&entry.value, "`kind`", problems)?;
    let found = kinds.into_iter().find(|kind| kind.as_str() == name);
    if found.is_none() {
        let help = meant(name, "one of", kinds.map(Kind::as_str));
        problems.error_with_help(entry.value.place, format!("unknown kind `{name}`"), help);
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

//! Reading a file's documents: the sound ones, and what can be told of the others, so that one fault hides neither the rest of its
//! document nor what others say of it. Whether documents suit one another is `together`'s.

use super::campaign::CAMPAIGN;
use super::cohort::COHORT;
use super::destination::DESTINATION;
use super::document::{self, Document, Kind, ReadOptions};
use super::part::{UNKNOWN, likely_key};
use super::problem::{Place, Problem, Problems, meant, nearest};
use super::reader;
use super::shape::Shape;
use super::text::{Data, Entry, Node, Tree, pieces};
use super::workspace::WORKSPACE;
use crate::engine::value::Value;

/// What was read of one file or several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Without errors, in the order of the text.
    pub documents: Vec<Document>,
    /// With errors, which `problems` tells.
    pub faulty: Vec<Faulty>,
    /// In the order of each file's text.
    pub problems: Vec<Problem>,
}

/// A document with errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Faulty {
    /// What could be read of it, with stand-ins for the rest: to be checked for more problems, and for nothing else. Its key is empty
    /// where that is at fault.
    pub part: Option<Document>,
    /// `None`: it may be of any.
    kind: Option<Kind>,
    /// What it may be called; none: anything.
    names: Vec<Box<str>>,
}

impl Reading {
    /// Whether there is no error; warnings there may be.
    pub fn is_sound(&self) -> bool {
        self.faulty.is_empty() && !self.problems.iter().any(Problem::is_error)
    }

    /// Adds what was read of another file.
    pub fn extend(&mut self, other: Reading) {
        self.documents.extend(other.documents);
        self.faulty.extend(other.faulty);
        self.problems.extend(other.problems);
    }

    /// Sound or not: every document of which there is something to check.
    pub fn parts(&self) -> impl Iterator<Item = &Document> {
        self.documents.iter().chain(self.faulty.iter().filter_map(|faulty| faulty.part.as_ref()))
    }

    /// The same, to be changed.
    pub fn parts_mut(&mut self) -> impl Iterator<Item = &mut Document> {
        self.documents.iter_mut().chain(self.faulty.iter_mut().filter_map(|faulty| faulty.part.as_mut()))
    }
}

impl Faulty {
    /// Stands for documents that are not here: nothing is missed that may be one of them.
    pub fn anything() -> Faulty {
        Faulty { part: None, kind: None, names: Vec::new() }
    }

    /// Whether this is, for all that is known, what another document means by a name.
    pub fn may_be(&self, kind: Kind, name: &str) -> bool {
        self.kind.is_none_or(|own| own == kind) && (self.names.is_empty() || self.names.iter().any(|own| **own == *name))
    }
}

/// Reads all documents of a file (YAML 1.2 or JSON, separated by `---`, or as the items of a list), and tells every problem in the order
/// of the text. What only shows when documents are seen together is [`super::check_together`]'s.
pub fn read(file: &str, text: &str, options: &ReadOptions) -> Reading {
    let problems = Problems::of(file);
    let mut reading = Reading::default();
    for tree in pieces(text, &problems) {
        for root in one_by_one(&tree.root) {
            match document(root, &tree, options, &problems) {
                Ok(document) => reading.documents.push(document),
                Err(faulty) => reading.faulty.push(*faulty),
            }
        }
    }
    Reading { problems: problems.into_sorted(), ..reading }
}

/// Reads a canonical text back. `name` stands for the file in problems, which have no place of their own any more.
pub fn read_canonical(name: &str, canonical: &str, options: &ReadOptions) -> Result<Document, Vec<Problem>> {
    let problems = Problems::of(name);
    let read = match Value::from_json(canonical) {
        Ok(value) => {
            let tree = Tree { root: Node::from_value(&value), sound: true, cut: false };
            document(&tree.root, &tree, options, &problems).ok()
        }
        Err(error) => {
            problems.error(Place::START, format!("not valid JSON: {error}"));
            None
        }
    };
    read.ok_or_else(|| problems.into_sorted())
}

/// The items of a list, else the one.
fn one_by_one(root: &Node) -> &[Node] {
    match &root.data {
        Data::List(items) => items,
        Data::Map(_) | Data::Scalar(_) | Data::Broken => std::slice::from_ref(root),
    }
}

fn document(node: &Node, tree: &Tree, options: &ReadOptions, problems: &Problems) -> Result<Document, Box<Faulty>> {
    let before = problems.faults();
    if tree.cut {
        // Of what is missing in it nothing can be said.
        return Err(Box::new(Faulty { part: None, kind: written_kind(node), names: names(node) }));
    }
    let kind = reader::map(node, "a document", problems).and_then(|entries| kind(node, entries, problems));
    let part = kind.and_then(|kind| document::document(kind, node, options, problems));
    match part {
        Some(document) if tree.sound && problems.faults() == before => Ok(document),
        part => Err(Box::new(Faulty { part, kind, names: names(node) })),
    }
}

/// The kind that a document says it is of; if it says none that there is, the one that it probably is of.
fn kind(node: &Node, entries: &[Entry], problems: &Problems) -> Option<Kind> {
    let Some(entry) = entries.iter().find(|entry| &*entry.key == "kind") else {
        problems.error_with_help(node.place, "a document needs `kind`", "one of campaign, cohort, destination, workspace");
        return likely_kind(entries);
    };
    let Some(name) = reader::text(&entry.value, "`kind`", problems) else { return likely_kind(entries) };
    let known = Kind::ALL.into_iter().find(|kind| kind.as_str() == name);
    if known.is_none() {
        let help = meant(name, "one of", Kind::ALL.map(Kind::as_str));
        problems.error_with_help(entry.value.place, format!("unknown kind `{name}`"), help);
        let near = nearest(name, Kind::ALL.map(Kind::as_str));
        return Kind::ALL.into_iter().find(|kind| Some(kind.as_str()) == near).or_else(|| likely_kind(entries));
    }
    known
}

/// The only kind that knows most of these keys.
fn likely_kind(entries: &[Entry]) -> Option<Kind> {
    let shared = ["kind", "key", "title", "description"];
    let own = entries.iter().map(|entry| &*entry.key).filter(|key| !shared.contains(key));
    let counted = Kind::ALL.map(|kind| (own.clone().filter(|key| shape(kind).key(key).is_some()).count(), kind));
    let most = counted.iter().map(|(count, _)| *count).max().filter(|most| *most > 0)?;
    let mut likely = counted.iter().filter(|(count, _)| *count == most).map(|(_, kind)| *kind);
    likely.next().filter(|_| likely.next().is_none())
}

fn shape(kind: Kind) -> &'static Shape {
    match kind {
        Kind::Campaign => &CAMPAIGN,
        Kind::Cohort => &COHORT,
        Kind::Destination => &DESTINATION,
        Kind::Workspace => &WORKSPACE,
    }
}

/// The kind as it is written, of which nothing is reported.
fn written_kind(node: &Node) -> Option<Kind> {
    let Data::Scalar(Value::Text(name)) = &node.at("kind")?.data else { return None };
    Kind::ALL.into_iter().find(|kind| kind.as_str() == name.as_str())
}

/// What others may call a document whose key is not known to be one: the key as written, and the one that was probably meant.
fn names(node: &Node) -> Vec<Box<str>> {
    let text = match node.at("key").map(|key| &key.data) {
        Some(Data::Scalar(value)) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        _ => return Vec::new(),
    };
    let likely = likely_key(&text).filter(|likely| *likely != text);
    [Some(text), likely].into_iter().flatten().filter(|name| name != UNKNOWN).map(Into::into).collect()
}

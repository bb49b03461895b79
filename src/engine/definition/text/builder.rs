//! The tree from the parser's events, on a stack of its own.

use std::collections::BTreeMap;

use saphyr_parser::{Event, ScalarStyle, Tag};

use super::scalar::{is_doubtful, resolve};
use super::{Data, Entry, MAX_ALIASED_NODES, MAX_DEPTH, MAX_KEYS, Node, Place, Problems, Tree};
use crate::engine::value::Value;

/// The text goes no further: the problem was reported.
pub(super) struct Stop;

/// A map or list whose end was not seen yet.
struct Open {
    place: Place,
    anchor: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<Key>, broken: bool },
}

/// A key that waits for its value; without text it was reported and the value is dropped.
struct Key {
    text: Option<Box<str>>,
    place: Place,
}

pub(super) struct Builder<'p> {
    problems: &'p Problems,
    pub(super) trees: Vec<Tree>,
    /// How many errors, and how many trees, there were when the document began.
    errors: usize,
    began: usize,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    aliased: usize,
}

impl<'p> Builder<'p> {
    pub(super) fn new(problems: &'p Problems) -> Builder<'p> {
        let errors = problems.errors();
        Builder { problems, trees: Vec::new(), errors, began: 0, open: Vec::new(), anchors: BTreeMap::new(), aliased: 0 }
    }

    pub(super) fn file(&self) -> &str {
        self.problems.file()
    }

    /// Where the innermost map or list begins whose end was not seen yet.
    pub(super) fn innermost(&self) -> Option<Place> {
        self.open.last().map(|open| open.place)
    }

    /// Ends the document that is being read, of which nothing more comes: what of it is whole is kept. If it looks whole, it is not
    /// when the error was within it.
    pub(super) fn cut(&mut self, within: bool) {
        let looks_whole = self.open.is_empty() && self.began < self.trees.len();
        if looks_whole {
            if let Some(tree) = self.trees.last_mut().filter(|_| within) {
                (tree.sound, tree.cut) = (false, true);
            }
            return;
        }
        let mut open = self.open.drain(..);
        let mut trees = Vec::new();
        let mut level = open.next();
        if let Some(Open { place, inside: Inside::List(items), .. }) = level {
            trees.push(Tree { root: Node { place, data: Data::List(items) }, sound: false, cut: false });
            level = open.next();
        }
        let (place, data) = match level {
            Some(Open { place, inside: Inside::Map { entries, .. }, .. }) => (place, Data::Map(entries)),
            Some(Open { place, .. }) => (place, Data::Broken),
            None => (Place::START, Data::Broken),
        };
        trees.push(Tree { root: Node { place, data }, sound: false, cut: true });
        drop(open);
        self.trees.append(&mut trees);
    }

    pub(super) fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Stop> {
        match event {
            Event::DocumentStart(_) => {
                self.anchors.clear();
                self.errors = self.problems.errors();
                self.began = self.trees.len();
            }
            Event::Scalar(text, style, anchor, tag) => {
                // A key is its text, whatever it would stand for as a value.
                let is_key = self.waiting_key().is_some();
                let data = if is_key { Data::Scalar(Value::text(&*text)) } else { self.scalar(&text, style, tag.as_deref(), place) };
                let node = Node { place, data };
                self.remember(anchor, &node);
                match self.waiting_key() {
                    Some(key) => *key = Some(Key { text: Some(text.into()), place }),
                    None => self.put(node)?,
                }
            }
            Event::Alias(anchor) => self.alias(anchor, place)?,
            Event::SequenceStart(anchor, tag) => self.start(place, anchor, tag.as_deref(), Inside::List(Vec::new()))?,
            Event::MappingStart(anchor, tag) => {
                self.start(place, anchor, tag.as_deref(), Inside::Map { entries: Vec::new(), key: None, broken: false })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn start(&mut self, place: Place, anchor: usize, tag: Option<&Tag>, inside: Inside) -> Result<(), Stop> {
        if self.open.len() == MAX_DEPTH {
            self.problems.error(place, format!("maps and lists nest deeper than {MAX_DEPTH} levels"));
            return Err(Stop);
        }
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.refuse_tag(tag, place);
        }
        self.open.push(Open { place, anchor, inside });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(Open { place, anchor, inside }) = self.open.pop() else { return Ok(()) };
        let data = match inside {
            Inside::List(items) => Data::List(items),
            Inside::Map { broken: true, .. } => Data::Broken,
            Inside::Map { entries, .. } => Data::Map(entries),
        };
        let node = Node { place, data };
        if self.waiting_key().is_none() {
            self.remember(anchor, &node);
            return self.put(node);
        }
        self.report_key(&node);
        if let Some(Open { inside: Inside::Map { key, broken, .. }, .. }) = self.open.last_mut() {
            *key = Some(Key { text: None, place });
            *broken = true;
        }
        Ok(())
    }

    /// Where the innermost open map waits for a key.
    fn waiting_key(&mut self) -> Option<&mut Option<Key>> {
        match self.open.last_mut() {
            Some(Open { inside: Inside::Map { key, .. }, .. }) if key.is_none() => Some(key),
            _ => None,
        }
    }

    /// A map or list where a key should be. By far the most frequent cause is a template without quotes.
    fn report_key(&self, node: &Node) {
        // The `{{`: the outer brace stands right before the inner one, and that is where the value begins.
        let outer = self.open.last().map_or(node.place, |open| open.place);
        match &node.data {
            Data::Map(_) => self.problems.error_with_help(
                outer,
                "a template without quotes: YAML reads `{{ ... }}` as a map",
                "put the whole value in quotes: \"{{ ... }}\"",
            ),
            Data::Broken => {}
            _ => self.problems.error(node.place, format!("a key must be text, not {}", node.kind())),
        }
    }

    /// Gives a finished value to whatever it stands in.
    fn put(&mut self, node: Node) -> Result<(), Stop> {
        match self.open.last_mut().map(|open| &mut open.inside) {
            None if node.is_null() => {}
            None => self.trees.push(Tree { root: node, sound: self.problems.errors() == self.errors, cut: false }),
            Some(Inside::List(items)) => items.push(node),
            Some(Inside::Map { entries, key, .. }) => {
                let Some(Key { text: Some(text), place }) = key.take() else { return Ok(()) };
                if let Some(first) = entries.iter().find(|entry| entry.key == text) {
                    let help = format!("the first is on line {}", first.place.line);
                    self.problems.error_with_help(place, format!("the key `{text}` comes twice"), help);
                } else if entries.len() == MAX_KEYS {
                    self.problems.error(place, format!("a map has at most {MAX_KEYS} keys"));
                    return Err(Stop);
                } else {
                    entries.push(Entry { key: text, place, value: node });
                }
            }
        }
        Ok(())
    }

    fn remember(&mut self, anchor: usize, node: &Node) {
        // The parser numbers anchors from 1; 0 is none.
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Stop> {
        let Some(known) = self.anchors.get(&anchor) else {
            self.problems.error(place, "this alias stands for nothing that was written before it in this document");
            return Err(Stop);
        };
        self.aliased += known.size();
        if self.aliased > MAX_ALIASED_NODES {
            self.problems.error(place, format!("the aliases of this text copy more than {MAX_ALIASED_NODES} values"));
            return Err(Stop);
        }
        if self.open.len() + known.depth() > MAX_DEPTH {
            self.problems.error(place, format!("maps and lists nest deeper than {MAX_DEPTH} levels"));
            return Err(Stop);
        }
        // Its own places stay: that is where a problem in it is mended.
        let node = known.clone();
        match self.waiting_key() {
            None => self.put(node)?,
            Some(key) => {
                let text = match &node.data {
                    Data::Scalar(Value::Text(text)) => Some(text.as_str().into()),
                    _ => None,
                };
                let readable = text.is_some();
                *key = Some(Key { text, place });
                if !readable {
                    self.problems.error(place, "a key must be text");
                }
            }
        }
        Ok(())
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, place: Place) -> Data {
        match tag {
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => return Data::Scalar(Value::text(text)),
            // `!` alone says: not to be interpreted.
            Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => return Data::Scalar(Value::text(text)),
            Some(tag) if !tag.is_yaml_core_schema() => {
                self.refuse_tag(tag, place);
                return Data::Broken;
            }
            _ => {}
        }
        if style != ScalarStyle::Plain {
            return Data::Scalar(Value::text(text));
        }
        match resolve(text) {
            Ok(value) => {
                if is_doubtful(text, &value) {
                    self.problems.doubt(place, text);
                }
                Data::Scalar(value)
            }
            Err(why) => {
                self.problems.error_with_help(place, why, format!("if it is text, put it in quotes: \"{text}\""));
                Data::Broken
            }
        }
    }

    fn refuse_tag(&self, tag: &Tag, place: Place) {
        self.problems.error_with_help(place, format!("tags such as `{tag}` are not known here"), "remove it, or put the text in quotes");
    }
}

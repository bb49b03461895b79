//! Reading a map key by key, with types: what is absent is `None`, what is wrong is reported with its place and is `None`, and
//! what nobody asked for is reported at the end with the key that was probably meant. Definitions and settings share it.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::duration_text;
use super::problem::{Place, Problems, meant, nearest};
use super::shape::{Shape, Type};
use super::text::{Data, Entry, Node, truth_meant};
use crate::engine::time::Timestamp;
use crate::engine::value::Value;

/// No span in a definition is longer: ten years.
pub const MAX_SPAN: Duration = Duration::from_secs(3650 * 86_400);

/// Reads one map. Every key that is asked for counts as known; [`Reader::close`] reports the others.
#[derive(Debug)]
pub struct Reader<'a> {
    /// For messages: `a campaign`, `` `webhook` ``.
    what: String,
    pub place: Place,
    entries: &'a [Entry],
    known: Vec<&'static str>,
    /// Definitions have one: then the keys that are asked for are those of the shape.
    shape: Option<&'static Shape>,
    pub problems: &'a Problems,
}

impl<'a> Reader<'a> {
    /// `None` when the node is no map, which is reported.
    pub fn open(node: &'a Node, what: impl Into<String>, problems: &'a Problems) -> Option<Reader<'a>> {
        let what = what.into();
        let entries = map(node, &what, problems)?;
        Some(Reader { what, place: node.place, entries, known: Vec::new(), shape: None, problems })
    }

    /// A map of the language.
    pub fn of(node: &'a Node, shape: &'static Shape, problems: &'a Problems) -> Option<Reader<'a>> {
        Reader::of_named(node, shape, shape.what, problems)
    }

    /// A map of the language that messages call otherwise than its shape does.
    pub fn of_named(node: &'a Node, shape: &'static Shape, what: &str, problems: &'a Problems) -> Option<Reader<'a>> {
        let entries = map(node, what, problems)?;
        Some(Reader { what: what.to_owned(), place: node.place, entries, known: Vec::new(), shape: Some(shape), problems })
    }

    /// The value under a key. Null counts as absent.
    pub fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.entry(key).map(|entry| &entry.value).filter(|node| !node.is_null())
    }

    /// Key and value as written, null too.
    pub fn entry(&mut self, key: &'static str) -> Option<&'a Entry> {
        debug_assert!(self.shape.is_none_or(|shape| shape.key(key).is_some()), "{} has no key `{key}`", self.what);
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.entries.iter().find(|entry| &*entry.key == key)
    }

    /// The value under a key that must be there.
    pub fn require(&mut self, key: &'static str, help: &str) -> Option<&'a Node> {
        let entry = self.entry(key);
        match entry.map(|entry| &entry.value) {
            Some(node) if !node.is_null() => Some(node),
            _ => {
                let place = entry.map_or(self.place, |entry| entry.place);
                self.problems.error_with_help(place, format!("{} needs `{key}`", self.what), help);
                None
            }
        }
    }

    pub fn text(&mut self, key: &'static str) -> Option<&'a str> {
        self.get(key).and_then(|node| text(node, &tick(key), self.problems))
    }

    /// Text that is not empty.
    pub fn name(&mut self, key: &'static str) -> Option<&'a str> {
        self.get(key).and_then(|node| name(node, &tick(key), self.problems))
    }

    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.agree(key, |value| matches!(value, Type::Boolean));
        self.get(key).and_then(|node| boolean(node, &tick(key), self.problems))
    }

    pub fn integer(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        self.agree(key, |value| matches!(value, Type::Integer(least, most) if range == (*least..=*most)));
        self.get(key).and_then(|node| integer(node, &tick(key), range, self.problems))
    }

    pub fn duration(&mut self, key: &'static str, range: RangeInclusive<Duration>) -> Option<Duration> {
        self.agree(key, |value| matches!(value, Type::Duration));
        self.get(key).and_then(|node| duration(node, &tick(key), range, self.problems))
    }

    pub fn instant(&mut self, key: &'static str) -> Option<Timestamp> {
        self.agree(key, |value| matches!(value, Type::Instant));
        self.get(key).and_then(|node| instant(node, &tick(key), self.problems))
    }

    pub fn list(&mut self, key: &'static str) -> Option<&'a [Node]> {
        self.agree(key, |value| matches!(value, Type::List(..)));
        self.get(key).and_then(|node| list(node, &tick(key), self.problems))
    }

    /// A list of texts, none of them empty.
    pub fn names(&mut self, key: &'static str) -> Option<Vec<(&'a str, Place)>> {
        let items = self.list(key)?;
        let what = format!("an item of `{key}`");
        items.iter().map(|item| name(item, &what, self.problems).map(|text| (text, item.place))).collect()
    }

    /// A map of the language under a key.
    pub fn shaped(&mut self, key: &'static str, shape: &'static Shape) -> Option<Reader<'a>> {
        self.agree(key, |value| matches!(value, Type::Map(known) if known.id == shape.id));
        self.get(key).and_then(|node| Reader::of(node, shape, self.problems))
    }

    pub fn map(&mut self, key: &'static str) -> Option<Reader<'a>> {
        self.get(key).and_then(|node| Reader::open(node, tick(key), self.problems))
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&'static str, T)]) -> Option<T> {
        self.agree(key, |value| matches!(value, Type::Choice(names) if names.iter().eq(choices.iter().map(|(name, _)| name))));
        self.get(key).and_then(|node| choice(node, &tick(key), choices, self.problems))
    }

    /// The entries that are there under these keys, in the order of the text. The keys count as known.
    pub fn among(&mut self, keys: &[&'static str]) -> Vec<&'a Entry> {
        self.known.extend(keys);
        self.entries.iter().filter(|entry| keys.contains(&&*entry.key)).collect()
    }

    /// Reports every key that nobody asked for.
    pub fn close(self) {
        debug_assert!(
            self.shape.is_none_or(|shape| shape.names().all(|name| self.known.contains(&name))),
            "{}: of {:?} only {:?} are read",
            self.what,
            self.shape.map(|shape| shape.names().collect::<Vec<_>>()),
            self.known
        );
        let known = self.shape.map_or_else(|| self.known.clone(), |shape| shape.names().collect());
        for entry in self.entries.iter().filter(|entry| !known.contains(&&*entry.key)) {
            let message = format!("unknown key `{}` in {}", entry.key, self.what);
            let help = match nearest(&entry.key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => "it has none".to_owned(),
                None => format!("known keys: {}", known.join(", ")),
            };
            self.problems.error_with_help(entry.place, message, help);
        }
    }

    /// A key is read as its shape says.
    fn agree(&self, key: &str, fits: impl Fn(&Type) -> bool) {
        let known = || self.shape.and_then(|shape| shape.key(key));
        debug_assert!(known().is_none_or(|known| fits(&known.value)), "`{key}` of {} is read otherwise than it is described", self.what);
    }
}

pub fn map<'a>(node: &'a Node, what: &str, problems: &Problems) -> Option<&'a [Entry]> {
    match &node.data {
        Data::Map(entries) => Some(entries),
        _ => wrong(node, what, "a map", None, problems),
    }
}

pub fn list<'a>(node: &'a Node, what: &str, problems: &Problems) -> Option<&'a [Node]> {
    match &node.data {
        Data::List(items) => Some(items),
        Data::Scalar(value) => wrong(node, what, "a list", Some(format!("write it in brackets: [{value}]")), problems),
        _ => wrong(node, what, "a list", None, problems),
    }
}

pub fn text<'a>(node: &'a Node, what: &str, problems: &Problems) -> Option<&'a str> {
    match &node.data {
        Data::Scalar(Value::Text(text)) => Some(text),
        // As it was written is not known any more: 1.10 became 1.1.
        Data::Scalar(Value::Float(_)) => wrong(node, what, "text", Some("put it in quotes".into()), problems),
        Data::Scalar(value) => wrong(node, what, "text", Some(format!("put it in quotes: \"{value}\"")), problems),
        _ => wrong(node, what, "text", None, problems),
    }
}

/// Text that is not empty.
pub fn name<'a>(node: &'a Node, what: &str, problems: &Problems) -> Option<&'a str> {
    let text = text(node, what, problems)?;
    if text.trim().is_empty() {
        problems.error(node.place, format!("{what} must not be empty"));
        return None;
    }
    Some(text)
}

pub fn boolean(node: &Node, what: &str, problems: &Problems) -> Option<bool> {
    match &node.data {
        Data::Scalar(Value::Bool(truth)) => Some(*truth),
        Data::Scalar(Value::Text(word)) if truth_meant(word).is_some() => {
            let help = format!("write {}: YAML 1.2 reads {word} as text", truth_meant(word).unwrap_or_default());
            wrong(node, what, "true or false", Some(help), problems)
        }
        _ => wrong(node, what, "true or false", None, problems),
    }
}

pub fn integer(node: &Node, what: &str, range: RangeInclusive<i64>, problems: &Problems) -> Option<i64> {
    match &node.data {
        Data::Scalar(Value::Int(number)) if range.contains(number) => Some(*number),
        Data::Scalar(Value::Int(number)) => {
            problems.error(node.place, format!("{what} must be {}, not {number}", within(&range)));
            None
        }
        Data::Scalar(Value::Float(number)) => {
            problems.error(node.place, format!("{what} must be a whole number, not {number}"));
            None
        }
        _ => wrong(node, what, "a whole number", None, problems),
    }
}

/// A span in the contract's notation, within bounds.
pub fn duration(node: &Node, what: &str, range: RangeInclusive<Duration>, problems: &Problems) -> Option<Duration> {
    let units = "units are s, m, h, d, w and mo";
    let text = match &node.data {
        Data::Scalar(Value::Text(text)) => text,
        Data::Scalar(value @ Value::Int(_)) => {
            return wrong(
                node,
                what,
                "a duration with its unit",
                Some(format!("write {value}s, {value}m, {value}h or {value}d")),
                problems,
            );
        }
        _ => return wrong(node, what, "a duration such as 30m or 7d", None, problems),
    };
    let Some(span) = duration_text::parse(text) else {
        problems.error_with_help(node.place, format!("{what} must be a duration such as 30m or 7d, not `{text}`"), units);
        return None;
    };
    if !range.contains(&span) {
        let (least, most) = (duration_text::format(*range.start()), duration_text::format(*range.end()));
        problems.error(node.place, format!("{what} must be from {least} to {most}, not {text}"));
        return None;
    }
    Some(span)
}

/// An instant with its offset.
pub fn instant(node: &Node, what: &str, problems: &Problems) -> Option<Timestamp> {
    let text = text(node, what, problems)?;
    let instant = Timestamp::parse(text);
    if instant.is_none() {
        let message = format!("{what} must be an instant with its offset, not `{text}`");
        problems.error_with_help(node.place, message, "such as 2026-11-01T09:00:00+09:00 or 2026-11-01T00:00:00Z");
    }
    instant
}

/// Any number, whole or not.
pub fn number(node: &Node, what: &str, problems: &Problems) -> Option<f64> {
    match &node.data {
        // Beyond 2^53 a count is no longer exact, and no count or sum in a definition is that large.
        Data::Scalar(Value::Int(number)) => Some(*number as f64),
        Data::Scalar(Value::Unsigned(number)) => Some(*number as f64),
        Data::Scalar(Value::Float(number)) => Some(*number),
        Data::Scalar(Value::Text(text)) if text.parse::<f64>().is_ok() => {
            wrong(node, what, "a number", Some(format!("remove the quotes: {text}")), problems)
        }
        _ => wrong(node, what, "a number", None, problems),
    }
}

pub fn choice<T: Copy>(node: &Node, what: &str, choices: &[(&'static str, T)], problems: &Problems) -> Option<T> {
    let word = text(node, what, problems)?;
    let chosen = choices.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
    if chosen.is_none() {
        let help = meant(word, "one of", choices.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        problems.error_with_help(node.place, format!("{what} cannot be `{word}`"), help);
    }
    chosen
}

/// Reports a value of the wrong kind; a broken one was reported before.
pub fn wrong<T>(node: &Node, what: &str, wanted: &str, help: Option<String>, problems: &Problems) -> Option<T> {
    let message = format!("{what} must be {wanted}, not {}", node.kind());
    match (&node.data, help) {
        (Data::Broken, _) => {}
        (_, Some(help)) => problems.error_with_help(node.place, message, help),
        (_, None) => problems.error(node.place, message),
    }
    None
}

fn within(range: &RangeInclusive<i64>) -> String {
    match (*range.start(), *range.end()) {
        (i64::MIN, most) => format!("at most {most}"),
        (least, i64::MAX) => format!("at least {least}"),
        (least, most) => format!("from {least} to {most}"),
    }
}

fn tick(key: &str) -> String {
    format!("`{key}`")
}

#[cfg(test)]
mod tests {
    use super::super::text::documents;
    use super::*;

    /// Reads `text` as a map with `read`, and shows what came of it and every problem.
    fn check<T: std::fmt::Debug>(text: &str, read: impl Fn(&mut Reader<'_>) -> T, expect: &str, problem: &str) {
        let problems = Problems::of("t");
        let trees = documents(text, &problems);
        let mut reader = Reader::open(&trees[0].root, "settings", &problems).expect("a map");
        let got = format!("{:?}", read(&mut reader));
        reader.close();
        assert_eq!(got, expect, "{text}");
        let shown: Vec<String> = problems.into_sorted().iter().map(ToString::to_string).collect();
        assert_eq!(shown.join("\n"), problem, "{text}");
    }

    #[test]
    fn values_are_read_by_type() {
        check("a: x", |r| r.text("a").map(str::to_owned), "Some(\"x\")", "");
        check("a:", |r| r.text("a").map(str::to_owned), "None", "");
        check(
            "a: 1",
            |r| r.text("a").map(str::to_owned),
            "None",
            "t:1:4: error: `a` must be text, not a number\n  help: put it in quotes: \"1\"",
        );
        check("a: ' '", |r| r.name("a").map(str::to_owned), "None", "t:1:4: error: `a` must not be empty");
        check("a: true", |r| r.boolean("a"), "Some(true)", "");
        check(
            "a: yes",
            |r| r.boolean("a"),
            "None",
            "t:1:4: error: `a` must be true or false, not text\n  help: write true: YAML 1.2 reads yes as text",
        );
        check("a: 3", |r| r.integer("a", 1..=9), "Some(3)", "");
        check("a: 0", |r| r.integer("a", 1..=i64::MAX), "None", "t:1:4: error: `a` must be at least 1, not 0");
        check("a: 10", |r| r.integer("a", 1..=9), "None", "t:1:4: error: `a` must be from 1 to 9, not 10");
        check("a: 1.5", |r| r.integer("a", 1..=9), "None", "t:1:4: error: `a` must be a whole number, not 1.5");
        check("a: [x, y]", |r| r.names("a").map(|names| names.len()), "Some(2)", "");
        check(
            "a: x",
            |r| r.list("a").is_some(),
            "false",
            "t:1:4: error: `a` must be a list, not text\n  help: write it in brackets: [\"x\"]",
        );
        check("a: {b: 1}", |r| r.map("a").and_then(|mut map| map.integer("b", 0..=1)), "Some(1)", "");
        check("a: 1", |r| r.map("a").is_some(), "false", "t:1:4: error: `a` must be a map, not a number");
        check("a: 2026-11-01T00:00:00Z", |r| r.instant("a").map(|at| at.0), "Some(1793491200000)", "");
        check(
            "a: 2026-11-01",
            |r| r.instant("a"),
            "None",
            "t:1:4: error: `a` must be an instant with its offset, not `2026-11-01`\n  help: such as 2026-11-01T09:00:00+09:00 or 2026-11-01T00:00:00Z",
        );
        check("a: on", |r| r.choice("a", &[("on", 1), ("off", 2)]), "Some(1)", "");
        check("a: of", |r| r.choice("a", &[("on", 1), ("off", 2)]), "None", "t:1:4: error: `a` cannot be `of`\n  help: did you mean `on`?");
    }

    #[test]
    fn durations_need_a_unit_and_have_bounds() {
        let range = || Duration::from_secs(1)..=Duration::from_secs(90);
        check("a: 3s", |r| r.duration("a", range()), "Some(3s)", "");
        check("a: 2m", |r| r.duration("a", range()), "None", "t:1:4: error: `a` must be from 1s to 90s, not 2m");
        check(
            "a: 30",
            |r| r.duration("a", range()),
            "None",
            "t:1:4: error: `a` must be a duration with its unit, not a number\n  help: write 30s, 30m, 30h or 30d",
        );
        check(
            "a: 30min",
            |r| r.duration("a", range()),
            "None",
            "t:1:4: error: `a` must be a duration such as 30m or 7d, not `30min`\n  help: units are s, m, h, d, w and mo",
        );
    }

    #[test]
    fn unknown_keys_are_named_with_the_nearest() {
        check(
            "titel: x",
            |r| r.text("title").is_some(),
            "false",
            "t:1:1: error: unknown key `titel` in settings\n  help: did you mean `title`?",
        );
        check(
            "zebra: x",
            |r| r.text("title").is_some(),
            "false",
            "t:1:1: error: unknown key `zebra` in settings\n  help: known keys: title",
        );
        check("a:\n", |r| r.require("a", "say it").is_some(), "false", "t:1:1: error: settings needs `a`\n  help: say it");
    }
}

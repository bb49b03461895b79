//! YAML 1.2 or JSON text in, a tree of values out in which every key and value knows its line and column. What the tree
//! means is not known here: definitions, settings and scenario files are all read through this.
//!
//! The tree is built from the parser's events without recursion, and everything that could grow beyond the text's own size
//! is bounded, so that no text can exhaust memory or stack. One problem in a document does not hide those in the next.

mod builder;
mod scalar;

use saphyr_parser::{Event, Parser, ScanError, Span};

use super::problem::{Place, Problem, Problems};
use crate::engine::value::Value;
use builder::{Builder, Stop};

pub use scalar::truth_meant;

/// How deep maps and lists may nest: as deep as the events that they are compared with.
pub const MAX_DEPTH: usize = 64;

/// How many keys one map may have: each new one is compared with all before it.
pub const MAX_KEYS: usize = 10_000;

/// How many nodes the aliases (`*name`) of one text may copy, all together.
pub const MAX_ALIASED_NODES: usize = 10_000;

/// One document.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    pub root: Node,
    /// Whether all of it could be read. If not, that was reported; the rest can still be looked into for more problems.
    pub sound: bool,
    /// Whether it ends where an error of syntax stands: what is not in it may come after.
    pub cut: bool,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub place: Place,
    pub data: Data,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Anything but a list or an object.
    Scalar(Value),
    List(Vec<Node>),
    /// In the order of the text; no key comes twice.
    Map(Vec<Entry>),
    /// Could not be read, which was reported: whoever meets it stays silent.
    Broken,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: Box<str>,
    pub place: Place,
    pub value: Node,
}

impl Node {
    /// A tree without places, from a value that was read before.
    pub fn from_value(value: &Value) -> Node {
        let data = match value {
            Value::List(items) => Data::List(items.iter().map(Node::from_value).collect()),
            Value::Object(object) => Data::Map(
                object.iter().map(|(key, value)| Entry { key: key.into(), place: Place::START, value: Node::from_value(value) }).collect(),
            ),
            scalar => Data::Scalar(scalar.clone()),
        };
        Node { place: Place::START, data }
    }

    /// The bare value; what is broken is null.
    pub fn to_value(&self) -> Value {
        match &self.data {
            Data::Scalar(value) => value.clone(),
            Data::List(items) => Value::List(items.iter().map(Node::to_value).collect()),
            Data::Map(entries) => Value::Object(entries.iter().map(|entry| ((&*entry.key).into(), entry.value.to_value())).collect()),
            Data::Broken => Value::Null,
        }
    }

    /// The value under a key of a map.
    pub fn at(&self, key: &str) -> Option<&Node> {
        match &self.data {
            Data::Map(entries) => entries.iter().find(|entry| &*entry.key == key).map(|entry| &entry.value),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.data, Data::Scalar(Value::Null))
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.data {
            Data::Scalar(value) => value.kind(),
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
            Data::Broken => "broken",
        }
    }

    /// Nodes in this tree.
    fn size(&self) -> usize {
        match &self.data {
            Data::Scalar(_) | Data::Broken => 1,
            Data::List(items) => 1 + items.iter().map(Node::size).sum::<usize>(),
            Data::Map(entries) => 1 + entries.iter().map(|entry| entry.value.size()).sum::<usize>(),
        }
    }

    /// Levels of maps and lists in this tree.
    fn depth(&self) -> usize {
        match &self.data {
            Data::Scalar(_) | Data::Broken => 0,
            Data::List(items) => 1 + items.iter().map(Node::depth).max().unwrap_or(0),
            Data::Map(entries) => 1 + entries.iter().map(|entry| entry.value.depth()).max().unwrap_or(0),
        }
    }
}

/// Reads all documents of a text; empty ones are left out, and those that an error of syntax ends.
pub fn documents(text: &str, problems: &Problems) -> Vec<Tree> {
    pieces(text, problems).into_iter().filter(|tree| !tree.cut).collect()
}

/// The same, with what could be read of those that an error of syntax ends. What follows one is passed over up to the next `---`.
pub fn pieces(text: &str, problems: &Problems) -> Vec<Tree> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = scalar::join_surrogates(text);
    let mut builder = Builder::new(problems);
    let (mut rest, mut lines_before, mut told) = (&*text, 0, None);
    while let Err(Stopped { started, problem }) = events(rest, lines_before, &mut builder) {
        let next = next_document(rest, started.saturating_sub(lines_before));
        let last_line = next.map_or(u32::MAX, |(_, lines)| lines_before.saturating_add(lines));
        // Where nothing is open, it may be about the next document, and be met a second time there.
        builder.cut(problem.as_ref().is_none_or(|problem| problem.place.line <= last_line));
        if let Some(problem) = problem.filter(|problem| told.replace(problem.place) != Some(problem.place)) {
            problems.push(problem);
        }
        let Some((after, lines)) = next else { break };
        (rest, lines_before) = (after, lines_before.saturating_add(lines));
    }
    builder.trees
}

/// Reading goes no further.
struct Stopped {
    /// The line on which the document began.
    started: u32,
    /// What is not reported yet.
    problem: Option<Problem>,
}

/// Gives the builder all that the parser finds in a text before which there are some lines.
fn events(text: &str, lines_before: u32, builder: &mut Builder<'_>) -> Result<(), Stopped> {
    let mut parser = Parser::new_from_str(text);
    let mut started = lines_before.saturating_add(1);
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let mut problem = syntax_problem(&error, text, builder.file());
                problem.place.line = problem.place.line.saturating_add(lines_before);
                problem.help = problem.help.or_else(|| unclosed(builder.innermost()?, text, lines_before));
                return Err(Stopped { started, problem: Some(problem) });
            }
        };
        let mut place = place(&span);
        place.line = place.line.saturating_add(lines_before);
        if let Event::DocumentStart(_) = event {
            started = place.line;
        }
        builder.take(event, place).map_err(|Stop| Stopped { started, problem: None })?;
    }
    Ok(())
}

/// The text from the first `---` after so many lines on, and how many lines are before it. Never the text's first line.
fn next_document(text: &str, after: u32) -> Option<(&str, u32)> {
    let mut at = 0;
    for (line, number) in text.split_inclusive('\n').zip(0..) {
        // YAML 1.2, section 9.1.2: at the beginning of a line it cannot be anything else, not even within quotes.
        let begins = line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if begins && number >= after.max(1) {
            return Some((&text[at..], number));
        }
        at += line.len();
    }
    None
}

/// A brace or bracket that is open where an error of syntax stands.
fn unclosed(Place { line, column }: Place, text: &str, lines_before: u32) -> Option<String> {
    let at = |number: u32| usize::try_from(number.saturating_sub(1)).ok();
    let sign = text.lines().nth(at(line.saturating_sub(lines_before))?)?.chars().nth(at(column)?)?;
    "{[".contains(sign).then(|| format!("the `{sign}` of line {line}, column {column} is not closed, or a comma is missing after it"))
}

fn syntax_problem(error: &ScanError, text: &str, file: &str) -> Problem {
    let marker = error.marker();
    let place = Place { line: number(marker.line()).max(1), column: number(marker.col()).saturating_add(1) };
    let problem = Problem::error(file, place, format!("not valid YAML: {}", error.info()));
    // The parser often notices a line late.
    let nearby = || text.lines().skip(marker.line().saturating_sub(2)).take(2);
    if nearby().any(|line| line.contains("{{")) {
        return problem.help("put a value with {{ }} in quotes: braces and `: ` have a meaning of their own in YAML");
    }
    if nearby().any(|line| line.trim_start_matches(' ').starts_with('\t')) {
        return problem.help("indent with spaces: YAML does not allow tabs");
    }
    problem
}

fn place(span: &Span) -> Place {
    Place { line: number(span.start.line()).max(1), column: number(span.start.col()).saturating_add(1) }
}

fn number(from: usize) -> u32 {
    u32::try_from(from).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> (Vec<Value>, Vec<String>) {
        let problems = Problems::of("t");
        let values = documents(text, &problems).iter().map(|tree| tree.root.to_value()).collect();
        (values, problems.into_sorted().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn text_becomes_values() {
        let check = |text: &str, expect: &[&str]| {
            let (values, problems) = read(text);
            assert_eq!(problems, [""; 0], "{text}");
            assert_eq!(values.iter().map(ToString::to_string).collect::<Vec<_>>(), expect, "{text}");
        };
        check("a: 1\nb: [x, 2.5]", &[r#"{"a":1,"b":["x",2.5]}"#]);
        check("{\"a\": 1,\n\t\"b\": [\"x\", null]}", &[r#"{"a":1,"b":["x",null]}"#]);
        check("a: 1\n---\n# nothing\n---\nb: 2\n", &[r#"{"a":1}"#, r#"{"b":2}"#]);
        check("---\n", &[]);
        check("", &[]);
        check("\u{feff}a: 1", &[r#"{"a":1}"#]);
        check("a: no\nb: on\nc: 09:00\nd: 2026-11-01", &[r#"{"a":"no","b":"on","c":"09:00","d":"2026-11-01"}"#]);
        check("a: \"1\"\nb: '2'\nc: !!str 3", &[r#"{"a":"1","b":"2","c":"3"}"#]);
        check("a: 0x1F\nb: 0o17\nc: .5\nd: -3\ne: 1e3", &[r#"{"a":31,"b":15,"c":0.5,"d":-3,"e":1000.0}"#]);
        check("a: ~\nb:\nc: null", &[r#"{"a":null,"b":null,"c":null}"#]);
        check("a: 18446744073709551615", &[r#"{"a":18446744073709551615}"#]);
        check("a: 1.2.3\nb: 10.0.0.1\nc: 1_000\nd: +\ne: '-'", &[r#"{"a":"1.2.3","b":"10.0.0.1","c":"1_000","d":"+","e":"-"}"#]);
        check("010: a\n+1: b", &[r#"{"010":"a","+1":"b"}"#]);
        check("&k a: 1\nb: *k", &[r#"{"a":1,"b":"a"}"#]);
        check("1: a\ntrue: b", &[r#"{"1":"a","true":"b"}"#]);
        check("a: &x {k: 1}\nb: *x", &[r#"{"a":{"k":1},"b":{"k":1}}"#]);
        check("a: |\n  one\n  two\nb: >\n  one\n  two\n", &[r#"{"a":"one\ntwo\n","b":"one two\n"}"#]);
        check(r#"{"a": "\ud83d\ude00 \\ud83d\\ude00 \/ \u00e9"}"#, &[r#"{"a":"😀 \\ud83d\\ude00 / é"}"#]);
    }

    #[test]
    fn problems_of_text_have_their_place() {
        let check = |text: &str, expect: &str| assert_eq!(read(text).1.join("\n"), expect, "{text}");
        check("a: 1\nb: 2\na: 3", "t:3:1: error: the key `a` comes twice\n  help: the first is on line 1");
        check(
            "a:\n  b: {{ user.id }}",
            "t:2:6: error: a template without quotes: YAML reads `{{ ... }}` as a map\n  help: put the whole value in quotes: \"{{ ... }}\"",
        );
        check(
            "a: {b: {{ user.name | default: 'x' }}, c: 1}",
            "t:1:8: error: a template without quotes: YAML reads `{{ ... }}` as a map\n  help: put the whole value in quotes: \"{{ ... }}\"",
        );
        check("? [1]\n: 2", "t:1:3: error: a key must be text, not a list");
        check(
            "to: +821012345678",
            "t:1:5: error: `+821012345678` without quotes is a number and would lose its sign or leading zeros\n  help: if it is text, put it in quotes: \"+821012345678\"",
        );
        check(
            "zip: 04524",
            "t:1:6: error: `04524` without quotes is a number and would lose its sign or leading zeros\n  help: if it is text, put it in quotes: \"04524\"",
        );
        check("a: .nan", "t:1:4: error: `.nan` is a number that JSON cannot say\n  help: if it is text, put it in quotes: \".nan\"");
        check("a: 1e999", "t:1:4: error: `1e999` is too large for a number\n  help: if it is text, put it in quotes: \"1e999\"");
        check("a: !secret x", "t:1:4: error: tags such as `!secret` are not known here\n  help: remove it, or put the text in quotes");
        check("a: *x", "t:1:4: error: not valid YAML: while parsing node, found unknown anchor");
        check("a: &x [*x]", "t:1:8: error: this alias stands for nothing that was written before it in this document");
        check("&x a: &y {k: 1}\n*y : 2", "t:2:1: error: a key must be text");
        check(&"[".repeat(65), "t:1:65: error: maps and lists nest deeper than 64 levels");
        check(&"- ".repeat(100_000), "t:1:129: error: maps and lists nest deeper than 64 levels");
    }

    #[test]
    fn errors_of_syntax_name_a_place_and_a_likely_cause() {
        let check = |text: &str, start: &str, end: &str| {
            let shown = read(text).1.join("\n");
            assert!(shown.starts_with(start) && shown.ends_with(end), "{text}: {shown}");
        };
        check("a: 1\n b: 2", "t:2:3: error: not valid YAML: ", "");
        check("a: [1, 2", "t:2:1: error: not valid YAML: ", "");
        check("a: \"x", "t:1:4: error: not valid YAML: ", "");
        check("a: {b: hi {{ x }}, c: 1}", "t:1:", "meaning of their own in YAML");
        check("a: hi {{ x | default: 'y' }}", "t:1:", "meaning of their own in YAML");
        check("a:\n\tb: 1", "t:2:", "YAML does not allow tabs");
    }

    #[test]
    fn one_bad_document_does_not_hide_the_others() {
        let (values, problems) = read("a: 1\na: 2\n---\nb: 1\n---\nc: [");
        assert_eq!(values.len(), 2);
        assert_eq!(problems.len(), 2);
    }

    #[test]
    fn aliases_cannot_multiply_without_bound() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let previous = format!("*a{}", level - 1);
            text.push_str(&format!("a{level}: &a{level} [{}]\n", [previous.as_str(); 10].join(", ")));
        }
        let (_, problems) = read(&text);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("copy more than 10000 values"), "{problems:?}");
    }

    #[test]
    fn a_map_has_a_bounded_number_of_keys() {
        let text: String = (0..MAX_KEYS + 5).map(|at| format!("k{at}: 1\n")).collect();
        assert_eq!(read(&text).1, ["t:10001:1: error: a map has at most 10000 keys"]);
    }

    #[test]
    fn every_key_and_value_knows_its_place() {
        let problems = Problems::of("t");
        let trees = documents("a:\n  é: [1,\n    x]\n", &problems);
        let Data::Map(outer) = &trees[0].root.data else { panic!("a map") };
        let Data::Map(inner) = &outer[0].value.data else { panic!("a map") };
        let Data::List(items) = &inner[0].value.data else { panic!("a list") };
        let places = [outer[0].place, inner[0].place, inner[0].value.place, items[0].place, items[1].place];
        assert_eq!(places.map(|place| (place.line, place.column)), [(1, 1), (2, 3), (2, 6), (2, 7), (3, 5)]);
    }

    proptest! {
        #[test]
        fn no_text_brings_the_reader_down(text in "([a-c:{}\\[\\],\"'&*!|>\\-?#%@ \n\t\\\\]|\\{\\{ x \\}\\}|---\n|: ){0,60}") {
            read(&text);
        }
    }
}

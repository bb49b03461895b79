//! The reference of the language for people, in Markdown, made of the same shapes as the schema: every map with its keys, what each may
//! be and a sentence on it.

use std::collections::VecDeque;

use super::campaign::CAMPAIGN;
use super::cohort::COHORT;
use super::destination::DESTINATION;
use super::shape::{Form, Key, Named, Shape, Type};
use super::workspace::WORKSPACE;

const HEAD: &str = "\
# The language of definitions

<!-- Made by `make schema` of the key tables that the readers use. A change here is overwritten; a test holds it to the code. -->

A file holds one or more YAML documents (or JSON). Each is a `campaign`, a `cohort`, a `destination` or the `workspace`, as its `kind` says.
An unknown key is an error that names the nearest known one. `null` is the same as leaving a key out.

[guide.md](guide.md) takes you from nothing to a first campaign, [recipes](recipes/README.md) are campaigns to copy, [templates.md](templates.md)
says what stands between `{{` and `}}`, and [scenarios.md](scenarios.md) how a team tests its campaigns.

How values are written:

| in the tables | means |
|---|---|
| text, name | text; a name is not empty |
| key | lower-case letters, digits and hyphens, at most 63, beginning with a letter or digit |
| duration | `500ms 30s 15m 12h 7d 2w 1mo`: 1d is 24 hours, 1mo is 30 days |
| instant | a time with its offset, `2026-11-01T09:00:00+09:00` |
| time of day | `\"09:00\"`, in quotes |
| scalar | text, a number, true or false |
";

/// The whole reference.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    let mut parts = Parts::default();
    for shape in [&CAMPAIGN, &COHORT, &DESTINATION, &WORKSPACE] {
        parts.wanted.push_back(Part::Map(shape));
        // What a document needs follows it; what an earlier one needed is said there.
        while let Some(part) = parts.wanted.pop_front() {
            if !parts.told.contains(&part.id()) {
                parts.told.push(part.id());
                text.push_str(&parts.tell(part, std::ptr::eq(shape, part.shape())));
            }
        }
    }
    text
}

/// Something with a heading of its own.
#[derive(Clone, Copy)]
enum Part {
    Map(&'static Shape),
    Named(&'static Named),
}

#[derive(Default)]
struct Parts {
    wanted: VecDeque<Part>,
    told: Vec<&'static str>,
}

impl Part {
    fn id(self) -> &'static str {
        match self {
            Part::Map(shape) => shape.id,
            Part::Named(named) => named.id,
        }
    }

    /// The map itself; for what is not one, any that is no document.
    fn shape(self) -> *const Shape {
        match self {
            Part::Map(shape) => shape,
            Part::Named(_) => std::ptr::null(),
        }
    }
}

impl Parts {
    fn tell(&mut self, part: Part, is_document: bool) -> String {
        let level = if is_document { "##" } else { "###" };
        let heading = format!("\n{level} {}\n\n", part.id());
        match part {
            Part::Named(named) => heading + &format!("{}\n\nIt is: {}\n", escape(named.doc), self.value(&named.value)),
            Part::Map(shape) => heading + &self.map(shape),
        }
    }

    fn map(&mut self, shape: &'static Shape) -> String {
        let mut text = format!("{}\n", escape(shape.doc));
        match shape.form {
            Form::OneKind if shape.keys.len() > 1 => text.push_str("\nExactly one of:\n"),
            Form::OneKind | Form::Fields | Form::NotOnly(_) => {}
        }
        if !shape.keys.is_empty() {
            text.push_str("\n| key | value | |\n|---|---|---|\n");
            shape.keys.iter().for_each(|key| text.push_str(&self.key(key)));
        }
        if let Some(rest) = &shape.rest {
            let what = if shape.keys.is_empty() { "Any key" } else { "Any other key" };
            text.push_str(&format!("\n{what}: {}\n", self.value(rest)));
        }
        text
    }

    fn key(&mut self, key: &'static Key) -> String {
        let required = if key.required { " (required)" } else { "" };
        format!("| `{}`{required} | {} | {} |\n", key.name, self.value(&key.value), escape(key.doc))
    }

    /// What a value may be; what has a heading of its own is told there.
    fn value(&mut self, value: &'static Type) -> String {
        match value {
            Type::Text => "text".into(),
            Type::Name => "name".into(),
            Type::DocumentKey => "key".into(),
            Type::Boolean => "true or false".into(),
            Type::Integer(least, most) => integer(*least, *most),
            Type::Number => "number".into(),
            Type::Instant => "instant".into(),
            Type::Duration => "duration".into(),
            Type::SignedDuration => "duration, also negative".into(),
            Type::TimeOfDay => "time of day".into(),
            Type::Scalar => "scalar".into(),
            Type::Anything => "anything".into(),
            Type::Choice(names) => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            Type::List(item, least, most) => format!("list of {}{}", self.value(item), bounds(*least, *most)),
            Type::Map(shape) => self.refer(Part::Map(shape)),
            Type::Named(named) => self.refer(Part::Named(named)),
            Type::AnyOf(types) => types.iter().map(|value| self.value(value)).collect::<Vec<_>>().join("; or "),
        }
    }

    fn refer(&mut self, part: Part) -> String {
        self.wanted.push_back(part);
        format!("[{0}](#{0})", part.id())
    }
}

fn integer(least: i64, most: i64) -> String {
    match (least > i64::MIN, most < i64::MAX) {
        (true, true) => format!("whole number, {least} to {most}"),
        (true, false) => format!("whole number, {least} or more"),
        (false, true) => format!("whole number, at most {most}"),
        (false, false) => "whole number".into(),
    }
}

fn bounds(least: usize, most: usize) -> String {
    match (least, most) {
        (0, usize::MAX) => String::new(),
        (least, usize::MAX) => format!(" ({least} or more)"),
        (least, most) if least == most => format!(" (exactly {least})"),
        (0, most) => format!(" (at most {most})"),
        (least, most) => format!(" ({least} to {most})"),
    }
}

/// Text in a table: a bar would end its cell, and angles outside code would be tags.
fn escape(text: &str) -> String {
    let pieces = text.split('`').enumerate();
    let escaped = pieces.map(|(at, piece)| if at % 2 == 1 { piece.into() } else { piece.replace('<', "&lt;").replace('>', "&gt;") });
    escaped.collect::<Vec<String>>().join("`").replace('|', "\\|")
}

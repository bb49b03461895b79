//! Compiled parts rendered, one after the other, into frozen text. Stops at the first thing that cannot be: too much, an abort,
//! a filter that cannot deal with its value.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use liquid_core::Renderable;
use smallvec::SmallVec;

use super::Scope;
use super::liquid::{self, Form, Run};
use super::lookup::{Found, lookup};
use super::style::{self, Style, push};
use super::text::{Output, Part};
use crate::engine::record::{Frozen, Piece};
use crate::engine::value::Value;

/// Why rendering stopped.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    Abort(String),
    TooLarge,
    Failed(String),
}

/// Renders the texts of one request.
pub struct Renderer<'s> {
    run: Run<'s>,
    scope: Scope<'s>,
    started: bool,
    missing: u32,
    /// For previews: the variables without a value.
    names: Option<Vec<String>>,
    profile_at: Option<u32>,
    /// What is left of the request's size, in bytes.
    left: usize,
}

impl<'s> Renderer<'s> {
    pub fn new(scope: Scope<'s>, limit: usize) -> Renderer<'s> {
        Renderer { run: Run::new(scope), scope, started: false, missing: 0, names: None, profile_at: None, left: limit }
    }

    /// One that notes the variables without a value, too.
    pub fn naming(scope: Scope<'s>, limit: usize) -> Renderer<'s> {
        Renderer { names: Some(Vec::new()), ..Renderer::new(scope, limit) }
    }

    /// Renders parts, one after the other. `capacity` is a guess at the size.
    pub fn render(&mut self, parts: &[Part], capacity: usize) -> Result<Frozen, Stop> {
        let mut pieces: SmallVec<[Piece; 3]> = SmallVec::new();
        let mut text = String::with_capacity(capacity);
        for part in parts {
            if let Part::Secret(name, quoting) = part {
                self.flush(&mut text, &mut pieces)?;
                pieces.push(Piece::Secret(name.clone(), *quoting));
                continue;
            }
            self.part(part, &mut text)?;
            if text.len() > self.left {
                return Err(Stop::TooLarge);
            }
        }
        self.flush(&mut text, &mut pieces)?;
        Ok(Frozen(pieces.into_vec()))
    }

    /// How many outputs had neither value nor default.
    pub fn missing(&self) -> u32 {
        self.missing + if self.started { self.run.outcome().0 } else { 0 }
    }

    /// Renders parts for the names' sake. Why one cannot be is what [`Renderer::render`] says.
    pub fn name_all(&mut self, parts: &[Part]) {
        for part in parts {
            let _ = self.part(part, &mut String::new());
        }
    }

    /// Variables that had neither value nor default, each once, as they came; only of one that is [`Renderer::naming`].
    pub fn into_names(self) -> Vec<String> {
        self.names.unwrap_or_default()
    }

    /// At which byte of its piece the profile begins that was rendered. No secret follows it, so that is the last piece.
    pub fn profile_at(&self) -> Option<u32> {
        self.profile_at
    }

    fn flush(&mut self, text: &mut String, pieces: &mut SmallVec<[Piece; 3]>) -> Result<(), Stop> {
        self.left = self.left.checked_sub(text.len()).ok_or(Stop::TooLarge)?;
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(text).into()));
        }
        Ok(())
    }

    fn part(&mut self, part: &Part, text: &mut String) -> Result<(), Stop> {
        match part {
            Part::Fixed(fixed) => text.push_str(fixed),
            Part::Output(output) => self.output(output, text),
            Part::Liquid(element, style) => return self.liquid(&**element, *style, text),
            Part::Forget => self.run.forget_locals(),
            Part::Comma if text.ends_with('{') => {}
            Part::Comma => text.push(','),
            Part::Unless { key, value } => {
                let start = text.len();
                let comma = if text.ends_with('{') { "" } else { "," };
                text.push_str(comma);
                text.push_str(key);
                let (value_at, named) = (text.len(), self.names.as_ref().map_or(0, Vec::len));
                self.part(value, text)?;
                // What may be left out is not missed.
                self.names.iter_mut().for_each(|names| names.truncate(named));
                if matches!(&text[value_at..], "" | "null" | "\"\"" | "[]" | "{}") {
                    text.truncate(start);
                }
            }
            Part::Profile(profile) => {
                self.profile_at = u32::try_from(text.len()).ok();
                profile.push(text, &self.scope);
            }
            // Handled by the caller: it ends a piece.
            Part::Secret(..) => {}
        }
        Ok(())
    }

    fn output(&mut self, output: &Output, text: &mut String) {
        let Output { simple, form, all, expected_missing } = output;
        let found = lookup(&self.scope, simple.variable.root, &simple.variable.path);
        let is_missing = matches!(found, Found::Missing);
        if is_missing && simple.default.is_none() && !expected_missing {
            self.missing += 1;
            if self.names.is_some() {
                self.name([simple.variable.name()]);
            }
        }
        let style = match (form, all) {
            (Form::Styled(Style::Plain), all) => *all,
            (Form::Styled(style), _) => *style,
            (Form::Value, _) => Style::Plain,
        };
        // The commonest cases, without a copy.
        if simple.default.is_none() {
            match (&found, form) {
                (Found::Text(found), Form::Styled(_)) if !simple.json => return push(text, found, style),
                (Found::Text(found), Form::Value) => return style::push_json_text(text, found),
                (Found::Object(object), Form::Value) => return style::push_object(text, object),
                _ => {}
            }
        }
        found.with(|value| {
            let value = match (&simple.default, value) {
                (Some(default), value) if value.is_none_or(is_default) => Some(default),
                (_, value) => value,
            };
            match (value, form) {
                (None, Form::Value) if !simple.json => text.push_str("\"\""),
                (None, _) if simple.json => text.push_str("null"),
                (None, _) => {}
                (Some(value), Form::Value | Form::Styled(Style::JsonInside)) if simple.json => style::push_json(text, value),
                (Some(value), Form::Value) => style::push_json(text, value),
                (Some(value), Form::Styled(_)) if simple.json => {
                    let mut json = String::new();
                    style::push_json(&mut json, value);
                    push(text, &json, style);
                }
                (Some(value), Form::Styled(_)) => style::push_value(text, value, style),
            }
        });
    }

    fn name(&mut self, found: impl IntoIterator<Item = String>) {
        let Some(names) = &mut self.names else { return };
        for name in found {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }

    fn liquid(&mut self, element: &dyn Renderable, style: Style, text: &mut String) -> Result<(), Stop> {
        if !self.started {
            self.run.start(self.names.is_some());
            self.started = true;
        }
        let mut writer = Writer { text, style, limit: self.left, too_large: false };
        // The run-time and the filters are others' code: a panic there holds this one send back, not the whole input.
        let result = catch_unwind(AssertUnwindSafe(|| element.render_to(&mut writer, &self.run)));
        let too_large = writer.too_large;
        if self.names.is_some() {
            let names = self.run.take_names();
            self.name(names);
        }
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(match self.run.outcome() {
                (_, Some(why)) => Stop::Abort(why),
                _ if too_large => Stop::TooLarge,
                _ => Stop::Failed(liquid::one_line(&error.to_string())),
            }),
            Err(_) => Err(Stop::Failed("a filter could not deal with this value".to_owned())),
        }
    }
}

/// What `default` replaces: empty text, lists and objects, and false, as in Liquid.
fn is_default(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Text(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(true) | Value::Int(_) | Value::Unsigned(_) | Value::Float(_) => false,
    }
}

/// What the run-time writes to: stops it as soon as the request is too large.
struct Writer<'w> {
    text: &'w mut String,
    style: Style,
    limit: usize,
    too_large: bool,
}

impl io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        push(self.text, piece, self.style);
        self.too_large = self.text.len() > self.limit;
        if self.too_large { Err(io::Error::other("too large")) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

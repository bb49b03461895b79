//! The engine's values as the Liquid crate wants to see them: views that borrow. Building the crate's own objects first would
//! cost twice the render.

use std::fmt;

use liquid_core::model::{DisplayCow, KStringCow, ScalarCow, State};
use liquid_core::{ObjectView, Value as Liquid, ValueView};

use crate::engine::rendering::style::{self, Style};
use crate::engine::value::{Object, Value};

/// No value: empty wherever it is used, also as an index and in a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Missing;

pub static MISSING: Missing = Missing;

/// The crate's value for one of ours, a copy.
pub fn to_liquid(value: &Value) -> Liquid {
    match value {
        Value::Null => Liquid::Nil,
        Value::Bool(truth) => Liquid::scalar(*truth),
        Value::Int(number) => Liquid::scalar(*number),
        Value::Unsigned(number) => Liquid::scalar(*number as f64),
        Value::Float(number) => Liquid::scalar(*number),
        Value::Text(text) => Liquid::scalar(text.to_string()),
        Value::List(items) => Liquid::Array(items.iter().map(to_liquid).collect()),
        Value::Object(object) => Liquid::Object(object.iter().map(|(key, value)| (key.to_owned().into(), to_liquid(value))).collect()),
    }
}

/// Appends any value as JSON. Objects come in the order of their keys: the crate's own have none.
pub fn push_json(out: &mut String, value: &dyn ValueView) {
    if let Some(items) = value.as_array() {
        out.push('[');
        for (i, item) in items.values().enumerate() {
            if i > 0 {
                out.push(',');
            }
            push_json(out, item);
        }
        out.push(']');
    } else if let Some(object) = value.as_object() {
        let entries = sorted(object);
        style::push_json_object(out, entries.iter().map(|(key, value)| (key.as_str(), move |out: &mut String| push_json(out, *value))));
    } else if value.is_nil() || value.is_state() {
        out.push_str("null");
    } else if let Some(scalar) = value.as_scalar() {
        match value.type_name() {
            "whole number" | "boolean" => out.push_str(&scalar.to_kstr()),
            "fractional number" => style::push_json_float(out, scalar.to_float().unwrap_or(f64::NAN)),
            _ => style::push_json_text(out, &scalar.to_kstr()),
        }
    } else {
        out.push_str("null");
    }
}

/// Appends any value as templates print it.
pub fn push_printed(out: &mut String, value: &dyn ValueView, style: Style) {
    if value.is_array() || value.is_object() {
        let mut json = String::new();
        push_json(&mut json, value);
        style::push(out, &json, style);
    } else if !value.is_nil() && !value.is_state() {
        style::push(out, &value.to_kstr(), style);
    }
}

/// An object's entries in the order of their keys.
pub fn sorted<'o>(object: &'o dyn ObjectView) -> Vec<(KStringCow<'o>, &'o dyn ValueView)> {
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    entries
}

impl ValueView for Missing {
    fn as_debug(&self) -> &dyn fmt::Debug {
        self
    }

    fn render(&self) -> DisplayCow<'_> {
        DisplayCow::Borrowed(&"")
    }

    fn source(&self) -> DisplayCow<'_> {
        DisplayCow::Borrowed(&"nil")
    }

    fn type_name(&self) -> &'static str {
        "nil"
    }

    fn query_state(&self, state: State) -> bool {
        !matches!(state, State::Truthy)
    }

    fn to_kstr(&self) -> KStringCow<'_> {
        KStringCow::from_static("")
    }

    fn to_value(&self) -> Liquid {
        Liquid::Nil
    }

    // As an index it finds nothing, rather than being an error.
    fn as_scalar(&self) -> Option<ScalarCow<'_>> {
        Some(ScalarCow::new(""))
    }

    fn is_nil(&self) -> bool {
        true
    }
}

impl ValueView for Value {
    fn as_debug(&self) -> &dyn fmt::Debug {
        self
    }

    fn render(&self) -> DisplayCow<'_> {
        DisplayCow::Owned(Box::new(Printed(self)))
    }

    // Shown in errors only.
    fn source(&self) -> DisplayCow<'_> {
        DisplayCow::Borrowed(self)
    }

    fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "nil",
            Value::Bool(_) => "boolean",
            Value::Int(_) => "whole number",
            Value::Unsigned(_) | Value::Float(_) => "fractional number",
            Value::Text(_) => "string",
            Value::List(_) => "array",
            Value::Object(_) => "object",
        }
    }

    fn query_state(&self, state: State) -> bool {
        match (self, state) {
            (Value::Null, _) => !matches!(state, State::Truthy),
            (Value::Bool(truth), State::Truthy) => *truth,
            (Value::Bool(truth), State::DefaultValue | State::Blank) => !truth,
            (_, State::Truthy) => true,
            (Value::Text(text), State::Blank) => text.trim().is_empty(),
            (Value::Text(text), _) => text.is_empty(),
            (Value::List(items), _) => items.is_empty(),
            (Value::Object(object), _) => object.is_empty(),
            (Value::Bool(_) | Value::Int(_) | Value::Unsigned(_) | Value::Float(_), _) => false,
        }
    }

    fn to_kstr(&self) -> KStringCow<'_> {
        match self {
            Value::Text(text) => KStringCow::from_ref(text),
            _ => KStringCow::from_string(Printed(self).to_string()),
        }
    }

    fn to_value(&self) -> Liquid {
        to_liquid(self)
    }

    fn as_scalar(&self) -> Option<ScalarCow<'_>> {
        match self {
            Value::Bool(truth) => Some(ScalarCow::new(*truth)),
            Value::Int(number) => Some(ScalarCow::new(*number)),
            // Liquid has no whole number of this size.
            Value::Unsigned(number) => Some(ScalarCow::new(*number as f64)),
            Value::Float(number) => Some(ScalarCow::new(*number)),
            Value::Text(text) => Some(ScalarCow::new(&**text)),
            Value::Null | Value::List(_) | Value::Object(_) => None,
        }
    }

    fn as_array(&self) -> Option<&dyn liquid_core::model::ArrayView> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    fn as_object(&self) -> Option<&dyn ObjectView> {
        match self {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    fn is_nil(&self) -> bool {
        self.is_null()
    }
}

impl ValueView for Object {
    fn as_debug(&self) -> &dyn fmt::Debug {
        self
    }

    fn render(&self) -> DisplayCow<'_> {
        DisplayCow::Owned(Box::new(self.to_kstr()))
    }

    fn source(&self) -> DisplayCow<'_> {
        self.render()
    }

    fn type_name(&self) -> &'static str {
        "object"
    }

    fn query_state(&self, state: State) -> bool {
        matches!(state, State::Truthy) || self.is_empty()
    }

    fn to_kstr(&self) -> KStringCow<'_> {
        let mut json = String::new();
        push_json(&mut json, self);
        KStringCow::from_string(json)
    }

    fn to_value(&self) -> Liquid {
        Liquid::Object(self.iter().map(|(key, value)| (key.to_owned().into(), to_liquid(value))).collect())
    }

    fn as_object(&self) -> Option<&dyn ObjectView> {
        Some(self)
    }
}

impl ObjectView for Object {
    fn as_value(&self) -> &dyn ValueView {
        self
    }

    fn size(&self) -> i64 {
        i64::try_from(self.len()).unwrap_or(i64::MAX)
    }

    fn keys<'k>(&'k self) -> Box<dyn Iterator<Item = KStringCow<'k>> + 'k> {
        Box::new(Object::iter(self).map(|(key, _)| KStringCow::from_ref(key)))
    }

    fn values<'k>(&'k self) -> Box<dyn Iterator<Item = &'k dyn ValueView> + 'k> {
        Box::new(Object::iter(self).map(|(_, value)| value as &dyn ValueView))
    }

    fn iter<'k>(&'k self) -> Box<dyn Iterator<Item = (KStringCow<'k>, &'k dyn ValueView)> + 'k> {
        Box::new(Object::iter(self).map(|(key, value)| (KStringCow::from_ref(key), value as &dyn ValueView)))
    }

    fn contains_key(&self, key: &str) -> bool {
        Object::get(self, key).is_some()
    }

    fn get<'s>(&'s self, key: &str) -> Option<&'s dyn ValueView> {
        Object::get(self, key).map(|value| value as &dyn ValueView)
    }
}

/// A value as templates print it.
struct Printed<'v>(&'v Value);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        style::push_value(&mut out, self.0, Style::Plain);
        f.write_str(&out)
    }
}

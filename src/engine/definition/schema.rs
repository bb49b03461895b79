//! JSON Schema (2020-12) of the definitions, made of their shapes: what an editor completes and checks. It is never stricter
//! than the readers; what takes more than one look (a host, a regular expression, what goes together) is theirs alone.

use serde_json::{Map, Value, json};

use super::campaign::CAMPAIGN;
use super::cohort::COHORT;
use super::destination::DESTINATION;
use super::document::Kind;
use super::shape::{Form, Shape, Type};
use super::workspace::WORKSPACE;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of one kind of document, or of any.
pub fn schema(kind: Option<Kind>) -> Value {
    let mut parts = Parts::default();
    let root = match kind {
        Some(kind) => {
            parts.map(shape_of(kind));
            json!({"$ref": reference(shape_of(kind).id)})
        }
        None => any_kind(&mut parts),
    };
    let Value::Object(root) = root else { return root };
    let title = kind.map_or("A definition of Campanile".to_owned(), |kind| format!("A definition of Campanile: {kind}"));
    let mut whole = Map::from_iter([("$schema".to_owned(), json!(DIALECT)), ("title".to_owned(), json!(title))]);
    whole.extend(root);
    whole.insert("$defs".into(), Value::Object(parts.defined));
    Value::Object(whole)
}

fn any_kind(parts: &mut Parts) -> Value {
    let kinds = [Kind::Campaign, Kind::Cohort, Kind::Destination, Kind::Workspace];
    let cases: Vec<Value> = kinds
        .into_iter()
        .map(|kind| {
            let then = parts.map(shape_of(kind));
            json!({"if": {"properties": {"kind": {"const": kind.as_str()}}, "required": ["kind"]}, "then": then})
        })
        .collect();
    let kind = json!({"enum": kinds.map(Kind::as_str), "description": "What this document is."});
    json!({"type": "object", "required": ["kind"], "properties": {"kind": kind}, "allOf": cases})
}

fn shape_of(kind: Kind) -> &'static Shape {
    match kind {
        Kind::Campaign => &CAMPAIGN,
        Kind::Cohort => &COHORT,
        Kind::Destination => &DESTINATION,
        Kind::Workspace => &WORKSPACE,
    }
}

fn reference(id: &str) -> String {
    format!("#/$defs/{id}")
}

/// The parts that others refer to, by their names.
#[derive(Default)]
struct Parts {
    defined: Map<String, Value>,
}

impl Parts {
    fn map(&mut self, shape: &'static Shape) -> Value {
        self.define(shape.id, |parts| parts.object(shape))
    }

    /// Describes a part once; it may hold itself.
    fn define(&mut self, id: &str, describe: impl FnOnce(&mut Parts) -> Value) -> Value {
        if !self.defined.contains_key(id) {
            self.defined.insert(id.to_owned(), Value::Null);
            let described = describe(self);
            self.defined.insert(id.to_owned(), described);
        }
        json!({"$ref": reference(id)})
    }

    fn object(&mut self, shape: &'static Shape) -> Value {
        let mut properties = Map::new();
        for key in shape.keys {
            let mut value = self.value(&key.value);
            if let Value::Object(value) = &mut value {
                value.insert("description".into(), json!(key.doc));
            }
            properties.insert(key.name.into(), value);
        }
        let rest = shape.rest.as_ref().map_or(Value::Bool(false), |rest| self.value(rest));
        let mut object = json!({"type": "object", "description": shape.doc, "properties": properties, "additionalProperties": rest});
        let required: Vec<&str> = shape.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
        if let Value::Object(object) = &mut object {
            if !required.is_empty() {
                object.insert("required".into(), json!(required));
            }
            match shape.form {
                Form::Fields => {}
                Form::OneKind => {
                    object.insert("minProperties".into(), json!(1));
                    object.insert("maxProperties".into(), json!(1));
                }
                Form::NotOnly(key) => {
                    let alone = json!({"required": [key], "maxProperties": 1, "properties": {key: {"type": "object"}}});
                    object.insert("not".into(), alone);
                }
            }
        }
        object
    }

    fn value(&mut self, value: &'static Type) -> Value {
        let text = |pattern: &str| json!({"type": "string", "pattern": pattern});
        match value {
            Type::Text => json!({"type": "string"}),
            Type::Name => text(r"\S"),
            Type::DocumentKey => text("^[a-z0-9][a-z0-9-]{0,62}$"),
            Type::Boolean => json!({"type": "boolean"}),
            Type::Integer(least, most) => integer(*least, *most),
            Type::Number => json!({"type": "number"}),
            Type::Instant => text("^[-+]?[0-9]{4}"),
            Type::Duration => text("^[0-9]+(ms|s|m|h|d|w|mo)$"),
            Type::SignedDuration => text("^-?[0-9]+(ms|s|m|h|d|w|mo)$"),
            Type::TimeOfDay => text("^([01][0-9]|2[0-3]):[0-5][0-9]$"),
            Type::Scalar => json!({"type": ["string", "number", "boolean"]}),
            Type::Anything => json!({}),
            Type::Choice(names) => json!({"enum": names}),
            Type::List(item, least, most) => {
                let mut list = json!({"type": "array", "items": self.value(item)});
                if let Value::Object(list) = &mut list {
                    if *least > 0 {
                        list.insert("minItems".into(), json!(least));
                    }
                    if *most < usize::MAX {
                        list.insert("maxItems".into(), json!(most));
                    }
                }
                list
            }
            Type::Map(shape) => self.map(shape),
            Type::AnyOf(types) => json!({"anyOf": types.iter().map(|value| self.value(value)).collect::<Vec<_>>()}),
            Type::Named(named) => self.define(named.id, |parts| {
                let mut described = parts.value(&named.value);
                if let Value::Object(described) = &mut described {
                    described.insert("description".into(), json!(named.doc));
                }
                described
            }),
        }
    }
}

fn integer(least: i64, most: i64) -> Value {
    let mut integer = Map::from_iter([("type".to_owned(), json!("integer"))]);
    if least > i64::MIN {
        integer.insert("minimum".into(), json!(least));
    }
    if most < i64::MAX {
        integer.insert("maximum".into(), json!(most));
    }
    Value::Object(integer)
}

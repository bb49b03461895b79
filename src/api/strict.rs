//! Reads parameters and bodies strictly: a name that is not known is refused with the nearest that is, and every problem says where
//! it lies. Serde's own errors are text; these keep what they know.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde_json::Value;

use super::problem::Problem;
use crate::engine::definition::problem::meant;

/// Reads the query of a URL. Each parameter once; unknown ones are refused.
///
/// # Errors
/// 422 with the parameter.
pub fn query<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let pairs: Vec<(String, Parameter)> = url::form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.clone().into_owned(), Parameter { name: name.into_owned(), text: value.into_owned() }))
        .collect();
    T::deserialize(MapDeserializer::new(pairs.into_iter())).map_err(|error: Wrong| error.into_problem("parameter"))
}

/// Reads a JSON body.
///
/// # Errors
/// 422 with the place in the body.
pub fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| Problem::invalid(format!("the body is not JSON: {error}")))?;
    T::deserialize(Part(value)).map_err(|error| error.into_problem("field"))
}

/// What is wrong with what was read.
#[derive(Debug)]
struct Wrong {
    what: What,
    /// From the inside out.
    path: Vec<String>,
}

#[derive(Debug)]
enum What {
    Unknown { name: String, known: &'static [&'static str] },
    Missing(&'static str),
    Twice(&'static str),
    Other(String),
}

impl Wrong {
    fn new(what: What) -> Wrong {
        Wrong { what, path: Vec::new() }
    }

    fn within(mut self, step: String) -> Wrong {
        self.path.push(step);
        self
    }

    /// `noun` is what names stand for here.
    fn into_problem(self, noun: &str) -> Problem {
        let mut path: Vec<String> = self.path.into_iter().rev().collect();
        let detail = match self.what {
            What::Unknown { name, known: [] } => format!("unknown {noun} `{name}`: there are none here"),
            What::Unknown { name, known } => {
                let help = meant(&name, "known are", known.iter().copied());
                format!("unknown {noun} `{name}`: {help}")
            }
            What::Missing(name) => {
                path.push(name.to_owned());
                format!("{noun} `{name}` is missing")
            }
            What::Twice(name) => format!("{noun} `{name}` is there twice"),
            What::Other(message) => message,
        };
        Problem::invalid(detail).at(shown(&path))
    }
}

/// `recipients[3].user_id`
fn shown(path: &[String]) -> String {
    path.iter().enumerate().fold(String::new(), |shown, (at, step)| match at {
        0 => step.clone(),
        _ if step.starts_with('[') => shown + step,
        _ => shown + "." + step,
    })
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Wrong {
        Wrong::new(What::Other(message.to_string()))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Wrong {
        Wrong::new(What::Unknown { name: field.to_owned(), known: expected }).within(field.to_owned())
    }

    fn missing_field(field: &'static str) -> Wrong {
        Wrong::new(What::Missing(field))
    }

    fn duplicate_field(field: &'static str) -> Wrong {
        Wrong::new(What::Twice(field)).within(field.to_owned())
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Wrong {
        let help = meant(variant, "one of", expected.iter().copied());
        Wrong::custom(format_args!("`{variant}` is not known: {help}"))
    }
}

/// The text of a query parameter, read as whatever is asked for.
struct Parameter {
    name: String,
    text: String,
}

impl<'de> IntoDeserializer<'de, Wrong> for Parameter {
    type Deserializer = Parameter;

    fn into_deserializer(self) -> Parameter {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty, $what:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            let wrong = |_| Wrong::custom(format_args!("`{}` is not {}", self.text, $what)).within(self.name.clone());
            visitor.$visit(self.text.parse::<$type>().map_err(wrong)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Parameter {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_string(self.text).map_err(|wrong: Wrong| wrong.within(self.name))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_enum(self.text.into_deserializer()).map_err(|wrong: Wrong| wrong.within(self.name))
    }

    parsed! {
        deserialize_bool visit_bool bool, "true or false";
        deserialize_u16 visit_u16 u16, "a whole number below 65536";
        deserialize_u32 visit_u32 u32, "a whole number";
        deserialize_u64 visit_u64 u64, "a whole number";
        deserialize_i64 visit_i64 i64, "a whole number";
        deserialize_f64 visit_f64 f64, "a number";
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u128 f32 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

/// A part of a JSON body.
struct Part(Value);

impl<'de> IntoDeserializer<'de, Wrong> for Part {
    type Deserializer = Part;

    fn into_deserializer(self) -> Part {
        self
    }
}

impl<'de> Deserializer<'de> for Part {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let other = |error: serde_json::Error| Wrong::custom(error);
        match self.0 {
            Value::Array(items) => {
                let steps = items.into_iter().enumerate().map(|(at, item)| Step { name: format!("[{at}]"), value: item });
                visitor.visit_seq(SeqDeserializer::new(steps))
            }
            Value::Object(fields) => {
                let steps = fields.into_iter().map(|(name, value)| (name.clone(), Step { name, value }));
                visitor.visit_map(MapDeserializer::new(steps))
            }
            Value::String(text) => visitor.visit_string(text),
            scalar => scalar.deserialize_any(visitor).map_err(other),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            value => visitor.visit_some(Part(value)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::String(text) => visitor.visit_enum(text.into_deserializer()),
            other => Err(Wrong::custom(format_args!("{other} is not text"))),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct
        map struct identifier ignored_any
    }
}

/// A value on the way to which problems name it.
struct Step {
    name: String,
    value: Value,
}

impl<'de> IntoDeserializer<'de, Wrong> for Step {
    type Deserializer = Step;

    fn into_deserializer(self) -> Step {
        self
    }
}

macro_rules! named {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self $(, $argument: $type)*, visitor: V) -> Result<V::Value, Wrong> {
            Part(self.value).$method($($argument,)* visitor).map_err(|wrong| wrong.within(self.name))
        }
    )*};
}

impl<'de> Deserializer<'de> for Step {
    type Error = Wrong;

    named! {
        deserialize_any();
        deserialize_option();
        deserialize_newtype_struct(name: &'static str);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct
        map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        kind: Option<Kind>,
        #[serde(default)]
        cycle: bool,
        limit: Option<u32>,
        inner: Option<Vec<Inner>>,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Campaign,
        Cohort,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        user_id: String,
        amount: Option<f64>,
    }

    fn problem<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
        let problem = result.expect_err("a problem");
        format!("{}: {}", problem.place().unwrap_or("-"), problem.detail())
    }

    #[test]
    fn parameters_are_read_as_what_is_asked_for() {
        let asked: Asked = query("kind=cohort&cycle=true&limit=5").unwrap();
        assert_eq!(asked, Asked { kind: Some(Kind::Cohort), cycle: true, limit: Some(5), inner: None });
        assert_eq!(query::<Asked>("").unwrap(), Asked { kind: None, cycle: false, limit: None, inner: None });
    }

    #[test]
    fn a_parameter_that_is_not_meant_is_named_with_the_nearest() {
        let check = |text: &str, expect: &str| assert_eq!(problem(query::<Asked>(text)), expect, "{text}");
        check("kidn=cohort", "kidn: unknown parameter `kidn`: did you mean `kind`?");
        check("zebra=1", "zebra: unknown parameter `zebra`: known are: kind, cycle, limit, inner");
        check("limit=5&limit=6", "limit: parameter `limit` is there twice");
        check("kind=chort", "kind: `chort` is not known: did you mean `cohort`?");
        check("cycle=yes", "cycle: `yes` is not true or false");
        check("limit=-1", "limit: `-1` is not a whole number");
    }

    #[test]
    fn a_body_is_read_and_problems_have_their_place() {
        let asked: Asked = json(br#"{"inner": [{"user_id": "u1", "amount": 2.5}], "limit": null}"#).unwrap();
        assert_eq!(asked.inner, Some(vec![Inner { user_id: "u1".into(), amount: Some(2.5) }]));
        let check = |text: &str, expect: &str| assert_eq!(problem(json::<Asked>(text.as_bytes())), expect, "{text}");
        check(r#"{"inner": [{"user_id": "u1"}, {"user": "u1"}]}"#, "inner[1].user: unknown field `user`: known are: user_id, amount");
        check(r#"{"inner": [{"amount": 1}]}"#, "inner[0].user_id: field `user_id` is missing");
        check(r#"{"inner": [{"user_id": 1}]}"#, "inner[0].user_id: invalid type: integer `1`, expected a string");
        check(r#"{"kind": "zebra"}"#, "kind: `zebra` is not known: one of: campaign, cohort");
        check("[]", "-: invalid length 0, expected struct Asked with 4 elements");
    }
}

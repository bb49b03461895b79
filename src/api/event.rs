//! An event as it came over HTTP, made into the line that is written: with its type and with a message id. Everything else
//! stays as it was sent, byte for byte; whether it can be read is for [`super::check`] to say.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::Problem;

/// The line to write.
#[derive(Debug)]
pub struct Prepared {
    pub value: Vec<u8>,
    pub message_id: String,
}

/// Reads one JSON object. `kind` is what the path says; in a batch each event says its own, and what it says is kept.
pub fn prepare(text: &str, kind: Option<&str>) -> Result<Prepared, PrepareError> {
    let Fields(fields) = serde_json::from_str(text)?;
    let given = fields.iter().rfind(|(name, _)| name == "messageId").and_then(|(_, value)| id_text(value));
    let message_id = match given {
        Some(id) => id,
        None => random_id()?,
    };
    let mut value = Vec::with_capacity(text.len() + 80);
    value.extend_from_slice(b"{\"messageId\":");
    serde_json::to_writer(&mut value, &message_id)?;
    if let Some(kind) = kind {
        value.extend_from_slice(b",\"type\":");
        serde_json::to_writer(&mut value, kind)?;
    }
    for (name, raw) in fields.iter().filter(|(name, _)| name != "messageId" && (kind.is_none() || name != "type")) {
        value.push(b',');
        serde_json::to_writer(&mut value, name)?;
        value.push(b':');
        value.extend_from_slice(raw.get().as_bytes());
    }
    value.push(b'}');
    Ok(Prepared { value, message_id })
}

/// 128 random bits in hexadecimal digits: what an event without a message id is given.
pub fn random_id() -> Result<String, PrepareError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error("not a JSON object: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("no randomness for a message id: {0}")]
    NoRandomness(#[from] getrandom::Error),
}

impl From<PrepareError> for Problem {
    fn from(error: PrepareError) -> Problem {
        match error {
            PrepareError::NotJson(_) => Problem::invalid(error.to_string()).reason("not_json"),
            PrepareError::NoRandomness(_) => Problem::internal(error.to_string()),
        }
    }
}

/// A message id as text. Null, the empty text and what is neither text nor a number are none.
fn id_text(value: &RawValue) -> Option<String> {
    match serde_json::from_str(value.get()) {
        Ok(serde_json::Value::String(text)) => (!text.is_empty()).then_some(text),
        Ok(serde_json::Value::Number(_)) => Some(value.get().to_owned()),
        _ => None,
    }
}

/// The fields of an object in their order, values unread.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields<'de>, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event, which is an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, kind: Option<&str>, expect: &str) {
        let prepared = prepare(text, kind).unwrap();
        let value = String::from_utf8(prepared.value).unwrap();
        assert_eq!(value.replace(&prepared.message_id, "ID"), expect, "{text}");
    }

    #[test]
    fn type_and_message_id_are_put_in_and_the_rest_is_kept() {
        check(r#"{"userId":"u1"}"#, Some("track"), r#"{"messageId":"ID","type":"track","userId":"u1"}"#);
        check(r#"{"userId":"u1"}"#, None, r#"{"messageId":"ID","userId":"u1"}"#);
        check("{}", Some("page"), r#"{"messageId":"ID","type":"page"}"#);
        check(
            r#" { "type" : "identify" , "messageId":"m1","n":1.50,"big":123456789012345678901234567890, "o":{"b":1, "a":2} } "#,
            Some("track"),
            r#"{"messageId":"ID","type":"track","n":1.50,"big":123456789012345678901234567890,"o":{"b":1, "a":2}}"#,
        );
        check(r#"{"type":"identify","\u0061":1}"#, None, r#"{"messageId":"ID","type":"identify","a":1}"#);
    }

    #[test]
    fn a_message_id_is_kept_or_made() {
        let id = |text: &str| prepare(text, None).unwrap().message_id;
        assert_eq!(id(r#"{"messageId":"m\n1"}"#), "m\n1");
        assert_eq!(id(r#"{"messageId":17}"#), "17");
        for text in ["{}", r#"{"messageId":null}"#, r#"{"messageId":""}"#] {
            let (one, other) = (id(text), id(text));
            assert!(one.len() == 32 && one != other, "{one} {other}");
        }
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for text in ["", "[]", "1", "null", "{", r#"{"a":}"#, r#"{"a":1} x"#] {
            assert!(matches!(prepare(text, None), Err(PrepareError::NotJson(_))), "{text}");
        }
    }
}

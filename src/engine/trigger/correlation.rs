//! `same`: events belong together when the named properties are equal. A record keeps a hash of their values, not the values.

use crate::engine::id::stable_hash;
use crate::engine::value::{Object, Value};

/// Stable hash of the correlating values.
pub type Key = [u8; 8];

/// The one key of a user when nothing correlates.
pub const NO_KEY: Key = [0; 8];

/// The key of these properties. Equal values give equal keys, as the contract compares them: 1 and 1.0 are the same, objects are in
/// any order; a missing value is a value like any other, the same as null.
pub fn key<'a>(paths: impl ExactSizeIterator<Item = &'a str>, properties: &Object) -> Key {
    if paths.len() == 0 {
        return NO_KEY;
    }
    let mut text = Vec::with_capacity(64);
    for path in paths {
        write(properties.lookup(path).unwrap_or(&Value::Null), &mut text);
    }
    stable_hash(&[b"same", &text]).to_le_bytes()
}

/// One text for all values that are equal, and a different one for all that are not: a tag, then the value with its length.
pub(in crate::engine) fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(b'n'),
        Value::Bool(truth) => out.extend([b'b', u8::from(*truth)]),
        Value::Int(number) => write_integer(i128::from(*number), out),
        Value::Unsigned(number) => write_integer(i128::from(*number), out),
        // Every whole number below 2^65 converts exactly; beyond that no integer can be equal to it.
        Value::Float(number) if number.trunc() == *number && number.abs() < 3.7e19 => write_integer(*number as i128, out),
        Value::Float(number) => {
            out.push(b'f');
            out.extend(number.to_bits().to_le_bytes());
        }
        Value::Text(text) => write_text(b't', text, out),
        Value::List(items) => {
            out.push(b'l');
            out.extend((items.len() as u64).to_le_bytes());
            items.iter().for_each(|item| write(item, out));
        }
        Value::Object(object) => {
            let mut pairs: Vec<(&str, &Value)> = object.iter().collect();
            pairs.sort_unstable_by_key(|(name, _)| *name);
            out.push(b'o');
            out.extend((pairs.len() as u64).to_le_bytes());
            for (name, value) in pairs {
                write_text(b'k', name, out);
                write(value, out);
            }
        }
    }
}

fn write_integer(number: i128, out: &mut Vec<u8>) {
    out.push(b'i');
    out.extend(number.to_le_bytes());
}

fn write_text(tag: u8, text: &str, out: &mut Vec<u8>) {
    out.push(tag);
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(paths: &[&str], json: &str) -> Key {
        key(paths.iter().copied(), &serde_json::from_str(json).unwrap())
    }

    #[test]
    fn equal_values_have_one_key() {
        let check = |paths: &[&str], a: &str, b: &str, equal: bool| assert_eq!(of(paths, a) == of(paths, b), equal, "{paths:?} {a} {b}");
        check(&["c"], r#"{"c":1}"#, r#"{"c":1.0}"#, true);
        check(&["c"], r#"{"c":1}"#, r#"{"c":2}"#, false);
        check(&["c"], r#"{"c":-0.0}"#, r#"{"c":0}"#, true);
        check(&["c"], r#"{"c":1.5}"#, r#"{"c":1.25}"#, false);
        check(&["c"], r#"{"c":18446744073709551615}"#, r#"{"c":18446744073709551614}"#, false);
        check(&["c"], r#"{"c":1}"#, r#"{"c":"1"}"#, false);
        check(&["c"], r#"{"c":true}"#, r#"{"c":1}"#, false);
        check(&["c"], r#"{}"#, r#"{"c":null}"#, true);
        check(&["c"], r#"{}"#, r#"{"c":""}"#, false);
        check(&["a", "b"], r#"{"a":"x"}"#, r#"{"b":"x"}"#, false);
        check(&["a", "b"], r#"{"a":"xy","b":"z"}"#, r#"{"a":"x","b":"yz"}"#, false);
        check(&["o.id"], r#"{"o":{"id":7}}"#, r#"{"o":{"id":7,"x":1}}"#, true);
        check(&["o"], r#"{"o":{"a":1,"b":2}}"#, r#"{"o":{"b":2,"a":1}}"#, true);
        check(&["o"], r#"{"o":{"a":1}}"#, r#"{"o":{"b":1}}"#, false);
        check(&["o"], r#"{"o":[1,2]}"#, r#"{"o":[2,1]}"#, false);
        check(&["o"], r#"{"o":[[1],2]}"#, r#"{"o":[[1,2]]}"#, false);
        check(&[], r#"{"c":1}"#, r#"{"c":2}"#, true);
    }

    #[test]
    fn without_same_there_is_one_key() {
        assert_eq!(of(&[], r#"{"c":1}"#), NO_KEY);
        assert_ne!(of(&["c"], "{}"), NO_KEY);
    }
}

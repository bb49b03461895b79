//! Replies of Redis as Rust values. A reply of another shape means that something else answers there: refused.

use redis::Value;

use crate::worker::ports::StateError;

/// An array of exactly `N`.
pub fn array<const N: usize>(value: Value) -> Result<[Value; N], StateError> {
    list(value)?.try_into().map_err(|values: Vec<Value>| unexpected(&format!("an array of {N}"), &Value::Array(values)))
}

pub fn list(value: Value) -> Result<Vec<Value>, StateError> {
    match value {
        Value::Array(values) | Value::Set(values) => Ok(values),
        other => Err(unexpected("an array", &other)),
    }
}

/// Fields and values of a hash.
pub fn pairs(value: Value) -> Result<Vec<(Value, Value)>, StateError> {
    match value {
        Value::Map(pairs) => Ok(pairs),
        other => Err(unexpected("a map", &other)),
    }
}

/// A string, or `None` where there is no such key or field.
pub fn bytes(value: Value) -> Result<Option<Vec<u8>>, StateError> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        other => Err(unexpected("a string", &other)),
    }
}

pub fn text(value: Value) -> Result<String, StateError> {
    match value {
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => Ok(text),
        Value::BulkString(bytes) => {
            String::from_utf8(bytes).map_err(|error| unexpected("UTF-8 text", &Value::BulkString(error.into_bytes())))
        }
        other => Err(unexpected("text", &other)),
    }
}

/// A number, also one stored as decimal digits; 0 where there is no such key or field.
pub fn number<T: TryFrom<i64> + Default + std::str::FromStr>(value: Value) -> Result<T, StateError> {
    let number = match &value {
        Value::Nil => Some(T::default()),
        Value::Int(number) => T::try_from(*number).ok(),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok().and_then(|digits| digits.parse().ok()),
        _ => None,
    };
    number.ok_or_else(|| unexpected("a number", &value))
}

/// Says what came in its kind only: its content may be somebody's data.
fn unexpected(wanted: &str, value: &Value) -> StateError {
    let got = match value {
        Value::Nil => "nothing".to_owned(),
        Value::Int(number) => format!("the number {number}"),
        Value::BulkString(bytes) => format!("a string of {} bytes", bytes.len()),
        Value::Array(values) => format!("an array of {}", values.len()),
        Value::Okay | Value::SimpleString(_) => "a status".to_owned(),
        _ => "something else".to_owned(),
    };
    StateError::Refused(format!("redis answers with {got} where {wanted} was expected: something else writes under the same prefix"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_two_shapes() {
        let check = |value: Value, expect: Option<u64>| assert_eq!(number::<u64>(value.clone()).ok(), expect, "{value:?}");
        check(Value::Int(7), Some(7));
        check(Value::BulkString(b"18446744073709551615".to_vec()), Some(u64::MAX));
        check(Value::Nil, Some(0));
        check(Value::Int(-1), None);
        check(Value::BulkString(b"x".to_vec()), None);
        check(Value::Array(Vec::new()), None);
    }

    #[test]
    fn what_was_not_expected_is_named_without_its_content() {
        let error = text(Value::BulkString(vec![0xff, b's', b'e', b'c'])).unwrap_err().to_string();
        assert!(error.contains("a string of 4 bytes"), "{error}");
        assert!(array::<2>(Value::Array(vec![Value::Nil])).is_err());
    }
}

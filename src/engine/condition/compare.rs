//! How two values compare, beyond what [`Value`] itself says: membership, text without regard to case, multiples.

use crate::engine::value::Value;

/// Equal as a whole, or an array with an equal element.
pub fn equal_or_has(value: &Value, other: &Value) -> bool {
    value == other || matches!(value, Value::List(items) if items.contains(other))
}

/// Substring of text, membership in an array.
pub fn contains(value: &Value, part: &Value) -> bool {
    match (value, part) {
        (Value::List(items), part) => items.contains(part),
        (Value::Text(text), Value::Text(part)) => text.contains(&**part),
        _ => false,
    }
}

/// As [`contains`], text without regard to case.
pub fn contains_ignoring_case(value: &Value, part: &Value) -> bool {
    let Value::Text(part) = part else { return false };
    match value {
        Value::List(items) => items.iter().any(|item| item.as_str().is_some_and(|text| equal_ignoring_case(text, part))),
        Value::Text(text) => folded(text).collect::<String>().contains(&folded(part).collect::<String>()),
        _ => false,
    }
}

pub fn equal_ignoring_case(text: &str, other: &str) -> bool {
    folded(text).eq(folded(other))
}

pub fn starts_ignoring_case(text: &str, start: &str) -> bool {
    let mut text = folded(text);
    folded(start).all(|wanted| text.next() == Some(wanted))
}

pub fn ends_ignoring_case(text: &str, end: &str) -> bool {
    folded(text).collect::<String>().ends_with(&folded(end).collect::<String>())
}

/// Whether a number is a whole multiple of another; exact for whole numbers. Of zero nothing is.
pub fn is_multiple(value: &Value, of: &Value) -> bool {
    match (whole(value), whole(of)) {
        (_, Some(0)) => false,
        (Some(value), Some(of)) => value % of == 0,
        _ => match (fraction(value), fraction(of)) {
            // Decimal fractions are not exact in binary: 19.99 / 0.01 is 1998.9999999999998. A few units in the last place are forgiven.
            (Some(value), Some(of)) => {
                let times = value / of;
                (times - times.round()).abs() <= times.abs() * 4.0 * f64::EPSILON
            }
            _ => false,
        },
    }
}

/// A number that is whole, also when written as `20.0`: two that are equal give the same.
pub fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Int(number) => Some(i128::from(*number)),
        Value::Unsigned(number) => Some(i128::from(*number)),
        // Beyond this a float is whole by lack of digits, and no 64-bit integer is equal to it.
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 2e19 => Some(*number as i128),
        _ => None,
    }
}

fn fraction(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Unsigned(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// Character by character in lower case, both small sigmas as one: whole-text lowering would make a word's end depend on what follows.
fn folded(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().flat_map(char::to_lowercase).map(|letter| if letter == 'ς' { 'σ' } else { letter })
}

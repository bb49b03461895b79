//! Scalars: what text without quotes stands for, and escapes that only JSON has.

use std::borrow::Cow;

use crate::engine::value::Value;

/// What a scalar without quotes stands for, by YAML's core schema (1.2.2, section 10.3), but refusing what JSON could not
/// say and numbers that were most likely meant as text (telephone numbers, codes with leading zeros).
pub(super) fn resolve(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let unsigned = text.trim_start_matches(['+', '-']);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") && text.len() <= unsigned.len() + 1 {
        return Err(format!("`{text}` is a number that JSON cannot say"));
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(number) = text.strip_prefix(prefix).and_then(|digits| i64::from_str_radix(digits, radix).ok()) {
            return Ok(Value::Int(number));
        }
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Ok(Value::text(text));
    }
    // The same reader as for events, so that equal texts are equal numbers.
    if let Ok(number) = Value::from_json(text) {
        return Ok(number);
    }
    // Digits alone, a sign, leading zeros, `.5`, `5.`: numbers in YAML, not in JSON.
    let number = unsigned.bytes().any(|byte| byte.is_ascii_digit()) && text.len() <= unsigned.len() + 1 && text.parse::<f64>().is_ok();
    let odd = text.starts_with('+') || (unsigned.len() > 1 && unsigned.starts_with('0') && !unsigned.starts_with("0."));
    match text.parse::<f64>() {
        Ok(_) if number && odd => Err(format!("`{text}` without quotes is a number and would lose its sign or leading zeros")),
        Ok(float) if number && float.is_finite() => Ok(Value::Float(float)),
        Ok(_) if number => Err(format!("`{text}` is too large for a number")),
        _ => Ok(Value::text(text)),
    }
}

/// What YAML 1.1 made of some words that are text today.
pub fn truth_meant(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "yes" | "y" | "on" => Some(true),
        "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

/// Whether a scalar without quotes stands for something else than it looks like: `yes` is text, and `1.10` is 1.1.
pub(super) fn is_doubtful(text: &str, value: &Value) -> bool {
    match value {
        Value::Text(_) => truth_meant(text).is_some(),
        Value::Float(_) => text.ends_with('0') && text.contains('.') && !text.contains(['e', 'E']) && value.to_string() != text,
        _ => false,
    }
}

/// JSON writes characters beyond the basic plane as two escapes (`\ud83d\ude00`), which YAML does not know: joins them into
/// the one escape that it does. Only in a text that begins as JSON does; elsewhere it is left as it is.
pub(super) fn join_surrogates(text: &str) -> Cow<'_, str> {
    if !text.trim_start().starts_with(['{', '[']) || !text.contains("\\u") {
        return text.into();
    }
    let mut joined = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        joined.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(character) = surrogate_pair(rest) {
            joined.push_str(&format!("\\U{:08X}", u32::from(character)));
            rest = &rest[12..];
        } else {
            // The backslash and what it escapes, so that `\\u` is not taken for an escape.
            let length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
            joined.push_str(&rest[..length]);
            rest = &rest[length..];
        }
    }
    joined.push_str(rest);
    joined.into()
}

/// The character that two escapes at the start of `text` make together.
fn surrogate_pair(text: &str) -> Option<char> {
    let escape = |from: usize| {
        let digits = text.get(from..from + 6)?.strip_prefix("\\u")?;
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
    };
    let pair = [escape(0)?, escape(6)?];
    char::decode_utf16(pair).next()?.ok().filter(|character| u32::from(*character) > 0xffff)
}

//! How text is written into its place: as it is, inside a JSON string, percent-encoded. Nothing here knows templates.

use std::fmt::Write;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::engine::value::{Object, Value};

/// Everything but the unreserved characters of RFC 3986 (section 2.3).
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What may not stand in a URL at all (RFC 3986, appendix A); `%` stays, so that what is encoded is not encoded again.
const ILLEGAL_IN_URL: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    /// As the inside of a JSON string (RFC 8259, section 7).
    JsonInside,
    /// As one component of a URL: everything reserved is percent-encoded.
    Percent,
    /// As a piece of a URL that brings its own delimiters.
    Url,
}

/// Appends text in a style.
pub fn push(out: &mut String, text: &str, style: Style) {
    match style {
        Style::Plain => out.push_str(text),
        Style::JsonInside => push_json_inside(out, text),
        Style::Percent => out.extend(utf8_percent_encode(text, COMPONENT)),
        Style::Url => out.extend(utf8_percent_encode(text, ILLEGAL_IN_URL)),
    }
}

/// Appends a value as templates print it: text as it is, numbers in decimal, null as nothing, lists and objects as JSON.
pub fn push_value(out: &mut String, value: &Value, style: Style) {
    match value {
        Value::Null => {}
        Value::Text(text) => push(out, text, style),
        Value::Bool(_) | Value::Int(_) | Value::Unsigned(_) => push_json(out, value),
        // 10.0 prints as 10, as in Liquid's Rust port. Only digits, point and sign: legal in every style.
        Value::Float(number) => drop(write!(out, "{number}")),
        Value::List(_) | Value::Object(_) => {
            let mut json = String::new();
            push_json(&mut json, value);
            push(out, &json, style);
        }
    }
}

/// Appends a value as JSON.
pub fn push_json(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Int(number) => drop(write!(out, "{number}")),
        Value::Unsigned(number) => drop(write!(out, "{number}")),
        Value::Float(number) => push_json_float(out, *number),
        Value::Text(text) => push_json_text(out, text),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                push_json(out, item);
            }
            out.push(']');
        }
        Value::Object(object) => push_object(out, object),
    }
}

/// Appends an object as JSON.
pub fn push_object(out: &mut String, object: &Object) {
    push_json_object(out, object.iter().map(|(key, value)| (key, move |out: &mut String| push_json(out, value))));
}

/// Appends a JSON string with its quotes.
pub fn push_json_text(out: &mut String, text: &str) {
    out.push('"');
    push_json_inside(out, text);
    out.push('"');
}

/// Appends a number as JSON; what is none (infinity) as null.
pub fn push_json_float(out: &mut String, number: f64) {
    match serde_json::Number::from_f64(number) {
        Some(number) => drop(write!(out, "{number}")),
        None => out.push_str("null"),
    }
}

/// Appends a JSON object of keys and writers of values.
pub fn push_json_object<'k, F: FnOnce(&mut String)>(out: &mut String, entries: impl Iterator<Item = (&'k str, F)>) {
    out.push('{');
    for (i, (key, value)) in entries.enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_json_text(out, key);
        out.push(':');
        value(out);
    }
    out.push('}');
}

fn push_json_inside(out: &mut String, text: &str) {
    let mut clean = 0;
    for (at, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[clean..at]);
        clean = at + 1;
        if short.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(short);
        }
    }
    out.push_str(&text[clean..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_written_as_its_place_needs() {
        let check = |text: &str, json: &str, percent: &str, url: &str| {
            for (style, expect) in [(Style::Plain, text), (Style::JsonInside, json), (Style::Percent, percent), (Style::Url, url)] {
                let mut out = String::from("<");
                push(&mut out, text, style);
                assert_eq!(out, format!("<{expect}"), "{text:?} {style:?}");
            }
            assert_eq!(serde_json::from_str::<String>(&format!("\"{json}\"")).unwrap(), text);
        };
        check("", "", "", "");
        check("abc-._~", "abc-._~", "abc-._~", "abc-._~");
        check("a b", "a b", "a%20b", "a%20b");
        check("a/b?c=d&e#f", "a/b?c=d&e#f", "a%2Fb%3Fc%3Dd%26e%23f", "a/b?c=d&e#f");
        check("100%", "100%", "100%25", "100%");
        check("\"q\"", "\\\"q\\\"", "%22q%22", "%22q%22");
        check("\\", "\\\\", "%5C", "%5C");
        check("\r\n\t", "\\r\\n\\t", "%0D%0A%09", "%0D%0A%09");
        check("\u{0}\u{1f}\u{7f}", "\\u0000\\u001f\u{7f}", "%00%1F%7F", "%00%1F%7F");
        check("é", "é", "%C3%A9", "%C3%A9");
        check("한", "한", "%ED%95%9C", "%ED%95%9C");
        check("🔔", "🔔", "%F0%9F%94%94", "%F0%9F%94%94");
        check("\u{2028}", "\u{2028}", "%E2%80%A8", "%E2%80%A8");
    }

    #[test]
    fn values_print_and_keep_their_json() {
        let check = |json: &str, printed: &str| {
            let value = Value::from_json(json).unwrap();
            let mut out = String::new();
            push_value(&mut out, &value, Style::Plain);
            assert_eq!(out, printed);
            out.clear();
            push_json(&mut out, &value);
            assert_eq!(out, json);
        };
        check("null", "");
        check("true", "true");
        check("-7", "-7");
        check("18446744073709551615", "18446744073709551615");
        check("10.0", "10");
        check("0.1", "0.1");
        check("\"a\\\"b\"", "a\"b");
        check("[1,\"a\",null]", "[1,\"a\",null]");
        check("{\"a\":{\"b\":[]},\"c\":2}", "{\"a\":{\"b\":[]},\"c\":2}");
    }
}

//! Versions such as `2.10.3` or `v1.4.0-rc.1`: numbers between dots, compared as numbers; a pre-release is lower than its release
//! (Semantic Versioning 2.0.0, section 11, with any number of parts).

use std::cmp::Ordering;

use crate::engine::value::Value;

/// The order of two versions; `None` when either is none. A whole number is a version of one part; a fraction is not, for
/// `2.10` as a number is `2.1`.
pub fn compare(value: &Value, other: &Value) -> Option<Ordering> {
    let (value, other) = (text(value)?, text(other)?);
    let (value, other) = (Version::parse(&value)?, Version::parse(&other)?);
    Some(value.order(&other))
}

struct Version<'a> {
    numbers: &'a str,
    pre_release: Option<&'a str>,
}

fn text(value: &Value) -> Option<std::borrow::Cow<'_, str>> {
    match value {
        Value::Text(text) => Some((&**text).into()),
        Value::Int(number) => Some(number.to_string().into()),
        _ => None,
    }
}

impl Version<'_> {
    fn parse(text: &str) -> Option<Version<'_>> {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let text = text.split_once('+').map_or(text, |(version, _build)| version);
        let (numbers, pre_release) = match text.split_once('-') {
            Some((numbers, pre_release)) => (numbers, Some(pre_release)),
            None => (text, None),
        };
        let proper = numbers.split('.').all(is_number) && pre_release.is_none_or(|part| part.split('.').all(|id| !id.is_empty()));
        proper.then_some(Version { numbers, pre_release })
    }

    fn order(&self, other: &Version) -> Ordering {
        order_numbers(self.numbers, other.numbers).then_with(|| match (self.pre_release, other.pre_release) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(own), Some(other)) => order_identifiers(own, other),
        })
    }
}

/// Missing parts are zero: 1.2 equals 1.2.0.
fn order_numbers(own: &str, other: &str) -> Ordering {
    let (mut own, mut other) = (own.split('.'), other.split('.'));
    loop {
        let order = match (own.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (own, other) => order_digits(own.unwrap_or("0"), other.unwrap_or("0")),
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Numbers below words, a longer list above its beginning.
fn order_identifiers(own: &str, other: &str) -> Ordering {
    let (mut own, mut other) = (own.split('.'), other.split('.'));
    loop {
        let order = match (own.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(own), Some(other)) => match (is_number(own), is_number(other)) {
                (true, true) => order_digits(own, other),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => own.cmp(other),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Digits of any length as numbers.
fn order_digits(own: &str, other: &str) -> Ordering {
    let (own, other) = (own.trim_start_matches('0'), other.trim_start_matches('0'));
    own.len().cmp(&other.len()).then_with(|| own.cmp(other))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

//! Filters that count characters: those that people see, whatever bytes and code points they are made of (a syllable written in
//! parts is one, so is an emoji of a family). Nothing here cuts within one.

use liquid_core::error::Result;
use liquid_core::model::ValueCow;
use liquid_core::{Error, Runtime, Value, ValueView};
use unicode_segmentation::UnicodeSegmentation;

use super::numbers::place;

/// Length of a truncated text if nothing else is said, as in Liquid.
const TRUNCATED: i64 = 50;

/// The characters of a text (extended grapheme clusters, UAX #29).
pub fn characters(text: &str) -> impl Iterator<Item = &str> {
    text.graphemes(true)
}

/// How many items, entries or characters; nothing has none.
pub fn size(input: &dyn ValueView, _arguments: &[ValueCow<'_>], _runtime: &dyn Runtime) -> Result<Value> {
    let size = if let Some(items) = input.as_array() {
        items.size()
    } else if let Some(object) = input.as_object() {
        object.size()
    } else {
        i64::try_from(characters(&input.to_kstr()).count()).unwrap_or(i64::MAX)
    };
    Ok(Value::scalar(size))
}

/// From a place on (negative: from the end), so many (default one). What lies outside is not there: of `abc` the piece from -5 is empty.
pub fn slice(input: &dyn ValueView, arguments: &[ValueCow<'_>], _runtime: &dyn Runtime) -> Result<Value> {
    let start = place(arguments[0].as_view())?;
    let length = arguments.get(1).map_or(Ok(1), |length| place(length.as_view()))?;
    let length = usize::try_from(length).ok().filter(|length| *length > 0).ok_or_else(|| Error::with_msg(NO_LENGTH))?;
    if let Some(items) = input.as_array() {
        let piece = cut(items.values(), usize::try_from(items.size()).unwrap_or(0), start, length);
        return Ok(Value::Array(piece.map(|item| item.to_value()).collect()));
    }
    let text = input.to_kstr();
    let count = if start < 0 { characters(&text).count() } else { 0 };
    Ok(Value::scalar(cut(characters(&text), count, start, length).collect::<String>()))
}

/// Its pieces; with an empty separator its characters. Nothing has no pieces.
pub fn split(input: &dyn ValueView, arguments: &[ValueCow<'_>], _runtime: &dyn Runtime) -> Result<Value> {
    let (text, separator) = (input.to_kstr(), arguments[0].to_kstr());
    let piece = |piece: &str| Value::scalar(piece.to_owned());
    Ok(Value::Array(match (text.as_str(), separator.as_str()) {
        ("", _) => Vec::new(),
        (text, "") => characters(text).map(piece).collect(),
        (text, separator) => text.split(separator).map(piece).collect(),
    }))
}

/// At most so many characters, the end (default `...`) included, where anything is cut off.
pub fn truncate(input: &dyn ValueView, arguments: &[ValueCow<'_>], _runtime: &dyn Runtime) -> Result<Value> {
    let length = arguments.first().map_or(Ok(TRUNCATED), |length| place(length.as_view()))?;
    let length = usize::try_from(length).map_err(|_| Error::with_msg(BELOW_ZERO))?;
    let end = arguments.get(1).map_or_else(|| "...".into(), ValueView::to_kstr);
    let text = input.to_kstr();
    if characters(&text).nth(length).is_none() {
        return Ok(input.to_value());
    }
    let kept = length.saturating_sub(characters(&end).count());
    Ok(Value::scalar(characters(&text).take(kept).chain(characters(&end).take(length)).collect::<String>()))
}

pub fn refuse_slice(argument: usize, value: &dyn ValueView) -> Option<String> {
    match place(value) {
        Ok(length) if argument == 1 && length < 1 => Some(NO_LENGTH.to_owned()),
        result => refuse_place(result, value),
    }
}

pub fn refuse_truncate(argument: usize, value: &dyn ValueView) -> Option<String> {
    match place(value) {
        _ if argument > 0 => None,
        Ok(length) if length < 0 => Some(BELOW_ZERO.to_owned()),
        result => refuse_place(result, value),
    }
}

const NO_LENGTH: &str = "the length of a piece is at least 1";
const BELOW_ZERO: &str = "a length is not below 0";

fn refuse_place(place: Result<i64>, value: &dyn ValueView) -> Option<String> {
    place.is_err().then(|| format!("it needs a whole number, not `{}`", value.to_kstr()))
}

/// `count` is asked only where the piece is counted from the end.
fn cut<I: Iterator>(items: I, count: usize, start: i64, length: usize) -> impl Iterator<Item = I::Item> {
    let back = usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX);
    let skipped = if start < 0 { count.checked_sub(back) } else { Some(back) };
    items.skip(skipped.unwrap_or(0)).take(skipped.map_or(0, |_| length))
}

//! Single fields of an input, from their JSON text: scalars without a copy where they have no escapes, objects, the context.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{MAX_TOKEN_BYTES, NOT_JSON, Unreadable, not_json, unreadable};
use crate::engine::value::Object;

/// Longest piece of the input that an error quotes, in bytes.
const CLIP_BYTES: usize = 80;

/// A field that should be a scalar.
pub enum Scalar<'a> {
    /// Not there, or null.
    Absent,
    Text(Cow<'a, str>),
    /// As it is written.
    Number(&'a str),
    /// Named for messages.
    Other(&'static str),
}

pub fn scalar(raw: Option<&RawValue>) -> Result<Scalar<'_>, Unreadable> {
    let Some(raw) = raw else { return Ok(Scalar::Absent) };
    let json = raw.get();
    match json.as_bytes().first() {
        Some(b'"') => match json.get(1..json.len() - 1) {
            Some(text) if !text.contains('\\') => Ok(Scalar::Text(Cow::Borrowed(text))),
            _ => serde_json::from_str(json).map(|text| Scalar::Text(Cow::Owned(text))).map_err(not_json),
        },
        Some(b'{') => Ok(Scalar::Other("an object")),
        Some(b'[') => Ok(Scalar::Other("a list")),
        Some(b't' | b'f') => Ok(Scalar::Other("a boolean")),
        Some(b'n') | None => Ok(Scalar::Absent),
        Some(_) => Ok(Scalar::Number(json)),
    }
}

/// Properties or traits. Of a key that occurs twice the last counts.
pub fn object(field: &str, raw: Option<&RawValue>) -> Result<Object, Unreadable> {
    let Some(raw) = raw else { return Ok(Object::new()) };
    match raw.get().as_bytes() {
        [b'{', ..] => serde_json::from_str(raw.get()).map_err(not_json),
        b"null" => Ok(Object::new()),
        [b'[', inner @ .., b']'] if inner.iter().all(u8::is_ascii_whitespace) => Ok(Object::new()),
        _ => Err(unreadable(NOT_JSON, format!("`{field}` is not an object but `{}`", clip(raw.get())))),
    }
}

/// What is asked of `context`.
#[derive(Default)]
pub struct Context {
    pub traits: Object,
    pub device_token: Option<Box<str>>,
}

#[derive(Deserialize)]
struct ContextFields<'a> {
    #[serde(borrow)]
    traits: Option<&'a RawValue>,
    #[serde(borrow)]
    device: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct DeviceFields<'a> {
    #[serde(borrow)]
    token: Option<&'a RawValue>,
}

impl Context {
    /// Reads it leniently: a context describes the sender, and one of another shape is no reason to lose the event.
    pub fn read(raw: Option<&RawValue>) -> Result<Context, Unreadable> {
        let Some(context) = raw.filter(|raw| is_object(raw)) else { return Ok(Context::default()) };
        let context: ContextFields = serde_json::from_str(context.get()).map_err(not_json)?;
        let device = context.device.filter(|raw| is_object(raw));
        let device: Option<DeviceFields> = device.map(|raw| serde_json::from_str(raw.get())).transpose().map_err(not_json)?;
        let device_token = match scalar(device.and_then(|device| device.token))? {
            Scalar::Text(token) if !token.is_empty() && token.len() <= MAX_TOKEN_BYTES => Some(token.into()),
            _ => None,
        };
        Ok(Context { traits: object("context.traits", context.traits.filter(|raw| is_object(raw)))?, device_token })
    }
}

/// The beginning of a text, for an error.
pub fn clip(text: &str) -> &str {
    let end = (0..=text.len().min(CLIP_BYTES)).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

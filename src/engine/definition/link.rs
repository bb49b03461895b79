//! Links: data of other services that a template asks for, fetched when the request is sent.

use std::time::Duration;

use super::document::ReadOptions;
use super::problem::Problems;
use super::reader::Reader;
use super::shape::{Shape, Type, key, required};
use super::text::{Data, Entry};
use super::{Link, OnLinkError, webhook};
use crate::engine::value::Value;

/// Bounds of a fetch: it holds up the send.
pub const TIMEOUT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// For a link that does not say.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest time a fetched answer is used again.
pub const MAX_TTL: Duration = Duration::from_secs(86_400);

pub(super) static LINK: Shape = Shape::new(
    "link",
    "a link",
    "Data of another service.",
    &[
        required("url", Type::Name, "https://host/path, fetched by GET; the host is fixed text, the rest may be a template."),
        key("ttl", Type::Duration, "How long an answer may be used again for the same URL. Absent: not at all."),
        key("timeout", Type::Duration, "How long to wait for it. Default 2s."),
        key("on_error", Type::Choice(&["drop", "empty"]), "`drop` (default): nothing is sent. `empty`: it is missing in the template."),
    ],
);

/// A link; what of it cannot be read has a stand-in. `None` without a name that a template could say.
pub(super) fn link(entry: &Entry, options: &ReadOptions, problems: &Problems) -> Option<Link> {
    let name = name(entry, problems);
    let read = fields(entry, options, problems);
    let unknown = || {
        let (url, host) = webhook::unknown_host(None);
        Link { name: "".into(), url, host, ttl: Duration::ZERO, timeout: DEFAULT_TIMEOUT, on_error: OnLinkError::Drop }
    };
    let link = problems.or_stand_in(read, unknown);
    Some(Link { name: name?, ..link })
}

/// All of it but its name.
fn fields(entry: &Entry, options: &ReadOptions, problems: &Problems) -> Option<Link> {
    if let Data::Scalar(Value::Text(text)) = &entry.value.data {
        let message = format!("the link `{}` must be a map, not text", entry.key);
        problems.error_with_help(entry.value.place, message, format!("write {{url: \"{text}\"}}"));
        return None;
    }
    let mut reader = Reader::of_named(&entry.value, &LINK, &format!("the link `{}`", entry.key), problems)?;
    let node = reader.require("url", "what to fetch, such as https://weather.example/{{ user.city }}");
    let url = node.and_then(|node| webhook::url(node, options, problems));
    let ttl = reader.duration("ttl", Duration::ZERO..=MAX_TTL).unwrap_or(Duration::ZERO);
    let timeout = reader.duration("timeout", TIMEOUT.0..=TIMEOUT.1).unwrap_or(DEFAULT_TIMEOUT);
    let on_error = reader.choice("on_error", &[("drop", OnLinkError::Drop), ("empty", OnLinkError::Empty)]);
    reader.close();
    let (url, host) = problems.or_stand_in(url, || webhook::unknown_host(node));
    Some(Link { name: "".into(), url, host, ttl, timeout, on_error: on_error.unwrap_or(OnLinkError::Drop) })
}

/// It stands behind `link.` in templates.
fn name(entry: &Entry, problems: &Problems) -> Option<Box<str>> {
    let name = &*entry.key;
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let plain = name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit()) && name.bytes().next().is_some_and(letter);
    if !plain {
        let help = "letters, digits and `_`, the first no digit: templates say `link.<name>`";
        problems.error_with_help(entry.place, format!("`{name}` cannot be the name of a link"), help);
    }
    plain.then(|| name.into())
}

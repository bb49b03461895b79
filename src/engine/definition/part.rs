//! Small parts that many documents have: a key, a property's path, a time of day, a zone, a secret or its name.

use std::time::Duration;

use super::problem::{Place, Problems, nearest};
use super::reader::{self, MAX_SPAN, Reader};
use super::shape::{Named, Shape, Type, required};
use super::text::{Data, Node};
use super::{Credential, Path, ZoneChoice, duration_text};
use crate::engine::calendar::{TimeOfDay, Zone};
use crate::engine::time::millis;
use crate::engine::value::Value;

/// Longest key of a document, in characters.
pub const MAX_KEY: usize = 63;

/// Stands for a key or a host that cannot be read: none that can is empty.
pub(super) const UNKNOWN: &str = "";

pub(super) static ZONE: Named =
    Named { id: "zone", doc: "An IANA time zone such as Asia/Seoul, or `user` for each user's own.", value: Type::Name };

pub(super) static CREDENTIAL: Named =
    Named { id: "credential", doc: "{secret: name}, or the text itself.", value: Type::AnyOf(&[Type::Name, Type::Map(&SECRET)]) };

pub(super) static SECRET: Shape = Shape::new(
    "secret",
    "a secret",
    "A secret by its name: a file in `secrets.dir`, or CAMPANILE_SECRET_<NAME>.",
    &[required("secret", Type::Name, "The secret's name.")],
);

/// `[a-z0-9][a-z0-9-]{0,62}`
pub(super) fn key<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    let node = reader.require("key", "a name of its own: lower-case letters, digits and hyphens")?;
    key_of(node, "`key`", reader.problems)
}

/// A key, also that of another document.
pub(super) fn key_of<'a>(node: &'a Node, what: &str, problems: &Problems) -> Option<&'a str> {
    let key = reader::text(node, what, problems)?;
    if is_key(key) {
        return Some(key);
    }
    let message = format!("`{key}` cannot be a key");
    let rule = format!("at most {MAX_KEY} lower-case letters, digits and hyphens, the first no hyphen");
    let help = likely_key(key).map_or(rule.clone(), |likely| format!("{rule}: `{likely}`?"));
    problems.error_with_help(node.place, message, help);
    None
}

/// The key that a text was probably meant to be.
pub(super) fn likely_key(text: &str) -> Option<String> {
    let likely: String = text.to_lowercase().chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect();
    let likely = likely.trim_matches('-');
    is_key(likely).then(|| likely.to_owned())
}

fn is_key(key: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=MAX_KEY).contains(&key.len()) && fits(key.as_bytes()[0]) && key.bytes().all(|byte| fits(byte) || byte == b'-')
}

/// The dotted name of a property.
pub(super) fn path(node: &Node, what: &str, problems: &Problems) -> Option<Path> {
    let path = reader::name(node, what, problems)?;
    check_path(path, node.place, problems).then(|| path.into())
}

/// Whether this can be the name of a property; says what is odd about it.
pub(super) fn check_path(path: &str, place: Place, problems: &Problems) -> bool {
    if path.contains(['{', '}']) {
        problems.error_with_help(place, format!("`{path}` is no property's name"), "write the bare name, without braces");
        return false;
    }
    for prefix in ["event.", "user.", "properties.", "traits."] {
        if let Some(rest) = path.strip_prefix(prefix).filter(|rest| !rest.is_empty()) {
            let message = format!(
                "`{path}` is looked up as a property of that whole name, or as `{rest}` within an object `{}`",
                &prefix[..prefix.len() - 1]
            );
            problems.warn(place, message, format!("did you mean `{rest}`? what it is a property of follows from where it stands"));
        }
    }
    true
}

/// A list of properties, none of them twice.
pub(super) fn paths(items: &[Node], what: &str, most: usize, problems: &Problems) -> Option<Vec<Path>> {
    if let Some(extra) = items.get(most) {
        problems.error(extra.place, format!("`{what}` has at most {most} items"));
        return None;
    }
    let item = format!("an item of `{what}`");
    let paths: Vec<Path> = super::condition::every(items.iter().map(|node| path(node, &item, problems)))?;
    for (position, path) in paths.iter().enumerate() {
        if paths[..position].contains(path) {
            problems.warn(items[position].place, format!("this item of `{what}` is there already"), "remove it");
        }
    }
    Some(paths)
}

/// `HH:MM`
pub(super) fn time_of_day(node: &Node, what: &str, problems: &Problems) -> Option<TimeOfDay> {
    if let Data::Scalar(Value::Int(minutes @ 0..1440)) = &node.data {
        let help = format!("did you mean \"{:02}:{:02}\"? in quotes: YAML 1.1 reads a time as a number", minutes / 60, minutes % 60);
        return reader::wrong(node, what, "a time of day such as \"09:00\"", Some(help), problems);
    }
    let text = reader::text(node, what, problems)?;
    let parsed = TimeOfDay::parse(text);
    if parsed.is_none() {
        let padded = format!("0{text}");
        let help = match TimeOfDay::parse(&padded) {
            Some(_) => format!("did you mean \"{padded}\"?"),
            None => "hours and minutes of a 24-hour clock, \"00:00\" to \"23:59\"".into(),
        };
        problems.error_with_help(node.place, format!("{what} must be a time of day such as \"09:00\", not `{text}`"), help);
    }
    parsed
}

/// An IANA zone name, in its proper spelling.
pub(super) fn zone(node: &Node, problems: &Problems) -> Option<Box<str>> {
    let name = reader::name(node, "`timezone`", problems)?;
    if let Some(zone) = Zone::find(name) {
        return Some(zone.name().into());
    }
    let known: Vec<Zone> = Zone::all().collect();
    let help = match nearest(name, known.iter().map(Zone::name)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "an IANA name such as Asia/Seoul or UTC".into(),
    };
    problems.error_with_help(node.place, format!("there is no time zone `{name}`"), help);
    None
}

/// A zone, or `user` for each user's own.
pub(super) fn zone_choice(reader: &mut Reader<'_>, otherwise: ZoneChoice) -> Option<ZoneChoice> {
    let Some(node) = reader.get("timezone") else { return Some(otherwise) };
    match &node.data {
        Data::Scalar(Value::Text(text)) if &**text == "user" => Some(ZoneChoice::User),
        _ => zone(node, reader.problems).map(ZoneChoice::Named),
    }
}

/// A span that may be negative, in milliseconds.
pub(super) fn signed_duration(node: &Node, what: &str, problems: &Problems) -> Option<i64> {
    if let Data::Scalar(Value::Text(text)) = &node.data
        && let Some(span) = text.strip_prefix('-').and_then(duration_text::parse)
    {
        if span > MAX_SPAN {
            problems.error(node.place, format!("{what} must be at least -{}, not {text}", duration_text::format(MAX_SPAN)));
            return None;
        }
        return Some(-millis(span));
    }
    reader::duration(node, what, Duration::ZERO..=MAX_SPAN, problems).map(millis)
}

/// `{secret: name}` or text.
pub(super) fn credential(node: &Node, what: &str, problems: &Problems) -> Option<Credential> {
    if let Data::Map(_) = node.data {
        let mut reader = Reader::of_named(node, &SECRET, what, problems)?;
        let name = reader.require("secret", "the name of a secret: {secret: name}").and(reader.name("secret"));
        reader.close();
        let name = name?;
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            problems.error_with_help(node.place, format!("`{name}` cannot be the name of a secret"), "letters, digits, `-`, `_` and `.`");
            return None;
        }
        return Some(Credential::Secret(name.into()));
    }
    reader::name(node, what, problems).map(|text| Credential::Text(text.into()))
}

/// A credential that never stands in a definition: those are stored, and shown to whoever may read them.
pub(super) fn secret(node: &Node, what: &str, problems: &Problems) -> Option<Credential> {
    let (why, help) = match &node.data {
        Data::Map(_) => return credential(node, what, problems),
        Data::Broken => return None,
        Data::Scalar(Value::Text(text)) if text.contains("{{") => ("is no template", "name the secret: {secret: name}"),
        _ => (
            "must be the name of a secret: definitions are stored, and many may read them",
            "write {secret: name}, and its value into a file of that name in `secrets.dir`, or CAMPANILE_SECRET_<NAME>",
        ),
    };
    problems.error_with_help(node.place, format!("{what} {why}"), help);
    None
}

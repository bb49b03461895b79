//! Headers of a webhook or a destination: which may be set at all.

use super::problem::{Place, Problems};
use super::reader::{self, Reader};
use super::shape::{Shape, Type};

/// How many headers, and how many parameters, a request may have of its own.
pub(super) const MAX_FIELDS: usize = 64;

/// Headers that a definition must not set, with the reason (contract, section 5; hop-by-hop: RFC 9110, section 7.6.1).
const FORBIDDEN_HEADERS: [(&str, &str); 14] = [
    ("content-type", "it follows from `content_type`"),
    ("user-agent", "it is always campanile's own"),
    ("host", "it follows from the url"),
    ("content-length", "it follows from the body"),
    ("transfer-encoding", "it belongs to the connection"),
    ("connection", "it belongs to the connection"),
    ("keep-alive", "it belongs to the connection"),
    ("proxy-connection", "it belongs to the connection"),
    ("proxy-authenticate", "it belongs to the connection"),
    ("proxy-authorization", "it belongs to the connection"),
    ("te", "it belongs to the connection"),
    ("trailer", "it belongs to the connection"),
    ("upgrade", "it belongs to the connection"),
    ("expect", "it belongs to the connection"),
];

/// The prefix of the headers that every attempt carries.
const OWN_PREFIX: &str = "webhook-";

pub(super) static HEADERS: Shape = Shape::new("headers", "`headers`", "Headers; values are templates.", &[]).and(Type::Text);

/// Headers of a webhook or a destination.
pub(super) fn headers(owner: &mut Reader<'_>) -> Vec<(Box<str>, Box<str>)> {
    let Some(node) = owner.get("headers") else { return Vec::new() };
    let problems = owner.problems;
    let entries = reader::map(node, "`headers`", problems).unwrap_or_default();
    bounded(entries.len(), "headers", node.place, problems);
    let mut headers: Vec<(Box<str>, Box<str>)> = Vec::with_capacity(entries.len());
    for entry in entries {
        let name = &*entry.key;
        if headers.iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
            problems.error(entry.place, format!("the header `{name}` comes twice: case makes no difference"));
            continue;
        }
        header_name(name, entry.place, problems);
        let Some(value) = reader::text(&entry.value, &format!("the header `{name}`"), problems) else { continue };
        if value.chars().any(|c| c.is_control() && c != '\t') {
            let help = "a value over several lines: write it on one";
            problems.error_with_help(entry.value.place, format!("the header `{name}` has a line break or another control character"), help);
        }
        headers.push((name.into(), value.into()));
    }
    headers
}

fn header_name(name: &str, place: Place, problems: &Problems) {
    let lower = name.to_ascii_lowercase();
    // RFC 9110, section 5.6.2: token.
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        let help = "letters, digits and hyphens; only the value may be a template";
        problems.error_with_help(place, format!("`{name}` cannot be the name of a header"), help);
    } else if let Some((_, why)) = FORBIDDEN_HEADERS.iter().find(|(forbidden, _)| *forbidden == lower) {
        problems.error_with_help(place, format!("the header `{name}` cannot be set: {why}"), "remove it");
    } else if lower.starts_with(OWN_PREFIX) {
        let message = format!("the header `{name}` cannot be set: names that begin with `{OWN_PREFIX}` are the sender's own");
        problems.error_with_help(place, message, "choose another name");
    }
}

pub(super) fn bounded(count: usize, what: &str, place: Place, problems: &Problems) {
    if count > MAX_FIELDS {
        problems.error(place, format!("`{what}` has at most {MAX_FIELDS} entries, not {count}"));
    }
}

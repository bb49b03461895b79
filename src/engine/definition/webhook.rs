//! The webhook: everything of it that can be checked without knowing templates. Which templates compile is `rendering`'s.

use super::document::ReadOptions;
use super::problem::{Place, Problems};
use super::reader::{self, Reader};
use super::text::{Data, Node};
use super::{Body, ContentType, Method, Webhook, address};
use crate::engine::value::Value;

/// Longest URL as written, in bytes.
const MAX_URL_BYTES: usize = 4096;

/// How many headers, and how many parameters, a request may have of its own.
const MAX_FIELDS: usize = 64;

const METHODS: [(&str, Method); 5] =
    [("GET", Method::Get), ("POST", Method::Post), ("PUT", Method::Put), ("PATCH", Method::Patch), ("DELETE", Method::Delete)];

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

pub(super) fn webhook(node: &Node, options: &ReadOptions, problems: &Problems) -> Option<Webhook> {
    let mut reader = Reader::open(node, "`webhook`", problems)?;
    let url =
        reader.require("url", "where to send it, such as https://api.example/v1/messages").and_then(|node| url(node, options, problems));
    let method = reader.choice("method", &METHODS).unwrap_or(Method::Post);
    let params = params(&mut reader);
    let headers = headers(&mut reader);
    let content_type = reader.choice("content_type", &[("json", ContentType::Json), ("text", ContentType::Text)]);
    let place = reader.place;
    let body = body(&mut reader, method, content_type.unwrap_or(ContentType::Json), place);
    let destination = reader.name("destination").map(Into::into);
    reader.close(&["link"]);
    let (url, host) = url?;
    Some(Webhook {
        url,
        host,
        method,
        params,
        headers,
        content_type: content_type.unwrap_or(ContentType::Json),
        body: body?,
        links: Vec::new(),
        destination,
    })
}

/// The URL as written, and its host.
fn url(node: &Node, options: &ReadOptions, problems: &Problems) -> Option<(Box<str>, Box<str>)> {
    let url = reader::name(node, "`url`", problems)?;
    if url.len() > MAX_URL_BYTES {
        problems.error(node.place, format!("`url` has at most {MAX_URL_BYTES} bytes, not {}", url.len()));
        return None;
    }
    match address::host_of_url(url, options.allow_http) {
        Ok(host) => Some((url.into(), host)),
        Err(refused) => {
            problems.error_with_help(node.place, refused.message, refused.help);
            None
        }
    }
}

fn params(webhook: &mut Reader<'_>) -> Vec<(Box<str>, Value)> {
    let Some(node) = webhook.get("params") else { return Vec::new() };
    let problems = webhook.problems;
    let entries = reader::map(node, "`params`", problems).unwrap_or_default();
    bounded(entries.len(), "params", node.place, problems);
    let mut params = Vec::with_capacity(entries.len());
    for entry in entries {
        if entry.key.is_empty() {
            problems.error(entry.place, "a parameter's name must not be empty");
        }
        match &entry.value.data {
            Data::Scalar(value) => params.push((entry.key.clone(), value.clone())),
            Data::Broken => {}
            Data::List(_) | Data::Map(_) => {
                let message = format!("the parameter `{}` must be one value, not {}", entry.key, entry.value.kind());
                problems.error(entry.value.place, message);
            }
        }
    }
    params.retain(|(_, value)| !value.is_null());
    params
}

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

fn body(webhook: &mut Reader<'_>, method: Method, content_type: ContentType, place: Place) -> Option<Body> {
    let problems = webhook.problems;
    let Some(node) = webhook.get("body") else {
        if content_type == ContentType::Text && method != Method::Get {
            problems.error_with_help(
                place,
                "`content_type: text` needs a body",
                "without one the body is JSON: write `body`, or `content_type: json`",
            );
        }
        return Some(Body::Default);
    };
    if method == Method::Get {
        problems.error_with_help(node.place, "a GET has no body", "use `params`, or another method");
        return None;
    }
    match &node.data {
        Data::Broken => None,
        Data::Map(entries) => {
            if let [entry] = &entries[..]
                && &*entry.key == "profiles"
                && matches!(entry.value.data, Data::Map(_))
            {
                reader::unsupported(entry.place, "profiles", problems);
                return None;
            }
            if content_type == ContentType::Text {
                problems.error_with_help(
                    node.place,
                    "`content_type: text` needs a text body, not a map",
                    "write it in quotes, or use `content_type: json`",
                );
                return None;
            }
            Some(Body::Map(node.to_value()))
        }
        Data::Scalar(Value::Text(text)) => Some(Body::Text(text.clone())),
        Data::Scalar(_) | Data::List(_) => {
            problems.error(node.place, format!("`body` must be a map or text, not {}", node.kind()));
            None
        }
    }
}

fn bounded(count: usize, what: &str, place: Place, problems: &Problems) {
    if count > MAX_FIELDS {
        problems.error(place, format!("`{what}` has at most {MAX_FIELDS} entries, not {count}"));
    }
}

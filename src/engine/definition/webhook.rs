//! The webhook: everything of it that can be checked without knowing templates. Which templates compile is `rendering`'s.

use super::condition::warn_of_doubt;
use super::document::ReadOptions;
use super::headers::{self, bounded};
use super::problem::{Place, Problems};
use super::reader::{self, Reader};
use super::shape::{Form, Shape, Type, key, required};
use super::text::{Data, Node};
use super::{Body, ContentType, Link, Method, Profiles, Webhook, address, link, part, profiles};
use crate::engine::value::Value;

/// Longest URL as written, in bytes.
const MAX_URL_BYTES: usize = 4096;

const METHODS: [(&str, Method); 5] =
    [("GET", Method::Get), ("POST", Method::Post), ("PUT", Method::Put), ("PATCH", Method::Patch), ("DELETE", Method::Delete)];

/// How many services may be asked for one request, one after the other.
const MAX_LINKS: usize = 4;

pub(super) static WEBHOOK: Shape = Shape::new(
    "webhook",
    "`webhook`",
    "The request that is sent.",
    &[
        required("url", Type::Name, "https://host/path; the host is fixed text, outputs after it are percent-encoded."),
        key("method", Type::Choice(&["GET", "POST", "PUT", "PATCH", "DELETE"]), "Default POST."),
        key("params", Type::Map(&PARAMS), "Query parameters; values are templates."),
        key("headers", Type::Map(&headers::HEADERS), "Headers of its own; values are templates."),
        key("content_type", Type::Choice(&["json", "text"]), "`json` (default) or `text`."),
        key(
            "body",
            Type::AnyOf(&[Type::Text, Type::Map(&PROFILES_BODY), Type::Map(&BODY)]),
            "A map is always valid JSON, text is a raw template, {profiles: {...}} is CleverTap's payload. Absent: campaign, delivery_id, user_id, event, timestamp, properties.",
        ),
        key("link", Type::Map(&LINKS), "Data of other services, fetched when it is sent: `link.<name>` in templates."),
        key("destination", Type::DocumentKey, "The key of a destination, where several match the host."),
    ],
);

static PARAMS: Shape = Shape::new("params", "`params`", "Query parameters.", &[]).and(Type::Scalar);
static LINKS: Shape = Shape::new("links", "`link`", "Services by name.", &[]).and(Type::Map(&link::LINK));
static PROFILES_BODY: Shape = Shape::kinds(
    "profiles_body",
    "`body`",
    "CleverTap's payload.",
    &[key("profiles", Type::Map(&profiles::PROFILES), "CleverTap's payload.")],
);
static BODY: Shape = Shape {
    form: Form::NotOnly("profiles"),
    ..Shape::new("body", "`body`", "What is sent as JSON; a text that is one lone {{ expression }} keeps the value's type.", &[])
        .and(Type::Anything)
};

pub(super) fn webhook(node: &Node, options: &ReadOptions, problems: &Problems) -> Option<Webhook> {
    let mut reader = Reader::of(node, &WEBHOOK, problems)?;
    let url_node = reader.require("url", "where to send it, such as https://api.example/v1/messages");
    let url = url_node.and_then(|node| url(node, options, problems));
    let method = reader.choice("method", &METHODS).unwrap_or(Method::Post);
    let params = params(&mut reader);
    let headers = headers::headers(&mut reader);
    let content_type = reader.choice("content_type", &[("json", ContentType::Json), ("text", ContentType::Text)]);
    let place = reader.place;
    let body = body(&mut reader, method, content_type.unwrap_or(ContentType::Json), place);
    let links = links(&mut reader, options);
    let destination = reader.name("destination").map(Into::into);
    reader.close();
    let (url, host) = problems.or_stand_in(url, || unknown_host(url_node));
    Some(Webhook {
        url,
        host,
        method,
        params,
        headers,
        content_type: content_type.unwrap_or(ContentType::Json),
        body: problems.or_stand_in(body, || Body::Profiles(Profiles::default())),
        links: problems.or_stand_in(links, Vec::new),
        destination,
    })
}

/// Stands for one that cannot be read.
pub(super) fn unknown() -> Webhook {
    let (url, host) = unknown_host(None);
    // The only body that suits every destination.
    Webhook { body: Body::Profiles(Profiles::default()), ..Webhook::new(&url, &host) }
}

/// Stands for a URL that was refused, with whatever follows its host: that may hold templates.
pub(super) fn unknown_host(url: Option<&Node>) -> (Box<str>, Box<str>) {
    let written = match url {
        Some(Node { data: Data::Scalar(Value::Text(text)), .. }) => text.as_str(),
        _ => "",
    };
    let after_scheme = written.split_once("://").map_or(written, |(_, rest)| rest);
    let path = after_scheme.find('/').map_or("", |at| &after_scheme[at..]);
    (format!("https://unknown.invalid{path}").into(), part::UNKNOWN.into())
}

/// The URL as written, and its host.
pub(super) fn url(node: &Node, options: &ReadOptions, problems: &Problems) -> Option<(Box<str>, Box<str>)> {
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
            Data::Scalar(value) => {
                warn_of_doubt(&entry.value, problems);
                params.push((entry.key.clone(), value.clone()));
            }
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
    }
    match &node.data {
        Data::Broken => None,
        Data::Map(entries) => {
            let profiles = match &entries[..] {
                [entry] if &*entry.key == "profiles" && matches!(entry.value.data, Data::Map(_)) => Some(&entry.value),
                _ => None,
            };
            if content_type == ContentType::Text {
                problems.error_with_help(
                    node.place,
                    "`content_type: text` needs a text body, not a map",
                    "write it in quotes, or use `content_type: json`",
                );
            }
            if let Some(node) = profiles {
                return profiles::profiles(node, problems).map(Body::Profiles);
            }
            warn_of_doubts(node, problems);
            Some(Body::Map(node.to_value()))
        }
        Data::Scalar(Value::Text(text)) => Some(Body::Text(text.as_str().into())),
        Data::Scalar(_) | Data::List(_) => {
            problems.error(node.place, format!("`body` must be a map or text, not {}", node.kind()));
            None
        }
    }
}

/// What in a body stands for something else than it looks like.
pub(super) fn warn_of_doubts(node: &Node, problems: &Problems) {
    match &node.data {
        Data::Scalar(_) => warn_of_doubt(node, problems),
        Data::List(items) => items.iter().for_each(|item| warn_of_doubts(item, problems)),
        Data::Map(entries) => entries.iter().for_each(|entry| warn_of_doubts(&entry.value, problems)),
        Data::Broken => {}
    }
}

fn links(webhook: &mut Reader<'_>, options: &ReadOptions) -> Option<Vec<Link>> {
    let Some(node) = webhook.get("link") else { return Some(Vec::new()) };
    let problems = webhook.problems;
    let entries = reader::map(node, "`link`", problems)?;
    if let Some(extra) = entries.get(MAX_LINKS) {
        problems.error(extra.place, format!("`link` has at most {MAX_LINKS} entries, not {}", entries.len()));
    }
    // One without a name is nothing that a template could ask for.
    let links: Vec<Option<Link>> = entries.iter().map(|entry| link::link(entry, options, problems)).collect();
    Some(links.into_iter().filter_map(|link| problems.or_stand_in(link.map(Some), || None)).collect())
}

//! Rendering: a campaign's webhook compiled once, then rendered into a frozen request for each send. Templates are Liquid; what
//! is missing is empty and counted. Pure: secrets stay references, the only time is the one given.
//!
//! `compile.rs` takes the webhook apart, `text.rs` one template text (cut by `scan.rs`, its expressions read by
//! `expression.rs`), `renderer.rs` renders it, `lookup.rs` finds variables, `style.rs` writes text into its place, `profiles.rs`
//! a user as CleverTap wants it, `liquid/` is what needs a run-time. `view.rs` shows a request to people.

mod compile;
mod expression;
mod liquid;
mod lookup;
mod missing;
mod profiles;
mod renderer;
mod scan;
mod style;
mod text;
pub mod view;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use super::definition::{Campaign, ContentType, Method, OnLinkError};
use super::effect::{Reason, Wanted};
use super::id::DeliveryId;
use super::profile::Profile;
use super::record::{Frozen, Piece, Request};
use super::time::Timestamp;
use super::value::{Object, Value};

pub use compile::{check_destination, compile};
pub use liquid::{MAX_LOOP_PASSES, MAX_WORK_BYTES};
pub use missing::missing;
pub use text::secrets_named;

use renderer::{Renderer, Stop};
use text::Part;

/// Largest rendered request: URL, headers and body together.
pub const MAX_REQUEST_BYTES: usize = 32 << 10;

/// Largest single template text: its fixed part alone must fit a request.
pub const MAX_TEMPLATE_BYTES: usize = 2 * MAX_REQUEST_BYTES;

/// The compiled webhook of one campaign. Small to keep: fixed text is stored once, joined and already encoded, and simple
/// variables are a name; only filters and tags keep a tree.
#[derive(Debug)]
pub struct Template {
    destination: Box<str>,
    method: Method,
    content_type: ContentType,
    url: Box<[Part]>,
    /// Sorted by name without regard to case.
    headers: Box<[Header]>,
    body: Option<Box<[Part]>>,
    /// A raw JSON template with outputs: only the result shows whether it is JSON.
    body_is_raw_json: bool,
    links: Box<[Link]>,
}

/// A link's URL, compiled.
#[derive(Debug)]
struct Link {
    name: Box<str>,
    url: Box<[Part]>,
    ttl: Duration,
    timeout: Duration,
    on_error: OnLinkError,
}

impl Template {
    /// Whether anything must be fetched before it can be rendered.
    pub fn has_links(&self) -> bool {
        !self.links.is_empty()
    }

    /// How long that may take: links are fetched one after the other.
    pub fn longest_fetch(&self) -> Duration {
        self.links.iter().map(|link| link.timeout).sum()
    }

    /// Whether these are the values of its links: it may have been edited since they were asked for.
    pub fn is_linked_by(&self, fetched: &[(Box<str>, Value)]) -> bool {
        self.links.iter().all(|link| fetched.iter().any(|(name, _)| *name == link.name))
    }
}

/// Name and value.
type Header = (Box<str>, Box<[Part]>);

/// What a webhook's templates see.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    pub user_id: &'a str,
    pub user: &'a Profile,
    pub trigger: Triggered<'a>,
    pub campaign: &'a Campaign,
    pub delivery: DeliveryId,
    /// The time of decision.
    pub now: Timestamp,
    /// What was fetched, by the link's name; null is missing.
    pub links: &'a [(Box<str>, Value)],
}

/// What triggered the send: `trigger` and `event` of the templates.
#[derive(Clone, Copy, Debug)]
pub struct Triggered<'a> {
    /// `action`, `inaction`, `api`, ...
    pub kind: &'a str,
    /// The event's name, empty without one.
    pub event: &'a str,
    pub message_id: &'a str,
    pub timestamp: Timestamp,
    pub properties: &'a Object,
    /// `events.<name>`: the properties of each event of a completed set.
    pub others: &'a [(Box<str>, Object)],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub request: Request,
    /// Outputs that had neither a value nor a `default`.
    pub missing: u32,
    /// At which byte of the last piece of a `profiles` body its profile begins.
    pub profile_at: Option<u32>,
}

/// Why nothing is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// `aborted_by_template` or `render_failed`.
    pub reason: Reason,
    pub why: String,
}

/// What is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateProblem {
    /// Such as `webhook.body.text`; of a destination `headers.X-Key`.
    pub field: String,
    pub message: String,
    /// Line and column (in characters) inside the field's text, both from 1.
    pub at: Option<(usize, usize)>,
}

impl fmt::Display for TemplateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((line, column)) => write!(f, "{} (line {line}, column {column}): {}", self.field, self.message),
            None => write!(f, "{}: {}", self.field, self.message),
        }
    }
}

/// Something wrong at a place of a template text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    message: String,
    /// In bytes.
    offset: usize,
}

impl Fault {
    fn at(offset: usize, message: impl Into<String>) -> Fault {
        Fault { message: message.into(), offset }
    }
}

/// Bytes set aside for a rendered body; most are smaller.
const BODY_GUESS: usize = 512;
const URL_GUESS: usize = 128;
const HEADER_GUESS: usize = 32;

/// Renders one request. Total: whatever the values are, the answer is a request or the reason why there is none.
pub fn render(template: &Template, scope: &Scope<'_>) -> Result<Rendered, Held> {
    let mut renderer = Renderer::new(*scope, MAX_REQUEST_BYTES);
    let url = renderer.render(&template.url, URL_GUESS).map_err(|stop| held("url", stop))?;
    if !text::is_fixed(&template.url) {
        check_path(&url)?;
    }
    let mut headers = Vec::with_capacity(template.headers.len());
    for (name, parts) in &template.headers {
        let value = renderer.render(parts, HEADER_GUESS).map_err(|stop| held(&format!("header {name}"), stop))?;
        if texts(&value).any(|text| text.chars().any(|c| c.is_control() && c != '\t')) {
            return Err(failed(format!("header {name}: a line break or control character in the rendered value")));
        }
        headers.push((name.clone(), value));
    }
    let body = match &template.body {
        None => None,
        Some(parts) => Some(renderer.render(parts, BODY_GUESS).map_err(|stop| held("body", stop))?),
    };
    if let (true, Some(body)) = (template.body_is_raw_json, &body) {
        check_json(body)?;
    }
    let request = Request {
        destination: template.destination.clone(),
        method: template.method,
        url,
        headers,
        content_type: template.content_type,
        body,
    };
    Ok(Rendered { request, missing: renderer.missing(), profile_at: renderer.profile_at() })
}

/// The URLs of a webhook's links, in order.
pub fn wanted(template: &Template, scope: &Scope<'_>) -> Result<Vec<Wanted>, Held> {
    let mut renderer = Renderer::new(*scope, MAX_REQUEST_BYTES);
    let one = |link: &Link| {
        let Link { name, url, ttl, timeout, on_error } = link;
        let url = renderer.render(url, URL_GUESS).map_err(|stop| held(&format!("link {name}"), stop))?;
        check_path(&url)?;
        // Without secrets it is all text.
        let url = texts(&url).collect::<String>().into();
        Ok(Wanted { name: name.clone(), url, ttl: *ttl, timeout: *timeout, on_error: *on_error })
    };
    template.links.iter().map(one).collect()
}

/// A `..` that came out of a value would climb out of the path that the definition fixed: URL parsers resolve it, encoded or not.
fn check_path(url: &Frozen) -> Result<(), Held> {
    let Some(Piece::Text(first)) = url.0.first() else { return Ok(()) };
    let path = first.split(['?', '#']).next().unwrap_or_default();
    match path.split('/').find(|segment| is_dots(segment)) {
        Some(segment) => Err(failed(format!("url: the path has a segment `{segment}` after rendering"))),
        None => Ok(()),
    }
}

/// `.` or `..`, also encoded.
fn is_dots(segment: &str) -> bool {
    let mut rest = segment;
    let mut dots = 0;
    while let Some(after) = ["%2E", "%2e", "."].iter().find_map(|dot| rest.strip_prefix(dot)) {
        (rest, dots) = (after, dots + 1);
    }
    rest.is_empty() && matches!(dots, 1 | 2)
}

fn check_json(body: &Frozen) -> Result<(), Held> {
    // A secret in a raw template is the whole body: a JSON string by construction.
    let [Piece::Text(text)] = &body.0[..] else {
        return if body.0.is_empty() { Err(failed("body: the rendered text is empty, which is not JSON".to_owned())) } else { Ok(()) };
    };
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map(|_| ())
        .map_err(|error| failed(format!("body: the rendered text is not JSON: {error}")))
}

fn texts(frozen: &Frozen) -> impl Iterator<Item = &str> {
    frozen.0.iter().filter_map(|piece| match piece {
        Piece::Text(text) => Some(&**text),
        Piece::Secret(..) => None,
    })
}

fn held(field: &str, stop: Stop) -> Held {
    match stop {
        Stop::Abort(why) => Held { reason: Reason::AbortedByTemplate, why },
        Stop::TooLarge => failed(format!("{field}: the rendered request is larger than {MAX_REQUEST_BYTES} bytes")),
        Stop::Failed(why) => failed(format!("{field}: {why}")),
    }
}

fn failed(why: String) -> Held {
    Held { reason: Reason::RenderFailed, why }
}

//! Definitions: text in, checked definitions out, or every problem with its place. This room is given text and a name; it
//! never opens a file, and it knows nothing of templates beyond their text (`catalog` has them compiled).
//!
//! `text` makes a tree with places, `reader` reads it with types and collects problems (both serve settings and scenario
//! files too); `document` says what a file's documents are, and hands each to the file named after its kind; `together`
//! checks what only shows among several.

pub mod problem;
pub mod reader;
pub mod text;

mod document;
mod together;

mod campaign;
mod condition;
mod rule;
mod trigger;

mod address;
mod webhook;

mod destination;
mod workspace;

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use document::{Document, Kind, Places, ReadOptions, WORKSPACE_KEY, read, read_canonical};
pub use problem::{Place, Problem, Severity};
pub use together::check_together;

use super::id::CampaignId;
use super::value::Value;

/// One checked document.
#[derive(Clone, Debug, PartialEq)]
pub enum Definition {
    Campaign(Box<Campaign>),
    Destination(Box<Destination>),
    Workspace(Box<Workspace>),
}

/// A campaign as it is in force. Times and spans are checked; templates are text that `rendering` compiles.
#[derive(Clone, Debug, PartialEq)]
pub struct Campaign {
    pub id: CampaignId,
    /// `[a-z0-9][a-z0-9-]{0,62}`
    pub key: Box<str>,
    pub title: Option<Box<str>>,
    pub description: Option<Box<str>>,
    /// From 1; an edit bumps it. `check` gives 1, the catalog the true one.
    pub version: u32,
    /// As written; `None` when the document does not say (unchanged, or `ready` for a new one).
    pub status: Option<Status>,
    pub tags: Vec<Box<str>>,
    pub channel: Option<Box<str>>,
    /// Higher first, then key.
    pub priority: i64,
    pub trigger: Trigger,
    /// `Rule::All(vec![])` is everyone.
    pub audience: Rule,
    pub fatigue: Fatigue,
    pub webhook: Webhook,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ready,
    Running,
    Paused,
    Ended,
}

impl Status {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Ready => "ready",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Ended => "ended",
        }
    }
}

/// What starts a send.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// T1: the event itself.
    Action(Pattern),
    /// T3: `after` happened and `without` did not within [t, t + within).
    Inaction(Inaction),
    /// T8: an internal server asks.
    Api,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Inaction {
    pub after: Pattern,
    pub without: Pattern,
    pub within: Duration,
    /// Pairs of properties, of `after` and of `without`, that must be equal; empty = one clock per user.
    pub same: Vec<SamePair>,
    pub again: Again,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamePair {
    pub after: Path,
    pub without: Path,
}

/// What a second `after` does while one pends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    Ignore,
    Restart,
}

/// Events of one name whose properties meet a condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    pub event: Box<str>,
    pub condition: Condition,
}

/// A dotted property name; [`super::value::Object::lookup`] says how it is resolved.
pub type Path = Box<str>;

/// A condition on the properties of one event, or on traits. `All(vec![])` always holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Test { path: Path, test: Test },
}

impl Condition {
    /// Holds for everything.
    pub const ALWAYS: Condition = Condition::All(Vec::new());
}

/// An operator with its operand. Missing or wrong type: a positive operator is false, `Ne NotIn NotContains` are the exact
/// opposite of `Eq In Contains`. An array matches when any element does.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    Eq(Operand),
    Ne(Operand),
    In(Vec<Operand>),
    NotIn(Vec<Operand>),
    Gt(Operand),
    Gte(Operand),
    Lt(Operand),
    Lte(Operand),
    /// Both ends included.
    Between(Operand, Operand),
    Contains(Operand),
    NotContains(Operand),
    StartsWith(Operand),
    EndsWith(Operand),
    /// Equal without regard to case (Unicode lower case).
    Ieq(Operand),
    Icontains(Operand),
    IstartsWith(Operand),
    IendsWith(Operand),
    Matches(Regex),
    Exists(bool),
    /// Instants: ISO 8601, a date (midnight of the zone), Unix seconds or milliseconds.
    Before(Operand),
    After(Operand),
    /// Within the span before now / after now, seen from the instant of judging.
    InLast(Duration),
    InNext(Duration),
    MultipleOf(Operand),
    VersionGt(Operand),
    VersionGte(Operand),
    VersionLt(Operand),
    VersionLte(Operand),
}

/// What a property is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    Value(Value),
    /// A property of the triggering event.
    Event(Path),
    /// A trait of the user.
    User(Path),
}

/// A compiled regular expression, equal when its text is.
#[derive(Clone, Debug)]
pub struct Regex(pub regex::Regex);

impl PartialEq for Regex {
    fn eq(&self, other: &Regex) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// A rule over a user. (Cohorts and event history join with the rest of the language.)
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    All(Vec<Rule>),
    Any(Vec<Rule>),
    Not(Box<Rule>),
    User(Condition),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Fatigue {
    pub resend: Resend,
    /// false = neither stopped by caps nor counted in them.
    pub frequency_cap: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    Never,
    Always,
    After(Duration),
}

/// The request as written: every `String` here that may hold `{{ }}` is template text.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    pub url: Box<str>,
    /// `host[:port]` as written in the URL, lower case: fixed text, chooses the destination.
    pub host: Box<str>,
    pub method: Method,
    /// Query parameters in order; values are templates.
    pub params: Vec<(Box<str>, Value)>,
    pub headers: Vec<(Box<str>, Box<str>)>,
    pub content_type: ContentType,
    pub body: Body,
    /// Names a destination where two match the host.
    pub destination: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentType {
    /// `application/json`
    Json,
    /// `text/plain; charset=utf-8`
    Text,
}

impl ContentType {
    /// The media type that is sent.
    pub fn media_type(self) -> &'static str {
        match self {
            ContentType::Json => "application/json",
            ContentType::Text => "text/plain; charset=utf-8",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Nothing written: `{"campaign","delivery_id","user_id","event","timestamp","properties"}`; a GET has none.
    Default,
    /// A map, whose text leaves are templates: always valid JSON.
    Map(Value),
    /// A raw template.
    Text(Box<str>),
}

/// A named endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    pub key: Box<str>,
    /// `host[:port]`, lower case.
    pub host: Box<str>,
    pub max_in_flight: Option<u32>,
    /// 1 s to 90 s.
    pub timeout: Option<Duration>,
    pub max_retries: Option<u32>,
    /// Added to every request, as a webhook's own; templates over `secret` and `campaign`.
    pub headers: Vec<(Box<str>, Box<str>)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workspace {
    /// An IANA zone name; `None` = UTC.
    pub timezone: Option<Box<str>>,
    /// At most 10, all must allow.
    pub frequency_caps: Vec<FrequencyCap>,
    /// Events remembered ahead of need.
    pub track: Vec<Box<str>>,
}

/// At most `limit` sends within a sliding window `per` (half open: a send exactly `per` ago no longer counts), of all sends or
/// only those of a channel or a tag. Serialises as it was defined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrequencyCap {
    pub limit: u32,
    #[serde(with = "duration_text")]
    pub per: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Box<str>>,
}

/// Durations in the contract's notation: `30s 15m 12h 7d 2w 1mo` (1d = 24 h, 1mo = 30 days).
pub mod duration_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    const UNITS: [(&str, u64); 7] =
        [("mo", 30 * 86_400_000), ("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

    /// Reads `30s`; `None` for anything else, also for a number without a unit.
    pub fn parse(text: &str) -> Option<Duration> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let millis = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        number.parse::<u64>().ok()?.checked_mul(millis).map(Duration::from_millis)
    }

    /// The shortest exact notation.
    pub fn format(span: Duration) -> String {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let (unit, size) = UNITS
            .iter()
            .filter(|(unit, _)| *unit != "mo" && *unit != "w")
            .find(|(_, size)| millis >= *size && millis % size == 0)
            .copied()
            .unwrap_or(("s", 1000));
        format!("{}{unit}", millis / size)
    }

    pub fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format(*span))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| serde::de::Error::custom(format_args!("`{text}` is not a duration such as 30m or 7d")))
    }
}

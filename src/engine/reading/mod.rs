//! Reading: bytes of the events topics, or of an HTTP body, to an [`Event`] (contract, section 4: the Segment spec).
//!
//! In two halves. [`header`] is one pass over the text that borrows: it checks all but properties and traits, and says what the
//! event is called, so that one of no interest is finished without a copy. [`Header::into_event`] reads the rest. What cannot
//! be read is data with the contract's reason; nothing here panics, and nothing here knows Kafka or HTTP.
//!
//! As Segment, RudderStack and Jitsu write: fields that are not asked for (`originalTimestamp`, `sentAt`, `receivedAt`,
//! `integrations`, `channel`) are passed over, their text is not checked beyond JSON's grammar. An empty list stands for an
//! empty object, for PHP writes it so.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use self::field::{Scalar, clip, scalar};
use super::event::{Body, Event, Position, SourceId};
use super::id::{MAX_ID_BYTES, PSEUDO};
use super::time::Timestamp;
use super::value::{Object, Value};

mod depth;
mod field;

#[cfg(test)]
mod tests;

/// Largest input in bytes (contract, section 4).
pub const MAX_INPUT_BYTES: usize = 1024 * 1024;

/// Deepest nesting of objects and lists, the event itself being the first level (contract, section 4).
pub const MAX_DEPTH: usize = 64;

/// An event may be this much ahead of the broker's clock; one further ahead is taken for a wrong clock and set to the broker's time.
pub const MAX_AHEAD: Duration = Duration::from_secs(5 * 60);

/// Longest device token that is kept; those of Apple and Google stay well below.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// What kind of input it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `track`, and `page` and `screen`, which are events of those names.
    Track,
    Identify,
    Delete,
    Send,
    /// `alias` and `group`: accepted, and to be counted; they carry nothing for us and need no user.
    Ignored,
}

/// What an event says of itself, borrowed from its text. Checked, apart from properties, traits and what needs the [`Place`].
#[derive(Debug)]
pub struct Header<'a> {
    kind: Kind,
    /// Empty for what is ignored.
    user: Cow<'a, str>,
    anonymous_id: Option<Cow<'a, str>>,
    /// The name of an event, the campaign of a send; empty for the rest.
    name: Cow<'a, str>,
    message_id: Option<Cow<'a, str>>,
    timestamp: Option<Timestamp>,
    /// `name` and `category`, which join the properties of a page or screen.
    page: [(&'static str, Option<&'a RawValue>); 2],
    context: Option<&'a RawValue>,
    properties: Option<&'a RawValue>,
    traits: Option<&'a RawValue>,
}

/// Where the bytes came from.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// [`SourceId::of`] what follows. Given, for it is the same for every record of a partition and costs a hash.
    pub source: SourceId,
    pub topic: &'a str,
    pub partition: i32,
    /// `kafka.generation`
    pub generation: u32,
    pub offset: i64,
    /// The record's time as the broker has it; over HTTP the arrival.
    pub broker_time: Timestamp,
}

impl Place<'_> {
    /// The id of a message that has none. A topic that was made again, as a later generation, has the same offsets once more.
    fn message_id(&self) -> Box<str> {
        let Place { topic, partition, generation, offset, .. } = self;
        match generation {
            0 | 1 => format!("{topic}/{partition}/{offset}").into(),
            later => format!("{topic}/{later}/{partition}/{offset}").into(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `triggers.max_lateness`: a timestamp older than the broker's time by more is [`TOO_LATE`].
    pub max_lateness: Duration,
}

/// Why an input cannot be read: for the dead-letter topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {error}")]
pub struct Unreadable {
    /// One of the contract's reasons, the constants below.
    pub reason: &'static str,
    /// A sentence for people; what it quotes of the input is clipped.
    pub error: String,
}

/// No JSON object, or one whose known fields have the wrong shape.
pub const NOT_JSON: &str = "not_json";
pub const UNSUPPORTED_TYPE: &str = "unsupported_type";
/// Neither `userId` nor `anonymousId`, or one that no user can have.
pub const NO_USER: &str = "no_user";
/// A `track` without `event`, a `send` without `campaign`.
pub const NO_EVENT: &str = "no_event";
pub const BAD_TIMESTAMP: &str = "bad_timestamp";
/// An event name that begins with `$`.
pub const RESERVED_NAME: &str = "reserved_name";
/// The input, or one of its ids or its event name.
pub const TOO_LARGE: &str = "too_large";
pub const TOO_DEEP: &str = "too_deep";
pub const TOO_LATE: &str = "too_late";

/// The top level as it stands. A field that occurs twice is an error: which one counts would be a guess.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow)]
    anonymous_id: Option<&'a RawValue>,
    #[serde(borrow)]
    message_id: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    campaign: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    category: Option<&'a RawValue>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    #[serde(borrow)]
    properties: Option<&'a RawValue>,
    #[serde(borrow)]
    traits: Option<&'a RawValue>,
}

/// Reads the top level of an input. The caller has passed over null values.
pub fn header(bytes: &[u8]) -> Result<Header<'_>, Unreadable> {
    if bytes.len() > MAX_INPUT_BYTES {
        return Err(unreadable(TOO_LARGE, format!("the input has {} bytes, at most {MAX_INPUT_BYTES} are read", bytes.len())));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| unreadable(NOT_JSON, format!("not utf-8: {error}")))?;
    // Without this a list would be taken for the fields in order.
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Err(unreadable(NOT_JSON, format!("not a json object: it begins with `{}`", clip(text))));
    }
    let fields: Fields = serde_json::from_str(text).map_err(not_json)?;
    if depth::exceeds(bytes, MAX_DEPTH) {
        return Err(unreadable(TOO_DEEP, format!("nested deeper than {MAX_DEPTH} levels")));
    }
    Header::of(&fields)
}

impl<'a> Header<'a> {
    fn of(fields: &Fields<'a>) -> Result<Header<'a>, Unreadable> {
        let written = kind(fields)?;
        let (kind, name) = kind_and_name(&written, fields)?;
        let (user, anonymous_id) = if kind == Kind::Ignored { (Cow::Borrowed(""), None) } else { users(fields)? };
        let paged = matches!(&*written, "page" | "screen");
        let page = |raw: Option<&'a RawValue>| raw.filter(|_| paged);
        Ok(Header {
            kind,
            user,
            anonymous_id,
            name,
            message_id: id("messageId", fields.message_id, NOT_JSON)?,
            timestamp: timestamp(fields.timestamp)?,
            page: [("name", page(fields.name)), ("category", page(fields.category))],
            context: fields.context,
            properties: fields.properties,
            traits: fields.traits,
        })
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The name by which campaigns ask for it; `None` for everything but a [`Kind::Track`].
    pub fn event_name(&self) -> Option<&str> {
        (self.kind == Kind::Track).then_some(&*self.name)
    }

    /// The user it is about; empty for a [`Kind::Ignored`].
    pub fn user(&self) -> &str {
        &self.user
    }

    /// When it happened, if it says so.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.timestamp
    }

    /// Whether its timestamp is so far ahead of the broker's time that it will be set to that: to be counted.
    pub fn is_ahead(&self, at: &Place) -> bool {
        self.timestamp.is_some_and(|timestamp| timestamp > at.broker_time.after(MAX_AHEAD))
    }

    /// Reads the rest. What is [`Kind::Ignored`] is no event and refused; ask first.
    pub fn into_event(self, at: &Place, limits: &Limits) -> Result<Event, Unreadable> {
        let timestamp = self.time(at, limits)?;
        let context = field::Context::read(self.context)?;
        let body = match self.kind {
            Kind::Track => Body::Track { properties: self.track_properties()?, name: self.name.into() },
            Kind::Identify => Body::Identify { traits: field::object("traits", self.traits)? },
            Kind::Delete => Body::Delete,
            Kind::Send => Body::Send {
                properties: field::object("properties", self.properties)?,
                traits: field::object("traits", self.traits)?,
                campaign: self.name.into(),
            },
            Kind::Ignored => return Err(unreadable(UNSUPPORTED_TYPE, "alias and group are no events".into())),
        };
        Ok(Event {
            user: self.user.into(),
            message_id: match self.message_id {
                Some(id) => id.into(),
                None => at.message_id(),
            },
            timestamp,
            position: Position { source: at.source, offset: at.offset, broker_time: at.broker_time },
            anonymous_id: self.anonymous_id.map(Into::into),
            device_token: context.device_token,
            context_traits: context.traits,
            body,
        })
    }

    fn time(&self, at: &Place, limits: &Limits) -> Result<Timestamp, Unreadable> {
        match self.timestamp {
            Some(_) if self.is_ahead(at) => Ok(at.broker_time),
            Some(timestamp) if timestamp < at.broker_time.before(limits.max_lateness) => {
                let late = at.broker_time.since(timestamp).as_secs();
                let allowed = limits.max_lateness.as_secs();
                Err(unreadable(
                    TOO_LATE,
                    format!("`timestamp` {timestamp} is {late} s before the record's time, at most {allowed} s are accepted"),
                ))
            }
            Some(timestamp) => Ok(timestamp),
            None => Ok(at.broker_time),
        }
    }

    /// `name` and `category` win over properties of the same name, as in Segment's own library: it writes them over.
    fn track_properties(&self) -> Result<Object, Unreadable> {
        let mut properties = field::object("properties", self.properties)?;
        for (key, raw) in self.page {
            let Some(raw) = raw else { continue };
            let value = Value::from_json(raw.get()).map_err(not_json)?;
            if value != Value::text("") {
                properties.insert(key, value);
            }
        }
        Ok(properties)
    }
}

const EXPECTED_TYPE: &str = "expected track, identify, page, screen, delete, send, alias or group";

fn kind<'a>(fields: &Fields<'a>) -> Result<Cow<'a, str>, Unreadable> {
    match scalar(fields.r#type)? {
        Scalar::Text(kind) => Ok(kind),
        Scalar::Absent => Err(unreadable(UNSUPPORTED_TYPE, format!("there is no `type`: {EXPECTED_TYPE}"))),
        Scalar::Number(_) | Scalar::Other(_) => Err(unreadable(UNSUPPORTED_TYPE, format!("`type` is not text: {EXPECTED_TYPE}"))),
    }
}

/// What kind of input, and the event's name or the campaign's key where the kind has one.
fn kind_and_name<'a>(written: &str, fields: &Fields<'a>) -> Result<(Kind, Cow<'a, str>), Unreadable> {
    match written {
        "track" => Ok((Kind::Track, event_name(fields.event)?)),
        "page" => Ok((Kind::Track, "page".into())),
        "screen" => Ok((Kind::Track, "screen".into())),
        "identify" => Ok((Kind::Identify, "".into())),
        "delete" => Ok((Kind::Delete, "".into())),
        "send" => match name("campaign", fields.campaign)? {
            Some(campaign) => Ok((Kind::Send, campaign)),
            None => Err(unreadable(NO_EVENT, "a send names no `campaign`".into())),
        },
        "alias" | "group" => Ok((Kind::Ignored, "".into())),
        other => Err(unreadable(UNSUPPORTED_TYPE, format!("`type` is `{}`: {EXPECTED_TYPE}", clip(other)))),
    }
}

fn event_name(raw: Option<&RawValue>) -> Result<Cow<'_, str>, Unreadable> {
    let Some(event) = name("event", raw)? else {
        return Err(unreadable(NO_EVENT, "a track has no `event`".into()));
    };
    if event.starts_with('$') {
        return Err(unreadable(RESERVED_NAME, format!("`event` is `{}`: names that begin with $ are the worker's own", clip(&event))));
    }
    Ok(event)
}

/// The user by `userId`, else by `anonymousId`; and the `anonymousId`.
fn users<'a>(fields: &Fields<'a>) -> Result<(Cow<'a, str>, Option<Cow<'a, str>>), Unreadable> {
    let anonymous_id = person("anonymousId", fields.anonymous_id)?;
    match (person("userId", fields.user_id)?, anonymous_id) {
        (Some(user), beside) => Ok((user, beside)),
        (None, Some(anonymous)) => Ok((anonymous.clone(), Some(anonymous))),
        (None, None) => Err(unreadable(NO_USER, "neither `userId` nor `anonymousId` names a user".into())),
    }
}

/// An identifier of somebody. Where the worker keeps its own notes nobody else may write: as a user they could not be read any more.
fn person<'a>(field: &str, raw: Option<&'a RawValue>) -> Result<Option<Cow<'a, str>>, Unreadable> {
    let id = id(field, raw, NO_USER)?;
    if id.as_ref().is_some_and(|id| id.starts_with(PSEUDO)) {
        return Err(unreadable(NO_USER, format!("`{field}` begins with the control character U+0001, which no user's id does")));
    }
    Ok(id)
}

/// An identifier: text, or a number as it is written. Empty text is none, as some libraries write it.
fn id<'a>(field: &str, raw: Option<&'a RawValue>, wrong: &'static str) -> Result<Option<Cow<'a, str>>, Unreadable> {
    match scalar(raw)? {
        Scalar::Absent => Ok(None),
        Scalar::Text(text) => bounded(field, text),
        Scalar::Number(text) => bounded(field, text.into()),
        Scalar::Other(kind) => Err(unreadable(wrong, format!("`{field}` is {kind}, expected text or a number"))),
    }
}

/// A name: only text.
fn name<'a>(field: &str, raw: Option<&'a RawValue>) -> Result<Option<Cow<'a, str>>, Unreadable> {
    match scalar(raw)? {
        Scalar::Absent => Ok(None),
        Scalar::Text(text) => bounded(field, text),
        Scalar::Number(_) => Err(unreadable(NO_EVENT, format!("`{field}` is a number, expected text"))),
        Scalar::Other(kind) => Err(unreadable(NO_EVENT, format!("`{field}` is {kind}, expected text"))),
    }
}

fn bounded<'a>(field: &str, text: Cow<'a, str>) -> Result<Option<Cow<'a, str>>, Unreadable> {
    if text.len() > MAX_ID_BYTES {
        let error = format!("`{field}` has {} bytes, at most {MAX_ID_BYTES} are accepted: `{}`", text.len(), clip(&text));
        return Err(unreadable(TOO_LARGE, error));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// RFC 3339, without an offset as UTC. Numbers are refused: seconds or milliseconds would be a guess about when it happened.
fn timestamp(raw: Option<&RawValue>) -> Result<Option<Timestamp>, Unreadable> {
    const EXPECTED: &str = "expected ISO 8601 such as 2026-11-20T10:00:00Z";
    match scalar(raw)? {
        Scalar::Absent => Ok(None),
        Scalar::Text(text) => match Timestamp::parse(&text).or_else(|| Timestamp::parse(&format!("{text}Z"))) {
            Some(timestamp) => Ok(Some(timestamp)),
            None => Err(unreadable(BAD_TIMESTAMP, format!("`timestamp` is `{}`, {EXPECTED}", clip(&text)))),
        },
        Scalar::Number(text) => Err(unreadable(BAD_TIMESTAMP, format!("`timestamp` is the number {}, {EXPECTED}", clip(text)))),
        Scalar::Other(kind) => Err(unreadable(BAD_TIMESTAMP, format!("`timestamp` is {kind}, {EXPECTED}"))),
    }
}

fn unreadable(reason: &'static str, error: String) -> Unreadable {
    Unreadable { reason, error }
}

fn not_json(error: serde_json::Error) -> Unreadable {
    unreadable(NOT_JSON, error.to_string())
}

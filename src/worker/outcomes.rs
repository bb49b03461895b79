//! The lines that leave the worker: decisions, attempts and dead letters (contract, section 6). Only their writing; what they
//! say was decided elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::engine::effect::{self, Conversion, Decision, Outcome};
use crate::engine::id::{DeliveryId, UserId};
use crate::engine::record::{Dead, Frozen, Pending, Piece, Quoting, Request, codec};
use crate::engine::time::Timestamp;

use super::ports::{Line, Message, Partition};
use super::settings::{Settings, Topics};

/// Every line says the version of its form.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct DecisionLine<'a> {
    v: u32,
    r#type: &'static str,
    #[serde(flatten)]
    decision: &'a Decision,
}

#[derive(Serialize)]
struct ConversionLine<'a> {
    v: u32,
    r#type: &'static str,
    #[serde(flatten)]
    conversion: &'a Conversion,
}

/// One attempt, as it is written to the outcomes topic.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt<'a> {
    pub at: Timestamp,
    pub campaign: &'a str,
    pub user_id: &'a str,
    pub delivery_id: DeliveryId,
    /// The request's own id: the delivery's, unless several share one request.
    pub request_id: DeliveryId,
    pub destination: &'a str,
    pub attempt: u32,
    pub result: AttemptResult,
    pub status: Option<u16>,
    pub latency_ms: u64,
    pub cause: Option<String>,
    pub error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptResult {
    Delivered,
    Retrying,
    Failed,
}

impl AttemptResult {
    pub fn as_str(self) -> &'static str {
        match self {
            AttemptResult::Delivered => "delivered",
            AttemptResult::Retrying => "retrying",
            AttemptResult::Failed => "failed",
        }
    }
}

#[derive(Serialize)]
struct AttemptLine<'a> {
    v: u32,
    r#type: &'static str,
    #[serde(flatten)]
    attempt: &'a Attempt<'a>,
}

/// The name of a final failure, before its cause.
pub const FAILED: &str = effect::DISPATCH_FAILED;

/// A dead letter; what does not apply stays `null`.
#[derive(Default, Serialize)]
struct DeadLetter<'a> {
    v: u32,
    at: Timestamp,
    kind: &'static str,
    reason: &'a str,
    error: &'a str,
    topic: Option<&'a str>,
    partition: Option<i32>,
    offset: Option<i64>,
    key: Option<String>,
    /// Base64: an event's bytes; of a delivery what sends it again.
    value: Option<String>,
    campaign: Option<&'a str>,
    user_id: Option<&'a str>,
    delivery_id: Option<DeliveryId>,
    attempts: Option<u32>,
    status: Option<u16>,
    request: Option<ShownRequest<'a>>,
}

/// A request for people to read and for programs to send: secrets stand in it by their names.
#[derive(Serialize)]
struct ShownRequest<'a> {
    method: &'static str,
    url: String,
    headers: BTreeMap<&'a str, String>,
    body: Option<String>,
}

impl<'a> ShownRequest<'a> {
    fn of(request: &'a Request) -> ShownRequest<'a> {
        let content_type = request.body.as_ref().map(|_| ("content-type", request.content_type.media_type().to_owned()));
        let headers = request.headers.iter().map(|(name, value)| (&**name, shown(value)));
        ShownRequest {
            method: request.method.as_str(),
            url: shown(&request.url),
            headers: content_type.into_iter().chain(headers).collect(),
            body: request.body.as_ref().map(shown),
        }
    }
}

/// A frozen text with its secrets as `{{ secret.name }}`, in quotes where they are written as JSON.
fn shown(frozen: &Frozen) -> String {
    let mut text = String::new();
    for piece in &frozen.0 {
        match piece {
            Piece::Text(part) => text.push_str(part),
            Piece::Secret(name, Quoting::Json) => text.extend(["\"{{ secret.", name, " }}\""]),
            Piece::Secret(name, Quoting::Plain | Quoting::Url) => text.extend(["{{ secret.", name, " }}"]),
        }
    }
    text
}

/// A decision line, unless its reason is only counted.
pub fn decision(settings: &Settings, decision: &Decision) -> Option<Line> {
    let omitted = decision.outcome == Outcome::Suppressed && decision.reason.is_some_and(|reason| settings.omit.contains(&reason));
    (!omitted).then(|| line(&settings.topics.outcomes, &decision.user_id, &DecisionLine { v: VERSION, r#type: "decision", decision }))
}

pub fn conversion(topics: &Topics, conversion: &Conversion) -> Line {
    line(&topics.outcomes, &conversion.user_id, &ConversionLine { v: VERSION, r#type: "conversion", conversion })
}

pub fn attempt(topics: &Topics, attempt: &Attempt<'_>) -> Line {
    line(&topics.outcomes, attempt.user_id, &AttemptLine { v: VERSION, r#type: "attempt", attempt })
}

/// What an input that cannot be used is kept as: its bytes, its place and the reason.
pub struct DeadEvent {
    partition: Partition,
    offset: i64,
    /// How many of the bytes are its key, if it has one.
    key: Option<usize>,
    /// Key and value: every event that is handed out is kept so until it is applied, which is to cost one allocation.
    bytes: Box<[u8]>,
}

impl DeadEvent {
    /// A record of this partition.
    pub fn of(partition: &Partition, message: &Message<'_>) -> DeadEvent {
        let bytes = [message.key.unwrap_or_default(), message.value.unwrap_or_default()].concat();
        DeadEvent { partition: partition.clone(), offset: message.offset, key: message.key.map(<[u8]>::len), bytes: bytes.into() }
    }

    fn key(&self) -> Option<&[u8]> {
        self.key.map(|length| &self.bytes[..length])
    }

    fn value(&self) -> &[u8] {
        &self.bytes[self.key.unwrap_or(0)..]
    }
}

pub fn dead_event(topics: &Topics, at: Timestamp, event: &DeadEvent, reason: &str, error: &str) -> Line {
    let letter = DeadLetter {
        v: VERSION,
        at,
        kind: "event",
        reason,
        error,
        topic: Some(&event.partition.topic),
        partition: Some(event.partition.number),
        offset: Some(event.offset),
        key: event.key().map(|key| String::from_utf8_lossy(key).into_owned()),
        value: Some(STANDARD.encode(event.value())),
        ..DeadLetter::default()
    };
    Line { topic: topics.dead.clone(), key: event.key().map(<[u8]>::to_vec), value: json(&letter) }
}

/// A delivery that finally failed.
pub struct DeadDelivery<'a> {
    pub at: Timestamp,
    pub user: &'a UserId,
    pub entry: &'a Pending,
    pub cause: &'a str,
    pub status: Option<u16>,
}

pub fn dead_delivery(topics: &Topics, dead: &DeadDelivery<'_>) -> Line {
    let DeadDelivery { at, user, entry, cause, status } = *dead;
    let error = format!("{FAILED}: {cause}");
    let kept = entry.request.is_some().then(|| codec::encode_dead(&Dead { at, entry: entry.clone() }));
    let letter = DeadLetter {
        v: VERSION,
        at,
        kind: "delivery",
        reason: cause,
        error: &error,
        value: kept.map(|bytes| STANDARD.encode(bytes)),
        campaign: Some(&entry.claim.campaign),
        user_id: Some(user),
        delivery_id: Some(entry.id),
        attempts: Some(entry.phase.attempt()),
        status,
        request: entry.request.as_deref().map(ShownRequest::of),
        ..DeadLetter::default()
    };
    line(&topics.dead, user, &letter)
}

/// Milliseconds for a line.
pub fn latency_ms(latency: Duration) -> u64 {
    u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)
}

fn line(topic: &Arc<str>, key: &str, value: &impl Serialize) -> Line {
    Line { topic: topic.clone(), key: Some(key.as_bytes().to_vec()), value: json(value) }
}

/// These types have only text keys and finite numbers, which JSON can always hold.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(384);
    if let Err(error) = serde_json::to_writer(&mut bytes, value) {
        tracing::error!(%error, "a line could not be written as JSON");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::definition::{ContentType, Method};

    #[test]
    fn a_dead_request_names_its_secrets_and_never_shows_them() {
        let text = |text: &str| Piece::Text(text.into());
        let secret = |quoting| Piece::Secret("token".into(), quoting);
        let request = Request {
            destination: "d".into(),
            method: Method::Post,
            url: Frozen(vec![text("https://a.example/?k="), secret(Quoting::Url)]),
            headers: vec![("X-Key".into(), Frozen(vec![text("Key "), secret(Quoting::Plain)]))],
            content_type: ContentType::Json,
            body: Some(Frozen(vec![text("{\"a\":"), secret(Quoting::Json), text("}")])),
        };
        let written: serde_json::Value = serde_json::from_slice(&json(&ShownRequest::of(&request))).unwrap();
        let expect = serde_json::json!({
            "method": "POST",
            "url": "https://a.example/?k={{ secret.token }}",
            "headers": {"content-type": ContentType::Json.media_type(), "X-Key": "Key {{ secret.token }}"},
            "body": "{\"a\":\"{{ secret.token }}\"}",
        });
        assert_eq!(written, expect);
        let without = Request { body: None, ..request };
        assert!(ShownRequest::of(&without).headers.keys().eq(["X-Key"].iter()));
    }
}

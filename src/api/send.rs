//! `POST /v1/campaigns/{key}/send`: an internal server asks for a campaign to be sent. Each recipient becomes a `send` event in
//! the log; whether and when it is sent is decided where all events are, by the same gates.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Deserialize as DeriveDeserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use utoipa_axum::routes;

use super::check::check;
use super::event::random_id;
use super::extract::Key;
use super::problem::Problem;
use super::{Accepted, CampaignState, MAX_BATCH, MAX_REQUEST_BYTES, Routes, Shared, body, shown};
use crate::engine::definition::Status;
use crate::worker::ports::Line;

pub fn routes() -> Routes {
    Routes::new().routes(routes!(send))
}

/// Asks for a campaign to be sent to one user, or to many. All recipients are accepted or none is, so that the same request can be sent
/// again; whether each is sent to is decided like everything else, by the campaign's gates.
#[utoipa::path(
    post, path = "/v1/campaigns/{key}/send", tag = "ingest", security(("ingest" = []), ("ingest_basic" = []), ("admin" = [])),
    params(("key" = String, Path, description = "The key of a running campaign with the trigger `api`")), request_body = shown::Send,
    responses(
        (status = 202, description = "The log has it: `message_id`, or `message_ids` in the order of `recipients`", body = shown::Sent),
        (status = 404, description = "There is no such campaign"),
        (status = 409, description = "It is not running, or not triggered by the API")
    )
)]
async fn send(State(shared): State<Arc<Shared>>, Key(key): Key, request: Request) -> Response {
    shared.answer(accept(&shared, &key, request).await)
}

async fn accept(shared: &Shared, key: &str, request: Request) -> Result<Accepted, Problem> {
    shared.authorize(&request)?;
    match (shared.ingest.campaigns)(key) {
        CampaignState::Api(Status::Running) => {}
        CampaignState::Api(status) => return Err(Problem::conflict(format!("campaign `{key}` is {}: start it first", name(status)))),
        CampaignState::NotApi => return Err(Problem::conflict(format!("campaign `{key}` is not triggered by the API"))),
        CampaignState::Unknown => return Err(Problem::not_found(format!("there is no campaign `{key}`"))),
    }
    let body = body::read(request, MAX_REQUEST_BYTES, &shared.room).await?;
    let asked: Asked<'_> = serde_json::from_slice(&body.bytes).map_err(|error| Problem::invalid(format!("not a send: {error}")))?;
    let base_id = match asked.message_id.clone().filter(|Id(id)| !id.is_empty()) {
        Some(Id(id)) => id,
        None => random_id()?,
    };
    let sends = expand(&asked, key, base_id)?;
    let mut lines = Vec::with_capacity(sends.len());
    for (index, event) in sends.iter().enumerate() {
        let place = || if asked.recipients.is_some() { format!("recipients[{index}]") } else { String::new() };
        lines.push(line(shared, event).map_err(|problem| problem.at(place()))?);
    }
    shared.append(lines).await?;
    let ids: Vec<&str> = sends.iter().map(|event| event.message_id.as_str()).collect();
    let body = if asked.recipients.is_some() { json!({"message_ids": ids}) } else { json!({"message_id": ids.first()}) };
    Ok(Accepted { count: sends.len() as u64, body })
}

/// One event per recipient: own properties and traits over the common ones. Of several recipients each has a message id of its
/// own, `<message id>-<place>`, so that a person who is listed twice is asked for twice.
fn expand<'a>(asked: &'a Asked<'a>, campaign: &'a str, base_id: String) -> Result<Vec<Event<'a>>, Problem> {
    let (properties, traits) = (asked.properties.as_ref(), asked.traits.as_ref());
    let event =
        |user: &'a Id, message_id, properties, traits| Event { kind: "send", campaign, user: &user.0, message_id, properties, traits };
    match (&asked.user_id, &asked.recipients) {
        (Some(user), None) => Ok(vec![event(user, base_id, merged(properties, None), merged(traits, None))]),
        (None, Some(recipients)) if recipients.is_empty() => Err(Problem::invalid("`recipients` is empty").at("recipients")),
        (None, Some(recipients)) if recipients.len() > MAX_BATCH => {
            Err(Problem::too_large(format!("{} recipients are more than {MAX_BATCH}", recipients.len())).at("recipients"))
        }
        (None, Some(recipients)) => Ok(recipients
            .iter()
            .enumerate()
            .map(|(index, own)| {
                let (properties, traits) = (merged(properties, own.properties.as_ref()), merged(traits, own.traits.as_ref()));
                event(&own.user_id, format!("{base_id}-{index}"), properties, traits)
            })
            .collect()),
        (Some(_), Some(_)) => Err(Problem::invalid("`user_id` and `recipients` exclude each other").at("recipients")),
        (None, None) => Err(Problem::invalid("`user_id` or `recipients` is needed").at("user_id")),
    }
}

fn line(shared: &Shared, event: &Event<'_>) -> Result<Line, Problem> {
    let value = serde_json::to_vec(event).map_err(|error| Problem::internal(error.to_string()))?;
    check(&value, shared.ingest.clock.now(), shared.ingest.max_lateness)?;
    Ok(shared.line(Some(event.user), value))
}

type Fields<'a> = BTreeMap<String, &'a RawValue>;

#[derive(DeriveDeserialize)]
#[serde(deny_unknown_fields)]
struct Asked<'a> {
    user_id: Option<Id>,
    message_id: Option<Id>,
    #[serde(borrow)]
    properties: Option<Fields<'a>>,
    #[serde(borrow)]
    traits: Option<Fields<'a>>,
    #[serde(borrow)]
    recipients: Option<Vec<Recipient<'a>>>,
}

#[derive(DeriveDeserialize)]
#[serde(deny_unknown_fields)]
struct Recipient<'a> {
    user_id: Id,
    #[serde(borrow)]
    properties: Option<Fields<'a>>,
    #[serde(borrow)]
    traits: Option<Fields<'a>>,
}

/// The `send` event of contract section 4.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    campaign: &'a str,
    #[serde(rename = "userId")]
    user: &'a str,
    #[serde(rename = "messageId")]
    message_id: String,
    properties: BTreeMap<&'a str, &'a RawValue>,
    traits: BTreeMap<&'a str, &'a RawValue>,
}

fn merged<'a>(common: Option<&'a Fields<'a>>, own: Option<&'a Fields<'a>>) -> BTreeMap<&'a str, &'a RawValue> {
    common.into_iter().chain(own).flatten().map(|(name, value)| (name.as_str(), *value)).collect()
}

/// An id: text, or a number, which is its text.
#[derive(Clone)]
struct Id(String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id, text or a number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Id, E> {
                Ok(Id(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Id, E> {
                Ok(Id(number.to_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Id, E> {
                Ok(Id(number.to_string()))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

fn name(status: Status) -> &'static str {
    match status {
        Status::Ready => "ready",
        Status::Running => "running",
        Status::Paused => "paused",
        Status::Ended => "ended",
    }
}

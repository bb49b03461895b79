//! `/v1/campaigns/{key}/preview` and `/test`: the request that a campaign would make, shown or sent once. No gate is judged, nothing is
//! counted, and what is sent is marked; secrets are shown as `***`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::change::audit;
use super::event::random_id;
use super::extract::{Admin, Key, Nothing, Parameters, Reader};
use super::hidden::Hidden;
use super::problem::Problem;
use super::users::user_id;
use super::{Routes, Shared};
use crate::engine::catalog::{CampaignInForce, InForce};
use crate::engine::definition::{Campaign, Trigger};
use crate::engine::delivery::{self, Answer, Meaning, Secret, SecretError, wire};
use crate::engine::effect::Reason;
use crate::engine::event::{Body, Event, SourceId};
use crate::engine::id::{DeliveryId, UserId};
use crate::engine::preview::{Case, Preview, preview, profile_of};
use crate::engine::profile::Profile;
use crate::engine::reading::{self, Limits, Place};
use crate::engine::record;
use crate::engine::rendering::view;
use crate::engine::time::Timestamp;
use crate::engine::value;
use crate::worker::attempt::Secrets;
use crate::worker::ports::{EXCERPT_BYTES, Exchange, HttpRequest};

pub fn routes() -> Routes {
    Routes::new().routes(routes!(show)).routes(routes!(send))
}

/// What test requests are sent with.
#[derive(Clone)]
pub struct Trial {
    pub exchange: Arc<dyn Fn() -> Box<dyn Exchange> + Send + Sync>,
    pub secrets: Secrets,
    room: Arc<Semaphore>,
}

/// Test requests under way at a time.
const MAX_UNDER_WAY: usize = 4;

/// Marks a request that no campaign decided.
const MARK: (&str, &str) = ("webhook-test", "true");

/// Events that may have come before the one that triggers.
const MAX_EARLIER: usize = 50;

/// No event that somebody writes to try a campaign is too late.
const LIMITS: Limits = Limits { max_lateness: Duration::MAX };

impl Trial {
    pub fn new(exchange: Arc<dyn Fn() -> Box<dyn Exchange> + Send + Sync>, secrets: Secrets) -> Trial {
        Trial { exchange, secrets, room: Arc::new(Semaphore::new(MAX_UNDER_WAY)) }
    }
}

/// Somebody, and an event: the user by id, as it is stored, or as an identify.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// A stored user.
    user_id: Option<String>,
    /// Or anybody, as an identify.
    #[schema(value_type = Option<Object>)]
    user: Option<Value>,
    /// A track or a send; absent, one without properties.
    #[schema(value_type = Option<Object>)]
    event: Option<Value>,
    /// For a campaign that waits for several events: those that came before `event`, 50 at most.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    earlier: Vec<Value>,
    /// What linked services answer, by the link's name.
    #[serde(default)]
    #[schema(value_type = Object)]
    links: BTreeMap<String, Value>,
}

/// The request that would be made.
#[derive(Serialize, ToSchema)]
pub struct Shown {
    pub outcome: Outcome,
    /// Why nothing would be sent.
    pub error: Option<String>,
    pub request: Option<Written>,
    /// The request as a command for a shell.
    pub curl: Option<String>,
    /// Its parts: what, name, value.
    pub table: Vec<[String; 3]>,
    /// Variables that have no value.
    pub missing: Vec<String>,
    pub warnings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Rendered,
    /// By the template itself.
    Aborted,
    Failed,
}

#[derive(Serialize, ToSchema)]
pub struct Written {
    pub method: &'static str,
    pub url: String,
    /// Names and values.
    pub headers: Vec<[String; 2]>,
    pub body: Option<String>,
}

/// What came of a test request.
#[derive(Serialize, ToSchema)]
pub struct Tested {
    #[serde(flatten)]
    pub shown: Shown,
    /// `null` when nothing answered.
    pub status: Option<u16>,
    pub latency_ms: Option<u64>,
    /// The beginning of the answer, without the secrets that were sent.
    pub body_excerpt: Option<String>,
    /// What it would mean for a delivery: `delivered`, `retried` or `failed`; `null` when nothing was sent.
    #[schema(value_type = Option<String>)]
    pub meaning: Option<&'static str>,
    pub cause: Option<String>,
    /// All that in a sentence.
    pub says: String,
}

/// Renders the campaign's request for a user and an event. Nothing is sent.
#[utoipa::path(
    post, path = "/v1/campaigns/{key}/preview", tag = "campaigns", security(("read" = []), ("admin" = [])),
    params(("key" = String, Path, description = "The campaign's key")), request_body = Asked,
    responses((status = 200, description = "The request, or why there is none", body = Shown), (status = 404, description = "No such campaign or user"))
)]
async fn show(
    _: Reader,
    State(shared): State<Arc<Shared>>,
    Key(key): Key,
    _: Parameters<Nothing>,
    request: Request,
) -> Result<Json<Shown>, Problem> {
    let asked: Asked = shared.json(request).await?;
    let in_force = shared.in_force().await?;
    Ok(Json(Shown::of(&prepare(&shared, &in_force, &key, asked).await?)))
}

/// Sends the campaign's request once, marked by `webhook-test: true`. No caps, no statistics, no retry.
#[utoipa::path(
    post, path = "/v1/campaigns/{key}/test", tag = "campaigns", security(("admin" = [])),
    params(("key" = String, Path, description = "The campaign's key")), request_body = Asked,
    responses((status = 200, description = "What came of it", body = Tested), (status = 404, description = "No such campaign or user"))
)]
async fn send(
    Admin { caller }: Admin,
    State(shared): State<Arc<Shared>>,
    Key(key): Key,
    _: Parameters<Nothing>,
    request: Request,
) -> Result<Json<Tested>, Problem> {
    let asked: Asked = shared.json(request).await?;
    let in_force = shared.in_force().await?;
    let Ok(_room) = shared.trial.room.clone().try_acquire_owned() else {
        return Err(Problem::busy(format!("{MAX_UNDER_WAY} test requests are under way: wait for one of them")));
    };
    let preview = prepare(&shared, &in_force, &key, asked).await?;
    let shown = Shown::of(&preview);
    let Preview { id, request: Ok(frozen), .. } = preview else {
        let says = format!("nothing was sent: {}", shown.error.as_deref().unwrap_or_default());
        return Ok(Json(Tested { shown, status: None, latency_ms: None, body_excerpt: None, meaning: None, cause: None, says }));
    };
    audit(&caller, &format!("campaign {key}: a test request is sent"), None);
    let now = shared.ingest.clock.now();
    let Ready { request, hidden } = ready(&shared.trial, &in_force, id, &frozen, now)?;
    let answer = exchange(&shared.trial, request).await?;
    Ok(Json(tested(shown, &answer, &hidden, now)))
}

/// The preview of what is asked, its event made up where none was given.
async fn prepare(shared: &Shared, in_force: &InForce, key: &str, asked: Asked) -> Result<Preview, Problem> {
    let campaign = in_force.named(key).map_err(Problem::not_found)?;
    let now = shared.ingest.clock.now();
    let (user, profile) = somebody(shared, &asked, now).await?;
    let event = asked.event.unwrap_or_else(|| occasion(&campaign.definition, &user));
    let mut event = read(&event, "event", now)?;
    // A delivery of its own: whoever receives it must not take it for one that a campaign decides because of this event.
    event.message_id = format!("test {}", random_id()?).into();
    if asked.earlier.len() > MAX_EARLIER {
        return Err(Problem::invalid(format!("{} events came before; {MAX_EARLIER} are the most", asked.earlier.len())).at("earlier"));
    }
    let earlier = asked.earlier.iter().map(|event| read(event, "earlier", now)).collect::<Result<Vec<_>, _>>()?;
    let links = links(campaign, asked.links)?;
    let case = Case { user: &user, profile, event: &event, earlier: &earlier, links: &links };
    Ok(preview(in_force, campaign, case))
}

/// Who it is about.
async fn somebody(shared: &Shared, asked: &Asked, now: Timestamp) -> Result<(UserId, Profile), Problem> {
    match (&asked.user_id, &asked.user) {
        (Some(id), None) => {
            let user = user_id(id).map_err(|problem| problem.at("user_id"))?;
            let (known, _) = shared.known(&user).await?;
            let known = known.ok_or_else(|| Problem::not_found(format!("nothing is known of user `{id}`")).at("user_id"))?;
            Ok((user, known.profile))
        }
        (None, Some(identify)) => {
            let identify = read(identify, "user", now)?;
            if !matches!(identify.body, Body::Identify { .. }) {
                return Err(Problem::invalid("the user must be an identify: {\"type\":\"identify\",...}").at("user"));
            }
            let profile = profile_of(&identify);
            Ok((identify.user, profile))
        }
        _ => Err(Problem::invalid("say who: either `user_id`, or `user` as an identify")),
    }
}

/// The event that would trigger it, without properties.
fn occasion(campaign: &Campaign, user: &str) -> Value {
    let event = match &campaign.trigger {
        Trigger::Api => return json!({"type": "send", "campaign": campaign.key, "userId": user}),
        Trigger::Action(pattern) => &*pattern.event,
        Trigger::Inaction(inaction) => &*inaction.after.event,
        Trigger::Absence(absence) => &*absence.after.event,
        Trigger::EventDate(date) => &*date.pattern.event,
        Trigger::Actions(actions) => actions.events.last().map_or("preview", |pattern| &*pattern.event),
        Trigger::UserDate(_) | Trigger::Schedule(_) | Trigger::Cohort { .. } => "preview",
    };
    json!({"type": "track", "userId": user, "event": event})
}

fn read(event: &Value, field: &'static str, now: Timestamp) -> Result<Event, Problem> {
    let unreadable = |error: reading::Unreadable| Problem::invalid(error.error.to_string()).reason(error.reason).at(field);
    let text = event.to_string();
    let header = reading::header(text.as_bytes()).map_err(unreadable)?;
    let broker_time = header.timestamp().unwrap_or(now);
    let place = Place { source: SourceId::of("preview", 1, 0), topic: "preview", partition: 0, generation: 1, offset: 0, broker_time };
    header.into_event(&place, &LIMITS).map_err(unreadable)
}

fn links(campaign: &CampaignInForce, given: BTreeMap<String, Value>) -> Result<Vec<(Box<str>, value::Value)>, Problem> {
    let known: Vec<&str> = campaign.definition.webhook.links.iter().map(|link| &*link.name).collect();
    let read = given.into_iter().map(|(name, answer)| {
        if !known.contains(&name.as_str()) {
            let why = format!("campaign `{}` has no link `{name}`", campaign.definition.key);
            return Err(Problem::invalid(why).at(format!("links.{name}")));
        }
        let answer = value::Value::from_json(&answer.to_string()).map_err(|error| Problem::invalid(error.to_string()))?;
        Ok((name.into(), answer))
    });
    read.collect()
}

impl Shown {
    fn of(preview: &Preview) -> Shown {
        let Preview { request, missing, unanswered, warnings, .. } = preview;
        let empty = |name| format!("`link.{name}` is empty: `links` says what the service answers");
        let warnings = warnings.iter().cloned().chain(unanswered.iter().map(empty)).collect();
        let (outcome, error) = match request {
            Ok(_) => (Outcome::Rendered, None),
            Err(held) if held.reason == Reason::AbortedByTemplate => (Outcome::Aborted, Some(held.why.clone())),
            Err(held) => (Outcome::Failed, Some(held.why.clone())),
        };
        let request = preview.shown();
        let request = request.as_ref();
        Shown {
            outcome,
            error,
            request: request.map(written),
            curl: request.map(view::curl),
            table: request.map_or_else(Vec::new, view::rows),
            missing: missing.clone(),
            warnings,
        }
    }
}

fn written(request: &record::Request) -> Written {
    let own = ["content-type".to_owned(), request.content_type.media_type().to_owned()];
    let others = request.headers.iter().map(|(name, value)| [name.to_string(), view::text(value)]);
    Written {
        method: request.method.as_str(),
        url: view::text(&request.url),
        headers: [own].into_iter().chain(others).collect(),
        body: request.body.as_ref().map(view::text),
    }
}

/// A request for the wire, and the secrets in it.
struct Ready {
    request: HttpRequest,
    hidden: Hidden,
}

fn ready(trial: &Trial, in_force: &InForce, id: DeliveryId, frozen: &record::Request, now: Timestamp) -> Result<Ready, Problem> {
    let used = RefCell::new(Vec::new());
    let secrets = |name: &str| -> Option<Secret> {
        let secret = (trial.secrets)(name)?;
        used.borrow_mut().push(secret.expose().to_owned());
        Some(secret)
    };
    let attempt = wire::Attempt { id, number: 1, at: now };
    let unsent = |error: SecretError| Problem::conflict(format!("nothing was sent: {error}"));
    let prepared = wire::prepare(frozen, &attempt, in_force.credentials(frozen).as_deref(), &secrets).map_err(unsent)?;
    let wire::Prepared { url, mut headers, body, ca } = prepared;
    let authorization = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization")).map(|(_, value)| &**value);
    let hidden = Hidden::of(&used.borrow(), authorization);
    headers.push((MARK.0.into(), MARK.1.into()));
    let (ca, timeout) = (ca.transpose().map_err(unsent)?, in_force.route(&frozen.destination).timeout);
    let body = body.map(String::into_bytes);
    let request = HttpRequest { method: frozen.method, url, headers, body, ca, timeout, keep_bytes: EXCERPT_BYTES };
    Ok(Ready { request, hidden })
}

/// One exchange, on a thread of its own: those of the lanes belong to deliveries.
async fn exchange(trial: &Trial, request: HttpRequest) -> Result<Answer, Problem> {
    let make = trial.exchange.clone();
    let exchanged = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let local = tokio::task::LocalSet::new();
        Ok::<Answer, std::io::Error>(local.block_on(&runtime, async { make().exchange(request).await }))
    });
    let failed = |why: &dyn std::fmt::Display| Problem::internal(format!("the request could not be sent: {why}"));
    exchanged.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}

fn tested(shown: Shown, answer: &Answer, hidden: &Hidden, now: Timestamp) -> Tested {
    let status = answer.status.ok();
    let (meaning, then) = match delivery::meaning(answer, now) {
        Meaning::Delivered => ("delivered", "a delivery would be done".to_owned()),
        Meaning::Unsent => ("retried", "this worker has no descriptor or memory for a connection; a delivery would wait".to_owned()),
        Meaning::Failed => ("failed", "a delivery would fail for good: it is not tried again".to_owned()),
        Meaning::Retry { hint: None } => ("retried", "a delivery would be tried again".to_owned()),
        Meaning::Retry { hint: Some(wait) } => ("retried", format!("a delivery would be tried again, not before {} s", wait.as_secs())),
    };
    let cause = (meaning != "delivered").then(|| delivery::cause(answer));
    let what = status
        .map_or_else(|| format!("nothing answered ({})", cause.as_deref().unwrap_or_default()), |status| format!("it answered {status}"));
    Tested {
        shown,
        status,
        latency_ms: Some(crate::worker::outcomes::latency_ms(answer.latency)),
        body_excerpt: answer.body_excerpt.as_ref().map(|excerpt| hidden.mask(excerpt)),
        meaning: Some(meaning),
        cause,
        says: format!("{what}: {then}"),
    }
}

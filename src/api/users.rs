//! `/v1/users/{id}`: what is known of one user, why a campaign would or would not reach it, and its deletion. Reading changes nothing; a
//! deletion is an event like all others, so that it takes its place among what is on its way.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, http};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::change::audit;
use super::event::random_id;
use super::extract::{Admin, Key, Nothing, Parameters, Reader};
use super::problem::Problem;
use super::{Routes, Shared};
use crate::engine::catalog::InForce;
use crate::engine::definition::Members;
use crate::engine::id::{MAX_ID_BYTES, UserId};
use crate::engine::record::{Origin, TriggerKind};
use crate::engine::runs::next_run;
use crate::engine::step::{
    About, Delivering, Exposed, GateView, Known, Standing, WITHOUT_EVENT, Waiting, about, explain, needs_event, standing, verdict,
};
use crate::engine::time::Timestamp;
use crate::worker::ports::PSEUDO;
use crate::worker::turn::{self, CAMPAIGN_KEPT};

pub fn routes() -> Routes {
    Routes::new().routes(routes!(show, delete)).routes(routes!(why))
}

/// A user, as far as anything is known of it.
#[derive(Serialize, ToSchema)]
pub struct User {
    pub user_id: String,
    /// Traits, timezone, past, exposures, clocks, pending deliveries and cohorts.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub about: About,
}

/// One user's profile, past, exposures, timers, deliveries and cohorts.
#[utoipa::path(
    get, path = "/v1/users/{id}", tag = "users", security(("read" = []), ("admin" = [])),
    params(("id" = String, Path, description = "The user's id")),
    responses((status = 200, description = "What is known", body = User), (status = 404, description = "Nothing is known"))
)]
async fn show(_: Reader, State(shared): State<Arc<Shared>>, Key(id): Key, _: Parameters<Nothing>) -> Result<Json<User>, Problem> {
    let user = user_id(&id)?;
    let in_force = shared.in_force().await?;
    let (known, now) = shared.known(&user).await?;
    let known = known.ok_or_else(|| Problem::not_found(format!("nothing is known of user `{id}`")))?;
    Ok(Json(User { user_id: id, about: about(&in_force, &user, &known, now) }))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// The campaign's key.
    campaign: String,
}

/// Why a campaign would, or would not, reach a user.
#[derive(Serialize, ToSchema)]
pub struct Explained {
    pub user_id: String,
    pub campaign: String,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Whether anything is known of the user.
    pub known: bool,
    /// All gates in their order, were the campaign triggered now by an event without properties.
    #[schema(value_type = Vec<Object>)]
    pub gates: Vec<GateView>,
    /// What they come to together, in a sentence; with what could not be judged without the event.
    pub verdict: String,
    /// Clocks of the campaign that run for this user, deferrals among them: `due`, `kind`, `event`, `event_id`.
    #[schema(value_type = Vec<Object>)]
    pub waiting: Vec<Waiting>,
    /// Of its schedule, as in `GET /v1/campaigns/{key}`.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_run: Option<Timestamp>,
    /// Deliveries of it that are under way, as in `GET /v1/users/{id}`.
    #[schema(value_type = Vec<Object>)]
    pub pending: Vec<Delivering>,
    /// How often, and when last, it reached the user, or held the user out.
    #[schema(value_type = Vec<Object>)]
    pub exposures: Vec<Exposed>,
}

/// Gate by gate, with the values compared, the rule, and when it would be possible.
#[utoipa::path(
    get, path = "/v1/users/{id}/explain", tag = "users", security(("read" = []), ("admin" = [])),
    params(("id" = String, Path, description = "The user's id"), Asked),
    responses((status = 200, description = "Every gate as it stands now", body = Explained), (status = 404, description = "No such campaign"))
)]
async fn why(
    _: Reader,
    State(shared): State<Arc<Shared>>,
    Key(id): Key,
    Parameters(asked): Parameters<Asked>,
) -> Result<Json<Explained>, Problem> {
    let user = user_id(&id)?;
    let in_force = shared.in_force().await?;
    let campaign = in_force.named(&asked.campaign).map_err(Problem::not_found)?;
    let (known, now) = shared.known(&user).await?;
    let kind = TriggerKind::of(&campaign.definition.trigger);
    let origin = Origin { kind, message_id: "explain".into(), timestamp: now, ..Origin::default() };
    let (is_known, known) = (known.is_some(), known.unwrap_or_default());
    let gates = explain(&in_force, &user, &known, campaign, &origin, None, now);
    let mut verdict = verdict(&gates);
    if needs_event(&campaign.definition.trigger) {
        verdict = format!("{verdict} ({WITHOUT_EVENT})");
    }
    let Standing { waiting, pending, exposures } = standing(&known, &campaign.definition);
    let next_run = next_run(&in_force, &campaign.definition, now);
    let known = is_known;
    Ok(Json(Explained { user_id: id, campaign: asked.campaign, at: now, known, gates, verdict, waiting, next_run, pending, exposures }))
}

/// A deletion that is on its way.
#[derive(Serialize, ToSchema)]
pub struct Deleted {
    /// Of the `delete` event.
    pub message_id: String,
    /// What is left elsewhere, which no worker can remove.
    pub remains: Vec<Remains>,
}

#[derive(Serialize, ToSchema)]
pub struct Remains {
    #[serde(rename = "where")]
    pub place: String,
    pub what: &'static str,
    /// Until when.
    pub until: String,
}

/// Forgets the user: profile, past, clocks and what is pending. 202 once the log has it.
#[utoipa::path(
    delete, path = "/v1/users/{id}", tag = "users", security(("admin" = [])),
    params(("id" = String, Path, description = "The user's id")),
    responses((status = 202, description = "The log has it", body = Deleted))
)]
async fn delete(
    Admin { caller }: Admin,
    State(shared): State<Arc<Shared>>,
    Key(id): Key,
    _: Parameters<Nothing>,
) -> Result<(StatusCode, Json<Deleted>), Problem> {
    let user = user_id(&id)?;
    let message_id = random_id()?;
    let now = shared.ingest.clock.now();
    let event = json!({"type": "delete", "userId": id, "messageId": message_id, "timestamp": now});
    shared.append(vec![shared.line(Some(&user), event.to_string().into_bytes())]).await?;
    audit(&caller, &format!("a user is deleted by event {message_id}"), None);
    let remains = remains(&shared, &shared.follower.in_force(), &user, now.after(shared.ingest.max_lateness));
    Ok((http::StatusCode::ACCEPTED, Json(Deleted { message_id, remains })))
}

/// Everywhere that a user's id or data stay when workers have forgotten them, but for what operators keep of all that.
fn remains(shared: &Shared, in_force: &InForce, user: &str, tombstone: Timestamp) -> Vec<Remains> {
    let topics = &shared.topics;
    let one = |place: String, what: &'static str, until: String| Remains { place, what, until };
    let topic = |place: String, what: &'static str| one(place, what, "the topic's retention removes it".into());
    let limits_kept = format!("{} days after nobody asks about the campaign's limit any more", CAMPAIGN_KEPT.as_secs() / 86_400);
    let mut remains = vec![
        one("the state store".into(), "that the user was deleted, and when", tombstone.to_string()),
        one("the limits of campaigns, in the state store".into(), "the id, where it counts among `limit.users`", limits_kept),
    ];
    let lists = in_force.cohorts.iter().filter(|cohort| match &cohort.members {
        Members::List(users) => users.binary_search_by(|listed| (**listed).cmp(user)).is_ok(),
        Members::Rule(_) => false,
    });
    remains.extend(lists.map(|cohort| {
        let until = "somebody takes it out of the list and applies that";
        one(format!("cohort {}", cohort.key), "the id, in its list of users", until.into())
    }));
    remains.extend([
        topic(format!("the events topics ({})", shared.ingest.events_topic), "the user's own events"),
        topic(format!("the outcomes topic ({})", topics.outcomes), "decisions and attempts, with the user's id"),
        topic(format!("the topic of runs ({})", topics.runs), "the id, among those that a scheduled run or a start looked at"),
        topic(
            format!("the retry topics ({}, ...) and the dead-letter topic ({})", topics.retry, topics.dead),
            "requests as they were frozen, without secrets",
        ),
        one(
            "backups of the state store, and wherever webhooks went".into(),
            "what stood in them then",
            "whoever keeps them removes it".into(),
        ),
    ]);
    remains
}

/// An id that a user can have.
pub(super) fn user_id(id: &str) -> Result<UserId, Problem> {
    if id.len() > MAX_ID_BYTES {
        return Err(Problem::invalid(format!("the id has {} bytes, a user's at most {MAX_ID_BYTES}", id.len())).at("id"));
    }
    if id.is_empty() || id.starts_with(PSEUDO) {
        return Err(Problem::not_found("no user has such an id"));
    }
    Ok(id.into())
}

impl Shared {
    /// What the store knows of a user, and the store's time.
    pub(super) async fn known(&self, user: &UserId) -> Result<(Option<Known>, Timestamp), Problem> {
        let user = user.clone();
        self.desk
            .run(async move |state| {
                let loaded = state.load(std::slice::from_ref(&user)).await?;
                let stored = loaded.users.into_iter().next().flatten();
                Ok((stored.as_ref().map(turn::known).transpose()?, loaded.now))
            })
            .await
    }
}

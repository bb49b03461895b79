//! `/v1/campaigns`: the campaigns that are stored, what they are at, and their life.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::change::{Decided, Done, audit};
use super::definitions::{etag, refused};
use super::extract::{Admin, IfMatch, Key, Nothing, Parameters, Reader};
use super::overview::Overview;
use super::problem::Problem;
use super::{Routes, Shared, shown};
use crate::engine::catalog::{self, Act, CampaignInForce, InForce};
use crate::engine::definition::Status;
use crate::engine::runs;
use crate::engine::time::Timestamp;

pub fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(start)).routes(routes!(pause)).routes(routes!(end))
}

/// All campaigns.
#[derive(Serialize, ToSchema)]
pub struct Campaigns {
    pub revision: u64,
    /// By priority, highest first, then key; ended ones too.
    pub campaigns: Vec<Brief>,
}

/// What a list says of a campaign.
#[derive(Serialize, ToSchema)]
pub struct Brief {
    pub key: String,
    pub title: Option<String>,
    #[schema(value_type = shown::Status)]
    pub status: Status,
    pub version: u32,
    pub channel: Option<String>,
    pub tags: Vec<String>,
    pub priority: i64,
    /// Which kind of trigger it has.
    #[schema(example = "inaction")]
    pub trigger: &'static str,
    /// The destination's key, else the host.
    pub destination: String,
    /// When its schedule runs next, were it running.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_run: Option<Timestamp>,
}

#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
struct Starting {
    /// Only the overview, with an estimate of the audience.
    dry_run: bool,
}

/// All campaigns that are in force.
#[utoipa::path(
    get, path = "/v1/campaigns", tag = "campaigns", security(("read" = []), ("admin" = [])),
    responses((status = 200, description = "By priority, then key", body = Campaigns))
)]
async fn list(_: Reader, State(shared): State<Arc<Shared>>, _: Parameters<Nothing>) -> Result<Json<Campaigns>, Problem> {
    let in_force = shared.in_force().await?;
    let now = shared.ingest.clock.now();
    let campaigns = in_force.campaigns.iter().map(|campaign| brief(&in_force, campaign, now));
    Ok(Json(Campaigns { revision: in_force.revision, campaigns: campaigns.collect() }))
}

/// One campaign: what it is, when it runs next, what holds it back, what is probably not meant.
#[utoipa::path(
    get, path = "/v1/campaigns/{key}", tag = "campaigns", security(("read" = []), ("admin" = [])),
    params(("key" = String, Path, description = "The campaign's key")),
    responses((status = 200, description = "As it is stored now", body = Overview), (status = 404, description = "There is no such campaign"))
)]
async fn show(_: Reader, State(shared): State<Arc<Shared>>, Key(key): Key, _: Parameters<Nothing>) -> Result<Json<Overview>, Problem> {
    shared.overview(&key).await.map(Json)
}

/// Starts a campaign that is ready, or paused. It must be sound and its content must compile.
#[utoipa::path(
    post, path = "/v1/campaigns/{key}/start", tag = "campaigns", security(("admin" = [])),
    params(
        ("key" = String, Path, description = "The campaign's key"), Starting,
        ("If-Match" = Option<String>, Header, description = "The revision that was seen, `\"7\"`")
    ),
    responses(
        (status = 200, description = "With the revision as `ETag`", body = Overview),
        (status = 404, description = "There is no such campaign"),
        (status = 409, description = "It is neither ready nor paused: says what is possible"),
        (status = 412, description = "Another revision is stored than the one that was seen")
    )
)]
async fn start(
    admin: Admin,
    State(shared): State<Arc<Shared>>,
    Key(key): Key,
    IfMatch(seen): IfMatch,
    Parameters(Starting { dry_run }): Parameters<Starting>,
) -> Result<Response, Problem> {
    act(&shared, &admin, key, Act::Start, seen, dry_run).await
}

/// Pauses a running campaign: what is started is finished, what is not waits until it runs again.
#[utoipa::path(
    post, path = "/v1/campaigns/{key}/pause", tag = "campaigns", security(("admin" = [])),
    params(
        ("key" = String, Path, description = "The campaign's key"),
        ("If-Match" = Option<String>, Header, description = "The revision that was seen, `\"7\"`")
    ),
    responses(
        (status = 200, description = "With the revision as `ETag`", body = Overview),
        (status = 404, description = "There is no such campaign"),
        (status = 409, description = "It is not running: says what is possible"),
        (status = 412, description = "Another revision is stored than the one that was seen")
    )
)]
async fn pause(
    admin: Admin,
    State(shared): State<Arc<Shared>>,
    Key(key): Key,
    IfMatch(seen): IfMatch,
    _: Parameters<Nothing>,
) -> Result<Response, Problem> {
    act(&shared, &admin, key, Act::Pause, seen, false).await
}

/// Ends a campaign for good: nothing that is not started is sent, its statistics stay, its key is never used again.
#[utoipa::path(
    post, path = "/v1/campaigns/{key}/end", tag = "campaigns", security(("admin" = [])),
    params(
        ("key" = String, Path, description = "The campaign's key"),
        ("If-Match" = Option<String>, Header, description = "The revision that was seen, `\"7\"`")
    ),
    responses(
        (status = 200, description = "With the revision as `ETag`", body = Overview),
        (status = 404, description = "There is no such campaign"),
        (status = 409, description = "It has ended already"),
        (status = 412, description = "Another revision is stored than the one that was seen")
    )
)]
async fn end(
    admin: Admin,
    State(shared): State<Arc<Shared>>,
    Key(key): Key,
    IfMatch(seen): IfMatch,
    _: Parameters<Nothing>,
) -> Result<Response, Problem> {
    act(&shared, &admin, key, Act::End, seen, false).await
}

/// Does it and shows the campaign as it is then, or only shows it, as it would be started.
async fn act(shared: &Shared, admin: &Admin, key: String, act: Act, seen: Option<u64>, dry: bool) -> Result<Response, Problem> {
    let (options, name, of_which) = (shared.read_options(), format!("campaign {key}"), key.clone());
    let done = match act {
        Act::Start => "started",
        Act::Pause => "paused",
        Act::End => "ended",
    };
    let decide = move |catalog: &catalog::Catalog, now| {
        let (next, change) = catalog::act(catalog, &of_which, act, &options, now).map_err(|why| refused(&name, done, why))?;
        Ok(Decided { next: (!dry).then_some(next), told: change })
    };
    let Done { from, revision, told } = shared.change(seen, decide).await?;
    if from != revision {
        audit(&admin.caller, &told.to_string(), from, revision);
    }
    let mut overview = shared.overview(&key).await?;
    if dry {
        overview.estimated_audience = Some(shared.estimate(&key).await?);
    }
    Ok(([(header::ETAG, etag(revision))], Json(overview)).into_response())
}

fn brief(in_force: &InForce, campaign: &CampaignInForce, now: Timestamp) -> Brief {
    let campaign = &campaign.definition;
    let text = |text: &str| text.to_owned();
    Brief {
        key: text(&campaign.key),
        title: campaign.title.as_deref().map(text),
        status: campaign.status.unwrap_or(Status::Ready),
        version: campaign.version,
        channel: campaign.channel.as_deref().map(text),
        tags: campaign.tags.iter().map(|tag| text(tag)).collect(),
        priority: campaign.priority,
        trigger: campaign.trigger.name(),
        destination: text(in_force.destination_of(&campaign.webhook).name),
        next_run: if campaign.status == Some(Status::Ended) { None } else { runs::next_run(in_force, campaign, now) },
    }
}

//! `/v1/campaigns`: the campaigns that are stored, what they are at, and their life.

use std::cmp::Reverse;
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
use super::overview::{Brief, Overview};
use super::problem::Problem;
use super::{Routes, Shared, secrets};
use crate::engine::catalog::{self, Act, Refusal};
use crate::engine::definition::Kind;

pub fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(start)).routes(routes!(pause)).routes(routes!(end))
}

/// All campaigns.
#[derive(Serialize, ToSchema)]
pub struct Campaigns {
    pub revision: u64,
    /// By priority, highest first, then key; ended ones too. At the end those that are stored and left out.
    pub campaigns: Vec<Brief>,
}

#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
struct Starting {
    /// Only the overview, with an estimate of the audience.
    dry_run: bool,
}

/// All campaigns that are stored.
#[utoipa::path(
    get, path = "/v1/campaigns", tag = "campaigns", security(("read" = []), ("admin" = [])),
    responses((status = 200, description = "By priority, then key; with the revision as `ETag`", body = Campaigns))
)]
async fn list(_: Reader, State(shared): State<Arc<Shared>>, _: Parameters<Nothing>) -> Result<Response, Problem> {
    let (catalog, in_force) = (shared.catalog().await?, shared.in_force().await?);
    let now = shared.ingest.clock.now();
    let stored = catalog.documents.iter().filter(|document| document.kind == Kind::Campaign);
    let mut campaigns: Vec<Brief> = stored.map(|document| Brief::of(document, &in_force, now)).collect();
    let place = |brief: &Brief| (brief.left_out.is_some(), Reverse(brief.priority));
    campaigns.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.key.cmp(&b.key)));
    let campaigns = Campaigns { revision: catalog.revision, campaigns };
    Ok(([(header::ETAG, etag(campaigns.revision))], Json(campaigns)).into_response())
}

/// One campaign: what it is, when it runs next, what holds it back, what is probably not meant.
#[utoipa::path(
    get, path = "/v1/campaigns/{key}", tag = "campaigns", security(("read" = []), ("admin" = [])),
    params(("key" = String, Path, description = "The campaign's key")),
    responses((status = 200, description = "As it is stored now, with the revision as `ETag`", body = Overview), (status = 404, description = "There is no such campaign"))
)]
async fn show(_: Reader, State(shared): State<Arc<Shared>>, Key(key): Key, _: Parameters<Nothing>) -> Result<Response, Problem> {
    // Read before: what changes meanwhile makes a change by this revision fail, not pass.
    let revision = shared.catalog().await?.revision;
    let overview = shared.overview(&key).await?;
    Ok(([(header::ETAG, etag(revision))], Json(overview)).into_response())
}

/// Starts a campaign that is ready, or paused. It must be sound, its content must compile, and the secrets that it and its destination
/// name must be there.
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
    let (in_force, secrets) = (shared.in_force().await?, shared.trial.secrets.clone());
    let decide = move |catalog: &catalog::Catalog, now| {
        let (next, change) = catalog::act(catalog, &of_which, act, &options, now).map_err(|why| refused(&name, act.done(), why))?;
        if let Some(document) = catalog.get(Kind::Campaign, &of_which).filter(|_| act == Act::Start && !dry) {
            let missing = secrets::missing(catalog, &in_force, document, &secrets);
            if !missing.is_empty() {
                return Err(refused(&name, act.done(), Refusal::Invalid(missing)));
            }
        }
        Ok(Decided { next: (!dry).then_some(next), told: change })
    };
    let Done { from, revision, told } = shared.change(seen, decide).await?;
    if from != revision {
        audit(&admin.caller, &told.to_string(), Some((from, revision)));
    }
    let mut overview = shared.overview(&key).await?;
    if dry {
        overview.estimated_audience = Some(shared.estimate(&key).await?);
    }
    Ok(([(header::ETAG, etag(revision))], Json(overview)).into_response())
}

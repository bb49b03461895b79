//! `/v1/definitions`: all documents under one revision; added, changed and taken away all at once or not at all.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::change::{Decided, Done, audit};
use super::extract::{Admin, IfMatch, Nothing, Parameters, Reader, Segments};
use super::problem::{Mistake, Problem};
use super::{MAX_DEFINITIONS_BYTES, Routes, Shared, body, secrets, shown};
use crate::engine::catalog::{self, Apply, Catalog, Change, Refusal, What};
use crate::engine::definition::problem::meant;
use crate::engine::definition::{self, Kind, ReadOptions, Reading, Status};
use crate::engine::time::Timestamp;
use crate::worker::ports;

pub fn routes() -> Routes {
    Routes::new().routes(routes!(list, put)).routes(routes!(delete))
}

/// What problems call the body that was sent.
const BODY: &str = "body";

/// Media types in which definitions may come; without one they are read alike.
const MEDIA_TYPES: [&str; 5] = ["application/yaml", "application/json", "application/x-yaml", "text/yaml", "text/x-yaml"];

/// The definitions that are stored.
#[derive(Serialize, ToSchema)]
pub struct Definitions {
    /// Counts every change of any of them; `ETag` and `If-Match` speak of it.
    pub revision: u64,
    /// Sorted by kind and key; ended campaigns too.
    pub definitions: Vec<Stored>,
    /// Since when what is asked of users' history is known.
    pub tracked: Vec<Tracked>,
}

/// One stored definition.
#[derive(Serialize, ToSchema)]
pub struct Stored {
    #[schema(value_type = shown::Kind)]
    pub kind: Kind,
    pub key: String,
    /// From 1; every edit bumps it.
    pub version: u32,
    /// Of campaigns.
    #[schema(value_type = Option<shown::Status>)]
    pub status: Option<Status>,
    /// The document as it was written, without `status`.
    #[schema(value_type = Object)]
    pub definition: Box<RawValue>,
}

/// Something of the past that definitions ask for.
#[derive(Serialize, ToSchema)]
pub struct Tracked {
    pub what: String,
    /// What happened before is not known.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Listing {
    /// Only definitions of this kind.
    #[param(value_type = Option<shown::Kind>)]
    kind: Option<Kind>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Applying {
    /// Running campaigns may be edited: paused, changed and resumed in one step.
    cycle: bool,
    /// What is not in the body leaves: campaigns end, everything else is deleted.
    prune: bool,
    /// Only say what would change.
    dry_run: bool,
}

/// What became of the definitions that were sent.
#[derive(Serialize, ToSchema)]
pub struct Applied {
    /// The revision that is stored now.
    pub revision: u64,
    /// One of each definition that was sent, or that left.
    pub changes: Vec<Changed>,
    pub warnings: Vec<Mistake>,
}

/// What became of one definition.
#[derive(Serialize, ToSchema)]
pub struct Changed {
    #[schema(value_type = shown::Kind)]
    pub kind: Kind,
    pub key: String,
    #[schema(value_type = shown::Change)]
    pub change: &'static str,
    /// Afterwards.
    pub version: u32,
    /// Of campaigns, afterwards.
    #[schema(value_type = Option<shown::Status>)]
    pub status: Option<Status>,
}

/// All definitions that are stored, or those of one kind.
#[utoipa::path(
    get, path = "/v1/definitions", tag = "definitions", security(("read" = []), ("admin" = [])), params(Listing),
    responses((status = 200, description = "With the revision as `ETag`", body = Definitions))
)]
async fn list(
    _: Reader,
    State(shared): State<Arc<Shared>>,
    Parameters(Listing { kind }): Parameters<Listing>,
) -> Result<Response, Problem> {
    let (catalog, in_force) = (shared.catalog().await?, shared.in_force().await?);
    let stored = catalog.documents.into_iter().filter(|document| kind.is_none_or(|kind| document.kind == kind));
    let definitions = stored.map(|document| Stored {
        kind: document.kind,
        key: document.key.into(),
        version: document.version,
        status: document.status,
        // Stored documents are JSON by construction.
        definition: RawValue::from_string(document.canonical).unwrap_or_default(),
    });
    let tracked = in_force.trackers.all().iter().filter_map(|tracker| {
        let since = *catalog.tracked.get(&tracker.id)?;
        Some(Tracked { what: tracker.to_string(), since })
    });
    let answer = Definitions { revision: catalog.revision, definitions: definitions.collect(), tracked: tracked.collect() };
    Ok(([(header::ETAG, etag(catalog.revision))], Json(answer)).into_response())
}

/// Adds and changes definitions, all or nothing. What is not in the body stays, unless `prune` is set; what did not change is not an
/// edit. Every worker follows within two seconds.
#[utoipa::path(
    put, path = "/v1/definitions", tag = "definitions", security(("admin" = [])),
    params(Applying, ("If-Match" = Option<String>, Header, description = "The revision that was seen, `\"7\"`")),
    request_body(description = "YAML, one or more documents, or JSON, a document or a list of them", content(
        (String = "application/yaml", example = "kind: cohort\nkey: vip\nwhere: {user: {plan: gold}}\n"), (serde_json::Value = "application/json")
    )),
    responses(
        (status = 200, description = "With the revision as `ETag`", body = Applied),
        (status = 409, description = "A running campaign would change, without `cycle`: `errors` says which"),
        (status = 412, description = "Another revision is stored than the one that was seen")
    )
)]
async fn put(
    Admin { caller }: Admin,
    State(shared): State<Arc<Shared>>,
    IfMatch(seen): IfMatch,
    Parameters(applying): Parameters<Applying>,
    request: Request,
) -> Result<Response, Problem> {
    body::expect_type(request.headers(), &MEDIA_TYPES)?;
    let body = body::read(request, MAX_DEFINITIONS_BYTES, &shared.room).await?;
    let options = Apply { cycle: applying.cycle, prune: applying.prune, read: shared.read_options() };
    let reading = tokio::task::spawn_blocking(move || read(&body.bytes, options.read))
        .await
        .map_err(|error| Problem::internal(error.to_string()))??;
    let missing = secrets::missing_in(&reading.documents, &shared.trial.secrets);
    let warnings = reading.problems.iter().chain(&missing).map(Mistake::from).collect();
    let Done { from, revision, told } =
        shared.change(seen, move |catalog, now| decide(catalog, &reading, &options, applying.dry_run, now)).await?;
    if from != revision {
        let moved = told.iter().filter(|change| change.what != What::Unchanged).map(ToString::to_string);
        audit(&caller, &moved.collect::<Vec<_>>().join("; "), Some((from, revision)));
    }
    let changes = told.into_iter().map(Changed::from).collect();
    Ok(([(header::ETAG, etag(revision))], Json(Applied { revision, changes, warnings })).into_response())
}

/// Deletes a definition that nothing needs. Of campaigns only those that never ran: the key of one that has is never used again.
#[utoipa::path(
    delete, path = "/v1/definitions/{kind}/{key}", tag = "definitions", security(("admin" = [])),
    params(
        ("kind" = shown::Kind, Path, description = "What it is"), ("key" = String, Path, description = "`workspace` for the workspace"),
        ("If-Match" = Option<String>, Header, description = "The revision that was seen, `\"7\"`")
    ),
    responses(
        (status = 204, description = "It is gone; with the revision as `ETag`"),
        (status = 404, description = "There is no such definition"),
        (status = 409, description = "Others need it, or it has run: says which"),
        (status = 412, description = "Another revision is stored than the one that was seen")
    )
)]
async fn delete(
    Admin { caller }: Admin,
    State(shared): State<Arc<Shared>>,
    Segments((kind, key)): Segments<(String, String)>,
    IfMatch(seen): IfMatch,
    _: Parameters<Nothing>,
) -> Result<Response, Problem> {
    let kind = kind_named(&kind)?;
    let (name, options) = (format!("{kind} {key}"), shared.read_options());
    let of_what = name.clone();
    let Done { from, revision, .. } = shared
        .change(seen, move |catalog, now| match catalog::delete(catalog, kind, &key, &options, now) {
            Ok(next) => Ok(Decided { next: Some(next), told: () }),
            Err(refusal) => Err(refused(&of_what, "deleted", refusal)),
        })
        .await?;
    audit(&caller, &format!("{name}: removed"), Some((from, revision)));
    Ok((StatusCode::NO_CONTENT, [(header::ETAG, etag(revision))]).into_response())
}

/// What was read of a body.
fn read(bytes: &[u8], options: ReadOptions) -> Result<Reading, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| Problem::invalid(format!("the body is not UTF-8: {error}")))?;
    let reading = definition::read(BODY, text, &options);
    if reading == Reading::default() {
        return Err(Problem::invalid("the body has no definitions: send YAML or JSON documents, each with `kind`").at(BODY));
    }
    Ok(reading)
}

/// Every reason, or the changes.
fn decide(catalog: &Catalog, reading: &Reading, options: &Apply, dry: bool, now: Timestamp) -> Result<Decided<Vec<Change>>, Problem> {
    if !reading.is_sound() {
        let mut problems = catalog::check(catalog, reading.clone(), options, now);
        problems.retain(definition::Problem::is_error);
        return Err(mistaken(&problems));
    }
    let apply = |options: &Apply| catalog::apply(catalog, reading.documents.clone(), options, now);
    match apply(options) {
        Ok((next, told)) => {
            let stores = !dry && told.iter().any(|change| change.what != What::Unchanged);
            Ok(Decided { next: stores.then_some(next), told })
        }
        // Nothing is wrong but that campaigns run.
        Err(problems) if !options.cycle && apply(&Apply { cycle: true, ..*options }).is_ok() => {
            let detail = "running campaigns would change: pause them first, or apply with `cycle=true` (`campanile apply --cycle`), which pauses, \
                 changes and resumes them in one step";
            Err(Problem::conflict(detail).errors(&problems))
        }
        Err(problems) => Err(mistaken(&problems)),
    }
}

fn mistaken(problems: &[definition::Problem]) -> Problem {
    let count = problems.len();
    let detail = format!("nothing was applied: {count} {} in the definitions", if count == 1 { "mistake" } else { "mistakes" });
    Problem::invalid(detail).errors(problems)
}

/// Why something was not done to a definition. `done` is what it was not, as `started`.
pub fn refused(name: &str, done: &str, refusal: Refusal) -> Problem {
    let told = refusal.told(name, done);
    match refusal {
        Refusal::Unknown => Problem::not_found(told),
        Refusal::Invalid(problems) => Problem::invalid(told).errors(&problems),
        Refusal::NotFrom { .. } | Refusal::Stays(_) | Refusal::NeededBy(_) => Problem::conflict(told),
    }
}

fn kind_named(name: &str) -> Result<Kind, Problem> {
    let kinds = [Kind::Campaign, Kind::Cohort, Kind::Destination, Kind::Workspace];
    let unknown = || Problem::not_found(format!("there is no kind `{name}`: {}", meant(name, "one of", kinds.map(Kind::as_str))));
    kinds.into_iter().find(|kind| kind.as_str() == name).ok_or_else(unknown)
}

impl From<Change> for Changed {
    fn from(change: Change) -> Changed {
        let Change { kind, key, what, version, status } = change;
        let change = match what {
            What::Created => "added",
            What::Status { .. } if status == Some(Status::Ended) => "ended",
            What::Changed | What::Status { .. } => "changed",
            What::Unchanged => "unchanged",
            What::Ended => "ended",
            What::Removed => "deleted",
        };
        Changed { kind, key: key.into(), change, version, status }
    }
}

/// A revision as `ETag` and `If-Match` write it.
pub fn etag(revision: u64) -> String {
    format!("\"{revision}\"")
}

/// The catalog that is stored now.
pub async fn stored(state: &mut dyn ports::State) -> Result<Catalog, Problem> {
    match state.documents(None).await? {
        Some(stored) => Catalog::decode(stored.revision, &stored.body).map_err(|error| Problem::internal(error.to_string())),
        None => Ok(Catalog::default()),
    }
}

//! `/v1/definitions`: all documents under one revision.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::{Parameters, Reader};
use super::problem::Problem;
use super::{Routes, Shared};
use crate::engine::catalog::Catalog;
use crate::engine::definition::{Kind, Status};
use crate::engine::time::Timestamp;
use crate::worker::ports;

pub fn routes() -> Routes {
    Routes::new().routes(routes!(list))
}

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
    #[schema(value_type = super::shown::Kind)]
    pub kind: Kind,
    pub key: String,
    /// From 1; every edit bumps it.
    pub version: u32,
    /// Of campaigns.
    #[schema(value_type = Option<super::shown::Status>)]
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
    #[param(value_type = Option<super::shown::Kind>)]
    kind: Option<Kind>,
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

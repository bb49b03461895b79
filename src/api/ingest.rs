//! Events over HTTP: one by one, or many in a batch, in the Segment spec's shapes.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::check::check;
use super::event::{PrepareError, Prepared, prepare};
use super::problem::{Problem, Refusal};
use super::{Accepted, MAX_BATCH, MAX_EVENT_BYTES, MAX_REQUEST_BYTES, Routes, Shared, body, shown};
use crate::engine::reading::Unreadable;
use crate::worker::ports::Line;

pub fn routes() -> Routes {
    let one_by_one = Routes::new().routes(routes!(track)).routes(routes!(identify)).routes(routes!(page)).routes(routes!(screen));
    one_by_one.routes(routes!(batch))
}

/// The log has it.
#[derive(Serialize, ToSchema)]
struct Taken {
    /// As it was sent, else the one that was made: a repeated event with the same id is ignored.
    message_id: String,
}

/// The log has these.
#[derive(Serialize, ToSchema)]
struct BatchTaken {
    accepted: usize,
    /// The others, with why.
    refused: Vec<Refusal>,
}

/// Something a user did.
#[utoipa::path(
    post, path = "/v1/track", tag = "ingest", security(("ingest" = []), ("ingest_basic" = []), ("admin" = [])), request_body = shown::Track,
    responses((status = 202, description = "The log has it", body = Taken))
)]
async fn track(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    one(&shared, "track", request).await
}

/// What is known of a user.
#[utoipa::path(
    post, path = "/v1/identify", tag = "ingest", security(("ingest" = []), ("ingest_basic" = []), ("admin" = [])),
    request_body = shown::Identify, responses((status = 202, description = "The log has it", body = Taken))
)]
async fn identify(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    one(&shared, "identify", request).await
}

/// A page that a user saw: an event named `page`.
#[utoipa::path(
    post, path = "/v1/page", tag = "ingest", security(("ingest" = []), ("ingest_basic" = []), ("admin" = [])), request_body = shown::View,
    responses((status = 202, description = "The log has it", body = Taken))
)]
async fn page(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    one(&shared, "page", request).await
}

/// A screen that a user saw: an event named `screen`.
#[utoipa::path(
    post, path = "/v1/screen", tag = "ingest", security(("ingest" = []), ("ingest_basic" = []), ("admin" = [])), request_body = shown::View,
    responses((status = 202, description = "The log has it", body = Taken))
)]
async fn screen(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    one(&shared, "screen", request).await
}

/// Many events at once: those that can be read are taken, the others are named.
#[utoipa::path(
    post, path = "/v1/batch", tag = "ingest", security(("ingest" = []), ("ingest_basic" = []), ("admin" = [])), request_body = shown::Batch,
    responses((status = 202, description = "The log has what it accepted", body = BatchTaken))
)]
async fn batch(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.answer(accept_batch(&shared, request).await)
}

async fn one(shared: &Shared, kind: &'static str, request: Request) -> Response {
    shared.answer(accept_one(shared, kind, request).await)
}

async fn accept_one(shared: &Shared, kind: &str, request: Request) -> Result<Accepted, Problem> {
    shared.authorize(&request)?;
    let body = body::read(request, MAX_EVENT_BYTES, &shared.room).await?;
    let prepared = prepare(utf8(&body.bytes)?, Some(kind))?;
    let user = judge(shared, &prepared).map_err(Problem::from)?;
    shared.append(vec![shared.line(user.as_deref(), prepared.value)]).await?;
    Ok(Accepted { count: 1, body: json!(Taken { message_id: prepared.message_id }) })
}

async fn accept_batch(shared: &Shared, request: Request) -> Result<Accepted, Problem> {
    #[derive(Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        batch: Vec<&'a RawValue>,
    }
    shared.authorize(&request)?;
    let body = body::read(request, MAX_REQUEST_BYTES, &shared.room).await?;
    let Batch { batch } = serde_json::from_str(utf8(&body.bytes)?)
        .map_err(|error| Problem::invalid(format!("not a batch, {{\"batch\": [...]}}: {error}")).reason("not_json"))?;
    if batch.len() > MAX_BATCH {
        return Err(Problem::too_large(format!("the batch has {} events, more than {MAX_BATCH}", batch.len())).at("batch"));
    }
    let mut lines = Vec::with_capacity(batch.len());
    let mut refused = Vec::new();
    for (index, item) in batch.into_iter().enumerate() {
        match line(shared, item.get())? {
            Ok(line) => lines.push(line),
            Err(Unreadable { reason, error }) => refused.push(Refusal { index, reason, error }),
        }
    }
    let count = lines.len();
    if count == 0 {
        let detail = if refused.is_empty() { "the batch is empty" } else { "no event of the batch can be read" };
        return Err(Problem::invalid(detail).at("batch").refused(refused));
    }
    shared.append(lines).await?;
    shared.ingest.metrics.counted("refused", refused.len() as u64);
    Ok(Accepted { count: count as u64, body: json!(BatchTaken { accepted: count, refused }) })
}

/// One event of a batch. The outer error ends the request: it is not the event's.
fn line(shared: &Shared, text: &str) -> Result<Result<Line, Unreadable>, Problem> {
    let prepared = match prepare(text, None) {
        Ok(prepared) => prepared,
        Err(PrepareError::NotJson(error)) => return Ok(Err(Unreadable { reason: "not_json", error: error.to_string() })),
        Err(error @ PrepareError::NoRandomness(_)) => return Err(error.into()),
    };
    Ok(judge(shared, &prepared).map(|user| shared.line(user.as_deref(), prepared.value)))
}

/// The user that it is about.
fn judge(shared: &Shared, prepared: &Prepared) -> Result<Option<String>, Unreadable> {
    check(&prepared.value, shared.ingest.clock.now(), shared.ingest.max_lateness).map(|checked| checked.user)
}

fn utf8(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|error| Problem::invalid(format!("the body is not UTF-8: {error}")).reason("not_json"))
}

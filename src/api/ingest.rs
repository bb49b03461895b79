//! Events over HTTP: one by one, or many in a batch, in the Segment spec's shapes.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::check::check;
use super::event::{PrepareError, Prepared, prepare};
use super::problem::{Problem, Refusal};
use super::{Accepted, MAX_BATCH, MAX_EVENT_BYTES, MAX_REQUEST_BYTES, Routes, Shared, body};
use crate::engine::reading::Unreadable;
use crate::worker::ports::Line;

pub fn routes() -> Routes {
    let mut routes = Routes::new().route("/v1/batch", post(|State(shared): State<Arc<Shared>>, request: Request| batch(shared, request)));
    for kind in ["track", "identify", "page", "screen"] {
        let handler = move |State(shared): State<Arc<Shared>>, request: Request| one(shared, kind, request);
        routes = routes.route(&format!("/v1/{kind}"), post(handler));
    }
    routes
}

/// `POST /v1/track|identify|page|screen`: 202 with the message id once the log has it.
async fn one(shared: Arc<Shared>, kind: &'static str, request: Request) -> Response {
    shared.answer(accept_one(&shared, kind, request).await)
}

/// `POST /v1/batch`: 202 with how many the log has and which were refused.
async fn batch(shared: Arc<Shared>, request: Request) -> Response {
    shared.answer(accept_batch(&shared, request).await)
}

async fn accept_one(shared: &Shared, kind: &str, request: Request) -> Result<Accepted, Problem> {
    shared.authorize(&request)?;
    let body = body::read(request, MAX_EVENT_BYTES, &shared.room).await?;
    let prepared = prepare(utf8(&body.bytes)?, Some(kind))?;
    let user = judge(shared, &prepared).map_err(Problem::from)?;
    shared.append(vec![shared.line(user.as_deref(), prepared.value)]).await?;
    Ok(Accepted { count: 1, body: json!({"message_id": prepared.message_id}) })
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
    Ok(Accepted { count: count as u64, body: json!({"accepted": count, "refused": refused}) })
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

//! The HTTP API: events and sends in. It answers 202 once the log has what it was sent and touches neither records nor
//! endpoints: what comes in over HTTP takes the same way as every other event, by the events topic.

mod access;
mod body;
pub mod check;
mod event;
mod ingest;
mod problem;
mod send;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::engine::definition::Status;
use crate::telemetry::metrics::IngestMetrics;
use crate::worker::ports::{Append, AppendError, Clock, Line};

pub use access::{Access, AccessError, Role, Tokens};
use problem::Problem;

/// One event (contract, section 4).
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;
/// One request, after unpacking.
pub const MAX_REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// Events in a batch, recipients of a send.
pub const MAX_BATCH: usize = 1000;
/// Bodies that are being read or wait for the log's acknowledgement, together. What comes on top is told to come again.
pub const MAX_BYTES_IN_FLIGHT: usize = 64 * 1024 * 1024;
/// The log's client tries for longer; whoever asked has a deadline of its own, and sends again with the same message id.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(15);

/// What ingest is given to work with.
pub struct Ingest {
    pub access: Access,
    pub append: Arc<dyn Append>,
    /// The first of `kafka.events`.
    pub events_topic: Arc<str>,
    /// What is known of a campaign, by its key.
    pub campaigns: Arc<dyn Fn(&str) -> CampaignState + Send + Sync>,
    pub clock: Arc<dyn Clock>,
    /// `triggers.max_lateness`: an event older than this is refused here, as it would be when read.
    pub max_lateness: Duration,
    pub metrics: IngestMetrics,
}

/// Whether a campaign can be sent by the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CampaignState {
    Unknown,
    /// Triggered by something else.
    NotApi,
    /// Triggered by the API; sends only while running.
    Api(Status),
}

/// The routes of ingest.
pub fn router(ingest: Ingest) -> Router {
    let shared = Arc::new(Shared { ingest, room: Arc::new(Semaphore::new(MAX_BYTES_IN_FLIGHT / body::PERMIT_BYTES)) });
    let mut router = Router::new();
    for kind in ["track", "identify", "page", "screen"] {
        let handler = move |State(shared): State<Arc<Shared>>, request: Request| ingest::one(shared, kind, request);
        router = router.route(&format!("/v1/{kind}"), post(handler));
    }
    router
        .route("/v1/batch", post(|State(shared): State<Arc<Shared>>, request: Request| ingest::batch(shared, request)))
        .route(
            "/v1/campaigns/{key}/send",
            post(|State(shared): State<Arc<Shared>>, Path(key): Path<String>, request: Request| send::send(shared, key, request)),
        )
        .fallback(|uri: Uri| async move { Problem::not_found(format!("there is nothing at {}", uri.path())) })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move { Problem::method_not_allowed(&method, &uri) })
        .with_state(shared)
}

/// What the handlers share.
struct Shared {
    ingest: Ingest,
    /// In permits of [`body::PERMIT_BYTES`].
    room: Arc<Semaphore>,
}

impl Shared {
    fn authorize(&self, request: &Request) -> Result<(), Problem> {
        self.ingest.access.check(request.headers(), Role::Ingest).map_err(Problem::from)
    }

    fn line(&self, user: Option<&str>, value: Vec<u8>) -> Line {
        Line { topic: self.ingest.events_topic.clone(), key: user.map(|user| user.as_bytes().to_vec()), value }
    }

    async fn append(&self, lines: Vec<Line>) -> Result<(), Problem> {
        match timeout(ACKNOWLEDGED_WITHIN, self.ingest.append.append(&lines)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error @ AppendError::Unavailable(_))) => Err(Problem::unavailable(error.to_string())),
            Ok(Err(error @ AppendError::Refused(_))) => Err(Problem::internal(error.to_string())),
            Err(_) => Err(Problem::unavailable(format!("the log did not acknowledge within {} s", ACKNOWLEDGED_WITHIN.as_secs()))),
        }
    }

    /// Counts what came of a request and answers it.
    fn answer(&self, outcome: Result<Accepted, Problem>) -> Response {
        match outcome {
            Ok(Accepted { count, body }) => {
                self.ingest.metrics.counted("accepted", count);
                (StatusCode::ACCEPTED, Json(body)).into_response()
            }
            Err(problem) => {
                self.ingest.metrics.counted(problem.result(), problem.count());
                problem.into_response()
            }
        }
    }
}

/// The log has it.
struct Accepted {
    /// How many events.
    count: u64,
    body: serde_json::Value,
}

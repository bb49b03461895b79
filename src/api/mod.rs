//! The HTTP API: events and sends in, and the control plane. What comes in over HTTP takes the same way as every other event, by the
//! events topic; 202 says that the log has it. The control plane reads and changes what the store holds, at its [`Desk`]; it holds
//! nothing itself, so that every worker answers alike.
//!
//! A part is a file with `routes()`; `router` puts them together and makes the OpenAPI document of them.

mod access;
mod body;
mod campaigns;
mod change;
pub mod check;
mod console;
mod dead;
mod definitions;
mod desk;
mod estimate;
mod event;
mod exposed;
mod extract;
mod hidden;
mod ingest;
mod live;
mod openapi;
mod overview;
mod problem;
mod secrets;
mod send;
mod shown;
mod statistics;
mod strict;
mod trial;
mod users;
pub mod yaml;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use utoipa_axum::router::OpenApiRouter;

use crate::engine::catalog::{Catalog, InForce};
use crate::engine::definition::{ReadOptions, Status};
use crate::telemetry::metrics::IngestMetrics;
use crate::worker::definitions::Follower;
use crate::worker::ports::{Append, AppendError, Archive, Clock, Line};
use crate::worker::settings::Topics;
use crate::worker::tail::Tail;

use access::Caller;
pub use access::{Access, AccessError, Role, Tokens};
pub use change::audit;
pub use desk::Desk;
use problem::Problem;
pub use secrets::missing_in as missing_secrets;
pub use trial::Trial;

/// One event (contract, section 4).
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;
/// One request, after unpacking.
pub const MAX_REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// Definitions in one request, after unpacking: a cohort may list a hundred thousand users.
pub const MAX_DEFINITIONS_BYTES: usize = 16 * 1024 * 1024;
/// Events in a batch, recipients of a send.
pub const MAX_BATCH: usize = 1000;
/// Bodies that are being read or wait for the log's acknowledgement, together. What comes on top is told to come again.
pub const MAX_BYTES_IN_FLIGHT: usize = 64 * 1024 * 1024;
/// The log's client tries for longer; whoever asked has a deadline of its own, and sends again with the same message id.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(15);

/// What the API is given to work with.
pub struct Api {
    pub access: Access,
    pub ingest: Ingest,
    pub desk: Desk,
    /// The definitions in force on this worker.
    pub follower: Arc<Follower>,
    /// The outcome lines as they are written.
    pub tail: Arc<Tail>,
    pub trial: Trial,
    /// What the log keeps.
    pub archive: Arc<dyn Archive>,
    pub topics: Topics,
}

/// What ingest is given to work with.
pub struct Ingest {
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

/// All routes.
pub fn router(api: Api) -> Router {
    let Api { access, ingest, desk, follower, tail, trial, archive, topics } = api;
    let room = Arc::new(Semaphore::new(MAX_BYTES_IN_FLIGHT / body::PERMIT_BYTES));
    let console = console::routes(access.clone());
    let shared = Arc::new(Shared { access, ingest, desk, follower, tail, trial, archive, topics, room });
    let (router, document) = OpenApiRouter::with_openapi(openapi::head())
        .merge(ingest::routes())
        .merge(send::routes())
        .merge(definitions::routes())
        .merge(campaigns::routes())
        .merge(statistics::routes())
        .merge(exposed::routes())
        .merge(live::routes())
        .merge(trial::routes())
        .merge(users::routes())
        .merge(dead::routes())
        .merge(console)
        .split_for_parts();
    router
        .merge(openapi::routes(document))
        .merge(console::files())
        .fallback(|uri: Uri| async move { Problem::not_found(format!("there is nothing at {}", uri.path())) })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move { Problem::method_not_allowed(&method, &uri) })
        .with_state(shared)
}

/// A part's routes, with what the OpenAPI document says of them.
type Routes = OpenApiRouter<Arc<Shared>>;

/// What the handlers share.
struct Shared {
    access: Access,
    ingest: Ingest,
    desk: Desk,
    follower: Arc<Follower>,
    tail: Arc<Tail>,
    trial: Trial,
    archive: Arc<dyn Archive>,
    topics: Topics,
    /// For bodies, in permits of [`body::PERMIT_BYTES`].
    room: Arc<Semaphore>,
}

impl Shared {
    /// The definitions as the store has them now, compiled: what was changed a moment ago is among them.
    async fn in_force(&self) -> Result<Arc<InForce>, Problem> {
        let follower = self.follower.clone();
        self.desk.run(async move |state| Ok(follower.catch_up(state).await.map(|_| follower.in_force())?)).await
    }

    /// The definitions as the store has them now, as documents.
    async fn catalog(&self) -> Result<Catalog, Problem> {
        self.desk.run(async |state| definitions::stored(state).await).await
    }

    /// How definitions are read on this deployment.
    fn read_options(&self) -> ReadOptions {
        ReadOptions { allow_http: self.follower.in_force().policy.allow_http }
    }

    /// Reads a JSON body of at most [`MAX_REQUEST_BYTES`], strictly.
    async fn json<T: DeserializeOwned>(&self, request: Request) -> Result<T, Problem> {
        body::expect_type(request.headers(), &["application/json"])?;
        strict::json(&body::read(request, MAX_REQUEST_BYTES, &self.room).await?.bytes)
    }

    fn authorize(&self, request: &Request) -> Result<Caller, Problem> {
        self.access.check(request.headers(), Role::Ingest).map_err(Problem::from)
    }

    fn line(&self, user: Option<&str>, value: Vec<u8>) -> Line {
        Line { topic: self.ingest.events_topic.clone(), key: user.map(|user| user.as_bytes().to_vec()), value }
    }

    async fn append(&self, lines: Vec<Line>) -> Result<(), Problem> {
        match timeout(ACKNOWLEDGED_WITHIN, self.ingest.append.append(&lines)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error @ (AppendError::Unavailable(_) | AppendError::Blocked(_)))) => Err(Problem::unavailable(error.to_string())),
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

//! `/v1/dead`: what finally failed, to be looked at and sent again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::change::audit;
use super::extract::{Admin, Parameters, Reader};
use super::problem::Problem;
use super::{Routes, Shared};
use crate::engine::time::Timestamp;
use crate::worker::letters::{self, BadCursor, Filter};
use crate::worker::ports::{SourceError, Topic};
use crate::worker::redrive::{Redrive, Skipped, judge};

pub fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(redrive))
}

/// Letters on a page, unless asked for otherwise.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1000;

/// A redrive answers by then, and says where to go on.
const REDRIVE_FOR: Duration = Duration::from_secs(5);

/// The slowest pace: a letter in a thousand seconds.
const SLOWEST_PER_SECOND: f64 = 0.001;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Listing {
    /// `event` (could not be read) or `delivery` (finally failed).
    kind: Option<String>,
    /// The campaign's key.
    campaign: Option<String>,
    /// The destination's key, else `host[:port]`.
    destination: Option<String>,
    /// Written at or after this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// As it stands in the letter: `http 503`, `expired`, `not_json`.
    reason: Option<String>,
    /// 1 to 1,000; 100 if absent.
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Some dead letters, the newest first.
#[derive(Serialize, ToSchema)]
struct Page {
    /// As they were written, and `destination` and `position` (partition and offset).
    #[schema(value_type = Vec<Object>)]
    records: Vec<Map<String, Value>>,
    /// Gives the next page, which may be empty and not the last; null: this is the last.
    next: Option<String>,
}

/// What is to be sent again; what is absent, all.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Wish {
    campaign: Option<String>,
    destination: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    reason: Option<String>,
    /// So many begin in a second at most; absent: as many as the destinations' own limits allow.
    per_second: Option<f64>,
    /// `next` of the answer before: goes on there.
    cursor: Option<String>,
}

/// What came of it.
#[derive(Serialize, ToSchema)]
struct Redriven {
    /// Letters that are on their way.
    redriven: u64,
    /// Those that are not, by the reason.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    skipped: Skipped,
    /// There are more: ask again with this as `cursor`. Null: these were all.
    next: Option<String>,
}

/// What could not be read, and deliveries that finally failed.
#[utoipa::path(
    get, path = "/v1/dead", tag = "dead", security(("read" = []), ("admin" = [])), params(Listing),
    responses((status = 200, description = "The newest first", body = Page))
)]
async fn list(_: Reader, State(shared): State<Arc<Shared>>, Parameters(listing): Parameters<Listing>) -> Result<Json<Page>, Problem> {
    let Listing { kind, campaign, destination, since, reason, limit, cursor } = listing;
    let limit = limit.unwrap_or(PAGE);
    if limit == 0 || limit > LONGEST_PAGE {
        return Err(Problem::invalid(format!("`limit` is {limit}: a page has 1 to {LONGEST_PAGE} letters")).at("limit"));
    }
    if let Some(kind) = kind.as_deref().filter(|kind| !matches!(*kind, "event" | "delivery")) {
        return Err(Problem::invalid(format!("`kind` is `{kind}`: write event or delivery")).at("kind"));
    }
    let boxed = |text: Option<String>| text.map(String::into_boxed_str);
    let filter = Filter { kind: boxed(kind), campaign: boxed(campaign), destination: boxed(destination), since, reason: boxed(reason) };
    let page = waiting(move || {
        let mut topic = open(&shared)?;
        letters::page(&mut *topic, &filter, cursor.as_deref(), limit).map_err(unread)?.map_err(bad_cursor)
    });
    let letters::Page { records, next } = page.await?;
    Ok(Json(Page { records, next }))
}

/// Sends deliveries again that finally failed, with the same `webhook-id`. Asking twice is harmless.
#[utoipa::path(
    post, path = "/v1/dead/redrive", tag = "dead", security(("admin" = [])), request_body = Wish,
    responses((status = 200, description = "They are on their way", body = Redriven))
)]
async fn redrive(admin: Admin, State(shared): State<Arc<Shared>>, request: Request) -> Result<Json<Redriven>, Problem> {
    let Wish { campaign, destination, since, reason, per_second, cursor } = shared.json(request).await?;
    if let Some(rate) = per_second.filter(|rate| !(*rate >= SLOWEST_PER_SECOND && rate.is_finite())) {
        return Err(Problem::invalid(format!("`per_second` is {rate}: at least {SLOWEST_PER_SECOND}")).at("per_second"));
    }
    let boxed = |text: Option<String>| text.map(String::into_boxed_str);
    let filter = Filter { kind: None, campaign: boxed(campaign), destination: boxed(destination), since, reason: boxed(reason) };
    audit(&admin.caller, &format!("dead letters are sent again: {filter}"), None);
    let (until, now) = (Instant::now() + REDRIVE_FOR, shared.ingest.clock.now());
    let at = shared.clone();
    let mut redrive =
        waiting(move || Redrive::open(open(&at)?, filter, per_second, cursor.as_deref(), now).map_err(unread)?.map_err(bad_cursor)).await?;
    let mut answer = Redriven { redriven: 0, skipped: Skipped::new(), next: None };
    while Instant::now() < until {
        let mut skipped = std::mem::take(&mut answer.skipped);
        let read = waiting(move || {
            let letters = redrive.letters(&mut skipped).map_err(unread)?;
            Ok((redrive, letters, skipped))
        });
        let (mut going_on, letters, mut skipped) = read.await?;
        let Some(letters) = letters else { return Ok(Json(Redriven { skipped, ..answer })) };
        let follower = shared.follower.clone();
        let judged = shared.desk.run(async move |state| {
            let stand = judge(letters, state, &follower, &mut skipped).await?;
            Ok((stand, skipped))
        });
        let (stand, mut skipped) = judged.await?;
        let expires = shared.follower.in_force().policy.expires;
        let lines = going_on.lines(stand, &shared.topics, expires, shared.ingest.clock.now(), &mut skipped);
        let count = lines.len() as u64;
        if count > 0 {
            shared.append(lines).await?;
        }
        answer.redriven += count;
        answer.skipped = skipped;
        redrive = going_on;
    }
    answer.next = redrive.cursor();
    Ok(Json(answer))
}

fn open(shared: &Shared) -> Result<Box<dyn Topic>, Problem> {
    shared.archive.open(&shared.topics.dead).map_err(unread)
}

/// Does what waits for the log, on a thread that may.
async fn waiting<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    spawn_blocking(work).await.unwrap_or_else(|_| Err(Problem::internal("the log could not be read: see the worker's log")))
}

fn unread(error: SourceError) -> Problem {
    match error {
        SourceError::Unavailable(_) => Problem::unavailable(error.to_string()),
        SourceError::Fenced(_) | SourceError::Fatal(_) => Problem::internal(error.to_string()),
    }
}

fn bad_cursor(_: BadCursor) -> Problem {
    Problem::invalid("`cursor` is not `next` of an answer").at("cursor")
}

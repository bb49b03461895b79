//! `/v1/destinations` and `/v1/tail`: what this worker has under way, and what all workers decide, as it happens.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::{Nothing, Parameters, Reader};
use super::problem::Problem;
use super::{Routes, Shared};
use crate::engine::catalog::InForce;
use crate::engine::delivery::breaker;
use crate::worker::dispatch::Look;
use crate::worker::live::{Listener, Told};

pub fn routes() -> Routes {
    Routes::new().routes(routes!(destinations)).routes(routes!(tail))
}

/// A comment goes out this often, so that nobody between takes the line for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where webhooks go to.
#[derive(Serialize, ToSchema)]
pub struct DestinationsView {
    pub destinations: Vec<DestinationView>,
}

#[derive(Serialize, ToSchema)]
pub struct DestinationView {
    /// Its key, else its host.
    pub name: String,
    /// `host[:port]` of what is sent there.
    pub hosts: Vec<String>,
    /// Requests of this worker.
    pub in_flight: u32,
    /// Deliveries that wait in this worker.
    pub waiting: usize,
    pub breaker: BreakerView,
    /// Over all workers; `null`: none.
    pub rate: Option<RateView>,
    /// Over all workers.
    pub max_in_flight: u32,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerView {
    Closed,
    Open,
    HalfOpen,
}

#[derive(Serialize, ToSchema)]
pub struct RateView {
    pub per_second: f64,
    pub burst: u32,
}

/// Where webhooks go to, and what this worker has under way there.
#[utoipa::path(
    get, path = "/v1/destinations", tag = "statistics", security(("read" = []), ("admin" = [])),
    responses((status = 200, description = "By name", body = DestinationsView))
)]
async fn destinations(_: Reader, State(shared): State<Arc<Shared>>, _: Parameters<Nothing>) -> Result<Json<DestinationsView>, Problem> {
    let in_force = shared.in_force().await?;
    let looks = shared.live.destinations().map(|destinations| destinations.look(shared.ingest.clock.now())).unwrap_or_default();
    Ok(Json(DestinationsView { destinations: views(&in_force, looks) }))
}

/// Those that are defined, those that a campaign sends to, and those that are called all the same: of what was changed since.
fn views(in_force: &InForce, looks: Vec<Look>) -> Vec<DestinationView> {
    let mut hosts: BTreeMap<Box<str>, BTreeSet<String>> = BTreeMap::new();
    for destination in &in_force.destinations {
        hosts.entry(destination.key.clone()).or_default().insert(destination.host.to_string());
    }
    for campaign in &in_force.campaigns {
        let webhook = &campaign.definition.webhook;
        hosts.entry(in_force.destination_of(webhook).name.into()).or_default().insert(webhook.host.to_string());
    }
    let mut looks: BTreeMap<Box<str>, Look> = looks.into_iter().map(|look| (look.name.clone(), look)).collect();
    for name in looks.keys() {
        hosts.entry(name.clone()).or_default();
    }
    let view = |(name, hosts): (Box<str>, BTreeSet<String>)| {
        let look = looks.remove(&name);
        let route = in_force.route(&name);
        DestinationView {
            hosts: hosts.into_iter().collect(),
            in_flight: look.as_ref().map_or(0, |look| look.in_flight),
            waiting: look.as_ref().map_or(0, |look| look.waiting),
            breaker: match look.map_or(breaker::Shown::Closed, |look| look.breaker) {
                breaker::Shown::Closed => BreakerView::Closed,
                breaker::Shown::Open => BreakerView::Open,
                breaker::Shown::HalfOpen => BreakerView::HalfOpen,
            },
            rate: route.rate.map(|rate| RateView { per_second: rate.per_second, burst: rate.burst }),
            max_in_flight: route.max_in_flight,
            name: name.into(),
        }
    };
    hosts.into_iter().map(view).collect()
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Of {
    /// Of this campaign only.
    campaign: Option<String>,
}

/// The outcome lines of all workers as they are written, from now on: each `data` is a line. `event: dropped` says how many were lost
/// because the listener is slow, `event: ended` why it ends. Reading begins some seconds after the answer.
#[utoipa::path(
    get, path = "/v1/tail", tag = "statistics", security(("read" = []), ("admin" = [])), params(Of),
    responses((status = 200, description = "Server-sent events, without an end", content_type = "text/event-stream", body = String))
)]
async fn tail(
    _: Reader,
    State(shared): State<Arc<Shared>>,
    Parameters(of): Parameters<Of>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let listener = shared.live.tail.listen().map_err(|error| Problem::busy(error.to_string()))?;
    let next = async |(mut listener, of): (Listener, Option<String>)| loop {
        let event = match listener.next().await? {
            Told::Line { campaign, .. } if of.as_ref().is_some_and(|of| **of != *campaign) => continue,
            Told::Line { text, .. } => Event::default().data(text),
            Told::Dropped(lines) => Event::default().event("dropped").data(lines.to_string()),
            Told::Ended(why) => {
                listener.close();
                Event::default().event("ended").data(why)
            }
        };
        return Some((Ok(event), (listener, of)));
    };
    Ok(Sse::new(unfold((listener, of.campaign), next)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

//! `/livez /readyz /metrics`: no token, no data of users. They report what others say of themselves and ask nobody: a probe
//! must not hang on what it is there to watch.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Registry, TextEncoder};
use serde_json::json;
use tokio::time::Instant;

/// What a process knows of its own condition. Shared by the loops that report and the probes that ask.
pub struct Health {
    started: Instant,
    loops: Mutex<BTreeMap<Box<str>, Watched>>,
    /// Part -> why it is not ready.
    not_ready: Mutex<BTreeMap<&'static str, Box<str>>>,
}

struct Watched {
    /// Milliseconds since `started`.
    stamp_ms: Arc<AtomicU64>,
    may_take: Duration,
}

/// A loop's own handle: it stamps every turn, idle or not. Dropped when the loop ends, which is no stall.
pub struct Progress {
    name: Box<str>,
    stamp_ms: Arc<AtomicU64>,
    health: Arc<Health>,
}

impl Health {
    /// Live, and ready: whoever has to come up first says so before the probes are served.
    pub fn new() -> Arc<Health> {
        Arc::new(Health { started: Instant::now(), loops: Mutex::default(), not_ready: Mutex::default() })
    }

    /// Watches a loop that should come round within `may_take`, counted from now. Only loops of our own whose stall a restart
    /// would mend: one that waits for a store or a broker must go on stamping.
    pub fn watch(self: &Arc<Health>, name: impl Into<Box<str>>, may_take: Duration) -> Progress {
        let name = name.into();
        let stamp_ms = Arc::new(AtomicU64::new(self.now_ms()));
        locked(&self.loops).insert(name.clone(), Watched { stamp_ms: stamp_ms.clone(), may_take });
        Progress { name, stamp_ms, health: self.clone() }
    }

    /// `part` (`definitions`, `state`, `draining`) is not ready, and why, in a sentence without data of users.
    pub fn not_ready(&self, part: &'static str, why: impl Into<Box<str>>) {
        locked(&self.not_ready).insert(part, why.into());
    }

    pub fn ready(&self, part: &'static str) {
        locked(&self.not_ready).remove(part);
    }

    /// The loops that have not come round in time, with how long ago they last did.
    pub fn stalled(&self) -> Vec<(Box<str>, Duration)> {
        self.stalled_at(self.now_ms())
    }

    /// What is not ready, and why.
    pub fn waits_for(&self) -> Vec<(&'static str, Box<str>)> {
        locked(&self.not_ready).iter().map(|(part, why)| (*part, why.clone())).collect()
    }

    fn stalled_at(&self, now_ms: u64) -> Vec<(Box<str>, Duration)> {
        locked(&self.loops)
            .iter()
            .map(|(name, watched)| (name, watched, Duration::from_millis(now_ms.saturating_sub(watched.stamp_ms.load(Ordering::Relaxed)))))
            .filter(|(_, watched, idle)| *idle > watched.may_take)
            .map(|(name, _, idle)| (name.clone(), idle))
            .collect()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Progress {
    /// The loop came round.
    pub fn stamp(&self) {
        self.stamp_ms.store(self.health.now_ms(), Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        locked(&self.health.loops).remove(&self.name);
    }
}

/// The routes of the probes listener. A 503 of `/livez` and `/readyz` says what stands still or is not ready.
pub fn router(health: Arc<Health>, registry: Registry) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(health.clone())
        .merge(Router::new().route("/metrics", get(metrics)).with_state((health, registry)))
}

async fn livez(State(health): State<Arc<Health>>) -> Response {
    let stalled = health.stalled();
    let status = if stalled.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let stalled: Vec<_> = stalled.iter().map(|(name, idle)| json!({"loop": name, "idle_seconds": idle.as_secs()})).collect();
    (status, Json(json!({"live": stalled.is_empty(), "stalled": stalled}))).into_response()
}

async fn readyz(State(health): State<Arc<Health>>) -> Response {
    let not_ready = health.waits_for();
    let status = if not_ready.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let not_ready: Vec<_> = not_ready.iter().map(|(part, why)| json!({"part": part, "reason": why})).collect();
    (status, Json(json!({"ready": not_ready.is_empty(), "not_ready": not_ready}))).into_response()
}

async fn metrics(State((health, registry)): State<(Arc<Health>, Registry)>) -> Response {
    let text = readiness(&health).and_then(|readiness| {
        let mut families = registry.gather();
        families.extend(readiness);
        TextEncoder::new().encode_to_string(&families)
    });
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// What `/readyz` says, for alerts. Made when it is asked for: there is nothing to keep up to date.
fn readiness(health: &Health) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let ready = IntGauge::new("campanile_ready", "1 while /readyz says yes")?;
    ready.set(i64::from(health.waits_for().is_empty()));
    Ok(ready.collect())
}

/// What is guarded is whole at every moment, so a panic elsewhere has not spoilt it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stands_still_is_named() {
        let health = Health::new();
        let slow = health.watch("lane 0", Duration::from_secs(60));
        let _quick = health.watch("reader", Duration::from_secs(10));
        let names = |at_ms| health.stalled_at(at_ms).into_iter().map(|(name, _)| name.into_string()).collect::<Vec<_>>();
        let now_ms = health.now_ms();
        assert_eq!(names(now_ms), [] as [&str; 0]);
        assert_eq!(names(now_ms + 30_000), ["reader"]);
        assert_eq!(names(now_ms + 90_000), ["lane 0", "reader"]);
        slow.stamp();
        drop(slow);
        assert_eq!(names(now_ms + 90_000), ["reader"]);
    }

    #[test]
    fn a_stamp_counts_from_its_own_time() {
        let health = Health::new();
        let progress = health.watch("reader", Duration::from_secs(10));
        progress.stamp_ms.store(50_000, Ordering::Relaxed);
        assert_eq!(health.stalled_at(59_999), []);
        assert_eq!(health.stalled_at(60_001), [("reader".into(), Duration::from_millis(10_001))]);
    }

    #[test]
    fn readiness_lists_every_reason() {
        let health = Health::new();
        health.not_ready("state", "the state store is not reachable");
        health.not_ready("definitions", "not read yet");
        health.not_ready("state", "ping failed");
        assert_eq!(health.waits_for(), [("definitions", "not read yet".into()), ("state", "ping failed".into())]);
        health.ready("state");
        health.ready("state");
        assert_eq!(health.waits_for(), [("definitions", "not read yet".into())]);
    }
}

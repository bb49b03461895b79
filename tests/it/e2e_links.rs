//! Linked content on a running worker: real fetches from services of every temper, and a worker that dies while it fetches.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::endpoint::{Endpoint, Seen};
use crate::support::wait::{eventually, runtime, until};
use crate::support::worker::{Deployment, Worker};

const ARRIVES_WITHIN: Duration = Duration::from_secs(40);

/// A campaign on `event` whose body is its link.
fn campaign(key: &str, event: &str, to: &str, link: &str) -> String {
    format!(
        "---\nkind: campaign\nkey: {key}\nstatus: running\ntrigger: {{action: {{event: {event}}}}}\nfatigue: {{resend: always}}
webhook: {{url: \"{to}\", body: {{user: \"{{{{ user.id }}}}\", content: \"{{{{ link.x }}}}\"}}, link: {{x: {link}}}}}\n"
    )
}

fn is_fetch(seen: &&Seen) -> bool {
    seen.webhook_id().is_none()
}

fn post(worker: &Worker, user: &str, event: &str) {
    let event = json!({"type": "track", "messageId": format!("{user}-{event}"), "userId": user, "event": event});
    assert_eq!(worker.post("/v1/track", &event.to_string()).status, 202);
}

#[test]
fn content_is_fetched_cached_refused_and_missed() {
    let endpoint = runtime().block_on(Endpoint::plain());
    let deployment = Deployment::new("embedded", "embedded");
    let to = |key: &str| endpoint.url(&format!("/to/{key}"));
    let link = |path: &str, more: &str| format!("{{url: \"{}\", {more}}}", endpoint.url(path));
    deployment.define(
        &[
            campaign("each", "a", &to("each"), &link("/of/{{ user.id }}", "timeout: 2s")),
            campaign("cached", "a", &to("cached"), &link("/shared", "ttl: 1h")),
            campaign("dropped", "a", &to("dropped"), &link("/status/503", "on_error: drop")),
            campaign("slow", "a", &to("slow"), &link("/slow", "timeout: 200ms, on_error: empty")),
            campaign("huge", "a", &to("huge"), &link("/huge", "on_error: empty")),
            campaign("inside", "a", &to("inside"), "{url: \"http://10.0.0.1/\", timeout: 10s, on_error: drop}"),
        ]
        .concat(),
    );
    deployment.init();
    let worker = deployment.start();
    for user in ["u1", "u2", "u3"] {
        post(&worker, user, "a");
    }
    let failed = |campaign: &str| {
        worker.metric("campanile_decisions_total", &format!("campaign=\"{campaign}\",outcome=\"suppressed\",reason=\"link_failed\""))
    };
    until("all that cannot be fetched is dropped", ARRIVES_WITHIN, || failed("dropped") == 3.0 && failed("inside") == 3.0);
    let seen = eventually("all that can be sent is", ARRIVES_WITHIN, || {
        Some(endpoint.seen()).filter(|seen| seen.iter().filter(|seen| !is_fetch(seen)).count() >= 12)
    });
    let link_seconds = |labels: &str| worker.metric("campanile_link_seconds_count", labels);
    assert_eq!(link_seconds("campaign=\"each\",result=\"fetched\""), 3.0);
    post(&worker, "u4", "a");
    until("an answer is used again", ARRIVES_WITHIN, || link_seconds("campaign=\"cached\",result=\"cached\"") > 0.0);
    worker.stop();
    for sent in seen.iter().filter(|seen| !is_fetch(seen)) {
        let body: Value = serde_json::from_slice(&sent.body).expect("json");
        let expect = if matches!(&*sent.path, "/to/slow" | "/to/huge") { "" } else { "status 200" };
        assert_eq!(body["content"], expect, "{}", sent.path);
    }
    for fetch in seen.iter().filter(is_fetch) {
        assert_eq!(fetch.method, "GET", "{}", fetch.path);
        assert!(fetch.body.is_empty() && fetch.headers.iter().any(|(name, value)| name == "user-agent" && value.starts_with("campanile/")));
    }
}

#[test]
fn a_worker_that_dies_while_fetching_leaves_the_wish() {
    let endpoint = runtime().block_on(Endpoint::plain());
    let deployment = Deployment::new("embedded", "embedded");
    let link = format!("{{url: \"{}\", timeout: 1s, on_error: empty}}", endpoint.url("/hang"));
    deployment.define(&campaign("hanging", "a", &endpoint.url("/to"), &link));
    deployment.init();
    let worker = deployment.start();
    post(&worker, "u1", "a");
    eventually("the service is asked", ARRIVES_WITHIN, || (endpoint.count() >= 1).then_some(()));
    worker.kill();
    let worker = deployment.start();
    eventually("the send goes out", ARRIVES_WITHIN, || endpoint.seen().iter().any(|seen| seen.path == "/to").then_some(()));
    worker.stop();
    let count = |path: &str| endpoint.seen().iter().filter(|seen| seen.path == path).count();
    assert_eq!((count("/hang"), count("/to")), (2, 1));
}

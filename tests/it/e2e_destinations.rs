//! Destinations beside one another: those that hang or fail hold up nobody else and use up no attempts, what they missed arrives
//! when they are back, and limits hold over several workers, measured at the receiver.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::support::endpoint::{Endpoint, Seen};
use crate::support::kafka::shared;
use crate::support::redis::Redis;
use crate::support::wait::{heavy, runtime, until};
use crate::support::worker::{Deployment, Worker, free_address};

/// Users, each of whom every campaign sends one message to.
const USERS: usize = 300;

const WITHIN: Duration = Duration::from_secs(60);

#[test]
fn destinations_that_hang_or_fail_hold_up_nobody_and_use_up_no_attempts() {
    let _heavy = heavy();
    let (healthy, hanging) = runtime().block_on(async { (Endpoint::plain().await, Endpoint::plain().await) });
    let away = free_address();
    let deployment = Deployment::new("embedded", "embedded");
    deployment.define(&join(&[
        campaign("healthy", &healthy.url("/")),
        campaign("hanging", &hanging.url("/hang")),
        campaign("away", &format!("http://{away}/")),
        destination("hanging", &hanging.address().to_string(), "timeout: 1s"),
        destination("away", &away, ""),
    ]));
    let worker = deployment.start();
    go(&worker, 0..USERS);

    until("the healthy endpoint has got everything", WITHIN, || healthy.count() == USERS);
    until("the others are halted", WITHIN, || ["hanging", "away"].iter().all(|name| halted(&worker, name)));
    // Back after its outage: what was never sent comes as a first attempt.
    let back = runtime().block_on(Endpoint::plain_at(&away));
    until("what the endpoint missed has arrived", 2 * WITHIN, || users(&back.seen()).len() == USERS);
    let arrived = back.seen();
    assert_eq!(arrived.len(), USERS, "each once");
    let first = arrived.iter().filter(|seen| seen.attempt() == 1).count();
    assert!(first > USERS / 2, "{first} of {USERS} had used no attempt");
    assert_eq!(worker.metric("campanile_breaker_open", "\"away\""), 0.0);
    assert_eq!(worker.metric("campanile_dead_total", ""), 0.0);
    // A slot's worth of attempts before it was halted, and a few to see whether it is back.
    assert!(hanging.count() < USERS / 2, "{} requests", hanging.count());
    worker.stop();
}

#[test]
fn a_rate_holds_over_three_workers_and_a_restart() {
    const PER_SECOND: usize = 40;
    const BURST: usize = 20;
    let _heavy = heavy();
    let redis = Redis::start();
    let limited = runtime().block_on(Endpoint::plain());
    let deployment = Deployment::new(shared(), &redis.url());
    let rate = format!("rate: {{per_second: {PER_SECOND}, burst: {BURST}}}");
    deployment.define(&join(&[campaign("limited", &limited.url("/")), destination("limited", &limited.address().to_string(), &rate)]));
    deployment.init();
    let mut workers: Vec<Worker> = (0..3).map(|_| deployment.start()).collect();
    go(&workers[0], 0..USERS);
    until("some have arrived", WITHIN, || limited.count() > USERS / 4);
    workers.remove(0).stop();
    workers.push(deployment.start());
    until("all have arrived", WITHIN, || users(&limited.seen()).len() == USERS);

    let most = most_within_a_second(&limited);
    assert!(most <= PER_SECOND + BURST, "{most} requests within a second");
    assert!(most >= PER_SECOND / 2, "{most} requests within a second");
    assert_eq!(limited.count(), USERS, "each once");
    workers.into_iter().for_each(Worker::stop);
}

/// Connections that take long to be opened, and all stand in the same moment.
#[test]
fn a_rate_holds_where_connections_are_slow_to_stand() {
    const PER_SECOND: usize = 40;
    const BURST: usize = 10;
    const SLOTS: usize = 128;
    /// So many handshakes in one moment hold up this machine, and what was begun meanwhile is seen together: half a second of it.
    const HELD_UP: usize = PER_SECOND / 2;
    let _heavy = heavy();
    let slow = runtime().block_on(Endpoint::tls_held("localhost"));
    let deployment = Deployment::new("embedded", "embedded");
    let ca = serde_json::to_string(&slow.roots()).expect("text");
    let more = format!(
        "rate: {{per_second: {PER_SECOND}, burst: {BURST}}}\nmax_in_flight: {SLOTS}\ntimeout: 20s\nca: {}",
        ca.trim_matches(['[', ']'])
    );
    let host = format!("localhost:{}", slow.address().port());
    deployment.define(&join(&[campaign("slow", &slow.named_url("/")), destination("slow", &host, &more)]));
    let worker = deployment.start();
    go(&worker, 0..USERS);
    // More than may be let through in a second.
    until("a connection stands in every slot, but for the handshake", WITHIN, || slow.at_the_door() == SLOTS);
    slow.let_in();
    until("all have arrived", WITHIN, || slow.count() >= USERS);
    let most = most_within_a_second(&slow);
    assert!(most <= PER_SECOND + BURST + HELD_UP, "{most} requests within a second");
    assert_eq!(users(&slow.seen()).len(), USERS);
    assert_eq!(slow.count(), USERS, "each once");
    worker.stop();
}

#[test]
fn slots_hold_over_three_workers_and_a_rolling_restart() {
    const SLOTS: usize = 6;
    let _heavy = heavy();
    let redis = Redis::start();
    let limited = runtime().block_on(Endpoint::plain());
    let deployment = Deployment::new(shared(), &redis.url());
    let address = limited.address().to_string();
    // A request that the worker gives up while the endpoint still has it would be one too many there.
    let slots = format!("max_in_flight: {SLOTS}\ntimeout: 6s");
    deployment.define(&join(&[campaign("limited", &limited.url("/pause/250")), destination("limited", &address, &slots)]));
    deployment.init();
    let mut workers: Vec<Worker> = (0..3).map(|_| deployment.start()).collect();
    go(&workers[0], 0..USERS);
    // The share of one that leaves is taken over, and one that comes takes nothing before the others have given it room.
    for restarted in 1..=3 {
        until("some more have arrived", 2 * WITHIN, || limited.count() >= restarted * USERS / 5);
        workers.remove(0).stop();
        workers.push(deployment.start());
    }
    until("all have arrived", 3 * WITHIN, || users(&limited.seen()).len() == USERS);
    let most = limited.most_at_once();
    assert!(most <= SLOTS, "{most} requests at once");
    assert!(most > SLOTS / 2, "{most} requests at once: slots stood empty");
    assert_eq!(limited.count(), USERS, "each once");
    workers.into_iter().for_each(Worker::stop);
}

fn most_within_a_second(endpoint: &Endpoint) -> usize {
    let mut at: Vec<_> = endpoint.seen().iter().map(|seen| seen.at).collect();
    at.sort_unstable();
    let within = |place: usize| at[place..].iter().take_while(|other| **other - at[place] < Duration::from_secs(1)).count();
    (0..at.len()).map(within).max().unwrap_or(0)
}

fn join(documents: &[String]) -> String {
    documents.join("---\n")
}

fn campaign(key: &str, url: &str) -> String {
    format!(
        "kind: campaign\nkey: {key}\nstatus: running\ntrigger: {{action: {{event: go}}}}\nwebhook:\n  url: \"{url}\"\n  body: {{user: \"{{{{ user.id }}}}\"}}\n"
    )
}

fn destination(key: &str, address: &str, more: &str) -> String {
    format!("kind: destination\nkey: {key}\nmatch: {address}\n{more}\n")
}

fn go(worker: &Worker, users: std::ops::Range<usize>) {
    let batch: Vec<_> =
        users.map(|user| json!({"type": "track", "userId": format!("u{user}"), "event": "go", "messageId": format!("m{user}")})).collect();
    let reply = worker.post("/v1/batch", &json!({"batch": batch}).to_string());
    assert_eq!(reply.status, 202, "{}", reply.body);
}

fn halted(worker: &Worker, destination: &str) -> bool {
    worker.metric("campanile_breaker_open", &format!("\"{destination}\"")) == 1.0
}

/// How often each user was written to.
fn users(seen: &[Seen]) -> BTreeMap<String, usize> {
    let mut users = BTreeMap::new();
    for seen in seen {
        *users.entry(String::from_utf8_lossy(&seen.body).into_owned()).or_default() += 1;
    }
    users
}

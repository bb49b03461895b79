//! Redis or Kafka going away under load and coming back: the workers recover by themselves and nothing is lost. A store that comes
//! back empty is not recovered from: caps would be forgotten silently, so the worker stops and says so.

use std::time::Duration;

use campanile::adapter::clock::SystemClock;
use campanile::worker::ports::Clock;
use tokio::time::Instant;

use crate::support::kafka::{Broker, append_on, shared};
use crate::support::load::{Endpoints, Load, Mix};
use crate::support::redis::Redis;
use crate::support::topic::{Follow, committed};
use crate::support::wait::{heavy, until};
use crate::support::witness::{Dead, Settling, arrivals, check_messages, check_settled};
use crate::support::worker::{Deployment, Worker};

const USERS: usize = 1_000;
const CHUNK: usize = 200;
const OUTAGES: usize = 3;
/// Requests seen between two outages: the load is under way again.
const BETWEEN: usize = 300;
const ON_THEIR_WAY: usize = 400;

const WORKS_WITHIN: Duration = Duration::from_secs(60);
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

#[test]
fn redis_restarted_under_load() {
    let _heavy = heavy();
    // What it acknowledged is on disk: a kill loses nothing.
    let mut redis = Redis::with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    let endpoints = Endpoints::start();
    let deployment = endpoints.deploy(shared(), &redis.url());
    let workers = [deployment.start(), deployment.start()];
    let mut load = Load::new(&deployment.events, USERS, Mix::Whole);
    for _ in 0..OUTAGES {
        drive(&mut load, &endpoints, shared(), BETWEEN);
        redis.kill();
        until("the worker says that it is not ready", WORKS_WITHIN, || is(&workers[0], "/readyz", 503));
        assert!(is(&workers[0], "/livez", 200), "a restart would not mend the store");
        redis.start_again();
        workers.iter().for_each(Worker::ready);
    }
    drive(&mut load, &endpoints, shared(), BETWEEN);
    all_arrives(&load, &endpoints, &deployment, workers);
}

/// Offsets are committed some 3 s late, so what Redis loses within that is applied again from Kafka, with the same decisions.
#[test]
fn a_redis_that_forgot_its_last_second_is_caught_up() {
    const FORGETS_WITHIN: Duration = Duration::from_millis(1500);
    let _heavy = heavy();
    let mut redis = Redis::start();
    let endpoints = Endpoints::start();
    let deployment = endpoints.deploy(shared(), &redis.url());
    let workers = [deployment.start(), deployment.start()];
    let mut load = Load::new(&deployment.events, USERS, Mix::Timeless);
    drive(&mut load, &endpoints, shared(), BETWEEN);
    loop {
        redis.command::<()>(&["SAVE"]);
        let saved = Instant::now();
        drive(&mut load, &endpoints, shared(), CHUNK / 10);
        if saved.elapsed() < FORGETS_WITHIN {
            break redis.start_again();
        }
    }
    drive(&mut load, &endpoints, shared(), BETWEEN);
    let rollbacks: f64 = workers.iter().map(|worker| worker.metric("campanile_state_rollbacks_total", "")).sum();
    assert!(rollbacks > 0.0, "nobody noticed");
    all_arrives(&load, &endpoints, &deployment, workers);
}

#[test]
fn kafka_restarted_under_load() {
    let _heavy = heavy();
    let redis = Redis::start();
    let endpoints = Endpoints::start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut broker = Broker::start_in(directory.path(), None);
    let address = broker.address.clone();
    let deployment = endpoints.deploy(&address, &redis.url());
    let workers = [deployment.start(), deployment.start()];
    // When an event gets through is not known here, so nothing may depend on it.
    let mut load = Load::new(&deployment.events, USERS, Mix::Timeless);
    for _ in 0..OUTAGES {
        drive(&mut load, &endpoints, &address, BETWEEN);
        let port = broker.port().to_owned();
        broker.stop();
        broker = Broker::start_in(directory.path(), Some(&port));
    }
    drive(&mut load, &endpoints, &address, BETWEEN);
    all_arrives(&load, &endpoints, &deployment, workers);
}

#[test]
fn an_emptied_redis_stops_the_worker() {
    let _heavy = heavy();
    let redis = Redis::start();
    let endpoints = Endpoints::start();
    let deployment = endpoints.deploy(shared(), &redis.url());
    let mut worker = deployment.start();
    let mut load = Load::new(&deployment.events, USERS, Mix::Timeless);
    drive(&mut load, &endpoints, shared(), BETWEEN);
    until("offsets are committed", WORKS_WITHIN, || committed(shared(), &deployment.prefix, &deployment.events) > 0);
    redis.command::<()>(&["FLUSHALL"]);
    until("the worker has stopped", WORKS_WITHIN, || {
        load.write(&append_on(shared()), 1, SystemClock::new().now());
        worker.process.status().is_some()
    });
    worker.process.ended(WORKS_WITHIN).expect(1, &["--accept-state"]);
    // It does not come back by itself, or a supervisor's restarts would do what it refuses.
    deployment.launch(&[]).process.ended(WORKS_WITHIN).expect(1, &["--accept-state"]);
    let accepting = deployment.launch(&["--accept-state"]);
    accepting.ready();
    let before = endpoints.count();
    drive(&mut load, &endpoints, shared(), 1);
    assert!(endpoints.count() > before);
    accepting.stop();
    // Once is enough, also for partitions to which nothing was written since.
    deployment.start().stop();
}

/// Writes events until `requests` more have arrived.
fn drive(load: &mut Load, endpoints: &Endpoints, brokers: &str, requests: usize) {
    let append = append_on(brokers);
    let goal = endpoints.count() + requests;
    until("deliveries are under way", WORKS_WITHIN, || {
        if load.expected.len() < endpoints.count() + ON_THEIR_WAY {
            load.write(&append, CHUNK, SystemClock::new().now());
        }
        endpoints.count() >= goal
    });
}

fn all_arrives(load: &Load, endpoints: &Endpoints, deployment: &Deployment, workers: [Worker; 2]) {
    let mut outcomes = Settling::new(deployment.brokers(), &deployment.topic("outcomes"));
    outcomes.wait_for(&load.by_campaign(), SETTLED_WITHIN);
    // The same processes that were there before.
    workers.into_iter().for_each(Worker::stop);
    let arrivals = arrivals(&endpoints.seen());
    check_messages(&load.expected, arrivals.values().map(|arrival| &arrival.message));
    let outcomes = outcomes.outcomes();
    let dead = Dead::of(&Follow::new(deployment.brokers(), &deployment.topic("dead")).all());
    check_settled(&load.expected, &arrivals, &outcomes, &dead);
    // What was under way when it went away may be repeated, but not again and again while it is away.
    for arrival in arrivals.values() {
        let most = load.expected[&arrival.message].attempts as usize + OUTAGES;
        assert!(arrival.attempts.len() <= most, "{:?} was sent {:?}", arrival.message, arrival.attempts);
    }
    let needed: usize = load.expected.values().map(|course| course.attempts as usize).sum();
    println!("{} messages, {} requests where {needed} would do", load.expected.len(), endpoints.count());
}

fn is(worker: &Worker, path: &str, status: u16) -> bool {
    worker.probe(path).is_ok_and(|reply| reply.status == status)
}

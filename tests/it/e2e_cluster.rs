//! Scale-out, rehearsed: three brokers, a Redis Cluster of three masters and three replicas, four workers, and everything that
//! operators and machines do to such a deployment while it works.

use std::time::Duration;

use campanile::adapter::clock::SystemClock;
use campanile::worker::ports::Clock;
use tokio::time::Instant;

use crate::support::endpoint::Seen;
use crate::support::kafka_cluster::KafkaCluster;
use crate::support::load::{Endpoints, Load, Mix};
use crate::support::redis_cluster::RedisCluster;
use crate::support::steady::{Steady, Stopped};
use crate::support::topic::Follow;
use crate::support::wait::heavy;
use crate::support::witness::{Dead, Settling, arrivals, check_messages, check_settled};
use crate::support::worker::{Deployment, Worker};

const USERS: usize = 1_000;
const WORKERS: usize = 4;
const GROUPS: usize = 12;
/// Chunks of events that are dealt with between two happenings.
const BETWEEN: usize = 4;

/// Users whom a worker had taken as due show again after 30 s; what a fault left undone is taken over when its lease is over.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);

/// How long an attempt may take from the request to its settling write, with fourteen servers and workers on two cores. One that began so
/// long before a fault may be hit by it.
const ATTEMPT: Duration = Duration::from_secs(10);

/// When something was broken.
struct Faults(Vec<(Instant, Instant)>);

impl Faults {
    /// Breaks something and lets it heal.
    fn during(&mut self, broken: impl FnOnce()) {
        let from = Instant::now();
        broken();
        self.0.push((from, Instant::now()));
    }

    fn hit(&self, at: Instant) -> bool {
        self.0.iter().any(|(from, to)| *from <= at + ATTEMPT && at <= *to)
    }
}

#[test]
fn everything_arrives_whatever_happens_to_the_servers() {
    let _heavy = heavy();
    let mut kafka = KafkaCluster::start();
    let mut redis = RedisCluster::start();
    let endpoints = Endpoints::start();
    let brokers = kafka.addresses();
    let settings = [("STATE__GROUPS", "12"), ("STATE__REPLICAS", "1")];
    let deployment = endpoints.deploy_with(&brokers, &redis.url(), &settings);
    let mut workers: Vec<Worker> = (0..WORKERS).map(|_| deployment.launch(&[])).collect();
    workers.iter().for_each(Worker::ready);

    let steady = Steady::new(&endpoints, &brokers);
    let mut faults = Faults(Vec::new());
    let load = std::thread::scope(|scope| {
        let _stopped = Stopped(&steady);
        let load = steady.start(scope, Load::new(&deployment.events, USERS, Mix::Whole));
        steady.goes_on(BETWEEN);
        what_operators_do(&deployment, &mut workers, &redis, &steady);
        what_machines_do(&mut kafka, &mut redis, &deployment, &workers, &steady, &mut faults);
        steady.stop();
        load.join().expect("the load was written")
    });
    all_arrives(&load, &endpoints, &deployment, workers, &faults);
}

/// None of it may be noticed by anybody: nothing is lost, nothing repeated.
fn what_operators_do(deployment: &Deployment, workers: &mut Vec<Worker>, redis: &RedisCluster, steady: &Steady<'_>) {
    note("two workers come, two go");
    workers.extend([deployment.start(), deployment.start()]);
    steady.goes_on(BETWEEN);
    workers.drain(..2).for_each(Worker::stop);
    steady.goes_on(BETWEEN);

    note("slots move");
    for group in 0..GROUPS / 3 {
        let slot = redis.slot_of(&format!("{{{}:{group}}}", deployment.prefix));
        redis.move_slot(slot, (redis.master_of(slot) + 1) % 3);
    }
    steady.goes_on(BETWEEN);

    note("a replica takes over in order");
    redis.promote(redis.slot_of(&format!("{{{}:0}}", deployment.prefix)));
    steady.goes_on(BETWEEN);

    note("all workers are restarted, one after the other");
    // The new one is ready before the old one goes, as a Deployment does it.
    for _ in 0..workers.len() {
        workers.push(deployment.start());
        workers.remove(0).stop();
        steady.goes_on(1);
    }
    steady.goes_on(BETWEEN);
}

fn what_machines_do(
    kafka: &mut KafkaCluster,
    redis: &mut RedisCluster,
    deployment: &Deployment,
    workers: &[Worker],
    steady: &Steady<'_>,
    faults: &mut Faults,
) {
    note("a Redis master dies, and comes back");
    faults.during(|| {
        let victim = redis.fail(redis.slot_of(&format!("{{{}:1}}", deployment.prefix)));
        // Until then there is no replica that could acknowledge.
        redis.restart(victim);
        workers.iter().for_each(Worker::ready);
        steady.goes_on(BETWEEN);
    });

    note("a broker dies, and comes back");
    // When an event gets through is not known here, so nothing may depend on it.
    steady.set_timeless(true);
    faults.during(|| {
        kafka.kill(1);
        steady.goes_on(BETWEEN);
        kafka.restart(1);
        workers.iter().for_each(Worker::ready);
        steady.goes_on(BETWEEN);
    });
    steady.set_timeless(false);
    steady.goes_on(BETWEEN);
}

fn all_arrives(load: &Load, endpoints: &Endpoints, deployment: &Deployment, workers: Vec<Worker>, faults: &Faults) {
    note("everything comes to its end");
    let mut outcomes = Settling::new(deployment.brokers(), &deployment.topic("outcomes"));
    outcomes.wait_for(&load.by_campaign(), SETTLED_WITHIN);
    workers.into_iter().for_each(Worker::stop);

    let seen = endpoints.seen();
    let arrivals = arrivals(&seen);
    check_messages(&load.expected, arrivals.values().map(|arrival| &arrival.message));
    let outcomes = outcomes.outcomes();
    let dead = Dead::of(&Follow::new(deployment.brokers(), &deployment.topic("dead")).all());
    check_settled(&load.expected, &arrivals, &outcomes, &dead);
    let mut repeated = 0;
    for (id, arrival) in &arrivals {
        let course = load.expected[&arrival.message];
        if arrival.attempts.len() > course.attempts as usize {
            repeated += 1;
            let requests: Vec<&Seen> = seen.iter().filter(|one| one.webhook_id() == Some(id)).collect();
            // The last one repeats something that was hit before.
            let excused = requests[..requests.len() - 1].iter().any(|one| faults.hit(one.at));
            assert!(excused, "{:?} was sent {:?}, and nothing was broken meanwhile", arrival.message, arrival.attempts);
        }
    }
    println!("{} messages, {} requests, {repeated} messages repeated in {} faults", load.expected.len(), seen.len(), faults.0.len());
}

/// How far it has come, should it fail.
fn note(what: &str) {
    println!("{} {what}", SystemClock::new().now());
}

//! Workers killed in the middle of their work, again and again: nothing is lost, caps hold, and whoever gets something twice can tell by
//! its `webhook-id`.

use std::collections::BTreeSet;
use std::time::Duration;

use campanile::adapter::clock::SystemClock;
use campanile::worker::ports::Clock;

use crate::support::kafka::{append_on, shared};
use crate::support::load::{Endpoints, Load, Mix};
use crate::support::redis::Redis;
use crate::support::topic::Follow;
use crate::support::wait::{heavy, until};
use crate::support::witness::{Dead, Settling, arrivals, check_messages, check_settled};

const KILLS: usize = 10;
const USERS: usize = 2_000;
const CHUNK: usize = 200;
/// Messages that are kept on their way: enough that a kill always finds some in flight.
const ON_THEIR_WAY: usize = 400;
/// Attempts that a worker has made before it is killed.
const ATTEMPTS_BEFORE: f64 = 30.0;

/// A killed worker's partitions stand still for its session; then the others' rebalance.
const WORKS_WITHIN: Duration = Duration::from_secs(60);
/// The last kill's leases run out, and users whom it had taken as due show again after 30 s.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

#[test]
fn killed_workers_lose_nothing() {
    let _heavy = heavy();
    let redis = Redis::start();
    let endpoints = Endpoints::start();
    let deployment = endpoints.deploy(shared(), &redis.url());
    let mut workers = vec![deployment.start(), deployment.start()];

    let append = append_on(shared());
    let mut load = Load::new(&deployment.events, USERS, Mix::Whole);
    for _ in 0..KILLS {
        let victim = workers.remove(0);
        until("the worker that is to be killed has made attempts", WORKS_WITHIN, || {
            if load.expected.len() < endpoints.count() + ON_THEIR_WAY {
                load.write(&append, CHUNK, SystemClock::new().now());
            }
            victim.metric("campanile_attempts_total", "") >= ATTEMPTS_BEFORE
        });
        victim.kill();
        workers.push(deployment.start());
    }
    let mut outcomes = Settling::new(shared(), &deployment.topic("outcomes"));
    outcomes.wait_for(load.expected.len(), SETTLED_WITHIN);
    workers.into_iter().for_each(|worker| worker.stop());

    let seen = endpoints.seen();
    let arrivals = arrivals(&seen);
    check_messages(&load.expected, arrivals.values().map(|arrival| &arrival.message));
    let outcomes = outcomes.outcomes();
    let dead = Dead::of(&Follow::new(shared(), &deployment.topic("dead")).all());
    check_settled(&load.expected, &arrivals, &outcomes, &dead);
    let attempts: BTreeSet<(Option<&str>, u32)> = seen.iter().map(|seen| (seen.webhook_id(), seen.attempt())).collect();
    assert_eq!(attempts.len(), seen.len(), "an attempt was made twice");
    let needed: usize = load.expected.values().map(|course| course.attempts as usize).sum();
    println!(
        "{KILLS} kills: {} messages, {} requests where {needed} would do without a kill, {} sent lines and {} attempt lines repeated",
        load.expected.len(),
        seen.len(),
        outcomes.sent_again,
        outcomes.attempts_again,
    );
}

//! Workers killed in the middle of their work, again and again: nothing is lost, caps hold, and whoever gets something twice can tell by
//! its `webhook-id`.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::kafka::{append_on, shared};
use crate::support::load::{Endpoints, Kills, Load, Mix};
use crate::support::redis::Redis;
use crate::support::topic::Follow;
use crate::support::wait::heavy;
use crate::support::witness::{Dead, Settling, arrivals, check_messages, check_settled};

const KILLS: Kills = Kills { times: 10, chunk: 200, on_their_way: 400 };
const USERS: usize = 2_000;

/// The last kill's leases run out, and users whom it had taken as due show again after 30 s.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

#[test]
fn killed_workers_lose_nothing() {
    let _heavy = heavy();
    let redis = Redis::start();
    let endpoints = Endpoints::start();
    let deployment = endpoints.deploy(shared(), &redis.url());
    let append = append_on(shared());
    let mut load = Load::new(&deployment.events, USERS, Mix::Whole);
    let workers = endpoints.under_kills(&deployment, &mut load, &append, KILLS);
    let mut outcomes = Settling::new(shared(), &deployment.topic("outcomes"));
    outcomes.wait_for(&load.by_campaign(), SETTLED_WITHIN);
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
        "{} kills: {} messages, {} requests where {needed} would do without a kill, {} sent lines and {} attempt lines repeated",
        KILLS.times,
        load.expected.len(),
        seen.len(),
        outcomes.sent_again,
        outcomes.attempts_again,
    );
}

//! Two workers of one group on a real Kafka and a real Redis, and endpoints of every temper: everything that is due arrives, once,
//! and nothing else does.

use std::collections::BTreeMap;
use std::time::Duration;

use campanile::adapter::clock::SystemClock;
use campanile::worker::ports::Clock;

use crate::support::kafka::{append_on, shared};
use crate::support::load::{Course, Endpoints, Load, Message, Mix};
use crate::support::redis::Redis;
use crate::support::topic::Follow;
use crate::support::wait::heavy;
use crate::support::witness::{Dead, Outcomes, Settling, arrivals, check_messages, check_settled};

const USERS: usize = 2_000;
const EVENTS: usize = 20_000;
const CHUNK: usize = 1_000;

/// All events through two workers in a debug build on two cores, with the slowest endpoint's time-outs.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);

#[test]
fn every_message_arrives_once_and_no_other() {
    let _heavy = heavy();
    let redis = Redis::start();
    let endpoints = Endpoints::start();
    let deployment = endpoints.deploy(shared(), &redis.url());
    let workers = [deployment.start(), deployment.start()];

    let append = append_on(shared());
    let mut load = Load::new(&deployment.events, USERS, Mix::Whole);
    for _ in 0..EVENTS / CHUNK {
        load.write(&append, CHUNK, SystemClock::new().now());
    }
    let mut outcomes = Settling::new(shared(), &deployment.topic("outcomes"));
    outcomes.wait_for(&load.by_campaign(), SETTLED_WITHIN);
    for worker in &workers {
        assert!(worker.metric("campanile_attempts_total", "result=\"delivered\"") > 0.0, "one worker had nothing to do");
        assert!(worker.metric("campanile_events_total", "result=\"uninteresting\"") > 0.0, "events of no interest were not counted");
    }
    // What is still on its way comes out now, and nothing after that.
    workers.into_iter().for_each(|worker| worker.stop());

    let outcomes = outcomes.outcomes();
    let dead = Dead::of(&Follow::new(shared(), &deployment.topic("dead")).all());
    check_all(&load.expected, &endpoints, &outcomes, &dead);
    println!(
        "{} events, {} deliveries, {} requests, {} sent lines repeated",
        EVENTS,
        load.expected.len(),
        endpoints.count(),
        outcomes.sent_again
    );
}

fn check_all(expected: &BTreeMap<Message, Course>, endpoints: &Endpoints, outcomes: &Outcomes, dead: &Dead) {
    let arrivals = arrivals(&endpoints.seen());
    check_messages(expected, arrivals.values().map(|arrival| &arrival.message));
    check_settled(expected, &arrivals, outcomes, dead);
    // Nothing was lost or killed, so every request is there once, and every line about one. A `sent` line comes again when a machine stands
    // still for longer than a lease, as shared ones do: whoever takes the delivery over repeats it, whether or not it had been tried.
    assert_eq!((outcomes.attempts_again, dead.again), (0, 0));
    let last_attempts = outcomes.last_attempts();
    for (id, arrival) in &arrivals {
        let course = &expected[&arrival.message];
        let numbers: Vec<u32> = (1..=course.attempts).collect();
        assert_eq!(arrival.attempts, numbers, "{:?}", arrival.message);
        let (last, attempt) = last_attempts[id.as_str()];
        assert_eq!(last, u64::from(course.attempts), "{:?}", arrival.message);
        match course.failure {
            None => assert_eq!((attempt.status, &attempt.error), (Some(200), &None), "{:?}", arrival.message),
            Some(cause) => {
                assert_eq!(attempt.error, Some(format!("Webhook Dispatch Failed: {cause}")));
                assert_eq!(dead.causes[id], cause);
            }
        }
    }
    check_retry_after(endpoints);
    for reason in ["frequency_cap", "already_sent", "resend_wait"] {
        assert!(outcomes.suppressed.contains_key(reason), "nobody was held back for {reason}: {:?}", outcomes.suppressed);
    }
}

/// The endpoint said `Retry-After: 1`. The worker that waits may not be the one that was told: their clocks agree to some milliseconds.
fn check_retry_after(endpoints: &Endpoints) {
    let mut first = BTreeMap::new();
    for seen in endpoints.plain.seen().iter().filter(|seen| seen.path.contains("retry-after")) {
        let id = seen.webhook_id().expect("every request has one").to_owned();
        match seen.attempt() {
            1 => drop(first.insert(id, seen.at)),
            _ => {
                let waited = seen.at - first[&id];
                assert!(waited >= Duration::from_millis(950), "{id} was tried again after {waited:?}");
            }
        }
    }
    assert!(!first.is_empty());
}

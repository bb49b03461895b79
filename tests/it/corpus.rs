//! The same scenarios through the same worker over three worlds must come to the same, line for line and byte for byte: in memory, over
//! the embedded log and state, and over the state in a real Redis. Time is virtual in all of them; only so can spans of months be compared.
//!
//! What this does not compare: real time (leases and waits as they pass), a real Kafka (its log is in memory beside Redis; `e2e_*` and
//! `log` are its tests), several workers at once, and real receivers. What Redis does by its own clock is not virtual: the expiry of sets
//! that bound a campaign's users, and the budgets of destinations with a rate, which no scenario has.

use std::collections::BTreeSet;
use std::sync::Arc;

use campanile::adapter::embedded::{Embedded, EmbeddedSettings};
use campanile::adapter::redis::{RedisSettings, open};
use campanile::simulator::ports::{MemoryLog, MemoryStore, OpenLog, OpenStore, SharedFaults, VirtualClock};
use campanile::simulator::scenario::{Restarts, Scenario};
use campanile::simulator::worker::World;
use campanile::worker::ports::Clock;
use tokio::runtime::Runtime;

use crate::scenarios::all;
use crate::support::foreign::{EmbeddedLog, ForeignStore};
use crate::support::redis::Redis;

/// Fewer would be too few to speak of the language.
const LEAST_SCENARIOS: usize = 40;

/// As in the simulator's world: enough for nothing to depend on one order.
const PARTITIONS: u32 = 2;

const OUTCOMES: &str = "campanile.outcomes";
const DEAD: &str = "campanile.dead";

/// Everything that came of a run.
#[derive(PartialEq)]
struct Came {
    /// Outcome lines as they were written; repeated ones once.
    outcomes: BTreeSet<String>,
    dead: BTreeSet<String>,
    requests: BTreeSet<String>,
}

fn run(name: &str, scenario: &Scenario, world: World, restarts: Restarts) -> Came {
    let log = world.log.clone();
    let ended = scenario.run_in(world, restarts).unwrap_or_else(|error| panic!("{name}: {error}"));
    let differences = scenario.differences(&ended);
    assert!(differences.is_empty(), "{name}: {differences:#?}");
    let text = |topic: &str| log.values(topic).into_iter().map(|value| String::from_utf8(value).expect("JSON")).collect();
    let requests = ended.requests.iter().map(|request| format!("{request:?}")).collect();
    Came { outcomes: text(OUTCOMES), dead: text(DEAD), requests }
}

fn in_memory(scenario: &Scenario) -> World {
    let clock = VirtualClock::new(scenario.from);
    let store = MemoryStore::new("simulated", shared(&clock), SharedFaults::default());
    world(scenario, clock.clone(), Arc::new(store), memory_log(&clock))
}

fn embedded(scenario: &Scenario, runtime: &Arc<Runtime>) -> World {
    let clock = VirtualClock::new(scenario.from);
    let settings = EmbeddedSettings { partitions: PARTITIONS, ..EmbeddedSettings::default() };
    let embedded = Embedded::open(&settings, shared(&clock)).expect("a store in memory");
    let store = ForeignStore::new(embedded.store(), runtime.clone(), clock.clone());
    let log = EmbeddedLog::new(embedded, runtime.clone(), &[OUTCOMES, DEAD]);
    world(scenario, clock, Arc::new(store), Arc::new(log))
}

fn in_redis(scenario: &Scenario, runtime: &Arc<Runtime>, redis: &Redis, prefix: &str) -> World {
    let clock = VirtualClock::new(scenario.from);
    let settings = RedisSettings { url: redis.url(), prefix: prefix.to_owned(), groups: 3, replicas: 0 };
    let store = runtime.block_on(open(settings)).expect("a Redis that can be trusted");
    let store = ForeignStore::new(Arc::new(store), runtime.clone(), clock.clone());
    world(scenario, clock.clone(), Arc::new(store), memory_log(&clock))
}

fn world(scenario: &Scenario, clock: VirtualClock, store: Arc<dyn OpenStore>, log: Arc<dyn OpenLog>) -> World {
    World { clock, store, log, endpoints: scenario.endpoints() }
}

fn memory_log(clock: &VirtualClock) -> Arc<dyn OpenLog> {
    Arc::new(MemoryLog::new(i32::try_from(PARTITIONS).expect("a few"), shared(clock), SharedFaults::default()))
}

fn shared(clock: &VirtualClock) -> Arc<dyn Clock> {
    Arc::new(clock.clone())
}

#[track_caller]
fn check(name: &str, place: &str, is: &Came, expect: &Came) {
    let each = [
        ("outcomes", &is.outcomes, &expect.outcomes),
        ("dead letters", &is.dead, &expect.dead),
        ("requests", &is.requests, &expect.requests),
    ];
    for (what, is, expect) in each {
        let more: Vec<_> = is.difference(expect).collect();
        let fewer: Vec<_> = expect.difference(is).collect();
        assert!(more.is_empty() && fewer.is_empty(), "{name}, {what} {place}: more {more:#?}, fewer {fewer:#?}");
    }
}

#[test]
fn every_scenario_comes_to_the_same_in_memory_embedded_and_on_redis() {
    let runtime = Arc::new(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime"));
    let redis = Redis::start();
    let scenarios = all();
    assert!(scenarios.len() >= LEAST_SCENARIOS, "only {} scenarios", scenarios.len());
    for (place, (name, scenario)) in scenarios.iter().enumerate() {
        let expect = run(name, scenario, in_memory(scenario), Restarts::Never);
        check(name, "embedded", &run(name, scenario, embedded(scenario, &runtime), Restarts::Never), &expect);
        let prefix = format!("corpus-{place}");
        check(name, "on Redis", &run(name, scenario, in_redis(scenario, &runtime, &redis, &prefix), Restarts::Never), &expect);
    }
}

#[test]
fn workers_that_start_anew_before_each_thing_come_to_the_same_embedded_and_on_redis() {
    let runtime = Arc::new(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime"));
    let redis = Redis::start();
    for (place, (name, scenario)) in all().iter().enumerate().step_by(4) {
        let expect = run(name, scenario, in_memory(scenario), Restarts::WhenIdle);
        check(name, "embedded", &run(name, scenario, embedded(scenario, &runtime), Restarts::WhenIdle), &expect);
        let prefix = format!("again-{place}");
        check(name, "on Redis", &run(name, scenario, in_redis(scenario, &runtime, &redis, &prefix), Restarts::WhenIdle), &expect);
    }
}

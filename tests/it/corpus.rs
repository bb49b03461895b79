//! The same scenarios through the same worker over three worlds must come to the same, line for line and byte for byte: in memory, over
//! the embedded log and state, and over a real Kafka and a real Redis. Time is virtual in all of them; only so can spans of months be
//! compared.
//!
//! What this does not compare: real time (leases and waits as they pass), several workers at once, and real receivers: `corpus_live` and
//! `e2e_*` have those. What Redis does by its own clock is not virtual: the expiry of sets that bound a campaign's users, and the budgets
//! of destinations with a rate, which no scenario has.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use campanile::adapter::embedded::{Embedded, EmbeddedSettings};
use campanile::adapter::kafka::KafkaAppend;
use campanile::adapter::redis::{RedisSettings, open};
use campanile::simulator::ports::{MemoryLog, MemoryStore, OpenLog, OpenStore, SharedFaults, VirtualClock};
use campanile::simulator::scenario::{Restarts, Scenario};
use campanile::simulator::worker::{World, settings};
use campanile::worker::ports::Clock;
use tokio::runtime::Runtime;

use crate::scenarios::{all, only};
use crate::support::foreign::{EmbeddedLog, ForeignStore};
use crate::support::kafka;
use crate::support::kafka_log::KafkaLog;
use crate::support::redis::Redis;

/// Fewer would be too few to speak of the language.
const LEAST_SCENARIOS: usize = 40;

/// As in the simulator's world: enough for nothing to depend on one order.
const PARTITIONS: u32 = 2;

/// Where Kafka takes part: it divides keys otherwise.
const ONE_PARTITION: u32 = 1;

/// Scenarios at once on Kafka and Redis: each waits for them most of the time.
const AT_ONCE: usize = 4;

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

fn in_memory(scenario: &Scenario, partitions: u32) -> World {
    let clock = VirtualClock::new(scenario.from);
    let store = MemoryStore::new("simulated", shared(&clock), SharedFaults::default());
    world(scenario, clock.clone(), Arc::new(store), memory_log(&clock, partitions))
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
    world(scenario, clock.clone(), Arc::new(store), memory_log(&clock, PARTITIONS))
}

fn on_kafka_and_redis(scenario: &Scenario, runtime: &Arc<Runtime>, redis: &Redis, append: &Arc<KafkaAppend>, prefix: &str) -> World {
    let World { clock, store, .. } = in_redis(scenario, runtime, redis, prefix);
    let log = KafkaLog::new(kafka::shared(), append.clone(), &settings().topics, clock.clone());
    world(scenario, clock, store, Arc::new(log))
}

fn world(scenario: &Scenario, clock: VirtualClock, store: Arc<dyn OpenStore>, log: Arc<dyn OpenLog>) -> World {
    World { clock, store, log, endpoints: scenario.endpoints() }
}

fn memory_log(clock: &VirtualClock, partitions: u32) -> Arc<dyn OpenLog> {
    Arc::new(MemoryLog::new(i32::try_from(partitions).expect("a few"), shared(clock), SharedFaults::default()))
}

fn shared(clock: &VirtualClock) -> Arc<dyn Clock> {
    Arc::new(clock.clone())
}

fn runtime() -> Arc<Runtime> {
    Arc::new(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime"))
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
fn every_scenario_comes_to_the_same_in_memory_and_embedded() {
    let runtime = runtime();
    for (name, scenario) in &all() {
        let expect = run(name, scenario, in_memory(scenario, PARTITIONS), Restarts::Never);
        check(name, "embedded", &run(name, scenario, embedded(scenario, &runtime), Restarts::Never), &expect);
    }
}

#[test]
fn every_scenario_comes_to_the_same_in_memory_and_on_kafka_and_redis() {
    let (runtime, redis, append) = (runtime(), Redis::start(), Arc::new(kafka::append_on(kafka::shared())));
    let scenarios = all();
    assert!(scenarios.len() >= LEAST_SCENARIOS || only().is_some(), "only {} scenarios", scenarios.len());
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((place, (name, scenario))) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, scenarios.get(at)?)))
        {
            let expect = run(name, scenario, in_memory(scenario, ONE_PARTITION), Restarts::Never);
            let world = on_kafka_and_redis(scenario, &runtime, &redis, &append, &format!("corpus-{place}"));
            check(name, "on Kafka and Redis", &run(name, scenario, world, Restarts::Never), &expect);
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
}

#[test]
fn workers_that_start_anew_before_each_thing_come_to_the_same_embedded_and_on_redis() {
    let (runtime, redis) = (runtime(), Redis::start());
    for (place, (name, scenario)) in all().iter().enumerate().step_by(4) {
        let expect = run(name, scenario, in_memory(scenario, PARTITIONS), Restarts::WhenIdle);
        check(name, "embedded", &run(name, scenario, embedded(scenario, &runtime), Restarts::WhenIdle), &expect);
        let prefix = format!("again-{place}");
        check(name, "on Redis", &run(name, scenario, in_redis(scenario, &runtime, &redis, &prefix), Restarts::WhenIdle), &expect);
    }
}

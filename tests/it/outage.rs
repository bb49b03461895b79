//! An hour of outage of one endpoint in virtual time, with the real worker: what it missed arrives when it is back, and until then costs
//! a bounded amount of everything.
//!
//! Scaled to two deliveries in five seconds; what is counted is the cost of each, and how little of all of them a worker holds: what waits,
//! waits in the log. The requests are as large as they may be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use campanile::engine::catalog::{Apply, Catalog, apply};
use campanile::engine::definition::{ReadOptions, Reading, read};
use campanile::engine::time::Timestamp;
use campanile::simulator::endpoints::{Endpoints, Secrets};
use campanile::simulator::ports::{MemoryLog, MemoryStore, SharedFaults, VirtualClock};
use campanile::simulator::rules::AnswerRule;
use campanile::simulator::worker::{Guard, SimulatedWorker, World, policy, settings};
use campanile::worker::ports::{Clock, Line, Store};
use campanile::worker::retry::HEAP_BYTES;
use futures_util::FutureExt;

const OUTAGE: Duration = Duration::from_secs(3600);
/// So many events come together so often.
const EVENTS: usize = 4;
const EVERY: Duration = Duration::from_secs(10);

/// A frozen request is refused when it is larger than 32 KiB.
const BODY_BYTES: usize = 30_000;

/// A wait of the last tier, its spread, and a few looks whether the endpoint is back.
const ALL_BACK_WITHIN: Duration = Duration::from_secs(45 * 60);

const DEFINITIONS: &str = "{kind: campaign, key: a, status: running, trigger: {action: {event: go}}, \
    webhook: {url: 'https://shop.example/', body: {text: '{{ event.text }}'}}}";

#[test]
fn an_hour_of_outage_costs_little_and_loses_nothing() {
    let start = Timestamp::parse("2026-11-20T10:00:00Z").expect("a time");
    let world = world(start);
    let mut worker = SimulatedWorker::start_with(&world, &settings(), &policy(), Guard::Breakers).expect("it starts");
    let down = AnswerRule { status: 503, ..AnswerRule::default() };
    world.endpoints.answer_by(vec![down]);
    let text = "x".repeat(BODY_BYTES);
    let (mut users, mut most_held) = (0, 0);
    let mut now = start;
    while now < start.after(OUTAGE) {
        let lines: Vec<Line> = (0..EVENTS)
            .map(|_| {
                users += 1;
                let value = format!(
                    r#"{{"type":"track","event":"go","userId":"u{users}","messageId":"m{users}","properties":{{"text":"{text}"}}}}"#
                );
                Line { topic: "events".into(), key: Some(format!("u{users}").into_bytes()), value: value.into_bytes() }
            })
            .collect();
        world.log.append(&lines).now_or_never().expect("memory answers at once").expect("it is written");
        now = now.after(EVERY);
        run_until(&mut worker, &world, now, &mut most_held);
    }
    let during = world.endpoints.take_seen();
    // A slot's worth until it was halted, then a look now and then.
    assert!(during.len() < users / 10, "{} requests for {users} deliveries", during.len());
    let all = users * BODY_BYTES;
    assert!(most_held < all / 4, "{most_held} of {all} bytes held");

    world.endpoints.answer_by(Vec::new());
    run_until(&mut worker, &world, now.after(ALL_BACK_WITHIN), &mut most_held);
    let after = world.endpoints.take_seen();
    let mut delivered: BTreeMap<&str, u32> = BTreeMap::new();
    after.iter().filter(|seen| seen.status == 200).for_each(|seen| *delivered.entry(&seen.webhook_id).or_default() += 1);
    assert_eq!(delivered.len(), users, "all arrive");
    assert!(delivered.values().all(|times| *times == 1), "each once");
    assert!(most_held < HEAP_BYTES, "{most_held} bytes held when all came back at once");
    // Each climbed the tiers: some messages, not one a second.
    let messages: usize =
        ["retry", "retry.1m", "retry.5m", "retry.30m"].iter().map(|name| world.log.values(&format!("campanile.{name}")).len()).sum();
    assert!(messages <= 12 * users, "{messages} retry messages for {users} deliveries");
    assert_eq!(world.log.values("campanile.dead").len(), 0, "none was given up");
}

fn world(start: Timestamp) -> World {
    let clock = VirtualClock::new(start);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let store = MemoryStore::new("store", shared.clone(), SharedFaults::default());
    let Reading { documents, problems, .. } = read("definitions.yaml", DEFINITIONS, &ReadOptions::default());
    assert!(problems.is_empty(), "{problems:?}");
    let (catalog, _) = apply(&Catalog::default(), documents, &Apply::default(), start).expect("a catalog");
    let put = async { store.session().await?.put_documents(0, &catalog.encode()).await };
    put.now_or_never().expect("memory answers at once").expect("they are stored");
    World {
        store: Arc::new(store),
        log: Arc::new(MemoryLog::new(2, shared, SharedFaults::default())),
        endpoints: Endpoints::new(Vec::new(), Vec::new(), Secrets::default()),
        clock,
    }
}

/// From one thing to do to the next.
fn run_until(worker: &mut SimulatedWorker, world: &World, to: Timestamp, most_held: &mut usize) {
    loop {
        let mut idle = 0;
        while idle < 3 {
            idle = if worker.round().expect("no faults are thrown in") { 0 } else { idle + 1 };
            *most_held = (*most_held).max(worker.retries_held_bytes());
        }
        let now = world.clock.now();
        if now >= to {
            return;
        }
        let next = worker.next_time().unwrap_or(to);
        world.clock.set(next.max(now.after(Duration::from_millis(100))).min(to));
    }
}

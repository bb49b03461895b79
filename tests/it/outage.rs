//! An hour of outage of one endpoint in virtual time, with the real worker: what it missed arrives when it is back, at the rate that its
//! destination allows, and until then costs a bounded amount of everything.
//!
//! Scaled to two deliveries a second; what is counted is the cost of each, and how few of all of them a worker holds: what waits, waits in
//! the log. `scripts/bench.sh outage` measures a thousand a second on real servers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use campanile::engine::catalog::{Apply, Catalog, apply};
use campanile::engine::definition::{ReadOptions, Reading, read};
use campanile::engine::time::Timestamp;
use campanile::simulator::endpoints::{Endpoints, Secrets, Seen};
use campanile::simulator::ports::{MemoryLog, MemoryStore, SharedFaults, VirtualClock};
use campanile::simulator::rules::AnswerRule;
use campanile::simulator::worker::{Guard, SimulatedWorker, World, policy, settings};
use campanile::worker::ports::{Clock, Line, Store};
use futures_util::FutureExt;

const OUTAGE: Duration = Duration::from_secs(3600);
/// So many events come together so often.
const EVENTS: usize = 10;
const EVERY: Duration = Duration::from_secs(5);

const BODY_BYTES: usize = 2_000;

/// What the destination takes: a backlog of an hour is delivered in six minutes.
const PER_SECOND: usize = 20;
const BURST: usize = 10;

/// The next look whether the endpoint is back comes a minute after the last at the latest, with whatever is halted next.
const NOTICED_WITHIN: Duration = Duration::from_secs(75);

/// Retry messages in the hands of the worker: those that wait for less than a minute, and of each of the three tiers' two partitions what
/// one poll brings.
const HELD: usize = 600;

/// Of one destination: 64 slots, 256 that wait for one.
const UNDER_WAY: usize = 64 + 256;

const DEFINITIONS: &str = "{kind: campaign, key: a, status: running, trigger: {action: {event: go}}, \
    webhook: {url: 'https://shop.example/', body: {text: '{{ event.text }}'}}}\n---\n\
    {kind: destination, key: shop, match: shop.example, rate: {per_second: 20, burst: 10}}";

#[test]
fn an_hour_of_outage_costs_little_and_all_is_delivered_at_the_rate() {
    let start = Timestamp::parse("2026-11-20T10:00:00Z").expect("a time");
    let world = world(start);
    let mut worker = SimulatedWorker::start_with(&world, &settings(), &policy(), Guard::Breakers).expect("it starts");
    let down = AnswerRule { status: 503, ..AnswerRule::default() };
    world.endpoints.answer_by(vec![down]);
    let (mut users, mut most) = (0, Most::default());
    let mut now = start;
    while now < start.after(OUTAGE) {
        let lines: Vec<Line> = (users..users + EVENTS).map(event).collect();
        users += EVENTS;
        world.log.append(&lines).now_or_never().expect("memory answers at once").expect("it is written");
        now = now.after(EVERY);
        run_until(&mut worker, &world, now, &mut most);
    }
    let during = world.endpoints.take_seen();
    // A slot's worth until it was halted, then a look now and then.
    assert!(during.len() < 64 + 70, "{} requests for {users} deliveries", during.len());
    most.check();

    world.endpoints.answer_by(Vec::new());
    let back = now;
    let drained = Duration::from_secs_f64(users as f64 / PER_SECOND as f64);
    run_until(&mut worker, &world, back.after(NOTICED_WITHIN + drained.mul_f64(1.1)), &mut most);
    let after = world.endpoints.take_seen();
    let mut delivered: BTreeMap<&str, u32> = BTreeMap::new();
    after.iter().filter(|seen| seen.status == 200).for_each(|seen| *delivered.entry(&seen.webhook_id).or_default() += 1);
    assert_eq!(delivered.len(), users, "all arrive, as fast as they may");
    assert!(delivered.values().all(|times| *times == 1), "each once");
    let in_second = most_in_a_second(&after);
    assert!(in_second <= PER_SECOND + BURST, "{in_second} requests in a second");
    most.check();
    let unused = after.iter().filter(|seen| seen.attempt == 1).count();
    assert!(unused + during.len() >= users, "{unused} first attempts: what was halted had used some");
    // Each climbed the tiers: some messages, not one a second.
    let messages: usize =
        ["retry", "retry.1m", "retry.5m", "retry.30m"].iter().map(|name| world.log.values(&format!("campanile.{name}")).len()).sum();
    assert!(messages <= 7 * users, "{messages} retry messages for {users} deliveries");
    assert_eq!(world.log.values("campanile.dead").len(), 0, "none was given up");
}

fn event(user: usize) -> Line {
    let text = "x".repeat(BODY_BYTES);
    let value = format!(r#"{{"type":"track","event":"go","userId":"u{user}","messageId":"m{user}","properties":{{"text":"{text}"}}}}"#);
    Line { topic: "events".into(), key: Some(format!("u{user}").into_bytes()), value: value.into_bytes() }
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

/// The most that the worker held at once.
#[derive(Default)]
struct Most {
    retry_bytes: usize,
    under_way: usize,
}

impl Most {
    fn note(&mut self, worker: &SimulatedWorker) {
        self.retry_bytes = self.retry_bytes.max(worker.retries_held_bytes());
        let under_way = worker.destinations().iter().map(|look| look.in_flight as usize + look.waiting).sum();
        self.under_way = self.under_way.max(under_way);
    }

    fn check(&self) {
        assert!(self.retry_bytes <= HELD * (BODY_BYTES + 1000), "{} bytes of retry messages held", self.retry_bytes);
        assert!(self.under_way <= UNDER_WAY, "{} deliveries under way", self.under_way);
    }
}

/// From one thing to do to the next.
fn run_until(worker: &mut SimulatedWorker, world: &World, to: Timestamp, most: &mut Most) {
    loop {
        let mut idle = 0;
        while idle < 3 {
            idle = if worker.round().expect("no faults are thrown in") { 0 } else { idle + 1 };
            most.note(worker);
        }
        let now = world.clock.now();
        if now >= to {
            return;
        }
        let next = worker.next_time().unwrap_or(to);
        world.clock.set(next.max(now.after(Duration::from_millis(50))).min(to));
    }
}

fn most_in_a_second(seen: &[Seen]) -> usize {
    let (mut second, mut most) = (VecDeque::new(), 0);
    for Seen { at, .. } in seen {
        while second.front().is_some_and(|first| at.since(*first) >= Duration::from_secs(1)) {
            second.pop_front();
        }
        second.push_back(*at);
        most = most.max(second.len());
    }
    most
}

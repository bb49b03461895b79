//! The same scenarios through worker processes on a real Kafka and a real Redis, in real time, and through the simulator: each must decide
//! the same for everybody, for the same reason, and send the same bodies.
//!
//! Real time cannot be moved, so all events of a scenario are made to happen in this minute, in their order, and arrive at once; the
//! simulator is given the very same events. What is compared: who, because of which event, outcome, reason, rule, arm; path and body of each
//! request. What is not: instants, delivery ids (they are keyed by the store), and everything that needs time to pass; `corpus` has that,
//! byte for byte.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use campanile::adapter::clock::SystemClock;
use campanile::adapter::kafka::{Admin, KafkaSettings, State, Topic, topics};
use campanile::engine::definition::problem::Problems;
use campanile::engine::definition::text::documents;
use campanile::engine::time::Timestamp;
use campanile::engine::value::Value as Tree;
use campanile::simulator::ports::{MemoryLog, MemoryStore, SharedFaults, VirtualClock};
use campanile::simulator::scenario::{Restarts, Scenario};
use campanile::simulator::worker::World;
use campanile::worker::ports::Clock;
use serde_json::{Value, json};

use crate::support::endpoint::Endpoint;
use crate::support::kafka::{shared, wait};
use crate::support::redis::Redis;
use crate::support::topic::Follow;
use crate::support::wait::{eventually, runtime};
use crate::support::worker::Deployment;

/// What a scenario may not have: what needs time to pass, what the clock on the wall decides, what several users share (lanes serve them at
/// once), and what only the simulator's receivers do.
const NOT_LIVE: [&str; 12] = [
    "\n    limit:",
    "date:",
    "schedule:",
    "changes:",
    "quiet_hours:",
    "calendar:",
    "answers:",
    "links:",
    "link:",
    "secrets:",
    "match:",
    "delivery.time",
];

/// Fewer would be too few to speak of the language.
const LEAST_SCENARIOS: usize = 25;

/// Deployments at once: each waits most of the time.
const AT_ONCE: usize = 2;

const PARTITIONS: i32 = 2;

const WITHIN: Duration = Duration::from_secs(60);

/// How long ago the first event of a scenario is made to happen, and what lies between two.
const AGO: Duration = Duration::from_secs(60);
const BETWEEN: Duration = Duration::from_millis(10);

/// What is the same in every world.
#[derive(Debug, Default, PartialEq)]
struct Essence {
    decisions: BTreeSet<String>,
    requests: BTreeSet<String>,
}

#[test]
fn a_worker_on_kafka_and_redis_decides_as_the_simulator_does() {
    let redis = Redis::start();
    let texts = texts();
    let (next, compared) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some((name, text)) = texts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let endpoint = runtime().block_on(Endpoint::plain());
            let text = with_host(text, endpoint.url("").trim_end_matches('/'));
            let now = SystemClock::new().now();
            let scenario = compressed(Scenario::read(name, &text, &|_| Err("stands alone".into())).expect("a sound scenario"), now);
            let expect = simulated(&scenario);
            // Where all of it waits for something there is nothing to compare; and what looks back knows nothing here yet.
            if !expect.decisions.is_empty() && scenario.catalog.tracked.is_empty() {
                check(name, &live(&scenario, &text, &redis, &endpoint, &expect), &expect);
                compared.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    let compared = compared.into_inner();
    assert!(compared >= LEAST_SCENARIOS, "only {compared} scenarios were compared");
}

/// The scenarios that can be run in real time, by name.
fn texts() -> Vec<(String, String)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let files = std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("a file").path());
    let read = |path: PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).expect("a scenario"))
    };
    let mut texts: Vec<(String, String)> = files.map(read).collect();
    texts.retain(|(_, text)| !NOT_LIVE.iter().any(|word| text.contains(word)));
    texts.sort();
    texts
}

/// The same text with every host of a URL replaced.
fn with_host(text: &str, host: &str) -> String {
    let mut parts = text.split("https://");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let end = part.find(['/', '"', '\'', '?', ' ', '}']).unwrap_or(part.len());
        format!("{text}{host}{}", &part[end..])
    })
}

/// All events within this minute, in their order, and all arriving now.
fn compressed(mut scenario: Scenario, now: Timestamp) -> Scenario {
    scenario.events.sort_by_key(|event| event.at);
    let mut at = now.before(AGO);
    for (number, event) in scenario.events.iter_mut().enumerate() {
        let mut json: Value = serde_json::from_str(&event.json).expect("an event");
        json["timestamp"] = json!(at.to_string());
        // Without an id it is known by its place in the log, which is another one there.
        if json["messageId"].is_null() {
            json["messageId"] = json!(format!("event-{number}"));
        }
        json.as_object_mut().expect("a map").remove("receivedAt");
        (event.json, event.at) = (json.to_string(), now);
        at = at.after(BETWEEN);
    }
    (scenario.from, scenario.to) = (now, now.after(AGO));
    scenario
}

fn simulated(scenario: &Scenario) -> Essence {
    let clock = VirtualClock::new(scenario.from);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let log = Arc::new(MemoryLog::new(2, shared.clone(), SharedFaults::default()));
    let store = Arc::new(MemoryStore::new("simulated", shared, SharedFaults::default()));
    let world = World { clock, store, log: log.clone(), endpoints: scenario.endpoints() };
    let ended = scenario.run_in(world, Restarts::Never).expect("the simulation goes on");
    let lines = log.records("campanile.outcomes").into_iter().filter_map(|(_, line)| serde_json::from_slice(&line).ok());
    let path = |url: &str| url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
    let body = |body: &Option<Tree>| serde_json::from_str(&body.as_ref().map_or("null".into(), Tree::to_string)).expect("JSON");
    Essence {
        decisions: decisions(lines),
        requests: ended.requests.iter().map(|request| shown(&path(&request.url), body(&request.body))).collect(),
    }
}

/// Runs it on a deployment of its own until as much has come as is expected, and all events were read.
fn live(scenario: &Scenario, text: &str, redis: &Redis, endpoint: &Endpoint, expect: &Essence) -> Essence {
    let mut deployment = Deployment::new(shared(), &redis.url());
    // The simulator omits nothing.
    deployment.set("OUTCOMES__OMIT", "[]");
    create_topics(&deployment);
    deployment.define(&definitions(text));
    let worker = deployment.start();
    let lines: Vec<&str> = scenario.events.iter().map(|event| &*event.json).collect();
    deployment.write("events.ndjson", &lines.join("\n"));
    deployment.run(&["ingest", "events.ndjson"]).expect(0, &[]);
    let mut outcomes = Follow::new(shared(), &deployment.topic("outcomes"));
    let mut came = Essence::default();
    eventually(&format!("{}: every event is read and every decision written", scenario.name), WITHIN, || {
        came.decisions = decisions(outcomes.look().iter().map(|line| line.value.clone()));
        came.requests = endpoint.seen().iter().map(|seen| shown(&seen.path, body(&seen.body))).collect();
        let read = worker.metric("campanile_events_total", "") >= lines.len() as f64;
        (read && came.decisions.len() >= expect.decisions.len() && came.requests.len() >= expect.requests.len()).then_some(())
    });
    worker.stop();
    // What was still under way when it stopped.
    came.decisions = decisions(outcomes.look().iter().map(|line| line.value.clone()));
    came
}

/// As `init` does, but with few partitions: there are many deployments on one broker.
fn create_topics(deployment: &Deployment) {
    let admin = Admin::open(&KafkaSettings::new(deployment.brokers(), "admin"), WITHIN).expect("an admin client");
    let wanted = topics(std::slice::from_ref(&deployment.events), &deployment.prefix, Duration::from_secs(86_400)).into_iter();
    let found = wait(admin.create(&wanted.map(|topic| Topic { partitions: PARTITIONS, ..topic }).collect::<Vec<_>>()));
    assert!(found.expect("a reachable broker").iter().all(|one| one.state == State::Created));
}

/// The definitions of a scenario, as a file of their own.
fn definitions(text: &str) -> String {
    let problems = Problems::of("scenario");
    let trees = documents(text, &problems);
    let Some(Tree::Object(scenario)) = trees.first().map(|tree| tree.root.to_value()) else { panic!("a scenario is a map") };
    let Some(Tree::List(definitions)) = scenario.get("definitions") else { panic!("a list of definitions") };
    definitions.iter().map(Tree::to_string).collect::<Vec<_>>().join("\n---\n")
}

fn decisions(lines: impl Iterator<Item = Value>) -> BTreeSet<String> {
    let of = |line: Value| {
        let fields = ["campaign", "user_id", "event_id", "outcome", "reason", "rule", "arm", "version", "channel", "tags"];
        json!(fields.map(|field| line[field].clone())).to_string()
    };
    lines.filter(|line| line["type"] == "decision").map(of).collect()
}

/// JSON as it is, anything else as text.
fn body(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| json!(String::from_utf8_lossy(body)))
}

/// The default body holds an id and an instant of its own.
fn shown(path: &str, mut body: Value) -> String {
    if let Some(body) = body.as_object_mut() {
        body.remove("delivery_id");
    }
    format!("{path} {body}")
}

#[track_caller]
fn check(name: &str, is: &Essence, expect: &Essence) {
    for (is, expect) in [(&is.decisions, &expect.decisions), (&is.requests, &expect.requests)] {
        let more: Vec<_> = is.difference(expect).collect();
        let fewer: Vec<_> = expect.difference(is).collect();
        assert!(more.is_empty() && fewer.is_empty(), "{name}, live: more {more:#?}, fewer {fewer:#?}");
    }
}

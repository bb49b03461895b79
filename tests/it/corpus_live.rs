//! The same scenarios through worker processes in real time, on a real Kafka and Redis and on the embedded log and store, and through the
//! simulator: each must decide the same for everybody, for the same reason, send the same bodies, and end the same.
//!
//! Real time cannot be moved. So there are two kinds of scenarios:
//! - Those of `tests/scenarios` and `docs/recipes`, made to happen in a moment: all events of one, in their order, arrive at once, and the
//!   simulator is given the very same events. What waits for longer than a minute is still waiting when they are compared.
//! - Those of `tests/scenarios/live`, whose spans are of seconds: moved to now and played as they are, each event at its time and not
//!   before all that the simulator decides until then was decided. They have what needs time to pass: timers, schedules, dates, deferrals,
//!   quiet hours, resending, retries, links, limits, batches, cohorts.
//!
//! What is compared: who, because of which event, outcome, reason, rule, arm; path and body of each request, of a shared one each user's
//! part; how each delivery ended. What is not: instants and delivery ids (they are keyed by the store). What cannot be run live at all, for
//! it needs hours or the calendar: `corpus` compares that, byte for byte, in virtual time on the same servers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use campanile::adapter::clock::SystemClock;
use campanile::adapter::embedded::{Embedded, EmbeddedSettings};
use campanile::adapter::kafka::{Admin, KafkaSettings, State, Topic, topics};
use campanile::engine::definition::problem::Problems;
use campanile::engine::definition::text::documents;
use campanile::engine::time::Timestamp;
use campanile::engine::value::Value as Tree;
use campanile::simulator::ports::{MemoryLog, MemoryStore, OpenLog, SharedFaults, VirtualClock};
use campanile::simulator::scenario::{Restarts, Scenario};
use campanile::simulator::worker::World;
use campanile::worker::ports::Clock;
use regex::{Captures, Regex};
use serde_json::{Value, json};

use crate::scenarios::only;
use crate::support::endpoint::Endpoint;
use crate::support::foreign::EmbeddedLog;
use crate::support::kafka::{shared, wait};
use crate::support::redis::Redis;
use crate::support::topic::Follow;
use crate::support::wait::{eventually, runtime};
use crate::support::worker::{Deployment, Worker};

/// What a scenario that happens in a moment may not have: what needs time to pass, what the clock on the wall or the calendar decides, what
/// several users share (lanes serve them at once), what is done between events, and what only the simulator has: its receivers, an authority that
/// nobody has.
const NOT_IN_A_MOMENT: [&str; 12] = [
    "\n    limit:",
    "date:",
    "schedule:",
    "changes:",
    "quiet_hours:",
    "calendar:",
    "answers:",
    "links:",
    "link:",
    "type: delete",
    "delivery.time",
    "\n    ca:",
];

/// Fewer would be too few to speak of the language (issue 4), in each of the two ways of running a worker.
const LEAST_SCENARIOS: usize = 40;

/// Deployments at once: each waits most of the time.
const AT_ONCE: usize = 6;

const PARTITIONS: i32 = 2;

const WITHIN: Duration = Duration::from_secs(120);

/// What lies between two events of a moment.
const BETWEEN: Duration = Duration::from_millis(10);

/// How long a scenario of a moment goes on in the simulator.
const MOMENT: Duration = Duration::from_secs(60);

/// From now to the beginning of a scenario that is played, or that looks back: meanwhile its definitions are applied, and history counts as
/// tracked only some seconds later, when all workers follow them.
const LEAD: Duration = Duration::from_secs(7);

/// What is the same in every world.
#[derive(Debug, Default, PartialEq)]
struct Essence {
    decisions: BTreeSet<String>,
    requests: BTreeSet<String>,
    /// How deliveries ended.
    results: BTreeSet<String>,
}

/// A scenario's text; `played` in its own time, else in a moment.
struct Piece {
    name: String,
    text: String,
    played: bool,
}

/// What the simulator came to, and the times of its decisions.
struct Expected {
    essence: Essence,
    decided_at: Vec<Timestamp>,
}

#[derive(Clone, Copy)]
enum Servers<'a> {
    KafkaAndRedis(&'a Redis),
    Embedded,
}

#[test]
fn a_worker_on_kafka_and_redis_decides_as_the_simulator_does() {
    let redis = Redis::start();
    every_piece(Servers::KafkaAndRedis(&redis));
}

#[test]
fn a_worker_on_the_embedded_log_and_store_decides_as_the_simulator_does() {
    every_piece(Servers::Embedded);
}

fn every_piece(servers: Servers<'_>) {
    let mut pieces = pieces();
    // Over HTTP a send is refused where it cannot be meant; only in the topic it comes to a decision.
    pieces.retain(|piece| matches!(servers, Servers::KafkaAndRedis(_)) || !piece.text.contains("type: send"));
    let (next, compared) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            let now = SystemClock::new().now();
            // Where all of it waits for something there is nothing to compare.
            if piece.played || !simulated(&piece.scenario(&piece.text, now), false).essence.decisions.is_empty() {
                perform(piece, servers);
                compared.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    let compared = compared.into_inner();
    assert!(compared >= LEAST_SCENARIOS || only().is_some(), "only {compared} scenarios were compared");
}

/// Those that are played first: they take longest, and wait most of it.
fn pieces() -> Vec<Piece> {
    let read = |directory: &str, played: bool| {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(directory);
        let files = std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("a file").path());
        let piece = |path: PathBuf| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            Piece { name, text: std::fs::read_to_string(path).expect("a scenario"), played }
        };
        let mut pieces: Vec<Piece> = files.filter(|path| path.extension().is_some_and(|kind| kind == "yaml")).map(piece).collect();
        pieces.retain(|piece| played || !NOT_IN_A_MOMENT.iter().any(|word| piece.text.contains(word)));
        pieces.retain(|piece| only().is_none_or(|only| piece.name.contains(&only)));
        pieces.sort_by(|a, b| a.name.cmp(&b.name));
        pieces
    };
    [read("tests/scenarios/live", true), read("tests/scenarios", false), read("docs/recipes", false)].into_iter().flatten().collect()
}

impl Piece {
    /// When it may begin, at `earliest` or soon after; what it says of hours and minutes stands for whole minutes.
    fn begin(&self, earliest: Timestamp) -> Timestamp {
        if !self.played || !self.text.contains("quiet_hours:") {
            return earliest;
        }
        let written = self.read(&self.text).from;
        earliest.after(Duration::from_millis((written.0 - earliest.0).rem_euclid(60_000).unsigned_abs()))
    }

    /// Its text with every instant moved, and every time of day of quiet hours.
    fn moved(&self, begin: Timestamp) -> String {
        if !self.played {
            return self.text.clone();
        }
        let by = begin.0 - self.read(&self.text).from.0;
        let instants = Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").expect("a pattern");
        let moved = |found: &Captures<'_>| Timestamp(Timestamp::parse(&found[0]).expect("an instant").0 + by).to_string();
        let text = instants.replace_all(&self.text, moved).into_owned();
        let of_day = Regex::new("\"(\\d\\d):(\\d\\d)\"").expect("a pattern");
        let number = |text: &str| text.parse::<i64>().expect("digits");
        let moved = |found: &Captures<'_>| {
            let minutes = (number(&found[1]) * 60 + number(&found[2]) + by / 60_000).rem_euclid(24 * 60);
            format!("\"{:02}:{:02}\"", minutes / 60, minutes % 60)
        };
        of_day.replace_all(&text, moved).into_owned()
    }

    fn read(&self, text: &str) -> Scenario {
        Scenario::read(&self.name, text, &|_| Err("stands alone".into())).expect("a sound scenario")
    }

    /// What the simulator and the worker are given.
    fn scenario(&self, text: &str, begin: Timestamp) -> Scenario {
        let mut scenario = self.read(text);
        scenario.events.sort_by_key(|event| event.at);
        if !self.played {
            in_a_moment(&mut scenario, begin);
        }
        scenario
    }
}

/// All events after one another, and all arriving after the last.
fn in_a_moment(scenario: &mut Scenario, begin: Timestamp) {
    let mut at = begin;
    let arrive = begin.after(BETWEEN * u32::try_from(scenario.events.len()).expect("a few"));
    for (number, event) in scenario.events.iter_mut().enumerate() {
        at = at.after(BETWEEN);
        let mut json: Value = serde_json::from_str(&event.json).expect("an event");
        json["timestamp"] = json!(at.to_string());
        // Without an id it is known by its place in the log, which is another one there.
        if json["messageId"].is_null() {
            json["messageId"] = json!(format!("event-{number}"));
        }
        json.as_object_mut().expect("a map").remove("receivedAt");
        (event.json, event.at) = (json.to_string(), arrive);
    }
    (scenario.from, scenario.to) = (begin, begin.after(MOMENT));
    scenario.catalog.begin_at(begin);
}

/// What the simulator comes to; `as_written`: which is what the scenario itself expects.
fn simulated(scenario: &Scenario, as_written: bool) -> Expected {
    let clock = VirtualClock::new(scenario.from);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let log = Arc::new(MemoryLog::new(2, shared.clone(), SharedFaults::default()));
    let store = Arc::new(MemoryStore::new("simulated", shared, SharedFaults::default()));
    let world = World { clock, store, log: log.clone(), endpoints: scenario.endpoints() };
    let ended = scenario.run_in(world, Restarts::Never).expect("the simulation goes on");
    if as_written {
        let differences = scenario.differences(&ended);
        assert!(differences.is_empty(), "{}: {differences:#?}", scenario.name);
    }
    let lines: Vec<Value> =
        log.records("campanile.outcomes").into_iter().filter_map(|(_, line)| serde_json::from_slice(&line).ok()).collect();
    let path = |url: &str| url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
    let body = |body: &Option<Tree>| serde_json::from_str(&body.as_ref().map_or("null".into(), Tree::to_string)).expect("JSON");
    let at = |line: &Value| line["at"].as_str().and_then(Timestamp::parse).expect("an instant");
    Expected {
        decided_at: lines.iter().filter(|line| line["type"] == "decision").map(at).collect(),
        essence: Essence {
            requests: ended.requests.iter().flat_map(|request| shown(&path(&request.url), body(&request.body))).collect(),
            ..Essence::of(&lines)
        },
    }
}

/// Runs it on a deployment of its own until as much has come as the simulator came to, and compares.
fn perform(piece: &Piece, servers: Servers<'_>) {
    let endpoints = Endpoints::of(&piece.text);
    let mut deployment = match servers {
        Servers::KafkaAndRedis(redis) => Deployment::new(shared(), &redis.url()),
        Servers::Embedded => Deployment::new("embedded", "embedded"),
    };
    // The simulator omits nothing, and its endpoints answer in no time.
    deployment.set("OUTCOMES__OMIT", "[]");
    deployment.set("DELIVERY__TIMEOUT", "20s");
    piece
        .read(&piece.text)
        .secrets
        .iter()
        .for_each(|(name, text)| deployment.variable(&format!("CAMPANILE_SECRET_{}", name.to_uppercase()), text));
    if let Servers::KafkaAndRedis(_) = servers {
        create_topics(&deployment);
    }
    let worker = deployment.start();
    let clock = SystemClock::new();
    let planned = piece.begin(clock.now().after(LEAD));
    let text = endpoints.put_into(&piece.moved(planned));
    assert_eq!(worker.apply(&definitions(&text)).status, 200, "{}", piece.name);
    eventually("the definitions are in force", WITHIN, || (worker.metric("campanile_definitions_revision", "") > 0.0).then_some(()));
    let waits = piece.played || !piece.read(&text).catalog.tracked.is_empty();
    let scenario = piece.scenario(&text, if waits { planned } else { clock.now() });
    let expect = simulated(&scenario, piece.played);
    let fed = feed(&scenario, &expect, &deployment, &worker, servers);
    eventually(&format!("{}: every event is read, every decision made, every delivery ended", piece.name), WITHIN, || {
        let read = worker.metric("campanile_events_total", "") >= fed as f64;
        let ended = ended(&worker) >= expect.essence.results.len();
        let decided = worker.metric("campanile_decisions_total", "") >= expect.decided_at.len() as f64;
        (read && decided && ended).then_some(())
    });
    worker.stop();
    let lines: Vec<Value> = match servers {
        Servers::KafkaAndRedis(_) => {
            Follow::new(shared(), &deployment.topic("outcomes")).all().into_iter().map(|line| line.value).collect()
        }
        Servers::Embedded => embedded_lines(&deployment),
    };
    let came = Essence { requests: endpoints.seen(), ..Essence::of(&lines) };
    check(&piece.name, &came, &expect.essence);
}

/// How many deliveries have ended at least: a request that several users share is one for the metrics, and of each of them for the
/// statistics, which are some seconds old.
fn ended(worker: &Worker) -> usize {
    let requests: f64 =
        ["delivered", "failed"].iter().map(|result| worker.metric("campanile_attempts_total", &format!("result=\"{result}\""))).sum();
    let campaigns = worker.get("/v1/stats").json()["campaigns"].take();
    let totals = campaigns.as_object().into_iter().flatten().map(|(_, totals)| totals);
    let counted: u64 = totals.flat_map(|totals| ["delivered", "failed"].map(|name| totals[name].as_u64().unwrap_or_default())).sum();
    (requests as usize).max(counted as usize)
}

/// Gives the worker every event at its time, and not before what was to be decided earlier was. How many there were.
fn feed(scenario: &Scenario, expect: &Expected, deployment: &Deployment, worker: &Worker, servers: Servers<'_>) -> usize {
    let clock = SystemClock::new();
    for together in scenario.events.chunk_by(|a, b| a.at == b.at) {
        let at = together[0].at;
        let earlier = expect.decided_at.iter().filter(|decided| **decided < at).count();
        eventually(&format!("{}: it is {at}, and what was to be decided before is", scenario.name), WITHIN, || {
            (clock.now() >= at && worker.metric("campanile_decisions_total", "") >= earlier as f64).then_some(())
        });
        let lines: Vec<&str> = together.iter().map(|event| &*event.json).collect();
        match servers {
            Servers::KafkaAndRedis(_) => {
                deployment.write("events.ndjson", &lines.join("\n"));
                deployment.run(&["ingest", "events.ndjson"]).expect(0, &[]);
            }
            Servers::Embedded => {
                let reply = worker.post("/v1/batch", &format!("{{\"batch\":[{}]}}", lines.join(",")));
                assert_eq!(reply.status, 202, "{}: {}", scenario.name, reply.body);
            }
        }
    }
    scenario.events.len()
}

/// What the worker wrote, of which nobody but who holds the file knows.
fn embedded_lines(deployment: &Deployment) -> Vec<Value> {
    let settings = EmbeddedSettings { path: Some(deployment.path().join("campanile.redb")), ..EmbeddedSettings::default() };
    let embedded = Embedded::open(&settings, Arc::new(SystemClock::new())).expect("the worker's file");
    let topic = deployment.topic("outcomes");
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let log = EmbeddedLog::new(embedded, Arc::new(threads), &[&topic]);
    log.values(&topic).iter().map(|line| serde_json::from_slice(line).expect("JSON")).collect()
}

/// A receiver for each host that a scenario names.
struct Endpoints(BTreeMap<String, Endpoint>);

impl Endpoints {
    fn of(text: &str) -> Endpoints {
        let hosts = Regex::new(r"https://([a-z0-9.-]+)").expect("a pattern");
        let names: BTreeSet<&str> = hosts.captures_iter(text).filter_map(|found| Some(found.get(1)?.as_str())).collect();
        Endpoints(names.into_iter().map(|name| (name.to_owned(), runtime().block_on(Endpoint::plain()))).collect())
    }

    /// The same text with their addresses, in URLs and in what destinations match.
    fn put_into(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, endpoint)| {
            let name = regex::escape(name);
            let urls = Regex::new(&format!(r"https://{name}\b")).expect("a pattern");
            let matches = Regex::new(&format!(r"match: {name}\b")).expect("a pattern");
            let text = urls.replace_all(&text, endpoint.url("")).into_owned();
            matches.replace_all(&text, format!("match: \"{}\"", endpoint.address())).into_owned()
        })
    }

    fn seen(&self) -> BTreeSet<String> {
        self.0
            .values()
            .flat_map(Endpoint::seen)
            .filter(|seen| seen.webhook_id().is_some())
            .flat_map(|seen| shown(&seen.path, body(&seen.body)))
            .collect()
    }
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

impl Essence {
    /// What outcome lines say.
    fn of(lines: &[Value]) -> Essence {
        let fields =
            |line: &Value, names: &[&str]| unnamed(&json!(names.iter().map(|name| line[name].clone()).collect::<Vec<_>>()).to_string());
        let is = |line: &&Value, kind: &str| line["type"] == kind;
        let decisions = lines.iter().filter(|line| is(line, "decision"));
        let decision = ["campaign", "user_id", "event_id", "outcome", "reason", "rule", "arm", "version", "channel", "tags"];
        let attempts = lines.iter().filter(|line| is(line, "attempt") && line["result"] != "retrying");
        Essence {
            decisions: decisions.map(|line| fields(line, &decision)).collect(),
            results: attempts.map(|line| fields(line, &["campaign", "user_id", "attempt", "result", "status", "cause"])).collect(),
            requests: BTreeSet::new(),
        }
    }
}

/// JSON as it is, anything else as text.
fn body(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| json!(String::from_utf8_lossy(body)))
}

/// What each user gets of a request. The default body holds ids and instants of its own; who shares a request with whom is chance.
fn shown(path: &str, mut body: Value) -> Vec<String> {
    let mut shared = Value::Null;
    if let Some(body) = body.as_object_mut() {
        body.remove("delivery_id");
        if body.get("event").and_then(Value::as_str).is_some_and(|event| event.starts_with('$')) {
            body.remove("timestamp");
        }
        shared = body.remove("profiles").unwrap_or_default();
    }
    match shared {
        Value::Array(profiles) => profiles.iter().map(|profile| unnamed(&format!("{path} {body} {profile}"))).collect(),
        _ => vec![unnamed(&format!("{path} {body}"))],
    }
}

/// Without the names of deliveries, and of events that are named after one.
fn unnamed(text: &str) -> String {
    Regex::new("msg_[0-9a-f]+").expect("a pattern").replace_all(text, "msg_").into_owned()
}

#[track_caller]
fn check(name: &str, is: &Essence, expect: &Essence) {
    let each = [
        ("decisions", &is.decisions, &expect.decisions),
        ("requests", &is.requests, &expect.requests),
        ("results", &is.results, &expect.results),
    ];
    for (what, is, expect) in each {
        let more: Vec<_> = is.difference(expect).collect();
        let fewer: Vec<_> = expect.difference(is).collect();
        assert!(more.is_empty() && fewer.is_empty(), "{name}, {what} live: more {more:#?}, fewer {fewer:#?}");
    }
}

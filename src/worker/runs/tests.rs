//! A run from its due time to the last user's decision, by workers that crash, with a fault at any call of the world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;

use super::*;
use crate::engine::calendar::{self, DateValue};
use crate::engine::catalog::{InForce, Policy};
use crate::engine::definition::{Campaign, Condition, Operand, Rule, Schedule, Status, Test, Trigger, Webhook, Workspace, ZoneChoice};
use crate::engine::delivery::Backoff;
use crate::engine::profile::Profile;
use crate::engine::record::{Record, codec};
use crate::engine::runs as agendas;
use crate::engine::value::Value;
use crate::simulator::ports::{Call, Fate, MemoryLog, MemoryStore, SharedFaults, VirtualClock};
use crate::telemetry::metrics::{CampaignLabel, Metrics};
use crate::worker::commits::{Commits, LaneStatus};
use crate::worker::counters::Counters;
use crate::worker::definitions::Follower;
use crate::worker::due::{Due, HIDDEN_FOR};
use crate::worker::form::Unread;
use crate::worker::ports::{Append, Change, Clock, ProfileChange, SourceError, StateError, Store};
use crate::worker::reader::Shared;
use crate::worker::settings::Settings;
use crate::worker::store_clock::StoreClock;
use crate::worker::turn::{Turn, Work};

/// When the campaigns start; the run is due a minute later.
const START: Timestamp = Timestamp(1_795_168_800_000);
const DUE: Timestamp = Timestamp(START.0 + 60_000);

/// Users, of whom every fifth is meant, and a page: a walk is interrupted in its middle.
const USERS: usize = 1_200;
const PAGE: usize = 250;
const MEANT: usize = USERS / 5;

fn policy() -> Policy {
    let hour = Duration::from_secs(3600);
    Policy {
        max_age: hour,
        max_lateness: hour,
        max_overdue: hour,
        timeout: Duration::from_secs(3),
        max_retries: 0,
        backoff: Backoff { base: hour, max: hour },
        expires: 24 * hour,
        id_key: b"key".to_vec(),
        allow_http: false,
    }
}

fn in_force() -> InForce {
    let trigger = Trigger::Schedule(Schedule { times: calendar::Schedule::At(DateValue::Instant(DUE)), zone: ZoneChoice::Workspace });
    let meant = Condition::Test { path: "meant".into(), test: Test::Eq(Operand::Value(Value::from(true))) };
    let campaign = Campaign {
        status: Some(Status::Running),
        audience: Rule::User(meant),
        ..Campaign::new("weekly", trigger, Webhook::new("https://h.example/", "h.example"))
    };
    InForce::assemble(0, vec![campaign], Vec::new(), Workspace::default(), policy())
}

struct World {
    clock: VirtualClock,
    store: MemoryStore,
    log: MemoryLog,
}

impl World {
    /// Users are there before anything can fail.
    fn new(faults: SharedFaults) -> World {
        let clock = VirtualClock::new(START);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let sound = MemoryStore::new("s", shared.clone(), SharedFaults::default());
        let mut session = sound.session().now_or_never().unwrap().unwrap();
        let changes: Vec<Change> = (0..USERS).map(user).collect();
        session.commit(&changes).now_or_never().unwrap().unwrap();
        let store = MemoryStore::new("s", shared.clone(), faults.clone());
        store.restore(&sound.snapshot());
        World { clock, store, log: MemoryLog::new(4, shared, faults) }
    }

    /// Sends by user, as the outcomes topic has them: delivery ids.
    fn sent(&self) -> BTreeMap<String, Vec<String>> {
        let mut sent: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (_, line) in self.log.records("campanile.outcomes") {
            let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            if line["outcome"] == "sent" {
                sent.entry(text("user_id")).or_default().push(text("delivery_id"));
            } else {
                assert_eq!(text("reason"), "not_in_audience", "{line}");
            }
        }
        sent
    }
}

fn user(number: usize) -> Change {
    let mut profile = Profile::default();
    let traits = format!(r#"{{"meant":{}}}"#, number.is_multiple_of(5));
    profile.merge(&serde_json::from_str(&traits).unwrap(), START);
    Change {
        user: format!("u{number}").into(),
        expected: None,
        record: Some(codec::encode(&Record::default())),
        profile: ProfileChange::Set(codec::encode_profile(&profile)),
        wake: Some(START.after(Duration::from_secs(30 * 86_400))),
    }
}

/// What of a worker has to do with runs: dropping it is its crash.
struct Part {
    due: Due,
    walker: Walker,
    reader: RunReader,
    turn: Turn,
    commits: Commits,
    status: Arc<LaneStatus>,
    clock: Arc<StoreClock>,
    waiting: Vec<Work>,
}

/// Passing faults are tried again, as everywhere.
fn ready<T>(mut ask: impl AsyncFnMut() -> Result<T, StateError>) -> T {
    for _ in 0..10 {
        match ask().now_or_never().unwrap() {
            Ok(answer) => return answer,
            Err(StateError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the store stays away")
}

impl Part {
    fn start(world: &World) -> Part {
        let follower = Arc::new(Follower::holding(in_force()));
        let append: Arc<dyn crate::worker::ports::Append> = Arc::new(world.log.clone());
        let clock = Arc::new(StoreClock::new(Arc::new(world.clock.clone())));
        let settings = Arc::new(Settings::of_one_lane());
        let metrics = Arc::new(Metrics::new(CampaignLabel::Auto).unwrap());
        let status = Arc::new(LaneStatus::default());
        let session = || ready(async || world.store.session().await);
        let store = world.store.clone();
        let identity = Box::new(move || Ok(ready(async || store.session().await?.identity().await)));
        let shared = Shared {
            append: append.clone(),
            clock: clock.clone(),
            follower: follower.clone(),
            settings: settings.clone(),
            positions: Arc::default(),
        };
        let mut part = Part {
            due: Due::new(session(), clock.clone(), Arc::default(), Arc::default()),
            walker: Walker::new(session(), shared.clone(), Counters::new(metrics.clone())),
            reader: RunReader::new(Box::new(world.log.source("campanile.runs", &["campanile.runs"])), shared),
            turn: Turn::new(session(), append, clock.clone(), follower, settings, Counters::new(metrics)),
            commits: Commits::new(vec![status.clone()], clock.clone(), identity, false).unwrap(),
            status,
            clock,
            waiting: Vec::new(),
        };
        part.walker.page_users = PAGE;
        part
    }

    /// One round of everything; answers whether something was done. Deliveries go nowhere: what counts is what was decided.
    fn round(&mut self) -> bool {
        let tolerate = |result: Result<bool, StateError>| match result {
            Ok(done) => done,
            Err(StateError::Unavailable(_)) => true,
            Err(error) => panic!("{error}"),
        };
        let (due, walker) = (&mut self.due, &mut self.walker);
        let looked = due.look(true).now_or_never().unwrap().map(|found| {
            found.agendas.iter().for_each(|id| walker.take(id.clone()));
            !found.agendas.is_empty()
        });
        let mut done = tolerate(looked);
        done |= tolerate(self.walker.turn().now_or_never().unwrap());
        let waiting = &mut self.waiting;
        match self.reader.turn(Duration::ZERO, &mut self.commits, |_| 0, |work| waiting.push(work)) {
            Ok(()) | Err(SourceError::Unavailable(_) | SourceError::Fenced(_)) => {}
            Err(error) => panic!("{error}"),
        }
        done |= !self.waiting.is_empty();
        let turned = self.turn.turn(&mut self.waiting).now_or_never().unwrap();
        if turned.is_err() {
            self.turn.forget();
        }
        tolerate(turned.map(|_| true));
        let began = self.clock.monotonic();
        if self.turn.confirm().now_or_never().unwrap().is_ok() {
            self.status.confirmed(began, self.turn.sequence());
        }
        done
    }
}

/// Workers turn in rounds until nothing is left to do and time has passed over everything that may hide something. Each crashes
/// after so many rounds, the first few times.
fn run(faults: SharedFaults, workers: usize, crash_every: Option<u32>) -> World {
    let world = World::new(faults);
    let mut parts: Vec<Part> = (0..workers).map(|_| Part::start(&world)).collect();
    let (mut rounds, mut crashes) = (0_u32, 0);
    let times = [START, DUE, DUE.after(HIDDEN_FOR), DUE.after(2 * HIDDEN_FOR), DUE.after(4 * HIDDEN_FOR), DUE.after(8 * HIDDEN_FOR)];
    for at in times {
        world.clock.set(at);
        let mut idle = 0;
        while idle < 3 {
            rounds += 1;
            assert!(rounds < 5_000, "it does not come to an end");
            if crash_every.is_some_and(|every| rounds.is_multiple_of(every)) && crashes < 6 {
                crashes += 1;
                let which = crashes % workers;
                parts[which] = Part::start(&world);
            }
            let done = parts.iter_mut().fold(false, |done, part| part.round() | done);
            idle = if done { 0 } else { idle + 1 };
        }
    }
    world
}

/// Each user that is meant was decided once, whatever happened, and nobody else. By their records: a line that was not acknowledged
/// is written again by who takes the delivery over.
fn check(context: &str, world: &World) {
    let sent = world.sent();
    for (user, stored, _) in world.store.users() {
        let record = codec::decode(&stored.record).unwrap();
        let meant = user[1..].parse::<usize>().unwrap().is_multiple_of(5);
        assert_eq!(record.pending.len(), usize::from(meant), "{context}: {user}");
        let lines = sent.get(&*user).map_or(&[][..], Vec::as_slice);
        assert!(lines.iter().all(|line| record.pending.iter().any(|entry| entry.id.to_string() == *line)), "{context}: {user} {lines:?}");
    }
}

#[test]
fn a_run_reaches_everybody_once_and_writes_only_whom_it_is_for() {
    let world = run(SharedFaults::default(), 1, None);
    check("straight", &world);
    assert_eq!(world.sent().len(), MEANT);
    let unwritten = world.store.users().iter().filter(|(_, stored, _)| stored.record == codec::encode(&Record::default())).count();
    assert_eq!(unwritten, USERS - MEANT, "users who are not meant are not written");
    assert_eq!(world.sent().values().map(Vec::len).sum::<usize>(), MEANT, "no line twice");
}

#[test]
fn workers_that_crash_at_any_time_reach_everybody_once() {
    for workers in [1, 2, 3] {
        for every in [1, 2, 3, 5] {
            check(&format!("{workers} workers, a crash every {every} rounds"), &run(SharedFaults::default(), workers, Some(every)));
        }
    }
}

#[test]
fn a_fault_at_any_call_of_a_run_changes_nothing() {
    let kinds = [Call::Load, Call::Commit, Call::TakeDue, Call::Users, Call::Append, Call::Poll, Call::ReadPositions, Call::CommitOffsets];
    for kind in kinds {
        let count = Arc::new(AtomicU64::new(0));
        let counter = count.clone();
        run(
            SharedFaults::new(move |call: Call| {
                counter.fetch_add(u64::from(call == kind), Ordering::Relaxed);
                Fate::Go
            }),
            1,
            None,
        );
        let calls = count.load(Ordering::Relaxed);
        assert!(calls > 0, "{kind:?} is never called");
        for at in (0..calls).step_by(usize::try_from(calls / 8).unwrap().max(1)) {
            for (fate, crash) in [(Fate::FailBefore, None), (Fate::FailAfter, None), (Fate::FailAfter, Some(4))] {
                let seen = AtomicU64::new(0);
                let faults = SharedFaults::new(move |call: Call| {
                    let hit = call == kind && seen.fetch_add(1, Ordering::Relaxed) == at;
                    if hit { fate } else { Fate::Go }
                });
                check(&format!("{kind:?} call {at} {fate:?}, crash {crash:?}"), &run(faults, 2, crash));
            }
        }
    }
}

#[test]
fn an_agenda_is_gone_with_its_campaign() {
    let world = run(SharedFaults::default(), 1, None);
    let ids = [agendas::id("weekly")];
    let load = || ready(async || world.store.session().await?.load(&ids).await).users;
    assert!(load()[0].is_some());
    let none = InForce::assemble(1, Vec::new(), Vec::new(), Workspace::default(), policy());
    let mut part = Part::start(&world);
    let shared = Shared {
        append: Arc::new(world.log.clone()),
        clock: part.clock.clone(),
        follower: Arc::new(Follower::holding(none)),
        settings: Arc::new(Settings::of_one_lane()),
        positions: Arc::default(),
    };
    let metrics = Arc::new(Metrics::new(CampaignLabel::Auto).unwrap());
    part.walker = Walker::new(ready(async || world.store.session().await), shared, Counters::new(metrics));
    part.walker.take(ids[0].clone());
    part.round();
    assert_eq!(load(), [None]);
}

#[test]
fn a_chunk_reads_back_and_a_newer_one_is_not_guessed_at() {
    let run = Run { due: DUE, name: "2026-11-20T10:01:00".into() };
    let users: Vec<UserId> = (0..CHUNK_USERS + 1).map(|number| format!("u{number}").into()).collect();
    let topics = Settings::of_one_lane().topics;
    let lines = Chunk::lines(&topics, "weekly", Some(&run), START, &users);
    let chunks: Vec<Chunk> = lines.iter().map(|line| Chunk::read(&line.value).unwrap()).collect();
    assert_eq!(chunks.iter().map(|chunk| chunk.users.len()).collect::<Vec<_>>(), [CHUNK_USERS, 1]);
    assert_eq!((&chunks[1].run, &*chunks[1].campaign, chunks[1].at), (&Some(run), "weekly", START));
    let newer = String::from_utf8(lines[1].value.clone()).unwrap().replace("\"v\":1", "\"v\":2");
    assert!(matches!(Chunk::read(newer.as_bytes()), Err(Unread::Newer(error)) if error.contains("upgrade")));
}

/// During a rolling upgrade an old worker may meet it: whom it names is for the workers that can read it.
#[test]
fn a_newer_chunk_ends_the_worker_and_stays_where_it_is() {
    let world = World::new(SharedFaults::default());
    let mut part = Part::start(&world);
    let lines = Chunk::lines(&Settings::of_one_lane().topics, "weekly", None, START, &["u0".into()]);
    let text = String::from_utf8(lines[0].value.clone()).unwrap();
    let put = |value: String| {
        let line = Line { topic: "campanile.runs".into(), key: None, value: value.into_bytes() };
        world.log.append(&[line]).now_or_never().unwrap().unwrap();
    };
    let mut turn = || part.reader.turn(Duration::ZERO, &mut part.commits, |_| 0, |_| {});
    put("{\"v\":1,\"users\":7}".to_owned());
    while world.log.records("campanile.dead").is_empty() {
        turn().unwrap();
    }
    let letter: serde_json::Value = serde_json::from_slice(&world.log.records("campanile.dead")[0].1).unwrap();
    assert_eq!(letter["reason"], reader::NOT_A_RUN);

    put(text.replace("\"v\":1", "\"v\":2").replace("\"users\":", "\"people\":"));
    let ended = (0..10).find_map(|_| turn().err());
    assert!(matches!(&ended, Some(SourceError::Fatal(why)) if why.contains("campanile.runs/") && why.contains("upgrade")), "{ended:?}");
    assert_eq!(world.log.records("campanile.dead").len(), 1, "it is no dead letter");
}

//! How fast a scheduled run passes over users of whom few are meant: pages of the store, chunks on the log, and the turn of each user
//! on one core. Users per second of wall time on one thread, embedded in memory, or in a Redis that is said.
//!
//!     cargo bench --bench runs
//!     cargo bench --bench runs -- redis://127.0.0.1:6390 1000000
//!
//! In Redis it writes under the prefix `bench-runs` and leaves its users there; half of the walking then is Redis's own time.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile::adapter::clock::SystemClock;
use campanile::adapter::embedded::{Embedded, EmbeddedSettings, Start};
use campanile::adapter::redis::{RedisSettings, open};
use campanile::engine::calendar::{self, DateValue};
use campanile::engine::catalog::{InForce, Policy};
use campanile::engine::definition::{Campaign, Condition, Operand, Rule, Schedule, Status, Test, Trigger, Webhook, Workspace, ZoneChoice};
use campanile::engine::delivery::Backoff;
use campanile::engine::id::UserId;
use campanile::engine::profile::Profile;
use campanile::engine::record::{Record, codec};
use campanile::engine::time::Timestamp;
use campanile::engine::value::Value;
use campanile::telemetry::metrics::{CampaignLabel, Metrics};
use campanile::worker::commits::{Commits, LaneStatus};
use campanile::worker::counters::Counters;
use campanile::worker::definitions::Follower;
use campanile::worker::due::Due;
use campanile::worker::ports::{Change, Clock, ProfileChange, StateError, Store};
use campanile::worker::reader::Shared;
use campanile::worker::runs::{RunReader, Walker};
use campanile::worker::settings::{Settings, Topics};
use campanile::worker::store_clock::StoreClock;
use campanile::worker::turn::{Turn, Work};

const USERS: usize = 1_000_000;
/// One user in so many is meant.
const MEANT_ONE_IN: usize = 10_000;
/// From the campaign's start to its run.
const RUN_IN: Duration = Duration::from_secs(1);
/// Users of one turn, as a lane takes them.
const TURN_INPUTS: usize = 128;

fn main() -> ExitCode {
    // `cargo bench` adds a flag of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let users = words.iter().find_map(|word| word.parse().ok()).unwrap_or(USERS);
    let url = words.iter().find(|word| word.contains("://"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(run(url.map(String::as_str), users)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(url: Option<&str>, users: usize) -> Result<(), StateError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let embedded = Embedded::open(&EmbeddedSettings::default(), clock.clone()).expect("a store in memory");
    let store: Arc<dyn Store> = match url {
        None => embedded.store(),
        Some(url) => Arc::new(open(RedisSettings { url: url.into(), prefix: "bench-runs".into(), groups: 1, replicas: 0 }).await?),
    };
    fill(&*store, users, clock.now()).await?;
    let clock = Arc::new(StoreClock::new(clock));
    let follower = Arc::new(Follower::holding(in_force(clock.now())));
    let settings = Arc::new(settings());
    let metrics = Arc::new(Metrics::new(CampaignLabel::Auto).expect("metrics"));
    let append = embedded.append();
    let shared = Shared {
        append: append.clone(),
        clock: clock.clone(),
        follower: follower.clone(),
        settings: settings.clone(),
        positions: Arc::default(),
    };
    let source = embedded.source("bench", &[&settings.topics.runs], Start::Earliest).expect("a reader");
    let identity = store.session().await?.identity().await?;
    let status = Arc::new(LaneStatus::default());
    let mut commits = Commits::new(vec![status.clone()], clock.clone(), Box::new(move || Ok(identity.clone())), false)?;
    let mut walker = Walker::new(store.session().await?, shared.clone(), Counters::new(metrics.clone()));
    let mut reader = RunReader::new(source, shared);
    let mut due = Due::new(store.session().await?, clock.clone(), Arc::default(), Arc::default());
    // Until the campaign has an agenda, and that is due.
    walker.turn().await?;
    tokio::time::sleep(RUN_IN).await;
    let mut turn = Turn::new(store.session().await?, append, clock.clone(), follower, settings, Counters::new(metrics));

    let (mut passed, mut sent, mut turning) = (0, 0, Duration::ZERO);
    let began = Instant::now();
    while passed < users {
        due.look(true).await?.agendas.into_iter().for_each(|id| walker.take(id));
        walker.turn().await?;
        let mut work: Vec<Work> = Vec::new();
        reader.turn(Duration::ZERO, &mut commits, |_| 0, |one| work.push(one)).expect("the embedded log");
        let began = Instant::now();
        let mut work = work.into_iter();
        loop {
            let mut batch: Vec<Work> = work.by_ref().take(TURN_INPUTS).collect();
            if batch.is_empty() {
                break;
            }
            passed += batch.len();
            sent += turn.turn(&mut batch).await?.deliveries.len();
        }
        turning += began.elapsed();
        turn.confirm().await?;
        status.confirmed(clock.monotonic(), turn.sequence());
    }
    let took = began.elapsed();
    let rate = |took: Duration| passed as f64 / took.as_secs_f64();
    println!("{} users, {sent} meant: {:.0} users/s in all, {:.0} users/s in turns", passed, rate(took), rate(turning));
    Ok(())
}

fn in_force(now: Timestamp) -> InForce {
    let second = Duration::from_secs(1);
    let policy = Policy {
        max_age: 3600 * second,
        max_lateness: 3600 * second,
        max_overdue: 3600 * second,
        timeout: 3 * second,
        max_retries: 3,
        backoff: Backoff { base: second, max: 10 * second },
        expires: 3600 * second,
        id_key: b"key".to_vec(),
        allow_http: false,
    };
    let meant = Condition::Test { path: "meant".into(), test: Test::Eq(Operand::Value(Value::from(true))) };
    let trigger =
        Trigger::Schedule(Schedule { times: calendar::Schedule::At(DateValue::Instant(now.after(RUN_IN))), zone: ZoneChoice::Workspace });
    let campaign = Campaign {
        status: Some(Status::Running),
        audience: Rule::User(meant),
        ..Campaign::new("weekly", trigger, Webhook::new("https://h.example/", "h.example"))
    };
    InForce::assemble(0, vec![campaign], Vec::new(), Workspace::default(), policy)
}

fn settings() -> Settings {
    Settings {
        topics: Topics::new(&["events".into()], "bench"),
        generation: 1,
        lanes: 1,
        max_in_flight: 1024,
        ends_every: Duration::ZERO,
        drain: Duration::ZERO,
        omit: BTreeSet::from([campanile::engine::effect::Reason::NotInAudience]),
        accept_state: false,
        alone: true,
    }
}

async fn fill(store: &dyn Store, users: usize, now: Timestamp) -> Result<(), StateError> {
    const BATCH: usize = 500;
    let mut session = store.session().await?;
    for from in (0..users).step_by(BATCH) {
        let changes: Vec<Change> = (from..(from + BATCH).min(users)).map(|number| user(number, now)).collect();
        session.commit(&changes).await?;
    }
    Ok(())
}

fn user(number: usize, now: Timestamp) -> Change {
    let mut profile = Profile::default();
    let traits =
        format!(r#"{{"name":"User {number}","country":"KR","age":31,"plan":"gold","meant":{}}}"#, number.is_multiple_of(MEANT_ONE_IN));
    profile.merge(&serde_json::from_str(&traits).expect("traits"), now);
    Change {
        user: UserId::from(format!("user-{number:08}")),
        expected: None,
        record: Some(codec::encode(&Record::default())),
        profile: ProfileChange::Set(codec::encode_profile(&profile)),
        wake: Some(now.after(Duration::from_secs(30 * 86_400))),
    }
}

//! A worker's threads over ports in memory and real time: what one of them waits for holds up no other.

use std::thread;

use super::*;
use crate::engine::catalog::Catalog;
use crate::engine::time::Timestamp;
use crate::simulator::endpoints::Endpoints;
use crate::simulator::ports::{MemoryLog, MemoryStore, OpenStore, SharedFaults, VirtualClock};
use crate::simulator::worker::policy;
use crate::telemetry::metrics::CampaignLabel;
use crate::worker::ports::{
    Admit, Change, Committed, Cursor, Documents, Future, Identity, Loaded, Page, Partition, Put, Sampled, Spend, testing,
};

/// Longer than any thread waits that is not held up.
const WITHIN: Duration = Duration::from_secs(30);

/// A store that never answers who looks for what is due.
struct NothingDue(MemoryStore);

struct Session(Box<dyn State>);

impl Store for NothingDue {
    fn session(&self) -> Future<'_, Result<Box<dyn State>, StateError>> {
        Box::pin(async { Ok(Box::new(Session(self.0.session().await?)) as Box<dyn State>) })
    }
}

impl State for Session {
    fn take_due(&mut self, _: Timestamp, _: usize, _: Duration) -> Future<'_, Result<Vec<UserId>, StateError>> {
        Box::pin(std::future::pending())
    }
    fn load<'a>(&'a mut self, users: &'a [UserId]) -> Future<'a, Result<Loaded, StateError>> {
        self.0.load(users)
    }
    fn commit<'a>(&'a mut self, changes: &'a [Change]) -> Future<'a, Result<Committed, StateError>> {
        self.0.commit(changes)
    }
    fn confirm(&mut self) -> Future<'_, Result<(), StateError>> {
        self.0.confirm()
    }
    fn users<'a>(&'a mut self, cursor: Option<&'a Cursor>, limit: usize) -> Future<'a, Result<Page, StateError>> {
        self.0.users(cursor, limit)
    }
    fn sample(&mut self, limit: usize, seed: u64) -> Future<'_, Result<Sampled, StateError>> {
        self.0.sample(limit, seed)
    }
    fn admit<'a>(&'a mut self, asked: &'a [Admit]) -> Future<'a, Result<Vec<bool>, StateError>> {
        self.0.admit(asked)
    }
    fn spend<'a>(&'a mut self, wanted: &'a [Spend]) -> Future<'a, Result<Vec<u32>, StateError>> {
        self.0.spend(wanted)
    }
    fn documents(&mut self, known: Option<u64>) -> Future<'_, Result<Option<Documents>, StateError>> {
        self.0.documents(known)
    }
    fn put_documents<'a>(&'a mut self, expected: u64, body: &'a [u8]) -> Future<'a, Result<Put, StateError>> {
        self.0.put_documents(expected, body)
    }
    fn read_positions<'a>(&'a mut self, ours: &'a [(Partition, Timestamp)]) -> Future<'a, Result<Vec<(Partition, Timestamp)>, StateError>> {
        self.0.read_positions(ours)
    }
    fn identity(&mut self) -> Future<'_, Result<Identity, StateError>> {
        self.0.identity()
    }
}

fn ports(store: MemoryStore, clock: &VirtualClock) -> Ports {
    let log = MemoryLog::new(1, Arc::new(clock.clone()), SharedFaults::default());
    let source = |group: &str, topic: &str| -> Box<dyn Source> { Box::new(log.source(group, &[topic])) };
    let (endpoints, open_store, virtual_clock): (_, Arc<dyn OpenStore>, _) = (Endpoints::default(), Arc::new(store.clone()), clock.clone());
    let outcomes = log.clone();
    let open: OpenSource = Arc::new(move || Ok(Box::new(outcomes.source("outcomes", &["outcomes"]))));
    Ports {
        events: source("events", "events"),
        retries: source("retries", "retries"),
        runs: source("runs", "runs"),
        outcomes: open,
        store: Arc::new(NothingDue(store)),
        append: Arc::new(log),
        clock: Arc::new(clock.clone()),
        exchange: Arc::new(move || Box::new(endpoints.exchange(&open_store, &virtual_clock))),
        secrets: Arc::new(|_| None),
    }
}

#[test]
fn definitions_are_followed_whatever_the_other_threads_wait_for() {
    let clock = VirtualClock::new(Timestamp(1_000_000));
    let store = MemoryStore::new("s", Arc::new(clock.clone()), SharedFaults::default());
    let (follower, stop) = (Arc::new(Follower::new(policy())), Stop::default());
    let metrics = Arc::new(Metrics::new(CampaignLabel::Auto).unwrap());
    let (ports, settings, seen, told) = (ports(store.clone(), &clock), Settings::of_one_lane(), follower.clone(), stop.clone());
    let health = Health::new();
    let _worker = thread::spawn(move || run(ports, settings, follower, metrics, health, told));

    let mut session = testing::session(&store);
    for revision in 1..=3 {
        testing::block_on(session.put_documents(revision - 1, &Catalog::default().encode())).unwrap();
        let deadline = Instant::now() + WITHIN;
        while seen.in_force().revision != revision {
            assert!(Instant::now() < deadline, "revision {revision} is not followed");
            thread::yield_now();
        }
    }
    stop.ask();
}

#[test]
fn a_thread_that_panics_ends_the_worker() {
    let clock = VirtualClock::new(Timestamp(1_000_000));
    let store = MemoryStore::new("s", Arc::new(clock.clone()), SharedFaults::default());
    let ports = Ports {
        store: Arc::new(store.clone()),
        exchange: Arc::new(|| panic!("no descriptors are left for a lane's client")),
        ..ports(store, &clock)
    };
    let (follower, metrics) = (Arc::new(Follower::new(policy())), Arc::new(Metrics::new(CampaignLabel::Auto).unwrap()));
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || tell.send(run(ports, Settings::of_one_lane(), follower, metrics, Health::new(), Stop::default())));
    let ended = told.recv_timeout(WITHIN).expect("it ends by itself");
    assert!(matches!(ended, Ended::Failed(_)), "{ended:?}");
}

//! Real stores and logs in a simulated world: the adapter does all of it, only waiting for it is done here, and its answers carry virtual
//! time where the server has a clock of its own.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use campanile::adapter::embedded::{Embedded, Start};
use campanile::engine::id::UserId;
use campanile::engine::time::Timestamp;
use campanile::simulator::ports::{OpenLog, OpenStore, VirtualClock};
use campanile::worker::ports::{
    Admit, Append, AppendError, Change, Clock, Committed, Cursor, Documents, Future, Identity, Line, Loaded, Message, Page, Partition, Put,
    Sampled, SendFuture, Source, Spend, State, StateError, Store,
};
use tokio::runtime::Runtime;

/// A store whose every call is waited for.
#[derive(Clone)]
pub struct ForeignStore {
    store: Arc<dyn Store>,
    runtime: Arc<Runtime>,
    clock: VirtualClock,
    /// When each user wants a look, as it was written through here: a port cannot be asked for it.
    wakes: Arc<Mutex<BTreeMap<UserId, Timestamp>>>,
}

struct Session {
    state: Box<dyn State>,
    of: ForeignStore,
}

impl ForeignStore {
    pub fn new(store: Arc<dyn Store>, runtime: Arc<Runtime>, clock: VirtualClock) -> ForeignStore {
        ForeignStore { store, runtime, clock, wakes: Arc::default() }
    }
}

impl Store for ForeignStore {
    fn session(&self) -> Future<'_, Result<Box<dyn State>, StateError>> {
        let state = self.runtime.block_on(self.store.session());
        let session = state.map(|state| {
            let session: Box<dyn State> = Box::new(Session { state, of: self.clone() });
            session
        });
        ready(session)
    }
}

impl OpenStore for ForeignStore {
    fn next_wake(&self) -> Option<Timestamp> {
        self.wakes.lock().expect("no test panics with it").values().min().copied()
    }

    fn look_for(&self, found: &mut dyn FnMut(&UserId, &[u8]) -> bool) {
        let users: Vec<UserId> = self.wakes.lock().expect("no test panics with it").keys().cloned().collect();
        let mut session = self.runtime.block_on(self.store.session()).expect("a session");
        let loaded = self.runtime.block_on(session.load(&users)).expect("what is stored");
        let _ = users.iter().zip(loaded.users).any(|(user, stored)| stored.is_some_and(|stored| found(user, &stored.record)));
    }
}

impl State for Session {
    fn load<'a>(&'a mut self, users: &'a [UserId]) -> Future<'a, Result<Loaded, StateError>> {
        let loaded = self.of.runtime.block_on(self.state.load(users));
        ready(loaded.map(|loaded| Loaded { now: self.of.clock.now(), ..loaded }))
    }

    fn commit<'a>(&'a mut self, changes: &'a [Change]) -> Future<'a, Result<Committed, StateError>> {
        let committed = self.of.runtime.block_on(self.state.commit(changes));
        if let Ok(committed) = &committed {
            let mut wakes = self.of.wakes.lock().expect("no test panics with it");
            let lost = |at: usize| committed.conflicts.iter().any(|(conflict, _)| *conflict == at);
            for change in changes.iter().enumerate().filter(|(at, _)| !lost(*at)).map(|(_, change)| change) {
                match (&change.record, change.wake) {
                    (None, _) => drop(wakes.remove(&change.user)),
                    (Some(_), Some(wake)) => drop(wakes.insert(change.user.clone(), wake)),
                    (Some(_), None) => {}
                }
            }
        }
        ready(committed.map(|committed| Committed { now: self.of.clock.now(), ..committed }))
    }

    fn confirm(&mut self) -> Future<'_, Result<(), StateError>> {
        ready(self.of.runtime.block_on(self.state.confirm()))
    }

    fn take_due(&mut self, now: Timestamp, limit: usize, hide: Duration) -> Future<'_, Result<Vec<UserId>, StateError>> {
        let taken = self.of.runtime.block_on(self.state.take_due(now, limit, hide));
        let users = taken.iter().flatten();
        let mut wakes = self.of.wakes.lock().expect("no test panics with it");
        wakes.extend(users.map(|user| (user.clone(), now.after(hide))));
        drop(wakes);
        ready(taken)
    }

    fn users<'a>(&'a mut self, cursor: Option<&'a Cursor>, limit: usize) -> Future<'a, Result<Page, StateError>> {
        ready(self.of.runtime.block_on(self.state.users(cursor, limit)))
    }

    fn sample(&mut self, limit: usize, seed: u64) -> Future<'_, Result<Sampled, StateError>> {
        ready(self.of.runtime.block_on(self.state.sample(limit, seed)))
    }

    fn admit<'a>(&'a mut self, asked: &'a [Admit]) -> Future<'a, Result<Vec<bool>, StateError>> {
        ready(self.of.runtime.block_on(self.state.admit(asked)))
    }

    fn spend<'a>(&'a mut self, wanted: &'a [Spend]) -> Future<'a, Result<Vec<u32>, StateError>> {
        ready(self.of.runtime.block_on(self.state.spend(wanted)))
    }

    fn documents(&mut self, known: Option<u64>) -> Future<'_, Result<Option<Documents>, StateError>> {
        ready(self.of.runtime.block_on(self.state.documents(known)))
    }

    fn put_documents<'a>(&'a mut self, expected: u64, body: &'a [u8]) -> Future<'a, Result<Put, StateError>> {
        ready(self.of.runtime.block_on(self.state.put_documents(expected, body)))
    }

    fn read_positions<'a>(&'a mut self, ours: &'a [(Partition, Timestamp)]) -> Future<'a, Result<Vec<(Partition, Timestamp)>, StateError>> {
        ready(self.of.runtime.block_on(self.state.read_positions(ours)))
    }

    fn identity(&mut self) -> Future<'_, Result<Identity, StateError>> {
        ready(self.of.runtime.block_on(self.state.identity()))
    }
}

/// The embedded log, its appends waited for.
pub struct EmbeddedLog {
    embedded: Embedded,
    runtime: Arc<Runtime>,
    /// What was read of each topic that somebody will look at. Joined at once: the log drops what is old and nobody waits for.
    watched: Mutex<BTreeMap<String, Watched>>,
}

struct Watched {
    source: Box<dyn Source>,
    values: Vec<Vec<u8>>,
}

impl EmbeddedLog {
    pub fn new(embedded: Embedded, runtime: Arc<Runtime>, topics: &[&str]) -> EmbeddedLog {
        let watch = |topic: &str| embedded.source("of the test", &[topic], Start::Earliest).expect("the only member of its group");
        let watched = topics.iter().map(|topic| ((*topic).to_owned(), Watched { source: watch(topic), values: Vec::new() })).collect();
        EmbeddedLog { embedded, runtime, watched: Mutex::new(watched) }
    }
}

impl Append for EmbeddedLog {
    fn append(&self, lines: &[Line]) -> SendFuture<'static, Result<(), AppendError>> {
        let appended = self.runtime.block_on(self.embedded.append().append(lines));
        Box::pin(std::future::ready(appended))
    }
}

impl OpenLog for EmbeddedLog {
    fn join(&self, group: &str, topics: &[&str]) -> Box<dyn Source> {
        self.embedded.source(group, topics, Start::Earliest).expect("the only member of its group")
    }

    fn values(&self, topic: &str) -> Vec<Vec<u8>> {
        let mut watched = self.watched.lock().expect("no test panics with it");
        let Watched { source, values } = watched.get_mut(topic).expect("a topic that is watched");
        loop {
            let before = values.len();
            let mut each = |message: Message<'_>| {
                values.extend(message.value.map(<[u8]>::to_vec));
                ControlFlow::Continue(())
            };
            let polled = source.poll(Duration::ZERO, &mut each).expect("the log is there");
            if values.len() == before && polled.assigned.is_empty() {
                return values.clone();
            }
        }
    }
}

fn ready<'a, T: 'a>(answer: T) -> Future<'a, T> {
    Box::pin(std::future::ready(answer))
}

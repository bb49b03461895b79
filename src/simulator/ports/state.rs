//! State by user in memory: what the stores on disk and in Redis mean, in its plainest form, with the faults of a network.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Call, Fate, OpenStore, SharedFaults};
use crate::engine::id::UserId;
use crate::engine::time::Timestamp;
use crate::worker::budget::Bucket;
use crate::worker::draw::Draw;
use crate::worker::ledger::{Ruling, Weighed, judge, next_incarnation, rolled_back, token, weigh};
use crate::worker::ports::{
    Admit, Change, Clock, Committed, Cursor, Documents, Future, Identity, Loaded, PSEUDO, Page, Partition, ProfileChange, Put, Sampled,
    Spend, State, StateError, Store, Stored, Token,
};

/// Writes that are remembered for who asks what was written last: more than one turn makes.
const RECENT_WRITES: usize = 256;

/// How often a session tries one commit before it says that the store is not reachable.
const COMMIT_TRIES: usize = 3;

/// A store in memory. Clones are the same store.
#[derive(Clone)]
pub struct MemoryStore {
    world: Arc<Mutex<World>>,
    clock: Arc<dyn Clock>,
    faults: SharedFaults,
}

/// All that a store held at one time.
#[derive(Clone, Debug)]
pub struct Snapshot(World);

#[derive(Clone, Debug)]
struct World {
    id: String,
    users: BTreeMap<UserId, User>,
    due: BTreeSet<(Timestamp, UserId)>,
    ledgers: BTreeMap<u64, u64>,
    incarnation: u64,
    sequence: u64,
    documents: Documents,
    positions: BTreeMap<Partition, Timestamp>,
    sets: BTreeMap<Box<str>, BTreeSet<UserId>>,
    budgets: BTreeMap<Box<str>, Bucket>,
    /// Who was written last, newest last.
    recent: VecDeque<UserId>,
}

#[derive(Clone, Debug)]
struct User {
    stored: Stored,
    wake: Option<Timestamp>,
}

struct Session {
    store: MemoryStore,
    incarnation: u64,
    /// The last operation sent.
    operation: u64,
    /// The last one whose reply came.
    told: u64,
}

impl MemoryStore {
    /// An empty store. `id` is what others take for made at random.
    pub fn new(id: &str, clock: Arc<dyn Clock>, faults: SharedFaults) -> MemoryStore {
        let world = World {
            id: id.to_owned(),
            users: BTreeMap::new(),
            due: BTreeSet::new(),
            ledgers: BTreeMap::new(),
            incarnation: 0,
            sequence: 0,
            documents: Documents { revision: 0, body: Vec::new() },
            positions: BTreeMap::new(),
            sets: BTreeMap::new(),
            budgets: BTreeMap::new(),
            recent: VecDeque::new(),
        };
        MemoryStore { world: Arc::new(Mutex::new(world)), clock, faults }
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.lock().clone())
    }

    /// Sets the store back, sessions and all: what a failover or a restore does to Redis.
    pub fn restore(&self, snapshot: &Snapshot) {
        *self.lock() = snapshot.0.clone();
    }

    /// All users that have a record, in their order, with their wake: for the assertions of a simulation. Pseudo users are none.
    pub fn users(&self) -> Vec<(UserId, Stored, Option<Timestamp>)> {
        self.lock()
            .users
            .iter()
            .filter(|(id, _)| !id.starts_with(PSEUDO))
            .map(|(id, user)| (Arc::clone(id), user.stored.clone(), user.wake))
            .collect()
    }

    /// What is stored of one user.
    pub fn stored(&self, user: &str) -> Option<Stored> {
        self.lock().users.get(user).map(|user| user.stored.clone())
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call over the network that is not tried again here.
    fn ask<T>(&self, call: Call, answer: impl FnOnce(&mut World, Timestamp) -> T) -> Result<T, StateError> {
        let fate = self.faults.fate(call);
        if fate == Fate::FailBefore {
            return Err(unreachable(call));
        }
        let answer = answer(&mut self.lock(), self.clock.now());
        if fate == Fate::FailAfter { Err(unreachable(call)) } else { Ok(answer) }
    }
}

impl OpenStore for MemoryStore {
    fn next_wake(&self) -> Option<Timestamp> {
        self.lock().due.first().map(|(wake, _)| *wake)
    }

    fn look_for(&self, found: &mut dyn FnMut(&UserId, &[u8]) -> bool) {
        let world = self.lock();
        let mut is_it = |user: &UserId| world.users.get(user).is_some_and(|known| found(user, &known.stored.record));
        if !world.recent.iter().rev().any(&mut is_it) {
            world.users.keys().any(&mut is_it);
        }
    }
}

impl Store for MemoryStore {
    fn session(&self) -> Future<'_, Result<Box<dyn State>, StateError>> {
        let session = self.ask(Call::Session, World::enter).map(|incarnation| {
            let session: Box<dyn State> = Box::new(Session { store: self.clone(), incarnation, operation: 0, told: 0 });
            session
        });
        ready(session)
    }
}

impl State for Session {
    fn load<'a>(&'a mut self, users: &'a [UserId]) -> Future<'a, Result<Loaded, StateError>> {
        ready(self.store.ask(Call::Load, |world, now| Loaded { now, users: users.iter().map(|user| world.stored(user)).collect() }))
    }

    fn commit<'a>(&'a mut self, changes: &'a [Change]) -> Future<'a, Result<Committed, StateError>> {
        self.operation += 1;
        let (incarnation, told, operation) = (self.incarnation, self.told, self.operation);
        for _ in 0..COMMIT_TRIES {
            let apply = |world: &mut World, now| world.apply(now, incarnation, told, operation, changes);
            let Ok(answer) = self.store.ask(Call::Commit, apply) else { continue };
            if answer.is_ok() {
                self.told = operation;
            }
            return ready(answer);
        }
        ready(Err(unreachable(Call::Commit)))
    }

    fn confirm(&mut self) -> Future<'_, Result<(), StateError>> {
        let stored = self.store.ask(Call::Confirm, |world, _| world.ledgers.get(&self.incarnation).copied());
        ready(stored.and_then(|stored| match judge(stored, self.told, self.operation) {
            Ruling::Go | Ruling::Repeat => Ok(()),
            Ruling::RolledBack => Err(rolled_back(self.incarnation, stored, self.told)),
        }))
    }

    fn take_due(&mut self, now: Timestamp, limit: usize, hide: Duration) -> Future<'_, Result<Vec<UserId>, StateError>> {
        ready(self.store.ask(Call::TakeDue, |world, _| world.hide_due(now, limit, hide)))
    }

    fn users<'a>(&'a mut self, cursor: Option<&'a Cursor>, limit: usize) -> Future<'a, Result<Page, StateError>> {
        ready(self.store.ask(Call::Users, |world, _| world.page(cursor, limit)))
    }

    fn sample(&mut self, limit: usize, seed: u64) -> Future<'_, Result<Sampled, StateError>> {
        ready(self.store.ask(Call::Sample, |world, _| {
            let mut draw = Draw::new(limit, seed);
            let users = world.users.iter().filter(|(id, user)| user.wake.is_some() && !id.starts_with(PSEUDO));
            users.for_each(|(id, _)| draw.offer(id));
            draw.end()
        }))
    }

    fn admit<'a>(&'a mut self, asked: &'a [Admit]) -> Future<'a, Result<Vec<bool>, StateError>> {
        ready(self.store.ask(Call::Admit, |world, _| asked.iter().map(|one| world.admit(one)).collect()))
    }

    fn spend<'a>(&'a mut self, wanted: &'a [Spend]) -> Future<'a, Result<Vec<u32>, StateError>> {
        ready(self.store.ask(Call::Spend, |world, now| wanted.iter().map(|wish| world.spend(wish, now)).collect()))
    }

    fn documents(&mut self, known: Option<u64>) -> Future<'_, Result<Option<Documents>, StateError>> {
        ready(self.store.ask(Call::Documents, |world, _| (known != Some(world.documents.revision)).then(|| world.documents.clone())))
    }

    fn put_documents<'a>(&'a mut self, expected: u64, body: &'a [u8]) -> Future<'a, Result<Put, StateError>> {
        ready(self.store.ask(Call::PutDocuments, |world, _| world.put(expected, body)))
    }

    fn read_positions<'a>(&'a mut self, ours: &'a [(Partition, Timestamp)]) -> Future<'a, Result<Vec<(Partition, Timestamp)>, StateError>> {
        ready(self.store.ask(Call::ReadPositions, |world, _| {
            world.positions.extend(ours.iter().cloned());
            world.positions.iter().map(|(partition, time)| (partition.clone(), *time)).collect()
        }))
    }

    fn identity(&mut self) -> Future<'_, Result<Identity, StateError>> {
        ready(self.store.ask(Call::Identity, |world, _| Identity { id: world.id.clone(), sequence: world.sequence }))
    }
}

impl World {
    fn enter(&mut self, now: Timestamp) -> u64 {
        self.incarnation = next_incarnation(self.incarnation, now);
        self.ledgers.insert(self.incarnation, 0);
        self.incarnation
    }

    fn stored(&self, user: &UserId) -> Option<Stored> {
        self.users.get(user).map(|user| user.stored.clone())
    }

    fn apply(&mut self, now: Timestamp, incarnation: u64, told: u64, operation: u64, changes: &[Change]) -> Result<Committed, StateError> {
        let ledger = self.ledgers.get(&incarnation).copied();
        let ruling = judge(ledger, told, operation);
        if ruling == Ruling::RolledBack {
            return Err(rolled_back(incarnation, ledger, told));
        }
        let ours = token(incarnation, operation);
        let mut conflicts = Vec::new();
        for (index, change) in changes.iter().enumerate() {
            let current = self.users.get(&change.user).map(|user| user.stored.token);
            match weigh(ruling, current, change.expected, change.record.is_none(), ours) {
                Weighed::Write => self.write(change, ours),
                Weighed::Written => {}
                Weighed::Conflict => conflicts.push((index, self.stored(&change.user))),
            }
        }
        if ruling == Ruling::Go {
            self.sequence += 1;
            self.ledgers.insert(incarnation, operation);
        }
        Ok(Committed { now, sequence: self.sequence, token: ours, conflicts })
    }

    fn write(&mut self, change: &Change, ours: Token) {
        let before = self.users.remove(&change.user);
        let (profile, wake) = before.map_or((None, None), |user| (user.stored.profile, user.wake));
        if let Some(wake) = wake {
            self.due.remove(&(wake, Arc::clone(&change.user)));
        }
        let Some(record) = change.record.clone() else { return };
        if self.recent.len() == RECENT_WRITES {
            self.recent.pop_front();
        }
        self.recent.push_back(Arc::clone(&change.user));
        let profile = match &change.profile {
            ProfileChange::Keep => profile,
            ProfileChange::Set(profile) => Some(profile.clone()),
            ProfileChange::Remove => None,
        };
        let wake = change.wake.or(wake);
        self.due.extend(wake.map(|wake| (wake, Arc::clone(&change.user))));
        self.users.insert(Arc::clone(&change.user), User { stored: Stored { token: ours, record, profile }, wake });
    }

    fn hide_due(&mut self, now: Timestamp, limit: usize, hide: Duration) -> Vec<UserId> {
        let overdue = self.due.iter().take_while(|(wake, _)| *wake <= now).take(limit).cloned();
        let taken: Vec<(Timestamp, UserId)> = overdue.collect();
        for entry in &taken {
            let until = now.after(hide);
            self.due.remove(entry);
            self.due.insert((until, Arc::clone(&entry.1)));
            if let Some(user) = self.users.get_mut(&entry.1) {
                user.wake = Some(until);
            }
        }
        taken.into_iter().map(|(_, user)| user).collect()
    }

    /// The next users by name.
    fn page(&self, cursor: Option<&Cursor>, limit: usize) -> Page {
        let last = cursor.map_or("", |Cursor(bytes)| std::str::from_utf8(bytes).unwrap_or_default());
        let mut walked: Vec<&UserId> = Vec::new();
        let after = self.users.range::<str, _>((Bound::Excluded(last), Bound::Unbounded)).filter(|(_, user)| user.wake.is_some());
        for (id, _) in after {
            if walked.len() == limit {
                let next = walked.last().map(|last| Cursor(last.as_bytes().to_vec()));
                return Page { users: listed(&walked), next };
            }
            walked.push(id);
        }
        Page { users: listed(&walked), next: None }
    }

    /// Sets last as long as the simulation.
    fn admit(&mut self, asked: &Admit) -> bool {
        let set = self.sets.entry(asked.set.clone()).or_default();
        let fits = u64::try_from(set.len()).is_ok_and(|count| count < asked.limit);
        set.contains(&asked.user) || (fits && set.insert(asked.user.clone()))
    }

    fn spend(&mut self, wish: &Spend, now: Timestamp) -> u32 {
        self.budgets.entry(wish.budget.clone()).or_insert_with(|| Bucket::full(wish, now)).spend(wish, now)
    }

    fn put(&mut self, expected: u64, body: &[u8]) -> Put {
        let stored = self.documents.revision;
        if stored != expected {
            return Put::Conflict { revision: stored };
        }
        self.documents = Documents { revision: stored + 1, body: body.to_vec() };
        Put::Stored { revision: stored + 1 }
    }
}

fn listed(walked: &[&UserId]) -> Vec<UserId> {
    walked.iter().filter(|id| !id.starts_with(PSEUDO)).map(|id| Arc::clone(id)).collect()
}

fn unreachable(call: Call) -> StateError {
    StateError::Unavailable(format!("a fault at {call:?}"))
}

fn ready<'a, T: 'a>(answer: T) -> Future<'a, T> {
    Box::pin(std::future::ready(answer))
}

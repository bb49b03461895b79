//! A replay: past events through one simulated worker that never crashes, in virtual time. What it has done is handed over as it
//! goes and kept nowhere, so that its memory is that of the users, not of the events.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::catalog::Catalog;
use crate::engine::definition::{Kind, Status};
use crate::engine::record::{Phase, Record, codec};
use crate::engine::step::Known;
use crate::engine::time::Timestamp;
use crate::worker::ports::{Clock, Line, Put, StateError};
use crate::worker::settings::Settings;

use super::endpoints::{Endpoints, Seen};
use super::ports::{MemoryLog, MemoryStore, SharedFaults, VirtualClock};
use super::worker::{SimulatedWorker, Stopped, World, policy, ready, settings};

/// One replay.
pub struct Replay {
    world: World,
    store: MemoryStore,
    log: MemoryLog,
    settings: Settings,
    worker: SimulatedWorker,
    /// When time itself will next make something due.
    next: Timestamp,
    /// Events since the last full round.
    brief: u32,
}

/// What a replay has done since it was last asked.
#[derive(Debug, Default)]
pub struct Done {
    /// Outcome lines as JSON, in order.
    pub lines: Vec<Arc<[u8]>>,
    pub requests: Vec<Seen>,
    /// Dead letters as JSON.
    pub dead: Vec<Arc<[u8]>>,
}

/// Rounds without anything to do until the time moves on: a round hands over to the next.
const IDLE_ROUNDS: u32 = 3;

/// Events that are only read and turned before a full round confirms them.
const BRIEF_ROUNDS: u32 = 1024;

/// How often what is left of events is looked for after the last one: each time all of it is waited for.
const MAX_LOOKS: u32 = 10_000;

impl Replay {
    /// A world at `start` in which nothing is defined yet: until [`Replay::define`] only profiles are learnt.
    pub fn new(start: Timestamp, endpoints: Endpoints) -> Result<Replay, Stopped> {
        let clock = VirtualClock::new(start);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let faults = SharedFaults::default();
        let store = MemoryStore::new("simulated", shared.clone(), faults.clone());
        let log = MemoryLog::new(1, shared, faults);
        log.forget_what_is_read();
        let world = World { store: Arc::new(store.clone()), log: Arc::new(log.clone()), endpoints, clock };
        let settings = settings();
        let worker = SimulatedWorker::start(&world, &settings, &policy())?;
        let mut replay = Replay { world, store, log, settings, worker, next: Timestamp::MAX, brief: 0 };
        replay.settle()?;
        Ok(replay)
    }

    /// Puts definitions in force, as of now.
    pub fn define(&mut self, catalog: &Catalog) -> Result<(), Stopped> {
        let body = catalog.encode();
        let put = ready(async { self.world.store.session().await?.put_documents(catalog.revision, &body).await })?;
        if let Put::Conflict { revision } = put {
            return Err(StateError::Refused(format!("definitions of revision {revision} are in force already")).into());
        }
        self.worker.follow()?;
        self.settle()
    }

    pub fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    /// Everything that is due before or at the event's time, then the event. One of an earlier time than the last is taken as of now.
    pub fn event(&mut self, at: Timestamp, json: Vec<u8>) -> Result<(), Stopped> {
        self.until(at)?;
        let line = Line { topic: self.settings.topics.events[0].clone(), key: None, value: json };
        // The log in memory refuses nothing, and there are no faults.
        let _ = ready(self.world.log.append(&[line]));
        self.brief += 1;
        if self.worker.event_round()? || self.brief >= BRIEF_ROUNDS {
            return self.settle();
        }
        self.next = self.worker.next_time().unwrap_or(Timestamp::MAX);
        Ok(())
    }

    /// Moves time to `to`, doing everything that falls due until then and then.
    pub fn until(&mut self, to: Timestamp) -> Result<(), Stopped> {
        while self.next <= to {
            let now = self.world.clock.now();
            // What stays due (a timer held by a pause) is looked at again when time has moved.
            if self.next <= now && now >= to {
                break;
            }
            self.world.clock.set(self.next.max(now.after(Duration::from_millis(1))).min(to.max(now)));
            self.settle()?;
        }
        if self.world.clock.now() < to {
            self.world.clock.set(to);
        }
        Ok(())
    }

    /// Goes on after the last event until nothing is left of any: no clock that an event started, no delivery that is not settled.
    pub fn finish(&mut self) -> Result<(), Stopped> {
        for _ in 0..MAX_LOOKS {
            let records = self.store.users().into_iter().filter_map(|(_, stored, _)| codec::decode(&stored.record).ok());
            let Some(last) = records.filter_map(|record| left_of_events(&record)).max() else { return Ok(()) };
            self.until(last.max(self.now().after(Duration::from_millis(1))))?;
        }
        Ok(())
    }

    /// All that is known of a user by now.
    pub fn known(&self, user: &str) -> Known {
        let Some(stored) = self.store.stored(user) else { return Known::default() };
        // What this world has stored it can read.
        let record = codec::decode(&stored.record).unwrap_or_default();
        let profile = stored.profile.and_then(|profile| codec::decode_profile(&profile).ok()).unwrap_or_default();
        Known { record, profile, ..Known::default() }
    }

    /// What was done since the last call.
    pub fn take(&mut self) -> Done {
        let topics = &self.settings.topics;
        Done { lines: self.log.take(&topics.outcomes), requests: self.world.endpoints.take_seen(), dead: self.log.take(&topics.dead) }
    }

    /// Rounds until nothing is left to do now.
    fn settle(&mut self) -> Result<(), Stopped> {
        self.brief = 0;
        let mut idle = 0;
        while idle < IDLE_ROUNDS {
            idle = if self.worker.round()? { 0 } else { idle + 1 };
        }
        self.next = self.worker.next_time().unwrap_or(Timestamp::MAX);
        Ok(())
    }
}

/// The same definitions, every campaign that is ready or paused running.
pub fn started(mut catalog: Catalog) -> Catalog {
    for document in catalog.documents.iter_mut().filter(|document| document.kind == Kind::Campaign) {
        if matches!(document.status, None | Some(Status::Ready | Status::Paused)) {
            document.status = Some(Status::Running);
        }
    }
    catalog
}

/// When the last thing falls due that an event has left in a record. A timer without an event is a date's of the user.
fn left_of_events(record: &Record) -> Option<Timestamp> {
    let timers = record.timers.iter().filter(|timer| !timer.origin.event.is_empty()).map(|timer| timer.due);
    let deliveries = record.pending.iter().map(|entry| match entry.phase {
        Phase::Sending { lease, .. } => lease,
        Phase::Parked { until, .. } => until,
        Phase::Failing { again, .. } | Phase::Batched { again, .. } => again,
    });
    timers.chain(deliveries).max()
}

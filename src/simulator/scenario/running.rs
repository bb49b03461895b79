//! Running a scenario: the world, and the worker of the moment; time moves from one thing to do to the next.

use std::sync::Arc;
use std::time::Duration;

use super::{Ended, OutcomeLine, Scenario, ScenarioEvent};
use crate::engine::catalog::{Catalog, Policy};
use crate::engine::time::Timestamp;
use crate::simulator::endpoints::{Endpoints, Secrets};
use crate::simulator::ports::{MemoryLog, MemoryStore, SharedFaults, VirtualClock};
use crate::simulator::worker::{SimulatedWorker, Stopped, World, policy, ready, settings};
use crate::worker::ports::{AppendError, Clock, Line, StateError};
use crate::worker::settings::Settings;

/// When simulated workers crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restarts {
    Never,
    /// Whenever nothing is in progress, before time moves on.
    WhenIdle,
    /// After every so many rounds, whatever is in progress.
    EveryRounds(u32),
}

/// Workers that a run may start: more mean that it crashes without end.
const MAX_STARTS: usize = 10_000;

/// Crashes of a run, at most: workers that never live to see an answer would try for ever.
const CRASHES: u32 = 40;

/// Rounds without anything to do until the time moves on: a round hands over to the next.
const IDLE_ROUNDS: u32 = 3;

/// How often definitions are put while faults keep them from the store.
const PUT_TRIES: u32 = 100;

/// The scenario's world in memory.
pub fn in_memory(scenario: &Scenario, faults: SharedFaults) -> World {
    let clock = VirtualClock::new(scenario.from);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    World {
        store: Arc::new(MemoryStore::new("simulated", shared.clone(), faults.clone())),
        log: Arc::new(MemoryLog::new(2, shared, faults)),
        endpoints: endpoints(scenario),
        clock,
    }
}

pub fn endpoints(scenario: &Scenario) -> Endpoints {
    let secrets = Secrets { values: scenario.secrets.clone(), otherwise: None };
    Endpoints::new(scenario.answers.clone(), scenario.links.clone(), secrets)
}

/// `world` is new, and its clock at the scenario's start.
pub fn run(scenario: &Scenario, world: World, restarts: Restarts) -> Result<Ended, String> {
    let mut run = Run::start(scenario, world)?;
    let mut arrivals: Vec<&ScenarioEvent> = scenario.events.iter().filter(|event| event.at <= scenario.to).collect();
    arrivals.sort_by_key(|event| event.at);
    let mut changes = scenario.changes.iter().filter(|change| change.at <= scenario.to).peekable();
    let mut change_until = |run: &mut Run, to: Timestamp| {
        while let Some(change) = changes.next_if(|change| change.at <= to) {
            run.until(change.at, restarts)?;
            run.put_definitions(&change.catalog)?;
            // In force before what happens at the same instant.
            run.settle(restarts)?;
        }
        Ok::<(), String>(())
    };
    for event in arrivals {
        change_until(&mut run, event.at)?;
        run.until(event.at, restarts)?;
        run.arrive(event)?;
    }
    change_until(&mut run, scenario.to)?;
    run.until(scenario.to, restarts)?;
    Ok(run.ended())
}

/// One run: the world, and the worker of the moment.
struct Run {
    world: World,
    settings: Settings,
    policy: Policy,
    worker: Option<SimulatedWorker>,
    starts: usize,
    rounds: u32,
}

impl Run {
    fn start(scenario: &Scenario, world: World) -> Result<Run, String> {
        let run = Run { world, settings: settings(), policy: policy(), worker: None, starts: 0, rounds: 0 };
        run.put_definitions(&scenario.catalog)?;
        Ok(run)
    }

    /// Puts definitions in the place of those that they were made of. Nobody else does: one that was faster was this, its answer lost.
    fn put_definitions(&self, catalog: &Catalog) -> Result<(), String> {
        let body = catalog.encode();
        let mut tries = 0;
        loop {
            match ready(async { self.world.store.session().await?.put_documents(catalog.revision, &body).await }) {
                Ok(_) => return Ok(()),
                Err(StateError::Unavailable(_)) if tries < PUT_TRIES => tries += 1,
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Appends an event as a producer would, again until it is acknowledged.
    fn arrive(&self, event: &ScenarioEvent) -> Result<(), String> {
        let key = event.user.as_ref().map(|user| user.as_bytes().to_vec());
        let line = Line { topic: self.settings.topics.events[0].clone(), key, value: event.json.as_bytes().to_vec() };
        ready(self.world.log.append(&[line])).or_else(|error| match error {
            // It may be there twice now: its message id tells.
            AppendError::Unavailable(_) => self.arrive(event),
            error => Err(error.to_string()),
        })
    }

    /// Does everything until `to`, moving the clock from one thing to the next.
    fn until(&mut self, to: Timestamp, restarts: Restarts) -> Result<(), String> {
        loop {
            self.settle(restarts)?;
            let now = self.world.clock.now();
            if now >= to {
                return Ok(());
            }
            let next = self.worker.as_ref().and_then(SimulatedWorker::next_time).unwrap_or(to);
            if restarts == Restarts::WhenIdle {
                self.worker = None;
            }
            self.world.clock.set(next.max(now.after(Duration::from_millis(1))).min(to));
        }
    }

    /// Rounds until nothing is left to do now.
    fn settle(&mut self, restarts: Restarts) -> Result<(), String> {
        let mut idle = 0;
        while idle < IDLE_ROUNDS {
            self.rounds += 1;
            if matches!(restarts, Restarts::EveryRounds(every) if self.rounds.is_multiple_of(every) && self.rounds <= CRASHES * every) {
                self.worker = None;
            }
            idle = if self.round()? { 0 } else { idle + 1 };
        }
        Ok(())
    }

    fn round(&mut self) -> Result<bool, String> {
        let worker = match self.worker.take() {
            Some(worker) => Ok(worker),
            None => {
                self.starts += 1;
                if self.starts > MAX_STARTS {
                    return Err(format!("workers crash without end at {}", self.world.clock.now()));
                }
                SimulatedWorker::start(&self.world, &self.settings, &self.policy)
            }
        };
        let result = worker.and_then(|mut worker| {
            let worked = worker.round()?;
            self.worker = Some(worker);
            Ok(worked)
        });
        match result {
            Ok(worked) => Ok(worked),
            // The store lost writes: crash-only, a new worker begins from the committed offsets.
            Err(Stopped::State(StateError::RolledBack(_) | StateError::Unavailable(_))) => Ok(true),
            Err(error) => Err(error.to_string()),
        }
    }

    fn ended(&self) -> Ended {
        let parse = |topic: &str| self.world.log.values(topic);
        let mut lines: Vec<OutcomeLine> =
            parse(&self.settings.topics.outcomes).iter().filter_map(|value| serde_json::from_slice(value).ok()).collect();
        lines.sort_by(|a, b| a.order().cmp(&b.order()));
        lines.dedup();
        let dead = parse(&self.settings.topics.dead).iter().filter_map(|value| serde_json::from_slice(value).ok()).collect();
        Ended { lines, requests: self.world.endpoints.seen(), dead }
    }
}

//! Scenario files: definitions, events, answers of endpoints, and what is expected to come of them (contract, section 9).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::engine::catalog::{Apply, Catalog, Policy, apply};
use crate::engine::definition::problem::{Problem, Problems};
use crate::engine::definition::{ReadOptions, read, text};
use crate::engine::delivery::Backoff;
use crate::engine::time::Timestamp;
use crate::engine::value::Value;
use crate::worker::ports::{Append, Clock, Line, StateError, Store};
use crate::worker::settings::{Settings, Topics};

use super::endpoints::{AnswerRule, Endpoints, Seen};
use super::ports::{MemoryLog, MemoryStore, SharedFaults, VirtualClock};
use super::worker::{SimulatedWorker, Stopped, World};

/// A scenario as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    pub from: Timestamp,
    pub to: Timestamp,
    pub definitions: Vec<Value>,
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    #[serde(default)]
    pub events: Vec<Value>,
    #[serde(default)]
    pub answers: Vec<AnswerRule>,
    #[serde(default)]
    pub expect: Vec<Expected>,
}

/// One line of `expect`; what is absent is not compared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    pub at: Option<Timestamp>,
    pub user_id: Option<String>,
    pub campaign: Option<String>,
    /// `sent`, `suppressed` or `deferred`.
    pub outcome: Option<String>,
    pub reason: Option<String>,
    /// Compared by the keys listed.
    pub body: Option<Value>,
    /// Attempts made by the end.
    pub attempts: Option<u32>,
    /// The last result: `delivered`, `retrying` or `failed`.
    pub result: Option<String>,
}

/// A line of the outcomes topic, as far as it is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub struct OutcomeLine {
    pub at: String,
    pub r#type: String,
    pub campaign: String,
    pub user_id: String,
    pub event_id: String,
    pub outcome: String,
    pub reason: Option<String>,
    pub delivery_id: Option<String>,
    pub attempt: u32,
    pub result: String,
}

/// When simulated workers crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restarts {
    Never,
    /// Whenever nothing is in progress, before time moves on.
    WhenIdle,
    /// After every so many rounds, whatever is in progress.
    EveryRounds(u32),
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Decisions and attempts, repeated lines once, in order of time.
    pub lines: Vec<OutcomeLine>,
    pub requests: Vec<Seen>,
    /// Dead letters, as JSON.
    pub dead: Vec<Value>,
}

/// Workers that a run may start: more mean that it crashes without end.
const MAX_STARTS: usize = 10_000;

/// Crashes of a run, at most: workers that never live to see an answer would try for ever.
const CRASHES: u32 = 40;

/// Rounds without anything to do until the time moves on: a round hands over to the next.
const IDLE_ROUNDS: u32 = 3;

impl Scenario {
    /// Reads a scenario from YAML or JSON.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn read(file: &str, source: &str) -> Result<Scenario, Vec<Problem>> {
        let problems = Problems::of(file);
        let node = text::documents(source, &problems).into_iter().next().map(|tree| tree.root);
        if problems.errors() > 0 {
            return Err(problems.into_sorted());
        }
        let Some(node) = node else {
            problems.error(crate::engine::definition::problem::Place::START, "a scenario is empty");
            return Err(problems.into_sorted());
        };
        serde_json::from_str(&node.to_value().to_string()).map_err(|error| {
            problems.error(node.place, error.to_string());
            problems.into_sorted()
        })
    }

    /// Runs it. `faults` are asked at every call of a port.
    pub fn run(&self, restarts: Restarts, faults: SharedFaults) -> Result<Ended, String> {
        let mut run = Run::start(self, faults)?;
        let mut arrivals: Vec<(Timestamp, &Value)> = self.events.iter().map(|event| (arrival(event, self.from), event)).collect();
        arrivals.sort_by_key(|(at, _)| *at);
        for (at, event) in arrivals {
            run.until(at, restarts)?;
            run.arrive(event)?;
        }
        run.until(self.to, restarts)?;
        Ok(run.ended())
    }

    /// What differs from the expectations, a sentence each.
    pub fn differences(&self, ended: &Ended) -> Vec<String> {
        let mut differences = Vec::new();
        let mut sent: Vec<&OutcomeLine> = ended.lines.iter().filter(|line| line.outcome == "sent").collect();
        for expected in &self.expect {
            if expected.outcome.as_deref() == Some("sent") {
                match sent.iter().position(|line| expected.matches(line, &ended.requests)) {
                    Some(at) => drop(sent.remove(at)),
                    None => differences.push(format!("missing: {}", expected.show())),
                }
            } else if expected.outcome.is_some() {
                if !ended.lines.iter().any(|line| expected.matches(line, &ended.requests)) {
                    differences.push(format!("missing: {}", expected.show()));
                }
            } else {
                differences.extend(expected.attempts_differ(ended));
            }
        }
        differences.extend(sent.iter().map(|line| format!("not expected: sent {} to {} at {}", line.campaign, line.user_id, line.at)));
        differences
    }
}

/// One run: the world, and the worker of the moment.
struct Run<'a> {
    world: World,
    settings: Settings,
    policy: Policy,
    worker: Option<SimulatedWorker>,
    starts: usize,
    rounds: u32,
    scenario: &'a Scenario,
}

impl<'a> Run<'a> {
    fn start(scenario: &'a Scenario, faults: SharedFaults) -> Result<Run<'a>, String> {
        let clock = VirtualClock::new(scenario.from);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let world = World {
            store: MemoryStore::new("simulated", shared.clone(), faults.clone()),
            log: MemoryLog::new(2, shared, faults),
            endpoints: Endpoints::new(scenario.answers.clone(), scenario.secrets.clone()),
            clock,
        };
        let run = Run { world, settings: settings(), policy: policy(), worker: None, starts: 0, rounds: 0, scenario };
        run.put_definitions()?;
        Ok(run)
    }

    fn put_definitions(&self) -> Result<(), String> {
        let source: Vec<String> = self.scenario.definitions.iter().map(ToString::to_string).collect();
        let options = ReadOptions { allow_http: true };
        let (documents, problems) = read(&self.scenario.name, &source.join("\n---\n"), &options);
        let show = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        if problems.iter().any(Problem::is_error) {
            return Err(show(problems));
        }
        let options = Apply { read: options, ..Apply::default() };
        let (catalog, _) = apply(&Catalog::default(), documents, &options, self.scenario.from).map_err(show)?;
        let mut tries = 0;
        loop {
            let put = super::worker::ready(async { self.world.store.session().await?.put_documents(0, &catalog.encode()).await });
            match put {
                Ok(_) => return Ok(()),
                Err(StateError::Unavailable(_)) if tries < 100 => tries += 1,
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Appends an event as a producer would, again until it is acknowledged.
    fn arrive(&self, event: &Value) -> Result<(), String> {
        let key = event.as_object().and_then(|event| event.get("userId")).and_then(Value::as_str).map(|user| user.as_bytes().to_vec());
        let line = Line { topic: self.settings.topics.events[0].clone(), key, value: event.to_string().into_bytes() };
        super::worker::ready(self.world.log.append(vec![line])).or_else(|error| match error {
            // It may be there twice now: its message id tells.
            crate::worker::ports::AppendError::Unavailable(_) => self.arrive(event),
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
        let parse = |topic: &str| self.world.log.records(topic).into_iter().map(|(_, value)| value).collect::<Vec<_>>();
        let mut lines: Vec<OutcomeLine> =
            parse(&self.settings.topics.outcomes).iter().filter_map(|value| serde_json::from_slice(value).ok()).collect();
        lines.sort();
        lines.dedup();
        let dead = parse(&self.settings.topics.dead).iter().filter_map(|value| serde_json::from_slice(value).ok()).collect();
        Ended { lines, requests: self.world.endpoints.seen(), dead }
    }
}

impl Expected {
    fn matches(&self, line: &OutcomeLine, requests: &[Seen]) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        same(&self.outcome, &line.outcome)
            && same(&self.user_id, &line.user_id)
            && same(&self.campaign, &line.campaign)
            && same(&self.reason, line.reason.as_deref().unwrap_or_default())
            && self.at.is_none_or(|at| at.to_string() == line.at)
            && self.body.as_ref().is_none_or(|body| {
                let request = requests.iter().find(|request| Some(&request.webhook_id) == line.delivery_id.as_ref());
                request.and_then(|request| request.body.as_ref()).is_some_and(|is| covers(is, body))
            })
    }

    fn attempts_differ(&self, ended: &Ended) -> Option<String> {
        let attempts: Vec<&OutcomeLine> = ended
            .lines
            .iter()
            .filter(|line| line.r#type == "attempt")
            .filter(|line| self.user_id.as_ref().is_none_or(|user| *user == line.user_id))
            .filter(|line| self.campaign.as_ref().is_none_or(|campaign| *campaign == line.campaign))
            .collect();
        let made = attempts.iter().map(|line| line.attempt).max().unwrap_or(0);
        let result = attempts.iter().max_by_key(|line| line.attempt).map_or("none", |line| &line.result);
        let differs = self.attempts.is_some_and(|wanted| wanted != made) || self.result.as_deref().is_some_and(|wanted| wanted != result);
        differs.then(|| format!("{}: {made} attempts, the last {result}", self.show()))
    }

    fn show(&self) -> String {
        let mut text = String::new();
        for (name, value) in [
            ("at", self.at.map(|at| at.to_string())),
            ("user_id", self.user_id.clone()),
            ("campaign", self.campaign.clone()),
            ("outcome", self.outcome.clone()),
            ("reason", self.reason.clone()),
            ("body", self.body.as_ref().map(ToString::to_string)),
            ("attempts", self.attempts.map(|attempts| attempts.to_string())),
            ("result", self.result.clone()),
        ] {
            if let Some(value) = value {
                let _ = write!(text, "{}{name}: {value}", if text.is_empty() { "" } else { ", " });
            }
        }
        format!("{{{text}}}")
    }
}

/// Whether `is` has at least what `wanted` lists.
fn covers(is: &Value, wanted: &Value) -> bool {
    match (is, wanted) {
        (Value::Object(is), Value::Object(wanted)) => wanted.iter().all(|(key, value)| is.get(key).is_some_and(|is| covers(is, value))),
        (is, wanted) => is == wanted,
    }
}

/// When an event reaches the log: `receivedAt`, else its own time.
fn arrival(event: &Value, from: Timestamp) -> Timestamp {
    let time = |key: &str| event.as_object()?.get(key)?.as_str().and_then(Timestamp::parse);
    time("receivedAt").or_else(|| time("timestamp")).unwrap_or(from)
}

fn settings() -> Settings {
    Settings {
        topics: Topics::new(&["events".into()], "campanile"),
        generation: 1,
        lanes: 1,
        max_in_flight: 1024,
        ends_every: Duration::ZERO,
        drain: Duration::ZERO,
        omit: std::collections::BTreeSet::new(),
        accept_state: false,
    }
}

/// The defaults of the settings, with a fixed key for delivery ids.
fn policy() -> Policy {
    let hour = Duration::from_secs(3600);
    Policy {
        max_age: hour,
        max_lateness: 72 * hour,
        max_overdue: hour,
        timeout: Duration::from_secs(3),
        max_retries: 3,
        backoff: Backoff { base: Duration::from_secs(1), max: Duration::from_secs(10) },
        expires: 24 * hour,
        id_key: b"simulated".to_vec(),
        allow_http: true,
    }
}

//! Scenario files: definitions, events, answers of endpoints, and what is expected to come of them (contract, section 9).
//!
//! `reading` checks a file, `changing` what is changed midway, `inline` keeps the places of definitions inside it, `running` drives simulated workers through it,
//! `expectation` compares. Nothing here opens a file or prints.

mod changing;
mod expectation;
mod inline;
mod reading;
mod running;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::engine::catalog::Catalog;
use crate::engine::definition::problem::{Place, Problem};
use crate::engine::time::Timestamp;
use crate::engine::value::Value;

use super::endpoints::{Endpoints, Seen};
use super::ports::SharedFaults;
use super::rules::{AnswerRule, LinkRule};
use super::worker::World;

pub use expectation::{Candidate, Difference, Expected};
pub use reading::{OpenDirectory, is_definitions, is_scenario};
pub use running::Restarts;

/// A scenario, checked.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: String,
    pub from: Timestamp,
    pub to: Timestamp,
    /// Its definitions, as `apply` would store them.
    pub catalog: Catalog,
    /// What becomes of them midway, in order of time.
    pub changes: Vec<Change>,
    pub secrets: BTreeMap<String, String>,
    /// In the order of the text; a send with recipients is one for each.
    pub events: Vec<ScenarioEvent>,
    pub answers: Vec<AnswerRule>,
    pub links: Vec<LinkRule>,
    pub expect: Vec<Expected>,
    /// What is probably not meant as it is written.
    pub warnings: Vec<Problem>,
}

/// Definitions that are in force from then on: for what happens at that instant, too.
#[derive(Clone, Debug)]
pub struct Change {
    pub at: Timestamp,
    pub catalog: Catalog,
}

/// An event as a producer would write it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScenarioEvent {
    pub place: Place,
    /// When it reaches the log: `receivedAt`, else its own time, else the start.
    pub at: Timestamp,
    pub user: Option<String>,
    pub json: String,
}

/// A line of the outcomes topic, as far as it is compared and shown.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct OutcomeLine {
    pub at: String,
    pub r#type: String,
    pub campaign: String,
    pub user_id: String,
    pub event_id: String,
    pub outcome: String,
    pub reason: Option<String>,
    /// A cap as it was defined, or a sentence.
    pub rule: Option<Value>,
    pub until: Option<String>,
    pub delivery_id: Option<String>,
    pub request_id: Option<String>,
    pub attempt: u32,
    pub result: String,
    pub cause: Option<String>,
    pub arm: String,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Decisions, attempts and conversions, repeated lines once, in order of time.
    pub lines: Vec<OutcomeLine>,
    pub requests: Vec<Seen>,
    /// Dead letters, as JSON.
    pub dead: Vec<Value>,
}

impl Scenario {
    /// Reads a scenario from YAML or JSON. `open` gives the texts of a directory of definitions.
    ///
    /// # Errors
    /// Every problem, with its place; also those of the definitions.
    pub fn read(file: &str, source: &str, open: OpenDirectory<'_>) -> Result<Scenario, Vec<Problem>> {
        reading::read(file, source, open)
    }

    /// Runs it. `faults` are asked at every call of a port.
    ///
    /// # Errors
    /// Why the workers cannot go on.
    pub fn run(&self, restarts: Restarts, faults: SharedFaults) -> Result<Ended, String> {
        self.run_in(running::in_memory(self, faults), restarts)
    }

    /// Runs it in another world than that in memory: new, its clock at [`Scenario::from`], its endpoints those of
    /// [`Scenario::endpoints`].
    ///
    /// # Errors
    /// Why the workers cannot go on.
    pub fn run_in(&self, world: World, restarts: Restarts) -> Result<Ended, String> {
        running::run(self, world, restarts)
    }

    /// The receivers and linked services, as it tells them to answer.
    pub fn endpoints(&self) -> Endpoints {
        running::endpoints(self)
    }

    /// What differs from the expectations: every `sent` must be listed, and what is listed must have come.
    pub fn differences(&self, ended: &Ended) -> Vec<Difference> {
        expectation::differences(self, ended)
    }
}

impl OutcomeLine {
    pub fn is_attempt(&self) -> bool {
        self.r#type == "attempt"
    }

    /// An attempt line of which no request was made: the delivery was over without another one.
    pub fn is_without_request(&self) -> bool {
        self.is_attempt() && matches!(self.cause.as_deref(), Some("expired" | "ended"))
    }

    pub fn is_decision(&self) -> bool {
        self.r#type == "decision"
    }

    pub fn is_conversion(&self) -> bool {
        self.r#type == "conversion"
    }

    /// By time, then by whose it is: lines that came twice are neighbours.
    fn order(&self) -> impl Ord + '_ {
        let OutcomeLine { at, r#type, campaign, user_id, event_id, outcome, reason, delivery_id, attempt, result, .. } = self;
        ((at, r#type, campaign, user_id, event_id), (outcome, reason, delivery_id, attempt, result))
    }
}

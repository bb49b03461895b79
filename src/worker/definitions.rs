//! The definitions in force: read from the store, compiled, swapped in whole. The last good set is kept.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::engine::catalog::{Catalog, InForce, Policy};
use crate::engine::definition::{Problem, Workspace};

use super::ports::{State, StateError};

/// What every lane and reader steps with.
pub struct Follower {
    in_force: ArcSwap<InForce>,
    policy: Policy,
    /// Held while one puts a set in force, never while the store is asked: who waits for it long holds up nobody.
    following: Mutex<()>,
}

impl Follower {
    /// Begins with nothing in force.
    pub fn new(policy: Policy) -> Follower {
        let nothing = InForce::assemble(0, Vec::new(), Vec::new(), Workspace::default(), policy.clone());
        Follower { in_force: ArcSwap::from_pointee(nothing), policy, following: Mutex::new(()) }
    }

    /// Begins with these in force, of a store that has no others: for benchmarks and tests of what comes after reading.
    pub fn holding(in_force: InForce) -> Follower {
        let policy = in_force.policy.clone();
        Follower { in_force: ArcSwap::from_pointee(in_force), policy, following: Mutex::new(()) }
    }

    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// Asks for a newer revision and puts it in force; answers whether another is in force than before. A set that cannot be read keeps the last one in force and says so.
    pub async fn catch_up(&self, state: &mut dyn State) -> Result<bool, StateError> {
        let known = self.in_force.load().revision;
        let Some(documents) = state.documents(Some(known)).await? else { return Ok(false) };
        let _alone = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.in_force.load().revision;
        // Somebody was faster: what was read may be older than what is in force by now.
        if current != known && documents.revision <= current {
            return Ok(true);
        }
        let catalog = match Catalog::decode(documents.revision, &documents.body) {
            Ok(catalog) => catalog,
            Err(error) => {
                return Err(StateError::Refused(format!(
                    "the stored definitions (revision {}) cannot be read: {error}",
                    documents.revision
                )));
            }
        };
        let in_force = match InForce::compile(&catalog, self.policy.clone()) {
            Ok(in_force) => in_force,
            Err(problems) => return Err(StateError::Refused(show(documents.revision, &problems))),
        };
        for problem in &in_force.left_out {
            tracing::error!(%problem, revision = documents.revision, "a stored definition is left out");
        }
        tracing::info!(revision = in_force.revision, campaigns = in_force.campaigns.len(), "definitions in force");
        self.in_force.store(Arc::new(in_force));
        Ok(true)
    }
}

fn show(revision: u64, problems: &[Problem]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    format!("the stored definitions (revision {revision}) cannot be used: {}", problems.join("; "))
}

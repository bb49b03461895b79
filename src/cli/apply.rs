//! `run --apply`: puts a directory of definitions into the store before the worker starts. Many workers doing so apply once.

use std::path::PathBuf;

use super::Failure;
use super::assemble::state_failure;
use super::settings::join;
use super::validate::read_paths;
use crate::adapter::clock::SystemClock;
use crate::engine::catalog::{Apply, Catalog, Change, What, apply};
use crate::engine::definition::{Problem, ReadOptions};
use crate::worker::ports::{Clock, Put, Store};

/// Applies all definitions below `path`, or none. Running campaigns are paused, changed and resumed in one step.
pub async fn apply_directory(store: &dyn Store, path: &PathBuf, allow_http: bool) -> Result<Vec<Change>, Failure> {
    let options = Apply { cycle: true, prune: false, read: ReadOptions { allow_http } };
    let (documents, problems) = read_paths(std::slice::from_ref(path), &options.read)?;
    let refused =
        |problems: &[Problem]| Failure::Refused(format!("the definitions in {} cannot be applied\n{}", path.display(), join(problems)));
    if problems.iter().any(Problem::is_error) {
        return Err(refused(&problems));
    }
    problems.iter().for_each(|problem| eprintln!("{problem}"));
    let mut state = store.session().await.map_err(state_failure)?;
    loop {
        let stored = state.documents(None).await.map_err(state_failure)?;
        let current = match &stored {
            Some(stored) => Catalog::decode(stored.revision, &stored.body).map_err(|error| Failure::Refused(error.to_string()))?,
            None => Catalog::default(),
        };
        let (next, changes) =
            apply(&current, documents.clone(), &options, SystemClock::new().now()).map_err(|problems| refused(&problems))?;
        if changes.iter().all(|change| change.what == What::Unchanged) {
            return Ok(changes);
        }
        match state.put_documents(current.revision, &next.encode()).await.map_err(state_failure)? {
            Put::Stored { .. } => return Ok(changes),
            // Another worker applied at the same time: look again, there is probably nothing left to do.
            Put::Conflict { .. } => {}
        }
    }
}

//! Changing what is stored: read, decide, write if nobody was faster. What is decided is the engine's; here is who asked and that it
//! is written down.

use std::fmt;
use std::sync::Arc;

use super::Shared;
use super::problem::Problem;
use crate::engine::catalog::Catalog;
use crate::engine::time::Timestamp;
use crate::worker::ports::Put;

/// Where who changed what is written: a log target of its own, so that it can be kept apart.
const AUDIT: &str = "audit";

/// How often a change is decided anew because somebody else was faster.
const MAX_TRIES: usize = 8;

/// A change that was decided.
pub struct Decided<T> {
    /// What is to be stored; `None` = everything is as it should be.
    pub next: Option<Catalog>,
    pub told: T,
}

/// A change that was made.
pub struct Done<T> {
    pub from: u64,
    /// The revision that is stored now.
    pub revision: u64,
    pub told: T,
}

/// What decides a change. It may be asked several times.
pub trait Decide<T>: Fn(&Catalog, Timestamp) -> Result<Decided<T>, Problem> + Send + Sync + 'static {}

impl<T, F: Fn(&Catalog, Timestamp) -> Result<Decided<T>, Problem> + Send + Sync + 'static> Decide<T> for F {}

impl Shared {
    /// Changes the definitions at the revision that was seen, or at whichever is stored if that does not matter. Deciding does not
    /// hold up the desk: with very many definitions it takes a while.
    ///
    /// # Errors
    /// 412 when another revision is stored than the one that was seen, and what `decide` says.
    pub async fn change<T: Send + 'static>(&self, seen: Option<u64>, decide: impl Decide<T>) -> Result<Done<T>, Problem> {
        let decide = Arc::new(decide);
        for _ in 0..MAX_TRIES {
            let catalog = self.catalog().await?;
            let from = catalog.revision;
            if let Some(seen) = seen.filter(|seen| *seen != from) {
                return Err(Problem::other_revision(seen, from));
            }
            let (decide, now) = (decide.clone(), self.ingest.clock.now());
            let decided = tokio::task::spawn_blocking(move || {
                let Decided { next, told } = decide(&catalog, now)?;
                Ok::<_, Problem>((next.map(|next| next.encode()), told))
            });
            let (body, told) = decided.await.map_err(|error| Problem::internal(error.to_string()))??;
            let Some(body) = body else { return Ok(Done { from, revision: from, told }) };
            match self.desk.run(async move |state| Ok(state.put_documents(from, &body).await?)).await? {
                Put::Stored { revision } => {
                    // Whoever asked goes on with what is in force here. It is stored: should this fail, it is followed a second later.
                    let _ = self.in_force().await;
                    return Ok(Done { from, revision, told });
                }
                Put::Conflict { revision } => match seen {
                    Some(seen) => return Err(Problem::other_revision(seen, revision)),
                    None => continue,
                },
            }
        }
        Err(Problem::busy("others change the definitions all the time: try again"))
    }
}

/// Writes down who changed what; where it was definitions, from which revision to which. No data of users: an event by its id.
pub fn audit(who: impl fmt::Display, what: &str, revisions: Option<(u64, u64)>) {
    let (from, to) = revisions.unzip();
    tracing::info!(target: AUDIT, %who, what, from, to, "changed");
}

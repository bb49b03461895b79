//! The desk: where handlers have work done on the state store. Sessions live on one thread and handlers on many, so the desk has a
//! thread of its own with one session, and does one job after the other. It knows nothing of what it is asked to do.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::problem::Problem;
use crate::worker::ports::{Future, State, Store};

/// Jobs that wait. Who comes on top is told to come again.
const MAX_WAITING: usize = 256;

/// How long one job may take. A job that has more to do (a walk over all users) comes back for each part of it.
const DONE_WITHIN: Duration = Duration::from_secs(10);

/// Takes jobs for the store. Clones share the thread; it ends with the last of them.
#[derive(Clone)]
pub struct Desk {
    jobs: mpsc::Sender<Job>,
}

/// A job and where its result goes; it is told when there is no session. Answers whether the session can be used on.
type Job = Box<dyn for<'a> FnOnce(Result<&'a mut dyn State, Problem>) -> Future<'a, bool> + Send>;

impl Desk {
    /// Opens the desk; its session is opened by the first job, so that a store that is away does not matter here.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn open(store: Arc<dyn Store>) -> std::io::Result<Desk> {
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("desk".into()).spawn(move || runtime.block_on(serve(&*store, waiting)))?;
        Ok(Desk { jobs })
    }

    /// Has this done with the session, after what others asked for before: `desk.run(async |state| ...)`. It is done also when who
    /// asked no longer waits, unless it has not begun.
    ///
    /// # Errors
    /// What the work itself says; 503 when the store does not answer, 429 when too much waits already.
    pub async fn run<T, F>(&self, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: AsyncFnOnce(&mut dyn State) -> Result<T, Problem> + Send + 'static,
    {
        let (done, answer) = oneshot::channel();
        let job: Job = Box::new(move |state| {
            Box::pin(async move {
                if done.is_closed() {
                    return true;
                }
                let result = match state {
                    Ok(state) => work(state).await,
                    Err(problem) => Err(problem),
                };
                let sound = !matches!(&result, Err(problem) if problem.is_fault());
                // Nobody waits any more: nothing is lost by that.
                let _ = done.send(result);
                sound
            })
        });
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Problem::busy("too many requests wait for the state store already"),
            mpsc::error::TrySendError::Closed(_) => Problem::unavailable("the worker is stopping"),
        })?;
        let late = || Problem::unavailable(format!("the state store did not answer within {} s", DONE_WITHIN.as_secs()));
        answer.await.unwrap_or_else(|_| Err(late()))
    }
}

/// Does the jobs, one after the other. A session with which something went wrong is not used again.
async fn serve(store: &dyn Store, mut waiting: mpsc::Receiver<Job>) {
    let mut session: Option<Box<dyn State>> = None;
    while let Some(job) = waiting.recv().await {
        let one = async {
            if session.is_none() {
                session = match store.session().await {
                    Ok(opened) => Some(opened),
                    Err(error) => return job(Err(error.into())).await,
                };
            }
            match &mut session {
                Some(state) => job(Ok(&mut **state)).await,
                None => false,
            }
        };
        if !timeout(DONE_WITHIN, one).await.unwrap_or(false) {
            session = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;

    use super::*;
    use crate::engine::time::Timestamp;
    use crate::simulator::ports::{MemoryStore, SharedFaults, VirtualClock};
    use crate::worker::ports::StateError;

    /// Counts its sessions; none is ever opened while it hangs.
    struct Counting {
        store: MemoryStore,
        sessions: AtomicUsize,
        hangs: bool,
    }

    impl Store for Counting {
        fn session(&self) -> Future<'_, Result<Box<dyn State>, StateError>> {
            self.sessions.fetch_add(1, Ordering::Relaxed);
            if self.hangs { Box::pin(std::future::pending()) } else { self.store.session() }
        }
    }

    fn store(hangs: bool) -> Arc<Counting> {
        let store = MemoryStore::new("store", Arc::new(VirtualClock::new(Timestamp(0))), SharedFaults::default());
        Arc::new(Counting { store, sessions: AtomicUsize::new(0), hangs })
    }

    #[tokio::test]
    async fn a_session_is_used_until_something_goes_wrong_with_it() {
        let store = store(false);
        let desk = Desk::open(store.clone()).unwrap();
        let revision = desk.run(async |state| Ok(state.documents(None).await?.map_or(0, |documents| documents.revision))).await;
        assert_eq!(revision.unwrap(), 0);
        for (problem, sessions) in [(Problem::invalid("asked wrongly"), 1), (Problem::unavailable("broken"), 2)] {
            let told = problem.detail().to_owned();
            let failed = desk.run(async move |_| Err::<(), Problem>(problem)).await;
            assert_eq!(failed.unwrap_err().detail(), told);
            desk.run(async |_| Ok(())).await.unwrap();
            assert_eq!(store.sessions.load(Ordering::Relaxed), sessions, "after `{told}`");
        }
    }

    #[tokio::test]
    async fn who_comes_on_top_is_told_to_come_again() {
        let desk = Desk::open(store(true)).unwrap();
        let refused = (0..MAX_WAITING + 2).find_map(|_| desk.run(async |_| Ok(())).now_or_never());
        assert_eq!(refused.unwrap().unwrap_err().result(), "throttled");
    }
}

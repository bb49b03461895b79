//! The thread that keeps the statistics. Whatever goes wrong, it begins again by itself: the worker does without it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::{Common, POLL_WAIT, TRY_AGAIN, ask_identity, runtime};
use crate::telemetry::probes::Progress;
use crate::worker::commits::{Commits, LaneStatus};
use crate::worker::ports::{OpenSource, SourceError, State, StateError};
use crate::worker::stats::StatsReader;

/// How long it rests after it failed.
const BEGIN_AGAIN: Duration = Duration::from_secs(10);

/// How often it looks whether the worker stops.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often the store is asked whether it holds what was written.
const CONFIRM_EVERY: Duration = Duration::from_secs(1);

/// Keeps the statistics until the lanes have finished.
pub(super) fn keep(common: &Arc<Common>, open: &OpenSource) {
    let progress = common.watch("stats");
    let runtime = runtime();
    while !is_over(common) {
        if let Err(error) = Keeper::open(common, open, &runtime).and_then(|keeper| keeper.run(&progress)) {
            tracing::warn!(%error, again_in_s = BEGIN_AGAIN.as_secs(), "the statistics stand still; all else goes on");
            rest(common, &progress);
        }
    }
}

fn is_over(common: &Common) -> bool {
    common.aborted() || (common.stop.asked() && common.lanes_left.load(Ordering::Acquire) == 0)
}

fn rest(common: &Common, progress: &Progress) {
    let until = common.clock.monotonic() + BEGIN_AGAIN;
    while common.clock.monotonic() < until && !common.stop.asked() {
        progress.stamp();
        thread::sleep(LOOK_EVERY);
    }
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    State(#[from] StateError),
}

struct Keeper<'a> {
    common: &'a Arc<Common>,
    runtime: &'a Runtime,
    state: Box<dyn State>,
    reader: StatsReader,
    commits: Commits,
    status: Arc<LaneStatus>,
    confirm_at: Duration,
}

impl<'a> Keeper<'a> {
    fn open(common: &'a Arc<Common>, open: &OpenSource, runtime: &'a Runtime) -> Result<Keeper<'a>, Trouble> {
        let state = runtime.block_on(common.store.session())?;
        let reader = StatsReader::new(open()?, common.settings.generation, common.not_written.clone());
        let status = Arc::new(LaneStatus::default());
        // Whether the store is the right one is for the readers of events to judge: figures are not worth a stop.
        let commits = Commits::new(vec![status.clone()], common.clock.clone(), ask_identity(common), true)?;
        Ok(Keeper { common, runtime, state, reader, commits, status, confirm_at: Duration::ZERO })
    }

    fn run(mut self, progress: &Progress) -> Result<(), Trouble> {
        while !is_over(self.common) {
            self.reader.look(POLL_WAIT, &mut self.commits)?;
            let now = self.common.clock.monotonic();
            if self.reader.is_due(now) {
                let more = self.flush()?;
                let took = self.common.clock.monotonic().saturating_sub(now);
                self.reader.rest(now + took, took, more);
            }
            self.confirm()?;
            progress.stamp();
        }
        if self.common.aborted() { Ok(()) } else { self.leave() }
    }

    /// Writes some; answers whether there is more. A store that is away is asked again later.
    fn flush(&mut self) -> Result<bool, StateError> {
        let flushed = self.runtime.block_on(self.reader.flush(&mut *self.state));
        self.status.stored(self.reader.sequence());
        match flushed {
            Err(StateError::Unavailable(error)) => {
                tracing::warn!(%error, "the statistics wait for the store");
                thread::sleep(TRY_AGAIN);
                Ok(false)
            }
            flushed => flushed,
        }
    }

    fn confirm(&mut self) -> Result<(), StateError> {
        let began = self.common.clock.monotonic();
        if began < self.confirm_at {
            return Ok(());
        }
        self.confirm_at = began + CONFIRM_EVERY;
        match self.runtime.block_on(self.state.confirm()) {
            Ok(()) => {
                self.status.confirmed(began, self.reader.sequence());
                Ok(())
            }
            Err(StateError::Unavailable(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What is read is written before the worker is gone; what is not is the next one's.
    fn leave(mut self) -> Result<(), Trouble> {
        while self.runtime.block_on(self.reader.flush(&mut *self.state))? {}
        self.runtime.block_on(self.state.confirm())?;
        self.status.confirmed(self.common.clock.monotonic(), self.reader.sequence());
        self.status.leave();
        Ok(self.reader.leave(&mut self.commits)?)
    }
}

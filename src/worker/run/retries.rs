//! The thread that reads the retry topics.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::{Common, POLL_WAIT, finish, leave};
use crate::worker::commits::Commits;
use crate::worker::dispatch::Destinations;
use crate::worker::ports::Source;
use crate::worker::retry::{Due, Outlet, RetryReader};

/// How long it waits when a lane has no room.
const STALLED_WAIT: Duration = Duration::from_millis(1);

pub(super) fn read(
    common: &Arc<Common>,
    source: Box<dyn Source>,
    mut commits: Commits,
    lanes: &[mpsc::Sender<Due>],
    destinations: &Destinations,
) {
    let progress = common.watch("retries");
    let mut reader = RetryReader::new(source, common.append.clone(), common.settings.clone());
    let mut outlet = Lanes { common, lanes, destinations };
    let result = (|| {
        while !common.stop.asked() {
            let now = common.clock.now();
            let longest = if reader.is_stalled() { STALLED_WAIT } else { POLL_WAIT };
            let until_ready = reader.next_ready().filter(|_| !reader.is_stalled()).map_or(longest, |ready| ready.since(now));
            reader.turn(common.clock.now(), until_ready.min(longest), &mut commits, &mut outlet)?;
            progress.stamp();
        }
        leave(common, &mut reader, &mut commits, &progress)
    })();
    finish(common, result);
}

/// The lanes' queues, as the reader sees them.
struct Lanes<'a> {
    common: &'a Common,
    lanes: &'a [mpsc::Sender<Due>],
    destinations: &'a Destinations,
}

impl Outlet for Lanes<'_> {
    fn room(&self, destination: &str) -> Option<usize> {
        self.destinations.room_for_halted(destination)
    }

    fn give(&mut self, due: Due) -> Result<(), Due> {
        let lane = self.common.settings.lane_of(&due.0.user);
        // A lane that is gone is a worker that stops: its successor reads it again.
        match self.lanes[lane].try_send(due) {
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full(due)) => Err(due),
        }
    }
}

//! The two threads of walks over all users: one reads what walks have reached, one walks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{Common, POLL_WAIT, TRY_AGAIN, finish, leave};
use crate::engine::id::UserId;
use crate::worker::commits::Commits;
use crate::worker::counters::Counters;
use crate::worker::dispatch::Destinations;
use crate::worker::lane::Mail;
use crate::worker::ports::{Source, StateError};
use crate::worker::runs::{RunReader, Walker};

/// How often a walk that waits looks around.
const WALK_EVERY: Duration = Duration::from_millis(50);

/// Reads what walks have reached and hands it to the lanes.
pub(super) fn read_runs(
    common: &Arc<Common>,
    source: Box<dyn Source>,
    mut commits: Commits,
    lanes: &[mpsc::UnboundedSender<Mail>],
    destinations: &Destinations,
) {
    let progress = common.watch("runs");
    let mut reader = RunReader::new(source, common.shared(&common.run_positions));
    let result = (|| {
        while !common.stop.asked() {
            reader.turn(
                POLL_WAIT,
                &mut commits,
                |destination| destinations.queued(destination),
                |work| {
                    let lane = common.settings.lane_of(&work.user);
                    let _ = lanes[lane].send(Mail::Work(work));
                },
            )?;
            progress.stamp();
        }
        leave(common, &mut reader, &mut commits, &progress)
    })();
    finish(common, result);
}

/// Keeps the agendas of campaigns and walks over all users.
pub(super) async fn walk(common: &Arc<Common>, mut due: mpsc::UnboundedReceiver<UserId>) {
    let state = match common.store.session().await {
        Ok(state) => state,
        Err(error) => return common.give_up_state(error),
    };
    let mut walker = Walker::new(state, common.shared(&common.run_positions), Counters::new(common.metrics.clone()));
    let progress = common.watch("walks");
    while !common.stop.asked() {
        let more = match walker.turn().await {
            Ok(more) => more,
            Err(StateError::Unavailable(error)) => {
                tracing::warn!(%error, "walks over users wait for the store");
                sleep(TRY_AGAIN).await;
                false
            }
            Err(error) => return common.give_up_state(error),
        };
        progress.stamp();
        if !more {
            // Nothing to do until an agenda falls due, or the users before a walk are done with.
            let taken = tokio::select! {
                taken = due.recv() => taken,
                () = sleep(WALK_EVERY) => None,
                () = common.stop.0.notify.notified() => None,
            };
            taken.into_iter().for_each(|id| walker.take(id));
        }
        while let Ok(id) = due.try_recv() {
            walker.take(id);
        }
    }
    if let Err(error) = walker.leave().await {
        tracing::debug!(%error, "walks are taken over when their leases run out");
    }
}

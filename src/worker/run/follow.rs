//! The thread that follows the definitions. It does nothing else and has a session of its own: whatever holds up the others, a change
//! of the definitions is in force within two seconds, as long as the store answers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Common, TRY_AGAIN};
use crate::worker::ports::{State, StateError};

/// How often the definitions are asked for: half of the two seconds that are promised, so that as much is left for the answer and for
/// compiling what has changed.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// Follows until the lanes have finished: what is started at a stop ends by the definitions as they are then.
pub(super) async fn follow(common: &Common) {
    let progress = common.watch("definitions");
    let mut session = None;
    while common.lanes_left.load(Ordering::Acquire) > 0 && !common.aborted() {
        let next = Instant::now() + FOLLOW_EVERY;
        match catch_up(common, &mut session).await {
            Ok(()) => {}
            Err(StateError::Unavailable(error)) => tracing::warn!(%error, "the definitions cannot be read just now"),
            // The last good set is kept.
            Err(error) => tracing::error!(%error, "the stored definitions are not followed"),
        }
        progress.stamp();
        if common.stop.asked() {
            sleep_until(next.min(Instant::now() + TRY_AGAIN)).await;
        } else {
            // Told to stop, or time to look.
            let _ = timeout_at(next, common.stop.0.notify.notified()).await;
        }
    }
}

async fn catch_up(common: &Common, session: &mut Option<Box<dyn State>>) -> Result<(), StateError> {
    let state = match session {
        Some(state) => state,
        None => session.insert(common.store.session().await?),
    };
    common.follower.catch_up(&mut **state).await?;
    common.definitions_followed();
    Ok(())
}

//! The thread that leases rates.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{Common, TRY_AGAIN};
use crate::engine::delivery::rate::ASK_EVERY;
use crate::worker::budgets::Budgets;
use crate::worker::dispatch::Destinations;
use crate::worker::ports::StateError;

/// How often it looks around while nothing waits for its rate.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Leases rates until the lanes have finished: what is started at a stop still begins by its rate.
pub(super) async fn lease(common: &Arc<Common>, destinations: Arc<Destinations>) {
    let state = match common.store.session().await {
        Ok(state) => state,
        Err(error) => return common.give_up_state(error),
    };
    let mut budgets = Budgets::new(state, destinations.clone(), common.clock.clone());
    let progress = common.watch("rates");
    while common.lanes_left.load(Ordering::Acquire) > 0 && !common.aborted() {
        match budgets.turn().await {
            Ok(true) => sleep(ASK_EVERY).await,
            Ok(false) => {
                let _ = timeout(LOOK_EVERY, destinations.rate_wanted.notified()).await;
            }
            Err(StateError::Unavailable(error)) => {
                tracing::warn!(%error, "rates cannot be leased: their destinations wait for the store");
                sleep(TRY_AGAIN).await;
            }
            Err(error) => return common.give_up_state(error),
        }
        progress.stamp();
    }
}

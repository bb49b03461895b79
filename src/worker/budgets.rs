//! Leases of what destinations take in a second, over all workers: asks the store for what waits, and lets it begin. It waits for
//! nothing but the store; while that is away nothing begins whose destination has a rate.

use std::sync::Arc;

use super::dispatch::Destinations;
use super::ports::{Spend, State, StateError};
use super::store_clock::StoreClock;

pub struct Budgets {
    state: Box<dyn State>,
    destinations: Arc<Destinations>,
    clock: Arc<StoreClock>,
}

impl Budgets {
    pub fn new(state: Box<dyn State>, destinations: Arc<Destinations>, clock: Arc<StoreClock>) -> Budgets {
        Budgets { state, destinations, clock }
    }

    /// Asks for all that waits. Answers whether anything did: then more is wanted soon.
    pub async fn turn(&mut self) -> Result<bool, StateError> {
        // Before the question: the store's answer may be long on its way, and the lease counts from when it was given.
        let asked_at = self.clock.now();
        let wishes = self.destinations.wishes(asked_at);
        if wishes.is_empty() {
            return Ok(false);
        }
        let spends: Vec<Spend> = wishes
            .iter()
            .map(|(destination, want, bucket)| Spend {
                budget: format!("rate/{destination}").into(),
                want: *want,
                per_second: bucket.per_second,
                burst: bucket.capacity,
            })
            .collect();
        let given = self.state.spend(&spends).await?;
        let now = self.clock.now();
        for ((destination, ..), given) in wishes.iter().zip(given) {
            self.destinations.lease(destination, given, asked_at, now);
        }
        Ok(true)
    }
}

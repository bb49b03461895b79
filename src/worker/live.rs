//! What others see of a running worker: its destinations, and the outcome lines as they are written. Looking costs it nothing but what
//! is looked at.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::dispatch::Destinations;

mod tail;

pub use tail::{Listener, Tail, Told};

/// Shared by a worker and whoever looks at it.
pub struct Live {
    destinations: ArcSwapOption<Destinations>,
    pub tail: Arc<Tail>,
}

impl Live {
    pub fn new(tail: Tail) -> Live {
        Live { destinations: ArcSwapOption::empty(), tail: Arc::new(tail) }
    }

    /// Shows these destinations from now on.
    pub fn show(&self, destinations: Arc<Destinations>) {
        self.destinations.store(Some(destinations));
    }

    /// The destinations of the worker; `None` before it has started.
    pub fn destinations(&self) -> Option<Arc<Destinations>> {
        self.destinations.load_full()
    }
}

//! When the lanes of a worker that stops may leave: all together, once none of them has anything to do. A lane that left earlier could
//! be handed nothing by another, and what waits in it for a slot would wait for its lease.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Lanes that have something to do, and what is on its way from one to another.
pub struct Unfinished(AtomicUsize);

impl Unfinished {
    /// All lanes have something to do, until they say otherwise.
    pub fn of(lanes: usize) -> Unfinished {
        Unfinished(AtomicUsize::new(lanes))
    }

    pub fn begin(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// What a lane does with something that came from another must have begun before.
    pub fn end(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    /// Nothing is left to do: from now on nothing begins.
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

//! Decisions that no line is written for (`outcomes.omit`): counted where they are made, taken from here into the tallies.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use crate::engine::effect::{Decision, Reason};
use crate::engine::statistics::{Unwritten, day};

/// Shared by the lanes, which count, and the reader of statistics, which takes. Bounded by campaigns, reasons and the days between two
/// flushes.
#[derive(Default)]
pub struct NotWritten(Mutex<HashMap<String, Vec<Counted>>>);

/// So many decisions of one campaign, one UTC day and one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub day: i32,
    pub reason: Reason,
    pub count: u64,
}

impl NotWritten {
    pub fn count(&self, decision: &Decision) {
        let Some(reason) = decision.reason else { return };
        let day = day(decision.at);
        let mut campaigns = self.lock();
        let counted = campaigns.entry_ref(&*decision.campaign).or_default();
        match counted.iter_mut().find(|known| (known.day, known.reason) == (day, reason)) {
            Some(known) => known.count += 1,
            None => counted.push(Counted { day, reason, count: 1 }),
        }
    }

    /// All that was counted since the last time, by campaign.
    pub fn take(&self) -> HashMap<String, Vec<Counted>> {
        std::mem::take(&mut *self.lock())
    }

    // Counts are whole at every moment.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Counted>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    pub fn as_unwritten(&self) -> Unwritten<'static> {
        Unwritten { day: self.day, reason: self.reason.as_str(), count: self.count }
    }
}

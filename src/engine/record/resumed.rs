//! Deliveries that went on after they may have been written to the dead-letter topic. What is kept of them makes a dead letter void:
//! it is not sent again on its word. Bounded by forgetting, which it remembers.

use serde::{Deserialize, Serialize};

use super::super::id::DeliveryId;
use super::super::time::Timestamp;
use super::Pending;

/// Those of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// The one that was noted last at the end, at most [`MAX_RESUMED`].
    pub(super) deliveries: Vec<ResumedDelivery>,
    /// For want of room some of them are forgotten that were noted up to here.
    pub(super) forgotten: Option<Timestamp>,
}

/// How many a record remembers: as many as may be pending.
pub const MAX_RESUMED: usize = 32;

/// One delivery that went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumedDelivery {
    pub id: DeliveryId,
    /// A dead letter that tells of no more attempts than this is void.
    pub void: u32,
    /// Attempts made before it was last sent again from a dead letter; 0 = it never was.
    pub before: u32,
    pub at: Timestamp,
}

/// What a dead letter keeps of a delivery, beside what people read of it: all that is needed to send it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dead {
    /// When the letter was written.
    pub at: Timestamp,
    /// As it stood when it was over; its phase tells the attempts.
    pub entry: Pending,
}

impl Resumed {
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.forgotten.is_none()
    }

    pub fn find(&self, id: DeliveryId) -> Option<&ResumedDelivery> {
        self.deliveries.iter().find(|known| known.id == id)
    }

    /// Whether a letter of this time may speak of a delivery that is forgotten here.
    pub fn may_have_forgotten(&self, at: Timestamp) -> bool {
        self.forgotten.is_some_and(|forgotten| at <= forgotten)
    }

    /// Notes that a delivery goes on after so many attempts; `again`: because its dead letter is sent again.
    pub fn note(&mut self, id: DeliveryId, attempts: u32, again: bool, now: Timestamp) {
        let place = self.deliveries.iter().position(|known| known.id == id);
        let known = place.map(|place| self.deliveries.remove(place));
        let before = if again { attempts } else { known.map_or(0, |known| known.before) };
        let void = known.map_or(attempts, |known| known.void.max(attempts));
        if self.deliveries.len() >= MAX_RESUMED {
            let oldest = self.deliveries.remove(0);
            self.forgotten = self.forgotten.max(Some(oldest.at));
        }
        self.deliveries.push(ResumedDelivery { id, void, before, at: now });
    }

    /// Forgets what was noted before `horizon`, from before which no dead letter is sent again.
    pub fn prune(&mut self, horizon: Timestamp) {
        self.deliveries.retain(|known| known.at >= horizon);
        self.forgotten = self.forgotten.filter(|forgotten| *forgotten >= horizon);
    }
}

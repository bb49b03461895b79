//! A batch: the record of one request for several users. It stands in a record of its own, whose id is no user's; `delivery::batch`
//! says which, `step::batch` what becomes of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Claim, Request};
use crate::engine::id::{CampaignId, DeliveryId, UserId};
use crate::engine::time::Timestamp;

/// What is known of a batch, beside the one pending entry that it has while it is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    pub campaign: CampaignId,
    /// Of the member that came first, whose labels and version all members have.
    pub claim: Arc<Claim>,
    /// In the order in which they came.
    pub members: Vec<Member>,
    pub phase: BatchPhase,
}

/// Where a batch stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BatchPhase {
    /// Members may join until then. `shared` is the request without any profile.
    Open { until: Timestamp, shared: Box<Request> },
    /// Nobody joins any more: its pending entry has the request of all members.
    Closed,
    /// It came to its end, of which the members are told, at `again` once more who was not reached.
    Settled { ending: Ending, again: Timestamp },
}

/// One user of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub user: UserId,
    /// Of the member's own delivery.
    pub id: DeliveryId,
    /// Which of its questions this was: until when it waits for an answer. Only that answer counts.
    pub asked: Timestamp,
    /// When it was claimed.
    pub claimed: Timestamp,
    pub expires: Timestamp,
    /// The user as an entry of `profiles`; empty once the batch is closed.
    pub profile: Box<str>,
}

/// How a delivery ended, as its lines say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// A 2xx; else it failed for good.
    pub delivered: bool,
    /// The last attempt.
    pub attempt: u32,
    pub status: Option<u16>,
    pub cause: Option<Box<str>>,
}

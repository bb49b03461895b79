//! What `step` asks the world to do: a closed list. And the lines that are written for it (contract, section 6).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::definition::{FrequencyCap, OnLinkError};
use super::id::{CampaignId, DeliveryId, UserId};
use super::record::{Arm, Claim, Ending, Member, Request};
use super::time::Timestamp;

/// Everything a step can ask for. The worker carries these out in one `match` without a wildcard, after the record is stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write this decision line to the outcomes topic. Only a `sent` one is waited for.
    Decided(Box<Decision>),
    /// Write this conversion line to the outcomes topic. Not waited for: whoever reads its event again asks for it again.
    Converted(Box<Conversion>),
    /// Dispatch this delivery: the stored record has it as `sending`, with the request and a fresh lease.
    Send(DeliveryId),
    /// This pending delivery is over without another attempt (expired, ended): write its failed line and its dead letter, then
    /// report it as [`super::step::Input::Attempted`] with the attempt of its phase, which removes it. Asked for again every
    /// 30 s until then.
    Fail(DeliveryId, FailCause),
    /// This pending delivery failed with the batch that made its request, whose lines are written: write its dead letter, then report it as
    /// [`super::step::Input::Attempted`]. Asked for again as long as that is not reported.
    Bury(DeliveryId, Box<Ending>),
    /// Fetch the linked content of this send; the stored record holds the wish. What comes of it is reported as
    /// [`super::step::Input::Fetched`]; without that the wish is judged again when its lease ends.
    Fetch(Box<Fetch>),
    /// This retry cannot start now (its first attempt is held by a pause, its entry is not parked yet, or the record has no room for
    /// its request): append the retry message again, unchanged but for its time, before the one that was read counts as finished.
    Postpone { id: DeliveryId, until: Timestamp },
    /// Hand this to another record, as [`super::step::Input::Passed`], once this one's lines are acknowledged. It may get lost with the
    /// worker: who waits for an answer asks again.
    Pass { to: UserId, passed: Box<Passed> },
    /// A variable of this campaign's template had no value.
    VariableMissing { campaign: Box<str>, count: u32 },
    /// So many traits were not learned: the user has all there is room for.
    TraitsRefused { count: u32 },
    /// Nothing was done for this input: it was applied before, repeats a message id, is older than the user's deletion, or
    /// speaks of a delivery that has moved on.
    Skipped,
}

/// What a delivery and the batch that makes its request say to each other.
#[derive(Clone, Debug, PartialEq)]
pub enum Passed {
    /// To a batch: this user wants to be in it. Asking again is answered by what has become of it.
    Join(Box<Joining>),
    /// To a delivery that asked at the place `from`: it is not in that batch and will not be; it may ask at `to`.
    TurnedAway { id: DeliveryId, asked: Timestamp, from: u32, to: u32, tries: u32 },
    /// To a delivery: the batch of this place is closed with it and will tell how it ends.
    Kept { id: DeliveryId, place: u32 },
    /// To a delivery: so its batch has ended.
    Settled { id: DeliveryId, ending: Ending },
}

/// A user who asks to be in a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Joining {
    pub campaign: CampaignId,
    pub claim: Arc<Claim>,
    /// The request without any profile.
    pub shared: Request,
    pub member: Member,
    /// How often in a row it was turned away.
    pub tries: u32,
    /// Its `sent` line is acknowledged, which nobody knows who asks after having heard nothing. It is, if a batch has the delivery.
    pub announced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailCause {
    Expired,
    Ended,
}

/// The linked content of one send (H5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    pub campaign: CampaignId,
    /// The campaign's key, for people.
    pub key: Box<str>,
    /// Of the send that waits for it.
    pub delivery: DeliveryId,
    /// To be fetched one after the other.
    pub wanted: Vec<Wanted>,
    /// Until when the right to fetch it is held; then anybody may.
    pub lease: Timestamp,
}

impl Fetch {
    /// The longest that it may take.
    pub fn timeout(&self) -> Duration {
        self.wanted.iter().map(|wanted| wanted.timeout).sum()
    }
}

/// One link of a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// `link.<name>` in templates.
    pub name: Box<str>,
    /// Whole and encoded; fetched by GET.
    pub url: Box<str>,
    /// How old an answer to the same URL may be; zero = none is used again.
    pub ttl: Duration,
    pub timeout: Duration,
    pub on_error: OnLinkError,
}

/// A decision line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    pub at: Timestamp,
    pub campaign: Box<str>,
    pub version: u32,
    pub channel: Option<Box<str>>,
    pub tags: Vec<Box<str>>,
    pub arm: Arm,
    pub user_id: UserId,
    pub event_id: Box<str>,
    pub outcome: Outcome,
    pub reason: Option<Reason>,
    pub rule: Option<RuleShown>,
    pub until: Option<Timestamp>,
    pub run: Option<Box<str>>,
    pub delivery_id: Option<DeliveryId>,
    /// A `sent` line of a delivery that had one: taken over, or claimed anew. What is counted counts it no second time.
    #[serde(skip_serializing_if = "is_first")]
    pub again: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_first(again: &bool) -> bool {
    !again
}

impl Decision {
    /// The `sent` line of a claim, whenever it is written.
    pub fn sent(user: &UserId, claim: &Claim, delivery: DeliveryId) -> Decision {
        Decision::of_claim(user, claim, Some(delivery))
    }

    /// A line about what was claimed; a `sent` one unless the caller says otherwise.
    pub(in crate::engine) fn of_claim(user: &UserId, claim: &Claim, delivery_id: Option<DeliveryId>) -> Decision {
        Decision {
            at: claim.at,
            campaign: claim.campaign.clone(),
            version: claim.version,
            channel: claim.channel.clone(),
            tags: claim.tags.clone(),
            arm: claim.arm,
            user_id: user.clone(),
            event_id: claim.event_id.clone(),
            outcome: Outcome::Sent,
            reason: None,
            rule: None,
            until: None,
            run: claim.run.clone(),
            delivery_id,
            again: false,
        }
    }
}

/// A conversion line: the goal's event came within the goal's window after the send (of a user held out: after its decision).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conversion {
    pub at: Timestamp,
    pub campaign: Box<str>,
    pub user_id: UserId,
    pub arm: Arm,
    /// Of the goal's event.
    pub event_id: Box<str>,
    pub sent_at: Timestamp,
    pub delivery_id: Option<DeliveryId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Sent,
    Deferred,
    Suppressed,
}

/// Why a send was held back: the contract's closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    NotInAudience,
    HistoryIncomplete,
    ControlGroup,
    AlreadySent,
    ResendWait,
    FrequencyCap,
    QuietHours,
    LateEvent,
    Stale,
    TargetLimit,
    CampaignPaused,
    CampaignEnded,
    OutsideWindow,
    CancelledByEvent,
    AbortedByTemplate,
    RenderFailed,
    LinkFailed,
    StateFull,
    UserDeleted,
    ChainTooLong,
}

impl Reason {
    pub const ALL: [Reason; 20] = [
        Reason::NotInAudience,
        Reason::HistoryIncomplete,
        Reason::ControlGroup,
        Reason::AlreadySent,
        Reason::ResendWait,
        Reason::FrequencyCap,
        Reason::QuietHours,
        Reason::LateEvent,
        Reason::Stale,
        Reason::TargetLimit,
        Reason::CampaignPaused,
        Reason::CampaignEnded,
        Reason::OutsideWindow,
        Reason::CancelledByEvent,
        Reason::AbortedByTemplate,
        Reason::RenderFailed,
        Reason::LinkFailed,
        Reason::StateFull,
        Reason::UserDeleted,
        Reason::ChainTooLong,
    ];

    /// As it is written in lines and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NotInAudience => "not_in_audience",
            Reason::HistoryIncomplete => "history_incomplete",
            Reason::ControlGroup => "control_group",
            Reason::AlreadySent => "already_sent",
            Reason::ResendWait => "resend_wait",
            Reason::FrequencyCap => "frequency_cap",
            Reason::QuietHours => "quiet_hours",
            Reason::LateEvent => "late_event",
            Reason::Stale => "stale",
            Reason::TargetLimit => "target_limit",
            Reason::CampaignPaused => "campaign_paused",
            Reason::CampaignEnded => "campaign_ended",
            Reason::OutsideWindow => "outside_window",
            Reason::CancelledByEvent => "cancelled_by_event",
            Reason::AbortedByTemplate => "aborted_by_template",
            Reason::RenderFailed => "render_failed",
            Reason::LinkFailed => "link_failed",
            Reason::StateFull => "state_full",
            Reason::UserDeleted => "user_deleted",
            Reason::ChainTooLong => "chain_too_long",
        }
    }
}

/// The name of a final failure, before its cause (contract, section 6).
pub const DISPATCH_FAILED: &str = "Webhook Dispatch Failed";

/// The rule that stopped a send: a cap as it was defined, or a sentence (a render error, an abort's words).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RuleShown {
    Cap(FrequencyCap),
    Text(Box<str>),
}

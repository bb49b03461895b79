//! All that is known of a user's behaviour, as one value that is stored whole. Its parts are opaque here: the rooms that own
//! them hold the rules (`fatigue` the ledger, `trigger` the timers, `history` the past, `delivery` the pending entries).

mod batch;
pub mod codec;
mod history;
mod resumed;

pub use batch::{Batch, BatchPhase, Ending, Member};
pub use history::{Backfilled, Bucket, Data, Distinct, Early, Instants, Kept, Sample, Samples, Totals, Tracked, ValueHash};
pub use resumed::{Dead, MAX_RESUMED, Resumed, ResumedDelivery};

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::definition::{ContentType, Method, Trigger};
use super::effect::FailCause;
use super::event::SourceId;
use super::id::{CampaignId, DeliveryId};
use super::time::Timestamp;
use super::value::Object;

/// One user's record. `codec.rs` gives it its format byte.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The revision of the definitions it was last stepped with; a worker that is behind it catches up first.
    pub definitions: u64,
    /// How far each partition has been applied to this user, the one that moved last at the end.
    pub marks: Vec<Mark>,
    /// Hashes of the last message ids, oldest first, at most [`SEEN_IDS`].
    pub seen: Vec<SeenId>,
    /// What is kept of the past, for rules that look back.
    pub history: Kept,
    /// Clocks that run.
    pub timers: Vec<Timer>,
    /// Sets of events that are not complete.
    pub sequences: Vec<Sequence>,
    /// Which occurrence of a date or run was decided last, where nothing else says so.
    pub occurrences: Vec<Occurrence>,
    /// What was sent when.
    pub ledger: Ledger,
    /// Deliveries that are decided and not settled.
    pub pending: Vec<Pending>,
    /// When the user was deleted, until nothing older than that can arrive any more.
    pub tombstone: Option<Timestamp>,
    /// Deliveries that went on after a dead letter may have called them over. Seldom any: the codec writes them behind the rest.
    #[serde(skip)]
    pub resumed: Resumed,
    /// This is no user's record but a batch's. Encoded behind the rest, and only if there is one.
    #[serde(skip)]
    pub batch: Option<Box<Batch>>,
}

/// How many message ids a record remembers (contract, section 4).
pub const SEEN_IDS: usize = 16;

/// An input of this source is applied when neither its offset nor its broker time lies above the mark (the highest offset, the
/// highest time): a log that began again has smaller offsets but later times, and then the mark follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub source: SourceId,
    pub offset: i64,
    pub broker_time: Timestamp,
}

/// A remembered message id: its stable hash, and the broker time it came with (old ones are dropped by it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenId {
    pub hash: [u8; 8],
    pub broker_time: Timestamp,
}

/// A clock: at `due` the campaign wants to be judged for this user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timer {
    pub campaign: CampaignId,
    pub kind: TimerKind,
    /// Stable hash of the correlating values, zero without `same`.
    pub key: [u8; 8],
    pub due: Timestamp,
    /// What started it: what templates and conditions see when it is due.
    pub origin: Origin,
}

/// What a clock waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimerKind {
    /// T3: the end of the window in which `without` did not happen.
    Inaction,
    /// T5: the date of an event.
    EventDate,
    /// T5: a date of the user. There is one at most for a campaign.
    UserDate,
    /// The end of a deferral of a send that fell due at `decided`.
    Deferred { decided: Timestamp },
    /// T9: the next instant at which passing time alone can change a membership. There is one at most for a campaign.
    Membership,
    /// H5: the lease of a fetch of linked content. `due` is when a clock of the send fell due, `decided` when it was first decided if it was
    /// deferred.
    Linking { due: Option<Timestamp>, decided: Option<Timestamp> },
}

impl TimerKind {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            TimerKind::Inaction => "inaction",
            TimerKind::EventDate | TimerKind::UserDate => "date",
            TimerKind::Deferred { .. } => "deferred",
            TimerKind::Linking { .. } => "linked content",
            TimerKind::Membership => "membership",
        }
    }
}

/// What triggered, kept for when a send falls due.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    pub kind: TriggerKind,
    /// The event's name, empty without one.
    pub event: Box<str>,
    /// Empty without an event.
    pub message_id: Box<str>,
    /// Of the event, else when it fell due.
    pub timestamp: Timestamp,
    pub properties: Object,
    /// `events.<name>`: the properties of each event of a completed set.
    pub others: Vec<(Box<str>, Object)>,
    /// How many sends led here, each triggered by what became of the one before; 0 = an input from outside.
    pub depth: u8,
    /// Which of the dates or runs this is (a scheduled run's local time, a year): a user gets each once.
    pub run: Option<Box<str>>,
}

/// What kind of trigger it was: `trigger.kind` of the templates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TriggerKind {
    #[default]
    Action,
    Actions,
    Inaction,
    Date,
    Schedule,
    Api,
    Cohort,
}

impl TriggerKind {
    pub fn of(trigger: &Trigger) -> TriggerKind {
        match trigger {
            // An absence is judged at an event like an action, and written as an inaction.
            Trigger::Inaction(_) | Trigger::Absence(_) => TriggerKind::Inaction,
            Trigger::Action(_) => TriggerKind::Action,
            Trigger::Actions(_) => TriggerKind::Actions,
            Trigger::EventDate(_) | Trigger::UserDate(_) => TriggerKind::Date,
            Trigger::Schedule(_) => TriggerKind::Schedule,
            Trigger::Api => TriggerKind::Api,
            Trigger::Cohort { .. } => TriggerKind::Cohort,
        }
    }

    /// As it is written in definitions.
    pub fn as_str(self) -> &'static str {
        match self {
            TriggerKind::Action => "action",
            TriggerKind::Actions => "actions",
            TriggerKind::Inaction => "inaction",
            TriggerKind::Date => "date",
            TriggerKind::Schedule => "schedule",
            TriggerKind::Api => "api",
            TriggerKind::Cohort => "cohort",
        }
    }
}

/// T2: the events of one campaign and key that can still become part of a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sequence {
    pub campaign: CampaignId,
    /// Stable hash of the correlating values, zero without `same`.
    pub key: [u8; 8],
    /// Of the campaign, whose events [`Happened::meets`] speaks of.
    pub version: u32,
    /// In order of their time, bounded.
    pub happened: Vec<Happened>,
}

/// An event that can be part of a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Happened {
    /// The campaign's events that it meets, a bit each, the first lowest.
    pub meets: u8,
    pub event: Box<str>,
    pub message_id: Box<str>,
    pub timestamp: Timestamp,
    pub properties: Object,
    pub depth: u8,
}

/// The last date or run of one campaign that was decided for this user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurrence {
    pub campaign: CampaignId,
    /// As in [`Origin::run`].
    pub name: Box<str>,
    /// When it was decided.
    pub at: Timestamp,
}

/// The fatigue ledger. Only `fatigue` reads or writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    pub(in crate::engine) exposures: Vec<Exposure>,
    /// Sends that caps count, oldest first, bounded.
    pub(in crate::engine) sends: Vec<CountedSend>,
    /// Exposures whose conversion is still waited for, oldest first, bounded.
    pub(in crate::engine) goals: Vec<OpenGoal>,
}

/// What an exposure is about: `None` the user, else (`fatigue.per`) a stable hash of the values of these properties.
pub type ExposureKey = Option<[u8; 8]>;

/// The last send of one campaign (for `resend` and once-only), or the last that was held out as control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposure {
    pub campaign: CampaignId,
    pub key: ExposureKey,
    pub arm: Arm,
    pub last: Timestamp,
    pub count: u32,
}

/// An exposure whose conversion is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenGoal {
    pub campaign: CampaignId,
    /// When it was sent, or held out.
    pub sent_at: Timestamp,
    /// The end of the window, no longer in it.
    pub until: Timestamp,
    /// `None`: the control arm.
    pub delivery: Option<DeliveryId>,
    /// A stable hash of the event that converted it, of its id and time.
    pub converted: Option<[u8; 8]>,
}

/// One send that counts in frequency caps, with the labels it had then (`channel:` and `tag:` hashes).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedSend {
    pub at: Timestamp,
    pub labels: Vec<[u8; 4]>,
}

/// A decided delivery that is not settled yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    pub id: DeliveryId,
    pub campaign: CampaignId,
    pub claim: Arc<Claim>,
    pub counts: Counts,
    /// From when it is dead-lettered, whatever it waits for.
    pub expires: Timestamp,
    pub phase: Phase,
    /// What triggered it, kept where a campaign waits for what becomes of deliveries (`$delivered`, `$failed`); else at most its depth.
    pub origin: Option<Box<Origin>>,
    /// The frozen request, shared with whoever sends it. Absent only while parked: then the retry topic has it.
    pub request: Option<Arc<Request>>,
}

/// Under what the ledger has a claim, so that it can be given back whatever the campaign says by then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub key: ExposureKey,
    /// Whether caps count it.
    pub in_caps: bool,
}

/// Where a delivery stands. **What `attempt` means**, here and in every input that carries it:
///
/// - `Sending { attempt: k }`: request number k, counted from 1, is being made. (Whether it went out yet is known to its
///   holder only.)
/// - `Parked { attempt: m }`, [`Input::Retry`] and [`Input::Parked`]: m requests **have been made**, the next one is number
///   m + 1. With `unstarted` that one was given out, and given back before it was started.
/// - [`Input::Attempted`]: the number of the request that was made, or as it stands here when there was none.
///
/// So what was `Sending { k }` is parked as k when request k failed, and as k - 1 when it was not started.
///
/// [`Input::Retry`]: super::step::Input::Retry
/// [`Input::Parked`]: super::step::Input::Parked
/// [`Input::Attempted`]: super::step::Input::Attempted
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Somebody holds the right to make this attempt until the lease ends; then anybody may take over as the next attempt.
    Sending { attempt: u32, lease: Timestamp },
    /// The retry topic has the request and will start the next attempt not before `until`.
    Parked { attempt: u32, until: Timestamp },
    /// Over without another attempt. Its failed line and dead letter are asked for, and again at `again` unless
    /// they are reported written by then.
    Failing { attempt: u32, cause: FailCause, again: Timestamp },
    /// Handed to the batch of this place, which makes the attempts once it is closed. Nobody has told what came of it until `again`: the
    /// batch is asked. The profile begins at this byte of the last piece of the request's body, which stays here until the end.
    Batched { place: u32, profile_at: u32, again: Timestamp },
}

impl Phase {
    pub fn attempt(self) -> u32 {
        match self {
            Phase::Sending { attempt, .. } | Phase::Parked { attempt, .. } | Phase::Failing { attempt, .. } => attempt,
            Phase::Batched { .. } => 0,
        }
    }

    /// The number of its line in the outcomes topic, where each occurs once: what is over without another attempt has a line of its own
    /// beside that of the last one, and takes a number. It is 0 when no request was ever made.
    pub fn line_number(self) -> u32 {
        match self {
            Phase::Failing { attempt, .. } if attempt > 0 => attempt.saturating_add(1),
            phase => phase.attempt(),
        }
    }
}

/// What was decided, kept so that a take-over can repeat the `sent` line word for word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub at: Timestamp,
    pub campaign: Box<str>,
    pub version: u32,
    pub channel: Option<Box<str>>,
    pub tags: Vec<Box<str>>,
    pub event_id: Box<str>,
    /// The scheduled run, if it was one.
    pub run: Option<Box<str>>,
    pub arm: Arm,
}

#[cfg(test)]
impl Claim {
    /// Of a campaign without channel or tags, by the event `m1`.
    pub fn of_test(campaign: &str, at: Timestamp) -> Claim {
        Claim {
            at,
            campaign: campaign.into(),
            version: 1,
            channel: None,
            tags: Vec::new(),
            event_id: "m1".into(),
            run: None,
            arm: Arm::Treatment,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    #[default]
    Treatment,
    Control,
}

/// A frozen request: byte-identical on every attempt, apart from secrets and the attempt's own headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The destination's key, else its `host[:port]`.
    pub destination: Box<str>,
    pub method: Method,
    /// Whole URL with its query, already encoded.
    pub url: Frozen,
    pub headers: Vec<(Box<str>, Frozen)>,
    pub content_type: ContentType,
    pub body: Option<Frozen>,
}

impl Request {
    /// About how many bytes it takes in a record.
    pub fn weight(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.weight()).sum();
        self.destination.len() + self.url.weight() + headers + self.body.as_ref().map_or(0, Frozen::weight)
    }
}

/// Text with references to secrets, which are resolved at the moment of sending and stored nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen(pub Vec<Piece>);

impl Frozen {
    fn weight(&self) -> usize {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) | Piece::Secret(text, _) => text.len() + 2,
            })
            .sum()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    Text(Box<str>),
    /// A secret's name, and how its value is written where it stands.
    Secret(Box<str>, Quoting),
}

/// How a secret's value is written into its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quoting {
    /// As it is (headers, text bodies).
    Plain,
    /// As a whole JSON string, with its quotes.
    Json,
    /// Percent-encoded.
    Url,
}

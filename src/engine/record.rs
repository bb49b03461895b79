//! All that is known of a user's behaviour, as one value that is stored whole. Its parts are opaque here: the rooms that own
//! them hold the rules (`fatigue` the ledger, `trigger` the timers, `history` the instants, `delivery` the pending entries).

use serde::{Deserialize, Serialize};

use super::definition::{ContentType, Method};
use super::event::SourceId;
use super::id::{CampaignId, DeliveryId};
use super::time::Timestamp;
use super::value::Object;

/// One user's record. `codec.rs` gives it its format byte.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The revision of the definitions it was last stepped with; a worker that is behind it catches up first.
    pub definitions: u64,
    /// How far each partition has been applied to this user.
    pub marks: Vec<Mark>,
    /// Hashes of the last message ids, oldest first, at most [`SEEN_IDS`].
    pub seen: Vec<SeenId>,
    /// Instants of tracked events, for rules that look back.
    pub history: Vec<Instants>,
    /// Clocks that run.
    pub timers: Vec<Timer>,
    /// What was sent when.
    pub ledger: Ledger,
    /// Deliveries that are decided and not settled.
    pub pending: Vec<Pending>,
    /// When the user was deleted, until nothing older than that can arrive any more.
    pub tombstone: Option<Timestamp>,
}

/// How many message ids a record remembers (contract, section 4).
pub const SEEN_IDS: usize = 16;

/// An input of this source is applied when neither its offset nor its broker time lies above the mark: a topic that was
/// recreated has smaller offsets but later times.
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

/// The newest instants of one tracked pattern and key, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instants {
    /// Stable hash of what is tracked (event, condition).
    pub tracker: [u8; 8],
    /// Stable hash of the correlating values, zero without `same`.
    pub key: [u8; 8],
    pub at: Vec<Timestamp>,
}

/// A clock: at `due` the campaign wants to be judged for this user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timer {
    pub campaign: CampaignId,
    /// Stable hash of the correlating values, zero without `same`.
    pub key: [u8; 8],
    pub due: Timestamp,
    /// The event that started it: what templates and conditions see when it is due.
    pub origin: Origin,
}

/// The triggering event, kept for when a send falls due.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    pub event: Box<str>,
    pub message_id: Box<str>,
    pub timestamp: Timestamp,
    pub properties: Object,
}

/// The fatigue ledger. Only `fatigue` reads or writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    pub(in crate::engine) exposures: Vec<Exposure>,
    /// Sends that caps count, oldest first, bounded.
    pub(in crate::engine) sends: Vec<CountedSend>,
}

/// The last send of one campaign (for `resend` and once-only).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposure {
    pub campaign: CampaignId,
    pub last: Timestamp,
    pub count: u32,
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
    pub claim: Claim,
    /// From when it is dead-lettered, whatever it waits for.
    pub expires: Timestamp,
    pub phase: Phase,
    /// The frozen request. Absent only while parked: then the retry topic has it.
    pub request: Option<Request>,
}

/// Attempts count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Somebody holds the right to make this attempt until the lease ends; then anybody may take over as the next attempt.
    Sending { attempt: u32, lease: Timestamp },
    /// The retry topic has the request and will start attempt + 1 (or, if no request was ever started, this attempt: `attempt` 0) not before `until`.
    Parked { attempt: u32, until: Timestamp },
}

impl Phase {
    pub fn attempt(self) -> u32 {
        match self {
            Phase::Sending { attempt, .. } | Phase::Parked { attempt, .. } => attempt,
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
    pub arm: Arm,
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

/// Text with references to secrets, which are resolved at the moment of sending and stored nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen(pub Vec<Piece>);

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

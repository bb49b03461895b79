//! What the worker asks of the world: five ports, and one for people who look back. Adapters implement them; the simulator stands in
//! for the five. No business word occurs here: a port moves bytes, ids and times.
//!
//! Futures need not be `Send`: a lane, its store session and its HTTP client live on one thread.

use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::delivery::Answer;
use crate::engine::delivery::wire::Header;
use crate::engine::id::UserId;
use crate::engine::time::Timestamp;

pub use crate::engine::id::PSEUDO;

pub type Future<'a, T> = Pin<Box<dyn std::future::Future<Output = T> + 'a>>;
pub type SendFuture<'a, T> = Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;

// ---------------------------------------------------------------- Source: reading a log

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    pub topic: Arc<str>,
    pub number: i32,
}

/// One record of a log, borrowed from the client's buffer: copying is the reader's choice.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    /// The time the broker has for it.
    pub time: Timestamp,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

/// A member of a consumer group, read on a thread of its own. Dropping it leaves the group.
pub trait Source: Send {
    /// Waits up to `wait` for records and hands each to `each`, at most some thousand a call. After `Break` no further record is
    /// handed over and none is lost: the record for which it was returned counts as taken. Also serves the group's
    /// rebalances, so it must be called at least every few seconds, even while everything is held (then it yields no records).
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Message<'_>) -> ControlFlow<()>) -> Result<Polled, SourceError>;

    /// Stops or resumes handing out records of these partitions. Unknown partitions are ignored: a rebalance may have taken them.
    fn hold(&mut self, partitions: &[Partition], held: bool) -> Result<(), SourceError>;

    /// Commits the offsets from which a successor would go on, each with its note. Waits for the broker's answer.
    fn commit(&mut self, offsets: &[Offset]) -> Result<(), SourceError>;

    /// For every assigned partition the end of the log as of the start of this call: whoever has finished all records
    /// handed out below it has read everything that the broker then had. Offsets at which nothing is handed out (transaction
    /// markers, what lies before a start at the end or was removed) do not keep it out of reach: once nothing is left, it is
    /// not above the offset after the last record handed out; before the first, not above the committed offset, or 0 without.
    fn ends(&mut self) -> Result<Vec<(Partition, i64)>, SourceError>;

    /// All partitions of the topics it reads, assigned here or not.
    fn partitions(&mut self) -> Result<Vec<Partition>, SourceError>;
}

/// Opens a reader, whenever it is wanted.
pub type OpenSource = Arc<dyn Fn() -> Result<Box<dyn Source>, SourceError> + Send + Sync>;

/// What a poll learned beside records. `revoked` comes before `assigned` in time, and records of a newly assigned partition come
/// only in later polls.
#[derive(Debug, Default)]
pub struct Polled {
    pub revoked: Vec<Partition>,
    pub assigned: Vec<Assigned>,
}

#[derive(Clone, Debug)]
pub struct Assigned {
    pub partition: Partition,
    /// The first offset that will be handed out; `None` when nothing was committed and the group starts where it is told to.
    pub committed: Option<i64>,
    /// The note of the commit; `None` also when it was empty.
    pub note: Option<String>,
}

/// An offset to commit: the next record to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offset {
    pub partition: Partition,
    pub next: i64,
    pub note: String,
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Passing: the client goes on trying by itself.
    #[error("the log is not reachable: {0}")]
    Unavailable(String),
    /// The group moved on without us; what was not committed will be read again by another.
    #[error("the group has given the partition away: {0}")]
    Fenced(String),
    /// Going on would lose or repeat something, or cannot work at all: the worker stops and says so.
    #[error("{0}")]
    Fatal(String),
}

// ---------------------------------------------------------------- Append: writing to a log

/// One record to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub topic: Arc<str>,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
}

/// Acknowledged writes. Shared by all threads.
pub trait Append: Send + Sync {
    /// Hands all lines over at once, in order; the future completes when every one is acknowledged by all in-sync replicas, and
    /// fails when any was not (some of the others may be written: appending is at least once). The client itself retries
    /// passing faults for as long as its delivery timeout says. The lines are handed over before this returns,
    /// whether or not the future is ever polled.
    fn append(&self, lines: &[Line]) -> SendFuture<'static, Result<(), AppendError>>;
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// Worth another try.
    #[error("the log did not acknowledge: {0}")]
    Unavailable(String),
    /// Nothing is written to this topic until somebody acts (it does not exist, it may not be written), or until the log has found itself
    /// again: a server that was just started may not know its topics yet.
    #[error("the log does not accept: {0}")]
    Blocked(String),
    /// This line will never be accepted (too large, not well formed).
    #[error("the log refuses: {0}")]
    Refused(String),
}

// ---------------------------------------------------------------- Archive: looking back in a log

/// What a log keeps of a topic, for those who look at it. No member of a group: it commits nothing and disturbs no reader. Shared by all
/// threads; its calls wait for the log.
pub trait Archive: Send + Sync {
    /// Opens a topic. One that nothing was ever written to may have no partitions.
    fn open(&self, topic: &str) -> Result<Box<dyn Topic>, SourceError>;
}

/// One topic as it was kept when it was opened.
pub trait Topic: Send {
    /// Of each partition where the records begin that are not older than `since`, else those that are kept, and where they end.
    fn spans(&self, since: Option<Timestamp>) -> Result<Vec<Span>, SourceError>;

    /// Hands out the records of these spans, those of a partition in order. Some offsets may hold none.
    fn read(&mut self, spans: &[Span], each: &mut dyn FnMut(Message<'_>)) -> Result<(), SourceError>;
}

/// The offsets from `begin` on and below `end` of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub partition: i32,
    pub begin: i64,
    pub end: i64,
}

// ---------------------------------------------------------------- State: records by user

/// Opens sessions on one state store. Shared by all threads.
pub trait Store: Send + Sync {
    /// A session with an incarnation of its own; one at a time uses it.
    fn session(&self) -> Future<'_, Result<Box<dyn State>, StateError>>;
}

/// One session. Tokens are `incarnation || operation`, unique without randomness; every commit advances the operation, and the
/// store's ledger says for each incarnation which operation it last applied.
pub trait State {
    /// The records of these users, in their order, and the store's time.
    fn load<'a>(&'a mut self, users: &'a [UserId]) -> Future<'a, Result<Loaded, StateError>>;

    /// Writes what compares equal. A change whose expected token is not the stored one is not written and is answered with the
    /// current value. Repeats itself after an unknown reply, and recognises its own write. Also with no changes it
    /// advances the ledger: what was only read is then covered by `confirm`, too. A user occurs once at most.
    fn commit<'a>(&'a mut self, changes: &'a [Change]) -> Future<'a, Result<Committed, StateError>>;

    /// Asks every group that this session touched whether its ledger still holds our last operation.
    fn confirm(&mut self) -> Future<'_, Result<(), StateError>>;

    /// Up to `limit` users whose wake is not after `now`, in each group of the store the longest overdue first, hidden for
    /// `hide`: nobody else is given them before that, unless a commit changes their wake.
    fn take_due(&mut self, now: Timestamp, limit: usize, hide: Duration) -> Future<'_, Result<Vec<UserId>, StateError>>;

    /// A page of all users that have a wake, about `limit` of them, and where to go on; `None` = that was the last. Without a
    /// cursor the walk begins. **Whoever has a wake during the whole walk is seen at least once**, by whichever session asks for
    /// which page, and across restarts of the store; who comes or goes meanwhile may be seen or not, and some are seen again.
    /// A page may be empty and not the last. Ids that begin with U+0001 are not listed: they are no users (see [`PSEUDO`]).
    fn users<'a>(&'a mut self, cursor: Option<&'a Cursor>, limit: usize) -> Future<'a, Result<Page, StateError>>;

    /// About `limit` of all users that have a wake, or all if there are not more: **each as likely as any other**, whatever the order
    /// in which the store keeps them, and in a random order. None twice. `seed` chooses, where the store has no chance of its own.
    fn sample(&mut self, limit: usize, seed: u64) -> Future<'_, Result<Sampled, StateError>>;

    /// For each: whether its user is among the first so many of its set, who stay in it from now on. Asking again changes nothing
    /// and is answered alike, so an unknown reply is simply asked again. **Never more than `limit` are let in, however many sessions
    /// ask at once.** In their order.
    fn admit<'a>(&'a mut self, asked: &'a [Admit]) -> Future<'a, Result<Vec<bool>, StateError>>;

    /// How much of what is wanted each budget gives now: a token bucket that fills by the store's time, whole tokens only,
    /// fractions kept. A new one is full. After an unknown reply what was given is lost, never given twice. In their order.
    fn spend<'a>(&'a mut self, wanted: &'a [Spend]) -> Future<'a, Result<Vec<u32>, StateError>>;

    /// All documents, if the stored revision is not `known`.
    fn documents(&mut self, known: Option<u64>) -> Future<'_, Result<Option<Documents>, StateError>>;

    /// Replaces all documents if the stored revision is still `expected`; answers the revision that is stored afterwards and
    /// whether it was ours.
    fn put_documents<'a>(&'a mut self, expected: u64, body: &'a [u8]) -> Future<'a, Result<Put, StateError>>;

    /// Publishes how far this worker has read and answers what is known of all partitions. The last word counts, also when it is
    /// lower: who starts again from an earlier offset has not read what a predecessor had.
    fn read_positions<'a>(&'a mut self, ours: &'a [(Partition, Timestamp)]) -> Future<'a, Result<Vec<(Partition, Timestamp)>, StateError>>;

    /// The store itself: its id and sequence.
    fn identity(&mut self) -> Future<'_, Result<Identity, StateError>>;
}

/// Compared, never interpreted: 16 bytes, incarnation then operation, both big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub [u8; 16]);

#[derive(Clone, Debug)]
pub struct Loaded {
    pub now: Timestamp,
    pub users: Vec<Option<Stored>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub token: Token,
    pub record: Vec<u8>,
    pub profile: Option<Vec<u8>>,
}

/// One user's write.
#[derive(Clone, Debug)]
pub struct Change {
    pub user: UserId,
    /// The token it was loaded with; `None` = it did not exist.
    pub expected: Option<Token>,
    /// `None` deletes record, profile and wake.
    pub record: Option<Vec<u8>>,
    pub profile: ProfileChange,
    /// When the record next wants a look. `None` = as stored (the record is known to have one).
    pub wake: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileChange {
    Keep,
    /// An empty profile is one, too.
    Set(Vec<u8>),
    Remove,
}

#[derive(Clone, Debug)]
pub struct Committed {
    pub now: Timestamp,
    /// The store's sequence after this commit.
    pub sequence: u64,
    /// The token now stored for everything that was written.
    pub token: Token,
    /// Positions in `changes` that were not written, with what is stored (`None` = nothing).
    pub conflicts: Vec<(usize, Option<Stored>)>,
}

/// Where a walk over all users stands: the store's own bytes, to be kept and handed back as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor(pub Vec<u8>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub users: Vec<UserId>,
    /// Where the next page begins; `None` = there is none.
    pub next: Option<Cursor>,
}

/// Users at random.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sampled {
    pub users: Vec<UserId>,
    /// How many users there are. A store that cannot count them apart from what is no user ([`PSEUDO`]) takes their part of the sample
    /// for their part of all.
    pub of: u64,
}

/// A question about one user and one bounded set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admit {
    pub set: Box<str>,
    pub user: UserId,
    /// How many the set may hold. 0 lets nobody new in, but keeps the set for another span.
    pub limit: u64,
    /// How long the set is kept when nobody asks about it; at least half of it.
    pub keep: Duration,
}

/// A wish for some of a budget that all sessions share.
#[derive(Clone, Debug, PartialEq)]
pub struct Spend {
    pub budget: Box<str>,
    pub want: u32,
    /// How many tokens come in a second; may be a fraction.
    pub per_second: f64,
    /// How many it holds at most, at least one.
    pub burst: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documents {
    /// 0 = none were ever put.
    pub revision: u64,
    pub body: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Stored {
        revision: u64,
    },
    /// Somebody was faster.
    Conflict {
        revision: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Made once, at random, when the store was first used.
    pub id: String,
    /// Grows with every commit of anybody: by one in each group of the store that the commit concerns.
    pub sequence: u64,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum StateError {
    /// Passing: ask again. Nothing is known of what happened.
    #[error("the state store is not reachable: {0}")]
    Unavailable(String),
    /// The ledger is behind what we were told: the store lost writes. The worker starts again from its committed offsets.
    #[error("the state store lost writes it had acknowledged: {0}")]
    RolledBack(String),
    /// It cannot be used as it is; says why and the way out.
    #[error("{0}")]
    Refused(String),
}

// ---------------------------------------------------------------- Exchange: one HTTP exchange

/// A request ready for the wire: secrets are resolved, all headers are there. Prints none of what may hold one.
#[derive(Clone)]
pub struct HttpRequest {
    pub method: crate::engine::definition::Method,
    pub url: String,
    pub headers: Vec<Header>,
    pub body: Option<Vec<u8>>,
    /// Authorities of the destination, PEM: trusted beside the others, for this request.
    pub ca: Option<Arc<str>>,
    /// For the whole exchange, body included.
    pub timeout: Duration,
    /// How much of the answer's body is kept, in bytes; the adapter reads no more than it reads of any.
    pub keep_bytes: usize,
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without_query = self.url.split(['?', '#']).next().unwrap_or_default();
        f.debug_struct("HttpRequest").field("method", &self.method).field("url", &without_query).finish_non_exhaustive()
    }
}

/// How much of a webhook's answer is kept for people, in bytes.
pub const EXCERPT_BYTES: usize = 1024;

/// When a request may begin by the rate of its destination.
pub trait Turn {
    /// Waits until it may; false when it is too late for it to begin at all.
    fn comes(&self) -> Future<'_, bool>;
}

/// One HTTP exchange. Its answer is data, never an error. A lane has its own.
pub trait Exchange {
    fn exchange(&self, request: HttpRequest) -> Future<'_, Answer>;

    /// The same for a destination with a rate. The turn is waited for on a connection that stands, right before the request is written: what
    /// connections take to be opened would else bring requests together that were allowed one after another. The wait counts in no
    /// time-out; a turn that does not come answers [`Failure::Unsent`](crate::engine::delivery::Failure::Unsent).
    fn exchange_in_turn<'a>(&'a self, request: HttpRequest, turn: &'a dyn Turn) -> Future<'a, Answer>;

    /// Whether a request's `ca` means anything to it. To what reaches no real server it does not.
    fn trusts(&self) -> bool {
        true
    }
}

// ---------------------------------------------------------------- Clock

/// The local clock. Deadlines and leases are judged by the store's time, which the worker derives from this.
pub trait Clock: Send + Sync {
    /// Wall time.
    fn now(&self) -> Timestamp;
    /// Time that never jumps, from an arbitrary start.
    fn monotonic(&self) -> Duration;
}

#[cfg(test)]
pub mod testing;

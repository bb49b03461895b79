//! The retry topics: the message, and the reader that holds it until its time has come. Never a sleep: what waits is in a heap, what
//! would overfill it stays in the topic, whose partitions are paused.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::delivery::retries;
use crate::engine::id::{DeliveryId, UserId, stable_hash};
use crate::engine::record::{Dead, Pending, Request};
use crate::engine::step::{Input, LETTERS_COUNT};
use crate::engine::time::Timestamp;

use super::appending::{Appending, IfRefused};
use super::commits::{Commits, LogReader, Parts};
use super::dispatch::{Delivery, Parking};
use super::form::{self, Unread};
use super::offsets::{Offsets, Ticket};
use super::outcomes::{self, DeadEvent};
use super::ports::{Append, Line, Message, Partition, Source, SourceError};
use super::settings::{Settings, Topics};

/// What the retry topic keeps of a delivery: all that the next attempt needs, without secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryMessage {
    /// Version of this form.
    pub v: u32,
    pub user: UserId,
    pub delivery_id: DeliveryId,
    /// Attempts already made.
    pub attempt: u32,
    pub not_before: Timestamp,
    /// The attempt after those was given out, and given back without having been made.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unstarted: bool,
    /// The record was left as it was when this was written, as the lease outlasts the wait.
    #[serde(default, skip_serializing_if = "is_default")]
    pub leased: bool,
    /// How often in a row its destination was not called when its time had come.
    #[serde(default, skip_serializing_if = "is_default")]
    pub halts: u32,
    /// When its delivery is over, whatever it waits for: by then it comes back, so that its dead letter has the request.
    #[serde(default, skip_serializing_if = "is_default")]
    pub expires: Option<Timestamp>,
    pub request: Arc<Request>,
    /// Not a retry: a dead letter that is sent again. What its delivery is, but for the request.
    #[serde(default, skip_serializing_if = "is_default", with = "redrive")]
    pub redrive: Option<Box<Dead>>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Of a retry.
const VERSION: u32 = 1;
/// Of a dead letter that is sent again, and the newest that this version reads.
const REDRIVE: u32 = 2;

/// The reason of what is on a retry topic and is no message of ours.
pub const NOT_A_RETRY: &str = "not_a_retry";

/// The heap holds messages at most this long before their time; longer waits go through a tier.
pub const HEAP_SPAN: Duration = Duration::from_secs(60);

/// And at most this much of them.
pub const HEAP_BYTES: usize = 64 << 20;

/// What is read of a partition of a tier before its time, at least: so much of it may be let back at once.
const TIER_BYTES: usize = 128 << 10;

/// How often what was halted is let back before its time, as many at once as its destination has room for. A worker that carries
/// 13,000 deliveries a second finds room for as many.
const EARLY_EVERY: Duration = Duration::from_millis(10);

/// A message with the duty to finish it.
pub type Due = (Box<RetryMessage>, Ticket);

/// Where messages go whose time has come.
pub trait Outlet {
    /// How many of what was halted for this destination may come before their time; `None` while it is not called.
    fn room(&self, destination: &str) -> Option<usize>;

    /// Hands a message to the lane of its user; answers it where that has no room just now.
    fn give(&mut self, due: Due) -> Result<(), Due>;
}

impl RetryMessage {
    pub fn new(user: UserId, delivery_id: DeliveryId, attempt: u32, not_before: Timestamp, request: Arc<Request>) -> RetryMessage {
        RetryMessage {
            v: VERSION,
            user,
            delivery_id,
            attempt,
            not_before,
            unstarted: false,
            leased: false,
            halts: 0,
            expires: None,
            request,
            redrive: None,
        }
    }

    /// The message that has a dead letter sent again, given up at `expires`; `None` for one that did not keep its request.
    pub fn redriving(user: UserId, mut dead: Dead, not_before: Timestamp, expires: Option<Timestamp>) -> Option<RetryMessage> {
        let request = dead.entry.request.take()?;
        let message = RetryMessage::new(user, dead.entry.id, dead.entry.phase.attempt(), not_before, request);
        Some(RetryMessage { v: REDRIVE, expires, redrive: Some(Box::new(dead)), ..message })
    }

    /// Of what a turn at `now` has put off; `None` for inputs that no message brings.
    pub fn of_input(user: UserId, input: Input, until: Timestamp, expires: Option<Timestamp>, now: Timestamp) -> Option<RetryMessage> {
        match input {
            Input::Retry { id, attempt, unstarted, request } => {
                let message = RetryMessage { unstarted, expires, ..RetryMessage::new(user, id, attempt, until, request) };
                // What has expired and is put off all the same would come back at once, again and again.
                Some(if message.is_expired(now) { message } else { message.before_expiry() })
            }
            Input::Redrive(dead) => RetryMessage::redriving(user, *dead, until, expires),
            _ => None,
        }
    }

    /// What its time has come for.
    pub fn into_input(self) -> (UserId, Input) {
        let RetryMessage { user, delivery_id: id, attempt, unstarted, request, redrive, .. } = self;
        let input = match redrive {
            Some(dead) => {
                let Dead { at, entry } = *dead;
                Input::Redrive(Box::new(Dead { at, entry: Pending { request: Some(request), ..entry } }))
            }
            None => Input::Retry { id, attempt, unstarted, request },
        };
        (user, input)
    }

    /// Whether it has waited for too long and is to be dropped. A retry never is: its delivery ends in a dead letter, this one has one.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let over = |dead: &Dead| dead.at.after(LETTERS_COUNT) <= now || self.is_expired(now);
        self.redrive.as_ref().is_some_and(|dead| over(dead))
    }

    /// Whether its delivery has come to its end: its step fails it and needs no slot for that.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Sets it for later, without an attempt. What is halted again and again comes back ever more rarely.
    pub fn park(&mut self, parking: Parking, now: Timestamp) {
        self.not_before = match parking {
            Parking::Busy(until) => until,
            Parking::Halted => {
                self.halts = self.halts.saturating_add(1);
                let spread = stable_hash(&[&self.delivery_id.0, &self.halts.to_le_bytes()]);
                now.after(retries::halted(self.halts, spread))
            }
        };
        self.not_before = self.before_expiry_at();
    }

    /// The message for a delivery whose request is at hand; `None` when the retry topic has it already.
    pub fn of(delivery: &Delivery, attempts_made: u32, not_before: Timestamp) -> Option<RetryMessage> {
        let request = delivery.entry.request.clone()?;
        let message = RetryMessage::new(delivery.user.clone(), delivery.entry.id, attempts_made, not_before, request);
        Some(RetryMessage { expires: Some(delivery.entry.expires), ..message }.before_expiry())
    }

    fn before_expiry(self) -> RetryMessage {
        RetryMessage { not_before: self.before_expiry_at(), ..self }
    }

    fn before_expiry_at(&self) -> Timestamp {
        self.expires.map_or(self.not_before, |expires| self.not_before.min(expires))
    }

    /// The line for the topic whose delay fits: the longest tier that is over in time, else the topic without delay.
    pub fn line(&self, topics: &Topics, now: Timestamp) -> Line {
        let wait = self.not_before.since(now);
        let tier = topics.retry_tiers.iter().rev().find(|(_, delay)| wait > HEAP_SPAN && *delay <= wait);
        let topic = tier.map_or(&topics.retry, |(topic, _)| topic);
        Line { topic: topic.clone(), key: Some(self.user.as_bytes().to_vec()), value: outcomes::json(self) }
    }

    fn read(bytes: &[u8]) -> Result<RetryMessage, Unread> {
        form::read(bytes, REDRIVE).map_err(|unread: Unread| redrive::newer(bytes).map_or(unread, Unread::Newer))
    }
}

/// A dead letter's delivery within a message: its bytes in base64.
mod redrive {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::engine::record::codec::CodecError;
    use crate::engine::record::{Dead, codec};

    /// Of a message that cannot be read: what says that its delivery is stored in a newer format, if it is.
    pub fn newer(bytes: &[u8]) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Carried {
            redrive: String,
        }
        let Carried { redrive } = serde_json::from_slice(bytes).ok()?;
        match codec::decode_dead(&STANDARD.decode(redrive).ok()?) {
            Err(error @ CodecError::NewerFormat(_)) => Some(error.to_string()),
            Ok(_) | Err(CodecError::Damaged) => None,
        }
    }

    pub fn serialize<S: Serializer>(dead: &Option<Box<Dead>>, serializer: S) -> Result<S::Ok, S::Error> {
        match dead {
            Some(dead) => serializer.serialize_str(&STANDARD.encode(codec::encode_dead(dead))),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<Dead>>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let bytes = STANDARD.decode(text).map_err(D::Error::custom)?;
        codec::decode_dead(&bytes).map(|dead| Some(Box::new(dead))).map_err(D::Error::custom)
    }
}

/// One message in the heap, by its time.
struct Held {
    not_before: Timestamp,
    bytes: usize,
    message: Box<RetryMessage>,
    ticket: Ticket,
}

impl PartialEq for Held {
    fn eq(&self, other: &Held) -> bool {
        self.not_before == other.not_before
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Held) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Held) -> std::cmp::Ordering {
        self.not_before.cmp(&other.not_before)
    }
}

/// The beginning of a partition of a tier.
#[derive(Default)]
struct Resting {
    /// With the time at which each is ready, in order.
    waiting: VecDeque<(Timestamp, Held)>,
    bytes: usize,
    /// Nothing more of it is read for now.
    held: bool,
}

/// One record of a retry topic, as read.
struct Read {
    partition: Partition,
    time: Timestamp,
    message: Result<Held, (DeadEvent, String, Ticket)>,
}

/// Reads the retry topics.
pub struct RetryReader {
    source: Box<dyn Source>,
    append: Arc<dyn Append>,
    settings: Arc<Settings>,
    offsets: Offsets,
    heap: BinaryHeap<Reverse<Held>>,
    heap_bytes: usize,
    /// Everything is paused until the heap has room again.
    full: bool,
    /// What was read of the partitions of tiers and rests. It takes nothing of the heap's room.
    tiers: BTreeMap<Partition, Resting>,
    /// When what was halted is let back next, while a tier has some of which the destination is called again.
    early_at: Option<Timestamp>,
    /// What is due found no room in its lane.
    stalled: bool,
    appending: Appending,
}

impl LogReader for RetryReader {
    fn parts(&mut self) -> Parts<'_> {
        Parts { source: &mut *self.source, offsets: &mut self.offsets, appending: &mut self.appending, append: &*self.append }
    }
}

impl RetryReader {
    pub fn new(source: Box<dyn Source>, append: Arc<dyn Append>, settings: Arc<Settings>) -> RetryReader {
        RetryReader {
            source,
            append,
            settings,
            offsets: Offsets::default(),
            heap: BinaryHeap::new(),
            heap_bytes: 0,
            full: false,
            tiers: BTreeMap::new(),
            early_at: None,
            stalled: false,
            appending: Appending::default(),
        }
    }

    /// Reads what has come, waiting up to `wait`, and gives out what is due.
    pub fn turn(&mut self, now: Timestamp, wait: Duration, commits: &mut Commits, outlet: &mut impl Outlet) -> Result<(), SourceError> {
        let mut read: Vec<Read> = Vec::new();
        let offsets = &self.offsets;
        let room = HEAP_BYTES.saturating_sub(self.heap_bytes);
        let (mut bytes, mut resting, mut newer) = (0, 0, None);
        let topics = &self.settings.topics;
        let polled = self.source.poll(wait, &mut |message| {
            match take(offsets, &message, &mut read) {
                Ok(taken) => bytes += taken,
                Err(error) => newer = Some(error),
            }
            // Of what is not ready only so much is to be read, before its partition is held.
            if ready_at(topics, message.topic, message.time).is_some_and(|ready| ready > now) {
                resting += message.value.map_or(0, <[u8]>::len);
            }
            if bytes > room || newer.is_some() || resting >= TIER_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        // Should one come back it is read again, from what was committed on, and rests no longer.
        let revoked = polled.iter().flat_map(|polled| &polled.revoked);
        revoked.for_each(|partition| drop(self.tiers.remove(partition)));
        let taken = commits.polled(&mut self.offsets, polled)?;
        if self.full {
            self.source.hold(&taken, true)?;
        }
        if let Some(error) = newer {
            return Err(error);
        }
        for Read { partition, time, message } in read {
            match message {
                Ok(held) => self.accept(partition, time, held, now)?,
                Err((dead, error, ticket)) => {
                    let line = outcomes::dead_event(&self.settings.topics, now, &dead, NOT_A_RETRY, &error);
                    self.appending.push(&*self.append, line, ticket, IfRefused::Finish);
                }
            }
        }
        self.release_tiers(now, outlet)?;
        self.give_out(now, outlet);
        self.appending.look(&*self.append);
        self.hold_when_full()?;
        commits.commit(&mut *self.source, &mut self.offsets)
    }

    /// How much it holds, in bytes: never more than [`HEAP_BYTES`] and one record, and twice [`TIER_BYTES`] of each partition of a tier.
    pub fn held_bytes(&self) -> usize {
        self.heap_bytes + self.tiers.values().map(|tier| tier.bytes).sum::<usize>()
    }

    /// When the first message wants to move on: from the heap, or out of its tier.
    pub fn next_ready(&self) -> Option<Timestamp> {
        let tiers = self.tiers.values().filter_map(|tier| tier.waiting.front()).map(|(ready, _)| *ready);
        self.heap.peek().map(|Reverse(held)| held.not_before).into_iter().chain(tiers).chain(self.early_at).min()
    }

    /// Whether what is due waits for a lane: it is to be offered again soon, not at once.
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Gives out what is due, in order of time, until a lane has no room: the rest stays here, where it counts.
    fn give_out(&mut self, now: Timestamp, outlet: &mut impl Outlet) {
        self.stalled = false;
        while !self.stalled && self.heap.peek().is_some_and(|Reverse(held)| held.not_before <= now) {
            let Some(Reverse(Held { not_before, bytes, message, ticket })) = self.heap.pop() else { break };
            match outlet.give((message, ticket)) {
                Ok(()) => self.heap_bytes -= bytes,
                Err((message, ticket)) => {
                    self.heap.push(Reverse(Held { not_before, bytes, message, ticket }));
                    self.stalled = true;
                }
            }
        }
    }

    /// Finds a place for a message: its tier until it is ready, the heap, or a shorter tier.
    fn accept(&mut self, partition: Partition, time: Timestamp, held: Held, now: Timestamp) -> Result<(), SourceError> {
        match ready_at(&self.settings.topics, &partition.topic, time) {
            // Messages of a tier become ready in their order: behind its first one that is not, all rest.
            Some(ready) if ready > now || self.tiers.contains_key(&partition) => {
                let tier = self.tiers.entry(partition.clone()).or_default();
                tier.bytes += held.bytes;
                tier.waiting.push_back((ready, held));
                if !tier.held && tier.bytes >= TIER_BYTES {
                    tier.held = true;
                    self.source.hold(&[partition], true)?;
                }
            }
            _ => self.place(held, now),
        }
        Ok(())
    }

    /// Into the heap, or into a shorter tier.
    fn place(&mut self, held: Held, now: Timestamp) {
        if held.not_before.since(now) > HEAP_SPAN {
            let line = held.message.line(&self.settings.topics, now);
            self.appending.push(&*self.append, line, held.ticket, IfRefused::TryAgain);
        } else {
            self.heap_bytes += held.bytes;
            self.heap.push(Reverse(held));
        }
    }

    /// Takes what is ready out of the tiers. What was halted is ready, too, when its destination is called again: else a backlog would
    /// come back by the times at which it was halted, up to half an hour later. Each partition in its order: behind what has to wait
    /// for another destination it waits as well.
    fn release_tiers(&mut self, now: Timestamp, outlet: &impl Outlet) -> Result<(), SourceError> {
        let early = self.early_at.is_none_or(|at| at <= now);
        let (mut rooms, mut early_ones, mut ready): (BTreeMap<Box<str>, Option<usize>>, _, _) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut going_on = Vec::new();
        for (partition, tier) in &mut self.tiers {
            while let Some((ready_at, held)) = tier.waiting.front() {
                let to = if *ready_at <= now {
                    &mut ready
                } else if early && held.message.halts > 0 {
                    let destination = &held.message.request.destination;
                    let room = rooms.entry(destination.clone()).or_insert_with(|| outlet.room(destination));
                    let Some(left) = room.and_then(|room| room.checked_sub(1)) else { break };
                    *room = Some(left);
                    &mut early_ones
                } else {
                    break;
                };
                tier.bytes -= held.bytes;
                to.extend(tier.waiting.pop_front().map(|(_, held)| held));
            }
            if tier.held && tier.bytes < TIER_BYTES / 2 {
                tier.held = false;
                going_on.push(partition.clone());
            }
        }
        if early {
            self.early_at = rooms.values().any(Option::is_some).then(|| now.after(EARLY_EVERY));
        }
        ready.into_iter().for_each(|held| self.place(held, now));
        early_ones.into_iter().for_each(|held| self.place(Held { not_before: now, ..held }, now));
        self.tiers.retain(|_, tier| !tier.waiting.is_empty());
        if self.full { Ok(()) } else { self.source.hold(&going_on, false) }
    }

    fn hold_when_full(&mut self) -> Result<(), SourceError> {
        let full = self.heap_bytes > HEAP_BYTES;
        if full != self.full {
            let waiting: Vec<Partition> =
                self.offsets.partitions().into_iter().filter(|partition| self.tiers.get(partition).is_none_or(|tier| !tier.held)).collect();
            self.source.hold(&waiting, full)?;
            self.full = full;
        }
        Ok(())
    }
}

/// When a record of a tier, written at `time`, is ready to move on; `None` where there is no delay.
fn ready_at(topics: &Topics, topic: &str, time: Timestamp) -> Option<Timestamp> {
    topics.retry_tiers.iter().find(|(tier, _)| **tier == *topic).map(|(_, delay)| time.after(*delay))
}

/// Notes a record and parses it; answers its size. One of a newer form ends this worker and is never finished here.
fn take(offsets: &Offsets, message: &Message<'_>, read: &mut Vec<Read>) -> Result<usize, SourceError> {
    let Some((partition, progress)) = offsets.find(message.topic, message.partition) else { return Ok(0) };
    let Some(value) = message.value else {
        progress.pass(message.offset);
        return Ok(0);
    };
    let ticket = progress.open(message.offset);
    let parsed = match RetryMessage::read(value) {
        Ok(parsed) => Ok(Held { not_before: parsed.not_before, bytes: value.len(), message: Box::new(parsed), ticket }),
        Err(Unread::Newer(why)) => return Err(form::not_for_us(message, &why)),
        Err(Unread::Broken(error)) => Err((DeadEvent::of(partition, message), error, ticket)),
    };
    read.push(Read { partition: partition.clone(), time: message.time, message: parsed });
    Ok(value.len())
}

#[cfg(test)]
mod tests;

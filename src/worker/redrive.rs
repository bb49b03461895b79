//! Sending dead letters again. Each is judged by its user's record as it is now and, if it still stands, goes through the retry topic;
//! there the record judges once more, when its turn comes. So nothing is sent twice, however often and by whomever it is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::id::{DeliveryId, UserId};
use crate::engine::record::Dead;
use crate::engine::step;
use crate::engine::time::Timestamp;

use super::definitions::Follower;
use super::letters::{BadCursor, Content, Filter, Letter, read_cursor, write_cursor};
use super::ports::{Line, SourceError, Span, State, StateError, Topic};
use super::retry::RetryMessage;
use super::settings::Topics;
use super::turn::remember;

/// Offsets that are looked at at once: a letter holds a request of 32 KiB at most.
const CHUNK: i64 = 512;

/// Counts of letters by the reason why they are not sent again.
pub type Skipped = BTreeMap<&'static str, u64>;

/// A letter that can be sent again if its user's record agrees.
pub type Candidate = (UserId, Dead);

const EVENT: &str = "an event: correct it and ingest it";
const NO_REQUEST: &str = "its request was not kept";
const WRITTEN_AGAIN: &str = "the same letter, written again after a crash";
const TOO_LATE: &str = "after delivery.expires at this pace";

/// One redrive: it goes through the letters that a filter means, the oldest of a partition first.
pub struct Redrive {
    topic: Box<dyn Topic>,
    filter: Filter,
    left: Vec<Span>,
    /// Of the letters so far, the delivery and how many attempts it had: a worker that dies may leave one twice.
    met: BTreeSet<(DeliveryId, u32)>,
    pace: Pace,
}

/// When the letters begin.
struct Pace {
    /// Between two of them.
    every: Duration,
    /// The next one does not begin before; sub-millisecond parts are kept apart.
    next: Timestamp,
    rest: Duration,
}

impl Redrive {
    /// Begins, or goes on at the cursor of the one that stopped: `per_second` letters begin in a second at most, `None`: as many as
    /// the destinations' own limits allow. Waits for the log.
    pub fn open(
        topic: Box<dyn Topic>,
        filter: Filter,
        per_second: Option<f64>,
        cursor: Option<&str>,
        now: Timestamp,
    ) -> Result<Result<Redrive, BadCursor>, SourceError> {
        let every = per_second.map_or(Duration::ZERO, |rate| Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX));
        let mut left = topic.spans(filter.since)?;
        let mut pace = Pace { every, next: now, rest: Duration::ZERO };
        if let Some(cursor) = cursor {
            let Some((next, begins)) = split(cursor) else { return Ok(Err(BadCursor)) };
            pace.next = now.max(next);
            for span in &mut left {
                span.begin = begins.get(&span.partition).map_or(span.end, |begin| (*begin).max(span.begin));
            }
        }
        Ok(Ok(Redrive { topic, filter, left, met: BTreeSet::new(), pace }))
    }

    /// The next letters that are meant; `None`: there are no more. Waits for the log.
    pub fn letters(&mut self, skipped: &mut Skipped) -> Result<Option<Vec<Candidate>>, SourceError> {
        let Some(span) = self.left.iter_mut().find(|span| span.begin < span.end) else { return Ok(None) };
        let chunk = Span { end: span.end.min(span.begin + CHUNK), ..*span };
        let (met, mut letters) = (&mut self.met, Vec::new());
        self.topic.read(&[chunk], &mut |message| {
            let Some(letter) = message.value.and_then(Letter::read) else { return };
            let content = letter.content();
            if !self.filter.fits(&letter, &content) {
                return;
            }
            match content {
                Content::Event => skip(skipped, EVENT),
                Content::Delivery(None) => skip(skipped, NO_REQUEST),
                Content::Delivery(Some((_, dead))) if !met.insert((dead.entry.id, dead.entry.phase.attempt())) => {
                    skip(skipped, WRITTEN_AGAIN)
                }
                Content::Delivery(Some((user, dead))) => letters.push((user, *dead)),
            }
        })?;
        span.begin = chunk.end;
        Ok(Some(letters))
    }

    /// The messages that have them sent again, each in its time. What would begin later than `expires` from now is left out: the retry
    /// topics keep nothing for longer.
    pub fn lines(
        &mut self,
        letters: Vec<Candidate>,
        topics: &Topics,
        expires: Duration,
        now: Timestamp,
        skipped: &mut Skipped,
    ) -> Vec<Line> {
        let mut lines = Vec::new();
        for (user, dead) in letters {
            if self.pace.next > now.after(expires) {
                skip(skipped, TOO_LATE);
                continue;
            }
            let not_before = self.pace.take(now);
            let message = RetryMessage::redriving(user, dead, not_before, Some(not_before.after(expires)));
            lines.extend(message.map(|message| message.line(topics, now)));
        }
        lines
    }

    /// Where another goes on; `None` at the end.
    pub fn cursor(&self) -> Option<String> {
        let begins = self.left.iter().map(|span| (span.partition, span.begin));
        self.left.iter().any(|span| span.begin < span.end).then(|| format!("{};{}", self.pace.next.0, write_cursor(begins)))
    }
}

impl Pace {
    fn take(&mut self, now: Timestamp) -> Timestamp {
        self.next = self.next.max(now);
        let begins = self.next;
        let passed = self.rest.saturating_add(self.every);
        let whole = Duration::from_millis(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX));
        (self.next, self.rest) = (begins.after(whole), passed.saturating_sub(whole));
        begins
    }
}

fn split(cursor: &str) -> Option<(Timestamp, BTreeMap<i32, i64>)> {
    let (next, begins) = cursor.split_once(';')?;
    Some((Timestamp(next.parse().ok()?), read_cursor(begins).ok()?))
}

/// Leaves those that the records, as they are now, would refuse, and counts why.
pub async fn judge(
    letters: Vec<Candidate>,
    state: &mut dyn State,
    follower: &Follower,
    skipped: &mut Skipped,
) -> Result<Vec<Candidate>, StateError> {
    let mut users: Vec<UserId> = letters.iter().map(|(user, _)| user.clone()).collect();
    users.sort_unstable();
    users.dedup();
    if users.is_empty() {
        return Ok(letters);
    }
    let loaded = state.load(&users).await?;
    let mut known = BTreeMap::new();
    for (user, stored) in users.into_iter().zip(loaded.users) {
        known.insert(user, remember(stored)?.known);
    }
    follower.catch_up(state).await?;
    let in_force = follower.in_force();
    let mut stand = Vec::new();
    for (user, dead) in letters {
        let Some(known) = known.get(&user) else { continue };
        match step::redrivable(&in_force, &user, known, &dead, loaded.now) {
            Ok(()) => stand.push((user, dead)),
            Err(refusal) => skip(skipped, refusal.as_str()),
        }
    }
    Ok(stand)
}

fn skip(skipped: &mut Skipped, why: &'static str) {
    *skipped.entry(why).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_kept_to_the_millisecond_over_many() {
        let check = |per_second: f64, count: u64, expect_ms: i64| {
            let every = Duration::from_secs_f64(1.0 / per_second);
            let mut pace = Pace { every, next: Timestamp(0), rest: Duration::ZERO };
            let last = (0..count).map(|_| pace.take(Timestamp(0))).last();
            assert_eq!(last, Some(Timestamp(expect_ms)), "{count} at {per_second}");
        };
        check(1.0, 11, 10_000);
        check(3.0, 31, 9_999);
        check(0.1, 2, 10_000);
        check(20_000.0, 20_001, 1_000);
    }

    #[test]
    fn who_lags_behind_does_not_hurry() {
        let mut pace = Pace { every: Duration::from_millis(100), next: Timestamp(0), rest: Duration::ZERO };
        assert_eq!(pace.take(Timestamp(5_000)), Timestamp(5_000));
        assert_eq!(pace.take(Timestamp(5_000)), Timestamp(5_100));
    }
}

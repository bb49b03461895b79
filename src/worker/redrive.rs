//! Sending dead letters again. Each is judged by its user's record as it is now and, if it still stands, goes through the retry topic;
//! there the record judges once more, when its turn comes. So nothing is sent twice, however often and by whomever it is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::id::UserId;
use crate::engine::record::Dead;
use crate::engine::step;

use super::definitions::Follower;
use super::letters::{Content, Filter, Letter};
use super::ports::{Append, AppendError, Archive, Clock, Line, SourceError, Span, State, StateError};
use super::retry::RetryMessage;
use super::settings::Topics;
use super::turn::remember;

/// Letters that are read, judged and appended at once: each holds a request of 32 KiB at most.
const CHUNK: i64 = 256;

/// What redriving works with.
pub struct Redriver {
    pub archive: Arc<dyn Archive>,
    pub append: Arc<dyn Append>,
    pub follower: Arc<Follower>,
    pub clock: Arc<dyn Clock>,
    pub topics: Topics,
}

/// What is to be sent again.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub filter: Filter,
    /// So many begin in a second at most, over all workers; `None`: as many as the destinations' own limits allow.
    pub per_second: Option<f64>,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Redriven {
    /// Letters that are on their way.
    pub redriven: u64,
    /// Those that are not, by the reason.
    pub skipped: BTreeMap<&'static str, u64>,
}

/// Letters before it may be on their way: asking again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    #[error(transparent)]
    Log(#[from] SourceError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    State(#[from] StateError),
}

/// What an event cannot be sent again for; what a letter lacks that cannot.
const EVENT: &str = "an event: correct it and ingest it";
const NO_REQUEST: &str = "its request was not kept";
const TOO_LATE: &str = "not before the retry topic forgets it: raise per_second";

impl Redriver {
    /// Sends again what the filter means, the oldest first, as of now. Waits for the log: not for a thread that others need.
    pub async fn redrive(&self, wish: &Wish, state: &mut dyn State) -> Result<Redriven, RedriveError> {
        let mut topic = self.archive.open(&self.topics.dead)?;
        let mut redriven = Redriven::default();
        for all in topic.spans(wish.filter.since)? {
            let mut begin = all.begin;
            while begin < all.end {
                let chunk = Span { begin, end: all.end.min(begin + CHUNK), ..all };
                begin = chunk.end;
                let mut letters = Vec::new();
                topic.read(&[chunk], &mut |message| {
                    let Some(letter) = message.value.and_then(Letter::read) else { return };
                    let content = letter.content();
                    if !wish.filter.fits(&letter, &content) {
                        return;
                    }
                    match content {
                        Content::Event => redriven.skip(EVENT),
                        Content::Delivery(None) => redriven.skip(NO_REQUEST),
                        Content::Delivery(Some((user, dead))) => letters.push((user, *dead)),
                    }
                })?;
                self.send_again(letters, wish, state, &mut redriven).await?;
            }
        }
        Ok(redriven)
    }

    async fn send_again(
        &self,
        letters: Vec<(UserId, Dead)>,
        wish: &Wish,
        state: &mut dyn State,
        redriven: &mut Redriven,
    ) -> Result<(), RedriveError> {
        let mut users: Vec<UserId> = letters.iter().map(|(user, _)| user.clone()).collect();
        users.sort_unstable();
        users.dedup();
        if users.is_empty() {
            return Ok(());
        }
        let loaded = state.load(&users).await?;
        let mut known = BTreeMap::new();
        for (user, stored) in users.into_iter().zip(loaded.users) {
            known.insert(user, remember(stored)?.known);
        }
        if known.values().any(|known| known.record.definitions > self.follower.in_force().revision) {
            self.follower.catch_up(state).await?;
        }
        let in_force = self.follower.in_force();
        let mut lines: Vec<Line> = Vec::new();
        for (user, dead) in letters {
            let now = loaded.now;
            if let Err(refusal) = known.get(&user).map_or(Ok(()), |known| step::redrivable(&in_force, &user, known, &dead, now)) {
                redriven.skip(refusal.as_str());
                continue;
            }
            let wait = wish.per_second.map_or(Duration::ZERO, |rate| spread(redriven.redriven, rate));
            if wait > in_force.policy.expires {
                redriven.skip(TOO_LATE);
                continue;
            }
            let not_before = self.clock.now().after(wait);
            let expires = not_before.after(in_force.policy.expires);
            if let Some(message) = RetryMessage::redriving(user, dead, not_before, Some(expires)) {
                lines.push(message.line(&self.topics, self.clock.now()));
                redriven.redriven += 1;
            }
        }
        if !lines.is_empty() {
            self.append.append(lines).await?;
        }
        Ok(())
    }
}

impl Redriven {
    fn skip(&mut self, why: &'static str) {
        *self.skipped.entry(why).or_default() += 1;
    }
}

/// When number `count` (from 0) begins.
fn spread(count: u64, per_second: f64) -> Duration {
    Duration::try_from_secs_f64(count as f64 / per_second).unwrap_or(Duration::MAX)
}

//! How many workers share the limits of destinations: each notes in the store that it lives, and counts who else does. No election,
//! no ranks: a number that all come to within a second.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::engine::id::UserId;
use crate::engine::time::Timestamp;

use super::ports::{Change, PSEUDO, ProfileChange, State, StateError, Stored};

/// How often a worker says that it lives, and counts.
pub const BEAT_EVERY: Duration = Duration::from_secs(1);

/// A worker that said nothing for so long is gone.
pub const KEEP: Duration = Duration::from_secs(10);

/// Whoever could not say so for this long counts itself out before the others do.
const OUT_AFTER: Duration = Duration::from_secs(6);

/// So long after a worker came the others have counted it: two of their beats.
pub const COUNTED_WITHIN: Duration = Duration::from_millis(2500);

/// The note is looked at by nobody but the workers: its wake lies where no worker gets to.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Workers that start together meet at one note.
const TRIES: usize = 20;

/// One worker among the others.
#[derive(Default)]
pub struct Members {
    /// There can be no others.
    alone: bool,
    name: Option<String>,
    /// When it last said that it lives, and how many did then.
    counted: Option<(Timestamp, u32)>,
    /// Until when others may not have counted it.
    unknown_until: Option<Timestamp>,
}

/// What a worker may take of what all share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// One part in so many.
    pub workers: u32,
    /// Until then the others may take more than their parts, and what they started may last.
    pub taken_until: Timestamp,
}

impl Members {
    /// `alone`: the store has room for no others; whoever is noted in it is gone.
    pub fn new(alone: bool) -> Members {
        Members { alone, ..Members::default() }
    }

    /// Says that this worker lives, and counts.
    pub async fn beat(&mut self, state: &mut dyn State, now: Timestamp) -> Result<(), StateError> {
        let name = self.name(state).await?;
        let alone = self.alone;
        let workers = change(state, now, |members| {
            if alone {
                members.clear();
            }
            members.insert(name.clone(), now.after(KEEP));
        })
        .await?;
        let comes = self.counted.is_none_or(|(at, _)| now.since(at) >= OUT_AFTER);
        if comes {
            self.unknown_until = (workers > 1).then(|| now.after(COUNTED_WITHIN));
        }
        self.counted = Some((now, workers));
        Ok(())
    }

    /// Says that this worker is gone, once all that it started is over.
    pub async fn leave(&mut self, state: &mut dyn State, now: Timestamp) -> Result<(), StateError> {
        let Some(name) = self.name.take() else { return Ok(()) };
        change(state, now, |members| {
            members.remove(&name);
        })
        .await
        .map(drop)
    }

    /// Its share; nothing while it is not sure to be counted.
    pub fn share(&self, now: Timestamp) -> Option<Share> {
        let (_, workers) = self.counted.filter(|(at, _)| now.since(*at) < OUT_AFTER)?;
        Some(Share { workers, taken_until: self.unknown_until.unwrap_or(Timestamp::MIN) })
    }

    /// The incarnation of its session: unique without randomness.
    async fn name(&mut self, state: &mut dyn State) -> Result<String, StateError> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let token = state.commit(&[]).await?.token;
        let mut name = String::new();
        for byte in &token.0[..8] {
            let _ = write!(name, "{byte:02x}");
        }
        self.name = Some(name.clone());
        Ok(name)
    }
}

type Living = BTreeMap<String, Timestamp>;

/// Changes the note of who lives until when, and answers how many do. What cannot be read is begun anew: within a beat all are in it.
async fn change(state: &mut dyn State, now: Timestamp, edit: impl Fn(&mut Living)) -> Result<u32, StateError> {
    let note = UserId::from(format!("{PSEUDO}workers").as_str());
    let mut stored: Option<Stored> = state.load(std::slice::from_ref(&note)).await?.users.pop().flatten();
    for _ in 0..TRIES {
        let mut living: Living = stored.as_ref().and_then(|stored| serde_json::from_slice(&stored.record).ok()).unwrap_or_default();
        living.retain(|_, until| *until > now);
        edit(&mut living);
        let change = Change {
            user: note.clone(),
            expected: stored.as_ref().map(|stored| stored.token),
            record: Some(super::outcomes::json(&living)),
            profile: ProfileChange::Keep,
            wake: Some(now.after(NEVER)),
        };
        match state.commit(&[change]).await?.conflicts.pop() {
            None => return Ok(u32::try_from(living.len()).unwrap_or(u32::MAX)),
            Some((_, current)) => stored = current,
        }
    }
    Err(StateError::Unavailable("the note of who lives is changed by others all the time".into()))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use std::sync::Arc;

    use crate::simulator::ports::{MemoryStore, SharedFaults, VirtualClock};
    use crate::worker::ports::Store;

    fn ready<T>(future: impl Future<Output = T>) -> T {
        future.now_or_never().expect("the store in memory answers at once")
    }

    #[test]
    fn all_come_to_the_same_number() {
        let clock = VirtualClock::new(Timestamp(1_000_000));
        let store = MemoryStore::new("store", Arc::new(clock), SharedFaults::default());
        let mut sessions: Vec<_> = (0..3).map(|_| ready(store.session()).unwrap()).collect();
        let mut members: Vec<Members> = (0..3).map(|_| Members::default()).collect();
        let now = Timestamp(1_000_000);
        assert_eq!(members[0].share(now), None, "not before it is counted");
        for (member, session) in members.iter_mut().zip(&mut sessions) {
            ready(member.beat(&mut **session, now)).unwrap();
        }
        let share = |member: &Members, now| member.share(now).map(|share| (share.workers, share.taken_until));
        // The first was alone when it came; the others wait until they are counted.
        assert_eq!(share(&members[0], now), Some((1, Timestamp::MIN)));
        assert_eq!(share(&members[2], now), Some((3, now.after(COUNTED_WITHIN))));
        let later = now.after(BEAT_EVERY);
        ready(members[0].beat(&mut *sessions[0], later)).unwrap();
        assert_eq!(share(&members[0], later), Some((3, Timestamp::MIN)));
        // One leaves, one falls silent.
        ready(members[1].leave(&mut *sessions[1], later)).unwrap();
        ready(members[0].beat(&mut *sessions[0], later)).unwrap();
        assert_eq!(share(&members[0], later).unwrap().0, 2);
        let silent = now.after(KEEP);
        ready(members[0].beat(&mut *sessions[0], silent)).unwrap();
        assert_eq!(share(&members[0], silent).unwrap().0, 1);
        assert_eq!(members[2].share(now.after(OUT_AFTER)), None, "out before the others count it out");
        // Who can only be alone does not wait for the one that was killed a moment ago.
        let mut only = Members::new(true);
        ready(only.beat(&mut *sessions[2], silent)).unwrap();
        assert_eq!(share(&only, silent), Some((1, Timestamp::MIN)));
        ready(members[0].beat(&mut *sessions[0], silent)).unwrap();
        ready(only.leave(&mut *sessions[2], silent)).unwrap();
        // Back again, it waits as one that comes.
        ready(members[2].beat(&mut *sessions[2], silent)).unwrap();
        assert_eq!(share(&members[2], silent), Some((2, silent.after(COUNTED_WITHIN))));
    }
}

//! The walker: keeps the agendas of all campaigns, and walks those that it took.
//!
//! Any worker may take an agenda whose wake has passed, nobody owns one. Its wake, moved on with every page, is the lease of who
//! walks; who comes too late loses the comparison and lets go.

use std::collections::VecDeque;
use std::time::Duration;

use super::Chunk;
use crate::engine::catalog::InForce;
use crate::engine::definition::Status;
use crate::engine::id::UserId;
use crate::engine::record::codec;
use crate::engine::runs::{self, Agenda, Next, Stale};
use crate::engine::time::Timestamp;
use crate::worker::counters::Counters;
use crate::worker::ports::{Admit, AppendError, Change, Cursor, ProfileChange, State, StateError, Stored, Token};
use crate::worker::reader::Shared;
use crate::worker::turn::CAMPAIGN_KEPT;

/// How long a walk is left to who walks it without a sign of them.
pub const HELD_FOR: Duration = Duration::from_secs(30);

/// Users asked of the store at once.
const PAGE_USERS: usize = 5_000;

/// A walk goes ahead of what is decided by no more than so much work of its destination.
const AHEAD: Duration = Duration::from_secs(30);

/// What a destination without a rate is taken to do in a second; also what is decided in that time where hardly anybody is meant.
const USUAL_PER_SECOND: f64 = 3_500.0;

/// Agendas looked at in one round trip.
const BATCH: usize = 200;

/// How often the bounded sets of campaigns in force are kept for another span.
const KEEP_SETS_EVERY: Duration = Duration::from_secs(86_400);

pub struct Walker {
    state: Box<dyn State>,
    shared: Shared,
    metrics: Counters,
    /// Agendas to look at.
    due: VecDeque<UserId>,
    /// The revision that all agendas were looked at with.
    settled: Option<u64>,
    sets_kept: Option<Timestamp>,
    walking: VecDeque<Walking>,
    pub(super) page_users: usize,
}

/// A walk that this worker holds.
struct Walking {
    id: UserId,
    token: Token,
    agenda: Agenda,
    /// Pages that were handed out and may not be done with: when, and how many users.
    ahead: VecDeque<(Timestamp, usize)>,
    held_until: Timestamp,
}

/// What became of a write.
enum Written {
    Yes(Token),
    /// Somebody else was faster.
    No,
}

impl Walker {
    pub fn new(state: Box<dyn State>, shared: Shared, metrics: Counters) -> Walker {
        let (due, walking) = (VecDeque::new(), VecDeque::new());
        Walker { state, shared, metrics, due, settled: None, sets_kept: None, walking, page_users: PAGE_USERS }
    }

    /// An agenda whose wake has passed.
    pub fn take(&mut self, id: UserId) {
        self.due.push_back(id);
    }

    /// Does a little: looks at agendas, or walks a page. Answers whether there is more to do now. On an error what was in hand is
    /// looked at again, here or by others.
    pub async fn turn(&mut self) -> Result<bool, StateError> {
        if self.shared.positions.has_news() || !self.walking.is_empty() {
            self.shared.positions.exchange(&mut *self.state).await?;
        }
        let in_force = self.shared.follower.in_force();
        if self.settled != Some(in_force.revision) {
            self.settle(&in_force).await?;
            self.settled = Some(in_force.revision);
            self.sets_kept = None;
        }
        self.keep_sets(&in_force).await?;
        if !self.due.is_empty() {
            let ids: Vec<UserId> = self.due.iter().take(BATCH).cloned().collect();
            self.look(&ids, &in_force, true).await?;
            self.due.drain(..ids.len());
            return Ok(true);
        }
        // Each in its turn: one that waits keeps no other waiting.
        for _ in 0..self.walking.len() {
            let Some(walking) = self.walking.pop_front() else { break };
            let id = walking.id.clone();
            match self.walk(walking, &in_force).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => {
                    // What is stored now is not known.
                    self.due.push_back(id);
                    return Err(error);
                }
            }
        }
        Ok(false)
    }

    /// For a worker that leaves: others need not wait for its walks.
    pub async fn leave(&mut self) -> Result<(), StateError> {
        let now = self.shared.clock.now();
        for walking in std::mem::take(&mut self.walking) {
            self.write(&walking.id, Some(walking.token), Some((&walking.agenda, now))).await?;
        }
        Ok(())
    }

    /// Looks at the agendas of all campaigns that may have one, because the definitions have changed or this worker is new.
    async fn settle(&mut self, in_force: &InForce) -> Result<(), StateError> {
        let ids: Vec<UserId> = in_force
            .campaigns
            .iter()
            .filter(|campaign| runs::walks(&campaign.definition))
            .map(|campaign| runs::id(&campaign.definition.key))
            .collect();
        for ids in ids.chunks(BATCH) {
            self.look(ids, in_force, false).await?;
        }
        Ok(())
    }

    /// Does what is to be done about these agendas. What somebody else walks is left to them unless it was `taken` from them.
    async fn look(&mut self, ids: &[UserId], in_force: &InForce, taken: bool) -> Result<(), StateError> {
        let loaded = self.state.load(ids).await?;
        self.shared.clock.told(loaded.now);
        let now = self.shared.clock.now();
        for (id, stored) in ids.iter().zip(loaded.users) {
            if !taken && self.walking.iter().any(|walking| walking.id == *id) {
                continue;
            }
            self.walking.retain(|walking| walking.id != *id);
            let (token, agenda) = read(stored)?;
            let walked = agenda.as_ref().and_then(|agenda| agenda.walk.as_ref());
            if !taken && walked.is_some_and(|walk| now.since(walk.moved) < HELD_FOR) {
                continue;
            }
            self.follow(id, token, agenda.as_ref(), in_force, now).await?;
        }
        Ok(())
    }

    /// Looks at one agenda and writes what becomes of it; a walk is held from then on.
    async fn follow(
        &mut self,
        id: &UserId,
        token: Option<Token>,
        agenda: Option<&Agenda>,
        in_force: &InForce,
        now: Timestamp,
    ) -> Result<(), StateError> {
        let campaign = runs::campaign_of(id).unwrap_or_default();
        let (next, stale) = runs::look(agenda, campaign, in_force, now);
        let written = match next {
            Next::Leave => return Ok(()),
            Next::Nothing if token.is_none() => return Ok(()),
            Next::Nothing => self.write(id, token, None).await?,
            Next::Rest { agenda, wake } => self.write(id, token, Some((&agenda, wake))).await?,
            Next::Walk(agenda) => {
                let held_until = now.after(HELD_FOR);
                let written = self.write(id, token, Some((&agenda, held_until))).await?;
                if let Written::Yes(token) = written {
                    let ahead = VecDeque::new();
                    self.walking.push_back(Walking { id: id.clone(), token, agenda, ahead, held_until });
                }
                written
            }
        };
        if let (Written::Yes(_), Some(stale)) = (written, stale) {
            self.tell(campaign, &stale, in_force);
        }
        Ok(())
    }

    /// Walks a page if the users before are far enough. Answers whether it did anything.
    async fn walk(&mut self, mut walking: Walking, in_force: &InForce) -> Result<bool, StateError> {
        let now = self.shared.clock.now();
        let campaign = runs::campaign_of(&walking.id).unwrap_or_default();
        // It may have been paused, ended or edited since, or stood still for too long.
        let Next::Walk(agenda) = runs::look(Some(&walking.agenda), campaign, in_force, now).0 else {
            self.follow(&walking.id, Some(walking.token), Some(&walking.agenda), in_force, now).await?;
            return Ok(true);
        };
        walking.agenda = agenda;
        let done = self.shared.positions.read_to();
        while walking.ahead.front().is_some_and(|(at, _)| *at <= done) {
            walking.ahead.pop_front();
        }
        let ahead: usize = walking.ahead.iter().map(|(_, users)| users).sum();
        let most = most_ahead(campaign, in_force);
        let limit = self.page_users.min(most);
        if ahead > 0 && ahead + limit > most {
            return self.wait(walking, now).await.map(|()| false);
        }
        let Some(walk) = walking.agenda.walk.clone() else { return Ok(false) };
        let cursor = walk.cursor.map(Cursor);
        let page = self.state.users(cursor.as_ref(), limit).await?;
        let lines = Chunk::lines(&self.shared.settings.topics, campaign, walk.run.as_ref(), now, &page.users);
        if !lines.is_empty()
            && let Err(error) = self.shared.append.append(&lines).await
        {
            return self.not_appended(walking, error, now).await.map(|()| false);
        }
        let now = self.shared.clock.now();
        let agenda = std::mem::take(&mut walking.agenda).walked(page.next.map(|next| next.0), page.users.len(), now);
        if agenda.walk.is_none() {
            let run = walk.run.as_ref().map(|run| &*run.name);
            tracing::info!(campaign, run, users = walk.users + page.users.len() as u64, "a walk over all users is done");
            self.follow(&walking.id, Some(walking.token), Some(&agenda), in_force, now).await?;
            return Ok(true);
        }
        walking.agenda = agenda;
        walking.ahead.push_back((now, page.users.len()));
        self.hold(walking, now).await.map(|()| true)
    }

    /// The users before come first. The lease is kept.
    async fn wait(&mut self, mut walking: Walking, now: Timestamp) -> Result<(), StateError> {
        if walking.held_until.since(now) > HELD_FOR / 2 {
            self.walking.push_back(walking);
            return Ok(());
        }
        walking.agenda = std::mem::take(&mut walking.agenda).waited(now);
        self.hold(walking, now).await
    }

    /// The page is tried again with the next turn: its cursor has not moved.
    async fn not_appended(&mut self, walking: Walking, error: AppendError, now: Timestamp) -> Result<(), StateError> {
        match error {
            AppendError::Unavailable(error) => tracing::warn!(%error, "a run waits for the log"),
            AppendError::Blocked(error) | AppendError::Refused(error) => {
                tracing::error!(%error, topic = %self.shared.settings.topics.runs, "the log refuses the users of a run: create the topic by `campanile init`");
            }
        }
        self.wait(walking, now).await
    }

    /// Writes how far the walk is, and holds it for another span.
    async fn hold(&mut self, mut walking: Walking, now: Timestamp) -> Result<(), StateError> {
        walking.held_until = now.after(HELD_FOR);
        let written = self.write(&walking.id, Some(walking.token), Some((&walking.agenda, walking.held_until))).await?;
        if let Written::Yes(token) = written {
            walking.token = token;
            self.walking.push_back(walking);
        }
        Ok(())
    }

    async fn write(&mut self, id: &UserId, expected: Option<Token>, agenda: Option<(&Agenda, Timestamp)>) -> Result<Written, StateError> {
        let change = Change {
            user: id.clone(),
            expected,
            record: agenda.map(|(agenda, _)| codec::encode_agenda(agenda)),
            profile: ProfileChange::Keep,
            wake: agenda.map(|(_, wake)| wake),
        };
        let committed = self.state.commit(&[change]).await?;
        self.shared.clock.told(committed.now);
        Ok(if committed.conflicts.is_empty() { Written::Yes(committed.token) } else { Written::No })
    }

    /// Keeps the bounded sets of what is still in force.
    async fn keep_sets(&mut self, in_force: &InForce) -> Result<(), StateError> {
        let now = self.shared.clock.now();
        if self.sets_kept.is_some_and(|kept| now.since(kept) < KEEP_SETS_EVERY) {
            return Ok(());
        }
        let limited = in_force
            .campaigns
            .iter()
            .map(|campaign| &campaign.definition)
            .filter(|definition| definition.limit.is_some_and(|limit| !limit.per_run) && definition.status != Some(Status::Ended));
        let kept: Vec<Admit> =
            limited.map(|definition| Admit { set: definition.key.clone(), user: "".into(), limit: 0, keep: CAMPAIGN_KEPT }).collect();
        if !kept.is_empty() {
            self.state.admit(&kept).await?;
        }
        self.sets_kept = Some(now);
        Ok(())
    }

    fn tell(&self, campaign: &str, stale: &Stale, in_force: &InForce) {
        let Stale { run, users } = stale;
        let max_overdue = in_force.policy.max_overdue;
        match users {
            None => {
                tracing::warn!(campaign, due = %run.due, ?max_overdue, "a run was not begun in time and is passed over, with all that are as late: stale")
            }
            Some(users) => {
                tracing::warn!(campaign, due = %run.due, users, ?max_overdue, "a run stood still for too long and is not finished: stale")
            }
        }
        self.metrics.run_stale(campaign);
    }
}

/// Users that a walk may be ahead of what is decided: as many as its destination serves in [`AHEAD`], were all of them meant.
fn most_ahead(campaign: &str, in_force: &InForce) -> usize {
    let rate = in_force.by_key(campaign).and_then(|campaign| {
        let route = in_force.destination_of(&campaign.definition.webhook);
        in_force.destinations.iter().find(|destination| *destination.key == *route.name)?.rate
    });
    let per_second = rate.map_or(USUAL_PER_SECOND, |rate| rate.per_second);
    ((per_second * AHEAD.as_secs_f64()) as usize).max(1)
}

/// A stored agenda that cannot be read stops the worker, as a record does.
fn read(stored: Option<Stored>) -> Result<(Option<Token>, Option<Agenda>), StateError> {
    let Some(stored) = stored else { return Ok((None, None)) };
    let agenda = codec::decode_agenda(&stored.record)
        .map_err(|error| StateError::Refused(format!("the stored state of a campaign's runs cannot be read: {error}")))?;
    Ok((Some(stored.token), Some(agenda)))
}

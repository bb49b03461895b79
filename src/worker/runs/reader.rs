//! The reader of the topic of runs: users out to the lanes, each campaign's as fast as its destination takes what comes of them. A
//! crowded destination, or a pause, keeps its own campaigns' users waiting and nobody else's.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::time::Duration;

use super::Chunk;
use crate::engine::catalog::InForce;
use crate::engine::definition::Status;
use crate::engine::id::{CampaignId, UserId};
use crate::engine::runs;
use crate::engine::step::{Input, Run};
use crate::engine::time::Timestamp;
use crate::worker::appending::{Appending, IfRefused};
use crate::worker::commits::{Commits, LogReader, Parts};
use crate::worker::form::{self, Unread};
use crate::worker::offsets::{Offsets, Ticket};
use crate::worker::outcomes::{self, DeadEvent};
use crate::worker::ports::{Message, Source, SourceError};
use crate::worker::read_positions::Ends;
use crate::worker::reader::Shared;
use crate::worker::turn::{Origin, Work};

/// Users in the lanes at once. At 100,000 a second that is 40 ms of work.
const GIVEN_USERS: usize = 4_096;

/// Users given of one campaign before the next one's turn.
const SLICE: usize = 256;

/// Users that wait here, beyond which nothing is read: some 20 MB.
const WAITING_USERS: usize = 200_000;

/// A destination for which as many wait takes no more of a run for now: half of its queue, so that events find room.
const CROWDED: usize = 128;

/// The reason of what is on the topic of runs and names no users.
pub const NOT_A_RUN: &str = "not_a_run";

pub struct RunReader {
    source: Box<dyn Source>,
    shared: Shared,
    offsets: Offsets,
    appending: Appending,
    /// Chunks by campaign, in the order in which they came.
    waiting: BTreeMap<Box<str>, VecDeque<Waiting>>,
    waiting_users: usize,
    full: bool,
    /// Of which revision, and whether any campaign of it walks.
    walks: Option<(u64, bool)>,
    ends: Ends,
}

/// What is left of a chunk.
struct Waiting {
    campaign: CampaignId,
    run: Option<Run>,
    at: Timestamp,
    users: std::vec::IntoIter<UserId>,
    tickets: Vec<Ticket>,
}

impl LogReader for RunReader {
    fn parts(&mut self) -> Parts<'_> {
        Parts { source: &mut *self.source, offsets: &mut self.offsets, appending: &mut self.appending, append: &*self.shared.append }
    }
}

impl RunReader {
    pub fn new(source: Box<dyn Source>, shared: Shared) -> RunReader {
        RunReader {
            source,
            shared,
            offsets: Offsets::default(),
            appending: Appending::default(),
            waiting: BTreeMap::new(),
            waiting_users: 0,
            full: false,
            walks: None,
            ends: Ends::default(),
        }
    }

    /// Reads what there is, waiting up to `wait`, and gives out what has room. `queued` says how many wait for a destination.
    pub fn turn(
        &mut self,
        wait: Duration,
        commits: &mut Commits,
        queued: impl Fn(&str) -> usize,
        mut give_out: impl FnMut(Work),
    ) -> Result<(), SourceError> {
        let wait = if self.waiting_users > 0 { wait.min(Duration::from_millis(1)) } else { wait };
        let (mut read, mut dead, mut newer) = (Vec::new(), Vec::new(), None);
        let offsets = &self.offsets;
        let mut room = WAITING_USERS.saturating_sub(self.waiting_users);
        let polled = self.source.poll(wait, &mut |message| {
            match take(offsets, &message, &mut read, &mut dead) {
                Ok(users) => room = room.saturating_sub(users),
                Err(error) => newer = Some(error),
            }
            if room == 0 || newer.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let taken = commits.polled(&mut self.offsets, polled)?;
        if self.full {
            self.source.hold(&taken, true)?;
        }
        if let Some(error) = newer {
            return Err(error);
        }
        for (campaign, chunk) in read {
            self.waiting_users += chunk.users.len();
            self.waiting.entry(campaign).or_default().push_back(chunk);
        }
        for (letter, error, ticket) in dead {
            let line = outcomes::dead_event(&self.shared.settings.topics, self.shared.clock.now(), &letter, NOT_A_RUN, &error);
            self.appending.push(&*self.shared.append, line, ticket, IfRefused::Finish);
        }
        self.give(&queued, &mut give_out);
        self.appending.look(&*self.shared.append);
        self.hold_when_full()?;
        self.note_positions()?;
        commits.commit(&mut *self.source, &mut self.offsets)
    }

    /// Whether users wait here for room.
    pub fn has_waiting(&self) -> bool {
        self.waiting_users > 0
    }

    /// Gives users of each campaign in its turn, as long as the lanes have room.
    fn give(&mut self, queued: &impl Fn(&str) -> usize, give_out: &mut impl FnMut(Work)) {
        let in_force = self.shared.follower.in_force();
        let unfinished: usize = self.offsets.iter().map(|(_, progress)| progress.unfinished()).sum();
        let mut room = GIVEN_USERS.saturating_sub(unfinished.saturating_sub(self.waiting_users));
        let mut moved = true;
        while room > 0 && moved {
            moved = false;
            for (campaign, chunks) in &mut self.waiting {
                if !has_room(campaign, &in_force, queued) {
                    continue;
                }
                let Some(chunk) = chunks.front_mut() else { continue };
                for work in chunk.by_ref().take(SLICE.min(room)) {
                    (moved, room) = (true, room - 1);
                    self.waiting_users -= 1;
                    give_out(work);
                }
                if chunk.users.len() == 0 {
                    chunks.pop_front();
                }
            }
            self.waiting.retain(|_, chunks| !chunks.is_empty());
        }
    }

    /// Whether any campaign walks over users; there may be very many to ask.
    fn anybody_walks(&mut self) -> bool {
        let in_force = self.shared.follower.in_force();
        match self.walks {
            Some((revision, walks)) if revision == in_force.revision => walks,
            _ => {
                let walks = in_force.campaigns.iter().any(|campaign| runs::walks(&campaign.definition));
                self.walks = Some((in_force.revision, walks));
                walks
            }
        }
    }

    fn hold_when_full(&mut self) -> Result<(), SourceError> {
        let full = self.waiting_users >= WAITING_USERS;
        if full != self.full {
            self.source.hold(&self.offsets.partitions(), full)?;
            self.full = full;
        }
        Ok(())
    }

    /// Notes up to when the partitions are done with, for who walks. Only where a campaign walks: it costs the broker a question.
    fn note_positions(&mut self) -> Result<(), SourceError> {
        if !self.anybody_walks() {
            return Ok(());
        }
        let Shared { positions, clock, settings, .. } = &self.shared;
        // More often than timers need it: a walk goes on when it sees how far the users before are.
        self.ends.note(&mut *self.source, &self.offsets, positions, clock, settings.ends_every / 4)
    }
}

impl Iterator for Waiting {
    type Item = Work;

    fn next(&mut self) -> Option<Work> {
        let (user, ticket) = (self.users.next()?, self.tickets.pop()?);
        let input = match &self.run {
            Some(run) => Input::Run { campaign: self.campaign, run: run.clone(), reached: self.at },
            None => Input::Arm { campaign: self.campaign },
        };
        Some(Work { user, input, origin: Some(Origin { ticket, raw: None }), may_wait: true })
    }
}

/// Whether a campaign's users may go on: not while it is paused (what is not started is held), nor while its destination is crowded.
fn has_room(campaign: &str, in_force: &InForce, queued: &impl Fn(&str) -> usize) -> bool {
    let Some(campaign) = in_force.by_key(campaign) else { return in_force.left_out.is_empty() };
    match campaign.definition.status {
        Some(Status::Running) => queued(in_force.destination_of(&campaign.definition.webhook).name) < CROWDED,
        Some(Status::Paused | Status::Ready) | None => false,
        Some(Status::Ended) => true,
    }
}

/// Notes a record and parses it; answers how many users it brings. One of a newer form ends this worker and is never finished here.
fn take(
    offsets: &Offsets,
    message: &Message<'_>,
    read: &mut Vec<(Box<str>, Waiting)>,
    dead: &mut Vec<(DeadEvent, String, Ticket)>,
) -> Result<usize, SourceError> {
    let Some((partition, progress)) = offsets.find(message.topic, message.partition) else { return Ok(0) };
    let users = match message.value.map(Chunk::read) {
        Some(Ok(Chunk { campaign, run, at, users, .. })) if !users.is_empty() => {
            let count = users.len();
            let tickets = progress.open_parts(message.offset, users.len());
            let users = users.into_iter();
            read.push((campaign.clone(), Waiting { campaign: CampaignId::of(&campaign), run, at, users, tickets }));
            count
        }
        Some(Err(Unread::Newer(why))) => {
            let _unfinished = progress.open(message.offset);
            return Err(form::not_for_us(message, &why));
        }
        Some(Err(Unread::Broken(error))) => {
            dead.push((DeadEvent::of(partition, message), error, progress.open(message.offset)));
            0
        }
        _ => {
            progress.pass(message.offset);
            0
        }
    };
    Ok(users)
}

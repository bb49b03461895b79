//! `campanile backfill`: reads past events again, into the history of what is asked for since later. It sends nothing, starts no clock
//! and changes no profile; it may run beside workers, and again after whatever stopped it.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Runtime;

use super::assemble::{self, Parts, kafka, state_failure};
use super::past::{Past, Written};
use super::settings::{Loaded, init_log, load};
use super::{ConfigArgs, Failure, runtime};
use crate::engine::catalog::{Catalog, InForce};
use crate::engine::event::{Body, Event};
use crate::engine::history::Plan;
use crate::engine::id::stable_hash;
use crate::engine::reading::{self, Kind, Limits, MAX_AHEAD};
use crate::engine::step::Input;
use crate::engine::time::Timestamp;
use crate::telemetry::metrics::{CampaignLabel, Metrics};
use crate::worker::counters::Counters;
use crate::worker::definitions::Follower;
use crate::worker::ports::{Put, State, StateError};
use crate::worker::store_clock::StoreClock;
use crate::worker::turn::{Turn, Work};

/// Reads past events again into the history of what definitions ask for since later; never sends
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: a new campaign asks what users did in the last 30 days, and Kafka still has these events

  campanile backfill cart-abandoned --from 2026-11-01T00:00:00Z

Until then `history_incomplete` holds back what nobody can know. Workers may run meanwhile. If it is stopped, run the same command
again: nothing is counted twice. A file must hold all events from its first one to when the definitions were applied, workers must
have read up to then, and events of people who were deleted must not be in it.")]
pub struct BackfillArgs {
    /// A campaign or cohort [default: everything that is asked for]
    #[arg(value_name = "KEY")]
    key: Option<String>,
    /// Since when the events topics are read (2026-11-01T00:00:00Z), or a file of events, a JSON object a line
    #[arg(long, value_name = "TIME|FILE", value_parser = origin)]
    from: Origin,
    #[command(flatten)]
    config: ConfigArgs,
    /// How the counts are printed
    #[arg(long, value_enum, default_value_t = Shown::Text)]
    format: Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shown {
    Text,
    Json,
}

/// Where past events are.
#[derive(Clone, Debug)]
enum Origin {
    Time(Timestamp),
    File(PathBuf),
}

/// Events noted at once.
const BATCH: usize = 500;

/// How often a store that does not answer is asked again, and after how long.
const TRIES: u32 = 30;
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Events that cannot be read are named up to here; then they are only counted.
const NAMED: u64 = 10;

/// What was seen at the first reading.
#[derive(Default)]
struct Seen {
    events: u64,
    unreadable: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    /// Who was deleted, and when last: what they did before is not to come back.
    deleted: HashMap<Box<str>, Timestamp>,
}

/// What was noted at the second.
#[derive(Default)]
struct Noted {
    of_interest: u64,
    /// Hashes of their ids.
    users: HashSet<u64>,
}

pub fn run(args: &BackfillArgs) -> Result<(), Failure> {
    let loaded = load(&args.config)?;
    init_log(&loaded.config)?;
    check_log(args, &loaded)?;
    let runtime = runtime();
    let backfill = runtime.block_on(Backfill::open(args, &loaded))?;
    backfill.run(&runtime)
}

/// The embedded log has nothing to go back to.
fn check_log(args: &BackfillArgs, loaded: &Loaded) -> Result<(), Failure> {
    if matches!(args.from, Origin::Time(_)) && loaded.config.kafka.brokers.is_none() {
        return Err(Failure::Refused(
            "kafka.brokers is `embedded`: that log keeps about an hour of what was read; give --from a file of events instead".into(),
        ));
    }
    Ok(())
}

struct Backfill<'a> {
    args: &'a BackfillArgs,
    loaded: &'a Loaded,
    parts: Parts,
    state: Box<dyn State>,
    follower: Arc<Follower>,
}

impl<'a> Backfill<'a> {
    async fn open(args: &'a BackfillArgs, loaded: &'a Loaded) -> Result<Backfill<'a>, Failure> {
        let parts = assemble::open(loaded).await?;
        let mut state = parts.store.session().await.map_err(state_failure)?;
        let identity = state.identity().await.map_err(state_failure)?;
        let follower = Arc::new(Follower::new(loaded.policy(&identity.id)));
        follower.catch_up(&mut *state).await.map_err(state_failure)?;
        Ok(Backfill { args, loaded, parts, state, follower })
    }

    fn run(mut self, runtime: &Runtime) -> Result<(), Failure> {
        let (from, of_file) = match &self.args.from {
            Origin::Time(from) => (*from, None),
            Origin::File(path) => {
                let mut past = Past::Files(vec![path.clone()]);
                let seen = see(&mut past, &self.follower.in_force())?;
                let first = seen.first.ok_or_else(|| Failure::Refused("there is no event in this file that can be read".into()))?;
                (first, Some((past, seen)))
            }
        };
        let Some(plan) = runtime.block_on(self.begin(from))? else {
            self.tell(None, &Seen::default(), &Noted::default());
            return Ok(());
        };
        let plan = Arc::new(plan);
        runtime.block_on(self.wait_until_followed(&plan))?;
        let (mut past, seen) = match of_file {
            Some(read) => read,
            // Only now: all that was written before workers followed the definitions is to be read.
            None => self.see_topics(from)?,
        };
        warn_of_gap(&plan, &past, &seen);
        let noted = self.note(&mut past, &seen, &plan, runtime)?;
        runtime.block_on(self.end(&plan))?;
        self.tell(Some(&plan), &seen, &noted);
        Ok(())
    }

    /// Notes in the store that it begins, so that no other backfill of the same history does. `None`: all is known since then.
    async fn begin(&mut self, from: Timestamp) -> Result<Option<Plan>, Failure> {
        let (key, asked, source) = (self.args.key.as_deref(), self.args.asked(), self.source());
        loop {
            let catalog = self.catalog().await?;
            let Some(until) = self.follower.in_force().incomplete(key, from) else {
                let key = key.unwrap_or_default();
                return Err(Failure::Refused(format!(
                    "there is no campaign or cohort `{key}` in the store; is `state.prefix` the right one?"
                )));
            };
            if until.is_empty() {
                return Ok(None);
            }
            let of_file = matches!(self.args.from, Origin::File(_));
            let begun = catalog.begin_backfill(&asked, &source, from, until, of_file);
            let (next, plan) = begun.map_err(|unfinished| Failure::Refused(unfinished.to_string()))?;
            if next == catalog || self.put(&catalog, &next).await? {
                self.follower.catch_up(&mut *self.state).await.map_err(state_failure)?;
                return Ok(Some(plan));
            }
        }
    }

    /// Moves `tracked_since` back.
    async fn end(&mut self, plan: &Plan) -> Result<(), Failure> {
        loop {
            let catalog = self.catalog().await?;
            if self.put(&catalog, &catalog.end_backfill(plan)).await? {
                return Ok(());
            }
        }
    }

    /// The catalog as it is stored now; the definitions in force are the same.
    async fn catalog(&mut self) -> Result<Catalog, Failure> {
        let stored = self.state.documents(None).await.map_err(state_failure)?;
        let catalog = match stored {
            Some(stored) => Catalog::decode(stored.revision, &stored.body).map_err(|error| Failure::Refused(error.to_string()))?,
            None => Catalog::default(),
        };
        self.follower.catch_up(&mut *self.state).await.map_err(state_failure)?;
        Ok(catalog)
    }

    /// `false`: somebody was faster.
    async fn put(&mut self, current: &Catalog, next: &Catalog) -> Result<bool, Failure> {
        let put = self.state.put_documents(current.revision, &next.encode()).await.map_err(state_failure)?;
        Ok(matches!(put, Put::Stored { .. }))
    }

    /// A definition that was just applied counts as followed by all workers a few seconds later: what they read until then is read here.
    async fn wait_until_followed(&mut self, plan: &Plan) -> Result<(), Failure> {
        let Some(last) = plan.until.iter().map(|(_, until)| *until).max() else { return Ok(()) };
        loop {
            let now = self.state.load(&[]).await.map_err(state_failure)?.now;
            if now >= last {
                return Ok(());
            }
            tokio::time::sleep(last.since(now)).await;
        }
    }

    fn see_topics(&self, from: Timestamp) -> Result<(Past, Seen), Failure> {
        let config = &self.loaded.config;
        let Some(settings) = kafka(config)? else { return Err(Failure::Refused("there is no Kafka to read from".into())) };
        // A clock may have been ahead of the broker's.
        let mut past = Past::of_topics(&settings, &config.kafka.events, config.kafka.generation, Some(from.before(MAX_AHEAD)))?;
        let seen = see(&mut past, &self.follower.in_force())?;
        if let Past::Topics { span, .. } = &past
            && let Some(kept) = span.kept_since()
        {
            let since = Timestamp(kept.after(MAX_AHEAD).0.saturating_add(1));
            return Err(Failure::Refused(format!(
                "the events topics no longer have all events since {from}: nothing was changed; give --from {since} or later, or a file"
            )));
        }
        Ok((past, seen))
    }

    fn note(&self, past: &mut Past, seen: &Seen, plan: &Arc<Plan>, runtime: &Runtime) -> Result<Noted, Failure> {
        let in_force = self.follower.in_force();
        let mut turn = runtime.block_on(self.turn())?;
        let wanted = Wanted::of(plan, &in_force);
        let mut noted = Noted::default();
        let mut batch: Vec<Work> = Vec::with_capacity(BATCH);
        let bar = past.bar();
        bar.set_message("noted");
        past.read(&bar, &mut |written| {
            let Some(event) = wanted.event(written, seen, plan, &in_force) else { return Ok(()) };
            noted.of_interest += 1;
            noted.users.insert(stable_hash(&[event.user.as_bytes()]));
            let user = event.user.clone();
            batch.push(Work::of(user, Input::Backfill { event: Arc::new(event), plan: plan.clone() }));
            if batch.len() >= BATCH { runtime.block_on(store(&mut turn, &mut batch)) } else { Ok(()) }
        })?;
        runtime.block_on(store(&mut turn, &mut batch))?;
        runtime.block_on(turn.confirm()).map_err(state_failure)?;
        bar.finish_and_clear();
        Ok(noted)
    }

    /// A lane of its own: compare-and-set keeps it from the workers' way, and them from its.
    async fn turn(&self) -> Result<Turn, Failure> {
        let state = self.parts.store.session().await.map_err(state_failure)?;
        let metrics = Metrics::new(CampaignLabel::Off).map_err(|error| Failure::Refused(error.to_string()))?;
        let clock = Arc::new(StoreClock::new(self.parts.clock.clone()));
        let settings = Arc::new(self.loaded.worker(false));
        Ok(Turn::new(state, self.parts.append.clone(), clock, self.follower.clone(), settings, Counters::new(Arc::new(metrics))))
    }

    /// What it reads, as one text.
    fn source(&self) -> String {
        match &self.args.from {
            Origin::Time(_) => format!("topics {}", self.loaded.config.kafka.events.join(" ")),
            Origin::File(path) => format!("file {}", path.display()),
        }
    }

    fn tell(&self, plan: Option<&Plan>, seen: &Seen, noted: &Noted) {
        let (events, unreadable, of_interest, users) = (seen.events, seen.unreadable, noted.of_interest, noted.users.len());
        let since = plan.map(|plan| plan.from);
        let was = plan.and_then(|plan| plan.until.iter().map(|(_, until)| *until).max());
        let questions = plan.map_or(0, |plan| plan.until.len());
        match (self.args.format, since.zip(was)) {
            (Shown::Json, _) => {
                let events = json!({"read": events, "of_interest": of_interest, "unreadable": unreadable});
                println!("{}", json!({"events": events, "users": users, "questions": questions, "tracked_since": since, "before": was}));
            }
            (Shown::Text, None) => println!("nothing to do: the history of all that is asked is known since before that"),
            (Shown::Text, Some((since, was))) => {
                println!("{events} events read, {of_interest} of interest, {unreadable} unreadable; {users} users");
                println!("tracked_since of {questions} trackers is now {since}; it was {was}");
            }
        }
    }
}

/// The events that some tracker of a plan may want.
struct Wanted<'a> {
    names: HashSet<&'a str>,
    before: Timestamp,
}

impl<'a> Wanted<'a> {
    fn of(plan: &Plan, in_force: &'a InForce) -> Wanted<'a> {
        let trackers = plan.until.iter().filter_map(|(id, _)| in_force.trackers.get(*id));
        let before = plan.until.iter().map(|(_, until)| *until).max().unwrap_or(Timestamp::MIN);
        Wanted { names: trackers.map(|tracker| &*tracker.pattern.event).collect(), before }
    }

    /// What cannot be read was told at the first reading.
    fn event(&self, written: &Written<'_>, seen: &Seen, plan: &Plan, in_force: &InForce) -> Option<Event> {
        let header = reading::header(written.bytes).ok()?;
        let time = written.time.or(header.timestamp())?;
        if !header.event_name().is_some_and(|name| self.names.contains(name)) {
            return None;
        }
        let limits = Limits { max_lateness: in_force.policy.max_lateness };
        let event = header.into_event(&written.place(time), &limits).ok()?;
        let Body::Track { name, properties } = &event.body else { return None };
        let in_span = plan.from <= event.timestamp && event.timestamp < self.before;
        let forgotten = seen.deleted.get(&*event.user).is_some_and(|deleted| event.timestamp <= *deleted);
        let wanted = in_span && !forgotten && in_force.trackers.wants(name, properties, event.timestamp, in_force.zone());
        wanted.then_some(event)
    }
}

/// The first reading: how much there is, of which time, and who was deleted.
fn see(past: &mut Past, in_force: &InForce) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    let bar = past.bar();
    bar.set_message("looked at");
    past.read(&bar, &mut |written| {
        seen.events += 1;
        match when(written, in_force, &mut seen.deleted) {
            Ok(at) => {
                seen.first = Some(seen.first.map_or(at, |first| first.min(at)));
                seen.last = Some(seen.last.map_or(at, |last| last.max(at)));
            }
            Err(why) => {
                seen.unreadable += 1;
                if seen.unreadable <= NAMED {
                    bar.suspend(|| eprintln!("{}:{}: {why}", written.name, written.number));
                }
            }
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    if seen.unreadable > NAMED {
        eprintln!("... and {} more that cannot be read", seen.unreadable - NAMED);
    }
    Ok(seen)
}

/// When it happened. Notes a deletion.
fn when(written: &Written<'_>, in_force: &InForce, deleted: &mut HashMap<Box<str>, Timestamp>) -> Result<Timestamp, String> {
    let header = reading::header(written.bytes).map_err(|unreadable| unreadable.to_string())?;
    let Some(time) = written.time.or(header.timestamp()) else {
        return Err("no `timestamp`: nothing says when it happened".into());
    };
    let at = header.timestamp().unwrap_or(time);
    if header.kind() == Kind::Delete {
        let limits = Limits { max_lateness: in_force.policy.max_lateness };
        let event = header.into_event(&written.place(time), &limits).map_err(|unreadable| unreadable.to_string())?;
        let newest = deleted.entry((*event.user).into()).or_insert(event.timestamp);
        *newest = event.timestamp.max(*newest);
    }
    Ok(at)
}

/// Stores a batch. What was stored before an unknown answer is recognised.
async fn store(turn: &mut Turn, batch: &mut Vec<Work>) -> Result<(), Failure> {
    let mut tries = 0;
    while let Err(error) = turn.turn(batch).await {
        tries += 1;
        if !matches!(error, StateError::Unavailable(_)) || tries >= TRIES {
            return Err(state_failure(error));
        }
        turn.forget();
        tokio::time::sleep(TRY_AGAIN).await;
    }
    Ok(())
}

/// A file that ends too early leaves a time of which absence would wrongly be taken as known.
fn warn_of_gap(plan: &Plan, past: &Past, seen: &Seen) {
    let latest = plan.until.iter().map(|(_, until)| *until).max();
    if let (Past::Files(_), Some(last), Some(until)) = (past, seen.last, latest)
        && last < until
    {
        eprintln!("the file ends at {last}: what happened from then until {until} counts as not having happened");
    }
}

impl BackfillArgs {
    /// As it is written on the command line.
    fn asked(&self) -> String {
        let key = self.key.as_ref().map(|key| format!("{key} ")).unwrap_or_default();
        match &self.from {
            Origin::Time(from) => format!("{key}--from {from}"),
            Origin::File(path) => format!("{key}--from {}", path.display()),
        }
    }
}

fn origin(text: &str) -> Result<Origin, String> {
    if let Some(time) = Timestamp::parse(text) {
        return Ok(Origin::Time(time));
    }
    let path = PathBuf::from(text);
    if path.is_file() { Ok(Origin::File(path)) } else { Err("expected an instant such as 2026-11-01T00:00:00Z, or a file".into()) }
}

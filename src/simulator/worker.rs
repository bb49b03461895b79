//! A simulated worker: the real reader, retry reader, lane, due loop and attempts, driven round by round. It has no turn of its own;
//! dropping it is its crash.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::sync::mpsc;

use crate::engine::catalog::Policy;
use crate::engine::delivery::Backoff;
use crate::engine::delivery::rate::ASK_EVERY;
use crate::engine::time::Timestamp;
use crate::telemetry::metrics::Metrics;
use crate::worker::attempt::Outside;
use crate::worker::budgets::Budgets;
use crate::worker::commits::{Commits, LaneStatus};
use crate::worker::complaints::Complaints;
use crate::worker::counters::{Counters, ReaderCounters};
use crate::worker::definitions::Follower;
use crate::worker::dispatch::{Destinations, Look};
use crate::worker::due::Due;
use crate::worker::lane::{self, Job, Lane, Mail};
use crate::worker::members::Share;
use crate::worker::ports::{SourceError, StateError};
use crate::worker::reader::{Intake, Reader, Shared};
use crate::worker::retry::{self, Outlet, RetryReader};
use crate::worker::runs::{RunReader, Walker};
use crate::worker::settings::{Settings, Topics};
use crate::worker::store_clock::StoreClock;
use crate::worker::turn::{Turn, Work};

use super::endpoints::Endpoints;
use super::ports::{OpenLog, OpenStore, VirtualClock};

/// The world that outlives its workers. Its ports must answer at once.
#[derive(Clone)]
pub struct World {
    pub clock: VirtualClock,
    pub store: Arc<dyn OpenStore>,
    pub log: Arc<dyn OpenLog>,
    pub endpoints: Endpoints,
}

/// Whether destinations that fail are halted, and rates are kept. Answers take no time here, so no slot is waited for but where its
/// request waits for its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// An endpoint answers as it is told to, however often it fails: what a scenario expects.
    No,
    Breakers,
}

/// Why a simulated worker cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Source(#[from] SourceError),
}

pub struct SimulatedWorker {
    world: World,
    follower: Arc<Follower>,
    reader: Reader,
    retries: RetryReader,
    runs: RunReader,
    walker: Walker,
    run_commits: Commits,
    event_commits: Commits,
    retry_commits: Commits,
    due: Due,
    lane: Lane,
    outside: Rc<Outside>,
    budgets: Budgets,
    /// Jobs whose requests wait for the rate of their destination.
    under_way: Vec<LocalBoxFuture<'static, Option<Mail>>>,
    mail: mpsc::UnboundedReceiver<Mail>,
    sender: mpsc::UnboundedSender<Mail>,
    clock: Arc<StoreClock>,
    status: Arc<LaneStatus>,
}

/// How often a start is tried while faults keep it from the store.
const START_TRIES: usize = 50;

impl SimulatedWorker {
    pub fn start(world: &World, settings: &Settings, policy: &Policy) -> Result<SimulatedWorker, Stopped> {
        SimulatedWorker::start_with(world, settings, policy, Guard::No)
    }

    /// With or without breakers.
    pub fn start_with(world: &World, settings: &Settings, policy: &Policy, guard: Guard) -> Result<SimulatedWorker, Stopped> {
        let mut tries = 0;
        loop {
            match SimulatedWorker::try_start(world, settings, policy, guard) {
                Err(Stopped::State(StateError::Unavailable(_))) if tries < START_TRIES => tries += 1,
                result => return result,
            }
        }
    }

    fn try_start(world: &World, settings: &Settings, policy: &Policy, guard: Guard) -> Result<SimulatedWorker, Stopped> {
        let settings = Arc::new(Settings { lanes: 1, ..settings.clone() });
        #[expect(clippy::expect_used, reason = "the names of metrics are fixed")]
        let metrics = Arc::new(Metrics::new(crate::telemetry::metrics::CampaignLabel::Auto).expect("metrics register"));
        let clock = Arc::new(StoreClock::new(Arc::new(world.clock.clone())));
        let follower = Arc::new(Follower::new(policy.clone()));
        let append: Arc<dyn crate::worker::ports::Append> = world.log.clone();
        let mut control = ready(world.store.session())?;
        ready(follower.catch_up(&mut *control))?;
        let (sender, mail) = mpsc::unbounded_channel();
        let destinations = Arc::new(Destinations::new(vec![sender.clone()], settings.max_in_flight, guard == Guard::Breakers));
        if guard == Guard::Breakers {
            destinations.shared(Some(Share { workers: 1, taken_until: Timestamp::MIN }), clock.now());
        }
        let status = Arc::new(LaneStatus::default());
        let store = world.store.clone();
        let identity = move || {
            let mut answer = ready(async { store.session().await?.identity().await });
            for _ in 0..START_TRIES {
                if !matches!(answer, Err(StateError::Unavailable(_))) {
                    break;
                }
                answer = ready(async { store.session().await?.identity().await });
            }
            answer
        };
        let commits = || Commits::new(vec![status.clone()], clock.clone(), Box::new(identity.clone()), settings.accept_state);
        let positions = Arc::default();
        let held = Arc::default();
        let names: Vec<&str> = settings.topics.events.iter().map(|topic| &**topic).collect();
        let shared = Shared {
            append: append.clone(),
            settings: settings.clone(),
            follower: follower.clone(),
            clock: clock.clone(),
            positions: Arc::clone(&positions),
        };
        let retry_topics = settings.topics.retries();
        let retry_names: Vec<&str> = retry_topics.iter().map(|topic| &**topic).collect();
        let turn = Turn::new(
            ready(world.store.session())?,
            append.clone(),
            clock.clone(),
            follower.clone(),
            settings.clone(),
            Counters::new(metrics.clone()),
        );
        let of_runs = Shared { positions: Arc::default(), ..shared.clone() };
        Ok(SimulatedWorker {
            runs: RunReader::new(world.log.join("campanile.runs", &[&settings.topics.runs]), of_runs.clone()),
            walker: Walker::new(ready(world.store.session())?, of_runs, Counters::new(metrics.clone())),
            run_commits: commits()?,
            event_commits: commits()?,
            retry_commits: commits()?,
            reader: Reader::new(world.log.join("campanile", &names), shared, ReaderCounters::new(&metrics)),
            retries: RetryReader::new(world.log.join("campanile.retry", &retry_names), append.clone(), settings.clone()),
            due: Due::new(control, clock.clone(), positions, Arc::clone(&held)),
            lane: Lane::new(0, turn, destinations.clone(), follower.clone(), clock.clone(), held),
            budgets: Budgets::new(ready(world.store.session())?, destinations.clone(), clock.clone()),
            under_way: Vec::new(),
            outside: Rc::new(Outside {
                append,
                exchange: Box::new(world.endpoints.exchange(&world.store, &world.clock)),
                clock: clock.clone(),
                destinations,
                links: Arc::default(),
                secrets: world.endpoints.secrets(),
                settings,
                metrics: Counters::new(metrics.clone()),
                complaints: Complaints::default(),
                exchanging: std::cell::Cell::default(),
            }),
            world: world.clone(),
            follower,
            mail,
            sender,
            clock,
            status,
        })
    }

    /// One round of everything. Answers whether anything happened.
    pub fn round(&mut self) -> Result<bool, Stopped> {
        let mut queue = Queue::default();
        tolerate(ready(self.follower.catch_up(self.due.state())))?;
        tolerate_source(self.reader.look(Duration::ZERO, &mut queue, &mut self.event_commits))?;
        let mut mail: Vec<Mail> = queue.0.into_iter().map(Mail::Work).collect();
        let now = self.clock.now();
        let mut outlet = ToLane { destinations: &self.outside.destinations, mail: &mut mail };
        tolerate_source(self.retries.turn(now, Duration::ZERO, &mut self.retry_commits, &mut outlet))?;
        if let Some(found) = tolerate(ready(self.due.look(true)))? {
            mail.extend(found.users.into_iter().map(|user| Mail::Wake { user, read_to: found.read_to }));
            found.agendas.into_iter().for_each(|id| self.walker.take(id));
        }
        let walked = tolerate(ready(self.walker.turn()))?.unwrap_or(true);
        let destinations = &self.outside.destinations;
        let read =
            self.runs.turn(Duration::ZERO, &mut self.run_commits, |name| destinations.queued(name), |work| mail.push(Mail::Work(work)));
        tolerate_source(read)?;
        while let Ok(more) = self.mail.try_recv() {
            mail.push(more);
        }
        // What waits for a rate waits for time.
        let mut worked = !mail.is_empty() || walked || self.lane.has_leftovers() && self.under_way.is_empty();
        if let Some(jobs) = tolerate(ready(self.lane.handle(mail)))? {
            worked |= !jobs.is_empty() || self.lane.is_ready();
            jobs.into_iter().for_each(|job| self.run(job));
        }
        worked |= self.lease_rates()?;
        let began = self.clock.monotonic();
        if tolerate(ready(self.lane.confirm()))?.is_some() {
            self.status.confirmed(began, self.lane.sequence());
        }
        Ok(worked)
    }

    /// A round for an event that has just come: reads it and turns it, and leaves out what only time makes due. Answers whether it led to
    /// anything that more rounds must carry on.
    pub fn event_round(&mut self) -> Result<bool, Stopped> {
        let mut queue = Queue::default();
        tolerate_source(self.reader.look(Duration::ZERO, &mut queue, &mut self.event_commits))?;
        if queue.0.is_empty() {
            return Ok(false);
        }
        let mail: Vec<Mail> = queue.0.into_iter().map(Mail::Work).collect();
        let jobs = tolerate(ready(self.lane.handle(mail)))?;
        let more = jobs.is_none() || self.lane.has_leftovers() || self.lane.is_ready();
        let jobs = jobs.unwrap_or_default();
        let worked = more || !jobs.is_empty();
        jobs.into_iter().for_each(|job| self.run(job));
        Ok(worked)
    }

    /// Runs a job to its end, or until it waits for the rate of its destination: nothing else takes time.
    fn run(&mut self, job: Job) {
        let outside = self.outside.clone();
        self.go_on(Box::pin(async move { lane::run(job, &outside).await }));
    }

    fn go_on(&mut self, mut running: LocalBoxFuture<'static, Option<Mail>>) {
        match (&mut running).now_or_never() {
            Some(mail) => mail.into_iter().for_each(|mail| drop(self.sender.send(mail))),
            None => self.under_way.push(running),
        }
    }

    /// Lets begin what its rate allows now. Answers whether anything did.
    fn lease_rates(&mut self) -> Result<bool, Stopped> {
        if self.under_way.is_empty() {
            return Ok(false);
        }
        tolerate(ready(self.budgets.turn()))?;
        let waiting = self.under_way.len();
        std::mem::take(&mut self.under_way).into_iter().for_each(|running| self.go_on(running));
        Ok(self.under_way.len() < waiting)
    }

    /// Follows the definitions at once.
    pub fn follow(&mut self) -> Result<(), Stopped> {
        ready(self.follower.catch_up(self.due.state()))?;
        Ok(())
    }

    /// How much the reader of the retry topics holds, in bytes.
    pub fn retries_held_bytes(&self) -> usize {
        self.retries.held_bytes()
    }

    /// What it has under way to each destination.
    pub fn destinations(&self) -> Vec<Look> {
        self.outside.destinations.look(self.clock.now())
    }

    /// When something will next want to be done although nothing comes in.
    pub fn next_time(&self) -> Option<Timestamp> {
        let rates = (!self.under_way.is_empty()).then(|| self.clock.now().after(ASK_EVERY));
        [self.world.store.next_wake(), self.retries.next_ready(), rates].into_iter().flatten().min()
    }
}

/// The lane's queue of a round.
#[derive(Default)]
struct Queue(Vec<Work>);

impl Intake for Queue {
    fn offer(&mut self, _: usize, work: Work) -> Result<(), Box<Work>> {
        self.0.push(work);
        Ok(())
    }
}

/// Retry messages on their way to the one lane.
struct ToLane<'a> {
    destinations: &'a Destinations,
    mail: &'a mut Vec<Mail>,
}

impl Outlet for ToLane<'_> {
    fn room(&self, destination: &str) -> Option<usize> {
        self.destinations.room_for_halted(destination)
    }

    fn give(&mut self, (message, ticket): retry::Due) -> Result<(), retry::Due> {
        self.mail.push(Mail::Retry(message, ticket));
        Ok(())
    }
}

/// The settings of a worker that does everything at once.
pub fn settings() -> Settings {
    Settings {
        topics: Topics::new(&["events".into()], "campanile"),
        generation: 1,
        lanes: 1,
        max_in_flight: 1024,
        ends_every: Duration::ZERO,
        drain: Duration::ZERO,
        omit: BTreeSet::new(),
        accept_state: false,
        alone: true,
    }
}

/// The defaults of the settings, with a fixed key for delivery ids.
pub fn policy() -> Policy {
    let hour = Duration::from_secs(3600);
    Policy {
        max_age: hour,
        max_lateness: 72 * hour,
        max_overdue: hour,
        timeout: Duration::from_secs(3),
        max_retries: 3,
        backoff: Backoff { base: Duration::from_secs(1), max: Duration::from_secs(10) },
        expires: 24 * hour,
        id_key: b"simulated".to_vec(),
        allow_http: true,
    }
}

/// The ports in memory answer at once: a future that is not ready has been forgotten by somebody.
pub(super) fn ready<T>(future: impl Future<Output = T>) -> T {
    #[expect(clippy::expect_used, reason = "a defect of the simulator, never of what it simulates")]
    future.now_or_never().expect("the ports in memory answer at once")
}

/// An unreachable store is tried again in the next round.
fn tolerate<T>(result: Result<T, StateError>) -> Result<Option<T>, Stopped> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StateError::Unavailable(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn tolerate_source<T>(result: Result<T, SourceError>) -> Result<Option<T>, Stopped> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(SourceError::Unavailable(_) | SourceError::Fenced(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

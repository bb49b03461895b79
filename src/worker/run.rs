//! The threads of a live worker, and how it starts, stops and gives up. Everything that is done here is done elsewhere; this only
//! waits.

mod follow;
mod rates;
mod retries;
mod stats;
mod wakes;
mod walks;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

use crate::engine::id::UserId;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::probes::{Health, Progress};

use super::attempt::{Outside, Secrets};
use super::commits::{AskIdentity, Commits, LaneStatus, LogReader};
use super::complaints::Complaints;
use super::counters::{Counters, ReaderCounters};
use super::definitions::Follower;
use super::dispatch::Destinations;
use super::driver::Driver;
use super::due::{Due, Held};
use super::links::LinkCache;
use super::members::{BEAT_EVERY, Members};
use super::ports::{Append, Clock, Exchange, OpenSource, Source, SourceError, State, StateError, Store};
use super::read_positions::ReadPositions;
use super::reader::{Intake, Looked, Reader, Shared};
use super::settings::Settings;
use super::stats::NotWritten;
use super::store_clock::StoreClock;
use super::turn::Work;
use wakes::{LANE_WAKES, Wakes};

pub(super) use wakes::Wake;

/// The world as a live worker has it.
pub struct Ports {
    pub store: Arc<dyn Store>,
    pub append: Arc<dyn Append>,
    pub clock: Arc<dyn Clock>,
    /// Each lane makes its own.
    pub exchange: Arc<dyn Fn() -> Box<dyn Exchange> + Send + Sync>,
    pub events: Box<dyn Source>,
    pub retries: Box<dyn Source>,
    pub runs: Box<dyn Source>,
    /// A reader of the outcomes, for the statistics; opened again when it fails.
    pub outcomes: OpenSource,
    pub secrets: Secrets,
}

/// Why a worker ended.
#[derive(Debug)]
pub enum Ended {
    /// It was told to stop and finished what was started.
    Drained,
    /// The store lost writes: begin again from the committed offsets.
    BeginAgain(String),
    /// Going on is not possible; says why and the way out.
    Failed(String),
}

/// Asks a worker to stop.
#[derive(Clone, Default)]
pub struct Stop(Arc<StopInner>);

#[derive(Default)]
struct StopInner {
    asked: AtomicBool,
    from_outside: AtomicBool,
    notify: Notify,
}

impl Stop {
    pub fn ask(&self) {
        self.0.asked.store(true, Ordering::Release);
        self.0.notify.notify_waiters();
    }

    /// As the operator does, not the worker itself.
    pub fn ask_from_outside(&self) {
        self.0.from_outside.store(true, Ordering::Release);
        self.ask();
    }

    pub fn asked(&self) -> bool {
        self.0.asked.load(Ordering::Acquire)
    }

    pub fn asked_from_outside(&self) -> bool {
        self.0.from_outside.load(Ordering::Acquire)
    }

    /// Takes back what the worker asked of itself, so that it can begin again.
    pub fn reset(&self) {
        self.0.asked.store(false, Ordering::Release);
        // Asked for by now, it stands; asked for from here on, it stands by itself.
        if self.asked_from_outside() {
            self.0.asked.store(true, Ordering::Release);
        }
    }
}

/// Events that wait for a lane.
const LANE_QUEUE: usize = 256;

/// How long an unanswered turn rests before it is tried again.
pub(super) const TRY_AGAIN: Duration = Duration::from_millis(100);

/// A store that does not say who it is for so long stops the worker: its partitions must not stand still longer.
const IDENTITY_WITHIN: Duration = Duration::from_secs(60);

/// A loop that has not come round for so long hangs. A turn may wait long for a store that is away: the session gives up sooner.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// So long a stopping worker lets what has no slot yet wait for one: most have it within milliseconds.
const QUEUED_FOR: Duration = Duration::from_secs(2);

/// How often what is due is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often what is seen of the destinations is written to the metrics.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);

/// How long a reader waits for records before it looks around.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// How often a group is served that is read no more.
const SERVE_EVERY: Duration = Duration::from_millis(20);

/// What all threads share.
pub(super) struct Common {
    pub settings: Arc<Settings>,
    pub follower: Arc<Follower>,
    pub clock: Arc<StoreClock>,
    pub append: Arc<dyn Append>,
    pub store: Arc<dyn Store>,
    positions: Arc<ReadPositions>,
    /// Of the topic of runs.
    run_positions: Arc<ReadPositions>,
    pub held: Arc<Held>,
    pub not_written: Arc<NotWritten>,
    pub metrics: Arc<Metrics>,
    health: Arc<Health>,
    pub stop: Stop,
    /// The first reason to give up; nobody commits anything after it.
    gave_up: std::sync::Mutex<Option<Ended>>,
    abort: AtomicBool,
    lanes_left: AtomicUsize,
}

impl Common {
    /// The handles of a reader, or a walker, with the positions that it notes or asks.
    fn shared(&self, positions: &Arc<ReadPositions>) -> Shared {
        Shared {
            append: self.append.clone(),
            settings: self.settings.clone(),
            follower: self.follower.clone(),
            clock: self.clock.clone(),
            positions: positions.clone(),
        }
    }

    fn give_up(&self, why: Ended) {
        let mut gave_up = self.gave_up.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if gave_up.is_none() {
            tracing::error!(?why, "the worker gives up");
            *gave_up = Some(why);
        }
        self.abort.store(true, Ordering::Release);
        self.stop.ask();
    }

    pub fn give_up_state(&self, error: StateError) {
        self.give_up(match error {
            StateError::RolledBack(_) => {
                self.metrics.state.rollbacks.inc();
                Ended::BeginAgain(error.to_string())
            }
            _ => Ended::Failed(error.to_string()),
        });
    }

    fn definitions_followed(&self) {
        let in_force = self.follower.in_force();
        self.metrics.definitions.revision.set(i64::try_from(in_force.revision).unwrap_or(i64::MAX));
        self.metrics.outcomes.campaigns_in_force(in_force.campaigns.len());
    }

    /// A loop of this worker, for the liveness probe.
    pub fn watch(&self, name: impl Into<Box<str>>) -> Progress {
        self.health.watch(name, STALLED_AFTER)
    }

    pub fn aborted(&self) -> bool {
        self.abort.load(Ordering::Acquire)
    }
}

/// Runs a worker until it is told to stop or cannot go on. Blocks; call it from a thread that may.
pub fn run(ports: Ports, settings: Settings, follower: Arc<Follower>, metrics: Arc<Metrics>, health: Arc<Health>, stop: Stop) -> Ended {
    let lanes = settings.lanes;
    let common = Arc::new(Common {
        follower,
        clock: Arc::new(StoreClock::new(ports.clock)),
        append: ports.append,
        store: ports.store,
        positions: Arc::default(),
        run_positions: Arc::default(),
        held: Arc::default(),
        not_written: Arc::default(),
        settings: Arc::new(settings),
        metrics,
        health,
        stop,
        gave_up: std::sync::Mutex::new(None),
        abort: AtomicBool::new(false),
        lanes_left: AtomicUsize::new(lanes),
    });
    let sources = Sources { events: ports.events, retries: ports.retries, runs: ports.runs, outcomes: ports.outcomes };
    match start(&common, ports.exchange, ports.secrets, sources) {
        Ok(threads) => {
            common.health.ready("worker");
            // One that panicked has said so.
            threads.into_iter().for_each(|thread| drop(thread.join()));
        }
        Err(error) => common.give_up_state(error),
    }
    let ended = common.gave_up.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    ended.unwrap_or(Ended::Drained)
}

type MakeExchange = Arc<dyn Fn() -> Box<dyn Exchange> + Send + Sync>;

struct Sources {
    events: Box<dyn Source>,
    retries: Box<dyn Source>,
    runs: Box<dyn Source>,
    outcomes: OpenSource,
}

fn start(
    common: &Arc<Common>,
    exchange: MakeExchange,
    secrets: Secrets,
    Sources { events, retries, runs, outcomes }: Sources,
) -> Result<Vec<JoinHandle<()>>, StateError> {
    let starting = runtime();
    starting.block_on(first_definitions(common))?;
    let mailboxes: Vec<_> = (0..common.settings.lanes).map(|_| mpsc::unbounded_channel()).collect();
    let senders: Vec<_> = mailboxes.iter().map(|(sender, _)| sender.clone()).collect();
    let destinations = Arc::new(Destinations::new(senders.clone(), common.settings.max_in_flight, true));
    let status: Vec<Arc<LaneStatus>> = (0..common.settings.lanes).map(|_| Arc::default()).collect();
    let links: Arc<LinkCache> = Arc::default();
    let mut threads = Vec::new();
    let (mut queues, mut wake_queues, mut retry_queues) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (sender, mail)) in mailboxes.into_iter().enumerate() {
        let (queue, work) = mpsc::channel(LANE_QUEUE);
        queues.push(queue);
        let (wake_queue, wakes) = mpsc::channel(LANE_WAKES);
        wake_queues.push(wake_queue);
        let (retry_queue, due_retries) = mpsc::channel(LANE_QUEUE);
        retry_queues.push(retry_queue);
        let (shared, exchange, secrets) = (common.clone(), exchange.clone(), secrets.clone());
        let (destinations, links, status) = (destinations.clone(), links.clone(), status[number].clone());
        threads.push(named(common, &format!("lane-{number}"), move || {
            let outside = Outside {
                append: shared.append.clone(),
                exchange: exchange(),
                clock: shared.clock.clone(),
                destinations: destinations.clone(),
                links,
                secrets,
                settings: shared.settings.clone(),
                metrics: Counters::new(shared.metrics.clone()),
                complaints: Complaints::default(),
                exchanging: std::cell::Cell::default(),
            };
            let (jobs, eased, outside) = (Rc::default(), Rc::default(), Rc::new(outside));
            let driver = Driver { number, work, wakes, retries: due_retries, mail, sender, status, jobs, eased, outside };
            LocalSet::new().block_on(&runtime(), driver.run(&shared, destinations));
            shared.lanes_left.fetch_sub(1, Ordering::AcqRel);
        }));
    }
    let commits =
        |common: &Arc<Common>| Commits::new(status.clone(), common.clock.clone(), ask_identity(common), common.settings.accept_state);
    let (event_commits, retry_commits, run_commits) = (commits(common)?, commits(common)?, commits(common)?);
    let shared = common.clone();
    threads.push(named(common, "events", move || read_events(&shared, events, event_commits, queues)));
    let (shared, called) = (common.clone(), destinations.clone());
    threads.push(named(common, "retries", move || retries::read(&shared, retries, retry_commits, &retry_queues, &called)));
    let (shared, lanes, crowds) = (common.clone(), senders.clone(), destinations.clone());
    threads.push(named(common, "runs", move || walks::read_runs(&shared, runs, run_commits, &lanes, &crowds)));
    let shared = common.clone();
    threads.push(named(common, "stats", move || stats::keep(&shared, &outcomes)));
    let (shared, rated) = (common.clone(), destinations.clone());
    threads.push(named(common, "rates", move || runtime().block_on(rates::lease(&shared, rated))));
    let (agendas, due_agendas) = mpsc::unbounded_channel();
    let shared = common.clone();
    threads.push(named(common, "walks", move || runtime().block_on(walks::walk(&shared, due_agendas))));
    let shared = common.clone();
    threads.push(named(common, "definitions", move || runtime().block_on(follow::follow(&shared))));
    let shared = common.clone();
    threads.push(named(common, "control", move || {
        LocalSet::new().block_on(&starting, control(&shared, Wakes::new(wake_queues), &destinations, &agendas))
    }));
    Ok(threads)
}

/// A thread without which the worker cannot go on: it ends when this one panics.
fn named(common: &Arc<Common>, name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let needed = Needed(common.clone());
    let body = move || {
        let _needed = needed;
        body();
    };
    // The system refuses threads only when it is out of them: nothing can be done then.
    #[expect(clippy::expect_used, reason = "out of threads at start")]
    thread::Builder::new().name(name.into()).spawn(body).expect("the system starts a thread")
}

struct Needed(Arc<Common>);

impl Drop for Needed {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.give_up(Ended::Failed("a thread of the worker panicked: this is a defect, see the log before this line".into()));
        }
    }
}

fn runtime() -> Runtime {
    #[expect(clippy::expect_used, reason = "out of file descriptors at start")]
    Builder::new_current_thread().enable_all().build().expect("the system gives a runtime its descriptors")
}

/// The definitions are in force before anything is read: else events would pass as being of no interest.
async fn first_definitions(common: &Common) -> Result<(), StateError> {
    let mut state = common.store.session().await?;
    common.follower.catch_up(&mut *state).await?;
    common.definitions_followed();
    Ok(())
}

/// A reader's question to the store. It is rare and waits for its answer, on a runtime of its own.
fn ask_identity(common: &Arc<Common>) -> AskIdentity {
    let store = common.store.clone();
    let runtime = runtime();
    Box::new(move || {
        runtime.block_on(async {
            let deadline = Instant::now() + IDENTITY_WITHIN;
            loop {
                let answer = async { store.session().await?.identity().await }.await;
                match answer {
                    Err(StateError::Unavailable(error)) if Instant::now() < deadline => {
                        tracing::warn!(%error, "the state store is asked again who it is");
                        sleep(TRY_AGAIN).await;
                    }
                    answer => return answer,
                }
            }
        })
    })
}

/// The lanes' queues, as the reader sees them.
struct Queues(Vec<mpsc::Sender<Work>>);

impl Intake for Queues {
    fn offer(&mut self, lane: usize, work: Work) -> Result<(), Box<Work>> {
        self.0[lane].try_send(work).map_err(|error| Box::new(error.into_inner()))
    }
}

fn read_events(common: &Arc<Common>, source: Box<dyn Source>, mut commits: Commits, queues: Vec<mpsc::Sender<Work>>) {
    let mut reader = Reader::new(source, common.shared(&common.positions), ReaderCounters::new(&common.metrics));
    let mut queues = Queues(queues);
    let progress = common.watch("events");
    let result = (|| {
        while !common.stop.asked() {
            if reader.look(POLL_WAIT, &mut queues, &mut commits)? == Looked::Stalled {
                thread::sleep(Duration::from_millis(1));
            }
            progress.stamp();
        }
        // No more events: the lanes see their queues closed and finish.
        queues.0.clear();
        leave(common, &mut reader, &mut commits, &progress)
    })();
    finish(common, result);
}

/// Serves the group until the lanes have finished, then leaves it.
fn leave(common: &Common, reader: &mut dyn LogReader, commits: &mut Commits, progress: &Progress) -> Result<(), SourceError> {
    while common.lanes_left.load(Ordering::Acquire) > 0 && !common.aborted() {
        reader.rest(commits)?;
        progress.stamp();
        thread::sleep(SERVE_EVERY);
    }
    if common.aborted() { Ok(()) } else { reader.leave(commits) }
}

fn finish(common: &Common, result: Result<(), SourceError>) {
    if let Err(error) = result {
        common.give_up(Ended::Failed(error.to_string()));
    }
}

/// Looks for what is due, and says that this worker lives.
async fn control(common: &Arc<Common>, mut wakes: Wakes, destinations: &Destinations, agendas: &mpsc::UnboundedSender<UserId>) {
    let state = match common.store.session().await {
        Ok(state) => state,
        Err(error) => return common.give_up_state(error),
    };
    let mut members = Members::new(common.settings.alone);
    let mut beat_at = Instant::now();
    let mut due = Due::new(state, common.clock.clone(), common.positions.clone(), common.held.clone());
    let progress = common.watch("control");
    let mut observe_at = Instant::now();
    while !common.stop.asked() {
        beat(common, &mut members, &mut beat_at, due.state(), destinations).await;
        if Instant::now() >= observe_at {
            observe_at = Instant::now() + OBSERVE_EVERY;
            destinations.observe(|destination, waiting, halted| {
                common.metrics.delivery.waiting(destination, waiting);
                common.metrics.delivery.breaker(destination, halted);
            });
        }
        let more = match due.look(wakes.have_room()).await {
            Ok(found) => {
                common.health.ready("state");
                found.overdue.into_iter().for_each(|overdue| common.metrics.due.lag_seconds.set(overdue.as_secs_f64()));
                for user in found.users {
                    let lane = common.settings.lane_of(&user);
                    wakes.offer(lane, Wake { user, read_to: found.read_to });
                }
                for agenda in found.agendas {
                    let _ = agendas.send(agenda);
                }
                found.more
            }
            Err(StateError::Unavailable(error)) => {
                common.health.not_ready("state", "the state store does not answer");
                tracing::warn!(%error, "what is due is not known just now");
                false
            }
            Err(error) => return common.give_up_state(error),
        };
        progress.stamp();
        if !more {
            let _ = timeout(LOOK_EVERY, common.stop.0.notify.notified()).await;
        }
    }
    // The readers' questions run on this runtime until they have left.
    let close_at = Instant::now() + QUEUED_FOR.min(common.settings.drain / 2);
    while common.lanes_left.load(Ordering::Acquire) > 0 && !common.aborted() {
        beat(common, &mut members, &mut beat_at, due.state(), destinations).await;
        if Instant::now() >= close_at {
            destinations.close(common.clock.now());
        }
        progress.stamp();
        sleep(Duration::from_millis(20)).await;
    }
    if let Err(error) = members.leave(due.state(), common.clock.now()).await {
        tracing::debug!(%error, "the others count this worker for some seconds more");
    }
}

/// Says now and then that this worker lives, and has its share of the limits taken over.
async fn beat(common: &Common, members: &mut Members, next: &mut Instant, state: &mut dyn State, destinations: &Destinations) {
    if Instant::now() < *next {
        return;
    }
    *next = Instant::now() + BEAT_EVERY;
    let now = common.clock.now();
    if let Err(error) = members.beat(state, now, destinations.look(now)).await {
        tracing::warn!(%error, "the other workers cannot be counted just now");
    }
    let now = common.clock.now();
    destinations.shared(members.share(now), now);
}

#[cfg(test)]
mod tests;

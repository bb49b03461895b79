//! One lane's thread: waits for mail and events, has the lane handle them, runs its jobs beside it, and confirms.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

use super::attempt::Outside;
use super::commits::LaneStatus;
use super::counters::Counters;
use super::dispatch::Destinations;
use super::lane::{self, Lane, Mail};
use super::ports::StateError;
use super::retry;
use super::run::{Common, TRY_AGAIN, Wake};
use super::turn::{Turn, Work};

/// Inputs turned at once.
const TURN_INPUTS: usize = 128;

/// Of them due users, at most: events do not wait for them, nor they for events.
const TURN_WAKES: usize = TURN_INPUTS / 2;

/// Attempts and appends in progress in one lane; beyond it no new events are taken.
const LANE_JOBS: usize = 2048;

const CONFIRM_EVERY: Duration = Duration::from_millis(500);

/// While something found everything busy.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// While the worker stops: the other lanes tell nobody that they are through.
const LOOK_WHETHER_OVER: Duration = Duration::from_millis(20);

/// One lane's thread.
pub(super) struct Driver {
    pub number: usize,
    pub work: mpsc::Receiver<Work>,
    pub wakes: mpsc::Receiver<Wake>,
    pub retries: mpsc::Receiver<retry::Due>,
    pub mail: mpsc::UnboundedReceiver<Mail>,
    pub sender: mpsc::UnboundedSender<Mail>,
    pub status: Arc<LaneStatus>,
    /// What runs beside the lane.
    pub jobs: Rc<Cell<usize>>,
    /// One of them is over.
    pub eased: Rc<Notify>,
    pub outside: Rc<Outside>,
}

impl Driver {
    pub async fn run(mut self, common: &Arc<Common>, destinations: Arc<Destinations>) {
        if let Err(error) = self.turn_until_told(common, destinations).await {
            common.give_up_state(error);
        }
    }

    async fn turn_until_told(&mut self, common: &Arc<Common>, destinations: Arc<Destinations>) -> Result<(), StateError> {
        let state = common.store.session().await?;
        let (append, clock, follower) = (common.append.clone(), common.clock.clone(), common.follower.clone());
        let counters = Counters::new(common.metrics.clone()).noting(common.not_written.clone());
        let turn = Turn::new(state, append, clock.clone(), follower.clone(), common.settings.clone(), counters);
        let mut lane = Lane::new(self.number, turn, destinations.clone(), follower, clock, common.held.clone());
        let progress = common.watch(format!("lane-{}", self.number));
        let mut confirm_at = Instant::now();
        let (mut drain_until, mut resting) = (None, false);
        while !common.aborted() {
            let mail = self.gather(&lane, confirm_at, drain_until.is_some()).await;
            if resting && !mail.is_empty() {
                resting = false;
                destinations.unfinished.begin();
            }
            lane.receive(mail).into_iter().for_each(|job| self.spawn(job));
            match lane.turn().await {
                Ok(jobs) => jobs.into_iter().for_each(|job| self.spawn(job)),
                Err(StateError::Unavailable(error)) => {
                    tracing::warn!(%error, lane = self.number, "the turn waits for the store");
                    sleep(TRY_AGAIN).await;
                }
                Err(error) => return Err(error),
            }
            self.status.stored(lane.sequence());
            progress.stamp();
            if Instant::now() >= confirm_at {
                self.confirm(&mut lane, common).await?;
                confirm_at = Instant::now() + CONFIRM_EVERY;
            }
            if common.stop.asked() {
                lane.stop();
                let until = *drain_until.get_or_insert_with(|| Instant::now() + common.settings.drain);
                if !resting && self.is_idle(&lane) {
                    resting = true;
                    destinations.unfinished.end();
                }
                if destinations.unfinished.is_over() || Instant::now() >= until {
                    if self.confirm(&mut lane, common).await? {
                        self.status.leave();
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Waits for something to do and takes what there is.
    async fn gather(&mut self, lane: &Lane, confirm_at: Instant, leaving: bool) -> Vec<Mail> {
        let (mut mail, mut wakes, mut retries, mut work) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let has_room = !lane.has_leftovers() && self.jobs.get() < LANE_JOBS && self.unsettled() < self.max_unsettled();
        let takes_events = has_room && lane.takes_events();
        // Those that a stopping worker has read stand in the retry topic for the next one.
        let takes_retries = has_room && !leaving;
        let look_again = match (lane.has_leftovers(), leaving) {
            (true, _) => Instant::now() + LOOK_AGAIN,
            (false, true) => Instant::now() + LOOK_WHETHER_OVER,
            (false, false) => confirm_at,
        };
        tokio::select! {
            biased;
            _ = self.mail.recv_many(&mut mail, TURN_INPUTS) => {}
            _ = self.wakes.recv_many(&mut wakes, TURN_WAKES), if takes_events && !self.wakes.is_closed() => {}
            _ = self.retries.recv_many(&mut retries, TURN_INPUTS), if takes_retries && !self.retries.is_closed() => {}
            received = self.work.recv_many(&mut work, TURN_INPUTS), if takes_events && !self.work.is_closed() => { let _ = received; }
            () = self.eased.notified(), if !has_room => {}
            () = std::future::ready(()), if lane.is_ready() => {}
            () = sleep_until(look_again.min(Instant::now() + CONFIRM_EVERY)) => {}
        }
        if takes_retries {
            fill(&mut self.retries, &mut retries, TURN_INPUTS);
        }
        if takes_events {
            fill(&mut self.wakes, &mut wakes, TURN_WAKES);
            fill(&mut self.work, &mut work, TURN_INPUTS);
        }
        mail.extend(wakes.into_iter().map(|Wake { user, read_to }| Mail::Wake { user, read_to }));
        mail.extend(retries.into_iter().map(|(message, ticket)| Mail::Retry(message, ticket)));
        mail.extend(work.into_iter().map(Mail::Work));
        mail
    }

    /// What is answered, or was parked, and whose lines are not acknowledged.
    fn unsettled(&self) -> usize {
        self.jobs.get().saturating_sub(self.outside.exchanging.get())
    }

    /// A worker that dies repeats what it had in flight: what is not settled is held to the same bound, however slow the log is.
    fn max_unsettled(&self) -> usize {
        let settings = &self.outside.settings;
        (settings.max_in_flight / settings.lanes.max(1)).max(1)
    }

    fn spawn(&self, job: lane::Job) {
        self.jobs.set(self.jobs.get() + 1);
        let (jobs, eased, outside, sender) = (self.jobs.clone(), self.eased.clone(), self.outside.clone(), self.sender.clone());
        tokio::task::spawn_local(async move {
            if let Some(mail) = lane::run(job, &outside).await {
                // The lane is gone only when the worker is: the lease will be taken over.
                let _ = sender.send(mail);
            }
            jobs.set(jobs.get() - 1);
            eased.notify_one();
        });
    }

    /// Whether the store confirmed.
    async fn confirm(&self, lane: &mut Lane, common: &Common) -> Result<bool, StateError> {
        let began = common.clock.monotonic();
        match lane.confirm().await {
            Ok(()) => {
                self.status.confirmed(began, lane.sequence());
                Ok(true)
            }
            Err(StateError::Unavailable(error)) => {
                tracing::warn!(%error, "the store does not confirm");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn is_idle(&self, lane: &Lane) -> bool {
        lane.is_empty()
            && self.jobs.get() == 0
            && self.mail.is_empty()
            && self.wakes.is_empty()
            && self.work.is_empty()
            && self.work.is_closed()
    }
}

/// Takes what is there without waiting, until so many are taken.
fn fill<T>(from: &mut mpsc::Receiver<T>, taken: &mut Vec<T>, most: usize) {
    while taken.len() < most {
        match from.try_recv() {
            Ok(more) => taken.push(more),
            Err(_) => break,
        }
    }
}

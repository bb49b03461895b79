//! What a lane counts, in the worker's words. One per thread: the labelled instruments are kept at hand without a lock.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::effect::{Decision, Outcome, Reason};
use crate::engine::time::Timestamp;
use crate::telemetry::metrics::{Counted, LaneMetrics, Metrics, OutcomeMetrics, ReaderMetrics, ReadingMetrics};

use super::outcomes::AttemptResult;
use super::ports::Partition;
use super::stats::NotWritten;

pub struct Counters {
    shared: Arc<Metrics>,
    lane: RefCell<LaneMetrics>,
    not_written: Arc<NotWritten>,
}

impl Counters {
    pub fn new(shared: Arc<Metrics>) -> Counters {
        let lane = RefCell::new(shared.lane());
        Counters { shared, lane, not_written: Arc::default() }
    }

    /// Counts what is not written for the statistics, too.
    pub fn noting(self, not_written: Arc<NotWritten>) -> Counters {
        Counters { not_written, ..self }
    }

    /// A decision of which no line is written.
    pub fn not_written(&self, decision: &Decision) {
        self.not_written.count(decision);
    }

    pub fn decided(&self, decision: &Decision) {
        let outcome = match decision.outcome {
            Outcome::Sent => "sent",
            Outcome::Deferred => "deferred",
            Outcome::Suppressed => "suppressed",
        };
        let reason = decision.reason.map_or("", |reason| reason.as_str());
        self.lane.borrow_mut().decided(&decision.campaign, outcome, reason);
    }

    /// A run that was passed over, or not finished: one count for all its users.
    pub fn run_stale(&self, campaign: &str) {
        self.lane.borrow_mut().decided(campaign, "suppressed", Reason::Stale.as_str());
    }

    pub fn variable_missing(&self, campaign: &str, count: u32) {
        self.lane.borrow_mut().template_missing(campaign, count);
    }

    pub fn attempted(&self, destination: &str, result: AttemptResult, took: Duration) {
        self.lane.borrow_mut().attempted(destination, result.as_str(), took);
    }

    /// One link of a send: `fetched`, `cached` or `failed`.
    pub fn linked(&self, campaign: &str, result: &str, took: Duration) {
        self.lane.borrow_mut().linked(campaign, result, took);
    }

    /// One attempt is under way until the guard is dropped.
    pub fn in_flight(&self, destination: &str) -> Counted {
        self.lane.borrow_mut().in_flight(destination)
    }

    /// From the event's broker time to the start of its first request.
    pub fn event_to_request(&self, took: Duration) {
        self.shared.delivery.event_to_request_seconds.observe(took.as_secs_f64());
    }

    /// How overdue a timer was when it was looked at.
    pub fn timer_overdue(&self, by: Duration) {
        self.shared.due.lag_seconds.set(by.as_secs_f64());
    }

    pub fn retry_scheduled(&self) {
        self.shared.delivery.retry_scheduled.inc();
    }

    pub fn dead(&self, reason: &str) {
        self.shared.outcomes.dead(reason);
    }

    pub fn committed(&self, took: Duration, conflicts: usize) {
        self.shared.state.commit_seconds.observe(took.as_secs_f64());
        self.shared.state.conflicts.inc_by(conflicts as u64);
    }

    pub fn record_bytes(&self, bytes: usize) {
        self.shared.state.record_bytes.observe(bytes as f64);
    }
}

/// What the reader of the events counts. Records come in runs of one partition, and most of a run is of no interest: those are
/// counted together.
pub struct ReaderCounters {
    events: ReaderMetrics,
    reading: ReadingMetrics,
    outcomes: OutcomeMetrics,
    run: Option<Run>,
}

struct Run {
    partition: Partition,
    uninteresting: u64,
    last: Timestamp,
}

impl ReaderCounters {
    pub fn new(metrics: &Metrics) -> ReaderCounters {
        ReaderCounters { events: metrics.reader(), reading: metrics.reading.clone(), outcomes: metrics.outcomes.clone(), run: None }
    }

    /// The records that follow are of this partition.
    pub fn begin_run(&mut self, partition: &Partition, now: Timestamp) {
        self.end_run(now);
        self.run = Some(Run { partition: partition.clone(), uninteresting: 0, last: now });
    }

    pub fn uninteresting(&mut self, time: Timestamp) {
        if let Some(run) = &mut self.run {
            run.uninteresting += 1;
            run.last = time;
        }
    }

    /// A record that cannot be read.
    pub fn dead(&mut self, reason: &str, time: Timestamp) {
        self.read(reason, time);
        self.outcomes.dead(reason);
    }

    /// `handled` or `empty`, or the reason for which it was dead-lettered.
    pub fn read(&mut self, result: &str, time: Timestamp) {
        if let Some(run) = &mut self.run {
            self.events.read(&run.partition.topic, result, 1);
            run.last = time;
        }
    }

    pub fn end_run(&mut self, now: Timestamp) {
        if let Some(run) = self.run.take() {
            self.events.read(&run.partition.topic, "uninteresting", run.uninteresting);
            self.reading.lag(&run.partition.topic, run.partition.number, now.since(run.last));
        }
    }
}

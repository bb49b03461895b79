//! What a lane counts, in the worker's words. One per thread: the labelled instruments are kept at hand without a lock.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::effect::{Decision, Outcome, Reason};
use crate::engine::time::Timestamp;
use crate::telemetry::metrics::{Counted, LaneMetrics, Metrics, OutcomeMetrics, ReaderMetrics, ReadingMetrics};

use super::outcomes::AttemptResult;
use super::ports::{Partition, Polled};
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

    /// Once each: a line that is repeated was counted when it came first.
    pub fn decided(&self, decision: &Decision) {
        if decision.again {
            return;
        }
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

    /// Traits beyond what a profile holds.
    pub fn traits_refused(&self, count: u32) {
        self.shared.outcomes.traits_refused.inc_by(count.into());
    }

    pub fn attempted(&self, destination: &str, result: AttemptResult, took: Duration) {
        self.lane.borrow_mut().attempted(destination, result.as_str(), took);
    }

    /// One link of a send: `fetched`, `cached` or `failed`.
    pub fn linked(&self, campaign: &str, result: &str, took: Duration) {
        self.lane.borrow_mut().linked(campaign, result, took);
    }

    /// One attempt is in flight until the guard is dropped.
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
    /// The partition of the last run, and the broker's time of its last record.
    last: Option<(Partition, Timestamp)>,
    /// When the log last answered.
    answered: Timestamp,
    /// All partitions have a lag of zero already.
    caught_up: bool,
    /// When a lag was last told without anything being read.
    told: Timestamp,
}

/// How often a lag that only time changes is told.
const LAG_EVERY: Duration = Duration::from_secs(1);

struct Run {
    partition: Partition,
    uninteresting: u64,
    last: Timestamp,
}

impl ReaderCounters {
    pub fn new(metrics: &Metrics) -> ReaderCounters {
        ReaderCounters {
            events: metrics.reader(),
            reading: metrics.reading.clone(),
            outcomes: metrics.outcomes.clone(),
            run: None,
            last: None,
            answered: Timestamp::MAX,
            caught_up: false,
            told: Timestamp::MIN,
        }
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
            self.last = Some((run.partition, run.last));
            self.caught_up = false;
        }
    }

    /// The log answered. When it waited and found `nothing`, all is read of the `partitions` that we have.
    pub fn answered(&mut self, now: Timestamp, polled: &Polled, nothing: bool, partitions: impl FnOnce() -> Vec<Partition>) {
        self.answered = now;
        if nothing && !std::mem::replace(&mut self.caught_up, true) {
            partitions().iter().for_each(|partition| self.reading.lag(&partition.topic, partition.number, Duration::ZERO));
        }
        for partition in &polled.revoked {
            self.reading.forget(&partition.topic, partition.number);
            self.last.take_if(|(last, _)| last == partition);
        }
        if !polled.assigned.is_empty() {
            self.caught_up = false;
        }
    }

    /// The log does not answer: what may lie in it is as old as its last answer.
    pub fn away(&mut self, now: Timestamp, partitions: impl FnOnce() -> Vec<Partition>) {
        if self.tell(now) {
            self.caught_up = false;
            let lag = now.since(self.answered);
            partitions().iter().for_each(|partition| self.reading.lag(&partition.topic, partition.number, lag));
        }
    }

    /// The last record that was read finds no room in its lane.
    pub fn stalled(&mut self, now: Timestamp) {
        if self.tell(now)
            && let Some((partition, time)) = &self.last
        {
            self.reading.lag(&partition.topic, partition.number, now.since(*time));
        }
    }

    fn tell(&mut self, now: Timestamp) -> bool {
        let due = now.since(self.told) >= LAG_EVERY;
        if due {
            self.told = now;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::id::DeliveryId;
    use crate::engine::record::Claim;
    use crate::telemetry::metrics::CampaignLabel;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    fn partition(number: i32) -> Partition {
        Partition { topic: "events".into(), number }
    }

    /// The lag of each partition that has one, as Prometheus reads it.
    fn lags(metrics: &Metrics) -> Vec<(String, f64)> {
        let families = metrics.registry.gather();
        let family = families.iter().find(|family| family.name() == "campanile_event_lag_seconds");
        let series = family.map(|family| family.get_metric()).unwrap_or_default();
        series.iter().map(|one| (one.get_label()[0].value().to_owned(), one.get_gauge().get_value())).collect()
    }

    #[test]
    fn a_decision_is_counted_once_however_often_its_line_is_written() {
        let metrics = Arc::new(Metrics::new(CampaignLabel::Auto).unwrap());
        let counters = Counters::new(metrics.clone());
        let claim = Claim::of_test("cart", at(0));
        let first = Decision::sent(&"u1".into(), &claim, DeliveryId([1; 16]));
        counters.decided(&first);
        counters.decided(&Decision { again: true, ..first });
        drop(counters);
        let families = metrics.registry.gather();
        let family = families.iter().find(|family| family.name() == "campanile_decisions_total").expect("a family");
        assert_eq!(family.get_metric().iter().map(|one| one.get_counter().get_value()).sum::<f64>(), 1.0);
    }

    #[test]
    fn a_lag_is_what_is_unread_not_what_was_read_last() {
        let metrics = Metrics::new(CampaignLabel::Off).unwrap();
        let mut counters = ReaderCounters::new(&metrics);
        let ours = || vec![partition(0), partition(1)];
        let check = |expect: &[(&str, f64)]| {
            let expect: Vec<(String, f64)> = expect.iter().map(|(number, lag)| ((*number).to_owned(), *lag)).collect();
            assert_eq!(lags(&metrics), expect);
        };

        counters.begin_run(&partition(0), at(100));
        counters.uninteresting(at(40));
        counters.end_run(at(100));
        counters.answered(at(100), &Polled::default(), false, ours);
        check(&[("0", 60.0)]);
        // Old events, but no more of them.
        counters.answered(at(101), &Polled::default(), true, ours);
        check(&[("0", 0.0), ("1", 0.0)]);

        counters.away(at(131), ours);
        check(&[("0", 30.0), ("1", 30.0)]);
        counters.answered(at(140), &Polled::default(), true, ours);
        check(&[("0", 0.0), ("1", 0.0)]);

        counters.begin_run(&partition(1), at(150));
        counters.uninteresting(at(150));
        counters.end_run(at(150));
        counters.stalled(at(170));
        check(&[("0", 0.0), ("1", 20.0)]);
        // Told at most once a second.
        counters.stalled(at(170));
        counters.stalled(at(200));
        check(&[("0", 0.0), ("1", 50.0)]);

        let moved = Polled { revoked: vec![partition(1)], ..Polled::default() };
        counters.answered(at(210), &moved, false, ours);
        counters.stalled(at(220));
        check(&[("0", 0.0)]);
    }
}

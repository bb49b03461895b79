//! Metrics: a struct per room, registered once, under the names of contract section 8. No user or event id is ever a label.
//!
//! What a lane or a reader counts for every input goes through [`LaneMetrics`] and [`ReaderMetrics`], which keep the labelled
//! instruments at hand; the rest is counted on the rooms themselves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::children::Children;

/// With more campaigns in force than this, `auto` leaves the campaign label empty: a series per campaign, outcome and reason
/// would be more than the worker's other series together.
pub const MAX_LABELLED_CAMPAIGNS: usize = 1000;

/// From a receiver next door to the longest timeout of a destination, 90 s.
const ATTEMPT_BUCKETS: [f64; 14] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 90.0];
/// From an event's broker time to its request: a pipeline that keeps up, to one that is an hour behind.
const EVENT_TO_REQUEST_BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0, 1200.0, 3600.0];
const COMMIT_BUCKETS: [f64; 12] = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];
/// Up to the hard bound of a record, 256 KiB.
const RECORD_BUCKETS: [f64; 9] = [256.0, 512.0, 1024.0, 2048.0, 4096.0, 16_384.0, 65_536.0, 131_072.0, 262_144.0];

/// `telemetry.campaign_label`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CampaignLabel {
    /// Off above [`MAX_LABELLED_CAMPAIGNS`].
    #[default]
    Auto,
    On,
    Off,
}

/// All instruments of a process.
#[derive(Clone)]
pub struct Metrics {
    pub registry: Registry,
    pub reading: ReadingMetrics,
    pub ingest: IngestMetrics,
    pub outcomes: OutcomeMetrics,
    pub delivery: DeliveryMetrics,
    pub state: StateMetrics,
    pub due: DueMetrics,
    pub definitions: DefinitionMetrics,
}

impl Metrics {
    /// Registers every instrument in a registry of its own. Fails only if two of them had one name.
    pub fn new(campaign_label: CampaignLabel) -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let room = Room(&registry);
        let build_info = room.gauges("build_info", "1, labelled with the version of this binary", &["version"])?;
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Metrics {
            reading: ReadingMetrics::new(&room)?,
            ingest: IngestMetrics::new(&room)?,
            outcomes: OutcomeMetrics::new(&room, campaign_label)?,
            delivery: DeliveryMetrics::new(&room)?,
            state: StateMetrics::new(&room)?,
            due: DueMetrics::new(&room)?,
            definitions: DefinitionMetrics::new(&room)?,
            registry,
        })
    }

    /// What one lane counts with.
    pub fn lane(&self) -> LaneMetrics {
        LaneMetrics {
            labelled: self.outcomes.labelled.clone(),
            decisions: Children::new(&self.outcomes.decisions),
            template_missing: Children::new(&self.outcomes.template_missing),
            attempts: Children::new(&self.delivery.attempts),
            attempt_seconds: Children::new(&self.delivery.attempt_seconds),
            in_flight: Children::new(&self.delivery.in_flight),
            link_seconds: Children::new(&self.delivery.link_seconds),
        }
    }

    /// What one reading thread counts with.
    pub fn reader(&self) -> ReaderMetrics {
        ReaderMetrics { events: Children::new(&self.reading.events) }
    }
}

/// Reading the events topics.
#[derive(Clone)]
pub struct ReadingMetrics {
    events: IntCounterVec,
    registry: Registry,
    /// A family per topic, the topic a constant label: partition 2 of `events1` must not be partition 12 of `events` (see
    /// [`Children`]).
    lag_seconds: Arc<Mutex<BTreeMap<Box<str>, GaugeVec>>>,
}

impl ReadingMetrics {
    fn new(room: &Room<'_>) -> Result<ReadingMetrics, prometheus::Error> {
        Ok(ReadingMetrics {
            events: room.counters("events_total", "Events read, by what became of them", &["topic", "result"])?,
            registry: room.0.clone(),
            lag_seconds: Arc::default(),
        })
    }

    /// How far behind this partition is read.
    pub fn lag(&self, topic: &str, partition: i32, lag: Duration) {
        let mut families = self.lag_seconds.lock().unwrap_or_else(PoisonError::into_inner);
        if !families.contains_key(topic) {
            let Ok(family) = self.lag_family(topic) else { return };
            families.insert(topic.into(), family);
        }
        families[topic].with_label_values(&[&partition.to_string()]).set(lag.as_secs_f64());
    }

    /// The partition is read by another: it has no lag here.
    pub fn forget(&self, topic: &str, partition: i32) {
        let families = self.lag_seconds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(family) = families.get(topic) {
            // It may never have been read at all.
            let _ = family.remove_label_values(&[&partition.to_string()]);
        }
    }

    fn lag_family(&self, topic: &str) -> Result<GaugeVec, prometheus::Error> {
        let opts = opts(
            "event_lag_seconds",
            "Age, by the broker's time, of what is being read; 0 when all is read; growing while a lane is full or the log is away",
        );
        Room(&self.registry).register(GaugeVec::new(opts.const_label("topic", topic), &["partition"])?)
    }
}

/// Events and sends over HTTP.
#[derive(Clone)]
pub struct IngestMetrics {
    results: IntCounterVec,
}

impl IngestMetrics {
    fn new(room: &Room<'_>) -> Result<IngestMetrics, prometheus::Error> {
        Ok(IngestMetrics { results: room.counters("ingest_total", "Events and sends over HTTP, by result", &["result"])? })
    }

    pub fn counted(&self, result: &str, count: u64) {
        self.results.with_label_values(&[result]).inc_by(count);
    }
}

/// Decisions, and what ends in the dead-letter topic.
#[derive(Clone)]
pub struct OutcomeMetrics {
    decisions: IntCounterVec,
    template_missing: IntCounterVec,
    dead: IntCounterVec,
    setting: CampaignLabel,
    labelled: Arc<AtomicBool>,
}

impl OutcomeMetrics {
    fn new(room: &Room<'_>, setting: CampaignLabel) -> Result<OutcomeMetrics, prometheus::Error> {
        Ok(OutcomeMetrics {
            decisions: room.counters("decisions_total", "Decisions, whether written or omitted", &["campaign", "outcome", "reason"])?,
            template_missing: room.counters("template_missing_total", "Template variables that had no value", &["campaign"])?,
            dead: room.counters("dead_total", "Records written to the dead-letter topic", &["reason"])?,
            setting,
            labelled: Arc::new(AtomicBool::new(setting != CampaignLabel::Off)),
        })
    }

    /// To be told whenever definitions change: decides whether campaigns are a label.
    pub fn campaigns_in_force(&self, count: usize) {
        let labelled = match self.setting {
            CampaignLabel::Auto => count <= MAX_LABELLED_CAMPAIGNS,
            CampaignLabel::On => true,
            CampaignLabel::Off => false,
        };
        self.labelled.store(labelled, Ordering::Relaxed);
    }

    pub fn dead(&self, reason: &str) {
        self.dead.with_label_values(&[reason]).inc();
    }
}

/// Attempts and what waits for one.
#[derive(Clone)]
pub struct DeliveryMetrics {
    attempts: IntCounterVec,
    attempt_seconds: HistogramVec,
    in_flight: IntGaugeVec,
    link_seconds: HistogramVec,
    waiting: IntGaugeVec,
    breaker_open: IntGaugeVec,
    /// From the broker time of the event that triggered it to the start of the first attempt.
    pub event_to_request_seconds: Histogram,
    pub retry_scheduled: IntCounter,
}

impl DeliveryMetrics {
    fn new(room: &Room<'_>) -> Result<DeliveryMetrics, prometheus::Error> {
        let seconds = HistogramOpts::from(opts("attempt_seconds", "One attempt, body included")).buckets(ATTEMPT_BUCKETS.into());
        let link = HistogramOpts::from(opts("link_seconds", "One link of a send fetched, body included")).buckets(ATTEMPT_BUCKETS.into());
        Ok(DeliveryMetrics {
            attempts: room.counters("attempts_total", "Attempts, by result", &["destination", "result"])?,
            attempt_seconds: room.register(HistogramVec::new(seconds, &["destination"])?)?,
            in_flight: room.gauges("deliveries_in_flight", "Attempts under way", &["destination"])?,
            link_seconds: room.register(HistogramVec::new(link, &["campaign", "result"])?)?,
            waiting: room.gauges("deliveries_waiting", "Deliveries that wait for a slot or their rate", &["destination"])?,
            breaker_open: room.gauges("breaker_open", "1 while failures keep the destination from being called", &["destination"])?,
            event_to_request_seconds: room.histogram(
                "event_to_request_seconds",
                "From an event's broker time to the start of its request",
                &EVENT_TO_REQUEST_BUCKETS,
            )?,
            retry_scheduled: room.counter(
                "retry_scheduled_total",
                "Deliveries handed to the retry topics: their attempt failed, or could not be made yet",
            )?,
        })
    }

    /// Takes over how many deliveries wait for each destination.
    pub fn waiting(&self, destination: &str, count: usize) {
        self.waiting.with_label_values(&[destination]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Takes over whether the destination is halted.
    pub fn breaker(&self, destination: &str, open: bool) {
        self.breaker_open.with_label_values(&[destination]).set(i64::from(open));
    }
}

/// The state store, as this worker sees it.
#[derive(Clone)]
pub struct StateMetrics {
    pub commit_seconds: Histogram,
    /// Users whose record another had changed.
    pub conflicts: IntCounter,
    /// How often the store was found to have lost acknowledged writes.
    pub rollbacks: IntCounter,
    /// Size of each record written.
    pub record_bytes: Histogram,
}

impl StateMetrics {
    fn new(room: &Room<'_>) -> Result<StateMetrics, prometheus::Error> {
        Ok(StateMetrics {
            commit_seconds: room.histogram("state_commit_seconds", "One commit to the state store", &COMMIT_BUCKETS)?,
            conflicts: room.counter("state_conflicts_total", "Records another worker had changed between load and commit")?,
            rollbacks: room.counter("state_rollbacks_total", "Times the state store had lost acknowledged writes")?,
            record_bytes: room.histogram("record_bytes", "Size of the records written", &RECORD_BUCKETS)?,
        })
    }
}

/// Timers.
#[derive(Clone)]
pub struct DueMetrics {
    /// How overdue what was last found due is; 0 when nothing is.
    pub lag_seconds: Gauge,
}

impl DueMetrics {
    fn new(room: &Room<'_>) -> Result<DueMetrics, prometheus::Error> {
        let lag = Gauge::with_opts(opts("timers_due_lag_seconds", "How overdue what was last found due is; 0 when nothing is"))?;
        Ok(DueMetrics { lag_seconds: room.register(lag)? })
    }
}

/// Definitions in force.
#[derive(Clone)]
pub struct DefinitionMetrics {
    pub revision: IntGauge,
}

impl DefinitionMetrics {
    fn new(room: &Room<'_>) -> Result<DefinitionMetrics, prometheus::Error> {
        let revision = IntGauge::with_opts(opts("definitions_revision", "Revision of the definitions in force"))?;
        Ok(DefinitionMetrics { revision: room.register(revision)? })
    }
}

/// What a lane counts for every input; not shared, so that no look-up takes a lock.
pub struct LaneMetrics {
    labelled: Arc<AtomicBool>,
    decisions: Children<IntCounterVec, 3>,
    template_missing: Children<IntCounterVec, 1>,
    attempts: Children<IntCounterVec, 2>,
    attempt_seconds: Children<HistogramVec, 1>,
    in_flight: Children<IntGaugeVec, 1>,
    link_seconds: Children<HistogramVec, 2>,
}

impl LaneMetrics {
    /// One decision; `reason` is empty for a send.
    pub fn decided(&mut self, campaign: &str, outcome: &str, reason: &str) {
        let campaign = self.label(campaign);
        self.decisions.with([campaign, outcome, reason]).inc();
    }

    pub fn template_missing(&mut self, campaign: &str, count: u32) {
        let campaign = self.label(campaign);
        self.template_missing.with([campaign]).inc_by(u64::from(count));
    }

    /// One attempt that ended: `delivered`, `retrying` or `failed`.
    pub fn attempted(&mut self, destination: &str, result: &str, took: Duration) {
        self.attempts.with([destination, result]).inc();
        self.attempt_seconds.with([destination]).observe(took.as_secs_f64());
    }

    /// One link of a send: `fetched`, `cached` or `failed`.
    pub fn linked(&mut self, campaign: &str, result: &str, took: Duration) {
        let campaign = self.label(campaign);
        self.link_seconds.with([campaign, result]).observe(took.as_secs_f64());
    }

    /// One more attempt is under way until the guard is dropped.
    pub fn in_flight(&mut self, destination: &str) -> Counted {
        Counted::one_more(self.in_flight.with([destination]))
    }

    fn label<'a>(&self, campaign: &'a str) -> &'a str {
        if self.labelled.load(Ordering::Relaxed) { campaign } else { "" }
    }
}

/// What a reading thread counts for every event.
pub struct ReaderMetrics {
    events: Children<IntCounterVec, 2>,
}

impl ReaderMetrics {
    pub fn read(&mut self, topic: &str, result: &str, count: u64) {
        self.events.with([topic, result]).inc_by(count);
    }
}

/// One, in a gauge, for as long as it lives.
pub struct Counted(IntGauge);

impl Counted {
    fn one_more(gauge: &IntGauge) -> Counted {
        gauge.inc();
        Counted(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Makes and registers instruments with the common prefix.
struct Room<'a>(&'a Registry);

impl Room<'_> {
    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::with_opts(opts(name, help))?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(opts(name, help), labels)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(opts(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
        self.register(Histogram::with_opts(HistogramOpts::from(opts(name, help)).buckets(buckets.into()))?)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("campanile")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        prometheus::TextEncoder::new().encode_to_string(&metrics.registry.gather()).unwrap()
    }

    /// Contract, section 8, as far as the rooms exist.
    #[test]
    fn every_name_of_the_contract_is_there() {
        let metrics = Metrics::new(CampaignLabel::Auto).unwrap();
        metrics.reading.lag("events", 3, Duration::from_millis(1500));
        metrics.reader().read("events", "applied", 2);
        metrics.ingest.counted("accepted", 7);
        metrics.outcomes.dead("not_json");
        let mut lane = metrics.lane();
        lane.decided("cart", "suppressed", "frequency_cap");
        lane.template_missing("cart", 2);
        lane.attempted("kakao", "delivered", Duration::from_millis(3));
        lane.linked("cart", "fetched", Duration::from_millis(3));
        metrics.delivery.waiting("kakao", 1);
        let _flying = lane.in_flight("kakao");
        let printed = text(&metrics);
        for expect in [
            r#"campanile_events_total{result="applied",topic="events"} 2"#,
            r#"campanile_event_lag_seconds{partition="3",topic="events"} 1.5"#,
            r#"campanile_ingest_total{result="accepted"} 7"#,
            r#"campanile_decisions_total{campaign="cart",outcome="suppressed",reason="frequency_cap"} 1"#,
            r#"campanile_attempts_total{destination="kakao",result="delivered"} 1"#,
            r#"campanile_attempt_seconds_bucket{destination="kakao",le="0.005"} 1"#,
            r#"campanile_link_seconds_bucket{campaign="cart",result="fetched",le="0.005"} 1"#,
            "campanile_event_to_request_seconds_count 0",
            r#"campanile_deliveries_in_flight{destination="kakao"} 1"#,
            r#"campanile_deliveries_waiting{destination="kakao"} 1"#,
            "campanile_retry_scheduled_total 0",
            r#"campanile_dead_total{reason="not_json"} 1"#,
            "campanile_timers_due_lag_seconds 0",
            r#"campanile_template_missing_total{campaign="cart"} 2"#,
            "campanile_state_commit_seconds_count 0",
            "campanile_state_conflicts_total 0",
            "campanile_state_rollbacks_total 0",
            "campanile_record_bytes_count 0",
            "campanile_definitions_revision 0",
            concat!(r#"campanile_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
            "process_resident_memory_bytes ",
        ] {
            assert!(printed.lines().any(|line| line.starts_with(expect)), "{expect} in\n{printed}");
        }
    }

    #[test]
    fn guards_count_down() {
        let metrics = Metrics::new(CampaignLabel::Auto).unwrap();
        drop(metrics.lane().in_flight("kakao"));
        let printed = text(&metrics);
        assert!(printed.contains(r#"campanile_deliveries_in_flight{destination="kakao"} 0"#), "{printed}");
    }

    #[test]
    fn partitions_of_topics_with_similar_names_are_apart() {
        let metrics = Metrics::new(CampaignLabel::Auto).unwrap();
        metrics.reading.lag("events", 12, Duration::from_secs(1));
        metrics.reading.lag("events1", 2, Duration::from_secs(9));
        let printed = text(&metrics);
        assert!(printed.contains(r#"campanile_event_lag_seconds{partition="12",topic="events"} 1"#), "{printed}");
        assert!(printed.contains(r#"campanile_event_lag_seconds{partition="2",topic="events1"} 9"#), "{printed}");
    }

    #[test]
    fn a_partition_that_went_away_has_no_lag() {
        let metrics = Metrics::new(CampaignLabel::Auto).unwrap();
        metrics.reading.lag("events", 3, Duration::from_secs(9));
        metrics.reading.forget("events", 3);
        metrics.reading.forget("events", 4);
        assert!(!text(&metrics).contains("event_lag_seconds{"));
    }

    #[test]
    fn many_campaigns_are_no_label() {
        let check = |setting, campaigns, expect: &str| {
            let metrics = Metrics::new(setting).unwrap();
            metrics.outcomes.campaigns_in_force(campaigns);
            metrics.lane().decided("cart", "sent", "");
            let line = format!(r#"campanile_decisions_total{{campaign="{expect}",outcome="sent",reason=""}} 1"#);
            assert!(text(&metrics).contains(&line), "{setting:?} with {campaigns}");
        };
        check(CampaignLabel::Auto, MAX_LABELLED_CAMPAIGNS, "cart");
        check(CampaignLabel::Auto, MAX_LABELLED_CAMPAIGNS + 1, "");
        check(CampaignLabel::On, MAX_LABELLED_CAMPAIGNS + 1, "cart");
        check(CampaignLabel::Off, 1, "");
    }
}

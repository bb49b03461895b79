//! What an event costs from Kafka to the webhook: the release worker on a real Kafka and Redis, measured from outside.
//!
//!     scripts/bench.sh                       starts both servers, runs everything, stops them
//!     scripts/bench.sh deliver --runs 5      one scenario
//!     scripts/bench.sh --help
//!
//! `events` fills topics, `sink` and `receivers` receive, `worker` is the process under measurement; here are the scenarios. Worker, broker, Redis,
//! generator and sink share the machine, so rates are of that mix; CPU is of the worker process alone.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark reads the clock, and writes and asks what it measures"
)]

mod events;
mod isolation;
mod outage;
mod receivers;
mod sink;
mod worker;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};

use events::Log;
use sink::Sink;
use worker::{Usage, Worker};

/// End-to-end benchmark of the worker.
#[derive(Parser)]
struct Options {
    /// What to measure; if nothing is named, everything but `outage`, which takes hours.
    scenarios: Vec<Scenario>,
    /// host:port of a Kafka broker to make topics on.
    #[arg(long, required = true)]
    brokers: String,
    /// redis://host:port; every run has a key prefix of its own.
    #[arg(long, required = true)]
    redis: String,
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Scales the numbers of events.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Slots of the one destination (contract: 64 by default).
    #[arg(long, default_value_t = 64)]
    max_in_flight: u32,
    /// Length of isolation's load, seconds.
    #[arg(long, default_value_t = 30.0)]
    secs: f64,
    /// Events a second: of isolation's load (40 % of the full load if absent, which is measured first), or while outage lasts (1,000).
    #[arg(long)]
    rate: Option<f64>,
    /// How long outage's destination is down.
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// What outage's destination takes a second.
    #[arg(long, default_value_t = 3000)]
    takes: u32,
    /// What outage's destination does while it is down.
    #[arg(long, value_enum, default_value_t)]
    down: outage::Down,
    /// Where isolation writes its plot.
    #[arg(long)]
    svg: Option<std::path::PathBuf>,
    /// `cargo bench` adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Events that no campaign asks for.
    Idle,
    /// Every event is matched and delivered.
    Deliver,
    /// The same; kill -9 at 40 %, restarted at once.
    Kill,
    /// Five million events, one in fifty is delivered; memory over time.
    Memory,
    /// A steady load to twenty destinations, some of which are dead or hostile; how the others fare.
    Isolation,
    /// A destination with a rate is down for an hour while events come; what that costs, and how fast all are delivered after it.
    Outage,
}

impl Scenario {
    const ALL: [Scenario; 5] = [Scenario::Idle, Scenario::Deliver, Scenario::Kill, Scenario::Isolation, Scenario::Memory];

    /// Events, and the share of them that a campaign wants.
    fn load(self) -> (u64, f64) {
        match self {
            Scenario::Idle => (2_000_000, 0.0),
            Scenario::Deliver | Scenario::Kill => (200_000, 1.0),
            Scenario::Memory => (5_000_000, 0.02),
            // Their load is a rate.
            Scenario::Isolation | Scenario::Outage => (0, 0.0),
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// When the worker is killed, as a share of the deliveries.
const KILL_AT: f64 = 0.4;

/// Without an arrival for so long, a run is over even if something is missing. Longer than a session timeout of 45 s. (Scenarios
/// in which next to nothing arrives are bounded by [`LONGEST`] alone.)
const QUIET: Duration = Duration::from_secs(60);

const LONGEST: Duration = Duration::from_secs(900);

/// Requests that were on their way when the worker was killed still arrive; sends after this are those of the next worker.
const IN_THE_WIRE: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument.starts_with("--brokers") || argument == "--help" || argument == "-h") {
        println!("skipped: it needs Kafka and Redis; run scripts/bench.sh, which starts both");
        return ExitCode::SUCCESS;
    }
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let sink = Sink::start()?;
    let scenarios = if options.scenarios.is_empty() { &Scenario::ALL[..] } else { &options.scenarios };
    let cores = std::thread::available_parallelism()?;
    println!("{cores} cores shared by worker, Kafka, Redis, generator and sink; {} partitions, uncompressed", events::PARTITIONS);
    for &scenario in scenarios {
        match scenario {
            Scenario::Isolation => isolation::run(options)?,
            Scenario::Outage => outage::run(options)?,
            _ => one(options, &sink, scenario)?,
        }
    }
    Ok(())
}

/// A scenario whose load is a topic that was filled before.
fn one(options: &Options, sink: &Sink, scenario: Scenario) -> Result<()> {
    let (count, share) = scenario.load();
    let count = (count as f64 * options.scale) as u64;
    // One topic serves deliver and kill.
    let log = Log::fill(&options.brokers, &format!("bench-{count}-{share}"), count, share)?;
    println!("\n{}: {} events of {} bytes, {} of them to deliver", scenario.name(), log.events, log.mean_bytes, log.wanted);
    let runs = if scenario == Scenario::Memory { 1 } else { options.runs };
    let mut costs = Vec::new();
    for _ in 0..runs {
        sink.reset();
        match scenario {
            Scenario::Kill => killed(options, sink, &log)?,
            _ => costs.push(straight(options, sink, &log, scenario == Scenario::Memory)?),
        }
    }
    costs.sort_by(f64::total_cmp);
    if costs.len() > 1 {
        println!("  median {:.2} us [{:.2}..{:.2}]", costs[costs.len() / 2], costs[0], costs[costs.len() - 1]);
    }
    Ok(())
}

/// From the first event to the last arrival, start-up not counted. Answers microseconds of CPU per unit: per webhook if every event
/// is one, else per event.
fn straight(options: &Options, sink: &Sink, log: &Log, show_memory: bool) -> Result<f64> {
    let mut worker = Worker::prepare(&options.brokers, &options.redis, log, sink.port, options.max_in_flight)?;
    worker.start()?;
    let begun = begin(sink, &mut worker)?;
    let mut tenths = 0;
    let complete = wait(sink, &mut worker, |usage| {
        let now = sink.arrivals() * 10 / log.wanted.max(1);
        if show_memory && now > tenths {
            tenths = now;
            println!("  {:>3} % of the webhooks: {:>4.0} MB", now * 10, usage.rss_mb);
        }
        sink.is_done(log)
    })?;
    report(sink, log, &mut worker, &begun, complete)
}

/// The worker dies at full load and is started again at once.
fn killed(options: &Options, sink: &Sink, log: &Log) -> Result<()> {
    let mut worker = Worker::prepare(&options.brokers, &options.redis, log, sink.port, options.max_in_flight)?;
    worker.start()?;
    begin(sink, &mut worker)?;
    let some = (log.wanted as f64 * KILL_AT) as u64;
    wait(sink, &mut worker, |_| sink.arrivals() >= some)?;
    let suppressed_before = worker.suppressed();
    let in_flight = worker.in_flight().context("the worker does not tell how many are in flight")?;
    let killed = Instant::now();
    worker.kill();
    sink.watch_from(killed + IN_THE_WIRE);
    worker.start()?;
    wait(sink, &mut worker, |_| sink.is_done(log))?;
    let resumed = sink.resumed().map_or("never".into(), |at| format!("after {:.1} s", (at - killed).as_secs_f64()));
    let distinct = sink.distinct();
    println!(
        "  sends resumed {resumed}, {} repeats with the same webhook-id where {in_flight} were in flight at the kill, {} of {} not delivered",
        sink.arrivals() - distinct,
        log.wanted.saturating_sub(distinct),
        log.wanted
    );
    println!("  suppressed before the kill: {suppressed_before:?}, after it: {:?}", worker.suppressed());
    Ok(())
}

struct Begun {
    at: Instant,
    usage: Usage,
}

/// Waits for the first marker: the worker has started, and reads.
fn begin(sink: &Sink, worker: &mut Worker) -> Result<Begun> {
    let complete = wait(sink, worker, |_| sink.starts() > 0)?;
    ensure!(complete, "nothing arrived; see {}", worker.log());
    Ok(Begun { at: Instant::now(), usage: worker.usage()? })
}

/// Polls until `done`. False when nothing more comes.
fn wait(sink: &Sink, worker: &mut Worker, mut done: impl FnMut(&Usage) -> bool) -> Result<bool> {
    let began = Instant::now();
    loop {
        let usage = worker.usage().with_context(|| format!("the worker ended; see {}", worker.log()))?;
        if done(&usage) {
            return Ok(true);
        }
        let quiet = sink.arrivals() > 0 && sink.last_arrival().elapsed() > QUIET;
        if quiet || began.elapsed() > LONGEST {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn report(sink: &Sink, log: &Log, worker: &mut Worker, begun: &Begun, complete: bool) -> Result<f64> {
    let usage = worker.usage()?;
    let seconds = (sink.last_arrival() - begun.at).as_secs_f64();
    let cpu = usage.cpu_s - begun.usage.cpu_s;
    let (units, unit) = if log.wanted == log.events { (sink.arrivals(), "webhook") } else { (log.events, "event") };
    let cost = cpu * 1e6 / units as f64;
    println!(
        "  {cost:.2} us/{unit}  {:.0} {unit}s/s  {:.2} cores  {:.0} MB at most",
        units as f64 / seconds,
        cpu / seconds,
        usage.peak_rss_mb
    );
    if !complete {
        println!("  INCOMPLETE: {} of {} arrived; suppressed: {:?}", sink.distinct(), log.wanted, worker.suppressed());
    }
    Ok(cost)
}

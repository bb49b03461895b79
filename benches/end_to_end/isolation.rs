//! Healthy destinations beside dead ones: the share that arrives in time, and how late, at 40 % of the load that the worker can carry.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::Options;
use crate::events::{Stream, now_ms};
use crate::receivers::{HOSTILE, Manner, Receivers};
use crate::worker::{Worker, fill};

const DESTINATIONS: usize = 20;

/// Of the full load.
const LOAD: f64 = 0.4;

/// Events whose delivery shows the full load.
const FULL_EVENTS: u64 = 100_000;

/// How long after the load what is missing is waited for.
const GRACE: Duration = Duration::from_secs(15);

const START_WITHIN: Duration = Duration::from_secs(60);

/// The rhythm of the generator.
const TICK: Duration = Duration::from_millis(5);

/// One case.
struct Case {
    name: &'static str,
    hostile: &'static [Manner],
}

const CASES: [Case; 4] = [
    Case { name: "0 dead", hostile: &[] },
    Case { name: "1 dead", hostile: &[Manner::Hole] },
    Case { name: "10 dead", hostile: &[Manner::Hole; 10] },
    Case { name: "10 hostile", hostile: &HOSTILE },
];

/// What a run of a case came to; the healthy destinations alone.
#[derive(Clone, Copy, Debug)]
struct Figures {
    /// Offered in a second.
    offered: f64,
    /// Of them, what arrived while the load lasted.
    in_time: f64,
    p50_ms: f64,
    /// Infinite when more than a hundredth never came.
    p99_ms: f64,
    missing: u64,
    peak_rss_mb: f64,
}

pub fn run(options: &Options) -> Result<()> {
    let rate = match options.rate {
        Some(rate) => rate,
        None => full_load(options)? * LOAD,
    };
    println!("\nisolation: {DESTINATIONS} destinations, {rate:.0} events/s for {} s, time-out 3 s", options.secs);
    println!("| of 20 | healthy offered/s | in time | p50 ms | p99 ms | missing after {} s | RSS MB |", GRACE.as_secs());
    println!("|---|---|---|---|---|---|---|");
    let mut medians = Vec::new();
    for case in &CASES {
        let runs = (0..options.runs).map(|_| one(options, case, rate)).collect::<Result<Vec<Figures>>>()?;
        let figures = median(runs);
        let Figures { offered, in_time, p50_ms, p99_ms, missing, peak_rss_mb } = figures;
        println!("| {} | {offered:.0} | {:.2} % | {p50_ms:.0} | {p99_ms:.0} | {missing} | {peak_rss_mb:.0} |", case.name, in_time * 100.0);
        medians.push((case.name, figures));
    }
    if let Some(path) = &options.svg {
        std::fs::write(path, plot(&medians)).with_context(|| format!("{} cannot be written", path.display()))?;
        println!("written: {}", path.display());
    }
    Ok(())
}

/// The one with the middle p99.
fn median(mut runs: Vec<Figures>) -> Figures {
    runs.sort_by(|a, b| a.p99_ms.total_cmp(&b.p99_ms));
    runs[runs.len() / 2]
}

/// Deliveries a second when all are healthy and all is there.
fn full_load(options: &Options) -> Result<f64> {
    let (receivers, mut stream, mut worker) = prepare(options, &[])?;
    let count = (FULL_EVENTS as f64 * options.scale) as u64;
    for _ in 0..count {
        stream.send()?;
    }
    stream.flush()?;
    worker.start()?;
    let begun = Instant::now();
    while receivers.with(|arrived| arrived.all.len() as u64) < count {
        worker.usage().with_context(|| format!("the worker ended; see {}", worker.log()))?;
        ensure!(begun.elapsed() < 3 * START_WITHIN, "not everything arrived; see {}", worker.log());
        std::thread::sleep(TICK);
    }
    let times = receivers.with(|arrived| arrived.all.iter().map(|(_, _, at)| *at).collect::<Vec<i64>>());
    let span_ms = times.iter().max().zip(times.iter().min()).map_or(1, |(last, first)| (last - first).max(1));
    let rate = count as f64 * 1000.0 / span_ms as f64;
    println!("\nisolation: full load {rate:.0} deliveries/s");
    Ok(rate)
}

fn one(options: &Options, case: &Case, rate: f64) -> Result<Figures> {
    let (receivers, mut stream, mut worker) = prepare(options, case.hostile)?;
    worker.start()?;
    let healthy = case.hostile.len()..DESTINATIONS;
    warm_up(&receivers, &mut stream, &mut worker, healthy.len())?;
    let (begun, began_ms) = (Instant::now(), now_ms());
    let (mut sent, mut offered) = (0_u64, 0_u64);
    while begun.elapsed().as_secs_f64() < options.secs {
        let due = (begun.elapsed().as_secs_f64() * rate) as u64;
        while sent < due {
            offered += u64::from(healthy.contains(&(stream.send()? as usize)));
            sent += 1;
        }
        std::thread::sleep(TICK);
    }
    let ended_ms = now_ms();
    let ended = Instant::now();
    let count = || receivers.with(|arrived| arrived.all.iter().filter(|(_, sent, _)| *sent >= began_ms).count() as u64);
    while count() < offered && ended.elapsed() < GRACE {
        std::thread::sleep(TICK * 4);
    }
    let arrived: Vec<(i64, i64)> = receivers.with(|arrived| arrived.all.iter().map(|(_, sent, at)| (*sent, *at)).collect());
    let counted: Vec<(i64, i64)> = arrived.into_iter().filter(|(sent, _)| *sent >= began_ms).collect();
    let mut waits: Vec<f64> = counted.iter().map(|(sent, at)| (at - sent) as f64).collect();
    waits.resize(offered as usize, f64::INFINITY);
    waits.sort_by(f64::total_cmp);
    let quantile = |share: f64| waits.get(((waits.len() as f64 * share) as usize).min(waits.len() - 1)).copied().unwrap_or(f64::INFINITY);
    let suppressed = worker.suppressed();
    if !suppressed.is_empty() {
        eprintln!("{}: held back by the worker: {suppressed:?}", case.name);
    }
    // What was sent last cannot arrive before the end: it has as long as the healthy ones take when all is well.
    let in_time = counted.iter().filter(|(_, at)| *at <= ended_ms + 50).count() as f64 / offered.max(1) as f64;
    Ok(Figures {
        offered: offered as f64 / options.secs,
        in_time,
        p50_ms: quantile(0.5),
        p99_ms: quantile(0.99),
        // The last one of the warm-up may have been written in the same millisecond.
        missing: offered.saturating_sub(counted.len() as u64),
        peak_rss_mb: worker.usage()?.peak_rss_mb,
    })
}

/// Until every healthy receiver has got something.
fn warm_up(receivers: &Receivers, stream: &mut Stream, worker: &mut Worker, healthy: usize) -> Result<()> {
    let begun = Instant::now();
    loop {
        stream.send()?;
        worker.usage().with_context(|| format!("the worker ended; see {}", worker.log()))?;
        let known = receivers.with(|arrived| arrived.all.iter().map(|(number, ..)| *number).collect::<std::collections::BTreeSet<_>>());
        if known.len() == healthy {
            return Ok(());
        }
        ensure!(begun.elapsed() < START_WITHIN, "{} of {healthy} receivers got something; see {}", known.len(), worker.log());
        std::thread::sleep(TICK * 4);
    }
}

/// Campaign i posts to receiver i; the first ones are hostile.
fn prepare(options: &Options, hostile: &[Manner]) -> Result<(Receivers, Stream, Worker)> {
    let manners: Vec<Manner> = (0..DESTINATIONS).map(|number| hostile.get(number).copied().unwrap_or(Manner::Healthy)).collect();
    let receivers = Receivers::start(&manners)?;
    let stream = Stream::open(&options.brokers, &format!("isolation-{}", now_ms()), DESTINATIONS as u64)?;
    let mut definitions = String::from("kind: workspace\nfrequency_caps: [{limit: 1000, per: 1s}]\n");
    for (number, port) in receivers.ports.iter().enumerate() {
        let _ = write!(
            definitions,
            "---\n{{kind: destination, key: d{number}, match: '127.0.0.1:{port}', max_in_flight: {}, timeout: 3s}}\n",
            options.max_in_flight
        );
        let names = [("sink", &*port.to_string()), ("key", &*format!("c{number}")), ("event", &*format!("n{number}"))];
        definitions.push_str(&fill(include_str!("campaign.yaml"), &names));
    }
    let worker = Worker::with(&options.brokers, &options.redis, &stream.topic, &definitions)?;
    Ok((receivers, stream, worker))
}

/// Two panels of bars, by the number of dead destinations.
fn plot(cases: &[(&str, Figures)]) -> String {
    const PANEL: (f64, f64) = (300.0, 180.0);
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 270\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"720\" height=\"270\" fill=\"#fff\"/>\n",
    );
    let finite = |value: f64| if value.is_finite() { value } else { 15_000.0 };
    type Value<'a> = (&'a str, fn(&Figures) -> f64, fn(f64) -> String);
    let panels: [Value<'_>; 2] = [
        ("healthy messages delivered in time, per second", |figures| figures.offered * figures.in_time, |value| format!("{value:.0}")),
        (
            "p99 from event to arrival, ms (healthy)",
            |figures| figures.p99_ms,
            |value| {
                if value.is_finite() { format!("{value:.0}") } else { "never".into() }
            },
        ),
    ];
    for (panel, (title, value, label)) in panels.iter().enumerate() {
        let left = 40.0 + panel as f64 * 350.0;
        let _ = writeln!(svg, "<text x=\"{left}\" y=\"24\" font-weight=\"bold\" fill=\"#222\">{title}</text>");
        let highest = cases.iter().map(|(_, figures)| finite(value(figures))).fold(1.0, f64::max);
        let width = PANEL.0 / cases.len() as f64;
        for (at, (name, figures)) in cases.iter().enumerate() {
            let height = finite(value(figures)) / highest * PANEL.1;
            let (x, y) = (left + at as f64 * width, 45.0 + PANEL.1 - height);
            let middle = x + width * 0.4;
            // A hostile half has half the healthy messages to deliver: the outline is what was offered.
            if panel == 0 {
                let offered = figures.offered / highest * PANEL.1;
                let _ = writeln!(
                    svg,
                    "<rect x=\"{x}\" y=\"{}\" width=\"{}\" height=\"{offered}\" fill=\"none\" stroke=\"#999\"/>",
                    45.0 + PANEL.1 - offered,
                    width * 0.8
                );
            }
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{height}\" fill=\"#2b6cb0\"/>\n\
                 <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" fill=\"#222\">{}</text>\n\
                 <text x=\"{middle}\" y=\"242\" text-anchor=\"middle\" fill=\"#222\">{name}</text>",
                width * 0.8,
                y - 5.0,
                label(value(figures))
            );
        }
    }
    svg.push_str(
        "<text x=\"40\" y=\"262\" fill=\"#666\">of 20 destinations; the outline is what was offered to the healthy ones</text>\n</svg>\n",
    );
    svg
}

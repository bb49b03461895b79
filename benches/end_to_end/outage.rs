//! A destination that is down for an hour while events come all the time: what the worker holds meanwhile, how often it looks whether the
//! destination is back, and how fast everything is delivered then. The destination has a rate, which is counted where the requests arrive.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use hashbrown::HashMap;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::Options;
use crate::events::{Stream, now_ms};
use crate::sink::{ANSWER, Request, read};
use crate::worker::{Worker, fill};

/// What the destination does while it is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Down {
    /// Nobody listens.
    #[default]
    Refuses,
    /// It answers 503.
    Unavailable,
}

/// Events a second, if nothing else is said.
const RATE: f64 = 1000.0;

/// Deliveries of one user that wait together. A record holds 32 at most: what would be more is `state_full`, and is not sent.
const WAITING_OF_ONE: u64 = 8;

/// How many a moment the destination takes beyond its rate, as a share of that.
const BURST_SHARE: f64 = 0.4;

/// More than a rate makes of its slots while it leases for 20 ms at a time.
const SLOTS: u32 = 256;

/// Before the outage, so that connections stand and memory is what it is in quiet times.
const WARM_UP: Duration = Duration::from_secs(10);

/// After the outage nothing arrives for so long: what is missing is lost.
const QUIET: Duration = Duration::from_secs(45 * 60);

const START_WITHIN: Duration = Duration::from_secs(60);

/// The rhythm of the generator.
const TICK: Duration = Duration::from_millis(10);

/// So often a line tells how it is going.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Shares of the backlog whose delivery is timed.
const SHARES: [f64; 4] = [0.01, 0.5, 0.99, 1.0];

pub fn run(options: &Options) -> Result<()> {
    let rate = options.rate.unwrap_or(RATE);
    let expected = (rate * (options.minutes * 60.0 + WARM_UP.as_secs_f64())) as u64;
    let users = expected.div_ceil(WAITING_OF_ONE).max(1);
    let burst = (f64::from(options.takes) * BURST_SHARE).ceil() as u32;
    println!(
        "\noutage: {} min at {rate:.0} events/s of {users} users, the destination {:?}, then takes {}/s (burst {burst})",
        options.minutes, options.down, options.takes
    );
    let endpoint = Endpoint::start(options.down)?;
    let mut stream = Stream::in_turn(&options.brokers, &format!("outage-{}", now_ms()), users as usize)?;
    let mut worker = prepare(options, &endpoint, &stream, burst)?;
    let mut load = Load { rate, sent: 0, begun: Instant::now(), told: Instant::now() };
    worker.start()?;
    warm_up(&endpoint, &mut stream, &mut worker, &mut load)?;
    let before = worker.usage()?;
    let (attempts_before, delivered_before) = (worker.attempts().context("the worker does not tell its attempts")?, load.sent);

    endpoint.go_down();
    let until = Instant::now() + Duration::from_secs_f64(options.minutes * 60.0);
    let during = load.drive(&endpoint, &mut stream, &mut worker, until)?;
    stream.flush()?;
    let attempts = worker.attempts().context("the worker does not tell its attempts")? - attempts_before;
    endpoint.with(|arrived| arrived.watch_from(load.sent - delivered_before));
    endpoint.come_back();
    let back = Instant::now();
    let (after, held_back) = until_delivered(&endpoint, &mut worker, &mut load)?;
    let usage = worker.usage()?;

    println!("  memory of the worker: {:.0} MB before, {during:.0} MB at most during, {after:.0} MB at most after", before.rss_mb);
    println!(
        "  requests while it was down: {attempts}, by a worker that used {:.2} cores",
        (usage.cpu_s - before.cpu_s) / (load.begun.elapsed().as_secs_f64())
    );
    let report = endpoint.with(|arrived| arrived.report(load.sent, back));
    println!("  {report}");
    println!("  at most {} requests in any second where {} are allowed", endpoint.with(|arrived| arrived.most), options.takes + burst);
    println!(
        "  requests by webhook-attempt: {:?}; not sent by decision: {held_back:?}",
        endpoint.with(|arrived| arrived.by_attempt.clone())
    );
    Ok(())
}

fn prepare(options: &Options, endpoint: &Endpoint, stream: &Stream, burst: u32) -> Result<Worker> {
    let port = endpoint.port.to_string();
    let mut definitions = format!(
        "kind: workspace\n---\n{{kind: destination, key: endpoint, match: '127.0.0.1:{port}', max_in_flight: {SLOTS}, \
         rate: {{per_second: {}, burst: {burst}}}}}\n",
        options.takes
    );
    definitions.push_str(&fill(include_str!("campaign.yaml"), &[("sink", &*port), ("key", "c0"), ("event", "n0")]));
    Worker::with(&options.brokers, &options.redis, &stream.topic, &definitions)
}

fn warm_up(endpoint: &Endpoint, stream: &mut Stream, worker: &mut Worker, load: &mut Load) -> Result<()> {
    let begun = Instant::now();
    stream.send()?;
    load.sent += 1;
    while endpoint.with(|arrived| arrived.counts.is_empty()) {
        worker.usage().with_context(|| format!("the worker ended; see {}", worker.log()))?;
        ensure!(begun.elapsed() < START_WITHIN, "nothing arrived; see {}", worker.log());
        std::thread::sleep(TICK);
    }
    load.begun = Instant::now();
    load.drive(endpoint, stream, worker, Instant::now() + WARM_UP)?;
    stream.flush()?;
    while endpoint.with(|arrived| (arrived.counts.len() as u64) < load.sent) {
        ensure!(begun.elapsed() < 2 * START_WITHIN, "not everything of the warm-up arrived; see {}", worker.log());
        std::thread::sleep(TICK);
    }
    load.begun = Instant::now();
    Ok(())
}

/// Waits until everything is there, or nothing more comes. Answers the most memory, and what the worker decided not to send.
fn until_delivered(endpoint: &Endpoint, worker: &mut Worker, load: &mut Load) -> Result<(f64, BTreeMap<String, u64>)> {
    let mut most = 0.0_f64;
    let mut moved = (Instant::now(), 0);
    loop {
        let usage = worker.usage().with_context(|| format!("the worker ended; see {}", worker.log()))?;
        most = most.max(usage.rss_mb);
        load.tell(endpoint, usage.rss_mb);
        let there = endpoint.with(|arrived| arrived.counts.len() as u64);
        if moved.1 != there {
            moved = (Instant::now(), there);
        }
        let held_back = worker.suppressed();
        if there + held_back.values().sum::<u64>() >= load.sent || moved.0.elapsed() > QUIET {
            return Ok((most, held_back));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Events by the clock.
struct Load {
    rate: f64,
    sent: u64,
    begun: Instant,
    told: Instant,
}

impl Load {
    /// Sends until then; answers the most memory that the worker had, in MB.
    fn drive(&mut self, endpoint: &Endpoint, stream: &mut Stream, worker: &mut Worker, until: Instant) -> Result<f64> {
        let (begun, before, mut most) = (Instant::now(), self.sent, 0.0_f64);
        let mut looked = begun;
        while Instant::now() < until {
            let due = before + (begun.elapsed().as_secs_f64() * self.rate) as u64;
            while self.sent < due {
                stream.send()?;
                self.sent += 1;
            }
            if looked.elapsed() >= Duration::from_secs(1) {
                looked = Instant::now();
                let usage = worker.usage().with_context(|| format!("the worker ended; see {}", worker.log()))?;
                most = most.max(usage.rss_mb);
                self.tell(endpoint, usage.rss_mb);
            }
            std::thread::sleep(TICK);
        }
        Ok(most)
    }

    fn tell(&mut self, endpoint: &Endpoint, rss_mb: f64) {
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            let there = endpoint.with(|arrived| arrived.counts.len());
            eprintln!("  {:>5.0} s: {} events, {there} delivered, {rss_mb:.0} MB", self.begun.elapsed().as_secs_f64(), self.sent);
        }
    }
}

/// What came while it was up.
#[derive(Default)]
struct Arrived {
    /// By webhook-id.
    counts: HashMap<u64, u32>,
    /// By `webhook-attempt`.
    by_attempt: BTreeMap<u32, u64>,
    /// When the requests of the last second came, in milliseconds; the most of them.
    second: VecDeque<i64>,
    most: usize,
    /// When each share of a backlog was there: its size, what was there before it, and the shares reached.
    watched: Option<Watched>,
}

struct Watched {
    backlog: u64,
    before: u64,
    reached: Vec<Instant>,
    first: Option<Instant>,
}

impl Arrived {
    fn came(&mut self, request: &Request) {
        let now = now_ms();
        while self.second.front().is_some_and(|first| *first <= now - 1000) {
            self.second.pop_front();
        }
        self.second.push_back(now);
        self.most = self.most.max(self.second.len());
        *self.by_attempt.entry(request.attempt).or_default() += 1;
        *self.counts.entry(request.id).or_default() += 1;
        let there = self.counts.len() as u64;
        let Some(watched) = &mut self.watched else { return };
        watched.first.get_or_insert_with(Instant::now);
        let share = (there - watched.before) as f64 / watched.backlog.max(1) as f64;
        while SHARES.get(watched.reached.len()).is_some_and(|next| share >= *next) {
            watched.reached.push(Instant::now());
        }
    }

    fn watch_from(&mut self, backlog: u64) {
        self.watched = Some(Watched { backlog, before: self.counts.len() as u64, reached: Vec::new(), first: None });
        self.by_attempt.clear();
        self.most = 0;
        self.second.clear();
    }

    fn report(&self, sent: u64, back: Instant) -> String {
        let (there, requests) = (self.counts.len() as u64, self.counts.values().map(|count| u64::from(*count)).sum::<u64>());
        let mut report = format!("{sent} events, {there} delivered, {} missing, {} repeated", sent.saturating_sub(there), requests - there);
        let Some(watched) = &self.watched else { return report };
        let after = |at: &Instant| format!("{:.1} s", at.duration_since(back).as_secs_f64());
        report.push_str(&format!("; after it was back: the first after {}", watched.first.as_ref().map_or("never".into(), after)));
        for (share, at) in SHARES.iter().zip(&watched.reached) {
            report.push_str(&format!(", {:.0} % after {}", share * 100.0, after(at)));
        }
        if let [early, .., late, _] = &watched.reached[..] {
            let spent = late.duration_since(*early).as_secs_f64();
            report.push_str(&format!(" ({:.0}/s)", watched.backlog as f64 * (SHARES[2] - SHARES[0]) / spent));
        }
        report
    }
}

/// The destination: on a thread of its own.
struct Endpoint {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    arrived: Mutex<Arrived>,
    down: Mutex<Option<Down>>,
    manner: Down,
    /// Told when it goes down or comes back.
    turned: tokio::sync::Notify,
}

impl Endpoint {
    fn start(manner: Down) -> Result<Endpoint> {
        let shared = Arc::new(Shared { arrived: Mutex::default(), down: Mutex::default(), manner, turned: tokio::sync::Notify::new() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (listener, port) = {
            let _inside = runtime.enter();
            let listener = listen(0)?;
            let port = listener.local_addr()?.port();
            (listener, port)
        };
        let serving = shared.clone();
        std::thread::spawn(move || tokio::task::LocalSet::new().block_on(&runtime, serve_all(listener, port, &serving)));
        Ok(Endpoint { port, shared })
    }

    fn go_down(&self) {
        *locked(&self.shared.down) = Some(self.shared.manner);
        self.shared.turned.notify_waiters();
    }

    fn come_back(&self) {
        *locked(&self.shared.down) = None;
        self.shared.turned.notify_waiters();
    }

    fn with<T>(&self, ask: impl FnOnce(&mut Arrived) -> T) -> T {
        ask(&mut locked(&self.shared.arrived))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bound(port: u16) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Its own connections of before linger.
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    Ok(socket)
}

fn listen(port: u16) -> std::io::Result<TcpListener> {
    bound(port)?.listen(1024)
}

async fn serve_all(listener: TcpListener, port: u16, shared: &Arc<Shared>) {
    let mut listener = Some(listener);
    loop {
        let turned = shared.turned.notified();
        let down = *locked(&shared.down);
        match (&listener, down) {
            // Bound and not listening: nobody else gets the port, and whoever connects is refused.
            (_, Some(Down::Refuses)) => {
                drop(listener.take());
                let socket = bound(port).expect("the port was ours");
                turned.await;
                listener = Some(socket.listen(1024).expect("the port is ours"));
            }
            (Some(open), _) => {
                let accepted = tokio::select! {
                    accepted = open.accept() => accepted.ok(),
                    () = turned => None,
                };
                if let Some((stream, _)) = accepted {
                    let shared = shared.clone();
                    // A connection that breaks is the worker's business.
                    tokio::task::spawn_local(async move { drop(serve(stream, &shared).await) });
                }
            }
            (None, _) => return,
        }
    }
}

/// Until the connection is closed, or the endpoint refuses.
async fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut body = Vec::new();
    loop {
        let turned = shared.turned.notified();
        if *locked(&shared.down) == Some(Down::Refuses) {
            return Ok(());
        }
        let request = tokio::select! {
            request = read(&mut stream, &mut body) => request?,
            () = turned, if shared.manner == Down::Refuses => return Ok(()),
        };
        let Some(request) = request else { return Ok(()) };
        let answer: &[u8] = match *locked(&shared.down) {
            None => {
                locked(&shared.arrived).came(&request);
                ANSWER
            }
            Some(_) => b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
        };
        stream.get_mut().write_all(answer).await?;
    }
}

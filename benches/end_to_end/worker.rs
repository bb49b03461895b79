//! The process under measurement: its files, its topics, its life, and what `/proc` and its metrics say of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use crate::events::{CAMPAIGNS, Log};

const BINARY: &str = env!("CARGO_BIN_EXE_campanile");

/// Ticks a second in `/proc/*/stat`: the same on every Linux that Rust runs on.
const USER_HZ: f64 = 100.0;

/// A worker in a consumer group, with topics and with a key prefix of its own.
pub struct Worker {
    directory: PathBuf,
    probes: u16,
    process: Option<Child>,
}

pub struct Usage {
    /// User and system time since it was started.
    pub cpu_s: f64,
    pub rss_mb: f64,
    pub peak_rss_mb: f64,
}

impl Worker {
    /// Ten campaigns and the markers, which post to this sink.
    pub fn prepare(brokers: &str, redis: &str, log: &Log, sink: u16, max_in_flight: u32) -> Result<Worker> {
        let (sink, slots) = (sink.to_string(), max_in_flight.to_string());
        let mut definitions = fill(include_str!("common.yaml"), &[("sink", &sink), ("max_in_flight", &slots)]);
        for number in 0..CAMPAIGNS {
            let names = [("sink", &*sink), ("key", &*format!("c{number}")), ("event", &*format!("n{number}"))];
            definitions.push_str(&fill(include_str!("campaign.yaml"), &names));
        }
        Worker::with(brokers, redis, &log.topic, &definitions)
    }

    /// Writes settings and definitions, and has the topics made.
    pub fn with(brokers: &str, redis: &str, topic: &str, definitions: &str) -> Result<Worker> {
        let run = format!("{topic}-{}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&run);
        fs::create_dir_all(directory.join("definitions"))?;
        let [listen, probes] = free_ports()?;
        let settings = [("brokers", brokers), ("redis", redis), ("topic", topic), ("run", &run), ("listen", &listen.to_string())];
        let settings = fill(include_str!("settings.yaml"), &settings).replace("{probes}", &probes.to_string());
        fs::write(directory.join("campanile.yaml"), settings)?;
        fs::write(directory.join("definitions/all.yaml"), definitions)?;
        let worker = Worker { directory, probes, process: None };
        let made = worker.command("init")?.status()?;
        ensure!(made.success(), "`campanile init` failed; see {}", worker.log());
        Ok(worker)
    }

    pub fn start(&mut self) -> Result<()> {
        let mut command = self.command("run")?;
        self.process = Some(command.arg("--apply").arg(self.directory.join("definitions")).spawn()?);
        Ok(())
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Fails when the process has ended.
    pub fn usage(&mut self) -> Result<Usage> {
        let process = self.process.as_mut().context("it was not started")?;
        ensure!(process.try_wait()?.is_none(), "it is gone");
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.id()))?;
        let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
        // Fields are counted behind the name, which may hold anything: utime and stime (proc(5): 14 and 15).
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok()).context("an unknown /proc/*/stat");
        let megabytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("an unknown /proc/*/status")?;
            let kib: f64 = line.trim_end_matches("kB").trim().parse()?;
            anyhow::Ok(kib * 1024.0 / 1e6)
        };
        Ok(Usage { cpu_s: (ticks(11)? + ticks(12)?) / USER_HZ, rss_mb: megabytes("VmRSS:")?, peak_rss_mb: megabytes("VmHWM:")? })
    }

    /// What the worker decided not to send since it was started, by reason. Empty when it does not answer.
    pub fn suppressed(&self) -> BTreeMap<String, u64> {
        let mut by_reason = BTreeMap::new();
        let metrics = self.metrics().unwrap_or_default();
        for line in metrics.lines().filter(|line| line.starts_with("campanile_decisions_total{")) {
            let reason = line.split_once("reason=\"").and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default();
            let count: u64 = line.rsplit(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0);
            if !reason.is_empty() {
                *by_reason.entry(reason.to_owned()).or_default() += count;
            }
        }
        by_reason
    }

    /// Requests it has made, whatever came of them. `None` when it does not answer.
    pub fn attempts(&self) -> Option<u64> {
        let metrics = self.metrics().ok()?;
        let counters = metrics.lines().filter(|line| line.starts_with("campanile_attempts_total{"));
        counters.map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// Attempts that were started and are not settled. `None` when it does not answer.
    pub fn in_flight(&self) -> Option<u64> {
        let metrics = self.metrics().ok()?;
        let gauges = metrics.lines().filter(|line| line.starts_with("campanile_deliveries_in_flight{"));
        gauges.map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    pub fn log(&self) -> String {
        self.directory.join("worker.log").display().to_string()
    }

    fn command(&self, name: &str) -> Result<Command> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(BINARY);
        command.arg(name).arg("--config").arg(self.directory.join("campanile.yaml"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.probes))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A template of this directory with its names filled in.
pub fn fill(text: &str, names: &[(&str, &str)]) -> String {
    names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

/// Free a moment ago, which is as good as it gets: the worker has to be told numbers.
fn free_ports() -> Result<[u16; 2]> {
    let (one, other) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok([one.local_addr()?.port(), other.local_addr()?.port()])
}

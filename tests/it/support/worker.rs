//! A deployment of its own for a test: settings, definitions, topics and keys that no other test has, and the workers on it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::kafka::fresh;
use super::process::{Process, Ran, campanile, run};
use super::wait::{eventually, happens, runtime};

/// From the start of a worker to its readiness, on a busy machine: it may wait for the session of a killed one to end.
const READY_WITHIN: Duration = Duration::from_secs(40);

/// The settings that tests differ in, as variables of the environment.
pub type Variables = Vec<(String, String)>;

/// One deployment: workers that share a group, topics, a store and definitions.
pub struct Deployment {
    directory: TempDir,
    variables: Variables,
    pub prefix: String,
    pub events: String,
    brokers: String,
}

impl Deployment {
    /// On this broker and this store. Retries follow quickly, loopback may be called, plain http too.
    pub fn new(brokers: &str, redis: &str) -> Deployment {
        let (prefix, events) = (fresh("campanile"), fresh("events"));
        let settings = format!(
            "kafka:
  brokers: \"{brokers}\"
  group: {prefix}
  prefix: {prefix}
  events: [{events}]
  options: {{session.timeout.ms: 3000}}
state: {{url: \"{redis}\", prefix: {prefix}}}
delivery:
  allow_http: true
  allow_networks: [127.0.0.0/8, \"::1\"]
  backoff: {{base: 200ms, max: 1s}}
"
        );
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(directory.path().join("definitions")).expect("a directory of our own");
        let deployment = Deployment { directory, variables: Variables::new(), prefix, events, brokers: brokers.to_owned() };
        deployment.write("campanile.yaml", &settings);
        deployment
    }

    /// Sets one setting, as an operator would: `DELIVERY__TIMEOUT`, `1s`.
    pub fn set(&mut self, setting: &str, value: &str) {
        self.variable(&format!("CAMPANILE_{setting}"), value);
    }

    /// Sets a variable of the environment of every process.
    pub fn variable(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Writes a file into the deployment's directory.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("a directory of our own");
        path
    }

    /// Writes what `run --apply` applies.
    pub fn define(&self, definitions: &str) {
        self.write("definitions/all.yaml", definitions);
    }

    pub fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// A command in the deployment's directory, whose `campanile.yaml` it finds by itself.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = campanile(self.path(), arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        run(self.command(arguments))
    }

    /// Creates the topics.
    pub fn init(&self) {
        let init = || self.run(&["init", "--config", "campanile.yaml"]);
        // On a busy machine a broker may not know in time what it has made: asked again, it says so.
        let made = happens(READY_WITHIN, || init().code == Some(0));
        if !made {
            init().expect(0, &[]);
        }
    }

    /// Starts a worker and waits until it is ready.
    pub fn start(&self) -> Worker {
        let worker = self.launch(&[]);
        worker.ready();
        worker
    }

    /// Starts a worker without waiting, for one that may not become ready.
    pub fn launch(&self, more_arguments: &[&str]) -> Worker {
        let (listen, probes) = (free_address(), free_address());
        let mut command = self.command(&["run", "--config", "campanile.yaml", "--apply", "definitions"]);
        command.args(more_arguments).env("CAMPANILE_HTTP__LISTEN", &listen).env("CAMPANILE_HTTP__PROBES", &probes);
        // What the test set itself wins.
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Worker { process: Process::start(command, b""), listen, probes }
    }
}

/// A running worker.
pub struct Worker {
    pub process: Process,
    pub listen: String,
    pub probes: String,
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Worker {
    /// Waits until `/readyz` says yes.
    pub fn ready(&self) {
        eventually(&format!("the worker at {} is ready", self.probes), READY_WITHIN, || {
            (self.probe("/readyz").ok()?.status == 200).then_some(())
        });
    }

    /// Asks the probes listener; fails while nobody listens.
    pub fn probe(&self, path: &str) -> Result<Reply, reqwest::Error> {
        ask(client().get(format!("http://{}{path}", self.probes)))
    }

    /// Posts JSON to the API.
    pub fn post(&self, path: &str, body: &str) -> Reply {
        let url = format!("http://{}{path}", self.listen);
        post(&url, &[("content-type", "application/json")], body).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Applies definitions.
    pub fn apply(&self, definitions: &str) -> Reply {
        let request = client().put(format!("http://{}/v1/definitions", self.listen)).header("content-type", "application/yaml");
        ask(request.body(definitions.to_owned())).unwrap_or_else(|error| panic!("definitions: {error}"))
    }

    /// Asks the API.
    pub fn get(&self, path: &str) -> Reply {
        ask(client().get(format!("http://{}{path}", self.listen))).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The sum of all series of a metric whose labels contain `labels`.
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = self.probe("/metrics").map(|reply| reply.body).unwrap_or_default();
        let series = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        series.filter(|line| line.contains(labels)).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// SIGTERM; waits until it has ended and fails unless it says that all went well.
    pub fn stop(self) {
        self.process.terminate();
        self.process.ended(READY_WITHIN).expect(0, &[]);
    }
}

/// One POST.
pub fn post(url: &str, headers: &[(&str, &str)], body: &str) -> Result<Reply, reqwest::Error> {
    let request = headers.iter().fold(client().post(url), |request, (name, value)| request.header(*name, *value));
    ask(request.body(body.to_owned()))
}

fn ask(request: reqwest::RequestBuilder) -> Result<Reply, reqwest::Error> {
    runtime().block_on(async {
        let response = request.timeout(Duration::from_secs(10)).send().await?;
        let status = response.status().as_u16();
        Ok(Reply { status, body: response.text().await? })
    })
}

pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client")
}

/// A free address of the loopback, below the range from which outgoing connections take their ports.
pub fn free_address() -> String {
    const FIRST: u16 = 12_000;
    const SPAN: u16 = 6_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let offset = (std::process::id() as u16).wrapping_mul(31).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % SPAN;
        let address = format!("127.0.0.1:{}", FIRST + offset);
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

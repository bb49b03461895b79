//! A real broker for tests, started by `scripts/kafka.sh`: one for the whole test process, ended with it. Every test takes topics
//! and groups of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use campanile::adapter::kafka::{Admin, KafkaAppend, KafkaSettings, State, Topic};
use campanile::worker::ports::{Append, AppendError, Line};

/// A broker of this process. It ends when its standard input closes: with the process, however that ends, or when it is dropped.
pub struct Broker {
    script: Child,
    input: Option<ChildStdin>,
    pid: u32,
    pub address: String,
}

/// A broker that has been started and has not answered yet.
pub struct Starting {
    script: Child,
}

impl Starting {
    fn of(arguments: &[&str], variables: &[(&str, &str)]) -> Starting {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka.sh");
        let mut command = Command::new(path);
        command.arg("attached").args(arguments).envs(variables.iter().copied());
        let script = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Starting { script: script.unwrap_or_else(|error| panic!("{path} cannot be started: {error}")) }
    }

    /// Waits until it answers.
    pub fn started(mut self) -> Broker {
        let mut told = String::new();
        BufReader::new(self.script.stdout.take().expect("it is piped")).read_line(&mut told).expect("the script's answer");
        let words: Vec<&str> = told.split_whitespace().collect();
        let address = words.iter().find(|word| word.starts_with("127.0.0.1:")).map(|address| (*address).to_owned());
        let pid = words.last().and_then(|word| word.parse().ok());
        let (Some(address), Some(pid)) = (address, pid) else { panic!("no broker was started; what the script says stands above") };
        let input = self.script.stdin.take();
        Broker { script: self.script, input, pid, address }
    }
}

impl Broker {
    /// In a temporary directory, on free ports.
    pub fn start() -> Broker {
        Starting::of(&[], &[]).started()
    }

    /// In this directory, with what it holds, and on this port.
    pub fn start_in(directory: &Path, port: Option<&str>) -> Broker {
        Broker::starting_in(directory, port, &[]).started()
    }

    /// The same with these variables for the script, and without waiting: brokers of one quorum start together.
    pub fn starting_in(directory: &Path, port: Option<&str>, variables: &[(&str, &str)]) -> Starting {
        let directory = directory.to_str().expect("a path in UTF-8");
        Starting::of(&[directory, port.unwrap_or("")], variables)
    }

    pub fn port(&self) -> &str {
        self.address.rsplit(':').next().expect("host:port")
    }

    /// Ends it in order and waits until it is gone.
    pub fn stop(mut self) {
        self.end();
    }

    /// kill -9 of the broker itself. What the script leaves behind goes when this is dropped.
    pub fn kill(&self) {
        let status = Command::new("sh").args(["-c", &format!("kill -KILL {}", self.pid)]).status().expect("a shell");
        assert!(status.success(), "the broker at {} cannot be killed: {status}", self.address);
    }

    fn end(&mut self) {
        drop(self.input.take());
        _ = self.script.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end();
    }
}

/// The address of the broker that all tests share.
pub fn shared() -> &'static str {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    &BROKER.get_or_init(Broker::start).address
}

/// A name that no other test has.
pub fn fresh(kind: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{kind}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A new topic on the shared broker.
pub fn topic(partitions: i32) -> String {
    topic_on(shared(), partitions)
}

pub fn topic_on(brokers: &str, partitions: i32) -> String {
    let name = fresh("topic");
    let admin = Admin::open(&KafkaSettings::new(brokers, "admin"), Duration::from_secs(30)).expect("an admin client");
    let wanted =
        Topic { name: name.clone(), partitions, keep: Duration::from_secs(86_400), max_record_bytes: 2 * 1024 * 1024, of_producers: false };
    let found = wait(admin.create(&[wanted])).expect("a reachable broker");
    assert!(found.iter().all(|one| one.state == State::Created), "{found:?}");
    name
}

/// A session as short as the broker allows keeps tests of a lost member short.
pub fn settings(brokers: &str, group: &str) -> KafkaSettings {
    let mut settings = KafkaSettings::new(brokers, group);
    settings.options.insert("session.timeout.ms".into(), "2000".into());
    settings
}

pub fn append_on(brokers: &str) -> KafkaAppend {
    KafkaAppend::open(&KafkaSettings::new(brokers, "append")).expect("a producer")
}

/// Writes `count` lines whose values are their numbers and whose keys are those modulo `keys`, and waits for them.
pub fn write_numbers(append: &dyn Append, topic: &str, numbers: std::ops::Range<u32>, keys: u32) -> Result<(), AppendError> {
    let line = |number: u32| Line { topic: topic.into(), key: Some((number % keys).to_string().into()), value: number.to_string().into() };
    wait(append.append(&numbers.map(line).collect::<Vec<_>>()))
}

/// Runs a future to its end on this thread.
pub fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

//! Three brokers of a test's own that elect among themselves (KRaft): every topic is on all of them, and what two have is acknowledged.

use std::net::TcpListener;

use tempfile::TempDir;

use super::kafka::{Broker, Starting};

const BROKERS: usize = 3;

/// Where pairs of ports (a broker's and its controller's) are looked for: below the range that outgoing connections take theirs from.
const FIRST_PORT: u16 = 18_000;
const LAST_PORT: u16 = 20_000;

pub struct KafkaCluster {
    directory: TempDir,
    ports: Vec<u16>,
    brokers: Vec<Option<Broker>>,
}

impl KafkaCluster {
    pub fn start() -> KafkaCluster {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut cluster = KafkaCluster { directory, ports: free_pairs(), brokers: Vec::new() };
        // None answers before two are there.
        let starting: Vec<Starting> = (0..BROKERS).map(|broker| cluster.starting(broker)).collect();
        cluster.brokers = starting.into_iter().map(|starting| Some(starting.started())).collect();
        cluster
    }

    /// As `kafka.brokers` names them.
    pub fn addresses(&self) -> String {
        self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// kill -9 of one of them.
    pub fn kill(&mut self, broker: usize) {
        self.brokers[broker].take().expect("a broker that runs").kill();
    }

    /// Starts it again with what it had.
    pub fn restart(&mut self, broker: usize) {
        self.brokers[broker] = Some(self.starting(broker).started());
    }

    fn starting(&self, broker: usize) -> Starting {
        let voters: Vec<String> = self.ports.iter().enumerate().map(|(at, port)| format!("{}@127.0.0.1:{}", at + 1, port + 1)).collect();
        let more = format!(
            "node.id={}
controller.quorum.voters={}
default.replication.factor={BROKERS}
min.insync.replicas=2
offsets.topic.replication.factor={BROKERS}
transaction.state.log.replication.factor={BROKERS}
transaction.state.log.min.isr=2
",
            broker + 1,
            voters.join(","),
        );
        let file = self.directory.path().join(format!("{broker}.properties"));
        std::fs::write(&file, more).expect("a directory of our own");
        let variables = [("KAFKA_MORE", file.to_str().expect("a path in UTF-8")), ("KAFKA_HEAP", "320m")];
        let port = self.ports[broker].to_string();
        Broker::starting_in(&self.directory.path().join(broker.to_string()), Some(&port), &variables)
    }
}

fn free_pairs() -> Vec<u16> {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let offset = (std::process::id() as u16).wrapping_mul(2) % (LAST_PORT - FIRST_PORT);
    let candidates = (FIRST_PORT + offset..LAST_PORT).chain(FIRST_PORT..FIRST_PORT + offset).step_by(2);
    let pairs: Vec<u16> = candidates.filter(|&port| is_free(port) && is_free(port + 1)).take(BROKERS).collect();
    assert_eq!(pairs.len(), BROKERS, "no free ports between {FIRST_PORT} and {LAST_PORT}");
    pairs
}

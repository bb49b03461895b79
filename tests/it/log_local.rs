//! Logs in this process: the conformance suite over the embedded log, in memory and in a file, and over the simulator's.

use std::sync::Arc;

use campanile::adapter::clock::SystemClock;
use campanile::adapter::embedded::{self, Embedded, EmbeddedSettings};
use campanile::engine::time::Timestamp;
use campanile::simulator::ports::{self as simulated, MemoryLog, SharedFaults, VirtualClock};

use crate::log::{Begin, Log, log_suite};
use crate::support::kafka::fresh;

log_suite!(the_embedded_log_in_memory, crate::log_local::embedded_in_memory);
log_suite!(the_embedded_log_in_a_file, crate::log_local::embedded_in_a_file);
log_suite!(the_log_of_the_simulator, crate::log_local::simulated);

#[test]
fn what_the_embedded_log_keeps_can_be_looked_at() {
    let embedded = Embedded::open(&EmbeddedSettings { path: None, partitions: 3 }, Arc::new(SystemClock::new())).expect("memory");
    let archive = embedded.archive();
    assert!(archive.open("nothing").expect("a topic").spans(None).expect("spans").is_empty(), "nothing was ever written to it");
    crate::log::what_is_kept_can_be_looked_at(&over(embedded, None), &*archive);
}

pub fn embedded_in_memory(partitions: i32) -> Log {
    embedded(partitions, None)
}

pub fn embedded_in_a_file(partitions: i32) -> Log {
    embedded(partitions, Some(tempfile::tempdir().expect("a directory")))
}

pub fn simulated(partitions: i32) -> Log {
    let clock = VirtualClock::new(Timestamp::parse("2026-01-01T00:00:00Z").expect("a time"));
    let log = MemoryLog::new(partitions, Arc::new(clock), SharedFaults::default());
    Log {
        append: Arc::new(log.clone()),
        topic: Box::new(|| fresh("topic")),
        join: Box::new(move |group, topics, begin| {
            let start = match begin {
                Begin::Earliest => simulated::Start::Earliest,
                Begin::Latest => simulated::Start::Latest,
            };
            Box::new(log.source_from(group, topics, start))
        }),
    }
}

/// The directory goes with the log.
fn embedded(partitions: i32, directory: Option<tempfile::TempDir>) -> Log {
    let path = directory.as_ref().map(|directory| directory.path().join("campanile.redb"));
    let settings = EmbeddedSettings { path, partitions: partitions.unsigned_abs() };
    over(Embedded::open(&settings, Arc::new(SystemClock::new())).expect("an embedded store"), directory)
}

fn over(log: Embedded, directory: Option<tempfile::TempDir>) -> Log {
    Log {
        append: log.append(),
        topic: Box::new(|| fresh("topic")),
        join: Box::new(move |group, topics, begin| {
            let _kept = &directory;
            let start = match begin {
                Begin::Earliest => embedded::Start::Earliest,
                Begin::Latest => embedded::Start::Latest,
            };
            log.source(group, topics, start).expect("a source")
        }),
    }
}

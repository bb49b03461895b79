//! State in this process: the conformance suite over the embedded store, in memory and in a file, and over the simulator's.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use campanile::adapter::clock::SystemClock;
use campanile::adapter::embedded::{Embedded, EmbeddedSettings};
use campanile::engine::time::Timestamp;
use campanile::simulator::ports::{MemoryStore, SharedFaults, VirtualClock};
use campanile::worker::ports::{Clock, Store};

use crate::state::{self, put, session};

/// Stores of this process are one group.
const GROUPS: u16 = 1;

fn embedded(path: Option<PathBuf>, clock: Arc<dyn Clock>) -> Arc<dyn Store> {
    Embedded::open(&EmbeddedSettings { path, ..EmbeddedSettings::default() }, clock).unwrap().store()
}

fn simulated(clock: Arc<dyn Clock>) -> Arc<dyn Store> {
    Arc::new(MemoryStore::new("store", clock, SharedFaults::default()))
}

fn virtual_clock() -> VirtualClock {
    VirtualClock::new(Timestamp::parse("2026-01-01T00:00:00Z").unwrap())
}

#[tokio::test]
async fn the_embedded_store_conforms_in_memory() {
    state::suite(GROUPS, async || embedded(None, Arc::new(SystemClock::new()))).await;
}

#[tokio::test]
async fn the_embedded_store_conforms_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let made = Cell::new(0);
    state::suite(GROUPS, async || {
        made.set(made.get() + 1);
        embedded(Some(directory.path().join(format!("{}.redb", made.get()))), Arc::new(SystemClock::new()))
    })
    .await;
}

#[tokio::test]
async fn the_store_of_the_simulator_conforms() {
    state::suite(GROUPS, async || simulated(Arc::new(virtual_clock()))).await;
}

#[tokio::test]
async fn the_time_of_a_store_is_that_of_its_clock() {
    let clock = virtual_clock();
    for store in [embedded(None, Arc::new(clock.clone())), simulated(Arc::new(clock.clone()))] {
        let mut session = session(&*store).await;
        for step in 0..3 {
            clock.advance(Duration::from_millis(step));
            assert_eq!(session.commit(&[put("a", None, b"")]).await.unwrap().now, clock.now());
            assert_eq!(session.load(&[]).await.unwrap().now, clock.now());
        }
    }
}

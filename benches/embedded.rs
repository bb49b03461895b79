//! What the embedded store carries on this disk, every answer after fsync: `cargo bench --bench embedded`.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use campanile::adapter::clock::SystemClock;
use campanile::adapter::embedded::{DEFAULT_PARTITIONS, Embedded, EmbeddedSettings, Start};
use campanile::engine::time::Timestamp;
use campanile::worker::ports::{Change, Clock, Line, ProfileChange, Token};
use futures_util::future::join_all;

const BATCH: usize = 50;
const ROUNDS: usize = 100;
/// Callers at the same time: lanes that commit, or appends in flight.
const CALLERS: [usize; 3] = [1, 4, 16];
const EVENT_BYTES: usize = 755;
const RECORD_BYTES: usize = 600;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let clock = SystemClock::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    println!("batches of {BATCH}; events of {EVENT_BYTES} bytes, records of {RECORD_BYTES} bytes");
    for callers in CALLERS {
        let embedded = open(&directory.path().join(format!("append-{callers}")))?;
        let start = (clock.monotonic(), embedded.transactions());
        runtime.block_on(join_all((0..callers).map(|_| append(&embedded))));
        report(&format!("append, {callers} in flight"), callers * ROUNDS, clock.monotonic() - start.0, embedded.transactions() - start.1);

        let embedded = open(&directory.path().join(format!("commit-{callers}")))?;
        let start = (clock.monotonic(), embedded.transactions());
        runtime.block_on(join_all((0..callers).map(|lane| commit(&embedded, lane))));
        report(&format!("commit, {callers} lanes"), callers * ROUNDS, clock.monotonic() - start.0, embedded.transactions() - start.1);
    }
    let path = directory.path().join("append-16");
    read(&open(&path)?, &clock)?;
    reopen(&path, &clock)
}

fn open(path: &Path) -> Result<Embedded, Box<dyn std::error::Error>> {
    let settings = EmbeddedSettings { path: Some(path.to_owned()), partitions: DEFAULT_PARTITIONS };
    Ok(Embedded::open(&settings, Arc::new(SystemClock::new()))?)
}

async fn append(embedded: &Embedded) {
    let log = embedded.append();
    let line = |number: usize| Line { topic: "events".into(), key: Some(number.to_be_bytes().to_vec()), value: vec![b'e'; EVENT_BYTES] };
    for _ in 0..ROUNDS {
        log.append(&(0..BATCH).map(line).collect::<Vec<_>>()).await.expect("the disk takes it");
    }
}

async fn commit(embedded: &Embedded, lane: usize) {
    let mut session = embedded.store().session().await.expect("the disk takes it");
    let mut token: Option<Token> = None;
    for round in 0..ROUNDS {
        let change = |user: usize| Change {
            user: format!("user-{lane}-{user}").into(),
            expected: token,
            record: Some(vec![b'r'; RECORD_BYTES]),
            profile: ProfileChange::Keep,
            wake: Some(Timestamp(round as i64)),
        };
        let committed = session.commit(&(0..BATCH).map(change).collect::<Vec<_>>()).await.expect("the disk takes it");
        assert!(committed.conflicts.is_empty());
        token = Some(committed.token);
    }
}

fn read(embedded: &Embedded, clock: &SystemClock) -> Result<(), Box<dyn std::error::Error>> {
    let mut source = embedded.source("bench", &["events"], Start::Earliest)?;
    let (start, mut records, expected) = (clock.monotonic(), 0, 16 * ROUNDS * BATCH);
    while records < expected {
        source.poll(Duration::ZERO, &mut |_| {
            records += 1;
            ControlFlow::Continue(())
        })?;
    }
    report("read", records / BATCH, clock.monotonic() - start, 0);
    Ok(())
}

/// Opens what a kill leaves: a copy made while the file is open.
fn reopen(path: &Path, clock: &SystemClock) -> Result<(), Box<dyn std::error::Error>> {
    let (killed, open_elsewhere) = (path.with_extension("killed"), open(path)?);
    std::fs::copy(path, &killed)?;
    let start = clock.monotonic();
    open(&killed)?;
    let (taken, size) = (clock.monotonic() - start, std::fs::metadata(&killed)?.len());
    println!("{:<22} {:>9.1} ms for {} MiB", "open after a kill", taken.as_secs_f64() * 1e3, size >> 20);
    drop(open_elsewhere);
    Ok(())
}

fn report(what: &str, batches: usize, taken: Duration, transactions: u64) {
    let seconds = taken.as_secs_f64();
    let (batches, records) = (batches as f64 / seconds, (batches * BATCH) as f64 / seconds);
    println!("{what:<22} {records:>9.0} records/s {batches:>8.0} batches/s {transactions:>6} transactions");
}

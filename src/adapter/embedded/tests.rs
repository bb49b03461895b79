//! The embedded store survives a kill at any write, and forgets only what it may. That it keeps the promises of the ports is tried by
//! the suites that all stores and all logs are put through, `tests/it/state.rs` and `tests/it/log.rs`.

mod crash;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use redb::{ReadableDatabase, ReadableTable, TableDefinition};

use super::*;
use crate::engine::time::Timestamp;
use crate::worker::ports::testing::{block_on, change, commit, load, session};
use crate::worker::ports::{AppendError, Change, Line, Offset, Partition, Put, StateError};

const NOW: Timestamp = Timestamp(1_000_000);

/// Stands still until the test moves it.
struct StillClock(AtomicI64);

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

fn clock() -> Arc<StillClock> {
    Arc::new(StillClock(AtomicI64::new(NOW.0)))
}

fn in_memory() -> Embedded {
    Embedded::open(&EmbeddedSettings::default(), clock()).unwrap()
}

fn at(path: &Path) -> Result<Embedded, OpenError> {
    Embedded::open(&EmbeddedSettings { path: Some(path.to_owned()), partitions: DEFAULT_PARTITIONS }, clock())
}

fn append(embedded: &Embedded, lines: Vec<Line>) {
    block_on(embedded.append().append(&lines)).unwrap();
}

fn lines(range: std::ops::Range<usize>) -> Vec<Line> {
    range.map(|number| Line { topic: "events".into(), key: Some(b"k".to_vec()), value: number.to_string().into() }).collect()
}

fn join(embedded: &Embedded, group: &str) -> Box<dyn Source> {
    embedded.source(group, &["events"], Start::Earliest).unwrap()
}

fn values(source: &mut dyn Source) -> Vec<String> {
    drain(source).into_iter().map(|(_, value)| value).collect()
}

/// All that a source hands out until it has nothing more: partition and value.
fn drain(source: &mut dyn Source) -> Vec<(Partition, String)> {
    let mut taken = Vec::new();
    loop {
        let before = taken.len();
        let each = &mut |message: crate::worker::ports::Message<'_>| {
            let partition = Partition { topic: message.topic.into(), number: message.partition };
            taken.push((partition, String::from_utf8(message.value.unwrap().to_vec()).unwrap()));
            ControlFlow::Continue(())
        };
        let polled = source.poll(Duration::ZERO, each).unwrap();
        if taken.len() == before && polled.assigned.is_empty() {
            return taken;
        }
    }
}

#[test]
fn everything_survives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("campanile.redb");
    let (identity, token, partition) = {
        let embedded = at(&path).unwrap();
        append(&embedded, lines(0..5));
        let mut session = session(&*embedded.store());
        let token = commit(&mut *session, &[change("a", None, "one")]).token;
        assert_eq!(block_on(session.put_documents(0, b"documents")).unwrap(), Put::Stored { revision: 1 });
        let mut source = join(&embedded, "g");
        let partition = drain(&mut *source)[0].0.clone();
        source.commit(&[Offset { partition: partition.clone(), next: 3, note: "note".to_owned() }]).unwrap();
        (block_on(session.identity()).unwrap(), token, partition)
    };
    let embedded = at(&path).unwrap();
    let mut anew = session(&*embedded.store());
    assert_eq!(block_on(anew.identity()).unwrap(), identity);
    assert_eq!(load(&mut *anew, "a").unwrap().token, token);
    assert_eq!(block_on(anew.documents(None)).unwrap().unwrap().body, b"documents");
    assert_eq!(block_on(anew.take_due(NOW, 9, Duration::ZERO)).unwrap().len(), 1);
    let committed = commit(&mut *anew, &[change("a", Some(token), "two")]);
    assert!(committed.conflicts.is_empty() && committed.token != token && committed.sequence == identity.sequence + 1);
    let mut source = join(&embedded, "g");
    let polled = source.poll(Duration::ZERO, &mut |_| ControlFlow::Continue(())).unwrap();
    let assigned = polled.assigned.into_iter().find(|assigned| assigned.partition == partition).unwrap();
    assert_eq!((assigned.committed, assigned.note.as_deref()), (Some(3), Some("note")));
    assert_eq!(values(&mut *source), ["3", "4"]);
    append(&embedded, lines(5..6));
    assert_eq!(values(&mut *source), ["5"], "offsets go on");
}

#[test]
fn a_file_that_cannot_be_used_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let check = |name: &str, expect: &str| {
        let error = at(&path(name)).err().unwrap().to_string();
        assert!(error.contains(expect) && error.contains("embedded.path") && error.contains(name), "{error}");
    };
    let open = at(&path("open")).unwrap();
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1, "one file, and no draft of it");
    check("open", "in use by another process");
    drop(open);
    assert!(at(&path("open")).is_ok());

    check("missing/campanile.redb", "cannot be opened");

    std::fs::write(path("text"), "user,campaign\n".repeat(100)).unwrap();
    check("text", "was not written by this program");

    let other = Database::create(path("other")).unwrap();
    let transaction = other.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("theirs")).unwrap();
    transaction.commit().unwrap();
    drop(other);
    check("other", "was not written by this program");

    drop(at(&path("newer")).unwrap());
    let newer = Database::create(path("newer")).unwrap();
    let transaction = newer.begin_write().unwrap();
    transaction.open_table(tables::META).unwrap().insert(tables::META_FORMAT, tables::FORMAT + 1).unwrap();
    transaction.commit().unwrap();
    drop(newer);
    check("newer", "has format 2");
}

#[test]
fn calls_that_wait_share_a_transaction() {
    let embedded = in_memory();
    let mut sessions: Vec<_> = (0..5).map(|_| session(&*embedded.store())).collect();
    let (started, has_started) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let gate = embedded.shared.writer.call(0, move |_| {
        started.send(()).unwrap();
        released.recv().unwrap();
        Ok(())
    });
    has_started.recv().unwrap();
    let before = embedded.transactions();
    let appended: Vec<_> = (0..20).map(|number| embedded.append().append(&lines(number..number + 1))).collect();
    let waiting = sessions.iter_mut().enumerate().map(|(index, session)| async move {
        let user = format!("u{index}");
        session.commit(&[change(&user, None, "r"), change("shared", None, "r")]).await.unwrap()
    });
    let committed = block_on(async {
        let all = futures_util::future::join_all(waiting);
        let mut all = std::pin::pin!(all);
        assert!(futures_util::poll!(all.as_mut()).is_pending(), "all are handed over, none is answered");
        release.send(()).unwrap();
        gate.await.unwrap();
        all.await
    });
    for answer in appended {
        block_on(answer).unwrap();
    }
    assert_eq!(embedded.transactions() - before, 2, "one for the gate, one for all the others");
    assert_eq!(values(&mut *join(&embedded, "g")).len(), 20);
    let conflicts: Vec<usize> = committed.iter().map(|committed| committed.conflicts.len()).collect();
    assert_eq!(conflicts, [0, 1, 1, 1, 1], "each sees the writes before it in its own transaction");
    let first = committed[0].sequence;
    assert_eq!(committed.iter().map(|committed| committed.sequence).collect::<Vec<_>>(), (first..first + 5).collect::<Vec<_>>());
}

#[test]
fn a_repeated_operation_is_recognised() {
    let embedded = in_memory();
    let mut session = session(&*embedded.store());
    let token = commit(&mut *session, &[change("gone", None, "r")]).token;
    let incarnation = u64::from_be_bytes(token.0[..8].try_into().unwrap());
    let delete = Change { record: None, ..change("gone", Some(token), "") };
    let changes = [change("a", None, "one"), change("b", Some(token), "conflict"), delete];
    let apply = |operation, told| {
        let changes = changes.clone();
        block_on(embedded.shared.writer.call(0, move |tables| state::apply(tables, NOW, incarnation, told, operation, &changes))).unwrap()
    };
    let first = apply(2, 1).unwrap();
    let again = apply(2, 1).unwrap();
    assert_eq!((first.token, first.sequence, &first.conflicts), (again.token, again.sequence, &again.conflicts));
    assert_eq!(again.conflicts, [(1, None)]);
    assert!(matches!(apply(5, 4), Err(StateError::RolledBack(_))), "the ledger stands at 2");
}

#[test]
fn a_commit_that_was_dropped_is_told_from_the_next() {
    let embedded = in_memory();
    let mut session = session(&*embedded.store());
    let changes = [change("a", None, "one")];
    block_on(async {
        let mut dropped = session.commit(&changes);
        assert!(matches!(futures_util::poll!(dropped.as_mut()), std::task::Poll::Pending | std::task::Poll::Ready(Ok(_))));
    });
    let next = commit(&mut *session, &[change("b", None, "two")]);
    assert!(next.conflicts.is_empty());
    assert!(load(&mut *session, "a").is_some() && load(&mut *session, "b").is_some());
    block_on(session.confirm()).unwrap();
}

#[test]
fn a_waiting_reader_is_woken_by_a_line() {
    let embedded = in_memory();
    let mut source = join(&embedded, "g");
    assert_eq!(values(&mut *source), [""; 0]);
    let reader = std::thread::spawn(move || {
        let mut taken = 0;
        let each = &mut |_: crate::worker::ports::Message<'_>| {
            taken += 1;
            ControlFlow::Continue(())
        };
        // Far longer than any test may take: only the line ends it.
        source.poll(Duration::from_secs(3_600), each).unwrap();
        taken
    });
    append(&embedded, lines(0..1));
    assert_eq!(reader.join().unwrap(), 1);
}

#[test]
fn a_group_has_one_member() {
    let embedded = in_memory();
    let first = join(&embedded, "g");
    let error = embedded.source("g", &["other", "events"], Start::Earliest).err().unwrap();
    assert!(matches!(&error, SourceError::Fatal(why) if why.contains("group g already reads events")), "{error}");
    let aside = embedded.source("g", &["other"], Start::Earliest).unwrap();
    drop((first, aside));
    join(&embedded, "g");
}

#[test]
fn a_group_may_start_at_the_end() {
    let embedded = in_memory();
    append(&embedded, lines(0..3));
    let mut source = embedded.source("g", &["events"], Start::Latest).unwrap();
    append(&embedded, lines(3..4));
    assert_eq!(values(&mut *source), ["3"]);
}

#[test]
fn a_topic_keeps_its_partitions() {
    let directory = tempfile::tempdir().unwrap();
    let settings = |partitions| EmbeddedSettings { path: Some(directory.path().join("log")), partitions };
    append(&Embedded::open(&settings(2), clock()).unwrap(), lines(0..1));
    let embedded = Embedded::open(&settings(8), clock()).unwrap();
    let mut source = embedded.source("g", &["events", "new"], Start::Earliest).unwrap();
    assert_eq!(source.partitions().unwrap().len(), 2 + 8);
}

#[test]
fn a_line_that_is_too_long_is_refused() {
    let embedded = in_memory();
    let long = Line { topic: "events".into(), key: Some(vec![0; 1]), value: vec![0; log::MAX_LINE_BYTES] };
    let error = block_on(embedded.append().append(&[lines(0..1), vec![long]].concat()));
    assert!(matches!(error, Err(AppendError::Refused(_))), "{error:?}");
    assert_eq!(values(&mut *join(&embedded, "g")), [""; 0]);
}

#[test]
fn an_offset_that_is_not_there_stops_the_reader() {
    let embedded = in_memory();
    let mut source = join(&embedded, "g");
    let offset = |topic: &str| Offset { partition: Partition { topic: topic.into(), number: 0 }, next: 7, note: String::new() };
    assert!(matches!(source.commit(&[offset("elsewhere")]), Err(SourceError::Fatal(_))));
    source.commit(&[offset("events")]).unwrap();
    drop(source);
    let error = embedded.source("g", &["events"], Start::Earliest).err().unwrap();
    assert!(matches!(&error, SourceError::Fatal(why) if why.contains("up to 7, the log ends at 0")), "{error}");
    join(&embedded, "other");
}

/// A log of which each partition keeps committed records for 10 ms and unread topics for 1 s, both up to 2,000 bytes.
fn forgetful() -> (Embedded, Arc<StillClock>) {
    let clock = clock();
    let retention = Retention { read: Duration::from_millis(10), unread: Duration::from_secs(1), bytes: 2_000 };
    (Embedded::start(file::in_memory().unwrap(), 1, retention, clock.clone()).unwrap(), clock)
}

/// The offsets that are kept of the only partition of `events`.
fn kept(embedded: &Embedded) -> Vec<String> {
    let log = embedded.shared.database.begin_read().unwrap().open_table(tables::LOG).unwrap();
    log.iter().unwrap().map(|row| String::from_utf8(tables::decode_line(row.unwrap().1.value()).unwrap().value.to_vec()).unwrap()).collect()
}

#[test]
fn retention_never_removes_what_a_group_has_not_committed() {
    let (embedded, clock) = forgetful();
    let (mut ahead, behind) = (join(&embedded, "ahead"), join(&embedded, "behind"));
    let offset = |next| Offset { partition: Partition { topic: "events".into(), number: 0 }, next, note: String::new() };
    append(&embedded, lines(0..300));
    ahead.commit(&[offset(300)]).unwrap();
    clock.0.fetch_add(1_000_000, Ordering::Relaxed);
    append(&embedded, lines(300..600));
    assert_eq!(kept(&embedded).len(), 600, "old, large, but one group has committed nothing");
    drop(behind);
    append(&embedded, lines(600..601));
    assert_eq!(kept(&embedded).len(), 601, "a group that left still has its place");

    let mut behind = join(&embedded, "behind");
    behind.commit(&[offset(200)]).unwrap();
    append(&embedded, lines(601..801));
    let left = kept(&embedded);
    assert_eq!((left.first().map(String::as_str), left.len()), (Some("200"), 601), "what both have committed");
    assert_eq!(values(&mut *behind).first().map(String::as_str), Some("200"));
}

#[test]
fn retention_removes_what_is_old_or_too_much() {
    let (embedded, clock) = forgetful();
    let mut source = join(&embedded, "g");
    let offset = |next| Offset { partition: Partition { topic: "events".into(), number: 0 }, next, note: String::new() };
    append(&embedded, lines(0..50));
    source.commit(&[offset(50)]).unwrap();
    append(&embedded, lines(50..60));
    assert_eq!(kept(&embedded).len(), 60, "young and little");
    clock.0.fetch_add(11, Ordering::Relaxed);
    append(&embedded, lines(60..61));
    assert_eq!(kept(&embedded)[0], "18", "a batch of one removes 18 at most");
    append(&embedded, lines(61..101));
    assert_eq!(kept(&embedded)[0], "50");
    source.commit(&[offset(101)]).unwrap();
    append(&embedded, lines(101..301));
    let bytes = kept(&embedded).iter().map(|value| value.len() + 13).sum::<usize>();
    assert_eq!(kept(&embedded)[0], "101", "{bytes} bytes, but not committed");
    source.commit(&[offset(301)]).unwrap();
    append(&embedded, lines(301..401));
    let bytes = kept(&embedded).iter().map(|value| value.len() + 13).sum::<usize>();
    assert!((1_900..=2_000).contains(&bytes), "{bytes} bytes are left of young ones");
}

#[test]
fn retention_of_a_topic_that_nobody_reads_is_longer() {
    let (embedded, clock) = forgetful();
    append(&embedded, lines(0..10));
    clock.0.fetch_add(1_000, Ordering::Relaxed);
    append(&embedded, lines(10..20));
    assert_eq!(kept(&embedded).len(), 20);
    clock.0.fetch_add(1, Ordering::Relaxed);
    append(&embedded, lines(20..21));
    assert_eq!(kept(&embedded)[0], "10");
    append(&embedded, lines(21..1_021));
    assert!(kept(&embedded).len() < 150, "at most 2,000 bytes");
}

//! The faults of the ports in memory are what they say. That without faults they keep the promises of the ports is tried by the suites
//! that all stores and all logs are put through, `tests/it/state.rs` and `tests/it/log.rs`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::engine::time::Timestamp;
use crate::worker::ports::testing::{block_on, change, commit, load, session};
use crate::worker::ports::{Append, AppendError, Change, Line, Offset, Partition, Put, Source, SourceError, StateError};

const NOW: Timestamp = Timestamp(1_000_000);

/// Fates to be given out one by one; `Go` when there are no more.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Vec<Fate>>>);

impl Script {
    fn next(&self, fates: &[Fate]) {
        *self.0.lock().unwrap() = fates.iter().rev().copied().collect();
    }
}

impl Faults for Script {
    fn fate(&mut self, _: Call) -> Fate {
        self.0.lock().unwrap().pop().unwrap_or(Fate::Go)
    }
}

fn scripted_store() -> (MemoryStore, Script, VirtualClock) {
    let (script, clock) = (Script::default(), VirtualClock::new(NOW));
    (MemoryStore::new("store", Arc::new(clock.clone()), SharedFaults::new(script.clone())), script, clock)
}

fn scripted_log() -> (MemoryLog, Script) {
    let script = Script::default();
    (MemoryLog::new(4, Arc::new(VirtualClock::new(NOW)), SharedFaults::new(script.clone())), script)
}

fn poll(source: &mut MemorySource) -> (Vec<i32>, Vec<i32>) {
    let polled = source.poll(Duration::ZERO, &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    let numbers = polled.revoked.iter().map(|partition| partition.number).collect();
    (numbers, polled.assigned.iter().map(|assigned| assigned.partition.number).collect())
}

#[test]
fn a_commit_survives_lost_replies() {
    use Fate::{FailAfter, FailBefore, Go};
    for fates in [&[FailAfter, Go][..], &[FailBefore, Go], &[FailAfter, FailAfter, Go], &[FailBefore, FailAfter, Go]] {
        let (store, script, _) = scripted_store();
        let mut session = session(&store);
        script.next(fates);
        let committed = commit(&mut *session, &[change("a", None, "r")]);
        assert_eq!((committed.sequence, committed.conflicts), (1, vec![]), "{fates:?}");
        assert_eq!(load(&mut *session, "a").unwrap().token, committed.token);
        let deleted = Change { record: None, ..change("a", Some(committed.token), "") };
        script.next(fates);
        assert_eq!(commit(&mut *session, &[deleted]).conflicts, [], "{fates:?}");
        assert_eq!(load(&mut *session, "a"), None);
    }
}

#[test]
fn a_commit_that_was_given_up_is_told_apart() {
    for lost in [Fate::FailAfter, Fate::FailBefore] {
        let (store, script, _) = scripted_store();
        let mut session = session(&store);
        script.next(&[lost; 3]);
        assert!(matches!(block_on(session.commit(&[change("a", None, "one")])), Err(StateError::Unavailable(_))));
        block_on(session.confirm()).unwrap();
        let again = commit(&mut *session, &[change("a", None, "two")]);
        let record = load(&mut *session, "a").unwrap().record;
        match lost {
            Fate::FailAfter => assert_eq!((again.conflicts.len(), record), (1, b"one".to_vec()), "its own write, as a conflict"),
            _ => assert_eq!((again.conflicts.len(), record), (0, b"two".to_vec())),
        }
        block_on(session.confirm()).unwrap();
    }
}

#[test]
fn a_store_set_back_is_noticed() {
    let (store, _, clock) = scripted_store();
    let empty = store.snapshot();
    let (mut old, mut idle) = (session(&store), session(&store));
    commit(&mut *old, &[change("a", None, "one")]);
    let earlier = store.snapshot();
    commit(&mut *old, &[change("b", None, "two")]);
    store.restore(&earlier);
    assert!(matches!(block_on(old.confirm()), Err(StateError::RolledBack(_))));
    assert!(matches!(block_on(old.commit(&[change("c", None, "three")])), Err(StateError::RolledBack(_))));
    assert_eq!(store.users().len(), 1, "nothing was written");
    block_on(idle.confirm()).unwrap();
    commit(&mut *idle, &[change("c", None, "three")]);

    store.restore(&empty);
    clock.advance(Duration::from_millis(5));
    let mut new = session(&store);
    for lost in [&mut old, &mut idle] {
        assert!(matches!(block_on(lost.commit(&[])), Err(StateError::RolledBack(_))), "the new one did not get an old number");
    }
    commit(&mut *new, &[change("a", None, "anew")]);
}

#[test]
fn other_calls_tell_of_every_fault() {
    let (store, script, _) = scripted_store();
    let mut session = session(&store);
    script.next(&[Fate::FailAfter]);
    assert!(matches!(block_on(session.put_documents(0, b"one")), Err(StateError::Unavailable(_))));
    assert_eq!(block_on(session.put_documents(0, b"one")).unwrap(), Put::Conflict { revision: 1 }, "it was done");
    script.next(&[Fate::FailBefore]);
    assert!(matches!(block_on(session.identity()), Err(StateError::Unavailable(_))));

    let (log, script) = scripted_log();
    let line = Line { topic: "t".into(), key: Some(b"k".to_vec()), value: b"v".to_vec() };
    for (fate, expect) in [(Fate::FailBefore, 0), (Fate::FailAfter, 1)] {
        script.next(&[fate]);
        assert!(matches!(block_on(log.append(std::slice::from_ref(&line))), Err(AppendError::Unavailable(_))));
        assert_eq!(log.records("t").len(), expect, "{fate:?}");
    }
    let mut source = log.source("g", &["t"]);
    script.next(&[Fate::FailAfter]);
    assert!(source.poll(Duration::ZERO, &mut |_| std::ops::ControlFlow::Continue(())).is_err());
    assert_eq!(poll(&mut source).1.len(), 4, "no assignment is lost with a reply");
    let mut taken = Vec::new();
    let each = &mut |message: crate::worker::ports::Message<'_>| {
        taken.push(message.value.map(<[u8]>::to_vec));
        std::ops::ControlFlow::Continue(())
    };
    source.poll(Duration::ZERO, each).unwrap();
    assert_eq!(taken, [Some(b"v".to_vec())]);
}

#[test]
fn a_partition_has_one_owner_through_a_rebalance() {
    let (log, _) = scripted_log();
    let mut first = log.source("g", &["t"]);
    assert_eq!(poll(&mut first), (vec![], vec![0, 1, 2, 3]));
    let mut second = log.source("g", &["t"]);
    assert_eq!(poll(&mut second), (vec![], vec![]), "not before the first let go");
    assert_eq!(poll(&mut first), (vec![1, 3], vec![]));
    assert_eq!(poll(&mut second), (vec![], vec![1, 3]));
    drop(first);
    assert_eq!(poll(&mut second), (vec![], vec![0, 2]));
}

#[test]
fn an_expelled_member_is_fenced() {
    let (log, _) = scripted_log();
    let mut zombie = log.source("g", &["t"]);
    poll(&mut zombie);
    log.expel("g", zombie.member());
    let mut successor = log.source("g", &["t"]);
    assert_eq!(poll(&mut successor).1, [0, 1, 2, 3]);
    let offset = |next| Offset { partition: Partition { topic: "t".into(), number: 2 }, next, note: String::new() };
    assert!(matches!(zombie.commit(&[offset(9)]), Err(SourceError::Fenced(_))));
    successor.commit(&[offset(1)]).unwrap();
    assert_eq!(log.committed("g", &offset(1).partition), Some((1, String::new())));
    assert_eq!(poll(&mut zombie), (vec![0, 1, 2, 3], vec![]), "it hears of it when it polls, and joins again");
    assert_eq!(poll(&mut successor).0, [0, 2], "which is a rebalance like any other");
}

#[test]
fn a_seed_always_gives_the_same_faults() {
    let fates = |seed| {
        let mut faults = SeededFaults::new(seed, 300);
        (0..1_000).map(|_| faults.fate(Call::Load)).collect::<Vec<_>>()
    };
    assert_eq!(fates(7), fates(7));
    assert_ne!(fates(7), fates(8));
    let failed = fates(7).iter().filter(|fate| **fate != Fate::Go).count();
    assert!((250..350).contains(&failed), "{failed} of 1000 at 300 per mille");
    assert!(fates(7).contains(&Fate::FailBefore) && fates(7).contains(&Fate::FailAfter));
}

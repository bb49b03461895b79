//! What the ports promise, as cases that any store and any log of this process is put through. Tests only.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::ledger::token;
use super::ports::{
    Append, Change, Committed, Documents, Line, Offset, Partition, Polled, ProfileChange, Put, Source, State, Store, Stored, Token,
};
use crate::engine::id::UserId;
use crate::engine::time::Timestamp;

/// Its name, and the case over an empty store whose clock stands at the given time.
pub type StateCase = (&'static str, fn(&dyn Store, Timestamp));

pub const STATE_CASES: &[StateCase] = &[
    ("what is written is read", what_is_written_is_read),
    ("two sessions race", two_sessions_race),
    ("a deleted user is gone", a_deleted_user_is_gone),
    ("every commit advances", every_commit_advances),
    ("profiles are kept, set and removed", profiles_are_kept_set_and_removed),
    ("who is due is hidden", who_is_due_is_hidden),
    ("a commit decides over a hidden wake", a_commit_decides_over_a_hidden_wake),
    ("documents are compared and set", documents_are_compared_and_set),
    ("read positions are shared", read_positions_are_shared),
];

/// Joins a group from the earliest offset.
pub type Join<'a> = &'a dyn Fn(&str, &[&str]) -> Box<dyn Source>;

/// Its name, and the case over an empty log with several partitions.
pub type LogCase = (&'static str, fn(&dyn Append, Join<'_>));

pub const LOG_CASES: &[LogCase] = &[
    ("a key keeps its order", a_key_keeps_its_order),
    ("break loses nothing", break_loses_nothing),
    ("what is held is not handed out", what_is_held_is_not_handed_out),
    ("offsets and notes survive their member", offsets_and_notes_survive_their_member),
    ("ends and partitions", ends_and_partitions),
    ("topics do not mix", topics_do_not_mix),
];

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub fn session(store: &dyn Store) -> Box<dyn State> {
    block_on(store.session()).unwrap()
}

/// A write of a user that is loaded with `expected`.
pub fn change(user: &str, expected: Option<Token>, record: &str) -> Change {
    let record = Some(record.as_bytes().to_vec());
    Change { user: user.into(), expected, record, profile: ProfileChange::Keep, wake: Some(Timestamp(10)) }
}

pub fn commit(session: &mut dyn State, changes: &[Change]) -> Committed {
    block_on(session.commit(changes)).unwrap()
}

pub fn load(session: &mut dyn State, user: &str) -> Option<Stored> {
    block_on(session.load(&[user.into()])).unwrap().users.remove(0)
}

pub fn line(topic: &str, key: &str, value: &str) -> Line {
    Line { topic: topic.into(), key: Some(key.as_bytes().to_vec()), value: value.as_bytes().to_vec() }
}

/// All that a source hands out until it has nothing more: partition, offset, value.
pub fn drain(source: &mut dyn Source) -> Vec<(Partition, i64, String)> {
    let mut taken = Vec::new();
    loop {
        let before = taken.len();
        let polled = take(source, usize::MAX, &mut taken);
        if taken.len() == before && polled.assigned.is_empty() && polled.revoked.is_empty() {
            return taken;
        }
    }
}

fn take(source: &mut dyn Source, most: usize, taken: &mut Vec<(Partition, i64, String)>) -> Polled {
    let mut left = most;
    source
        .poll(Duration::ZERO, &mut |message| {
            let value = String::from_utf8(message.value.unwrap().to_vec()).unwrap();
            taken.push((Partition { topic: message.topic.into(), number: message.partition }, message.offset, value));
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap()
}

fn due(session: &mut dyn State, now: i64, limit: usize) -> Vec<UserId> {
    block_on(session.take_due(Timestamp(now), limit, Duration::from_millis(30))).unwrap()
}

fn names(users: &[&str]) -> Vec<UserId> {
    users.iter().map(|user| UserId::from(*user)).collect()
}

fn wake_at(user: &str, expected: Option<Token>, wake: Option<i64>) -> Change {
    Change { wake: wake.map(Timestamp), ..change(user, expected, "r") }
}

fn what_is_written_is_read(store: &dyn Store, now: Timestamp) {
    let mut session = session(store);
    assert_eq!(load(&mut *session, "a"), None);
    let committed = commit(&mut *session, &[change("a", None, "one"), change("b", None, "")]);
    assert_eq!((committed.now, committed.conflicts.len()), (now, 0));
    let loaded = block_on(session.load(&names(&["b", "x", "a"]))).unwrap();
    assert_eq!(loaded.now, now);
    let stored = |record: &str| Some(Stored { token: committed.token, record: record.into(), profile: None });
    assert_eq!(loaded.users, [stored(""), None, stored("one")]);
}

fn two_sessions_race(store: &dyn Store, _: Timestamp) {
    let (mut first, mut second) = (session(store), session(store));
    let won = commit(&mut *first, &[change("a", None, "first")]);
    let lost = commit(&mut *second, &[change("b", None, "b"), change("a", None, "second"), change("c", Some(won.token), "c")]);
    let current = Stored { token: won.token, record: b"first".to_vec(), profile: None };
    assert_eq!(lost.conflicts, [(1, Some(current)), (2, None)]);
    assert_ne!(won.token, lost.token);
    assert_eq!(load(&mut *first, "b").unwrap().token, lost.token, "what does not conflict is written");
    let settled = commit(&mut *second, &[change("a", Some(won.token), "second")]);
    assert_eq!(settled.conflicts, []);
    assert_eq!(load(&mut *first, "a").unwrap().record, b"second");
}

fn a_deleted_user_is_gone(store: &dyn Store, _: Timestamp) {
    let mut session = session(store);
    let set = Change { profile: ProfileChange::Set(b"p".to_vec()), ..change("a", None, "r") };
    let token = commit(&mut *session, &[set]).token;
    let delete = |expected| Change { record: None, wake: None, ..change("a", expected, "") };
    assert_eq!(commit(&mut *session, &[delete(None)]).conflicts.len(), 1, "it exists");
    assert_eq!(commit(&mut *session, &[delete(Some(token))]).conflicts, []);
    assert_eq!(load(&mut *session, "a"), None);
    assert_eq!(due(&mut *session, 1_000, 10), names(&[]));
    let anew = commit(&mut *session, &[change("a", None, "anew")]);
    assert_eq!(load(&mut *session, "a"), Some(Stored { token: anew.token, record: b"anew".to_vec(), profile: None }), "no old profile");
}

fn every_commit_advances(store: &dyn Store, _: Timestamp) {
    let (mut first, mut second) = (session(store), session(store));
    let before = block_on(first.identity()).unwrap();
    let one = commit(&mut *first, &[change("a", None, "r")]);
    let two = commit(&mut *second, &[]);
    let three = commit(&mut *first, &[]);
    assert_eq!([one.sequence, two.sequence, three.sequence], [1, 2, 3].map(|step| before.sequence + step));
    let after = block_on(second.identity()).unwrap();
    assert_eq!((after.id, after.sequence), (before.id, three.sequence));
    let incarnation = u64::from_be_bytes(one.token.0[..8].try_into().unwrap());
    assert_eq!([one.token, three.token], [token(incarnation, 1), token(incarnation, 2)]);
    block_on(first.confirm()).unwrap();
    block_on(session(store).confirm()).unwrap();
}

fn profiles_are_kept_set_and_removed(store: &dyn Store, _: Timestamp) {
    let mut session = session(store);
    let mut token = None;
    for (profile, expect) in [
        (ProfileChange::Keep, None),
        (ProfileChange::Set(b"p".to_vec()), Some(b"p".to_vec())),
        (ProfileChange::Keep, Some(b"p".to_vec())),
        (ProfileChange::Set(Vec::new()), Some(Vec::new())),
        (ProfileChange::Remove, None),
        (ProfileChange::Remove, None),
    ] {
        let committed = commit(&mut *session, &[Change { profile: profile.clone(), ..change("a", token, "r") }]);
        token = Some(committed.token);
        assert_eq!(load(&mut *session, "a").unwrap().profile, expect, "{profile:?}");
    }
    let refused = Change { profile: ProfileChange::Set(b"x".to_vec()), ..change("a", None, "r") };
    assert_eq!(commit(&mut *session, &[refused]).conflicts.len(), 1);
    assert_eq!(load(&mut *session, "a").unwrap().profile, None, "the token guards the profile");
}

fn who_is_due_is_hidden(store: &dyn Store, _: Timestamp) {
    let (mut first, mut second) = (session(store), session(store));
    commit(&mut *first, &[wake_at("late", None, Some(11)), wake_at("b", None, Some(10)), wake_at("a", None, Some(-5))]);
    assert_eq!(due(&mut *first, 10, 0), names(&[]));
    assert_eq!(due(&mut *first, 10, 1), names(&["a"]), "the longest overdue first");
    assert_eq!(due(&mut *second, 10, 9), names(&["b"]), "`a` is hidden, `late` is not due");
    assert_eq!(due(&mut *second, 39, 9), names(&["late"]));
    assert_eq!(due(&mut *second, 40, 9), names(&["a", "b"]), "hidden for 30 ms");
}

fn a_commit_decides_over_a_hidden_wake(store: &dyn Store, _: Timestamp) {
    let mut session = session(store);
    let token = commit(&mut *session, &[wake_at("a", None, Some(10))]).token;
    assert_eq!(due(&mut *session, 10, 9), names(&["a"]));
    let token = commit(&mut *session, &[wake_at("a", Some(token), None)]).token;
    assert_eq!(due(&mut *session, 39, 9), names(&[]), "unchanged: stays hidden");
    let token = commit(&mut *session, &[wake_at("a", Some(token), Some(12))]).token;
    assert_eq!(due(&mut *session, 12, 9), names(&["a"]), "changed: due at once");
    commit(&mut *session, &[wake_at("a", Some(token), Some(1_000))]);
    assert_eq!(due(&mut *session, 999, 9), names(&[]), "no entry is left behind");
    assert_eq!(due(&mut *session, 1_000, 9), names(&["a"]));
}

fn documents_are_compared_and_set(store: &dyn Store, _: Timestamp) {
    let (mut first, mut second) = (session(store), session(store));
    let empty = Documents { revision: 0, body: Vec::new() };
    assert_eq!(block_on(first.documents(None)).unwrap(), Some(empty));
    assert_eq!(block_on(first.documents(Some(0))).unwrap(), None);
    assert_eq!(block_on(first.put_documents(0, b"one")).unwrap(), Put::Stored { revision: 1 });
    assert_eq!(block_on(second.put_documents(0, b"other")).unwrap(), Put::Conflict { revision: 1 });
    let stored = Documents { revision: 1, body: b"one".to_vec() };
    assert_eq!(block_on(second.documents(Some(0))).unwrap(), Some(stored));
    assert_eq!(block_on(second.documents(Some(1))).unwrap(), None);
}

fn read_positions_are_shared(store: &dyn Store, _: Timestamp) {
    let (mut first, mut second) = (session(store), session(store));
    let at = |number, time| (Partition { topic: "events".into(), number }, Timestamp(time));
    assert_eq!(block_on(first.read_positions(&[])).unwrap(), []);
    assert_eq!(block_on(first.read_positions(&[at(0, 5)])).unwrap(), [at(0, 5)]);
    let mut known = block_on(second.read_positions(&[at(1, 7)])).unwrap();
    known.sort();
    assert_eq!(known, [at(0, 5), at(1, 7)]);
    let mut known = block_on(first.read_positions(&[at(0, 6)])).unwrap();
    known.sort();
    assert_eq!(known, [at(0, 6), at(1, 7)]);
}

fn a_key_keeps_its_order(log: &dyn Append, join: Join<'_>) {
    let lines = (0..300).map(|number| line("events", &format!("k{}", number % 7), &number.to_string())).collect::<Vec<_>>();
    for batch in lines.chunks(11) {
        block_on(log.append(batch.to_vec())).unwrap();
    }
    let taken = drain(&mut *join("g", &["events"]));
    assert_eq!(taken.len(), 300, "each once");
    let mut last: std::collections::BTreeMap<usize, (usize, Partition, i64)> = std::collections::BTreeMap::new();
    for (partition, offset, value) in taken {
        let number: usize = value.parse().unwrap();
        if let Some((before, home, at)) = last.insert(number % 7, (number, partition.clone(), offset)) {
            assert_eq!(before + 7, number);
            assert!(home == partition && at < offset);
        }
    }
}

fn break_loses_nothing(log: &dyn Append, join: Join<'_>) {
    let lines = (0..50).map(|number| line("events", &format!("k{number}"), &number.to_string())).collect();
    block_on(log.append(lines)).unwrap();
    let (mut source, mut taken, mut polls) = (join("g", &["events"]), Vec::new(), 0);
    while taken.len() < 50 {
        let before = taken.len();
        take(&mut *source, 3, &mut taken);
        assert!(taken.len() - before <= 3, "nothing after break");
        polls += 1;
        assert!(polls < 100, "{} of 50 were handed out", taken.len());
    }
    taken.extend(drain(&mut *source));
    let mut numbers: Vec<usize> = taken.iter().map(|(_, _, value)| value.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>(), "each exactly once");
}

fn what_is_held_is_not_handed_out(log: &dyn Append, join: Join<'_>) {
    let lines = (0..40).map(|number| line("events", &format!("k{number}"), &number.to_string())).collect();
    block_on(log.append(lines)).unwrap();
    let mut source = join("g", &["events"]);
    let mut taken = Vec::new();
    let assigned = take(&mut *source, 1, &mut taken).assigned;
    assert!(assigned.len() > 1 && taken.is_empty(), "the first poll assigns");
    let held: Vec<Partition> = assigned[..1].iter().map(|assigned| assigned.partition.clone()).collect();
    let unknown = Partition { topic: "elsewhere".into(), number: 9 };
    source.hold(&[held[0].clone(), unknown], true).unwrap();
    let others = drain(&mut *source);
    assert!(!others.is_empty() && others.iter().all(|(partition, _, _)| *partition != held[0]));
    source.hold(&held, false).unwrap();
    let resumed = drain(&mut *source);
    assert!(resumed.iter().all(|(partition, _, _)| *partition == held[0]));
    assert_eq!(others.len() + resumed.len(), 40);
}

fn offsets_and_notes_survive_their_member(log: &dyn Append, join: Join<'_>) {
    block_on(log.append((0..8).map(|number| line("events", "k", &number.to_string())).collect())).unwrap();
    let mut source = join("g", &["events"]);
    let partition = drain(&mut *source)[0].0.clone();
    source.commit(&[Offset { partition: partition.clone(), next: 5, note: "note".to_owned() }]).unwrap();
    drop(source);
    let (mut successor, mut taken) = (join("g", &["events"]), Vec::new());
    let assigned = take(&mut *successor, usize::MAX, &mut taken).assigned;
    for assigned in assigned {
        let expect = if assigned.partition == partition { (Some(5), Some("note".to_owned())) } else { (None, None) };
        assert_eq!((assigned.committed, assigned.note), expect);
    }
    let offsets: Vec<i64> = drain(&mut *successor).iter().map(|(_, offset, _)| *offset).collect();
    assert_eq!(offsets, [5, 6, 7]);
    assert_eq!(drain(&mut *join("other", &["events"])).len(), 8, "another group reads all");
}

fn ends_and_partitions(log: &dyn Append, join: Join<'_>) {
    let mut source = join("g", &["events"]);
    let partitions = source.partitions().unwrap();
    assert!(partitions.len() > 1);
    assert_eq!(drain(&mut *source), []);
    block_on(log.append((0..9).map(|number| line("events", "k", &number.to_string())).collect())).unwrap();
    let ends = source.ends().unwrap();
    assert_eq!(ends.iter().map(|(partition, _)| partition.clone()).collect::<Vec<_>>(), partitions);
    assert_eq!(ends.iter().map(|(_, end)| *end).sum::<i64>(), 9);
    let taken = drain(&mut *source);
    let last = taken.last().unwrap();
    assert!(ends.contains(&(last.0.clone(), last.1 + 1)), "who has read all below it has read all");
}

fn topics_do_not_mix(log: &dyn Append, join: Join<'_>) {
    let keyless = Line { topic: Arc::from("a"), key: None, value: b"keyless".to_vec() };
    block_on(log.append(vec![line("a", "k", "1"), line("b", "k", "2"), keyless, line("c", "k", "3")])).unwrap();
    let values = |taken: Vec<(Partition, i64, String)>| {
        let mut values: Vec<String> = taken.into_iter().map(|(partition, _, value)| format!("{} {value}", partition.topic)).collect();
        values.sort();
        values
    };
    assert_eq!(values(drain(&mut *join("g", &["a", "b"]))), ["a 1", "a keyless", "b 2"]);
    assert_eq!(values(drain(&mut *join("g", &["c"]))), ["c 3"]);
}

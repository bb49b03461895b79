//! What every `Store` must do, whatever keeps it: one suite, run over Redis (`state_redis`), the embedded store and the simulator's
//! (`state_local`).

use std::sync::Arc;
use std::time::Duration;

use campanile::engine::id::UserId;
use campanile::engine::time::Timestamp;
use campanile::worker::ports::{Change, Documents, Partition, ProfileChange, Put, State, StateError, Store, Stored, Token};

use crate::state_spanning::*;

/// Runs all cases, each on a fresh and empty store of so many groups. The last name printed is the case that failed.
pub async fn suite(groups: u16, make: impl AsyncFn() -> Arc<dyn Store>) {
    macro_rules! run {
        ($($case:ident)*) => { $(
            println!("state case: {}", stringify!($case));
            $case(make().await.as_ref()).await;
        )* };
    }
    if groups == 1 {
        run! {
            the_longest_overdue_come_first
            each_commit_adds_one_to_the_sequence
        }
    }
    run! {
        load_of_an_unknown_user_is_nothing
        a_created_record_is_loaded
        an_update_needs_the_token_of_the_last_write
        a_conflict_answers_what_is_stored_and_spares_the_others
        the_second_of_two_sessions_conflicts
        a_conflicting_change_leaves_profile_and_wake
        a_deleted_user_is_gone
        a_deletion_of_what_changed_conflicts
        a_profile_is_kept_set_and_removed
        the_users_due_come_in_order_and_are_hidden
        a_commit_changes_or_keeps_the_wake
        each_due_user_is_given_to_one_session
        tokens_tell_sessions_and_operations_apart
        a_commit_without_changes_advances
        confirm_holds_after_commits
        documents_are_replaced_under_their_revision
        read_positions_of_all_are_answered
        two_sessions_never_lose_an_update
        names_and_values_may_hold_any_bytes
        ten_thousand_users_fit
        a_walk_sees_every_user_and_no_pseudo_user
        a_walk_sees_all_who_stay_while_others_come_go_and_change
        a_set_lets_in_as_many_as_it_may_hold
        a_set_never_holds_more_however_many_ask_at_once
        a_budget_gives_its_burst_and_then_its_rate
        a_budget_is_shared_by_all_sessions
        the_sequence_grows_and_the_id_stays
    }
}

pub async fn load_of_an_unknown_user_is_nothing(store: &dyn Store) {
    let mut session = session(store).await;
    let loaded = session.load(&[user("a"), user("b")]).await.unwrap();
    assert_eq!(loaded.users, [None, None]);
    assert!(loaded.now > Timestamp::parse("2020-01-01T00:00:00Z").unwrap_or(Timestamp::MAX), "no sensible time: {}", loaded.now);
    assert_eq!(session.load(&[]).await.unwrap().users, []);
}

pub async fn a_created_record_is_loaded(store: &dyn Store) {
    let mut session = session(store).await;
    let done = session.commit(&[put("a", None, b"one"), put("b", None, b"two")]).await.unwrap();
    assert_eq!(done.conflicts, []);
    let loaded = session.load(&[user("b"), user("?"), user("a")]).await.unwrap();
    assert_eq!(loaded.users, [Some(stored(done.token, b"two", None)), None, Some(stored(done.token, b"one", None))]);
    assert!(loaded.now >= done.now);
}

pub async fn an_update_needs_the_token_of_the_last_write(store: &dyn Store) {
    let mut session = session(store).await;
    let first = session.commit(&[put("a", None, b"1")]).await.unwrap();
    let second = session.commit(&[put("a", Some(first.token), b"2")]).await.unwrap();
    assert_eq!(second.conflicts, []);
    for stale in [None, Some(first.token)] {
        let late = session.commit(&[put("a", stale, b"3")]).await.unwrap();
        assert_eq!(late.conflicts, [(0, Some(stored(second.token, b"2", None)))]);
    }
    assert_eq!(one(&mut *session, "a").await, Some(stored(second.token, b"2", None)));
}

pub async fn a_conflict_answers_what_is_stored_and_spares_the_others(store: &dyn Store) {
    let mut session = session(store).await;
    let first = session.commit(&[with_profile("a", None, b"1", set(b"p"))]).await.unwrap();
    let changes = [put("x", None, b"x"), put("a", None, b"2"), put("gone", Some(first.token), b"2"), put("y", None, b"y")];
    let second = session.commit(&changes).await.unwrap();
    assert_eq!(second.conflicts, [(1, Some(stored(first.token, b"1", Some(b"p")))), (2, None)]);
    let loaded = session.load(&[user("x"), user("a"), user("gone"), user("y")]).await.unwrap().users;
    let expect =
        [Some(stored(second.token, b"x", None)), Some(stored(first.token, b"1", Some(b"p"))), None, Some(stored(second.token, b"y", None))];
    assert_eq!(loaded, expect);
}

pub async fn the_second_of_two_sessions_conflicts(store: &dyn Store) {
    let (mut first, mut second) = (session(store).await, session(store).await);
    let won = first.commit(&[put("a", None, b"first")]).await.unwrap();
    let lost = second.commit(&[put("b", None, b"b"), put("a", None, b"second")]).await.unwrap();
    assert_eq!(lost.conflicts, [(1, Some(stored(won.token, b"first", None)))]);
    assert_eq!(one(&mut *first, "b").await, Some(stored(lost.token, b"b", None)));
    let settled = second.commit(&[put("a", Some(won.token), b"second")]).await.unwrap();
    assert_eq!(settled.conflicts, []);
    assert_eq!(one(&mut *first, "a").await, Some(stored(settled.token, b"second", None)));
}

pub async fn a_conflicting_change_leaves_profile_and_wake(store: &dyn Store) {
    let mut session = session(store).await;
    let first = session.commit(&[woken("a", None, 10)]).await.unwrap();
    let profile = with_profile("a", Some(first.token), b"", set(b"p"));
    let second = session.commit(&[profile]).await.unwrap();
    let stale = Change { wake: Some(Timestamp(20)), profile: ProfileChange::Remove, ..put("a", Some(first.token), b"") };
    assert_eq!(session.commit(&[stale]).await.unwrap().conflicts.len(), 1);
    assert_eq!(one(&mut *session, "a").await, Some(stored(second.token, b"", Some(b"p"))));
    assert_eq!(due(&mut *session, 10).await, ["a"]);
}

pub async fn a_deleted_user_is_gone(store: &dyn Store) {
    let mut session = session(store).await;
    let first = session.commit(&[Change { profile: set(b"p"), ..woken("a", None, 10) }, woken("b", None, 10)]).await.unwrap();
    let second = session.commit(&[delete("a", Some(first.token))]).await.unwrap();
    assert_eq!(second.conflicts, []);
    assert_eq!(one(&mut *session, "a").await, None);
    assert_eq!(due(&mut *session, 1_000).await, ["b"]);
    let third = session.commit(&[put("a", None, b"again")]).await.unwrap();
    assert_eq!(one(&mut *session, "a").await, Some(stored(third.token, b"again", None)), "an old profile came back");
}

pub async fn a_deletion_of_what_changed_conflicts(store: &dyn Store) {
    let mut session = session(store).await;
    let first = session.commit(&[put("a", None, b"1")]).await.unwrap();
    let second = session.commit(&[put("a", Some(first.token), b"2")]).await.unwrap();
    let third = session.commit(&[delete("a", Some(first.token)), delete("never", Some(first.token))]).await.unwrap();
    assert_eq!(third.conflicts, [(0, Some(stored(second.token, b"2", None))), (1, None)]);
    let fourth = session.commit(&[delete("a", None), delete("never", None)]).await.unwrap();
    assert_eq!(fourth.conflicts, [(0, Some(stored(second.token, b"2", None)))], "only `a` exists");
    assert_eq!(one(&mut *session, "a").await, Some(stored(second.token, b"2", None)));
}

pub async fn a_profile_is_kept_set_and_removed(store: &dyn Store) {
    let mut session = session(store).await;
    let mut token = None;
    let steps = [
        (ProfileChange::Keep, None),
        (set(b"one"), Some(&b"one"[..])),
        (ProfileChange::Keep, Some(b"one")),
        (set(b"two"), Some(b"two")),
        (set(b""), Some(b"")),
        (ProfileChange::Keep, Some(b"")),
        (ProfileChange::Remove, None),
        (ProfileChange::Remove, None),
    ];
    for (change, expect) in steps {
        let done = session.commit(&[with_profile("a", token, b"r", change.clone())]).await.unwrap();
        assert_eq!(one(&mut *session, "a").await, Some(stored(done.token, b"r", expect)), "after {change:?}");
        token = Some(done.token);
    }
}

pub async fn the_users_due_come_in_order_and_are_hidden(store: &dyn Store) {
    let mut session = session(store).await;
    let changes = [woken("c", None, 30), woken("a", None, 10), woken("d", None, 40), woken("b", None, 20)];
    session.commit(&changes).await.unwrap();
    let hide = Duration::from_millis(100);
    assert_eq!(take(&mut *session, 9, 10, hide).await, Vec::<String>::new());
    assert_eq!(take(&mut *session, 30, 0, hide).await, Vec::<String>::new());
    assert_eq!(sorted(take(&mut *session, 30, 10, hide).await), ["a", "b", "c"], "a wake at `now` is due");
    assert_eq!(take(&mut *session, 129, 10, hide).await, ["d"], "hidden until 130");
    assert_eq!(sorted(take(&mut *session, 130, 10, hide).await), ["a", "b", "c"], "seen again at 130");
    let mut taken = Vec::new();
    for _ in 0..4 {
        let some = take(&mut *session, 1_000, 1, Duration::from_secs(10)).await;
        assert_eq!(some.len(), 1, "one at a time");
        taken.extend(some);
    }
    assert_eq!(sorted(taken), ["a", "b", "c", "d"]);
    assert_eq!(take(&mut *session, 1_000, 1, hide).await, Vec::<String>::new());
}

pub async fn a_commit_changes_or_keeps_the_wake(store: &dyn Store) {
    let mut session = session(store).await;
    let first = session.commit(&[woken("a", None, 10), woken("b", None, 10), woken("c", None, 10)]).await.unwrap();
    assert_eq!(sorted(take(&mut *session, 10, 10, Duration::from_millis(90)).await), ["a", "b", "c"]);
    let changes =
        [woken("a", Some(first.token), 50), Change { wake: None, ..woken("b", Some(first.token), 0) }, woken("c", Some(first.token), 500)];
    session.commit(&changes).await.unwrap();
    assert_eq!(take(&mut *session, 50, 10, Duration::from_millis(1_000)).await, ["a"], "a new wake ends the hiding");
    assert_eq!(take(&mut *session, 100, 10, Duration::from_millis(1_000)).await, ["b"], "as stored: hidden until 100");
    assert_eq!(take(&mut *session, 499, 10, Duration::from_millis(1_000)).await, Vec::<String>::new());
    assert_eq!(take(&mut *session, 500, 10, Duration::from_millis(1_000)).await, ["c"]);
}

pub async fn each_due_user_is_given_to_one_session(store: &dyn Store) {
    let (mut first, mut second) = (session(store).await, session(store).await);
    let names: Vec<String> = (0..200).map(|number| format!("u{number:03}")).collect();
    let changes: Vec<Change> = names.iter().map(|name| woken(name, None, 10)).collect();
    first.commit(&changes).await.unwrap();
    let mut taken = Vec::new();
    loop {
        let hide = Duration::from_secs(60);
        let (a, b) = tokio::join!(first.take_due(Timestamp(10), 17, hide), second.take_due(Timestamp(10), 17, hide));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert!(a.len() <= 17 && b.len() <= 17, "more than asked for");
        if a.is_empty() && b.is_empty() {
            break;
        }
        taken.extend(a.iter().chain(&b).map(|user| user.to_string()));
    }
    assert_eq!(sorted(taken), names);
}

pub async fn tokens_tell_sessions_and_operations_apart(store: &dyn Store) {
    let (mut first, mut second) = (session(store).await, session(store).await);
    let mut tokens = Vec::new();
    for round in 0..3 {
        tokens.push(first.commit(&[put(&format!("a{round}"), None, b"")]).await.unwrap().token);
        tokens.push(second.commit(&[put(&format!("b{round}"), None, b"")]).await.unwrap().token);
        tokens.push(second.commit(&[]).await.unwrap().token);
    }
    for (session, operations) in [([0, 3, 6], [1, 2, 3]), ([1, 4, 7], [1, 3, 5]), ([2, 5, 8], [2, 4, 6])] {
        let halves = session.map(|at: usize| parts(tokens[at]));
        assert_eq!(halves.map(|(_, operation)| operation), operations);
        assert!(halves.iter().all(|(incarnation, _)| *incarnation == halves[0].0), "{halves:?}");
    }
    let count = tokens.len();
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), count, "a token was used twice");
}

pub async fn a_commit_without_changes_advances(store: &dyn Store) {
    let mut session = session(store).await;
    let before = session.identity().await.unwrap().sequence;
    session.load(&[user("a"), user("b")]).await.unwrap();
    let done = session.commit(&[]).await.unwrap();
    assert_eq!(done.conflicts, []);
    assert!(done.sequence > before, "{} is not above {before}", done.sequence);
    session.confirm().await.unwrap();
}

pub async fn confirm_holds_after_commits(store: &dyn Store) {
    let (mut first, mut second) = (session(store).await, session(store).await);
    first.confirm().await.unwrap();
    first.load(&[user("same")]).await.unwrap();
    first.confirm().await.unwrap();
    for round in 0..5 {
        first.commit(&[put(&format!("a{round}"), None, b""), put("same", None, b"")]).await.unwrap();
        second.commit(&[put(&format!("b{round}"), None, b"")]).await.unwrap();
        first.confirm().await.unwrap();
        second.confirm().await.unwrap();
    }
}

pub async fn documents_are_replaced_under_their_revision(store: &dyn Store) {
    let (mut first, mut second) = (session(store).await, session(store).await);
    let none = Documents { revision: 0, body: Vec::new() };
    assert_eq!(first.documents(None).await.unwrap(), Some(none));
    assert_eq!(first.documents(Some(0)).await.unwrap(), None);

    let (a, b) = tokio::join!(first.put_documents(0, b"from a"), second.put_documents(0, b"from b"));
    let (a, b) = (a.unwrap(), b.unwrap());
    let body: &[u8] = match (a, b) {
        (Put::Stored { revision: 1 }, Put::Conflict { revision: 1 }) => b"from a",
        (Put::Conflict { revision: 1 }, Put::Stored { revision: 1 }) => b"from b",
        other => panic!("one must win: {other:?}"),
    };
    let winner = Documents { revision: 1, body: body.to_vec() };
    assert_eq!(second.documents(Some(0)).await.unwrap(), Some(winner.clone()));
    assert_eq!(first.documents(None).await.unwrap(), Some(winner));
    assert_eq!(first.documents(Some(1)).await.unwrap(), None);

    assert_eq!(first.put_documents(1, b"\0\xff").await.unwrap(), Put::Stored { revision: 2 });
    assert_eq!(second.put_documents(1, b"late").await.unwrap(), Put::Conflict { revision: 2 });
    assert_eq!(second.documents(Some(1)).await.unwrap(), Some(Documents { revision: 2, body: b"\0\xff".to_vec() }));
}

pub async fn read_positions_of_all_are_answered(store: &dyn Store) {
    let (mut first, mut second) = (session(store).await, session(store).await);
    assert_eq!(first.read_positions(&[]).await.unwrap(), []);
    first.read_positions(&[(partition("events", 0), Timestamp(5)), (partition("events", 1), Timestamp(6))]).await.unwrap();
    let mut known =
        second.read_positions(&[(partition("a/b c", 12), Timestamp(-1)), (partition("events", 1), Timestamp(9))]).await.unwrap();
    known.sort_by(|a, b| a.0.cmp(&b.0));
    let expect = [(partition("a/b c", 12), Timestamp(-1)), (partition("events", 0), Timestamp(5)), (partition("events", 1), Timestamp(9))];
    assert_eq!(known, expect);
    let answered = first.read_positions(&[(partition("events", 1), Timestamp(2))]).await.unwrap();
    assert_eq!(answered.len(), 3);
    assert!(answered.contains(&(partition("events", 1), Timestamp(2))), "the last word counts, also when it is lower: {answered:?}");
    assert_eq!(second.read_positions(&[]).await.unwrap().len(), 3);
}

/// In one group: among several, each has an order of its own.
pub async fn the_longest_overdue_come_first(store: &dyn Store) {
    let (mut first, mut second) = (session(store).await, session(store).await);
    first.commit(&[woken("late", None, 31), woken("c", None, 30), woken("b", None, 10), woken("a", None, -5)]).await.unwrap();
    let hide = Duration::from_millis(70);
    assert_eq!(take(&mut *first, 30, 1, hide).await, ["a"]);
    assert_eq!(take(&mut *second, 30, 9, hide).await, ["b", "c"], "`a` is hidden, `late` is not due");
    assert_eq!(take(&mut *second, 99, 9, hide).await, ["late"]);
    assert_eq!(sorted(take(&mut *first, 100, 9, hide).await), ["a", "b", "c"]);
}

/// In one group: among several, a commit counts in each that it concerns.
pub async fn each_commit_adds_one_to_the_sequence(store: &dyn Store) {
    let (mut first, mut second) = (session(store).await, session(store).await);
    let before = first.identity().await.unwrap().sequence;
    let one = first.commit(&[put("a", None, b""), put("b", None, b"")]).await.unwrap();
    let two = second.commit(&[]).await.unwrap();
    let three = first.commit(&[put("a", None, b"a conflict")]).await.unwrap();
    assert_eq!([one.sequence, two.sequence, three.sequence], [1, 2, 3].map(|step| before + step));
    assert_eq!(second.identity().await.unwrap().sequence, three.sequence);
}

/// Two sessions count the same users up, as lanes of two workers would that overlap.
pub async fn two_sessions_never_lose_an_update(store: &dyn Store) {
    const ROUNDS: u64 = 100;
    let names: Vec<UserId> = (0..5).map(|number| user(&format!("counter {number}"))).collect();
    let (mut first, mut second) = (session(store).await, session(store).await);
    let (a, b) = tokio::join!(count_up(&mut *first, &names, ROUNDS), count_up(&mut *second, &names, ROUNDS));
    let loaded = first.load(&names).await.unwrap().users;
    let counts: Vec<u64> = loaded.iter().map(|stored| count(stored.as_ref())).collect();
    assert_eq!(counts, [2 * ROUNDS; 5], "after {a} and {b} conflicts");
}

/// Adds `rounds` to each user's counter; answers the conflicts that there were.
async fn count_up(session: &mut dyn State, names: &[UserId], rounds: u64) -> u64 {
    let mut conflicts = 0;
    for _ in 0..rounds {
        let mut known: Vec<(UserId, Option<Stored>)> = names.iter().cloned().zip(session.load(names).await.unwrap().users).collect();
        while !known.is_empty() {
            let changes: Vec<Change> = known
                .iter()
                .map(|(user, stored)| {
                    let next = count(stored.as_ref()) + 1;
                    put(user, stored.as_ref().map(|stored| stored.token), next.to_string().as_bytes())
                })
                .collect();
            let done = session.commit(&changes).await.unwrap();
            conflicts += done.conflicts.len() as u64;
            known = done.conflicts.into_iter().map(|(at, stored)| (known[at].0.clone(), stored)).collect();
        }
    }
    conflicts
}

fn count(stored: Option<&Stored>) -> u64 {
    stored.map_or(0, |stored| String::from_utf8_lossy(&stored.record).parse().unwrap())
}

pub async fn names_and_values_may_hold_any_bytes(store: &dyn Store) {
    let mut session = session(store).await;
    let long = "x".repeat(256);
    let names = [" ", "a b", "{a}", "}{", "a:b:c", "*", "\"quoted\"", "ünïcödé 한국어 😀", "\r\n", "\0", "%s", &long];
    let every_byte: Vec<u8> = (0..=255).collect();
    let changes: Vec<Change> =
        names.iter().map(|name| Change { wake: Some(Timestamp(1)), ..with_profile(name, None, &every_byte, set(&every_byte)) }).collect();
    let done = session.commit(&changes).await.unwrap();
    assert_eq!(done.conflicts, []);
    for name in names {
        assert_eq!(one(&mut *session, name).await, Some(stored(done.token, &every_byte, Some(&every_byte))), "{name:?}");
    }
    assert_eq!(sorted(due(&mut *session, 1).await), sorted(names.iter().map(|name| (*name).to_owned()).collect()));
    let empty = session.commit(&[put("{a}", Some(done.token), b"")]).await.unwrap();
    assert_eq!(one(&mut *session, "{a}").await, Some(stored(empty.token, b"", Some(&every_byte))), "an empty record is a record");
}

pub async fn ten_thousand_users_fit(store: &dyn Store) {
    const USERS: usize = 10_000;
    let mut session = session(store).await;
    let names: Vec<UserId> = (0..USERS).map(|number| user(&format!("user-{number}"))).collect();
    let changes: Vec<Change> = names.iter().map(|name| Change { profile: set(b"p"), ..woken(name, None, 10) }).collect();
    let done = session.commit(&changes).await.unwrap();
    assert_eq!(done.conflicts, []);
    let loaded = session.load(&names).await.unwrap().users;
    assert!(loaded.iter().all(|known| *known == Some(stored(done.token, b"", Some(b"p")))));
    let mut taken = take(&mut *session, 10, USERS, Duration::from_secs(1)).await;
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), USERS);
    let gone: Vec<Change> = names.iter().map(|name| delete(name, Some(done.token))).collect();
    assert_eq!(session.commit(&gone).await.unwrap().conflicts, []);
    assert!(session.load(&names).await.unwrap().users.iter().all(Option::is_none));
}

pub async fn the_sequence_grows_and_the_id_stays(store: &dyn Store) {
    let (mut first, mut second) = (session(store).await, session(store).await);
    let start = first.identity().await.unwrap();
    assert!(!start.id.is_empty());
    let mut last = start.sequence;
    for round in 0..5 {
        let session = if round % 2 == 0 { &mut first } else { &mut second };
        let own = session.identity().await.unwrap().sequence;
        let done = session.commit(&[put(&format!("u{round}"), None, b"")]).await.unwrap();
        assert!(done.sequence > own && own >= last, "{last}, {own}, {}", done.sequence);
        last = own;
    }
    let end = session(store).await.identity().await.unwrap();
    assert_eq!(end.id, start.id);
    assert!(end.sequence >= start.sequence + 5);
}

// ---------------------------------------------------------------- what cases are made of

pub async fn session(store: &dyn Store) -> Box<dyn State> {
    store.session().await.unwrap()
}

pub fn user(name: &str) -> UserId {
    UserId::from(name)
}

/// A write of a record with neither profile nor wake.
pub fn put(name: &str, expected: Option<Token>, record: &[u8]) -> Change {
    Change { user: user(name), expected, record: Some(record.to_vec()), profile: ProfileChange::Keep, wake: None }
}

pub fn with_profile(name: &str, expected: Option<Token>, record: &[u8], profile: ProfileChange) -> Change {
    Change { profile, ..put(name, expected, record) }
}

/// A write of an empty record that wants a look at `wake_ms`.
pub fn woken(name: &str, expected: Option<Token>, wake_ms: i64) -> Change {
    Change { wake: Some(Timestamp(wake_ms)), ..put(name, expected, b"") }
}

pub fn delete(name: &str, expected: Option<Token>) -> Change {
    Change { record: None, ..put(name, expected, b"") }
}

pub fn stored(token: Token, record: &[u8], profile: Option<&[u8]>) -> Stored {
    Stored { token, record: record.to_vec(), profile: profile.map(<[u8]>::to_vec) }
}

/// Asks again while the answer is that the store is not reachable: an election takes seconds.
pub async fn patiently<T>(mut ask: impl AsyncFnMut() -> Result<T, StateError>) -> Result<T, StateError> {
    const WITHIN: Duration = Duration::from_secs(60);
    let deadline = tokio::time::Instant::now() + WITHIN;
    loop {
        match ask().await {
            Err(StateError::Unavailable(_)) if tokio::time::Instant::now() < deadline => {}
            outcome => return outcome,
        }
    }
}

pub async fn one(session: &mut dyn State, name: &str) -> Option<Stored> {
    session.load(&[user(name)]).await.unwrap().users.remove(0)
}

/// Incarnation and operation.
fn parts(Token(bytes): Token) -> (u64, u64) {
    let both = u128::from_be_bytes(bytes);
    ((both >> u64::BITS) as u64, both as u64)
}

fn set(profile: &[u8]) -> ProfileChange {
    ProfileChange::Set(profile.to_vec())
}

fn partition(topic: &str, number: i32) -> Partition {
    Partition { topic: topic.into(), number }
}

pub async fn due(session: &mut dyn State, now_ms: i64) -> Vec<String> {
    take(session, now_ms, 1_000, Duration::from_secs(60)).await
}

async fn take(session: &mut dyn State, now_ms: i64, limit: usize, hide: Duration) -> Vec<String> {
    session.take_due(Timestamp(now_ms), limit, hide).await.unwrap().iter().map(|user| user.to_string()).collect()
}

pub fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names
}

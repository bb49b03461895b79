//! Cases of the suite in `state` for what spans all users and all sessions: walks, bounded sets, budgets.

use std::collections::BTreeSet;
use std::time::Duration;

use campanile::engine::id::UserId;
use campanile::worker::ports::{Admit, Change, PSEUDO, Sampled, Spend, State, Store};

use crate::state::{delete, due, session, sorted, user, woken};

/// All pages of a walk.
async fn walk(session: &mut dyn State, limit: usize) -> Vec<String> {
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = session.users(cursor.as_ref(), limit).await.unwrap();
        seen.extend(page.users.iter().map(|user| user.to_string()));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return seen,
        }
    }
}

pub async fn a_walk_sees_every_user_and_no_pseudo_user(store: &dyn Store) {
    let mut session = session(store).await;
    assert_eq!(walk(&mut *session, 10).await, Vec::<String>::new());
    let pseudo = format!("{PSEUDO}run/a");
    session.commit(&[woken(&pseudo, None, 10), woken("z", None, 9), woken("a", None, 8)]).await.unwrap();
    for limit in [1, 2, 100] {
        assert_eq!(sorted(walk(&mut *session, limit).await), ["a", "z"], "pages of {limit}");
    }
    assert_eq!(sorted(due(&mut *session, 10).await), ["\u{1}run/a", "a", "z"], "it is due like any other");
}

pub async fn a_walk_sees_all_who_stay_while_others_come_go_and_change(store: &dyn Store) {
    const USERS: usize = 3_000;
    let (mut walker, mut other) = (session(store).await, session(store).await);
    let name = |kind: &str, number: usize| format!("{kind}-{number}");
    let stays: Vec<Change> = (0..USERS).map(|number| woken(&name("stays", number), None, number as i64)).collect();
    let token = walker.commit(&stays).await.unwrap().token;
    let goes: Vec<Change> = (0..USERS).map(|number| woken(&name("goes", number), None, 5)).collect();
    let going = walker.commit(&goes).await.unwrap().token;
    let (mut seen, mut cursor, mut pages) = (BTreeSet::new(), None, 0);
    loop {
        // Another session goes on with the walk each time.
        let page = if pages % 2 == 0 { &mut walker } else { &mut other }.users(cursor.as_ref(), 100).await.unwrap();
        seen.extend(page.users.iter().map(|user| user.to_string()));
        let Some(next) = page.next else { break };
        cursor = Some(next);
        let number = pages * 50..(pages + 1) * 50;
        let mut changes: Vec<Change> = number.clone().map(|number| woken(&name("comes", number), None, 1)).collect();
        changes.extend(number.clone().filter(|number| *number < USERS).map(|number| delete(&name("goes", number), Some(going))));
        // Wakes move back and forth under the walk.
        changes.extend(
            number.filter(|number| *number < USERS).map(|number| woken(&name("stays", number), Some(token), 9_000 - number as i64)),
        );
        assert_eq!(other.commit(&changes).await.unwrap().conflicts, []);
        pages += 1;
        assert!(pages < 1_000, "the walk does not end");
    }
    let missed: Vec<String> = (0..USERS).map(|number| name("stays", number)).filter(|name| !seen.contains(name)).collect();
    assert_eq!(missed, Vec::<String>::new(), "in {pages} pages");
}

pub async fn a_sample_is_drawn_from_all_alike(store: &dyn Store) {
    const USERS: usize = 4_000;
    const DRAWN: usize = 400;
    let mut session = session(store).await;
    assert_eq!(session.sample(DRAWN, 1).await.unwrap(), Sampled::default());
    let names = |kind: &str| (0..USERS / 2).map(|number| woken(&format!("{kind}-{number:05}"), None, number as i64)).collect();
    // However a store keeps them, the first half comes first by name, and by wake too.
    let (first, second): (Vec<Change>, Vec<Change>) = (names("a"), names("b"));
    session.commit(&first).await.unwrap();
    session.commit(&second).await.unwrap();
    let mut firsts = 0;
    for seed in 0..5 {
        let Sampled { users, of } = session.sample(DRAWN, seed).await.unwrap();
        let distinct: BTreeSet<&UserId> = users.iter().collect();
        assert_eq!((distinct.len(), of), (users.len(), USERS as u64));
        // Each part of a store rounds up.
        assert!((DRAWN..DRAWN + 100).contains(&users.len()), "{}", users.len());
        // What a caller has no time for must be as random as the rest.
        firsts += users[..DRAWN / 2].iter().filter(|user| user.starts_with('a')).count();
    }
    // 500 of 1,000 are expected with a deviation of 15.
    assert!((400..=600).contains(&firsts), "{firsts} of 1000 are of the first half");

    let pseudo = format!("{PSEUDO}run/a");
    session.commit(&[woken(&pseudo, None, 10)]).await.unwrap();
    let Sampled { users, of } = session.sample(2 * USERS, 1).await.unwrap();
    assert_eq!((users.len(), of), (USERS, USERS as u64), "all, and nothing that is no user");
}

fn question(set: &str, name: &str, limit: u64) -> Admit {
    Admit { set: set.into(), user: user(name), limit, keep: Duration::from_secs(3600) }
}

pub async fn a_set_lets_in_as_many_as_it_may_hold(store: &dyn Store) {
    let mut session = session(store).await;
    let mut ask = async |asked: &[(&str, &str, u64)]| {
        let asked: Vec<Admit> = asked.iter().map(|(set, user, limit)| question(set, user, *limit)).collect();
        session.admit(&asked).await.unwrap()
    };
    assert!(ask(&[]).await.is_empty());
    assert_eq!(ask(&[("s", "", 0)]).await, [false], "keeping a set that is not there makes none");
    assert_eq!(ask(&[("s", "a", 2), ("t", "a", 1), ("s", "b", 2), ("s", "c", 2), ("t", "b", 1)]).await, [true, true, true, false, false]);
    assert_eq!(ask(&[("s", "a", 2), ("s", "c", 2), ("s", "b", 2)]).await, [true, false, true], "asking again changes nothing");
    assert_eq!(ask(&[("s", "", 0), ("s", "a", 0)]).await, [false, true], "who is in stays in");
    assert_eq!(ask(&[("s", "c", 3), ("s", "d", 3)]).await, [true, false], "a higher limit makes room");
    assert_eq!(ask(&[("s", "c", 1), ("s", "d", 1)]).await, [true, false], "a lower one puts nobody out");
    assert_eq!(ask(&[("s/2026-12-01T09:00:00", "z", 1), ("{s}", "z", 1)]).await, [true, true], "sets have nothing in common");
}

pub async fn a_set_never_holds_more_however_many_ask_at_once(store: &dyn Store) {
    const LIMIT: u64 = 50;
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(session(store).await);
    }
    let rounds = sessions.iter_mut().enumerate().map(|(number, session)| async move {
        let mut admitted = Vec::new();
        for round in 0..10 {
            // Neighbours ask about the same users.
            let names: Vec<String> = (0..5).map(|at| format!("u{}", (number / 2) * 1_000 + round * 5 + at)).collect();
            let asked: Vec<Admit> = names.iter().map(|name| question("s", name, LIMIT)).collect();
            let answers = session.admit(&asked).await.unwrap();
            admitted.extend(names.into_iter().zip(answers).filter(|(_, admitted)| *admitted).map(|(name, _)| name));
        }
        admitted
    });
    let all: BTreeSet<String> = futures_util::future::join_all(rounds).await.into_iter().flatten().collect();
    assert_eq!(all.len() as u64, LIMIT);
    let asked: Vec<Admit> = all.iter().map(|name| question("s", name, LIMIT)).collect();
    assert_eq!(sessions[0].admit(&asked).await.unwrap(), vec![true; all.len()]);
}

fn wish(budget: &str, want: u32, per_second: f64, burst: u32) -> Spend {
    Spend { budget: budget.into(), want, per_second, burst }
}

/// Rates so low or so high that the time that passes meanwhile does not matter; what time does is the arithmetic's own test.
pub async fn a_budget_gives_its_burst_and_then_its_rate(store: &dyn Store) {
    let mut session = session(store).await;
    let mut spend = async |wanted: &[Spend]| session.spend(wanted).await.unwrap();
    let slow = 0.000_001;
    assert!(spend(&[]).await.is_empty());
    assert_eq!(spend(&[wish("a", 3, slow, 5), wish("b", 9, slow, 5), wish("a", 3, slow, 5)]).await, [3, 5, 2]);
    assert_eq!(spend(&[wish("a", 1, slow, 5), wish("b", 1, slow, 5), wish("b", 0, slow, 5)]).await, [0, 0, 0]);
    assert_eq!(spend(&[wish("none", 9, 0.0, 0)]).await, [1], "a budget holds at least one");
    assert_eq!(spend(&[wish("ages", 9, 1e-17, 2)]).await, [2], "nothing is kept for longer than the store can count");
    assert_eq!(spend(&[wish("none", 9, 0.0, 0)]).await, [0]);
}

/// What is not spent fills up to the burst and no further, also for several sessions.
pub async fn a_budget_is_shared_by_all_sessions(store: &dyn Store) {
    let (mut first, mut second) = (session(store).await, session(store).await);
    let slow = wish("shared", 6, 0.000_001, 10);
    assert_eq!(first.spend(std::slice::from_ref(&slow)).await.unwrap(), [6]);
    assert_eq!(second.spend(std::slice::from_ref(&slow)).await.unwrap(), [4]);
    assert_eq!(first.spend(std::slice::from_ref(&slow)).await.unwrap(), [0]);
}

//! State in a Redis Cluster: the conformance suite over three masters, and what only a Cluster does to a store: fail over, move
//! slots, lose what no replica had.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use campanile::adapter::redis::{RedisSettings, RedisStore, open};
use campanile::engine::time::Timestamp;
use campanile::worker::ports::{Change, ProfileChange, State, StateError, Store};

use crate::state::{self, one, patiently, put, session, sorted, user, woken};
use crate::support::redis::Redis;
use crate::support::redis_cluster::RedisCluster;

const GROUPS: u16 = 12;

fn settings(cluster: &RedisCluster) -> RedisSettings {
    RedisSettings { url: cluster.url(), prefix: "test".into(), groups: GROUPS, replicas: 0 }
}

async fn store(cluster: &RedisCluster) -> RedisStore {
    open(settings(cluster)).await.unwrap()
}

/// Users enough for every group to have some.
fn names() -> Vec<String> {
    (0..100).map(|number| format!("u{number:02}")).collect()
}

/// Writes all users anew, whatever is stored of them, again and again until all are.
async fn write_all(session: &mut dyn State, body: &[u8]) {
    let users: Vec<_> = names().iter().map(|name| user(name)).collect();
    patiently(async || {
        let known = session.load(&users).await?.users;
        let changes: Vec<Change> = names()
            .iter()
            .zip(known)
            .map(|(name, known)| Change { wake: Some(Timestamp(1)), ..put(name, known.map(|known| known.token), body) })
            .collect();
        let done = session.commit(&changes).await?;
        assert_eq!(done.conflicts, [], "nobody else writes");
        Ok(())
    })
    .await
    .unwrap();
}

async fn assert_all(session: &mut dyn State, body: &[u8]) {
    let users: Vec<_> = names().iter().map(|name| user(name)).collect();
    let loaded = patiently(async || session.load(&users).await).await.unwrap();
    for (name, known) in names().iter().zip(loaded.users) {
        assert_eq!(known.map(|known| known.record).as_deref(), Some(body), "{name}");
    }
}

#[tokio::test]
async fn a_cluster_conforms_with_one_group_and_with_several() {
    let cluster = RedisCluster::start();
    let made = AtomicU32::new(0);
    for groups in [1, GROUPS] {
        state::suite(groups, async || {
            let prefix = format!("case-{}", made.fetch_add(1, Ordering::Relaxed));
            Arc::new(open(RedisSettings { prefix, groups, ..settings(&cluster) }).await.unwrap()) as Arc<dyn Store>
        })
        .await;
    }
}

#[tokio::test]
async fn a_killed_master_is_succeeded_and_nothing_is_lost() {
    let mut cluster = RedisCluster::start();
    let store = open(RedisSettings { replicas: 1, ..settings(&cluster) }).await.unwrap();
    let mut session = session(&store).await;
    for name in ["{test:0}:u:a", "{test}:store"] {
        write_all(&mut *session, b"before").await;
        let victim = cluster.fail(cluster.slot_of(name));
        assert_all(&mut *session, b"before").await;
        cluster.restart(victim);
        write_all(&mut *session, b"after").await;
        assert_all(&mut *session, b"after").await;
        session.confirm().await.unwrap();
    }
    assert_eq!(session.take_due(Timestamp(1), 1_000, Duration::ZERO).await.unwrap().len(), names().len());
    store.session().await.unwrap().confirm().await.unwrap();
}

#[tokio::test]
async fn a_promotion_in_order_is_followed_at_once() {
    let cluster = RedisCluster::start();
    let mut session = session(&store(&cluster).await).await;
    write_all(&mut *session, b"1").await;
    for slot in [0, 16383] {
        cluster.promote(slot);
        // The former master says where to go; nothing is asked twice by the caller.
        assert_eq!(session.load(&names().iter().map(|name| user(name)).collect::<Vec<_>>()).await.unwrap().users.len(), names().len());
        session.confirm().await.unwrap();
        write_all(&mut *session, b"2").await;
    }
}

/// A replica that had not everything takes over.
#[tokio::test]
async fn a_failover_that_lost_writes_is_noticed() {
    let mut cluster = RedisCluster::with(3, &["--cluster-replica-validity-factor", "0"]);
    let store = store(&cluster).await;
    let (mut writer, mut reader) = (session(&store).await, session(&store).await);
    write_all(&mut *writer, b"kept").await;
    let slot = cluster.slot_of("{test:0}:led");
    let behind = cluster.replica_of(slot);
    cluster.node(behind).command::<()>(&["SAVE"]);
    cluster.kill(behind);
    write_all(&mut *writer, b"lost").await;
    assert_all(&mut *reader, b"lost").await;

    cluster.kill(cluster.master_of(slot));
    cluster.start_as_successor(slot, behind);
    for session in [&mut writer, &mut reader] {
        let outcome = patiently(async || {
            session.load(&names().iter().map(|name| user(name)).collect::<Vec<_>>()).await?;
            session.commit(&[]).await
        });
        let outcome = outcome.await;
        assert!(matches!(outcome, Err(StateError::RolledBack(_))), "{outcome:?}");
    }
    // Whoever comes next goes on from what is there.
    let mut fresh = patiently(async || store.session().await).await.unwrap();
    write_all(&mut *fresh, b"again").await;
    assert_all(&mut *fresh, b"again").await;
}

/// Whatever of a command is not there is put off, never half done, and never taken for an error that stops a worker.
#[tokio::test]
async fn a_slot_that_moves_takes_its_users_along() {
    let cluster = RedisCluster::start();
    let mut session = session(&store(&cluster).await).await;
    let profile = || ProfileChange::Set(b"p".to_vec());
    write_all(&mut *session, b"1").await;
    let here = |name: &&String| {
        cluster.node(cluster.master_of(cluster.slot_of("{test:0}:u"))).command(&["EXISTS", &format!("{{test:0}}:u:{name}")])
    };
    let all = names();
    let (home, away): (Vec<&String>, Vec<&String>) = all.iter().partition(here);
    let (known, other, gone, elsewhere) = (home[0], home[1], home[2], away[0]);
    let tokens = session.load(&[user(known), user(other), user(gone), user(elsewhere)]).await.unwrap().users;
    let token = |at: usize| tokens[at].as_ref().map(|stored| stored.token);
    let changes =
        [Change { profile: profile(), ..put(known, token(0), b"2") }, Change { profile: profile(), ..put(other, token(1), b"2") }];
    session.commit(&[&changes[..], &[state::delete(gone, token(2))]].concat()).await.unwrap();
    let now = one(&mut *session, other).await.map(|stored| stored.token);

    let slot = cluster.slot_of("{test:0}:u");
    let to = (0..3).find(|&node| node != cluster.master_of(slot)).unwrap();
    let moving = cluster.begin_to_move(slot, to);
    moving.carry(&[&format!("{{test:0}}:p:{known}")]);
    let done = session.commit(&[put(other, now, b"3"), put(elsewhere, token(3), b"3")]).await.unwrap();
    assert_eq!(done.conflicts, [], "all of it is still here");
    assert_unavailable(session.load(&[user(known)]).await, "its profile is there already");
    assert_unavailable(session.commit(&[put(known, token(0), b"x")]).await, "a conflict whose profile is there already");
    assert_unavailable(session.commit(&[put(gone, None, b"x")]).await, "what is not here may be there");
    assert_eq!(one(&mut *session, elsewhere).await.unwrap().record, b"3");
    moving.carry(&["{test:0}:seq", "{test:0}:led"]);
    assert_unavailable(session.load(&[user(other)]).await, "the sequence is there already");
    // A question about one key is asked there.
    session.confirm().await.unwrap();
    moving.end();

    write_all(&mut *session, b"4").await;
    assert_all(&mut *session, b"4").await;
    session.confirm().await.unwrap();
}

#[tokio::test]
async fn a_walk_goes_on_where_its_group_has_moved() {
    let cluster = RedisCluster::start();
    let mut session = session(&open(RedisSettings { groups: 1, ..settings(&cluster) }).await.unwrap()).await;
    let all: Vec<String> = (0..2_000).map(|number| format!("u{number:04}")).collect();
    session.commit(&all.iter().map(|name| woken(name, None, 1)).collect::<Vec<_>>()).await.unwrap();
    let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = session.users(cursor.as_ref(), 100).await.unwrap();
        seen.extend(page.users.iter().map(|user| user.to_string()));
        let Some(next) = page.next else { break };
        cursor = Some(next);
        pages += 1;
        if pages == 5 {
            let slot = cluster.slot_of("{test:0}:wake");
            cluster.move_slot(slot, (cluster.master_of(slot) + 1) % 3);
        }
    }
    seen = sorted(seen);
    seen.dedup();
    assert_eq!(seen, all);
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_with_the_way_out() {
    let mut cluster = RedisCluster::start();
    let check = async |settings: RedisSettings, parts: &[&str]| match open(settings).await {
        Err(StateError::Refused(why)) => parts.iter().for_each(|part| assert!(why.contains(part), "{why}")),
        outcome => panic!("{outcome:?} instead of: {parts:?}"),
    };
    let alone = Redis::start();
    let at = |node: usize| format!("127.0.0.1:{}", cluster.node(node).port());
    check(RedisSettings { url: format!("redis://{}", at(0)), ..settings(&cluster) }, &["write redis-cluster://"]).await;
    let no_cluster = alone.url().replace("redis:", "redis-cluster:");
    check(RedisSettings { url: no_cluster, ..settings(&cluster) }, &["write redis://"]).await;
    // One that is not named, and a replica may be: they know the others.
    let of_replica = RedisSettings { url: format!("redis-cluster://{}", at(5)), ..settings(&cluster) };
    open(of_replica.clone()).await.unwrap();
    let _: () = cluster.node(2).command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    check(of_replica.clone(), &[&at(2), "set `maxmemory-policy noeviction`"]).await;
    let _: () = cluster.node(2).command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);

    let mut session = session(&open(of_replica.clone()).await.unwrap()).await;
    (0..6).for_each(|node| drop(cluster.node(node).command::<String>(&["CONFIG", "SET", "requirepass", "hunter2"])));
    let with = |password: &str| RedisSettings { url: of_replica.url.replace("//", &format!("//:{password}@")), ..of_replica.clone() };
    open(with("hunter2")).await.unwrap();
    for password in ["", "hunter3"] {
        let error = open(with(password)).await.unwrap_err();
        assert!(matches!(&error, StateError::Refused(why) if why.contains("password") && !why.contains("hunter")), "{error:?}");
    }
    (0..6).for_each(|node| cluster.kill(node));
    assert_unavailable(open(of_replica).await, "nobody is there");
    assert_unavailable(session.load(&[user("a")]).await, "nobody is there");
}

#[track_caller]
fn assert_unavailable<T: std::fmt::Debug>(outcome: Result<T, StateError>, why: &str) {
    assert!(matches!(outcome, Err(StateError::Unavailable(_))), "{outcome:?}, though {why}");
}

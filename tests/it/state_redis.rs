//! State in Redis: the conformance suite, and what only a server of its own can do to a store: forget, restart, roll back, refuse.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use campanile::adapter::redis::{RedisSettings, RedisStore, open};
use campanile::engine::time::Timestamp;
use campanile::worker::ports::{StateError, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::state::{self, one, put, session, stored, woken};
use crate::support::redis::Redis;

fn settings(url: String) -> RedisSettings {
    RedisSettings { url, prefix: "test".into(), groups: 1, replicas: 0 }
}

async fn store(redis: &Redis) -> RedisStore {
    open(settings(redis.url())).await.unwrap()
}

#[track_caller]
fn assert_rolled_back<T: std::fmt::Debug>(outcome: Result<T, StateError>) {
    assert!(matches!(outcome, Err(StateError::RolledBack(_))), "{outcome:?}");
}

#[track_caller]
fn assert_unavailable<T: std::fmt::Debug>(outcome: Result<T, StateError>) {
    assert!(matches!(outcome, Err(StateError::Unavailable(_))), "{outcome:?}");
}

async fn assert_refused(settings: RedisSettings, part: &str) {
    match open(settings).await {
        Err(StateError::Refused(why)) => assert!(why.contains(part), "{why}"),
        outcome => panic!("{outcome:?} instead of: {part}"),
    }
}

#[tokio::test]
async fn a_redis_conforms_with_one_group_and_with_several() {
    let redis = Redis::start();
    let made = AtomicU32::new(0);
    for groups in [1, 5] {
        state::suite(groups, async || {
            let prefix = format!("case-{}", made.fetch_add(1, Ordering::Relaxed));
            Arc::new(open(RedisSettings { prefix, groups, ..settings(redis.url()) }).await.unwrap()) as Arc<dyn Store>
        })
        .await;
    }
}

#[tokio::test]
async fn two_prefixes_share_a_redis() {
    let redis = Redis::start();
    let other = open(RedisSettings { prefix: "other".into(), ..settings(redis.url()) }).await.unwrap();
    let (mut ours, mut theirs) = (session(&store(&redis).await).await, session(&other).await);
    ours.commit(&[woken("a", None, 1)]).await.unwrap();
    assert_eq!(one(&mut *theirs, "a").await, None);
    assert!(theirs.take_due(Timestamp(9), 9, std::time::Duration::ZERO).await.unwrap().is_empty());
    assert_ne!(ours.identity().await.unwrap().id, theirs.identity().await.unwrap().id);
}

#[tokio::test]
async fn a_restart_is_survived() {
    let mut redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
    let store = store(&redis).await;
    let mut session = session(&store).await;
    let first = session.commit(&[put("a", None, b"1")]).await.unwrap();

    redis.kill();
    assert_unavailable(session.load(&[]).await);
    assert_unavailable(session.commit(&[put("a", Some(first.token), b"2")]).await);
    assert_unavailable(store.session().await.map(drop));

    redis.start_again();
    assert_eq!(one(&mut *session, "a").await, Some(stored(first.token, b"1", None)));
    let second = session.commit(&[put("a", Some(first.token), b"3")]).await.unwrap();
    assert_eq!(second.conflicts, []);
    session.confirm().await.unwrap();
    assert_eq!(session.identity().await.unwrap().sequence, second.sequence);
}

#[tokio::test]
async fn a_lost_reply_is_asked_for_again() {
    let redis = Redis::start();
    let faults = Faults::before(&redis).await;
    let mut through = session(&open(settings(faults.url.clone())).await.unwrap()).await;
    let mut beside = session(&store(&redis).await).await;
    let first = through.commit(&[put("a", None, b"1"), put("d", None, b"1")]).await.unwrap();

    let other = beside.commit(&[put("b", None, b"theirs")]).await.unwrap();
    faults.swallow(1);
    let changes = [put("a", Some(first.token), b"2"), put("b", None, b"ours"), put("c", None, b"3"), state::delete("d", Some(first.token))];
    let done = through.commit(&changes).await.unwrap();
    assert_eq!(faults.left(), 0, "the reply was not lost");
    assert_eq!(done.conflicts, [(1, Some(stored(other.token, b"theirs", None)))]);
    assert_eq!(done.sequence, other.sequence + 1, "applied more than once");
    assert_eq!(one(&mut *beside, "a").await, Some(stored(done.token, b"2", None)));
    assert_eq!(one(&mut *beside, "c").await, Some(stored(done.token, b"3", None)));
    assert_eq!(one(&mut *beside, "d").await, None);
    through.confirm().await.unwrap();
}

#[tokio::test]
async fn after_a_commit_of_unknown_outcome_other_content_does_not_pass_for_it() {
    let redis = Redis::start();
    let faults = Faults::before(&redis).await;
    let mut through = session(&open(settings(faults.url.clone())).await.unwrap()).await;
    let first = through.commit(&[put("a", None, b"1")]).await.unwrap();

    faults.swallow(1_000);
    assert_unavailable(through.commit(&[put("a", Some(first.token), b"given up")]).await);
    faults.swallow(0);

    let second = through.commit(&[put("a", Some(first.token), b"other"), put("b", None, b"other")]).await.unwrap();
    let [(0, Some(now_stored))] = &second.conflicts[..] else { panic!("{:?}", second.conflicts) };
    assert_eq!(now_stored.record, b"given up");
    assert_eq!(one(&mut *through, "b").await, Some(stored(second.token, b"other", None)));
    let third = through.commit(&[put("a", Some(now_stored.token), b"other")]).await.unwrap();
    assert_eq!(third.conflicts, []);
    through.confirm().await.unwrap();
}

#[tokio::test]
async fn a_flush_is_noticed() {
    let redis = Redis::start();
    let store = store(&redis).await;
    let (mut writer, mut asker, mut fresh) = (session(&store).await, session(&store).await, session(&store).await);
    let first = writer.commit(&[put("a", None, b"1")]).await.unwrap();
    asker.commit(&[]).await.unwrap();
    fresh.load(&[state::user("a")]).await.unwrap();

    let _: () = redis.command(&["FLUSHALL"]);
    assert_rolled_back(asker.confirm().await);
    assert_rolled_back(asker.commit(&[]).await);
    assert_rolled_back(fresh.commit(&[]).await);
    assert_rolled_back(writer.commit(&[put("a", Some(first.token), b"2")]).await);
    assert_rolled_back(store.session().await.map(drop));
    let keys: i64 = redis.command(&["DBSIZE"]);
    assert_eq!(keys, 0, "something was written into the empty store");
}

#[tokio::test]
async fn an_older_snapshot_is_noticed() {
    let mut redis = Redis::start();
    let store = store(&redis).await;
    let (mut writer, mut asker, mut reader) = (session(&store).await, session(&store).await, session(&store).await);
    let first = writer.commit(&[put("a", None, b"1")]).await.unwrap();
    asker.commit(&[]).await.unwrap();
    reader.commit(&[]).await.unwrap();
    let _: () = redis.command(&["SAVE"]);
    let second = writer.commit(&[put("a", Some(first.token), b"lost")]).await.unwrap();
    asker.commit(&[]).await.unwrap();
    assert_eq!(one(&mut *reader, "a").await, Some(stored(second.token, b"lost", None)));

    redis.start_again();
    assert_unavailable(asker.confirm().await);
    assert_rolled_back(asker.confirm().await);
    assert_rolled_back(writer.commit(&[put("a", Some(second.token), b"3")]).await);
    assert_rolled_back(reader.commit(&[]).await);

    let mut successor = session(&store).await;
    assert_eq!(one(&mut *successor, "a").await, Some(stored(first.token, b"1", None)));
    let third = successor.commit(&[put("a", Some(first.token), b"again")]).await.unwrap();
    assert!(third.token > second.token, "a token that was lost is given again");
    assert_rolled_back(writer.commit(&[]).await);
}

#[tokio::test]
async fn an_incarnation_is_never_given_twice() {
    let redis = Redis::start();
    let store = store(&redis).await;
    let last = session(&store).await.commit(&[]).await.unwrap().token;
    let _: () = redis.command(&["HDEL", "{test}:store", "incarnation"]);
    assert!(session(&store).await.commit(&[]).await.unwrap().token > last, "the counter alone decides");
    let _: () = redis.command(&["HSET", "{test}:store", "incarnation", "4000000000000000"]);
    let ahead = session(&store).await.commit(&[]).await.unwrap().token;
    assert!(session(&store).await.commit(&[]).await.unwrap().token > ahead, "the clock alone decides");
}

#[tokio::test]
async fn forgotten_scripts_are_given_again() {
    let redis = Redis::start();
    let mut session = session(&store(&redis).await).await;
    let _: () = redis.command(&["SCRIPT", "FLUSH"]);
    let first = session.commit(&[woken("a", None, 1)]).await.unwrap();
    let _: () = redis.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(session.take_due(Timestamp(1), 9, std::time::Duration::ZERO).await.unwrap().len(), 1);
    assert_eq!(session.commit(&[put("a", Some(first.token), b"2")]).await.unwrap().conflicts, []);
}

#[tokio::test]
async fn a_full_redis_is_passing_and_changes_nothing() {
    let redis = Redis::start();
    let mut session = session(&store(&redis).await).await;
    let first = session.commit(&[woken("a", None, 1)]).await.unwrap();
    let _: () = redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let full = session.commit(&[put("a", Some(first.token), b"2"), put("b", None, b"")]).await.unwrap_err();
    assert!(matches!(&full, StateError::Unavailable(why) if why.contains("maxmemory")), "{full}");
    assert_eq!(one(&mut *session, "a").await, Some(stored(first.token, b"", None)));
    assert_unavailable(session.commit(&[state::delete("a", Some(first.token))]).await);
    assert_eq!(one(&mut *session, "a").await, Some(stored(first.token, b"", None)));
    let _: () = redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(session.commit(&[put("a", Some(first.token), b"2")]).await.unwrap().conflicts, []);
}

#[tokio::test]
async fn a_write_waits_for_its_replica() {
    let redis = Redis::with(&["--save", "", "--repl-diskless-sync-delay", "0"]);
    let primary = redis.port().to_string();
    let mut replica = Redis::with(&["--save", "", "--replicaof", "127.0.0.1", &primary]);
    let mut session = session(&open(RedisSettings { replicas: 1, ..settings(redis.url()) }).await.unwrap()).await;
    let first = session.commit(&[put("a", None, b"1")]).await.unwrap();
    let copy: Vec<u8> = replica.command(&["GET", "{test:0}:u:a"]);
    assert!(copy.ends_with(b"1"));
    assert_refused(settings(replica.url()), "replica of 127.0.0.1").await;

    replica.kill();
    assert_unavailable(session.commit(&[put("a", Some(first.token), b"2")]).await);
    replica.start_again();
    let known = one(&mut *session, "a").await.unwrap();
    assert_eq!(known.record, b"2", "written, but not reported");
    assert_eq!(session.commit(&[put("a", Some(known.token), b"3")]).await.unwrap().conflicts, []);
    let copy: Vec<u8> = replica.command(&["GET", "{test:0}:u:a"]);
    assert!(copy.ends_with(b"3"));
    session.confirm().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_with_the_way_out() {
    let redis = Redis::start();
    let good = settings(redis.url());
    let mut session = session(&store(&redis).await).await;
    session.commit(&[put("a", None, b"1")]).await.unwrap();
    assert_refused(RedisSettings { groups: 4, ..good.clone() }, "founded with 1 groups").await;
    let _: () = redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    assert_refused(good.clone(), "set `maxmemory-policy noeviction`").await;
    let _: () = redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let _: () = redis.command(&["SETRANGE", "{test:0}:u:a", "0", "\x02"]);
    let newer = session.load(&[state::user("a")]).await.unwrap_err();
    assert!(matches!(&newer, StateError::Refused(why) if why.contains("newer version")), "{newer}");
    let _: () = redis.command(&["HSET", "{test}:store", "format", "2"]);
    assert_refused(good.clone(), "has format 2").await;
    let _: () = redis.command(&["SET", "{bad}:store", "a string"]);
    assert_refused(RedisSettings { prefix: "bad".into(), ..good }, "WRONGTYPE").await;
}

#[tokio::test]
async fn the_password_is_wanted_and_never_shown() {
    let redis = Redis::with(&["--save", "", "--requirepass", "hunter2"]);
    let with = |password: &str| settings(redis.url().replace("redis://", &format!("redis://:{password}@")));
    let store = open(with("hunter2")).await.unwrap();
    session(&store).await.commit(&[]).await.unwrap();
    assert!(!format!("{store:?}").contains("hunter2"));
    for password in ["", "hunter3"] {
        let error = open(with(password)).await.unwrap_err();
        assert!(matches!(&error, StateError::Refused(why) if why.contains("password") && !why.contains("hunter")), "{error:?}");
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let mut redis = Redis::start();
    redis.kill();
    assert_unavailable(open(settings(redis.url())).await);
}

#[tokio::test]
async fn silent_sessions_leave_a_full_ledger() {
    let redis = Redis::start();
    let store = store(&redis).await;
    let mut early = session(&store).await;
    early.commit(&[]).await.unwrap();
    let entries: Vec<String> = (1..=999).flat_map(|incarnation| [incarnation.to_string(), "7 1600000000".to_owned()]).collect();
    let words: Vec<&str> = ["HSET", "{test:0}:led"].into_iter().chain(entries.iter().map(String::as_str)).collect();
    let _: () = redis.command(&words);
    session(&store).await.commit(&[]).await.unwrap();
    let left: i64 = redis.command(&["HLEN", "{test:0}:led"]);
    assert_eq!(left, 2, "the early session and the one that joined");
    early.confirm().await.unwrap();
}

/// A proxy before a Redis that can swallow replies: the command is done, the connection breaks before its reply.
struct Faults {
    url: String,
    swallow: Arc<AtomicU32>,
}

impl Faults {
    async fn before(redis: &Redis) -> Faults {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let swallow = Arc::new(AtomicU32::new(0));
        let (left, port) = (swallow.clone(), redis.port());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::spawn(relay(client, server, left.clone()));
            }
        });
        Faults { url, swallow }
    }

    fn swallow(&self, replies: u32) {
        self.swallow.store(replies, Ordering::SeqCst);
    }

    fn left(&self) -> u32 {
        self.swallow.load(Ordering::SeqCst)
    }
}

async fn relay(mut client: TcpStream, mut server: TcpStream, swallow: Arc<AtomicU32>) {
    let (mut from_client, mut from_server) = (vec![0; 65536], vec![0; 65536]);
    loop {
        let sent = tokio::select! {
            read = client.read(&mut from_client) => match read {
                Ok(count @ 1..) => server.write_all(&from_client[..count]).await,
                _ => return,
            },
            read = server.read(&mut from_server) => match read {
                Ok(1..) if swallow.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() => return,
                Ok(count @ 1..) => client.write_all(&from_server[..count]).await,
                _ => return,
            },
        };
        if sent.is_err() {
            return;
        }
    }
}

//! State in a Redis whose primary the sentinels name: real sentinels, a real failover, passwords of both.

use std::time::Duration;

use campanile::adapter::redis::{RedisSettings, open};
use campanile::worker::ports::{StateError, Store};

use crate::state::{one, patiently, put, session};
use crate::support::redis::Redis;
use crate::support::wait::until;

/// Hearing of each other, finding the primary gone, electing, on a busy machine.
const AGREE_WITHIN: Duration = Duration::from_secs(60);

const SENTINELS: usize = 3;

/// A primary, a replica and three sentinels.
struct Watched {
    servers: [Redis; 2],
    sentinels: Vec<Redis>,
}

impl Watched {
    fn start() -> Watched {
        let common = ["--save", "", "--requirepass", "hunter2", "--masterauth", "hunter2", "--repl-diskless-sync-delay", "0"];
        let primary = Redis::with(&common);
        let port = primary.port().to_string();
        let replica = Redis::with(&[&common[..], &["--replicaof", "127.0.0.1", &port]].concat());
        let lines = format!(
            "requirepass watch\nsentinel sentinel-pass watch\nsentinel monitor main 127.0.0.1 {port} 2\nsentinel auth-pass main hunter2\n\
             sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n"
        );
        let sentinels = (0..SENTINELS).map(|_| Redis::sentinel(&format!("{lines}# of its own\n"))).collect();
        let watched = Watched { servers: [primary, replica], sentinels };
        watched.agree();
        watched
    }

    /// Waits until all sentinels know of each other and of the replica.
    fn agree(&self) {
        let says = |sentinel: &Redis, field: &str, value: &str| {
            let about: Vec<String> = sentinel_command(sentinel, &["SENTINEL", "MASTER", "main"]);
            about.chunks(2).any(|pair| pair == [field, value])
        };
        until("the sentinels agree", AGREE_WITHIN, || {
            self.sentinels.iter().all(|one| {
                says(one, "num-other-sentinels", &(SENTINELS - 1).to_string())
                    && says(one, "num-slaves", "1")
                    && says(one, "flags", "master")
            })
        });
    }

    fn url(&self, sentinel_password: &str, password: &str, name: &str) -> String {
        let hosts: Vec<String> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
        format!("redis-sentinel://:{password}@{}/{name}?sentinel_password={sentinel_password}", hosts.join(","))
    }

    /// Whom a sentinel that runs names as the primary.
    fn primary(&self) -> usize {
        let asked = self.sentinels.iter().find(|sentinel| sentinel.runs()).expect("a sentinel that runs");
        let (_, port): (String, u16) = sentinel_command(asked, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]);
        self.servers.iter().position(|server| server.port() == port).expect("one of ours")
    }
}

fn sentinel_command<T: redis::FromRedisValue>(sentinel: &Redis, words: &[&str]) -> T {
    sentinel.try_command(Some("watch"), words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

fn settings(url: String) -> RedisSettings {
    RedisSettings { url, prefix: "test".into(), groups: 1, replicas: 1 }
}

#[tokio::test]
async fn a_failover_is_followed_and_nothing_is_lost() {
    let mut watched = Watched::start();
    let store = open(settings(watched.url("watch", "hunter2", "main"))).await.unwrap();
    assert!(!format!("{store:?}").contains("hunter2"));
    let mut session = session(&store).await;
    let first = session.commit(&[put("a", None, b"1")]).await.unwrap();

    // Whoever is asked first is gone, too.
    watched.sentinels[0].kill();
    assert_eq!(watched.primary(), 0);
    watched.servers[0].kill();
    until("the replica is promoted", AGREE_WITHIN, || watched.primary() == 1);
    let known = patiently(async || session.load(&[crate::state::user("a")]).await).await.unwrap().users.remove(0).unwrap();
    assert_eq!((known.token, known.record.as_slice()), (first.token, b"1".as_slice()));
    session.confirm().await.unwrap();

    // The former primary follows now; a write waits for it.
    watched.servers[0].start_again();
    let second = patiently(async || session.commit(&[put("a", Some(first.token), b"2")]).await).await.unwrap();
    assert_eq!(one(&mut *session, "a").await.unwrap().record, b"2");
    let mut other = patiently(async || store.session().await).await.unwrap();
    assert_eq!(one(&mut *other, "a").await.unwrap().record, b"2");

    // In order: the primary still runs, as a replica, and the connection to it may still be there.
    until("the sentinels find the replica good enough", AGREE_WITHIN, || {
        watched.sentinels[1].try_command::<()>(Some("watch"), &["SENTINEL", "FAILOVER", "main"]).is_ok()
    });
    until("the first is promoted again", AGREE_WITHIN, || watched.primary() == 0);
    let token = second.conflicts.first().map_or(second.token, |(_, stored)| stored.as_ref().map_or(second.token, |stored| stored.token));
    let third = patiently(async || other.commit(&[put("a", Some(token), b"3")]).await).await.unwrap();
    assert!(third.conflicts.iter().all(|(_, stored)| stored.as_ref().is_some_and(|stored| stored.record == b"3")), "{third:?}");
    patiently(async || session.confirm().await).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_with_the_way_out() {
    let mut watched = Watched::start();
    let check = async |url: String, part: &str| match open(settings(url)).await {
        Err(StateError::Refused(why)) => {
            assert!(why.contains(part), "{why}");
            assert!(!why.contains("hunter") && !why.contains("watchman"), "{why}");
        }
        outcome => panic!("{outcome:?} instead of: {part}"),
    };
    check(watched.url("watch", "hunter2", "mian"), "knows no primary of the name `mian`").await;
    check(watched.url("watchman", "hunter2", "main"), "?sentinel_password=").await;
    check(watched.url("watch", "hunter3", "main"), "user name and password").await;
    let url = watched.url("watch", "hunter2", "main");
    watched.sentinels.iter_mut().for_each(Redis::kill);
    let outcome = open(settings(url)).await;
    assert!(matches!(outcome, Err(StateError::Unavailable(_))), "{outcome:?}");
}

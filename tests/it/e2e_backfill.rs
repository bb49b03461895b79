//! A campaign that asks for a past from before it was defined: held back until a backfill has read that, which is killed in its middle,
//! refused to another, repeated, and repeated once more. Every event counts once.

use std::collections::BTreeSet;
use std::time::Duration;

use campanile::adapter::clock::SystemClock;
use campanile::engine::time::Timestamp;
use campanile::worker::ports::{self, Append, Clock};
use serde_json::json;

use crate::support::endpoint::Endpoint;
use crate::support::kafka::{append_on, shared, wait};
use crate::support::process::Process;
use crate::support::redis::Redis;
use crate::support::topic::{Follow, Line, committed};
use crate::support::wait::{eventually, heavy, runtime, until};
use crate::support::worker::Deployment;

const USERS: usize = 4_000;
/// How often each of them visits before the definition comes; the campaign asks for exactly one visit more.
const BEFORE: usize = 2;
const VISITS: usize = 3;
/// Users who do it once more just after the definition, and are asked about afterwards.
const ASKED: usize = 50;
/// Users whom only the backfill knows of, when it is killed.
const IN_ITS_MIDDLE: usize = 1_000;
const WITHIN: Duration = Duration::from_secs(60);
const MINUTE: Duration = Duration::from_secs(60);

struct World {
    deployment: Deployment,
    append: Box<dyn Append>,
    written: usize,
}

impl World {
    fn write(&mut self, event: &str, users: impl Iterator<Item = String>, at: Timestamp) {
        let topic: std::sync::Arc<str> = self.deployment.events.as_str().into();
        let line = |user: String| {
            let value = json!({"type": "track", "userId": user, "event": event, "timestamp": at}).to_string();
            ports::Line { topic: topic.clone(), key: Some(user.into_bytes()), value: value.into_bytes() }
        };
        let lines: Vec<ports::Line> = users.map(line).collect();
        self.written += lines.len();
        wait(self.append.append(&lines)).expect("events written");
    }

    fn is_read(&self) -> bool {
        committed(shared(), &self.deployment.prefix, &self.deployment.events) >= self.written as i64
    }
}

fn seen_users() -> impl Iterator<Item = String> {
    (0..USERS).map(|number| format!("seen-{number}"))
}

#[test]
fn a_past_is_read_again_and_counts_once() {
    let _heavy = heavy();
    let redis = Redis::start();
    let endpoint = runtime().block_on(Endpoint::plain());
    let deployment = Deployment::new(shared(), &redis.url());
    deployment.init();
    deployment.define("kind: workspace\n");
    let mut world = World { deployment, append: Box::new(append_on(shared())), written: 0 };
    let began = SystemClock::new().now();
    let worker = world.deployment.start();
    (0..BEFORE).for_each(|_| world.write("visited", seen_users(), began.before(10 * MINUTE)));
    until("the worker has read what nobody asked for", WITHIN, || world.is_read());
    worker.stop();

    world.deployment.define(&campaigns(&endpoint));
    let worker = world.deployment.start();
    // Just after the definition: workers note these, though they lie before `tracked_since`; the backfill meets them too.
    world.write("visited", seen_users().take(ASKED), began.before(9 * MINUTE));
    world.write("opened", ["early".to_owned()].into_iter(), SystemClock::new().now());
    let mut outcomes = Follow::new(shared(), &world.deployment.topic("outcomes"));
    eventually("what nobody can know is said", WITHIN, || {
        let is_incomplete = |line: &Line| line.value["campaign"] == "absent" && line.value["reason"] == "history_incomplete";
        outcomes.look().iter().any(is_incomplete).then_some(())
    });
    assert_eq!(endpoint.count(), 0);
    until("the worker has noted what came just after", WITHIN, || world.is_read());

    let from = began.before(30 * MINUTE).to_string();
    let backfill = ["backfill", "--from", &from];
    let stored = || redis.command::<usize>(&["DBSIZE"]);
    let mut killed = Process::start(world.deployment.command(&backfill), b"");
    let before = stored();
    until("the backfill is in its middle", WITHIN, || stored() >= before + IN_ITS_MIDDLE || killed.status().is_some());
    assert!(killed.status().is_none(), "the backfill ended before it could be killed");
    killed.kill();
    let other = began.before(20 * MINUTE).to_string();
    world.deployment.run(&["backfill", "counted", "--from", &other]).expect(1, &["not finished", &format!("backfill --from {from}")]);
    world.deployment.run(&["backfill", "nobody", "--from", &from]).expect(1, &["there is no campaign or cohort `nobody`"]);
    let visits = USERS * BEFORE + ASKED;
    world.deployment.run(&backfill).expect(0, &[&format!("{visits} of interest, 0 unreadable; {USERS} users"), &from]);
    world.deployment.run(&backfill).expect(0, &["nothing to do"]);

    let mut tries = 0;
    eventually("the worker has followed", WITHIN, || {
        tries += 1;
        world.write("opened", [format!("new-{tries}")].into_iter(), SystemClock::new().now());
        users_at(&endpoint, "/absent").first().cloned()
    });
    let asked: BTreeSet<String> = seen_users().take(ASKED).collect();
    world.write("opened", asked.iter().cloned(), SystemClock::new().now());
    until("everybody who visited so often was counted", WITHIN, || users_at(&endpoint, "/counted").len() >= ASKED);
    assert_eq!(users_at(&endpoint, "/counted"), asked);
    assert_eq!(users_at(&endpoint, "/absent").intersection(&asked).count(), 0, "they did visit");
    worker.stop();
}

fn campaigns(endpoint: &Endpoint) -> String {
    let campaign = |key: &str, audience: &str| {
        format!(
            "kind: campaign
key: {key}
status: running
trigger: {{action: {{event: opened}}}}
audience: {{{audience}}}
webhook: {{url: \"{}\", body: {{user: \"{{{{ user.id }}}}\"}}}}
",
            endpoint.url(&format!("/{key}"))
        )
    };
    let counted = campaign("counted", &format!("did: {{event: visited, count: {{eq: {VISITS}}}, in_last: 25m}}"));
    let absent = campaign("absent", "did_not: {event: visited, in_last: 25m}");
    format!("{counted}---\n{absent}")
}

fn users_at(endpoint: &Endpoint, path: &str) -> BTreeSet<String> {
    let seen = endpoint.seen();
    let bodies = seen.iter().filter(|seen| seen.path == path).map(|seen| serde_json::from_slice::<serde_json::Value>(&seen.body));
    bodies.map(|body| text(&body.expect("a JSON body")["user"])).collect()
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_file_is_read_into_the_embedded_store_once_no_worker_holds_it() {
    let mut deployment = Deployment::new("embedded", "embedded");
    let path = deployment.path().join("campanile.redb").display().to_string();
    deployment.set("EMBEDDED__PATH", &path);
    deployment.define("kind: campaign\nkey: a\nstatus: running\ntrigger: {action: {event: opened}}\naudience: {did_not: {event: visited, in_last: 1d}}\nwebhook: {url: \"http://127.0.0.1:9/\"}\n");
    let now = SystemClock::new().now();
    let (first, later) = (now.before(20 * MINUTE), now.before(10 * MINUTE));
    let visited = |user: &str, at: Timestamp| json!({"type": "track", "userId": user, "event": "visited", "timestamp": at}).to_string();
    let gone = json!({"type": "delete", "userId": "gone", "timestamp": later}).to_string();
    let undated = json!({"type": "track", "userId": "u1", "event": "visited"}).to_string();
    let lines = [visited("u1", later), visited("gone", first), gone, visited("gone", now), undated, visited("u2", first)];
    deployment.write("past.ndjson", &lines.join("\n"));
    let backfill = ["backfill", "a", "--from", "past.ndjson"];
    let worker = deployment.start();
    deployment.run(&backfill).expect(1, &["another process"]);
    deployment.run(&["backfill", "--from", &first.to_string()]).expect(1, &["kafka.brokers is `embedded`", "a file"]);
    worker.stop();
    // Of who is gone only what came after: the rest stays forgotten.
    deployment
        .run(&backfill)
        .expect(0, &["6 events read, 3 of interest, 1 unreadable; 3 users", &format!("is now {first}"), "past.ndjson:5"]);
    deployment.run(&[&backfill[..], &["--format", "json"]].concat()).expect(0, &["\"tracked_since\":null"]);
    deployment.run(&["backfill", "--from", "nowhere.ndjson"]).expect(2, &["or a file"]);
}

//! Users who share requests, on real servers, by workers that are killed: everybody is reached, nobody by two requests of different ids,
//! and caps hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use campanile::adapter::clock::SystemClock;
use campanile::adapter::kafka::KafkaAppend;
use campanile::worker::ports::{Append, Clock, Line};
use serde_json::{Value, json};

use crate::support::endpoint::{Endpoint, Seen};
use crate::support::kafka::{append_on, shared, wait};
use crate::support::redis::Redis;
use crate::support::topic::Follow;
use crate::support::wait::{heavy, runtime, until};
use crate::support::worker::{Deployment, Worker};

const MAX: usize = 20;
const KILLS: usize = 4;
const USERS: usize = 400;
/// Each user's events, of which the cap lets through two.
const EVENTS: usize = 3;
const CAP: usize = 2;

/// A killed worker's partitions stand still for its session, its users in hand are hidden for 30 s, and who was not answered asks again
/// after a lease.
const SETTLED_WITHIN: Duration = Duration::from_secs(150);

fn definitions(endpoint: &Endpoint) -> String {
    let campaign = |key: &str, path: &str, cap: bool| {
        format!(
            "---\nkind: campaign\nkey: {key}\nstatus: running\ntrigger: {{action: {{event: {key}}}}}\nfatigue: {{resend: always, frequency_cap: {cap}}}
webhook: {{url: \"{}\", body: {{profiles: {{fields: [Identity, Event_properties]}}}}}}\n",
            endpoint.url(path)
        )
    };
    format!(
        "kind: workspace\nfrequency_caps: [{{limit: {CAP}, per: 1h}}]\n---\nkind: destination\nkey: d\nmatch: {}\nbatch: {{max: {MAX}, linger: 300ms}}\n",
        endpoint.address()
    ) + &campaign("capped", "/fail-first/1/503", true)
        + &campaign("refused", "/status/404", false)
}

fn track(user: &str, event: &str, n: usize, topic: &Arc<str>) -> Line {
    let at = SystemClock::new().now().to_string();
    let event = json!({
        "type": "track", "messageId": format!("{user}-{event}-{n}"), "userId": user, "event": event, "timestamp": at,
        "properties": {"n": n},
    });
    Line { topic: topic.clone(), key: Some(user.as_bytes().to_vec()), value: event.to_string().into_bytes() }
}

fn write(append: &KafkaAppend, users: std::ops::Range<usize>, topic: &Arc<str>) {
    let mut lines = Vec::new();
    for user in users.map(|user| format!("u{user}")) {
        lines.extend((0..EVENTS).map(|n| track(&user, "capped", n, topic)));
        lines.push(track(&user, "refused", 0, topic));
    }
    wait(append.append(&lines)).expect("the broker takes it");
}

/// User and event of each profile of a request.
fn members(seen: &Seen) -> Vec<(String, i64)> {
    let body: Value = serde_json::from_slice(&seen.body).expect("JSON");
    let profiles = body["profiles"].as_array().expect("a list of profiles");
    let member =
        |one: &Value| (one["Identity"].as_str().expect("a user").to_owned(), one["Event_properties"]["n"].as_i64().expect("a number"));
    profiles.iter().map(member).collect()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

#[test]
fn killed_workers_share_requests_and_lose_nobody() {
    let _heavy = heavy();
    let redis = Redis::start();
    let endpoint = runtime().block_on(Endpoint::plain());
    let deployment = Deployment::new(shared(), &redis.url());
    deployment.define(&definitions(&endpoint));
    deployment.init();
    let topic: Arc<str> = deployment.events.as_str().into();
    let append = append_on(shared());
    let mut workers = vec![deployment.start(), deployment.start()];
    let chunk = USERS / (KILLS + 1);
    for kill in 0..=KILLS {
        let before = endpoint.count();
        write(&append, kill * chunk..(kill + 1) * chunk, &topic);
        if kill < KILLS {
            until("some requests are made", SETTLED_WITHIN, || endpoint.count() > before + 3);
            workers.remove(0).kill();
            workers.push(deployment.start());
        }
    }
    let mut outcomes = Follow::new(shared(), &deployment.topic("outcomes"));
    let expected = USERS * (CAP + 1);
    until("all deliveries are over", SETTLED_WITHIN, || {
        let last = outcomes.look().iter().filter(|line| line.value["type"] == "attempt" && line.value["result"] != "retrying");
        last.map(|line| text(&line.value, "delivery_id")).collect::<BTreeSet<_>>().len() >= expected
    });
    // Its letter may still be on its way when the line of a failure is there.
    let mut letters = Follow::new(shared(), &deployment.topic("dead"));
    until("all failures are dead-lettered", SETTLED_WITHIN, || {
        letters.look().iter().map(|line| text(&line.value, "delivery_id")).collect::<BTreeSet<_>>().len() >= USERS
    });
    let (seen, lines, dead) = (endpoint.seen(), outcomes.all(), letters.all());
    check(&seen, &lines.iter().map(|line| &line.value).collect::<Vec<_>>(), dead.iter().map(|line| &line.value));
    sent_again_alone(&workers[0], &endpoint, dead.iter().map(|line| &line.value));
    workers.into_iter().for_each(|worker| worker.stop());
}

/// Each of those who failed in a batch is sent again once, in a request of their own with their own id, as the next attempt.
fn sent_again_alone<'a>(worker: &Worker, endpoint: &Endpoint, dead: impl Iterator<Item = &'a Value>) {
    let before = endpoint.count();
    let mut expect: BTreeMap<&str, (&str, u64)> = BTreeMap::new();
    for letter in dead {
        let attempts = letter["attempts"].as_u64().expect("a number");
        expect.insert(text(letter, "delivery_id"), (text(letter, "user_id"), attempts));
    }
    let redrive = || worker.post("/v1/dead/redrive", &json!({"campaign": "refused"}).to_string()).json();
    // A worker that died may have left a letter twice; it counts once.
    assert_eq!(redrive()["redriven"].as_u64(), Some(USERS as u64));
    // What a killed worker had in hand may come again even now: under the id of its batch.
    let alone = |seen: &Seen| seen.webhook_id().is_some_and(|id| expect.contains_key(id));
    let again = || endpoint.seen()[before..].iter().filter(|seen| alone(seen)).cloned().collect::<Vec<_>>();
    until("all were sent again", SETTLED_WITHIN, || again().len() >= USERS);
    let again = again();
    assert_eq!(again.len(), USERS);
    for request in &again {
        let (user, attempts) = expect.remove(request.webhook_id().expect("a webhook-id")).expect("not sent again yet");
        assert_eq!(members(request), [(user.to_owned(), 0)]);
        assert_eq!(u64::from(request.attempt()), attempts + 1, "{user}");
    }
}

fn check<'a>(seen: &[Seen], lines: &[&Value], dead: impl Iterator<Item = &'a Value>) {
    // Each id has one body, and each user and event one id.
    let mut bodies: BTreeMap<&str, &Seen> = BTreeMap::new();
    let mut ids: BTreeMap<(&str, String, i64), &str> = BTreeMap::new();
    for request in seen {
        let id = request.webhook_id().expect("a webhook-id");
        assert_eq!(bodies.entry(id).or_insert(request).body, request.body, "{id}");
        let members = members(request);
        assert!((1..=MAX).contains(&members.len()), "{members:?}");
        for (user, event) in members {
            let known = *ids.entry((&request.path, user.clone(), event)).or_insert(id);
            assert_eq!(known, id, "{user} {event} came under two ids");
        }
    }
    let capped = ids.keys().filter(|(path, ..)| path.contains("fail-first"));
    let mut reached: BTreeMap<&str, usize> = BTreeMap::new();
    capped.for_each(|(_, user, _)| *reached.entry(user).or_default() += 1);
    assert_eq!((reached.len(), reached.values().all(|count| *count == CAP)), (USERS, true), "{reached:?}");
    assert_eq!(ids.len(), USERS * (CAP + 1));
    // Who shared a request has its lines under the id of their own delivery, and the end that the request had.
    let sent: BTreeSet<&str> = lines.iter().filter(|line| line["outcome"] == "sent").map(|line| text(line, "delivery_id")).collect();
    assert_eq!(sent.len(), USERS * (CAP + 1));
    let mut of_requests: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["type"] == "attempt") {
        assert!(sent.contains(text(line, "delivery_id")), "{line}");
        assert_ne!(text(line, "request_id"), text(line, "delivery_id"), "{line}");
        of_requests.entry(text(line, "request_id")).or_default().insert(text(line, "user_id"));
        let last = if text(line, "campaign") == "refused" { "failed" } else { "delivered" };
        assert!([last, "retrying"].contains(&text(line, "result")), "{line}");
    }
    for (id, request) in &bodies {
        let users: BTreeSet<String> = members(request).into_iter().map(|(user, _)| user).collect();
        assert_eq!(of_requests[id].iter().map(ToString::to_string).collect::<BTreeSet<_>>(), users, "{id}");
    }
    // Each that failed is dead-lettered with a request of its own.
    let mut letters: BTreeSet<String> = BTreeSet::new();
    for letter in dead {
        let body: Value = serde_json::from_str(text(&letter["request"], "body")).expect("JSON");
        let profiles = body["profiles"].as_array().expect("a list of profiles");
        assert_eq!((profiles.len(), &profiles[0]["Identity"]), (1, &letter["user_id"]), "{letter}");
        assert!(sent.contains(text(letter, "delivery_id")), "{letter}");
        letters.insert(text(letter, "user_id").to_owned());
    }
    assert_eq!(letters.len(), USERS);
    println!("{} users reached by {} requests of {} batches", ids.len(), seen.len(), bodies.len());
}

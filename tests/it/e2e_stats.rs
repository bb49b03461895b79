//! Statistics of workers that are killed in the middle of a load say what a fresh reading of the outcomes topic says; and the same on the
//! embedded log and store. Whom a campaign reached, and the tail, over all workers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use campanile::adapter::clock::SystemClock;
use campanile::worker::ports::Clock;
use serde_json::Value;

use crate::support::kafka::{append_on, shared};
use crate::support::load::{Endpoints, Kills, Load, Mix};
use crate::support::redis::Redis;
use crate::support::topic::Follow;
use crate::support::wait::{eventually, heavy, runtime, until};
use crate::support::witness::Settling;
use crate::support::worker::{Deployment, Worker};

const KILLS: Kills = Kills { times: 3, chunk: 200, on_their_way: 300 };
const USERS: usize = 500;
const WORKS_WITHIN: Duration = Duration::from_secs(60);
const SETTLED_WITHIN: Duration = Duration::from_secs(120);
/// A killed worker's partitions stand still for its session; then they are counted within a flush.
const COUNTED_WITHIN: Duration = Duration::from_secs(60);

/// `sent`, `delivered`, `failed` and the causes of each campaign, and what was held back, over all.
#[derive(Debug, Default, PartialEq)]
struct Figures {
    campaigns: BTreeMap<String, [u64; 3]>,
    reasons: BTreeMap<String, u64>,
    causes: BTreeMap<String, u64>,
}

/// What whoever reads the topic and knows the unique keys of its lines (contract, section 6) counts.
fn read_afresh(deployment: &Deployment) -> Figures {
    let mut figures = Figures::default();
    let mut known: BTreeSet<(String, &str)> = BTreeSet::new();
    for line in Follow::new(deployment.brokers(), &deployment.topic("outcomes")).all() {
        let text = |name: &str| line.value[name].as_str().unwrap_or_default().to_owned();
        let of = figures.campaigns.entry(text("campaign")).or_default();
        let mut first = |place: usize, what| {
            let first = known.insert((text("delivery_id"), what));
            of[place] += u64::from(first);
            first
        };
        match (text("outcome").as_str(), text("result").as_str()) {
            ("sent", _) => drop(first(0, "sent")),
            ("suppressed", _) => *figures.reasons.entry(text("reason")).or_default() += 1,
            (_, "delivered") => drop(first(1, "delivered")),
            (_, "failed") if first(2, "failed") => *figures.causes.entry(text("cause")).or_default() += 1,
            _ => {}
        }
    }
    figures
}

/// What the worker says; campaigns of which nothing is written are left out, as are decisions that are not written.
fn told(stats: &Value) -> Figures {
    let count = |value: &Value| value.as_u64().unwrap_or_default();
    let counts = |of: &Value| of.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), count(value))).collect();
    let campaigns = stats["campaigns"].as_object().into_iter().flatten();
    let mut reasons: BTreeMap<String, u64> = counts(&stats["reasons"]);
    reasons.remove("not_in_audience");
    Figures {
        campaigns: campaigns.map(|(key, totals)| (key.clone(), ["sent", "delivered", "failed"].map(|name| count(&totals[name])))).collect(),
        reasons,
        causes: counts(&stats["failed_by"]),
    }
}

fn stats(worker: &Worker) -> Value {
    worker.get("/v1/stats").json()
}

/// Waits until the statistics say what the topic says.
fn counted(worker: &Worker, expect: &Figures) {
    let mut last = Figures::default();
    let counted = crate::support::wait::happens(COUNTED_WITHIN, || {
        last = told(&stats(worker));
        // A campaign that nothing happened to is told, too.
        last.campaigns.retain(|key, counts| *counts != [0; 3] || expect.campaigns.contains_key(key));
        last == *expect
    });
    assert!(counted, "told {last:#?}\nread {expect:#?}");
}

#[test]
fn killed_workers_count_what_the_topic_says() {
    let _heavy = heavy();
    let redis = Redis::start();
    let endpoints = Endpoints::start();
    let deployment = endpoints.deploy(shared(), &redis.url());
    let append = append_on(shared());
    let mut load = Load::new(&deployment.events, USERS, Mix::Whole);
    let workers = endpoints.under_kills(&deployment, &mut load, &append, KILLS);
    let mut outcomes = Settling::new(shared(), &deployment.topic("outcomes"));
    outcomes.wait_for(&load.by_campaign(), SETTLED_WITHIN);
    let expect = read_afresh(&deployment);
    assert!(expect.campaigns.values().all(|[sent, ..]| *sent > 0) && expect.causes.contains_key("http 404"), "{expect:?}");
    workers.iter().for_each(|worker| counted(worker, &expect));
    // Nothing of what is omitted stands in the topic: it is counted where it is decided.
    assert!(stats(&workers[0])["reasons"]["not_in_audience"].as_u64() > Some(0));
    exposed_are_listed(&workers[1], &deployment);
    tail_shows_all_workers(&workers[0], &deployment, &append);
    let table = deployment.run(&["stats", "welcome", "--server", &format!("http://{}", workers[0].listen)]);
    table.expect(0, &["matched", "all", "sent"]);
    workers.into_iter().for_each(Worker::stop);
    // What was written at the end was counted, or is counted by who comes next: once.
    let after = read_afresh(&deployment);
    let worker = deployment.start();
    counted(&worker, &after);
    worker.stop();
}

/// By parts, all of them.
fn exposed_are_listed(worker: &Worker, deployment: &Deployment) {
    let sent = |line: &crate::support::topic::Line| line.value["outcome"] == "sent" && line.value["campaign"] == "welcome";
    let lines = Follow::new(deployment.brokers(), &deployment.topic("outcomes")).all();
    let expect: BTreeSet<String> = lines.iter().filter(|line| sent(line)).map(|line| line.key.clone()).collect();
    let (mut listed, mut next) = (BTreeSet::new(), String::new());
    loop {
        let page = worker.get(&format!("/v1/campaigns/welcome/users?outcome=sent&limit=10{next}")).json();
        for user in page["users"].as_array().expect("users") {
            assert_eq!((&user["times"], &user["arm"]), (&Value::from(1), &Value::from("treatment")), "{user}");
            listed.insert(user["user_id"].as_str().expect("an id").to_owned());
        }
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(listed, expect);
}

/// Whoever listens to one worker hears what the others decide, too.
fn tail_shows_all_workers(worker: &Worker, deployment: &Deployment, append: &campanile::adapter::kafka::KafkaAppend) {
    let mut response = runtime().block_on(async {
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
        client.get(format!("http://{}/v1/tail?campaign=digest", worker.listen)).send().await.expect("an answer")
    });
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut heard = String::new();
    // Reading begins when the group has been joined: what is written before is not heard.
    let mut number = 0;
    let partitions = eventually("the tail tells of every partition", WORKS_WITHIN, || {
        number += 1;
        for user in 0..8 {
            let event = serde_json::json!({"type": "track", "messageId": format!("t{number}-{user}"), "userId": format!("tail-{number}-{user}"),
                "event": "browsed", "timestamp": SystemClock::new().now(), "properties": {}});
            let key = format!("tail-{number}-{user}").into_bytes();
            let line = campanile::worker::ports::Line {
                topic: deployment.events.as_str().into(),
                key: Some(key),
                value: event.to_string().into_bytes(),
            };
            crate::support::kafka::wait(campanile::worker::ports::Append::append(append, &[line])).expect("written");
        }
        let chunk = runtime().block_on(async { tokio::time::timeout(Duration::from_millis(200), response.chunk()).await });
        if let Ok(Ok(Some(bytes))) = chunk {
            heard.push_str(&String::from_utf8_lossy(&bytes));
        }
        let lines: Vec<Value> =
            heard.lines().filter_map(|line| line.strip_prefix("data: ")).filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert!(lines.iter().all(|line| line["campaign"] == "digest"), "{heard}");
        let users: BTreeSet<String> = lines.iter().filter_map(|line| line["user_id"].as_str().map(str::to_owned)).collect();
        let parts: BTreeSet<i32> = Follow::new(deployment.brokers(), &deployment.topic("outcomes"))
            .all()
            .iter()
            .filter(|line| users.contains(&line.key))
            .map(|line| line.partition)
            .collect();
        (parts.len() > 3).then_some(parts)
    });
    assert!(!partitions.is_empty());
}

#[test]
fn the_embedded_log_is_counted_over_restarts() {
    let endpoints = Endpoints::start();
    let mut deployment = Deployment::new("embedded", "embedded");
    deployment.set("EMBEDDED__PATH", deployment.path().join("state.redb").to_str().expect("a path in UTF-8"));
    deployment.define(&endpoints.definitions());
    let mut worker = deployment.start();
    for round in 1..=3_u64 {
        for user in 0..20 {
            let event = format!(r#"{{"userId":"u{round}-{user}","event":"gone","properties":{{}}}}"#);
            assert_eq!(worker.post("/v1/track", &event).status, 202);
        }
        let figures = || told(&stats(&worker)).campaigns["gone"];
        // Each was sent, and failed with 404.
        until("all is counted", COUNTED_WITHIN, || figures() == [20 * round, 0, 20 * round]);
        match round {
            1 => worker.kill(),
            _ => worker.stop(),
        }
        worker = deployment.start();
        assert_eq!(told(&stats(&worker)).campaigns["gone"], [20 * round, 0, 20 * round], "after a restart");
    }
    let destinations = worker.get("/v1/destinations").json();
    let names: Vec<&str> = destinations["destinations"].as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect();
    assert!(names.contains(&"mute"), "{destinations}");
    worker.stop();
}

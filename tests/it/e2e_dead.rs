//! Dead letters: looked at and sent again by command and over HTTP, on the embedded log and on Kafka; once, however often it is asked
//! for.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use campanile::engine::time::Timestamp;
use campanile::worker::ports::{Append, Line};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::endpoint::{Endpoint, Seen};
use crate::support::kafka::{append_on, shared, wait};
use crate::support::redis::Redis;
use crate::support::wait::{eventually, heavy, runtime, until};
use crate::support::worker::{Deployment, Worker};

/// Users that each campaign reaches.
const USERS: usize = 20;
const WITHIN: Duration = Duration::from_secs(60);

/// An event of nobody.
const UNREADABLE: &str = r#"{"type":"track","event":"once"}"#;

#[test]
fn dead_letters_are_sent_again_once_on_the_embedded_log() {
    let deployment = Deployment::new("embedded", "embedded");
    sent_again_once(&deployment, 1).stop();
}

#[test]
fn dead_letters_are_sent_again_once_on_kafka_with_two_workers() {
    let redis = Redis::start();
    let deployment = Deployment::new(shared(), &redis.url());
    deployment.init();
    let line = Line { topic: deployment.events.as_str().into(), key: None, value: UNREADABLE.as_bytes().to_vec() };
    wait(append_on(shared()).append(&[line])).expect("an acknowledgement");
    let worker = sent_again_once(&deployment, 2);
    // What cannot be sent again says why, and can be corrected.
    // Whoever took the partition over may have read it again.
    let unreadable = || letters(&worker, "kind=event&reason=no_user").len();
    until("what cannot be read is listed", WITHIN, || unreadable() > 0);
    let all = worker.post("/v1/dead/redrive", "{}").json();
    assert_eq!(all["skipped"]["an event: correct it and ingest it"], unreadable(), "{all}");
    let server = format!("--server=http://{}", worker.listen);
    let listed = deployment.run(&["dead", "list", &server, "--kind", "event", "--format", "value"]).expect(0, &[]);
    assert!(!listed.stdout.is_empty() && listed.stdout.lines().all(|line| line == UNREADABLE), "{}", listed.stdout);
    worker.stop();
}

/// Answers one of the workers.
fn sent_again_once(deployment: &Deployment, workers: usize) -> Worker {
    let _heavy = heavy();
    let endpoint = runtime().block_on(Endpoint::plain());
    let address = endpoint.address().to_string();
    let campaign = |key: &str, path: &str| {
        let webhook = json!({"url": endpoint.url(path), "body": {"user": "{{ user.id }}"}});
        json!({"kind": "campaign", "key": key, "status": "running", "trigger": {"action": {"event": key}}, "webhook": webhook}).to_string()
    };
    // One fails for good and then answers; one always fails. Caps let each through, and no more.
    deployment.define(
        &[
            campaign("once", "/fail-first/1/410"),
            campaign("always", "/status/400"),
            format!("{{kind: destination, key: shop, match: '{address}'}}"),
            "{kind: workspace, frequency_caps: [{limit: 2, per: 1d}]}".into(),
        ]
        .join("\n---\n"),
    );
    let mut workers: Vec<Worker> = (0..workers).map(|_| deployment.start()).collect();
    let events = ["once", "always"].iter().flat_map(|name| (0..USERS).map(move |user| (name, format!("u{user}"))));
    let batch: Vec<Value> = events.map(|(name, user)| json!({"type": "track", "event": name, "userId": user})).collect();
    assert_eq!(workers[0].post("/v1/batch", &json!({ "batch": batch }).to_string()).status, 202);
    until("all have failed for good", WITHIN, || letters(&workers[0], "kind=delivery").len() == 2 * USERS);
    assert_eq!(endpoint.count(), 2 * USERS);

    // Looked at: page by page, by what is meant.
    let listed = letters(&workers[0], "campaign=once&limit=7");
    assert_eq!(listed.len(), USERS);
    for letter in &listed {
        assert_eq!((&letter["reason"], &letter["destination"], &letter["attempts"]), (&json!("http 410"), &json!("shop"), &json!(1)));
        assert!(letter["request"]["body"].as_str().is_some_and(|body| body.contains("user")), "{letter}");
    }
    // Two workers' clocks agree to some milliseconds.
    let times: Vec<Timestamp> = listed.iter().filter_map(|letter| Timestamp::parse(letter["at"].as_str()?)).collect();
    let newest_first = |page: &[Timestamp]| page.is_sorted_by(|a, b| a.after(Duration::from_millis(200)) >= *b);
    assert!(times.chunks(7).all(newest_first), "{times:?}");
    assert!(letters(&workers[0], "reason=expired").is_empty() && letters(&workers[0], "destination=other").is_empty());
    assert!(letters(&workers[0], "since=2999-01-01T00:00:00Z").is_empty());
    let server = format!("--server=http://{}", workers[0].listen);
    deployment.run(&["dead", "list", &server, "--campaign", "once", "--reason", "http 410"]).expect(0, &["u7 at shop after 1 attempts"]);

    // Sent again: the same bytes and ids, the next attempt, once each; twice is harmless.
    let again = || deployment.run(&["dead", "redrive", &server, "--campaign", "once", "--format", "json"]);
    assert_eq!(redriven(&again().expect(0, &[]).stdout), (USERS as u64, json!({})));
    until("all have arrived", WITHIN, || of(&endpoint, "/fail-first").len() == 2 * USERS);
    until("all are settled", WITHIN, || redriven(&again().expect(0, &[]).stdout) == (0, json!({"already sent again or delivered": USERS})));
    attempted(&of(&endpoint, "/fail-first"), &[1, 2]);

    // Several that do it at once: whoever comes late finds the new letters. Each attempt is made once.
    let wish = json!({"campaign": "always"}).to_string();
    thread::scope(|scope| {
        for worker in workers.iter().cycle().take(3) {
            scope.spawn(|| assert_eq!(worker.post("/v1/dead/redrive", &wish).status, 200));
        }
    });
    let written = || letters(&workers[0], "campaign=always").len();
    until("all have failed again", WITHIN, || written() >= 2 * USERS && written() == of(&endpoint, "/status").len());
    // Then by the new letters once more, at their pace.
    let (before, paced) = (of(&endpoint, "/status").len(), json!({"campaign": "always", "per_second": 10}).to_string());
    let answer = eventually("only the new letters stand", WITHIN, || {
        let answer = workers[0].post("/v1/dead/redrive", &paced).json();
        (answer["redriven"] == USERS).then_some(answer)
    });
    assert_eq!(answer["skipped"], json!({"already sent again or delivered": before - USERS}));
    until("all have arrived", WITHIN, || of(&endpoint, "/status").len() >= before + USERS);
    let all = of(&endpoint, "/status");
    let mut last: BTreeMap<&str, (u32, Instant)> = BTreeMap::new();
    for seen in &all {
        let attempts = last.entry(seen.webhook_id().expect("an id")).or_insert((0, seen.at));
        assert_eq!(seen.attempt(), attempts.0 + 1, "each attempt once");
        *attempts = (seen.attempt(), seen.at);
    }
    let span = last.values().map(|(_, at)| *at).max().zip(last.values().map(|(_, at)| *at).min()).map(|(last, first)| last - first);
    assert!(span >= Some(Duration::from_millis(1_700)), "20 at 10 a second took {span:?}");

    let refused = workers[0].post("/v1/dead/redrive", r#"{"per_second": 0}"#);
    assert!(refused.status == 422 && refused.body.contains("`per_second` is 0"), "{refused:?}");
    assert_eq!(workers[0].get("/v1/dead?cursor=nonsense").status, 422);
    let answering = workers.remove(0);
    workers.into_iter().for_each(Worker::stop);
    answering
}

/// All letters of this query, page after page.
fn letters(worker: &Worker, query: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = worker.get(&format!("/v1/dead?{query}{cursor}"));
        assert_eq!(page.status, 200, "{page:?}");
        let page = page.json();
        all.extend(page["records"].as_array().expect("records").iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => {
                let places: BTreeSet<&str> = all.iter().filter_map(|letter| letter["position"].as_str()).collect();
                assert_eq!(places.len(), all.len(), "a letter came twice");
                return all;
            }
        }
    }
}

fn redriven(printed: &str) -> (u64, Value) {
    let answer: Value = serde_json::from_str(printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    (answer["redriven"].as_u64().expect("a count"), answer["skipped"].clone())
}

fn of(endpoint: &Endpoint, path: &str) -> Vec<Seen> {
    endpoint.seen().into_iter().filter(|seen| seen.path.starts_with(path)).collect()
}

/// Every id came with these attempts, each once, and always with the same body.
fn attempted(seen: &[Seen], expect: &[u32]) {
    let mut by_id: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for seen in seen {
        by_id.entry(seen.webhook_id().expect("an id")).or_default().push(seen);
    }
    assert_eq!(by_id.len(), USERS);
    for (id, seen) in by_id {
        let attempts: Vec<u32> = seen.iter().map(|seen| seen.attempt()).collect();
        assert_eq!(attempts, expect, "{id}");
        assert!(seen.iter().all(|other| other.body == seen[0].body), "{id}: the same bytes each time");
    }
}

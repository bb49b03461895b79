//! The commands as their users meet them: events in by every way, what cannot be read, probes, leaving and coming back, the demo.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use campanile::adapter::clock::SystemClock;
use campanile::worker::ports::{Append, Clock, Line};
use serde_json::{Value, json};

use crate::support::endpoint::{Endpoint, Seen};
use crate::support::kafka::{append_on, shared, wait};
use crate::support::process::{Process, campanile, run, run_with};
use crate::support::redis::Redis;
use crate::support::topic::Follow;
use crate::support::wait::{eventually, runtime, until};
use crate::support::witness::Settling;
use crate::support::worker::{Deployment, Worker, free_address, post};

const ARRIVES_WITHIN: Duration = Duration::from_secs(40);

/// A campaign on `launched`, one for API sends, and a cap.
fn definitions(endpoint: &Endpoint) -> String {
    let body = "body: {campaign: \"{{ campaign.key }}\", user: \"{{ user.id }}\", event: \"{{ trigger.message_id }}\", name: \"{{ user.name | default: 'you' }}\", points: \"{{ event.points }}\"}";
    format!(
        "kind: campaign\nkey: hello\nstatus: running\ntrigger: {{action: {{event: launched}}}}\nfatigue: {{resend: always}}\nwebhook:\n  url: \"{}\"\n  {body}
---
kind: campaign\nkey: points\nstatus: running\ntrigger: {{api: {{}}}}\nfatigue: {{resend: always}}\nwebhook:\n  url: \"{}\"\n  {body}
---
kind: campaign\nkey: asleep\ntrigger: {{api: {{}}}}\nwebhook:\n  url: \"{}\"
---
kind: campaign\nkey: flaky\nstatus: running\ntrigger: {{action: {{event: closed}}}}\nfatigue: {{resend: always}}\nwebhook:\n  url: \"{}\"\n  {body}
",
        endpoint.url("/hello"),
        endpoint.url("/points"),
        endpoint.url("/asleep"),
        endpoint.url("/first/1/status/503"),
    )
}

struct Stage {
    endpoint: Endpoint,
    deployment: Deployment,
    _redis: Option<Redis>,
}

impl Stage {
    fn new() -> Stage {
        let redis = Redis::start();
        let mut stage = Stage::on(shared(), &redis.url());
        stage._redis = Some(redis);
        stage.deployment.init();
        stage
    }

    fn on(brokers: &str, redis: &str) -> Stage {
        let endpoint = runtime().block_on(Endpoint::plain());
        let deployment = Deployment::new(brokers, redis);
        deployment.define(&definitions(&endpoint));
        Stage { endpoint, deployment, _redis: None }
    }

    /// Waits until so many requests have arrived, and answers them by user and event.
    fn arrived(&self, count: usize) -> BTreeMap<(String, String), Value> {
        let seen = eventually(&format!("{count} requests have arrived"), ARRIVES_WITHIN, || {
            let seen = self.endpoint.seen();
            (seen.len() >= count).then_some(seen)
        });
        by_user_and_event(&seen)
    }

    /// Writes raw records to the first partition that their common key leads to.
    fn write(&self, values: &[&[u8]]) {
        let topic = self.deployment.events.as_str();
        let lines = values.iter().map(|value| Line { topic: topic.into(), key: Some(b"one".to_vec()), value: value.to_vec() });
        wait(append_on(shared()).append(&lines.collect::<Vec<_>>())).expect("a broker that answers");
    }
}

fn by_user_and_event(seen: &[Seen]) -> BTreeMap<(String, String), Value> {
    let bodies = seen.iter().map(|seen| serde_json::from_slice::<Value>(&seen.body).unwrap_or_else(|error| panic!("{error}: {seen:?}")));
    let text = |body: &Value, field: &str| body[field].as_str().unwrap_or_else(|| panic!("no {field} in {body}")).to_owned();
    bodies.map(|body| ((text(&body, "user"), text(&body, "event")), body)).collect()
}

fn key(user: &str, event: &str) -> (String, String) {
    (user.to_owned(), event.to_owned())
}

fn launched(user: &str, id: &str) -> String {
    json!({"type": "track", "messageId": id, "userId": user, "event": "launched"}).to_string()
}

#[test]
fn ingest_counts_what_it_sent_and_names_what_it_refused() {
    let stage = Stage::new();
    let worker = stage.deployment.start();
    let good = format!("{}\n\n{}\n", launched("u1", "m1"), launched("u2", "m2"));
    let bad = format!("{}\nnot json\n{{\"type\":\"track\",\"userId\":\"u4\"}}\n{}\n", launched("u3", "m3"), launched("u4", "m4"));
    stage.deployment.write("good.ndjson", &good);
    stage.deployment.write("bad.ndjson", &bad);

    stage.deployment.run(&["ingest", "good.ndjson"]).expect(0, &["2"]);
    // What can be sent is sent; the rest is named with its line.
    let refused = ["bad.ndjson:2", "not_json", "bad.ndjson:3", "no_event"];
    stage.deployment.run(&["ingest", "bad.ndjson"]).expect(1, &refused);
    let more = format!("{}\nnot json\n", launched("u5", "m5"));
    run_with(stage.deployment.command(&["ingest", "-"]), more.as_bytes()).expect(1, &["2", "not_json"]);
    let server = format!("http://{}", worker.listen);
    stage.deployment.write("more.ndjson", &format!("{}\nnot json\n", launched("u6", "m6")));
    stage.deployment.run(&["ingest", "--server", &server, "more.ndjson"]).expect(1, &["more.ndjson:2", "not_json"]);
    stage.deployment.run(&["ingest", "absent.ndjson"]).expect(1, &["absent.ndjson"]);

    let arrived = stage.arrived(6);
    let expect: Vec<(String, String)> = (1..=6).map(|n| key(&format!("u{n}"), &format!("m{n}"))).collect();
    assert_eq!(arrived.into_keys().collect::<Vec<_>>(), expect);
    worker.stop();
}

#[test]
fn events_and_sends_over_http_take_the_same_way() {
    let stage = Stage::new();
    let worker = stage.deployment.start();
    let post = |path: &str, body: Value, status: u16| {
        let reply = worker.post(path, &body.to_string());
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
        reply
    };
    post("/v1/identify", json!({"messageId": "i1", "userId": "u1", "traits": {"name": "John"}}), 202);
    post("/v1/track", json!({"messageId": "m1", "userId": "u1", "event": "launched"}), 202);
    let batch = json!({"batch": [
        {"type": "track", "messageId": "m2", "userId": "u2", "event": "launched"},
        {"type": "track", "messageId": "m3", "userId": "u3"},
    ]});
    let reply = post("/v1/batch", batch, 202).json();
    assert_eq!((&reply["accepted"], &reply["refused"][0]["reason"]), (&json!(1), &json!("no_event")), "{reply}");
    post("/v1/campaigns/points/send", json!({"user_id": "u1", "message_id": "s1", "properties": {"points": 5}}), 202);
    let recipients = json!([{"user_id": "u2"}, {"user_id": "u3", "properties": {"points": 9}, "traits": {"name": "Ann"}}]);
    post("/v1/campaigns/points/send", json!({"recipients": recipients, "message_id": "s2", "properties": {"points": 7}}), 202);
    post("/v1/campaigns/asleep/send", json!({"user_id": "u1"}), 409);
    post("/v1/campaigns/hello/send", json!({"user_id": "u1"}), 409);
    post("/v1/campaigns/nothing/send", json!({"user_id": "u1"}), 404);

    let arrived = stage.arrived(5);
    assert_eq!(arrived.len(), 5, "{arrived:?}");
    assert_eq!(arrived[&key("u1", "m1")]["name"], "John");
    assert_eq!(arrived[&key("u2", "m2")]["name"], "you");
    assert_eq!(arrived[&key("u1", "s1")]["points"], 5);
    assert_eq!(arrived[&key("u2", "s2-0")]["points"], 7);
    assert_eq!((&arrived[&key("u3", "s2-1")]["points"], &arrived[&key("u3", "s2-1")]["name"]), (&json!(9), &json!("Ann")));
    worker.stop();
}

#[test]
fn the_unreadable_is_dead_lettered_and_the_partition_moves_on() {
    let stage = Stage::new();
    let worker = stage.deployment.start();
    let unreadable: [(&[u8], &str); 7] = [
        (b"\xff\xfe not json", "not_json"),
        (br#"{"type":"teleport","userId":"u1"}"#, "unsupported_type"),
        (br#"{"type":"track","event":"launched"}"#, "no_user"),
        // The id of a note of the workers' own: what is stored of it is no user's.
        (br#"{"type":"track","userId":"\u0001workers","event":"launched"}"#, "no_user"),
        (br#"{"type":"track","userId":"u1"}"#, "no_event"),
        (br#"{"type":"track","userId":"u1","event":"launched","timestamp":"yesterday"}"#, "bad_timestamp"),
        (br#"{"type":"track","userId":"u1","event":"$sent"}"#, "reserved_name"),
    ];
    let before = launched("u1", "before");
    let after = launched("u1", "after");
    let mut values: Vec<&[u8]> = vec![before.as_bytes()];
    values.extend(unreadable.iter().map(|(value, _)| *value));
    values.push(after.as_bytes());
    stage.write(&values);
    let arrived = stage.arrived(2);
    assert_eq!(arrived.into_keys().collect::<Vec<_>>(), [key("u1", "after"), key("u1", "before")]);
    until("they are counted", ARRIVES_WITHIN, || worker.metric("campanile_dead_total", "") >= unreadable.len() as f64);
    worker.stop();

    let dead = Follow::new(shared(), &stage.deployment.topic("dead")).all();
    let mut first = None;
    assert_eq!(dead.len(), unreadable.len());
    for ((value, reason), line) in unreadable.iter().zip(dead.iter().map(|line| &line.value)) {
        let offset = line["offset"].as_i64().unwrap_or_else(|| panic!("no offset in {line}"));
        let first = *first.get_or_insert(offset);
        let index = unreadable.iter().position(|(known, _)| known == value).unwrap_or(0) as i64;
        assert_eq!((&line["v"], &line["kind"], &line["reason"]), (&json!(1), &json!("event"), &json!(reason)), "{line}");
        assert_eq!((&line["topic"], offset, &line["key"]), (&json!(stage.deployment.events), first + index, &json!("one")), "{line}");
        assert_eq!(BASE64_STANDARD.decode(line["value"].as_str().unwrap_or_default()).as_deref(), Ok(*value), "{line}");
        assert!(line["partition"].is_i64() && line["error"].as_str().is_some_and(|error| !error.is_empty()), "{line}");
    }
}

#[test]
fn probes_and_metrics_answer() {
    let stage = Stage::new();
    let worker = stage.deployment.start();
    let probe = |path: &str| worker.probe(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!((probe("/livez").status, probe("/readyz").status, probe("/nothing").status), (200, 200, 404));
    stage.write(&[launched("u1", "m1").as_bytes(), br#"{"type":"track","userId":"u1","event":"unknown"}"#, b"junk"]);
    stage.arrived(1);
    // From the issue's point of view: whoever watches sees each of these move.
    let series = [
        ("campanile_events_total", "result=\"handled\""),
        ("campanile_events_total", "result=\"uninteresting\""),
        ("campanile_events_total", "result=\"not_json\""),
        ("campanile_decisions_total", "campaign=\"hello\""),
        ("campanile_attempts_total", "result=\"delivered\""),
        ("campanile_attempt_seconds_count", ""),
        ("campanile_event_to_request_seconds_count", ""),
        ("campanile_state_commit_seconds_count", ""),
        ("campanile_record_bytes_count", ""),
        ("campanile_definitions_revision", ""),
        ("campanile_build_info", "version="),
        ("campanile_dead_total", "reason=\"not_json\""),
    ];
    for (name, labels) in series {
        until(&format!("{name} {labels} moves"), ARRIVES_WITHIN, || worker.metric(name, labels) > 0.0);
    }
    let metrics = probe("/metrics").body;
    assert!(!metrics.contains("u1") && !metrics.contains("m1\""), "data of users in the metrics:\n{metrics}");
    worker.stop();
}

#[test]
fn leaving_loses_nothing_and_coming_back_repeats_nothing() {
    const USERS: usize = 100;
    // Others at the same destination, whose requests succeed at once: were most of its answers failures, it would be halted.
    const OTHERS: usize = 3 * USERS;
    let stage = Stage::new();
    let worker = stage.deployment.start();
    let closed =
        |n: usize| json!({"type": "track", "messageId": format!("m{n}"), "userId": format!("u{n}"), "event": "closed"}).to_string();
    let other = |n: usize| launched(&format!("o{n}"), &format!("o{n}"));
    let events: Vec<String> = (0..USERS).flat_map(|n| [closed(n), other(3 * n), other(3 * n + 1), other(3 * n + 2)]).collect();
    stage.write(&events.iter().map(String::as_bytes).collect::<Vec<_>>());
    // In the middle: some wait for their retry, some are not read yet.
    stage.arrived(USERS);
    worker.stop();
    let worker = stage.deployment.start();
    let mut outcomes = Settling::new(shared(), &stage.deployment.topic("outcomes"));
    outcomes.wait_for(&[("flaky".to_owned(), USERS), ("hello".to_owned(), OTHERS)].into(), ARRIVES_WITHIN);
    worker.stop();
    // With nothing left to do, a start does nothing.
    let requests = stage.endpoint.count();
    let worker = stage.deployment.start();
    stage.write(&[launched("last", "last").as_bytes()]);
    stage.arrived(requests + 1);
    worker.stop();

    let mut attempts: BTreeMap<(String, u32), usize> = BTreeMap::new();
    for seen in stage.endpoint.seen() {
        *attempts.entry((seen.webhook_id().expect("every request has one").to_owned(), seen.attempt())).or_default() += 1;
    }
    assert_eq!(attempts.len(), 2 * USERS + OTHERS + 1, "one attempt that failed and one that did not, each of those");
    assert!(attempts.values().all(|count| *count == 1), "an attempt was repeated: {attempts:?}");
    let outcomes = outcomes.outcomes();
    assert_eq!((outcomes.sent.len(), outcomes.sent_again, outcomes.attempts_again), (USERS + OTHERS + 1, 0, 0));
}

#[test]
fn one_process_without_servers_remembers_across_restarts() {
    let stage = Stage::on("embedded", "embedded");
    stage.deployment.write("definitions/once.yaml", &definitions(&stage.endpoint).replacen("resend: always", "resend: never", 1));
    std::fs::remove_file(stage.deployment.path().join("definitions/all.yaml")).expect("it was written before");
    stage.deployment.init();
    let post = |worker: &Worker, user: &str, id: &str| assert_eq!(worker.post("/v1/track", &launched(user, id)).status, 202);
    let worker = stage.deployment.start();
    post(&worker, "u1", "m1");
    stage.arrived(1);
    worker.stop();
    // What is stored stays in force where there is nothing to apply.
    std::fs::remove_file(stage.deployment.path().join("definitions/once.yaml")).expect("it was written before");
    let worker = stage.deployment.start();
    post(&worker, "u1", "m2");
    post(&worker, "u2", "m3");
    let arrived = stage.arrived(2);
    until("the second event of u1 is decided", ARRIVES_WITHIN, || worker.metric("campanile_decisions_total", "already_sent") > 0.0);
    worker.stop();
    assert_eq!(arrived.into_keys().collect::<Vec<_>>(), [key("u1", "m1"), key("u2", "m3")]);
    assert_eq!(stage.endpoint.count(), 2);
}

#[test]
fn many_workers_apply_once_and_all_follow() {
    let stage = Stage::new();
    let workers: Vec<Worker> = (0..3).map(|_| stage.deployment.launch(&[])).collect();
    workers.iter().for_each(Worker::ready);
    let revision_is = |revision: f64| {
        until(&format!("all have revision {revision}"), ARRIVES_WITHIN, || {
            workers.iter().all(|worker| worker.metric("campanile_definitions_revision", "") == revision)
        });
    };
    revision_is(1.0);
    // One more start with a changed definition: the others follow without one.
    let changed = definitions(&stage.endpoint).replacen("event: launched", "event: opened", 1);
    stage.deployment.define(&changed);
    stage.deployment.start().stop();
    revision_is(2.0);
    let opened = json!({"type": "track", "messageId": "m2", "userId": "u1", "event": "opened"}).to_string();
    stage.write(&[launched("u1", "m1").as_bytes(), opened.as_bytes()]);
    assert_eq!(stage.arrived(1).into_keys().collect::<Vec<_>>(), [key("u1", "m2")]);
    workers.into_iter().for_each(Worker::stop);
    assert_eq!(stage.endpoint.count(), 1);
}

#[test]
fn what_waits_for_a_slot_is_left_to_the_next_worker_without_an_attempt() {
    const USERS: usize = 60;
    let stage = Stage::new();
    // One slot: when the worker leaves, nearly all of them wait for it, in several lanes.
    let narrow = format!("---\nkind: destination\nkey: narrow\nmatch: {}\nmax_in_flight: 1\n", stage.endpoint.address());
    stage.deployment.define(&(definitions(&stage.endpoint).replace("/hello", "/pause/100") + &narrow));
    let worker = stage.deployment.start();
    let events: Vec<String> = (0..USERS).map(|n| launched(&format!("u{n}"), &format!("m{n}"))).collect();
    stage.write(&events.iter().map(String::as_bytes).collect::<Vec<_>>());
    stage.arrived(3);
    worker.stop();
    assert!(stage.endpoint.count() < USERS, "leaving waited for all of them");
    let worker = stage.deployment.start();
    stage.arrived(USERS);
    worker.stop();
    let attempts: Vec<u32> = stage.endpoint.seen().iter().map(Seen::attempt).collect();
    assert_eq!(attempts, vec![1; USERS], "one attempt each, and no number left out");
}

#[test]
fn leaving_does_not_wait_for_an_endpoint_longer_than_the_drain() {
    let mut stage = Stage::new();
    stage.deployment.set("DELIVERY__TIMEOUT", "90s");
    stage.deployment.set("DELIVERY__DRAIN", "1s");
    stage.deployment.define(&definitions(&stage.endpoint).replace("/hello", "/hang"));
    let worker = stage.deployment.start();
    stage.write(&[launched("u1", "m1").as_bytes()]);
    stage.arrived(1);
    worker.stop();
}

#[test]
fn the_demo_explains_itself_without_servers() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let told = ["Sent", "because of e1", "attempt 2: 200, delivered", "Held back", "already_sent", "not_in_audience", "frequency_cap"];
    run(campanile(directory.path(), &["demo"])).expect(0, &told);
    assert_eq!(std::fs::read_dir(directory.path()).expect("it is there").count(), 0, "the demo left files behind");
}

#[test]
fn receive_prints_what_arrives_and_answers_as_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let address = free_address();
    let receiver = Process::start(campanile(directory.path(), &["receive", "--listen", &address, "--fail-first", "1"]), b"");
    until("it listens", ARRIVES_WITHIN, || receiver.stdout().contains(&address));
    let status = |attempt: &str| {
        let headers = [("webhook-id", "msg_1"), ("webhook-attempt", attempt)];
        post(&format!("http://{address}/hook"), &headers, r#"{"to":"+82"}"#).expect("it answers").status
    };
    assert_eq!((status("1"), status("2")), (503, 200));
    until("it has printed both", ARRIVES_WITHIN, || {
        let printed = receiver.stdout();
        ["POST /hook", "msg_1", "+82", "503", "200"].iter().all(|part| printed.contains(part))
    });
}

#[test]
fn receive_checks_signatures() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let address = free_address();
    let mut command = campanile(directory.path(), &["receive", "--listen", &address, "--secret", "plain text", "--secret", "whsec_AAAA"]);
    command.env("CAMPANILE_RECEIVE_SECRET", "not asked when there is an option");
    let receiver = Process::start(command, b"");
    until("it listens", ARRIVES_WITHIN, || receiver.stdout().contains(&address));
    let now = SystemClock::new().now().0 / 1000;
    let signed = |key: &[u8], body: &str| {
        let webhook = standardwebhooks::Webhook::from_bytes(key.to_vec()).expect("a key");
        webhook.sign("msg_1", now, body.as_bytes()).expect("a signature")
    };
    let check = |signature: Option<String>, body: &str, expect: u16| {
        let now = now.to_string();
        let mut headers = vec![("webhook-id", "msg_1"), ("webhook-timestamp", &now)];
        headers.extend(signature.as_deref().map(|signature| ("webhook-signature", signature)));
        assert_eq!(post(&format!("http://{address}/"), &headers, body).expect("it answers").status, expect, "{signature:?} {body}");
    };
    check(Some(signed(b"plain text", "{}")), "{}", 200);
    check(Some(signed(&[0; 3], "")), "", 200);
    check(Some(format!("{} {}", signed(b"other", "{}"), signed(&[0; 3], "{}"))), "{}", 200);
    check(Some(signed(b"plain text", "{}")), "{} ", 401);
    check(Some(signed(b"other", "{}")), "{}", 401);
    check(None, "{}", 401);
    until("it has printed all", ARRIVES_WITHIN, || {
        let printed = receiver.stdout();
        ["good, by secret 1", "good, by secret 2", "no signature is by a known secret", "no `webhook-signature`"]
            .iter()
            .all(|part| printed.contains(part))
    });
    let refused = run(campanile(directory.path(), &["receive", "--secret", "whsec_canary!"])).expect(1, &["--secret", "has no base64"]);
    assert!(!refused.stderr.contains("canary"), "{}", refused.stderr);
}

#[test]
fn every_command_has_help_with_an_example() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for command in ["run", "demo", "init", "ingest", "validate", "schema", "receive"] {
        run(campanile(directory.path(), &[command, "--help"])).expect(0, &["Usage: campanile", &format!("campanile {command}"), "Example"]);
    }
}

#[test]
fn init_refuses_the_embedded_file_that_run_would() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let check = |path: &str, code: i32, parts: &[&str]| {
        std::fs::write(directory.path().join("campanile.yaml"), format!("embedded: {{path: {path}}}")).expect("a file");
        run(campanile(directory.path(), &["init", "--check"])).expect(code, parts);
    };
    check("here.redb", 0, &["state: embedded"]);
    check("null", 0, &["state: embedded"]);
    check("nowhere/here.redb", 1, &["embedded.path: nowhere/here.redb cannot be made", "name another file"]);
    check(".", 1, &["embedded.path: . is no file"]);
    check("campanile.yaml/here.redb", 1, &["embedded.path: campanile.yaml/here.redb cannot be made"]);
    assert!(!directory.path().join("here.redb").exists(), "it only looks");
}

#[test]
fn the_users_of_a_cohort_may_be_in_a_file_beside_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("a file");
    std::fs::create_dir(directory.path().join("definitions")).expect("a directory");
    write("definitions/vip.yaml", "kind: cohort\nkey: vip\nusers_file: ../vip.txt\n");
    let validate = || run(campanile(directory.path(), &["validate", "definitions"]));
    let missing = validate().expect(1, &["definitions/vip.yaml:3:1: error: definitions/../vip.txt cannot be read", "1 error, 0 warnings"]);
    assert!(!missing.stdout.contains("campanile apply"), "a second problem, of the first: {}", missing.stdout);
    write("vip.txt", "u1\nu2\n");
    validate().expect(0, &["1 definition, sound"]);
    write("vip.txt", &format!("u1\n{}\n", "x".repeat(300)));
    validate().expect(1, &["definitions/../vip.txt:2:1: error: a user id has at most 256 bytes"]);
}

#[test]
fn the_schema_is_that_of_the_documents() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let published = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema").join(name);
        std::fs::read_to_string(path).expect("a published schema")
    };
    let schema = |arguments: &[&str]| run(campanile(directory.path(), arguments)).expect(0, &[]).stdout;
    assert_eq!(schema(&["schema"]), published("definitions.json"));
    assert_eq!(schema(&["schema", "cohort"]), published("cohort.json"));
    run(campanile(directory.path(), &["schema", "campain"])).expect(2, &["campaign"]);
}

//! Secrets reach the endpoint and no other place: a worker on a real Kafka and a real Redis is given canaries for every use of a
//! secret, sends, fails, retries and gives up, and then everything that it left anywhere is searched for them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use campanile::engine::definition::{Auth, Credential, Destination, Method};
use campanile::engine::delivery::{Credentials, Secret};
use campanile::worker::ports::{Append, HttpRequest, Line};
use http::HeaderMap;
use standardwebhooks::Webhook;

use crate::support::endpoint::{Endpoint, Seen};
use crate::support::kafka::{append_on, shared, wait};
use crate::support::redis::Redis;
use crate::support::topic::Follow;
use crate::support::wait::{eventually, runtime};
use crate::support::worker::{Deployment, Worker};

const ARRIVES_WITHIN: Duration = Duration::from_secs(30);
/// A missing secret is looked for again after some seconds; then what waited for it goes, after as long as it has waited.
const FOUND_WITHIN: Duration = Duration::from_secs(90);

const USER: &str = "canaryUser7Kq2";
const PASSWORD: &str = "canaryPassword9Xw4";
const BEARER: &str = "canaryBearer3Lm8";
const HEADER: &str = "canaryHeader5Tz1";
const PARAM: &str = "canaryParam+6Rb&0";
const BODY: &str = "canaryBody\"2Vn7\"";
const SIGNING: &str = "canarySigning8Hd5 as plain text";
const SIGNING_KEY: &[u8] = b"canarySigningKey4Jf6 of 32 bytes";
const LATE: &str = "canaryLate1Pc3";

/// Every text that must not be found: the secrets themselves, as they are written where they belong, and what is made of them.
fn canaries(authority: &str) -> Vec<String> {
    let mut all: Vec<String> =
        [USER, PASSWORD, BEARER, HEADER, "canaryParam", "canaryBody", "canarySigning8Hd5", LATE].map(String::from).into();
    all.push("canarySigningKey4Jf6".into());
    all.push(BASE64_STANDARD.encode(SIGNING_KEY));
    all.push(BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}")));
    // The middle of the certificate: its first lines are alike in all.
    all.push(authority.lines().nth(3).expect("a certificate of some lines").to_owned());
    all
}

/// A directory as Kubernetes mounts a Secret: every file a link through `..data`.
fn mount(directory: &Path, files: &[(&str, &str)]) {
    std::fs::create_dir_all(directory.join("..1")).expect("a directory of our own");
    std::os::unix::fs::symlink("..1", directory.join("..data")).expect("a link of our own");
    for (name, text) in files {
        std::fs::write(directory.join("..1").join(name), text).expect("a file of our own");
        std::os::unix::fs::symlink(format!("..data/{name}"), directory.join(name)).expect("a link of our own");
    }
}

/// A campaign for an event of its key's name.
fn campaign(key: &str, destination: &str, webhook: &str) -> String {
    format!(
        "---
kind: campaign
key: {key}
status: running
trigger: {{action: {{event: {key}}}}}
webhook:
  destination: {destination}
  {webhook}
"
    )
}

fn definitions(endpoint: &Endpoint) -> String {
    let host = endpoint.address();
    let url = |path: &str| endpoint.url(path);
    let mut all = format!(
        "kind: destination
key: named
match: {host}
auth: {{basic: {{username: {{secret: canary-user}}, password: {{secret: canary-password}}}}}}
sign: [{{secret: canary-signing}}, {{secret: canary-signing-old}}]
headers: {{X-Key: \"Key {{{{ secret.canary_header }}}}\"}}
ca: {{secret: canary-ca}}
---
kind: destination
key: bearing
match: {host}
auth: {{bearer: {{secret: canary-bearer}}}}
sign: {{secret: canary-signing}}
ca: {{secret: canary-ca}}
---
kind: destination
key: waiting
match: {host}
auth: {{bearer: {{secret: canary-late}}}}
ca: {{secret: canary-ca}}
"
    );
    let parts = "params: {key: \"{{ secret.canary_param }}\"}\n  body: {token: \"{{ secret.canary_body }}\", user: \"{{ user.id }}\"}";
    all.push_str(&campaign("posted", "named", &format!("url: {}\n  {parts}", url("/fail-first/1/503"))));
    all.push_str(&campaign("refused", "named", &format!("url: {}\n  {parts}", url("/status/400"))));
    all.push_str(&campaign("fetched", "bearing", &format!("url: {}\n  method: GET", url("/status/200"))));
    all.push_str(&campaign("echoed", "named", &format!("url: {}\n  {parts}", url("/echo"))));
    all.push_str(&campaign("echoed-too", "bearing", &format!("url: {}", url("/echo"))));
    all.push_str(&campaign("late", "waiting", &format!("url: {}", url("/status/201"))));
    all
}

#[test]
fn secrets_reach_the_endpoint_and_no_other_place() {
    let files = tempfile::tempdir().expect("a temporary directory");
    let (written, mounted) = (files.path().join("redis"), files.path().join("secrets"));
    std::fs::create_dir(&written).expect("a directory of our own");
    // Redis writes down every command that changes anything.
    let redis = Redis::with(&["--save", "", "--appendonly", "yes", "--dir", written.to_str().expect("a path in UTF-8")]);
    let endpoint = runtime().block_on(Endpoint::tls("127.0.0.1"));
    let authority = endpoint.roots().remove(0);
    let whsec = format!("whsec_{}\n", BASE64_STANDARD.encode(SIGNING_KEY));
    let mounts = [
        ("canary-user", USER),
        ("canary-password", &format!("{PASSWORD}\n")),
        ("canary-bearer", BEARER),
        ("canary_param", PARAM),
        ("canary_body", BODY),
        ("canary-signing", SIGNING),
        ("canary-signing-old", &whsec),
        ("canary-ca", &authority),
    ];
    mount(&mounted, &mounts);
    let mut deployment = Deployment::new(shared(), &redis.url());
    deployment.set("SECRETS__DIR", mounted.to_str().expect("a path in UTF-8"));
    deployment.set("LOG__LEVEL", "debug");
    deployment.variable("CAMPANILE_SECRET_CANARY_HEADER", HEADER);
    deployment.define(&definitions(&endpoint));
    deployment.init();
    let worker = deployment.start();

    write_events(&deployment, &["posted", "refused", "fetched", "late"]);
    let seen = arrived(&endpoint, 4);
    seen.iter().for_each(check_request);
    let paths: Vec<&str> = seen.iter().map(|seen| seen.path.split('?').next().unwrap_or_default()).collect();
    assert_eq!(paths.iter().filter(|path| **path == "/fail-first/1/503").count(), 2, "{paths:?}");
    eventually("the worker says what it waits for", ARRIVES_WITHIN, || {
        worker.process.stderr().contains("secret `canary-late` is not set").then_some(())
    });
    std::fs::write(mounted.join("canary-late"), LATE).expect("a file of our own");
    let late = eventually("the delivery that lacked a secret", FOUND_WITHIN, || {
        endpoint.seen().into_iter().find(|seen| seen.path == "/status/201")
    });
    assert_eq!((late.header("authorization"), late.attempt()), (Some(&*format!("Bearer {LATE}")), 1));

    let places = places(&deployment, worker, &written);
    for (place, text) in &places {
        for canary in canaries(&authority) {
            assert!(!contains(text, &canary), "{canary} was found in {place}");
        }
    }
}

/// One event of each name, of a user of its own.
fn write_events(deployment: &Deployment, names: &[&str]) {
    let line = |name: &&str| {
        let value = format!(r#"{{"type":"track","messageId":"m-{name}","userId":"user-{name}","event":"{name}"}}"#);
        Line { topic: deployment.events.as_str().into(), key: None, value: value.into_bytes() }
    };
    wait(append_on(shared()).append(&names.iter().map(line).collect::<Vec<_>>())).expect("a reachable broker");
}

fn arrived(endpoint: &Endpoint, count: usize) -> Vec<Seen> {
    eventually(&format!("{count} requests"), ARRIVES_WITHIN, || Some(endpoint.seen()).filter(|seen| seen.len() >= count))
}

/// Every secret is where it belongs, and the signatures are good to somebody who never saw this code.
fn check_request(seen: &Seen) {
    let named = seen.method == "POST";
    let expect = match named {
        true => format!("Basic {}", BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"))),
        false => format!("Bearer {BEARER}"),
    };
    assert_eq!(seen.header("authorization"), Some(&*expect), "{}", seen.path);
    let plain = Webhook::from_bytes(SIGNING.into()).expect("a key");
    let mut keys = vec![plain];
    if named {
        assert_eq!(seen.header("x-key"), Some(&*format!("Key {HEADER}")));
        assert!(seen.path.ends_with("?key=canaryParam%2B6Rb%260"), "{}", seen.path);
        let body: serde_json::Value = serde_json::from_slice(&seen.body).expect("a body of JSON");
        assert_eq!(body["token"], BODY);
        keys.push(Webhook::new(&format!("whsec_{}", BASE64_STANDARD.encode(SIGNING_KEY))).expect("a key"));
    } else {
        assert!(seen.body.is_empty());
    }
    let mut headers = HeaderMap::new();
    for (name, value) in seen.headers.iter().filter(|(name, _)| name.starts_with("webhook-")) {
        headers.insert(http::HeaderName::from_bytes(name.as_bytes()).expect("a name"), value.parse().expect("a value"));
    }
    assert_eq!(seen.header("webhook-signature").map_or(0, |value| value.split(' ').count()), keys.len());
    for key in keys {
        key.verify(&seen.body, &headers).unwrap_or_else(|error| panic!("{} attempt {}: {error}", seen.path, seen.attempt()));
    }
}

/// Everything that the worker and the commands left or said, each with its name.
fn places(deployment: &Deployment, worker: Worker, redis: &Path) -> Vec<(String, Vec<u8>)> {
    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    let user = deployment.write("user.json", r#"{"type":"identify","userId":"u1","traits":{}}"#).display().to_string();
    let server = format!("http://{}", worker.listen);
    for campaign in ["echoed", "echoed-too"] {
        let ran = deployment.run(&["test-send", campaign, "--user", &user, "--server", &server]).expect(0, &["authorization", "***"]);
        places.push((format!("test-send {campaign}"), format!("{}{}", ran.stdout, ran.stderr).into()));
    }
    let metrics = worker.probe("/metrics").expect("it answers").body;
    assert!(metrics.contains("campanile_attempts_total"), "{metrics}");
    places.push(("/metrics".into(), metrics.into()));
    let said = format!("{}{}", worker.process.stdout(), worker.process.stderr());
    assert!(said.contains("DEBUG"), "the log is not that of a debug level: {said}");
    worker.stop();
    places.push(("the log".into(), said.into()));
    for topic in ["retry", "retry.1m", "retry.5m", "retry.30m", "runs", "dead", "outcomes"] {
        let lines = Follow::new(shared(), &deployment.topic(topic)).all();
        let text: String = lines.iter().map(|line| format!("{} {}\n", line.key, line.value)).collect();
        // What is searched is what was meant: the requests are there, with the names of their secrets.
        assert!(!["retry", "dead"].contains(&topic) || text.contains("canary_param"), "{topic}: {text}");
        assert!(topic != "outcomes" || text.contains("delivered"), "{text}");
        places.push((format!("topic {topic}"), text.into()));
    }
    let stored: Vec<u8> = below(redis).iter().flat_map(|path| std::fs::read(path).expect("it is there")).collect();
    assert!(contains(&stored, "canary_param") && contains(&stored, "user-posted"), "redis did not write down what it was told");
    places.push(("redis".into(), stored));
    let event = deployment.write("event.json", r#"{"type":"track","userId":"u1","event":"posted"}"#).display().to_string();
    for format in ["curl", "table", "json"] {
        let arguments = ["preview", "posted", "--definitions", "definitions", "--user", &user, "--event", &event, "--format", format];
        let ran = deployment.run(&arguments).expect(0, &["***"]);
        places.push((format!("preview as {format}"), format!("{}{}", ran.stdout, ran.stderr).into()));
    }
    let ran = deployment.run(&["validate", "definitions"]).expect(0, &["definitions"]);
    places.push(("validate".into(), format!("{}{}", ran.stdout, ran.stderr).into()));
    places
}

fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("it is there") {
        let path = entry.expect("it is there").path();
        if path.is_dir() { found.extend(below(&path)) } else { found.push(path) }
    }
    found
}

fn contains(text: &[u8], part: &str) -> bool {
    text.windows(part.len()).any(|window| window == part.as_bytes())
}

#[test]
fn a_panic_shows_no_secret() {
    let authority = "-----BEGIN CERTIFICATE-----\ncanaryAuthority\n";
    let request = HttpRequest {
        method: Method::Post,
        url: format!("https://sms.example/v1?key={PARAM}"),
        headers: vec![("authorization".into(), format!("Bearer {BEARER}").into())],
        body: Some(BODY.into()),
        ca: Some(Arc::from(authority)),
        timeout: Duration::from_secs(3),
        keep_bytes: 0,
    };
    let text = |text: &str| Credential::Text(text.into());
    let auth = Some(Auth::Basic { username: text(USER), password: text(PASSWORD) });
    let (sign, ca) = (vec![text(SIGNING)], Some(text(authority)));
    let destination = Destination { auth, sign, ca, ..Destination::new("sms".into(), "sms.example".into()) };
    let credentials = Credentials::of(&destination);
    let secret = Secret::new(LATE);
    let panicked = catch_unwind(AssertUnwindSafe(|| panic!("{request:?} {destination:?} {credentials:?} {secret:?}")));
    let message = *panicked.expect_err("it panics").downcast::<String>().expect("a message");
    assert!(message.contains("https://sms.example/v1") && message.contains("***"), "{message}");
    assert!(!message.contains("canary"), "{message}");
}

//! Ingest over HTTP, with a log in memory that acknowledges, refuses or hangs as it is told.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use campanile::api::{self, Access, Api, CampaignState, Ingest, MAX_BATCH, MAX_EVENT_BYTES, MAX_REQUEST_BYTES, Tokens};
use campanile::engine::definition::Status;
use campanile::engine::time::Timestamp;
use campanile::secrets::Secret;
use campanile::telemetry::metrics::{CampaignLabel, Metrics};
use campanile::worker::ports::{Append, AppendError, Clock, Line, SendFuture};
use campanile::worker::settings::Topics;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::support::plane::{idle, trial, unseen};

const NOW: &str = "2026-11-20T10:00:00Z";

/// A log that is a list.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<Line>>,
    /// What it answers; `None` = it acknowledges.
    fault: Mutex<Option<AppendError>>,
    /// While true it takes lines and acknowledges nothing.
    hangs: bool,
    taken: Notify,
}

impl Append for Log {
    fn append(&self, lines: &[Line]) -> SendFuture<'static, Result<(), AppendError>> {
        let fault = self.fault.lock().expect("no panic while held").clone();
        if fault.is_none() {
            self.lines.lock().expect("no panic while held").extend_from_slice(lines);
        }
        self.taken.notify_one();
        match self.hangs {
            true => Box::pin(std::future::pending()),
            false => Box::pin(std::future::ready(fault.map_or(Ok(()), Err))),
        }
    }
}

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::parse(NOW).expect("an instant")
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// The API on a free port.
struct Server {
    address: SocketAddr,
    log: Arc<Log>,
    metrics: Metrics,
    client: Client,
    serving: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    async fn start() -> Server {
        Server::with(Tokens::default(), Log::default()).await
    }

    async fn with(tokens: Tokens, log: Log) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let log = Arc::new(log);
        let metrics = Metrics::new(CampaignLabel::Auto).expect("metrics");
        let campaigns = |key: &str| match key {
            "points" => CampaignState::Api(Status::Running),
            "paused" => CampaignState::Api(Status::Paused),
            "cart" => CampaignState::NotApi,
            _ => CampaignState::Unknown,
        };
        let ingest = Ingest {
            append: log.clone(),
            events_topic: "events".into(),
            campaigns: Arc::new(campaigns),
            clock: Arc::new(FixedClock),
            max_lateness: Duration::from_secs(72 * 3600),
            metrics: metrics.ingest.clone(),
        };
        let (desk, follower, archive) = idle();
        let router = api::router(Api {
            access: Access::new(tokens, address).expect("loopback"),
            ingest,
            desk,
            follower,
            live: unseen(),
            trial: trial(),
            archive,
            topics: Topics::new(&["events".into()], "campanile"),
        });
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().build().expect("a client");
        Server { address, log, metrics, client, serving }
    }

    fn request(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("http://{}{path}", self.address)).header(CONTENT_TYPE, "application/json")
    }

    async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        read(self.request(path).body(body).send().await.expect("an answer")).await
    }

    fn lines(&self) -> Vec<(Option<String>, Value)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let lines = self.log.lines.lock().expect("no panic while held");
        assert!(lines.iter().all(|line| &*line.topic == "events"));
        lines.iter().map(|line| (line.key.as_deref().map(text), serde_json::from_slice(&line.value).expect("JSON"))).collect()
    }

    fn counted(&self, result: &str) -> u64 {
        let families = self.metrics.registry.gather();
        let family = families.iter().find(|family| family.name() == "campanile_ingest_total");
        let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
        let found = metrics.iter().find(|metric| metric.get_label()[0].value() == result);
        found.map_or(0, |metric| metric.get_counter().get_value() as u64)
    }
}

async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let expect = if status == 202 { "application/json" } else { "application/problem+json" };
    assert_eq!(kind, expect, "the content type of a {status}");
    let body: Value = serde_json::from_slice(&response.bytes().await.expect("a body")).expect("JSON");
    if status != 202 {
        assert_eq!(body["status"], status, "{body}");
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
    }
    (status, body)
}

#[tokio::test]
async fn an_event_is_written_under_its_user() {
    let check = async |path: &str, body: Value, key: &str, expect: Value| {
        let server = Server::start().await;
        let (status, answer) = server.post(path, body.to_string()).await;
        assert_eq!((status, &answer["message_id"]), (202, &expect["messageId"]), "{answer}");
        assert_eq!(server.lines(), [(Some(key.to_owned()), expect)]);
        assert_eq!(server.counted("accepted"), 1);
    };
    check(
        "/v1/track",
        json!({"userId": "u1", "event": "purchase", "messageId": "m1", "properties": {"amount": 120}}),
        "u1",
        json!({"type": "track", "userId": "u1", "event": "purchase", "messageId": "m1", "properties": {"amount": 120}}),
    )
    .await;
    check(
        "/v1/identify",
        json!({"anonymousId": "a1", "messageId": "m1", "traits": {"country": "KR"}}),
        "a1",
        json!({"type": "identify", "anonymousId": "a1", "messageId": "m1", "traits": {"country": "KR"}}),
    )
    .await;
    for kind in ["page", "screen"] {
        check(
            &format!("/v1/{kind}"),
            json!({"userId": 7, "messageId": "m1", "name": "Home", "type": "track"}),
            "7",
            json!({"userId": 7, "messageId": "m1", "name": "Home", "type": kind}),
        )
        .await;
    }
}

#[tokio::test]
async fn a_message_id_is_made_and_returned() {
    let server = Server::start().await;
    for _ in 0..2 {
        let (status, answer) = server.post("/v1/track", r#"{"userId":"u1","event":"login"}"#).await;
        assert_eq!((status, answer["message_id"].as_str().map(str::len)), (202, Some(32)), "{answer}");
        assert_eq!(server.lines().last().expect("a line").1["messageId"], answer["message_id"]);
    }
    assert_ne!(server.lines()[0].1["messageId"], server.lines()[1].1["messageId"]);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_its_reason() {
    let check = async |path: &str, body: String, reason: &str| {
        let server = Server::start().await;
        let (status, answer) = server.post(path, body).await;
        assert_eq!((status, &answer["reason"]), (422, &json!(reason)), "{answer}");
        assert_eq!((server.lines().len(), server.counted("refused")), (0, 1));
    };
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    for (body, reason) in [
        ("", "not_json"),
        ("[]", "not_json"),
        ("{\"userId\":\"u1\"", "not_json"),
        ("{}", "no_event"),
        (r#"{"event":"login"}"#, "no_user"),
        (r#"{"userId":"","event":"login"}"#, "no_user"),
        (r#"{"userId":"u1"}"#, "no_event"),
        (r#"{"userId":"u1","event":"$sent"}"#, "reserved_name"),
        (r#"{"userId":"u1","event":"login","timestamp":"yesterday"}"#, "bad_timestamp"),
        (r#"{"userId":"u1","event":"login","timestamp":"2026-11-17T09:59:59Z"}"#, "too_late"),
    ] {
        check("/v1/track", body.to_owned(), reason).await;
    }
    check("/v1/track", format!(r#"{{"userId":"{}","event":"login"}}"#, "u".repeat(257)), "too_large").await;
    check("/v1/track", format!(r#"{{"userId":"u1","event":"login","properties":{}}}"#, deep(64)), "too_deep").await;
}

#[tokio::test]
async fn a_batch_says_what_it_refused() {
    let server = Server::start().await;
    let batch = json!({"sentAt": NOW, "batch": [
        {"type": "track", "userId": "u1", "event": "login", "messageId": "m1"},
        {"type": "track", "userId": "u1"},
        {"type": "alias", "userId": "u2", "previousId": "a2", "messageId": "m2"},
        {"type": "jump", "userId": "u1"},
        3,
        {"type": "delete", "userId": "u3", "messageId": "m3"},
    ]});
    let (status, answer) = server.post("/v1/batch", batch.to_string()).await;
    assert_eq!((status, &answer["accepted"]), (202, &json!(3)), "{answer}");
    let refused: Vec<(u64, &str)> = answer["refused"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|refusal| (refusal["index"].as_u64().expect("a number"), refusal["reason"].as_str().expect("text")))
        .collect();
    assert_eq!(refused, [(1, "no_event"), (3, "unsupported_type"), (4, "not_json")]);
    let keys: Vec<Option<String>> = server.lines().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [Some("u1".into()), None, Some("u3".into())]);
    assert_eq!((server.counted("accepted"), server.counted("refused")), (3, 3));
}

#[tokio::test]
async fn a_batch_without_a_readable_event() {
    let server = Server::start().await;
    let (status, answer) = server.post("/v1/batch", r#"{"batch":[{"type":"track"},{"type":"track"}]}"#).await;
    assert_eq!((status, answer["refused"].as_array().map(Vec::len)), (422, Some(2)), "{answer}");
    assert_eq!(server.counted("refused"), 2);
    for body in [r#"{"batch":[]}"#, r#"{"events":[]}"#, "[]"] {
        assert_eq!(server.post("/v1/batch", body).await.0, 422, "{body}");
    }
    assert_eq!(server.lines(), []);
}

#[tokio::test]
async fn bodies_are_bounded_and_may_be_packed() {
    let server = Server::start().await;
    let event = |bytes: usize| format!(r#"{{"userId":"u1","event":"login","x":"{}"}}"#, "x".repeat(bytes));
    let batch = |events: usize, bytes: usize| {
        let event = event(bytes).replacen('{', r#"{"type":"track","#, 1);
        format!(r#"{{"batch":[{}]}}"#, vec![event; events].join(","))
    };
    for (path, body, expect) in [
        ("/v1/track", event(MAX_EVENT_BYTES - 200), 202),
        ("/v1/track", event(MAX_EVENT_BYTES), 413),
        ("/v1/batch", batch(MAX_BATCH, 10), 202),
        ("/v1/batch", batch(MAX_BATCH + 1, 10), 413),
        ("/v1/batch", batch(3, MAX_EVENT_BYTES), 422),
        ("/v1/batch", batch(4, MAX_REQUEST_BYTES / 4), 413),
    ] {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(body.as_bytes()).expect("in memory");
        let packed = packed.finish().expect("in memory");
        let answer = server.request(path).header(CONTENT_ENCODING, "gzip").body(packed).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), expect, "{path} with {} bytes, packed", body.len());
        // A server that refuses a large body by its announced length may close before all of it is sent.
        if body.len() < MAX_EVENT_BYTES || expect == 202 {
            assert_eq!(server.post(path, body.clone()).await.0, expect, "{path} with {} bytes", body.len());
        }
    }
    for (encoding, expect) in [("gzip", 422), ("br", 415), ("identity", 202)] {
        let answer = server.request("/v1/track").header(CONTENT_ENCODING, encoding).body(event(1)).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), expect, "{encoding}");
    }
}

#[tokio::test]
async fn a_send_is_one_event_per_recipient() {
    let server = Server::start().await;
    let one = json!({"user_id": "u1", "properties": {"points": 5}, "message_id": "s1"});
    assert_eq!(server.post("/v1/campaigns/points/send", one.to_string()).await, (202, json!({"message_id": "s1"})));
    let many = json!({
        "properties": {"points": 5, "kind": "gift"}, "traits": {"plan": "vip"}, "message_id": "s2",
        "recipients": [{"user_id": "u1"}, {"user_id": 2, "properties": {"points": 9}, "traits": {"plan": null}}],
    });
    assert_eq!(server.post("/v1/campaigns/points/send", many.to_string()).await, (202, json!({"message_ids": ["s2-0", "s2-1"]})));
    let event = |user: &str, id: &str, properties: Value, traits: Value| {
        let event = json!({
            "type": "send", "campaign": "points", "userId": user, "messageId": id, "properties": properties, "traits": traits,
        });
        (Some(user.to_owned()), event)
    };
    assert_eq!(
        server.lines(),
        [
            event("u1", "s1", json!({"points": 5}), json!({})),
            event("u1", "s2-0", json!({"points": 5, "kind": "gift"}), json!({"plan": "vip"})),
            event("2", "s2-1", json!({"points": 9, "kind": "gift"}), json!({"plan": null})),
        ]
    );
    let (status, answer) = server.post("/v1/campaigns/points/send", r#"{"user_id":"u1"}"#).await;
    assert_eq!((status, answer["message_id"].as_str().map(str::len)), (202, Some(32)));
}

#[tokio::test]
async fn a_send_that_cannot_be() {
    let server = Server::start().await;
    let many = |count: usize| json!({"recipients": vec![json!({"user_id": "u1"}); count]}).to_string();
    let nameless = json!({"recipients": [{"user_id": "u1"}, {"user_id": ""}]}).to_string();
    let one = || r#"{"user_id":"u1"}"#.to_owned();
    for (key, body, expect, place) in [
        ("nobody", one(), 404, Value::Null),
        ("cart", one(), 409, Value::Null),
        ("paused", one(), 409, Value::Null),
        ("points", "{}".to_owned(), 422, json!("user_id")),
        ("points", r#"{"user_id":"u1","recipients":[]}"#.to_owned(), 422, json!("recipients")),
        ("points", many(0), 422, json!("recipients")),
        ("points", many(MAX_BATCH + 1), 413, json!("recipients")),
        ("points", nameless, 422, json!("recipients[1]")),
        ("points", r#"{"user_id":"u1","propertys":{}}"#.to_owned(), 422, Value::Null),
        ("points", r#"{"user_id":true}"#.to_owned(), 422, Value::Null),
        ("points", "not json".to_owned(), 422, Value::Null),
    ] {
        let (status, answer) = server.post(&format!("/v1/campaigns/{key}/send"), body.clone()).await;
        assert_eq!((status, &answer["where"]), (expect, &place), "{body}: {answer}");
    }
    assert_eq!(server.lines(), []);
    assert_eq!(server.post("/v1/campaigns/points/send", many(MAX_BATCH)).await.0, 202);
}

#[tokio::test]
async fn tokens_decide() {
    let token = |text: &str| Some(Secret::new(text));
    let tokens = Tokens { admin: token("a-token"), read: token("r-token"), ingest: token("i-token") };
    let server = Server::with(tokens, Log::default()).await;
    let request = |path: &str| server.request(path).body(r#"{"userId":"u1","event":"login"}"#);
    for (path, bearer, expect) in [
        ("/v1/track", "i-token", 202),
        ("/v1/track", "a-token", 202),
        ("/v1/track", "r-token", 403),
        ("/v1/track", "x", 401),
        ("/v1/batch", "r-token", 403),
        // Nobody learns which campaigns there are.
        ("/v1/campaigns/nobody/send", "x", 401),
    ] {
        let answer = request(path).bearer_auth(bearer).send().await.expect("an answer");
        assert_eq!(read(answer).await.0, expect, "{path} with {bearer}");
    }
    let basic = request("/v1/track").basic_auth("i-token", Some("")).send().await.expect("an answer");
    assert_eq!(basic.status().as_u16(), 202);
    let nobody = request("/v1/track").send().await.expect("an answer");
    assert_eq!(nobody.headers()[WWW_AUTHENTICATE], "Bearer");
    assert_eq!(read(nobody).await.0, 401);
    assert_eq!((server.lines().len(), server.counted("unauthorized")), (3, 5));
}

#[tokio::test]
async fn a_log_that_does_not_acknowledge() {
    for (fault, expect) in
        [(AppendError::Unavailable("no broker".to_owned()), 503), (AppendError::Refused("no such topic".to_owned()), 500)]
    {
        let server = Server::start().await;
        *server.log.fault.lock().expect("no panic while held") = Some(fault);
        for (path, body) in [
            ("/v1/track", r#"{"userId":"u1","event":"login"}"#),
            ("/v1/batch", r#"{"batch":[{"type":"track","userId":"u1","event":"login"}]}"#),
            ("/v1/campaigns/points/send", r#"{"user_id":"u1"}"#),
        ] {
            assert_eq!(server.post(path, body).await.0, expect, "{path}");
        }
        assert_eq!((server.counted("unavailable"), server.counted("accepted")), (3, 0));
    }
}

#[tokio::test]
async fn no_more_waits_for_the_log_than_the_bound() {
    let server = Server::with(Tokens::default(), Log { hangs: true, ..Log::default() }).await;
    // A packed batch takes room for what it may unpack to: 16 of them fill it.
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(br#"{"batch":[{"type":"track","userId":"u1","event":"login"}]}"#).expect("in memory");
    let packed = packed.finish().expect("in memory");
    let mut hanging = Vec::new();
    for _ in 0..api::MAX_BYTES_IN_FLIGHT / MAX_REQUEST_BYTES {
        let request = server.request("/v1/batch").header(CONTENT_ENCODING, "gzip").body(packed.clone());
        hanging.push(tokio::spawn(request.send()));
        server.log.taken.notified().await;
    }
    let answer = server.request("/v1/track").body(r#"{"userId":"u1","event":"login"}"#).send().await.expect("an answer");
    assert_eq!(answer.headers()[RETRY_AFTER], "1");
    assert_eq!((read(answer).await.0, server.counted("throttled")), (429, 1));
    hanging.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn what_is_not_there() {
    let server = Server::start().await;
    assert_eq!(server.post("/v1/nothing", "{}").await.0, 404);
    let answer = server.client.get(format!("http://{}/v1/track", server.address)).send().await.expect("an answer");
    assert_eq!(read(answer).await.0, 405);
}

//! One exchange with endpoints that behave and endpoints that do not.

use std::process::Command;
use std::time::Duration;

use campanile::adapter::webhook::{WebhookClient, WebhookSettings};
use campanile::cli::receive::{Answers, Receiver};
use campanile::engine::definition::Method;
use campanile::engine::delivery::{Answer, Failure};
use campanile::worker::links::MAX_CONTENT_BYTES;
use campanile::worker::ports::{EXCERPT_BYTES, Exchange, HttpRequest};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::support::endpoint::{Endpoint, Seen};

/// Long enough for a busy machine; an exchange that should end before has no use for it.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a test that must run into its deadline waits.
const SHORT: Duration = Duration::from_millis(500);

fn settings(endpoint: &Endpoint) -> WebhookSettings {
    let networks = ["127.0.0.0/8", "::1"].map(|network| network.parse().expect("a network"));
    WebhookSettings { allow_http: true, allow_networks: networks.into(), extra_roots: endpoint.roots() }
}

fn client(settings: &WebhookSettings) -> WebhookClient {
    WebhookClient::new(settings).expect("a client")
}

fn post(url: String) -> HttpRequest {
    let headers = [("content-type", "application/json"), ("webhook-id", "msg_1"), ("webhook-attempt", "1"), ("X-Source", "campanile")];
    HttpRequest {
        method: Method::Post,
        url,
        headers: headers.map(|(name, value)| (name.into(), value.into())).into(),
        body: Some(br#"{"to":"+82"}"#.to_vec()),
        ca: None,
        timeout: PATIENCE,
        keep_bytes: EXCERPT_BYTES,
    }
}

async fn ask(settings: &WebhookSettings, request: HttpRequest) -> Answer {
    client(settings).exchange(request).await
}

async fn check(path: &str, timeout: Duration, expect: Result<u16, Failure>) -> (Answer, Vec<Seen>) {
    let endpoint = Endpoint::plain().await;
    let request = HttpRequest { timeout, ..post(endpoint.url(path)) };
    let answer = ask(&settings(&endpoint), request).await;
    assert_eq!(answer.status, expect, "{path}");
    (answer, endpoint.seen())
}

#[tokio::test]
async fn every_behaviour_has_its_answer() {
    for (path, timeout, expect) in [
        ("/", PATIENCE, Ok(200)),
        ("/status/204", PATIENCE, Ok(204)),
        ("/status/404", PATIENCE, Ok(404)),
        ("/status/500", PATIENCE, Ok(500)),
        ("/status/503", PATIENCE, Ok(503)),
        ("/retry-after/7", PATIENCE, Ok(429)),
        ("/hang", SHORT, Err(Failure::Timeout)),
        ("/close", PATIENCE, Err(Failure::Connect)),
        ("/reset", PATIENCE, Err(Failure::Connect)),
        ("/cut", PATIENCE, Ok(200)),
        ("/junk", PATIENCE, Err(Failure::Protocol)),
    ] {
        let (_, seen) = check(path, timeout, expect).await;
        assert_eq!(seen.len(), 1, "{path} was asked once");
    }
}

#[tokio::test]
async fn a_request_arrives_as_it_was_given() {
    let (answer, seen) = check("/a%20b?q=1&r=%2F", PATIENCE, Ok(200)).await;
    let request = &seen[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/a%20b?q=1&r=%2F"));
    assert_eq!(request.body, br#"{"to":"+82"}"#);
    assert_eq!((request.webhook_id(), request.attempt(), request.header("x-source")), (Some("msg_1"), 1, Some("campanile")));
    assert_eq!(answer.body_excerpt.as_deref(), Some("status 200"));
    assert!(answer.latency > Duration::ZERO);
}

#[tokio::test]
async fn nothing_is_added_but_what_frames_a_request() {
    let endpoint = Endpoint::plain().await;
    let client = client(&settings(&endpoint));
    let host = endpoint.address().to_string();
    for (method, body, length) in [
        (Method::Get, None, None),
        (Method::Delete, None, None),
        (Method::Post, None, Some("0")),
        (Method::Put, None, Some("0")),
        (Method::Patch, None, Some("0")),
        (Method::Post, Some(""), Some("0")),
        (Method::Post, Some("hello"), Some("5")),
        (Method::Put, Some("hello"), Some("5")),
        (Method::Patch, Some("hello"), Some("5")),
        (Method::Delete, Some("hello"), Some("5")),
    ] {
        let before = endpoint.count();
        let request = HttpRequest { method, body: body.map(Into::into), headers: Vec::new(), ..post(endpoint.url("/")) };
        assert_eq!(client.exchange(request).await.status, Ok(200));
        let seen = &endpoint.seen()[before];
        let mut expect = vec![("host", host.as_str())];
        expect.extend(length.map(|length| ("content-length", length)));
        let headers: Vec<(&str, &str)> = seen.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!((headers, seen.body.as_slice()), (expect, body.unwrap_or_default().as_bytes()), "{method:?}");
    }
}

#[tokio::test]
async fn a_url_is_sent_as_it_can_be_read() {
    for (written, expect) in [
        ("", "/"),
        ("?a=b", "/?a=b"),
        ("/ü/a b?q=ü \"<>", "/%C3%BC/a%20b?q=%C3%BC%20%22%3C%3E"),
        ("/a#fragment", "/a"),
        ("/a/../b/./c", "/b/c"),
        ("/%2e%2E/a\\b", "/a/b"),
        ("/{a}|b`", "/%7Ba%7D|b%60"),
    ] {
        let (_, seen) = check(written, PATIENCE, Ok(200)).await;
        assert_eq!(seen[0].path, expect, "{written}");
    }
}

#[tokio::test]
async fn retry_after_is_handed_on_as_written() {
    for written in ["120", "Wed,%2021%20Oct%202026"] {
        let (answer, _) = check(&format!("/retry-after/{written}"), PATIENCE, Ok(429)).await;
        assert_eq!(answer.retry_after.as_deref(), Some(written));
    }
    let (answer, _) = check(&format!("/retry-after/{}", "9".repeat(1000)), PATIENCE, Ok(429)).await;
    assert_eq!(answer.retry_after, None);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (_, seen) = check("/redirect", PATIENCE, Ok(302)).await;
    assert_eq!(seen.iter().map(|seen| seen.path.as_str()).collect::<Vec<_>>(), ["/redirect"]);
}

#[tokio::test]
async fn the_deadline_covers_the_body() {
    let begun = Instant::now();
    let (answer, seen) = check("/slow", SHORT, Ok(200)).await;
    assert_eq!(answer.cut, Some(Failure::Timeout));
    assert!(answer.latency >= SHORT && begun.elapsed() < PATIENCE, "{:?}", answer.latency);
    assert!(seen[0].at < begun + answer.latency, "it arrived and was waited for");
}

#[tokio::test]
async fn no_more_of_a_body_is_read_than_the_bound() {
    let (answer, _) = check("/huge", PATIENCE, Ok(200)).await;
    assert_eq!(answer.body_excerpt.map(|excerpt| excerpt.len()), Some(EXCERPT_BYTES));
    // Who wants more sees that there is more than is allowed.
    let endpoint = Endpoint::plain().await;
    let keep_bytes = MAX_CONTENT_BYTES + 1;
    let answer = ask(&settings(&endpoint), HttpRequest { keep_bytes, ..post(endpoint.url("/huge")) }).await;
    assert_eq!(answer.body_excerpt.map(|excerpt| excerpt.len()), Some(keep_bytes));
}

#[tokio::test]
async fn a_connection_is_used_again_unless_its_body_was_too_long() {
    let endpoint = Endpoint::plain().await;
    let client = client(&settings(&endpoint));
    for path in ["/", "/status/500", "/huge", "/"] {
        client.exchange(post(endpoint.url(path))).await.status.expect("an answer");
    }
    let connections: Vec<usize> = endpoint.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 0, 1]);
}

#[tokio::test]
async fn a_hanging_exchange_holds_up_no_other() {
    let endpoint = Endpoint::plain().await;
    let client = client(&settings(&endpoint));
    let hanging = client.exchange(post(endpoint.url("/hang")));
    let others = async {
        endpoint.wait_for(1).await;
        client.exchange(post(endpoint.url("/status/201"))).await
    };
    tokio::select! {
        answer = hanging => panic!("{answer:?}"),
        answer = others => assert_eq!(answer.status, Ok(201)),
    }
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let endpoint = Endpoint::plain().await;
    let answer = ask(&settings(&endpoint), post(format!("http://{address}/"))).await;
    assert_eq!(answer.status, Err(Failure::Connect));
}

#[tokio::test]
async fn a_name_that_does_not_exist() {
    let endpoint = Endpoint::plain().await;
    let answer = ask(&settings(&endpoint), post("http://no-such-host.invalid/".to_owned())).await;
    assert_eq!(answer.status, Err(Failure::Dns));
}

#[tokio::test]
async fn a_certificate_is_verified() {
    let endpoint = Endpoint::tls("localhost").await;
    let stranger = Endpoint::tls("localhost").await;
    let misnamed = Endpoint::tls("other.example").await;
    let check = async |asked: &Endpoint, trusting: &Endpoint, expect: Result<u16, Failure>| {
        let answer = ask(&settings(trusting), post(asked.named_url("/status/201"))).await;
        assert_eq!((answer.status, asked.seen().len()), (expect, usize::from(expect.is_ok())));
    };
    check(&misnamed, &misnamed, Err(Failure::Tls)).await;
    check(&endpoint, &stranger, Err(Failure::Tls)).await;
    check(&endpoint, &endpoint, Ok(201)).await;
}

#[tokio::test]
async fn plain_http_where_tls_is_spoken_and_the_reverse() {
    let plain = Endpoint::plain().await;
    let answer = ask(&settings(&plain), post(plain.url("/").replace("http:", "https:"))).await;
    assert_eq!(answer.status, Err(Failure::Tls));
    let tls = Endpoint::tls("localhost").await;
    let answer = ask(&settings(&tls), post(tls.named_url("/").replace("https:", "http:"))).await;
    assert!(answer.status.is_err(), "{answer:?}");
}

#[tokio::test]
async fn addresses_that_must_not_be_called() {
    let endpoint = Endpoint::tls("localhost").await;
    let port = endpoint.address().port();
    let strict = WebhookSettings { allow_http: false, allow_networks: Vec::new(), extra_roots: endpoint.roots() };
    let only_v4 = WebhookSettings { allow_networks: vec!["127.0.0.0/8".parse().expect("a network")], ..strict.clone() };
    let lenient = WebhookSettings { allow_http: true, ..strict.clone() };
    for (settings, url) in [
        (&strict, format!("https://127.0.0.1:{port}/")),
        (&strict, format!("https://localhost:{port}/")),
        (&strict, format!("https://2130706433:{port}/")),
        (&strict, format!("https://0x7f.1:{port}/")),
        (&strict, format!("https://[::1]:{port}/")),
        (&strict, format!("https://[::ffff:127.0.0.1]:{port}/")),
        (&strict, "https://169.254.169.254/latest/meta-data/".to_owned()),
        // The whole answer is refused: `localhost` is also ::1.
        (&only_v4, format!("https://localhost:{port}/")),
        (&only_v4, format!("http://127.0.0.1:{port}/")),
        (&lenient, format!("http://127.0.0.1:{port}/")),
        (&lenient, "ftp://example.com/".to_owned()),
        (&lenient, "not a url".to_owned()),
    ] {
        let answer = ask(settings, post(url.clone())).await;
        assert_eq!(answer.status, Err(Failure::AddressRefused), "{url}");
    }
    assert!(endpoint.seen().is_empty());
}

#[tokio::test]
async fn a_header_that_cannot_be_written_is_never_sent() {
    let endpoint = Endpoint::plain().await;
    for (name, value) in [
        ("X-Key", "a\r\nX-Other: b"),
        ("X Key", "a"),
        ("", "a"),
        ("Host", "other.example"),
        ("Content-Length", "3"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close"),
    ] {
        let mut request = post(endpoint.url("/"));
        request.headers.push((name.to_owned().into(), value.to_owned().into()));
        assert_eq!(ask(&settings(&endpoint), request).await.status, Err(Failure::Protocol));
    }
    assert!(endpoint.seen().is_empty());
}

#[tokio::test]
async fn the_receiver_for_trying_answers_as_told() {
    let answers = Answers { fail_first: 1, ..Answers::default() };
    let mut receiver = Receiver::start(([127, 0, 0, 1], 0).into(), answers).await.expect("a free port");
    let endpoint = Endpoint::plain().await;
    let client = client(&settings(&endpoint));
    for (attempt, expect) in [("1", 503), ("2", 200)] {
        let mut request = post(format!("http://{}/sms?x=1", receiver.address()));
        request.headers.retain(|(name, _)| name != "webhook-attempt");
        request.headers.push(("webhook-attempt".into(), attempt.to_owned().into()));
        assert_eq!(client.exchange(request).await.status, Ok(expect));
        let received = receiver.next().await.expect("a request");
        assert_eq!((received.path.as_str(), received.attempt.to_string().as_str(), received.answered), ("/sms?x=1", attempt, expect));
        assert_eq!((received.webhook_id.as_deref(), &received.body[..]), (Some("msg_1"), &br#"{"to":"+82"}"#[..]));
    }
}

/// Runs a test above again, in a process whose environment names a proxy that does not exist.
#[test]
fn proxies_of_the_environment_are_ignored() {
    const NOWHERE: &str = "http://127.0.0.1:1";
    let mut again = Command::new(std::env::current_exe().expect("this binary"));
    again.args(["--exact", "webhook::a_request_arrives_as_it_was_given"]);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        again.env(name, NOWHERE);
    }
    let output = again.env_remove("no_proxy").env_remove("NO_PROXY").output().expect("it runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

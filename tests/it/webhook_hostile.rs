//! Endpoints that mean harm, or are broken as if they did: each exchange has its answer in time, reads no more than it may, and
//! leaves no connection behind.

use std::sync::Arc;
use std::time::Duration;

use campanile::adapter::webhook::{MAX_CIRCLES, WebhookClient, WebhookSettings};
use campanile::engine::definition::Method;
use campanile::engine::delivery::{Answer, Failure};
use campanile::worker::ports::{EXCERPT_BYTES, Exchange, HttpRequest};
use futures_util::future::{join, join_all};
use rustls::ServerConfig;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use crate::support::certificates::{Authority, Validity, self_signed};
use crate::support::endpoint::Endpoint;
use crate::support::hostile::Hostile;
use crate::support::hostile::Step::{self, Drip, Freeze, Hang, ReadHead, ReadSome, Repeat, Reset, Write};

/// Long enough for a busy machine; an exchange that should end before has no use for it.
const PATIENCE: Duration = Duration::from_secs(20);
/// What an exchange waits that must run into its deadline.
const SHORT: Duration = Duration::from_secs(2);
/// By how much an answer may come after its deadline on a busy machine.
const LATE: Duration = Duration::from_secs(3);
/// What the kernel's buffers may take of a flood before the other side has closed. Without a bound it would be 1 GiB.
const MAX_FLOOD_BYTES: usize = 16 << 20;
/// More than the buffers of a connection hold that nobody reads.
const LARGE_BODY_BYTES: usize = 32 << 20;

const PROTOCOL: Result<u16, Failure> = Err(Failure::Protocol);
const CONNECT: Result<u16, Failure> = Err(Failure::Connect);
const TIMEOUT: Result<u16, Failure> = Err(Failure::Timeout);
const TLS: Result<u16, Failure> = Err(Failure::Tls);

fn client(roots: Vec<String>) -> WebhookClient {
    let networks = ["127.0.0.0/8", "::1"].map(|network| network.parse().expect("a network"));
    let settings = WebhookSettings { allow_http: true, allow_networks: networks.into(), extra_roots: roots };
    WebhookClient::new(&settings).expect("a client")
}

fn post(url: String, body_bytes: usize) -> HttpRequest {
    let body = Some(vec![b'x'; body_bytes]);
    HttpRequest { method: Method::Post, url, headers: Vec::new(), body, ca: None, timeout: PATIENCE, keep_bytes: EXCERPT_BYTES }
}

/// One exchange over `scheme` with an endpoint that follows a script; answers what became of it.
async fn meet(
    client: &WebhookClient,
    what: &str,
    scheme: &str,
    tls: Option<Arc<ServerConfig>>,
    script: &'static [Step],
    limit: Duration,
) -> Answer {
    let mut hostile = Hostile::start(tls, script).await;
    let body_bytes = if script.iter().any(|step| matches!(step, Freeze)) { LARGE_BODY_BYTES } else { 300 };
    let url = format!("{scheme}://localhost:{}/", hostile.address().port());
    let answer = client.exchange(HttpRequest { timeout: limit, ..post(url, body_bytes) }).await;
    assert!(answer.latency < limit + LATE, "{what} over {scheme}: {:?}", answer.latency);
    assert!(answer.body_excerpt.as_ref().is_none_or(|excerpt| excerpt.len() <= EXCERPT_BYTES), "{what} over {scheme}");
    // The client lives: it is the connection that is closed.
    let scripts = timeout(PATIENCE, hostile.all_over()).await.unwrap_or_else(|_| panic!("{what} over {scheme}: a connection stays"));
    assert_eq!(scripts, 1, "{what} over {scheme}: one connection, no second try");
    assert!(hostile.written() < MAX_FLOOD_BYTES, "{what} over {scheme}: took {} bytes", hostile.written());
    answer
}

/// Every script over plain TCP and over TLS, all at once.
async fn check_all(scripts: &[(&str, &'static [Step], Result<u16, Failure>)]) {
    let authority = Authority::new();
    let server = authority.server("localhost", Validity::Now);
    let client = client(vec![authority.pem()]);
    let check = async |what: &str, scheme: &str, tls, script, expect| {
        let limit = if expect == TIMEOUT { SHORT } else { PATIENCE };
        let answer = meet(&client, what, scheme, tls, script, limit).await;
        assert_eq!(answer.cut.map_or(answer.status, Err), expect, "{what} over {scheme}");
    };
    let plain = scripts.iter().map(|(what, script, expect)| check(what, "http", None, *script, *expect));
    let tls = scripts.iter().map(|(what, script, expect)| check(what, "https", Some(server.clone()), *script, *expect));
    join(join_all(plain), join_all(tls)).await;
}

#[tokio::test]
async fn a_status_stands_whatever_becomes_of_its_body() {
    let client = client(Vec::new());
    let check = async |script, expect: (u16, Failure, Option<&str>)| {
        let limit = if expect.1 == Failure::Timeout { SHORT } else { PATIENCE };
        let answer = meet(&client, "a body that fails", "http", None, script, limit).await;
        assert_eq!((answer.status, answer.cut, answer.retry_after.as_deref()), (Ok(expect.0), Some(expect.1), expect.2), "{script:?}");
    };
    check(&[ReadHead, Write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")], (200, Failure::Connect, None)).await;
    check(&[ReadHead, Write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"), Hang], (200, Failure::Timeout, None)).await;
    check(&[ReadHead, Write("HTTP/1.1 404 No\r\ncontent-length: 9\r\n\r\n"), Reset], (404, Failure::Connect, None)).await;
    check(&[ReadHead, Write("HTTP/1.1 301 Away\r\nlocation: /\r\ncontent-length: 9\r\n\r\n"), Hang], (301, Failure::Timeout, None)).await;
    let busy = "HTTP/1.1 429 Busy\r\nretry-after: 30\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    let busy: &'static [Step] = Box::leak(Box::new([ReadHead, Write(busy)]));
    check(busy, (429, Failure::Protocol, Some("30"))).await;
}

#[tokio::test]
async fn silence_runs_into_the_deadline() {
    check_all(&[
        ("accepts and hangs", &[Hang], TIMEOUT),
        ("reads the head and hangs", &[ReadHead, Hang], TIMEOUT),
        ("never reads", &[Freeze], TIMEOUT),
        ("answers half a status line", &[ReadHead, Write("HTTP/1.1 2"), Hang], TIMEOUT),
        ("answers half a head", &[ReadHead, Write("HTTP/1.1 200 OK\r\ncontent-len"), Hang], TIMEOUT),
        ("answers half a body", &[ReadHead, Write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), Hang], TIMEOUT),
        ("promises a body", &[ReadHead, Write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"), Hang], TIMEOUT),
        ("never ends its chunks", &[ReadHead, Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"), Hang], TIMEOUT),
        ("never ends an unbounded body", &[ReadHead, Write("HTTP/1.1 200 OK\r\n\r\nhalf"), Hang], TIMEOUT),
        ("asks to go on and hangs", &[ReadHead, Write("HTTP/1.1 100 Continue\r\n\r\n"), Hang], TIMEOUT),
        (
            "drips its head",
            &[ReadHead, Drip("HTTP/1.1 200 OK\r\nx: ............................................................")],
            TIMEOUT,
        ),
        ("drips interim answers", &[ReadHead, Drip("HTTP/1.1 100 Continue\r\n\r\n")], TIMEOUT),
        ("drips its body", &[ReadHead, Write("HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n"), Drip("x")], TIMEOUT),
        ("drips chunks", &[ReadHead, Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), Drip("1\r\nx\r\n")], TIMEOUT),
    ])
    .await;
}

#[tokio::test]
async fn breaking_off_is_a_lost_connection() {
    check_all(&[
        ("closes at once", &[], CONNECT),
        ("closes after the head", &[ReadHead], CONNECT),
        ("closes in the status line", &[ReadHead, Write("HTTP/1.1 2")], CONNECT),
        ("closes in the head", &[ReadHead, Write("HTTP/1.1 200 OK\r\nx: y\r\n")], CONNECT),
        ("closes after an interim answer", &[ReadHead, Write("HTTP/1.1 100 Continue\r\n\r\n")], CONNECT),
        ("closes in the body", &[ReadHead, Write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")], CONNECT),
        ("closes in a chunk", &[ReadHead, Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf")], CONNECT),
        ("closes between chunks", &[ReadHead, Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")], CONNECT),
        ("resets at once", &[Reset], CONNECT),
        ("resets after the head", &[ReadHead, Reset], CONNECT),
        ("resets in the status line", &[ReadHead, Write("HTTP/1.1 2"), Reset], CONNECT),
        ("resets in the head", &[ReadHead, Write("HTTP/1.1 200 OK\r\nx: y\r\n"), Reset], CONNECT),
        ("resets in the body", &[ReadHead, Write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), Reset], CONNECT),
    ])
    .await;
}

#[tokio::test]
async fn floods_are_cut_off() {
    check_all(&[
        ("a body of 1 GiB", &[ReadHead, Write("HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n"), Repeat("x")], Ok(200)),
        ("a body without end", &[ReadHead, Write("HTTP/1.1 503 Busy\r\n\r\n"), Repeat("x")], Ok(503)),
        (
            "chunks without end",
            &[ReadHead, Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), Repeat("5\r\nxxxxx\r\n")],
            Ok(200),
        ),
        ("a byte a chunk", &[ReadHead, Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), Repeat("1\r\nx\r\n")], Ok(200)),
        (
            "a chunk of a size",
            &[ReadHead, Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffff\r\n"), Repeat("x")],
            Ok(200),
        ),
        ("an extension without end", &[ReadHead, Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;"), Repeat("x")], PROTOCOL),
        (
            "padded chunks",
            &[
                ReadHead,
                Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
                Repeat("1;padding=padding=padding=padding\r\nx\r\n"),
            ],
            PROTOCOL,
        ),
        (
            "trailers without end",
            &[ReadHead, Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"), Repeat("x: y\r\n")],
            PROTOCOL,
        ),
        ("a status line without end", &[ReadHead, Write("HTTP/1.1 200 "), Repeat("x")], PROTOCOL),
        ("a header without end", &[ReadHead, Write("HTTP/1.1 200 OK\r\nx: "), Repeat("y")], PROTOCOL),
        ("headers without end", &[ReadHead, Write("HTTP/1.1 200 OK\r\n"), Repeat("x: y\r\n")], PROTOCOL),
        ("interim answers without end", &[ReadHead, Repeat("HTTP/1.1 100 Continue\r\n\r\n")], PROTOCOL),
        ("early hints without end", &[ReadHead, Repeat("HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\n")], PROTOCOL),
        ("junk without end", &[ReadHead, Repeat("\u{7f}")], PROTOCOL),
        ("line breaks without end", &[ReadHead, Repeat("\r\n")], PROTOCOL),
        ("answers without end", &[ReadHead, Repeat("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")], Ok(200)),
    ])
    .await;
}

#[tokio::test]
async fn what_is_not_http_is_told_from_what_is() {
    check_all(&[
        ("another protocol", &[ReadHead, Write("220 mail.example ESMTP ready\r\n")], PROTOCOL),
        ("no protocol", &[ReadHead, Write("<html><body>hello</body></html>\r\n\r\n")], PROTOCOL),
        ("a version of its own", &[ReadHead, Write("HTTP/3.7 200 OK\r\n\r\n")], PROTOCOL),
        ("a status of words", &[ReadHead, Write("HTTP/1.1 fine OK\r\n\r\n")], PROTOCOL),
        ("a status of two digits", &[ReadHead, Write("HTTP/1.1 20 OK\r\n\r\n")], PROTOCOL),
        ("a status below all", &[ReadHead, Write("HTTP/1.1 099 OK\r\n\r\n")], PROTOCOL),
        ("a header without a colon", &[ReadHead, Write("HTTP/1.1 200 OK\r\nhello\r\n\r\n")], PROTOCOL),
        ("a folded header", &[ReadHead, Write("HTTP/1.1 200 OK\r\nx: y\r\n z\r\n\r\n")], PROTOCOL),
        ("a length of words", &[ReadHead, Write("HTTP/1.1 200 OK\r\ncontent-length: few\r\n\r\n")], PROTOCOL),
        ("a length below none", &[ReadHead, Write("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n")], PROTOCOL),
        ("two lengths", &[ReadHead, Write("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx")], PROTOCOL),
        ("a chunk of words", &[ReadHead, Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")], PROTOCOL),
        (
            "a chunk beyond measure",
            &[ReadHead, Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n")],
            PROTOCOL,
        ),
        ("HTTP/1.0 to its end", &[ReadHead, Write("HTTP/1.0 200 OK\r\n\r\nhello")], Ok(200)),
        ("no headers", &[ReadHead, Write("HTTP/1.1 204 \r\n\r\n")], Ok(204)),
        (
            "interim answers first",
            &[ReadHead, Write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 201 OK\r\n\r\n")],
            Ok(201),
        ),
        (
            "another protocol by HTTP",
            &[ReadHead, Write("HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), Hang],
            Ok(101),
        ),
        ("the highest status", &[ReadHead, Write("HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n")], Ok(999)),
    ])
    .await;
}

#[tokio::test]
async fn a_handshake_that_does_not_come_about() {
    let scripts: [(&str, &'static [Step], Result<u16, Failure>); 7] = [
        ("hangs before", &[Hang], TIMEOUT),
        ("hangs in it", &[ReadSome, Hang], TIMEOUT),
        ("closes in it", &[ReadSome], CONNECT),
        ("resets in it", &[ReadSome, Reset], CONNECT),
        ("drips it", &[ReadSome, Drip("\u{16}\u{3}\u{3}\u{3f}\u{7f}\u{2}")], TIMEOUT),
        ("answers in plain text", &[ReadSome, Write("HTTP/1.1 400 Bad Request\r\n\r\n"), Hang], TLS),
        ("floods", &[ReadSome, Repeat("junk")], TLS),
    ];
    let client = client(Vec::new());
    join_all(scripts.map(async |(what, script, expect)| {
        let limit = if expect == TIMEOUT { SHORT } else { PATIENCE };
        assert_eq!(meet(&client, what, "https", None, script, limit).await.status, expect, "{what}");
    }))
    .await;
}

#[tokio::test]
async fn who_speaks_first_is_no_http_server() {
    let client = client(Vec::new());
    // Either it is noticed before the request is written, or it is read as the answer.
    let answer = meet(&client, "another protocol", "http", None, &[Write("SSH-2.0-OpenSSH_9.9\r\n"), Hang], PATIENCE).await;
    assert!([CONNECT, PROTOCOL].contains(&answer.status), "{answer:?}");
}

#[tokio::test]
async fn a_certificate_must_be_right_in_all_respects() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let client = client(vec![authority.pem()]);
    let check = async |what: &str, server: Arc<ServerConfig>, expect| {
        const ANSWER: &[Step] = &[ReadHead, Write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")];
        assert_eq!(meet(&client, what, "https", Some(server), ANSWER, PATIENCE).await.status, expect, "{what}");
    };
    check("expired", authority.server("localhost", Validity::Past), TLS).await;
    check("not yet valid", authority.server("localhost", Validity::Future), TLS).await;
    check("for another host", authority.server("other.example", Validity::Now), TLS).await;
    check("for a part of the name", authority.server("local", Validity::Now), TLS).await;
    check("for an address", authority.server("127.0.0.1", Validity::Now), TLS).await;
    check("of an unknown authority", stranger.server("localhost", Validity::Now), TLS).await;
    check("self-signed", self_signed("localhost"), TLS).await;
    check("right", authority.server("localhost", Validity::Now), Ok(200)).await;
    for (what, version) in [("TLS 1.2", &rustls::version::TLS12), ("TLS 1.3", &rustls::version::TLS13)] {
        check(what, authority.server_of("localhost", Validity::Now, &[version]), Ok(200)).await;
    }
}

#[tokio::test]
async fn a_destination_has_authorities_of_its_own() {
    let (ours, theirs) = (Endpoint::tls("localhost").await, Endpoint::tls("localhost").await);
    let client = client(ours.roots());
    let ask = async |endpoint: &Endpoint, ca: Option<&str>| -> Answer {
        let request = HttpRequest { ca: ca.map(Arc::from), ..post(endpoint.named_url("/"), 1) };
        client.exchange(request).await
    };
    let own = theirs.roots();
    let own = own.first().map(String::as_str);
    assert_eq!(ask(&theirs, None).await.status, TLS);
    assert_eq!(ask(&theirs, own).await.status, Ok(200));
    assert_eq!(ask(&theirs, None).await.status, TLS, "trusted for that destination only, open connections included");
    assert_eq!(ask(&ours, own).await.status, Ok(200), "trusted beside the others");
    assert_eq!(ask(&theirs, own).await.status, Ok(200));
    assert_eq!(theirs.seen().iter().map(|seen| seen.connection).collect::<Vec<_>>(), [1, 1], "used again");
    for broken in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert_eq!(ask(&theirs, Some(broken)).await.status, TLS, "{broken:?}");
    }
    assert_eq!(theirs.count(), 2);
}

#[tokio::test]
async fn only_so_many_sets_of_authorities_are_kept() {
    let endpoint = Endpoint::tls("localhost").await;
    let client = client(Vec::new());
    let authority = endpoint.roots().concat();
    let mut order: Vec<usize> = (0..=MAX_CIRCLES).collect();
    order.extend([MAX_CIRCLES, 0]);
    for set in order {
        let ca = format!("{authority}{}", "\n".repeat(set));
        let request = HttpRequest { ca: Some(ca.into()), ..post(endpoint.named_url("/"), 1) };
        assert_eq!(client.exchange(request).await.status, Ok(200));
    }
    let connections: Vec<usize> = endpoint.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections[..=MAX_CIRCLES], (0..=MAX_CIRCLES).collect::<Vec<_>>());
    assert_eq!(connections[MAX_CIRCLES + 1..], [MAX_CIRCLES, MAX_CIRCLES + 1], "the last is kept, the first made room");
}

#[tokio::test]
async fn what_was_given_up_does_not_run_on() {
    let authority = Authority::new();
    let client = client(vec![authority.pem()]);
    for (scheme, tls) in [("http", None), ("https", Some(authority.server("127.0.0.1", Validity::Now)))] {
        let hostile = Hostile::start(tls, &[Freeze]).await;
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let script_added = tasks() + 1;
        let request = post(format!("{scheme}://{}/", hostile.address()), LARGE_BODY_BYTES);
        assert_eq!(client.exchange(HttpRequest { timeout: SHORT, ..request }).await.status, TIMEOUT);
        // The endpoint has not moved, and will not.
        let over = async {
            while tasks() > script_added {
                yield_now().await;
            }
        };
        timeout(PATIENCE, over).await.unwrap_or_else(|_| panic!("over {scheme}: {} tasks", tasks()));
    }
}

#[tokio::test]
async fn nobody_answers_the_connection() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let listener = socket.listen(1).expect("it listens");
    let address = listener.local_addr().expect("an address");
    // Nobody accepts: when its queue is full, no handshake is answered.
    let mut queue = Vec::new();
    while let Ok(connection) = timeout(SHORT, TcpStream::connect(address)).await {
        queue.push(connection.expect("it waits to be accepted"));
        assert!(queue.len() < 1000, "the queue has no end");
    }
    let begun = Instant::now();
    let answer = client(Vec::new()).exchange(HttpRequest { timeout: SHORT, ..post(format!("http://{address}/"), 1) }).await;
    assert_eq!(answer.status, TIMEOUT);
    assert!(begun.elapsed() < SHORT + LATE, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_not_used() {
    const ONCE: &[Step] = &[ReadHead, Write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")];
    const APOLOGY: &[Step] =
        &[ReadHead, Write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")];
    for script in [ONCE, APOLOGY] {
        let (mut hostile, other) = (Hostile::start(None, script).await, Endpoint::plain().await);
        let client = client(Vec::new());
        for round in 1..=3 {
            let url = format!("http://{}/", hostile.address());
            assert_eq!(client.exchange(post(url, 1)).await.status, Ok(200), "{script:?}");
            assert_eq!(hostile.all_over().await, round, "each has a connection of its own");
            // By then the news of the close is here, too.
            assert_eq!(client.exchange(post(other.url("/"), 1)).await.status, Ok(200));
        }
    }
}

#[tokio::test]
async fn a_request_that_was_begun_is_never_repeated() {
    let endpoint = Endpoint::plain().await;
    let client = client(Vec::new());
    for (path, expect) in [("/", Ok(200)), ("/close", CONNECT), ("/", Ok(200)), ("/reset", CONNECT), ("/", Ok(200)), ("/cut", Ok(200))] {
        assert_eq!(client.exchange(post(endpoint.url(path), 1)).await.status, expect, "{path}");
    }
    let seen: Vec<(usize, String)> = endpoint.seen().into_iter().map(|seen| (seen.connection, seen.path)).collect();
    let expect = [(0, "/"), (0, "/close"), (1, "/"), (1, "/reset"), (2, "/"), (2, "/cut")];
    assert_eq!(seen, expect.map(|(connection, path)| (connection, path.to_owned())));
}

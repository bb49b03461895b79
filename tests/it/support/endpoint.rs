//! An endpoint in this process that behaves as the path of a request says, well or badly, and remembers every request. It
//! speaks HTTP/1.1 over raw TCP, because much of what it does no server library would.
//!
//! | path | behaviour |
//! |---|---|
//! | `/status/N` | answers N with a small body |
//! | `/fail-first/K/N` | answers N to attempts 1 to K (by `webhook-attempt`), then 200 |
//! | `/first/K/REST` | behaves as `/REST` to attempts 1 to K, then answers 200 |
//! | `/retry-after/V` | 429 with `Retry-After: V` |
//! | `/redirect` | 302 to `/status/200` |
//! | `/redirect-to/N/HOST` | N to `http://HOST/` |
//! | `/hang` | reads the request, never answers |
//! | `/pause/MS` | 200 after so many milliseconds |
//! | `/slow` | 200 whose body never ends, a byte at first and then nothing |
//! | `/huge` | 200 whose body is larger than anybody should read |
//! | `/close` | closes without an answer |
//! | `/reset` | resets the connection |
//! | `/cut` | 200, closes in the middle of the body |
//! | `/junk` | answers what is not HTTP |
//! | `/json/TEXT` | 200 with this text, which should be JSON |
//! | `/echo` | 200 with what it was sent: as JSON within JSON, as it was, and as a form |
//! | any other | 200 |

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::certificates::{Authority, Validity};

/// Size of the body of `/huge`.
pub const HUGE_BODY_BYTES: usize = 64 * 1024 * 1024;
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    /// Which connection brought it, counted from 0.
    pub connection: usize,
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn webhook_id(&self) -> Option<&str> {
        self.header("webhook-id")
    }

    /// `webhook-attempt`; 1 where there is none.
    pub fn attempt(&self) -> u32 {
        self.header("webhook-attempt").and_then(|text| text.parse().ok()).unwrap_or(1)
    }
}

/// Listens until it is dropped.
pub struct Endpoint {
    address: SocketAddr,
    scheme: &'static str,
    authority_pem: Option<String>,
    log: Arc<Log>,
    /// Handshakes that may be answered.
    door: Arc<Semaphore>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Log {
    seen: Mutex<Vec<Seen>>,
    /// Requests that are being answered, and the most there were at once.
    open: Mutex<(usize, usize)>,
    arrived: Notify,
    /// Connections that wait for the handshake, where that is held.
    at_the_door: AtomicUsize,
}

impl Endpoint {
    /// Plain HTTP on a free port of 127.0.0.1.
    pub async fn plain() -> Endpoint {
        Endpoint::start("127.0.0.1:0", None, None, Semaphore::MAX_PERMITS).await
    }

    /// Plain HTTP on this address, where nobody listened before.
    pub async fn plain_at(address: &str) -> Endpoint {
        Endpoint::start(address, None, None, Semaphore::MAX_PERMITS).await
    }

    /// TLS with a certificate for `name`, issued by a certificate authority of its own.
    pub async fn tls(name: &str) -> Endpoint {
        Endpoint::tls_for(name, Semaphore::MAX_PERMITS).await
    }

    /// The same, but no handshake is answered before [`Endpoint::let_in`].
    pub async fn tls_held(name: &str) -> Endpoint {
        Endpoint::tls_for(name, 0).await
    }

    async fn tls_for(name: &str, handshakes: usize) -> Endpoint {
        let authority = Authority::new();
        Endpoint::start("127.0.0.1:0", Some(authority.server(name, Validity::Now)), Some(authority.pem()), handshakes).await
    }

    async fn start(address: &str, tls: Option<Arc<ServerConfig>>, authority_pem: Option<String>, handshakes: usize) -> Endpoint {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let log = Arc::new(Log::default());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let door = Arc::new(Semaphore::new(handshakes));
        let accepting = tokio::spawn(accept(listener, tls.map(TlsAcceptor::from), log.clone(), door.clone()));
        Endpoint { address, scheme, authority_pem, log, door, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path by the literal address.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// The URL of a path by the name `localhost`.
    pub fn named_url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.address.port())
    }

    /// The certificate authority to trust; empty without TLS.
    pub fn roots(&self) -> Vec<String> {
        self.authority_pem.clone().into_iter().collect()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.log.seen.lock().expect("no panic while held").clone()
    }

    /// How many requests have arrived.
    pub fn count(&self) -> usize {
        self.log.seen.lock().expect("no panic while held").len()
    }

    /// How many requests there were at most at the same time, each from its arrival to just before its answer.
    pub fn most_at_once(&self) -> usize {
        self.log.open.lock().expect("no panic while held").1
    }

    /// How many connections wait for their handshake.
    pub fn at_the_door(&self) -> usize {
        self.log.at_the_door.load(Ordering::Acquire)
    }

    /// Answers all handshakes, those that wait and those to come.
    pub fn let_in(&self) {
        self.door.add_permits(Semaphore::MAX_PERMITS - self.door.available_permits());
    }

    /// Waits until `count` requests have arrived.
    pub async fn wait_for(&self, count: usize) -> Vec<Seen> {
        loop {
            let arrived = self.log.arrived.notified();
            let seen = self.seen();
            if seen.len() >= count {
                return seen;
            }
            arrived.await;
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, log: Arc<Log>, door: Arc<Semaphore>) {
    let mut connection = 0;
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, log, door) = (tls.clone(), log.clone(), door.clone());
        // An error here is a client that went away: part of what is tried.
        tokio::spawn(async move {
            match tls {
                None => drop(serve(tcp, connection, &log).await),
                Some(tls) => {
                    log.at_the_door.fetch_add(1, Ordering::AcqRel);
                    let _through = door.acquire().await;
                    log.at_the_door.fetch_sub(1, Ordering::AcqRel);
                    if let Ok(stream) = tls.accept(tcp).await {
                        drop(serve(stream, connection, &log).await);
                    }
                }
            }
        });
        connection += 1;
    }
}

/// What can be cut off the hard way.
trait Reset {
    fn reset_on_drop(&self);
}

impl Reset for TcpStream {
    fn reset_on_drop(&self) {
        let _ = self.set_zero_linger();
    }
}

impl Reset for tokio_rustls::server::TlsStream<TcpStream> {
    fn reset_on_drop(&self) {
        self.get_ref().0.reset_on_drop();
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Reset + Unpin>(mut stream: S, connection: usize, log: &Log) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(seen) = read_request(&mut stream, &mut buffer, connection).await? {
        log.seen.lock().expect("no panic while held").push(seen.clone());
        log.arrived.notify_waiters();
        let under_way = UnderWay::begin(log);
        if !answer(&mut stream, &seen, under_way).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// A request that is being answered.
struct UnderWay<'a>(&'a Log);

impl UnderWay<'_> {
    fn begin(log: &Log) -> UnderWay<'_> {
        let mut open = log.open.lock().expect("no panic while held");
        open.0 += 1;
        open.1 = open.1.max(open.0);
        UnderWay(log)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.open.lock().expect("no panic while held").0 -= 1;
    }
}

/// Answers; false when the connection is to be closed.
async fn answer<S: AsyncWrite + AsyncRead + Reset + Unpin>(stream: &mut S, seen: &Seen, under_way: UnderWay<'_>) -> io::Result<bool> {
    let path = seen.path.split('?').next().unwrap_or_default();
    let mut parts = behaviour(path, seen.attempt()).split('/');
    match parts.next().unwrap_or_default() {
        "pause" => {
            tokio::time::sleep(Duration::from_millis(number(parts.next()).into())).await;
            // Who has read the answer may begin another.
            drop(under_way);
            respond(stream, 200, "").await
        }
        "status" => respond(stream, number(parts.next()), "").await,
        "json" => answer_with(stream, 200, "content-type: application/json\r\n", parts.next().unwrap_or_default()).await,
        "echo" => answer_with(stream, 200, "", &echo(seen)).await,
        "fail-first" => {
            let failures = number(parts.next());
            let status = if seen.attempt() <= u32::from(failures) { number(parts.next()) } else { 200 };
            respond(stream, status, "").await
        }
        "retry-after" => respond(stream, 429, &format!("retry-after: {}\r\n", parts.next().unwrap_or_default())).await,
        "redirect" => respond(stream, 302, "location: /status/200\r\n").await,
        "redirect-to" => {
            let status = number(parts.next());
            respond(stream, status, &format!("location: http://{}/\r\n", parts.next().unwrap_or_default())).await
        }
        "hang" => {
            // Ends when the client goes away.
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.map(|_| false)
        }
        "slow" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n1").await?;
            stream.flush().await?;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.map(|_| false)
        }
        "huge" => {
            stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {HUGE_BODY_BYTES}\r\n\r\n").as_bytes()).await?;
            let chunk = vec![b'x'; 64 * 1024];
            for _ in 0..HUGE_BODY_BYTES / chunk.len() {
                stream.write_all(&chunk).await?;
            }
            Ok(true)
        }
        "close" => Ok(false),
        "reset" => {
            stream.reset_on_drop();
            Ok(false)
        }
        "cut" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n1").await?;
            stream.shutdown().await.map(|()| false)
        }
        "junk" => {
            stream.write_all(b"220 mail.example ESMTP ready\r\n").await?;
            stream.shutdown().await.map(|()| false)
        }
        _ => respond(stream, 200, "").await,
    }
}

/// What a path asks for at this attempt, without its first slash.
fn behaviour(path: &str, attempt: u32) -> &str {
    let path = path.trim_start_matches('/');
    match path.strip_prefix("first/").and_then(|rest| rest.split_once('/')) {
        Some((attempts, rest)) if attempt <= u32::from(number(Some(attempts))) => rest,
        Some(_) => "status/200",
        None => path,
    }
}

/// Everything that a secret may stand in, in the ways in which echoing services write it.
fn echo(seen: &Seen) -> String {
    let body = String::from_utf8_lossy(&seen.body);
    let headers: serde_json::Map<String, serde_json::Value> =
        seen.headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let all = serde_json::json!({"headers": headers, "data": body, "path": seen.path});
    let lines: String = seen.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    let form = percent_encoding::utf8_percent_encode(&body, percent_encoding::NON_ALPHANUMERIC);
    format!("{all}\n{lines}{body}\n{form}")
}

async fn respond<S: AsyncWrite + Unpin>(stream: &mut S, status: u16, headers: &str) -> io::Result<bool> {
    answer_with(stream, status, headers, &format!("status {status}")).await
}

async fn answer_with<S: AsyncWrite + Unpin>(stream: &mut S, status: u16, headers: &str, body: &str) -> io::Result<bool> {
    let text = format!("HTTP/1.1 {status} Tried\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await?;
    stream.flush().await.map(|()| true)
}

fn number(text: Option<&str>) -> u16 {
    text.and_then(|text| text.parse().ok()).unwrap_or(500)
}

/// The next request of a connection; `None` when the client has closed it.
async fn read_request<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    connection: usize,
) -> io::Result<Option<Seen>> {
    let head_bytes = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if buffer.len() > MAX_HEAD_BYTES || stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
        if !buffer[0].is_ascii_uppercase() {
            // A TLS handshake, say: as any server, answer in the own tongue.
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await?;
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_bytes]).into_owned();
    let mut lines = head.lines();
    let mut request_line = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, path) = (request_line.next().unwrap_or_default(), request_line.next().unwrap_or_default());
    let headers: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    while buffer.len() < head_bytes + length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = buffer[head_bytes..head_bytes + length].to_vec();
    buffer.drain(..head_bytes + length);
    Ok(Some(Seen { at: Instant::now(), connection, method, path, headers, body }))
}

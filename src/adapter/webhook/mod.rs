//! One HTTP exchange over hyper and rustls: the `Exchange` port. It sends what it is given, once, and answers with data. It
//! never follows a redirect, never asks a proxy, never repeats a request of which a byte may have been written, and never connects to
//! an address that [`Reach`] refuses.

mod address;
mod connect;
mod connection;
mod failure;
mod pool;
mod request;
mod resolver;
mod special;
mod stream;
mod trust;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, RETRY_AFTER};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::engine::delivery::{Answer, Failure};
use crate::worker::ports::{Exchange, Future, HttpRequest, Turn};

pub use address::{Cidr, CidrError, Reach};
use connect::Opener;
use connection::{Broken, Connection, next_piece};
use pool::Pool;
use request::{Host, Origin, Targets, prepare};
use resolver::CheckedResolver;
pub use trust::AuthorityError;
use trust::Trust;

/// How much of a response's body is read. What is longer costs its sender the connection.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// Longest `Retry-After` that is passed on; an HTTP date has 29 bytes.
const MAX_RETRY_AFTER_BYTES: usize = 64;
/// Sets of authorities, beside the one for everyone, whose connections are kept; the one used least lately makes room.
pub const MAX_CIRCLES: usize = 32;

/// What may be called.
#[derive(Clone, Debug, Default)]
pub struct WebhookSettings {
    /// Plain `http` as well as `https`.
    pub allow_http: bool,
    /// Networks exempt from the refusal of private and special addresses.
    pub allow_networks: Vec<Cidr>,
    /// Certificates, PEM, trusted beside those of the operating system.
    pub extra_roots: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("a certificate to trust cannot be used: {0}")]
    ExtraRoot(#[source] AuthorityError),
    #[error("no certificate authorities on this machine: install ca-certificates or set SSL_CERT_FILE")]
    NoAuthorities,
    #[error("cannot prepare TLS: {0}")]
    Tls(#[source] rustls::Error),
    #[error("cannot prepare the resolver: {0}")]
    Resolver(String),
}

/// The client of one lane. Its connections live on the runtime that uses it.
pub struct WebhookClient {
    opener: Opener,
    allow_http: bool,
    trust: Trust,
    targets: Targets,
    everyone: Rc<Circle>,
    /// Those with authorities of their own, the one used last at the end.
    apart: RefCell<Vec<(Arc<str>, Rc<Circle>)>>,
}

/// What trusts the same authorities: a connection made under one trust is of no use under another.
struct Circle {
    tls: TlsConnector,
    idle: Pool<Connection>,
}

impl WebhookClient {
    /// Resolves by the name servers of the system. Where there are no certificate authorities and plain `http` is allowed (a
    /// first try on a bare machine), every `https` exchange fails as [`Failure::Tls`].
    pub fn new(settings: &WebhookSettings) -> Result<WebhookClient, WebhookError> {
        WebhookClient::with_name_servers(settings, &[])
    }

    /// As [`WebhookClient::new`], resolving by these name servers.
    pub fn with_name_servers(settings: &WebhookSettings, name_servers: &[SocketAddr]) -> Result<WebhookClient, WebhookError> {
        let trust = Trust::of_the_system(&settings.extra_roots)?;
        if trust.is_empty() {
            if !settings.allow_http {
                return Err(WebhookError::NoAuthorities);
            }
            tracing::warn!(
                "no certificate authorities on this machine: every https endpoint will be refused; install ca-certificates or set SSL_CERT_FILE"
            );
        }
        let reach = Arc::new(Reach::new(settings.allow_networks.clone()));
        let resolver = CheckedResolver::new(reach.clone(), name_servers).map_err(WebhookError::Resolver)?;
        let everyone = Rc::new(Circle::new(trust.clone()).map_err(WebhookError::Tls)?);
        let opener = Opener { resolver, reach };
        Ok(WebhookClient {
            opener,
            allow_http: settings.allow_http,
            trust,
            targets: Targets::default(),
            everyone,
            apart: RefCell::default(),
        })
    }

    async fn attempt(&self, mut request: HttpRequest, reply: &mut Reply) -> Result<(), Failure> {
        let (ca, keep_bytes) = (request.ca.take(), request.keep_bytes);
        let (origin, wire) = prepare(&self.targets, request)?;
        self.admit(&origin)?;
        let circle = self.circle(ca.as_ref())?;
        let (connection, response) = self.send(&circle, &origin, wire).await?;
        finish(&circle, &origin, connection, response, keep_bytes, reply).await
    }

    /// As `attempt`, with the turn before each try to write, and a deadline that is moved by what that took.
    async fn attempt_in_turn(
        &self,
        mut request: HttpRequest,
        turn: &dyn Turn,
        deadline: &mut Instant,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let (ca, keep_bytes) = (request.ca.take(), request.keep_bytes);
        let (origin, mut wire) = prepare(&self.targets, request)?;
        self.admit(&origin)?;
        let circle = self.circle(ca.as_ref())?;
        loop {
            let idle = circle.idle.take(&origin.text);
            let is_new = idle.is_none();
            let mut connection = match idle {
                Some(connection) => connection,
                None => within(*deadline, self.opener.open(&origin, &circle.tls)).await?,
            };
            let asked = Instant::now();
            if !turn.comes().await {
                circle.keep(&origin, connection);
                return Err(Failure::Unsent);
            }
            *deadline += asked.elapsed();
            match timeout_at(*deadline, connection.send(wire)).await {
                Ok(Ok(response)) => return within(*deadline, finish(&circle, &origin, connection, response, keep_bytes, reply)).await,
                Ok(Err(Broken::Unsent(_))) if is_new => return Err(Failure::Connect),
                // Its server closed it while it waited. The next one may have to be opened first: the turn comes again.
                Ok(Err(Broken::Unsent(unsent))) => wire = *unsent,
                Ok(Err(Broken::Failed(error))) => return Err(failure::of(&error)),
                Err(_) => return Err(Failure::Timeout),
            }
        }
    }

    /// Sends a request over a connection that idles, or over a new one. An idle one that its server has closed meanwhile is
    /// noticed before a byte of the request is written, and the next is taken; when the server closes it only then, nobody
    /// knows what it has read, and the exchange fails.
    async fn send(
        &self,
        circle: &Circle,
        origin: &Origin,
        mut wire: Request<Full<Bytes>>,
    ) -> Result<(Connection, hyper::Response<Incoming>), Failure> {
        while let Some(mut connection) = circle.idle.take(&origin.text) {
            match connection.send(wire).await {
                Ok(response) => return Ok((connection, response)),
                Err(Broken::Unsent(unsent)) => wire = *unsent,
                Err(Broken::Failed(error)) => return Err(failure::of(&error)),
            }
        }
        let mut connection = self.opener.open(origin, &circle.tls).await?;
        match connection.send(wire).await {
            Ok(response) => Ok((connection, response)),
            Err(Broken::Unsent(_)) => Err(Failure::Connect),
            Err(Broken::Failed(error)) => Err(failure::of(&error)),
        }
    }

    /// Whether this may be called at all. A name is judged once it is resolved, an address here.
    fn admit(&self, origin: &Origin) -> Result<(), Failure> {
        let address_allowed = match &origin.host {
            Host::Address(address) => self.opener.reach.allows(*address),
            Host::Name(_) => true,
        };
        if address_allowed && (origin.is_https || self.allow_http) { Ok(()) } else { Err(Failure::AddressRefused) }
    }

    /// The circle of a destination. Authorities that cannot be used fail as [`Failure::Tls`].
    fn circle(&self, ca: Option<&Arc<str>>) -> Result<Rc<Circle>, Failure> {
        let Some(ca) = ca else { return Ok(self.everyone.clone()) };
        let mut apart = self.apart.borrow_mut();
        if let Some(place) = apart.iter().rposition(|(known, _)| Arc::ptr_eq(known, ca) || known == ca) {
            apart[place..].rotate_left(1);
        } else {
            let circle = self.trust.and(ca).ok().and_then(|trust| Circle::new(trust).ok());
            if apart.len() >= MAX_CIRCLES {
                apart.remove(0);
            }
            apart.push((ca.clone(), Rc::new(circle.ok_or(Failure::Tls)?)));
        }
        apart.last().map(|(_, circle)| circle.clone()).ok_or(Failure::Tls)
    }
}

impl Circle {
    fn new(trust: Trust) -> Result<Circle, rustls::Error> {
        Ok(Circle { tls: trust.connector()?, idle: Pool::default() })
    }

    /// Keeps a connection that may serve again.
    fn keep(&self, origin: &Origin, connection: Connection) {
        if connection.is_open() {
            let opened = connection.opened();
            self.idle.keep(&origin.text, connection, opened, Instant::now());
        }
    }
}

impl Exchange for WebhookClient {
    fn exchange(&self, request: HttpRequest) -> Future<'_, Answer> {
        Box::pin(async move {
            let begun = Instant::now();
            let mut reply = Reply::default();
            let attempt = timeout_at(begun + request.timeout, self.attempt(request, &mut reply)).await;
            reply.answer(attempt.unwrap_or(Err(Failure::Timeout)), begun.elapsed())
        })
    }

    fn exchange_in_turn<'a>(&'a self, request: HttpRequest, turn: &'a dyn Turn) -> Future<'a, Answer> {
        Box::pin(async move {
            let begun = Instant::now();
            let (timely, mut reply) = (begun + request.timeout, Reply::default());
            let mut deadline = timely;
            let attempt = self.attempt_in_turn(request, turn, &mut deadline, &mut reply).await;
            reply.answer(attempt, begun.elapsed().saturating_sub(deadline - timely))
        })
    }
}

async fn within<T>(deadline: Instant, step: impl std::future::Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout_at(deadline, step).await.unwrap_or(Err(Failure::Timeout))
}

/// Reads what is answered; the connection is kept where it may serve again.
async fn finish(
    circle: &Circle,
    origin: &Origin,
    connection: Connection,
    response: hyper::Response<Incoming>,
    keep_bytes: usize,
    reply: &mut Reply,
) -> Result<(), Failure> {
    reply.status = Some(response.status().as_u16());
    reply.retry_after = retry_after(response.headers());
    let (excerpt, read) = read_body(response.into_body(), keep_bytes).await?;
    reply.excerpt = excerpt;
    if read == Read::ToItsEnd {
        circle.keep(origin, connection);
    }
    Ok(())
}

/// What is known of an answer, also of an exchange that did not finish.
#[derive(Default)]
struct Reply {
    status: Option<u16>,
    retry_after: Option<Box<str>>,
    excerpt: Option<Box<str>>,
}

impl Reply {
    fn answer(self, attempt: Result<(), Failure>, latency: Duration) -> Answer {
        let failure = attempt.err();
        // Who answered with a status has judged: what follows it changes nothing, and to ask again would be to send twice.
        let (status, cut) = match self.status {
            Some(status) => (Ok(status), failure),
            None => (Err(failure.unwrap_or(Failure::Protocol)), None),
        };
        Answer { status, cut, retry_after: self.retry_after, latency, body_excerpt: self.excerpt }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    ToItsEnd,
    ToTheBound,
}

/// Reads at most [`MAX_BODY_BYTES`] and what came with them, and keeps some; the connection of a longer body is of no further use.
async fn read_body(mut body: Incoming, keep_bytes: usize) -> Result<(Option<Box<str>>, Read), Failure> {
    let mut excerpt = Vec::new();
    let mut bytes = 0;
    while let Some(piece) = next_piece(&mut body).await {
        let piece = piece.map_err(|error| failure::of(&error))?;
        let room = keep_bytes - excerpt.len();
        excerpt.extend_from_slice(&piece[..piece.len().min(room)]);
        bytes += piece.len();
        if bytes > MAX_BODY_BYTES {
            return Ok((text(&excerpt), Read::ToTheBound));
        }
    }
    Ok((text(&excerpt), Read::ToItsEnd))
}

fn text(excerpt: &[u8]) -> Option<Box<str>> {
    (!excerpt.is_empty()).then(|| String::from_utf8_lossy(excerpt).into())
}

fn retry_after(headers: &HeaderMap) -> Option<Box<str>> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    (text.len() <= MAX_RETRY_AFTER_BYTES).then(|| text.into())
}

//! One HTTP exchange over reqwest and rustls: the `Exchange` port. It sends what it is given, once, and answers with data. It
//! never follows a redirect, never asks a proxy, never repeats a request by itself, and never connects to an address that
//! [`Reach`] refuses.

mod address;
mod failure;
mod resolver;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use reqwest::{Certificate, ClientBuilder, Response, Url, redirect, retry};
use tokio::time::{Instant, timeout_at};

use crate::engine::definition::Method;
use crate::engine::delivery::{Answer, Failure};
use crate::worker::ports::{Exchange, Future, HttpRequest};

pub use address::{Cidr, CidrError, Reach};
use resolver::CheckedResolver;

/// How much of a response's body is read. What is longer costs its sender the connection.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// How much of it is kept for people.
pub const MAX_EXCERPT_BYTES: usize = 1024;
/// Longest `Retry-After` that is passed on; an HTTP date has 29 bytes.
const MAX_RETRY_AFTER_BYTES: usize = 64;
/// A connection idle for longer is closed: load balancers drop theirs after 60 s, some after 20 s, and say nothing.
const POOL_IDLE: Duration = Duration::from_secs(15);
/// Idle connections kept to one host, by each lane: the default of a destination's `max_in_flight`.
const POOL_IDLE_PER_HOST: usize = 64;
/// An exchange that finds a pooled connection leaves the one that it began to open to the background, where no deadline of its
/// own ends it.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

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
    #[error("a certificate to trust is not readable PEM: {0}")]
    ExtraRoot(#[source] reqwest::Error),
    /// As a rule there are no certificate authorities on the machine.
    #[error("cannot prepare TLS, are there certificate authorities? install ca-certificates or set SSL_CERT_FILE: {0:?}")]
    Tls(#[source] reqwest::Error),
    #[error("cannot prepare the resolver: {0}")]
    Resolver(String),
}

/// The client of one lane. Its connections live on the runtime that first uses it.
pub struct WebhookClient {
    client: reqwest::Client,
    reach: Arc<Reach>,
    allow_http: bool,
}

impl WebhookClient {
    /// Trusts the operating system's certificate authorities, not a list compiled in: an image brings `ca-certificates`, an
    /// enterprise mounts its own or sets `SSL_CERT_FILE`, and both are renewed without a new release. Where there are none and plain
    /// `http` is allowed (a first try on a bare machine), every `https` exchange fails as [`Failure::Tls`].
    pub fn new(settings: &WebhookSettings) -> Result<WebhookClient, WebhookError> {
        // Somebody may have installed it before: the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut roots = Vec::new();
        for pem in &settings.extra_roots {
            roots.extend(Certificate::from_pem_bundle(pem.as_bytes()).map_err(WebhookError::ExtraRoot)?);
        }
        let reach = Arc::new(Reach::new(settings.allow_networks.clone()));
        let resolver = Arc::new(CheckedResolver::new(reach.clone()).map_err(WebhookError::Resolver)?);
        let client = match builder(resolver.clone()).tls_certs_merge(roots).build() {
            Ok(client) => client,
            Err(error) if settings.allow_http => {
                tracing::warn!(
                    ?error,
                    "no certificate authorities on this machine: every https endpoint will be refused; install ca-certificates or set SSL_CERT_FILE"
                );
                builder(resolver).tls_certs_only([]).build().map_err(WebhookError::Tls)?
            }
            Err(error) => return Err(WebhookError::Tls(error)),
        };
        Ok(WebhookClient { client, reach, allow_http: settings.allow_http })
    }

    async fn attempt(&self, request: HttpRequest, reply: &mut Reply) -> Result<u16, Failure> {
        let url = self.admit(&request.url)?;
        let mut wire = reqwest::Request::new(method(request.method), url);
        *wire.headers_mut() = headers(request.headers)?;
        *wire.body_mut() = request.body.map(reqwest::Body::from);
        let response = self.client.execute(wire).await.map_err(|error| failure::of(&error))?;
        let status = response.status().as_u16();
        reply.retry_after = retry_after(response.headers());
        reply.excerpt = read_body(response).await?;
        Ok(status)
    }

    /// The URL, if it may be called at all. A name is judged once it is resolved, an address here. The parser has turned every
    /// notation of an IPv4 address (`0x7f.1`, `2130706433`) into the one that is judged.
    fn admit(&self, text: &str) -> Result<Url, Failure> {
        let url = Url::parse(text).map_err(|_| Failure::AddressRefused)?;
        let scheme_allowed = url.scheme() == "https" || (self.allow_http && url.scheme() == "http");
        let address_allowed = match url.host() {
            Some(url::Host::Ipv4(address)) => self.reach.allows(address.into()),
            Some(url::Host::Ipv6(address)) => self.reach.allows(address.into()),
            Some(url::Host::Domain(_)) => true,
            None => false,
        };
        if scheme_allowed && address_allowed { Ok(url) } else { Err(Failure::AddressRefused) }
    }
}

impl Exchange for WebhookClient {
    fn exchange(&self, request: HttpRequest) -> Future<'_, Answer> {
        Box::pin(async move {
            let begun = Instant::now();
            let mut reply = Reply::default();
            let attempt = timeout_at(begun + request.timeout, self.attempt(request, &mut reply)).await;
            let status = attempt.unwrap_or(Err(Failure::Timeout));
            Answer { status, retry_after: reply.retry_after, latency: begun.elapsed(), body_excerpt: reply.excerpt }
        })
    }
}

/// What is known beside the status, also of an exchange that did not finish.
#[derive(Default)]
struct Reply {
    retry_after: Option<Box<str>>,
    excerpt: Option<Box<str>>,
}

fn builder(resolver: Arc<CheckedResolver>) -> ClientBuilder {
    reqwest::Client::builder()
        .http1_only()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_LIMIT)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_IDLE_PER_HOST)
        .dns_resolver(resolver)
}

/// Reads at most [`MAX_BODY_BYTES`]; a longer body is left unread, which closes its connection.
async fn read_body(mut response: Response) -> Result<Option<Box<str>>, Failure> {
    let mut excerpt = Vec::new();
    let mut read = 0;
    while let Some(chunk) = response.chunk().await.map_err(|error| failure::of(&error))? {
        let room = MAX_EXCERPT_BYTES - excerpt.len();
        excerpt.extend_from_slice(&chunk[..chunk.len().min(room)]);
        read += chunk.len();
        if read > MAX_BODY_BYTES {
            break;
        }
    }
    Ok((!excerpt.is_empty()).then(|| String::from_utf8_lossy(&excerpt).into()))
}

fn retry_after(headers: &HeaderMap) -> Option<Box<str>> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    (text.len() <= MAX_RETRY_AFTER_BYTES).then(|| text.into())
}

/// A header that cannot be written (a line break in a secret) is nothing that another attempt would mend, but no address
/// either: the exchange is refused as not HTTP.
fn headers(pairs: Vec<(String, String)>) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::with_capacity(pairs.len() + 2);
    for (name, value) in pairs {
        let name = header_name(&name).ok_or(Failure::Protocol)?;
        let value = HeaderValue::try_from(value).map_err(|_| Failure::Protocol)?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// The names that every attempt carries are prepared: parsing one allocates.
fn header_name(name: &str) -> Option<HeaderName> {
    const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
    const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
    const WEBHOOK_ATTEMPT: HeaderName = HeaderName::from_static("webhook-attempt");
    const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
    Some(match name {
        "content-type" => CONTENT_TYPE,
        "user-agent" => USER_AGENT,
        "webhook-id" => WEBHOOK_ID,
        "webhook-timestamp" => WEBHOOK_TIMESTAMP,
        "webhook-attempt" => WEBHOOK_ATTEMPT,
        "webhook-signature" => WEBHOOK_SIGNATURE,
        other => return HeaderName::from_str(other).ok(),
    })
}

fn method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Patch => reqwest::Method::PATCH,
        Method::Delete => reqwest::Method::DELETE,
    }
}

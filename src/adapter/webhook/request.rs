//! From the port's request to what goes on the wire: the URL is parsed once, the same URL once for many requests, and its parts, the
//! headers' values and the body are moved, not copied.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::str::FromStr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use hyper::{Request, Uri};
use url::{Position, Url};

use crate::engine::definition::Method;
use crate::engine::delivery::Failure;
use crate::engine::delivery::wire::Header;
use crate::worker::ports::HttpRequest;

/// Headers that frame a message or belong to its connection: they follow from the request, and a second one would let two readers see
/// two different messages (RFC 9112, section 11.2). Definitions cannot set them either.
const OURS: [HeaderName; 7] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, UPGRADE, TE, TRAILER];

/// Where a request goes: a scheme, host and port that are one pool of connections.
#[derive(Clone)]
pub struct Origin {
    /// As the parser writes it: `https://api.example:8443`.
    pub text: Bytes,
    pub is_https: bool,
    pub host: Host,
    pub port: u16,
}

/// The parser has turned every notation of an address (`0x7f.1`, `2130706433`, full-width digits) into the one that is judged.
#[derive(Clone)]
pub enum Host {
    Address(IpAddr),
    /// Lower case, in ASCII.
    Name(Bytes),
}

/// What a URL says.
#[derive(Clone)]
struct Target {
    origin: Origin,
    /// Of the request line.
    uri: Uri,
    /// As the header `host` has it.
    authority: Bytes,
}

/// URLs that are known, each with its target: most campaigns have one URL for all their users, and to parse it took 3 % of a delivery.
const KNOWN_URLS: usize = 16;

/// The URLs that came up last.
#[derive(Default)]
pub struct Targets(RefCell<VecDeque<(String, Target)>>);

impl Targets {
    fn of(&self, url: String) -> Result<Target, Failure> {
        let mut known = self.0.borrow_mut();
        if let Some(at) = known.iter().position(|(before, _)| *before == url) {
            known.swap(0, at);
            return Ok(known[0].1.clone());
        }
        let target = parse(&url)?;
        known.truncate(KNOWN_URLS - 1);
        known.push_front((url, target.clone()));
        Ok(target)
    }
}

/// A request and where it goes. A URL that is none, has no host or carries credentials leads nowhere that could be judged:
/// [`Failure::AddressRefused`].
pub fn prepare(targets: &Targets, request: HttpRequest) -> Result<(Origin, Request<Full<Bytes>>), Failure> {
    let Target { origin, uri, authority } = targets.of(request.url)?;
    let says_empty =
        request.body.as_ref().is_none_or(Vec::is_empty) && matches!(request.method, Method::Post | Method::Put | Method::Patch);
    let mut wire = Request::new(Full::from(request.body.unwrap_or_default()));
    *wire.method_mut() = method(request.method);
    *wire.uri_mut() = uri;
    *wire.headers_mut() = headers(authority, request.headers)?;
    if says_empty {
        // Asked for by RFC 9110, section 8.6, and by servers that answer 411 without; hyper leaves it out.
        wire.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok((origin, wire))
}

fn parse(url: &str) -> Result<Target, Failure> {
    let url = Url::parse(url).map_err(|_| Failure::AddressRefused)?;
    let is_https = match url.scheme() {
        "https" => true,
        "http" => false,
        _ => return Err(Failure::AddressRefused),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::AddressRefused);
    }
    let port = url.port_or_known_default().ok_or(Failure::AddressRefused)?;
    let places = [Position::BeforeHost, Position::AfterHost, Position::BeforePath, Position::AfterQuery];
    let [host_begins, host_ends, path_begins, query_ends] = places.map(|place| url[..place].len());
    let address = match url.host() {
        Some(url::Host::Ipv4(address)) => Some(IpAddr::from(address)),
        Some(url::Host::Ipv6(address)) => Some(IpAddr::from(address)),
        Some(url::Host::Domain(_)) => None,
        None => return Err(Failure::AddressRefused),
    };
    let text = Bytes::from(String::from(url));
    let host = address.map_or_else(|| Host::Name(text.slice(host_begins..host_ends)), Host::Address);
    // The parser has escaped what a request line cannot hold.
    let uri = Uri::from_maybe_shared(text.slice(path_begins..query_ends)).map_err(|_| Failure::Protocol)?;
    let authority = text.slice(host_begins..path_begins);
    Ok(Target { origin: Origin { text: text.slice(..path_begins), is_https, host, port }, uri, authority })
}

/// A header that cannot be written (a line break in a secret) is nothing that another attempt would mend, but no address
/// either: the exchange is refused as not HTTP.
fn headers(authority: Bytes, pairs: Vec<Header>) -> Result<HeaderMap, Failure> {
    // Ours beside them: `host`, and `content-length` from hyper.
    let mut headers = HeaderMap::with_capacity(pairs.len() + 2);
    headers.append(HOST, HeaderValue::from_maybe_shared(authority).map_err(|_| Failure::Protocol)?);
    for (name, value) in pairs {
        let name = header_name(&name).ok_or(Failure::Protocol)?;
        let value = match value {
            Cow::Borrowed(value) => Bytes::from_static(value.as_bytes()),
            Cow::Owned(value) => Bytes::from(value),
        };
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| Failure::Protocol)?;
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
        other => return HeaderName::from_str(other).ok().filter(|name| !OURS.contains(name)),
    })
}

fn method(method: Method) -> hyper::Method {
    match method {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
        Method::Put => hyper::Method::PUT,
        Method::Patch => hyper::Method::PATCH,
        Method::Delete => hyper::Method::DELETE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_url_leads_where_it_led_and_no_more_are_known_than_the_bound() {
        let targets = Targets::default();
        let check = |url: String, expect: &str, port: u16, path: &str| {
            for _ in 0..2 {
                let Ok(Target { origin, uri, authority }) = targets.of(url.clone()) else { panic!("{url} leads somewhere") };
                assert_eq!((&origin.text[..], origin.port, uri.to_string()), (expect.as_bytes(), port, path.to_owned()), "{url}");
                assert!(expect.ends_with(std::str::from_utf8(&authority).unwrap()), "{url}");
            }
            assert!(targets.0.borrow().len() <= KNOWN_URLS);
        };
        for number in (0..3 * KNOWN_URLS).chain([0]) {
            check(format!("https://A.example/{number}?q=1"), "https://a.example", 443, &format!("/{number}?q=1"));
            check(format!("http://a.example:8080/{number}"), "http://a.example:8080", 8080, &format!("/{number}"));
        }
        for _ in 0..2 {
            assert!(targets.of("https://user@a.example/".to_owned()).is_err(), "what leads nowhere is not known the second time, either");
        }
    }
}

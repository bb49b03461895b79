//! A frozen request made ready for one attempt: secrets resolved, the attempt's own headers added. This is the only place where
//! a secret's value meets a request, and the result goes nowhere but to the wire.
//!
//! Signing (Standard Webhooks) will join here: it needs the id, the timestamp and the resolved body, all at hand in [`prepare`].

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::engine::definition::ContentType;
use crate::engine::id::DeliveryId;
use crate::engine::record::{Frozen, Piece, Quoting, Request};
use crate::engine::time::Timestamp;

/// `user-agent`: `campanile/<version>`.
pub const USER_AGENT: &str = concat!("campanile/", env!("CARGO_PKG_VERSION"));

/// What is encoded in a component of a URL: everything but the unreserved characters of RFC 3986 (section 2.3), as rendering does.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Looks a secret up by its name.
pub type Secrets<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What distinguishes one attempt from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub id: DeliveryId,
    /// From 1.
    pub number: u32,
    /// When it is sent.
    pub at: Timestamp,
}

/// A request as it goes on the wire. Not `Debug`: it holds secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Prepared {
    pub url: String,
    /// In a fixed order: the attempt's own, then the definition's by name. Names as written; values are UTF-8.
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
}

/// A secret that a request needs cannot be used. Names it, never shows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("secret `{name}` is not set: put a file of that name into `secrets.dir`, or set CAMPANILE_SECRET_{}", name.to_uppercase())]
    Missing { name: Box<str> },
    /// It would end the header it stands in.
    #[error("secret `{name}` has a line break or control character and cannot stand in a header: remove it")]
    Unprintable { name: Box<str> },
}

/// Resolves a request for one attempt.
pub fn prepare(request: &Request, attempt: &Attempt, secrets: Secrets<'_>) -> Result<Prepared, SecretError> {
    let mut headers = attempt_headers(attempt, request.body.is_some().then_some(request.content_type));
    for (name, value) in &request.headers {
        headers.push((name.to_string(), resolve_header(value, secrets)?));
    }
    let body = request.body.as_ref().map(|body| resolve(body, secrets)).transpose()?;
    Ok(Prepared { url: resolve(&request.url, secrets)?, headers, body })
}

/// The attempt's own headers (contract, section 5); a definition cannot replace them. `content-type` belongs to requests with
/// a body and, as JSON, to those without one (H2: on every request).
pub fn attempt_headers(attempt: &Attempt, content_type: Option<ContentType>) -> Vec<(String, String)> {
    let own = [
        ("webhook-id", attempt.id.to_string()),
        ("webhook-timestamp", attempt.at.0.div_euclid(1000).to_string()),
        ("webhook-attempt", attempt.number.to_string()),
        ("user-agent", USER_AGENT.to_owned()),
        ("content-type", content_type.unwrap_or(ContentType::Json).media_type().to_owned()),
    ];
    own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The text with every secret in its place, written as that place needs it.
pub fn resolve(frozen: &Frozen, secrets: Secrets<'_>) -> Result<String, SecretError> {
    let mut text = String::with_capacity(frozen.0.iter().map(piece_length).sum());
    for piece in &frozen.0 {
        match piece {
            Piece::Text(part) => text.push_str(part),
            Piece::Secret(name, quoting) => {
                let value = secrets(name).ok_or_else(|| SecretError::Missing { name: name.clone() })?;
                match quoting {
                    Quoting::Plain => text.push_str(&value),
                    Quoting::Json => text.push_str(&serde_json::Value::String(value).to_string()),
                    Quoting::Url => text.extend(utf8_percent_encode(&value, COMPONENT)),
                }
            }
        }
    }
    Ok(text)
}

/// As [`resolve`], and refuses what would break out of a header. Rendering has checked the rest of the value.
fn resolve_header(value: &Frozen, secrets: Secrets<'_>) -> Result<String, SecretError> {
    let text = resolve(value, secrets)?;
    let names = value.0.iter().filter_map(|piece| match piece {
        Piece::Secret(name, _) => Some(name),
        Piece::Text(_) => None,
    });
    for name in names {
        if secrets(name).is_some_and(|value| value.chars().any(char::is_control)) {
            return Err(SecretError::Unprintable { name: name.clone() });
        }
    }
    Ok(text)
}

fn piece_length(piece: &Piece) -> usize {
    const SECRET_GUESS: usize = 48;
    match piece {
        Piece::Text(text) => text.len(),
        Piece::Secret(..) => SECRET_GUESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::definition::Method;

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    fn secrets(name: &str) -> Option<String> {
        match name {
            "token" => Some("a\"b/c d".to_owned()),
            "lines" => Some("a\nb".to_owned()),
            _ => None,
        }
    }

    fn request(headers: Vec<(Box<str>, Frozen)>, body: Option<Frozen>) -> Request {
        Request {
            destination: "kakao".into(),
            method: Method::Post,
            url: Frozen(vec![text("https://a.example/v1?k="), Piece::Secret("token".into(), Quoting::Url)]),
            headers,
            content_type: ContentType::Text,
            body,
        }
    }

    const ATTEMPT: Attempt = Attempt { id: DeliveryId([1; 16]), number: 2, at: Timestamp(1_700_000_000_999) };

    #[test]
    fn secrets_are_written_as_their_place_needs() {
        let check = |quoting, expect: &str| {
            let frozen = Frozen(vec![text("<"), Piece::Secret("token".into(), quoting), text(">")]);
            assert_eq!(resolve(&frozen, &secrets).unwrap(), expect);
        };
        check(Quoting::Plain, "<a\"b/c d>");
        check(Quoting::Json, "<\"a\\\"b/c d\">");
        check(Quoting::Url, "<a%22b%2Fc%20d>");
        assert_eq!(resolve(&Frozen::default(), &secrets).unwrap(), "");
    }

    #[test]
    fn an_attempt_carries_its_own_headers_first() {
        let key = Frozen(vec![text("Key "), Piece::Secret("token".into(), Quoting::Plain)]);
        let prepared = prepare(&request(vec![("X-Key".into(), key)], Some(Frozen(vec![text("hi")]))), &ATTEMPT, &secrets);
        let Ok(prepared) = prepared else { panic!("prepared") };
        assert_eq!(prepared.url, "https://a.example/v1?k=a%22b%2Fc%20d");
        assert_eq!(prepared.body.as_deref(), Some("hi"));
        let headers: Vec<(&str, &str)> = prepared.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(
            headers,
            [
                ("webhook-id", "msg_01010101010101010101010101010101"),
                ("webhook-timestamp", "1700000000"),
                ("webhook-attempt", "2"),
                ("user-agent", USER_AGENT),
                ("content-type", "text/plain; charset=utf-8"),
                ("X-Key", "Key a\"b/c d"),
            ]
        );
    }

    #[test]
    fn a_missing_or_unprintable_secret_is_named_and_never_shown() {
        let header = |name: &str| vec![("X-Key".into(), Frozen(vec![Piece::Secret(name.into(), Quoting::Plain)]))];
        let error = prepare(&request(header("kakao"), None), &ATTEMPT, &secrets).err().unwrap();
        assert_eq!(
            error.to_string(),
            "secret `kakao` is not set: put a file of that name into `secrets.dir`, or set CAMPANILE_SECRET_KAKAO"
        );
        let error = prepare(&request(header("lines"), None), &ATTEMPT, &secrets).err().unwrap();
        assert_eq!(error, SecretError::Unprintable { name: "lines".into() });
        assert!(!error.to_string().contains("a\nb"));
        // In a body a line break is only text.
        assert!(prepare(&request(vec![], Some(Frozen(vec![Piece::Secret("lines".into(), Quoting::Plain)]))), &ATTEMPT, &secrets).is_ok());
    }
}

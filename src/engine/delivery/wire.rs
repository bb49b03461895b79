//! A frozen request made ready for one attempt: secrets resolved, the attempt's own headers and the destination's credentials added,
//! signed. This is the only place where a secret's value meets a request, and the result goes nowhere but to the wire.

use std::borrow::Cow;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::credentials::{self, BREAKS_HEADER, Credentials, SecretError, Secrets};
use super::signature;
use crate::engine::definition::ContentType;
use crate::engine::id::DeliveryId;
use crate::engine::record::{Frozen, Piece, Quoting, Request};
use crate::engine::time::Timestamp;

/// `user-agent`: `campanile/<version>`.
pub const USER_AGENT: &str = concat!("campanile/", env!("CARGO_PKG_VERSION"));

/// What is encoded in a component of a URL: everything but the unreserved characters of RFC 3986 (section 2.3), as rendering does.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What distinguishes one attempt from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub id: DeliveryId,
    /// From 1.
    pub number: u32,
    /// When it is sent.
    pub at: Timestamp,
}

/// A header's name and value. What every request carries is not copied for each.
pub type Header = (Cow<'static, str>, Cow<'static, str>);

/// A request as it goes on the wire. Not `Debug`: it holds secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Prepared {
    pub url: String,
    /// In a fixed order: the attempt's own, `authorization`, then the definition's by name. Names as written; values are UTF-8.
    pub headers: Vec<Header>,
    pub body: Option<String>,
    /// Authorities to trust as well, PEM; an error for who needs them.
    pub ca: Option<Result<Arc<str>, SecretError>>,
}

/// Resolves a request for one attempt and adds what its destination asks for.
pub fn prepare(
    request: &Request,
    attempt: &Attempt,
    credentials: Option<&Credentials>,
    secrets: Secrets<'_>,
) -> Result<Prepared, SecretError> {
    let has_authorization = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(AUTHORIZATION));
    let asked = credentials.map(|credentials| credentials.resolve(secrets, has_authorization)).transpose()?.unwrap_or_default();
    let body = request.body.as_ref().map(|body| resolve(body, secrets)).transpose()?;
    let mut headers = attempt_headers(attempt, request.body.is_some().then_some(request.content_type));
    if !asked.keys.is_empty() {
        let signed = body.as_deref().unwrap_or_default();
        let signatures = signature::sign(&asked.keys, &attempt.id.to_string(), &timestamp(attempt), signed.as_bytes());
        headers.push((signature::SIGNATURE.into(), signatures.into()));
    }
    headers.extend(asked.authorization.map(|value| (AUTHORIZATION.into(), value.into())));
    for (name, value) in &request.headers {
        headers.push((name.to_string().into(), resolve_header(value, secrets)?.into()));
    }
    Ok(Prepared { url: resolve(&request.url, secrets)?, headers, body, ca: asked.ca })
}

pub const AUTHORIZATION: &str = "authorization";

/// The attempt's own headers (contract, section 5); a definition cannot replace them. `content-type` belongs to requests with
/// a body and, as JSON, to those without one (H2: on every request).
pub fn attempt_headers(attempt: &Attempt, content_type: Option<ContentType>) -> Vec<Header> {
    let own: [(&'static str, Cow<'static, str>); 5] = [
        ("webhook-id", attempt.id.to_string().into()),
        ("webhook-timestamp", timestamp(attempt).into()),
        ("webhook-attempt", attempt.number.to_string().into()),
        ("user-agent", USER_AGENT.into()),
        ("content-type", content_type.unwrap_or(ContentType::Json).media_type().into()),
    ];
    own.into_iter().map(|(name, value)| (name.into(), value)).collect()
}

/// Whole seconds since 1970, as the specification wants.
fn timestamp(attempt: &Attempt) -> String {
    attempt.at.0.div_euclid(1000).to_string()
}

/// The text with every secret in its place, written as that place needs it.
pub fn resolve(frozen: &Frozen, secrets: Secrets<'_>) -> Result<String, SecretError> {
    resolve_checked(frozen, secrets, |_| None)
}

/// As [`resolve`], and refuses what would break out of a header. Rendering has checked the rest of the value.
fn resolve_header(value: &Frozen, secrets: Secrets<'_>) -> Result<String, SecretError> {
    resolve_checked(value, secrets, |text| credentials::breaks_header(text).then_some(BREAKS_HEADER))
}

/// Looks every secret up once, so that what was judged is what is written.
fn resolve_checked(frozen: &Frozen, secrets: Secrets<'_>, unusable: fn(&str) -> Option<&'static str>) -> Result<String, SecretError> {
    let mut text = String::with_capacity(frozen.0.iter().map(piece_length).sum());
    for piece in &frozen.0 {
        match piece {
            Piece::Text(part) => text.push_str(part),
            Piece::Secret(name, quoting) => {
                let secret = secrets(name).ok_or_else(|| SecretError::Missing { name: name.clone() })?;
                let value = secret.expose();
                if let Some(why) = unusable(value) {
                    return Err(SecretError::Unusable { what: format!("secret `{name}`").into(), why });
                }
                match quoting {
                    Quoting::Plain => text.push_str(value),
                    Quoting::Json => text.push_str(&serde_json::Value::from(value).to_string()),
                    Quoting::Url => text.extend(utf8_percent_encode(value, COMPONENT)),
                }
            }
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
    use crate::engine::definition::{Auth, Credential, Destination, Method};
    use crate::engine::delivery::Secret;

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    fn secrets(name: &str) -> Option<Secret> {
        let known = [
            ("token", "a\"b/c d"),
            ("lines", "a\nb"),
            ("empty", ""),
            ("user", "u"),
            ("colon", "u:v"),
            ("ca", "-----BEGIN CERTIFICATE-----\n"),
            ("new", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
            ("old", "plain old secret"),
            ("cut", "whsec_C2FVs"),
        ];
        known.iter().find(|(known, _)| *known == name).map(|(_, value)| Secret::new(*value))
    }

    fn named(name: &str) -> Credential {
        Credential::Secret(name.into())
    }

    fn destination(auth: Option<Auth>, sign: &[&str], ca: Option<&str>) -> Option<Credentials> {
        let destination = Destination::new("kakao".into(), "a.example".into());
        let sign = sign.iter().copied().map(named).collect();
        Credentials::of(&Destination { auth, sign, ca: ca.map(named), ..destination })
    }

    fn header<'a>(prepared: &'a Prepared, name: &str) -> Option<&'a str> {
        prepared.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
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
        let asked = destination(Some(Auth::Bearer(named("user"))), &["old"], Some("ca"));
        let request = request(vec![("X-Key".into(), key)], Some(Frozen(vec![text("hi")])));
        let Ok(prepared) = prepare(&request, &ATTEMPT, asked.as_ref(), &secrets) else { panic!("prepared") };
        assert_eq!(prepared.url, "https://a.example/v1?k=a%22b%2Fc%20d");
        assert_eq!(prepared.body.as_deref(), Some("hi"));
        assert!(prepared.ca == Some(Ok("-----BEGIN CERTIFICATE-----\n".into())));
        let headers: Vec<(&str, &str)> = prepared.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(
            headers,
            [
                ("webhook-id", "msg_01010101010101010101010101010101"),
                ("webhook-timestamp", "1700000000"),
                ("webhook-attempt", "2"),
                ("user-agent", USER_AGENT),
                ("content-type", "text/plain; charset=utf-8"),
                ("webhook-signature", "v1,gvsQ21BD0G/KH06aObR5vGVcCsbjUa6mpI4z+VI8Lmc="),
                ("authorization", "Bearer u"),
                ("X-Key", "Key a\"b/c d"),
            ]
        );
    }

    #[test]
    fn what_is_signed_is_what_is_sent() {
        let check = |sign: &[&str], body: Option<&str>| {
            let asked = destination(None, sign, None);
            let request = request(vec![], body.map(|body| Frozen(vec![text(body), Piece::Secret("token".into(), Quoting::Json)])));
            let Ok(prepared) = prepare(&request, &ATTEMPT, asked.as_ref(), &secrets) else { panic!("prepared") };
            assert_eq!(header(&prepared, "webhook-signature").map_or(0, |value| value.split(' ').count()), sign.len());
            for (at, name) in sign.iter().enumerate() {
                let key = signature::Key::parse(secrets(name).unwrap().expose()).unwrap_or_else(|error| panic!("{}", error.why()));
                let signed = signature::Signed {
                    id: header(&prepared, "webhook-id"),
                    timestamp: header(&prepared, "webhook-timestamp"),
                    signature: header(&prepared, "webhook-signature"),
                    body: prepared.body.as_deref().unwrap_or_default().as_bytes(),
                };
                assert_eq!(signature::verify(&[key], &signed, ATTEMPT.at), Ok(0), "{name} in {sign:?} over {body:?}");
                // And by somebody who never saw this code.
                let secret = secrets(name).unwrap();
                let independent = match secret.expose().starts_with("whsec_") {
                    true => standardwebhooks::Webhook::new(secret.expose()).unwrap(),
                    false => standardwebhooks::Webhook::from_bytes(secret.expose().into()).unwrap(),
                };
                let expect = independent.sign(signed.id.unwrap(), signed.timestamp.unwrap().parse().unwrap(), signed.body).unwrap();
                let own = signed.signature.unwrap().split(' ').nth(at);
                assert_eq!(own, Some(&*expect), "{name} in {sign:?} over {body:?}");
            }
        };
        check(&[], Some("{}"));
        check(&["new"], Some("{}"));
        check(&["old"], Some(""));
        check(&["new", "old"], Some("\u{1f514}"));
        check(&["new", "old"], None);
    }

    #[test]
    fn a_destination_identifies_itself() {
        let basic = |username, password| Some(Auth::Basic { username, password });
        let check = |auth: Option<Auth>, own: Option<&str>, expect: &[&str]| {
            let own = own.map(|value| ("Authorization".into(), Frozen(vec![text(value)])));
            let request = request(own.into_iter().collect(), None);
            let Ok(prepared) = prepare(&request, &ATTEMPT, destination(auth, &[], None).as_ref(), &secrets) else { panic!("prepared") };
            let is_it = |name: &str| name.eq_ignore_ascii_case("authorization");
            let found: Vec<&str> = prepared.headers.iter().filter(|(name, _)| is_it(name)).map(|(_, value)| &**value).collect();
            assert_eq!(found, expect);
        };
        check(None, None, &[]);
        check(Some(Auth::Bearer(named("token"))), None, &["Bearer a\"b/c d"]);
        // RFC 7617, section 2: the example.
        let aladdin = basic(Credential::Text("Aladdin".into()), Credential::Text("open sesame".into()));
        check(aladdin, None, &["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]);
        // A webhook's own header wins, and its destination's secret is not even looked for.
        check(Some(Auth::Bearer(named("missing"))), Some("Own"), &["Own"]);
    }

    #[test]
    fn a_pair_is_not_read_across_a_rotation() {
        let reads = std::cell::Cell::new(0);
        // Everything changes after the first look.
        let rotating = |name: &str| {
            reads.set(reads.get() + 1);
            Some(Secret::new(format!("{name}{}", if reads.get() == 1 { "-old" } else { "-new" })))
        };
        let auth = Auth::Basic { username: named("u"), password: named("p") };
        let prepared = prepare(&request(vec![], None), &ATTEMPT, destination(Some(auth), &[], None).as_ref(), &|name| match name {
            "token" => secrets(name),
            name => rotating(name),
        });
        let Ok(prepared) = prepared else { panic!("prepared") };
        // u-new:p-new
        assert_eq!(header(&prepared, "authorization"), Some("Basic dS1uZXc6cC1uZXc="));
    }

    #[test]
    fn a_missing_or_unusable_secret_is_named_and_never_shown() {
        let header = |name: &str| vec![("X-Key".into(), Frozen(vec![Piece::Secret(name.into(), Quoting::Plain)]))];
        let check = |headers, asked: Option<Credentials>, expect: &str| {
            let prepared = prepare(&request(headers, None), &ATTEMPT, asked.as_ref(), &secrets);
            let error = prepared.and_then(|prepared| prepared.ca.transpose()).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), Some(expect));
        };
        let missing = "secret `sms-token` is not set: put a file of that name into `secrets.dir`, or set CAMPANILE_SECRET_SMS_TOKEN";
        let broken = "secret `lines` has a line break or control character and cannot stand in a header: remove it";
        check(header("sms-token"), None, missing);
        check(header("lines"), None, broken);
        let bearer = |name| destination(Some(Auth::Bearer(named(name))), &[], None);
        check(vec![], bearer("sms-token"), missing);
        check(vec![], bearer("lines"), broken);
        check(vec![], bearer("empty"), "secret `empty` is empty");
        let basic = |username, password| destination(Some(Auth::Basic { username, password }), &[], None);
        check(vec![], basic(named("user"), named("lines")), broken);
        check(vec![], basic(named("colon"), named("token")), "secret `colon` has a colon and cannot be a user name");
        let written = Credential::Text("u\nv".into());
        check(vec![], basic(written, named("token")), &broken.replace("secret `lines`", "the `username`"));
        check(vec![], destination(None, &["new", "sms-token"], None), missing);
        check(vec![], destination(None, &["empty"], None), "secret `empty` is empty");
        check(vec![], destination(None, &["cut"], None), "secret `cut` has no base64 after `whsec_`: copy the whole secret");
        check(vec![], destination(None, &[], Some("user")), "secret `user` is no certificate in PEM");
        let unknown = "destination `kakao` cannot be read by this version: mend it, or upgrade this worker";
        check(vec![], Some(Credentials::unknown("kakao")), unknown);
        // In a body a line break is only text.
        let body = Frozen(vec![Piece::Secret("lines".into(), Quoting::Plain)]);
        assert!(prepare(&request(vec![], Some(body)), &ATTEMPT, None, &secrets).is_ok());
    }
}

//! What a destination adds to each request beside what is frozen: `auth`, `sign`, `ca`. It comes from the definitions in force at the
//! moment of sending, and its secrets from who keeps them then, so that a rotated one takes effect on retries too. Nothing of it is ever
//! frozen or stored.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::secret::Secret;
use super::signature::Key;
use crate::engine::definition::{Auth, Credential, Destination};

/// Looks a secret up by its name.
pub type Secrets<'a> = &'a dyn Fn(&str) -> Option<Secret>;

/// A secret that a request needs cannot be used now. Says which, never what it is. A secret may be mounted or mended a minute
/// later: whoever gets this lets the delivery wait and uses no attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("secret `{name}` is not set: put a file of that name into `secrets.dir`, or set {variable}", variable = variable(.name))]
    Missing { name: Box<str> },
    /// `what` is a secret by its name, or where the text stands.
    #[error("{what} {why}")]
    Unusable { what: Box<str>, why: &'static str },
    /// A request without what it asks for would be refused, or trusted for the wrong reasons.
    #[error("destination `{key}` cannot be read by this version: mend it, or upgrade this worker")]
    Destination { key: Box<str> },
    /// What is asked for elsewhere is not sent to this host.
    #[error(
        "destination `{key}` is for another host by now than this request: define a destination for that host, or wait until the request expires"
    )]
    Moved { key: Box<str> },
}

/// A destination's credentials, as defined. Does not print what is written out in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(Asked);

#[derive(Clone, PartialEq, Eq)]
enum Asked {
    These {
        auth: Option<Authorization>,
        sign: Vec<Value>,
        ca: Option<Value>,
    },
    /// Nobody knows what the destination with this key asks for.
    Unknown(Box<str>),
    /// The destination with this key is for another host by now.
    Moved(Box<str>),
}

#[derive(Clone, PartialEq, Eq)]
enum Authorization {
    Basic { username: Value, password: Value },
    Bearer(Value),
}

#[derive(Clone, PartialEq, Eq)]
enum Value {
    /// Written out in the definition.
    Written(Secret),
    /// The name of a secret.
    Named(Box<str>),
}

/// Credentials with their secrets in place, for one request. Not `Debug`.
#[derive(Default)]
pub(super) struct Resolved {
    /// The value of `authorization`.
    pub authorization: Option<String>,
    pub keys: Vec<Key>,
    /// PEM. By itself, because not everybody who sends needs it.
    pub ca: Option<Result<Arc<str>, SecretError>>,
}

impl Credentials {
    /// `None` when the destination asks for nothing.
    pub fn of(destination: &Destination) -> Option<Credentials> {
        let auth = destination.auth.as_ref().map(|auth| match auth {
            Auth::Basic { username, password } => Authorization::Basic { username: Value::of(username), password: Value::of(password) },
            Auth::Bearer(token) => Authorization::Bearer(Value::of(token)),
        });
        let sign: Vec<Value> = destination.sign.iter().map(Value::of).collect();
        let ca = destination.ca.as_ref().map(Value::of);
        let asks = auth.is_some() || !sign.is_empty() || ca.is_some();
        asks.then_some(Credentials(Asked::These { auth, sign, ca }))
    }

    /// Those of a destination whose definition cannot be read: no request is made without knowing what it asks for.
    pub fn unknown(key: &str) -> Credentials {
        Credentials(Asked::Unknown(key.into()))
    }

    /// Those of a destination that is for another host by now than its request.
    pub fn moved(key: &str) -> Credentials {
        Credentials(Asked::Moved(key.into()))
    }

    /// The value of `authorization` as people may see it; `None` where nothing is asked for, or nobody knows what.
    pub fn hidden_authorization(&self) -> Option<&'static str> {
        match &self.0 {
            Asked::These { auth: Some(Authorization::Bearer(_)), .. } => Some("Bearer ***"),
            Asked::These { auth: Some(Authorization::Basic { .. }), .. } => Some("Basic ***"),
            Asked::These { auth: None, .. } | Asked::Unknown(_) | Asked::Moved(_) => None,
        }
    }

    /// Puts the secrets in. A request that has an `authorization` of its own keeps it, as it does with other headers of a destination.
    pub(super) fn resolve(&self, secrets: Secrets<'_>, has_authorization: bool) -> Result<Resolved, SecretError> {
        let (auth, sign, ca) = match &self.0 {
            Asked::These { auth, sign, ca } => (auth, sign, ca),
            Asked::Unknown(key) => return Err(SecretError::Destination { key: key.clone() }),
            Asked::Moved(key) => return Err(SecretError::Moved { key: key.clone() }),
        };
        let auth = auth.as_ref().filter(|_| !has_authorization);
        Ok(Resolved {
            authorization: auth.map(|auth| auth.header(secrets)).transpose()?,
            keys: sign.iter().map(|value| key(value, secrets)).collect::<Result<_, _>>()?,
            ca: ca.as_ref().map(|value| authorities(value, secrets)),
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

impl Authorization {
    fn header(&self, secrets: Secrets<'_>) -> Result<String, SecretError> {
        match self {
            Authorization::Bearer(token) => Ok(format!("Bearer {}", in_header(token, "the token of `bearer`", secrets)?.expose())),
            Authorization::Basic { username, password } => {
                let (name, word) = pair(username, password, secrets)?;
                if name.expose().contains(':') {
                    // RFC 7617, section 2: the name ends at the first colon.
                    return Err(username.unusable("the `username`", "has a colon and cannot be a user name"));
                }
                Ok(format!("Basic {}", STANDARD.encode(format!("{}:{}", name.expose(), word.expose()))))
            }
        }
    }
}

impl Value {
    fn of(credential: &Credential) -> Value {
        match credential {
            Credential::Text(text) => Value::Written(Secret::new(&**text)),
            Credential::Secret(name) => Value::Named(name.clone()),
        }
    }

    fn get(&self, secrets: Secrets<'_>) -> Result<Secret, SecretError> {
        match self {
            Value::Written(text) => Ok(text.clone()),
            Value::Named(name) => secrets(name).ok_or_else(|| SecretError::Missing { name: name.clone() }),
        }
    }

    fn unusable(&self, place: &str, why: &'static str) -> SecretError {
        let what = match self {
            Value::Written(_) => place.into(),
            Value::Named(name) => format!("secret `{name}`").into(),
        };
        SecretError::Unusable { what, why }
    }
}

/// How often a pair is read again that changes while it is read.
const PAIR_READINGS: usize = 3;

/// Name and password that were there at the same time: a request with one of before and one of after a rotation would be refused for good.
fn pair(username: &Value, password: &Value, secrets: Secrets<'_>) -> Result<(Secret, Secret), SecretError> {
    let (name_place, password_place) = ("the `username`", "the `password`");
    let mut name = in_header(username, name_place, secrets)?;
    for _ in 1..PAIR_READINGS {
        let word = in_header(password, password_place, secrets)?;
        let after = in_header(username, name_place, secrets)?;
        if after == name {
            return Ok((name, word));
        }
        name = after;
    }
    Ok((name, in_header(password, password_place, secrets)?))
}

/// A value that says something and can stand in a header.
fn in_header(value: &Value, place: &str, secrets: Secrets<'_>) -> Result<Secret, SecretError> {
    let text = value.get(secrets)?;
    if text.expose().is_empty() {
        return Err(value.unusable(place, "is empty"));
    }
    if breaks_header(text.expose()) {
        return Err(value.unusable(place, BREAKS_HEADER));
    }
    Ok(text)
}

fn key(value: &Value, secrets: Secrets<'_>) -> Result<Key, SecretError> {
    Key::parse(value.get(secrets)?.expose()).map_err(|error| value.unusable("a text of `sign`", error.why()))
}

fn authorities(value: &Value, secrets: Secrets<'_>) -> Result<Arc<str>, SecretError> {
    let text = value.get(secrets)?;
    if text.expose().contains("-----BEGIN CERTIFICATE-----") {
        Ok(text.share())
    } else {
        Err(value.unusable("the text of `ca`", "is no certificate in PEM"))
    }
}

pub(super) const BREAKS_HEADER: &str = "has a line break or control character and cannot stand in a header: remove it";

/// Whether a text would end the header it stands in, or could be read in two ways.
pub(super) fn breaks_header(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// The variable of the environment for a secret: `kakao-token` -> `CAMPANILE_SECRET_KAKAO_TOKEN`.
pub fn variable(name: &str) -> String {
    let plain = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    "CAMPANILE_SECRET_".chars().chain(plain).collect()
}

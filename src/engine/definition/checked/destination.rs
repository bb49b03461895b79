//! A named endpoint.

use std::fmt;
use std::time::Duration;

/// A named endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    pub key: Box<str>,
    /// `host[:port]`, lower case.
    pub host: Box<str>,
    pub max_in_flight: Option<u32>,
    /// 1 s to 90 s.
    pub timeout: Option<Duration>,
    pub max_retries: Option<u32>,
    pub rate: Option<Rate>,
    /// Waits after the fast retries; of the tiers 1 m, 5 m, 30 m.
    pub slow_retries: Vec<Duration>,
    pub auth: Option<Auth>,
    /// Signed with each (rotation): names of secrets, or text.
    pub sign: Vec<Credential>,
    /// PEM, trusted as well.
    pub ca: Option<Credential>,
    pub batch: Option<Batch>,
    /// Added to every request, as a webhook's own; templates over `secret` and `campaign`.
    pub headers: Vec<(Box<str>, Box<str>)>,
}

impl Destination {
    /// One that says nothing but whom it is for.
    pub fn new(key: Box<str>, host: Box<str>) -> Destination {
        Destination {
            key,
            host,
            max_in_flight: None,
            timeout: None,
            max_retries: None,
            rate: None,
            slow_retries: Vec::new(),
            auth: None,
            sign: Vec::new(),
            ca: None,
            batch: None,
            headers: Vec::new(),
        }
    }
}

/// A limit that holds over all workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub per_second: f64,
    pub burst: u32,
}

/// A text that is written out, or the name of a secret. Prints names, never texts.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    Text(Box<str>),
    Secret(Box<str>),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Text(_) => f.write_str("Text(***)"),
            Credential::Secret(name) => write!(f, "Secret({name:?})"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    Basic { username: Credential, password: Credential },
    Bearer(Credential),
}

/// Several users in one request; only with a `profiles` body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    pub max: u32,
    pub linger: Duration,
}

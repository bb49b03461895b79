//! The result of one HTTP exchange, as data.

use std::time::Duration;

/// What came of an exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status, or why there was none. It stands whatever becomes of the body behind it.
    pub status: Result<u16, Failure>,
    /// Why the body behind a status did not come to its end.
    pub cut: Option<Failure>,
    /// `Retry-After` as it was written.
    pub retry_after: Option<Box<str>>,
    pub latency: Duration,
    /// The beginning of the response's body, for people; bounded by the adapter.
    pub body_excerpt: Option<Box<str>>,
}

/// Why an exchange has no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The deadline of the whole exchange passed.
    Timeout,
    /// Refused, reset, closed early.
    Connect,
    /// The handshake or the certificate.
    Tls,
    /// The name could not be resolved.
    Dns,
    /// The name resolves to an address that must not be called.
    AddressRefused,
    /// What came back is not HTTP.
    Protocol,
    /// This machine had no descriptor or memory for a connection: nothing was sent, and it says nothing of the endpoint.
    Unsent,
}

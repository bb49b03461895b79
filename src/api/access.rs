//! Who may do what: three tokens, three roles. Tokens are compared in constant time and never printed.

use std::fmt;
use std::net::SocketAddr;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::secrets::Secret;

/// Enough to tell tokens apart in a log, too few to recover one.
const FINGERPRINT_BYTES: usize = 4;

/// What a request needs to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// May do everything.
    Admin,
    Read,
    /// Events and sends.
    Ingest,
}

/// `http.tokens`.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    pub admin: Option<Secret>,
    pub read: Option<Secret>,
    pub ingest: Option<Secret>,
}

/// The checked tokens of one listener.
#[derive(Clone, Debug)]
pub struct Access {
    tokens: Tokens,
    /// No token is set and only this machine can ask.
    open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    #[error("`http.listen` {0} can be reached from other machines: set `http.tokens` or listen on 127.0.0.1")]
    Exposed(SocketAddr),
    #[error("a token in `http.tokens` is empty: give it a value or leave it out")]
    EmptyToken,
}

/// Why a request is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No token, or none that is known: 401.
    Unknown,
    /// A known token of another role: 403.
    Forbidden,
}

impl Access {
    /// Without any token everything is allowed to everybody on this machine, and `listen` must not reach beyond it.
    pub fn new(tokens: Tokens, listen: SocketAddr) -> Result<Access, AccessError> {
        let all = [&tokens.admin, &tokens.read, &tokens.ingest];
        if all.into_iter().flatten().any(|token| token.expose().is_empty()) {
            return Err(AccessError::EmptyToken);
        }
        let open = all.iter().all(|token| token.is_none());
        if open && !listen.ip().is_loopback() {
            return Err(AccessError::Exposed(listen));
        }
        Ok(Access { tokens, open })
    }

    /// Allowed with the token of the role or the admin's, as a bearer; ingest also with its token as the user name of Basic, which
    /// is how Segment's libraries send a write key.
    pub fn check(&self, headers: &HeaderMap, needed: Role) -> Result<Caller, Denied> {
        if self.open {
            return Ok(Caller { role: None, fingerprint: None });
        }
        let presented = headers.get(header::AUTHORIZATION).and_then(|value| presented(value.as_bytes())).ok_or(Denied::Unknown)?;
        let is = |token: &Option<Secret>| match token {
            Some(token) => presented.token.ct_eq(token.expose().as_bytes()),
            None => Choice::from(0),
        };
        // All three are compared, whatever the first ones say.
        let [admin, read, ingest] = [is(&self.tokens.admin), is(&self.tokens.read), is(&self.tokens.ingest)].map(bool::from);
        let (admin, read) = (admin && presented.bearer, read && presented.bearer);
        let allowed = match needed {
            Role::Admin => admin,
            Role::Read => admin || read,
            Role::Ingest => admin || ingest,
        };
        let role = if admin { Role::Admin } else { needed };
        match allowed {
            true => Ok(Caller { role: Some(role), fingerprint: Some(fingerprint(&presented.token)) }),
            false if admin || read || ingest => Err(Denied::Forbidden),
            false => Err(Denied::Unknown),
        }
    }
}

/// Who asks, as far as that is known: for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// `None` where no tokens are set: whoever is on this machine.
    role: Option<Role>,
    fingerprint: Option<String>,
}

impl Caller {
    /// `None` where no tokens are set: it may do everything.
    pub fn role(&self) -> Option<Role> {
        self.role
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.role, &self.fingerprint) {
            (Some(role), Some(fingerprint)) => write!(f, "{role} {fingerprint}"),
            _ => f.write_str("local"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Admin => "admin",
            Role::Read => "read",
            Role::Ingest => "ingest",
        })
    }
}

/// Tells tokens apart and is none: the first bytes of its SHA-256.
fn fingerprint(token: &[u8]) -> String {
    let digest = Sha256::digest(token);
    digest.iter().take(FINGERPRINT_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

struct Presented {
    token: Vec<u8>,
    /// Else the user name of Basic.
    bearer: bool,
}

/// Reads `Bearer <token>` or `Basic <base64 of token:anything>`; the scheme in any case.
fn presented(value: &[u8]) -> Option<Presented> {
    let text = std::str::from_utf8(value).ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Presented { token: rest.as_bytes().to_vec(), bearer: true });
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut token = BASE64_STANDARD.decode(rest).ok()?;
    let end = token.iter().position(|byte| *byte == b':')?;
    token.truncate(end);
    Some(Presented { token, bearer: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "127.0.0.1:8080";
    const ANYWHERE: &str = "0.0.0.0:8080";

    fn tokens() -> Tokens {
        let token = |text: &str| Some(Secret::new(text));
        Tokens { admin: token("a-token"), read: token("r-token"), ingest: token("i-token") }
    }

    #[test]
    fn beyond_this_machine_it_needs_tokens() {
        let check = |tokens: Tokens, listen: &str, expect: Option<AccessError>| {
            assert_eq!(Access::new(tokens, listen.parse().unwrap()).err(), expect, "{listen}");
        };
        check(Tokens::default(), LOCAL, None);
        check(Tokens::default(), "[::1]:8080", None);
        check(Tokens::default(), ANYWHERE, Some(AccessError::Exposed(ANYWHERE.parse().unwrap())));
        check(tokens(), ANYWHERE, None);
        check(Tokens { read: Some(Secret::new("")), ..tokens() }, LOCAL, Some(AccessError::EmptyToken));
    }

    #[test]
    fn without_tokens_this_machine_may_do_everything() {
        let open = Access::new(Tokens::default(), LOCAL.parse().unwrap()).unwrap();
        assert_eq!(open.check(&HeaderMap::new(), Role::Admin).unwrap().to_string(), "local");
    }

    #[test]
    fn each_token_has_its_role() {
        use Denied::{Forbidden, Unknown};
        use Role::{Admin, Ingest, Read};
        let access = Access::new(tokens(), LOCAL.parse().unwrap()).unwrap();
        let basic = |user: &str| format!("Basic {}", BASE64_STANDARD.encode(user));
        let check = |authorization: &str, role: Role, expect: Result<(), Denied>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
            assert_eq!(access.check(&headers, role).map(drop), expect, "{authorization} for {role:?}");
        };
        for (authorization, admin, read, ingest) in [
            ("Bearer a-token", Ok(()), Ok(()), Ok(())),
            ("bearer  a-token ", Ok(()), Ok(()), Ok(())),
            ("Bearer r-token", Err(Forbidden), Ok(()), Err(Forbidden)),
            ("Bearer i-token", Err(Forbidden), Err(Forbidden), Ok(())),
            (&basic("i-token:"), Err(Forbidden), Err(Forbidden), Ok(())),
            (&basic("i-token:x:y"), Err(Forbidden), Err(Forbidden), Ok(())),
            (&basic("a-token:"), Err(Unknown), Err(Unknown), Err(Unknown)),
            (&basic("r-token:"), Err(Unknown), Err(Unknown), Err(Unknown)),
            (&basic("i-token"), Err(Unknown), Err(Unknown), Err(Unknown)),
            ("Bearer i-toke", Err(Unknown), Err(Unknown), Err(Unknown)),
            ("Bearer ", Err(Unknown), Err(Unknown), Err(Unknown)),
            ("i-token", Err(Unknown), Err(Unknown), Err(Unknown)),
            ("Digest i-token", Err(Unknown), Err(Unknown), Err(Unknown)),
        ] {
            check(authorization, Admin, admin);
            check(authorization, Read, read);
            check(authorization, Ingest, ingest);
        }
        assert_eq!(access.check(&HeaderMap::new(), Ingest), Err(Unknown));
    }

    #[test]
    fn a_caller_is_known_by_a_fingerprint_that_is_not_the_token() {
        let access = Access::new(tokens(), LOCAL.parse().unwrap()).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "Bearer a-token".parse().unwrap());
        assert_eq!(access.check(&headers, Role::Read).unwrap().to_string(), "admin 1f6076e3");
    }
}

//! What handlers ask of a request before they begin: who asks, which key, which parameters. Everything that is refused here is a
//! problem like all others.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::{header, request::Parts};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::access::{Caller, Role};
use super::problem::Problem;
use super::{Shared, strict};

/// The caller may read: the token of `read` or `admin`. Stands first among a handler's arguments.
pub struct Reader;

/// The caller may change things: the token of `admin`. Stands first among a handler's arguments.
pub struct Admin {
    /// For the audit log.
    pub caller: Caller,
}

/// The query, read strictly: see [`strict::query`].
pub struct Parameters<T>(pub T);

/// No parameters at all: `_: Parameters<Nothing>` refuses those that are there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// The one variable part of the path.
pub struct Key(pub String);

/// Several variable parts of the path.
pub struct Segments<T>(pub T);

/// The revision of `If-Match: "7"`; `None` without the header, or with `*`.
pub struct IfMatch(pub Option<u64>);

impl FromRequestParts<Arc<Shared>> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Reader, Problem> {
        shared.access.check(&parts.headers, Role::Read)?;
        Ok(Reader)
    }
}

impl FromRequestParts<Arc<Shared>> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Admin, Problem> {
        Ok(Admin { caller: shared.access.check(&parts.headers, Role::Admin)? })
    }
}

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Parameters<T>, Problem> {
        strict::query(parts.uri.query().unwrap_or_default()).map(Parameters)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Key, Problem> {
        Segments::from_request_parts(parts, state).await.map(|Segments(key)| Key(key))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Segments<T>, Problem> {
        let found = Path::<T>::from_request_parts(parts, state).await;
        found.map(|Path(found)| Segments(found)).map_err(|error: PathRejection| Problem::not_found(error.body_text()))
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<IfMatch, Problem> {
        let Some(written) = parts.headers.get(header::IF_MATCH) else { return Ok(IfMatch(None)) };
        let written = written.to_str().unwrap_or_default().trim();
        if written == "*" {
            return Ok(IfMatch(None));
        }
        let revision = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(written).parse();
        let refused = |_| Problem::invalid("`If-Match` is not a revision as `ETag` says it, such as \"7\"").at("If-Match");
        revision.map(|revision| IfMatch(Some(revision))).map_err(refused)
    }
}

//! What went wrong, as `application/problem+json` (RFC 9457): `title`, `status`, `detail`, and `where` in the request it lies.

use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::access::Denied;
use crate::engine::reading::Unreadable;

/// Long enough for the bodies in flight to be acknowledged.
const RETRY_AFTER_SECONDS: u32 = 1;

/// An answer that is not a success.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    /// A place in the request's body, such as `recipients[3]`.
    at: Option<String>,
    /// A code of contract section 4.
    reason: Option<&'static str>,
    refused: Vec<Refusal>,
}

/// An event of a batch that was not accepted.
#[derive(Debug, Serialize)]
pub struct Refusal {
    /// Its place in the batch, from 0.
    pub index: usize,
    pub reason: &'static str,
    /// What exactly is wrong with it.
    pub error: String,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into(), at: None, reason: None, refused: Vec::new() }
    }

    /// The body cannot be accepted as it is.
    pub fn invalid(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub fn too_large(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    pub fn unsupported_encoding(encoding: &str) -> Problem {
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("content-encoding `{encoding}` is not supported: use gzip or none"))
    }

    pub fn too_slow(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
    }

    pub fn broken_body(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    pub fn busy() -> Problem {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too much waits for the log already: send it again a little later")
    }

    pub fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    pub fn internal(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, detail)
    }

    pub fn method_not_allowed(method: &Method, uri: &Uri) -> Problem {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not supported at {}", uri.path()))
    }

    /// Says where in the body it lies; an empty place is the body as a whole.
    pub fn at(self, place: impl Into<String>) -> Problem {
        let place = place.into();
        Problem { at: (!place.is_empty()).then_some(place), ..self }
    }

    pub fn reason(self, reason: &'static str) -> Problem {
        Problem { reason: Some(reason), ..self }
    }

    pub fn refused(self, refused: Vec<Refusal>) -> Problem {
        Problem { refused, ..self }
    }

    /// How many events it turns away.
    pub fn count(&self) -> u64 {
        self.refused.len().max(1) as u64
    }

    /// The label under which it is counted.
    pub fn result(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "unauthorized",
            StatusCode::TOO_MANY_REQUESTS => "throttled",
            status if status.is_server_error() => "unavailable",
            _ => "refused",
        }
    }
}

impl From<Unreadable> for Problem {
    fn from(refused: Unreadable) -> Problem {
        Problem::invalid(refused.error).reason(refused.reason)
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Problem {
        match denied {
            Denied::Unknown => Problem::new(StatusCode::UNAUTHORIZED, "send a token of `http.tokens` as `Authorization: Bearer <token>`"),
            Denied::Forbidden => Problem::new(StatusCode::FORBIDDEN, "this token is not allowed to do that"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            title: &'a str,
            status: u16,
            detail: &'a str,
            #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
            at: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            refused: &'a [Refusal],
        }
        let title = self.status.canonical_reason().unwrap_or("error");
        let (detail, at) = (self.detail.as_str(), self.at.as_deref());
        let body = Body { title, status: self.status.as_u16(), detail, at, reason: self.reason, refused: &self.refused };
        // Nothing in it can fail to serialise; an empty body would still have its status.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            StatusCode::TOO_MANY_REQUESTS => drop(headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into())),
            _ => {}
        }
        response
    }
}

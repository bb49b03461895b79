//! What went wrong, as `application/problem+json` (RFC 9457): `title`, `status`, `detail`, and `where` in the request it lies.

use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Denied;
use crate::engine::definition;
use crate::engine::reading::Unreadable;
use crate::worker::ports::StateError;

/// Long enough for what is in flight to be done, and for a store that restarts to be found.
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
    errors: Vec<Mistake>,
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Mistake {
    /// As it was sent; the body's own name is `body`.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    pub problem: String,
    /// What was probably meant, or the way out.
    pub meant: Option<String>,
}

/// An event of a batch that was not accepted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Refusal {
    /// Its place in the batch, from 0.
    pub index: usize,
    pub reason: &'static str,
    /// What exactly is wrong with it.
    pub error: String,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into(), at: None, reason: None, refused: Vec::new(), errors: Vec::new() }
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

    pub fn unsupported_type(media_type: &str, known: &[&str]) -> Problem {
        let detail = format!("content-type `{media_type}` is not supported here: use {}", known.join(" or "));
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    pub fn too_slow(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
    }

    pub fn broken_body(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Too much is under way: come again.
    pub fn busy(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
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

    /// Another revision is stored than the one that was seen.
    pub fn other_revision(seen: u64, stored: u64) -> Problem {
        let detail = format!("the definitions are at revision {stored}, not {seen}: read them again, then decide");
        Problem::new(StatusCode::PRECONDITION_FAILED, detail)
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

    pub fn errors(self, problems: &[definition::Problem]) -> Problem {
        Problem { errors: problems.iter().map(Mistake::from).collect(), ..self }
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Where in the request it lies.
    pub fn place(&self) -> Option<&str> {
        self.at.as_deref()
    }

    /// Ours, not the request's.
    pub fn is_fault(&self) -> bool {
        self.status.is_server_error()
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

impl From<&definition::Problem> for Mistake {
    fn from(problem: &definition::Problem) -> Mistake {
        let definition::Problem { file, place, severity: _, message, help } = problem;
        Mistake { file: file.to_string(), line: place.line, column: place.column, problem: message.clone(), meant: help.clone() }
    }
}

impl From<StateError> for Problem {
    fn from(error: StateError) -> Problem {
        match error {
            // After a loss of writes the worker begins again: who comes again finds it.
            StateError::Unavailable(_) | StateError::RolledBack(_) => Problem::unavailable(error.to_string()),
            StateError::Refused(why) => Problem::internal(why),
        }
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
        let Problem { status, detail, at, reason, refused, errors } = self;
        let title = status.canonical_reason().unwrap_or("error").to_owned();
        let body = ProblemBody { title, status: status.as_u16(), detail, at, reason, refused, errors };
        // Nothing in it can fail to serialise; an empty body would still have its status.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        let headers = response.headers_mut();
        match status {
            StatusCode::UNAUTHORIZED => drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                drop(headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into()))
            }
            _ => {}
        }
        response
    }
}

/// A problem as it is sent (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    pub title: String,
    pub status: u16,
    /// What is wrong, and the way out.
    pub detail: String,
    /// A place in the request, such as `recipients[3].user_id`.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// Of an event that cannot be read: the code under which it would be dead-lettered.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The events of a batch that were not accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<Refusal>,
    /// All that is wrong with the definitions that were sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Mistake>,
}

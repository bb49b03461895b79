//! The OpenAPI document: made of what the handlers say of themselves, with what holds for all of them added here.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

use super::Shared;
use super::problem::ProblemBody;

/// What begins the document.
pub fn head() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(
        info(title = "Campanile", description = "Event-triggered webhook campaigns: events in, campaigns under control."),
        components(schemas(ProblemBody)),
        tags(
            (name = "ingest", description = "Events and sends in. Answered once the log has them."),
            (name = "definitions", description = "Campaigns, cohorts, destinations and the workspace, under one revision."),
            (name = "statistics", description = "What became of what was triggered, and what is under way now."),
            (name = "campaigns", description = "What is in force, and its life: ready, running, paused, ended."),
            (name = "dead", description = "What finally failed: to be looked at, and sent again."),
        )
    )]
    struct Head;
    let mut head = Head::openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut head.info.version);
    head
}

/// `GET /v1/openapi.json`. Needs no token: it tells nothing of this deployment.
pub fn routes(document: utoipa::openapi::OpenApi) -> Router<Arc<Shared>> {
    let text = complete(document).to_json().unwrap_or_default();
    let handler = move || async move { ([(header::CONTENT_TYPE, "application/json")], text) };
    Router::new().route("/v1/openapi.json", get(handler))
}

/// What any operation can answer: said once.
const COMMON: [(&str, &str); 7] = [
    ("401", "No token of `http.tokens`, or one that is not known"),
    ("403", "A token of another role"),
    ("405", "Another method is needed"),
    ("422", "Something in the request cannot be accepted: `where` says what"),
    ("429", "Too much is under way: come again after `Retry-After`"),
    ("500", "A fault of this worker"),
    ("503", "The log or the state store does not answer: come again after `Retry-After`"),
];

/// What an operation with a body can answer.
const WITH_BODY: [(&str, &str); 4] = [
    ("400", "The body broke off"),
    ("408", "The body took too long"),
    ("413", "The body is too large"),
    ("415", "The body has a content encoding other than gzip"),
];

/// Adds security schemes, and the problems that every operation can answer.
fn complete(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let components = document.components.get_or_insert_default();
    for role in ["admin", "read", "ingest"] {
        components.add_security_scheme(role, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
    // Segment's libraries send their write key as the user name.
    components.add_security_scheme("ingest_basic", SecurityScheme::Http(Http::new(HttpAuthScheme::Basic)));
    for (path, item) in &mut document.paths.paths {
        let operations = [("get", &mut item.get), ("put", &mut item.put), ("post", &mut item.post), ("delete", &mut item.delete)];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                operation.operation_id = Some(operation_id(method, path));
                add_problems(operation);
            }
        }
    }
    document
}

/// `post_campaigns_key_start`: what generated clients call it. Handlers of several parts may have one name, paths do not.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty() && *word != "v1");
    words.fold(method.to_owned(), |id, word| id + "_" + word)
}

fn add_problems(operation: &mut Operation) {
    let with_body: &[(&str, &str)] = if operation.request_body.is_some() { &WITH_BODY } else { &[] };
    let responses = &mut operation.responses.responses;
    for (status, description) in COMMON.iter().chain(with_body) {
        let response = || RefOr::T(ResponseBuilder::new().description(*description).build());
        responses.entry((*status).to_owned()).or_insert_with(response);
    }
    for (_, response) in responses.iter_mut().filter(|(status, _)| status.starts_with(['4', '5'])) {
        if let RefOr::T(response) = response {
            let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            response.content.entry("application/problem+json".to_owned()).or_insert(RefOr::T(problem));
        }
    }
}

//! The console: a page and its modules, part of the binary, served as they are; and who is asking. It holds no data and decides
//! nothing: what it shows it asks of the same HTTP API, with the token of whoever looks.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::access::{Access, Role};
use super::problem::Problem;

/// Nothing from elsewhere, nothing inline, no frame around it, no form that leaves it (Content Security Policy, Level 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Bytes of a file's SHA-256 that its entity tag shows.
const TAG_BYTES: usize = 12;

/// A file of the console.
struct Asset {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

/// A file beside this one, served below `/console/`.
macro_rules! asset {
    ($file:literal, $kind:expr) => {
        Asset { path: concat!("/console/", $file), kind: $kind, bytes: include_bytes!($file) }
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Every file; the console asks for nothing else.
const ASSETS: [Asset; 18] = [
    Asset { path: "/", kind: "text/html; charset=utf-8", bytes: include_bytes!("index.html") },
    asset!("console.css", "text/css; charset=utf-8"),
    asset!("bell.svg", "image/svg+xml"),
    asset!("main.js", SCRIPT),
    asset!("api.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("parts.js", SCRIPT),
    asset!("words.js", SCRIPT),
    asset!("funnel.js", SCRIPT),
    asset!("campaigns.js", SCRIPT),
    asset!("campaign.js", SCRIPT),
    asset!("numbers.js", SCRIPT),
    asset!("try.js", SCRIPT),
    asset!("exposed.js", SCRIPT),
    asset!("users.js", SCRIPT),
    asset!("destinations.js", SCRIPT),
    asset!("dead.js", SCRIPT),
    asset!("live.js", SCRIPT),
];

/// `GET /` and `/console/*` (no token: the files hold no data), and `/console/session`.
pub fn routes<S: Clone + Send + Sync + 'static>(access: Access) -> Router<S> {
    let router = ASSETS.iter().fold(Router::new(), |router, asset| {
        let tag = entity_tag(asset.bytes);
        router.route(asset.path, get(move |headers: HeaderMap| async move { serve(asset, &tag, &headers) }))
    });
    router.route("/console/session", get(session).with_state(access))
}

/// `GET /console/session`: `{"role": "admin" | "read", "open", "version"}`, so that the console can say beforehand what a token may not
/// do. `open`: this worker has no tokens. 401 for one that is not known, 403 for one that is only for ingest.
async fn session(State(access): State<Access>, headers: HeaderMap) -> Response {
    let role = match access.check(&headers, Role::Read) {
        Ok(caller) => caller.role(),
        Err(denied) => return Problem::from(denied).into_response(),
    };
    let may = if role == Some(Role::Read) { "read" } else { "admin" };
    let answer = json!({"role": may, "open": role.is_none(), "version": env!("CARGO_PKG_VERSION")});
    ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}

/// A browser may keep a file, and asks each time whether it is still the one: a new binary is seen at once.
fn serve(asset: &'static Asset, tag: &HeaderValue, headers: &HeaderMap) -> Response {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|known| names(known.as_bytes(), tag.as_bytes()));
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, asset.kind)], asset.bytes).into_response(),
    };
    let answered = response.headers_mut();
    answered.insert(header::ETAG, tag.clone());
    for (name, value) in [
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        answered.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a list of entity tags, weak ones too, names this one (RFC 9110, section 13.1.2).
fn names(list: &[u8], tag: &[u8]) -> bool {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(|one| one == b"*" || one.strip_prefix(b"W/").unwrap_or(one) == tag)
}

fn entity_tag(bytes: &[u8]) -> HeaderValue {
    let digest = Sha256::digest(bytes);
    let shown: String = digest.iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}")).collect();
    // Hexadecimal digits between quotes are a header's value.
    HeaderValue::from_str(&format!("\"{shown}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::SocketAddr;
    use std::path::Path;

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::super::access::Tokens;
    use super::*;
    use crate::secrets::Secret;

    const LISTEN: &str = "127.0.0.1:8080";

    fn router_with(tokens: Tokens) -> Router {
        let listen: SocketAddr = LISTEN.parse().unwrap();
        routes(Access::new(tokens, listen).unwrap())
    }

    async fn ask(router: &Router, path: &str, header: (HeaderName, &str)) -> Response {
        let request = Request::get(path).header(header.0, header.1).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap()
    }

    fn text(asset: &Asset) -> &'static str {
        std::str::from_utf8(asset.bytes).unwrap()
    }

    #[test]
    fn every_file_is_served_and_every_import_is_there() {
        let files: BTreeSet<String> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/console"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "mod.rs" && name != "index.html")
            .map(|name| format!("/console/{name}"))
            .collect();
        let served: BTreeSet<String> = ASSETS.iter().map(|asset| asset.path.to_owned()).filter(|path| path != "/").collect();
        assert_eq!(files, served);
        for asset in ASSETS.iter().filter(|asset| asset.kind == SCRIPT) {
            let imports = text(asset).lines().filter_map(|line| line.split_once(" from \"./")?.1.strip_suffix("\";"));
            for import in imports {
                assert!(served.contains(&format!("/console/{import}")), "{} imports {import}", asset.path);
            }
        }
    }

    /// What the policy forbids, and what would turn data into markup.
    #[test]
    fn nothing_is_inline_and_no_data_becomes_markup() {
        for asset in &ASSETS {
            let forbidden: &[&str] = match asset.kind {
                SCRIPT => {
                    &["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "http://", "https://"]
                }
                _ => &["style=", "<style", "onclick", "onload", "@import", "url(", "https://"],
            };
            for word in forbidden {
                let found = text(asset).lines().find(|line| line.contains(word) && !line.contains("www.w3.org/2000/svg"));
                assert_eq!(found, None, "{}: {word}", asset.path);
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_is_known_is_not_sent_again() {
        let router = router_with(Tokens::default());
        for asset in &ASSETS {
            let first = ask(&router, asset.path, (header::ACCEPT, "*/*")).await;
            assert_eq!(first.status(), StatusCode::OK, "{}", asset.path);
            assert_eq!(first.headers()[header::CONTENT_TYPE], asset.kind);
            assert_eq!(first.headers()[header::CONTENT_SECURITY_POLICY], POLICY);
            assert_eq!(first.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(first.headers()[header::REFERRER_POLICY], "no-referrer");
            let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
            for (known, status) in [
                (tag.clone(), StatusCode::NOT_MODIFIED),
                (format!("\"other\", W/{tag}"), StatusCode::NOT_MODIFIED),
                ("\"other\"".to_owned(), StatusCode::OK),
            ] {
                let answer = ask(&router, asset.path, (header::IF_NONE_MATCH, &known)).await;
                assert_eq!(answer.status(), status, "{} {known}", asset.path);
            }
        }
    }

    #[tokio::test]
    async fn the_session_says_who_a_token_is() {
        let token = |text: &str| Some(Secret::new(text));
        let guarded = router_with(Tokens { admin: token("a"), read: token("r"), ingest: token("i") });
        let open = router_with(Tokens::default());
        for (router, authorization, status, expect) in [
            (&guarded, "Bearer a", 200, json!({"role": "admin", "open": false})),
            (&guarded, "Bearer r", 200, json!({"role": "read", "open": false})),
            (&guarded, "Bearer i", 403, json!({})),
            (&guarded, "Bearer x", 401, json!({})),
            (&open, "Bearer x", 200, json!({"role": "admin", "open": true})),
        ] {
            let answer = ask(router, "/console/session", (header::AUTHORIZATION, authorization)).await;
            assert_eq!(answer.status().as_u16(), status, "{authorization}");
            let body: serde_json::Value = serde_json::from_slice(&to_bytes(answer.into_body(), 1024).await.unwrap()).unwrap();
            for (key, value) in expect.as_object().unwrap() {
                assert_eq!(&body[key], value, "{authorization}");
            }
        }
    }
}

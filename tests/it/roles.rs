//! Who may do what, for every route that the OpenAPI document has, and who changed what, for every one that changes something.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use campanile::api::Tokens;
use campanile::secrets::Secret;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::plane::Plane;

const ROLES: [&str; 3] = ["admin", "read", "ingest"];

fn tokens() -> Tokens {
    let [admin, read, ingest] = ROLES.map(|role| Some(Secret::new(token(role))));
    Tokens { admin, read, ingest }
}

fn token(role: &str) -> String {
    format!("{role}-token")
}

/// A route of the document: method, path, and the schemes that open it.
struct Route {
    method: Method,
    path: String,
    schemes: BTreeSet<String>,
}

async fn routes(plane: &Plane) -> Vec<Route> {
    let document = plane.get("/v1/openapi.json").await.body;
    let paths = document["paths"].as_object().expect("paths");
    let operations =
        paths.iter().flat_map(|(path, item)| item.as_object().into_iter().flatten().map(move |(method, of)| (path, method, of)));
    let route = |(path, method, operation): (&String, &String, &Value)| Route {
        method: method.to_uppercase().parse().expect("a method"),
        path: path.clone(),
        schemes: operation["security"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|of| of.as_object().expect("schemes").keys().cloned())
            .collect(),
    };
    operations.map(route).collect()
}

#[tokio::test]
async fn every_route_is_open_to_its_roles_and_to_nobody_else() {
    let plane = Plane::with(tokens()).await;
    let routes = routes(&plane).await;
    assert!(routes.len() > 20, "{} routes", routes.len());
    for Route { method, path, schemes } in routes {
        assert!(schemes.contains("admin"), "{method} {path}: {schemes:?}");
        let filled = path.replace("{key}", "nothing").replace("{kind}", "cohort").replace("{id}", "nobody");
        let check = async |authorization: Option<String>, basic: Option<&str>, expect: Option<u16>| {
            let mut request = plane.request(method.clone(), &filled).header(CONTENT_TYPE, "application/json").body("{}");
            request = if method == Method::GET { plane.request(method.clone(), &filled) } else { request };
            request = authorization.iter().fold(request, |request, token| request.bearer_auth(token));
            request = basic.iter().fold(request, |request, user| request.basic_auth(user, Some("")));
            // Only the head: some answers have no end.
            let status = request.send().await.expect("an answer").status().as_u16();
            match expect {
                Some(expect) => assert_eq!(status, expect, "{method} {path} with {authorization:?} {basic:?}"),
                None => assert!(status != 401 && status != 403, "{method} {path} with {authorization:?} {basic:?}: {status}"),
            }
        };
        check(None, None, Some(401)).await;
        check(Some("wrong".to_owned()), None, Some(401)).await;
        for role in ROLES {
            check(Some(token(role)), None, if schemes.contains(role) { None } else { Some(403) }).await;
        }
        let ingest = if schemes.contains("ingest_basic") { None } else { Some(403) };
        check(None, Some(&token("ingest")), ingest).await;
    }
}

/// What a log says, in memory.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic while held").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Said {
    type Writer = Said;

    fn make_writer(&'a self) -> Said {
        self.clone()
    }
}

impl Said {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().expect("no panic while held"))).expect("UTF-8")
    }
}

const DEFINITIONS: &str = "\
{kind: cohort, key: vip, where: {user: {plan: gold}}}
---
{kind: campaign, key: hello, trigger: {api: {}}, webhook: {url: 'https://h.example/'}}
";

/// Every route that changes something, and what the log says of it.
const CHANGES: [(&str, &str, &str, &str); 9] = [
    ("PUT", "/v1/definitions", DEFINITIONS, "campaign hello: created"),
    ("POST", "/v1/campaigns/{key}/test", r#"{"user":{"type":"identify","userId":"u1"}}"#, "campaign hello: a test request is sent"),
    ("POST", "/v1/campaigns/{key}/start", "", "campaign hello: ready -> running"),
    ("POST", "/v1/campaigns/{key}/pause", "", "campaign hello: running -> paused"),
    ("POST", "/v1/campaigns/{key}/end", "", "campaign hello: paused -> ended"),
    ("DELETE", "/v1/definitions/{kind}/{key}", "", "cohort vip: removed"),
    ("DELETE", "/v1/users/{id}", "", "a user is deleted by event"),
    ("POST", "/v1/dead/redrive", r#"{"reason":"http 503"}"#, "dead letters are sent again"),
    // Of what producers may do it is the one that changes more than an event does.
    ("POST", "/v1/batch", r#"{"batch":[{"type":"delete","userId":"u1"}]}"#, "a user is deleted by event"),
];

#[tokio::test]
async fn whoever_changes_something_is_written_down() {
    let plane = Plane::with(tokens()).await;
    let said = Said::default();
    let subscriber = tracing_subscriber::fmt().with_env_filter("audit=info").with_writer(said.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let told: BTreeSet<(String, String)> = CHANGES.iter().map(|(method, path, ..)| (method.to_string(), path.to_string())).collect();
    let only_admin = |route: &Route| route.method != Method::GET && route.schemes.iter().eq(["admin"]);
    for route in routes(&plane).await.iter().filter(|route| only_admin(route)) {
        assert!(told.contains(&(route.method.to_string(), route.path.clone())), "{} {} is not in the table", route.method, route.path);
    }
    for (method, path, body, expect) in CHANGES {
        let key = if path.contains("{kind}") { "vip" } else { "hello" };
        let path = path.replace("{kind}", "cohort").replace("{key}", key).replace("{id}", "u1");
        let kind = if path == "/v1/definitions" { "application/yaml" } else { "application/json" };
        let request = plane.request(method.parse().expect("a method"), &path).header(CONTENT_TYPE, kind).body(body);
        let answer = request.bearer_auth(token("admin")).send().await.expect("an answer");
        let status = answer.status();
        let lines = said.take();
        assert_eq!(lines.lines().count(), 1, "{method} {path}: {status} {lines}");
        for part in ["audit: changed", "who=admin ", "what=", expect] {
            assert!(lines.contains(part), "{method} {path}: `{part}` in {lines}");
        }
        assert!(!lines.contains("admin-token") && !lines.contains("u1"), "{lines}");
    }
}

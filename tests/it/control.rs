//! The control plane over HTTP: definitions, their life, who may do what, and what is refused how.

use campanile::api::Tokens;
use campanile::engine::catalog::{Apply, Catalog, apply};
use campanile::engine::definition::{ReadOptions, read};
use campanile::engine::time::Timestamp;
use campanile::secrets::Secret;
use reqwest::Method;
use reqwest::header::{ALLOW, ETAG};
use serde_json::json;

use crate::support::plane::{Plane, answer};

/// Puts these into the store, as `run --apply` does.
async fn put(plane: &Plane, definitions: &str) {
    let (documents, problems) = read("definitions.yaml", definitions, &ReadOptions::default());
    assert!(problems.is_empty(), "{problems:?}");
    let now = Timestamp::parse("2026-11-20T10:00:00Z").unwrap();
    let (catalog, _) = apply(&Catalog::default(), documents, &Apply::default(), now).unwrap();
    plane.store.session().await.unwrap().put_documents(0, &catalog.encode()).await.unwrap();
}

const CART: &str = "
{kind: campaign, key: cart, title: Cart, status: running, tags: [a], channel: sms, priority: 2, trigger: {action: {event: cart_added}},
 audience: {did: {event: purchase, in_last: 30d}}, webhook: {url: 'https://sms.example/send'}}
---
{kind: destination, key: sms, match: sms.example}
";

#[tokio::test]
async fn definitions_are_listed_under_their_revision() {
    let plane = Plane::start().await;
    let nothing = plane.get("/v1/definitions").await;
    assert_eq!((nothing.status, nothing.body), (200, json!({"revision": 0, "definitions": [], "tracked": []})));
    put(&plane, CART).await;
    let listed = plane.get("/v1/definitions").await;
    assert_eq!((listed.status, &listed.headers[ETAG]), (200, &"\"1\"".parse().unwrap()));
    assert_eq!(listed.body["definitions"][0]["key"], "sms");
    let campaign = &listed.body["definitions"][1];
    assert_eq!(
        (&campaign["kind"], &campaign["version"], &campaign["status"]),
        (&json!("campaign"), &json!(1), &json!("running")),
        "{campaign}"
    );
    assert_eq!(campaign["definition"]["trigger"], json!({"action": {"event": "cart_added"}}));
    // As soon as all workers note it.
    assert_eq!(listed.body["tracked"][0]["since"], "2026-11-20T10:00:05.000Z");
    let destinations = plane.get("/v1/definitions?kind=destination").await;
    assert_eq!(destinations.body["definitions"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn campaigns_are_listed_with_what_they_are_at() {
    let plane = Plane::start().await;
    put(&plane, CART).await;
    let expect = json!({"key": "cart", "title": "Cart", "status": "running", "version": 1, "channel": "sms", "tags": ["a"],
        "priority": 2, "trigger": "action", "destination": "sms", "next_run": null});
    assert_eq!(plane.get("/v1/campaigns").await.body, json!({"revision": 1, "campaigns": [expect]}));
}

#[tokio::test]
async fn each_role_may_do_what_is_its_own() {
    let token = |text: &str| Some(Secret::new(text));
    let plane = Plane::with(Tokens { admin: token("a"), read: token("r"), ingest: token("i") }).await;
    for (path, expect) in [("/v1/definitions", [200, 200, 403, 401]), ("/v1/campaigns", [200, 200, 403, 401])] {
        for (token, expect) in ["a", "r", "i", "x"].into_iter().zip(expect) {
            let got = answer(plane.request(Method::GET, path).bearer_auth(token)).await;
            assert_eq!(got.status, expect, "{path} with {token}");
        }
        assert_eq!(plane.get(path).await.status, 401, "{path} without a token");
    }
    assert_eq!(plane.get("/v1/openapi.json").await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_meant_is_a_problem_that_says_what_was() {
    let plane = Plane::start().await;
    let unknown = plane.get("/v1/definitions?knid=cohort").await;
    assert_eq!((unknown.status, &unknown.body["where"]), (422, &json!("knid")));
    assert_eq!(unknown.body["detail"], "unknown parameter `knid`: did you mean `kind`?");
    assert_eq!(plane.get("/v1/campaigns?limit=3").await.status, 422);
    assert_eq!(plane.get("/v1/nothing").await.status, 404);
    let wrong = answer(plane.request(Method::PATCH, "/v1/definitions")).await;
    assert_eq!(wrong.status, 405);
    assert!(wrong.headers.contains_key(ALLOW), "{:?}", wrong.headers);
}

#[tokio::test]
async fn the_openapi_document_has_every_route() {
    let document = Plane::start().await.get("/v1/openapi.json").await.body;
    let list = &document["paths"]["/v1/definitions"]["get"];
    assert_eq!(list["parameters"][0]["name"], "kind");
    assert_eq!(list["security"], json!([{"read": []}, {"admin": []}]));
    assert_eq!(list["responses"]["503"]["content"]["application/problem+json"]["schema"]["$ref"], "#/components/schemas/Problem");
}

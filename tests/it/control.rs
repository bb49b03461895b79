//! The control plane over HTTP: definitions, their life, who may do what, and what is refused how.

use std::collections::BTreeSet;
use std::sync::Arc;

use campanile::api::{MAX_DEFINITIONS_BYTES, Tokens};
use campanile::engine::catalog::{Apply, Catalog, apply};
use campanile::engine::definition::{ReadOptions, Reading, read};
use campanile::engine::time::Timestamp;
use campanile::secrets::Secret;
use campanile::worker::ports::{Future, State, StateError, Store};
use reqwest::Method;
use reqwest::header::{ALLOW, ETAG, RETRY_AFTER};
use serde_json::json;

use crate::support::plane::{Answer, Plane, answer};

/// Puts these into the store, as `run --apply` does.
async fn put(plane: &Plane, definitions: &str) {
    let Reading { documents, problems, .. } = read("definitions.yaml", definitions, &ReadOptions::default());
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
        "priority": 2, "trigger": "action", "destination": {"name": "sms", "host": "sms.example"}, "next_run": null, "left_out": null});
    assert_eq!(plane.get("/v1/campaigns").await.body, json!({"revision": 1, "campaigns": [expect]}));
}

#[tokio::test]
async fn every_answer_about_definitions_says_the_revision() {
    let plane = Plane::start().await;
    put(&plane, &format!("{CART}---\n{{kind: cohort, key: vip, where: {{user: {{plan: gold}}}}}}\n")).await;
    for (method, path, expect) in [
        (Method::GET, "/v1/definitions", "\"1\""),
        (Method::GET, "/v1/campaigns", "\"1\""),
        (Method::GET, "/v1/campaigns/cart", "\"1\""),
        (Method::POST, "/v1/campaigns/cart/pause", "\"2\""),
        (Method::POST, "/v1/campaigns/cart/start?dry_run=true", "\"2\""),
        (Method::DELETE, "/v1/definitions/cohort/vip", "\"3\""),
        (Method::GET, "/v1/campaigns/cart", "\"3\""),
    ] {
        let got = answer(plane.request(method.clone(), path)).await;
        assert!(got.status < 300, "{method} {path}: {}", got.body);
        assert_eq!(got.headers.get(ETAG).and_then(|tag| tag.to_str().ok()), Some(expect), "{method} {path}");
    }
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
    for (method, path) in [
        (Method::PUT, "/v1/definitions"),
        (Method::DELETE, "/v1/definitions/cohort/vip"),
        (Method::POST, "/v1/campaigns/cart/start"),
        (Method::POST, "/v1/campaigns/cart/pause"),
        (Method::POST, "/v1/campaigns/cart/end"),
    ] {
        for (token, expect) in [("r", 403), ("i", 403), ("x", 401)] {
            let got = answer(plane.request(method.clone(), path).bearer_auth(token)).await;
            assert_eq!(got.status, expect, "{method} {path} with {token}");
        }
        let admin = answer(plane.request(method.clone(), path).bearer_auth("a")).await;
        assert!(!matches!(admin.status, 401 | 403), "{method} {path}: {}", admin.status);
    }
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

/// What the contract names (section 7), and what was added beside it.
const ROUTES: &str = "
post /v1/track, post /v1/identify, post /v1/page, post /v1/screen, post /v1/batch,
get /v1/campaigns, get /v1/campaigns/{key}, post /v1/campaigns/{key}/start, post /v1/campaigns/{key}/pause, post /v1/campaigns/{key}/end,
post /v1/campaigns/{key}/preview, post /v1/campaigns/{key}/test, post /v1/campaigns/{key}/send, get /v1/campaigns/{key}/stats,
get /v1/campaigns/{key}/users, get /v1/definitions, put /v1/definitions, delete /v1/definitions/{kind}/{key},
get /v1/users/{id}, delete /v1/users/{id}, get /v1/users/{id}/explain, get /v1/dead, post /v1/dead/redrive,
get /v1/stats, get /v1/destinations, get /v1/tail, get /console/session";

#[tokio::test]
async fn the_openapi_document_has_every_route() {
    let document = Plane::start().await.get("/v1/openapi.json").await.body;
    let list = &document["paths"]["/v1/definitions"]["get"];
    assert_eq!(list["parameters"][0]["name"], "kind");
    assert_eq!(list["security"], json!([{"read": []}, {"admin": []}]));
    assert_eq!(list["responses"]["503"]["content"]["application/problem+json"]["schema"]["$ref"], "#/components/schemas/Problem");
    let paths = document["paths"].as_object().expect("paths").iter();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().expect("operations").keys().filter(|name| ["get", "put", "post", "delete"].contains(&name.as_str()));
        methods.map(move |method| format!("{method} {path}"))
    });
    let expect: BTreeSet<String> = ROUTES.split(',').map(|route| route.trim().to_owned()).collect();
    assert_eq!(operations.collect::<BTreeSet<_>>(), expect);
}

/// A campaign that any change of `extra` edits.
fn campaign(key: &str, extra: &str) -> String {
    format!("---\n{{kind: campaign, key: {key}, trigger: {{api: {{}}}}, webhook: {{url: 'https://sms.example/{key}'}}, {extra}}}\n")
}

/// What became of each definition: `cart added ready`.
fn changes(applied: &Answer) -> Vec<String> {
    assert_eq!(applied.status, 200, "{}", applied.body);
    let changes = applied.body["changes"].as_array().expect("changes");
    let word = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    changes.iter().map(|change| format!("{} {} {}", word(&change["key"]), word(&change["change"]), word(&change["status"]))).collect()
}

#[tokio::test]
async fn definitions_are_applied_all_or_not_at_all() {
    let plane = Plane::start().await;
    let first = plane.apply("", &[campaign("a", ""), campaign("b", "status: running")].concat()).await;
    assert_eq!(changes(&first), ["a added ready", "b added running"]);
    assert_eq!((&first.body["revision"], &first.headers[ETAG]), (&json!(1), &"\"1\"".parse().unwrap()));
    let again = plane.apply("", &campaign("a", "")).await;
    assert_eq!((changes(&again), &again.body["revision"]), (vec!["a unchanged ready".to_owned()], &json!(1)));

    let wrong = [campaign("c", ""), campaign("a", "titel: x"), campaign("d", "webhook: {destination: nowhere}")].concat();
    let refused = plane.apply("", &wrong).await;
    assert_eq!(refused.status, 422);
    let lines: Vec<_> = refused.body["errors"].as_array().unwrap().iter().map(|error| error["line"].as_u64().unwrap()).collect();
    assert!(lines.contains(&4) && lines.contains(&6), "{}", refused.body);
    let error = &refused.body["errors"][0];
    assert_eq!((&error["file"], &error["meant"]), (&json!("body"), &json!("did you mean `title`?")), "{}", refused.body);

    let missing = plane.apply("", &[campaign("c", ""), "---\n{kind: cohort, key: x, where: {cohort: y}}".into()].concat()).await;
    assert_eq!((missing.status, &missing.body["errors"][0]["problem"]), (422, &json!("there is no cohort `y`")));
    let stored = plane.get("/v1/definitions").await.body;
    assert_eq!((&stored["revision"], stored["definitions"].as_array().map(Vec::len)), (&json!(1), Some(2)));
}

#[tokio::test]
async fn every_mistake_is_named_at_once_also_beside_what_is_stored() {
    let plane = Plane::start().await;
    let cohort = "---\n{kind: cohort, key: vip, users: [u1]}\n";
    plane.apply("", &[&*campaign("a", "status: running"), cohort].concat()).await;
    let audience = |key: &str, cohort: &str| campaign(key, &format!("audience: {{cohort: {cohort}}}"));
    let template = "---\n{kind: campaign, key: d, trigger: {api: {}}, webhook: {url: 'https://h.example/{{ user.id | upcas }}'}}\n";
    let messy = [&*campaign("a", "titel: x"), &*audience("b", "vip"), &*audience("c", "gone"), template].concat();
    let refused = plane.apply("", &messy).await;
    let problems: Vec<_> = refused.body["errors"].as_array().unwrap().iter().map(|error| error["problem"].as_str().unwrap()).collect();
    let compile = "`webhook.url` does not compile: there is no filter `upcas`; did you mean `upcase`?";
    assert_eq!(problems, ["unknown key `titel` in a campaign", "there is no cohort `gone`", compile]);
    assert_eq!((refused.status, &refused.body["detail"]), (422, &json!("nothing was applied: 3 mistakes in the definitions")));
}

#[tokio::test]
async fn a_running_campaign_changes_only_where_that_is_asked_for() {
    let plane = Plane::start().await;
    plane.apply("", &[campaign("a", "status: running"), campaign("b", "")].concat()).await;
    let edited = [campaign("a", "title: x"), campaign("b", "title: x")].concat();
    let refused = plane.apply("", &edited).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert_eq!(refused.body["errors"].as_array().map(Vec::len), Some(1));
    assert_eq!(refused.body["errors"][0]["problem"], "campaign `a` is running and must be paused to be changed");
    let dry = plane.apply("?cycle=true&dry_run=true", &edited).await;
    assert_eq!((changes(&dry), &dry.body["revision"]), (vec!["a changed running".to_owned(), "b changed ready".into()], &json!(1)));
    let done = plane.apply("?cycle=true", &edited).await;
    assert_eq!((changes(&done), &done.body["revision"]), (vec!["a changed running".to_owned(), "b changed ready".into()], &json!(2)));
    // A mistake beside it is a mistake.
    assert_eq!(plane.apply("", &[campaign("a", "title: y"), campaign("c", "titel: y")].concat()).await.status, 422);
}

#[tokio::test]
async fn what_is_not_sent_stays_unless_it_is_to_leave() {
    let plane = Plane::start().await;
    plane
        .apply(
            "",
            &[campaign("a", "status: running"), campaign("b", ""), "---\n{kind: destination, key: d, match: sms.example}".into()].concat(),
        )
        .await;
    let pruned = plane.apply("?prune=true", &campaign("b", "")).await;
    assert_eq!(changes(&pruned), ["d deleted -", "a ended ended", "b unchanged ready"]);
    let empty = plane.apply("?prune=true", "# nothing\n").await;
    assert_eq!((empty.status, &empty.body["where"]), (422, &json!("body")), "an empty body takes nothing away");
}

#[tokio::test]
async fn a_change_can_be_bound_to_what_was_seen() {
    let plane = Plane::start().await;
    let with = async |method: Method, path: &str, seen: &str, body: &str| {
        let request = plane.request(method, path).header("If-Match", seen).header("content-type", "application/yaml");
        answer(request.body(body.to_owned())).await.status
    };
    let put = async |seen: &str, extra: &str| with(Method::PUT, "/v1/definitions", seen, &campaign("a", extra)).await;
    assert_eq!((put("\"0\"", "").await, put("\"0\"", "title: x").await, put("\"1\"", "title: x").await), (200, 412, 200));
    assert_eq!((put("*", "title: y").await, put("2", "title: z").await, put("\"x\"", "").await), (200, 412, 422));
    let start = async |seen: &str| with(Method::POST, "/v1/campaigns/a/start", seen, "").await;
    assert_eq!((start("\"2\"").await, start("\"3\"").await), (412, 200));
    let delete = async |seen: &str| with(Method::DELETE, "/v1/definitions/campaign/a", seen, "").await;
    assert_eq!((delete("\"3\"").await, delete("\"4\"").await), (412, 409));
}

#[tokio::test]
async fn a_campaign_is_started_paused_and_ended() {
    let plane = Plane::start().await;
    plane.apply("", &campaign("a", "")).await;
    let check = async |act: &str, status: u16, expect: &str| {
        let got = plane.post(&format!("/v1/campaigns/a/{act}")).await;
        assert_eq!(got.status, status, "{}", got.body);
        let told = if status == 200 { &got.body["status"] } else { &got.body["detail"] };
        assert_eq!(told, expect, "{act}");
    };
    check("pause", 409, "campaign a is ready and cannot be paused: possible is start and end").await;
    check("start", 200, "running").await;
    let since = &plane.get("/v1/campaigns/a").await.body["running_since"];
    assert!(since.as_str().is_some_and(|since| since.ends_with('Z')), "{since}");
    check("start", 409, "campaign a is running and cannot be started: possible is pause and end").await;
    check("pause", 200, "paused").await;
    check("start?dry_run=true", 200, "paused").await;
    check("start", 200, "running").await;
    check("end", 200, "ended").await;
    check("end", 409, "campaign a has ended and cannot be ended: that is final").await;
    assert_eq!(plane.post("/v1/campaigns/b/start").await.status, 404);
    assert_eq!(plane.get("/v1/campaigns/b").await.status, 404);
    // The worker's own view is not behind.
    assert_eq!(plane.get("/v1/definitions").await.body["revision"], 5);
}

#[tokio::test]
async fn an_overview_says_what_to_expect() {
    let plane = Plane::start().await;
    let applied = plane
        .apply(
            "",
            "{kind: workspace, timezone: Asia/Seoul, frequency_caps: [{limit: 3, per: 1d}, {limit: 1, per: 1h, channel: mail}]}
---
{kind: destination, key: sms, match: sms.example}
---
{kind: campaign, key: weekly, title: Weekly, description: d, channel: sms, audience: everyone, limit: 100, fatigue: {resend: {after: 7d}},
 trigger: {schedule: {cron: '0 9 * * MON'}}, webhook: {url: 'https://sms.example/send', body: {z: 1, a: '{{ user.name }}'}}}
",
        )
        .await;
    assert_eq!(applied.status, 200, "{}", applied.body);
    let overview = plane.post("/v1/campaigns/weekly/start?dry_run=true").await.body;
    assert_eq!(overview["destination"], json!({"name": "sms", "host": "sms.example"}));
    assert_eq!(overview["estimated_audience"], json!({"users": 0, "of": 0, "sampled": false, "total": 0, "least": 0, "most": 0}));
    let rules = json!([
        {"rule": {"limit": 3, "per": "1d"}, "scope": "workspace"},
        {"rule": {"limit": {"users": 100, "per": "run"}}, "scope": "campaign"},
        {"rule": {"resend": {"after": "7d"}}, "scope": "campaign"},
    ]);
    assert_eq!(overview["caps"], rules);
    assert_eq!(overview["warnings"], json!(["it is for all users"]));
    let next_run = overview["next_run"].as_str().expect("a run");
    assert!(next_run.ends_with("T00:00:00.000Z"), "nine o'clock in Seoul: {next_run}");
    // What it says can be applied again, and is no edit.
    let yaml = overview["yaml"].as_str().expect("text");
    assert!(yaml.find("z:") < yaml.find("a: "), "the order of what is sent stays:\n{yaml}");
    let again = plane.apply("", yaml).await;
    assert_eq!(changes(&again), ["weekly unchanged ready"], "{yaml}");
    assert_eq!(plane.get("/v1/campaigns/weekly").await.body["estimated_audience"], json!(null));
}

#[tokio::test]
async fn what_nothing_needs_can_be_deleted() {
    let plane = Plane::start().await;
    let all =
        ["{kind: cohort, key: vip, users: [u1]}\n".into(), campaign("a", "audience: {cohort: vip}"), campaign("ran", "status: running")];
    plane.apply("", &all.concat()).await;
    let check = async |what: &str, status: u16, expect: &str| {
        let got = answer(plane.request(Method::DELETE, &format!("/v1/definitions/{what}"))).await;
        assert_eq!((got.status, got.body["detail"].as_str().unwrap_or_default()), (status, expect), "{what}");
    };
    check("cohort/vip", 409, "cohort vip cannot be deleted: needed by campaign a").await;
    check("campaign/ran", 409, "campaign ran is running and stays, so that its key is never used again; end it, if it shall send no more")
        .await;
    check("campaign/a", 204, "").await;
    check("cohort/vip", 204, "").await;
    check("cohort/vip", 404, "there is no cohort vip").await;
    check("chort/vip", 404, "there is no kind `chort`: did you mean `cohort`?").await;
}

#[tokio::test]
async fn definitions_come_as_what_they_say_and_in_bounds() {
    let plane = Plane::start().await;
    let put = async |kind: Option<&str>, body: Vec<u8>| {
        let request = plane.request(Method::PUT, "/v1/definitions?dry_run=true");
        let request = kind.iter().fold(request, |request, kind| request.header("content-type", *kind));
        answer(request.body(body)).await
    };
    let list = br#"[{"kind": "cohort", "key": "a", "users": ["u1"]}, {"kind": "workspace"}]"#.to_vec();
    assert_eq!(changes(&put(Some("application/json"), list.clone()).await), ["workspace added -", "a added -"]);
    assert_eq!(put(Some("application/json; charset=utf-8"), list.clone()).await.status, 200);
    assert_eq!(put(None, list.clone()).await.status, 200);
    let form = put(Some("application/x-www-form-urlencoded"), list).await;
    assert_eq!(form.status, 415);
    assert!(form.body["detail"].as_str().unwrap().contains("use application/yaml or"), "{}", form.body);
    assert_eq!(put(None, vec![0xff, 0xfe]).await.status, 422);
    let large = vec![b'#'; MAX_DEFINITIONS_BYTES + 1];
    assert_eq!(put(None, large).await.status, 413);
}

/// A store that is away: like a Redis that does not answer.
struct Away;

impl Store for Away {
    fn session(&self) -> Future<'_, Result<Box<dyn State>, StateError>> {
        Box::pin(std::future::ready(Err(StateError::Unavailable("connection refused".into()))))
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_told_with_when_to_come_again() {
    let plane = Plane::over(Tokens::default(), Arc::new(Away)).await;
    for (method, path) in [(Method::GET, "/v1/definitions"), (Method::GET, "/v1/campaigns"), (Method::POST, "/v1/campaigns/a/start")] {
        let got = answer(plane.request(method, path)).await;
        assert_eq!((got.status, &got.body["detail"]), (503, &json!("the state store is not reachable: connection refused")), "{path}");
        assert!(got.headers.contains_key(RETRY_AFTER), "{path}");
    }
}

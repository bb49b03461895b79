//! A user as people see it on a running worker: what is known, why a campaign holds back, previews and test requests, and deletion.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::endpoint::Endpoint;
use crate::support::process::Ran;
use crate::support::wait::{eventually, runtime, until};
use crate::support::worker::{Deployment, Reply, Worker};

const WITHIN: Duration = Duration::from_secs(40);

fn definitions(endpoint: &Endpoint) -> String {
    let (ok, refusing) = (endpoint.url("/"), endpoint.url("/status/404"));
    format!(
        "{{kind: workspace, timezone: Asia/Seoul, track: [login]}}
---
{{kind: cohort, key: koreans, where: {{user: {{country: KR}}}}}}
---
{{kind: cohort, key: testers, users: [u1, zoe]}}
---
kind: campaign
key: cart
status: running
trigger: {{action: {{event: cart_added}}}}
webhook:
  url: \"{ok}\"
  headers: {{X-Token: \"{{{{ secret.token }}}}\"}}
  body: {{to: \"{{{{ user.phone }}}}\", amount: \"{{{{ event.amount }}}}\"}}
---
kind: campaign
key: weekly
status: running
trigger: {{schedule: {{cron: \"0 9 * * 1\"}}}}
audience: {{user: {{plan: gold}}}}
fatigue: {{resend: always}}
webhook: {{url: \"{ok}\"}}
---
kind: campaign
key: reminder
status: running
trigger: {{inaction: {{after: {{event: cart_added}}, without: {{event: purchase}}, within: 30d}}}}
webhook: {{url: \"{refusing}\", body: {{to: \"{{{{ user.phone }}}}\"}}}}
"
    )
}

/// A worker that knows `u1`, who got one campaign and waits for another.
struct Stage {
    deployment: Deployment,
    worker: Worker,
    endpoint: Endpoint,
}

const SECRET: &str = "s3cret-of-the-test";

impl Stage {
    fn new() -> Stage {
        let endpoint = runtime().block_on(Endpoint::plain());
        let mut deployment = Deployment::new("embedded", "embedded");
        deployment.variable("CAMPANILE_SECRET_TOKEN", SECRET);
        deployment.define(&definitions(&endpoint));
        let worker = deployment.start();
        let identify = json!({"userId": "u1", "traits": {"phone": "+82", "country": "KR", "timezone": "Asia/Tokyo"}});
        assert_eq!(worker.post("/v1/identify", &identify.to_string()).status, 202);
        for event in ["login", "login", "cart_added"] {
            let event = json!({"userId": "u1", "event": event, "properties": {"amount": 7}});
            assert_eq!(worker.post("/v1/track", &event.to_string()).status, 202);
        }
        until("the first campaign has arrived", WITHIN, || endpoint.count() == 1);
        Stage { deployment, worker, endpoint }
    }

    fn get(&self, path: &str) -> Reply {
        self.worker.get(path)
    }

    /// A command that asks the worker.
    fn command(&self, arguments: &[&str]) -> Ran {
        let server = format!("http://{}", self.worker.listen);
        self.deployment.run(&[arguments, &["--server", &server]].concat())
    }
}

#[test]
fn a_user_is_shown_explained_and_deleted() {
    let stage = Stage::new();
    let user = eventually("the delivery is settled", WITHIN, || {
        Some(stage.get("/v1/users/u1").json()).filter(|user| user["pending"].as_array().is_some_and(Vec::is_empty))
    });
    assert_eq!((&user["user_id"], &user["traits"]["phone"], &user["timezone"]), (&json!("u1"), &json!("+82"), &json!("Asia/Tokyo")));
    assert_eq!(user["cohorts"], json!(["koreans", "testers"]));
    assert_eq!((&user["exposures"][0]["campaign"], &user["exposures"][0]["times"]), (&json!("cart"), &json!(1)));
    assert_eq!((&user["timers"][0]["campaign"], &user["timers"][0]["what"]), (&json!("reminder"), &json!("inaction")));
    let login =
        user["history"].as_array().into_iter().flatten().find(|kept| kept["what"].as_str().is_some_and(|what| what.contains("login")));
    assert!(login.is_some_and(|kept| kept["value"].as_str().is_some_and(|value| value.starts_with("2 times"))), "{user:#}");
    let printed = stage.command(&["user", "get", "u1"]).expect(0, &[]).stdout;
    for part in ["user u1, timezone Asia/Tokyo", "phone: \"+82\"", "cart, 1 in all", "inaction of reminder", "koreans"] {
        assert!(printed.contains(part), "{part} in\n{printed}");
    }

    let explained = stage.get("/v1/users/u1/explain?campaign=cart").json();
    let resend = explained["gates"].as_array().into_iter().flatten().find(|gate| gate["gate"] == "resend").cloned().unwrap_or_default();
    assert_eq!((&resend["verdict"], &resend["reason"]), (&json!("shut"), &json!("already_sent")), "{explained:#}");
    // What is judged without an event is said.
    for part in ["already_sent", "content are judged without the properties of an event", "in the outcomes topic"] {
        assert!(explained["verdict"].as_str().is_some_and(|verdict| verdict.contains(part)), "{part} in {explained:#}");
    }
    assert_eq!(explained["next_run"], json!(null), "{explained:#}");
    assert_eq!((&explained["exposures"][0]["times"], &explained["waiting"], &explained["pending"]), (&json!(1), &json!([]), &json!([])));
    stage
        .command(&["explain", "--user", "u1", "--campaign", "cart"])
        .expect(0, &["  sent, 1 in all", "already_sent", "it would be held back"]);
    // What waits already is part of the answer.
    let waits = stage.get("/v1/users/u1/explain?campaign=reminder").json();
    assert_eq!((&waits["waiting"][0]["kind"], &waits["waiting"][0]["due"]), (&json!("inaction"), &user["timers"][0]["due"]), "{waits:#}");
    stage
        .command(&["explain", "--user", "u1", "--campaign", "reminder"])
        .expect(0, &["what is still to come", "inaction falls due because of"]);
    let weekly = stage.get("/v1/users/u1/explain?campaign=weekly").json();
    assert_eq!(weekly["next_run"], stage.get("/v1/campaigns/weekly").json()["next_run"], "{weekly:#}");
    let whole = |verdict: &str| !verdict.contains("without the properties");
    assert!(weekly["next_run"].is_string() && weekly["verdict"].as_str().is_some_and(whole), "{weekly:#}");
    stage
        .command(&["explain", "--user", "u1", "--campaign", "weekly"])
        .expect(0, &["what is still to come", "the next run of its schedule"]);
    stage.command(&["explain", "--user", "u1", "--campaign", "carts"]).expect(1, &["did you mean `cart`"]);

    let deleted = stage.command(&["user", "delete", "u1"]).expect(0, &["what is left elsewhere"]);
    for place in ["the limits of campaigns", "cohort testers: ", "events topics", "outcomes)", "runs)", "retry", "dead)", "backups"] {
        assert!(deleted.stdout.contains(place), "{place} in {}", deleted.stdout);
    }
    let other = stage.command(&["user", "delete", "u9", "--format", "json"]).expect(0, &["message_id"]).stdout;
    let other: Value = serde_json::from_str(&other).expect("JSON");
    assert!(!other["remains"].to_string().contains("cohort"), "{other}");
    let gone = eventually("it is forgotten", WITHIN, || Some(stage.get("/v1/users/u1").json()).filter(|user| user["deleted"].is_string()));
    assert_eq!((&gone["traits"], &gone["exposures"], &gone["timers"]), (&json!({}), &json!([]), &json!([])));
    assert_eq!(stage.get("/v1/users/nobody").status, 404);
    stage.worker.stop();
}

#[test]
fn a_request_is_previewed_and_sent_once_for_trying() {
    let stage = Stage::new();
    let asked = json!({"user_id": "u1", "event": {"type": "track", "userId": "u1", "event": "cart_added", "properties": {"amount": 9}}});
    let shown = stage.worker.post("/v1/campaigns/cart/preview", &asked.to_string()).json();
    assert_eq!(shown["outcome"], "rendered", "{shown:#}");
    assert_eq!(shown["request"]["body"], r#"{"to":"+82","amount":9}"#);
    assert!(
        shown["curl"].as_str().is_some_and(|curl| curl.starts_with("curl --request POST") && curl.contains("X-Token: ***")),
        "{shown:#}"
    );
    let nobody = json!({"user": {"type": "identify", "userId": "x"}});
    let missing = stage.worker.post("/v1/campaigns/cart/preview", &nobody.to_string()).json();
    assert_eq!(missing["missing"], json!(["user.phone", "event.amount"]), "{missing:#}");
    for (body, status) in [(json!({}), 422), (json!({"user_id": "nobody"}), 404), (json!({"user_id": "u1", "evnt": {}}), 422)] {
        assert_eq!(stage.worker.post("/v1/campaigns/cart/preview", &body.to_string()).status, status, "{body}");
    }
    assert_eq!(stage.worker.post("/v1/campaigns/none/preview", &asked.to_string()).status, 404);
    assert_eq!(stage.endpoint.count(), 1, "a preview sends nothing");

    stage.deployment.write("user.json", r#"{"type":"identify","userId":"u2","traits":{"phone":"+1"}}"#);
    stage.deployment.write("event.json", r#"{"type":"track","userId":"u2","event":"cart_added","properties":{"amount":3}}"#);
    let files = ["--user", "user.json", "--event", "event.json"];
    stage.command(&[&["preview", "cart"][..], &files].concat()).expect(0, &[r#"{"to":"+1","amount":3}"#]);
    let sent = stage.command(&[&["test-send", "cart"][..], &files].concat()).expect(0, &["it answered 200: a delivery would be done"]);
    assert!(!sent.stdout.contains(SECRET), "{}", sent.stdout);
    let seen = stage.endpoint.seen();
    let test = seen.iter().find(|seen| seen.header("webhook-test") == Some("true")).expect("the test request");
    assert_eq!((test.header("x-token"), test.attempt()), (Some(SECRET), 1));
    let ids: Vec<_> = seen.iter().filter_map(|seen| seen.webhook_id()).collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1], "no receiver may take it for a delivery");
    // Refused: what that means is said, and nothing is tried again or counted.
    let refused = stage.command(&["test-send", "reminder", "--user-id", "u1"]).expect(1, &["it answered 404", "would fail for good"]);
    assert!(refused.stdout.contains("curl"), "{}", refused.stdout);
    assert_eq!(stage.endpoint.count(), 3);
    let user: Value = stage.get("/v1/users/u1").json();
    assert_eq!(user["exposures"].as_array().map(Vec::len), Some(1), "{user:#}");
    stage.worker.stop();
}

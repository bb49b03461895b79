//! The console in a real browser: a worker with a small world in it, and `tests/console/flows.mjs`, which clicks through every flow.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::endpoint::Endpoint;
use crate::support::process::{Process, campanile};
use crate::support::wait::{eventually, runtime, until};
use crate::support::worker::{Deployment, Worker, free_address, post};

/// All flows take under a minute on an idle machine.
const FLOWS_WITHIN: Duration = Duration::from_secs(400);
const ARRIVES_WITHIN: Duration = Duration::from_secs(40);

const ADMIN: &str = "admin-token";
const READ: &str = "read-token";
const INGEST: &str = "ingest-token";

/// What would run, or look different, if it became markup.
const HOSTILE_TITLE: &str = "<img src=x onerror=alert(1)>";
const HOSTILE_USER: &str = "<b onmouseover=alert(2)>";
const HOSTILE_TRAIT: &str = "</td><script>alert(3)</script>";

fn definitions(endpoint: &Endpoint) -> String {
    let (host, url) = (endpoint.address(), |path: &str| endpoint.url(path));
    format!(
        "{{kind: workspace, timezone: Asia/Seoul, frequency_caps: [{{limit: 2, per: 1d}}]}}
---
{{kind: destination, key: sms-provider, match: '{host}', rate: {{per_second: 100, burst: 20}}, max_retries: 0}}
---
kind: campaign\nkey: welcome\ntitle: Welcome after signing up\nstatus: running\nchannel: email\ntags: [onboarding]
trigger: {{action: {{event: signed_up}}}}\nfatigue: {{resend: always}}\ngoal: {{event: purchase, within: 7d}}
webhook: {{url: '{}', body: {{to: '{{{{ user.email }}}}', text: 'Welcome, {{{{ user.name }}}}!'}}}}
---
kind: campaign\nkey: cart\ntitle: Cart not bought for 30 minutes\nstatus: running\nchannel: sms
trigger: {{inaction: {{after: {{event: cart_added, where: {{amount: {{gte: 50000}}}}}}, without: {{event: purchase}}, within: 30m}}}}
webhook: {{url: '{}'}}
---
kind: campaign\nkey: broken\ntitle: 'Goodbye, to an endpoint that refuses'\nstatus: running
trigger: {{action: {{event: left}}}}\nwebhook: {{url: '{}'}}
---
kind: campaign\nkey: monthly\ntitle: A statement every month
trigger: {{schedule: {{monthly: {{day: 7, at: '09:00'}}}}}}\naudience: everyone\nfatigue: {{resend: always}}
webhook: {{url: '{}'}}
---
{{kind: campaign, key: draft, title: A draft, trigger: {{api: {{}}}}, webhook: {{url: '{}'}}}}
---
{{kind: campaign, key: hostile, title: '{HOSTILE_TITLE}', trigger: {{api: {{}}}}, webhook: {{url: '{}'}}}}
",
        url("/welcome"),
        url("/cart"),
        url("/first/1/status/400"),
        url("/monthly"),
        url("/draft"),
        url("/hostile"),
    )
}

/// What has happened before anybody looks.
fn events() -> Vec<Value> {
    let track =
        |user: &str, event: &str, properties: Value| json!({"type": "track", "userId": user, "event": event, "properties": properties});
    let identify = |user: &str, traits: Value| json!({"type": "identify", "userId": user, "traits": traits});
    let signed_up = |user: &str| track(user, "signed_up", json!({}));
    vec![
        identify("mina", json!({"name": "Mina", "email": "mina@example.com", "country": "KR"})),
        identify(HOSTILE_USER, json!({"name": HOSTILE_TRAIT})),
        signed_up("mina"),
        signed_up("mina"),
        // Over the cap.
        signed_up("mina"),
        signed_up(HOSTILE_USER),
        track("mina", "cart_added", json!({"amount": 62000})),
        track("joon", "left", json!({})),
    ]
}

fn tell(worker: &Worker, events: &[Value]) {
    let headers = [("authorization", &*format!("Bearer {INGEST}")), ("content-type", "application/json")];
    let body = json!({"batch": events}).to_string();
    let reply = post(&format!("http://{}/v1/batch", worker.listen), &headers, &body).expect("it listens");
    assert_eq!((reply.status, &reply.json()["refused"]), (202, &json!([])), "{}", reply.body);
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// `tests/console/flows.mjs` with the browser's driver, and where its pictures go.
fn flows(world: &Value) -> Command {
    let modules = root().join(".cache/console");
    assert!(
        modules.join("node_modules/playwright-core").is_dir() && Path::new("/usr/bin/chromium").exists(),
        "Chromium or what drives it is missing: `make setup` installs both"
    );
    let pictures = root().join("target/console");
    std::fs::create_dir_all(&pictures).expect("target can be written to");
    let mut node = Command::new("node");
    node.arg(root().join("tests/console/flows.mjs"));
    node.env("CONSOLE_MODULES", modules).env("CONSOLE_PICTURES", pictures).env("CONSOLE_WORLD", world.to_string());
    node
}

#[test]
fn everything_can_be_done_in_the_console() {
    let endpoint = runtime().block_on(Endpoint::plain());
    let mut deployment = Deployment::new("embedded", "embedded");
    deployment.set("HTTP__TOKENS", &json!({"admin": ADMIN, "read": READ, "ingest": INGEST}).to_string());
    deployment.define(&definitions(&endpoint));
    let worker = deployment.start();
    tell(&worker, &events());
    until("everything was decided and delivered", ARRIVES_WITHIN, || {
        let capped = worker.metric("campanile_decisions_total", "frequency_cap");
        capped > 0.0 && endpoint.count() >= 4 && worker.metric("campanile_dead_total", "") > 0.0
    });

    let world = json!({
        "url": format!("http://{}", worker.listen), "admin": ADMIN, "read": READ, "ingest": INGEST,
        "hostile": {"title": HOSTILE_TITLE, "user": HOSTILE_USER, "trait": HOSTILE_TRAIT},
    });
    let ran = Process::start(flows(&world), b"").ended(FLOWS_WITHIN);
    println!("{}", ran.stdout);
    ran.expect(0, &[]);

    let seen = endpoint.seen();
    let tests: Vec<&str> = seen.iter().filter(|seen| seen.header("webhook-test") == Some("true")).map(|seen| &*seen.path).collect();
    assert_eq!(tests, ["/welcome", "/first/1/status/400"], "the test sends are marked, and are the only ones");
    worker.stop();
}

#[test]
fn the_demo_goes_on_with_the_console() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let address = free_address();
    let demo = Process::start(campanile(directory.path(), &["demo", "--serve", "--listen", &address]), b"");
    until("it says where the console is", ARRIVES_WITHIN, || demo.stdout().contains(&format!("http://{address}/")));
    let get = |path: &str| -> Option<(u16, String)> {
        let url = format!("http://{address}{path}");
        runtime().block_on(async {
            let response = crate::support::worker::client().get(url).send().await.ok()?;
            Some((response.status().as_u16(), response.text().await.ok()?))
        })
    };
    let (status, page) = eventually("the console answers", ARRIVES_WITHIN, || get("/"));
    assert!(status == 200 && page.contains("/console/main.js"), "{status}: {page}");
    let (_, session) = get("/console/session").expect("it listens");
    assert!(session.contains("\"open\":true"), "{session}");
    let (_, campaigns) = get("/v1/campaigns").expect("it listens");
    assert!(campaigns.contains("cart-abandoned"), "{campaigns}");
    // The story goes on with somebody else.
    until("the next one is known", ARRIVES_WITHIN, || get("/v1/users/mina-2").is_some_and(|(status, _)| status == 200));
    demo.terminate();
    demo.ended(ARRIVES_WITHIN).expect(0, &["The console"]);
}

//! What is said of a campaign before it starts: whom it would reach, what it lacks, and why it is left out.

use campanile::engine::catalog::{Catalog, Document};
use campanile::engine::definition::{Kind, Status};
use campanile::engine::profile::Profile;
use campanile::engine::record::{Record, codec};
use campanile::engine::time::Timestamp;
use campanile::worker::ports::{Change, ProfileChange};
use serde_json::{Value, json};

use crate::support::plane::{Plane, SECRET};

/// A user with these traits.
fn user(id: &str, traits: &Value) -> Change {
    let mut profile = Profile::default();
    profile.merge(&serde_json::from_value(traits.clone()).expect("an object"), Timestamp(0));
    Change {
        user: id.into(),
        expected: None,
        record: Some(codec::encode(&Record::default())),
        profile: ProfileChange::Set(codec::encode_profile(&profile)),
        wake: Some(Timestamp(i64::MAX / 2)),
    }
}

/// Everybody who comes first by name is in the audience: the first users of such a store say nothing of all.
#[tokio::test]
async fn an_estimate_is_of_all_users_also_of_a_skewed_store() {
    const VIPS: u64 = 6_000;
    const USERS: u64 = 20_000;
    let plane = Plane::start().await;
    let campaign = "{kind: campaign, key: a, audience: {user: {vip: true}}, trigger: {api: {}}, webhook: {url: 'https://h.example/'}}\n";
    assert_eq!(plane.apply("", campaign).await.status, 200);
    let mut session = plane.store.session().await.expect("a session");
    let named = |number: u64| if number < VIPS { format!("a-{number:05}") } else { format!("b-{number:05}") };
    let users: Vec<Change> = (0..USERS).map(|number| user(&named(number), &json!({"vip": number < VIPS}))).collect();
    for users in users.chunks(5_000) {
        session.commit(users).await.expect("it stores");
    }
    let overview = plane.post("/v1/campaigns/a/start?dry_run=true").await.body;
    let estimate = &overview["estimated_audience"];
    let [users, of, total, least, most] =
        ["users", "of", "total", "least", "most"].map(|field| estimate[field].as_u64().expect("a number"));
    assert_eq!((total, &estimate["sampled"]), (USERS, &json!(true)), "{estimate}");
    // Fewer than 5,000 only where there was no time for more.
    assert!((500..=5_000).contains(&of), "{estimate}");
    assert!(least < most && most - least < USERS / 10, "{estimate}");
    // Six of ten thousand estimates are further off than four deviations; the interval has two to either side.
    let spread = most - least;
    let part = users * USERS / of;
    assert!(part.abs_diff(VIPS) <= spread, "{part} for {VIPS}: {estimate}");
}

#[tokio::test]
async fn a_campaign_starts_only_with_the_secrets_that_it_and_its_destination_name() {
    let plane = Plane::start().await;
    let definitions = |secret: &str, header: &str| {
        format!(
            "{{kind: destination, key: sms, match: h.example, auth: {{bearer: {{secret: {secret}}}}}}}
---
{{kind: destination, key: other, match: other.example, auth: {{bearer: {{secret: nobody-asks}}}}}}
---
{{kind: campaign, key: a, trigger: {{api: {{}}}}, webhook: {{url: 'https://h.example/', headers: {{X-Key: '{{{{ secret.{header} }}}}'}}}}}}
"
        )
    };
    let warned = |warnings: &Value| {
        let warnings = warnings.as_array().expect("a list").iter();
        let text = |warning: &Value| warning["problem"].as_str().or(warning.as_str()).unwrap_or_default().to_owned();
        let secrets = warnings.map(text).filter(|warning| warning.starts_with("secret "));
        secrets.map(|warning| warning.split('`').nth(1).unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let applied = plane.apply("", &definitions("bearer-1", "header-1")).await;
    assert_eq!(
        (applied.status, warned(&applied.body["warnings"])),
        (200, vec!["bearer-1".into(), "nobody-asks".into(), "header-1".into()])
    );
    assert_eq!((&applied.body["warnings"][0]["line"], &applied.body["warnings"][0]["column"]), (&json!(1), &json!(64)));
    let dry = plane.post("/v1/campaigns/a/start?dry_run=true").await;
    assert_eq!((dry.status, warned(&dry.body["warnings"])), (200, vec!["header-1".to_owned(), "bearer-1".to_owned()]), "{}", dry.body);
    let refused = plane.post("/v1/campaigns/a/start").await;
    assert_eq!((refused.status, &refused.body["detail"]), (422, &json!("campaign a cannot be started as it is")));
    let errors: Vec<String> = refused.body["errors"].as_array().expect("errors").iter().map(|error| error["problem"].to_string()).collect();
    assert_eq!(errors, ["\"secret `header-1` does not exist\"", "\"secret `bearer-1` does not exist\""]);
    assert_eq!(plane.get("/v1/campaigns/a").await.body["status"], "ready");

    assert_eq!(plane.apply("", &definitions(SECRET, SECRET)).await.status, 200);
    let started = plane.post("/v1/campaigns/a/start").await;
    assert_eq!((started.status, &started.body["status"], warned(&started.body["warnings"])), (200, &json!("running"), Vec::new()));
}

#[tokio::test]
async fn a_campaign_that_is_left_out_is_seen_with_its_reason() {
    let plane = Plane::start().await;
    let stored = |key: &str, canonical: &str| Document {
        kind: Kind::Campaign,
        key: key.into(),
        version: 3,
        status: Some(Status::Running),
        since: None,
        canonical: canonical.into(),
    };
    let catalog = Catalog {
        documents: vec![
            stored(
                "dreams",
                r#"{"kind":"campaign","key":"dreams","title":"Dreams","trigger":{"dream":{}},"webhook":{"url":"https://h.example/"}}"#,
            ),
            stored("sound", r#"{"kind":"campaign","key":"sound","trigger":{"api":{}},"webhook":{"url":"https://h.example/"}}"#),
        ],
        ..Catalog::default()
    };
    plane.store.session().await.expect("a session").put_documents(0, &catalog.encode()).await.expect("it stores");

    let listed = plane.get("/v1/campaigns").await.body;
    let [sound, dreams] = [0, 1].map(|place| &listed["campaigns"][place]);
    assert_eq!((&sound["key"], &sound["left_out"]), (&json!("sound"), &json!(null)));
    assert_eq!((&dreams["key"], &dreams["title"], &dreams["status"]), (&json!("dreams"), &json!("Dreams"), &json!("running")));
    assert_eq!((&dreams["trigger"], &dreams["left_out"]), (&json!(null), &json!("unknown kind of trigger `dream`")));

    let one = plane.get("/v1/campaigns/dreams").await;
    assert_eq!((one.status, &one.body["left_out"], &one.body["version"]), (200, &dreams["left_out"], &json!(3)));
    // It can be stopped, and the answer is that it was.
    let paused = plane.post("/v1/campaigns/dreams/pause").await;
    assert_eq!((paused.status, &paused.body["status"]), (200, &json!("paused")), "{}", paused.body);
    assert_eq!(plane.post("/v1/campaigns/dreams/start").await.status, 422);
}

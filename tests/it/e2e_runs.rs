//! A scheduled run over many users, on two workers of which one is killed in the middle: everybody who is meant gets it once.

use std::collections::BTreeMap;
use std::time::Duration;

use campanile::adapter::clock::SystemClock;
use campanile::adapter::redis::{RedisSettings, open};
use campanile::engine::profile::Profile;
use campanile::engine::record::{Record, codec};
use campanile::worker::ports::{Change, Clock, ProfileChange, Store};

use crate::support::endpoint::Endpoint;
use crate::support::kafka::shared;
use crate::support::redis::Redis;
use crate::support::wait::{eventually, heavy, runtime, until};
use crate::support::worker::Deployment;

const USERS: usize = 1_000;
/// One user in so many is not meant.
const LEFT_OUT_ONE_IN: usize = 10;
/// From now to the run: workers have followed the definitions by then.
const AHEAD: Duration = Duration::from_secs(8);
/// Requests that were seen before a worker is killed.
const BEFORE_KILL: usize = 100;
/// A killed worker's leases run out, its partitions and its walk are taken over.
const WITHIN: Duration = Duration::from_secs(150);

#[test]
fn a_run_reaches_everybody_once_though_a_worker_is_killed_in_its_middle() {
    let _heavy = heavy();
    let redis = Redis::start();
    let endpoint = runtime().block_on(Endpoint::plain());
    let mut deployment = Deployment::new(shared(), &redis.url());
    // Slow enough that a kill finds the run in its middle.
    deployment.set("DELIVERY__MAX_IN_FLIGHT", "8");
    deployment.init();
    deployment.define("kind: workspace\n");
    let victim = deployment.start();
    put_users(&redis.url(), &deployment.prefix);
    let due = SystemClock::new().now().after(AHEAD);
    deployment.define(&format!(
        "kind: campaign
key: morning
status: running
trigger: {{schedule: {{at: \"{due}\"}}}}
audience: {{user: {{meant: true}}}}
webhook: {{url: \"{}\", body: {{user: \"{{{{ user.id }}}}\"}}}}
",
        endpoint.url("/morning")
    ));
    // Its start applies the campaign.
    let survivor = deployment.start();
    until("the run is in its middle", WITHIN, || endpoint.count() >= BEFORE_KILL);
    victim.kill();

    let meant = USERS - USERS / LEFT_OUT_ONE_IN;
    let mut by_user = BTreeMap::new();
    eventually("everybody who is meant was reached", WITHIN, || {
        by_user = requests(&endpoint);
        (by_user.len() >= meant && survivor.metric("campanile_deliveries_in_flight", "") == 0.0).then_some(())
    });
    assert_eq!(by_user.len(), meant);
    let several: Vec<_> = by_user.iter().filter(|(_, ids)| ids.iter().any(|id| *id != ids[0])).collect();
    assert!(several.is_empty(), "decided more than once: {several:?}");
    let repeated = by_user.values().filter(|ids| ids.len() > 1).count();
    println!("{} users, {meant} meant, each reached by one message; {repeated} saw it repeated by the kill", USERS);
    survivor.stop();
}

/// The `webhook-id` of every request, by the user in its body.
fn requests(endpoint: &Endpoint) -> BTreeMap<String, Vec<String>> {
    let mut by_user: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for seen in endpoint.seen() {
        let body: serde_json::Value = serde_json::from_slice(&seen.body).expect("a JSON body");
        let user = body["user"].as_str().expect("a user").to_owned();
        by_user.entry(user).or_default().push(seen.webhook_id().unwrap_or_default().to_owned());
    }
    by_user
}

/// Users as workers would have stored them.
fn put_users(url: &str, prefix: &str) {
    runtime().block_on(async {
        let store = open(RedisSettings { url: url.into(), prefix: prefix.into(), groups: 1, replicas: 0 }).await.expect("a store");
        let mut session = store.session().await.expect("a session");
        let now = SystemClock::new().now();
        let changes: Vec<Change> = (0..USERS)
            .map(|number| {
                let mut profile = Profile::default();
                let traits = format!(r#"{{"meant":{}}}"#, !number.is_multiple_of(LEFT_OUT_ONE_IN));
                profile.merge(&serde_json::from_str(&traits).expect("traits"), now);
                Change {
                    user: format!("user-{number}").into(),
                    expected: None,
                    record: Some(codec::encode(&Record::default())),
                    profile: ProfileChange::Set(codec::encode_profile(&profile)),
                    wake: Some(now.after(Duration::from_secs(30 * 86_400))),
                }
            })
            .collect();
        session.commit(&changes).await.expect("users stored");
    });
}

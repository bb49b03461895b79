//! Statistics and whom a campaign reached, over HTTP, from what the store holds.

use std::time::Duration;

use campanile::api::Tokens;
use campanile::engine::catalog::{Apply, Catalog, apply};
use campanile::engine::definition::{ReadOptions, Reading, read};
use campanile::engine::statistics::{Line, Tally, Unwritten, What};
use campanile::engine::time::Timestamp;
use campanile::secrets::Secret;
use campanile::worker::ports::{Change, ProfileChange};
use campanile::worker::stats::note;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::plane::{Plane, answer};

/// 2026-11-21.
const DAY: i32 = 20_778;

const DEFINITIONS: &str = "
{kind: campaign, key: cart, trigger: {action: {event: added}}, webhook: {url: 'https://sms.example/send'}}
---
{kind: campaign, key: news, trigger: {action: {event: read}}, webhook: {url: 'https://news.example/send'}}
---
{kind: destination, key: sms, match: sms.example, rate: {per_second: 5, burst: 2}, max_in_flight: 7}
";

async fn plane() -> Plane {
    filled(Plane::start().await).await
}

/// With the definitions, and something counted of one campaign.
async fn filled(plane: Plane) -> Plane {
    let Reading { documents, problems, .. } = read("definitions.yaml", DEFINITIONS, &ReadOptions::default());
    assert!(problems.is_empty(), "{problems:?}");
    let now = Timestamp::parse("2026-11-20T10:00:00Z").unwrap();
    let (catalog, _) = apply(&Catalog::default(), documents, &Apply::default(), now).unwrap();
    let mut session = plane.store.session().await.unwrap();
    session.put_documents(0, &catalog.encode()).await.unwrap();
    let line = |offset: i64, day: i32, what: What| Line { partition: 0, offset, day, key: (offset as u64 / 2) << 8, what };
    let mut tally = Tally::default();
    let lines = [
        line(0, DAY, What::Sent { again: false }),
        line(1, DAY, What::Delivered),
        line(2, DAY + 1, What::Sent { again: false }),
        line(3, DAY + 1, What::Failed { cause: "http 503".into() }),
        line(4, DAY + 1, What::Held { reason: "control_group", taken_back: false }),
        line(6, DAY + 1, What::Converted { arm: campanile::engine::record::Arm::Treatment }),
    ];
    tally.fold(1, &lines);
    tally.add(&[Unwritten { day: DAY, reason: "not_in_audience", count: 5 }]);
    tally.touch(now);
    let wake = Some(now.after(Duration::from_secs(86_400 * 365)));
    let change = Change { user: note("cart"), expected: None, record: Some(tally.encode()), profile: ProfileChange::Keep, wake };
    session.commit(&[change]).await.unwrap();
    plane
}

fn totals(counts: &[(&str, u64)]) -> Value {
    let names = ["matched", "in_audience", "control", "duplicate", "capped", "deferred", "sent", "delivered", "failed", "suppressed"];
    let count = |name: &str| counts.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count);
    names.into_iter().map(|name| (name.to_owned(), json!(count(name)))).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test]
async fn a_campaigns_statistics_have_the_agreed_shape() {
    let plane = plane().await;
    let answer = plane.get("/v1/campaigns/cart/stats").await;
    let first = totals(&[("matched", 6), ("in_audience", 1), ("sent", 1), ("delivered", 1), ("suppressed", 5)]);
    let second = totals(&[("matched", 2), ("in_audience", 2), ("control", 1), ("sent", 1), ("failed", 1), ("suppressed", 1)]);
    let day = |name: &str, totals: &Value| {
        let mut day = totals.clone();
        day["day"] = json!(name);
        day
    };
    let expect = json!({
        "campaign": "cart", "as_of": "2026-11-20T10:00:00.000Z",
        "totals": totals(&[("matched", 8), ("in_audience", 3), ("control", 1), ("sent", 2), ("delivered", 1), ("failed", 1), ("suppressed", 6)]),
        "reasons": {"control_group": 1, "not_in_audience": 5}, "failed_by": {"http 503": 1},
        "by_day": [day("2026-11-21", &first), day("2026-11-22", &second)],
        "conversions": {"treatment": {"users": 2, "conversions": 1, "rate": 0.5}, "control": {"users": 1, "conversions": 0, "rate": 0.0}, "lift": null},
    });
    assert_eq!((answer.status, answer.body), (200, expect));
    let of_a_day = plane.get("/v1/campaigns/cart/stats?from=2026-11-22&to=2026-11-30").await.body;
    assert_eq!((&of_a_day["totals"], of_a_day["by_day"].as_array().map(Vec::len)), (&second, Some(1)));
    assert_eq!(plane.get("/v1/campaigns/cart/stats?to=2026-11-20").await.body["totals"], totals(&[]));
}

#[tokio::test]
async fn all_campaigns_add_up_and_those_without_counts_are_listed() {
    let plane = plane().await;
    let all = plane.get("/v1/stats").await.body;
    assert_eq!((&all["campaign"], &all["totals"]["matched"], &all["campaigns"]["cart"]["sent"]), (&Value::Null, &json!(8), &json!(2)));
    assert_eq!(all["campaigns"]["news"], totals(&[]));
    let nothing = plane.get("/v1/campaigns/news/stats").await.body;
    assert_eq!((&nothing["as_of"], &nothing["totals"], &nothing["by_day"]), (&Value::Null, &totals(&[]), &json!([])));
}

#[tokio::test]
async fn what_cannot_be_answered_says_why() {
    let plane = plane().await;
    let check = async |path: &str, status: u16, place: Option<&str>| {
        let answer = plane.get(path).await;
        assert_eq!((answer.status, answer.body["where"].as_str()), (status, place), "{path}: {}", answer.body);
    };
    check("/v1/campaigns/zebra/stats", 404, None).await;
    check("/v1/campaigns/zebra/users?outcome=sent", 404, None).await;
    check("/v1/campaigns/cart/stats?from=yesterday", 422, Some("from")).await;
    check("/v1/stats?from=2026-11-22&to=2026-11-21", 422, Some("from")).await;
    check("/v1/stats?campaign=cart", 422, Some("campaign")).await;
    check("/v1/campaigns/cart/users", 422, Some("outcome")).await;
    check("/v1/campaigns/cart/users?outcome=held", 422, Some("outcome")).await;
    check("/v1/campaigns/cart/users?outcome=sent&limit=0", 422, Some("limit")).await;
    check("/v1/campaigns/cart/users?outcome=sent&cursor=%21", 422, Some("cursor")).await;
}

#[tokio::test]
async fn only_who_may_read_sees_it() {
    let token = |text: &str| Some(Secret::new(text));
    let plane = filled(Plane::with(Tokens { admin: token("a"), read: token("r"), ingest: token("i") }).await).await;
    for path in ["/v1/stats", "/v1/campaigns/cart/stats", "/v1/campaigns/cart/users?outcome=sent", "/v1/destinations"] {
        for (token, expect) in [("a", 200), ("r", 200), ("i", 403), ("x", 401)] {
            assert_eq!(answer(plane.request(Method::GET, path).bearer_auth(token)).await.status, expect, "{path} with {token}");
        }
    }
    assert_eq!(plane.get("/v1/tail").await.status, 401);
}

#[tokio::test]
async fn destinations_are_shown_before_anything_was_sent() {
    let expect = json!({"workers": 0, "destinations": [
        {"name": "news.example", "hosts": ["news.example"], "in_flight": 0, "waiting": 0, "breaker": "closed", "held_back_by": 0,
         "rate": null, "max_in_flight": 64},
        {"name": "sms", "hosts": ["sms.example"], "in_flight": 0, "waiting": 0, "breaker": "closed", "held_back_by": 0,
         "rate": {"per_second": 5.0, "burst": 2}, "max_in_flight": 7},
    ]});
    assert_eq!(plane().await.get("/v1/destinations").await.body, expect);
}

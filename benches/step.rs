//! What a step costs, and what it costs to read and write a record: `cargo bench --bench step --no-default-features`.
//!
//! One user with an ordinary record (16 message ids from two partitions, one exposure) among 1,000 campaigns of 50 event names, under
//! two caps. The event has 20 properties, the body five variables. Prints the median of the rounds, in nanoseconds.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile::engine::catalog::{InForce, Policy};
use campanile::engine::definition::{
    Body as WebhookBody, Campaign, Condition, Fatigue, FrequencyCap, Operand, Pattern, Period, Resend, Rule, Status, Test, Trigger,
    Webhook, Workspace,
};
use campanile::engine::delivery::Backoff;
use campanile::engine::event::{Body, Event, Position, SourceId};
use campanile::engine::id::UserId;
use campanile::engine::record::{SEEN_IDS, codec};
use campanile::engine::step::{Input, Known, Verdict, step};
use campanile::engine::time::Timestamp;
use campanile::engine::value::{Object, Value};

/// A debug build only shows that it runs.
const ROUNDS: usize = if cfg!(debug_assertions) { 3 } else { 101 };
const STEPS: usize = 500;

const CAMPAIGNS: usize = 1_000;
const NAMES: usize = 50;
const NOW: Timestamp = Timestamp(1_795_168_800_000);

const PROPERTIES: &str = r#"{"category":"k17","amount":123.45,"currency":"EUR","title":"Winter boots \"Alpina\", größe 42",
    "sku":"SKU-012345","quantity":3,"sent_ms":1795168800123,"plan":"silver","country":"KR","coupon":null,"first_purchase":false,
    "store":7,"shelf":"b","gift":true,"points":120,"step":2,"ref":"https://shop.example/l?c=54321","tags":["sale","winter"],"rating":4.5,
    "items":[{"sku":"SKU-012345","price":65.5,"qty":1}]}"#;

const TRAITS: &str = r#"{"name":"Kim","phone":"+82101234567","country":"KR","plan":"gold","city":"Seoul","email":"kim@example.com"}"#;

const BODY: &str = r#"{"to":"{{ user.phone }}","text":"{{ user.name | default: 'there' }}, your cart waits: come back within the hour and
    the shipping is on us, as it is for every order of this week. Reply STOP to hear no more of it.","amount":"{{ event.amount }}",
    "title":"{{ event.title }}","country":"{{ user.country }}","channel":"sms","options":{"priority":[1,2,3],"track":true,"sender":"SHOP"},
    "callback":"https://shop.example/hooks/messages/status","campaign":"cart-abandoned","locale":"ko-KR","ttl_seconds":3600}"#;

fn main() {
    let in_force = in_force();
    let user: UserId = "u0007919".into();
    let fresh = known(&in_force, &user);
    let claimed = step(&in_force, &user, fresh.clone(), &track(100, "n17"), NOW);
    let held = step(&in_force, &user, claimed.known.clone(), &track(101, "n17"), NOW).known;
    let attempted = {
        let entry = claimed.known.record.pending.first().expect("claimed");
        let body = entry.request.as_ref().expect("frozen").weight();
        println!("record of {} bytes, its request {body}", codec::encode(&claimed.known.record).len());
        Input::Attempted { id: entry.id, attempt: 1, verdict: Verdict::Delivered, status: Some(200), cause: None }
    };
    let measure = |what: &str, known: &Known, input: &Input| println!("{what:>24} {:>6} ns", step_ns(&in_force, &user, known, input));
    measure("matched, claimed", &fresh, &track(100, "n17"));
    measure("suppressed", &claimed.known, &track(101, "n17"));
    measure("of no interest", &fresh, &track(100, "n99"));
    measure("repeated", &held, &track(101, "n17"));
    measure("settled", &claimed.known, &attempted);
    measure("early wake", &claimed.known, &Input::Wake { read_to: NOW });

    let record = &claimed.known.record;
    let bytes = codec::encode(record);
    println!("{:>24} {:>6} ns", "record encoded", median_ns(|| drop(black_box(codec::encode(black_box(record))))));
    println!("{:>24} {:>6} ns", "record decoded", median_ns(|| drop(black_box(codec::decode(black_box(&bytes))))));
    let profile = codec::encode_profile(&fresh.profile);
    println!("{:>24} {:>6} ns", "profile decoded", median_ns(|| drop(black_box(codec::decode_profile(black_box(&profile))))));
}

/// What is known of the user is copied before and dropped after the time that counts.
fn step_ns(in_force: &InForce, user: &UserId, known: &Known, input: &Input) -> u128 {
    let mut rounds: Vec<u128> = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let copies: Vec<Known> = (0..STEPS).map(|_| known.clone()).collect();
        let mut stepped = Vec::with_capacity(STEPS);
        let started = now();
        for known in copies {
            stepped.push(step(in_force, user, known, black_box(input), NOW));
        }
        rounds.push(started.elapsed().as_nanos() / STEPS as u128);
    }
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

fn median_ns(mut call: impl FnMut()) -> u128 {
    let mut rounds: Vec<u128> = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let started = now();
        (0..STEPS).for_each(|_| call());
        rounds.push(started.elapsed().as_nanos() / STEPS as u128);
    }
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// What an ordinary user's record looks like after some events.
fn known(in_force: &InForce, user: &UserId) -> Known {
    let mut known = Known::default();
    known.profile.merge(&object(TRAITS), NOW.before(Duration::from_secs(86_400)));
    for offset in 0..SEEN_IDS {
        known = step(in_force, user, known, &track(i64::try_from(offset).unwrap_or(0), "n99"), NOW).known;
    }
    known
}

fn track(offset: i64, name: &str) -> Input {
    let source = SourceId::of("events", 1, i32::from(offset % 4 == 1));
    Input::Event(Arc::new(Event {
        user: "u0007919".into(),
        message_id: format!("m1-{offset:010}").into(),
        timestamp: NOW,
        position: Position { source, offset, broker_time: NOW },
        anonymous_id: None,
        device_token: None,
        context_traits: Object::new(),
        body: Body::Track { name: name.into(), properties: object(PROPERTIES) },
    }))
}

fn object(json: &str) -> Object {
    serde_json::from_str(json).expect("the benchmark's own text")
}

fn in_force() -> InForce {
    let hour = Duration::from_secs(3600);
    let policy = Policy {
        max_age: hour,
        max_lateness: 72 * hour,
        max_overdue: hour,
        timeout: Duration::from_secs(3),
        max_retries: 3,
        backoff: Backoff { base: Duration::from_secs(1), max: Duration::from_secs(10) },
        expires: 24 * hour,
        id_key: b"0123456789abcdef0123456789abcdef".to_vec(),
        allow_http: false,
    };
    let cap = |limit, per, channel: Option<&str>| FrequencyCap {
        limit,
        period: Period::Sliding(per),
        channel: channel.map(Into::into),
        tag: None,
    };
    let frequency_caps = vec![cap(3, 24 * hour, None), cap(1, hour, Some("sms"))];
    let workspace = Workspace { timezone: Some("Asia/Seoul".into()), frequency_caps, ..Workspace::default() };
    InForce::assemble(1, (0..CAMPAIGNS).map(campaign).collect(), Vec::new(), workspace, policy)
}

/// Campaign i asks for event n(i mod 50) and category k(i / 50).
fn campaign(i: usize) -> Campaign {
    let key = format!("c{i}");
    let test = |path: &str, test| Condition::Test { path: path.into(), test };
    let category = test("category", Test::Eq(Operand::Value(Value::text(format!("k{}", i / NAMES)))));
    let amount = test("amount", Test::Gte(Operand::Value(Value::Int(100))));
    Campaign {
        status: Some(Status::Running),
        tags: vec!["cart".into()],
        channel: Some("sms".into()),
        audience: Rule::User(test("plan", Test::Eq(Operand::Value("gold".into())))),
        fatigue: Fatigue { resend: Resend::Always, ..Fatigue::default() },
        ..Campaign::new(
            &key,
            Trigger::Action(Pattern { event: format!("n{:02}", i % NAMES).into(), condition: Condition::All(vec![category, amount]) }),
            Webhook {
                headers: vec![("X-Source".into(), "campanile".into())],
                body: WebhookBody::Map(Value::from_json(&BODY.replace("\n    ", " ")).expect("the benchmark's own text")),
                ..Webhook::new("https://api.kakao.example/v1/messages/{{ event.sku }}", "api.kakao.example")
            },
        )
    }
}

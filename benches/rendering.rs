//! What rendering costs. Prints the median of many runs for bodies from a constant to a loop, and the compiling of one.
//!
//! `cargo bench --bench rendering --no-default-features`

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::Instant;

use campanile::engine::definition::{Body, Campaign, Condition, Pattern, Trigger, Webhook};
use campanile::engine::id::DeliveryId;
use campanile::engine::profile::Profile;
use campanile::engine::rendering::{Scope, Triggered, compile, render};
use campanile::engine::time::Timestamp;
use campanile::engine::value::Value;

/// Renders per measurement, and measurements of which the median is taken. A debug build only shows that it runs.
const ROUNDS: u32 = if cfg!(debug_assertions) { 2 } else { 2_000 };
const MEASUREMENTS: usize = 31;

const BODIES: [(&str, &str); 5] = [
    ("constant", r#"{"to":"+82","text":"Your cart waits","n":1}"#),
    (
        "five variables",
        r#"{"to":"{{ user.phone }}","text":"{{ user.name | default: 'there' }}, your cart waits","amount":"{{ event.amount }}",
           "cart":"{{ event.cart_id }}","country":"{{ user.country }}","channel":"sms","nested":{"fixed":[1,2,3]}}"#,
    ),
    ("two filters", r#"{"text":"{{ user.name | upcase }}","amount":"{{ event.amount | times: 2 }}"}"#),
    ("condition", r#"{"text":"{% if event.amount > 100 %}{{ user.name }}, thank you{% else %}Hello{% endif %}"}"#),
    ("loop of ten", r#"{"text":"{% for i in (1..10) %}{{ i }},{% endfor %}"}"#),
];

fn main() {
    let mut profile = Profile::default();
    let traits =
        serde_json::from_str(r#"{"name":"Kim","phone":"+82101234567","country":"KR","plan":"gold","city":"Seoul"}"#).expect("traits");
    profile.merge(&traits, Timestamp(1));
    let properties = serde_json::from_str(
        r#"{"sku":"A-1","cart_id":"c-778","amount":120000,"currency":"KRW","items":[{"id":1},{"id":2}],"source":"app"}"#,
    );
    let trigger = Triggered {
        kind: "action",
        event: "cart_added",
        message_id: "m1",
        timestamp: Timestamp(1_700_000_000_000),
        properties: &properties.expect("properties"),
        others: &[],
    };
    for (name, body) in BODIES {
        let campaign = campaign(Body::Map(Value::from_json(body).expect("body")));
        let template = compile(&campaign, None).expect("template");
        let scope = Scope {
            user_id: "u1",
            user: &profile,
            trigger,
            campaign: &campaign,
            delivery: DeliveryId([7; 16]),
            now: Timestamp(1_700_000_100_000),
            links: &[],
        };
        let rendered = median(|| drop(black_box(render(black_box(&template), &scope))));
        let compiled = median(|| drop(black_box(compile(black_box(&campaign), None))));
        println!("{name:<16} render {rendered:>8.0} ns   compile {compiled:>8.0} ns");
    }
}

/// The median time of one call, in nanoseconds.
fn median(mut call: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..MEASUREMENTS)
        .map(|_| {
            let start = Instant::now();
            (0..ROUNDS).for_each(|_| call());
            start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[MEASUREMENTS / 2]
}

fn campaign(body: Body) -> Campaign {
    Campaign::new(
        "cart-abandoned",
        Trigger::Action(Pattern { event: "cart_added".into(), condition: Condition::ALWAYS }),
        Webhook {
            headers: vec![("X-Source".into(), "campanile".into())],
            body,
            ..Webhook::new("https://api.kakao.example/v1/messages/{{ event.sku }}", "api.kakao.example")
        },
    )
}

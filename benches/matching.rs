//! What matching costs an event: `cargo bench --bench matching --no-default-features`.
//!
//! Campaigns and events have the shape of the side-by-side comparison (scenario M4): campaign i asks for event n(i mod 50), category
//! k(i / 50) and an amount of at least 100; events have 17 properties. `mixed` has campaigns of several kinds on the same
//! names, of which one in ten has a range only and is verified on every event of its name. Prints the median of the
//! rounds, in nanoseconds an event; parsing the event is not included.

use std::hint::black_box;
use std::time::{Duration, Instant};

use campanile::engine::audience::Cohorts;
use campanile::engine::definition::{Again, Campaign, Condition, Inaction, Operand, Pattern, Status, Test, Trigger, Webhook};
use campanile::engine::history::Trackers;
use campanile::engine::matching::Index;
use campanile::engine::time::Timestamp;
use campanile::engine::value::{Object, Value};

const ROUNDS: usize = 15;
const EVENTS: usize = 20_000;
const NAMES: u64 = 50;

fn main() {
    println!("{:>24} {:>10} {:>12} {:>12} {:>14} {:>14}", "campaigns", "build ms", "match ns", "near ns", "unknown ns", "matches/event");
    for count in [1, 100, 10_000, 100_000] {
        measure(&count.to_string(), &(0..count).map(|i| campaign(i, by_category(i))).collect::<Vec<_>>());
    }
    for count in [1_000, 100_000] {
        measure(&format!("{count} mixed"), &(0..count).map(|i| campaign(i, mixed(i, count))).collect::<Vec<_>>());
    }
    for count in [1_000, 10_000] {
        let ranges =
            (0..count).map(|i| campaign(i, Trigger::Action(pattern(i, vec![test("amount", Test::Gte(literal(100 + (i % 400) as i64)))]))));
        measure(&format!("{count} ranges only"), &ranges.collect::<Vec<_>>());
    }
}

fn measure(label: &str, campaigns: &[Campaign]) {
    let started = now();
    let index = Index::build(&campaigns.iter().collect::<Vec<_>>(), &Cohorts::default(), &Trackers::default());
    let build = started.elapsed();
    let mut random = Random(7);
    let events = |random: &mut Random, near: bool| -> Vec<(String, Object)> {
        (0..EVENTS).map(|_| event(random.below(campaigns.len() as u64), near, random)).collect()
    };
    let (matching, near) = (events(&mut random, false), events(&mut random, true));
    let unknown: Vec<(String, Object)> = near.iter().map(|(name, properties)| (format!("{name}_"), properties.clone())).collect();
    let matches: usize = matching.iter().map(|event| found(&index, event)).sum();
    println!(
        "{label:>24} {:>10.1} {:>12} {:>12} {:>14} {:>14.2}",
        build.as_secs_f64() * 1e3,
        median_ns(&index, &matching),
        median_ns(&index, &near),
        median_ns(&index, &unknown),
        matches as f64 / EVENTS as f64,
    );
}

/// Fewer events a round where one costs much, so that a round stays short.
fn median_ns(index: &Index, events: &[(String, Object)]) -> u128 {
    let mut rounds: Vec<u128> = Vec::with_capacity(ROUNDS);
    let mut take = events.len();
    for _ in 0..ROUNDS {
        let started = now();
        events[..take].iter().for_each(|event| {
            black_box(found(index, event));
        });
        let elapsed = started.elapsed();
        rounds.push(elapsed.as_nanos() / take as u128);
        if elapsed > Duration::from_millis(200) {
            take = (take / 4).max(100);
        }
    }
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

fn found(index: &Index, (name, properties): &(String, Object)) -> usize {
    // As the worker does: most events end at the first look-up.
    if !index.knows(name) {
        return 0;
    }
    let mut out = Vec::with_capacity(8);
    index.matches(name, properties, Timestamp(1_795_168_800_000), "UTC", &mut out);
    out.len()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// An event that meets (or, `near`, has too small an amount for) campaign i of the comparison.
fn event(i: u64, near: bool, random: &mut Random) -> (String, Object) {
    let cents = if near { random.below(10_000) } else { 10_000 + random.below(40_000) };
    let (a, b) = (random.below(100_000), random.below(100_000));
    let properties = format!(
        r#"{{"category":"k{}","amount":{}.{:02},"currency":"EUR","title":"Winter boots \"Alpina\", größe 42","sku":"SKU-{a:06}","quantity":1,
        "sent_ms":1795168800000,"plan":"{}","country":"{}","coupon":null,"first_purchase":{},
        "referrer":"https://shop.example/landing?src=mail&c={b}","tags":["sale","boots","winter"],
        "items":[{{"sku":"SKU-{a:06}","price":20.5,"qty":1}},{{"sku":"SKU-{b:06}","price":5.25,"qty":2}}],"x1":1,"x2":2,"x3":3}}"#,
        i / NAMES,
        cents / 100,
        cents % 100,
        ["free", "silver", "gold"][(b % 3) as usize],
        ["DE", "FR", "KR", "US", "JP"][(a % 5) as usize],
        a % 10 == 0,
    );
    (name(i), serde_json::from_str(&properties).expect("the benchmark's own text"))
}

fn name(i: u64) -> String {
    format!("n{:02}", i % NAMES)
}

fn by_category(i: u64) -> Trigger {
    let category = test("category", Test::Eq(literal(format!("k{}", i / NAMES).as_str())));
    Trigger::Action(pattern(i, vec![category, test("amount", Test::Gte(literal(100)))]))
}

fn mixed(i: u64, count: u64) -> Trigger {
    let category = || test("category", Test::Eq(literal(format!("k{}", i / NAMES).as_str())));
    match i / NAMES % 10 {
        0 => Trigger::Action(pattern(i, vec![category(), test("country", Test::In(vec![literal("KR"), literal("JP")]))])),
        1 => Trigger::Action(pattern(i, vec![test("items.sku", Test::Eq(literal(format!("SKU-{i:06}").as_str())))])),
        2 => Trigger::Action(pattern(i, vec![test("tags", Test::Eq(literal("boots"))), category()])),
        3 => Trigger::Inaction(Inaction {
            after: pattern(i, vec![category()]),
            without: pattern(i + 1, vec![category()]),
            within: Duration::from_secs(1800),
            same: Vec::new(),
            again: Again::Ignore,
        }),
        // One in ten; capped, so that a hundred thousand campaigns do not have ten thousand of them.
        4 if i < count.min(5_000) => Trigger::Action(pattern(i, vec![test("amount", Test::Gte(literal(400 + (i % 100) as i64)))])),
        5 => Trigger::Action(pattern(i, vec![Condition::Any(vec![category(), test("sku", Test::Eq(literal("SKU-000001")))])])),
        _ => by_category(i),
    }
}

fn pattern(i: u64, tests: Vec<Condition>) -> Pattern {
    Pattern { event: name(i).into(), condition: Condition::All(tests) }
}

fn test(path: &str, test: Test) -> Condition {
    Condition::Test { path: path.into(), test }
}

fn literal(value: impl Into<Value>) -> Operand {
    Operand::Value(value.into())
}

fn campaign(i: u64, trigger: Trigger) -> Campaign {
    let key = format!("c{i}");
    Campaign { status: Some(Status::Running), ..Campaign::new(&key, trigger, Webhook::new("https://h.example/", "h.example")) }
}

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(mixed ^ (mixed >> 31)) * u128::from(bound)) >> 64) as u64
    }
}

//! What reading costs an event: `cargo bench --bench reading --no-default-features`.
//!
//! One event of 755 bytes with 20 properties, as in the side-by-side comparison. `header` is all that an event of no interest
//! costs; `whole` is what one costs that a campaign asks for. Prints the median of the rounds, in nanoseconds an event.

use std::hint::black_box;
use std::time::{Duration, Instant};

use campanile::engine::event::SourceId;
use campanile::engine::reading::{Limits, Place, header};
use campanile::engine::time::Timestamp;

const ROUNDS: usize = 15;
const READS: u32 = 50_000;

const EVENT: &str = concat!(
    r#"{"type":"track","messageId":"m1-0000000042","userId":"u0007919","event":"purchase","timestamp":"2026-11-20T10:00:00.123Z","#,
    r#""properties":{"category":"k17","amount":123.45,"currency":"EUR","title":"Winter boots \"Alpina\", größe 42","sku":"SKU-012345","#,
    r#""quantity":3,"sent_ms":1795168800123,"plan":"silver","country":"KR","coupon":null,"first_purchase":false,"store":7,"shelf":"b","#,
    r#""gift":true,"points":120,"step":2,"ref":"https://shop.example/l?c=54321","tags":["sale","winter"],"rating":4.5,"#,
    r#""items":[{"sku":"SKU-012345","price":65.5,"qty":1}]},"#,
    r#""context":{"ip":"203.0.113.9","locale":"de-DE","library":{"name":"analytics.js","version":"2.11.1"},"#,
    r#""page":{"path":"/p/54321","title":"Product 54321"},"userAgent":"Mozilla/5.0 (X11; Linux64) AppleWebKit/537.360"}}"#,
);

fn main() {
    let broker_time = Timestamp::parse("2026-11-20T10:00:01Z").expect("the benchmark's own text");
    let source = SourceId::of("events", 1, 3);
    let place = Place { source, topic: "events", partition: 3, generation: 1, offset: 42, broker_time };
    let limits = Limits { max_lateness: Duration::from_secs(72 * 3600) };
    println!("event of {} bytes", EVENT.len());
    let header_ns = median_ns(|bytes| {
        black_box(header(bytes)).expect("readable");
    });
    let whole_ns = median_ns(|bytes| {
        black_box(header(bytes).and_then(|header| header.into_event(&place, &limits))).expect("readable");
    });
    println!("{:>8} {header_ns:>6} ns", "header");
    println!("{:>8} {whole_ns:>6} ns", "whole");
}

fn median_ns(read: impl Fn(&[u8])) -> u128 {
    let mut rounds: Vec<u128> = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let started = now();
        for _ in 0..READS {
            read(black_box(EVENT.as_bytes()));
        }
        rounds.push(started.elapsed().as_nanos() / u128::from(READS));
    }
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

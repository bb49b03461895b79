//! What the statistics cost: reading outcome lines and folding them into a tally, as the reader of statistics does, in batches of two
//! seconds. Microseconds of one core for a delivered webhook, which is two lines: its decision and its attempt.
//!
//!     cargo bench --bench statistics --no-default-features

use std::time::Instant;

use campanile::engine::statistics::{Line, Tally, read};

/// Deliveries of one flush: two seconds at 13,000 a second.
const DELIVERIES: usize = 26_000;
const ROUNDS: usize = 20;

fn main() {
    for campaigns in [1, 20, 500] {
        let lines = lines(campaigns);
        let mut tallies: Vec<Vec<u8>> = vec![Tally::default().encode(); campaigns];
        let (mut reading, mut folding, mut bytes) = (0.0, 0.0, 0);
        for round in 0..ROUNDS {
            let begun = Instant::now();
            let mut by_campaign: Vec<Vec<Line>> = vec![Vec::new(); campaigns];
            for (number, text) in lines.iter().enumerate() {
                let offset = (round * lines.len() + number) as i64;
                let read = read(0, offset, text.as_bytes()).expect("a line");
                if let Some((campaign, line)) = read {
                    let place: usize = campaign.strip_prefix("campaign-").and_then(|number| number.parse().ok()).expect("a number");
                    // Other deliveries in each round.
                    by_campaign[place].push(Line { key: line.key.wrapping_add((round as u64) << 32), ..line });
                }
            }
            reading += begun.elapsed().as_secs_f64();
            let begun = Instant::now();
            for (stored, lines) in tallies.iter_mut().zip(&by_campaign) {
                let mut tally = Tally::decode(stored).expect("a tally");
                tally.fold(1, lines);
                *stored = tally.encode();
            }
            folding += begun.elapsed().as_secs_f64();
            bytes = tallies.iter().map(Vec::len).max().unwrap_or(0);
        }
        let each = |seconds: f64| seconds * 1e6 / (ROUNDS * DELIVERIES) as f64;
        println!(
            "{campaigns:>4} campaigns: {:.2} us a delivery ({:.2} reading, {:.2} folding and storing), tally {bytes} bytes",
            each(reading + folding),
            each(reading),
            each(folding)
        );
    }
}

fn lines(campaigns: usize) -> Vec<String> {
    (0..DELIVERIES)
        .flat_map(|number| {
            let (campaign, id) = (number % campaigns, format!("msg_{:016x}{number:016x}", (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
            [
                format!(r#"{{"v":1,"type":"decision","at":"2026-11-21T10:00:00.123Z","campaign":"campaign-{campaign}","version":3,"channel":"sms","tags":["cart","promo"],"arm":"treatment","user_id":"user-{number}","event_id":"0192f0c1-7d1e-7a53-9b3c-{number:012}","outcome":"sent","reason":null,"rule":null,"until":null,"run":null,"delivery_id":"{id}"}}"#),
                format!(r#"{{"v":1,"type":"attempt","at":"2026-11-21T10:00:00.145Z","campaign":"campaign-{campaign}","user_id":"user-{number}","delivery_id":"{id}","request_id":"{id}","destination":"kakao","attempt":1,"result":"delivered","status":200,"latency_ms":12,"cause":null,"error":null}}"#),
            ]
        })
        .collect()
}

//! What checking 10,000 definitions costs: reading, checking together, compiling templates. Run with
//! `cargo bench --bench validating --no-default-features`.

use std::time::Instant;

use campanile::engine::catalog::{Apply, Catalog, apply};
use campanile::engine::definition::{ReadOptions, read};
use campanile::engine::time::Timestamp;

const CAMPAIGNS: usize = 9_000;
const COHORTS: usize = 900;
const DESTINATIONS: usize = 100;
const ROUNDS: usize = 5;

fn main() {
    let files: Vec<String> =
        (0..CAMPAIGNS).map(campaign).chain((0..COHORTS).map(cohort)).chain((0..DESTINATIONS).map(destination)).collect();
    let bytes: usize = files.iter().map(String::len).sum();
    println!("{} definitions, {} KiB", files.len(), bytes / 1024);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut documents = Vec::new();
        for file in &files {
            let reading = read("file", file, &ReadOptions::default());
            assert!(reading.problems.is_empty(), "{}", reading.problems[0]);
            documents.extend(reading.documents);
        }
        let read = start.elapsed();
        let count = documents.len();
        apply(&Catalog::default(), documents, &Apply::default(), Timestamp(0)).expect("sound definitions");
        let whole = start.elapsed();
        println!("{count} in {whole:.2?}: read {read:.2?}, together and templates {:.2?}", whole - read);
    }
}

/// Every third is started by the one before it; all name a cohort and a destination.
fn campaign(at: usize) -> String {
    let trigger = match at % 3 {
        0 => "{action: {event: purchase, where: {amount: {gte: 100}, category: [a, b, c]}}}".to_owned(),
        1 => {
            "{inaction: {after: {event: cart_added}, without: {event: purchase}, within: 30m, same: [cart_id], again: restart}}".to_owned()
        }
        _ => format!("{{action: {{event: $failed, where: {{campaign: campaign-{}}}}}}}", at - 1),
    };
    format!(
        "kind: campaign
key: campaign-{at}
title: Campaign {at}
status: running
tags: [promo, t{at}]
channel: sms
trigger: {trigger}
audience:
  - user: {{country: KR, plan: {{in: [gold, vip]}}}}
  - cohort: cohort-{}
  - did: {{event: purchase, count: {{gte: 3}}, in_last: 30d}}
fatigue: {{resend: {{after: 7d}}, on_cap: {{defer: 2h}}}}
goal: {{event: purchase, within: 7d}}
webhook:
  url: \"https://api-{}.example/v1/messages/{{{{ event.kind }}}}\"
  headers: {{X-Source: campanile}}
  body:
    to: \"{{{{ user.phone }}}}\"
    text: \"{{{{ user.name | default: 'there' }}}}, your cart {{% if event.amount > 100 %}}of {{{{ event.amount }}}}{{% endif %}} waits\"
    amount: \"{{{{ event.amount }}}}\"
",
        at % COHORTS,
        at % DESTINATIONS,
    )
}

fn cohort(at: usize) -> String {
    format!(
        "kind: cohort\nkey: cohort-{at}\nwhere:\n  all:\n    - user: {{score: {{gte: {at}}}}}\n    - did: {{event: purchase, sum: {{property: amount, gte: 500000}}, in_last: 90d}}\n"
    )
}

fn destination(at: usize) -> String {
    format!(
        "kind: destination\nkey: d{at}\nmatch: api-{at}.example\nrate: {{per_second: 100, burst: 20}}\nauth: {{bearer: {{secret: token}}}}\nheaders: {{X-Key: \"{{{{ secret.key }}}}\"}}\n"
    )
}

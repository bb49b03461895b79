//! Half of twenty destinations are hostile, each in its own way: the healthy ones get everything, and the worker's memory hardly
//! notices. (How late they get it is a measurement: `scripts/bench.sh isolation`.)

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::support::endpoint::Endpoint;
use crate::support::hostile::Hostile;
use crate::support::hostile::Step::{self, Drip, Freeze, Hang, ReadHead, Repeat, Reset, Write};
use crate::support::wait::{heavy, runtime, until};
use crate::support::worker::Deployment;

const HALF: usize = 10;
/// Each of them is written to by every destination's campaign.
const USERS: usize = 150;
const WITHIN: Duration = Duration::from_secs(120);

/// What the hostile half may cost, in bytes.
const GROWTH: f64 = 50e6;

const SCRIPTS: [&[Step]; HALF] = [
    &[ReadHead, Hang],
    &[Freeze],
    &[Reset],
    &[ReadHead, Reset],
    &[ReadHead, Write("HTTP/1.1 200 OK\r\nx: "), Drip("x")],
    &[ReadHead, Write("HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n"), Repeat("x")],
    &[ReadHead, Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), Repeat("5\r\nhello\r\n")],
    &[ReadHead, Write("HTTP/1.1 200 OK\r\n"), Repeat("x-bomb: 0123456789\r\n")],
    &[ReadHead, Repeat("HTTP/1.1 100 Continue\r\n\r\n")],
    &[ReadHead, Write("HTTP/1.1 503 No\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"), ReadHead, Write("220 mail.example\r\n")],
];

#[test]
fn a_hostile_half_takes_nothing_from_the_healthy_one() {
    let _heavy = heavy();
    let without = memory_of_a_worker_beside(&[]);
    let with = memory_of_a_worker_beside(&SCRIPTS);
    assert!(with - without < GROWTH, "{:.0} MB with a hostile half, {:.0} MB without", with / 1e6, without / 1e6);
}

/// Ten healthy destinations, and one for each script. Answers the most memory that the worker had until the healthy ones had everything.
fn memory_of_a_worker_beside(scripts: &[&'static [Step]]) -> f64 {
    let healthy: Vec<Endpoint> = (0..HALF).map(|_| runtime().block_on(Endpoint::plain())).collect();
    let hostile: Vec<Hostile> = scripts.iter().map(|script| runtime().block_on(Hostile::start(None, script))).collect();
    let addresses = hostile.iter().map(Hostile::address).chain(healthy.iter().map(Endpoint::address));
    let campaigns = addresses.enumerate().map(|(number, address)| {
        let webhook = json!({"url": format!("http://{address}/"), "body": {"user": "{{ user.id }}"}});
        json!({"kind": "campaign", "key": format!("c{number}"), "status": "running", "trigger": {"action": {"event": "go"}}, "webhook": webhook})
            .to_string()
    });
    let deployment = Deployment::new("embedded", "embedded");
    deployment.define(&campaigns.collect::<Vec<_>>().join("\n---\n"));
    let worker = deployment.start();
    let batch: Vec<_> = (0..USERS).map(|user| json!({"type": "track", "event": "go", "userId": format!("u{user}")})).collect();
    assert_eq!(worker.post("/v1/batch", &json!({ "batch": batch }).to_string()).status, 202);

    let mut most: f64 = 0.0;
    let mut has_grown = || most = most.max(worker.metric("process_resident_memory_bytes", ""));
    until("the healthy ones have got everything", WITHIN, || {
        has_grown();
        healthy.iter().all(|endpoint| endpoint.count() >= USERS && messages(endpoint) == USERS)
    });
    // The others are being tried all the while, and go on to be.
    let failing = |number: usize| worker.metric("campanile_attempts_total", &format!("\"{}\"", hostile[number].address())) > 0.0;
    until("each hostile one has been tried", WITHIN, || {
        has_grown();
        (0..hostile.len()).all(failing)
    });
    drop(worker);
    most
}

/// Distinct ones: on a machine that stands still for longer than the time-out an answer is lost, and its message comes again.
fn messages(endpoint: &Endpoint) -> usize {
    endpoint.seen().iter().filter_map(|seen| seen.webhook_id().map(str::to_owned)).collect::<BTreeSet<_>>().len()
}

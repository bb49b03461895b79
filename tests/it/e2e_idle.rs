//! Connections that ask nothing: they are hung up on, and while they hold all descriptors of a worker its deliveries wait, without using an
//! attempt.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::support::endpoint::Endpoint;
use crate::support::process::Process;
use crate::support::wait::{runtime, until};
use crate::support::worker::{Deployment, Worker, free_address};

/// More than a worker has open by itself, fewer than strangers ask for here.
const DESCRIPTORS: usize = 160;
const STRANGERS: usize = 300;
/// Enough for every lane to have some.
const USERS: usize = 20;
const WITHIN: Duration = Duration::from_secs(60);

/// A worker that may have so many descriptors open.
fn confined(deployment: &Deployment) -> Worker {
    let (listen, probes) = (free_address(), free_address());
    let worker = deployment.command(&["run", "--config", "campanile.yaml", "--apply", "definitions"]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\"")]).arg(worker.get_program()).args(worker.get_args());
    command.env_clear().current_dir(deployment.path());
    command.env("CAMPANILE_HTTP__LISTEN", &listen).env("CAMPANILE_HTTP__PROBES", &probes);
    let worker = Worker { process: Process::start(command, b""), listen, probes };
    worker.ready();
    worker
}

/// A request over a connection that stays.
fn ask(stream: &mut TcpStream, method: &str, path: &str, body: &str) -> String {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).expect("it reads");
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).expect("it answers");
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

fn send(stream: &mut TcpStream, campaign: &str, user: &str) -> String {
    ask(stream, "POST", &format!("/v1/campaigns/{campaign}/send"), &format!("{{\"user_id\": \"{user}\"}}"))
}

#[test]
fn strangers_who_hold_all_descriptors_fail_no_delivery() {
    let (first, endpoint) = runtime().block_on(async { (Endpoint::plain().await, Endpoint::plain().await) });
    let deployment = Deployment::new("embedded", "embedded");
    let campaign = |key: &str, endpoint: &Endpoint| {
        let url = endpoint.url("/");
        format!("{{kind: campaign, key: {key}, status: running, trigger: {{api: {{}}}}, webhook: {{url: '{url}'}}}}")
    };
    deployment.define(&format!("{}\n---\n{}", campaign("first", &first), campaign("hello", &endpoint)));
    let worker = confined(&deployment);
    let mut kept = TcpStream::connect(&worker.listen).expect("it listens");
    assert!(ask(&mut kept, "GET", "/v1/campaigns/none", "").starts_with("HTTP/1.1 404"));

    // Each of its threads has what it takes from the system for good.
    for user in 0..USERS {
        assert!(send(&mut kept, "first", &format!("u{user}")).starts_with("HTTP/1.1 202"));
    }
    until("the first deliveries are settled", WITHIN, || worker.metric("campanile_attempts_total", "delivered") == USERS as f64);

    let strangers: Vec<TcpStream> = (0..STRANGERS).map(|_| TcpStream::connect(&worker.listen).expect("it listens")).collect();
    until("the worker has no descriptor left", WITHIN, || worker.process.stderr().contains("no connection can be accepted"));
    assert!(send(&mut kept, "hello", "u1").starts_with("HTTP/1.1 202"));
    until("the delivery waits for a connection", WITHIN, || worker.process.stderr().contains("deliveries wait for a connection"));
    // They are still there, and said nothing.
    until("they are hung up on, and the delivery arrives", WITHIN, || endpoint.count() > 0);
    let attempts: Vec<u32> = endpoint.seen().iter().map(|seen| seen.attempt()).collect();
    assert_eq!(attempts, [1]);
    drop(strangers);
    until("it is settled", WITHIN, || worker.metric("campanile_attempts_total", "delivered") == USERS as f64 + 1.0);
    assert_eq!(worker.metric("campanile_attempts_total", ""), USERS as f64 + 1.0, "no attempt was charged");
    worker.stop();
}

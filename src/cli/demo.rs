//! `campanile demo`: the real worker on a log and a store in memory, two local receivers, sample campaigns and events; prints
//! what was sent to whom, what was held back and why. `--serve` keeps it running with API and console, and lets the same story
//! happen to other people again and again.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use serde::Deserialize;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::assemble;
use super::receive::{Answers, Received, Receiver};
use super::run::{Assembled, Http, stop_on_signals};
use super::settings::{Loaded, join};
use super::validate::Format;
use super::{Failure, runtime};
use crate::adapter::clock::SystemClock;
use crate::config::{Config, File};
use crate::engine::catalog::{Apply, Catalog, apply};
use crate::engine::definition::{ReadOptions, read};
use crate::secrets::Secrets;
use crate::telemetry::probes::Health;
use crate::worker::ports::{Append, Clock, Line, Source};
use crate::worker::run::Stop;

/// Shows in seconds what Campanile does: sample campaigns and events, a local receiver, no servers
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:

  campanile demo

With the console in a browser, until ctrl-c:

  campanile demo --serve")]
pub struct DemoArgs {
    /// Keep running, with the console and the API; the sample events go on with other people
    #[arg(long)]
    serve: bool,
    /// Where console and API listen, with --serve
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", requires = "serve")]
    listen: SocketAddr,
    /// How it is printed; as JSON, the lines of the outcomes topic
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const DEFINITIONS: &str = include_str!("../../config/demo/definitions.yaml");
const EVENTS: &str = include_str!("../../config/demo/events.ndjson");

/// Everything in memory; every decision is written. The probes take any port: nobody asks them.
const SETTINGS: &str = "
embedded: {path: null}
delivery: {allow_http: true, allow_networks: [127.0.0.0/8]}
outcomes: {omit: []}
http: {probes: 127.0.0.1:0}
";

/// How long the demo waits for what it expects.
const DEADLINE: Duration = Duration::from_secs(20);

/// Decisions that the sample events lead to.
const DECISIONS: usize = 7;

/// A line of the outcomes topic.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Outcome {
    r#type: String,
    campaign: String,
    user_id: String,
    event_id: String,
    outcome: String,
    reason: Option<String>,
    rule: Option<serde_json::Value>,
    delivery_id: Option<String>,
    attempt: u32,
    result: String,
    status: Option<u16>,
    /// The line itself.
    #[serde(skip)]
    line: String,
}

/// With `--serve`, one sample event so often: slow enough to follow with the eye.
const NEXT_EVENT_AFTER: Duration = Duration::from_millis(700);

pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    let runtime = runtime();
    let mut loaded = settings()?;
    loaded.config.http.listen = args.listen;
    let http = args.serve.then(|| Http::bind(&runtime, &loaded)).transpose()?;
    let start = |answers| {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        runtime.block_on(Receiver::start(address, answers)).map_err(|error| Failure::Refused(format!("no local receiver: {error}")))
    };
    let mut receiver = start(Answers::default())?;
    let mut shaky = start(Answers { fail_first: 1, ..Answers::default() })?;
    let definitions = DEFINITIONS.replace("RECEIVER", &receiver.address().to_string()).replace("SHAKY", &shaky.address().to_string());
    let parts = runtime.block_on(assemble::open(&loaded))?;
    runtime.block_on(put(&*parts.store, &definitions))?;
    let mut outcomes = parts.reader("demo", &[&format!("{}.outcomes", loaded.config.kafka.prefix)])?;
    let health = Health::new();
    let stop = Stop::default();
    if args.serve {
        stop_on_signals(&runtime, &stop, &health)?;
    }
    let worker = Assembled::new(&runtime, &loaded, parts, health)?;
    let for_people = args.format == Format::Text;
    if for_people {
        introduce();
    }
    let show = || {
        feed(&runtime, &*worker.parts().append, EVENTS.lines().map(str::to_owned))?;
        let lines = collect(&mut *outcomes)?;
        let received = runtime.block_on(async { [arrived(&mut receiver).await, arrived(&mut shaky).await].concat() });
        match args.format {
            Format::Text => tell(&lines, &received),
            Format::Json => lines.iter().for_each(|outcome| println!("{}", outcome.line)),
        }
        let Some(http) = http else { return Ok(()) };
        if for_people {
            println!("\nThe console: http://{}/ (ctrl-c ends it)", http.address()?);
        }
        http.serve(&runtime, &loaded, &worker)?;
        runtime.spawn(async move { while receiver.next().await.is_some() {} });
        runtime.spawn(async move { while shaky.next().await.is_some() {} });
        go_on(&runtime, &*worker.parts().append, &stop)
    };
    std::thread::scope(|scope| {
        let running = scope.spawn(|| worker.run_until(&loaded, false, &stop));
        let shown = show();
        stop.ask_from_outside();
        match running.join() {
            Ok(Ok(())) => shown,
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::Refused("the worker panicked: this is a defect".into())),
        }
    })
}

fn settings() -> Result<Loaded, Failure> {
    let file = File { name: "demo", text: SETTINGS };
    let config = Config::read(Some(&file), &[], &|_| None).map_err(|problems| Failure::Refused(join(&problems)))?;
    Ok(Loaded { config, secrets: std::sync::Arc::new(Secrets::new(None)), from: "demo".into() })
}

async fn put(store: &dyn crate::worker::ports::Store, definitions: &str) -> Result<(), Failure> {
    let options = Apply { read: ReadOptions { allow_http: true }, ..Apply::default() };
    let reading = read("config/demo/definitions.yaml", definitions, &options.read);
    let refused = |problems: Vec<crate::engine::definition::Problem>| Failure::Refused(join(&problems));
    if !reading.problems.is_empty() {
        return Err(refused(reading.problems));
    }
    let (catalog, _) = apply(&Catalog::default(), reading.documents, &options, SystemClock::new().now()).map_err(refused)?;
    let mut state = store.session().await.map_err(assemble::state_failure)?;
    state.put_documents(0, &catalog.encode()).await.map_err(assemble::state_failure)?;
    Ok(())
}

/// Appends sample events, as a producer would.
fn feed(runtime: &Runtime, append: &dyn Append, events: impl Iterator<Item = String>) -> Result<(), Failure> {
    let line = |event: String| Line { topic: "events".into(), key: user_of(&event), value: event.into_bytes() };
    let lines: Vec<Line> = events.map(line).collect();
    runtime.block_on(append.append(&lines)).map_err(|error| Failure::Refused(error.to_string()))
}

/// The same story with other people, one event after the other, until it is stopped.
fn go_on(runtime: &Runtime, append: &dyn Append, stop: &Stop) -> Result<(), Failure> {
    for (round, event) in (2..).flat_map(|round| EVENTS.lines().map(move |event| (round, event))) {
        runtime.block_on(async { tokio::time::sleep(NEXT_EVENT_AFTER).await });
        if stop.asked() {
            return Ok(());
        }
        feed(runtime, append, std::iter::once(of_round(event, round)))?;
    }
    Ok(())
}

/// A sample event, as it happens to somebody else in a later round.
fn of_round(event: &str, round: u64) -> String {
    let Ok(mut event) = serde_json::from_str::<serde_json::Value>(event) else { return event.to_owned() };
    for key in ["userId", "messageId"] {
        event[key] = format!("{}-{round}", event[key].as_str().unwrap_or_default()).into();
    }
    event.to_string()
}

fn user_of(event: &str) -> Option<Vec<u8>> {
    let event: serde_json::Value = serde_json::from_str(event).ok()?;
    event["userId"].as_str().map(|user| user.as_bytes().to_vec())
}

/// Reads the outcomes until every expected decision is there and every delivery is settled.
fn collect(outcomes: &mut dyn Source) -> Result<Vec<Outcome>, Failure> {
    let began = Instant::now();
    let mut lines: Vec<Outcome> = Vec::new();
    while !complete(&lines) {
        if began.elapsed() > DEADLINE {
            return Err(Failure::Refused(format!("the demo did not come to its end within {} s", DEADLINE.as_secs())));
        }
        let polled = outcomes.poll(Duration::from_millis(100), &mut |message| {
            let line = |value: &[u8]| Some(Outcome { line: String::from_utf8_lossy(value).into(), ..serde_json::from_slice(value).ok()? });
            lines.extend(message.value.and_then(line));
            ControlFlow::Continue(())
        });
        polled.map_err(|error| Failure::Refused(error.to_string()))?;
    }
    Ok(lines)
}

fn complete(lines: &[Outcome]) -> bool {
    let decided = lines.iter().filter(|line| line.r#type == "decision").count();
    let sent = lines.iter().filter(|line| line.outcome == "sent").count();
    let settled = lines.iter().filter(|line| line.result == "delivered" || line.result == "failed").count();
    decided >= DECISIONS && settled >= sent
}

/// What a receiver has got by now.
async fn arrived(receiver: &mut Receiver) -> Vec<Received> {
    let mut all = Vec::new();
    while let Ok(Some(received)) = tokio::time::timeout(Duration::from_millis(50), receiver.next()).await {
        all.push(received);
    }
    all
}

fn introduce() {
    println!("Campanile reads what people do and rings a webhook when it matters. Here: the real worker, its log and its");
    println!("state in memory, two receivers on this machine, no servers.\n");
    println!("Campaigns  (config/demo/definitions.yaml)");
    println!("  welcome         when somebody signs up, once per person");
    println!("  review-thanks   when a review has 4 stars or more");
    println!("  cart-abandoned  when a cart of 50,000 or more is not bought within 2 seconds, only in Korea");
    println!("  points          when our own server asks for it");
    println!("  and nobody gets more than 2 messages a day (points do not count)\n");
    println!("Events     (config/demo/events.ndjson)");
    for event in EVENTS.lines().filter_map(|event| serde_json::from_str::<serde_json::Value>(event).ok()) {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let details = if event["properties"].is_null() { String::new() } else { event["properties"].to_string() };
        let what = match text("type").as_str() {
            "identify" => format!("is {}", event["traits"]),
            "send" => format!("is to get `{}`, says our server {details}", text("campaign")),
            _ => format!("{} {details}", text("event")),
        };
        println!("  {:3} {:5} {what}", text("messageId"), text("userId"));
    }
    println!("\nwaiting 2 seconds for what does not happen ...\n");
}

fn tell(lines: &[Outcome], received: &[Received]) {
    println!("Sent");
    for sent in lines.iter().filter(|line| line.outcome == "sent") {
        println!("  {:5} {:15} because of {}", sent.user_id, sent.campaign, sent.event_id);
        for attempt in lines.iter().filter(|line| line.r#type == "attempt" && line.delivery_id == sent.delivery_id) {
            let status = attempt.status.map_or("no answer".into(), |status| status.to_string());
            println!("        attempt {}: {status}, {}", attempt.attempt, attempt.result);
        }
        let got = received.iter().rfind(|request| request.webhook_id == sent.delivery_id);
        if let Some(got) = got {
            println!("        {} {} {}", got.method, got.path, String::from_utf8_lossy(&got.body));
        }
    }
    println!("\nHeld back");
    for held in lines.iter().filter(|line| line.outcome == "suppressed") {
        let why = match held.reason.as_deref().unwrap_or_default() {
            "already_sent" => "had it already: once per person, by default".to_owned(),
            "frequency_cap" => format!("has enough for now: {}", held.rule.clone().unwrap_or_default()),
            "not_in_audience" => "does not belong to the audience".to_owned(),
            other => other.to_owned(),
        };
        println!(
            "  {:5} {:15} because of {}: {} ({why})",
            held.user_id,
            held.campaign,
            held.event_id,
            held.reason.as_deref().unwrap_or_default()
        );
    }
    println!("\nNot even asked: joon's cart c-2 was bought in time (e7), ana's review had 2 stars (e9).");
    println!("\nEvery line above is in the outcomes topic. Next: \"One process, no servers\" in README.md.");
}

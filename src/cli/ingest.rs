//! `campanile ingest`: sends events from files to Kafka, or to a worker over HTTP.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::assemble::{admin_failure, kafka};
use super::settings::load;
use super::validate::Format;
use super::{ConfigArgs, Failure, runtime};
use crate::adapter::clock::SystemClock;
use crate::adapter::kafka::{Admin, KafkaAppend};
use crate::api::check::check;
use crate::worker::ports::{Append, AppendError, Clock, Line};

/// Sends events (a JSON object a line) to Kafka or, with --server, to a worker
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: send the sample events to a worker on this machine

  campanile ingest config/events/sample.ndjson --server http://127.0.0.1:8080

What cannot be used is named with its line and reason; everything else is sent (exit code 1 then).")]
pub struct IngestArgs {
    /// Files of events, - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// A worker's API; without it the events go to Kafka
    #[arg(long, value_name = "URL", env = "CAMPANILE_SERVER")]
    server: Option<String>,
    /// The ingest token of that worker
    #[arg(long, value_name = "TOKEN", env = "CAMPANILE_TOKEN", hide_env_values = true, requires = "server")]
    token: Option<String>,
    /// Events per second; as fast as possible without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Leave out the first N lines of the input
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: u64,
    /// How the counts are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How long the brokers may take to say that they are there.
const REACH_WAIT: Duration = Duration::from_secs(10);

/// Events handed over at once.
const BATCH: usize = 500;

/// One line of the input and where it stands.
struct Event {
    place: String,
    bytes: Vec<u8>,
}

/// Where events go.
enum Target {
    Kafka { append: KafkaAppend, topic: Arc<str>, clock: SystemClock, max_lateness: Duration },
    Server { client: reqwest::Client, url: String, token: Option<String> },
}

/// What became of the input.
#[derive(Default)]
struct Counts {
    sent: u64,
    refused: u64,
}

pub fn run(args: &IngestArgs) -> Result<(), Failure> {
    let runtime = runtime();
    let target = target(args)?;
    let counts = runtime.block_on(send_all(args, &target))?;
    match args.format {
        Format::Text => println!("{} events sent, {} refused", counts.sent, counts.refused),
        Format::Json => println!("{}", json!({"sent": counts.sent, "refused": counts.refused})),
    }
    if counts.refused == 0 { Ok(()) } else { Err(Failure::Told) }
}

fn target(args: &IngestArgs) -> Result<Target, Failure> {
    if let Some(server) = &args.server {
        // rustls takes its cryptography from the process; a second installation changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().build().map_err(|error| Failure::Refused(format!("no HTTP client: {error}")))?;
        return Ok(Target::Server { client, url: format!("{}/v1/batch", server.trim_end_matches('/')), token: args.token.clone() });
    }
    let loaded = load(&args.config)?;
    let Some(settings) = kafka(&loaded.config)? else {
        return Err(Failure::Refused(
            "kafka.brokers is `embedded`: the log belongs to the worker that runs; send to it with --server http://127.0.0.1:8080".into(),
        ));
    };
    // Appending to brokers that are not there takes half a minute to say so, and does not name them.
    let reach = Admin::open(&settings, REACH_WAIT).and_then(|admin| admin.reach());
    reach.map_err(admin_failure)?;
    let append = KafkaAppend::open(&settings).map_err(|error| Failure::Refused(error.to_string()))?;
    let topic = loaded.config.kafka.events[0].as_str().into();
    Ok(Target::Kafka { append, topic, clock: SystemClock::new(), max_lateness: loaded.config.triggers.max_lateness })
}

async fn send_all(args: &IngestArgs, target: &Target) -> Result<Counts, Failure> {
    let progress = progress();
    let mut counts = Counts::default();
    let mut batch = Vec::with_capacity(BATCH);
    let mut skip = args.skip;
    let mut pace = Pace { rate: args.rate, began: Instant::now(), sent: 0 };
    for file in &args.files {
        let name = file.display().to_string();
        for (number, line) in open(file)?.split(b'\n').enumerate() {
            let bytes = line.map_err(|error| Failure::Refused(format!("{name} cannot be read: {error}")))?;
            if skip > 0 {
                skip -= 1;
                continue;
            }
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            batch.push(Event { place: format!("{name}:{}", number + 1), bytes });
            if batch.len() >= pace.batch() {
                pace.wait(batch.len()).await;
                target.send(std::mem::take(&mut batch), &mut counts).await?;
                progress.set_position(counts.sent + counts.refused);
            }
        }
    }
    pace.wait(batch.len()).await;
    target.send(batch, &mut counts).await?;
    progress.finish_and_clear();
    Ok(counts)
}

fn open(file: &PathBuf) -> Result<Box<dyn BufRead>, Failure> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    #[expect(clippy::disallowed_types, reason = "files enter here")]
    let opened = File::open(file).map_err(|error| Failure::Refused(format!("{} cannot be read: {error}", file.display())))?;
    Ok(Box::new(BufReader::new(opened)))
}

fn progress() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {human_pos} events, {per_sec}, {elapsed}");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

/// Keeps to `--rate`.
struct Pace {
    rate: Option<u32>,
    began: Instant,
    sent: u64,
}

impl Pace {
    /// Small batches at low rates, so that events come evenly.
    fn batch(&self) -> usize {
        self.rate.map_or(BATCH, |rate| (rate as usize / 10).clamp(1, BATCH))
    }

    async fn wait(&mut self, events: usize) {
        if let Some(rate) = self.rate {
            sleep_until(self.began + Duration::from_secs_f64(self.sent as f64 / f64::from(rate))).await;
        }
        self.sent += events as u64;
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    refused: Vec<Refusal>,
    /// Of a problem.
    detail: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    index: usize,
    reason: String,
    #[serde(default)]
    error: String,
}

impl Target {
    async fn send(&self, batch: Vec<Event>, counts: &mut Counts) -> Result<(), Failure> {
        if batch.is_empty() {
            return Ok(());
        }
        match self {
            Target::Kafka { append, topic, clock, max_lateness } => {
                let mut lines = Vec::with_capacity(batch.len());
                for event in batch {
                    match check(&event.bytes, clock.now(), *max_lateness) {
                        Ok(checked) => {
                            let key = checked.user.map(String::into_bytes);
                            lines.push(Line { topic: topic.clone(), key, value: event.bytes });
                        }
                        Err(refused) => counts.refuse(&event, refused.reason, &refused.error),
                    }
                }
                counts.sent += lines.len() as u64;
                append.append(&lines).await.map_err(|error| match error {
                    AppendError::Unavailable(_) => Failure::Unreachable(error.to_string()),
                    AppendError::Blocked(_) | AppendError::Refused(_) => Failure::Refused(error.to_string()),
                })
            }
            Target::Server { client, url, token } => post(client, url, token.as_deref(), &batch, counts).await,
        }
    }
}

async fn post(client: &reqwest::Client, url: &str, token: Option<&str>, batch: &[Event], counts: &mut Counts) -> Result<(), Failure> {
    let mut body = b"{\"batch\":[".to_vec();
    let mut inside = Vec::new();
    for event in batch {
        // A line that is no JSON would spoil the whole batch.
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&event.bytes) {
            counts.refuse(event, "not_json", &error.to_string());
            continue;
        }
        if !inside.is_empty() {
            body.push(b',');
        }
        body.extend_from_slice(&event.bytes);
        inside.push(event);
    }
    if inside.is_empty() {
        return Ok(());
    }
    body.extend_from_slice(b"]}");
    let request = client.post(url).header("content-type", "application/json").body(body);
    let request = token.iter().fold(request, |request, token| request.bearer_auth(token));
    let response = request.send().await.map_err(|error| Failure::Unreachable(format!("{url} does not answer: {error}")))?;
    let status = response.status();
    let text = response.bytes().await.map_err(|error| Failure::Unreachable(format!("{url} broke off: {error}")))?;
    let answer: Answer = serde_json::from_slice(&text).unwrap_or(Answer { refused: Vec::new(), detail: None });
    if !status.is_success() && answer.refused.is_empty() {
        return Err(Failure::Refused(format!("{url} answers {status}: {}", answer.detail.unwrap_or_default())));
    }
    for refusal in &answer.refused {
        if let Some(event) = inside.get(refusal.index) {
            counts.refuse(event, &refusal.reason, &refusal.error);
        }
    }
    counts.sent += (inside.len() - answer.refused.len()) as u64;
    Ok(())
}

impl Counts {
    fn refuse(&mut self, event: &Event, reason: &str, error: &str) {
        self.refused += 1;
        eprintln!("{}: {reason}: {error}", event.place);
    }
}

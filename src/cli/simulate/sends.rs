//! `--sends`: every decision and attempt line, the decisions to send with the request that came of them.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::simulator::endpoints::Seen;

/// Headers of an attempt, not of the request: they say nothing about the campaign.
const ATTEMPTS_OWN: [&str; 5] = ["webhook-id", "webhook-timestamp", "webhook-attempt", "webhook-signature", "user-agent"];

/// Writes lines in their order; a `sent` line and what follows it wait until its request is made.
pub struct Sends<W: Write> {
    out: W,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    line: Vec<u8>,
    /// The delivery whose request belongs to the line and is not known yet.
    delivery_id: Option<String>,
}

/// What binds a line to its request.
#[derive(Deserialize)]
struct Told<'a> {
    r#type: &'a str,
    #[serde(default)]
    outcome: Option<&'a str>,
    #[serde(default)]
    delivery_id: Option<&'a str>,
    #[serde(default)]
    request_id: Option<&'a str>,
}

impl<W: Write> Sends<W> {
    pub fn new(out: W) -> Sends<W> {
        Sends { out, waiting: VecDeque::new() }
    }

    /// `requests`: those since the last lines, by their `webhook-id`.
    pub fn note(&mut self, line: &[u8], requests: &BTreeMap<&str, &Seen>) -> io::Result<()> {
        let Ok(told) = serde_json::from_slice::<Told<'_>>(line) else { return Ok(()) };
        if told.r#type == "attempt" {
            let request_id = told.request_id.or(told.delivery_id);
            let request = request_id.and_then(|id| requests.get(id));
            let awaiting = |waiting: &&mut Waiting| waiting.delivery_id.is_some() && waiting.delivery_id.as_deref() == told.delivery_id;
            if let (Some(request), Some(waiting)) = (request, self.waiting.iter_mut().find(awaiting)) {
                waiting.complete(&shown(request));
            }
        }
        let delivery_id = told.delivery_id.filter(|_| told.outcome == Some("sent")).map(str::to_owned);
        self.waiting.push_back(Waiting { line: line.to_vec(), delivery_id });
        self.flush(false)
    }

    /// What still waits is written without its request: none was made.
    pub fn finish(&mut self) -> io::Result<()> {
        self.flush(true)?;
        self.out.flush()
    }

    fn flush(&mut self, all: bool) -> io::Result<()> {
        while let Some(first) = self.waiting.front_mut() {
            if first.delivery_id.is_some() {
                if !all {
                    break;
                }
                first.complete(&Value::Null);
            }
            self.out.write_all(&first.line)?;
            self.out.write_all(b"\n")?;
            self.waiting.pop_front();
        }
        Ok(())
    }
}

impl Waiting {
    /// Adds the request at the end of the line's object.
    fn complete(&mut self, request: &Value) {
        self.delivery_id = None;
        if self.line.pop() == Some(b'}') {
            self.line.extend_from_slice(format!(",\"request\":{request}}}").as_bytes());
        }
    }
}

/// A request as the contract shows it: the body as JSON where it is, else as text.
fn shown(request: &Seen) -> Value {
    let headers = request.headers.iter().filter(|(name, _)| !ATTEMPTS_OWN.contains(&name.to_ascii_lowercase().as_str()));
    let headers: serde_json::Map<String, Value> = headers.map(|(name, value)| (name.to_string(), Value::from(&**value))).collect();
    json!({"method": request.method.as_str(), "url": request.url, "headers": headers, "body": request.body})
}

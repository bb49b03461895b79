//! `campanile receive`: a receiver for trying. It prints what arrives, checks signatures when it knows a secret, and answers as told; it
//! keeps nothing.
//! [`Receiver`] is its server, for other commands that need an endpoint in their own process.

use std::convert::Infallible;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::output;
use super::validate::Format;
use crate::adapter::clock::SystemClock;
use crate::engine::delivery::Secret;
use crate::engine::delivery::signature::{Distrust, Key, SIGNATURE, Signed, verify};
use crate::worker::ports::Clock;

/// Campanile's own requests have at most 32 KiB.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Requests answered that nobody has taken yet; then answering waits.
const MAX_WAITING: usize = 1024;

/// Receives webhooks, prints them and answers as told: an endpoint for trying
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Example: answer the first two attempts of every delivery with 503, later ones with 200

  campanile receive --listen 127.0.0.1:8088 --fail-first 2

A campaign reaches it with `url: http://127.0.0.1:8088/...` and these settings:

  delivery: {allow_http: true, allow_networks: [127.0.0.0/8]}

Example: check signatures, as the endpoint of a destination with `sign: {secret: sms_signing}` would

  CAMPANILE_RECEIVE_SECRET=whsec_... campanile receive")]
pub struct ReceiveArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8088")]
    pub listen: SocketAddr,
    /// The status of the answers
    #[arg(long, value_name = "CODE", default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    pub status: u16,
    /// How long every answer takes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub delay: u64,
    /// Fail the first N attempts of every delivery, by their `webhook-attempt` header
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub fail_first: u32,
    /// The status of those
    #[arg(long, value_name = "CODE", default_value_t = 503, value_parser = clap::value_parser!(u16).range(200..=599))]
    pub fail_status: u16,
    /// Check signatures (Standard Webhooks) with this secret: whsec_ and base64, or plain text. Repeat it for several: one must have
    /// signed. What none has signed is answered with 401
    #[arg(long, value_name = "SECRET", env = "CAMPANILE_RECEIVE_SECRET", hide_env_values = true, value_parser = unseen)]
    pub secret: Vec<Secret>,
    /// How requests are printed; as JSON, one a line
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// A secret of the command line. It is checked later: what refuses a value here prints it.
fn unseen(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// Serves until it is interrupted.
pub async fn run(args: ReceiveArgs) -> anyhow::Result<()> {
    let answers = Answers {
        status: args.status,
        delay: Duration::from_millis(args.delay),
        fail_first: args.fail_first,
        fail_status: args.fail_status,
    };
    let key = |secret: &Secret| Key::parse(secret.expose()).map_err(|error| anyhow!("a secret given by --secret {}", error.why()));
    let keys = args.secret.iter().map(key).collect::<Result<_, _>>()?;
    let mut receiver = Receiver::start_checking(args.listen, answers, keys)
        .await
        .with_context(|| format!("cannot listen on {}: choose another address with --listen", args.listen))?;
    // Whoever stops reading what a receiver shows has ended it.
    let is_read = |shown: std::fmt::Arguments<'_>| match writeln!(io::stdout(), "{shown}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => result.map(|()| true),
    };
    let mut goes_on = match args.format {
        Format::Text => is_read(format_args!("receiving on http://{}, ctrl-c ends", receiver.address()))?,
        Format::Json => is_read(format_args!("{}", json!({"listening": receiver.address()})))?,
    };
    while goes_on {
        tokio::select! {
            received = receiver.next() => match received {
                Some(received) if args.format == Format::Json => goes_on = is_read(format_args!("{}", received.as_json()))?,
                Some(received) => goes_on = is_read(format_args!("\n{received}"))?,
                None => return Ok(()),
            },
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
        }
    }
    Ok(())
}

/// How a receiver answers.
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    pub status: u16,
    pub delay: Duration,
    /// Attempts up to this one are answered with `fail_status`; one without `webhook-attempt` is the first.
    pub fail_first: u32,
    pub fail_status: u16,
}

impl Default for Answers {
    /// 200 at once.
    fn default() -> Answers {
        Answers { status: 200, delay: Duration::ZERO, fail_first: 0, fail_status: 503 }
    }
}

impl Answers {
    fn status(&self, attempt: u32) -> u16 {
        if attempt <= self.fail_first { self.fail_status } else { self.status }
    }
}

/// A receiver in this process; it ends when it is dropped.
pub struct Receiver {
    address: SocketAddr,
    received: mpsc::Receiver<Received>,
    serving: JoinHandle<()>,
}

/// A request that arrived, and how it was answered. Prints as `receive` shows it.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    /// With the query.
    pub path: String,
    pub webhook_id: Option<String>,
    /// `webhook-attempt`; 1 where there is none.
    pub attempt: u32,
    pub content_type: Option<String>,
    pub body: Bytes,
    /// Which secret signed it, counted from 0; `None` when nobody checks.
    pub signed: Option<Result<usize, Distrust>>,
    pub answered: u16,
}

impl Receiver {
    /// Listens at once: the address is bound when this returns.
    pub async fn start(listen: SocketAddr, answers: Answers) -> io::Result<Receiver> {
        Receiver::start_checking(listen, answers, Vec::new()).await
    }

    /// As [`Receiver::start`]; where there are keys, one of them must have signed a request, or it is answered with 401.
    pub async fn start_checking(listen: SocketAddr, answers: Answers, keys: Vec<Key>) -> io::Result<Receiver> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (sender, received) = mpsc::channel(MAX_WAITING);
        let router = Router::new().fallback(receive).with_state(Arc::new(Shared { answers, keys, sender }));
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the receiver ended");
            }
        });
        Ok(Receiver { address, received, serving })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next request, in order of arrival. It has been answered, or will be after the delay.
    pub async fn next(&mut self) -> Option<Received> {
        self.received.recv().await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Received {
    fn as_json(&self) -> serde_json::Value {
        let (by, distrust) = match &self.signed {
            Some(Ok(secret)) => (Some(secret + 1), None),
            Some(Err(distrust)) => (None, Some(distrust.to_string())),
            None => (None, None),
        };
        json!({
            "method": self.method, "path": self.path, "webhook_id": self.webhook_id, "attempt": self.attempt, "content_type": self.content_type,
            "body": String::from_utf8_lossy(&self.body), "signed_by": by, "distrust": distrust, "answered": self.answered,
        })
    }
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}  -> {}", self.method, self.path, self.answered)?;
        write!(f, "\n  webhook-id       {}", self.webhook_id.as_deref().unwrap_or("(none)"))?;
        write!(f, "\n  webhook-attempt  {}", self.attempt)?;
        if let Some(content_type) = &self.content_type {
            write!(f, "\n  content-type     {content_type}")?;
        }
        match &self.signed {
            Some(Ok(secret)) => write!(f, "\n  signature        good, by secret {}", secret + 1)?,
            Some(Err(distrust)) => write!(f, "\n  signature        not to be trusted: {distrust}")?,
            None => {}
        }
        shown(&self.body).lines().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

struct Shared {
    answers: Answers,
    keys: Vec<Key>,
    sender: mpsc::Sender<Received>,
}

async fn receive(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let attempt = text(&parts.headers, "webhook-attempt").and_then(|text| text.parse().ok()).unwrap_or(1);
    let signed = (!shared.keys.is_empty()).then(|| check(&shared.keys, &parts.headers, &body));
    let trusted = signed.is_none_or(|signed| signed.is_ok());
    let answered = if trusted { shared.answers.status(attempt) } else { StatusCode::UNAUTHORIZED.as_u16() };
    let received = Received {
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        webhook_id: text(&parts.headers, "webhook-id"),
        attempt,
        content_type: text(&parts.headers, header::CONTENT_TYPE.as_str()),
        body,
        signed,
        answered,
    };
    // Nobody listens any more: the answer is still owed.
    let _ = shared.sender.send(received).await;
    tokio::time::sleep(shared.answers.delay).await;
    StatusCode::from_u16(answered).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response()
}

fn check(keys: &[Key], headers: &HeaderMap, body: &[u8]) -> Result<usize, Distrust> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let signed = Signed { id: header("webhook-id"), timestamp: header("webhook-timestamp"), signature: header(SIGNATURE), body };
    verify(keys, &signed, SystemClock::new().now())
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// A body for people: JSON with line breaks, text as it is. Control characters are replaced: they could steer the terminal.
fn shown(body: &[u8]) -> String {
    let pretty = serde_json::from_slice::<serde_json::Value>(body).and_then(|value| serde_json::to_string_pretty(&value));
    let text = pretty.unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned());
    output::shown(&text, true).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_shown_for_people() {
        let check = |body: &'static str, expect: &str| {
            let received = Received {
                method: "POST".into(),
                path: "/sms?x=1".into(),
                webhook_id: Some("msg_1".into()),
                attempt: 2,
                content_type: Some("application/json".into()),
                body: Bytes::from_static(body.as_bytes()),
                signed: None,
                answered: 503,
            };
            let head = "POST /sms?x=1  -> 503\n  webhook-id       msg_1\n  webhook-attempt  2\n  content-type     application/json";
            assert_eq!(received.to_string(), format!("{head}{expect}"));
        };
        check(r#"{"to":"+82"}"#, "\n  {\n    \"to\": \"+82\"\n  }");
        check("plain\ntext", "\n  plain\n  text");
        check("\u{1b}[2J", "\n  \u{fffd}[2J");
        check("", "");
    }

    #[test]
    fn what_comes_of_a_signature_is_shown() {
        let received = |signed| Received {
            method: "GET".into(),
            path: "/".into(),
            webhook_id: None,
            attempt: 1,
            content_type: None,
            body: Bytes::new(),
            signed: Some(signed),
            answered: 200,
        };
        let check = |signed, expect: &str| assert_eq!(received(signed).to_string().lines().last(), Some(expect));
        check(Ok(1), "  signature        good, by secret 2");
        assert_eq!(received(Ok(1)).as_json()["signed_by"], 2);
        assert!(received(Err(Distrust::Missing(SIGNATURE))).as_json()["distrust"].is_string());
        check(Err(Distrust::Missing(SIGNATURE)), "  signature        not to be trusted: no `webhook-signature`");
    }

    #[test]
    fn first_attempts_fail_as_told() {
        let answers = Answers { fail_first: 2, fail_status: 429, ..Answers::default() };
        assert_eq!([1, 2, 3].map(|attempt| answers.status(attempt)), [429, 429, 200]);
    }
}

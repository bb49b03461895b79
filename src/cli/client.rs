//! Speaks to a worker's API for the commands: one request, one answer. What the worker refuses is told in its own sentences.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Runtime;
use url::Url;

use super::{Failure, runtime};

/// Longer than a worker takes to say that its store or its log is away.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);

/// Which worker is asked, and as whom.
#[derive(clap::Args, Clone, Debug)]
pub struct ServerArgs {
    /// A worker's API
    #[arg(long, value_name = "URL", env = "CAMPANILE_SERVER", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// A token of that worker (`http.tokens`)
    #[arg(long, value_name = "TOKEN", env = "CAMPANILE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// One worker's API.
pub struct Client {
    http: reqwest::Client,
    runtime: Runtime,
    server: Url,
    token: Option<String>,
}

/// What is asked: `Request::get(["v1", "campaigns", key])`.
#[derive(Clone, Debug)]
pub struct Request {
    method: reqwest::Method,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    body: Option<(&'static str, Vec<u8>)>,
}

/// A whole answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Request {
    /// The parts of the path are encoded: they may hold any character.
    pub fn get<'a>(path: impl IntoIterator<Item = &'a str>) -> Request {
        Request::new(reqwest::Method::GET, path)
    }

    pub fn put<'a>(path: impl IntoIterator<Item = &'a str>) -> Request {
        Request::new(reqwest::Method::PUT, path)
    }

    pub fn post<'a>(path: impl IntoIterator<Item = &'a str>) -> Request {
        Request::new(reqwest::Method::POST, path)
    }

    pub fn delete<'a>(path: impl IntoIterator<Item = &'a str>) -> Request {
        Request::new(reqwest::Method::DELETE, path)
    }

    fn new<'a>(method: reqwest::Method, path: impl IntoIterator<Item = &'a str>) -> Request {
        let path = path.into_iter().map(str::to_owned).collect();
        Request { method, path, query: Vec::new(), body: None }
    }

    /// A parameter; `None` is left out.
    pub fn query(mut self, name: &'static str, value: Option<impl ToString>) -> Request {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    pub fn yaml(self, body: &str) -> Request {
        Request { body: Some(("application/yaml", body.as_bytes().to_vec())), ..self }
    }

    pub fn json(self, body: &Value) -> Request {
        Request { body: Some(("application/json", body.to_string().into_bytes())), ..self }
    }
}

impl Client {
    pub fn new(args: &ServerArgs) -> Result<Client, Failure> {
        let refused = |why: &dyn std::fmt::Display| Failure::Refused(format!("`--server {}` is no URL of a worker: {why}", args.server));
        let server = Url::parse(&args.server).map_err(|error| refused(&error))?;
        if !matches!(server.scheme(), "http" | "https") {
            return Err(refused(&"write http://host:8080 or https://host"));
        }
        // rustls takes its cryptography from the process; a second installation changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().connect_timeout(CONNECTED_WITHIN).timeout(ANSWERED_WITHIN).build();
        let http = http.map_err(|error| Failure::Refused(format!("no HTTP client: {error}")))?;
        Ok(Client { http, runtime: runtime(), server, token: args.token.clone() })
    }

    /// Asks, and reads the answer.
    ///
    /// # Errors
    /// Exit code 3 when nobody answers, 1 with the worker's sentences when it refuses.
    pub fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, Failure> {
        self.send(request)?.read()
    }

    /// Asks, and gives the answer whatever its status: for who has an answer to a refusal.
    ///
    /// # Errors
    /// Exit code 3 when nobody answers.
    pub fn send(&self, request: Request) -> Result<Reply, Failure> {
        let Request { method, path, query, body } = request;
        let mut url = self.server.clone();
        // An http URL always has segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(&query);
        }
        let unreachable = |error: reqwest::Error| {
            let why = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source()).last();
            let why = why.map(ToString::to_string).unwrap_or_default();
            Failure::Unreachable(format!("no worker answers at {}: {why}; `--server` names another", self.server))
        };
        let mut asked = self.http.request(method, url);
        asked = self.token.iter().fold(asked, |asked, token| asked.bearer_auth(token));
        if let Some((kind, bytes)) = body {
            asked = asked.header("content-type", kind).body(bytes);
        }
        self.runtime.block_on(async {
            let response = asked.send().await.map_err(unreachable)?;
            let status = response.status().as_u16();
            Ok(Reply { status, body: response.bytes().await.map_err(unreachable)?.to_vec() })
        })
    }
}

impl Reply {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body of a success; a refusal is the failure that tells it.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        if !self.is_success() {
            return Err(self.refusal());
        }
        serde_json::from_slice(&self.body).map_err(|error| Failure::Refused(format!("the worker's answer is not understood: {error}")))
    }

    /// What the worker says is wrong: a sentence, then one for each mistake in what was sent.
    pub fn refusal(&self) -> Failure {
        self.refusal_of(&|_| None)
    }

    /// The same for who sent files as one body: `place` gives file and line of a line of the body, and whether columns are the file's.
    pub fn refusal_of<'a>(&self, place: &dyn Fn(u32) -> Option<(&'a str, u32, bool)>) -> Failure {
        let Ok(told) = serde_json::from_slice::<Told>(&self.body) else {
            return Failure::Refused(format!("the server answers {} and is no worker: is `--server` right?", self.status));
        };
        let at = told.at.filter(|at| !told.detail.contains(at.as_str())).map(|at| format!(" (at `{at}`)"));
        let mut lines = vec![format!("{}{}", told.detail, at.unwrap_or_default())];
        for mistake in told.errors {
            let sent = if mistake.file == "body" { place(mistake.line) } else { None };
            let (file, line, exact) = sent.unwrap_or((&mistake.file, mistake.line, true));
            let column = if exact { mistake.column } else { 1 };
            lines.push(format!("{file}:{line}:{column}: error: {}", mistake.problem));
            lines.extend(mistake.meant.map(|meant| format!("  help: {meant}")));
        }
        match self.status {
            401 => lines.push("`--token`, or CAMPANILE_TOKEN, gives the token".into()),
            503 => return Failure::Unreachable(lines.join("\n")),
            _ => {}
        }
        Failure::Refused(lines.join("\n"))
    }
}

/// A field of an answer as people read it.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A problem, as far as it is told.
#[derive(Deserialize)]
struct Told {
    detail: String,
    #[serde(rename = "where")]
    at: Option<String>,
    #[serde(default)]
    errors: Vec<Mistake>,
}

#[derive(Deserialize)]
struct Mistake {
    file: String,
    line: u32,
    column: u32,
    problem: String,
    meant: Option<String>,
}

//! Settings: from the file and the environment to checked values, or every problem with its place. `config/campanile.yaml` lists
//! every key with its default and reason; it is compiled in and is where the defaults come from, so that it cannot lie.

mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::engine::definition::problem::Problem;
use crate::engine::effect::Reason;

/// The default settings, as the documentation has them.
pub const DEFAULTS: &str = include_str!("../../config/campanile.yaml");

/// Where settings are looked for when nothing says where.
pub const PLACES: [&str; 2] = ["./campanile.yaml", "/etc/campanile/campanile.yaml"];

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    pub kafka: Kafka,
    pub state: State,
    pub embedded: Embedded,
    pub http: Http,
    pub delivery: Delivery,
    pub triggers: Triggers,
    pub outcomes: Outcomes,
    pub secrets: Secrets,
    pub telemetry: Telemetry,
    pub log: Log,
}

#[derive(Clone, Debug)]
pub struct Kafka {
    /// `None` = the embedded log.
    pub brokers: Option<String>,
    pub group: String,
    /// At least one.
    pub events: Vec<String>,
    pub start: Start,
    pub prefix: String,
    pub generation: u32,
    pub options: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
}

#[derive(Clone, Debug)]
pub struct State {
    /// `None` = the embedded store.
    pub url: Option<String>,
    pub prefix: String,
    pub groups: u32,
    pub replicas: u32,
}

#[derive(Clone, Debug)]
pub struct Embedded {
    /// `None` = memory.
    pub path: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct Http {
    pub listen: SocketAddr,
    pub probes: SocketAddr,
    pub tokens: Tokens,
}

/// Bearer tokens by role.
#[derive(Clone, Default)]
pub struct Tokens {
    pub admin: Option<String>,
    pub read: Option<String>,
    pub ingest: Option<String>,
}

// Tokens are never shown.
impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens {{ admin: {}, read: {}, ingest: {} }}", self.admin.is_some(), self.read.is_some(), self.ingest.is_some())
    }
}

#[derive(Clone, Debug)]
pub struct Delivery {
    pub timeout: Duration,
    pub max_in_flight: u32,
    pub max_retries: u32,
    pub backoff_base: Duration,
    pub backoff_max: Duration,
    pub expires: Duration,
    pub id_key: Option<String>,
    pub allow_http: bool,
    /// CIDRs as written; the webhook adapter reads them.
    pub allow_networks: Vec<String>,
    pub drain: Duration,
}

#[derive(Clone, Debug)]
pub struct Triggers {
    pub max_age: Duration,
    pub max_lateness: Duration,
    pub max_overdue: Duration,
}

#[derive(Clone, Debug)]
pub struct Outcomes {
    pub omit: BTreeSet<Reason>,
}

#[derive(Clone, Debug)]
pub struct Secrets {
    pub dir: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct Telemetry {
    pub campaign_label: CampaignLabel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CampaignLabel {
    Auto,
    On,
    Off,
}

#[derive(Clone, Copy, Debug)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// The text of one settings file, with the name that problems are shown with.
pub struct File<'a> {
    pub name: &'a str,
    pub text: &'a str,
}

impl Config {
    /// Reads a file (or none) and the environment's variables over the defaults. `secret` resolves `{secret: name}`.
    ///
    /// # Errors
    /// Every problem of the file and of the variables, in their order.
    pub fn read(
        file: Option<&File<'_>>,
        environment: &[(String, String)],
        secret: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config, Vec<Problem>> {
        read::read(file, environment, secret)
    }
}

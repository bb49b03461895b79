//! From the settings file and the environment to what the parts of a worker are told.

use std::path::PathBuf;
use std::sync::Arc;

use super::{ConfigArgs, Failure};
use crate::adapter::webhook::WebhookSettings;
use crate::api;
use crate::config::{CampaignLabel, Config, File, LogFormat, LogLevel, PLACES};
use crate::engine::catalog::Policy;
use crate::engine::delivery::Backoff;
use crate::secrets::{Secret, Secrets};
use crate::telemetry::{logging, metrics};
use crate::worker::attempt;
use crate::worker::settings::{ENDS_EVERY, Settings, Topics};

/// Checked settings, and the secrets they may name.
pub struct Loaded {
    pub config: Config,
    pub secrets: Arc<Secrets>,
    /// The file they came from, for messages.
    pub from: String,
}

/// Reads the settings; every problem is told at once.
pub fn load(args: &ConfigArgs) -> Result<Loaded, Failure> {
    let path = find(args)?;
    let text = match &path {
        Some(path) => read_file(path)?,
        None => String::new(),
    };
    let name = path.as_ref().map(|path| path.display().to_string());
    let file = name.as_deref().map(|name| File { name, text: &text });
    let environment: Vec<(String, String)> = std::env::vars().collect();
    // The directory of secrets is itself a setting: it is read first, with every secret taken as being there.
    let dir = Config::read(file.as_ref(), &environment, &|_| Some("unknown".into())).ok().and_then(|config| config.secrets.dir);
    let secrets = Arc::new(Secrets::new(dir));
    let secret = |name: &str| secrets.get(name).map(|secret| secret.expose().to_owned());
    match Config::read(file.as_ref(), &environment, &secret) {
        Ok(config) => Ok(Loaded { config, secrets, from: name.unwrap_or_else(|| "built-in defaults".into()) }),
        Err(problems) => Err(Failure::Refused(format!("the settings cannot be used\n{}", join(&problems)))),
    }
}

impl Loaded {
    /// The secrets as whoever sends asks for them.
    pub fn named_secrets(&self) -> attempt::Secrets {
        let secrets = self.secrets.clone();
        Arc::new(move |name| secrets.get(name))
    }
}

/// Problems, a line or two each.
pub fn join(problems: &[impl ToString]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

pub fn read_file(path: &std::path::Path) -> Result<String, Failure> {
    #[expect(clippy::disallowed_methods, reason = "files enter here")]
    let bytes = std::fs::read(path).map_err(|error| Failure::Refused(format!("{} cannot be read: {error}", path.display())))?;
    String::from_utf8(bytes).map_err(|error| {
        let sound = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        let (line, last) = (sound.matches('\n').count() + 1, sound.rsplit('\n').next().unwrap_or_default());
        let column = last.chars().count() + 1;
        Failure::Refused(format!("{}:{line}:{column}: error: this is not UTF-8 (help: save the file as UTF-8)", path.display()))
    })
}

fn find(args: &ConfigArgs) -> Result<Option<PathBuf>, Failure> {
    #[expect(clippy::disallowed_methods, reason = "the environment enters here")]
    let named = args.config.clone().or_else(|| std::env::var("CAMPANILE_CONFIG").ok().map(PathBuf::from));
    if named.is_some() {
        return Ok(named);
    }
    Ok(PLACES.iter().map(PathBuf::from).find(|path| path.exists()))
}

/// Sets the log up as the settings say.
pub fn init_log(config: &Config) -> Result<(), Failure> {
    let level = match config.log.level {
        LogLevel::Error => logging::Level::Error,
        LogLevel::Warn => logging::Level::Warn,
        LogLevel::Info => logging::Level::Info,
        LogLevel::Debug => logging::Level::Debug,
        LogLevel::Trace => logging::Level::Trace,
    };
    let format = match config.log.format {
        LogFormat::Text => logging::Format::Text,
        LogFormat::Json => logging::Format::Json,
    };
    logging::init(level, format).map_err(|error| Failure::Refused(error.to_string()))
}

impl Loaded {
    /// What the worker is told.
    pub fn worker(&self, accept_state: bool) -> Settings {
        let config = &self.config;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Settings {
            topics: Topics::new(&config.kafka.events, &config.kafka.prefix),
            generation: config.kafka.generation,
            lanes: cores,
            max_in_flight: config.delivery.max_in_flight as usize,
            ends_every: ENDS_EVERY,
            drain: config.delivery.drain,
            omit: config.outcomes.omit.clone(),
            accept_state,
            // A redb file belongs to one process.
            alone: self.config.state.url.is_none(),
        }
    }

    /// What the engine is told. `store_id` keys the delivery ids unless the settings have a key of their own.
    pub fn policy(&self, store_id: &str) -> Policy {
        let (delivery, triggers) = (&self.config.delivery, &self.config.triggers);
        let derived = || format!("delivery ids of {store_id}").into_bytes();
        Policy {
            max_age: triggers.max_age,
            max_lateness: triggers.max_lateness,
            max_overdue: triggers.max_overdue,
            timeout: delivery.timeout,
            max_retries: delivery.max_retries,
            backoff: Backoff { base: delivery.backoff_base, max: delivery.backoff_max },
            expires: delivery.expires,
            id_key: delivery.id_key.as_ref().map_or_else(derived, |key| key.as_bytes().to_vec()),
            allow_http: delivery.allow_http,
        }
    }

    /// What the webhook client is told.
    pub fn webhook(&self) -> Result<WebhookSettings, Failure> {
        let networks = &self.config.delivery.allow_networks;
        let allow_networks: Result<Vec<_>, _> = networks.iter().map(|network| network.parse()).collect();
        let allow_networks = allow_networks.map_err(|error| Failure::Refused(format!("delivery.allow_networks: {error}")))?;
        if self.config.delivery.allow_http {
            tracing::warn!("delivery.allow_http is set: webhooks may go out in plain text");
        }
        if !allow_networks.is_empty() {
            tracing::warn!(networks = ?networks, "delivery.allow_networks is set: campaigns may call these private addresses");
        }
        Ok(WebhookSettings { allow_http: self.config.delivery.allow_http, allow_networks, extra_roots: Vec::new() })
    }

    /// Tokens of the API listener.
    pub fn tokens(&self) -> api::Tokens {
        let tokens = &self.config.http.tokens;
        let secret = |token: &Option<String>| token.as_deref().map(Secret::new);
        api::Tokens { admin: secret(&tokens.admin), read: secret(&tokens.read), ingest: secret(&tokens.ingest) }
    }

    pub fn campaign_label(&self) -> metrics::CampaignLabel {
        match self.config.telemetry.campaign_label {
            CampaignLabel::Auto => metrics::CampaignLabel::Auto,
            CampaignLabel::On => metrics::CampaignLabel::On,
            CampaignLabel::Off => metrics::CampaignLabel::Off,
        }
    }
}

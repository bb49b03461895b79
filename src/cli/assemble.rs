//! Puts a worker's ports together from the settings: Kafka or the embedded log, Redis or the embedded store.

use std::sync::Arc;

use super::Failure;
use super::settings::Loaded;
use crate::adapter::clock::SystemClock;
use crate::adapter::embedded::{self, Embedded, EmbeddedSettings};
use crate::adapter::kafka::{AdminError, KafkaAppend, KafkaArchive, KafkaSettings, KafkaSource, Start as KafkaStart};
use crate::adapter::redis::{self, RedisSettings};
use crate::config::{Config, Start};
use crate::worker::ports::{Append, Archive, Clock, OpenSource, Source, SourceError, StateError, Store};
use crate::worker::settings::Topics;

/// The parts that hold what must not be lost.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub append: Arc<dyn Append>,
    pub clock: Arc<dyn Clock>,
    log: Log,
}

#[derive(Clone)]
enum Log {
    Kafka(Box<KafkaSettings>),
    Embedded(Embedded, Start, String),
}

/// The readers of a worker.
pub struct Sources {
    pub events: Box<dyn Source>,
    pub retries: Box<dyn Source>,
    pub runs: Box<dyn Source>,
    /// Opens a reader of the outcomes for the statistics: beside the worker's work, so that it can fail by itself.
    pub outcomes: OpenSource,
}

/// Opens what the settings name; embedded parts share one file.
pub async fn open(loaded: &Loaded) -> Result<Parts, Failure> {
    let config = &loaded.config;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let embedded = if config.kafka.brokers.is_none() || config.state.url.is_none() {
        let settings = EmbeddedSettings { path: config.embedded.path.clone(), ..EmbeddedSettings::default() };
        Some(Embedded::open(&settings, clock.clone()).map_err(|error| Failure::Refused(error.to_string()))?)
    } else {
        None
    };
    let store = match (&config.state.url, &embedded) {
        (None, Some(embedded)) => embedded.store(),
        _ => open_redis(config).await?,
    };
    let (append, log): (Arc<dyn Append>, Log) = match (kafka(config)?, embedded) {
        (None, Some(embedded)) => (embedded.append(), Log::Embedded(embedded, config.kafka.start, config.kafka.group.clone())),
        (Some(kafka), _) => {
            let append = KafkaAppend::open(&kafka).map_err(|error| Failure::Refused(error.to_string()))?;
            (Arc::new(append), Log::Kafka(Box::new(kafka)))
        }
        (None, None) => return Err(Failure::Refused("neither Kafka nor the embedded log is set".into())),
    };
    Ok(Parts { store, append, clock, log })
}

/// Kafka's settings with all their problems; `None` where the log is embedded.
pub fn kafka(config: &Config) -> Result<Option<KafkaSettings>, Failure> {
    let Some(brokers) = &config.kafka.brokers else { return Ok(None) };
    let start = match config.kafka.start {
        Start::Earliest => KafkaStart::Earliest,
        Start::Latest => KafkaStart::Latest,
    };
    let settings =
        KafkaSettings { brokers: brokers.clone(), group: config.kafka.group.clone(), start, options: config.kafka.options.clone() };
    let problems = settings.problems();
    if problems.is_empty() { Ok(Some(settings)) } else { Err(Failure::Refused(super::settings::join(&problems))) }
}

/// Redis, checked as far as a start needs it.
pub async fn open_redis(config: &Config) -> Result<Arc<dyn Store>, Failure> {
    let settings = RedisSettings {
        url: config.state.url.clone().unwrap_or_default(),
        prefix: config.state.prefix.clone(),
        groups: u16::try_from(config.state.groups).unwrap_or(u16::MAX),
        replicas: u16::try_from(config.state.replicas).unwrap_or(u16::MAX),
    };
    match redis::open(settings).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(state_failure(error)),
    }
}

/// A log that does not answer is unreachable; everything else is refused.
pub fn source_failure(error: SourceError) -> Failure {
    match error {
        SourceError::Unavailable(_) => Failure::Unreachable(error.to_string()),
        SourceError::Fenced(_) | SourceError::Fatal(_) => Failure::Refused(error.to_string()),
    }
}

/// A store that does not answer is unreachable; everything else is refused.
pub fn state_failure(error: StateError) -> Failure {
    match error {
        StateError::Unavailable(_) => Failure::Unreachable(error.to_string()),
        StateError::RolledBack(_) | StateError::Refused(_) => Failure::Refused(error.to_string()),
    }
}

impl Parts {
    /// What the log keeps, for those who look back.
    pub fn archive(&self) -> Arc<dyn Archive> {
        match &self.log {
            Log::Kafka(settings) => Arc::new(KafkaArchive { settings: (**settings).clone() }),
            Log::Embedded(log, ..) => log.archive(),
        }
    }

    /// The readers of the events, of the retry topics and of the runs: a group each, so that none waits for another.
    pub fn sources(&self, topics: &Topics) -> Result<Sources, Failure> {
        let refused = |error: SourceError| Failure::Refused(error.to_string());
        let retries = topics.retries();
        let names = |topics: &[Arc<str>]| topics.iter().map(ToString::to_string).collect::<Vec<String>>();
        match &self.log {
            Log::Kafka(settings) => {
                let open = |settings: &KafkaSettings, topics: &[String]| -> Result<Box<dyn Source>, Failure> {
                    let source = KafkaSource::open(settings, topics).map_err(|error| Failure::Refused(error.to_string()))?;
                    Ok(Box::new(source))
                };
                // A retry message of another group's time is never to be passed over.
                let of_ours = |group| KafkaSettings { group, start: KafkaStart::Earliest, ..(**settings).clone() };
                Ok(Sources {
                    events: open(settings, &names(&topics.events))?,
                    retries: open(&of_ours(retry_group(&settings.group)), &names(&retries))?,
                    runs: open(&of_ours(run_group(&settings.group)), &names(std::slice::from_ref(&topics.runs)))?,
                    outcomes: self.outcomes(topics, format!("{}.stats", settings.group), true),
                })
            }
            Log::Embedded(log, start, group) => {
                let start = match start {
                    Start::Earliest => embedded::Start::Earliest,
                    Start::Latest => embedded::Start::Latest,
                };
                let events: Vec<&str> = topics.events.iter().map(|topic| &**topic).collect();
                let retries: Vec<&str> = retries.iter().map(|topic| &**topic).collect();
                Ok(Sources {
                    events: log.source(group, &events, start).map_err(refused)?,
                    retries: log.source(&retry_group(group), &retries, embedded::Start::Earliest).map_err(refused)?,
                    runs: log.source(&run_group(group), &[&topics.runs], embedded::Start::Earliest).map_err(refused)?,
                    outcomes: self.outcomes(topics, format!("{group}.stats"), true),
                })
            }
        }
    }
}

impl Parts {
    /// Opens readers of the outcomes topic that look at it from its end, all of it, and keep no place: each in a group of its own.
    pub fn tail(&self, topics: &Topics) -> OpenSource {
        let group = match &self.log {
            Log::Kafka(settings) => &settings.group,
            Log::Embedded(_, _, group) => group,
        };
        let mut unique = [0; 8];
        // Without randomness two workers would share one group, and see a part each.
        let unique = getrandom::fill(&mut unique).map_or_else(|_| u64::from(std::process::id()), |()| u64::from_be_bytes(unique));
        self.outcomes(topics, format!("{group}.tail.{unique:016x}"), false)
    }

    /// Opens readers of the outcomes topic, from its beginning or its end.
    fn outcomes(&self, topics: &Topics, group: String, from_beginning: bool) -> OpenSource {
        let (log, topic) = (self.log.clone(), topics.outcomes.clone());
        Arc::new(move || match &log {
            Log::Kafka(settings) => {
                let start = if from_beginning { KafkaStart::Earliest } else { KafkaStart::Latest };
                let settings = KafkaSettings { group: group.clone(), start, ..(**settings).clone() };
                let source = KafkaSource::open(&settings, &[topic.to_string()]).map_err(|error| SourceError::Fatal(error.to_string()))?;
                Ok(Box::new(source) as Box<dyn Source>)
            }
            Log::Embedded(log, ..) => {
                let start = if from_beginning { embedded::Start::Earliest } else { embedded::Start::Latest };
                log.observer(&group, &[&topic], start)
            }
        })
    }

    /// Another reader of the embedded log, from its beginning: for commands that show what was written.
    pub fn reader(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Source>, Failure> {
        match &self.log {
            Log::Embedded(log, ..) => {
                log.source(group, topics, embedded::Start::Earliest).map_err(|error| Failure::Refused(error.to_string()))
            }
            Log::Kafka(_) => Err(Failure::Refused("only the embedded log is read here".into())),
        }
    }
}

fn retry_group(group: &str) -> String {
    format!("{group}.retry")
}

fn run_group(group: &str) -> String {
    format!("{group}.runs")
}

/// What an error of the brokers means for a command.
pub fn admin_failure(error: AdminError) -> Failure {
    match error {
        AdminError::Unreachable { .. } => Failure::Unreachable(error.to_string()),
        AdminError::Settings(_) | AdminError::Failed(_) => Failure::Refused(error.to_string()),
    }
}

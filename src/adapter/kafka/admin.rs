//! The topics: what a deployment needs, what is there, and making what is missing. It reports as data and changes nothing that
//! exists: a topic with wrong settings is its owner's to put right.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;

use super::Told;
use super::settings::{KafkaSettings, MAX_RECORD_BYTES, SettingsError, client_error};

/// A topic that is needed: its name, and how it is made when it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    /// How long records must at least be kept.
    pub keep: Duration,
    /// The largest record that must be accepted.
    pub max_record_bytes: u32,
    /// The producers': how large their records may be is theirs to choose.
    pub of_producers: bool,
}

/// What was found of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub topic: String,
    pub state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is there and fits.
    Fits,
    Missing,
    /// It was missing and is there now.
    Created,
    /// It is there; this setting does not fit, with the reason and the way out.
    Setting {
        name: &'static str,
        is: String,
        needed: String,
        why: &'static str,
    },
    /// It is there and works; this setting may be worth another look.
    Advice {
        name: &'static str,
        is: String,
        better: String,
        why: &'static str,
    },
    /// It could not be looked at or made.
    Failed(String),
}

#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(
        "no broker of kafka.brokers ({brokers}) answered within {waited_s} s: {reason}; is Kafka running there, and do security.protocol, sasl.* and ssl.* of kafka.options fit it?"
    )]
    Unreachable { brokers: String, waited_s: u64, reason: String },
    #[error("{0}")]
    Failed(String),
}

/// Looks at topics and makes them. Its functions wait for brokers: not for a thread that others need.
pub struct Admin {
    brokers: String,
    client: AdminClient<Told>,
    /// Asks for metadata; its queue, unlike an admin client's, tells why no broker answers.
    probe: BaseConsumer<Told>,
    wait: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const PARTITIONS: i32 = 12;
/// Kafka's usual number; with fewer brokers, as many as there are.
const MAX_REPLICAS: usize = 3;
/// Inputs may have 1 MiB; the rest is room for key, headers and framing.
const MAX_EVENT_BYTES: u32 = 2 * 1024 * 1024;
/// A frozen request is at most 32 KiB.
const MAX_SMALL_BYTES: u32 = 1024 * 1024;
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long brokers may take to tell each other of a topic: one of several that is busy or starting lags behind.
const KNOWN_WITHIN: Duration = Duration::from_secs(60);
/// More than librdkafka tells while one question is open: a certificate that it does not trust makes ten lines a second.
const MAX_WAITING_TOLD: usize = 1024;

const RETRIES: [&str; 4] = ["retry", "retry.1m", "retry.5m", "retry.30m"];

/// The retry topics alone, kept for just as long as a delivery may wait in them.
pub fn retry_topics(prefix: &str, expires: Duration) -> Vec<Topic> {
    let names = RETRIES.map(|name| format!("{prefix}.{name}"));
    let all = topics(&[], prefix, expires).into_iter().filter(|topic| names.contains(&topic.name));
    all.map(|topic| Topic { keep: expires, ..topic }).collect()
}

/// What the retry topics keep at least, and how much longer than the longest wait of a delivery.
const RETRIES_KEPT: Duration = DAY.saturating_mul(3);
const RETRIES_SPARE: Duration = DAY;

/// The topics of a deployment: those that the producers write, and `<prefix>.retry` with its tiers, `.runs`, `.dead`, `.outcomes`.
/// Deliveries wait in the retry topics for as long as they do not expire.
pub fn topics(events: &[String], prefix: &str, expires: Duration) -> Vec<Topic> {
    let ours = |name: &str, keep_days: u32, max_record_bytes: u32| Topic {
        name: format!("{prefix}.{name}"),
        partitions: PARTITIONS,
        keep: DAY * keep_days,
        max_record_bytes,
        of_producers: false,
    };
    let mut all: Vec<Topic> = events
        .iter()
        .map(|name| Topic { name: name.clone(), partitions: PARTITIONS, keep: DAY, max_record_bytes: MAX_EVENT_BYTES, of_producers: true })
        .collect();
    let keep = RETRIES_KEPT.max(expires.saturating_add(RETRIES_SPARE));
    all.extend(RETRIES.map(|name| Topic { keep, ..ours(name, 3, MAX_SMALL_BYTES) }));
    all.push(ours("runs", 7, MAX_SMALL_BYTES));
    all.push(ours("dead", 14, MAX_RECORD_BYTES));
    all.push(ours("outcomes", 7, MAX_SMALL_BYTES));
    all
}

impl Admin {
    /// `wait`: how long each question to the brokers may take.
    pub fn open(settings: &KafkaSettings, wait: Duration) -> Result<Admin, AdminError> {
        let config = settings.admin()?;
        let client = config.create_with_context(Told::default()).map_err(|error| client_error(&error))?;
        let probe = config.create_with_context(Told::default()).map_err(|error| client_error(&error))?;
        Ok(Admin { brokers: settings.brokers.clone(), client, probe, wait })
    }

    /// Asks any broker anything: how many brokers there are.
    pub fn reach(&self) -> Result<usize, AdminError> {
        self.metadata().map(|metadata| metadata.brokers().len())
    }

    /// Compares what is there with what is needed, a finding at least for each topic, in their order.
    pub async fn check(&self, needed: &[Topic]) -> Result<Vec<Finding>, AdminError> {
        let metadata = self.metadata()?;
        let mut findings = Vec::new();
        for topic in needed {
            let there = metadata.topics().iter().find(|one| one.name() == topic.name && one.error().is_none());
            let states = match there {
                None => vec![State::Missing],
                Some(there) => {
                    let replicas = there.partitions().first().map_or(0, |partition| partition.replicas().len());
                    self.settings_of(topic, replicas).await
                }
            };
            findings.extend(states.into_iter().map(|state| Finding { topic: topic.name.clone(), state }));
        }
        Ok(findings)
    }

    /// Makes what is missing and reports on everything. Topics that exist are left as they are.
    pub async fn create(&self, needed: &[Topic]) -> Result<Vec<Finding>, AdminError> {
        let brokers = self.reach()?;
        let mut findings = self.check(needed).await?;
        let missing: Vec<&Topic> =
            needed.iter().filter(|topic| findings.iter().any(|one| one.topic == topic.name && one.state == State::Missing)).collect();
        for topic in &missing {
            let state = self.create_one(topic, brokers.clamp(1, MAX_REPLICAS)).await;
            if let Some(finding) = findings.iter_mut().find(|finding| finding.topic == topic.name) {
                finding.state = state;
            }
        }
        let created = |name: &str| findings.iter().any(|finding| finding.topic == name && finding.state == State::Created);
        let fresh: Vec<&str> = missing.iter().map(|topic| topic.name.as_str()).filter(|name| created(name)).collect();
        self.until_known(&fresh)?;
        Ok(findings)
    }

    /// A new topic is not known to all brokers at once; a worker started right after `init` would not find it.
    fn until_known(&self, topics: &[&str]) -> Result<(), AdminError> {
        let begun = Instant::now();
        loop {
            let metadata = self.metadata()?;
            let known = |name: &&str| {
                metadata.topics().iter().any(|one| one.name() == *name && one.error().is_none() && !one.partitions().is_empty())
            };
            match topics.iter().find(|name| !known(name)) {
                None => return Ok(()),
                Some(name) if begun.elapsed() >= KNOWN_WITHIN => {
                    return Err(AdminError::Failed(format!(
                        "topic `{name}` was created, but a broker does not know it after {} s",
                        KNOWN_WITHIN.as_secs()
                    )));
                }
                // Serves the probe's queue meanwhile.
                Some(_) => drop(self.probe.poll(LOOK_AGAIN)),
            }
        }
    }

    async fn create_one(&self, topic: &Topic, replicas: usize) -> State {
        let (keep_ms, max_bytes, in_sync) =
            (topic.keep.as_millis().to_string(), topic.max_record_bytes.to_string(), in_sync_needed(replicas).to_string());
        let replication = TopicReplication::Fixed(i32::try_from(replicas).unwrap_or(1));
        let fresh = NewTopic::new(&topic.name, topic.partitions, replication)
            .set("cleanup.policy", "delete")
            .set("retention.ms", &keep_ms)
            .set("max.message.bytes", &max_bytes)
            .set("min.insync.replicas", &in_sync);
        let options = AdminOptions::new().request_timeout(Some(self.wait)).operation_timeout(Some(self.wait));
        match self.client.create_topics([&fresh], &options).await.map(|results| results.into_iter().next()) {
            Ok(Some(Ok(_)) | None) => State::Created,
            // Another `init` was faster.
            Ok(Some(Err((_, Code::TopicAlreadyExists)))) => State::Created,
            Ok(Some(Err((_, code)))) => State::Failed(format!(
                "it cannot be created: {code}; the user of kafka.options needs the right CREATE, or create it by other means"
            )),
            Err(error) => State::Failed(format!("it cannot be created: {}", self.explained(&error))),
        }
    }

    async fn settings_of(&self, topic: &Topic, replicas: usize) -> Vec<State> {
        let begun = Instant::now();
        loop {
            let states = self.described(topic, replicas).await;
            // A broker that was told of the topic a moment ago may describe it without any setting.
            if !states.iter().any(|state| *state == State::Failed(NO_SETTINGS.into())) || begun.elapsed() >= KNOWN_WITHIN {
                return states;
            }
            drop(self.probe.poll(LOOK_AGAIN));
        }
    }

    async fn described(&self, topic: &Topic, replicas: usize) -> Vec<State> {
        let options = AdminOptions::new().request_timeout(Some(self.wait));
        let described = self.client.describe_configs([&ResourceSpecifier::Topic(&topic.name)], &options).await;
        let config = match described.map(|results| results.into_iter().next()) {
            Ok(Some(Ok(config))) => config,
            Ok(Some(Err(code))) => {
                return vec![State::Failed(format!(
                    "its settings cannot be read: {code}; the user of kafka.options needs the right DESCRIBE_CONFIGS"
                ))];
            }
            Ok(None) => return vec![State::Failed("its settings cannot be read: the broker said nothing".into())],
            Err(error) => return vec![State::Failed(format!("its settings cannot be read: {}", self.explained(&error)))],
        };
        let value = |name: &str| config.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
        let wrong = judge(topic, replicas, &value);
        if wrong.is_empty() { vec![State::Fits] } else { wrong }
    }

    fn metadata(&self) -> Result<Metadata, AdminError> {
        self.probe.fetch_metadata(None, self.wait).map_err(|error| AdminError::Unreachable {
            brokers: self.brokers.clone(),
            waited_s: self.wait.as_secs(),
            reason: self.explained(&error),
        })
    }

    /// The trouble behind an error: that a deadline passed says less than why nobody answered.
    fn explained(&self, error: &KafkaError) -> String {
        // Serves the lines and errors that wait in the queue, and takes no records: it reads no topic. A served line is answered as
        // an empty queue is, so there is no telling when it is empty.
        for _ in 0..MAX_WAITING_TOLD {
            drop(self.probe.poll(Duration::ZERO));
        }
        self.probe.context().newest().unwrap_or_else(|| error.to_string())
    }
}

const NO_SETTINGS: &str = "its settings cannot be read: the broker that was asked names none, as it does not know the topic yet";

/// Which settings of an existing topic do not fit. `value` answers a setting's value, empty where the broker names none.
fn judge(topic: &Topic, replicas: usize, value: &dyn Fn(&str) -> String) -> Vec<State> {
    // No topic is without.
    if value("retention.ms").is_empty() {
        return vec![State::Failed(NO_SETTINGS.into())];
    }
    let mut wrong = Vec::new();
    let mut need = |fits: bool, name: &'static str, is: String, needed: String, why: &'static str| {
        if !fits {
            wrong.push(State::Setting { name, is, needed, why });
        }
    };
    let policy = value("cleanup.policy");
    need(policy == "delete", "cleanup.policy", policy, "delete".into(), "compaction removes records that were not read yet");
    let keep_ms = value("retention.ms");
    // Negative: for ever.
    let kept = keep_ms.parse::<i64>().is_ok_and(|ms| ms < 0 || u128::from(ms.unsigned_abs()) >= topic.keep.as_millis());
    need(
        kept,
        "retention.ms",
        keep_ms,
        format!("at least {}", topic.keep.as_millis()),
        "what is deleted before it is read is lost, and the worker stops",
    );
    let max_bytes = value("max.message.bytes");
    let wide = max_bytes.parse::<u64>().is_ok_and(|bytes| bytes >= u64::from(topic.max_record_bytes));
    need(
        wide || topic.of_producers,
        "max.message.bytes",
        max_bytes.clone(),
        format!("at least {}", topic.max_record_bytes),
        "larger records are refused",
    );
    let in_sync = value("min.insync.replicas");
    let needed = in_sync_needed(replicas);
    let safe = in_sync.parse::<usize>().is_ok_and(|count| count >= needed && count <= replicas.max(1));
    need(
        safe,
        "min.insync.replicas",
        in_sync,
        format!("{needed} with {replicas} replicas"),
        "fewer: an acknowledged record can be lost with a broker; as many as there are replicas: one broker down stops all writing",
    );
    if !wide && topic.of_producers {
        let why = "events over HTTP may have 1 MiB; what this topic refuses is answered with an error";
        wrong.push(State::Advice { name: "max.message.bytes", is: max_bytes, better: topic.max_record_bytes.to_string(), why });
    }
    wrong
}

/// One replica may be missing, as soon as there are three.
fn in_sync_needed(replicas: usize) -> usize {
    if replicas >= MAX_REPLICAS { replicas - 1 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_lose_records_are_found() {
        let ours = Topic { name: "t".into(), partitions: 12, keep: DAY, max_record_bytes: 1000, of_producers: false };
        let theirs = Topic { of_producers: true, ..ours.clone() };
        let check_of = |topic: &Topic, settings: [&str; 4], replicas: usize, expect: &[&str]| {
            let value = |name: &str| {
                let at =
                    ["cleanup.policy", "retention.ms", "max.message.bytes", "min.insync.replicas"].iter().position(|known| *known == name);
                settings[at.expect("a known setting")].to_owned()
            };
            let found: Vec<&str> = judge(topic, replicas, &value)
                .iter()
                .map(|state| match state {
                    State::Setting { name, .. } => *name,
                    State::Advice { .. } => "advice",
                    State::Failed(why) if why == NO_SETTINGS => "nothing is said",
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(found, expect, "{settings:?} with {replicas}");
        };
        let check = |settings, replicas, expect: &[&str]| check_of(&ours, settings, replicas, expect);
        check(["delete", "86400000", "1000", "1"], 1, &[]);
        check_of(&theirs, ["delete", "86400000", "1000", "1"], 1, &[]);
        check_of(&theirs, ["delete", "86400000", "999", "1"], 1, &["advice"]);
        check_of(&theirs, ["compact", "86400000", "999", "1"], 1, &["cleanup.policy", "advice"]);
        check(["delete", "-1", "2000", "2"], 3, &[]);
        check(["compact", "86400000", "1000", "1"], 1, &["cleanup.policy"]);
        check(["compact,delete", "86400000", "1000", "1"], 1, &["cleanup.policy"]);
        check(["delete", "86399999", "1000", "1"], 1, &["retention.ms"]);
        check(["", "", "", ""], 1, &["nothing is said"]);
        check(["delete", "86400000", "999", "1"], 1, &["max.message.bytes"]);
        check(["delete", "86400000", "1000", "1"], 3, &["min.insync.replicas"]);
        check(["delete", "86400000", "1000", "4"], 3, &["min.insync.replicas"]);
    }

    #[test]
    fn all_topics_of_a_deployment() {
        let names: Vec<String> = topics(&["a".into(), "b".into()], "p", DAY).into_iter().map(|topic| topic.name).collect();
        assert_eq!(names, ["a", "b", "p.retry", "p.retry.1m", "p.retry.5m", "p.retry.30m", "p.runs", "p.dead", "p.outcomes"]);
    }

    #[test]
    fn retries_are_kept_until_they_expire() {
        for (expires, expect) in [(1, 3), (2, 3), (3, 4), (30, 31)] {
            let kept = |topic: &Topic| topic.name.starts_with("p.retry").then_some(topic.keep);
            let made: Vec<Duration> = topics(&[], "p", DAY * expires).iter().filter_map(kept).collect();
            assert_eq!(made, [DAY * expect; 4], "{expires} days");
            let needed: Vec<Duration> = retry_topics("p", DAY * expires).iter().filter_map(kept).collect();
            assert_eq!(needed, [DAY * expires; 4]);
        }
    }
}

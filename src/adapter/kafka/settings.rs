//! The settings of section `kafka`, and what they become for librdkafka: our own properties, the reason for each beside it, and
//! over them the user's options. It never lets an option break a promise: those are refused by name.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

/// Where the log is and how it is read.
#[derive(Clone)]
pub struct KafkaSettings {
    /// `host:port[,host:port]`.
    pub brokers: String,
    pub group: String,
    pub start: Start,
    /// librdkafka properties, passed on; they win over ours.
    pub options: BTreeMap<String, String>,
    pub ahead: Ahead,
}

/// How much a consumer takes before it is asked for. Each has its own store of records, in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ahead {
    /// What keeps a worker at full speed busy.
    #[default]
    Much,
    /// For what is read beside the events: it comes at the pace of the deliveries.
    Little,
    /// As little, and by the heap instead of one by one: for what nobody waits for.
    Seldom,
}

/// Where a partition is begun for which the group has committed nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    #[default]
    Earliest,
    Latest,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("kafka.options.{option} cannot be set: {why}")]
    Refused { option: String, why: &'static str },
    #[error("kafka.options.{option} is not accepted: {reason}")]
    Unusable { option: String, reason: String },
    #[error("kafka.brokers is empty: give host:port[,host:port], or `embedded`")]
    NoBrokers,
    #[error("the Kafka client cannot be made: {0}; see kafka.options")]
    Client(String),
}

/// How long a killed worker's partitions stand still. librdkafka's own default of 45 s is that long.
const SESSION_TIMEOUT_MS: u32 = 10_000;
/// Heartbeats a session: one lost in three does no harm.
const HEARTBEATS_A_SESSION: u32 = 3;
/// How old what is known of brokers and leaders may be.
const METADATA_KNOWN_MS: u32 = 10_000;
/// Prefetched records. Smaller costs less (they stay in the CPU's caches) as long as it covers a round trip.
const PREFETCH_KIB: &str = "16384";
/// A partition's share of one fetch. Measured with records of 755 bytes on 12 partitions, CPU a record: 128 to 512 KiB 0.3 to 0.7 us,
/// 1 MiB 0.9 to 1.0. A larger record still comes through: the broker sends at least one.
const FETCH_BYTES: &str = "262144";
/// The same for what is read beside the events. librdkafka needs about 400 bytes more for each record that it holds, and lines are short:
/// with as much as the events the statistics alone held 40 MB.
const LITTLE_PREFETCH_KIB: &str = "1024";
const LITTLE_FETCH_BYTES: &str = "65536";
/// What is worth an answer to whom nobody waits for, and how long it may take: else a fetch brings what a few milliseconds wrote, and
/// costs worker and broker more than the records in it.
const SELDOM_BYTES: &str = "65536";
const SELDOM_WAIT_MS: &str = "500";

/// Records waiting for their acknowledgement, in KiB.
const UNACKNOWLEDGED_KIB: &str = "32768";
/// The largest record written: a dead letter carries an input of 1 MiB in base64 with its reasons.
pub(super) const MAX_RECORD_BYTES: u32 = 4 * 1024 * 1024;

const KEPT_OFFSETS: &str = "offsets are committed only after the state store has confirmed what lies before them";
const REFUSED: [(&str, &str); 11] = [
    ("enable.auto.commit", KEPT_OFFSETS),
    ("auto.commit.enable", KEPT_OFFSETS),
    ("enable.auto.offset.store", KEPT_OFFSETS),
    ("auto.offset.reset", "an offset that is gone stops the worker; where a new group starts is kafka.start"),
    ("isolation.level", "records of aborted transactions must not be read"),
    ("partition.assignment.strategy", "workers of one group must agree on cooperative-sticky"),
    ("group.protocol", "workers of one group must agree on the classic protocol"),
    ("group.instance.id", "static membership is not safe with this client: a killed worker's partitions would stand still"),
    ("enable.idempotence", "without it a retried write can be repeated or overtaken"),
    ("enable.partition.eof", "with it librdkafka, read in batches, skips a record when a partition is paused at its end"),
    ("group.id", "it is kafka.group"),
];
/// A write that not all in-sync replicas have could be lost with a broker.
const ACKS: [&str; 2] = ["acks", "request.required.acks"];

impl KafkaSettings {
    /// Settings with nothing but defaults.
    pub fn new(brokers: impl Into<String>, group: impl Into<String>) -> KafkaSettings {
        KafkaSettings {
            brokers: brokers.into(),
            group: group.into(),
            start: Start::default(),
            options: BTreeMap::new(),
            ahead: Ahead::default(),
        }
    }

    /// Every option that cannot be used, so that all are told at once. Needs no broker.
    pub fn problems(&self) -> Vec<SettingsError> {
        let mut problems: Vec<SettingsError> =
            self.options.iter().filter_map(|(option, value)| refusal(option, value).or_else(|| unknown(option, value))).collect();
        if self.brokers.trim().is_empty() {
            problems.push(SettingsError::NoBrokers);
        }
        problems
    }

    pub(super) fn consumer(&self) -> Result<ClientConfig, SettingsError> {
        let session_ms = self.options.get("session.timeout.ms").and_then(|text| text.trim().parse().ok()).unwrap_or(SESSION_TIMEOUT_MS);
        let mut config = self.client()?;
        config.set("group.id", &self.group);
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "error");
        config.set("isolation.level", "read_committed");
        // A rebalance then takes only the partitions that move.
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("session.timeout.ms", session_ms.to_string());
        config.set("heartbeat.interval.ms", (session_ms / HEARTBEATS_A_SESSION).max(1).to_string());
        let (prefetch_kib, fetch_bytes) = match self.ahead {
            Ahead::Much => (PREFETCH_KIB, FETCH_BYTES),
            Ahead::Little | Ahead::Seldom => (LITTLE_PREFETCH_KIB, LITTLE_FETCH_BYTES),
        };
        config.set("queued.max.messages.kbytes", prefetch_kib).set("fetch.message.max.bytes", fetch_bytes);
        // A broker answers a connection's requests in their order: a question about the ends waits behind a fetch that waits for
        // records. The default of 500 ms was measured as the time of such a question.
        config.set("fetch.wait.max.ms", "50");
        if self.ahead == Ahead::Seldom {
            config.set("fetch.min.bytes", SELDOM_BYTES).set("fetch.wait.max.ms", SELDOM_WAIT_MS);
        }
        // The default of 1 s is how long a partition rests once the prefetch queue was full.
        config.set("fetch.queue.backoff.ms", "5");
        self.add_options(&mut config);
        Ok(config)
    }

    pub(super) fn producer(&self) -> Result<ClientConfig, SettingsError> {
        let mut config = self.client()?;
        config.set("enable.idempotence", "true").set("acks", "all");
        // Every partition's batch is a request of its own: at 13,000 deliveries a second 5 ms made requests of a few lines each, at
        // 15 us of CPU a line. Longer costs less, but what is not acknowledged is not settled, and a killed worker's unsettled
        // deliveries are sent again (measured: 250 repeats with 5 ms, 850 with 25). With idempotence librdkafka's thread does not sleep
        // while five batches of a partition wait for acknowledgements: that costs CPU where they take longer than 50 ms, and only there.
        // Gathering lines ourselves, until what is on its way is acknowledged, was no cheaper elsewhere.
        config.set("linger.ms", "10");
        // Measured with lines of 350 bytes, CPU a line: lz4 as none (1.6 to 2.1 us), zstd 5.1 to 5.4; and lz4 carries the most.
        config.set("compression.type", "lz4");
        // Where Java's producers put the same key.
        config.set("partitioner", "murmur2_random");
        config.set("delivery.timeout.ms", "30000");
        // How long a topic that nobody knows may be one that was made a moment ago.
        config.set("topic.metadata.propagation.max.ms", "5000");
        config.set("message.max.bytes", MAX_RECORD_BYTES.to_string());
        config.set("queue.buffering.max.kbytes", UNACKNOWLEDGED_KIB);
        self.add_options(&mut config);
        Ok(config)
    }

    pub(super) fn admin(&self) -> Result<ClientConfig, SettingsError> {
        let mut config = self.client()?;
        self.add_options(&mut config);
        Ok(config)
    }

    fn client(&self) -> Result<ClientConfig, SettingsError> {
        if let Some(problem) = self.problems().into_iter().next() {
            return Err(problem);
        }
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        config.set("bootstrap.servers", &self.brokers);
        config.set("client.id", "campanile");
        // Ours is the only process that talks through these sockets: a broken one is noticed by the system, too.
        config.set("socket.keepalive.enable", "true");
        config.set("reconnect.backoff.max.ms", "2000");
        // What is known of the leaders. Most of what makes it wrong also makes the client ask anew; a broker that came back does not,
        // and with the default of 5 min what it leads would stand still for as long.
        config.set("topic.metadata.refresh.interval.ms", METADATA_KNOWN_MS.to_string());
        Ok(config)
    }

    fn add_options(&self, config: &mut ClientConfig) {
        for (option, value) in &self.options {
            config.set(option, value);
        }
    }
}

impl fmt::Debug for KafkaSettings {
    /// Names of options only: their values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("start", &self.start)
            .field("options", &self.options.keys().collect::<Vec<_>>())
            .finish()
    }
}

pub(super) fn client_error(error: &KafkaError) -> SettingsError {
    match error {
        KafkaError::ClientConfig(_, reason, option, _) => {
            SettingsError::Unusable { option: option.clone(), reason: public(option, reason) }
        }
        KafkaError::ClientCreation(reason) => SettingsError::Client(reason.clone()),
        other => SettingsError::Client(other.to_string()),
    }
}

fn refusal(option: &str, value: &str) -> Option<SettingsError> {
    if let Some((_, why)) = REFUSED.iter().find(|(name, _)| *name == option) {
        return Some(SettingsError::Refused { option: option.to_owned(), why });
    }
    (ACKS.contains(&option) && !["all", "-1"].contains(&value.trim())).then(|| SettingsError::Refused {
        option: option.to_owned(),
        why: "a write counts only when all in-sync replicas have it (acks=all)",
    })
}

/// Asks librdkafka itself, one option at a time: the first bad one must not hide the next.
fn unknown(option: &str, value: &str) -> Option<SettingsError> {
    let mut config = ClientConfig::new();
    config.set(option, value);
    config.create_native_config().err().map(|error| client_error(&error))
}

/// librdkafka repeats the value in its reason.
fn public(option: &str, reason: &str) -> String {
    let secret = ["password", "secret", "key", "pem", "username", "jaas", "oauth"].iter().any(|word| option.contains(word));
    if secret { "its value cannot be used".to_owned() } else { reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(options: &[(&str, &str)]) -> KafkaSettings {
        let mut settings = KafkaSettings::new("127.0.0.1:9092", "campanile");
        settings.options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        settings
    }

    #[test]
    fn options_that_would_break_a_promise_are_refused_by_name() {
        let check = |option: &str, value: &str, expect: Option<&str>| {
            let problems = with(&[(option, value)]).problems();
            match expect {
                None => assert_eq!(problems, [], "{option}={value}"),
                Some(words) => {
                    let text = problems.iter().map(ToString::to_string).collect::<String>();
                    assert!(text.contains(option) && text.contains(words), "{option}={value}: {text}");
                }
            }
        };
        check("enable.auto.commit", "true", Some("confirmed"));
        check("enable.auto.offset.store", "true", Some("confirmed"));
        check("auto.offset.reset", "earliest", Some("kafka.start"));
        check("isolation.level", "read_uncommitted", Some("aborted"));
        check("partition.assignment.strategy", "range", Some("cooperative-sticky"));
        check("group.protocol", "consumer", Some("classic"));
        check("group.instance.id", "a", Some("static membership"));
        check("enable.idempotence", "false", Some("repeated"));
        check("group.id", "other", Some("kafka.group"));
        check("acks", "1", Some("in-sync"));
        check("acks", "all", None);
        check("request.required.acks", "0", Some("in-sync"));
        check("session.timeout.ms", "6000", None);
        check("compression.type", "lz4", None);
        check("sasl.username", "me", None);
        check("sesion.timeout.ms", "6000", Some("No such configuration property"));
        check("linger.ms", "soon", Some("Invalid value"));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let mut settings = with(&[("acks", "1"), ("no.such", "x"), ("isolation.level", "read_uncommitted")]);
        settings.brokers = " ".into();
        assert_eq!(settings.problems().len(), 4);
    }

    #[test]
    fn options_win_over_our_own() {
        let settings = with(&[("session.timeout.ms", "3000"), ("linger.ms", "50"), ("fetch.message.max.bytes", "1000")]);
        let consumer = settings.consumer().unwrap();
        assert_eq!(consumer.get("session.timeout.ms"), Some("3000"));
        assert_eq!(consumer.get("heartbeat.interval.ms"), Some("1000"));
        assert_eq!(consumer.get("fetch.message.max.bytes"), Some("1000"));
        assert_eq!(settings.producer().unwrap().get("linger.ms"), Some("50"));
    }

    #[test]
    fn only_the_reader_of_the_events_takes_much_ahead() {
        let held = |settings: &KafkaSettings| settings.consumer().unwrap().get("queued.max.messages.kbytes").map(str::to_owned);
        let beside = |settings: KafkaSettings| KafkaSettings { ahead: Ahead::Little, ..settings };
        assert_eq!(held(&with(&[])).as_deref(), Some(PREFETCH_KIB));
        assert_eq!(held(&beside(with(&[]))).as_deref(), Some(LITTLE_PREFETCH_KIB));
        assert_eq!(held(&beside(with(&[("queued.max.messages.kbytes", "77")]))).as_deref(), Some("77"), "who says so knows why");
        let waits = |ahead| KafkaSettings { ahead, ..with(&[]) }.consumer().unwrap().get("fetch.wait.max.ms").map(str::to_owned);
        assert_eq!((waits(Ahead::Little).as_deref(), waits(Ahead::Seldom).as_deref()), (Some("50"), Some(SELDOM_WAIT_MS)));
    }

    #[test]
    fn no_secret_is_printed() {
        let settings = with(&[("sasl.password", "hunter2"), ("ssl.key.pem", "hunter2")]);
        assert!(!format!("{settings:?}").contains("hunter2"));
        let told = unknown("enable.ssl.certificate.verification.password", "hunter2").unwrap().to_string();
        assert!(!told.contains("hunter2"), "{told}");
    }
}

//! Kafka: the log as a member of a consumer group reads it (`Source`), as all threads write it (`Append`), and its topics as
//! `init` makes and checks them. One client crate, rdkafka; nothing here knows what the bytes mean.
//!
//! librdkafka's own lines go to `tracing` under the target `librdkafka`; values of options never do.
#![expect(clippy::disallowed_methods, reason = "deadlines of network calls are real time, and this is where the network is")]

mod failure;
mod native;
mod settings;

mod admin;
mod append;
mod source;
mod span;

pub use admin::{Admin, AdminError, Finding, State, Topic, retry_topics, topics};
pub use append::KafkaAppend;
pub use settings::{KafkaSettings, SettingsError, Start};
pub use source::KafkaSource;
pub use span::{KafkaArchive, KafkaSpan};

use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// What librdkafka tells beside answers: lines for the log, and troubles, which explain a missed deadline better than the deadline
/// itself does.
#[derive(Default)]
struct Told {
    /// The newest trouble with a broker.
    trouble: Mutex<Option<String>>,
    /// No broker is reachable, and why.
    unreachable: Mutex<Option<String>>,
}

impl Told {
    fn note(&self, code: Option<RDKafkaErrorCode>, reason: &str) {
        if code != Some(RDKafkaErrorCode::AllBrokersDown) {
            *locked(&self.trouble) = Some(reason.to_owned());
            return;
        }
        let trouble = locked(&self.trouble).clone();
        *locked(&self.unreachable) = Some(trouble.map_or_else(|| reason.to_owned(), |trouble| format!("{reason}: {trouble}")));
    }

    /// That no broker is reachable, once each time that it is told. One broker of several that is away is no reason to stop.
    fn unreachable(&self) -> Option<String> {
        locked(&self.unreachable).take()
    }

    fn newest(&self) -> Option<String> {
        locked(&self.trouble).take()
    }
}

impl ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level as i32, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.note(error.rdkafka_error_code(), reason);
    }
}

impl ConsumerContext for Told {}

/// `level` is syslog's, 0 to 7. `CONFWARN` says that a consumer's property means nothing to a producer and the like: options
/// are given to both on purpose.
fn log_line(level: i32, facility: &str, line: &str) {
    match level {
        _ if facility == "CONFWARN" => tracing::debug!(target: "librdkafka", facility, "{line}"),
        ..=3 => tracing::error!(target: "librdkafka", facility, "{line}"),
        4 => tracing::warn!(target: "librdkafka", facility, "{line}"),
        5 | 6 => tracing::info!(target: "librdkafka", facility, "{line}"),
        _ => tracing::debug!(target: "librdkafka", facility, "{line}"),
    }
}

/// A panic elsewhere while it was held leaves nothing half done in what these locks guard.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

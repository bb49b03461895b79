//! Kafka alone: what only a group of several members, a broker that fails and transactions can show.

use crate::log::{Begin, Log, log_suite};
use crate::support::kafka::{append_on, settings, shared, topic};
use campanile::adapter::kafka::{KafkaSource, Start};

log_suite!(conforms, crate::kafka::log());

pub fn log() -> Log {
    Log {
        append: Box::new(append_on(shared())),
        topic: Box::new(topic),
        join: Box::new(|group, topic, begin| {
            let mut settings = settings(shared(), group);
            settings.start = if begin == Begin::Latest { Start::Latest } else { Start::Earliest };
            Box::new(KafkaSource::open(&settings, &[topic.to_owned()]).expect("a source"))
        }),
    }
}

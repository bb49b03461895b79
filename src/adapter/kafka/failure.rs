//! What an error code of Kafka means for whoever asked: passing, given away, or the end, with the way out. It decides from codes,
//! never from texts.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::worker::ports::{AppendError, SourceError};

/// An error while reading, `what` saying during what.
pub(super) fn source_error(code: Code, what: &str) -> SourceError {
    match code {
        Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::FencedInstanceId
        | Code::Fenced
        | Code::AssignmentLost
        | Code::StaleMemberEpoch => SourceError::Fenced(format!("{what}: {code}")),
        Code::TopicAuthorizationFailed => {
            SourceError::Fatal(format!("{what}: {code}; the user of kafka.options needs the rights READ and DESCRIBE on the topic"))
        }
        Code::GroupAuthorizationFailed => {
            SourceError::Fatal(format!("{what}: {code}; the user of kafka.options needs the right READ on the group of kafka.group"))
        }
        Code::InconsistentGroupProtocol => SourceError::Fatal(format!(
            "{what}: {code}; the group has members that do not speak cooperative-sticky: stop them, or choose another kafka.group"
        )),
        Code::InvalidSessionTimeout => SourceError::Fatal(format!(
            "{what}: {code}; kafka.options.session.timeout.ms lies outside of what the broker allows (group.min.session.timeout.ms to group.max.session.timeout.ms)"
        )),
        Code::InvalidTopic | Code::InvalidGroupId | Code::Fatal | Code::UnsupportedVersion | Code::OffsetMetadataTooLarge => {
            SourceError::Fatal(format!("{what}: {code}"))
        }
        _ => SourceError::Unavailable(format!("{what}: {code}")),
    }
}

pub(super) fn read_failed(error: &KafkaError, what: &str) -> SourceError {
    match error.rdkafka_error_code() {
        Some(code) => source_error(code, what),
        None => SourceError::Unavailable(format!("{what}: {error}")),
    }
}

pub(super) fn missing_topic(topic: &str) -> String {
    format!("topic `{topic}` does not exist; `campanile init` creates what is missing, or correct kafka.events and kafka.prefix")
}

/// An error while writing to `topic`.
pub(super) fn append_error(code: Code, topic: &str, bytes: usize) -> AppendError {
    match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => AppendError::Blocked(missing_topic(topic)),
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => AppendError::Refused(format!(
            "a record of {bytes} bytes is too large for topic `{topic}`; raise the topic's max.message.bytes, or shorten what is sent"
        )),
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            AppendError::Blocked(format!("writing to topic `{topic}`: {code}; the user of kafka.options needs the right WRITE on it"))
        }
        Code::InvalidTopic | Code::PolicyViolation | Code::UnsupportedCompressionType => {
            AppendError::Blocked(format!("writing to topic `{topic}`: {code}"))
        }
        Code::InvalidRecord | Code::InvalidTimestamp => AppendError::Refused(format!("writing to topic `{topic}`: {code}")),
        _ => AppendError::Unavailable(format!("writing to topic `{topic}`: {code}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_errors_are_told_apart() {
        let check = |code: Code, expect: &str| {
            let got = match source_error(code, "committing") {
                SourceError::Unavailable(_) => "passing",
                SourceError::Fenced(_) => "fenced",
                SourceError::Fatal(_) => "fatal",
            };
            assert_eq!(got, expect, "{code:?}");
        };
        check(Code::AllBrokersDown, "passing");
        check(Code::BrokerTransportFailure, "passing");
        check(Code::RebalanceInProgress, "passing");
        check(Code::NotCoordinator, "passing");
        check(Code::Authentication, "passing");
        check(Code::IllegalGeneration, "fenced");
        check(Code::UnknownMemberId, "fenced");
        check(Code::GroupAuthorizationFailed, "fatal");
        check(Code::InconsistentGroupProtocol, "fatal");
        check(Code::InvalidTopic, "fatal");
    }

    #[test]
    fn writing_errors_are_told_apart() {
        let check = |code: Code, expect: &str| {
            let got = match append_error(code, "t", 9) {
                AppendError::Unavailable(_) => "passing",
                AppendError::Blocked(_) => "blocked",
                AppendError::Refused(_) => "refused",
            };
            assert_eq!(got, expect, "{code:?}");
        };
        check(Code::MessageTimedOut, "passing");
        check(Code::NotEnoughReplicas, "passing");
        check(Code::Fatal, "passing");
        check(Code::PurgeQueue, "passing");
        check(Code::UnknownTopic, "blocked");
        check(Code::UnknownTopicOrPartition, "blocked");
        check(Code::TopicAuthorizationFailed, "blocked");
        check(Code::MessageSizeTooLarge, "refused");
        check(Code::InvalidRecord, "refused");
    }
}

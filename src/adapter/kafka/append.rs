//! Acknowledged writes: one producer for all threads, one allocation and one wake-up for a batch of lines. It never reorders the
//! lines of a batch and never gives up a write by itself before the delivery timeout.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context as Task, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use super::failure::append_error;
use super::settings::{KafkaSettings, SettingsError, client_error};
use super::{Told, locked};
use crate::worker::ports::{Append, AppendError, Line, SendFuture};

/// One idempotent producer, shared by all threads.
pub struct KafkaAppend {
    settings: KafkaSettings,
    producer: Mutex<Arc<Producer>>,
}

type Producer = ThreadedProducer<Context>;

/// How long a full buffer is waited for before the rest of a batch fails. The lane waits meanwhile: that is the back-pressure.
const FULL_BUFFER: Duration = Duration::from_secs(10);
const FULL_BUFFER_LOOK: Duration = Duration::from_millis(5);
/// How long dropping waits for what was handed over.
const FLUSH: Duration = Duration::from_secs(5);

/// The lines of one call that are not yet acknowledged.
struct Batch {
    open: AtomicUsize,
    /// What is worth another try; told before what is not, or nobody would try it.
    missed: OnceLock<AppendError>,
    refused: OnceLock<AppendError>,
    waiting: AtomicWaker,
}

#[derive(Default)]
struct Context {
    told: Told,
    /// The producer met an error after which librdkafka writes nothing more with it.
    broken: AtomicBool,
}

impl KafkaAppend {
    /// Needs no broker.
    pub fn open(settings: &KafkaSettings) -> Result<KafkaAppend, SettingsError> {
        let producer = Mutex::new(Arc::new(producer(settings)?));
        Ok(KafkaAppend { settings: settings.clone(), producer })
    }

    /// The producer, made anew if the last one is broken. What the broken one still held fails and is written again by those who
    /// wait for it.
    fn producer(&self) -> Result<Arc<Producer>, AppendError> {
        let mut current = locked(&self.producer);
        if current.context().broken.load(Ordering::Acquire) {
            let why = current.client().fatal_error().map_or_else(|| "no reason given".to_owned(), |(_, why)| why);
            tracing::warn!(why, "the Kafka producer broke and is made anew");
            let fresh = producer(&self.settings).map_err(|error| AppendError::Unavailable(error.to_string()))?;
            *current = Arc::new(fresh);
        }
        Ok(current.clone())
    }

    fn hand_over(&self, lines: &[Line], batch: &Arc<Batch>) {
        let producer = match self.producer() {
            Ok(producer) => producer,
            Err(error) => return batch.settle(lines.len(), Some(error)),
        };
        for (position, line) in lines.iter().enumerate() {
            if let Err(error) = hand_over(&producer, line, batch) {
                return batch.settle(lines.len() - position, Some(error));
            }
        }
    }
}

impl Append for KafkaAppend {
    fn append(&self, lines: &[Line]) -> SendFuture<'static, Result<(), AppendError>> {
        let batch = Arc::new(Batch::of(lines.len()));
        self.hand_over(lines, &batch);
        Box::pin(Acknowledged(batch))
    }
}

impl Drop for KafkaAppend {
    /// Lines are handed over whether or not anybody waits for them.
    fn drop(&mut self) {
        if let Err(error) = locked(&self.producer).flush(FLUSH) {
            tracing::warn!(%error, "lines were not acknowledged before the producer was closed");
        }
    }
}

struct Acknowledged(Arc<Batch>);

impl Future for Acknowledged {
    type Output = Result<(), AppendError>;

    fn poll(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        self.0.waiting.register(task.waker());
        if self.0.open.load(Ordering::Acquire) > 0 {
            return Poll::Pending;
        }
        let failed = self.0.missed.get().or(self.0.refused.get());
        Poll::Ready(failed.cloned().map_or(Ok(()), Err))
    }
}

impl Batch {
    fn of(lines: usize) -> Batch {
        Batch { open: AtomicUsize::new(lines), missed: OnceLock::new(), refused: OnceLock::new(), waiting: AtomicWaker::new() }
    }

    /// The last line to be settled wakes whoever waits; of each kind the first error is the one told.
    fn settle(&self, lines: usize, error: Option<AppendError>) {
        match error {
            Some(error @ AppendError::Refused(_)) => _ = self.refused.set(error),
            Some(error) => _ = self.missed.set(error),
            None => {}
        }
        if self.open.fetch_sub(lines, Ordering::AcqRel) == lines {
            self.waiting.wake();
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.told.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(Code::Fatal) {
            self.broken.store(true, Ordering::Release);
        }
        tracing::debug!(target: "librdkafka", reason, "producer");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Batch>;

    fn delivery(&self, result: &DeliveryResult<'_>, batch: Arc<Batch>) {
        let error = result.as_ref().err().map(|(error, message)| {
            let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
            if code == Code::Fatal {
                self.broken.store(true, Ordering::Release);
            }
            append_error(code, message.topic(), message.payload_len())
        });
        batch.settle(1, error);
    }
}

fn producer(settings: &KafkaSettings) -> Result<Producer, SettingsError> {
    settings.producer()?.create_with_context(Context::default()).map_err(|error| client_error(&error))
}

/// Waits for room while the buffer is full: whoever waits also serves acknowledgements, which is what makes room.
fn hand_over(producer: &Producer, line: &Line, batch: &Arc<Batch>) -> Result<(), AppendError> {
    let mut record = BaseRecord::with_opaque_to(&line.topic, batch.clone()).payload(line.value.as_slice());
    record.key = line.key.as_deref();
    let mut full_since = None;
    loop {
        let (error, refused) = match producer.send(record) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        if code == Code::Fatal {
            producer.context().broken.store(true, Ordering::Release);
        }
        let waited = full_since.get_or_insert_with(Instant::now).elapsed();
        if code != Code::QueueFull || waited >= FULL_BUFFER {
            return Err(append_error(code, &line.topic, line.value.len()));
        }
        producer.poll(FULL_BUFFER_LOOK);
        record = refused;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_refused_does_not_hide_one_that_is_worth_another_try() {
        let batch = Arc::new(Batch::of(3));
        batch.settle(1, Some(append_error(Code::MessageSizeTooLarge, "outcomes", 9)));
        batch.settle(1, Some(append_error(Code::UnknownTopicOrPartition, "retry", 9)));
        batch.settle(1, None);
        let told = futures_util::FutureExt::now_or_never(Acknowledged(batch)).expect("all are settled");
        assert!(matches!(told, Err(AppendError::Blocked(_))), "{told:?}");
    }

    #[test]
    fn a_broken_producer_is_made_anew() {
        let append = KafkaAppend::open(&KafkaSettings::new("127.0.0.1:1", "g")).unwrap();
        let first = append.producer().unwrap();
        let line = || vec![Line { topic: "t".into(), key: None, value: b"v".to_vec() }];
        let held = append.append(&line());
        // SAFETY: the client is alive, and so is the text.
        unsafe {
            let code = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
            rdkafka::bindings::rd_kafka_test_fatal_error(first.client().native_ptr(), code, c"a test".as_ptr());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let told = runtime.block_on(append.append(&line()));
        assert!(matches!(told, Err(AppendError::Unavailable(_))), "the caller writes again: {told:?}");
        assert!(!Arc::ptr_eq(&first, &append.producer().unwrap()), "the next one is another");
        drop(first);
        let told = runtime.block_on(held);
        assert!(matches!(told, Err(AppendError::Unavailable(_))), "what the broken one held fails: {told:?}");
    }
}

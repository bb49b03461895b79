//! A consumer over librdkafka's C functions: the only unsafe code of this adapter. It moves records, lists and answers across the
//! border; it decides nothing.
//!
//! Why not the crate's own consumer: it takes one event a record (1.0 to 1.2 us of CPU a record of 755 bytes against 0.3 to 0.7 for
//! a batch), and its errors carry neither partition nor offset. Rebalances are handed over and answered between two
//! batches, never inside the callback: so every batch lies whole on one side of a rebalance, and a failing look-up of committed
//! offsets can be repeated while librdkafka waits.

use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::bindings as ffi;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::types::{RDKafkaRespErr as Response, RDKafkaType};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{Told, locked, log_line};

/// A member of a group, used from one thread at a time. Dropping it leaves the group.
pub(super) struct Consumer {
    client: Client<Context>,
    queue: NonNull<ffi::rd_kafka_queue_t>,
    batch: Vec<*mut ffi::rd_kafka_message_t>,
}

/// Most records of one batch.
pub(super) const BATCH: usize = 1024;

/// What the group wants of us. It waits for the answer: `assign` or `unassign` with the same partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Assign(Vec<(String, i32)>),
    Revoke(Vec<(String, i32)>),
}

/// An offset of one partition, as the group has committed it or as the broker tells it.
#[derive(Clone, Debug)]
pub(super) struct Committed {
    pub topic: String,
    pub partition: i32,
    pub offset: Option<i64>,
    pub note: Option<String>,
    pub error: Option<Code>,
}

/// A record, or an error in its place, owned by librdkafka until it is dropped.
pub(super) struct Received(NonNull<ffi::rd_kafka_message_t>);

struct Context {
    told: Told,
    changes: Mutex<VecDeque<Change>>,
    closing: AtomicBool,
}

impl ClientContext for Context {}

// SAFETY: librdkafka's handles may be used from any thread; the batch buffer holds no record between two calls.
unsafe impl Send for Consumer {}
// SAFETY: a message is a heap object of its own that any thread may read and destroy.
unsafe impl Send for Received {}

impl Consumer {
    pub fn open(config: &ClientConfig) -> KafkaResult<Consumer> {
        let native = config.create_native_config()?;
        // SAFETY: the configuration is alive; the callbacks have the types that librdkafka asks for. Their `opaque` is the context,
        // which the client sets and keeps alive.
        unsafe {
            ffi::rd_kafka_conf_set_rebalance_cb(native.ptr(), Some(rebalanced));
            ffi::rd_kafka_conf_set_error_cb(native.ptr(), Some(troubled));
            ffi::rd_kafka_conf_set_log_cb(native.ptr(), Some(logged));
        }
        let context = Context { told: Told::default(), changes: Mutex::default(), closing: AtomicBool::new(false) };
        let client = Client::new(config, native, RDKafkaType::RD_KAFKA_CONSUMER, context)?;
        // SAFETY: the client is a consumer with a group, so it has the queue; the reference is given back in `drop`.
        let queue = unsafe {
            ffi::rd_kafka_poll_set_consumer(client.native_ptr());
            NonNull::new(ffi::rd_kafka_queue_get_consumer(client.native_ptr()))
        };
        let queue = queue.ok_or_else(|| rdkafka::error::KafkaError::ClientCreation("it has no consumer queue".into()))?;
        Ok(Consumer { client, queue, batch: vec![ptr::null_mut(); BATCH] })
    }

    pub fn subscribe(&self, topics: &[&str]) -> Result<(), Code> {
        let mut list = TopicPartitionList::with_capacity(topics.len());
        for topic in topics {
            list.add_topic_unassigned(topic);
        }
        // SAFETY: both pointers are alive for the call, which copies the list.
        answer(unsafe { ffi::rd_kafka_subscribe(self.client.native_ptr(), list.ptr()) })
    }

    /// Waits up to `wait` for a first record, then takes what else is there, `most` in all. Serves rebalances and log lines on the
    /// way, and returns early for a rebalance.
    pub fn take(&mut self, wait: Duration, most: usize, into: &mut VecDeque<Received>) {
        let most = most.min(self.batch.len());
        // Filling a batch would wait for its last record: so one first, then the rest without waiting.
        let mut count = if most > 0 { self.consume(0, 1, wait_ms(wait)) } else { 0 };
        if count > 0 {
            count += self.consume(1, most - 1, 0);
        }
        into.extend(self.batch[..count].iter_mut().filter_map(|slot| NonNull::new(std::mem::replace(slot, ptr::null_mut()))).map(Received));
    }

    fn consume(&mut self, from: usize, most: usize, wait_ms: c_int) -> usize {
        if most == 0 {
            return 0;
        }
        let room = &mut self.batch[from..from + most];
        // SAFETY: the queue is alive, and `room` has as many places as is said.
        let count = unsafe { ffi::rd_kafka_consume_batch_queue(self.queue.as_ptr(), wait_ms, room.as_mut_ptr(), room.len()) };
        usize::try_from(count).unwrap_or(0)
    }

    /// The oldest change not yet answered.
    pub fn change(&self) -> Option<Change> {
        locked(&self.client.context().changes).front().cloned()
    }

    /// Starts fetching at the list's offsets, and counts the oldest change as answered.
    pub fn assign(&self, list: &TopicPartitionList) -> Result<(), Code> {
        // SAFETY: both pointers are alive for the call, which copies the list; the answer is ours to destroy.
        let done = unsafe { taken(ffi::rd_kafka_incremental_assign(self.client.native_ptr(), list.ptr())) };
        self.answered();
        done
    }

    /// Gives the partitions away, and counts the oldest change as answered. Says whether the group had already taken them.
    pub fn unassign(&self, partitions: &[(String, i32)]) -> Result<bool, Code> {
        let list = list_of(partitions);
        // SAFETY: both pointers are alive for the calls, which copy the list; the answer is ours to destroy.
        let (lost, done) = unsafe {
            let lost = ffi::rd_kafka_assignment_lost(self.client.native_ptr()) != 0;
            (lost, taken(ffi::rd_kafka_incremental_unassign(self.client.native_ptr(), list.ptr())))
        };
        self.answered();
        done.map(|()| lost)
    }

    fn answered(&self) {
        locked(&self.client.context().changes).pop_front();
    }

    pub fn committed(&self, partitions: &[(String, i32)], wait: Duration) -> Result<Vec<Committed>, Code> {
        let list = list_of(partitions);
        // SAFETY: both pointers are alive for the call, which fills the list in.
        answer(unsafe { ffi::rd_kafka_committed(self.client.native_ptr(), list.ptr(), wait_ms(wait)) })?;
        Ok(elements(&list).iter().map(committed).collect())
    }

    /// The first offset that each partition keeps (`Offset::Beginning`), or its end (`Offset::End`): of what is committed, when the
    /// consumer reads only that. One request a broker.
    pub fn bounds(&self, partitions: &[(String, i32)], which: Offset, wait: Duration) -> Result<Vec<Committed>, Code> {
        let mut list = list_of(partitions);
        // Asked for as times they are -2 and -1, which is also how librdkafka writes them as offsets.
        list.set_all_offsets(which).map_err(|_| Code::InvalidArgument)?;
        // SAFETY: both pointers are alive for the call, which fills the list in.
        answer(unsafe { ffi::rd_kafka_offsets_for_times(self.client.native_ptr(), list.ptr(), wait_ms(wait)) })?;
        Ok(elements(&list).iter().map(committed).collect())
    }

    /// How far each partition was taken from the broker, transaction markers included; none where nothing was taken yet.
    pub fn positions(&self, partitions: &[(String, i32)]) -> Result<Vec<Committed>, Code> {
        let list = list_of(partitions);
        // SAFETY: both pointers are alive for the call, which fills the list in.
        answer(unsafe { ffi::rd_kafka_position(self.client.native_ptr(), list.ptr()) })?;
        Ok(elements(&list).iter().map(committed).collect())
    }

    /// Commits and waits for the answer, at most `wait`. `rd_kafka_commit` itself has no deadline. Answers partitions that were refused.
    pub fn commit(&self, list: &TopicPartitionList, wait: Duration) -> Result<Vec<Committed>, Code> {
        let client = self.client.native_ptr();
        // SAFETY: the queue lives until the end of this block; librdkafka discards an answer that comes after that. The event and its
        // list are read before the event is destroyed.
        unsafe {
            let queue = ffi::rd_kafka_queue_new(client);
            let mut done = answer(ffi::rd_kafka_commit_queue(client, list.ptr(), queue, None, ptr::null_mut()));
            let mut refused = Vec::new();
            if done.is_ok() {
                let event = ffi::rd_kafka_queue_poll(queue, wait_ms(wait));
                done = if event.is_null() { Err(Code::OperationTimedOut) } else { answer(ffi::rd_kafka_event_error(event)) };
                let told = if event.is_null() { ptr::null_mut() } else { ffi::rd_kafka_event_topic_partition_list(event) };
                if let Some(told) = told.as_ref() {
                    refused.extend(raw_elements(told).iter().map(committed).filter(|one| one.error.is_some()));
                }
                if !event.is_null() {
                    ffi::rd_kafka_event_destroy(event);
                }
            }
            ffi::rd_kafka_queue_destroy(queue);
            done.map(|()| refused)
        }
    }

    pub fn pause(&self, partitions: &[(String, i32)], paused: bool) -> Result<(), Code> {
        let list = list_of(partitions);
        // SAFETY: both pointers are alive for the call.
        answer(unsafe {
            if paused {
                ffi::rd_kafka_pause_partitions(self.client.native_ptr(), list.ptr())
            } else {
                ffi::rd_kafka_resume_partitions(self.client.native_ptr(), list.ptr())
            }
        })
    }

    /// How many partitions a topic has; `None` when no broker knows it.
    pub fn partitions(&self, topic: &str, wait: Duration) -> KafkaResult<Option<i32>> {
        let metadata = self.client.fetch_metadata(Some(topic), wait)?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
        match found.error().map(Code::from) {
            None => Ok(Some(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX))),
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(None),
            Some(code) => Err(rdkafka::error::KafkaError::MetadataFetch(code)),
        }
    }

    /// The first offset kept and the end.
    pub fn kept(&self, topic: &str, partition: i32, wait: Duration) -> KafkaResult<(i64, i64)> {
        self.client.fetch_watermarks(topic, partition, wait)
    }

    /// That no broker is reachable, and why, once each time that it is told.
    pub fn unreachable(&self) -> Option<String> {
        self.client.context().told.unreachable()
    }
}

impl Drop for Consumer {
    /// Leaves the group. From here on the callback answers by itself; a change that still waits for our answer would keep
    /// librdkafka waiting for ever.
    fn drop(&mut self) {
        self.client.context().closing.store(true, Ordering::SeqCst);
        let unanswered = self.change().is_some();
        // SAFETY: the client is alive; the queue's reference is given back once.
        unsafe {
            if unanswered {
                ffi::rd_kafka_assign(self.client.native_ptr(), ptr::null());
            }
            ffi::rd_kafka_queue_destroy(self.queue.as_ptr());
            let response = ffi::rd_kafka_consumer_close(self.client.native_ptr());
            if let Err(code) = answer(response) {
                tracing::warn!(target: "librdkafka", %code, "the group was not left in order");
            }
        }
    }
}

impl Received {
    /// `None` for a record.
    pub fn error(&self) -> Option<Code> {
        answer(self.raw().err).err()
    }

    /// What librdkafka says of an error; where there is none, nothing.
    pub fn reason(&self) -> String {
        // SAFETY: the message is alive, and so is its text; the answer is null for a record.
        unsafe {
            ffi::rd_kafka_message_errstr(self.0.as_ptr())
                .as_ref()
                .map_or(String::new(), |text| CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    }

    /// Stands for the topic as long as a record of it is alive: cheaper to compare than its name.
    pub fn topic_handle(&self) -> usize {
        self.raw().rkt as usize
    }

    pub fn topic(&self) -> &str {
        let topic = self.raw().rkt;
        if topic.is_null() {
            return "";
        }
        // SAFETY: the message keeps its topic alive, and the topic its name.
        unsafe { CStr::from_ptr(ffi::rd_kafka_topic_name(topic)).to_str().unwrap_or("") }
    }

    pub fn partition(&self) -> i32 {
        self.raw().partition
    }

    pub fn offset(&self) -> i64 {
        self.raw().offset
    }

    /// Milliseconds since 1970; -1 when the record has none.
    pub fn time_ms(&self) -> i64 {
        let mut kind = ffi::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: both pointers are alive for the call.
        unsafe { ffi::rd_kafka_message_timestamp(self.0.as_ptr(), &raw mut kind) }
    }

    pub fn key(&self) -> Option<&[u8]> {
        // SAFETY: the message owns as many bytes there as it says.
        unsafe { bytes(self.raw().key, self.raw().key_len) }
    }

    pub fn value(&self) -> Option<&[u8]> {
        // SAFETY: the message owns as many bytes there as it says.
        unsafe { bytes(self.raw().payload, self.raw().len) }
    }

    fn raw(&self) -> &ffi::rd_kafka_message_t {
        // SAFETY: it is ours and alive until we drop it; nobody writes to it.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        // SAFETY: it is ours, and this is the only place that destroys it.
        unsafe { ffi::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

unsafe extern "C" fn rebalanced(
    client: *mut ffi::rd_kafka_t,
    kind: Response,
    partitions: *mut ffi::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: `opaque` is the context of the client that calls, `partitions` a list alive for the call. The client is polled by a thread
    // that holds the consumer, so both outlive this.
    unsafe {
        let Some(context) = opaque.cast::<Context>().as_ref() else { return };
        let names =
            partitions.as_ref().map_or(Vec::new(), |list| raw_elements(list).iter().map(|one| (name(one), one.partition)).collect());
        let change = match kind {
            Response::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Change::Assign(names),
            _ => Change::Revoke(names),
        };
        if context.closing.load(Ordering::SeqCst) {
            ffi::rd_kafka_assign(client, ptr::null());
            return;
        }
        locked(&context.changes).push_back(change);
        let queue = ffi::rd_kafka_queue_get_consumer(client);
        if !queue.is_null() {
            // The thread that serves this callback waits for records: it should come back and answer.
            ffi::rd_kafka_queue_yield(queue);
            ffi::rd_kafka_queue_destroy(queue);
        }
    }
}

unsafe extern "C" fn troubled(_: *mut ffi::rd_kafka_t, code: c_int, reason: *const c_char, opaque: *mut c_void) {
    let code = (code == Response::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN as c_int).then_some(Code::AllBrokersDown);
    // SAFETY: `opaque` is the context of the client that calls, `reason` a text alive for the call.
    unsafe {
        if let (Some(context), false) = (opaque.cast::<Context>().as_ref(), reason.is_null()) {
            context.told.note(code, &CStr::from_ptr(reason).to_string_lossy());
        }
    }
}

unsafe extern "C" fn logged(_: *const ffi::rd_kafka_t, level: c_int, facility: *const c_char, line: *const c_char) {
    if facility.is_null() || line.is_null() {
        return;
    }
    // SAFETY: both are texts alive for the call.
    unsafe { log_line(level, &CStr::from_ptr(facility).to_string_lossy(), CStr::from_ptr(line).to_string_lossy().trim()) }
}

fn list_of(partitions: &[(String, i32)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    list
}

/// The crate's own view of an element panics at a note that is not UTF-8; another tool may have committed one.
fn elements(list: &TopicPartitionList) -> &[ffi::rd_kafka_topic_partition_t] {
    // SAFETY: the list is alive as long as the borrow.
    unsafe { raw_elements(&*list.ptr()) }
}

/// # Safety
/// `list` must be one of librdkafka's.
unsafe fn raw_elements(list: &ffi::rd_kafka_topic_partition_list_t) -> &[ffi::rd_kafka_topic_partition_t] {
    let count = usize::try_from(list.cnt).unwrap_or(0);
    if list.elems.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: librdkafka keeps `cnt` elements there.
    unsafe { slice::from_raw_parts(list.elems, count) }
}

fn committed(element: &ffi::rd_kafka_topic_partition_t) -> Committed {
    // SAFETY: the element owns as many bytes there as it says.
    let note = unsafe { bytes(element.metadata, element.metadata_size) };
    Committed {
        topic: name(element),
        partition: element.partition,
        offset: (element.offset >= 0).then_some(element.offset),
        note: note.filter(|note| !note.is_empty()).map(|note| String::from_utf8_lossy(note).into_owned()),
        error: answer(element.err).err(),
    }
}

fn name(element: &ffi::rd_kafka_topic_partition_t) -> String {
    if element.topic.is_null() {
        return String::new();
    }
    // SAFETY: the element owns its name, a text.
    unsafe { CStr::from_ptr(element.topic).to_string_lossy().into_owned() }
}

/// # Safety
/// Where `start` is not null, `length` bytes must be readable there for `'a`.
unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller says.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), length) })
}

fn answer(response: Response) -> Result<(), Code> {
    match response {
        Response::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        other => Err(Code::from(other)),
    }
}

/// # Safety
/// `error` must be an answer of librdkafka that is ours to destroy.
unsafe fn taken(error: *mut ffi::rd_kafka_error_t) -> Result<(), Code> {
    // SAFETY: as the caller says; the functions accept null, which means no error.
    unsafe {
        let done = answer(ffi::rd_kafka_error_code(error));
        if !error.is_null() {
            ffi::rd_kafka_error_destroy(error);
        }
        done
    }
}

/// Rounded up: a wait that is not zero must not become a busy loop.
fn wait_ms(wait: Duration) -> c_int {
    c_int::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}

//! A real Kafka in a simulated world: the adapter does all of it. Only waiting for it is done here, and what the broker stamps with its own
//! clock gets the virtual time of its writing. One partition a topic, so that records are numbered in the order in which they were written.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use campanile::adapter::kafka::{Admin, KafkaAppend, KafkaSettings, KafkaSource, State, Topic};
use campanile::engine::time::Timestamp;
use campanile::simulator::ports::{OpenLog, VirtualClock};
use campanile::worker::ports::{
    Append, AppendError, Assigned, Clock, Line, Message, Offset, Partition, Polled, SendFuture, Source, SourceError,
};
use campanile::worker::settings::Topics;

use super::kafka::{fresh, wait};
use super::topic::Follow;

/// From a write, or from joining a group, to what must come of it, on however busy a machine.
const WITHIN: Duration = Duration::from_secs(30);

/// One poll of the client while something is waited for.
const POLL: Duration = Duration::from_millis(20);

/// A log whose every call is waited for.
#[derive(Clone)]
pub struct KafkaLog {
    brokers: String,
    /// Before the names of its topics and groups on the broker.
    prefix: String,
    append: Arc<KafkaAppend>,
    clock: VirtualClock,
    /// When each record was written, by topic and offset.
    written: Arc<Mutex<BTreeMap<Arc<str>, Vec<Timestamp>>>>,
}

impl KafkaLog {
    /// With its topics, which nobody else has.
    pub fn new(brokers: &str, append: Arc<KafkaAppend>, topics: &Topics, clock: VirtualClock) -> KafkaLog {
        let prefix = format!("{}-", fresh("corpus"));
        let Topics { events, runs, outcomes, dead, .. } = topics;
        let names = events.iter().cloned().chain(topics.retries()).chain([runs, outcomes, dead].map(Arc::clone));
        let (keep, max_record_bytes) = (Duration::from_secs(86_400), 2 * 1024 * 1024);
        let topic = |name: Arc<str>| Topic { name: format!("{prefix}{name}"), partitions: 1, keep, max_record_bytes, of_producers: false };
        let admin = Admin::open(&KafkaSettings::new(brokers, "admin"), WITHIN).expect("an admin client");
        let found = wait(admin.create(&names.map(topic).collect::<Vec<_>>())).expect("a reachable broker");
        assert!(found.iter().all(|one| one.state == State::Created), "{found:?}");
        KafkaLog { brokers: brokers.to_owned(), prefix, append, clock, written: Arc::default() }
    }

    fn written(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Vec<Timestamp>>> {
        self.written.lock().expect("no test panics with it")
    }

    fn count(&self, topic: &str) -> i64 {
        self.written().get(topic).map_or(0, |times| times.len() as i64)
    }

    /// Of a topic on the broker, its name in the simulated world.
    fn name(&self, topic: &str) -> Arc<str> {
        topic.strip_prefix(&self.prefix).expect("a topic of ours").into()
    }

    fn here(&self, partition: &Partition) -> Partition {
        Partition { topic: self.name(&partition.topic), number: partition.number }
    }

    fn there(&self, partition: &Partition) -> Partition {
        Partition { topic: format!("{}{}", self.prefix, partition.topic).into(), number: partition.number }
    }
}

impl Append for KafkaLog {
    fn append(&self, lines: &[Line]) -> SendFuture<'static, Result<(), AppendError>> {
        let there: Vec<Line> =
            lines.iter().map(|line| Line { topic: format!("{}{}", self.prefix, line.topic).into(), ..line.clone() }).collect();
        wait(self.append.append(&there)).expect("a broker that takes what is written");
        let now = self.clock.now();
        let mut written = self.written();
        lines.iter().for_each(|line| written.entry(line.topic.clone()).or_default().push(now));
        Box::pin(std::future::ready(Ok(())))
    }
}

impl OpenLog for KafkaLog {
    fn join(&self, group: &str, topics: &[&str]) -> Box<dyn Source> {
        let settings = KafkaSettings::new(&self.brokers, format!("{}{group}", self.prefix));
        let there: Vec<String> = topics.iter().map(|topic| format!("{}{topic}", self.prefix)).collect();
        let source = KafkaSource::open(&settings, &there).expect("a consumer");
        let next = topics.iter().map(|topic| ((*topic).into(), None)).collect();
        Box::new(Member { source, log: self.clone(), next, held: Vec::new() })
    }

    fn values(&self, topic: &str) -> Vec<Vec<u8>> {
        let lines = Follow::new(&self.brokers, &format!("{}{topic}", self.prefix)).all();
        lines.into_iter().map(|line| line.bytes).collect()
    }
}

/// A member of a group, which hands out at once what was written.
struct Member {
    source: KafkaSource,
    log: KafkaLog,
    /// Of each topic, the offset of the next record; `None` before it is assigned.
    next: BTreeMap<Arc<str>, Option<i64>>,
    held: Vec<Arc<str>>,
}

impl Member {
    fn is_behind(&self) -> bool {
        self.next.iter().any(|(topic, next)| !self.held.contains(topic) && next.is_none_or(|next| next < self.log.count(topic)))
    }
}

impl Source for Member {
    /// Waits for the group at first, then for whatever was written and is not held: here time stands still meanwhile.
    fn poll(&mut self, _: Duration, each: &mut dyn FnMut(Message<'_>) -> ControlFlow<()>) -> Result<Polled, SourceError> {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < WITHIN, "{:?} of {} are not read", self.next, self.log.prefix);
            let wait = if self.is_behind() { POLL } else { Duration::ZERO };
            let Member { source, log, next, .. } = self;
            let mut stopped = false;
            let polled = source.poll(wait, &mut |message| {
                let topic = log.name(message.topic);
                let time = log.written()[&topic][usize::try_from(message.offset).expect("an offset")];
                next.insert(topic.clone(), Some(message.offset + 1));
                let flow = each(Message { topic: &topic, time, ..message });
                stopped = flow.is_break();
                flow
            })?;
            let revoked: Vec<Partition> = polled.revoked.iter().map(|partition| log.here(partition)).collect();
            let here = |one: &Assigned| Assigned { partition: log.here(&one.partition), ..one.clone() };
            let assigned: Vec<Assigned> = polled.assigned.iter().map(here).collect();
            next.extend(revoked.iter().map(|partition| (partition.topic.clone(), None)));
            next.extend(assigned.iter().map(|one| (one.partition.topic.clone(), Some(one.committed.unwrap_or(0)))));
            if stopped || !revoked.is_empty() || !assigned.is_empty() || !self.is_behind() {
                return Ok(Polled { revoked, assigned });
            }
        }
    }

    fn hold(&mut self, partitions: &[Partition], held: bool) -> Result<(), SourceError> {
        self.held.retain(|topic| partitions.iter().all(|partition| partition.topic != *topic));
        if held {
            self.held.extend(partitions.iter().map(|partition| partition.topic.clone()));
        }
        self.source.hold(&partitions.iter().map(|partition| self.log.there(partition)).collect::<Vec<_>>(), held)
    }

    fn commit(&mut self, offsets: &[Offset]) -> Result<(), SourceError> {
        let there = |offset: &Offset| Offset { partition: self.log.there(&offset.partition), ..offset.clone() };
        self.source.commit(&offsets.iter().map(there).collect::<Vec<_>>())
    }

    fn ends(&mut self) -> Result<Vec<(Partition, i64)>, SourceError> {
        let ends = self.source.ends()?;
        Ok(ends.iter().map(|(partition, end)| (self.log.here(partition), *end)).collect())
    }

    fn partitions(&mut self) -> Result<Vec<Partition>, SourceError> {
        let partitions = self.source.partitions()?;
        Ok(partitions.iter().map(|partition| self.log.here(partition)).collect())
    }
}

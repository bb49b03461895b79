//! What every log must do: one suite over the ports `Source` and `Append`, run over Kafka (`kafka`), the embedded log and the
//! simulator's (`log_local`). A log is plugged in with `log_suite!`, as a function that makes one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile::adapter::clock::SystemClock;
use campanile::engine::time::Timestamp;
use campanile::worker::ports::{Append, Archive, Assigned, Clock, Line, Offset, Partition, Polled, Source, SourceError, Span, Topic};

use crate::support::kafka::{fresh, wait};
use crate::support::wait::eventually;

/// A log under test, made with the number of partitions that its topics are to have.
pub struct Log {
    pub append: Arc<dyn Append>,
    /// Makes a topic and says its name.
    pub topic: Box<dyn Fn() -> String>,
    /// A new member of the group of this name, reading the topics.
    pub join: Box<Join>,
}

/// Group, topics, where to begin.
pub type Join = dyn Fn(&str, &[&str], Begin) -> Box<dyn Source>;

/// Where a group starts that has committed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    Earliest,
    Latest,
}

macro_rules! log_suite {
    ($name:ident, $make:expr) => {
        mod $name {
            use super::super::log;

            #[test]
            fn each_partition_keeps_its_order() {
                log::each_partition_keeps_its_order($make);
            }
            #[test]
            fn bytes_come_back_as_they_were_written() {
                log::bytes_come_back_as_they_were_written($make);
            }
            #[test]
            fn many_lines_of_many_threads_are_acknowledged() {
                log::many_lines_of_many_threads_are_acknowledged($make);
            }
            #[test]
            fn a_commit_comes_back_with_its_note() {
                log::a_commit_comes_back_with_its_note($make);
            }
            #[test]
            fn break_stops_and_loses_nothing() {
                log::break_stops_and_loses_nothing($make);
            }
            #[test]
            fn a_member_leaves_with_records_in_hand() {
                log::a_member_leaves_with_records_in_hand($make);
            }
            #[test]
            fn a_held_partition_waits_and_loses_nothing() {
                log::a_held_partition_waits_and_loses_nothing($make);
            }
            #[test]
            fn ends_are_those_of_the_moment_and_are_reached() {
                log::ends_are_those_of_the_moment_and_are_reached($make);
            }
            #[test]
            fn latest_begins_with_what_comes() {
                log::latest_begins_with_what_comes($make);
            }
            #[test]
            fn topics_do_not_mix() {
                log::topics_do_not_mix($make);
            }
            #[test]
            fn all_partitions_are_known() {
                log::all_partitions_are_known($make);
            }
        }
    };
}
pub(crate) use log_suite;

/// Longer than anything here takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
const WAIT: Duration = Duration::from_millis(100);

/// One record, copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

impl Seen {
    pub fn number(&self) -> u32 {
        let text = self.value.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        text.parse().unwrap_or_else(|_| panic!("{text} is not a number"))
    }
}

/// A member with what it has seen so far.
pub struct Reader {
    pub source: Box<dyn Source>,
    pub seen: Vec<Seen>,
    pub assigned: BTreeMap<Partition, Assigned>,
    next: BTreeMap<Partition, i64>,
}

impl Reader {
    pub fn new(source: Box<dyn Source>) -> Reader {
        Reader { source, seen: Vec::new(), assigned: BTreeMap::new(), next: BTreeMap::new() }
    }

    /// One poll that breaks after `most` records.
    pub fn poll(&mut self, most: usize) -> Result<Polled, SourceError> {
        let mut left = most;
        let (seen, next, assigned) = (&mut self.seen, &mut self.next, &self.assigned);
        let polled = self.source.poll(WAIT, &mut |message| {
            assert!(left > 0, "a record was handed over after a break");
            let partition = Partition { topic: message.topic.into(), number: message.partition };
            assert!(assigned.contains_key(&partition), "a record of {partition:?}, which is not known to be assigned");
            let before = next.insert(partition, message.offset + 1);
            assert!(before.is_none_or(|before| message.offset >= before), "{}/{} came again", message.partition, message.offset);
            seen.push(Seen {
                topic: message.topic.to_owned(),
                partition: message.partition,
                offset: message.offset,
                key: message.key.map(<[u8]>::to_vec),
                value: message.value.map(<[u8]>::to_vec),
            });
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        for partition in &polled.revoked {
            assert!(self.assigned.remove(partition).is_some(), "{partition:?} was revoked but not assigned");
            self.next.remove(partition);
        }
        for assigned in &polled.assigned {
            assert!(self.assigned.insert(assigned.partition.clone(), assigned.clone()).is_none(), "{assigned:?} was assigned twice");
        }
        Ok(polled)
    }

    /// Polls until `done`.
    pub fn until(&mut self, what: &str, done: impl Fn(&Reader) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}; {} records seen", self.seen.len());
            match self.poll(usize::MAX) {
                Ok(_) | Err(SourceError::Unavailable(_)) => {}
                Err(error) => panic!("while waiting for {what}: {error}"),
            }
        }
    }

    pub fn until_assigned(&mut self, partitions: usize) {
        self.until("an assignment", |reader| reader.assigned.len() == partitions);
    }

    /// Reads what the log has now: until every end, as told now, is reached.
    pub fn until_the_end(&mut self) {
        let ends = self.source.ends().expect("the ends");
        assert_eq!(ends.len(), self.assigned.len());
        let begun = Instant::now();
        loop {
            // Asked again: what holds no record may be known to hold none only after it was passed.
            let now = self.source.ends().expect("the ends");
            let reached = |partition: &Partition, end: i64| self.finished(partition) >= end;
            if ends.iter().zip(&now).all(|((partition, end), (_, now))| reached(partition, (*end).min(*now))) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "the ends {ends:?} were not reached, only {:?}", self.next);
            self.poll(usize::MAX).expect("a poll");
        }
    }

    fn finished(&self, partition: &Partition) -> i64 {
        let committed = || self.assigned.get(partition).and_then(|assigned| assigned.committed).unwrap_or(0);
        self.next.get(partition).copied().unwrap_or_else(committed)
    }

    pub fn numbers(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.seen.iter().map(Seen::number).collect();
        numbers.sort_unstable();
        numbers
    }
}

pub fn each_partition_keeps_its_order(make: impl Fn(i32) -> Log) {
    let log = &make(4);
    let topic = (log.topic)();
    for batch in 0..4 {
        numbers(log, &topic, batch * 500..(batch + 1) * 500, 37);
    }
    let mut reader = join(log, &topic, Begin::Earliest, 4);
    reader.until_the_end();
    assert_eq!(reader.numbers(), (0..2_000).collect::<Vec<u32>>());
    let mut home = BTreeMap::new();
    let mut last = BTreeMap::new();
    for seen in &reader.seen {
        let key = seen.key.clone().expect("a key");
        assert_eq!(*home.entry(key.clone()).or_insert(seen.partition), seen.partition, "a key stays in its partition");
        let before = last.insert(key, seen.number());
        assert!(before.is_none_or(|before| before < seen.number()), "{before:?} came before {}", seen.number());
    }
    assert!(home.values().collect::<std::collections::BTreeSet<_>>().len() > 1, "the keys are spread");
}

pub fn bytes_come_back_as_they_were_written(make: impl Fn(i32) -> Log) {
    let log = &make(1);
    let topic = (log.topic)();
    let megabyte: Vec<u8> = (0..1024 * 1024_u32).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let written: Vec<(Option<Vec<u8>>, Vec<u8>)> = vec![
        (None, b"no key".to_vec()),
        (Some(Vec::new()), b"an empty key".to_vec()),
        (Some(b"k".to_vec()), Vec::new()),
        (Some(vec![0, 255, 128, 10, 0]), vec![0, 159, 146, 150, 0]),
        (Some("ключ".into()), "значение".into()),
        (Some(b"large".to_vec()), megabyte),
        (None, b"the last".to_vec()),
    ];
    let lines: Vec<Line> =
        written.iter().map(|(key, value)| Line { topic: topic.as_str().into(), key: key.clone(), value: value.clone() }).collect();
    wait(log.append.append(&lines)).expect("an acknowledgement");
    let mut reader = join(log, &topic, Begin::Earliest, 1);
    reader.until_the_end();
    let read: Vec<_> = reader.seen.into_iter().map(|seen| (seen.key, seen.value.expect("a value"))).collect();
    assert!(read == written, "{} of {} came back, not all as written", read.len(), written.len());
}

pub fn many_lines_of_many_threads_are_acknowledged(make: impl Fn(i32) -> Log) {
    let log = &make(3);
    let topic = (log.topic)();
    std::thread::scope(|scope| {
        for part in 0..4_u32 {
            let (topic, append) = (&topic, &log.append);
            scope.spawn(move || {
                let line = |number: u32| Line { topic: topic.as_str().into(), key: None, value: number.to_string().into() };
                let first = append.append(&(part * 5_000..part * 5_000 + 2_500).map(line).collect::<Vec<_>>());
                let second = append.append(&(part * 5_000 + 2_500..part * 5_000 + 5_000).map(line).collect::<Vec<_>>());
                wait(second).expect("an acknowledgement of the second");
                wait(first).expect("an acknowledgement of the first");
            });
        }
    });
    wait(log.append.append(&[])).expect("nothing is acknowledged at once");
    let mut reader = join(log, &topic, Begin::Earliest, 3);
    reader.until_the_end();
    assert_eq!(reader.numbers(), (0..20_000).collect::<Vec<u32>>());
}

pub fn a_commit_comes_back_with_its_note(make: impl Fn(i32) -> Log) {
    let log = &make(3);
    let topic = (log.topic)();
    let group = fresh("group");
    numbers(log, &topic, 0..300, 300);
    let mut first = Reader::new((log.join)(&group, &[&topic], Begin::Earliest));
    first.until_assigned(3);
    assert!(first.assigned.values().all(|one| one.committed.is_none() && one.note.is_none()), "{:?}", first.assigned);
    first.until_the_end();
    let commit = |reader: &mut Reader, number: i32, next: i64, note: &str| {
        let partition = Partition { topic: topic.as_str().into(), number };
        reader.source.commit(&[Offset { partition, next, note: note.into() }]).expect("a commit");
    };
    commit(&mut first, 0, 3, "an older one");
    commit(&mut first, 0, 5, "store 17, sequence 4 — ключ");
    commit(&mut first, 1, 0, "");
    drop(first);

    let mut second = Reader::new((log.join)(&group, &[&topic], Begin::Latest));
    second.until_assigned(3);
    let told: Vec<_> = second.assigned.values().map(|one| (one.committed, one.note.as_deref())).collect();
    assert_eq!(told, [(Some(5), Some("store 17, sequence 4 — ключ")), (Some(0), None), (None, None)]);
    second.until_the_end();
    let firsts = |number: i32| second.seen.iter().find(|seen| seen.partition == number).map(|seen| seen.offset);
    assert_eq!([firsts(0), firsts(1), firsts(2)], [Some(5), Some(0), None]);

    let mut other = join(log, &topic, Begin::Earliest, 3);
    assert!(other.assigned.values().all(|one| one.committed.is_none()), "another group has committed nothing: {:?}", other.assigned);
    other.until_the_end();
    assert_eq!(other.numbers(), (0..300).collect::<Vec<u32>>());
}

pub fn break_stops_and_loses_nothing(make: impl Fn(i32) -> Log) {
    let log = &make(2);
    let topic = (log.topic)();
    numbers(log, &topic, 0..3_000, 100);
    let mut reader = join(log, &topic, Begin::Earliest, 2);
    let begun = Instant::now();
    let mut most = 1;
    while reader.seen.len() < 3_000 {
        assert!(begun.elapsed() < PATIENCE, "only {} records were seen", reader.seen.len());
        reader.poll(most).expect("a poll");
        most = most % 7 + 1;
    }
    assert_eq!(reader.numbers(), (0..3_000).collect::<Vec<u32>>());
}

pub fn a_member_leaves_with_records_in_hand(make: impl Fn(i32) -> Log) {
    let log = &make(2);
    let topic = (log.topic)();
    let group = fresh("group");
    numbers(log, &topic, 0..1_000, 100);
    let mut reader = Reader::new((log.join)(&group, &[&topic], Begin::Earliest));
    reader.until_assigned(2);
    let begun = Instant::now();
    while reader.seen.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "no record was seen");
        reader.poll(1).expect("a poll");
    }
    // Of one partition they wait in the queue, of the other they are put aside.
    let held = Partition { topic: topic.as_str().into(), number: 0 };
    reader.source.hold(&[held], true).expect("to hold");
    let (gone, left) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(reader);
        gone.send(())
    });
    left.recv_timeout(PATIENCE).expect("it never leaves");
    let mut next = Reader::new((log.join)(&group, &[&topic], Begin::Earliest));
    next.until_assigned(2);
    next.until_the_end();
    assert_eq!(next.numbers(), (0..1_000).collect::<Vec<u32>>(), "what was not committed is read again");
}

pub fn a_held_partition_waits_and_loses_nothing(make: impl Fn(i32) -> Log) {
    let log = &make(2);
    let topic = (log.topic)();
    numbers(log, &topic, 0..4_000, 100);
    let mut reader = join(log, &topic, Begin::Earliest, 2);
    let held = Partition { topic: topic.as_str().into(), number: 0 };
    let unknown = Partition { topic: "unknown".into(), number: 77 };
    let other_end =
        reader.source.ends().expect("the ends").into_iter().find(|(partition, _)| partition.number == 1).expect("partition 1").1;
    let count = |reader: &Reader, number: i32| reader.seen.iter().filter(|seen| seen.partition == number).count();
    let begun = Instant::now();
    // Taken and broken off in the middle: records lie in the client when the partition is held.
    while count(&reader, 0) < 10 {
        assert!(begun.elapsed() < PATIENCE, "only {} records were seen", reader.seen.len());
        reader.poll(10).expect("a poll");
    }
    let hold = |reader: &mut Reader, held_now: bool| {
        reader.source.hold(&[held.clone(), unknown.clone()], held_now).expect("to hold");
    };
    hold(&mut reader, true);
    hold(&mut reader, true);
    let before = count(&reader, 0);
    numbers(log, &topic, 4_000..4_400, 100);
    let ends = reader.source.ends().expect("the ends");
    let grown = ends.iter().find(|(partition, _)| partition.number == 1).expect("partition 1").1;
    assert!(grown > other_end);
    reader.until("the other partition", |reader| count(reader, 1) as i64 == grown);
    assert_eq!(count(&reader, 0), before, "a held partition handed records over");
    // Held and resumed twice, with a few records between.
    hold(&mut reader, false);
    reader.poll(3).expect("a poll");
    hold(&mut reader, true);
    let between = count(&reader, 0);
    reader.poll(usize::MAX).expect("a poll");
    assert_eq!(count(&reader, 0), between);
    hold(&mut reader, false);
    reader.until_the_end();
    // Held when all was read: what comes next is the first that could be lost.
    reader.poll(usize::MAX).expect("a poll");
    hold(&mut reader, true);
    numbers(log, &topic, 4_400..4_600, 100);
    reader.poll(usize::MAX).expect("a poll");
    hold(&mut reader, false);
    reader.until_the_end();
    assert_eq!(reader.numbers(), (0..4_600).collect::<Vec<u32>>());
}

pub fn ends_are_those_of_the_moment_and_are_reached(make: impl Fn(i32) -> Log) {
    let log = &make(3);
    let topic = (log.topic)();
    let mut reader = join(log, &topic, Begin::Earliest, 3);
    let ends = |reader: &mut Reader| {
        reader.source.ends().expect("the ends").into_iter().map(|(partition, end)| (partition.number, end)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(ends(&mut reader), BTreeMap::from([(0, 0), (1, 0), (2, 0)]), "an empty log is read");
    numbers(log, &topic, 0..30, 1);
    let told = ends(&mut reader);
    assert_eq!(told.values().sum::<i64>(), 30);
    reader.until_the_end();
    assert_eq!(reader.seen.len(), 30);
    assert_eq!(ends(&mut reader), told, "reading changes no end");
    numbers(log, &topic, 30..35, 1);
    assert_eq!(ends(&mut reader).values().sum::<i64>(), 35);
    reader.until_the_end();
    assert_eq!(reader.numbers(), (0..35).collect::<Vec<u32>>());
}

pub fn latest_begins_with_what_comes(make: impl Fn(i32) -> Log) {
    let log = &make(2);
    let topic = (log.topic)();
    numbers(log, &topic, 0..50, 50);
    let mut reader = join(log, &topic, Begin::Latest, 2);
    reader.until_the_end();
    assert_eq!(reader.seen, [], "what lies before the start is nothing to wait for");
    numbers(log, &topic, 50..60, 50);
    reader.until("what was written since", |reader| reader.seen.len() >= 10);
    reader.until_the_end();
    assert_eq!(reader.numbers(), (50..60).collect::<Vec<u32>>());
}

pub fn topics_do_not_mix(make: impl Fn(i32) -> Log) {
    let log = &make(2);
    let topics = [(); 3].map(|()| (log.topic)());
    let lines = (0..300_usize).map(|number| {
        let key = (number % 7 > 0).then(|| (number % 7).to_string().into());
        Line { topic: topics[number % 3].as_str().into(), key, value: number.to_string().into() }
    });
    wait(log.append.append(&lines.collect::<Vec<_>>())).expect("an acknowledgement");
    for read in [&[0, 1][..], &[2]] {
        let names: Vec<&str> = read.iter().map(|at| topics[*at].as_str()).collect();
        let mut reader = Reader::new((log.join)(&fresh("group"), &names, Begin::Earliest));
        reader.until_assigned(2 * read.len());
        reader.until_the_end();
        assert!(reader.seen.iter().all(|seen| seen.topic == topics[seen.number() as usize % 3]), "a record came from another topic");
        let expect: Vec<u32> = (0..300).filter(|number| read.contains(&(*number as usize % 3))).collect();
        assert_eq!(reader.numbers(), expect);
    }
}

/// Of a log that can be looked back in: no member of a group, any part, as often as wanted.
pub fn what_is_kept_can_be_looked_at(log: &Log, archive: &dyn Archive) {
    let topic = (log.topic)();
    numbers(log, &topic, 0..200, 50);
    let mut reader = join(log, &topic, Begin::Earliest, 3);
    reader.until_the_end();
    let mut opened = archive.open(&topic).expect("a topic");
    let spans = opened.spans(None).expect("spans");
    assert_eq!(spans.len(), 3);
    let read = |opened: &mut dyn Topic, spans: &[Span]| {
        let mut seen: Vec<Seen> = Vec::new();
        let mut newest = Timestamp::MIN;
        opened
            .read(spans, &mut |message| {
                newest = newest.max(message.time);
                seen.push(Seen {
                    topic: message.topic.to_owned(),
                    partition: message.partition,
                    offset: message.offset,
                    key: message.key.map(<[u8]>::to_vec),
                    value: message.value.map(<[u8]>::to_vec),
                });
            })
            .expect("records");
        (seen, newest)
    };
    let (mut all, newest) = read(&mut *opened, &spans);
    let place = |seen: &Seen| (seen.partition, seen.offset);
    assert!(all.chunk_by(|a, b| a.partition == b.partition).all(|part| part.is_sorted_by_key(place)));
    all.sort_by_key(place);
    reader.seen.sort_by_key(place);
    assert_eq!(all, reader.seen, "all that a member is given");
    // Any part, again and backward.
    for span in spans.iter().rev() {
        let half = Span { begin: span.begin + (span.end - span.begin) / 2, ..*span };
        let (part, _) = read(&mut *opened, &[half]);
        let expect: Vec<Seen> = all.iter().filter(|seen| seen.partition == span.partition && seen.offset >= half.begin).cloned().collect();
        assert_eq!(part, expect);
        assert!(read(&mut *opened, &[Span { begin: span.end, ..*span }]).0.is_empty());
    }
    // By time; what is written later is not part of what was opened.
    eventually("the clock has moved on", PATIENCE, || (SystemClock::new().now() > newest.after(Duration::from_millis(5))).then_some(()));
    numbers(log, &topic, 200..203, 3);
    assert_eq!(opened.spans(None).expect("spans").len(), 3);
    let mut later = archive.open(&topic).expect("a topic");
    let since = later.spans(Some(newest.after(Duration::from_millis(1)))).expect("spans");
    let numbers: BTreeSet<u32> = read(&mut *later, &since).0.iter().map(Seen::number).collect();
    assert_eq!(numbers, (200..203).collect());
    let future = later.spans(Some(newest.after(Duration::from_secs(86_400)))).expect("spans");
    assert!(future.iter().all(|span| span.begin == span.end), "{future:?}");
}

pub fn all_partitions_are_known(make: impl Fn(i32) -> Log) {
    let log = &make(5);
    let topic = (log.topic)();
    let mut reader = join(log, &topic, Begin::Earliest, 5);
    let mut known: Vec<i32> = reader.source.partitions().expect("the partitions").into_iter().map(|one| one.number).collect();
    known.sort_unstable();
    assert_eq!(known, [0, 1, 2, 3, 4]);
    let mut with_ends: Vec<i32> = reader.source.ends().expect("the ends").into_iter().map(|(one, _)| one.number).collect();
    with_ends.sort_unstable();
    assert_eq!(with_ends, known, "it is the only member");
}

fn join(log: &Log, topic: &str, begin: Begin, partitions: usize) -> Reader {
    let mut reader = Reader::new((log.join)(&fresh("group"), &[topic], begin));
    reader.until_assigned(partitions);
    reader
}

fn numbers(log: &Log, topic: &str, range: std::ops::Range<u32>, keys: u32) {
    crate::support::kafka::write_numbers(&*log.append, topic, range, keys).expect("an acknowledgement");
}

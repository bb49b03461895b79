//! Kafka alone: what only a group of several members, a broker that fails, and transactions can show.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile::adapter::kafka::{Admin, AdminError, Finding, KafkaAppend, KafkaArchive, KafkaSource, Start, State, topics};
use campanile::worker::ports::{Append, AppendError, Line, Offset, Partition, SourceError};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset as Position, TopicPartitionList};

use crate::log::{Begin, Log, PATIENCE, Reader, log_suite};
use crate::support::kafka::{Broker, append_on, fresh, settings, shared, topic, topic_on, wait, write_numbers};

log_suite!(conforms, crate::kafka::log);

pub fn log(partitions: i32) -> Log {
    Log {
        append: Arc::new(append_on(shared())),
        topic: Box::new(move || topic(partitions)),
        join: Box::new(|group, topics, begin| {
            let mut settings = settings(shared(), group);
            settings.start = if begin == Begin::Latest { Start::Latest } else { Start::Earliest };
            let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
            Box::new(KafkaSource::open(&settings, &topics).expect("a source"))
        }),
    }
}

#[test]
fn what_kafka_keeps_can_be_looked_at() {
    let archive = KafkaArchive { settings: settings(shared(), "nobody") };
    crate::log::what_is_kept_can_be_looked_at(&log(3), &archive);
}

fn member(brokers: &str, group: &str, topic: &str) -> Reader {
    Reader::new(Box::new(KafkaSource::open(&settings(brokers, group), &[topic.to_owned()]).expect("a source")))
}

fn commit_all(reader: &mut Reader) {
    let mut next = BTreeMap::new();
    for seen in &reader.seen {
        next.insert(seen.partition, seen.offset + 1);
    }
    let ours = reader.assigned.keys().filter_map(|partition| next.get(&partition.number).map(|next| (partition.clone(), *next)));
    let offsets: Vec<Offset> = ours.map(|(partition, next)| Offset { partition, next, note: String::new() }).collect();
    // A commit that falls into a rebalance fails in passing; what it would have said is said by the next.
    match reader.source.commit(&offsets) {
        Ok(()) | Err(SourceError::Unavailable(_) | SourceError::Fenced(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

fn numbers_of(readers: &[&Reader]) -> BTreeSet<u32> {
    readers.iter().flat_map(|reader| reader.numbers()).collect()
}

fn none_missing(readers: &[&Reader], all: std::ops::Range<u32>) {
    let seen = numbers_of(readers);
    let missing: Vec<u32> = all.filter(|number| !seen.contains(number)).collect();
    assert!(missing.is_empty(), "{} are missing: {:?}", missing.len(), &missing[..missing.len().min(20)]);
}

#[test]
fn members_share_and_a_rebalance_loses_nothing() {
    let (topic, group, append) = (topic(6), fresh("group"), append_on(shared()));
    write_numbers(&append, &topic, 0..3_000, 300).expect("an acknowledgement");
    let mut first = member(shared(), &group, &topic);
    first.until_assigned(6);
    while first.seen.len() < 500 {
        first.poll(50).expect("a poll");
    }
    commit_all(&mut first);
    let mut second = member(shared(), &group, &topic);
    let begun = Instant::now();
    // Broken off early again and again: records lie in the client when their partitions are taken away.
    while (first.assigned.len(), second.assigned.len()) != (3, 3) {
        assert!(begun.elapsed() < PATIENCE, "they share {} to {}", first.assigned.len(), second.assigned.len());
        first.poll(10).expect("a poll");
        second.poll(10).expect("a poll");
        let both = first.assigned.keys().filter(|partition| second.assigned.contains_key(partition)).count();
        assert_eq!(both, 0, "a partition was with both");
    }
    write_numbers(&append, &topic, 3_000..4_000, 300).expect("an acknowledgement");
    let ours: Vec<Partition> = first.assigned.keys().cloned().collect();
    first.until_the_end();
    second.until_the_end();
    let of = |reader: &Reader, from: u32| {
        reader.seen.iter().filter(|seen| seen.number() >= from).map(|seen| seen.partition).collect::<BTreeSet<_>>()
    };
    assert_eq!(of(&first, 3_000), ours.iter().map(|partition| partition.number).collect(), "each reads its own");
    assert!(of(&second, 3_000).is_disjoint(&of(&first, 3_000)));
    none_missing(&[&first, &second], 0..4_000);

    let theirs = second.assigned.keys().next().expect("a partition").clone();
    let fenced = first.source.commit(&[Offset { partition: theirs, next: 1, note: String::new() }]);
    assert!(matches!(fenced, Err(SourceError::Fenced(_))), "{fenced:?}");

    commit_all(&mut second);
    drop(second);
    let left = Instant::now();
    first.until_assigned(6);
    assert!(left.elapsed() < Duration::from_secs(15), "who leaves in order is not waited for: {:?}", left.elapsed());
    write_numbers(&append, &topic, 4_000..4_100, 300).expect("an acknowledgement");
    first.until_the_end();
    none_missing(&[&first], 4_000..4_100);
}

const MEMBER: &str = "CAMPANILE_TEST_MEMBER";

/// Runs in a process of its own that another test starts, and kills.
#[test]
fn as_a_process_to_be_killed() {
    let Ok(what) = std::env::var(MEMBER) else { return };
    let [brokers, group, topic] = what.split(' ').collect::<Vec<_>>()[..] else { panic!("{what}") };
    let mut reader = member(brokers, group, topic);
    reader.until_assigned(3);
    reader.until("a record", |reader| !reader.seen.is_empty());
    println!("\nreading");
    std::thread::spawn(|| {
        // Whoever started it is gone.
        _ = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
    loop {
        reader.poll(usize::MAX).expect("a poll");
    }
}

#[test]
fn a_killed_members_partitions_move_within_the_session() {
    let (topic, group) = (topic(3), fresh("group"));
    write_numbers(&append_on(shared()), &topic, 0..300, 300).expect("an acknowledgement");
    let mut other = Command::new(std::env::current_exe().expect("this binary"))
        .args(["kafka::as_a_process_to_be_killed", "--exact", "--nocapture"])
        .env(MEMBER, format!("{} {group} {topic}", shared()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut lines = BufReader::new(other.stdout.take().expect("it is piped")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line == "reading")), "the other process read nothing");
    other.kill().expect("to kill it");
    other.wait().expect("its end");
    let killed = Instant::now();
    let mut reader = member(shared(), &group, &topic);
    reader.until_assigned(3);
    assert!(killed.elapsed() < Duration::from_secs(10), "a session has 2 s, this took {:?}", killed.elapsed());
    reader.until_the_end();
    assert_eq!(reader.numbers(), (0..300).collect::<Vec<u32>>());
}

#[test]
fn an_offset_that_is_gone_stops_with_the_ways_out() {
    let (topic, group) = (topic(1), fresh("group"));
    write_numbers(&append_on(shared()), &topic, 0..100, 1).expect("an acknowledgement");
    let mut reader = member(shared(), &group, &topic);
    reader.until_assigned(1);
    let partition = Partition { topic: topic.as_str().into(), number: 0 };
    reader.source.commit(&[Offset { partition, next: 10, note: "n".into() }]).expect("a commit");
    drop(reader);
    delete_before(&topic, 50);

    let mut reader = member(shared(), &group, &topic);
    let text = fatal(&mut reader);
    for part in [&format!("offset 10 of {topic}/0 is gone"), "offsets 50 to 100", "kafka.generation", &group, "--reset-offsets"] {
        assert!(text.contains(part), "`{part}` is missing in: {text}");
    }
    assert!(reader.seen.is_empty(), "nothing is skipped in silence");
    // Where nothing was committed, the oldest that is kept is the beginning.
    let mut fresh_group = member(shared(), &fresh("group"), &topic);
    fresh_group.until("what is kept", |reader| reader.seen.len() == 50);
    assert_eq!(fresh_group.numbers(), (50..100).collect::<Vec<u32>>());
}

fn delete_before(topic: &str, offset: i64) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", shared()).create().expect("an admin client");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Position::Offset(offset)).expect("an offset");
    wait(admin.delete_records(&list, &AdminOptions::new())).expect("records to be deleted");
}

fn fatal(reader: &mut Reader) -> String {
    let begun = Instant::now();
    loop {
        match reader.poll(usize::MAX) {
            Err(SourceError::Fatal(text)) => return text,
            Ok(_) | Err(SourceError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(begun.elapsed() < PATIENCE, "it goes on for ever");
    }
}

#[test]
fn a_missing_topic_stops_with_the_way_out() {
    let name = fresh("never-made");
    let text = fatal(&mut member(shared(), &fresh("group"), &name));
    assert!(text.contains(&name) && text.contains("campanile init"), "{text}");
    let asked = member(shared(), &fresh("group"), &name).source.partitions();
    assert!(matches!(&asked, Err(SourceError::Fatal(text)) if text.contains("campanile init")), "{asked:?}");
    let line = vec![Line { topic: name.as_str().into(), key: None, value: b"v".to_vec() }];
    let written = wait(append_on(shared()).append(&line));
    assert!(matches!(&written, Err(AppendError::Blocked(text)) if text.contains(&name) && text.contains("campanile init")), "{written:?}");
}

#[test]
fn a_broker_that_is_away_is_waited_for() {
    // Nobody listens on port 1.
    let mut reader = member("127.0.0.1:1", "group", "topic");
    let begun = Instant::now();
    let text = loop {
        match reader.poll(usize::MAX) {
            Err(SourceError::Unavailable(text)) => break text,
            Ok(_) => assert!(begun.elapsed() < PATIENCE, "it says nothing"),
            Err(error) => panic!("{error}"),
        }
    };
    assert!(text.contains("127.0.0.1:1"), "{text}");
    assert!(matches!(reader.source.partitions(), Err(SourceError::Unavailable(_))));
    let begun = Instant::now();
    drop(reader);
    assert!(begun.elapsed() < Duration::from_secs(5), "leaving took {:?}", begun.elapsed());

    let admin = Admin::open(&settings("127.0.0.1:1", "group"), Duration::from_secs(2)).expect("an admin client");
    let told = admin.reach().expect_err("nobody is there");
    assert!(matches!(told, AdminError::Unreachable { .. }));
    let text = told.to_string();
    assert!(text.contains("127.0.0.1:1") && text.contains("refused") && text.contains("security.protocol"), "{text}");
}

#[test]
fn a_broker_restarted_in_the_middle_is_survived() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = Broker::start_in(directory.path(), None);
    let (address, port) = (broker.address.clone(), broker.port().to_owned());
    let (topic, group) = (topic_on(&address, 3), fresh("group"));
    let append = append_on(&address);
    write_numbers(&append, &topic, 0..500, 100).expect("an acknowledgement");
    let mut reader = member(&address, &group, &topic);
    reader.until_assigned(3);
    reader.until_the_end();
    commit_all(&mut reader);

    broker.stop();
    let line = |number: u32| Line { topic: topic.as_str().into(), key: Some(number.to_string().into()), value: number.to_string().into() };
    let written = append.append(&(500..600).map(line).collect::<Vec<_>>());
    let commit = Partition { topic: topic.as_str().into(), number: 0 };
    let told = reader.source.commit(&[Offset { partition: commit, next: 1, note: String::new() }]);
    assert!(matches!(told, Err(SourceError::Unavailable(_))), "{told:?}");
    for _ in 0..5 {
        match reader.poll(usize::MAX) {
            Ok(_) | Err(SourceError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let _broker = Broker::start_in(directory.path(), Some(&port));
    wait(written).expect("an acknowledgement after the restart");
    let begun = Instant::now();
    while numbers_of(&[&reader]).len() < 600 {
        assert!(begun.elapsed() < PATIENCE, "only {} records were seen", numbers_of(&[&reader]).len());
        match reader.poll(usize::MAX) {
            Ok(_) | Err(SourceError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn what_was_aborted_is_not_read_and_holds_nothing_up() {
    let topic = topic(1);
    let mut reader = member(shared(), &fresh("group"), &topic);
    reader.until_assigned(1);
    let end = |reader: &mut Reader| reader.source.ends().expect("the ends")[0].1;
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", shared()).set("transactional.id", fresh("writer")).create().expect("a producer");
    producer.init_transactions(PATIENCE).expect("transactions");
    let write = |numbers: std::ops::Range<u32>| {
        producer.begin_transaction().expect("a transaction");
        for number in numbers {
            let value = number.to_string();
            producer.send(BaseRecord::<(), str>::to(&topic).payload(&value)).expect("room");
        }
        producer.flush(PATIENCE).expect("an acknowledgement");
    };
    let watcher: BaseConsumer = ClientConfig::new().set("bootstrap.servers", shared()).create().expect("a consumer");
    // The end of a transaction is answered before its marker is written.
    let until_written = |offsets: i64| {
        let begun = Instant::now();
        while watcher.fetch_watermarks(&topic, 0, PATIENCE).expect("an answer").1 < offsets {
            assert!(begun.elapsed() < PATIENCE, "no marker was written");
        }
    };
    // Only a marker at the tail, then aborted records and their marker.
    write(0..5);
    assert_eq!(end(&mut reader), 0, "what is open cannot be read yet");
    producer.commit_transaction(PATIENCE).expect("a commit");
    until_written(6);
    reader.until_the_end();
    assert_eq!((reader.numbers(), end(&mut reader)), (vec![0, 1, 2, 3, 4], 5));
    write(5..10);
    producer.abort_transaction(PATIENCE).expect("an abort");
    until_written(12);
    reader.until_the_end();
    assert_eq!((reader.numbers(), end(&mut reader)), (vec![0, 1, 2, 3, 4], 5));
    write(10..12);
    producer.commit_transaction(PATIENCE).expect("a commit");
    until_written(15);
    reader.until_the_end();
    assert_eq!((reader.numbers(), end(&mut reader)), (vec![0, 1, 2, 3, 4, 10, 11], 14));
    // A member that starts behind all of it reaches the end, too.
    let mut late = member(shared(), &fresh("group"), &topic);
    late.until_assigned(1);
    late.until_the_end();
    assert_eq!(late.numbers(), reader.numbers());
}

#[test]
fn keys_lie_where_javas_producers_put_them() {
    let topic = topic(12);
    // Murmur2 as in the tests of Kafka's own `Utils`, without the sign, modulo 12.
    let expected = [("21", 0), ("foobar", 6), ("a-little-bit-long-string", 8)];
    let line = |(key, _): &(&str, i32)| Line { topic: topic.as_str().into(), key: Some((*key).into()), value: b"0".to_vec() };
    wait(append_on(shared()).append(&expected.iter().map(line).collect::<Vec<_>>())).expect("an acknowledgement");
    let mut reader = member(shared(), &fresh("group"), &topic);
    reader.until_assigned(12);
    reader.until_the_end();
    let mut found: Vec<(String, i32)> =
        reader.seen.into_iter().map(|seen| (String::from_utf8(seen.key.expect("a key")).expect("text"), seen.partition)).collect();
    found.sort_by_key(|(_, partition)| *partition);
    assert_eq!(found, expected.map(|(key, partition)| (key.to_owned(), partition)));
}

#[test]
fn a_line_too_large_is_refused_and_the_others_are_written() {
    let topic = topic(1);
    let append = append_on(shared());
    // Nothing that compression makes shorter.
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut byte = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.to_le_bytes()[4]
    };
    let mut line = |bytes: usize| Line { topic: topic.as_str().into(), key: None, value: (0..bytes).map(|_| byte()).collect() };
    // The topic takes 2 MiB, the producer 4.
    for bytes in [3 * 1024 * 1024, 5 * 1024 * 1024] {
        let told = wait(append.append(&[line(1), line(bytes)]));
        assert!(matches!(&told, Err(AppendError::Refused(text)) if text.contains(&bytes.to_string())), "{bytes}: {told:?}");
    }
    wait(append.append(&[line(1)])).expect("an acknowledgement");
    let mut reader = member(shared(), &fresh("group"), &topic);
    reader.until_assigned(1);
    reader.until_the_end();
    assert_eq!(reader.seen.len(), 3);
}

#[test]
fn a_full_buffer_is_waited_for_in_order() {
    let topic = topic(1);
    let mut small = settings(shared(), "append");
    small.options.insert("queue.buffering.max.messages".into(), "100".into());
    let append = KafkaAppend::open(&small).expect("a producer");
    write_numbers(&append, &topic, 0..5_000, 1).expect("an acknowledgement");
    let mut reader = member(shared(), &fresh("group"), &topic);
    reader.until_assigned(1);
    reader.until_the_end();
    assert!(reader.seen.iter().map(crate::log::Seen::number).eq(0..5_000), "they lie in another order");
}

#[test]
fn topics_are_made_once_and_judged() {
    let admin = Admin::open(&settings(shared(), "admin"), Duration::from_secs(30)).expect("an admin client");
    assert_eq!(admin.reach().expect("a broker"), 1);
    let needed = topics(&[fresh("events")], &fresh("prefix"), Duration::from_secs(24 * 60 * 60));
    let states = |findings: Vec<Finding>| findings.into_iter().map(|one| one.state).collect::<Vec<State>>();
    assert_eq!(states(wait(admin.check(&needed)).expect("findings")), vec![State::Missing; needed.len()]);
    assert_eq!(states(wait(admin.create(&needed)).expect("findings")), vec![State::Created; needed.len()]);
    assert_eq!(states(wait(admin.create(&needed)).expect("findings")), vec![State::Fits; needed.len()]);

    let mut more = needed[1].clone();
    more.keep *= 2;
    more.max_record_bytes *= 2;
    let found = wait(admin.check(&[more])).expect("findings");
    let names: Vec<&str> = found.iter().map(|one| if let State::Setting { name, .. } = one.state { name } else { "" }).collect();
    assert_eq!(names, ["retention.ms", "max.message.bytes"]);
}

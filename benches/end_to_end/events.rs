//! Topics full of events: Segment `track` events of about 755 bytes, nested properties included, of 100,000 users by Zipf's law (0.8), keyed by
//! user. The first and the last event of each partition are markers, which say when a worker has begun and when it has read all.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

pub const PARTITIONS: i32 = 12;

/// Campaign i wants event `n<i>`, category `k0` and an amount of at least 100.
pub const CAMPAIGNS: u64 = 10;

const USERS: usize = 100_000;
const ZIPF_EXPONENT: f64 = 0.8;

/// Names that no campaign asks for.
const OTHER_NAMES: [&str; 6] = ["page_scrolled", "video_progressed", "product_viewed", "search_performed", "session_started", "heartbeat"];

const WAIT: Duration = Duration::from_secs(120);

/// A filled topic.
pub struct Log {
    pub topic: String,
    pub events: u64,
    /// Events that fulfil exactly one campaign.
    pub wanted: u64,
    pub mean_bytes: u64,
}

impl Log {
    /// Makes and fills a topic; one that exists is taken as it is, since its name says what is in it.
    pub fn fill(brokers: &str, topic: &str, events: u64, share: f64) -> Result<Log> {
        let is_new = create(brokers, topic)?;
        let producer = is_new.then(|| producer(brokers)).transpose()?;
        let mut shape = Shape::new(share, CAMPAIGNS, Users::zipf());
        let mut log = Log { topic: topic.to_owned(), events, wanted: 0, mean_bytes: 0 };
        let (mut key, mut payload, mut bytes) = (String::new(), String::new(), 0);
        markers(producer.as_ref(), topic, "bench_start")?;
        for _ in 0..events {
            let wanted = shape.next(&mut key, &mut payload);
            log.wanted += u64::from(wanted.is_some());
            bytes += payload.len() as u64;
            if let Some(producer) = &producer {
                send(producer, BaseRecord::to(topic).key(key.as_str()).payload(payload.as_str()))?;
            }
        }
        if let Some(producer) = &producer {
            producer.flush(WAIT)?;
        }
        markers(producer.as_ref(), topic, "bench_end")?;
        log.mean_bytes = bytes / events.max(1);
        Ok(log)
    }
}

/// A topic of its own that events are written to as they are wanted, each of them by one campaign.
pub struct Stream {
    pub topic: String,
    producer: EventProducer,
    shape: Shape,
    key: String,
    payload: String,
}

impl Stream {
    /// Of all users alike: of one with dozens of events a second, what waits for dead destinations would fill its record, and its further
    /// sends would be refused (`state_full`), to whichever destination.
    pub fn open(brokers: &str, topic: &str, campaigns: u64) -> Result<Stream> {
        Stream::of(brokers, topic, campaigns, Users::Alike(USERS))
    }

    /// Of so many users, each in its turn, for one campaign.
    pub fn in_turn(brokers: &str, topic: &str, users: usize) -> Result<Stream> {
        Stream::of(brokers, topic, 1, Users::InTurn(users))
    }

    fn of(brokers: &str, topic: &str, campaigns: u64, users: Users) -> Result<Stream> {
        create(brokers, topic)?;
        let producer = config(brokers).set("linger.ms", "5").create()?;
        Ok(Stream {
            topic: topic.to_owned(),
            producer,
            shape: Shape::new(1.0, campaigns, users),
            key: String::new(),
            payload: String::new(),
        })
    }

    /// Writes one event; answers its campaign.
    pub fn send(&mut self) -> Result<u64> {
        let campaign = self.shape.next(&mut self.key, &mut self.payload).unwrap_or_default();
        send(&self.producer, BaseRecord::to(&self.topic).key(self.key.as_str()).payload(self.payload.as_str()))?;
        Ok(campaign)
    }

    /// Waits until all of them are written.
    pub fn flush(&self) -> Result<()> {
        Ok(self.producer.flush(WAIT)?)
    }
}

/// False when it exists.
fn create(brokers: &str, topic: &str) -> Result<bool> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    // As `campanile init` would make it.
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1)).set("max.message.bytes", "2097152");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let results = runtime.block_on(admin.create_topics([&new], &AdminOptions::new().operation_timeout(Some(WAIT))))?;
    match results.into_iter().next().context("no answer to the making of a topic")? {
        Ok(_) => Ok(true),
        Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => Ok(false),
        Err((topic, code)) => Err(anyhow::anyhow!("topic {topic}: {code}")),
    }
}

type EventProducer = ThreadedProducer<DefaultProducerContext>;

fn producer(brokers: &str) -> Result<EventProducer> {
    Ok(config(brokers).set("linger.ms", "50").create()?)
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("batch.size", "400000");
    config.set("queue.buffering.max.messages", "200000").set("partitioner", "murmur2_random");
    config
}

/// Waits while the producer's queue is full.
fn send(producer: &EventProducer, record: BaseRecord<'_, str, str>) -> Result<()> {
    let mut record = Some(record);
    while let Some(next) = record.take() {
        match producer.send(next) {
            Ok(()) => {}
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                std::thread::sleep(Duration::from_millis(2));
                record = Some(back);
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
    Ok(())
}

fn markers(producer: Option<&EventProducer>, topic: &str, name: &str) -> Result<()> {
    let Some(producer) = producer else { return Ok(()) };
    for partition in 0..PARTITIONS {
        let user = format!("{name}-{partition}");
        let time = timestamp(now_ms());
        let event =
            format!(r#"{{"type":"track","messageId":"{user}","userId":"{user}","event":"{name}","timestamp":"{time}","properties":{{}}}}"#);
        send(producer, BaseRecord::to(topic).partition(partition).key(user.as_str()).payload(event.as_str()))?;
    }
    Ok(producer.flush(WAIT)?)
}

/// Whose the next event is.
enum Users {
    /// By rank, each with the share of itself and all before it.
    Zipf(Vec<f64>),
    Alike(usize),
    InTurn(usize),
}

impl Users {
    fn zipf() -> Users {
        let mut total = 0.0;
        let mut cumulative: Vec<f64> = (1..=USERS)
            .map(|rank| {
                total += (rank as f64).powf(-ZIPF_EXPONENT);
                total
            })
            .collect();
        cumulative.iter_mut().for_each(|value| *value /= total);
        Users::Zipf(cumulative)
    }

    fn next(&self, sequence: u64, random: &mut Random) -> usize {
        match self {
            // Ranks are spread over the ids, so that the busy users share no prefix.
            Users::Zipf(cumulative) => {
                let draw = random.unit();
                cumulative.partition_point(|value| *value < draw) * 7919 % USERS
            }
            Users::Alike(users) => random.below(*users as u64) as usize,
            Users::InTurn(users) => (sequence % *users as u64) as usize,
        }
    }
}

/// The sequence of events: the same for the same share.
struct Shape {
    random: Random,
    users: Users,
    share: f64,
    campaigns: u64,
    sequence: u64,
}

impl Shape {
    fn new(share: f64, campaigns: u64, users: Users) -> Shape {
        Shape { random: Random(1), users, share, campaigns, sequence: 0 }
    }

    /// Writes the next event; answers the campaign that wants it.
    fn next(&mut self, key: &mut String, payload: &mut String) -> Option<u64> {
        let random = &mut self.random;
        let user = self.users.next(self.sequence, random);
        let wanted = random.unit() < self.share;
        let cents = if wanted { 10_000 + random.below(40_000) } else { random.below(50_000) };
        let (a, b) = (random.below(100_000), random.below(100_000));
        let campaign = wanted.then_some(a % self.campaigns);
        let name =
            if let Some(campaign) = campaign { format!("n{campaign}") } else { OTHER_NAMES[a as usize % OTHER_NAMES.len()].to_owned() };
        let sequence = self.sequence;
        self.sequence += 1;
        key.clear();
        payload.clear();
        let now = now_ms();
        // Writing to a String cannot fail.
        let _ = write!(key, "u{user:07}");
        let _ = write!(
            payload,
            "{{\"type\":\"track\",\"messageId\":\"m{sequence:010}\",\"userId\":\"{key}\",\"event\":\"{name}\",\"timestamp\":\"{}\",\
             \"properties\":{{\"category\":\"k0\",\"amount\":{}.{:02},\"currency\":\"EUR\",\
             \"title\":\"Winter boots \\\"Alpina\\\", gr\u{f6}\u{df}e {}\",\"sku\":\"SKU-{a:06}\",\"quantity\":{},\"sent_ms\":{now},\
             \"plan\":\"{}\",\"country\":\"{}\",\"coupon\":null,\"first_purchase\":{},\
             \"referrer\":\"https://shop.example/landing?src=mail&c={b}\",\"tags\":[\"sale\",\"boots\",\"winter\"],\
             \"items\":[{{\"sku\":\"SKU-{a:06}\",\"price\":{}.5,\"qty\":1}},{{\"sku\":\"SKU-{b:06}\",\"price\":{}.25,\"qty\":2}}]}},\
             \"context\":{{\"ip\":\"203.0.113.{}\",\"locale\":\"de-DE\",\"library\":{{\"name\":\"analytics.js\",\"version\":\"2.11.1\"}},\
             \"page\":{{\"path\":\"/p/{b}\",\"title\":\"Product {b}\"}},\"userAgent\":\"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\"}}}}",
            timestamp(now),
            cents / 100,
            cents % 100,
            36 + a % 12,
            1 + a % 4,
            ["free", "silver", "gold"][(b % 3) as usize],
            ["DE", "FR", "KR", "US", "JP"][(a % 5) as usize],
            a % 10 == 0,
            20 + a % 80,
            5 + b % 60,
            b % 255,
        );
        campaign
    }
}

/// splitmix64
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

fn timestamp(ms: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(ms).unwrap_or_default()
}

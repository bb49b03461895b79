//! A load for whole deployments: definitions, events of many users, and a model of its own that says, event by event, who must get
//! what. The model knows once-only, caps and cancelled clocks in a dozen lines and shares no code with the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use campanile::adapter::clock::SystemClock;
use campanile::adapter::kafka::KafkaAppend;
use campanile::engine::time::Timestamp;
use campanile::worker::ports::{Append, Clock, Line};
use serde_json::{Value, json};

use super::endpoint::{Endpoint, Seen};
use super::kafka::wait;
use super::wait::{runtime, until};
use super::worker::{Deployment, Worker};

/// No user gets more counted messages than these within the hour that no test lasts.
pub const CAP_ALL: usize = 4;
pub const CAP_SMS: usize = 2;
pub const CAP_PROMO: usize = 1;

/// One in so many events is written twice.
const REPEATED: u64 = 50;

/// One message that somebody is to get.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    pub campaign: String,
    pub user: String,
    /// The message id of the event that triggered it.
    pub event: String,
}

/// How the endpoint of a message lets it go without anybody's fault but its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    pub attempts: u32,
    /// `None` = delivered in the end.
    pub failure: Option<&'static str>,
}

const AT_ONCE: Course = Course { attempts: 1, failure: None };

/// Messages for the endpoint that never answers: so few that their failures do not keep it from being called.
const HANGS: usize = 3;

/// How workers are killed under load.
#[derive(Clone, Copy, Debug)]
pub struct Kills {
    pub times: usize,
    /// Events that are written at a time.
    pub chunk: usize,
    /// Messages that are kept on their way: enough that a kill always finds some in flight.
    pub on_their_way: usize,
}

/// Attempts that a worker has made before it is killed.
const ATTEMPTS_BEFORE: f64 = 30.0;

/// A killed worker's partitions stand still for its session; then the others' rebalance.
const WORKS_WITHIN: Duration = Duration::from_secs(60);

/// The endpoints of the campaigns. Each is a destination.
pub struct Endpoints {
    /// Real TLS, a certificate of an authority of its own.
    pub secure: Endpoint,
    /// Answers most, some with 500, 429 or 404, and resets some connections.
    pub plain: Endpoint,
    /// Never answers.
    pub mute: Endpoint,
}

impl Endpoints {
    pub fn start() -> Endpoints {
        runtime().block_on(async {
            Endpoints { secure: Endpoint::tls("localhost").await, plain: Endpoint::plain().await, mute: Endpoint::plain().await }
        })
    }

    pub fn count(&self) -> usize {
        self.all().map(Endpoint::count).sum()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.all().flat_map(Endpoint::seen).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Endpoint> {
        [&self.secure, &self.plain, &self.mute].into_iter()
    }

    /// A deployment of these campaigns, with its topics.
    pub fn deploy(&self, brokers: &str, redis: &str) -> Deployment {
        self.deploy_with(brokers, redis, &[])
    }

    /// The same with these settings.
    pub fn deploy_with(&self, brokers: &str, redis: &str, settings: &[(&str, &str)]) -> Deployment {
        let mut deployment = Deployment::new(brokers, redis);
        settings.iter().for_each(|(setting, value)| deployment.set(setting, value));
        let roots = deployment.write("authority.pem", &self.secure.roots().concat());
        deployment.variable("SSL_CERT_FILE", roots.to_str().expect("a path in UTF-8"));
        deployment.define(&self.definitions());
        deployment.init();
        deployment
    }

    /// Two workers under load, of which again and again the older is killed and followed by a new one. The two that are left.
    pub fn under_kills(&self, deployment: &Deployment, load: &mut Load, append: &KafkaAppend, kills: Kills) -> Vec<Worker> {
        let mut workers = vec![deployment.start(), deployment.start()];
        for _ in 0..kills.times {
            let victim = workers.remove(0);
            until("the worker that is to be killed has made attempts", WORKS_WITHIN, || {
                if load.expected.len() < self.count() + kills.on_their_way {
                    load.write(append, kills.chunk, SystemClock::new().now());
                }
                victim.metric("campanile_attempts_total", "") >= ATTEMPTS_BEFORE
            });
            victim.kill();
            workers.push(deployment.start());
        }
        workers
    }

    /// The campaigns, caps and destinations.
    pub fn definitions(&self) -> String {
        let browsing = |key: &str, more: &str| campaign(key, &format!("action: {{event: browsed{more}}}"), &self.plain.url("/"));
        [
            format!(
                "kind: workspace\nfrequency_caps:\n  - {{limit: {CAP_ALL}, per: 1h}}\n  - {{limit: {CAP_SMS}, per: 1h, channel: sms}}\n  - {{limit: {CAP_PROMO}, per: 1h, tag: promo}}\n"
            ),
            format!("kind: destination\nkey: mute\nmatch: {}\ntimeout: 1s\nmax_retries: 1\n", self.mute.address()),
            browsing("sale", ", where: {category: shoes}")
                + "priority: 10\nchannel: sms\ntags: [promo]\nfatigue: {resend: always}\n",
            browsing("news", "") + "priority: 5\nchannel: push\naudience: [{user: {country: KR}}]\nfatigue: {resend: always}\n",
            browsing("tips", "") + "channel: sms\nfatigue: {resend: always}\n",
            browsing("digest", "") + "fatigue: {resend: {after: 7d}, frequency_cap: false}\n",
            campaign("welcome", "action: {event: signed_up}", &self.secure.named_url("/")) + "fatigue: {frequency_cap: false}\n",
            campaign("receipt", "action: {event: ordered}", &self.plain.url("/first/{{ event.failures }}/status/500"))
                + "fatigue: {resend: always, frequency_cap: false}\n",
            campaign(
                "cart",
                "inaction: {after: {event: cart_added, where: {amount: {gte: 100}}}, without: {event: bought}, within: 5s, same: [cart]}",
                &self.plain.url("/"),
            ) + "fatigue: {resend: always, frequency_cap: false}\n",
            campaign("limited", "action: {event: limited}", &self.plain.url("/first/1/retry-after/1")) + "fatigue: {frequency_cap: false}\n",
            campaign("gone", "action: {event: gone}", &self.plain.url("/status/404")) + "fatigue: {frequency_cap: false}\n",
            campaign("reset", "action: {event: reset}", &self.plain.url("/first/1/reset")) + "fatigue: {frequency_cap: false}\n",
            campaign("hang", "action: {event: hang}", &self.mute.url("/hang")) + "fatigue: {frequency_cap: false}\n",
        ]
        .join("---\n")
    }
}

fn campaign(key: &str, trigger: &str, url: &str) -> String {
    format!(
        "kind: campaign\nkey: {key}\nstatus: running\ntrigger: {{{trigger}}}\nwebhook:\n  url: \"{url}\"\n  body: {{campaign: \"{{{{ campaign.key }}}}\", user: \"{{{{ user.id }}}}\", event: \"{{{{ trigger.message_id }}}}\"}}\n"
    )
}

/// The message that a request carries, by its body.
pub fn message(seen: &Seen) -> Message {
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_else(|error| panic!("{error}: {seen:?}"));
    let field = |name: &str| body[name].as_str().unwrap_or_else(|| panic!("no {name} in {body}")).to_owned();
    Message { campaign: field("campaign"), user: field("user"), event: field("event") }
}

/// What the model knows of a user.
#[derive(Clone, Default)]
struct Person {
    known: bool,
    all: usize,
    sms: usize,
    promo: usize,
    once: BTreeSet<&'static str>,
}

/// Which events there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// All of them.
    Whole,
    /// Only those whose effect does not depend on when they are written.
    Timeless,
}

/// Makes events, and what must come of them.
pub struct Load {
    topic: Arc<str>,
    pub mix: Mix,
    people: Vec<Person>,
    made: u64,
    random: u64,
    hung: usize,
    pub expected: BTreeMap<Message, Course>,
}

impl Load {
    pub fn new(topic: &str, users: usize, mix: Mix) -> Load {
        let people = vec![Person::default(); users];
        Load { topic: topic.into(), mix, people, made: 0, random: 0x5EED, hung: 0, expected: BTreeMap::new() }
    }

    /// Makes `events` more events and writes them until they are acknowledged, repeating all that may not have been: what any
    /// producer does. A user's events keep their order.
    pub fn write(&mut self, append: &KafkaAppend, events: usize, now: Timestamp) {
        let lines = self.make(events, now);
        let mut tries = 0;
        while let Err(error) = wait(append.append(&lines)) {
            tries += 1;
            assert!(tries < 5, "the events are not accepted: {error}");
        }
    }

    /// How many messages each campaign must send.
    pub fn by_campaign(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        self.expected.keys().for_each(|message| *counts.entry(message.campaign.clone()).or_default() += 1);
        counts
    }

    fn make(&mut self, events: usize, now: Timestamp) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut repeats = Vec::new();
        for _ in 0..events {
            let who = self.below(self.people.len() as u64) as usize;
            if !std::mem::replace(&mut self.people[who].known, true) {
                lines.push(self.identify(who, now));
            }
            let first = lines.len();
            self.event(who, now, &mut lines);
            if self.below(REPEATED) == 0 {
                repeats.push(lines[first].clone());
            }
        }
        lines.extend(repeats);
        lines
    }

    fn identify(&mut self, who: usize, now: Timestamp) -> Line {
        let country = if who.is_multiple_of(2) { "KR" } else { "CA" };
        let event = json!({"type": "identify", "messageId": format!("i{who}"), "userId": user(who), "timestamp": now, "traits": {"country": country}});
        self.line(who, &event)
    }

    /// One event, or two that belong together, with what it leads to.
    fn event(&mut self, who: usize, now: Timestamp, lines: &mut Vec<Line>) {
        let roll = self.below(100);
        let (name, properties) = match roll {
            0..28 => ("browsed", json!({"category": if self.below(3) == 0 { "shoes" } else { "hats" }})),
            28..50 => {
                let failures = [0, 0, 0, 0, 0, 0, 0, 0, 1, 2][self.below(10) as usize];
                ("ordered", json!({"failures": failures, "amount": 120}))
            }
            50..60 => ("signed_up", json!({})),
            60..65 if self.mix == Mix::Whole => return self.cart(who, now, lines),
            65..67 => ("limited", json!({})),
            67 => ("gone", json!({})),
            68 => ("reset", json!({})),
            69 if self.hung < HANGS => {
                self.hung += 1;
                ("hang", json!({}))
            }
            _ => ("scrolled", json!({"depth": 80})),
        };
        let id = self.track(who, name, &properties, now, lines);
        self.expect(who, name, &properties, &id);
    }

    /// A clock for a cart: cancelled by buying it, not by buying another. What cancels is written well before it is due.
    fn cart(&mut self, who: usize, now: Timestamp, lines: &mut Vec<Line>) {
        let cart = self.made;
        let amount = if self.below(5) == 0 { 50 } else { 150 };
        let id = self.track(who, "cart_added", &json!({"cart": cart, "amount": amount}), now, lines);
        let then = now.after(std::time::Duration::from_secs(1));
        let bought = match self.below(3) {
            0 => Some(cart),
            1 => Some(cart + 1_000_000),
            _ => None,
        };
        if let Some(bought) = bought {
            self.track(who, "bought", &json!({"cart": bought}), then, lines);
        }
        if amount >= 100 && bought != Some(cart) {
            self.must(who, "cart", &id, AT_ONCE);
        }
    }

    /// The model.
    fn expect(&mut self, who: usize, name: &'static str, properties: &Value, id: &str) {
        match name {
            "browsed" => self.expect_browsed(who, properties, id),
            "ordered" => {
                let failures = properties["failures"].as_u64().unwrap_or(0) as u32;
                self.must(who, "receipt", id, Course { attempts: failures + 1, failure: None });
            }
            "signed_up" => self.must_once(who, "welcome", id, AT_ONCE),
            "limited" => self.must_once(who, "limited", id, Course { attempts: 2, failure: None }),
            "gone" => self.must_once(who, "gone", id, Course { attempts: 1, failure: Some("http 404") }),
            "reset" => self.must_once(who, "reset", id, Course { attempts: 2, failure: None }),
            "hang" => self.must_once(who, "hang", id, Course { attempts: 2, failure: Some("timeout") }),
            _ => {}
        }
    }

    fn expect_browsed(&mut self, who: usize, properties: &Value, id: &str) {
        let korean = who.is_multiple_of(2);
        let person = &mut self.people[who];
        let mut capped = Vec::new();
        // By priority, then key.
        if properties["category"] == "shoes" && person.all < CAP_ALL && person.sms < CAP_SMS && person.promo < CAP_PROMO {
            (person.all, person.sms, person.promo) = (person.all + 1, person.sms + 1, person.promo + 1);
            capped.push("sale");
        }
        if korean && person.all < CAP_ALL {
            person.all += 1;
            capped.push("news");
        }
        if person.all < CAP_ALL && person.sms < CAP_SMS {
            (person.all, person.sms) = (person.all + 1, person.sms + 1);
            capped.push("tips");
        }
        capped.into_iter().for_each(|campaign| self.must(who, campaign, id, AT_ONCE));
        self.must_once(who, "digest", id, AT_ONCE);
    }

    fn must_once(&mut self, who: usize, campaign: &'static str, id: &str, course: Course) {
        if self.people[who].once.insert(campaign) {
            self.must(who, campaign, id, course);
        }
    }

    fn must(&mut self, who: usize, campaign: &str, id: &str, course: Course) {
        self.expected.insert(Message { campaign: campaign.to_owned(), user: user(who), event: id.to_owned() }, course);
    }

    fn track(&mut self, who: usize, name: &str, properties: &Value, at: Timestamp, lines: &mut Vec<Line>) -> String {
        self.made += 1;
        let id = format!("m{}", self.made);
        let event =
            json!({"type": "track", "messageId": id, "userId": user(who), "event": name, "timestamp": at, "properties": properties});
        lines.push(self.line(who, &event));
        id
    }

    fn line(&self, who: usize, event: &Value) -> Line {
        Line { topic: self.topic.clone(), key: Some(user(who).into_bytes()), value: event.to_string().into_bytes() }
    }

    /// SplitMix64: the same events in every run.
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn user(who: usize) -> String {
    format!("u{who}")
}

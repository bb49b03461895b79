//! What really happened, from outside: the requests that the endpoints saw, and the lines of the outcomes and dead-letter topics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::endpoint::Seen;
use super::load::{self, CAP_ALL, CAP_PROMO, CAP_SMS, Course, Message};
use super::topic::{Follow, Line};
use super::wait::happens;

/// The requests that carried one `webhook-id`.
#[derive(Debug)]
pub struct Arrival {
    pub message: Message,
    /// `webhook-attempt` of each, in order of arrival.
    pub attempts: Vec<u32>,
}

/// Requests by `webhook-id`. Fails when two with one id differ in anything but what is the attempt's own, or when one message came
/// under two ids.
pub fn arrivals(seen: &[Seen]) -> BTreeMap<String, Arrival> {
    let mut first: BTreeMap<&str, &Seen> = BTreeMap::new();
    let mut arrivals: BTreeMap<String, Arrival> = BTreeMap::new();
    for request in seen {
        let id = request.webhook_id().unwrap_or_else(|| panic!("a request without webhook-id: {request:?}"));
        let former = first.entry(id).or_insert(request);
        assert_eq!((&former.method, &former.path, own(former)), (&request.method, &request.path, own(request)), "{id}");
        assert_eq!(former.body, request.body, "{id}: a body that differs from that of a former attempt");
        let arrival = arrivals.entry(id.to_owned()).or_insert_with(|| Arrival { message: load::message(request), attempts: Vec::new() });
        arrival.attempts.push(request.attempt());
    }
    let mut ids: BTreeMap<&Message, &str> = BTreeMap::new();
    for (id, arrival) in &arrivals {
        if let Some(other) = ids.insert(&arrival.message, id) {
            panic!("{:?} came under two ids, {other} and {id}", arrival.message);
        }
    }
    arrivals
}

/// The headers that are the same on every attempt.
fn own(seen: &Seen) -> Vec<&(String, String)> {
    seen.headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "webhook-attempt" | "webhook-timestamp" | "webhook-signature"))
        .collect()
}

/// Fails unless exactly what was expected came, and no user got more than the caps allow.
pub fn check_messages<'a>(expected: &BTreeMap<Message, Course>, arrived: impl Iterator<Item = &'a Message>) {
    let arrived: BTreeSet<&Message> = arrived.collect();
    let missing: Vec<&Message> = expected.keys().filter(|message| !arrived.contains(message)).collect();
    let excess: Vec<&&Message> = arrived.iter().filter(|message| !expected.contains_key(**message)).collect();
    assert!(
        missing.is_empty(),
        "{} of {} messages are missing, such as {:?}",
        missing.len(),
        expected.len(),
        &missing[..missing.len().min(5)]
    );
    assert!(excess.is_empty(), "{} messages came that should not, such as {:?}", excess.len(), &excess[..excess.len().min(5)]);
    let mut counted: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for message in arrived {
        let [all, sms, promo] = counted.entry(&message.user).or_default();
        let campaign = message.campaign.as_str();
        *all += usize::from(matches!(campaign, "sale" | "news" | "tips"));
        *sms += usize::from(matches!(campaign, "sale" | "tips"));
        *promo += usize::from(campaign == "sale");
    }
    for (user, counts) in counted {
        let within = counts.iter().zip([CAP_ALL, CAP_SMS, CAP_PROMO]).all(|(count, cap)| *count <= cap);
        assert!(within, "{user} got {counts:?} messages (all, sms, promo), more than the caps allow");
    }
}

/// What the outcomes topic says.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// By delivery id.
    pub sent: BTreeMap<String, Message>,
    /// `sent` lines beyond the first of their delivery.
    pub sent_again: usize,
    /// By delivery id and attempt.
    pub attempts: BTreeMap<(String, u64), Attempt>,
    /// Attempt lines beyond the first of their attempt.
    pub attempts_again: usize,
    /// Suppressed decisions by reason.
    pub suppressed: BTreeMap<String, usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub result: String,
    pub status: Option<u64>,
    pub cause: Option<String>,
    pub error: Option<String>,
}

impl Outcomes {
    pub fn of(lines: &[Line]) -> Outcomes {
        let mut outcomes = Outcomes::default();
        for Line { key, value, .. } in lines {
            assert_eq!((value["v"].as_u64(), value["user_id"].as_str()), (Some(1), Some(key.as_str())), "{value}");
            match text(value, "type").as_str() {
                "decision" => outcomes.decision(value),
                "attempt" => outcomes.attempt(value),
                other => panic!("a line of type {other}: {value}"),
            }
        }
        outcomes
    }

    fn decision(&mut self, value: &Value) {
        match text(value, "outcome").as_str() {
            "sent" => {
                let message = Message { campaign: text(value, "campaign"), user: text(value, "user_id"), event: text(value, "event_id") };
                let former = self.sent.insert(text(value, "delivery_id"), message.clone());
                self.sent_again += usize::from(former.is_some());
                assert!(former.is_none_or(|former| former == message), "one delivery id for two messages: {value}");
            }
            "suppressed" => *self.suppressed.entry(text(value, "reason")).or_default() += 1,
            other => panic!("an outcome {other}: {value}"),
        }
    }

    fn attempt(&mut self, value: &Value) {
        let attempt = Attempt {
            result: text(value, "result"),
            status: value["status"].as_u64(),
            cause: value["cause"].as_str().map(str::to_owned),
            error: value["error"].as_str().map(str::to_owned),
        };
        let number = value["attempt"].as_u64().unwrap_or_else(|| panic!("no attempt in {value}"));
        let former = self.attempts.insert((text(value, "delivery_id"), number), attempt.clone());
        self.attempts_again += usize::from(former.is_some());
        assert!(former.as_ref().is_none_or(|former| *former == attempt), "two outcomes of one attempt: {former:?} and {value}");
    }

    /// The last attempt of every delivery.
    pub fn last_attempts(&self) -> BTreeMap<&str, (u64, &Attempt)> {
        self.attempts.iter().map(|((id, number), attempt)| (id.as_str(), (*number, attempt))).collect()
    }
}

/// Follows the outcomes topic until everything is over.
pub struct Settling {
    follow: Follow,
    looked_at: usize,
    /// By delivery id the campaign.
    over: BTreeMap<String, String>,
}

impl Settling {
    pub fn new(brokers: &str, topic: &str) -> Settling {
        Settling { follow: Follow::new(brokers, topic), looked_at: 0, over: BTreeMap::new() }
    }

    /// Waits until `count` deliveries have been delivered or have failed for good.
    pub fn wait_for(&mut self, count: usize, within: Duration) {
        if !happens(within, || self.look() >= count) {
            let mut by_campaign: BTreeMap<&str, usize> = BTreeMap::new();
            self.over.values().for_each(|campaign| *by_campaign.entry(campaign).or_default() += 1);
            panic!("{} of {count} deliveries are over after {within:?}: {by_campaign:?}", self.over.len());
        }
    }

    /// Reads what is at hand, and answers how many are over.
    fn look(&mut self) -> usize {
        let lines = self.follow.look();
        for Line { value, .. } in &lines[self.looked_at..] {
            if value["type"] == "attempt" && value["result"] != "retrying" {
                self.over.insert(text(value, "delivery_id"), text(value, "campaign"));
            }
        }
        self.looked_at = lines.len();
        self.over.len()
    }

    /// All that was written, when nobody writes any more.
    pub fn outcomes(self) -> Outcomes {
        Outcomes::of(&self.follow.all())
    }
}

/// The dead-letter topic's deliveries.
#[derive(Debug, Default)]
pub struct Dead {
    /// Causes by delivery id.
    pub causes: BTreeMap<String, String>,
    /// Letters beyond the first of their delivery.
    pub again: usize,
}

impl Dead {
    pub fn of(lines: &[Line]) -> Dead {
        let mut dead = Dead::default();
        for Line { value, .. } in lines {
            assert_eq!((value["v"].as_u64(), value["kind"].as_str()), (Some(1), Some("delivery")), "{value}");
            let cause = text(value, "reason");
            assert_eq!(text(value, "error"), format!("Webhook Dispatch Failed: {cause}"), "{value}");
            assert!(value["request"]["url"].is_string(), "no request that could be sent again: {value}");
            dead.again += usize::from(dead.causes.insert(text(value, "delivery_id"), cause).is_some());
        }
        dead
    }
}

/// Fails unless every message has its `sent` line, and ended as its endpoint would have it: delivered, or failed and dead-lettered.
pub fn check_settled(expected: &BTreeMap<Message, Course>, arrivals: &BTreeMap<String, Arrival>, outcomes: &Outcomes, dead: &Dead) {
    let sent: Vec<(&String, &Message)> = outcomes.sent.iter().collect();
    let arrived: Vec<(&String, &Message)> = arrivals.iter().map(|(id, arrival)| (id, &arrival.message)).collect();
    assert!(sent == arrived, "{} sent lines and {} arrivals do not agree", sent.len(), arrived.len());
    let last_attempts = outcomes.last_attempts();
    for (id, message) in arrived {
        let (number, attempt) = last_attempts.get(id.as_str()).unwrap_or_else(|| panic!("no attempt line for {id}, {message:?}"));
        let failure = expected[message].failure;
        let result = if failure.is_some() { "failed" } else { "delivered" };
        assert_eq!(attempt.result, result, "attempt {number} of {id}, {message:?}");
        assert_eq!(dead.causes.contains_key(id), failure.is_some(), "dead letter of {id}, {message:?}");
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}")).to_owned()
}

//! The receivers of a simulation: they answer as they are told, at once, and remember every request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use crate::engine::delivery::{Answer, Failure};
use crate::engine::id::{DeliveryId, UserId};
use crate::engine::record::codec;
use crate::engine::time::Timestamp;
use crate::engine::value::Value;
use crate::worker::attempt::Secrets;
use crate::worker::ports::{Clock, Exchange, Future, HttpRequest};

use super::ports::{MemoryStore, VirtualClock};

/// How some requests are answered; what is absent matches all. The first that matches and is not used up answers; default 200.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerRule {
    pub campaign: Option<String>,
    pub user_id: Option<String>,
    pub url: Option<String>,
    /// 0 = no answer: a timeout.
    pub status: u16,
    /// How often; absent = always.
    pub times: Option<u32>,
    /// `Retry-After`, as the endpoint writes it.
    pub retry_after: Option<String>,
}

/// A request as an endpoint saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Timestamp,
    pub webhook_id: String,
    pub attempt: u32,
    pub url: String,
    pub body: Option<Value>,
    pub status: u16,
}

/// All endpoints of a world. Clones are the same.
#[derive(Clone, Default)]
pub struct Endpoints(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    rules: Vec<(AnswerRule, u32)>,
    secrets: BTreeMap<String, String>,
    seen: Vec<Seen>,
}

impl Endpoints {
    pub fn new(rules: Vec<AnswerRule>, secrets: BTreeMap<String, String>) -> Endpoints {
        let rules = rules.into_iter().map(|rule| (rule, 0)).collect();
        Endpoints(Arc::new(Mutex::new(Inner { rules, secrets, ..Inner::default() })))
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    pub fn secrets(&self) -> Secrets {
        let endpoints = self.clone();
        Arc::new(move |name| endpoints.lock().secrets.get(name).cloned())
    }

    /// The exchange of one worker; the stored records tell whose delivery a request is.
    pub fn exchange(&self, store: &MemoryStore, clock: &VirtualClock) -> SimulatedExchange {
        SimulatedExchange { endpoints: self.clone(), store: store.clone(), clock: clock.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct SimulatedExchange {
    endpoints: Endpoints,
    store: MemoryStore,
    clock: VirtualClock,
}

impl SimulatedExchange {
    /// Campaign and user of a delivery that is pending.
    fn pending(&self, webhook_id: &str) -> Option<(Box<str>, UserId)> {
        let id = DeliveryId::parse(webhook_id)?;
        self.store.users().into_iter().find_map(|(user, stored, _)| {
            let record = codec::decode(&stored.record).ok()?;
            let entry = record.pending.into_iter().find(|entry| entry.id == id)?;
            Some((entry.claim.campaign, user))
        })
    }
}

impl Exchange for SimulatedExchange {
    fn exchange(&self, request: HttpRequest) -> Future<'_, Answer> {
        let header =
            |name: &str| request.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone());
        let webhook_id = header("webhook-id").unwrap_or_default();
        let pending = self.pending(&webhook_id);
        let mut inner = self.endpoints.lock();
        let rule = inner.rule(pending.as_ref().map(|(campaign, user)| (&**campaign, &**user)), &request.url);
        let (status, retry_after) = rule.map_or((200, None), |rule| (rule.status, rule.retry_after));
        inner.seen.push(Seen {
            at: self.clock.now(),
            webhook_id,
            attempt: header("webhook-attempt").and_then(|text| text.parse().ok()).unwrap_or(0),
            url: request.url,
            body: request.body.map(|body| {
                let text = String::from_utf8_lossy(&body);
                Value::from_json(&text).unwrap_or_else(|_| Value::text(&*text))
            }),
            status,
        });
        let answer = Answer {
            status: if status == 0 { Err(Failure::Timeout) } else { Ok(status) },
            retry_after: retry_after.map(Into::into),
            latency: Duration::ZERO,
            body_excerpt: None,
        };
        Box::pin(std::future::ready(answer))
    }
}

impl Inner {
    fn rule(&mut self, pending: Option<(&str, &str)>, url: &str) -> Option<AnswerRule> {
        let same = |wanted: &Option<String>, is: Option<&str>| wanted.as_deref().is_none_or(|wanted| Some(wanted) == is);
        let (rule, used) = self.rules.iter_mut().find(|(rule, used)| {
            same(&rule.campaign, pending.map(|(campaign, _)| campaign))
                && same(&rule.user_id, pending.map(|(_, user)| user))
                && same(&rule.url, Some(url))
                && rule.times.is_none_or(|times| *used < times)
        })?;
        *used += 1;
        Some(rule.clone())
    }
}

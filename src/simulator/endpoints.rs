//! The receivers and linked services of a simulation: they answer as they are told, at once, and remember every request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::engine::definition::Method;
use crate::engine::delivery::wire::Header;
use crate::engine::delivery::{Answer, Failure, Secret};
use crate::engine::id::{DeliveryId, UserId};
use crate::engine::record::codec;
use crate::engine::time::Timestamp;
use crate::engine::value::Value;
use crate::worker::attempt::Secrets as Resolve;
use crate::worker::ports::{Clock, Exchange, Future, HttpRequest, Turn};

use super::ports::{OpenStore, VirtualClock};
use super::rules::{AnswerRule, LinkRule};

/// A request as an endpoint saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Timestamp,
    pub webhook_id: String,
    pub attempt: u32,
    pub method: Method,
    pub url: String,
    /// All of them, the attempt's own too.
    pub headers: Vec<Header>,
    /// Parsed where it is JSON, else its text.
    pub body: Option<Value>,
    pub status: u16,
}

/// The secrets of a simulation.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    pub values: BTreeMap<String, String>,
    /// What stands for one that has no value; without it the delivery fails, as it would live.
    pub otherwise: Option<String>,
}

/// All endpoints of a world. Clones are the same.
#[derive(Clone, Default)]
pub struct Endpoints(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    answers: Vec<(AnswerRule, u32)>,
    /// Whether any answer depends on whose delivery it is.
    personal: bool,
    links: Vec<LinkRule>,
    secrets: Secrets,
    seen: Vec<Seen>,
}

/// What a service answers that has no rule.
const NO_LINK: u16 = 404;

impl Endpoints {
    pub fn new(answers: Vec<AnswerRule>, links: Vec<LinkRule>, secrets: Secrets) -> Endpoints {
        let personal = answers.iter().any(|rule| rule.campaign.is_some() || rule.user_id.is_some());
        let answers = answers.into_iter().map(|rule| (rule, 0)).collect();
        Endpoints(Arc::new(Mutex::new(Inner { answers, personal, links, secrets, seen: Vec::new() })))
    }

    /// Answers by these rules from now on.
    pub fn answer_by(&self, answers: Vec<AnswerRule>) {
        self.lock().answers = answers.into_iter().map(|rule| (rule, 0)).collect();
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    /// The requests since the last call: whoever takes them keeps them.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.lock().seen)
    }

    pub fn secrets(&self) -> Resolve {
        let endpoints = self.clone();
        Arc::new(move |name| {
            let inner = endpoints.lock();
            inner.secrets.values.get(name).or(inner.secrets.otherwise.as_ref()).map(|value| Secret::new(&**value))
        })
    }

    /// The exchange of one worker; the stored records tell whose delivery a request is.
    pub fn exchange(&self, store: &Arc<dyn OpenStore>, clock: &VirtualClock) -> SimulatedExchange {
        SimulatedExchange { endpoints: self.clone(), store: store.clone(), clock: clock.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct SimulatedExchange {
    endpoints: Endpoints,
    store: Arc<dyn OpenStore>,
    clock: VirtualClock,
}

impl SimulatedExchange {
    /// Campaign and users of a request that is pending. Whoever is being sent to was written a moment ago.
    fn pending(&self, webhook_id: &str) -> Option<(Box<str>, Vec<UserId>)> {
        let id = DeliveryId::parse(webhook_id)?;
        let mut pending = None;
        self.store.look_for(&mut |user, record| {
            let record = codec::decode(record).unwrap_or_default();
            let entry = record.pending.into_iter().find(|entry| entry.id == id);
            let users = match record.batch {
                Some(batch) => batch.members.into_iter().map(|member| member.user).collect(),
                None => vec![user.clone()],
            };
            pending = entry.map(|entry| (entry.claim.campaign.clone(), users));
            pending.is_some()
        });
        pending
    }

    fn webhook(&self, request: HttpRequest, webhook_id: String) -> Answer {
        let personal = self.endpoints.lock().personal;
        let pending = if personal { self.pending(&webhook_id) } else { None };
        let mut inner = self.endpoints.lock();
        let rule = inner.rule(pending.as_ref().map(|(campaign, users)| (&**campaign, &users[..])), &request.url);
        let rule = rule.unwrap_or(AnswerRule { status: 200, ..AnswerRule::default() });
        inner.seen.push(Seen {
            at: self.clock.now(),
            webhook_id,
            attempt: header(&request, "webhook-attempt").and_then(|text| text.parse().ok()).unwrap_or(0),
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: request.body.map(|body| {
                let text = String::from_utf8_lossy(&body);
                Value::from_json(&text).unwrap_or_else(|_| Value::text(&*text))
            }),
            status: rule.status,
        });
        answer(rule.status, rule.retry_after, rule.body)
    }

    fn link(&self, request: &HttpRequest) -> Answer {
        let inner = self.endpoints.lock();
        match inner.links.iter().find(|rule| rule.url == request.url) {
            Some(rule) => answer(rule.status, None, Some(rule.body.as_str().map_or_else(|| rule.body.to_string(), str::to_owned))),
            None => answer(NO_LINK, None, None),
        }
    }
}

impl Exchange for SimulatedExchange {
    fn trusts(&self) -> bool {
        false
    }

    /// What carries no `webhook-id` is the fetching of a link.
    fn exchange(&self, request: HttpRequest) -> Future<'_, Answer> {
        let answer = match header(&request, "webhook-id") {
            Some(webhook_id) => self.webhook(request, webhook_id),
            None => self.link(&request),
        };
        Box::pin(std::future::ready(answer))
    }

    fn exchange_in_turn<'a>(&'a self, request: HttpRequest, turn: &'a dyn Turn) -> Future<'a, Answer> {
        Box::pin(async move {
            match turn.comes().await {
                true => self.exchange(request).await,
                false => Answer { status: Err(Failure::Unsent), ..answer(0, None, None) },
            }
        })
    }
}

impl Inner {
    fn rule(&mut self, pending: Option<(&str, &[UserId])>, url: &str) -> Option<AnswerRule> {
        let same = |wanted: &Option<String>, is: Option<&str>| wanted.as_deref().is_none_or(|wanted| Some(wanted) == is);
        let (rule, used) = self.answers.iter_mut().find(|(rule, used)| {
            same(&rule.campaign, pending.map(|(campaign, _)| campaign))
                && rule.user_id.as_deref().is_none_or(|wanted| pending.is_some_and(|(_, users)| users.iter().any(|user| **user == *wanted)))
                && same(&rule.url, Some(url))
                && rule.times.is_none_or(|times| *used < times)
        })?;
        *used += 1;
        Some(rule.clone())
    }
}

fn header(request: &HttpRequest, name: &str) -> Option<String> {
    request.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone().into_owned())
}

fn answer(status: u16, retry_after: Option<String>, body: Option<String>) -> Answer {
    Answer {
        status: if status == 0 { Err(Failure::Timeout) } else { Ok(status) },
        cut: None,
        retry_after: retry_after.map(Into::into),
        latency: Duration::ZERO,
        body_excerpt: body.map(Into::into),
    }
}

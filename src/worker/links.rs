//! Linked content (H5): fetches what a send's templates ask for, through the same `Exchange` as webhooks and with its rules of
//! addresses. One attempt a link, no redirect, at most [`MAX_CONTENT_BYTES`] of its answer. Answers are used again as long as each
//! link allows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;

use crate::engine::definition::{Method, OnLinkError};
use crate::engine::delivery::admission::Slot;
use crate::engine::delivery::breaker::Health;
use crate::engine::delivery::{self, lease, wire};
use crate::engine::effect::{Fetch, Wanted};
use crate::engine::id::UserId;
use crate::engine::step::Input;
use crate::engine::time::Timestamp;
use crate::engine::value::Value;

use super::attempt::Outside;
use super::ports::HttpRequest;

/// Largest answer, in bytes: what is longer is an error, never a part.
pub const MAX_CONTENT_BYTES: usize = 16 << 10;

/// Answers kept in a worker, all URLs together, in bytes.
const MAX_CACHE_BYTES: usize = 16 << 20;

/// What an entry takes beside its texts, about.
const ENTRY_BYTES: usize = 256;

/// Fetches under way at a time from one service.
pub const SERVICE_SLOTS: u32 = 64;

/// A send whose linked content is to be fetched.
pub struct Fetching {
    pub user: UserId,
    pub fetch: Box<Fetch>,
    /// Where it waits for a slot: the service of its first link. No destination has such a name.
    pub service: Box<str>,
}

impl Fetching {
    pub fn new(user: UserId, fetch: Box<Fetch>) -> Fetching {
        let url = fetch.wanted.first().map_or("", |wanted| &wanted.url);
        let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = after_scheme.split(['/', '?', '#']).next().unwrap_or_default();
        Fetching { user, service: format!("link to {host}").into(), fetch }
    }
}

/// Fetches it all, in the slot that it has. Answers the input that decides the send; `None` when its lease is too short by now: then it
/// comes up again when that ends.
pub async fn fetch(outside: &Outside, fetching: Fetching, slot: Slot) -> Option<Input> {
    let Fetching { fetch, service, .. } = fetching;
    let Fetch { campaign, key, delivery, wanted, lease } = &*fetch;
    let began = outside.clock.monotonic();
    let release = |held, health| outside.destinations.released(&service, slot, held, health, outside.clock.now());
    if !lease::may_start(outside.clock.now(), *lease, fetch.timeout()) {
        release(Duration::ZERO, Health::Unknown);
        return None;
    }
    let mut fetched = Ok(Vec::with_capacity(wanted.len()));
    for wanted in wanted {
        let value = match one(outside, key, wanted).await {
            Ok(value) => value,
            Err(_) if wanted.on_error == OnLinkError::Empty => Value::Null,
            Err(why) => {
                fetched = Err(format!("link {}: {why}", wanted.name).into());
                break;
            }
        };
        if let Ok(values) = &mut fetched {
            values.push((wanted.name.clone(), value));
        }
    }
    // Whatever it answered: what a failed link means is said by its `on_error`, and it halts nobody.
    release(outside.clock.monotonic().saturating_sub(began), Health::Answered);
    Some(Input::Fetched { campaign: *campaign, delivery: *delivery, fetched })
}

/// One link, or why there is no content.
async fn one(outside: &Outside, campaign: &str, wanted: &Wanted) -> Result<Value, String> {
    if let Some(value) = outside.links.get(&wanted.url, wanted.ttl, outside.clock.now()) {
        outside.metrics.linked(campaign, "cached", Duration::ZERO);
        return Ok((*value).clone());
    }
    let request = HttpRequest {
        method: Method::Get,
        url: wanted.url.to_string(),
        headers: vec![
            ("user-agent".into(), wire::USER_AGENT.into()),
            ("accept".into(), "application/json, text/*;q=0.9, */*;q=0.1".into()),
        ],
        body: None,
        ca: None,
        timeout: wanted.timeout,
        // One more than is allowed, to tell what is longer.
        keep_bytes: MAX_CONTENT_BYTES + 1,
    };
    let answer = outside.exchange.exchange(request).await;
    let text = answer.body_excerpt.as_deref().unwrap_or_default();
    let result = match (answer.status, answer.cut) {
        (Ok(200..=299), Some(cut)) => Err(format!("its answer does not come to its end: {cut}")),
        (Ok(200..=299), None) if text.len() > MAX_CONTENT_BYTES => Err(format!("its answer has more than {MAX_CONTENT_BYTES} bytes")),
        (Ok(200..=299), None) => Ok(value_of(text)),
        (Ok(_) | Err(_), _) => Err(delivery::cause(&answer)),
    };
    outside.metrics.linked(campaign, if result.is_ok() { "fetched" } else { "failed" }, answer.latency);
    if let (Ok(value), false) = (&result, wanted.ttl.is_zero()) {
        outside.links.put(&wanted.url, value, text.len(), outside.clock.now());
    }
    result
}

/// What is JSON as its value, anything else as its text.
fn value_of(text: &str) -> Value {
    Value::from_json(text).unwrap_or_else(|_| Value::text(text))
}

/// Answers by URL, shared by the lanes of a worker. The one kept longest makes room.
#[derive(Default)]
pub struct LinkCache(Mutex<Cached>);

#[derive(Default)]
struct Cached {
    by_url: HashMap<Arc<str>, Kept>,
    /// In the order in which they came, each with its number; one that came anew has a later place, and this one means nothing.
    order: VecDeque<(Arc<str>, u64)>,
    next: u64,
    bytes: usize,
}

struct Kept {
    value: Arc<Value>,
    at: Timestamp,
    bytes: usize,
    number: u64,
}

impl LinkCache {
    /// The answer to this URL, if it is younger than `ttl`.
    fn get(&self, url: &str, ttl: Duration, now: Timestamp) -> Option<Arc<Value>> {
        let cached = self.lock();
        let kept = cached.by_url.get(url).filter(|kept| now < kept.at.after(ttl))?;
        Some(kept.value.clone())
    }

    /// Keeps an answer of so many bytes.
    fn put(&self, url: &str, value: &Value, bytes: usize, now: Timestamp) {
        self.lock().put(url.into(), Arc::new(value.clone()), bytes, now);
    }

    fn lock(&self) -> MutexGuard<'_, Cached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cached {
    fn put(&mut self, url: Arc<str>, value: Arc<Value>, bytes: usize, at: Timestamp) {
        let (bytes, number) = (bytes + 2 * url.len() + ENTRY_BYTES, self.next);
        self.next += 1;
        self.bytes += bytes;
        if let Some(old) = self.by_url.insert(url.clone(), Kept { value, at, bytes, number }) {
            self.bytes -= old.bytes;
        }
        self.order.push_back((url, number));
        if self.order.len() > 2 * self.by_url.len() {
            self.order.retain(|(url, number)| self.by_url.get(url).is_some_and(|kept| kept.number == *number));
        }
        while self.bytes > MAX_CACHE_BYTES {
            let Some((url, number)) = self.order.pop_front() else { return };
            if self.by_url.get(&url).is_some_and(|kept| kept.number == number)
                && let Some(old) = self.by_url.remove(&url)
            {
                self.bytes -= old.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_is_used_again_while_it_is_young() {
        let cache = LinkCache::default();
        cache.put("u", &Value::Int(1), 1, Timestamp(1000));
        let check = |url: &str, ttl: Duration, now: i64, expect: Option<i64>| {
            assert_eq!(cache.get(url, ttl, Timestamp(now)).as_deref(), expect.map(Value::Int).as_ref(), "{url} {ttl:?} {now}");
        };
        check("u", 5 * SECOND, 1000, Some(1));
        check("u", 5 * SECOND, 5999, Some(1));
        check("u", 5 * SECOND, 6000, None);
        check("u", SECOND, 2000, None);
        check("u", Duration::ZERO, 1000, None);
        check("v", 5 * SECOND, 1000, None);
        cache.put("u", &Value::Int(2), 1, Timestamp(7000));
        check("u", 5 * SECOND, 7000, Some(2));
    }

    #[test]
    fn the_cache_is_bounded_and_the_oldest_makes_room() {
        let cache = LinkCache::default();
        for i in 0..5000 {
            cache.put(&format!("u{i}"), &Value::Null, MAX_CONTENT_BYTES, Timestamp(i));
        }
        let known = |i: i64| cache.get(&format!("u{i}"), 3600 * SECOND, Timestamp(5000)).is_some();
        assert!(known(4999) && known(4500) && !known(0));
        let inner = cache.lock();
        assert!(inner.bytes <= MAX_CACHE_BYTES && inner.order.len() <= 2 * inner.by_url.len());
    }

    #[test]
    fn an_answer_that_comes_anew_leaves_no_trace_of_the_old() {
        let cache = LinkCache::default();
        for i in 0..1000 {
            cache.put(if i % 2 == 0 { "a" } else { "b" }, &Value::Int(i), 10, Timestamp(i));
        }
        let inner = cache.lock();
        assert_eq!((inner.by_url.len(), inner.bytes), (2, 2 * (10 + 2 + ENTRY_BYTES)));
        assert!(inner.order.len() <= 5, "{}", inner.order.len());
    }

    #[test]
    fn json_is_a_value_and_the_rest_text() {
        for (text, expect) in [
            (r#"{"a":[1]}"#, Value::from_json(r#"{"a":[1]}"#).unwrap()),
            ("12.5", Value::Float(12.5)),
            ("null", Value::Null),
            ("sunny", Value::text("sunny")),
            ("", Value::text("")),
            ("{broken", Value::text("{broken")),
        ] {
            assert_eq!(value_of(text), expect, "{text}");
        }
    }

    #[test]
    fn a_fetch_waits_at_the_service_of_its_first_link() {
        for (url, expect) in [
            ("https://w.example/a?b", "link to w.example"),
            ("https://w.example:8443?b", "link to w.example:8443"),
            ("http://[::1]:80/", "link to [::1]:80"),
        ] {
            let link = Wanted { name: "w".into(), url: url.into(), ttl: SECOND, timeout: SECOND, on_error: OnLinkError::Drop };
            let fetch = Fetch {
                campaign: crate::engine::id::CampaignId(1),
                key: "k".into(),
                delivery: crate::engine::id::DeliveryId([1; 16]),
                wanted: vec![link],
                lease: Timestamp(0),
            };
            assert_eq!(&*Fetching::new("u1".into(), Box::new(fetch)).service, expect);
        }
    }
}

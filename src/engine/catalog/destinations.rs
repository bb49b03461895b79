//! Which destination a webhook goes to, with what limits and what credentials.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::Policy;
use crate::engine::definition::{Batch, Destination, Rate, Webhook};
use crate::engine::delivery::Credentials;
use crate::engine::record::{Piece, Request};

/// Exchanges at a time with a destination that does not say (contract, section 3).
pub const DEFAULT_MAX_IN_FLIGHT: u32 = 64;

/// Where a request goes and how it is treated there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Route<'a> {
    /// The destination's key, else the host: what queues, slots and labels are kept by.
    pub name: &'a str,
    /// For the whole exchange.
    pub timeout: Duration,
    pub max_retries: u32,
    /// Waits of the retries after those.
    pub slow_retries: &'a [Duration],
    /// Over all workers.
    pub max_in_flight: u32,
    /// Over all workers.
    pub rate: Option<Rate>,
    /// Several users share a request.
    pub batch: Option<Batch>,
}

impl<'a> Route<'a> {
    pub(super) fn new(name: &'a str, destination: Option<&'a Destination>, policy: &Policy) -> Route<'a> {
        Route {
            name,
            timeout: destination.and_then(|destination| destination.timeout).unwrap_or(policy.timeout),
            max_retries: destination.and_then(|destination| destination.max_retries).unwrap_or(policy.max_retries),
            slow_retries: destination.map_or(&[], |destination| &destination.slow_retries),
            rate: destination.and_then(|destination| destination.rate),
            batch: destination.and_then(|destination| destination.batch),
            max_in_flight: destination.and_then(|destination| destination.max_in_flight).unwrap_or(DEFAULT_MAX_IN_FLIGHT),
        }
    }
}

/// Finds destinations by key and by host; positions are those of the list it was built from. Where several have one host, none
/// is found by it: such a webhook must name its own.
#[derive(Debug, Default)]
pub(super) struct Finder {
    by_key: HashMap<Box<str>, usize>,
    by_host: HashMap<Box<str>, Option<usize>>,
}

impl Finder {
    pub(super) fn of<'a>(list: impl IntoIterator<Item = &'a Destination>) -> Finder {
        let mut finder = Finder::default();
        for (at, destination) in list.into_iter().enumerate() {
            finder.by_key.insert(destination.key.clone(), at);
            finder.by_host.entry(destination.host.clone()).and_modify(|known| *known = None).or_insert(Some(at));
        }
        finder
    }

    /// The destination that a webhook names, else the one that its host has alone.
    pub(super) fn of_webhook(&self, webhook: &Webhook) -> Option<usize> {
        match &webhook.destination {
            Some(name) => self.of_key(name),
            None => self.of_host(&webhook.host),
        }
    }

    /// The destination that a host has alone.
    fn of_host(&self, host: &str) -> Option<usize> {
        self.by_host.get(host).copied().flatten()
    }

    pub(super) fn of_key(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }
}

/// What the destinations ask for, for requests that were frozen before.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    /// At the positions of the destinations: the host that they are for, and what is asked for there.
    known: Vec<(Box<str>, Option<Arc<Credentials>>)>,
    /// Of destinations that could not be read, by key and by host.
    unknown: HashMap<Box<str>, Arc<Credentials>>,
}

impl Keyring {
    /// `lost` are key and host of the destinations that could not be read.
    pub(super) fn of<'a>(list: &[Destination], lost: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Keyring {
        let known = |destination: &Destination| (destination.host.clone(), Credentials::of(destination).map(Arc::new));
        let known = list.iter().map(known).collect();
        let mut unknown = HashMap::new();
        for (key, host) in lost {
            let credentials = Arc::new(Credentials::unknown(key));
            unknown.extend(host.map(|host| (host.into(), credentials.clone())));
            unknown.insert(key.into(), credentials);
        }
        Keyring { known, unknown }
    }

    /// Those of the destination that the request names. Where that one has left since, or is for another host by now: of the one that the
    /// request's host has alone. What a host is sent is never what another one asks for.
    pub(super) fn of_request(&self, finder: &Finder, request: &Request) -> Option<Arc<Credentials>> {
        let host = host(request);
        let named = finder.of_key(&request.destination).and_then(|at| self.known.get(at));
        if let Some((_, asked)) = named.filter(|(of, _)| host.is_some_and(|host| of.eq_ignore_ascii_case(host))) {
            return asked.clone();
        }
        let host = host.map(str::to_ascii_lowercase);
        let by_host = host.as_ref().and_then(|host| self.unknown.get(host.as_str()));
        if let Some(unknown) = self.unknown.get(&request.destination).or(by_host) {
            return Some(unknown.clone());
        }
        match host.as_ref().and_then(|host| finder.of_host(host)).and_then(|at| self.known.get(at)) {
            Some((_, asked)) => asked.clone(),
            // It asked for something while it was for this host, and nobody knows that any longer.
            None => named.and_then(|(_, asked)| asked.as_ref()).map(|_| Arc::new(Credentials::moved(&request.destination))),
        }
    }
}

/// `host[:port]` of a frozen request as it is written: fixed text before anything else in its URL.
fn host(request: &Request) -> Option<&str> {
    let Some(Piece::Text(url)) = request.url.0.first() else { return None };
    let (_, rest) = url.split_once("://")?;
    rest.split(['/', '?', '#']).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::definition::{Auth, ContentType, Credential, Method};
    use crate::engine::record::Frozen;

    fn destination(key: &str, host: &str, token: Option<&str>) -> Destination {
        let auth = token.map(|token| Auth::Bearer(Credential::Secret(token.into())));
        Destination { auth, ..Destination::new(key.into(), host.into()) }
    }

    fn request(destination: &str, url: &str) -> Request {
        Request {
            destination: destination.into(),
            method: Method::Post,
            url: Frozen(vec![Piece::Text(url.into())]),
            headers: Vec::new(),
            content_type: ContentType::Json,
            body: None,
        }
    }

    #[test]
    fn a_frozen_request_gets_what_is_asked_for_now() {
        let list = [
            destination("a", "a.example", Some("token-a")),
            destination("b", "b.example:8443", Some("token-b")),
            destination("open", "open.example", None),
            destination("twin-1", "twin.example", Some("token-1")),
            destination("twin-2", "twin.example", Some("token-2")),
        ];
        let keyring = Keyring::of(&list, [("lost", Some("lost.example"))]);
        let finder = Finder::of(&list);
        let check = |name: &str, url: &str, expect: Option<Credentials>| {
            let found = keyring.of_request(&finder, &request(name, url));
            assert_eq!(found.as_deref(), expect.as_ref(), "{name} {url}");
        };
        let of = |at: usize| Credentials::of(&list[at]);
        check("a", "https://a.example/x", of(0));
        // It is for another host by now: by the host, if anybody has that.
        check("a", "https://b.example:8443/x", of(1));
        check("a", "https://former.example/x", Some(Credentials::moved("a")));
        check("a", "https://twin.example/x", Some(Credentials::moved("a")));
        check("open", "https://former.example/x", None);
        check("open", "https://open.example/x", None);
        check("twin-2", "https://twin.example/", of(4));
        // One that was renamed, or came later: by the host.
        check("gone", "https://A.example?x", of(0));
        check("b.example:8443", "https://b.example:8443/x", of(1));
        check("b.example", "https://b.example/x", None);
        check("gone", "https://twin.example/", None);
        check("elsewhere.example", "https://elsewhere.example/", None);
        // Of what cannot be read nobody knows.
        check("lost", "https://x.example/", Some(Credentials::unknown("lost")));
        check("gone", "https://lost.example/", Some(Credentials::unknown("lost")));
        assert_ne!(of(3), of(4));
    }
}

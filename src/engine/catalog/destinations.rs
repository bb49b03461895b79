//! Which destination a webhook goes to, and with what limits.

use std::time::Duration;

use hashbrown::HashMap;

use super::Policy;
use crate::engine::definition::{Destination, Rate, Webhook};

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
}

impl<'a> Route<'a> {
    pub(super) fn new(name: &'a str, destination: Option<&'a Destination>, policy: &Policy) -> Route<'a> {
        Route {
            name,
            timeout: destination.and_then(|destination| destination.timeout).unwrap_or(policy.timeout),
            max_retries: destination.and_then(|destination| destination.max_retries).unwrap_or(policy.max_retries),
            slow_retries: destination.map_or(&[], |destination| &destination.slow_retries),
            rate: destination.and_then(|destination| destination.rate),
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
            None => self.by_host.get(&webhook.host).copied().flatten(),
        }
    }

    pub(super) fn of_key(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }
}

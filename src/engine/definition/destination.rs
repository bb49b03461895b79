//! Destinations: named endpoints with limits of their own.

use std::time::Duration;

use super::problem::Problems;
use super::reader::{self, Reader};
use super::text::Node;
use super::{Destination, address, campaign, webhook};

/// Bounds of a destination's timeout (contract, section 3).
pub const TIMEOUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(90));

/// More fast retries than this only hold a slot: what waits longer belongs into a slower tier.
pub const MAX_RETRIES: u32 = 10;

/// Most exchanges at a time with one destination.
pub const MAX_IN_FLIGHT: u32 = 10_000;

/// Keys that come with the rest of the language.
const LATER: [&str; 6] = ["rate", "slow_retries", "auth", "sign", "ca", "batch"];

pub(super) fn destination(node: &Node, problems: &Problems) -> Option<Destination> {
    let mut reader = Reader::open(node, "a destination", problems)?;
    reader.get("kind");
    let key = campaign::key(&mut reader);
    let host = reader.require("match", "the host[:port] of the urls it is for").and_then(|node| {
        let text = reader::name(node, "`match`", problems)?;
        address::host_of_match(text).map_err(|refused| problems.error_with_help(node.place, refused.message, refused.help)).ok()
    });
    let count = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
    let max_in_flight = count(reader.integer("max_in_flight", 1..=i64::from(MAX_IN_FLIGHT)));
    let timeout = reader.duration("timeout", TIMEOUT.0..=TIMEOUT.1);
    let max_retries = count(reader.integer("max_retries", 0..=i64::from(MAX_RETRIES)));
    let headers = webhook::headers(&mut reader);
    reader.close(&LATER);
    Some(Destination { max_in_flight, timeout, max_retries, headers, ..Destination::new(key?.into(), host?) })
}

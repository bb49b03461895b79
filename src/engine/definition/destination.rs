//! Destinations: named endpoints with limits and credentials of their own.

use std::time::Duration;

use super::condition::every;
use super::headers::HEADERS;
use super::part::{self, CREDENTIAL, SECRET};
use super::problem::Problems;
use super::reader::{self, Reader};
use super::shape::{Shape, Type, key, required};
use super::text::{Data, Node};
use super::{Auth, Batch, Credential, Destination, Rate, address, headers};

/// Bounds of a destination's timeout (contract, section 3).
pub const TIMEOUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(90));

/// More fast retries than this only hold a slot: what waits longer belongs into a slower tier.
pub const MAX_RETRIES: u32 = 10;

/// Most exchanges at a time with one destination.
pub const MAX_IN_FLIGHT: u32 = 10_000;

/// Most requests a second to one destination.
pub const MAX_PER_SECOND: f64 = 100_000.0;

/// About one a day, which is how long a delivery is tried.
pub const MIN_PER_SECOND: f64 = 0.00001;

/// The tiers of slow retries: each has a topic of its own.
pub const SLOW_TIERS: [(&str, Duration); 3] =
    [("1m", Duration::from_secs(60)), ("5m", Duration::from_secs(300)), ("30m", Duration::from_secs(1800))];

/// How many slow retries there may be.
pub const MAX_SLOW_RETRIES: usize = 10;

/// How many secrets sign a request at once: the old and the new one, and one to spare.
pub const MAX_SIGNATURES: usize = 3;

/// How many users one request may carry, and how long the first of them may wait.
pub const MAX_BATCH: u32 = 1000;
pub const MAX_LINGER: Duration = Duration::from_secs(60);

/// For a batch that does not say.
pub const DEFAULT_LINGER: Duration = Duration::from_secs(1);

const COUNT_MAX: i64 = u32::MAX as i64;

pub(super) static DESTINATION: Shape = Shape::new(
    "destination",
    "a destination",
    "A named endpoint with limits and credentials of its own.",
    &[
        required("kind", Type::Choice(&["destination"]), "What this document is."),
        required("key", Type::DocumentKey, "Its name, for `webhook.destination` and in metrics."),
        required("match", Type::Name, "The host[:port] of the URLs it is for."),
        key("rate", Type::Map(&RATE), "Requests a second, over all workers. Absent: no limit."),
        key("max_in_flight", Type::Integer(1, MAX_IN_FLIGHT as i64), "Requests at a time. Default 64."),
        key("timeout", Type::Duration, "Of the whole exchange, 1s to 90s. Default: `delivery.timeout`."),
        key("max_retries", Type::Integer(0, MAX_RETRIES as i64), "Fast retries. Default: `delivery.max_retries`."),
        key(
            "slow_retries",
            Type::List(&Type::Choice(&["1m", "5m", "30m"]), 0, MAX_SLOW_RETRIES),
            "Waits of the retries after the fast ones: 1m, 5m or 30m each. Default: none.",
        ),
        key("auth", Type::Map(&AUTH), "How requests identify themselves."),
        key(
            "sign",
            Type::AnyOf(&[Type::Map(&SECRET), Type::List(&Type::Map(&SECRET), 1, MAX_SIGNATURES)]),
            "Signs requests (Standard Webhooks v1): {secret: name}; a list signs with each, while keys rotate.",
        ),
        key("headers", Type::Map(&HEADERS), "Headers of every request; templates over `secret` and `campaign`."),
        key("ca", Type::Named(&CREDENTIAL), "A certificate authority that is trusted as well: PEM text or {secret: name}."),
        key("batch", Type::Map(&BATCH), "Several users in one request; every campaign it is for needs a `profiles` body."),
    ],
);

static RATE: Shape = Shape::new(
    "rate",
    "`rate`",
    "Requests a second.",
    &[
        required("per_second", Type::Number, "How many a second."),
        key("burst", Type::Integer(1, COUNT_MAX), "How many at once after a pause. Default: as many as in a second."),
    ],
);

static AUTH: Shape = Shape::kinds(
    "auth",
    "`auth`",
    "One of `basic` and `bearer`.",
    &[key("basic", Type::Map(&BASIC), "HTTP Basic."), key("bearer", Type::Map(&SECRET), "A bearer token: {secret: name}.")],
);

static BASIC: Shape = Shape::new(
    "basic",
    "`basic`",
    "HTTP Basic.",
    &[
        required("username", Type::Named(&CREDENTIAL), "The user name."),
        required("password", Type::Map(&SECRET), "The password: {secret: name}."),
    ],
);

static BATCH: Shape = Shape::new(
    "batch",
    "`batch`",
    "Several users of a campaign in one request, where all of it but their entries in `profiles` is equal.",
    &[
        required(
            "max",
            Type::Integer(2, MAX_BATCH as i64),
            "How many users at most. It goes out earlier when the next would make it larger than 128 KiB.",
        ),
        key("linger", Type::Duration, "How long the first waits for others, up to 60s. Default 1s."),
    ],
);

/// A destination; what of it cannot be read has a stand-in.
pub(super) fn destination(node: &Node, problems: &Problems) -> Option<Destination> {
    let mut reader = Reader::of(node, &DESTINATION, problems)?;
    reader.get("kind");
    let key = part::key(&mut reader);
    let host = reader.require("match", "the host[:port] of the urls it is for").and_then(|node| {
        let text = reader::name(node, "`match`", problems)?;
        address::host_of_match(text).map_err(|refused| problems.error_with_help(node.place, refused.message, refused.help)).ok()
    });
    let rate = rate(&mut reader);
    let max_in_flight = count(reader.integer("max_in_flight", 1..=i64::from(MAX_IN_FLIGHT)));
    let timeout = reader.duration("timeout", TIMEOUT.0..=TIMEOUT.1);
    let max_retries = count(reader.integer("max_retries", 0..=i64::from(MAX_RETRIES)));
    let slow_retries = slow_retries(&mut reader);
    let auth_node = reader.get("auth");
    let auth = auth_node.and_then(|node| auth(node, problems));
    let sign = reader.get("sign").and_then(|node| sign(node, problems)).unwrap_or_default();
    let headers = headers::headers(&mut reader);
    if let Some(node) = auth_node.filter(|_| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"))) {
        problems.error_with_help(node.place, "`auth` and the header `Authorization` exclude each other", "keep the one that is meant");
    }
    let ca = reader.get("ca").and_then(|node| ca(node, problems));
    let batch = batch(&mut reader);
    reader.close();
    let key = problems.or_stand_in(key, || part::UNKNOWN).into();
    let host = problems.or_stand_in(host, || part::UNKNOWN.into());
    Some(Destination { key, host, max_in_flight, timeout, max_retries, rate, slow_retries, auth, sign, ca, batch, headers })
}

fn count(number: Option<i64>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

fn rate(destination: &mut Reader<'_>) -> Option<Rate> {
    let problems = destination.problems;
    let mut reader = destination.shaped("rate", &RATE)?;
    let node = reader.require("per_second", "how many requests a second, such as {per_second: 100}");
    let burst = count(reader.integer("burst", 1..=COUNT_MAX));
    reader.close();
    let node = node?;
    let per_second = reader::number(node, "`per_second`", problems)?;
    if !(MIN_PER_SECOND..=MAX_PER_SECOND).contains(&per_second) {
        problems.error(node.place, format!("`per_second` must be {MIN_PER_SECOND} to {MAX_PER_SECOND}, not {per_second}"));
        return None;
    }
    Some(Rate { per_second, burst: burst.unwrap_or(per_second.ceil() as u32) })
}

fn slow_retries(destination: &mut Reader<'_>) -> Vec<Duration> {
    let problems = destination.problems;
    let Some(items) = destination.list("slow_retries") else { return Vec::new() };
    if let Some(extra) = items.get(MAX_SLOW_RETRIES) {
        problems.error(extra.place, format!("`slow_retries` has at most {MAX_SLOW_RETRIES} items"));
    }
    items.iter().filter_map(|item| reader::choice(item, "an item of `slow_retries`", &SLOW_TIERS, problems)).collect()
}

fn auth(node: &Node, problems: &Problems) -> Option<Auth> {
    let mut reader = Reader::of(node, &AUTH, problems)?;
    let written = reader.among(&["basic", "bearer"]);
    reader.close();
    let [entry] = written[..] else {
        let place = written.get(1).map_or(node.place, |second| second.place);
        let help = "{basic: {username: u, password: {secret: name}}} or {bearer: {secret: name}}";
        problems.error_with_help(place, "`auth` needs either `basic` or `bearer`", help);
        return None;
    };
    if &*entry.key == "bearer" {
        return part::secret(&entry.value, "`bearer`", problems).map(Auth::Bearer);
    }
    let mut reader = Reader::of(&entry.value, &BASIC, problems)?;
    let username = reader.require("username", "the user name").and_then(|node| part::credential(node, "`username`", problems));
    let password = reader.require("password", "the password: {secret: name}").and_then(|node| part::secret(node, "`password`", problems));
    reader.close();
    if let Some(Credential::Text(name)) = &username
        && name.contains(':')
    {
        // RFC 7617, section 2: what stands before the first colon is the user name.
        problems.error(entry.value.place, "a user name for `basic` has no colon");
    }
    Some(Auth::Basic { username: username?, password: password? })
}

fn sign(node: &Node, problems: &Problems) -> Option<Vec<Credential>> {
    let Data::List(items) = &node.data else { return part::secret(node, "`sign`", problems).map(|one| vec![one]) };
    if !(1..=MAX_SIGNATURES).contains(&items.len()) {
        problems.error(node.place, format!("`sign` has 1 to {MAX_SIGNATURES} secrets, not {}", items.len()));
        return None;
    }
    every(items.iter().map(|item| part::secret(item, "an item of `sign`", problems)))
}

fn ca(node: &Node, problems: &Problems) -> Option<Credential> {
    let credential = part::credential(node, "`ca`", problems)?;
    if let Credential::Text(text) = &credential
        && !text.contains("-----BEGIN CERTIFICATE-----")
    {
        let help = "the text of the file with its `-----BEGIN CERTIFICATE-----`, or {secret: name}; a path is not read";
        problems.error_with_help(node.place, "`ca` is no PEM certificate", help);
        return None;
    }
    Some(credential)
}

fn batch(destination: &mut Reader<'_>) -> Option<Batch> {
    let mut reader = destination.shaped("batch", &BATCH)?;
    reader.require("max", "how many users in one request at most: {max: 100}");
    let max = count(reader.integer("max", 2..=i64::from(MAX_BATCH)));
    let linger = reader.duration("linger", Duration::from_millis(1)..=MAX_LINGER).unwrap_or(DEFAULT_LINGER);
    reader.close();
    Some(Batch { max: max?, linger })
}

//! Reading settings: raw keys and values to the checked types. A variable of the environment is read like a file of one key, so that its
//! problems name it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::engine::definition::problem::{Place, Problem, Problems};
use crate::engine::definition::reader::{self, Reader};
use crate::engine::definition::text::{self, Data, Entry, Node};
use crate::engine::definition::{MAX_RETRIES, duration_text};
use crate::engine::delivery::credentials;

/// Variables of this form are settings: `CAMPANILE_<SECTION>__<KEY>`.
const PREFIX: &str = "CAMPANILE_";

/// The topics below `kafka.prefix`.
const INTERNAL: [&str; 7] = ["retry", "retry.1m", "retry.5m", "retry.30m", "runs", "dead", "outcomes"];

/// The longest of what follows the prefix.
const LONGEST_INTERNAL: &str = ".retry.30m";

/// Longest name of a topic that Kafka takes.
const MAX_TOPIC_BYTES: usize = 249;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn read(
    file: Option<&File<'_>>,
    environment: &[(String, String)],
    secret: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Vec<Problem>> {
    let mut found = Vec::new();
    let mut settings = layer("config/campanile.yaml (built in)", super::DEFAULTS, secret, &mut found);
    if let Some(file) = file {
        let layer = layer(file.name, file.text, secret, &mut found);
        check(file.name, &layer, &mut found);
        overlay(&mut settings, layer);
    }
    let mut variables: Vec<&(String, String)> =
        environment.iter().filter(|(name, _)| name.starts_with(PREFIX) && name.contains("__")).collect();
    variables.sort();
    for (name, value) in variables {
        let layer = variable(name, value, secret, &mut found);
        check(name, &layer, &mut found);
        overlay(&mut settings, layer);
    }
    let problems = Problems::of("the settings together");
    let config = config(&settings, &problems);
    config.iter().for_each(|config| fits_together(config, &problems));
    if found.is_empty() {
        found = problems.into_sorted();
    }
    match config {
        Some(config) if !found.iter().any(Problem::is_error) => Ok(config),
        _ => Err(found),
    }
}

/// What may come of several layers.
fn fits_together(config: &Config, problems: &Problems) {
    let Delivery { backoff_base: base, backoff_max: max, .. } = config.delivery;
    if base > max {
        let (base, max) = (duration_text::format(base), duration_text::format(max));
        let message = format!("`delivery.backoff` begins with {base}, longer than its longest wait of {max}");
        problems.error_with_help(Place::START, message, "waits double from `base` to `max`: raise the one or lower the other");
    }
}
/// Stands for a secret that is not there, which is told: what becomes of the setting without it is no problem of its own.
const NOT_THERE: &str = "(a secret that is not there)";

/// One file's tree, with its secrets resolved.
fn layer(name: &str, text: &str, secret: &dyn Fn(&str) -> Option<String>, found: &mut Vec<Problem>) -> Node {
    let problems = Problems::of(name);
    let mut documents = text::documents(text, &problems);
    if let Some(second) = documents.get(1) {
        problems.error(second.root.place, "settings are one document");
    }
    documents.truncate(1);
    let mut node = documents.pop().map_or(Node { place: Place::START, data: Data::Map(Vec::new()) }, |tree| tree.root);
    resolve(&mut node, secret, &problems);
    found.extend(problems.into_sorted());
    node
}

/// `CAMPANILE_DELIVERY__TIMEOUT=5s` as the tree `{delivery: {timeout: 5s}}`.
fn variable(name: &str, value: &str, secret: &dyn Fn(&str) -> Option<String>, found: &mut Vec<Problem>) -> Node {
    let problems = Problems::of(name);
    let keys: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_lowercase).collect();
    // Lists and maps are JSON; everything else is taken as YAML would take it, or as text.
    let parsed = text::documents(value, &Problems::of(name)).into_iter().next();
    let mut node = parsed.map(|tree| tree.root).unwrap_or_else(|| Node::from_value(&crate::engine::value::Value::text(value)));
    resolve(&mut node, secret, &problems);
    found.extend(problems.into_sorted());
    keys.iter().rev().fold(node, |value, key| Node {
        place: Place::START,
        data: Data::Map(vec![Entry { key: key.as_str().into(), place: Place::START, value }]),
    })
}

/// Replaces `{secret: name}` by the secret's content.
fn resolve(node: &mut Node, secret: &dyn Fn(&str) -> Option<String>, problems: &Problems) {
    match &mut node.data {
        Data::Map(entries) => {
            if let [Entry { key, value, .. }] = entries.as_slice()
                && &**key == "secret"
            {
                let Some(name) = reader::name(value, "`secret`", problems) else { return };
                let content = secret(name);
                if content.is_none() {
                    problems.error_with_help(
                        value.place,
                        format!("the secret `{name}` is not there"),
                        format!("put it into the directory of `secrets.dir`, or into {}", credentials::variable(name)),
                    );
                }
                let content = content.unwrap_or_else(|| NOT_THERE.to_owned());
                node.data = Node::from_value(&crate::engine::value::Value::text(content)).data;
                return;
            }
            entries.iter_mut().for_each(|entry| resolve(&mut entry.value, secret, problems));
        }
        Data::List(items) => items.iter_mut().for_each(|item| resolve(item, secret, problems)),
        Data::Scalar(_) | Data::Broken => {}
    }
}

/// Reads one layer alone, for its problems.
fn check(name: &str, layer: &Node, found: &mut Vec<Problem>) {
    let problems = Problems::of(name);
    let defaults = text::documents(super::DEFAULTS, &problems).pop();
    if let Some(mut whole) = defaults {
        overlay(&mut whole.root, layer.clone());
        config(&whole.root, &problems);
    }
    found.extend(problems.into_sorted());
}

/// Puts a layer over another: maps are merged key by key, everything else is replaced.
fn overlay(below: &mut Node, above: Node) {
    let place = above.place;
    match (&mut below.data, above.data) {
        (Data::Map(below), Data::Map(above)) => {
            for entry in above {
                match below.iter_mut().find(|known| known.key == entry.key) {
                    Some(known) => {
                        known.place = entry.place;
                        overlay(&mut known.value, entry.value);
                    }
                    None => below.push(entry),
                }
            }
        }
        (_, data) => {
            below.data = data;
            below.place = place;
        }
    }
}

fn config(node: &Node, problems: &Problems) -> Option<Config> {
    let mut root = Reader::open(node, "the settings", problems)?;
    let read = (
        section(&mut root, "kafka", kafka),
        section(&mut root, "state", state),
        section(&mut root, "embedded", |s| Some(Embedded { path: path(s) })),
        section(&mut root, "http", http),
        section(&mut root, "delivery", delivery),
        section(&mut root, "triggers", triggers),
        section(&mut root, "outcomes", outcomes),
        section(&mut root, "secrets", |s| Some(Secrets { dir: s.name("dir").map(PathBuf::from) })),
        section(&mut root, "telemetry", telemetry),
        section(&mut root, "log", log),
    );
    root.close();
    let (kafka, state, embedded, http, delivery, triggers, outcomes, secrets, telemetry, log) = read;
    Some(Config {
        kafka: kafka?,
        state: state?,
        embedded: embedded?,
        http: http?,
        delivery: delivery?,
        triggers: triggers?,
        outcomes: outcomes?,
        secrets: secrets?,
        telemetry: telemetry?,
        log: log?,
    })
}

fn section<T>(root: &mut Reader<'_>, name: &'static str, read: impl Fn(&mut Reader<'_>) -> Option<T>) -> Option<T> {
    let mut section = root.map(name)?;
    let value = read(&mut section);
    section.close();
    value
}

fn kafka(s: &mut Reader<'_>) -> Option<Kafka> {
    let brokers = s.name("brokers").map(str::to_owned);
    let group = s.name("group").map(str::to_owned);
    let events = s.names("events");
    if events.as_ref().is_some_and(Vec::is_empty) {
        s.problems.error(s.place, "`events` needs at least one topic");
    }
    let prefix_place = s.get("prefix").map(|node| node.place);
    let start = s.choice("start", &[("earliest", Start::Earliest), ("latest", Start::Latest)]);
    let prefix = s.name("prefix").map(str::to_owned);
    if let (Some(prefix), Some(place)) = (&prefix, prefix_place) {
        topic(&format!("{prefix}{LONGEST_INTERNAL}"), "`prefix`, with what follows it,", place, s.problems);
        internal(events.as_deref().unwrap_or_default(), prefix, s.problems);
    }
    for (name, place) in events.iter().flatten() {
        topic(name, "an item of `events`", *place, s.problems);
    }
    let generation = s.integer("generation", 1..=i64::from(u32::MAX));
    let options = options(s)?;
    Some(Kafka {
        brokers: brokers.filter(|brokers| brokers != "embedded"),
        group: group?,
        events: events?.into_iter().map(|(name, _)| name.to_owned()).collect(),
        start: start?,
        prefix: prefix?,
        generation: u32::try_from(generation?).ok()?,
        options,
    })
}

/// Kafka's rule for the names of topics.
fn topic(name: &str, what: &str, place: Place, problems: &Problems) {
    let known = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    if name.chars().any(|character| !known(character)) || matches!(name, "." | "..") || name.len() > MAX_TOPIC_BYTES {
        let help = format!("letters, digits, `.`, `_` and `-`, at most {MAX_TOPIC_BYTES} of them");
        problems.error_with_help(place, format!("{what} must be the name of a topic"), help);
    }
}

/// What the worker writes to topics of its own is no event.
fn internal(events: &[(&str, Place)], prefix: &str, problems: &Problems) {
    for (name, place) in events {
        let own = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.'));
        if own.is_some_and(|own| INTERNAL.contains(&own)) {
            let help = "name the topics that producers write, or choose another `prefix`";
            problems.error_with_help(*place, format!("`{name}` is a topic of the worker's own"), help);
        }
    }
}

/// librdkafka takes everything as text.
fn options(s: &mut Reader<'_>) -> Option<BTreeMap<String, String>> {
    let mut options = BTreeMap::new();
    let Some(node) = s.get("options") else { return Some(options) };
    for entry in reader::map(node, "`options`", s.problems)? {
        let value = match &entry.value.data {
            Data::Scalar(value) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            _ => {
                s.problems.error(entry.value.place, format!("`{}` must be one value, not {}", entry.key, entry.value.kind()));
                continue;
            }
        };
        options.insert(entry.key.to_string(), value);
    }
    Some(options)
}

fn state(s: &mut Reader<'_>) -> Option<State> {
    let url = s.name("url").map(str::to_owned);
    let prefix = s.name("prefix").map(str::to_owned);
    let groups = s.integer("groups", 1..=1024);
    let replicas = s.integer("replicas", 0..=16);
    Some(State {
        url: url.filter(|url| url != "embedded"),
        prefix: prefix?,
        groups: u32::try_from(groups?).ok()?,
        replicas: u32::try_from(replicas?).ok()?,
    })
}

fn path(s: &mut Reader<'_>) -> Option<PathBuf> {
    s.name("path").map(PathBuf::from)
}

fn http(s: &mut Reader<'_>) -> Option<Http> {
    let (listen, probes) = (address(s, "listen"), address(s, "probes"));
    let tokens = s.map("tokens").map(|mut t| {
        let token = |name: Option<&str>| name.map(str::to_owned);
        let tokens = Tokens { admin: token(t.name("admin")), read: token(t.name("read")), ingest: token(t.name("ingest")) };
        t.close();
        tokens
    });
    let tokens = tokens.unwrap_or_default();
    let ((listen, listen_place), (probes, _)) = (listen?, probes?);
    if !listen.ip().is_loopback() && tokens.admin.is_none() && tokens.ingest.is_none() && tokens.read.is_none() {
        s.problems.error_with_help(
            listen_place,
            format!("`http.listen` on {listen} reaches beyond this machine and needs tokens"),
            "set http.tokens.ingest (and admin, read) to secrets, or listen on 127.0.0.1",
        );
    }
    Some(Http { listen, probes, tokens })
}

fn address(s: &mut Reader<'_>, key: &'static str) -> Option<(SocketAddr, Place)> {
    let place = s.get(key)?.place;
    let written = s.name(key)?;
    match written.parse() {
        Ok(address) => Some((address, place)),
        Err(_) => {
            s.problems.error_with_help(
                place,
                format!("`{key}` must be an address with a port, not `{written}`"),
                "such as 127.0.0.1:8080 or [::1]:8080",
            );
            None
        }
    }
}

fn delivery(s: &mut Reader<'_>) -> Option<Delivery> {
    let timeout = s.duration("timeout", SECOND..=90 * SECOND);
    let max_in_flight = s.integer("max_in_flight", 1..=100_000);
    let max_retries = s.integer("max_retries", 0..=i64::from(MAX_RETRIES));
    let backoff = s.map("backoff").and_then(|mut b| {
        let base = b.duration("base", Duration::from_millis(1)..=3600 * SECOND);
        let max = b.duration("max", Duration::from_millis(1)..=3600 * SECOND);
        b.close();
        Some((base?, max?))
    });
    let expires = s.duration("expires", SECOND..=30 * DAY);
    let id_key = s.name("id_key").map(str::to_owned);
    let allow_http = s.boolean("allow_http");
    let networks = s.names("allow_networks");
    for (network, place) in networks.iter().flatten().filter(|(network, _)| !is_network(network)) {
        let message = format!("an item of `allow_networks` must be a network, not `{network}`");
        s.problems.error_with_help(*place, message, "an address and its length in bits, such as 10.0.0.0/8 or fd00::/8");
    }
    let drain = s.duration("drain", Duration::ZERO..=3600 * SECOND);
    let (backoff_base, backoff_max) = backoff?;
    Some(Delivery {
        timeout: timeout?,
        max_in_flight: u32::try_from(max_in_flight?).ok()?,
        max_retries: u32::try_from(max_retries?).ok()?,
        backoff_base,
        backoff_max,
        expires: expires?,
        id_key,
        allow_http: allow_http?,
        allow_networks: networks?.into_iter().map(|(network, _)| network.to_owned()).collect(),
        drain: drain?,
    })
}

/// As the webhook adapter reads them.
fn is_network(text: &str) -> bool {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let widest: u8 = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= widest))
}

fn triggers(s: &mut Reader<'_>) -> Option<Triggers> {
    let max_age = s.duration("max_age", SECOND..=30 * DAY);
    let max_lateness = s.duration("max_lateness", SECOND..=30 * DAY);
    let max_overdue = s.duration("max_overdue", SECOND..=30 * DAY);
    Some(Triggers { max_age: max_age?, max_lateness: max_lateness?, max_overdue: max_overdue? })
}

fn outcomes(s: &mut Reader<'_>) -> Option<Outcomes> {
    let known: Vec<(&'static str, Reason)> = Reason::ALL.iter().map(|reason| (reason.as_str(), *reason)).collect();
    let items = s.list("omit")?;
    let omit = items.iter().filter_map(|item| reader::choice(item, "an item of `omit`", &known, s.problems)).collect();
    Some(Outcomes { omit })
}

fn telemetry(s: &mut Reader<'_>) -> Option<Telemetry> {
    let label = s.choice("campaign_label", &[("auto", CampaignLabel::Auto), ("on", CampaignLabel::On), ("off", CampaignLabel::Off)]);
    Some(Telemetry { campaign_label: label? })
}

fn log(s: &mut Reader<'_>) -> Option<Log> {
    const LEVELS: [(&str, LogLevel); 5] = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let level = s.choice("level", &LEVELS);
    let format = s.choice("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    Some(Log { level: level?, format: format? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment: Vec<(String, String)> = environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let secret = |name: &str| (name == "token").then(|| "s3cret".to_owned());
        Config::read(Some(&File { name: "c.yaml", text }), &environment, &secret)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn the_defaults_are_sound_and_are_those_of_the_documentation() {
        let config = Config::read(None, &[], &|_| None).expect("the compiled-in settings are sound");
        assert_eq!((config.kafka.brokers, config.state.url), (None, None));
        assert_eq!(config.delivery.timeout, 3 * SECOND);
        assert!(config.outcomes.omit.contains(&Reason::NotInAudience));
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    }

    #[test]
    fn the_file_wins_over_defaults_and_the_environment_over_the_file() {
        let config = read_text(
            "kafka: {brokers: 'k:9092', options: {ssl.ca.location: /ca, queued.min.messages: 1000}}\ndelivery: {timeout: 5s}\nhttp: {tokens: {ingest: {secret: token}}}",
            &[("CAMPANILE_DELIVERY__TIMEOUT", "7s"), ("CAMPANILE_KAFKA__EVENTS", r#"["a", "b"]"#), ("CAMPANILE_SECRET_X", "y"), ("PATH", "z")],
        )
        .unwrap();
        assert_eq!(config.kafka.brokers.as_deref(), Some("k:9092"));
        assert_eq!(config.kafka.options["queued.min.messages"], "1000");
        assert_eq!(config.kafka.events, ["a", "b"]);
        assert_eq!(config.delivery.timeout, 7 * SECOND);
        assert_eq!(config.http.tokens.ingest.as_deref(), Some("s3cret"));
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);

    const TOO_LONG: &str = "the settings together:1:1: error: `delivery.backoff` begins with 11s, longer than its longest wait of 10s\n  \
                            help: waits double from `base` to `max`: raise the one or lower the other";

    /// Bounds, the same as in definitions.
    const BOUNDS: [Case; 3] = [
        ("delivery: {max_retries: 11}", &[], "c.yaml:1:25: error: `max_retries` must be from 0 to 10, not 11"),
        ("delivery: {backoff: {base: 11s}}", &[], TOO_LONG),
        ("delivery: {backoff: {base: 11s, max: 12s}}", &[("CAMPANILE_DELIVERY__BACKOFF__MAX", "10s")], TOO_LONG),
    ];

    #[test]
    fn every_problem_is_named_with_its_place() {
        let cases = [
            ("kafak: {}", &[][..], "c.yaml:1:1: error: unknown key `kafak` in the settings\n  help: did you mean `kafka`?"),
            (
                "delivery: {timeout: 3}",
                &[],
                "c.yaml:1:21: error: `timeout` must be a duration with its unit, not a number\n  help: write 3s, 3m, 3h or 3d",
            ),
            (
                "outcomes: {omit: [not_in_audiance]}",
                &[],
                "c.yaml:1:19: error: an item of `omit` cannot be `not_in_audiance`\n  help: did you mean `not_in_audience`?",
            ),
            (
                "delivery: {allow_networks: [10.0.0.0/8, 10.0.0.0/99, ten]}",
                &[],
                "c.yaml:1:41: error: an item of `allow_networks` must be a network, not `10.0.0.0/99`\n  help: an address and its length in bits, such as 10.0.0.0/8 or fd00::/8\n\
                 c.yaml:1:54: error: an item of `allow_networks` must be a network, not `ten`\n  help: an address and its length in bits, such as 10.0.0.0/8 or fd00::/8",
            ),
            (
                "kafka: {prefix: a b}",
                &[],
                "c.yaml:1:17: error: `prefix`, with what follows it, must be the name of a topic\n  help: letters, digits, `.`, `_` and `-`, at most 249 of them",
            ),
            (
                "kafka: {events: [a b, c]}",
                &[],
                "c.yaml:1:18: error: an item of `events` must be the name of a topic\n  help: letters, digits, `.`, `_` and `-`, at most 249 of them",
            ),
            (
                "kafka: {prefix: mine, events: [mine.outcomes, campanile.outcomes, mine.clicks]}",
                &[],
                "c.yaml:1:32: error: `mine.outcomes` is a topic of the worker's own\n  help: name the topics that producers write, or choose another `prefix`",
            ),
            // Once, not again for what a setting is without it.
            (
                "http: {tokens: {admin: {secret: nope}}}",
                &[],
                "c.yaml:1:33: error: the secret `nope` is not there\n  help: put it into the directory of `secrets.dir`, or into CAMPANILE_SECRET_NOPE",
            ),
            (
                "http: {listen: localhost}",
                &[],
                "c.yaml:1:16: error: `listen` must be an address with a port, not `localhost`\n  help: such as 127.0.0.1:8080 or [::1]:8080",
            ),
            (
                "",
                &[("CAMPANILE_DELIVERY__TIMOUT", "3s")],
                "CAMPANILE_DELIVERY__TIMOUT:1:1: error: unknown key `timout` in `delivery`\n  help: did you mean `timeout`?",
            ),
        ];
        for (text, environment, expect) in cases.into_iter().chain(BOUNDS) {
            assert_eq!(read_text(text, environment).unwrap_err(), expect);
        }
        assert!(read_text("http: {listen: '0.0.0.0:80'}", &[]).unwrap_err().contains("needs tokens"));
        assert!(read_text("state: {url: {secret: gone}}", &[]).unwrap_err().contains("the secret `gone` is not there"));
    }
}

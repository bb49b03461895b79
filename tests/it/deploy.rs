//! What is deployed fits the program: metrics that rules and dashboards name are measured, every alert leads to what to do about it, the settings and
//! definitions that are handed out are sound, versions and times agree. The tools of deployments have their say in `make check-deploy`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use campanile::config::{Config, File};
use campanile::telemetry::metrics::{CampaignLabel, Metrics};
use campanile::telemetry::probes::{Health, router};
use regex::Regex;
use tokio::net::TcpListener;

use crate::support::process::{campanile, run};
use crate::support::redis::Redis;
use crate::support::wait::{runtime, until};
use crate::support::worker::{Deployment, free_address};

/// On a busy machine.
const WORKS_WITHIN: Duration = Duration::from_secs(60);

/// What comes after `delivery.drain`: the last commits, leaving the group.
const AFTER_DRAIN: Duration = Duration::from_secs(5);

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The files in a directory that end like this, in their order.
fn files(directory: &str, ending: &str) -> Vec<String> {
    let entries = std::fs::read_dir(path(directory)).unwrap_or_else(|error| panic!("{directory}: {error}"));
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let names: BTreeSet<String> = names.filter(|name| name.ends_with(ending)).map(|name| format!("{directory}/{name}")).collect();
    assert!(!names.is_empty(), "no *{ending} in {directory}");
    names.into_iter().collect()
}

/// What a worker's `/metrics` has once it has done everything: name -> labels. A histogram's series have their own names.
fn measured() -> BTreeMap<String, BTreeSet<String>> {
    let metrics = Metrics::new(CampaignLabel::On).expect("metrics");
    metrics.reading.lag("events", 0, Duration::ZERO);
    metrics.reader().read("events", "handled", 1);
    metrics.ingest.counted("accepted", 1);
    metrics.outcomes.dead("not_json");
    metrics.outcomes.traits_refused.inc();
    metrics.delivery.waiting("sms", 1);
    metrics.delivery.breaker("sms", true);
    let mut lane = metrics.lane();
    lane.decided("cart", "sent", "");
    lane.template_missing("cart", 1);
    lane.attempted("sms", "delivered", Duration::ZERO);
    lane.linked("cart", "fetched", Duration::ZERO);
    drop(lane.in_flight("sms"));
    let text = scrape(&metrics);

    let series = Regex::new(r"(?m)^([a-z_]+)(?:\{(.*)\})? ").expect("a pattern");
    let label = Regex::new(r#"([a-z_]+)=""#).expect("a pattern");
    let mut measured: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for found in series.captures_iter(&text) {
        let labels = found.get(2).map_or("", |labels| labels.as_str());
        let names = label.captures_iter(labels).map(|name| name[1].to_owned());
        measured.entry(found[1].to_owned()).or_default().extend(names);
    }
    measured
}

fn scrape(metrics: &Metrics) -> String {
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/metrics", listener.local_addr().expect("an address"));
        let serving = tokio::spawn(axum::serve(listener, router(Health::new(), metrics.registry.clone())).into_future());
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
        let text = client.get(url).send().await.expect("an answer").text().await.expect("text");
        serving.abort();
        text
    })
}

/// Every metric that the rules or a dashboard name is measured, under the labels that they select by.
#[test]
fn every_metric_of_rules_and_dashboards_is_measured() {
    let measured = measured();
    // What Prometheus itself makes, and the labels that it gives to every target.
    let scraped = ["job", "instance", "le"];
    let used = Regex::new(r"\b((?:campanile|process)_[a-z_]+)(?:\{([^}]*)\})?").expect("a pattern");
    let label = Regex::new(r#"([a-z_]+)\s*(?:=~|!~|!=|=)"#).expect("a pattern");
    let mut seen = BTreeSet::new();
    let mut sources = files("helm/campanile/files/dashboards", ".json");
    sources.push("helm/campanile/files/alerts.yaml".into());
    for file in sources {
        // As a dashboard's JSON has them, quotes are escaped.
        let text = read(&file).replace("\\\"", "\"");
        for found in used.captures_iter(&text) {
            let name = &found[1];
            let Some(labels) = measured.get(name) else { panic!("{file}: {name} is not measured") };
            let selected = found.get(2).map_or("", |selector| selector.as_str());
            for selected in label.captures_iter(selected) {
                let known = labels.contains(&selected[1]) || scraped.contains(&&selected[1]);
                assert!(known, "{file}: {name} has no label `{}`, only {labels:?}", &selected[1]);
            }
            seen.insert(name.to_owned());
        }
    }
    let unseen: Vec<&String> = measured.keys().filter(|name| name.starts_with("campanile_") && !seen.contains(*name)).collect();
    // Of a histogram one of its three series is enough.
    let families: BTreeSet<&str> = seen.iter().map(|name| family(name)).collect();
    let unseen: Vec<_> = unseen.into_iter().filter(|name| !families.contains(family(name))).collect();
    assert!(unseen.is_empty(), "measured, but neither in the dashboard nor in a rule: {unseen:?}");
}

fn family(name: &str) -> &str {
    ["_bucket", "_count", "_sum"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name)
}

/// Every alert has its section, with the words of its rule's file, and no section is about an alert that is gone.
#[test]
fn every_alert_leads_to_its_section() {
    let alerts: Vec<(String, String)> = {
        let rules = read("helm/campanile/files/alerts.yaml");
        let each = Regex::new(r"(?s)- alert: (\w+).*?runbook_url: (\S+)").expect("a pattern");
        each.captures_iter(&rules).map(|found| (found[1].to_owned(), found[2].to_owned())).collect()
    };
    let sections: BTreeSet<String> = read("docs/operating.md")
        .lines()
        .filter_map(|line| line.strip_prefix("### Campanile"))
        .map(|name| format!("Campanile{name}"))
        .collect();
    for (alert, runbook) in &alerts {
        assert_eq!(*runbook, format!("docs/operating.md#{}", alert.to_lowercase()), "the runbook of {alert}");
        assert!(sections.contains(alert), "docs/operating.md has no section `### {alert}`");
    }
    assert_eq!(alerts.len(), sections.len(), "{sections:?}");
    assert!(alerts.len() > 10);
}

/// What the manual points to in itself is there.
#[test]
fn every_anchor_of_the_manual_is_a_heading() {
    let manual = read("docs/operating.md");
    let headings: BTreeSet<String> = manual.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
    let anchors: Vec<&str> = manual.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(anchors.len() > 20);
    for anchor in anchors {
        assert!(headings.contains(anchor), "docs/operating.md points to #{anchor}, which is no heading");
    }
}

/// As GitHub and others make it of a heading: small letters, digits and hyphens.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words.chars().filter(|c| c.is_alphanumeric() || " -".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// A worker works with exactly the rights that the manual gives its user of Redis.
#[test]
fn a_worker_needs_no_more_of_redis_than_the_manual_gives() {
    let redis = Redis::start();
    let mut deployment = Deployment::new("embedded", &redis.url());
    let rights = rights_of_redis(&deployment.prefix);
    redis.command::<()>(&rights.iter().map(String::as_str).collect::<Vec<_>>());
    redis.command::<()>(&["ACL", "LOG", "RESET"]);
    deployment.set("STATE__URL", &redis.url().replace("redis://", "redis://campanile:PASSWORD@"));
    let endpoint = free_address();
    // A limit and a rate have keys and commands of their own.
    deployment.define(&format!(
        "kind: campaign
key: hello
status: running
trigger: {{action: {{event: launched}}}}
limit: 10
webhook: {{url: \"http://{endpoint}/\"}}
---
kind: campaign
key: later
status: ready
trigger: {{action: {{event: launched}}}}
webhook: {{url: \"http://{endpoint}/\"}}
---
kind: destination
key: nobody
match: {endpoint}
rate: {{per_second: 5}}
"
    ));
    let worker = deployment.start();
    for user in ["u1", "u2", "u1"] {
        worker.post("/v1/track", &format!(r#"{{"type":"track","userId":"{user}","event":"launched"}}"#));
    }
    until("both users are decided and tried", WORKS_WITHIN, || {
        worker.metric("campanile_decisions_total", "sent") >= 2.0 && worker.metric("campanile_attempts_total", "") >= 2.0
    });
    // The estimate of an audience draws users.
    let overview = worker.post("/v1/campaigns/later/start?dry_run=true", "");
    assert!(overview.status == 200 && overview.body.contains("estimated_audience"), "{overview:?}");
    worker.stop();
    let mut denied: Vec<redis::Value> = redis.command(&["ACL", "LOG"]);
    // The client library gives its name and passes over the answer; Redis knows the command since 7.2.
    denied.retain(|entry| !format!("{entry:?}").contains("client|setinfo"));
    assert!(denied.is_empty(), "{denied:?}");
    let keys: Vec<String> = redis.command(&["KEYS", "*"]);
    assert!(keys.iter().any(|key| key.ends_with(":in")) && keys.iter().any(|key| key.ends_with(":led")), "{keys:?}");
}

/// The command in the manual, for this prefix.
fn rights_of_redis(prefix: &str) -> Vec<String> {
    let manual = read("docs/operating.md");
    let (_, command) = manual.split_once("redis-cli ACL SETUSER").expect("the command");
    let (words, _) = command.split_once("```").expect("its end");
    let words = words.split_whitespace().filter(|word| *word != "\\").map(|word| word.replace(['\'', '\\'], ""));
    ["ACL".into(), "SETUSER".into()].into_iter().chain(words.map(|word| word.replace("{campanile", &format!("{{{prefix}")))).collect()
}

/// The version stands in Cargo.toml; `make golden` carries it into the chart.
#[test]
fn the_version_is_one() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = read("helm/campanile/Chart.yaml");
    assert!(chart.contains(&format!("\nversion: {version}\n")), "{chart}");
    assert!(chart.contains(&format!("\nappVersion: \"{version}\"\n")), "{chart}");
    let changes = read("CHANGELOG.md");
    let heads: Vec<&str> = changes.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    // Before its release a version's changes stand under Unreleased.
    let released = heads.iter().any(|head| head.starts_with(&format!("{version} - ")));
    assert!(released || heads.first() == Some(&"Unreleased"), "CHANGELOG.md says nothing about {version}: {heads:?}");
    assert!(read("LICENSE").contains("Apache License") && read("Cargo.toml").contains("\nlicense = \"Apache-2.0\"\n"));
}

/// The blocks that stand under `name: |` in YAML, without their indentation.
fn blocks(text: &str, is_meant: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    let mut open: Option<usize> = None;
    for line in text.lines() {
        let indentation = line.len() - line.trim_start().len();
        match open {
            Some(depth) if line.is_empty() || indentation > depth => {
                let block = &mut blocks.last_mut().expect("an open block").1;
                *block += line.get(depth + 2..).unwrap_or("");
                block.push('\n');
            }
            _ => {
                let name = line.trim().strip_suffix(": |").filter(|name| is_meant(name));
                open = name.map(|name| {
                    blocks.push((name.to_owned(), String::new()));
                    indentation
                });
            }
        }
    }
    blocks
}

/// Settings that the chart and the compose file hand to a worker are settings of this version, secrets included.
#[test]
fn settings_that_are_handed_out_can_be_read() {
    let mut all = vec![("deploy/compose/campanile.yaml".to_owned(), read("deploy/compose/campanile.yaml"))];
    for file in files("helm/golden", ".yaml").iter().filter(|file| !file.ends_with(".values.yaml")) {
        let found = blocks(&read(file), |name| name == "campanile.yaml");
        assert_eq!(found.len(), 1, "{file} has its settings");
        all.push((file.clone(), found.into_iter().next().expect("one").1));
    }
    for (name, text) in all {
        let secret = |name: &str| Some(format!("secret-{name}"));
        let read = Config::read(Some(&File { name: &name, text: &text }), &[], &secret);
        let config = read.unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
        let open = !config.http.listen.ip().is_loopback();
        let tokens = &config.http.tokens;
        assert_eq!(open, tokens.admin.is_some() || tokens.ingest.is_some() || tokens.read.is_some(), "{name}: {:?}", config.http);
        assert_eq!(config.http.probes.port(), 9090, "{name}");
    }
}

/// So are the definitions.
#[test]
fn definitions_that_are_handed_out_are_valid() {
    run(campanile(&path("deploy/compose"), &["validate", "--allow-http", "definitions"])).expect(0, &[]);
    let directory = tempfile::tempdir().expect("a directory");
    for file in files("helm/golden", ".yaml").iter().filter(|file| !file.ends_with(".values.yaml")) {
        for (name, text) in blocks(&read(file), |name| name.ends_with(".yaml") && name != "campanile.yaml") {
            std::fs::write(directory.path().join(format!("{}-{name}", file.replace('/', "-"))), text).expect("the disk has room");
            run(campanile(directory.path(), &["validate", "."])).expect(0, &[]);
        }
        for entry in std::fs::read_dir(directory.path()).expect("a directory") {
            std::fs::remove_file(entry.expect("an entry").path()).expect("a file of our own");
        }
    }
}

/// Whoever stops a worker waits longer than it drains.
#[test]
fn nobody_kills_a_worker_that_drains() {
    let drain = Config::read(None, &[], &|_| None).expect("the defaults").delivery.drain;
    let check = |file: &str, pattern: &str| {
        let text = read(file);
        let found = Regex::new(pattern).expect("a pattern").captures(&text).unwrap_or_else(|| panic!("{pattern} in {file}"));
        assert_eq!(found[1].parse::<u64>().expect("seconds"), (drain + AFTER_DRAIN).as_secs(), "{file}");
    };
    check("deploy/campanile.service", r"TimeoutStopSec=(\d+)\n");
    check("deploy/docker-compose.yml", r"stop_grace_period: (\d+)s\n");
    check("helm/golden/production.yaml", r"terminationGracePeriodSeconds: (\d+)\n");
}

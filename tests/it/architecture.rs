//! The map against the house: rooms and directories are the same, every file says what it is for, and nobody imports through a
//! wall.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// A file relative to `src`, with `/`.
fn name(path: &Path) -> String {
    path.strip_prefix(root().join("src")).unwrap().to_string_lossy().replace('\\', "/")
}

#[test]
fn the_map_names_every_room_and_no_other() {
    let map = read(&root().join("src/lib.rs"));
    let named: BTreeSet<String> =
        map.lines().filter_map(|line| line.strip_prefix("//! | [`")?.split('`').next().map(str::to_owned)).collect();
    let rooms: BTreeSet<String> = std::fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|room| room != "lib" && room != "main")
        .collect();
    assert_eq!(named, rooms);
}

#[test]
fn every_file_opens_with_what_it_is_for_and_is_no_monster() {
    for path in sources(&root().join("src")) {
        let text = read(&path);
        assert!(text.starts_with("//!"), "{} opens without saying what it is for", name(&path));
        let lines = text.lines().count();
        assert!(lines <= 500, "{}: {lines} lines, 500 are the most", name(&path));
    }
}

#[test]
fn main_is_short() {
    assert!(read(&root().join("src/main.rs")).lines().count() < 30);
}

/// (files that begin so, never say this, except in files that begin so)
const WALLS: [(&str, &[&str], &[&str]); 9] = [
    (
        "engine/",
        &["crate::worker", "crate::adapter", "crate::config", "crate::telemetry", "crate::cli", "crate::api", "crate::simulator"],
        &[],
    ),
    ("engine/", &["tokio::", "async fn", "tracing::", "rdkafka", "redis::", "reqwest", "axum", "anyhow", "prometheus"], &[]),
    ("engine/definition", &["crate::engine::rendering", "crate::engine::matching", "crate::engine::step", "std::fs"], &[]),
    (
        "worker/",
        &["crate::adapter", "crate::cli", "crate::api", "crate::simulator", "rdkafka", "redis::", "reqwest", "hyper::", "axum", "redb"],
        &[],
    ),
    ("worker/", &["tokio::time", "tokio::task", "tokio::spawn", "thread::sleep"], &["worker/run", "worker/driver", "worker/appending"]),
    ("adapter/", &["engine::step", "campaign", "cohort", "crate::cli", "crate::api"], &["adapter/embedded/tests", "adapter/redis/tests"]),
    ("simulator/", &["crate::adapter", "crate::cli", "crate::api", "std::thread", "SystemTime", "Instant::now"], &[]),
    ("api/", &["crate::adapter", "crate::cli", "crate::simulator"], &[]),
    ("telemetry/", &["crate::adapter", "crate::cli", "crate::worker", "crate::engine::step"], &[]),
];

/// Lines of code, without comments and without what stands below `#[cfg(test)]`.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(number, line)| (number + 1, line))
}

#[test]
fn nobody_imports_through_a_wall() {
    let mut breaches = Vec::new();
    for path in sources(&root().join("src")) {
        let (name, text) = (name(&path), read(&path));
        if name.contains("/tests") {
            continue;
        }
        for (_, words, _) in WALLS.iter().filter(|(room, _, except)| name.starts_with(room) && !except.iter().any(|e| name.starts_with(e)))
        {
            for (number, line) in code(&text) {
                let breach = words.iter().find(|word| line.contains(**word));
                breaches.extend(breach.map(|word| format!("{name}:{number}: {word}")));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn each_adapter_knows_only_itself_and_its_client() {
    const ADAPTERS: [(&str, &str); 5] =
        [("clock", ""), ("embedded", "redb"), ("kafka", "rdkafka"), ("redis", "redis"), ("webhook", "hyper")];
    for (adapter, _) in ADAPTERS {
        let below = root().join("src/adapter").join(adapter);
        let files = if below.is_dir() { sources(&below) } else { vec![below.with_extension("rs")] };
        for path in files {
            let text = read(&path);
            for (other, client) in ADAPTERS.iter().filter(|(other, _)| *other != adapter) {
                let foreign = [format!("adapter::{other}"), format!("use {client}::")];
                for (number, line) in code(&text) {
                    // The clock is a port's plainest implementation, used by tests of others.
                    let breach = foreign.iter().any(|word| word != "use ::" && line.contains(word.as_str())) && *other != "clock";
                    assert!(!breach, "{}:{number}: {line}", name(&path));
                }
            }
        }
    }
}

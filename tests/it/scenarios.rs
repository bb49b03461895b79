//! Every scenario file, run straight and with restarts, must end the same; and the turn must survive a crash at every call it
//! makes of the world.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use campanile::engine::id::stable_hash;
use campanile::engine::time::Timestamp;
use campanile::engine::value::Value;
use campanile::simulator::ports::{Call, Fate, SeededFaults, SharedFaults};
use campanile::simulator::scenario::{Ended, OutcomeLine, Restarts, Scenario};

fn no_directory(directory: &str) -> Result<Vec<(String, String)>, String> {
    Err(format!("`{directory}`: these scenarios stand alone"))
}

/// Ours, and those that users are given to copy.
const DIRECTORIES: [&str; 2] = ["tests/scenarios", "docs/recipes"];

/// Set to a part of a file's name, the scenarios are only those: to repeat what failed, as in `SCENARIO=batches cargo test --test it scenarios`.
const ONLY: &str = "SCENARIO";

pub fn only() -> Option<String> {
    std::env::var(ONLY).ok()
}

/// Every scenario there is, by the name of its file.
pub fn all() -> Vec<(String, Scenario)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let entries = DIRECTORIES.iter().flat_map(|directory| std::fs::read_dir(root.join(directory)).unwrap());
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    let only = only().unwrap_or_default();
    files.retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().contains(&only)));
    files.sort();
    files
        .iter()
        .map(|file| {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(file).unwrap();
            let scenario = Scenario::read(&name, &text, &no_directory).unwrap_or_else(|problems| panic!("{problems:#?}"));
            (name, scenario)
        })
        .collect()
}

#[test]
fn every_scenario_ends_as_expected_straight_and_with_restarts() {
    for (name, scenario) in all() {
        for restarts in [Restarts::Never, Restarts::WhenIdle] {
            let ended = scenario.run(restarts, SharedFaults::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let differences = scenario.differences(&ended);
            assert!(differences.is_empty(), "{name} ({restarts:?}):\n{differences:#?}\n{:#?}", ended.lines);
            if restarts == Restarts::Never {
                check_attempts(&name, &ended);
            }
        }
    }
}

/// What must be the same however often workers crash: who was sent what because of which event, and how each delivery ended.
/// Attempts may be more. Last, when it was decided.
type Essence = Vec<(String, String, String, String, Timestamp)>;

fn essence(ended: &Ended) -> Essence {
    // What was not started within a minute of its claim, for a crash held it, claims again: the line comes once more with the time of the
    // new claim, which counts. Nothing was sent on the old one.
    let sent = ended.lines.iter().filter(|line| line.outcome == "sent");
    let last: BTreeMap<_, _> = sent.map(|line| (&line.delivery_id, line)).collect();
    for line in ended.lines.iter().filter(|line| line.r#type == "attempt") {
        let claimed = last.get(&line.delivery_id).unwrap_or_else(|| panic!("{line:?} was never decided"));
        assert!(line.at >= claimed.at, "{claimed:?} was claimed again after {line:?}");
    }
    let mut essence: Essence = last
        .into_values()
        .map(|line| {
            let result = last_result(ended, line);
            let at = Timestamp::parse(&line.at).expect("a decision's time");
            (line.campaign.clone(), line.user_id.clone(), line.event_id.clone(), result, at)
        })
        .collect();
    essence.sort();
    essence
}

/// Whoever crashes with a due user in hand leaves it hidden for 30 s; with these crashes a few times over.
const LATER_AT_MOST: Duration = Duration::from_secs(5 * 60);

/// A delivery that shares its request comes there by up to four rounds of two records, each hidden for itself: crashes every four rounds seldom
/// let it through, and what waits for its end waits with it.
const SHARED_LATER_AT_MOST: Duration = Duration::from_secs(15 * 60);

/// The same, decided at the same time or, where a crash hid a user that was due, a little later; never earlier.
fn check_same(context: &str, ended: &Ended, straight: &Essence) {
    let essence = essence(ended);
    let is_shared = ended.lines.iter().any(|line| line.request_id.is_some() && line.request_id != line.delivery_id);
    let later = if is_shared { SHARED_LATER_AT_MOST } else { LATER_AT_MOST };
    let same = essence.len() == straight.len()
        && essence.iter().zip(straight).all(|(is, was)| {
            let (campaign, user, event, result, at) = is;
            let same = (campaign, user, event) == (&was.0, &was.1, &was.2) && (*result == was.3 || result == USED_UP);
            same && *at >= was.4 && at.since(was.4) <= later
        });
    assert!(same, "{context}\n{essence:#?}\ninstead of\n{straight:#?}");
}

/// A crash may use attempts up that a receiver never saw: a delivery that then fails has made them all.
const USED_UP: &str = "failed, all attempts used";

/// First and retries by default, as the scenarios have them.
const ATTEMPTS: u32 = 4;

fn last_result(ended: &Ended, sent: &OutcomeLine) -> String {
    let attempts = ended.lines.iter().filter(|line| line.r#type == "attempt" && line.delivery_id == sent.delivery_id);
    match attempts.max_by_key(|line| line.attempt) {
        None => "none".into(),
        Some(last) if last.result == "failed" && last.attempt >= ATTEMPTS => USED_UP.into(),
        Some(last) => last.result.clone(),
    }
}

/// Where nothing is repeated, the id of a delivery and the number of an attempt name one line.
fn check_attempts(name: &str, ended: &Ended) {
    let mut seen = BTreeSet::new();
    for line in ended.lines.iter().filter(|line| line.is_attempt()) {
        assert!(seen.insert((&line.delivery_id, line.attempt)), "{name}: attempt {} twice: {line:#?}", line.attempt);
    }
}

/// Nobody sees another webhook-id than those that were decided, and none without its `sent` line; who shares a request is in its lines, and
/// in those of no other. What failed for good is dead-lettered.
fn check_requests(name: &str, ended: &Ended) {
    let is_sent = |id: &str| ended.lines.iter().any(|line| line.outcome == "sent" && line.delivery_id.as_deref() == Some(id));
    for request in &ended.requests {
        let sharing = ended.lines.iter().filter(|line| line.request_id.as_deref() == Some(&request.webhook_id));
        let mut sharing = sharing.filter_map(|line| line.delivery_id.as_deref()).peekable();
        let decided = is_sent(&request.webhook_id) || (sharing.peek().is_some() && sharing.all(is_sent));
        assert!(decided, "{name}: {request:?} was never decided");
    }
    let mut request_of = BTreeMap::new();
    for line in ended.lines.iter().filter(|line| line.r#type == "attempt") {
        let known = *request_of.entry(&line.delivery_id).or_insert(&line.request_id);
        assert_eq!(known, &line.request_id, "{name}: {line:?} was in another request before");
        let mut buried = ended.dead.iter().filter_map(Value::as_object).filter_map(|letter| letter.get("delivery_id")?.as_str());
        assert!(line.result != "failed" || buried.any(|id| line.delivery_id.as_deref() == Some(id)), "{name}: {line:?} has no dead letter");
    }
}

#[test]
fn workers_that_crash_every_few_rounds_lose_and_repeat_nothing() {
    for (name, scenario) in all() {
        let straight = essence(&scenario.run(Restarts::Never, SharedFaults::default()).unwrap());
        for rounds in [2, 3, 5, 7] {
            let context = format!("{name}, a crash every {rounds} rounds");
            let ended = scenario.run(Restarts::EveryRounds(rounds), SharedFaults::default());
            let ended = ended.unwrap_or_else(|error| panic!("{context}: {error}"));
            check_same(&context, &ended, &straight);
            check_requests(&context, &ended);
        }
    }
}

/// The numbers of the turn, by the call in which each meets the world.
const NUMBERS: [(&str, Call); 6] = [
    ("1: reading", Call::Poll),
    ("3: loading", Call::Load),
    ("5: committing", Call::Commit),
    ("6: appending lines, retries and dead letters", Call::Append),
    ("7: confirming", Call::Confirm),
    ("7: committing offsets", Call::CommitOffsets),
];

/// Fails one call of one kind, before or after it was done, and has the worker crash on it.
fn fault_at(kind: Call, number: u64, fate: Fate) -> SharedFaults {
    let seen = AtomicU64::new(0);
    SharedFaults::new(move |call: Call| {
        let hit = call == kind && seen.fetch_add(1, Ordering::Relaxed) == number;
        if hit { fate } else { Fate::Go }
    })
}

/// So many faults of a scenario at each number of the turn, about: each run is a whole scenario, and there are many of these.
const FAULTS: u64 = 20;

/// Before or after it was done, and in a worker that lives on or crashes anyway.
const KINDS: [(Fate, Restarts); 4] = [
    (Fate::FailBefore, Restarts::Never),
    (Fate::FailAfter, Restarts::Never),
    (Fate::FailBefore, Restarts::EveryRounds(4)),
    (Fate::FailAfter, Restarts::EveryRounds(4)),
];

/// Calls, of so many, that meet a fault, and of which kind: spread over all, each kind in its turn, and in each scenario other ones, so that
/// together they come to many places. The same in every run.
fn places(name: &str, calls: u64) -> impl Iterator<Item = (u64, (Fate, Restarts))> {
    let kinds = KINDS.len() as u64;
    let all = calls * kinds;
    // Odd: no multiple of the kinds.
    let step = (all / FAULTS).max(1) | 1;
    let first = stable_hash(&[name.as_bytes()]) % step;
    (first..all).step_by(usize::try_from(step).unwrap()).map(move |at| (at / kinds, KINDS[usize::try_from(at % kinds).unwrap()]))
}

fn calls_of(scenario: &Scenario, kind: Call) -> u64 {
    let count = Arc::new(AtomicU64::new(0));
    let counter = count.clone();
    let faults = SharedFaults::new(move |call: Call| {
        counter.fetch_add(u64::from(call == kind), Ordering::Relaxed);
        Fate::Go
    });
    scenario.run(Restarts::Never, faults).unwrap();
    count.load(Ordering::Relaxed)
}

#[test]
fn every_number_of_the_turn_survives_a_fault_at_any_of_its_calls() {
    for (name, scenario) in all() {
        let straight = essence(&scenario.run(Restarts::Never, SharedFaults::default()).unwrap());
        for (number, kind) in NUMBERS {
            for (at, (fate, restarts)) in places(&format!("{name}, {number}"), calls_of(&scenario, kind)) {
                let context = format!("{name}: {number}, call {at} {fate:?}, {restarts:?}");
                let ended = scenario.run(restarts, fault_at(kind, at, fate)).unwrap_or_else(|error| panic!("{context}: {error}"));
                check_same(&context, &ended, &straight);
                check_requests(&context, &ended);
            }
        }
    }
}

/// A line too large for its topic: what it tells may be lost, the delivery that it belongs to is not.
#[test]
fn a_line_that_the_log_refuses_costs_no_request() {
    let requests = |ended: &Ended| {
        let mut requests = BTreeMap::<String, usize>::new();
        ended.requests.iter().for_each(|request| *requests.entry(request.webhook_id.clone()).or_default() += 1);
        requests
    };
    let mut refused = 0;
    for (name, scenario) in all() {
        let straight = requests(&scenario.run(Restarts::Never, SharedFaults::default()).unwrap());
        // Where nothing is tried again, lines only tell.
        if straight.values().all(|requests| *requests == 1) {
            continue;
        }
        for at in 0..calls_of(&scenario, Call::Append) {
            // An event that is refused never was: its producer knows.
            let Ok(ended) = scenario.run(Restarts::Never, fault_at(Call::Append, at, Fate::Refuse)) else { continue };
            let requests = requests(&ended);
            // Whoever takes a delivery over does not know whether its attempt was made: it counts.
            let used_up = |id: &str, attempts: usize| {
                let last = |line: &OutcomeLine| line.r#type == "attempt" && line.result == "failed" && line.attempt as usize >= attempts;
                ended.lines.iter().any(|line| line.request_id.as_deref() == Some(id) && last(line))
            };
            let fewer: Vec<_> =
                straight.iter().filter(|(id, count)| requests.get(*id).unwrap_or(&0) < *count && !used_up(id, **count)).collect();
            assert!(fewer.is_empty(), "{name}: line {at} was refused, and then there were fewer requests of {fewer:?}");
            refused += 1;
        }
    }
    assert!(refused > 50 || only().is_some(), "{refused} lines were refused");
}

#[test]
fn seeded_faults_of_all_kinds_change_nothing_that_matters() {
    for (name, scenario) in all() {
        let straight = essence(&scenario.run(Restarts::Never, SharedFaults::default()).unwrap());
        for seed in 0..12 {
            let faults = SharedFaults::new(SeededFaults::new(seed, 30));
            let ended = scenario.run(Restarts::EveryRounds(9), faults).unwrap_or_else(|error| panic!("{name}, seed {seed}: {error}"));
            let same = essence(&ended);
            assert_eq!(same.len(), straight.len(), "{name}, seed {seed}: repeat with SeededFaults::new({seed}, 30)\n{same:#?}");
            check_requests(&name, &ended);
        }
    }
}

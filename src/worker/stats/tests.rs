//! Two workers that count, with faults at any call, crashes and stores that lose writes: in the end the tallies say what the topic says.

use std::collections::BTreeMap;

use futures_util::FutureExt;

use super::*;
use crate::simulator::ports::{MemoryLog, MemorySource, MemoryStore, SeededFaults, SharedFaults, Snapshot, VirtualClock};
use crate::worker::commits::LaneStatus;
use crate::worker::ports::{Append, Clock, Line as Written, Store};
use crate::worker::store_clock::StoreClock;

const GROUP: &str = "g.stats";
const TOPIC: &str = "outcomes";
const START: Timestamp = Timestamp(1_795_168_800_000);
const STEPS: usize = 600;
const PER_MILLE: u32 = 60;

struct World {
    clock: VirtualClock,
    store: MemoryStore,
    log: MemoryLog,
    chance: SeededChance,
    written: u64,
}

/// One number after the other, from a seed.
struct SeededChance(u64);

impl SeededChance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A worker's part in it; dropping it is its crash.
struct Member {
    state: Box<dyn State>,
    reader: StatsReader,
    commits: Commits,
    status: Arc<LaneStatus>,
    clock: Arc<StoreClock>,
    number: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let clock = VirtualClock::new(START);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let faults = SharedFaults::new(SeededFaults::new(seed, PER_MILLE));
        let log = MemoryLog::new(3, shared.clone(), faults.clone());
        World { clock, store: MemoryStore::new("s", shared, faults), log, chance: SeededChance(seed), written: 0 }
    }

    /// Some lines of three campaigns, some of them twice.
    fn write(&mut self) {
        for _ in 0..self.chance.below(20) {
            self.written += 1;
            let (user, campaign) = (self.chance.below(50), ["a", "b", "c"][self.chance.below(3) as usize]);
            let id = format!("msg_{:016x}{:016x}", self.written.wrapping_mul(0x9E37_79B9_7F4A_7C15), self.written);
            let at = self.clock.now();
            let decision = |outcome: &str, reason: &str, id: &str| {
                format!(
                    r#"{{"v":1,"type":"decision","at":"{at}","campaign":"{campaign}","user_id":"u{user}","event_id":"m","outcome":"{outcome}","reason":{reason},"delivery_id":{id}}}"#
                )
            };
            let attempt = |result: &str, cause: &str| {
                format!(
                    r#"{{"v":1,"type":"attempt","at":"{at}","campaign":"{campaign}","user_id":"u{user}","delivery_id":"{id}","attempt":1,"result":"{result}","cause":{cause}}}"#
                )
            };
            let sent = decision("sent", "null", &format!("\"{id}\""));
            let lines = match self.chance.below(4) {
                0 => vec![decision("suppressed", "\"frequency_cap\"", "null")],
                1 => vec![sent, attempt("retrying", "\"dns\""), attempt("failed", "\"dns\"")],
                2 => vec![sent.clone(), attempt("delivered", "null"), sent, attempt("delivered", "null")],
                _ => vec![sent, attempt("delivered", "null")],
            };
            for line in lines {
                let line = Written { topic: TOPIC.into(), key: Some(format!("u{user}").into_bytes()), value: line.into_bytes() };
                // A fault loses the line or not: what is in the log counts.
                let _ = self.log.append(&[line]).now_or_never();
            }
        }
    }

    /// What a fresh reading of the topic says: sent and ended deliveries once each.
    fn truth(&self) -> BTreeMap<String, [usize; 4]> {
        let mut truth: BTreeMap<String, [std::collections::BTreeSet<String>; 3]> = BTreeMap::new();
        let mut capped: BTreeMap<String, usize> = BTreeMap::new();
        for (_, value) in self.log.records(TOPIC) {
            let line: serde_json::Value = serde_json::from_slice(&value).unwrap();
            let campaign = line["campaign"].as_str().unwrap().to_owned();
            let id = line["delivery_id"].as_str().unwrap_or_default().to_owned();
            let sets = truth.entry(campaign.clone()).or_default();
            match (line["outcome"].as_str(), line["result"].as_str()) {
                (Some("sent"), _) => drop(sets[0].insert(id)),
                (_, Some("delivered")) => drop(sets[1].insert(id)),
                (_, Some("failed")) => drop(sets[2].insert(id)),
                (Some("suppressed"), _) => *capped.entry(campaign).or_default() += 1,
                _ => {}
            }
        }
        let of = |(campaign, [sent, delivered, failed]): (String, [std::collections::BTreeSet<String>; 3])| {
            let capped = capped.get(&campaign).copied().unwrap_or_default();
            (campaign, [sent.len(), delivered.len(), failed.len(), capped])
        };
        truth.into_iter().map(of).collect()
    }

    fn counted(&self) -> BTreeMap<String, [usize; 4]> {
        let tally_of = |campaign: &str| self.store.stored(&note(campaign)).map(|stored| tally(Some(&stored)).unwrap());
        let shown = |tally: &Tally| {
            let totals = tally.report(None).totals;
            [totals.sent, totals.delivered, totals.failed, totals.capped].map(|count| count as usize)
        };
        ["a", "b", "c"].into_iter().filter_map(|key| tally_of(key).map(|tally| (key.to_owned(), shown(&tally)))).collect()
    }

    fn member(&self) -> Member {
        let again = |ask: &mut dyn FnMut() -> Option<Box<dyn State>>| loop {
            if let Some(state) = ask() {
                return state;
            }
        };
        let state = again(&mut || self.store.session().now_or_never().unwrap().ok());
        let clock = Arc::new(StoreClock::new(Arc::new(self.clock.clone())));
        let status = Arc::new(LaneStatus::default());
        let store = self.store.clone();
        let identity = Box::new(move || {
            loop {
                if let Ok(mut session) = store.session().now_or_never().unwrap()
                    && let Ok(identity) = session.identity().now_or_never().unwrap()
                {
                    return Ok(identity);
                }
            }
        });
        let source: MemorySource = self.log.source(GROUP, &[TOPIC]);
        let number = source.member();
        let reader = StatsReader::new(Box::new(source), 1, Arc::default());
        let commits = Commits::new(vec![status.clone()], clock.clone(), identity, true).unwrap();
        Member { state, reader, commits, status, clock, number }
    }
}

impl Member {
    /// Whether it can go on.
    fn turn(&mut self, what: u64) -> bool {
        let began = self.clock.monotonic();
        let stored = match what {
            0..4 => match self.reader.look(Duration::ZERO, &mut self.commits) {
                Ok(()) | Err(SourceError::Unavailable(_) | SourceError::Fenced(_)) => Ok(()),
                Err(error) => panic!("{error}"),
            },
            4..6 => self.reader.flush(&mut *self.state).now_or_never().unwrap().map(drop),
            _ => self.state.confirm().now_or_never().unwrap().map(|()| self.status.confirmed(began, self.reader.sequence())),
        };
        self.status.stored(self.reader.sequence());
        match stored {
            Ok(()) | Err(StateError::Unavailable(_)) => true,
            Err(StateError::RolledBack(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn tallies_say_what_the_topic_says_whatever_fails() {
    let (mut crashes, mut rollbacks, mut zombies) = (0, 0, 0);
    for seed in 0..10 {
        let mut world = World::new(seed);
        let mut members = [world.member(), world.member()];
        let mut saved: Option<(Duration, Snapshot)> = None;
        for _ in 0..STEPS {
            let who = world.chance.below(2) as usize;
            let what = world.chance.below(7);
            if !members[who].turn(what) {
                members[who] = world.member();
            }
            match world.chance.below(60) {
                0..15 => world.write(),
                15..40 => world.clock.advance(Duration::from_millis(300)),
                40 => {
                    crashes += 1;
                    members[who] = world.member();
                }
                41 => {
                    zombies += 1;
                    world.log.expel(GROUP, members[who].number);
                }
                42 => saved = Some((members[0].clock.monotonic(), world.store.snapshot())),
                // A failover that loses what was written in the last second.
                43 => {
                    if let Some((at, snapshot)) = saved.take()
                        && members[0].clock.monotonic().saturating_sub(at) < Duration::from_secs(1)
                    {
                        rollbacks += 1;
                        world.store.restore(&snapshot);
                        // Incarnations are times of the store: it takes some to fail over.
                        world.clock.advance(Duration::from_millis(300));
                    }
                }
                _ => {}
            }
        }
        // Nothing more is written: whoever is there comes to the end.
        for step in 0..150 {
            for member in &mut members {
                if !member.turn(step % 7) {
                    *member = world.member();
                }
            }
            world.clock.advance(Duration::from_millis(300));
        }
        assert_eq!(world.counted(), world.truth(), "seed {seed}");
        assert!(world.written > 100, "seed {seed}");
    }
    assert!(crashes > 50 && rollbacks > 5 && zombies > 50, "{crashes} crashes, {rollbacks} rollbacks, {zombies} zombies");
}

#[test]
fn an_offset_is_committed_only_when_its_lines_are_stored() {
    let mut world = World::new(7);
    world.log = MemoryLog::new(1, Arc::new(world.clock.clone()), SharedFaults::default());
    world.store = MemoryStore::new("s", Arc::new(world.clock.clone()), SharedFaults::default());
    let mut member = world.member();
    let partition = crate::worker::ports::Partition { topic: TOPIC.into(), number: 0 };
    let committed = |world: &World| world.log.committed(GROUP, &partition).map(|(next, _)| next);
    world.write();
    while world.log.records(TOPIC).is_empty() {
        world.write();
    }
    let end = world.log.records(TOPIC).len() as i64;
    let look = |world: &World, member: &mut Member| {
        for _ in 0..8 {
            assert!(member.turn(0) && member.turn(6));
            world.clock.advance(Duration::from_secs(1));
        }
        committed(world)
    };
    assert_eq!(look(&world, &mut member), None, "read and confirmed, but not stored");
    assert!(member.turn(4));
    assert_eq!(look(&world, &mut member), Some(end));
}

#[test]
fn what_is_not_written_is_added_and_lost_at_most_once() {
    let clock = VirtualClock::new(START);
    let fails = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asked = fails.clone();
    let faults = SharedFaults::new(move |call| {
        let fails = asked.load(std::sync::atomic::Ordering::SeqCst) && call == crate::simulator::ports::Call::Commit;
        if fails { crate::simulator::ports::Fate::FailAfter } else { crate::simulator::ports::Fate::Go }
    });
    let store = MemoryStore::new("s", Arc::new(clock.clone()), faults);
    let log = MemoryLog::new(1, Arc::new(clock), SharedFaults::default());
    let not_written = Arc::new(NotWritten::default());
    let mut reader = StatsReader::new(Box::new(log.source(GROUP, &[TOPIC])), 1, not_written.clone());
    let mut state = store.session().now_or_never().unwrap().unwrap();
    let decision = |campaign: &str| crate::engine::effect::Decision {
        at: START,
        campaign: campaign.into(),
        version: 1,
        channel: None,
        tags: Vec::new(),
        arm: crate::engine::record::Arm::Treatment,
        user_id: "u".into(),
        event_id: "m".into(),
        outcome: crate::engine::effect::Outcome::Suppressed,
        reason: Some(crate::engine::effect::Reason::NotInAudience),
        rule: None,
        until: None,
        run: None,
        delivery_id: None,
    };
    let counted = |campaign: &str| {
        let stored = store.stored(&note(campaign));
        tally(stored.as_ref()).unwrap().report(None).totals.suppressed
    };
    for campaign in ["a", "a", "b"] {
        not_written.count(&decision(campaign));
    }
    reader.flush(&mut *state).now_or_never().unwrap().unwrap();
    assert_eq!((counted("a"), counted("b")), (2, 1));
    // Written, and the answer lost: it is not added again.
    not_written.count(&decision("a"));
    fails.store(true, std::sync::atomic::Ordering::SeqCst);
    reader.flush(&mut *state).now_or_never().unwrap().unwrap_err();
    fails.store(false, std::sync::atomic::Ordering::SeqCst);
    not_written.count(&decision("a"));
    while reader.flush(&mut *state).now_or_never().unwrap().unwrap() {}
    reader.flush(&mut *state).now_or_never().unwrap().unwrap();
    assert_eq!(counted("a"), 4);
}

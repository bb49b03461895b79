//! A delivery that is over waits for no slot.

use std::collections::BTreeMap;

use super::*;
use crate::engine::catalog::Policy;
use crate::simulator::endpoints::{Endpoints, Secrets};
use crate::simulator::rules::AnswerRule;
use crate::simulator::worker::{Guard, SimulatedWorker, World};
use crate::worker::ports::Line;

/// The endpoint answers 503 until its breaker halts it, and nothing is delivered before it expires.
#[test]
fn what_expires_while_its_destination_is_halted_ends_in_one_letter_with_its_request() {
    const DELIVERIES: usize = 100;
    const EXPIRES: Duration = Duration::from_secs(600);
    let clock = VirtualClock::new(NOW);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let store = MemoryStore::new("s", shared.clone(), SharedFaults::default());
    testing::define(&store, DEFINITIONS, NOW);
    let down = AnswerRule { status: 503, ..AnswerRule::default() };
    let world = World {
        store: Arc::new(store),
        log: Arc::new(MemoryLog::new(2, shared, SharedFaults::default())),
        endpoints: Endpoints::new(vec![down], Vec::new(), Secrets::default()),
        clock: clock.clone(),
    };
    let policy = Policy { expires: EXPIRES, ..policy() };
    let mut worker = SimulatedWorker::start_with(&world, &settings(), &policy, Guard::Yes).unwrap();
    let line = |number: usize| {
        let value = format!(r#"{{"type":"track","event":"go","userId":"u{number}","messageId":"m{number}"}}"#);
        Line { topic: "events".into(), key: Some(format!("u{number}").into_bytes()), value: value.into_bytes() }
    };
    let lines: Vec<Line> = (0..DELIVERIES).map(line).collect();
    world.log.append(&lines).now_or_never().unwrap().unwrap();
    let (over, mut rounds) = (NOW.after(2 * EXPIRES), 0);
    while clock.now() < over {
        let mut idle = 0;
        while idle < 3 {
            rounds += 1;
            assert!(rounds < 50 * DELIVERIES, "it goes round and round at {}", clock.now());
            idle = if worker.round().unwrap() { 0 } else { idle + 1 };
        }
        let now = clock.now();
        clock.set(worker.next_time().unwrap_or(over).max(now.after(Duration::from_millis(100))).min(over));
    }
    let mut letters: BTreeMap<String, usize> = BTreeMap::new();
    for letter in world.log.values("campanile.dead") {
        let letter: serde_json::Value = serde_json::from_slice(&letter).unwrap();
        assert!(letter["request"].is_object(), "{letter}");
        *letters.entry(letter["user_id"].to_string()).or_default() += 1;
    }
    assert_eq!(letters.len(), DELIVERIES);
    assert!(letters.values().all(|letters| *letters == 1), "{letters:?}");
    let messages: usize = settings().topics.retries().iter().map(|topic| world.log.values(topic).len()).sum();
    assert!(messages <= 12 * DELIVERIES, "{messages} retry messages for {DELIVERIES} deliveries");
}

//! A user who is busy keeps nobody waiting.

use futures_util::FutureExt;

use super::patience::JUDGED_OVER;
use super::*;
use crate::engine::event::{Body, Event, Position, SourceId};
use crate::engine::step::Verdict;
use crate::engine::step::bounds::MAX_PENDING;
use crate::engine::value::Object;
use crate::simulator::ports::{MemoryLog, MemoryStore, SharedFaults, VirtualClock};
use crate::simulator::worker::{policy, settings};
use crate::telemetry::metrics::{CampaignLabel, Metrics};
use crate::worker::counters::Counters;
use crate::worker::ports::{Clock, testing};

const NOW: Timestamp = Timestamp(1_795_000_000_000);

const MS: Duration = Duration::from_millis(1);

/// Events that a lane takes at once.
const BATCH: usize = 128;

const DEFINITIONS: &str = "{kind: campaign, key: a, status: running, trigger: {action: {event: go}}, fatigue: {resend: always}, \
    webhook: {url: 'https://shop.example/', body: {text: hello}}}";

mod halted;

/// A lane whose attempts end when the test says so.
struct Bench {
    lane: Lane,
    log: MemoryLog,
    clock: VirtualClock,
    offset: i64,
}

fn bench() -> Bench {
    bench_with(DEFINITIONS)
}

fn bench_with(definitions: &str) -> Bench {
    let clock = VirtualClock::new(NOW);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let store = MemoryStore::new("s", shared.clone(), SharedFaults::default());
    let log = MemoryLog::new(1, shared.clone(), SharedFaults::default());
    testing::define(&store, definitions, NOW);
    let mut session = testing::session(&store);
    let follower = Arc::new(Follower::new(policy()));
    testing::block_on(follower.catch_up(&mut *session)).unwrap();
    let of_store = Arc::new(StoreClock::new(shared));
    let (sender, _) = tokio::sync::mpsc::unbounded_channel();
    let destinations = Arc::new(Destinations::new(vec![sender], 1 << 20, false));
    let metrics = Counters::new(Arc::new(Metrics::new(CampaignLabel::Auto).unwrap()));
    let turn = Turn::new(session, Arc::new(log.clone()), of_store.clone(), follower.clone(), Arc::new(settings()), metrics);
    Bench { lane: Lane::new(0, turn, destinations, follower, of_store, Arc::default()), log, clock, offset: 0 }
}

impl Bench {
    fn event(&mut self, user: &str) -> Mail {
        let position = Position { source: SourceId(1), offset: self.offset, broker_time: NOW };
        let event = Event {
            user: user.into(),
            message_id: format!("m{}", self.offset).into(),
            timestamp: NOW,
            position,
            anonymous_id: None,
            device_token: None,
            context_traits: Object::new(),
            body: Body::Track { name: "go".into(), properties: Object::new() },
        };
        self.offset += 1;
        Mail::Work(Work { may_wait: true, ..Work::of(user.into(), Input::Event(Arc::new(event))) })
    }

    /// The attempts that begin.
    fn handle(&mut self, mail: Vec<Mail>) -> Vec<(Delivery, Slot)> {
        let jobs = self.lane.handle(mail).now_or_never().unwrap().unwrap();
        let attempt = |job| match job {
            Job::Attempt(delivery, slot, _) => (delivery, slot),
            _ => panic!("nothing else is to be done"),
        };
        jobs.into_iter().map(attempt).collect()
    }

    /// An attempt that ends well.
    fn deliver(&self, (delivery, slot): (Delivery, Slot)) -> Mail {
        self.lane.destinations.released(delivery.destination(), slot, MS, Health::Answered, self.clock.now());
        let Delivery { user, entry, .. } = delivery;
        let attempt = entry.phase.attempt();
        let input = Input::Attempted { id: entry.id, attempt, verdict: Verdict::Delivered, status: Some(200), cause: None };
        Mail::Done(user, Some(input), None)
    }

    /// An attempt that nobody tells the end of: it stands in the record until its lease runs out.
    fn abandon(&self, (delivery, slot): (Delivery, Slot)) -> Mail {
        self.lane.destinations.released(delivery.destination(), slot, MS, Health::Unknown, self.clock.now());
        Mail::Done(delivery.user, None, None)
    }

    /// What became of the events, by their decision lines: how many were sent, and how many had no room.
    fn decided(&self) -> (usize, usize) {
        let lines: Vec<String> =
            self.log.records("campanile.outcomes").into_iter().map(|(_, value)| String::from_utf8(value).unwrap()).collect();
        let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
        (count(r#""outcome":"sent""#), count(r#""reason":"state_full""#))
    }
}

#[test]
fn a_user_whose_endpoint_hangs_keeps_the_others_waiting_once_and_not_for_long() {
    const BATCHES: usize = 30;
    let mut bench = bench();
    let mut stood = Duration::ZERO;
    for _ in 0..BATCHES {
        while !bench.lane.takes_events() {
            bench.clock.advance(MS);
            stood += MS;
            assert!(stood <= JUDGED_OVER, "nobody else is read any longer");
            assert!(bench.handle(Vec::new()).is_empty());
        }
        let mut mail: Vec<Mail> = (1..BATCH).map(|_| bench.event("hot")).collect();
        let other = format!("u{}", bench.offset);
        mail.push(bench.event(&other));
        let begun = bench.handle(mail);
        assert!(begun.iter().any(|(delivery, _)| *delivery.user == *other), "{other} is turned with the others");
        assert!(bench.lane.patience.events() <= PATIENT_EVENTS + BATCH);
    }
    assert_eq!(stood, JUDGED_OVER);
    let hot = BATCHES * (BATCH - 1);
    assert_eq!(bench.decided(), (BATCHES + MAX_PENDING, hot - MAX_PENDING - bench.lane.patience.events()), "what waits is not decided yet");
}

#[test]
fn a_burst_of_one_user_waits_for_its_turn_and_none_of_it_is_lost() {
    const BURST: usize = 4 * PATIENT_EVENTS;
    let mut bench = bench();
    let (mut left, mut begun, mut messages) = (BURST, Vec::new(), Vec::new());
    while left > 0 || !begun.is_empty() {
        let mut mail: Vec<Mail> = begun.into_iter().map(|attempt| bench.deliver(attempt)).collect();
        let more = if bench.lane.takes_events() { left.min(BATCH) } else { 0 };
        mail.extend((0..more).map(|_| bench.event("hot")));
        left -= more;
        begun = bench.handle(mail);
        assert!(begun.len() <= USER_DELIVERIES && bench.lane.patience.events() <= PATIENT_EVENTS + BATCH);
        messages.extend(begun.iter().map(|(delivery, _)| delivery.entry.claim.event_id.to_string()));
        // Five seconds for all: far longer than a pace is judged over.
        bench.clock.advance(20 * MS);
    }
    let all: Vec<String> = (0..BURST).map(|offset| format!("m{offset}")).collect();
    assert!(messages == all, "{} of {BURST}, or not in their order", messages.len());
    assert_eq!(bench.decided(), (BURST, 0));
}

/// Each event is three deliveries. Some end well, some fill the record without being under way here.
#[test]
fn a_burst_of_events_for_several_campaigns_finds_room_for_all() {
    const BURST: usize = 200;
    const CAMPAIGNS: usize = 3;
    let definitions: Vec<String> = ["a", "b", "c"].map(|key| DEFINITIONS.replace("key: a", &format!("key: {key}"))).into();
    let check = |abandoned: usize| {
        let mut bench = bench_with(&definitions.join("\n---\n"));
        let (mut left, mut to_abandon) = (BURST, abandoned);
        let (mut begun, mut order) = (Vec::new(), Vec::new());
        for turns in 0.. {
            assert!(turns < 10 * BURST, "it stands still, {left} to come, {abandoned} abandoned");
            let ending = to_abandon.min(begun.len());
            to_abandon -= ending;
            let delivering = begun.split_off(ending);
            let mut mail: Vec<Mail> = begun.into_iter().map(|attempt| bench.abandon(attempt)).collect();
            mail.extend(delivering.into_iter().map(|attempt| bench.deliver(attempt)));
            let more = left.min(BATCH);
            mail.extend((0..more).map(|_| bench.event("hot")));
            left -= more;
            begun = bench.handle(mail);
            let of_one = begun.iter().filter(|(delivery, _)| &*delivery.entry.claim.campaign == "a");
            order.extend(of_one.map(|(delivery, _)| delivery.entry.claim.event_id.to_string()));
            bench.clock.advance(MS);
            if left == 0 && begun.is_empty() && bench.lane.is_empty() {
                break;
            }
        }
        let all: Vec<String> = (0..BURST).map(|offset| format!("m{offset}")).collect();
        assert!(order == all, "{} of {BURST} with {abandoned} abandoned, or not in their order", order.len());
        assert_eq!(bench.decided(), (CAMPAIGNS * BURST, 0), "{abandoned} abandoned");
    };
    check(0);
    check(2);
    // In between nothing is under way that could say when there is room.
    check(MAX_PENDING - CAMPAIGNS);
}

//! Number 3 of the turn: what is remembered answers for no batch that may be gone. Number 4: a step that panics costs its own input and
//! nothing else; what steps ask is asked until all is answered.

use std::cell::Cell;
use std::sync::Arc;

use futures_util::FutureExt;

use super::*;
use crate::engine::catalog::Policy;
use crate::engine::definition::{ContentType, Method};
use crate::engine::delivery::Backoff;
use crate::engine::effect::Joining;
use crate::engine::event::{Body, Event, Position, SourceId};
use crate::engine::id::CampaignId;
use crate::engine::record::{Batch, BatchPhase, Claim, Frozen, Record, Request};
use crate::engine::step::bounds::{CROWDED, MAX_PENDING};
use crate::engine::step::{Ask, Verdict};
use crate::engine::value::Object;
use crate::simulator::ports::{MemoryLog, MemoryStore, SharedFaults, VirtualClock};
use crate::telemetry::metrics::{CampaignLabel, Metrics};
use crate::worker::offsets::Progress;
use crate::worker::ports::{Clock, Message, Partition, Store, testing};

const NOW: Timestamp = Timestamp(1_795_000_000_000);

fn policy() -> Policy {
    let second = Duration::from_secs(1);
    Policy {
        max_age: 3600 * second,
        max_lateness: 3600 * second,
        max_overdue: 3600 * second,
        timeout: 3 * second,
        max_retries: 3,
        backoff: Backoff { base: second, max: 10 * second },
        expires: 3600 * second,
        id_key: b"key".to_vec(),
        allow_http: false,
    }
}

fn work(progress: &Arc<Progress>, user: &str, offset: i64) -> Work {
    work_of(progress, user, offset, Body::Identify { traits: Object::new() })
}

/// The event that starts the campaigns of these tests.
fn go(progress: &Arc<Progress>, user: &str, offset: i64) -> Work {
    work_of(progress, user, offset, Body::Track { name: "go".into(), properties: Object::new() })
}

fn work_of(progress: &Arc<Progress>, user: &str, offset: i64, body: Body) -> Work {
    let position = Position { source: SourceId(1), offset, broker_time: NOW };
    let event = Event {
        user: user.into(),
        message_id: format!("m{offset}").into(),
        timestamp: NOW,
        position,
        anonymous_id: None,
        device_token: None,
        context_traits: Object::new(),
        body,
    };
    let value = format!("event {offset}");
    let partition = Partition { topic: "events".into(), number: 0 };
    let message = Message { topic: "events", partition: 0, offset, time: NOW, key: None, value: Some(value.as_bytes()) };
    let raw = DeadEvent::of(&partition, &message);
    let origin = Origin { ticket: progress.open(offset), raw: Some(raw) };
    Work { user: user.into(), input: Input::Event(Arc::new(event)), origin: Some(origin), may_wait: true }
}

/// A lane on a store and a log in memory.
struct World {
    store: MemoryStore,
    log: MemoryLog,
    turn: Turn,
}

fn world() -> World {
    let clock = VirtualClock::new(NOW);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let store = MemoryStore::new("s", shared.clone(), SharedFaults::default());
    let log = MemoryLog::new(1, shared.clone(), SharedFaults::default());
    let metrics = Arc::new(Metrics::new(CampaignLabel::Auto).unwrap());
    let turn = Turn::new(
        store.session().now_or_never().unwrap().unwrap(),
        Arc::new(log.clone()),
        Arc::new(StoreClock::new(shared)),
        Arc::new(Follower::new(policy())),
        Arc::new(Settings::of_one_lane()),
        Counters::new(metrics),
    );
    World { store, log, turn }
}

impl World {
    fn define(&mut self, definitions: &str) {
        testing::define(&self.store, definitions, NOW);
        testing::block_on(self.turn.follower.catch_up(&mut *self.turn.state)).unwrap();
    }
}

thread_local! {
    static STEPS: Cell<usize> = const { Cell::new(0) };
}

fn counted(in_force: &InForce, user: &UserId, known: Known, input: &Input, now: Timestamp) -> Stepped {
    STEPS.set(STEPS.get() + 1);
    step::step(in_force, user, known, input, now)
}

#[test]
fn whom_many_full_campaigns_turn_away_is_turned_all_the_same() {
    const CAMPAIGNS: usize = 3 * MAX_PENDING;
    let limited = |number| {
        format!(
            "{{kind: campaign, key: c{number}, status: running, limit: 1, trigger: {{action: {{event: go}}}}, \
             webhook: {{url: 'https://shop.example/', body: {{a: b}}}}}}\n"
        )
    };
    let mut world = world();
    world.define(&(0..CAMPAIGNS).map(limited).collect::<Vec<String>>().join("---\n"));
    world.turn.step = counted;
    let progress = Progress::new(0);
    let mut check = |user: &str, offset: i64, sent: usize, steps: std::ops::RangeInclusive<usize>| {
        STEPS.set(0);
        let turned = world.turn.turn(&mut vec![go(&progress, user, offset)]).now_or_never().unwrap().unwrap();
        assert_eq!(turned.deliveries.len(), sent, "{user}");
        assert!(steps.contains(&STEPS.get()), "{user}: {} steps", STEPS.get());
    };
    check("u1", 0, MAX_PENDING, MAX_PENDING..=CAMPAIGNS);
    check("u2", 1, MAX_PENDING, 0..=CAMPAIGNS);
    check("u3", 2, MAX_PENDING, 0..=CAMPAIGNS + 1);
    // By now the last third is not known to be full: nobody was turned away from it.
    check("u4", 3, 0, 0..=CAMPAIGNS + 1);
    check("u5", 4, 0, 0..=questions::LOOK_AHEAD + 2);
}

#[test]
fn events_that_a_crowded_record_leaves_keep_their_order_and_are_not_applied() {
    let mut world = world();
    world.define(
        "{kind: campaign, key: a, status: running, trigger: {action: {event: go}}, fatigue: {resend: always}, \
         webhook: {url: 'https://shop.example/', body: {a: b}}}",
    );
    let (progress, crowded) = (Progress::new(0), i64::try_from(CROWDED).unwrap());
    let mut turn = |batch: Vec<Work>| {
        let Turned { deliveries, left, .. } = world.turn.turn(&mut { batch }).now_or_never().unwrap().unwrap();
        let offsets: Vec<i64> = left.iter().filter_map(offset).collect();
        (deliveries, left, offsets, progress.finished())
    };
    let (deliveries, left, offsets, finished) = turn((0..crowded + 3).map(|offset| go(&progress, "u", offset)).collect());
    assert_eq!((deliveries.len(), &offsets[..], finished), (CROWDED, &[crowded, crowded + 1, crowded + 2][..], crowded));
    // There is room again behind the first that is left, and one of them must not wait any longer.
    let Pending { id, phase, .. } = *deliveries[0].entry.clone();
    let over = Input::Attempted { id, attempt: phase.attempt(), verdict: Verdict::Delivered, status: Some(200), cause: None };
    let mut batch = left;
    batch.insert(1, Work::of("u".into(), over));
    batch[2].may_wait = false;
    let (deliveries, mut left, offsets, finished) = turn(batch);
    assert_eq!((deliveries.len(), &offsets[..], finished), (0, &[crowded, crowded + 1, crowded + 2][..], crowded));
    left[1].may_wait = false;
    let (deliveries, _, offsets, finished) = turn(left);
    assert_eq!((deliveries.len(), &offsets[..], finished), (2, &[crowded + 2][..], crowded + 2));
}

fn offset(work: &Work) -> Option<i64> {
    match &work.input {
        Input::Event(event) => Some(event.position.offset),
        _ => None,
    }
}

/// The engine with another defect: it never has enough of an answer.
fn insatiable(in_force: &InForce, user: &UserId, known: Known, input: &Input, now: Timestamp) -> Stepped {
    let ask = Ask::Admitted { counter: "c".into(), limit: 1 };
    Stepped { asks: vec![ask], ..step::step(in_force, user, known, input, now) }
}

#[test]
fn a_step_that_asks_again_what_it_was_told_is_refused() {
    let mut world = world();
    world.turn.step = insatiable;
    let turned = world.turn.turn(&mut vec![go(&Progress::new(0), "u1", 0)]).now_or_never().unwrap();
    let Err(StateError::Refused(why)) = turned else { panic!("it went on") };
    assert!(why.starts_with("a step asks again what it was told, Admitted"), "{why}");
}

/// The engine with a defect: the second message makes it panic.
fn defective(in_force: &InForce, user: &UserId, known: Known, input: &Input, now: Timestamp) -> Stepped {
    if let Input::Event(event) = input {
        assert_ne!(&*event.message_id, "m1", "a defect");
    }
    step::step(in_force, user, known, input, now)
}

#[test]
fn a_step_that_panics_buries_its_input_and_the_others_go_on() {
    let World { store, log, mut turn } = world();
    turn.step = defective;
    let progress = Progress::new(0);
    let mut batch = vec![work(&progress, "a", 0), work(&progress, "a", 1), work(&progress, "a", 2), work(&progress, "b", 3)];
    turn.turn(&mut batch).now_or_never().unwrap().unwrap();

    assert_eq!(progress.finished(), 4, "the partition moves on");
    let dead = log.records("campanile.dead");
    assert_eq!(dead.len(), 1);
    let letter: serde_json::Value = serde_json::from_slice(&dead[0].1).unwrap();
    assert_eq!((&letter["reason"], &letter["offset"], &letter["value"]), (&"panic".into(), &1.into(), &"ZXZlbnQgMQ==".into()));
    let users = store.users();
    let marks: Vec<(String, usize, i64)> = users
        .iter()
        .map(|(user, stored, _)| {
            let record = codec::decode(&stored.record).unwrap();
            (user.to_string(), record.seen.len(), record.marks[0].offset)
        })
        .collect();
    assert_eq!(marks, [("a".to_owned(), 3, 2), ("b".to_owned(), 1, 3)], "also what was buried is marked as applied");
}

/// A batch that is under way with this member.
fn closed_batch(member: &Member) -> Record {
    let claim = Arc::new(Claim::of_test("k", NOW));
    let batch = Batch { campaign: CampaignId(1), claim, members: vec![member.clone()], phase: BatchPhase::Closed };
    Record { batch: Some(Box::new(batch)), ..Record::default() }
}

#[test]
fn a_batch_answers_as_it_is_stored_and_not_as_it_is_remembered() {
    let World { store, mut turn, .. } = world();
    let id: UserId = "\u{1}batch/k/0/0".into();
    let member = |number: u8| Member {
        user: format!("u{number}").into(),
        id: DeliveryId([number; 16]),
        asked: NOW,
        claimed: NOW,
        expires: NOW.after(Duration::from_secs(60)),
        profile: "".into(),
    };
    let request = Request {
        destination: "d".into(),
        method: Method::Post,
        url: Frozen::default(),
        headers: Vec::new(),
        content_type: ContentType::Json,
        body: None,
    };
    let mut other = store.session().now_or_never().unwrap().unwrap();
    let mut put = |expected, member: &Member| {
        let record = Some(codec::encode(&closed_batch(member)));
        let wake = Some(NOW.after(Duration::from_secs(60)));
        let change = Change { user: id.clone(), expected, record, profile: ProfileChange::Keep, wake };
        let committed = other.commit(&[change]).now_or_never().unwrap().unwrap();
        assert!(committed.conflicts.is_empty());
        committed.token
    };
    let mut ask = |member: Member| {
        let claim = closed_batch(&member).batch.unwrap().claim;
        let joining = Joining { campaign: CampaignId(1), claim, shared: request.clone(), member, tries: 0, announced: true };
        let input = Input::Passed(Box::new(Passed::Join(Box::new(joining))));
        let turned = turn.turn(&mut vec![Work::of(id.clone(), input)]).now_or_never().unwrap().unwrap();
        turned.passed.into_iter().map(|(_, passed)| *passed).collect::<Vec<_>>()
    };
    let kept = |member: &Member| vec![Passed::Kept { id: member.id, place: 0 }];
    let token = put(None, &member(1));
    assert_eq!(ask(member(1)), kept(&member(1)));
    assert!(matches!(ask(member(2))[..], [Passed::TurnedAway { .. }]), "it is in no batch");
    // Another worker has ended that batch and closed the next one under its id: turned away now, u2 would be in two requests.
    put(Some(token), &member(2));
    assert_eq!(ask(member(2)), kept(&member(2)));
}

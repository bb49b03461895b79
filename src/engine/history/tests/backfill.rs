//! Backfill: each event counts once, however workers and backfills take turns, repeat and fall behind.

use proptest::prelude::*;

use super::*;
use crate::engine::event::{Position, SourceId};
use crate::engine::value::Object;

const FROM: i64 = 100;
const SINCE: i64 = 200;
/// A partition has so many events of the user.
const EVENTS: usize = 12;
const PARTITIONS: usize = 2;

/// What is done next, in one partition.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A worker reads on.
    Read(usize),
    /// The backfill reads on.
    Backfill(usize),
    /// The backfill is repeated from the beginning.
    Repeat,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..PARTITIONS).prop_map(Act::Read),
        4 => (0..PARTITIONS).prop_map(Act::Backfill),
        1 => Just(Act::Repeat),
    ]
}

struct Run {
    world: World,
    plan: Plan,
    times: Vec<Vec<i64>>,
    read: [usize; PARTITIONS],
    backfilled: [usize; PARTITIONS],
}

impl Run {
    fn new(times: &[Vec<i64>], read: [usize; PARTITIONS]) -> Run {
        let world = World::asking(&[did(count(Bound::Gte(1.0)), Window::Ever)], &[], SINCE);
        let plan = plan(&world, 1, FROM, false);
        Run { world, plan, times: times.to_vec(), read, backfilled: [0; PARTITIONS] }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Read(partition) => {
                if note(&mut self.world, &self.times, partition, self.read[partition], None) {
                    self.read[partition] += 1;
                }
            }
            Act::Backfill(partition) => {
                if note(&mut self.world, &self.times, partition, self.backfilled[partition], Some(&self.plan)) {
                    self.backfilled[partition] += 1;
                }
            }
            Act::Repeat => self.backfilled = [0; PARTITIONS],
        }
    }

    fn counted(&self) -> f64 {
        let Found::Number(Some(count)) = self.world.at(SINCE).measure(&did(count(Bound::Gte(1.0)), Window::Ever)).found else {
            panic!("a count");
        };
        count
    }
}

fn plan(world: &World, id: u64, from: i64, of_file: bool) -> Plan {
    let until = world.tracked.iter().map(|(tracker, since)| (*tracker, *since)).collect();
    Plan { id, from: Timestamp(from), until, of_file }
}

/// Notes an event, as a worker or as a backfill; `false`: there is none.
fn note(world: &mut World, times: &[Vec<i64>], partition: usize, offset: usize, plan: Option<&Plan>) -> bool {
    let Some(at) = times[partition].get(offset).copied() else { return false };
    let (source, properties) = (SourceId(partition as u64), Object::new());
    let position = Position { source, offset: offset as i64, broker_time: Timestamp(at) };
    let noted = Noted { name: "e", properties: &properties, at: Timestamp(at), position: Some(position) };
    let profile = Profile::default();
    let scope = Scope { event: None, user: Some(&profile), user_id: "u", now: Timestamp(at), zone: "UTC" };
    match plan {
        None => note_read(&mut world.kept, &world.trackers, &world.tracked, &noted, &scope),
        Some(plan) => drop(note_again(&mut world.kept, &world.trackers, plan, &format!("{partition}/{offset}"), &noted, &scope)),
    }
    true
}

proptest! {
    /// Workers note from where they stand when the definition comes; before `SINCE` all is the backfill's, or theirs.
    #[test]
    fn each_event_counts_once(
        times in prop::collection::vec(prop::collection::vec(FROM - 50..SINCE + 50, EVENTS), PARTITIONS),
        standing in prop::array::uniform2(0..EVENTS),
        acts in prop::collection::vec(act(), 0..80),
    ) {
        let mut run = Run::new(&times, standing);
        acts.into_iter().for_each(|act| run.act(act));
        run.act(Act::Repeat);
        for partition in 0..PARTITIONS {
            (0..EVENTS).for_each(|_| run.act(Act::Backfill(partition)));
            (0..EVENTS).for_each(|_| run.act(Act::Read(partition)));
        }
        let known = |partition: usize, offset: usize, at: i64| (FROM..SINCE).contains(&at) || offset >= standing[partition];
        let expect: usize = (0..PARTITIONS)
            .map(|partition| times[partition].iter().enumerate().filter(|(offset, at)| known(partition, *offset, **at)).count())
            .sum();
        prop_assert_eq!(run.counted(), expect as f64);
    }
}

#[test]
fn one_further_back_adds_only_what_lies_before() {
    let times = [vec![10, 60, 110, 160, 210], Vec::new()];
    let mut run = Run::new(&times, [4, 0]);
    let mut backfill = |id, from| {
        run.plan = plan(&run.world, id, from, false);
        run.act(Act::Repeat);
        (0..EVENTS).for_each(|_| run.act(Act::Backfill(0)));
        run.world.tracked.values_mut().for_each(|since| *since = Timestamp(from));
        run.counted()
    };
    assert_eq!(backfill(1, 100), 2.0);
    assert_eq!(backfill(2, 100), 2.0);
    assert_eq!(backfill(3, 50), 3.0);
    (0..EVENTS).for_each(|_| run.act(Act::Read(0)));
    assert_eq!(run.counted(), 4.0);
}

#[test]
fn a_file_adds_what_happened_before_workers_began() {
    // Workers note from 150 on, though history counts as tracked since 200.
    let mut run = Run::new(&[vec![150, 190, 210], vec![110, 149, 150, 190, 210]], [0, 5]);
    (0..EVENTS).for_each(|_| run.act(Act::Read(0)));
    run.plan = plan(&run.world, 1, FROM, true);
    for _ in 0..2 {
        run.act(Act::Repeat);
        (0..EVENTS).for_each(|_| run.act(Act::Backfill(1)));
    }
    assert_eq!(run.counted(), 5.0);
}

#[test]
fn a_message_that_was_written_twice_is_noted_once() {
    let mut world = World::asking(&[did(count(Bound::Gte(1.0)), Window::Ever)], &[], SINCE);
    let plan = plan(&world, 1, FROM, false);
    let mut again = |offset: i64, message_id: &str| {
        let (at, properties, profile) = (Timestamp(FROM), Object::new(), Profile::default());
        let position = Position { source: SourceId(0), offset, broker_time: at };
        let noted = Noted { name: "e", properties: &properties, at, position: Some(position) };
        let scope = Scope { event: None, user: Some(&profile), user_id: "u", now: at, zone: "UTC" };
        note_again(&mut world.kept, &world.trackers, &plan, message_id, &noted, &scope)
    };
    assert_eq!([again(0, "a"), again(1, "b"), again(2, "a"), again(3, "c")], [true, true, false, true]);
}

#[test]
fn marks_stay_while_a_backfill_may_be_repeated_or_a_worker_is_behind() {
    let mut run = Run::new(&[vec![110], Vec::new()], [1, 0]);
    run.act(Act::Backfill(0));
    let mut left = |unfinished: bool, horizon: i64| {
        prune_backfilled(&mut run.world.kept, &|id| unfinished && id == 1, Timestamp(horizon));
        run.world.kept.backfilled.len()
    };
    assert_eq!([left(true, 500), left(false, 110), left(false, 111)], [1, 1, 0]);
}

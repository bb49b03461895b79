//! What is kept for whom: sharing, ids, bounds, forgetting.

use super::*;
use crate::engine::record::Data;

fn ids(questions: &[Did]) -> usize {
    World::asking(questions, &[], 0).trackers.all().len()
}

#[test]
fn the_same_question_is_kept_once() {
    let check = |a: (Measure, Window), b: (Measure, Window), shared: bool| {
        let questions = [did(a.0.clone(), a.1), did(b.0.clone(), b.1)];
        assert_eq!(ids(&questions) == 1, shared, "{a:?} {b:?}");
    };
    let at_least = |n: f64| count(Bound::Gte(n));
    check((at_least(1.0), last(10)), (count(Bound::Lt(1.0)), last(10)), true);
    check((at_least(3.0), last(10)), (at_least(4.0), last(10)), true);
    check((at_least(4.0), last(10)), (at_least(5.0), last(10)), false);
    check((at_least(1.0), last(10)), (at_least(1.0), last(11)), false);
    check((at_least(1.0), Window::Ever), (at_least(900.0), Window::Ever), true);
    check((at_least(65.0), last(10)), (at_least(900.0), last(10)), true);
    check((at_least(1.0), between(1, 2)), (at_least(1.0), between(1, 3)), false);
    let (sum, avg) = (Measure::Sum("n".into(), vec![]), Measure::Avg("n".into(), vec![]));
    check((sum.clone(), last(10)), (avg.clone(), last(10)), true);
    check((sum.clone(), Window::Ever), (avg, Window::Ever), true);
    check((sum.clone(), Window::Ever), (Measure::Sum("m".into(), vec![]), Window::Ever), false);
    check((Measure::First(last(10)), Window::Ever), (Measure::Last(Window::Ever), Window::Ever), true);
    check((Measure::Last(last(10)), Window::Ever), (at_least(1.0), last(10)), true);
    check((sum, Window::Ever), (Measure::Distinct("n".into(), vec![]), Window::Ever), false);
}

#[test]
fn the_pattern_is_part_of_the_question() {
    let check = |a: (&str, &str), b: (&str, &str), shared: bool| {
        let question = |(event, where_)| Did { pattern: pattern(event, where_), ..did(count(Bound::Gte(1.0)), Window::Ever) };
        assert_eq!(ids(&[question(a), question(b)]) == 1, shared, "{a:?} {b:?}");
    };
    check(("e", r#"{"a":1,"b":2}"#), ("e", r#"{"b":2,"a":1.0}"#), true);
    check(("e", r#"{"a":1}"#), ("e", "{}"), false);
    check(("e", "{}"), ("f", "{}"), false);
}

#[test]
fn ids_never_change() {
    let id = |measure, window| World::asking(&[did(measure, window)], &[], 0).trackers.all()[0].id.0;
    let of = [
        id(count(Bound::Gte(1.0)), Window::Ever),
        id(count(Bound::Gte(3.0)), last(86_400_000)),
        id(Measure::Sum("amount".into(), vec![]), last(86_400_000)),
        id(Measure::Sum("amount".into(), vec![]), between(0, 5)),
        id(Measure::Distinct("sku".into(), vec![Bound::Gte(3.0)]), Window::Ever),
        id(Measure::First(Window::Ever), Window::Ever),
    ];
    assert_eq!(of.map(|id| format!("{id:016x}")), IDS);
}

/// They are in every stored record: who changes them forgets all history.
const IDS: [&str; 6] =
    ["8de92024caf40762", "bea6e0b8d3d2ec27", "8059c630b922d5ea", "9228a56fb4b71de3", "3b51dadc5b58b881", "831489e09d850c47"];

#[test]
fn what_is_new_is_known_soon_and_what_is_old_since_long() {
    let (old, new) = (did(count(Bound::Gte(1.0)), Window::Ever), did(count(Bound::Gte(1.0)), last(10)));
    let known = World::asking(&[old.clone(), did(Measure::First(Window::Ever), Window::Ever)], &[], 7).tracked;
    let world = World::asking(&[old, new], &[], 0);
    let mut since: Vec<i64> = world.trackers.tracked_since(&known, Timestamp(1000)).values().map(|since| since.0).collect();
    since.sort_unstable();
    assert_eq!(since, [7, 6000]);
}

#[test]
fn an_event_that_nobody_wants_leaves_nothing() {
    let question = Did { pattern: pattern("e", r#"{"c":"k"}"#), ..did(count(Bound::Gte(1.0)), Window::Ever) };
    let mut world = World::asking(&[question], &[], 0);
    assert!(!world.note("f", "{}", 1));
    assert!(!world.note("e", r#"{"c":"l"}"#, 1));
    assert_eq!((&world.kept, must_stay(&world.kept)), (&Kept::default(), false));
    assert!(world.note("e", r#"{"c":"k"}"#, 1));
    assert!(must_stay(&world.kept));
    assert_eq!(newest(&world.kept), None);
    let wants = |event, properties| world.trackers.wants(event, &object(properties), Timestamp(0), "UTC");
    assert_eq!([wants("e", r#"{"c":"k"}"#), wants("e", "{}"), wants("f", "{}")], [true, false, false]);
}

#[test]
fn what_the_user_decides_is_judged_when_it_happens() {
    let question = Did { pattern: pattern("e", r#"{"n":{"gte":{"user":"limit"}}}"#), ..did(count(Bound::Gte(1.0)), Window::Ever) };
    let mut world = World::asking(std::slice::from_ref(&question), &[], 0);
    let mut profile = Profile::default();
    profile.merge(&object(r#"{"limit":5}"#), Timestamp(0));
    let scope = Scope { event: None, user: Some(&profile), user_id: "u", now: Timestamp(1), zone: "UTC" };
    for n in [4, 5, 6] {
        note_event(&mut world.kept, &world.trackers, "e", &object(&format!(r#"{{"n":{n}}}"#)), Timestamp(1), &scope);
    }
    assert_eq!(world.at(9).measure(&question).found, Found::Number(Some(2.0)));
}

#[test]
fn what_is_read_again_is_noted_only_for_whom_it_is_new() {
    let (old, new) = (did(count(Bound::Gte(1.0)), Window::Ever), did(Measure::First(Window::Ever), Window::Ever));
    let mut world = World::asking(&[old.clone(), new.clone()], &[], 100);
    let profile = Profile::default();
    let scope = Scope { event: None, user: Some(&profile), user_id: "u", now: Timestamp(1), zone: "UTC" };
    let wanted = world.trackers.all().iter().find(|tracker| tracker.what == What::Ends).map(|tracker| tracker.id);
    note_where(&mut world.kept, &world.trackers, "e", &object("{}"), Timestamp(5), &scope, &|id| Some(id) == wanted);
    assert_eq!(world.at(200).measure(&old).found, Found::Number(Some(0.0)));
    assert_eq!(world.at(200).measure(&new).found, Found::Time(Some(Timestamp(5))));
}

#[test]
fn pruning_forgets_what_left_every_window_and_whom_nobody_asks() {
    let questions = [
        did(count(Bound::Gte(2.0)), last(100)),
        did(Measure::Sum("n".into(), vec![]), last(50)),
        did(count(Bound::Gte(1.0)), Window::Ever),
    ];
    let mut world = World::asking(&questions, &[], 0);
    world.note_all((1..=20).map(|at| (at, r#"{"n":1}"#.to_owned())));
    let kept = |world: &World| {
        let sizes = world.kept.tracked.iter().map(|tracked| match &tracked.data {
            Data::Newest(newest) => newest.len(),
            Data::Samples(samples) => samples.recent.len(),
            Data::Count(_) => 1,
            other => panic!("{other:?}"),
        });
        let mut sizes: Vec<usize> = sizes.collect();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(kept(&world), [1, 2 + SPARE_NEWEST, 20]);
    world.prune(15);
    assert_eq!(kept(&world), [1, 2 + 5, 20], "two that decide, and those that are still in question");
    world.prune(65);
    assert_eq!(kept(&world), [1, 2, 5]);
    world.prune(500);
    assert_eq!(kept(&world), [1]);
    prune(&mut world.kept, None, Timestamp(500));
    assert_eq!(kept(&world), [1], "a worker with older definitions forgets no tracker");
    prune(&mut world.kept, Some(&Trackers::default()), Timestamp(500));
    assert_eq!(world.kept, Kept::default());
}

#[test]
fn a_record_stays_small_and_says_what_it_lost() {
    let questions: Vec<Did> = (0..40).map(|i| did(Measure::Sum("n".into(), vec![Bound::Lt(1e9)]), last(100_000 + i))).collect();
    let mut world = World::asking(&questions, &[], i64::MIN);
    world.note_all((0..3000).map(|at| (at, r#"{"n":1}"#.to_owned())));
    let bytes = crate::engine::record::codec::size(&world.kept);
    assert!(bytes <= MAX_TRACKED_BYTES + 1024, "{bytes} bytes");
    let lost = world.kept.lost.map_or(0, |lost| lost.0);
    assert!((1..3000).contains(&lost), "lost until {lost}");
    for question in &questions {
        assert_eq!(world.at(3000).measure(question).truth, Truth::Unknown);
        assert_eq!(world.at(lost + 200_000).measure(question).truth, Truth::True, "it is known again");
    }
}

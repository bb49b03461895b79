//! Three values: what a history that began somewhere can say.

use super::*;
use crate::engine::condition::Truth::{False, True, Unknown};
use crate::engine::definition::{Absence, Campaign, Trigger, Webhook};

/// Known since 100; judged at 200.
fn judged(question: &Did, events: &[(i64, f64)]) -> Truth {
    let mut world = World::asking(std::slice::from_ref(question), &[], 100);
    world.note_all(events.iter().map(|(at, number)| (*at, format!(r#"{{"n":{number}}}"#))));
    world.at(200).measure(question).truth
}

#[test]
fn what_is_true_by_absence_from_before_is_unknown() {
    let check = |measure: Measure, window: Window, events: &[(i64, f64)], expect: Truth| {
        assert_eq!(judged(&did(measure.clone(), window), events), expect, "{measure:?} {window:?} {events:?}");
    };
    let (one, three) = ([(150, 5.0)], [(110, 5.0), (150, 5.0), (160, 5.0)]);
    let (inside, before) = (last(100), last(101));
    for (bound, none, some) in [
        (Bound::Gte(1.0), Unknown, True),
        (Bound::Gt(0.0), Unknown, True),
        (Bound::Gte(2.0), Unknown, Unknown),
        (Bound::Lt(1.0), Unknown, False),
        (Bound::Lt(2.0), Unknown, Unknown),
        (Bound::Lte(0.0), Unknown, False),
        (Bound::Eq(0.0), Unknown, False),
        (Bound::Eq(1.0), Unknown, Unknown),
        (Bound::Ne(0.0), Unknown, True),
        (Bound::Ne(2.0), Unknown, Unknown),
        (Bound::Between(0.0, 0.0), Unknown, False),
        (Bound::Between(1.0, 2.0), Unknown, Unknown),
    ] {
        for window in [before, between(99, 1000)] {
            check(count(bound), window, &[], none);
            check(count(bound), window, &one, some);
        }
    }
    for window in [inside, between(100, 1000), Window::Ever] {
        check(count(Bound::Lt(1.0)), window, &[], True);
        check(count(Bound::Gte(1.0)), window, &[], False);
        check(count(Bound::Eq(1.0)), window, &one, True);
        check(count(Bound::Lt(3.0)), window, &three, False);
        check(Measure::Sum("n".into(), vec![Bound::Lt(1.0)]), window, &[], True);
        check(Measure::Min("n".into(), vec![Bound::Lt(1.0)]), window, &[], False);
    }
    let sum = |bound| Measure::Sum("n".into(), vec![bound]);
    check(sum(Bound::Gte(15.0)), before, &three, True);
    check(sum(Bound::Gte(16.0)), before, &three, Unknown);
    check(sum(Bound::Lt(100.0)), before, &three, Unknown);
    let avg = |bound| Measure::Avg("n".into(), vec![bound]);
    for bound in [Bound::Gte(5.0), Bound::Gte(6.0), Bound::Lt(6.0), Bound::Eq(5.0), Bound::Ne(6.0), Bound::Between(0.0, 9.0)] {
        check(avg(bound), before, &three, Unknown);
        check(avg(bound), before, &[], Unknown);
    }
    check(avg(Bound::Gte(5.0)), inside, &three, True);
    check(avg(Bound::Gte(6.0)), inside, &three, False);
    let (min, max) = (|bound| Measure::Min("n".into(), vec![bound]), |bound| Measure::Max("n".into(), vec![bound]));
    check(min(Bound::Gte(5.0)), before, &three, Unknown);
    check(min(Bound::Lte(5.0)), before, &three, True);
    check(max(Bound::Gte(5.0)), before, &three, True);
    check(max(Bound::Lte(5.0)), before, &three, Unknown);
    check(max(Bound::Lte(5.0)), before, &[], Unknown);
    check(Measure::Distinct("n".into(), vec![Bound::Gte(1.0)]), before, &three, True);
    check(Measure::Distinct("n".into(), vec![Bound::Lt(2.0)]), before, &three, Unknown);
    check(Measure::Distinct("n".into(), vec![Bound::Lt(2.0)]), inside, &three, True);
}

#[test]
fn first_and_last_times_that_are_not_all_known() {
    let check = |measure: Measure, events: &[i64], expect: Truth| {
        let events: Vec<(i64, f64)> = events.iter().map(|at| (*at, 0.0)).collect();
        assert_eq!(judged(&did(measure.clone(), Window::Ever), &events), expect, "{measure:?} {events:?}");
    };
    check(Measure::First(last(100)), &[], False);
    check(Measure::First(last(100)), &[150], True);
    check(Measure::First(last(100)), &[100, 150], False);
    check(Measure::First(last(101)), &[], Unknown);
    check(Measure::First(last(101)), &[150], Unknown);
    check(Measure::First(last(101)), &[99, 150], False);
    check(Measure::First(Window::Ever), &[], False);
    check(Measure::First(Window::Ever), &[150], True);
    check(Measure::First(between(100, 160)), &[150], True);
    check(Measure::First(between(90, 160)), &[150], Unknown);
    check(Measure::First(between(100, 160)), &[170], False);
    check(Measure::First(between(90, 160)), &[170], Unknown);
    check(Measure::Last(last(100)), &[], False);
    check(Measure::Last(last(101)), &[], Unknown);
    check(Measure::Last(last(101)), &[150], True);
    check(Measure::Last(Window::Ever), &[], False);
    check(Measure::Last(Window::Ever), &[150], True);
    check(Measure::Last(between(90, 160)), &[150], True);
    check(Measure::Last(between(90, 160)), &[150, 170], False);
    check(Measure::Last(between(90, 160)), &[], Unknown);
    check(Measure::Last(between(10, 60)), &[50], Unknown);
}

#[test]
fn never_is_judged_at_after() {
    let check = |in_last: Option<u64>, since: i64, events: &[i64], itself: bool, expect: Truth| {
        let absence = Absence { after: pattern("a", "{}"), without: pattern("e", "{}"), in_last: in_last.map(Duration::from_millis) };
        let campaign = Campaign::new("k", Trigger::Absence(absence.clone()), Webhook::new("https://h.example/", "h.example"));
        let trackers = Trackers::compile([&campaign], [], &Workspace::default());
        let tracked = trackers.all().iter().map(|tracker| (tracker.id, Timestamp(since))).collect();
        let mut world = World { trackers, tracked, kept: Kept::default() };
        world.note_all(events.iter().map(|at| (*at, "{}".to_owned())));
        assert_eq!(never(&world.at(200), &absence, itself), expect, "in last {in_last:?} since {since}: {events:?}");
    };
    check(Some(50), 100, &[], false, True);
    check(Some(50), 100, &[150], false, True);
    check(Some(50), 100, &[151], false, False);
    check(Some(50), 100, &[200], false, False);
    check(Some(50), 100, &[200], true, True);
    check(Some(50), 100, &[151, 200], true, False);
    check(Some(50), 100, &[201], false, True);
    check(Some(50), 151, &[], false, Unknown);
    check(Some(50), 151, &[160], false, False);
    check(None, i64::MIN, &[], false, True);
    check(None, i64::MIN, &[1], false, False);
    check(None, i64::MIN, &[201], false, True);
    check(None, i64::MIN, &[200], true, True);
    check(None, 0, &[], false, True);
    check(None, 201, &[], false, Unknown);
    check(None, 0, &[1], false, False);
}

#[test]
fn what_nobody_tracked_is_unknown() {
    let question = did(count(Bound::Gte(1.0)), last(10));
    let world = World::asking(&[], &[], i64::MIN);
    let measured = world.at(200).measure(&question);
    assert_eq!((measured.as_known, measured.truth, measured.since), (false, Unknown, Timestamp::MAX));
}

#[test]
fn what_is_remembered_ahead_answers_questions_that_come_later() {
    let ahead = World::asking(&[], &["e"], 0);
    let (id, mut kept) = (ahead.trackers.all()[0].id, ahead.kept);
    let profile = Profile::default();
    for at in 1..=40 {
        let scope = Scope { event: None, user: Some(&profile), user_id: "u", now: Timestamp(at), zone: "UTC" };
        note_event(&mut kept, &ahead.trackers, "e", &object("{}"), Timestamp(at), &scope);
    }
    let check = |measure: Measure, window: Window, expect: (Found, Truth)| {
        let question = did(measure.clone(), window);
        let World { trackers, mut tracked, .. } = World::asking(std::slice::from_ref(&question), &["e"], 45);
        tracked.insert(id, Timestamp(0));
        let measured = World { trackers, tracked, kept: kept.clone() }.at(50).measure(&question);
        assert_eq!((measured.found, measured.truth), expect, "{measure:?} {window:?}");
    };
    let number = |number: f64| Found::Number(Some(number));
    check(count(Bound::Gte(40.0)), Window::Ever, (number(40.0), True));
    check(count(Bound::Gte(2.0)), last(12), (number(2.0), True));
    check(count(Bound::Lt(3.0)), last(12), (number(2.0), True));
    check(count(Bound::Lt(30.0)), last(41), (number(31.0), False));
    // More than are kept: only the own tracker could tell, and it knows nothing yet.
    check(count(Bound::Gte(40.0)), last(50), (number(0.0), Unknown));
    check(count(Bound::Lt(5.0)), between(20, 23), (number(4.0), True));
    check(count(Bound::Gte(1.0)), between(1, 3), (number(0.0), Unknown));
    check(Measure::First(last(50)), Window::Ever, (Found::Time(Some(Timestamp(1))), True));
    check(Measure::Last(last(11)), Window::Ever, (Found::Time(Some(Timestamp(40))), True));
    check(Measure::Last(last(10)), Window::Ever, (Found::Time(Some(Timestamp(40))), False));
    check(Measure::Max("n".into(), vec![Bound::Gte(1.0)]), Window::Ever, (Found::Number(None), False));
}

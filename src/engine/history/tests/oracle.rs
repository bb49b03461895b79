//! Random events in any order under random questions, against an oracle that keeps them all.

use proptest::prelude::*;

use super::*;

/// An event `e` at a time, with a number and a category that may be missing.
#[derive(Clone, Debug)]
struct Happened {
    at: i64,
    number: Option<i64>,
    category: u8,
}

impl Happened {
    fn properties(&self) -> String {
        let category = match self.category {
            0 => "1".to_owned(),
            1 => "1.0".to_owned(),
            2 => "null".to_owned(),
            other => format!("\"k{other}\""),
        };
        // Tenths, which a float cannot say.
        let number = self.number.map_or("\"none\"".to_owned(), |tenths| format!("{}.{}", tenths / 10, tenths % 10));
        format!(r#"{{"n":{number},"k":{category}}}"#)
    }

    fn written(&self) -> (i64, String) {
        (self.at, self.properties())
    }

    /// As an identity: 1 and 1.0 are one, null is none.
    fn value(&self) -> Option<u8> {
        match self.category {
            2 => None,
            0 | 1 => Some(0),
            other => Some(other),
        }
    }
}

fn happened() -> impl Strategy<Value = Happened> {
    (0..1000i64, prop::option::weighted(0.8, 0..500i64), 0..20u8).prop_map(|(at, number, category)| Happened { at, number, category })
}

fn window() -> impl Strategy<Value = Window> {
    prop_oneof![
        Just(Window::Ever),
        (1..1200u64).prop_map(last),
        (0..1000i64, 0..1000i64).prop_map(|(from, until)| between(from.min(until), from.max(until))),
    ]
}

fn bound() -> impl Strategy<Value = Bound> {
    let number = || (0..30i64).prop_map(|half| half as f64 / 2.0);
    prop_oneof![
        number().prop_map(Bound::Eq),
        number().prop_map(Bound::Ne),
        number().prop_map(Bound::Gt),
        number().prop_map(Bound::Gte),
        number().prop_map(Bound::Lt),
        number().prop_map(Bound::Lte),
        (number(), number()).prop_map(|(low, high)| Bound::Between(low, high)),
    ]
}

fn question() -> impl Strategy<Value = Did> {
    let bounds = || prop::collection::vec(bound(), 1..3);
    let measure = prop_oneof![
        3 => bounds().prop_map(Measure::Count),
        1 => bounds().prop_map(|bounds| Measure::Sum("n".into(), bounds)),
        1 => bounds().prop_map(|bounds| Measure::Avg("n".into(), bounds)),
        1 => bounds().prop_map(|bounds| Measure::Min("n".into(), bounds)),
        1 => bounds().prop_map(|bounds| Measure::Max("n".into(), bounds)),
        2 => bounds().prop_map(|bounds| Measure::Distinct("k".into(), bounds)),
        1 => window().prop_map(Measure::First),
        1 => window().prop_map(Measure::Last),
    ];
    let where_ = prop::sample::select(vec!["{}", r#"{"k":"k5"}"#, r#"{"n":{"gte":10}}"#, r#"{"k":["k3","k4",1]}"#]);
    (measure, window(), where_).prop_map(|(measure, window, where_)| Did { pattern: pattern("e", where_), measure, window })
}

fn within(window: Window, at: i64, now: i64) -> bool {
    match window {
        Window::Ever => true,
        Window::InLast(span) => now - (span.as_millis() as i64) < at && at <= now,
        Window::Between(from, until) => from.0 <= at && at <= until.0,
    }
}

fn holds(bounds: &[Bound], number: Option<f64>) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    number.is_some_and(|number| {
        bounds.iter().all(|bound| match *bound {
            Bound::Eq(other) => near(number, other),
            Bound::Ne(other) => !near(number, other),
            Bound::Gt(other) => number > other && !near(number, other),
            Bound::Gte(other) => number > other || near(number, other),
            Bound::Lt(other) => number < other && !near(number, other),
            Bound::Lte(other) => number < other || near(number, other),
            Bound::Between(low, high) => (number > low || near(number, low)) && (number < high || near(number, high)),
        })
    })
}

/// What the question comes to if every event is looked at.
fn naive(question: &Did, events: &[Happened], now: i64) -> bool {
    let profile = Profile::default();
    let scope = Scope { event: None, user: Some(&profile), user_id: "u", now: Timestamp(0), zone: "UTC" };
    let meant = |event: &&Happened| {
        let properties = object(&event.properties());
        let scope = Scope { event: Some(&properties), ..scope };
        crate::engine::condition::holds(&question.pattern.condition, &properties, &scope)
    };
    let meant: Vec<&Happened> = events.iter().filter(meant).collect();
    let seen: Vec<&Happened> = meant.iter().copied().filter(|event| within(question.window, event.at, now)).collect();
    // In tenths, exactly.
    let tenths: Vec<i64> = seen.iter().filter_map(|event| event.number).collect();
    let sum = tenths.iter().sum::<i64>() as f64 / 10.0;
    let some = |number: f64| (!tenths.is_empty()).then_some(number);
    match &question.measure {
        Measure::Count(bounds) => holds(bounds, Some(seen.len() as f64)),
        Measure::Sum(_, bounds) => holds(bounds, Some(sum)),
        Measure::Avg(_, bounds) => holds(bounds, some(sum / tenths.len() as f64)),
        Measure::Min(_, bounds) => holds(bounds, tenths.iter().min().map(|tenths| *tenths as f64 / 10.0)),
        Measure::Max(_, bounds) => holds(bounds, tenths.iter().max().map(|tenths| *tenths as f64 / 10.0)),
        Measure::Distinct(_, bounds) => {
            let values: std::collections::BTreeSet<u8> = seen.iter().filter_map(|event| event.value()).collect();
            holds(bounds, Some(values.len() as f64))
        }
        Measure::First(window) => meant.iter().map(|event| event.at).min().is_some_and(|at| within(*window, at, now)),
        Measure::Last(window) => meant.iter().map(|event| event.at).max().is_some_and(|at| within(*window, at, now)),
    }
}

fn noted(questions: &[Did], events: &[Happened]) -> World {
    let mut world = World::asking(questions, &[], i64::MIN);
    world.note_all(events.iter().map(Happened::written));
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn up_to_the_bounds_everything_is_exact(
        events in prop::collection::vec(happened(), 0..60),
        questions in prop::collection::vec(question(), 1..6),
        later in 0..500i64,
    ) {
        let world = noted(&questions, &events);
        let now = events.iter().map(|event| event.at).max().unwrap_or(0) + later;
        for question in &questions {
            let measured = world.at(now).measure(question);
            let expect = naive(question, &events, now);
            prop_assert_eq!(measured.as_known, expect, "{:?} at {}: {:?}", question, now, measured);
            prop_assert_eq!(measured.truth, truth(expect), "all is known: {:?}", question);
        }
    }

    #[test]
    fn pruning_by_the_time_still_to_be_read_changes_nothing(
        mut events in prop::collection::vec(happened(), 1..60),
        questions in prop::collection::vec(question(), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        // No event after the cut is older than the horizon.
        let cut = cut.index(events.len());
        events[..cut].sort_by_key(|event| event.at);
        let horizon = events[cut..].iter().map(|event| event.at).min().unwrap_or(0);
        let mut world = noted(&questions, &events[..cut]);
        world.prune(horizon);
        world.note_all(events[cut..].iter().map(Happened::written));
        let now = events.iter().map(|event| event.at).max().unwrap_or(0);
        world.prune(now);
        for question in &questions {
            prop_assert_eq!(world.at(now).measure(question).as_known, naive(question, &events, now), "{:?} at {}", question, now);
        }
    }

    #[test]
    fn counts_are_exact_as_of_earlier_times_while_few_events_are_later(
        events in prop::collection::vec(happened(), 0..60),
        (n, span, later) in (1..10u32, 1..1200u64, 0..=SPARE_NEWEST),
    ) {
        let question = did(count(Bound::Gte(f64::from(n))), last(span));
        let world = noted(std::slice::from_ref(&question), &events);
        let mut times: Vec<i64> = events.iter().map(|event| event.at).collect();
        times.sort_unstable();
        let now = times.iter().rev().nth(later).copied().unwrap_or(0);
        if times.iter().filter(|at| **at > now).count() <= SPARE_NEWEST {
            prop_assert_eq!(world.at(now).measure(&question).as_known, naive(&question, &events, now), "as of {}", now);
        }
    }

    #[test]
    fn many_numbers_are_exact_to_a_slice_of_the_window(
        events in prop::collection::vec(happened(), 100..400),
        (span, later) in (64..1200u64, 0..200i64),
    ) {
        let many = did(count(Bound::Gte(1e6)), last(span));
        let sum = did(Measure::Sum("n".into(), vec![Bound::Gte(0.0)]), last(span));
        let world = noted(&[many.clone(), sum.clone()], &events);
        let now = events.iter().map(|event| event.at).max().unwrap_or(0) + later;
        let number = |question: &Did| match world.at(now).measure(question).found {
            Found::Number(Some(number)) => number,
            other => panic!("{other:?}"),
        };
        let slice = span as i64 / samples::SLICES;
        let naive = |from: i64| {
            let seen: Vec<&Happened> = events.iter().filter(|event| from < event.at && event.at <= now).collect();
            (seen.len() as f64, seen.iter().filter_map(|event| event.number).sum::<i64>() as f64 / 10.0)
        };
        let (least, most) = (naive(now - span as i64), naive(now - span as i64 - slice));
        let (counted, summed) = (number(&many), number(&sum));
        prop_assert!(least.0 <= counted && counted <= most.0, "{} not in {}..={}", counted, least.0, most.0);
        prop_assert!(least.1 - 1e-6 <= summed && summed <= most.1 + 1e-6, "{} not in {}..={}", summed, least.1, most.1);
    }

    #[test]
    fn the_next_change_is_found(
        events in prop::collection::vec((0..60i64, 0..4u8), 0..12),
        (n, span, since, now) in (1..5u32, 1..40u64, -50..50i64, 20..80i64),
        kind in 0..4u8,
    ) {
        let at_least = vec![Bound::Gte(f64::from(n))];
        let measure = match kind {
            0 => Measure::Count(at_least),
            1 => Measure::Sum("n".into(), at_least),
            2 => Measure::First(last(span)),
            _ => Measure::Distinct("n".into(), at_least),
        };
        let question = did(measure, last(span));
        let mut world = World::asking(std::slice::from_ref(&question), &[], since);
        for (at, number) in &events {
            world.note("e", &format!(r#"{{"n":{number}}}"#), *at);
        }
        // A distinct value counts as soon as it is known.
        let now = now.max(events.iter().map(|(at, _)| *at).max().unwrap_or(0));
        let says = |at: i64| {
            let measured = world.at(at).measure(&question);
            (measured.as_known, measured.truth)
        };
        let expect = (now + 1..now + 200).find(|at| says(*at) != says(now)).map(Timestamp);
        prop_assert_eq!(world.at(now).changes_after(&question), expect);
    }

    #[test]
    fn what_is_kept_ahead_never_contradicts(
        events in prop::collection::vec(happened(), 0..80),
        questions in prop::collection::vec(question(), 1..6),
    ) {
        // The own trackers know nothing before 0, the one that remembers ahead everything.
        let mut world = World::asking(&questions, &["e"], 0);
        for tracker in world.trackers.all().iter().filter(|tracker| tracker.what == What::Ahead) {
            world.tracked.insert(tracker.id, Timestamp::MIN);
        }
        world.note_all(events.iter().map(Happened::written));
        let now = events.iter().map(|event| event.at).max().unwrap_or(0);
        for question in &questions {
            prop_assert_eq!(world.at(now).measure(question).as_known, naive(question, &events, now), "{:?}", question);
        }
    }
}

#[test]
fn an_estimate_of_distinct_values_is_near() {
    let question = did(Measure::Distinct("k".into(), vec![Bound::Gte(1000.0)]), Window::Ever);
    for values in [100, 250, 1000, 20_000] {
        let mut world = World::asking(std::slice::from_ref(&question), &[], i64::MIN);
        for value in 0..values {
            world.note("e", &format!(r#"{{"k":"v{value}"}}"#), i64::from(value));
        }
        let Found::Number(Some(number)) = world.at(1_000_000).measure(&question).found else { panic!("no number") };
        let error = (number - f64::from(values)).abs() / f64::from(values);
        let allowed = if values as usize <= distinct::MAX_SAMPLED { 0.0 } else { 3.0 * 0.075 };
        assert!(error <= allowed, "{values} values: {number}");
    }
}

#[test]
fn prices_add_up() {
    let question = did(Measure::Sum("n".into(), vec![Bound::Gte(1.0)]), Window::Ever);
    let mut world = World::asking(std::slice::from_ref(&question), &[], i64::MIN);
    world.note_all((0..10).map(|at| (at, r#"{"n":0.1}"#.to_owned())));
    let measured = world.at(20).measure(&question);
    assert_eq!((measured.found, measured.as_known), (Found::Number(Some(1.0)), true));
}

#[test]
fn numbers_are_taken_from_arrays_and_nothing_else() {
    let check = |properties: &str, expect: Option<f64>| {
        let question = did(Measure::Max("items.price".into(), vec![]), Window::Ever);
        let mut world = World::asking(std::slice::from_ref(&question), &[], i64::MIN);
        world.note("e", properties, 0);
        assert_eq!(world.at(1).measure(&question).found, Found::Number(expect), "{properties}");
    };
    check(r#"{"items":[{"price":5},{"price":7.5},{"price":"9"}]}"#, Some(7.5));
    check(r#"{"items":{"price":[1,18446744073709551615]}}"#, Some(18_446_744_073_709_551_615.0));
    check(r#"{"items":[{"price":"9"}]}"#, None);
    check("{}", None);
}

//! Rules with cohorts and history.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::engine::condition::{Compared, Scope as ConditionScope};
use crate::engine::definition::{Bound, Cohort, Did, Measure, Pattern, Window, Workspace};
use crate::engine::history::{Found, Trackers, note_event};
use crate::engine::id::TrackerId;
use crate::engine::record::Kept;
use crate::engine::value::Value;

/// History is known since 100, and it is 200: `in_last: 100` is known whole, `in_last: 150` is not.
const SINCE: Timestamp = Timestamp(100);
const NOW: Timestamp = Timestamp(200);

/// At least so often in the last so many milliseconds.
fn did_often(event: &str, bound: Bound, in_last: u64) -> Rule {
    let pattern = Pattern { event: event.into(), condition: condition("{}") };
    let window = Window::InLast(Duration::from_millis(in_last));
    Rule::Did(Box::new(Did { pattern, measure: Measure::Count(vec![bound]), window }))
}

fn did(event: &str, in_last: u64) -> Rule {
    did_often(event, Bound::Gte(1.0), in_last)
}

fn cohort(key: &str) -> Rule {
    Rule::Cohort(key.into())
}

struct World {
    cohorts: Cohorts,
    trackers: Trackers,
    tracked: BTreeMap<TrackerId, Timestamp>,
    kept: Kept,
    profile: Profile,
}

impl World {
    /// The cohort `asked` asks what `rule` asks, so that its history is kept; `events` happened.
    fn new(rule: &Rule, cohorts: Vec<Cohort>, events: &[(&str, i64)]) -> World {
        let asked = Cohort { key: "asked".into(), members: Members::Rule(rule.clone()) };
        let cohorts = Cohorts::new(cohorts.into_iter().chain([asked]));
        let trackers = Trackers::compile([], cohorts.iter(), &Workspace::default());
        let tracked = trackers.all().iter().map(|tracker| (tracker.id, SINCE)).collect();
        let (mut kept, profile) = (Kept::default(), profile());
        for (event, at) in events {
            let scope = ConditionScope { event: None, user: Some(&profile), user_id: "u1", now: NOW, zone: "UTC" };
            note_event(&mut kept, &trackers, event, &object("{}"), Timestamp(*at), &scope);
        }
        World { cohorts, trackers, tracked, kept, profile }
    }

    fn scope(&self, at: Timestamp) -> Scope<'_> {
        let history = History { kept: &self.kept, trackers: &self.trackers, tracked: &self.tracked, at };
        let cohorts = &self.cohorts;
        Scope { event: None, user: Some(&self.profile), user_id: "u1", now: at, zone: "UTC", history: Some(history), cohorts }
    }
}

#[test]
fn history_is_unknown_only_where_it_decides() {
    let (yes, no) = (|| user(r#"{"country":"KR"}"#), || user(r#"{"country":"US"}"#));
    let incomplete = Verdict::Unknown(Lack::History);
    // `seen` happened once, at 150; `unseen` never.
    let check = |rule: Rule, expect: Verdict| {
        let world = World::new(&rule, Vec::new(), &[("seen", 150)]);
        assert_eq!(judge(&rule, &world.scope(NOW)), expect, "{rule:?}");
        assert_eq!(includes(&rule, &world.scope(NOW)), expect == Verdict::In);
    };
    check(did("seen", 100), Verdict::In);
    check(did("seen", 150), Verdict::In);
    check(did("seen", 50), Verdict::Out);
    check(did("unseen", 100), Verdict::Out);
    check(did("unseen", 150), Verdict::Out);
    check(not(did("unseen", 100)), Verdict::In);
    check(not(did("unseen", 150)), incomplete);
    check(not(did("seen", 150)), Verdict::Out);
    check(not(did("seen", 50)), Verdict::In);
    check(not(not(did("unseen", 150))), Verdict::Out);
    // Counts below some number include zero.
    check(did_often("unseen", Bound::Lt(3.0), 100), Verdict::In);
    check(did_often("unseen", Bound::Lt(3.0), 150), incomplete);
    check(not(did_often("seen", Bound::Gte(2.0), 150)), incomplete);
    // Kleene: what else decides, decides.
    check(Rule::Any(vec![not(did("unseen", 150)), yes()]), Verdict::In);
    check(Rule::Any(vec![not(did("unseen", 150)), no()]), incomplete);
    check(Rule::Any(vec![not(did("unseen", 150)), did("seen", 150)]), Verdict::In);
    check(Rule::All(vec![not(did("unseen", 150)), yes()]), incomplete);
    check(Rule::All(vec![not(did("unseen", 150)), no()]), Verdict::Out);
    check(Rule::All(vec![not(did("unseen", 150)), did("unseen", 150)]), Verdict::Out);
    check(not(Rule::Any(vec![did("unseen", 150), no()])), incomplete);
    check(not(Rule::Any(vec![did("unseen", 150), yes()])), Verdict::Out);
}

#[test]
fn without_a_history_nothing_that_asks_for_it_can_be_said() {
    let rule = did("seen", 100);
    let world = World::new(&rule, Vec::new(), &[("seen", 150)]);
    let scope = Scope { history: None, ..world.scope(NOW) };
    assert_eq!(judge(&rule, &scope), Verdict::Unknown(Lack::Scope));
    assert_eq!(judge(&not(rule), &scope), Verdict::Unknown(Lack::Scope));
}

#[test]
fn cohorts_are_rules_and_lists_and_nest() {
    let rule = |key: &str, rule| Cohort { key: key.into(), members: Members::Rule(rule) };
    let list =
        |key: &str, users: &[&str]| Cohort { key: key.into(), members: Members::List(users.iter().map(|id| (*id).into()).collect()) };
    let cohorts = || {
        vec![
            rule("koreans", user(r#"{"country":"KR"}"#)),
            rule("lapsed", not(did("seen", 150))),
            rule("nested", Rule::All(vec![cohort("koreans"), not(cohort("staff"))])),
            rule("round", cohort("and-round")),
            rule("and-round", cohort("round")),
            list("staff", &["a", "u0", "z"]),
            list("testers", &["a", "u1", "z"]),
            list("nobody", &[]),
        ]
    };
    let check = |rule: Rule, expect: Verdict| {
        let world = World::new(&rule, cohorts(), &[]);
        assert_eq!(judge(&rule, &world.scope(NOW)), expect, "{rule:?}");
    };
    let missing = Verdict::Unknown(Lack::Cohort);
    check(cohort("koreans"), Verdict::In);
    check(cohort("nested"), Verdict::In);
    check(cohort("staff"), Verdict::Out);
    check(cohort("testers"), Verdict::In);
    check(not(cohort("testers")), Verdict::Out);
    check(cohort("nobody"), Verdict::Out);
    check(cohort("lapsed"), Verdict::Unknown(Lack::History));
    check(cohort("missing"), missing);
    check(not(cohort("missing")), missing);
    check(cohort("round"), missing);
    check(Rule::Any(vec![cohort("missing"), cohort("koreans")]), Verdict::In);
    check(Rule::All(vec![cohort("missing"), cohort("staff")]), Verdict::Out);
}

#[test]
fn passing_time_changes_a_verdict_when_it_is_said_to() {
    let check = |rule: Rule, expect: Option<i64>| {
        let world = World::new(&rule, vec![Cohort { key: "c".into(), members: Members::Rule(did("seen", 120)) }], &[("seen", 150)]);
        assert_eq!(changes_after(&rule, &world.scope(NOW)).map(|at| at.0), expect, "{rule:?}");
        let Some(next) = expect else { return };
        let judged = |at: i64| judge(&rule, &world.scope(Timestamp(at)));
        assert!((NOW.0..next).all(|at| judged(at) == judged(NOW.0)), "{rule:?} changes before {next}");
    };
    check(did("seen", 100), Some(250));
    check(not(did("seen", 100)), Some(250));
    check(cohort("c"), Some(270));
    check(did("unseen", 100), None);
    // Known whole from 250 on.
    check(not(did("unseen", 150)), Some(250));
    check(did("unseen", 150), Some(250));
    check(Rule::All(vec![did("seen", 100), did("seen", 80)]), Some(230));
    check(Rule::Any(vec![user(r#"{"country":"US"}"#), not(did("seen", 60))]), Some(210));
    check(user(r#"{"country":"KR"}"#), None);
    check(cohort("missing"), None);
}

#[test]
fn traits_that_are_instants_change_by_passing_time() {
    let check = |where_: &str, traits: &str, expect: Option<i64>| {
        let (rule, cohorts) = (user(where_), Cohorts::default());
        let mut profile = Profile::default();
        profile.merge(&object(traits), Timestamp(0));
        let scope = |at: i64| {
            let now = Timestamp(at);
            Scope { event: None, user: Some(&profile), user_id: "u1", now, zone: "UTC", history: None, cohorts: &cohorts }
        };
        let says = |at: i64| judge(&rule, &scope(at));
        assert_eq!(changes_after(&rule, &scope(10_000)).map(|at| at.0), expect, "{where_} of {traits}");
        let naive = (10_001..90_000).find(|at| says(*at) != says(10_000));
        assert_eq!(naive, expect, "{where_} of {traits}, tried");
    };
    check(r#"{"at":{"in_last":"3s"}}"#, r#"{"at":9}"#, Some(12_000));
    check(r#"{"at":{"in_last":"3s"}}"#, r#"{"at":7}"#, None);
    check(r#"{"at":{"in_last":"3s"}}"#, r#"{"at":20}"#, Some(20_000));
    check(r#"{"at":{"in_last":"3s"}}"#, r#"{"at":[9,30]}"#, Some(12_000));
    check(r#"{"at":{"in_next":"3s"}}"#, r#"{"at":12}"#, Some(12_001));
    check(r#"{"at":{"in_next":"3s"}}"#, r#"{"at":20}"#, Some(17_001));
    check(r#"{"at":{"in_next":"3s"}}"#, r#"{"at":5}"#, None);
    check(r#"{"not":{"at":{"in_next":"3s"}}}"#, r#"{"at":12}"#, Some(12_001));
    check(r#"{"any":[{"at":{"in_last":"3s"}},{"at":{"in_next":"1s"}}]}"#, r#"{"at":9}"#, Some(12_000));
    check(r#"{"at":{"before":100}}"#, r#"{"at":12}"#, None);
    check(r#"{"at":{"in_last":"3s"}}"#, r#"{"at":"soon"}"#, None);
    check(r#"{"items.at":{"in_last":"3s"}}"#, r#"{"items":[{"at":8},{"at":40}]}"#, Some(11_000));
}

#[test]
fn every_part_says_what_it_found() {
    let list = Cohort { key: "staff".into(), members: Members::List(vec!["u0".into()]) };
    let koreans = Cohort { key: "koreans".into(), members: Members::Rule(user(r#"{"country":"KR"}"#)) };
    let age = user(r#"{"age":{"lt":{"user":"limit"}}}"#);
    let rule = Rule::All(vec![
        cohort("koreans"),
        not(cohort("staff")),
        Rule::Any(vec![did_often("seen", Bound::Gte(2.0), 150), age]),
        cohort("missing"),
    ]);
    let world = World::new(&rule, vec![list, koreans], &[("seen", 150)]);
    let Why { truth, because: Because::All(parts) } = why(&rule, &world.scope(NOW)) else { panic!("not all") };
    assert_eq!(truth, Truth::Unknown);
    assert_eq!(parts.iter().map(|part| part.truth).collect::<Vec<_>>(), [Truth::True, Truth::True, Truth::Unknown, Truth::Unknown]);
    assert!(matches!(&parts[0].because, Because::Cohort { key: "koreans", rule } if rule.truth == Truth::True));
    assert!(matches!(&parts[1].because, Because::Not(part) if part.because == Because::Listed { key: "staff", users: 1 }));
    assert_eq!(parts[3].because, Because::NoCohort { key: "missing" });
    let Because::Any(either) = &parts[2].because else { panic!("not any") };
    let Because::Did { measured: Some(measured), .. } = either[0].because else { panic!("not did") };
    assert_eq!((measured.found, measured.since, measured.as_known), (Found::Number(Some(1.0)), SINCE, false));
    // The notation of tests wraps the operators of one property in a map of their own.
    let Because::User(Compared::All(_, properties)) = &either[1].because else { panic!("not user") };
    let Compared::All(_, tests) = &properties[0] else { panic!("no operators") };
    let Compared::Test { truth, path, found, operands, .. } = &tests[0] else { panic!("no test") };
    assert_eq!((*truth, *path, found.as_slice(), operands.as_slice()), (Truth::False, "age", &[Value::Int(31)][..], &[None][..]));
}

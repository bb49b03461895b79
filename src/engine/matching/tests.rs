//! The index against what it must find, and against judging every campaign.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::engine::condition::notation::{condition, object};
use crate::engine::condition::{Truth, judge};
use crate::engine::definition::{
    Absence, Actions, Again, Bound, Cohort, Crossing, DateOffset, Did, EventDate, Goal, Inaction, Measure, Members, Order, Rule, Webhook,
    Window, Workspace, ZoneChoice,
};

fn campaign(status: Status, trigger: Trigger) -> Campaign {
    Campaign { status: Some(status), ..Campaign::new("k", trigger, Webhook::new("https://h.example/", "h.example")) }
}

fn pattern(event: &str, where_: &str) -> Pattern {
    Pattern { event: event.into(), condition: condition(where_) }
}

fn action(where_: &str) -> Campaign {
    campaign(Status::Running, Trigger::Action(pattern("e", where_)))
}

fn inaction(after: Pattern, without: Pattern) -> Campaign {
    let within = Duration::from_secs(60);
    campaign(Status::Running, Trigger::Inaction(Inaction { after, without, within, same: Vec::new(), again: Again::Ignore }))
}

fn built(campaigns: &[&Campaign]) -> Index {
    Index::build(campaigns, &Cohorts::default(), &Trackers::default())
}

fn found(campaigns: &[Campaign], event: &str, properties: &str) -> Vec<(u32, Role)> {
    let index = built(&campaigns.iter().collect::<Vec<_>>());
    let mut out = Vec::new();
    index.matches(event, &object(properties), Timestamp(0), "UTC", &mut out);
    out.iter().map(|found| (found.campaign, found.role)).collect()
}

/// One campaign for each condition, all on the event `e`; `expect` are the positions of those that match.
fn check(conditions: &[&str], properties: &str, expect: &[u32]) {
    let campaigns: Vec<Campaign> = conditions.iter().map(|where_| action(where_)).collect();
    let positions: Vec<u32> = found(&campaigns, "e", properties).iter().map(|(campaign, _)| *campaign).collect();
    assert_eq!(positions, expect, "{conditions:?} on {properties}");
}

#[test]
fn finds_what_matches_and_nothing_else() {
    let by_category = [r#"{"c":"k0"}"#, r#"{"c":"k1"}"#, r#"{"c":"k1","amount":{"gte":100}}"#, r#"{"amount":{"gte":100}}"#, "{}"];
    check(&by_category, r#"{"c":"k1","amount":100}"#, &[1, 2, 3, 4]);
    check(&by_category, r#"{"c":"k1","amount":99}"#, &[1, 4]);
    check(&by_category, r#"{"c":"k9","amount":99}"#, &[4]);
    check(&by_category, "{}", &[4]);
    check(&by_category, r#"{"c":["k0","k1"]}"#, &[0, 1, 4]);
    check(&by_category, r#"{"c":null}"#, &[4]);

    let numbers = [r#"{"n":1}"#, r#"{"n":1.0}"#, r#"{"n":"1"}"#, r#"{"n":true}"#, r#"{"n":0.5}"#, r#"{"n":0}"#];
    check(&numbers, r#"{"n":1}"#, &[0, 1]);
    check(&numbers, r#"{"n":1.0}"#, &[0, 1]);
    check(&numbers, r#"{"n":"1"}"#, &[2]);
    check(&numbers, r#"{"n":true}"#, &[3]);
    check(&numbers, r#"{"n":5e-1}"#, &[4]);
    check(&numbers, r#"{"n":-0.0}"#, &[5]);
    check(&numbers, r#"{"n":[0,0.5,true]}"#, &[3, 4, 5]);
    let large = [r#"{"n":18446744073709551615}"#, r#"{"n":9007199254740993}"#, r#"{"n":1e19}"#, r#"{"n":10000000000000000000}"#];
    check(&large, r#"{"n":18446744073709551615}"#, &[0]);
    check(&large, r#"{"n":9007199254740992.0}"#, &[]);
    check(&large, r#"{"n":10000000000000000000}"#, &[2, 3]);
    check(&large, r#"{"n":1e300}"#, &[]);

    let paths = [r#"{"a.b":"x"}"#, r#"{"items.sku":"S1"}"#, r#"{"a.b":["y","x"]}"#];
    check(&paths, r#"{"a":{"b":"x"}}"#, &[0, 2]);
    check(&paths, r#"{"a.b":"y","a":{"b":"x"}}"#, &[2]);
    check(&paths, r#"{"items":[{"sku":"S0"},{"sku":"S1"}]}"#, &[1]);
    check(&paths, r#"{"a":{"b":["x","y"]}}"#, &[0, 2]);

    let combined = [
        r#"{"any":[{"a":1},{"b":2}]}"#,
        r#"{"any":[{"a":1},{"b":{"gt":1}}]}"#,
        r#"{"not":{"a":1}}"#,
        r#"{"any":[]}"#,
        r#"{"a":{"in":[]}}"#,
        r#"{"a":{"ne":1}}"#,
        r#"{"all":[{"any":[{"a":1},{"a":2}]},{"b":{"in":[2,3]}}]}"#,
        r#"{"a":{"eq":{"event":"b"}}}"#,
        r#"{"a":[1,{"event":"b"}]}"#,
    ];
    check(&combined, r#"{"a":1}"#, &[0, 1, 8]);
    check(&combined, r#"{"a":1,"b":2}"#, &[0, 1, 6, 8]);
    check(&combined, r#"{"b":2}"#, &[0, 1, 2, 5]);
    check(&combined, r#"{"a":2,"b":2}"#, &[0, 1, 2, 5, 6, 7, 8]);
    check(&combined, r#"{"a":[],"b":3}"#, &[1, 2, 5]);
}

#[test]
fn what_needs_the_user_counts_as_matching() {
    let conditions = [r#"{"a":{"gt":{"user":"limit"}}}"#, r#"{"c":"k","a":{"eq":{"user":"x"}}}"#];
    check(&conditions, r#"{"a":1,"c":"k"}"#, &[0, 1]);
    check(&conditions, r#"{"a":1,"c":"l"}"#, &[0]);
    check(&conditions, r#"{"c":"k"}"#, &[]);
}

#[test]
fn an_inaction_cancels_before_it_starts_and_campaigns_keep_their_order() {
    let campaigns = [
        action("{}"),
        inaction(pattern("e", r#"{"step":1}"#), pattern("e", r#"{"step":{"gte":1}}"#)),
        inaction(pattern("e", "{}"), pattern("done", "{}")),
        campaign(Status::Running, Trigger::Api),
        action(r#"{"step":1}"#),
    ];
    let all = [(0, Role::Fires), (1, Role::Cancels), (1, Role::Starts), (2, Role::Starts), (4, Role::Fires)];
    assert_eq!(found(&campaigns, "e", r#"{"step":1}"#), all);
    assert_eq!(found(&campaigns, "e", r#"{"step":2}"#), [(0, Role::Fires), (1, Role::Cancels), (2, Role::Starts)]);
    assert_eq!(found(&campaigns, "done", "{}"), [(2, Role::Cancels)]);
    assert_eq!(found(&campaigns, "other", "{}"), []);
    assert_eq!(found(&campaigns, "E", "{}"), []);
}

#[test]
fn every_trigger_and_goal_finds_its_events() {
    let actions = |order| {
        let events = vec![pattern("a", "{}"), pattern("b", r#"{"n":1}"#), pattern("a", r#"{"n":1}"#)];
        Trigger::Actions(Actions { events, order, within: None, same: Vec::new() })
    };
    let absence = Absence { after: pattern("a", "{}"), without: pattern("seen", "{}"), in_last: None };
    let when = DateOffset { offset_ms: 0, at: None, zone: ZoneChoice::User };
    let date = EventDate { pattern: pattern("b", "{}"), property: None, when, same: Vec::new(), again: Again::Ignore };
    let goal = Goal { pattern: pattern("a", r#"{"n":1}"#), within: Duration::from_secs(1) };
    let campaigns = [
        campaign(Status::Running, actions(Order::Any)),
        campaign(Status::Running, Trigger::Absence(absence)),
        campaign(Status::Running, Trigger::EventDate(date)),
        Campaign { goal: Some(goal), ..campaign(Status::Running, Trigger::Action(pattern("a", "{}"))) },
        campaign(Status::Running, Trigger::Action(pattern("$delivered", r#"{"campaign":"k"}"#))),
    ];
    let check = |event: &str, properties: &str, expect: &[(u32, Role)]| assert_eq!(found(&campaigns, event, properties), expect, "{event}");
    check("a", r#"{"n":1}"#, &[(0, Role::Part(0)), (0, Role::Part(2)), (1, Role::Fires), (3, Role::Converts), (3, Role::Fires)]);
    check("a", "{}", &[(0, Role::Part(0)), (1, Role::Fires), (3, Role::Fires)]);
    check("b", r#"{"n":1}"#, &[(0, Role::Part(1)), (2, Role::Dates)]);
    check("$delivered", r#"{"campaign":"k"}"#, &[(4, Role::Fires)]);
    check("$delivered", r#"{"campaign":"l"}"#, &[]);
    check("seen", "{}", &[]);
}

#[test]
fn cohorts_and_trackers_make_events_known() {
    let did = |event, where_| {
        let (measure, window) = (Measure::Count(vec![Bound::Gte(1.0)]), Window::Ever);
        Rule::Did(Box::new(Did { pattern: pattern(event, where_), measure, window }))
    };
    let cohort = |key: &str, rule| Cohort { key: key.into(), members: Members::Rule(rule) };
    let inner = Rule::Any(vec![did("inner", "{}"), did("inner", r#"{"n":1}"#), Rule::Cohort("outer".into())]);
    let outer = Rule::All(vec![did("outer", r#"{"n":1}"#), Rule::Not(Box::new(Rule::Cohort("inner".into())))]);
    let cohorts = Cohorts::new([cohort("outer", outer), cohort("inner", inner), cohort("other", did("other", "{}"))]);
    let entered = campaign(Status::Paused, Trigger::Cohort { cohort: "outer".into(), crossing: Crossing::Entered });
    let gone = campaign(Status::Running, Trigger::Cohort { cohort: "gone".into(), crossing: Crossing::Left });
    let campaigns = [action("{}"), entered, gone];
    let campaigns: Vec<&Campaign> = campaigns.iter().collect();
    let workspace = Workspace { track: vec!["login".into()], ..Workspace::default() };
    let trackers = Trackers::compile(campaigns.iter().copied(), cohorts.iter(), &workspace);
    let index = Index::build(&campaigns, &cohorts, &trackers);
    let check = |event: &str, properties: &str, known: bool, expect: &[u32]| {
        let mut out = Vec::new();
        index.matches(event, &object(properties), Timestamp(0), "UTC", &mut out);
        let joined: Vec<u32> = out.iter().filter(|found| found.role == Role::Joins).map(|found| found.campaign).collect();
        assert_eq!((index.knows(event), joined.as_slice()), (known, expect), "{event} {properties}");
    };
    check("outer", r#"{"n":1}"#, true, &[1]);
    check("outer", "{}", true, &[]);
    check("inner", r#"{"n":1}"#, true, &[1]);
    check("other", "{}", true, &[]);
    check("login", "{}", true, &[]);
    check("e", "{}", true, &[]);
    check("unheard", "{}", false, &[]);
    assert_eq!(index.by_membership(), [1, 2]);
}

#[test]
fn only_campaigns_in_force_are_known() {
    let of = |status| campaign(status, Trigger::Action(pattern(&format!("{status:?}"), "{}")));
    let mut unsaid = of(Status::Running);
    unsaid.status = None;
    let campaigns = [of(Status::Ready), of(Status::Running), of(Status::Paused), of(Status::Ended)];
    let index = built(&campaigns.iter().collect::<Vec<_>>());
    let known = ["Ready", "Running", "Paused", "Ended", ""].map(|name| index.knows(name));
    assert_eq!(known, [false, true, true, false, false]);
    assert!(!built(&[&unsaid]).knows("Running"));
    assert_eq!(found(&campaigns, "Paused", "{}"), [(2, Role::Fires)]);
}

#[test]
fn campaigns_are_filed_under_what_tells_them_apart() {
    let campaigns: Vec<Campaign> = (0..100).map(|i| action(&format!(r#"{{"country":"KR","c":"k{i}","first":true}}"#))).collect();
    let index = built(&campaigns.iter().collect::<Vec<_>>());
    let name = &index.names["e"];
    let paths: Vec<&str> = name.fields.iter().map(|field| &*field.path).collect();
    assert_eq!((paths, name.fields[0].by_value.len(), name.unfiled.len()), (vec!["c"], 100, 0));
}

#[test]
fn one_path_is_preferred_among_equals() {
    let campaigns: Vec<Campaign> = (0..50).map(|i| action(&format!(r#"{{"only-{i}":1,"sku":"S{i}"}}"#))).collect();
    let index = built(&campaigns.iter().collect::<Vec<_>>());
    assert_eq!(index.names["e"].fields.len(), 1);
}

/// A few values, so that they meet.
fn value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "1",
        "1.0",
        "2",
        "0.5",
        "\"x\"",
        "\"1\"",
        "true",
        "null",
        "[]",
        "[1,\"x\"]",
        "[[1]]",
        r#"{"b":1}"#,
        r#"[{"b":2}]"#,
    ])
}

fn leaf() -> impl Strategy<Value = String> {
    let path = prop::sample::select(vec!["a", "b", "a.b"]);
    let literal = prop::sample::select(vec!["1", "1.0", "2", "0.5", "\"x\"", "true"]);
    let operator = prop::sample::select(vec!["eq", "ne", "gte", "contains", "in", "not_in"]);
    (path, operator, literal.clone(), literal).prop_map(|(path, operator, one, two)| match operator {
        "in" | "not_in" => format!(r#"{{"{path}":{{"{operator}":[{one},{two}]}}}}"#),
        _ => format!(r#"{{"{path}":{{"{operator}":{one}}}}}"#),
    })
}

fn any_condition() -> impl Strategy<Value = String> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|parts| format!(r#"{{"all":[{}]}}"#, parts.join(","))),
            prop::collection::vec(inner.clone(), 0..3).prop_map(|parts| format!(r#"{{"any":[{}]}}"#, parts.join(","))),
            inner.prop_map(|part| format!(r#"{{"not":{part}}}"#)),
        ]
    })
}

proptest! {
    #[test]
    fn the_index_finds_exactly_what_judging_all_finds(
        conditions in prop::collection::vec(any_condition(), 1..20),
        (a, b, dotted) in (value(), value(), value()),
    ) {
        for properties in [format!(r#"{{"a":{a},"b":{b}}}"#), format!(r#"{{"a.b":{dotted},"a":{a}}}"#), format!(r#"{{"a":{{"b":{b}}}}}"#)] {
            let event = object(&properties);
            let scope = Scope { event: Some(&event), user: None, user_id: "", now: Timestamp(0), zone: "UTC" };
            let all: Vec<u32> =
                (0u32..).zip(&conditions).filter(|(_, text)| judge(&condition(text), &event, &scope) != Truth::False).map(|(i, _)| i).collect();
            let campaigns: Vec<Campaign> = conditions.iter().map(|where_| action(where_)).collect();
            let positions: Vec<u32> = found(&campaigns, "e", &properties).iter().map(|(campaign, _)| *campaign).collect();
            prop_assert_eq!(positions, all, "{:?} on {}", &conditions, properties);
        }
    }
}

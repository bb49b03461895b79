//! An event that is read again: history learns of it, and nobody else.

use super::*;
use crate::engine::history::Plan;

#[test]
fn an_event_that_is_read_again_changes_history_alone() {
    let absence = Absence { after: pattern("open"), without: pattern("look"), in_last: Some(span("1d")) };
    let campaigns = [campaign("lately", Trigger::Absence(absence)).always(), action("looks", "look").always()];
    let mut bench = Bench::new(&campaigns, Workspace::default()).with_past(&[], at("0s"));
    assert_eq!(bench.line("1m track open"), "lately: history_incomplete");
    let until = bench.in_force.tracked.iter().map(|(tracker, since)| (*tracker, *since)).collect();
    let plan = Arc::new(Plan { id: 1, from: at("-48h"), until, of_file: false });
    let option = |name: &str| match name {
        "@" => Some("-1h".to_owned()),
        "p=" => Some("7".to_owned()),
        _ => None,
    };
    let event = bench.event(EventBody::Track { name: "look".into(), properties: Object::new() }, &option);
    let before = bench.known.clone();
    assert_eq!(bench.give(&Input::Backfill { event: event.clone(), plan: plan.clone() }), "");
    assert_ne!(bench.known.record.history, before.record.history);
    let history = bench.known.record.history.clone();
    assert_eq!(bench.known.profile, before.profile);
    assert_eq!(Record { history: before.record.history.clone(), ..bench.known.record.clone() }, before.record);
    // Then it is known to have happened.
    bench.in_force.tracked.values_mut().for_each(|since| *since = plan.from);
    assert_eq!(bench.line("2m track open"), "");
    // Who was deleted meanwhile stays forgotten.
    bench.line("3m delete");
    assert_eq!(bench.give(&Input::Backfill { event, plan }), "");
    assert!(bench.known.record.history.is_empty() && !history.is_empty());
}

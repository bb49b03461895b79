//! What must be written after a step, and what need not: a turn stores nothing for a step that says it changed nothing.

use super::*;

/// Runs lines, then tells whether the record must be written for the last one.
fn check_written(campaigns: &[Campaign], lines: &[&str], expect: bool) {
    let mut bench = Bench::new(campaigns, Workspace::default());
    let (last, before) = lines.split_last().unwrap();
    before.iter().for_each(|line| drop(bench.line(line)));
    let words: Vec<&str> = last.split_whitespace().collect();
    bench.now = at(words[0]);
    let input = bench.input(&words, last);
    let stepped = step(&bench.in_force, &bench.user, bench.known.clone(), &input, bench.now);
    assert_eq!(stepped.record_changed, expect, "{lines:?}");
    assert_eq!(stepped.known.record != bench.known.record, expect, "{lines:?}");
}

#[test]
fn an_event_is_written_but_not_its_repetition() {
    let buy = [action("a", "buy").only("plan", "gold")];
    // Only the mark moves: of no interest, held back, a message id of before, older than the deletion.
    check_written(&buy, &["0s track look"], true);
    check_written(&buy, &["0s track buy"], true);
    check_written(&buy, &["0s track look id=m", "1s track look id=m"], true);
    check_written(&buy, &["0s delete", "1s track buy @-1s"], true);
    check_written(&buy, &["0s track buy id=m", "1s replay m"], false);
    check_written(&buy, &["0s track look id=m", "1s track look id=m", "2s replay m"], false);
    check_written(&buy, &["0s track look id=m", "1s poison m"], false);
}

#[test]
fn a_look_is_written_only_if_it_changes_something() {
    let both = [inaction("cart", "add", "paid"), action("a", "buy")];
    check_written(&both, &["0s track add", "1s wake"], false);
    check_written(&both, &["0s track add", "30m wake read=29m"], false);
    check_written(&both, &["0s track add", "30m wake"], true);
    check_written(&both, &["0s track add", "1m wake", "30m set cart paused", "31m wake", "32m wake"], false);
    check_written(&both, &["0s track buy", "14s wake"], false);
    check_written(&both, &["0s track buy", "15s wake"], true);
    check_written(&both, &["0s track buy", "1s delivered a 1", "73h wake"], true);
    check_written(&both, &["0s track buy", "1s delivered a 1", "73h wake", "74h wake"], false);
    check_written(&both, &["0s wake"], true);
    check_written(&both, &["0s wake", "1s wake"], false);
}

#[test]
fn a_retry_that_loses_or_waits_is_not_written() {
    let buy = [action("a", "buy")];
    check_written(&buy, &["0s track buy", "1s parked a 1", "2s retry a 1"], true);
    check_written(&buy, &["0s track buy", "1s parked a 1", "2s retry a 2"], false);
    check_written(&buy, &["0s track buy", "1s retry a 0"], false);
    check_written(&buy, &["0s track buy", "1s parked a 0", "2s set a paused", "3s wake", "4s retry a 0"], false);
    check_written(&buy, &["0s track buy", "1s parked a 1", "2s parked a 1"], false);
    check_written(&buy, &["0s track buy", "1s delivered a 1", "2s delivered a 1"], false);
    check_written(&buy, &["0s track buy", "1s delivered a 1", "2s retry a 1"], false);
    check_written(&buy, &["0s track buy", "1s delivered a 1"], true);
}

#[test]
fn newer_definitions_are_written_with_the_first_judgement_by_them() {
    let buy = [action("a", "buy")];
    // A campaign that is paused now must not be found running by a worker that has not heard of it.
    check_written(&buy, &["0s track buy", "1s parked a 0", "2s set a paused", "3s retry a 0"], true);
    check_written(&buy, &["0s track look", "1s set a paused", "2s wake"], true);
    check_written(&buy, &["0s track look id=m", "1s set a paused", "2s replay m"], false);
}

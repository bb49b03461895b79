//! Cohorts that are entered and left.

use super::*;

fn crossing(key: &str, cohort: &str, crossing: Crossing) -> Campaign {
    campaign(key, Trigger::Cohort { cohort: cohort.into(), crossing }).always()
}

fn entered(cohort: &str) -> Campaign {
    crossing("in", cohort, Crossing::Entered)
}

fn left(cohort: &str) -> Campaign {
    crossing("out", cohort, Crossing::Left)
}

fn did(event: &str, in_last: &str) -> Rule {
    let measure = Measure::Count(vec![Bound::Gte(1.0)]);
    Rule::Did(Box::new(Did { pattern: pattern(event), measure, window: Window::InLast(span(in_last)) }))
}

fn gold() -> Rule {
    Rule::User(Condition::Test { path: "plan".into(), test: Test::Eq(Operand::Value(Value::text("gold"))) })
}

fn cohort(key: &str, rule: Rule) -> Cohort {
    Cohort { key: key.into(), members: Members::Rule(rule) }
}

/// Runs a script with these cohorts, all history known since 30 days before.
fn check_cohorts(campaigns: &[Campaign], cohorts: &[Cohort], script: &str) {
    let mut bench = Bench::new(campaigns, Workspace::default());
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        bench.in_force = bench.in_force.with_history(cohorts.to_vec(), at("-30d"));
        let (input, expected) = line.split_once("=>").unwrap_or((line, ""));
        assert_eq!(bench.line(input.trim()), expected.trim(), "at `{line}` of{script}");
    }
}

#[test]
fn by_traits() {
    check_cohorts(
        &[entered("vip"), left("vip")],
        &[cohort("vip", gold())],
        r#"
        0s identify {"plan":"free"}
        1s identify {"plan":"gold"} => sent in, in#1
        2s delivered in 1
        3s identify {"plan":"gold","name":"Kim"}
        4s track look traits=plan:free => sent out, out#1
        5s delivered out 1
        6s send nobody {} traits=plan:gold => sent in, in#1
        7s delivered in 1
        8s delete
    "#,
    );
    // Somebody new is nobody's member before.
    check_cohorts(&[entered("vip")], &[cohort("vip", gold())], r#"0s identify {"plan":"gold"} => sent in, in#1"#);
}

#[test]
fn by_events_and_by_passing_time() {
    check_cohorts(
        &[entered("active"), left("active")],
        &[cohort("active", did("buy", "1h"))],
        "
        0s track look
        1m track buy => sent in, in#1
        2m delivered in 1
        2m timers => 61m, 61m
        10m track buy
        10m timers => 70m, 70m
        61m wake
        70m wake read=0s => sent out, out#1
        70m timers
        71m delivered out 1
        72m track buy => sent in, in#1
        73m delivered in 1
        133m timers => 132m, 132m
        134m track buy => sent out, out#1, sent in, in#1
        135m track buy @134m
    ",
    );
}

#[test]
fn being_a_member_at_the_start_is_not_entering() {
    check_cohorts(
        &[entered("vip").with(|campaign| campaign.status = Some(Status::Ready)), left("active"), action("other", "buy")],
        &[cohort("vip", gold()), cohort("active", did("buy", "1h"))],
        r#"
        0s set out ready
        0s identify {"plan":"gold"}
        0s track buy => sent other, other#1
        2s delivered other 1
        3s set in running
        3s set out running
        4s arm in
        4s timers
        5s arm out
        5s timers => 60m
        6s arm out
        7s identify {"name":"Kim"}
        8s timers => 60m
        60m wake => sent out, out#1
        61m identify {"plan":"free"}
        62m identify {"plan":"gold"} => sent in, in#1
    "#,
    );
}

#[test]
fn a_pause_holds_what_time_changes() {
    check_cohorts(
        &[left("active"), entered("vip")],
        &[cohort("active", did("buy", "1h")), cohort("vip", gold())],
        r#"
        0s track buy
        1m set out paused
        1m set in paused
        2m identify {"plan":"gold"} => in: campaign_paused
        70m wake
        71m track look
        80m set out running
        80m wake => sent out, out#1
        81m track buy
        82m delivered out 1
        83m set out paused
        5h set out running
        5h wake => out: stale
        6h track buy
        6h set out ended
        8h wake
        8h timers
    "#,
    );
}

#[test]
fn what_becomes_known_only_is_no_crossing() {
    let rule = Rule::Not(Box::new(did("open", "1h")));
    let mut bench = Bench::new(&[entered("idle")], Workspace::default());
    bench.in_force = bench.in_force.with_history(vec![cohort("idle", rule)], START);
    assert_eq!(bench.line("1m track open"), "");
    assert_eq!(bench.line("1m timers"), "61m");
    assert_eq!(bench.line("61m wake"), "sent in, in#1");
    let mut bench = Bench::new(&[entered("idle")], Workspace::default());
    let rule = Rule::Not(Box::new(did("open", "1h")));
    bench.in_force = bench.in_force.with_history(vec![cohort("idle", rule)], START);
    assert_eq!(bench.line("1m identify {}"), "");
    assert_eq!(bench.line("62m wake"), "");
}

#[test]
fn in_the_order_of_priority_and_with_the_event() {
    check_cohorts(
        &[action("a", "buy"), entered("active").priority(5).body(r#"{"e":"{{ trigger.event }}","n":"{{ event.n }}"}"#)],
        &[cohort("active", did("buy", "1h"))],
        r#"0s track buy {"n":1} => sent in, in#1, sent a, a#1"#,
    );
}

#[test]
fn a_send_can_make_a_member() {
    check_cohorts(
        &[action("a", "buy"), entered("reached")],
        &[cohort("reached", did("$sent", "1h"))],
        "
        0s track buy => sent a, a#1, sent in, in#1
    ",
    );
}

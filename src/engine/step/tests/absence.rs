//! Inaction that is judged at its event, and audiences that ask for the past.

use super::*;

fn absence(key: &str, after: &str, without: &str, in_last: Option<&str>) -> Campaign {
    campaign(key, Trigger::Absence(Absence { after: pattern(after), without: pattern(without), in_last: in_last.map(span) })).always()
}

fn did(event: &str, in_last: Option<&str>) -> Rule {
    let window = in_last.map_or(Window::Ever, |text| Window::InLast(span(text)));
    Rule::Did(Box::new(Did { pattern: pattern(event), measure: Measure::Count(vec![Bound::Gte(1.0)]), window }))
}

/// Runs a script with all history known since `since`.
fn check_since(since: &str, campaigns: &[Campaign], script: &str) {
    play(Bench::new(campaigns, Workspace::default()).with_past(&[], at(since)), script);
}

#[test]
fn judged_at_its_event_in_the_events_own_time() {
    check_since(
        "-30d",
        &[absence("come-back", "open", "look", Some("7d"))],
        "
        0s track open => sent come-back, come-back#1
        1s delivered come-back 1
        1m track look
        2m track open
        168h track open
        168h track look @-1m
        10081m track open => sent come-back, come-back#1
    ",
    );
}

#[test]
fn an_event_that_is_both_does_not_count_itself() {
    check_since(
        "-30d",
        &[absence("first", "open", "open", Some("1d"))],
        "
        0s track open => sent first, first#1
        1m track open
        1m delivered first 1
        1500m track open => sent first, first#1
    ",
    );
}

#[test]
fn what_nobody_can_know_is_not_sent() {
    let campaigns = [absence("ever", "open", "look", None), absence("lately", "open", "look", Some("1h"))];
    check_since("0s", &campaigns, "1m track open => sent ever, ever#1, lately: history_incomplete");
    check_since("0s", &campaigns, "61m track open => sent ever, ever#1, sent lately, lately#1");
    check_since("0s", &campaigns, "1m track look\n 2m track open");
    // Of a paused campaign that is no news.
    check_since(
        "0s",
        &[campaigns[0].clone().with(|campaign| campaign.status = Some(Status::Paused))],
        "1m track open => ever: campaign_paused",
    );
}

#[test]
fn an_audience_asks_for_the_past_and_the_event_counts() {
    let twice = |bound| Rule::Did(Box::new(Did { pattern: pattern("buy"), measure: Measure::Count(vec![bound]), window: Window::Ever }));
    check_since(
        "-30d",
        &[
            action("second", "buy").always().with(|campaign| campaign.audience = twice(Bound::Gte(2.0))),
            action("not-lately", "open").always().with(|campaign| campaign.audience = Rule::Not(Box::new(did("buy", Some("1h"))))),
        ],
        "
        0s track open => sent not-lately, not-lately#1
        1s delivered not-lately 1
        1s track buy => second: not_in_audience
        2s track open => not-lately: not_in_audience
        3s track buy => sent second, second#1
        4s delivered second 1
        2h track open => sent not-lately, not-lately#1
    ",
    );
    check_since(
        "0s",
        &[action("not-lately", "open").always().with(|campaign| campaign.audience = Rule::Not(Box::new(did("buy", Some("1h")))))],
        "
        1m track open => not-lately: history_incomplete
        2m track buy
        3m track open => not-lately: not_in_audience
    ",
    );
}

#[test]
fn what_a_send_makes_is_history_too() {
    check_since(
        "-30d",
        &[
            action("hello", "open"),
            action("again", "look").always().with(|campaign| campaign.audience = did("$sent", None)),
            absence("never", "look", "$sent", None),
        ],
        "
        0s track look => again: not_in_audience, sent never, never#1
        1s track open => sent hello, hello#1
        2s track look => sent again, again#1
    ",
    );
}

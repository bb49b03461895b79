//! Explaining: the same verdicts as the gates', with the values that they compared.

use super::*;
use crate::engine::condition::notation::condition;
use crate::engine::record::Origin;

/// A gate as a line: verdict, reason, when it opens, and what was compared.
fn show_view(view: &GateView) -> String {
    let mut line = format!("{:?}", view.verdict).to_lowercase();
    line += &view.reason.map_or_else(String::new, |reason| format!(" {}", reason.as_str()));
    line += &view.frees.map_or_else(String::new, |at| format!(" until {}", show_time(at)));
    for part in &view.compared {
        let holds = match part.holds {
            Some(holds) => {
                if holds {
                    " yes"
                } else {
                    " no"
                }
            }
            None => {
                if part.unknown {
                    " unknown"
                } else {
                    ""
                }
            }
        };
        let against = part.against.as_ref().map_or_else(String::new, |against| format!(" | {against}"));
        line += &format!("; {}{}: {}{against}{holds}", ">".repeat(part.depth), part.what, part.value);
    }
    line
}

fn explained(bench: &Bench, properties: &str) -> Vec<GateView> {
    let origin =
        Origin { event: "buy".into(), message_id: "m".into(), timestamp: bench.now, properties: object(properties), ..Origin::default() };
    explain(&bench.in_force, &bench.user, &bench.known, &bench.in_force.campaigns[0], &origin, None, bench.now)
}

/// After a script, one gate of the first campaign.
fn check(workspace: Workspace, campaign: Campaign, script: &[&str], gate: Gate, expect: &str) {
    let mut bench = Bench::new(&[campaign], workspace).with_past(&[], at("0s"));
    script.iter().for_each(|line| drop(bench.line(line)));
    let views = explained(&bench, r#"{"order":7}"#);
    let found = views.iter().find(|view| view.gate == gate).unwrap_or_else(|| panic!("no {gate:?}"));
    assert_eq!(show_view(found), expect, "{gate:?} after {script:?}");
}

#[test]
fn each_gate_says_what_it_compared() {
    let plain = || action("a", "buy");
    let none = Workspace::default;
    check(none(), plain(), &["0s set a paused"], Gate::Status, "shut campaign_paused; status: paused");
    check(none(), plain(), &[], Gate::Late, "open; it happened at: 2026-11-20T10:00:00.000Z | 2026-11-20T09:00:00.000Z");
    let gold = || plain().only("plan", "gold");
    check(none(), gold(), &[], Gate::Audience, "shut not_in_audience; user.plan: missing | eq \"gold\" no");
    let identified = [r#"0s identify {"plan":"gold"}"#];
    check(none(), gold(), &identified, Gate::Audience, "open; user.plan: \"gold\" | eq \"gold\" yes");
    let sent = ["0s track buy {\"order\":7}", "10m track other"];
    let expect = "shut already_sent; last sent: 2026-11-20T10:00:00.000Z | resend never";
    check(none(), plain(), &sent, Gate::Resend, expect);
    let expect = "shut resend_wait until 60m; event.order: 7; last sent: 2026-11-20T10:00:00.000Z | resend after 1h";
    check(none(), plain().per("order").every("1h"), &sent, Gate::Resend, expect);
    let expect = "shut outside_window until 60m; due, from: 2026-11-20T10:00:00.000Z | 2026-11-20T11:00:00.000Z; \
                  due, before: 2026-11-20T10:00:00.000Z | 2026-11-20T12:00:00.000Z";
    check(none(), plain().active("1h", "2h"), &[], Gate::ActiveWindow, expect);
    check(none(), plain().control(0), &[], Gate::Control, "open");
    let night = ["12h track other"];
    let expect = "waits quiet_hours until 1320m; heeds quiet hours: true; the user's clock: 22:00 | 21:00 to 08:00";
    check(quiet(OnQuiet::Defer), plain(), &night, Gate::QuietHours, expect);
    check(quiet(OnQuiet::Drop), plain(), &night, Gate::QuietHours, &expect.replace("waits", "shut"));
    let expect = "shut frequency_cap until 60m; sends in the last 1h: 1 | 1 no; sends in this day: 1 | 2 yes";
    check(capped(&[cap(1, "1h"), daily(2)]), plain().always(), &sent, Gate::FrequencyCaps, expect);
    check(
        capped(&[cap(1, "1h")]),
        plain().always().defer("1h"),
        &sent,
        Gate::FrequencyCaps,
        "waits frequency_cap until 60m; sends in the last 1h: 1 | 1 no",
    );
    check(none(), plain().limit(5), &[], Gate::Limit, "unknown; users of: a | 5 unknown");
    check(none(), plain(), &[], Gate::Limit, "open");
    check(none(), plain().body("{% abort 'no' %}"), &[], Gate::Content, "shut aborted_by_template");
    check(none(), plain(), &sent, Gate::Room, "open; deliveries under way: 1 | 32; waiting for a retry or a batch: 0 | 128");
}

/// The audience shows the rule as it is written: measure, bounds, window, operands, and which parts lie in which.
#[test]
fn the_audience_shows_its_rule() {
    let did = |measure, window| Rule::Did(Box::new(Did { pattern: pattern("buy"), measure, window }));
    let user = |json: &str| Rule::User(condition(json));
    let of = |rule: Rule| action("a", "buy").with(|campaign| campaign.audience = rule);
    let line = |rule: Rule, expect: &str| {
        let mut bench = Bench::new(&[of(rule)], Workspace::default()).with_past(&[], at("0s"));
        [r#"0s identify {"plan":"gold","joined":"2026-11-20T09:00:00Z"}"#, r#"1s track buy {"amount":150}"#]
            .iter()
            .for_each(|line| drop(bench.line(line)));
        let views = explained(&bench, "{}");
        let found = views.iter().find(|view| view.gate == Gate::Audience).map(show_view).unwrap_or_default();
        assert_eq!(found.split_once("; ").map(|(_, parts)| parts.to_owned()).unwrap_or_default(), expect);
    };
    let amount = || Measure::Sum("amount".into(), vec![Bound::Gte(100.0), Bound::Lt(500.0)]);
    let known = "known since 2026-11-20T10:00:00.000Z";
    line(did(amount(), Window::InLast(span("30d"))), &format!("did buy: 150 | sum amount gte 100 and lt 500 in_last 30d; {known} unknown"));
    line(
        did(Measure::Last(Window::InLast(span("1h"))), Window::Ever),
        &format!("did buy: 2026-11-20T10:00:01.000Z | last in_last 1h; {known} yes"),
    );
    line(
        user(r#"{"plan":{"matches":"^s"},"joined":{"in_last":"1d"}}"#),
        "user.plan: \"gold\" | matches \"^s\" no; user.joined: \"2026-11-20T09:00:00Z\" | in_last 1d yes",
    );
    let either = Rule::Any(vec![user(r#"{"plan":"vip"}"#), Rule::All(vec![user(r#"{"plan":"gold"}"#), user(r#"{"a":{"exists":false}}"#)])]);
    let expect = "any:  yes; >user.plan: \"gold\" | eq \"vip\" no; >all:  yes; >>user.plan: \"gold\" | eq \"gold\" yes; \
                  >>user.a: missing | exists false yes";
    line(either, expect);
    line(Rule::Not(Box::new(user(r#"{"plan":"gold"}"#))), "not:  no; >user.plan: \"gold\" | eq \"gold\" yes");
}

/// What triggers look at besides an event is a gate of its own.
#[test]
fn a_trigger_that_looks_at_the_past_or_the_profile_is_shown() {
    let absence = || Trigger::Absence(Absence { after: pattern("buy"), without: pattern("look"), in_last: Some(span("1d")) });
    let absent = || campaign("a", absence()).always();
    let (since, begins) = ("2026-11-20T10:00:00.000Z", "2026-11-19T10:00:00.000Z");
    let expect = format!(
        "shut history_incomplete until 1440m; did look, `without`: not that is known | not in_last 1d unknown; known since: {since} | {begins} no"
    );
    check(Workspace::default(), absent(), &[], Gate::Trigger, &expect);
    let late = &["1500m identify {}"];
    let expect =
        format!("open; did look, `without`: not that is known | not in_last 1d yes; known since: {since} | 2026-11-20T11:00:00.000Z yes");
    check(Workspace::default(), absent(), late, Gate::Trigger, &expect);
    let looked = &["1500m track look"];
    let expect = "shut until 2940m; did look, `without`: 2026-11-21T11:00:00.000Z | not in_last 1d no";
    check(Workspace::default(), absent(), looked, Gate::Trigger, expect);
    let birthday = || {
        let when = DateOffset { offset_ms: 0, at: None, zone: ZoneChoice::User };
        campaign("a", Trigger::UserDate(UserDate { property: "birthday".into(), yearly: false, when }))
    };
    let date = "a date (2027-01-31, 2027-01-31T09:00:00Z, or Unix time as a number)";
    check(
        Workspace::default(),
        birthday(),
        &[r#"0s identify {"birthday":"soon"}"#],
        Gate::Trigger,
        &format!("shut; user.birthday: \"soon\" | {date} no"),
    );
    let sound = &[r#"0s identify {"birthday":"2027-01-31"}"#];
    check(Workspace::default(), birthday(), sound, Gate::Trigger, &format!("open; user.birthday: \"2027-01-31\" | {date} yes"));
}

/// It speaks of what the campaign has.
#[test]
fn the_verdict_names_what_nobody_can_know_yet() {
    let check = |campaign: Campaign, expect: &str| {
        let bench = Bench::new(&[campaign], Workspace::default());
        assert_eq!(verdict(&explained(&bench, "{}")), expect);
    };
    let limit = "the campaign's limit lets this user in (only the store knows)";
    let links = "what its links answer lets it render (they are asked when it is sent)";
    check(action("a", "buy"), "it would be sent");
    check(action("a", "buy").limit(5), &format!("it would be sent, if {limit}"));
    check(action("a", "buy").linked(), &format!("it would be sent, if {links}"));
    check(action("a", "buy").linked().limit(5), &format!("it would be sent, if {limit} and if {links}"));
}

#[test]
fn the_first_that_is_shut_is_what_a_step_records() {
    let campaigns = [
        action("a", "buy"),
        action("a", "buy").only("plan", "gold"),
        action("a", "buy").control(10_000),
        action("a", "buy").always().body(r#"{"n":{{ event.nope }}}"#),
        action("a", "buy").always().active("1h", "2h"),
        action("a", "buy").every("5m"),
        action("a", "buy").always(),
    ];
    let workspaces = [Workspace::default(), quiet(OnQuiet::Drop), capped(&[cap(1, "2h")])];
    for campaign in &campaigns {
        for workspace in &workspaces {
            let mut bench = Bench::new(std::slice::from_ref(campaign), workspace.clone());
            for line in ["0s track buy", "10m track buy", "70m track buy", "12h track buy"] {
                bench.now = at(line.split(' ').next().unwrap_or_default());
                let first = explained(&bench, "{}").iter().find(|view| view.verdict != Passage::Open).and_then(|view| view.reason);
                let expect = first.map_or("sent a, a#1".to_owned(), |reason| format!("a: {}", reason.as_str()));
                let got = bench.line(line);
                assert!(got.starts_with(&expect), "{line}: {got}, explained as {expect}");
                bench.settle();
            }
        }
    }
}

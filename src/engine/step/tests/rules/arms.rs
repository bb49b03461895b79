//! Control groups, and the conversions of both arms.

use super::*;

#[test]
fn who_is_held_out_is_recorded_as_often_as_others_are_sent_to() {
    check_settled(
        capped(&[cap(2, "1h")]),
        &[action("a", "buy").control(10_000), action("each", "buy").always().control(10_000), action("z", "buy").always()],
        "
        0s track buy => a: control_group, each: control_group, sent z, z#1
        1m track buy => a: already_sent, each: control_group, sent z, z#1
        2m ledger => 3 sent, 2 counted
    ",
    );
    check_settled(
        Workspace::default(),
        &[action("a", "buy").every("1h").control(10_000).active("0s", "2h")],
        "
        0s track buy => a: control_group
        59m track buy => a: resend_wait
        60m track buy => a: control_group
        2h track buy => a: outside_window
    ",
    );
}

#[test]
fn arms_change_with_the_percentage() {
    // Held out, then not any more: nothing was sent yet. Sent, then held out: it is not recorded as a second time.
    check_edits(|percent| action("a", "buy").control(percent), &[(10_000, "a: control_group"), (0, "sent a, a#1"), (0, "a: already_sent")]);
    check_edits(|percent| action("a", "buy").control(percent), &[(0, "sent a, a#1"), (10_000, "a: already_sent")]);
}

/// One event a minute, each under another version of the campaign.
fn check_edits(campaign: impl Fn(u16) -> Campaign, steps: &[(u16, &str)]) {
    let mut bench = Bench::new(&[], Workspace::default());
    for (minute, (percent, expect)) in steps.iter().enumerate() {
        bench.campaigns = vec![campaign(*percent)];
        bench.in_force = in_force(minute as u64 + 2, &bench.campaigns, &bench.workspace);
        assert_eq!(bench.line(&format!("{minute}m track buy")), *expect, "at {percent}");
    }
}

#[test]
fn lines_of_who_is_held_out_say_so() {
    let mut bench = Bench::new(&[action("a", "buy").control(10_000).only("plan", "gold")], Workspace::default());
    let arm = |bench: &mut Bench, line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let input = bench.input(&words, line);
        let effects = bench.step(&input).effects;
        bench.give(&input);
        match effects.into_iter().next() {
            Some(Effect::Decided(line)) => (line.arm, line.reason.unwrap().as_str(), line.delivery_id),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(arm(&mut bench, "0s track buy"), (Arm::Control, "not_in_audience", None));
    bench.line(r#"0s identify {"plan":"gold"}"#);
    assert_eq!(arm(&mut bench, "0s track buy"), (Arm::Control, "control_group", None));
    assert_eq!(arm(&mut bench, "0s track buy"), (Arm::Control, "already_sent", None));
}

#[test]
fn a_goal_converts_each_exposure_once() {
    check_settled(
        Workspace::default(),
        &[action("a", "visit").always().goal("buy", "1h")],
        "
        0s track buy
        1m track visit => sent a, a#1
        2m track buy @0s
        3m track buy id=m9 => converted a of 1m
        4m replay m9 => converted a of 1m, skipped
        5m track buy
        6m track visit => sent a, a#1
        7m track visit => sent a, a#1
        8m track buy => converted a of 7m
        66m track buy
        67m track buy @65m => converted a of 6m
    ",
    );
}

#[test]
fn what_an_event_triggers_it_does_not_convert() {
    check_settled(
        Workspace::default(),
        &[action("a", "buy").always().goal("buy", "1h")],
        "
        0s track buy => sent a, a#1
        0s track buy => converted a of 0m, sent a, a#1
    ",
    );
}

#[test]
fn both_arms_convert_also_when_the_campaign_has_ended() {
    for percent in [0, 10_000] {
        let sent = if percent == 0 { "sent a, a#1" } else { "a: control_group" };
        check_settled(
            Workspace::default(),
            &[action("a", "visit").control(percent).goal("buy", "2h")],
            &format!(
                "
                0s track visit => {sent}
                1m set a paused
                1m set a ended
                2m track buy => converted a of 0m
                3m track buy
            "
            ),
        );
    }
}

#[test]
fn a_send_that_never_started_converts_nothing() {
    check_in(
        quiet(OnQuiet::Drop),
        &[action("a", "visit").goal("buy", "1d")],
        "
        659m track visit => sent a, a#1
        659m parked a 0
        661m retry a 0 => a: quiet_hours
        662m track buy
    ",
    );
    // One that claims again counts from its last claim.
    check(
        &[action("a", "visit").goal("buy", "1d")],
        "
        0s track visit => sent a, a#1
        0s parked a 0
        5m retry a 0 => sent a, a#1
        6m track buy @4m
        7m track buy => converted a of 5m
    ",
    );
}

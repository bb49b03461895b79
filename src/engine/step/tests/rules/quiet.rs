//! Quiet hours: dropped, deferred, by the user's clock, before caps, and over deliveries under way.

use super::*;

#[test]
fn quiet_hours_drop_or_defer() {
    let campaigns = [action("a", "buy").always(), action("otp", "buy").always().loud()];
    check_settled(
        quiet(OnQuiet::Drop),
        &campaigns,
        "
        659m track buy => sent a, a#1, sent otp, otp#1
        660m track buy => a: quiet_hours, sent otp, otp#1
        1319m track buy => a: quiet_hours, sent otp, otp#1
        1320m track buy => sent a, a#1, sent otp, otp#1
    ",
    );
    check_settled(
        quiet(OnQuiet::Defer),
        &campaigns,
        "
        660m track buy => a until 1320m: quiet_hours, sent otp, otp#1
        1319m wake
        1320m wake => sent a, a#1
    ",
    );
}

#[test]
fn quiet_hours_are_the_users() {
    check_settled(
        quiet(OnQuiet::Defer),
        &[action("a", "buy").always()],
        r#"
        0s identify {"timezone":"Asia/Seoul"}
        1h track buy => sent a, a#1
        2h track buy => a until 780m: quiet_hours
        3h identify {"timezone":"Europe/Berlin"}
        13h wake => a until 1260m: quiet_hours
        21h wake => sent a, a#1
    "#,
    );
}

#[test]
fn quiet_hours_come_before_caps() {
    let workspace = |on_hit| Workspace { frequency_caps: vec![cap(1, "3h")], ..quiet(on_hit) };
    let campaigns = [action("a", "buy").always().defer("2h"), action("b", "call").always()];
    check_settled(
        workspace(OnQuiet::Drop),
        &campaigns,
        "
        10h track call => sent b, b#1
        660m track buy => a: quiet_hours
    ",
    );
    // A cap that frees at night, and then one that does not free soon enough after the first decision.
    check_settled(
        workspace(OnQuiet::Defer),
        &campaigns,
        "
        540m track call => sent b, b#1
        659m track buy => a until 720m: frequency_cap
        720m wake => a until 1320m: quiet_hours
        1320m track call => sent b, b#1
        1320m wake => a: frequency_cap 1/3h
    ",
    );
}

#[test]
fn quiet_hours_hold_late_retries() {
    let workspace = quiet(OnQuiet::Drop);
    check_in(
        workspace.clone(),
        &[action("a", "buy")],
        "
        656m track buy => sent a, a#1
        657m parked a 1
        661m retry a 1 => a#2
        662m parked a 2
        663m retry a 2 => postpone a 1320m
        1320m retry a 2 => a#3
    ",
    );
    check_in(
        workspace.clone(),
        &[action("a", "buy").loud()],
        "
        656m track buy => sent a, a#1
        657m parked a 1
        663m retry a 1 => a#2
    ",
    );
    // Nor is an attempt taken over at night; it may be in the morning.
    check_in(
        workspace,
        &[action("a", "buy")],
        "
        656m track buy => sent a, a#1
        661m wake => sent a, a#2
        662m wake
        663m pending => a sending 2
        1320m wake => sent a, a#3
    ",
    );
}

#[test]
fn a_first_attempt_at_night_claims_again() {
    for (on_hit, expect) in [(OnQuiet::Drop, "a: quiet_hours"), (OnQuiet::Defer, "postpone a 1320m")] {
        check_in(
            quiet(on_hit),
            &[action("a", "buy")],
            &format!(
                "
                659m track buy => sent a, a#1
                659m parked a 0
                661m retry a 0 => {expect}
            "
            ),
        );
    }
    check_in(
        quiet(OnQuiet::Defer),
        &[action("a", "buy")],
        "
        659m track buy => sent a, a#1
        659m parked a 0
        660m retry a 0 => a#1
    ",
    );
}

#[test]
fn a_first_attempt_waits_for_its_cap() {
    check_capped(
        &[action("a", "buy").always().defer("2h"), action("b", "call").always()],
        &[cap(1, "1h")],
        "
        0s track buy => sent a, a#1
        0s parked a 0
        60m track call => sent b, b#1
        61m delivered b 1
        62m retry a 0 => postpone a 120m
        63m ledger => 2 sent, 2 counted
        120m retry a 0 => sent a, a#1
        121m ledger => 2 sent, 2 counted
    ",
    );
}

//! Scheduled runs.

use super::*;

#[test]
fn a_run_decides_once() {
    check(
        &[schedule("weekly", "0 9 * * MON", ZoneChoice::Workspace)],
        "
        0s run weekly 2026-11-20T10:00 => sent weekly, weekly#1
        1s run weekly 2026-11-20T10:00 due=0s => skipped
        2s delivered weekly 1
        3s run weekly 2026-11-20T10:00 due=0s => skipped
        4s run weekly 2026-11-20T11:00 => sent weekly, weekly#1
        5s run weekly 2026-11-20T10:00 => skipped
        6s run nobody 2026-11-20T11:00 => skipped
    ",
    );
}

#[test]
fn what_comes_to_nothing_leaves_no_trace() {
    let mut bench = Bench::new(&[schedule("weekly", "0 9 * * MON", ZoneChoice::Workspace).only("plan", "gold")], Workspace::default());
    for _ in 0..2 {
        let run = Run { due: START, name: "2026-11-20T10:00".into() };
        let stepped = step(
            &bench.in_force,
            &bench.user,
            bench.known.clone(),
            &Input::Run { campaign: CampaignId::of("weekly"), run, reached: START },
            START,
        );
        assert!(!stepped.record_changed && !stepped.profile_changed);
        assert_eq!(stepped.known, bench.known);
        assert_eq!(
            stepped.effects.iter().map(|effect| show(effect, &bench.known, &bench.deliveries)).collect::<String>(),
            "weekly: not_in_audience"
        );
    }
    bench.line(r#"1s identify {"plan":"gold"}"#);
    assert_eq!(bench.line("2s run weekly 2026-11-20T10:00 due=0s"), "sent weekly, weekly#1");
    assert_eq!(bench.known.record.pending[0].claim.run.as_deref(), Some("2026-11-20T10:00"));
    assert_eq!(&*bench.known.record.pending[0].claim.event_id, "2026-11-20T10:00:00.000Z");
}

#[test]
fn a_run_in_the_users_own_zone_is_for_those_whose_zone_has_it_then() {
    check(
        &[schedule("morning", "0 9 * * *", ZoneChoice::User)],
        r#"
        0s identify {"timezone":"Asia/Seoul"}
        14h run morning 2026-11-21T09:00 => sent morning, morning#1
        15h delivered morning 1
        16h identify {"timezone":"UTC"}
        23h run morning 2026-11-21T09:00 => skipped
        38h run morning 2026-11-22T09:00 => skipped
        47h run morning 2026-11-22T09:00 => sent morning, morning#1
        48h identify {"timezone":"America/New_York"}
        52h run morning 2026-11-22T09:00 => skipped
    "#,
    );
}

/// From New York to Seoul before New York's nine o'clock, when Seoul's has passed: neither zone's run finds him there.
#[test]
fn who_moves_ahead_of_the_clock_has_the_run_that_it_passes_over() {
    let morning = || schedule("morning", "0 9 * * *", ZoneChoice::User);
    check(
        &[morning().always()],
        r#"
        0s identify {"timezone":"America/New_York"}
        14h run morning 2026-11-21T09:00 => skipped
        27h identify {"timezone":"Asia/Seoul"} => morning: stale
        27h identify {"timezone":"Asia/Seoul"}
        28h run morning 2026-11-21T09:00 => skipped
        38h run morning 2026-11-22T09:00 => sent morning, morning#1
        38h delivered morning 1
        39h identify {"timezone":"America/New_York"}
        52h run morning 2026-11-22T09:00 => skipped
        53h identify {"timezone":"Asia/Seoul"}
        62h run morning 2026-11-23T09:00 => sent morning, morning#1
    "#,
    );
    // In time it is sent, and not once more in the old zone.
    check(
        &[morning()],
        r#"
        0s identify {"timezone":"America/New_York"}
        870m identify {"timezone":"Asia/Seoul"} => sent morning, morning#1
        871m identify {"timezone":"America/New_York"}
        28h run morning 2026-11-21T09:00 => skipped
    "#,
    );
    // What comes to nothing is decided once, too.
    check(
        &[morning().only("plan", "gold")],
        r#"
        0s identify {"timezone":"America/New_York"}
        870m identify {"timezone":"Asia/Seoul"} => morning: not_in_audience
        871m identify {"timezone":"America/New_York"}
        28h run morning 2026-11-21T09:00 => skipped
    "#,
    );
    // Who comes does not move, nor who was decided, nor who has the run at the same instant in both zones.
    check(&[morning()], r#"870m identify {"timezone":"Asia/Seoul"}"#);
    check(
        &[schedule("hourly", "0 * * * *", ZoneChoice::User).always()],
        r#"
        0s identify {"timezone":"America/New_York"}
        27h identify {"timezone":"Asia/Seoul"}
    "#,
    );
    check(
        &[schedule("fixed", "0 9 * * *", ZoneChoice::Workspace)],
        r#"
        0s identify {"timezone":"America/New_York"}
        27h identify {"timezone":"Asia/Seoul"}
    "#,
    );
    check(
        &[morning()],
        r#"
        0s identify {"timezone":"America/New_York"}
        0s set morning paused
        870m identify {"timezone":"Asia/Seoul"}
    "#,
    );
}

#[test]
fn a_run_that_comes_late_or_to_a_paused_campaign() {
    check(
        &[schedule("weekly", "0 9 * * MON", ZoneChoice::Workspace)],
        "
        2h run weekly 2026-11-20T11:00 due=1h => sent weekly, weekly#1
        4h run weekly 2026-11-20T12:00 due=2h => weekly: stale
        4h set weekly paused
        5h run weekly 2026-11-20T15:00 => weekly: campaign_paused
        6h set weekly ended
        7h run weekly 2026-11-20T17:00 => weekly: campaign_ended
    ",
    );
}

#[test]
fn nobody_is_there_after_a_deletion() {
    check(
        &[schedule("weekly", "0 9 * * MON", ZoneChoice::Workspace)],
        r#"
        0s identify {"plan":"gold"}
        1s delete
        2s run weekly 2026-11-20T10:00 => skipped
        3s identify {"plan":"gold"}
        4s run weekly 2026-11-20T10:00 => sent weekly, weekly#1
    "#,
    );
}

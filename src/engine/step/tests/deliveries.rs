//! From claim to settlement: leases, parking, retries, take-overs, expiry, the end of a campaign.

use super::*;

#[test]
fn a_result_settles() {
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s delivered a 1
        1s pending
        2s delivered a 1 => skipped
        3s failed a 1 => skipped
    ",
    );
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s failed a 1
        1s pending
    ",
    );
}

#[test]
fn a_retry_moves_to_the_next_attempt() {
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s parked a 1
        1s pending => a parked 1 bare
        2s retry a 0 => skipped
        2s retry a 2 => skipped
        3s retry a 1 => a#2
        3s pending => a sending 2
        4s retry a 1 => skipped
        5s parked a 1 => skipped
        6s retry a 2 => a#3
        7s delivered a 3
        7s pending
    ",
    );
}

#[test]
fn a_wait_that_fits_the_lease_needs_no_parking() {
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s retry a 1 => a#2
        2s parked a 1 => skipped
        2s pending => a sending 2
    ",
    );
}

#[test]
fn a_success_of_any_attempt_settles_but_an_old_failure_does_not() {
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s retry a 1 => a#2
        2s failed a 1 => skipped
        2s pending => a sending 2
        3s delivered a 1
        3s pending
        4s retry a 2 => skipped
    ",
    );
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s parked a 1
        2s delivered a 1
        2s pending
    ",
    );
}

#[test]
fn a_lease_that_ran_out_is_taken_over_as_the_next_attempt() {
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        14s wake
        15s wake => sent a, a#2
        16s parked a 1 => skipped
        29s wake
        30s wake => sent a, a#3
        45s wake => sent a, a#4
        60s wake => sent a, a#5
        61s failed a 4 => skipped
        62s failed a 5
        62s pending
    ",
    );
}

#[test]
fn a_take_over_repeats_the_sent_line_word_for_word() {
    let mut bench = Bench::new(&[action("a", "buy").channel("sms").tags(&["t"])], Workspace::default());
    let decided = |effects: &[Effect]| effects.iter().find(|effect| matches!(effect, Effect::Decided(_))).cloned();
    let input = bench.input(&["0s", "track", "buy"], "0s track buy");
    let first = step(&bench.in_force, &bench.user, Known::default(), &input, START);
    // By then the definition says something else.
    bench.campaigns[0] = action("a", "buy").with(|campaign| campaign.version = 2);
    bench.in_force = in_force(2, &bench.campaigns, &bench.workspace);
    let later = at("5m");
    let again = step(&bench.in_force, &bench.user, first.known.clone(), &Input::Wake { read_to: later }, later);
    assert!(decided(&first.effects).is_some());
    assert_eq!(decided(&first.effects), decided(&again.effects));
    let requests = |known: &Known| known.record.pending[0].request.clone();
    assert_eq!(requests(&first.known), requests(&again.known));
}

#[test]
fn an_entry_expires_whatever_it_waits_for() {
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s parked a 1
        24h wake
        86401s retry a 1 => fail a Expired
        86401s pending => a failing 1
        86402s failed a 1
        86403s pending
    ",
    );
    // Its message should be back by then. One that is not is not waited for.
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s parked a 1
        23h wake
        86699s wake
        86700s wake => fail a Expired
        86700s pending => a failing 1 bare
        86729s wake
        86730s wake => fail a Expired
        86731s retry a 1 => skipped
        86731s parked a 1 => skipped
        86732s failed a 1
        86733s pending
    ",
    );
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s parked a 0
        86700s wake => fail a Expired
        86700s failed a 0
        86700s pending
    ",
    );
}

#[test]
fn an_attempt_in_progress_finishes_before_it_expires() {
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s parked a 1
        86390s retry a 1 => a#2
        24h wake
        86404s wake
        86405s wake => fail a Expired
        86406s delivered a 2
        86406s pending
    ",
    );
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s parked a 1
        25h retry a 1 => fail a Expired
        25h pending => a failing 1
    ",
    );
}

#[test]
fn end_lets_the_current_attempt_finish_and_no_further() {
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s set a ended
        2s wake
        3s retry a 1 => fail a Ended
        4s failed a 1
        4s pending
    ",
    );
    for status in ["ended", "gone"] {
        check(
            &[action("a", "buy")],
            &format!(
                "
                0s track buy => sent a, a#1
                1s parked a 1
                2s set a {status}
                3s wake => fail a Ended
                3s pending => a failing 1 bare
                33s wake => fail a Ended
                34s delivered a 1
                34s pending
            "
            ),
        );
    }
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s set a ended
        14s wake
        15s wake => fail a Ended
        15s pending => a failing 1
    ",
    );
}

#[test]
fn pause_lets_started_retries_finish() {
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s parked a 1
        2s set a paused
        3s retry a 1 => a#2
        17s wake
        18s wake => sent a, a#3
        19s delivered a 3
        19s pending
    ",
    );
}

#[test]
fn pause_holds_what_was_not_started() {
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s parked a 0
        2s set a paused
        3s retry a 0 => postpone a 63s
        3s pending => a parked 0 bare
        63s retry a 0 => postpone a 123s
        64s set a running
        123s retry a 0 => sent a, a#1
    ",
    );
}

#[test]
fn an_unstarted_first_attempt_is_still_the_first() {
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s parked a 0
        1s pending => a parked 0 bare
        60s retry a 0 => a#1
        61s parked a 0
        61s delivered a 1
        61s pending
    ",
    );
}

/// Winning before it is parked, a message that came twice would be two requests; dropped, the request might be lost.
#[test]
fn a_first_attempts_message_waits_until_its_entry_is_parked() {
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s retry a 0 => postpone a 15s
        1s pending => a sending 1
        2s parked a 0
        15s retry a 0 => a#1
        16s delivered a 1
        17s retry a 0 => skipped
    ",
    );
    // Nobody parks it: the lease ends, and the message, which comes before the wake or after it, loses.
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s retry a 0 => postpone a 15s
        15s retry a 0 => postpone a 75s
        15s wake => sent a, a#2
        16s parked a 0 => skipped
        75s retry a 0 => skipped
    ",
    );
    // The same message twice is one request at a time, however often the attempt is parked; with the entry both are over.
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s parked a 0
        2s retry a 0 => a#1
        2s retry a 0 => postpone a 17s
        3s parked a 0
        8s retry a 0 => a#1
        17s retry a 0 => postpone a 23s
        18s retry a 1 => a#2
        23s retry a 0 => skipped
    ",
    );
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s set a ended
        2s retry a 0 => postpone a 15s
        15s wake => fail a Ended
        15s retry a 0 => skipped
    ",
    );
}

/// A take-over or a retry that is given back without having been made uses up no attempt.
#[test]
fn what_is_given_back_unstarted_keeps_its_number() {
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s parked a 1
        2s retry a 1 => a#2
        3s parked a 1 unstarted
        3s pending => a parked 1 bare
        4s parked a 1 unstarted => skipped
        60s retry a 1 unstarted => a#2
        61s delivered a 2
    ",
    );
    // Its message overtakes the input that parks it; that of an attempt that was made does not win against the next one.
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        15s wake => sent a, a#2
        16s retry a 1 => skipped
        16s parked a 1 => skipped
        16s retry a 1 unstarted => postpone a 30s
        17s parked a 1 unstarted
        30s retry a 1 unstarted => a#2
        31s retry a 1 unstarted => postpone a 45s
        32s delivered a 2
        45s retry a 1 unstarted => skipped
    ",
    );
    // Nobody parks it: the lease ends, and the next number is taken.
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s parked a 1
        2s retry a 1 => a#2
        17s wake => sent a, a#3
        18s parked a 1 unstarted => skipped
        18s retry a 1 unstarted => skipped
    ",
    );
}

#[test]
fn a_first_attempt_long_after_its_claim_claims_again() {
    check_capped(
        &[action("a", "buy").every("10m")],
        &[cap(1, "1h")],
        "
        0s track buy => sent a, a#1
        1s parked a 0
        61s retry a 0 => sent a, a#1
        61s ledger => 1 sent, 1 counted
        62s delivered a 1
        3660s track buy => a: frequency_cap 1/1h
        3661s track buy => sent a, a#1
    ",
    );
}

#[test]
fn a_claim_made_again_keeps_its_id_and_moves_its_time() {
    let mut bench = Bench::new(&[action("a", "buy")], Workspace::default());
    bench.line("0s track buy");
    let before = bench.known.record.pending[0].clone();
    bench.line("1s parked a 0");
    assert_eq!(bench.line("5m retry a 0"), "sent a, a#1");
    let after = &bench.known.record.pending[0];
    assert_eq!((after.id, after.expires, &after.request), (before.id, before.expires, &before.request));
    assert_eq!((before.claim.at, after.claim.at), (at("0s"), at("5m")));
    assert_eq!(bench.known.record.ledger.exposures[0].last, at("5m"));
}

#[test]
fn a_claim_that_is_not_given_again_leaves_no_count() {
    let caps = [cap(1, "1h")];
    check_capped(
        &[action("a", "buy"), action("b", "call")],
        &caps,
        "
        0s track buy => sent a, a#1
        1s parked a 0
        61m track call => sent b, b#1
        62m retry a 0 => a: frequency_cap 1/1h
        62m pending => b sending 1
        62m ledger => 1 sent, 1 counted
        130m track buy => sent a, a#1
    ",
    );
    check(
        &[action("a", "buy").only("plan", "gold")],
        r#"
        0s identify {"plan":"gold"}
        0s track buy => sent a, a#1
        1s parked a 0
        2s identify {"plan":"free"}
        3m retry a 0 => a: not_in_audience
        3m ledger => 0 sent, 0 counted
        3m retry a 0 => skipped
    "#,
    );
}

#[test]
fn a_claim_made_again_does_not_ask_for_the_event_it_no_longer_has() {
    let same_city = Condition::Test { path: "city".into(), test: Test::Eq(Operand::Event("city".into())) };
    let near = action("near", "visit").with(|campaign| campaign.audience = Rule::User(same_city));
    check(
        &[near],
        r#"
        0s identify {"city":"Seoul"}
        0s track visit {"city":"Seoul"} => sent near, near#1
        1s parked near 0
        5m retry near 0 => sent near, near#1
    "#,
    );
}

#[test]
fn one_occasion_pends_once() {
    let mut bench = Bench::new(&[action("a", "buy").always()], Workspace::default());
    bench.line("0s track buy id=m1");
    // The same message, so long after that the ring has forgotten it.
    bench.known.record.seen.clear();
    assert_eq!(bench.line("1m track buy id=m1"), "");
    assert_eq!(bench.line("1m pending"), "a sending 1");
}

#[test]
fn users_and_campaigns_have_ids_of_their_own() {
    let ids = |user: &str, key: &str| {
        let mut bench = Bench::new(&[action(key, "buy")], Workspace::default());
        bench.user = user.into();
        bench.line("0s track buy id=m1");
        bench.known.record.pending[0].id
    };
    assert_eq!(ids("u1", "a"), ids("u1", "a"));
    assert_ne!(ids("u1", "a"), ids("u2", "a"));
    assert_ne!(ids("u1", "a"), ids("u1", "b"));
}

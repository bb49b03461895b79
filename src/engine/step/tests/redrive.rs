//! Dead letters that are sent again: once, with the next attempt, and only what the record still knows as over.

use super::*;
use crate::engine::calendar::TimeOfDay;
use crate::engine::record::MAX_RESUMED;

#[test]
fn a_dead_letter_is_sent_again_once() {
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s failed a 1
        2m redrive a 1 died=1s => a#2
        2m pending => a sending 2
        3m redrive a 1 died=1s => skipped, under way
        3m delivered a 2
        3m pending
        4m redrive a 1 died=1s => skipped, already sent again or delivered
    ",
    );
}

#[test]
fn what_fails_again_can_be_sent_again_by_its_new_letter_only() {
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s failed a 1
        2m redrive a 1 died=1s => a#2
        2m parked a 2
        3m retry a 2 => a#3
        3m failed a 3
        4m redrive a 1 died=1s => skipped, already sent again or delivered
        5m redrive a 3 died=3m => a#4
        6m delivered a 4
    ",
    );
}

#[test]
fn a_letter_that_overtook_its_record_waits_for_it() {
    // The letter is there, the record is not settled yet; or an older letter speaks of what went on.
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s redrive a 1 => postpone a 15s
        2s failed a 1
        15s redrive a 1 died=1s => a#2
        16s delivered a 2
    ",
    );
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s parked a 1
        24h retry a 1 => fail a Expired
        24h redrive a 1 => postpone a 1441m
        24h failed a 1
        1441m redrive a 1 died=24h => a#2
    ",
    );
}

#[test]
fn what_went_on_after_its_letter_is_not_sent_again() {
    // Whoever wrote the letter died before the record learned of it: the lease ran out.
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        15s wake => sent a, a#2
        16s redrive a 1 died=14s => skipped, under way
        17s delivered a 2
        1m redrive a 1 died=14s => skipped, already sent again or delivered
    ",
    );
    // A 2xx of an earlier attempt turned up while a later one failed.
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        15s wake => sent a, a#2
        16s delivered a 1
        1m redrive a 2 died=17s => skipped, already sent again or delivered
    ",
    );
    check(
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s set a ended
        15s wake => fail a Ended
        16s delivered a 1
        16s set a running
        1m redrive a 1 died=15s => skipped, already sent again or delivered
    ",
    );
}

#[test]
fn what_never_started_claims_again() {
    let campaigns = [action("a", "buy"), action("b", "sell")];
    let caps = [FrequencyCap { limit: 1, period: Period::Sliding(hours(24)), channel: None, tag: None }];
    let script = "
        0s track buy => sent a, a#1
        1s parked a 0
        24h retry a 0 => fail a Expired
        24h failed a 0
    ";
    check_capped(&campaigns, &caps, &format!("{script}\n25h redrive a 0 died=24h => sent a, a#1\n25h track sell => b: frequency_cap 1/1d"));
    // Its claim of yesterday frees the cap; what took its place shuts it.
    let capped = "
        1450m track sell => sent b, b#1
        25h redrive a 0 died=24h => skipped, frequency_cap
        25h ledger => 2 sent, 2 counted
        50h redrive a 0 died=24h => sent a, a#1
        51h redrive a 0 died=24h => skipped, under way
    ";
    check_capped(&campaigns, &caps, &format!("{script}{capped}"));
}

#[test]
fn caps_do_not_count_it_again_unless_it_was_given_back() {
    let caps = [FrequencyCap { limit: 1, period: Period::Sliding(hours(24)), channel: None, tag: None }];
    let script = |given_back: &str| {
        format!(
            "
        0s track buy => sent a, a#1
        1s failed a 1
        1m {given_back}
    "
        )
    };
    check_capped(
        &[action("a", "buy"), action("b", "sell")],
        &caps,
        &script("redrive a 1 died=1s => a#2\n1m ledger => 1 sent, 1 counted\n2m track sell => b: frequency_cap 1/1d"),
    );
    let refunding = action("a", "buy").with(|campaign| campaign.fatigue.refund_on_failure = true);
    check_capped(
        &[refunding.clone(), action("b", "sell")],
        &caps,
        &script("redrive a 1 died=1s => sent a, a#2\n1m ledger => 1 sent, 1 counted\n2m track sell => b: frequency_cap 1/1d"),
    );
    // Another message was sent in its place: the cap would be exceeded.
    check_capped(
        &[refunding, action("b", "sell")],
        &caps,
        &script("track sell => sent b, b#1\n2m redrive a 1 died=1s => skipped, frequency_cap\n2m pending => b sending 1"),
    );
}

#[test]
fn only_of_a_running_campaign_and_a_known_user() {
    for (change, why) in [
        ("set a ended", "campaign ended"),
        ("set a gone", "campaign ended"),
        ("set a paused", "campaign not running"),
        ("delete", "user deleted or claim forgotten"),
        ("delete\n3m track other\n76h wake", "user deleted or claim forgotten"),
    ] {
        let script = format!(
            "
            0s track buy => sent a, a#1
            1s failed a 1
            2m {change}
            80h redrive a 1 died=1s => skipped, {why}
        "
        );
        check(&[action("a", "buy")], &script);
    }
}

#[test]
fn an_old_letter_is_refused() {
    let script = "
        0s track buy => sent a, a#1
        1s failed a 1
    ";
    check(&[action("a", "buy")], &format!("{script}\n720h redrive a 1 died=1s => a#2"));
    check(&[action("a", "buy")], &format!("{script}\n721h redrive a 1 died=1s => skipped, too old"));
}

#[test]
fn quiet_hours_put_it_off() {
    // START is 10:00 UTC: 23:00 is 13 h later.
    let quiet = QuietHours { from: TimeOfDay::of_minutes(22 * 60), to: TimeOfDay::of_minutes(8 * 60), on_hit: OnQuiet::Drop };
    let workspace = Workspace { quiet_hours: Some(quiet), ..Workspace::default() };
    check_in(
        workspace,
        &[action("a", "buy")],
        "
        0s track buy => sent a, a#1
        1s failed a 1
        13h redrive a 1 died=1s => postpone a 1320m
        22h redrive a 1 died=1s => a#2
    ",
    );
}

#[test]
fn the_record_knows_when_it_has_forgotten() {
    let mut bench = Bench::new(&[action("a", "buy").with(|campaign| campaign.fatigue.resend = Resend::Always)], Workspace::default());
    let mut letters = Vec::new();
    for number in 0..=MAX_RESUMED {
        let minute = number * 10;
        for (line, expect) in [
            (format!("{minute}m track buy id=m{number}"), "sent a, a#1".to_owned()),
            (format!("{}m failed a 1", minute + 1), String::new()),
        ] {
            assert_eq!(bench.line(&line), expect);
        }
        let letter = bench.input(&["0s", "redrive", "a", "1", &format!("died={}m", minute + 1)], "");
        bench.now = at(&format!("{}m", minute + 2));
        assert_eq!(bench.give(&letter), "a#2");
        assert_eq!(bench.line(&format!("{}m delivered a 2", minute + 3)), "");
        letters.push(letter);
    }
    // The first note made room for the last; its letter could not be told from one that was never sent again.
    assert_eq!(bench.give(&letters[0]), "skipped, too old");
    assert_eq!(bench.give(&letters[1]), "skipped, already sent again or delivered");
    // 30 days later nothing of it is kept, and all letters of then are too old.
    assert_eq!(bench.line("800h wake"), "");
    assert!(bench.known.record.resumed.is_empty());
    assert_eq!(bench.give(&letters[MAX_RESUMED]), "skipped, too old");
}

#[test]
fn its_retries_are_counted_from_the_letter() {
    let mut bench = Bench::new(&[action("a", "buy")], Workspace::default());
    for line in ["0s track buy", "1s failed a 1", "2m redrive a 1 died=1s", "3m wake"] {
        bench.line(line);
    }
    let id = bench.known.record.pending[0].id;
    let resumed = bench.known.record.resumed.find(id).unwrap();
    assert_eq!((resumed.before, resumed.void), (1, 2), "a take-over voids the letter of the attempt, and counts nothing anew");
}

//! What must hold of the rules for any inputs in any order: caps of every kind, quiet hours and limits are never exceeded, and what is
//! deferred comes to an end.

use proptest::prelude::*;

use super::super::properties::{Play, acts};
use super::*;
use crate::engine::calendar;
use crate::engine::record::TimerKind;

/// Half an hour off the full hour, so that a day by UTC would be noticed.
const ZONE: &str = "Asia/Kolkata";

fn play(percent: u16) -> Play {
    let calendar = |limit, unit| FrequencyCap { period: Period::Calendar(unit), ..cap(limit, "1d") };
    let workspace = Workspace {
        timezone: Some(ZONE.into()),
        frequency_caps: vec![
            cap(2, "1h"),
            calendar(3, calendar::Period::Day),
            FrequencyCap { channel: Some("sms".into()), ..calendar(2, calendar::Period::Week) },
            FrequencyCap { tag: Some("promo".into()), ..calendar(3, calendar::Period::Month) },
        ],
        ..quiet(OnQuiet::Defer)
    };
    let campaigns = [
        action("once", "buy").channel("sms").defer("4h").goal("look", "1d"),
        action("each", "look").always().channel("sms").tags(&["promo"]).defer("12h").goal("buy", "2h"),
        action("keyed", "call").per("n").every("3h").tags(&["promo"]).defer("6h"),
        action("otp", "call").always().uncapped().loud(),
        action("held", "buy").always().control(percent).goal("call", "1d").refunding(),
        inaction("cart", "add", "buy").same("n", "n").again(Again::Restart).always().defer("1h"),
    ];
    Play::of(&campaigns, workspace)
}

/// Whether quiet hours hold a send at this instant, computed from the clock's hour alone.
fn is_quiet(at: Timestamp) -> bool {
    let zone = jiff::tz::TimeZone::get(ZONE).unwrap();
    let hour = jiff::Timestamp::from_millisecond(at.0).unwrap().to_zoned(zone).hour();
    !(8..21).contains(&hour)
}

/// Lets time pass from wake to wake until nothing waits any more.
fn drain(play: &mut Play) {
    for campaign in play.bench.campaigns.clone() {
        if campaign.status != Some(Status::Ended) {
            play.bench.set(&campaign.key, "running");
        }
    }
    let deferred = |play: &Play| play.bench.known.record.timers.iter().any(|timer| matches!(timer.kind, TimerKind::Deferred { .. }));
    for _ in 0..2000 {
        if !deferred(play) {
            return;
        }
        let wake = wake(&play.bench.user, &play.bench.known, &play.bench.in_force, play.bench.now);
        play.bench.now = play.bench.now.max(wake.unwrap_or(play.bench.now));
        play.give(&Input::Wake { read_to: play.bench.now });
        play.bench.settle();
    }
    panic!("still deferred: {:?}", play.bench.known.record.timers);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn caps_and_quiet_hours_hold_and_deferrals_end(acts in acts(), percent in prop_oneof![Just(0), Just(10_000)]) {
        let mut play = play(percent);
        for (pause, act) in &acts {
            play.act(*pause, act);
            play.check_caps();
        }
        drain(&mut play);
        play.check_caps();
        for line in play.sent.values().filter(|line| &*line.campaign != "otp") {
            prop_assert!(!is_quiet(line.at), "{} sent at {}", line.campaign, line.at);
        }
        prop_assert!(play.deferred.is_empty(), "no end is recorded of {:?}", play.deferred);
        prop_assert!(percent == 0 || play.sent.values().all(|line| &*line.campaign != "held"));
    }

    /// Users in any order and again, the store answering: never more than the limit, and whoever was let in stays in.
    #[test]
    fn a_limit_is_never_exceeded(users in prop::collection::vec(0..12u8, 1..60), limit in 1..8u64) {
        let mut bench = Bench::new(&[action("a", "buy").always().limit(limit)], Workspace::default());
        let mut known: BTreeMap<u8, Known> = BTreeMap::new();
        let mut reached = BTreeSet::new();
        for user in users {
            bench.user = format!("u{user}").as_str().into();
            bench.known = known.remove(&user).unwrap_or_default();
            bench.deliveries.clear();
            match bench.line("0s track buy").as_str() {
                "sent a, a#1" => drop(reached.insert(user)),
                "a: target_limit" => prop_assert!(!reached.contains(&user) && reached.len() as u64 == limit),
                other => prop_assert!(false, "{}", other),
            }
            prop_assert!(reached.len() as u64 <= limit);
            bench.settle();
            known.insert(user, bench.known.clone());
        }
    }
}

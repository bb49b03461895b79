//! What a ledger keeps and says. (What comes of it is shown by `step`'s scripts of the gates.)

use std::time::Duration;

use super::*;
use crate::engine::calendar::{self, TimeOfDay, Zone};
use crate::engine::definition::{Condition, Goal, OnQuiet, Path, Pattern, Period, QuietHours, Resend, Trigger, Webhook};
use crate::engine::id::{CampaignId, DeliveryId};

fn campaign() -> Campaign {
    Campaign::new("a", Trigger::Api, Webhook::new("https://api.example.com", "api.example.com"))
}

fn ledger(sends: &[(i64, &str)]) -> Ledger {
    let send = |(at, channel): &(i64, &str)| CountedSend { at: Timestamp(*at), labels: caps::labels(Some(channel), &[]) };
    Ledger { sends: sends.iter().map(send).collect(), ..Ledger::default() }
}

fn cap(limit: u32, millis: u64, channel: Option<&str>) -> FrequencyCap {
    FrequencyCap { limit, period: Period::Sliding(Duration::from_millis(millis)), channel: channel.map(Into::into), tag: None }
}

fn instant(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap_or_else(|| panic!("`{text}` is no instant"))
}

mod keeping {
    use super::*;

    #[test]
    fn the_newest_sends_are_kept_and_all_that_a_cap_needs() {
        // One text message, then many mails.
        let mut sends = vec![(0, "sms")];
        sends.extend((1..=100).map(|at| (at, "email")));
        let check = |caps: &[FrequencyCap], now: i64, expect: usize, oldest: i64| {
            let mut ledger = ledger(&sends);
            prune(&mut ledger, caps, Timestamp(now), Timestamp(now), |_| true);
            assert_eq!((ledger.sends.len(), ledger.sends[0].at), (expect, Timestamp(oldest)), "{caps:?} at {now}");
        };
        let daily = FrequencyCap { period: Period::Calendar(calendar::Period::Day), ..cap(40, 0, None) };
        check(&[], 100, MIN_COUNTED_SENDS, 85);
        check(&[cap(3, 1000, None)], 100, MIN_COUNTED_SENDS, 85);
        check(&[cap(40, 1000, None)], 100, 40, 61);
        check(&[cap(40, 20, None)], 100, 20, 81);
        check(&[cap(1, 1000, Some("sms"))], 100, MIN_COUNTED_SENDS + 1, 0);
        check(&[cap(1, 1000, Some("sms"))], 1000, MIN_COUNTED_SENDS, 85);
        check(&[cap(1, 1000, Some("sms")), cap(20, 1000, Some("email"))], 100, 21, 0);
        check(&[cap(1_000_000, 1000, None)], 100, 101, 0);
        check(&[daily], 100, 40, 61);
    }

    #[test]
    fn what_is_older_than_the_longest_cap_is_forgotten() {
        let longest = i64::try_from(LONGEST_CAP.as_millis()).unwrap();
        let mut ledger = ledger(&[(0, "sms"), (1, "sms")]);
        prune(&mut ledger, &[], Timestamp(longest), Timestamp(0), |_| true);
        assert_eq!(ledger.sends.len(), 1);
        prune(&mut ledger, &[], Timestamp(longest + 1), Timestamp(0), |_| true);
        assert!(is_empty(&ledger));
    }

    #[test]
    fn exposures_go_when_nobody_wants_them() {
        let exposure = |id| Exposure { campaign: CampaignId(id), key: None, arm: Arm::Treatment, last: Timestamp(0), count: 1 };
        let mut ledger = Ledger { exposures: vec![exposure(1), exposure(2)], ..Ledger::default() };
        prune(&mut ledger, &[], Timestamp(0), Timestamp(0), |exposure| exposure.campaign == CampaignId(2));
        assert_eq!(ledger.exposures, [exposure(2)]);
    }

    /// Of `b` one key, of `a` all there is room for, sent at 1, 2, 3 and so on; the first is renewed at 1000: now the second is the oldest.
    fn full(resend: Resend) -> (Campaign, Campaign, Ledger) {
        let fatigue = crate::engine::definition::Fatigue { per: vec![Path::from("n")], resend, ..Default::default() };
        let campaign = Campaign { fatigue, ..campaign() };
        let other = Campaign { id: CampaignId::of("b"), ..campaign.clone() };
        let mut ledger = Ledger::default();
        note_send(&mut ledger, &other, key(1), &[], Timestamp(0));
        for n in 1..=MAX_EXPOSURE_KEYS {
            note_send(&mut ledger, &campaign, key(n), &[], Timestamp(n as i64));
        }
        note_send(&mut ledger, &campaign, key(1), &[], Timestamp(1000));
        (campaign, other, ledger)
    }

    fn key(n: usize) -> ExposureKey {
        Some((n as u64).to_be_bytes())
    }

    #[test]
    fn the_key_that_was_sent_longest_ago_is_forgotten_first() {
        let (campaign, other, mut ledger) = full(Resend::After(Duration::from_millis(1_000)));
        note_held_out(&mut ledger, &campaign, key(2), Timestamp(1001));
        note_send(&mut ledger, &campaign, key(MAX_EXPOSURE_KEYS + 1), &[], Timestamp(1002));
        let known = |campaign, n| last(&ledger, campaign, key(n), Arm::Treatment).is_some();
        let forgotten: Vec<usize> = (1..=MAX_EXPOSURE_KEYS + 1).filter(|n| !known(&campaign, *n)).collect();
        assert_eq!(forgotten, [2]);
        assert!(known(&other, 1), "another campaign's key is not forgotten for it");
    }

    #[test]
    fn there_is_room_where_nothing_is_forgotten_that_must_not_be_sent_again() {
        let check = |resend, n: usize, arm, now: i64, expect: bool| {
            let (campaign, _, ledger) = full(resend);
            assert_eq!(has_room(&ledger, &campaign, key(n), arm, Timestamp(now)), expect, "{resend:?} {n} {arm:?} {now}");
        };
        let (new, after) = (MAX_EXPOSURE_KEYS + 1, Resend::After(Duration::from_millis(1_000)));
        check(Resend::Never, new, Arm::Treatment, 1_000_000, false);
        check(Resend::Never, 7, Arm::Treatment, 2000, true);
        check(Resend::Never, new, Arm::Control, 2000, true);
        check(Resend::Always, new, Arm::Treatment, 2000, true);
        check(after, new, Arm::Treatment, 1001, false);
        check(after, new, Arm::Treatment, 1002, true);
    }
}

mod repeating {
    use super::*;

    /// Sent at 100 (key 1) and 200 (key 2), held out at 300 (key 3).
    fn check(resend: Resend, key: Option<u8>, arm: Arm, now: i64, expect: Option<(&str, i64, Option<i64>)>) {
        let mut campaign = campaign();
        campaign.fatigue.resend = resend;
        let mut ledger = Ledger::default();
        note_send(&mut ledger, &campaign, Some([1; 8]), &[], Timestamp(100));
        note_send(&mut ledger, &campaign, Some([2; 8]), &[], Timestamp(200));
        note_held_out(&mut ledger, &campaign, Some([3; 8]), Timestamp(300));
        let got = repeat(&ledger, &campaign, key.map(|n| [n; 8]), arm, Timestamp(now));
        let got = got.map(|repeat| (repeat.reason.as_str(), repeat.last.0, repeat.frees.map(|at| at.0)));
        assert_eq!(got, expect, "{resend:?} key {key:?} {arm:?} at {now}");
    }

    #[test]
    fn by_key_and_arm() {
        let after = Resend::After(Duration::from_millis(50));
        let (sent, held) = (Arm::Treatment, Arm::Control);
        check(Resend::Never, Some(1), sent, 999, Some(("already_sent", 100, None)));
        check(Resend::Never, Some(4), sent, 999, None);
        check(Resend::Always, Some(1), sent, 100, None);
        check(after, Some(1), sent, 149, Some(("resend_wait", 100, Some(150))));
        check(after, Some(1), sent, 150, None);
        // Once per user again: all keys count.
        check(Resend::Never, None, sent, 999, Some(("already_sent", 200, None)));
        check(after, None, sent, 249, Some(("resend_wait", 200, Some(250))));
        // Who was held out was sent nothing; who is held out is so once, and not after a send.
        check(Resend::Never, Some(3), sent, 999, None);
        check(Resend::Never, Some(3), held, 999, Some(("already_sent", 300, None)));
        check(Resend::Never, Some(1), held, 999, Some(("already_sent", 100, None)));
        check(after, None, held, 349, Some(("resend_wait", 300, Some(350))));
    }
}

mod capping {
    use super::*;

    fn zone(name: &str) -> Zone {
        Zone::find(name).unwrap_or_else(|| panic!("no zone {name}"))
    }

    #[test]
    fn a_sliding_cap_frees_when_enough_have_left() {
        let check = |limit: u32, sends: &[i64], now: i64, expect: (usize, Option<i64>)| {
            let sends: Vec<(i64, &str)> = sends.iter().map(|at| (*at, "sms")).collect();
            let (ledger, campaign, caps) = (ledger(&sends), campaign(), [cap(limit, 100, None)]);
            let got: Vec<Counted> = counted(&ledger, &campaign, &caps, Timestamp(now), || Zone::UTC).collect();
            assert_eq!((got[0].sends, got[0].frees.map(|at| at.0)), expect, "{limit} per 100 of {sends:?} at {now}");
            let full = exceeded(&ledger, &campaign, &caps, Timestamp(now), || Zone::UTC).count() == 1;
            assert_eq!(full, got[0].is_full());
            assert_eq!(full && limit > 0, got[0].frees.is_some());
            if let Some(frees) = got[0].frees {
                let at = |now| exceeded(&ledger, &campaign, &caps, now, || Zone::UTC).count();
                assert_eq!((at(Timestamp(frees.0 - 1)), at(frees)), (1, 0), "frees exactly then");
            }
        };
        check(2, &[], 50, (0, None));
        check(2, &[0], 50, (1, None));
        check(2, &[0, 10], 50, (2, Some(100)));
        check(2, &[0, 10], 99, (2, Some(100)));
        check(2, &[0, 10], 100, (1, None));
        // A cap that was lowered: all but one of them must leave.
        check(2, &[0, 10, 20, 30], 50, (4, Some(120)));
        check(1, &[0, 10, 20, 30], 50, (4, Some(130)));
        // The clock went back: what lies ahead counts.
        check(1, &[500], 50, (1, Some(600)));
        check(0, &[0], 50, (1, None));
    }

    #[test]
    fn a_calendar_cap_follows_the_users_days_through_clock_changes() {
        use calendar::Period::{Day, Month, Week};
        let check = |unit, zone_name: &str, sent: &str, now: &str, expect: Option<&str>| {
            let caps = [FrequencyCap { period: Period::Calendar(unit), ..cap(1, 0, None) }];
            let (ledger, campaign) = (ledger(&[(instant(sent).0, "sms")]), campaign());
            let got = exceeded(&ledger, &campaign, &caps, instant(now), || zone(zone_name)).next().map(|full| full.frees);
            assert_eq!(got, expect.map(|at| Some(instant(at))), "{unit:?} in {zone_name}, sent {sent}, at {now}");
        };
        check(Day, "UTC", "2026-11-20T00:00:00Z", "2026-11-20T23:59:59Z", Some("2026-11-21T00:00:00Z"));
        check(Day, "UTC", "2026-11-20T23:59:59Z", "2026-11-21T00:00:00Z", None);
        check(Day, "Asia/Seoul", "2026-11-20T14:59:59Z", "2026-11-20T15:00:00Z", None);
        check(Day, "Asia/Seoul", "2026-11-20T15:00:00Z", "2026-11-21T14:59:59Z", Some("2026-11-21T15:00:00Z"));
        // 23 and 25 hours.
        check(Day, "America/New_York", "2026-03-08T05:00:00Z", "2026-03-09T03:59:59Z", Some("2026-03-09T04:00:00Z"));
        check(Day, "America/New_York", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z", None);
        check(Day, "America/New_York", "2026-11-01T04:00:00Z", "2026-11-02T04:59:59Z", Some("2026-11-02T05:00:00Z"));
        check(Day, "America/New_York", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z", None);
        // A day whose midnight does not exist begins at 01:00; a day that was skipped is none.
        check(Day, "America/Sao_Paulo", "2018-11-04T02:59:59Z", "2018-11-04T03:00:00Z", None);
        check(Day, "America/Sao_Paulo", "2018-11-04T03:00:00Z", "2018-11-05T01:59:59Z", Some("2018-11-05T02:00:00Z"));
        check(Day, "Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-30T10:00:00Z", None);
        check(Day, "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31T09:59:59Z", Some("2011-12-31T10:00:00Z"));
        // 2026-11-23 is a Monday.
        check(Week, "Asia/Kolkata", "2026-11-15T18:30:00Z", "2026-11-22T18:29:59Z", Some("2026-11-22T18:30:00Z"));
        check(Week, "Asia/Kolkata", "2026-11-22T18:29:59Z", "2026-11-22T18:30:00Z", None);
        check(Week, "Europe/Berlin", "2026-10-18T22:00:00Z", "2026-10-25T22:59:59Z", Some("2026-10-25T23:00:00Z"));
        check(Month, "UTC", "2028-02-01T00:00:00Z", "2028-02-29T23:59:59Z", Some("2028-03-01T00:00:00Z"));
        check(Month, "Asia/Seoul", "2026-12-31T14:59:59Z", "2026-12-31T15:00:00Z", None);
        check(Month, "Europe/Berlin", "2026-09-30T22:00:00Z", "2026-10-31T22:59:59Z", Some("2026-10-31T23:00:00Z"));
    }

    #[test]
    fn a_month_is_remembered_to_its_end_in_all_zones() {
        // 31 days and an hour: the longest month there is.
        let caps = [FrequencyCap { period: Period::Calendar(calendar::Period::Month), ..cap(1, 0, None) }];
        for name in ["UTC", "Europe/Berlin", "Asia/Seoul", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/New_York"] {
            for month in 1..=12 {
                let noon = instant(&format!("2026-{month:02}-15T12:00:00Z"));
                let window = calendar::window(calendar::Period::Month, noon, &zone(name));
                let (mut ledger, last) = (ledger(&[(window.start.0, "sms")]), Timestamp(window.end.0 - 1));
                prune(&mut ledger, &caps, last, last, |_| true);
                let campaign = campaign();
                let full = exceeded(&ledger, &campaign, &caps, last, || zone(name)).next().and_then(|full| full.frees);
                assert_eq!(full, Some(window.end), "{name}, month {month}");
            }
        }
    }

    #[test]
    fn a_refund_gives_back_what_caps_count_and_no_more() {
        let mut campaign = campaign();
        campaign.channel = Some("sms".into());
        let caps = [cap(1, 100, None)];
        let claim = |campaign: &Campaign| Claim { channel: campaign.channel.clone(), ..claim_at(10) };
        let mut ledger = ledger(&[(5, "email")]);
        let counts = note_send(&mut ledger, &campaign, None, &caps, Timestamp(10));
        refund(&mut ledger, &claim(&campaign), Counts { in_caps: false, ..counts });
        assert_eq!(ledger.sends.len(), 2);
        refund(&mut ledger, &claim(&campaign), counts);
        refund(&mut ledger, &claim(&campaign), counts);
        assert_eq!(ledger.sends.iter().map(|send| send.at.0).collect::<Vec<_>>(), [5]);
        assert!(repeat(&ledger, &campaign, None, Arm::Treatment, Timestamp(99)).is_some(), "the once-only stays");
        give_back(&mut ledger, &campaign, &claim(&campaign), counts);
        assert!(repeat(&ledger, &campaign, None, Arm::Treatment, Timestamp(99)).is_none());
    }

    fn claim_at(at: i64) -> Claim {
        Claim::of_test("a", Timestamp(at))
    }
}

mod holding_out {
    use super::*;

    #[test]
    fn shares_are_even_sticky_and_apart_by_campaign() {
        const USERS: u32 = 100_000;
        let held = |key: &str, per_ten_thousand: u16| -> Vec<u32> {
            let mut campaign = Campaign { key: key.into(), ..campaign() };
            campaign.control.per_ten_thousand = per_ten_thousand;
            (0..USERS).filter(|user| held_out(&campaign, &format!("user-{user}"))).collect()
        };
        let mut before: Vec<u32> = Vec::new();
        for per_ten_thousand in [0, 1, 50, 1000, 5000, 9999, 10_000] {
            let now = held("a", per_ten_thousand);
            // Five standard deviations of a binomial distribution.
            let p = f64::from(per_ten_thousand) / 10_000.0;
            let (expect, deviation) = (f64::from(USERS) * p, (f64::from(USERS) * p * (1.0 - p)).sqrt());
            assert!((now.len() as f64 - expect).abs() <= 5.0 * deviation, "{} of {USERS} at {per_ten_thousand}", now.len());
            assert!(before.iter().all(|user| now.binary_search(user).is_ok()), "nobody leaves as it grows to {per_ten_thousand}");
            before = now;
        }
        let (a, b) = (held("a", 5000), held("b", 5000));
        let both = a.iter().filter(|user| b.binary_search(user).is_ok()).count() as f64;
        assert!((both - f64::from(USERS) / 4.0).abs() < 5.0 * (f64::from(USERS) * 3.0 / 16.0).sqrt(), "{both} in both groups");
    }
}

mod quiet_hours {
    use super::*;

    #[test]
    fn hold_until_their_end_by_the_users_clock() {
        let check = |from: u16, to: u16, zone: &str, now: &str, expect: Option<&str>| {
            let quiet = QuietHours { from: TimeOfDay::of_minutes(from * 60), to: TimeOfDay::of_minutes(to * 60), on_hit: OnQuiet::Drop };
            let got = quiet_until(&campaign(), Some(&quiet), instant(now), || Zone::find(zone).unwrap());
            assert_eq!(got, expect.map(instant), "{from}-{to} {zone} {now}");
        };
        check(21, 8, "UTC", "2026-11-20T20:59:59Z", None);
        check(21, 8, "UTC", "2026-11-20T21:00:00Z", Some("2026-11-21T08:00:00Z"));
        check(21, 8, "UTC", "2026-11-21T08:00:00Z", None);
        check(21, 8, "Asia/Seoul", "2026-11-20T12:00:00Z", Some("2026-11-20T23:00:00Z"));
        check(21, 8, "America/New_York", "2026-03-08T06:30:00Z", Some("2026-03-08T12:00:00Z"));
        check(21, 8, "America/New_York", "2026-11-01T05:30:00Z", Some("2026-11-01T13:00:00Z"));
        check(8, 8, "UTC", "2026-11-20T08:00:00Z", None);
        check(0, 12, "Asia/Kathmandu", "2026-11-20T18:15:00Z", Some("2026-11-21T06:15:00Z"));
    }

    #[test]
    fn hold_only_who_heeds_them() {
        let quiet = QuietHours { from: TimeOfDay::of_minutes(0), to: TimeOfDay::of_minutes(1439), on_hit: OnQuiet::Drop };
        let mut campaign = campaign();
        assert!(quiet_until(&campaign, Some(&quiet), Timestamp(0), || Zone::UTC).is_some());
        assert!(quiet_until(&campaign, None, Timestamp(0), || Zone::UTC).is_none());
        campaign.fatigue.quiet_hours = false;
        assert!(quiet_until(&campaign, Some(&quiet), Timestamp(0), || Zone::UTC).is_none());
    }
}

mod converting {
    use super::*;

    fn aiming(key: &str) -> Campaign {
        let pattern = Pattern { event: "buy".into(), condition: Condition::ALWAYS };
        let goal = Some(Goal { pattern, within: Duration::from_millis(100) });
        Campaign { id: CampaignId::of(key), goal, ..campaign() }
    }

    #[test]
    fn the_last_exposure_before_the_event_converts_once() {
        // Of the campaign at 10 and 50, held out at 60; of another at 70.
        let check = |events: &[(i64, Option<i64>)]| {
            let (a, b) = (aiming("a"), aiming("b"));
            let mut ledger = Ledger::default();
            open_goal(&mut ledger, &b, Some(DeliveryId([9; 16])), Timestamp(70));
            open_goal(&mut ledger, &a, Some(DeliveryId([2; 16])), Timestamp(50));
            open_goal(&mut ledger, &a, Some(DeliveryId([1; 16])), Timestamp(10));
            open_goal(&mut ledger, &a, None, Timestamp(60));
            for (at, expect) in events {
                let id = format!("m{at}");
                let got = convert(&mut ledger, a.id, &id, Timestamp(*at));
                assert_eq!(got.map(|goal| goal.sent_at.0), *expect, "{events:?} at {at}");
                let again: Vec<i64> = converted_by(&ledger, &id, Timestamp(*at)).map(|goal| goal.sent_at.0).collect();
                assert_eq!(again, Vec::from_iter(*expect), "the same when it is read again");
            }
        };
        check(&[(9, None), (10, Some(10)), (11, None)]);
        check(&[(65, Some(60)), (66, Some(50)), (67, Some(10)), (68, None)]);
        check(&[(109, Some(60)), (110, Some(50)), (111, None)]);
        check(&[(159, Some(60))]);
        check(&[(160, None)]);
    }

    #[test]
    fn a_campaign_without_goal_waits_for_nothing_and_one_that_never_started_neither() {
        let mut ledger = Ledger::default();
        open_goal(&mut ledger, &campaign(), None, Timestamp(0));
        assert!(is_empty(&ledger));
        open_goal(&mut ledger, &aiming("a"), Some(DeliveryId([1; 16])), Timestamp(0));
        close_goal(&mut ledger, DeliveryId([1; 16]));
        assert!(is_empty(&ledger));
    }

    #[test]
    fn what_is_converted_gives_way_before_what_waits() {
        let a = aiming("a");
        let mut ledger = Ledger::default();
        for at in 0..MAX_OPEN_GOALS as i64 {
            open_goal(&mut ledger, &a, None, Timestamp(at));
        }
        let last = MAX_OPEN_GOALS as i64 - 1;
        assert_eq!(convert(&mut ledger, a.id, "m", Timestamp(last)).unwrap().sent_at.0, last);
        open_goal(&mut ledger, &a, None, Timestamp(50));
        assert_eq!((ledger.goals.len(), ledger.goals[0].sent_at.0), (MAX_OPEN_GOALS, 0));
        assert_eq!(converted_by(&ledger, "m", Timestamp(last)).count(), 0);
        open_goal(&mut ledger, &a, None, Timestamp(51));
        assert_eq!((ledger.goals.len(), ledger.goals[0].sent_at.0), (MAX_OPEN_GOALS, 1));
    }

    #[test]
    fn a_window_that_no_event_can_meet_any_more_is_closed() {
        let mut ledger = Ledger::default();
        open_goal(&mut ledger, &aiming("a"), None, Timestamp(0));
        prune(&mut ledger, &[], Timestamp(1000), Timestamp(99), |_| true);
        assert_eq!(ledger.goals.len(), 1);
        prune(&mut ledger, &[], Timestamp(1000), Timestamp(100), |_| true);
        assert!(is_empty(&ledger));
    }
}

//! What a ledger keeps. (What it allows is shown by `step`'s scripts of the gates.)

use super::*;
use crate::engine::id::CampaignId;

fn ledger(sends: &[(i64, &str)]) -> Ledger {
    let send = |(at, channel): &(i64, &str)| CountedSend { at: Timestamp(*at), labels: labels(Some(channel), &[]) };
    Ledger { exposures: Vec::new(), sends: sends.iter().map(send).collect() }
}

fn cap(limit: u32, millis: u64, channel: Option<&str>) -> FrequencyCap {
    FrequencyCap { limit, period: Period::Sliding(Duration::from_millis(millis)), channel: channel.map(Into::into), tag: None }
}

#[test]
fn the_newest_sends_are_kept_and_all_that_a_cap_needs() {
    // One text message, then many mails.
    let mut sends = vec![(0, "sms")];
    sends.extend((1..=100).map(|at| (at, "email")));
    let check = |caps: &[FrequencyCap], now: i64, expect: usize, oldest: i64| {
        let mut ledger = ledger(&sends);
        prune(&mut ledger, caps, Timestamp(now), |_| true);
        assert_eq!((ledger.sends.len(), ledger.sends[0].at), (expect, Timestamp(oldest)), "{caps:?} at {now}");
    };
    check(&[], 100, MIN_COUNTED_SENDS, 85);
    check(&[cap(3, 1000, None)], 100, MIN_COUNTED_SENDS, 85);
    check(&[cap(40, 1000, None)], 100, 40, 61);
    check(&[cap(40, 20, None)], 100, 20, 81);
    check(&[cap(1, 1000, Some("sms"))], 100, MIN_COUNTED_SENDS + 1, 0);
    check(&[cap(1, 1000, Some("sms"))], 1000, MIN_COUNTED_SENDS, 85);
    check(&[cap(1, 1000, Some("sms")), cap(20, 1000, Some("email"))], 100, 21, 0);
    check(&[cap(1_000_000, 1000, None)], 100, 101, 0);
}

#[test]
fn what_is_older_than_the_longest_cap_is_forgotten() {
    let longest = i64::try_from(LONGEST_CAP.as_millis()).unwrap();
    let mut ledger = ledger(&[(0, "sms"), (1, "sms")]);
    prune(&mut ledger, &[], Timestamp(longest), |_| true);
    assert_eq!(ledger.sends.len(), 1);
    prune(&mut ledger, &[], Timestamp(longest + 1), |_| true);
    assert!(is_empty(&ledger));
}

#[test]
fn exposures_go_when_nobody_wants_them() {
    let exposure = |id| Exposure { campaign: CampaignId(id), last: Timestamp(0), count: 1 };
    let mut ledger = Ledger { exposures: vec![exposure(1), exposure(2)], sends: Vec::new() };
    prune(&mut ledger, &[], Timestamp(0), |exposure| exposure.campaign == CampaignId(2));
    assert_eq!(ledger.exposures, [exposure(2)]);
}

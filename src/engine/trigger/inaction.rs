//! Inaction: `after` starts a clock, `without` in its window stops it, else it is due at the window's end.
//!
//! The window is [t, t + within) in the time of the events, so what is read out of order counts as what it is. A clock whose due
//! time is not after an event's time has come first, whether or not it was already acted upon: that event neither
//! stops nor restarts it. Nothing here sends: a clock that is due waits for the wake that says how far everything was read.

use std::time::Duration;

use crate::engine::definition::Again;
use crate::engine::id::CampaignId;
use crate::engine::record::{Timer, TimerKind};
use crate::engine::time::Timestamp;

use super::correlation::Key;

/// What an `after` does to the clocks that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    New,
    /// This clock starts again from the new event.
    Restart(usize),
    /// One pends already.
    Ignored,
}

/// Stops the clocks in whose window a `without` at `at` lies. A stopped clock leaves no trace: nothing had been decided.
pub fn cancel(timers: &mut Vec<Timer>, campaign: CampaignId, key: Key, at: Timestamp) {
    timers.retain(|timer| !(is_clock(timer, campaign, key) && timer.origin.timestamp <= at && at < timer.due));
}

/// Judges an `after` at `at`. One pends when its window and the new one overlap. With `ignore`, the clock that runs stays whatever
/// the order; with `restart`, the latest event rules, so one that was read late does not turn it back.
pub fn start(timers: &[Timer], campaign: CampaignId, key: Key, at: Timestamp, within: Duration, again: Again) -> Start {
    let overlapping = timers
        .iter()
        .enumerate()
        .filter(|(_, timer)| is_clock(timer, campaign, key))
        .filter(|(_, timer)| at < timer.due && timer.origin.timestamp < at.after(within));
    match (overlapping.max_by_key(|(_, timer)| timer.origin.timestamp), again) {
        (None, _) => Start::New,
        (Some((place, timer)), Again::Restart) if timer.origin.timestamp <= at => Start::Restart(place),
        (Some(_), _) => Start::Ignored,
    }
}

fn is_clock(timer: &Timer, campaign: CampaignId, key: Key) -> bool {
    timer.campaign == campaign && timer.kind == TimerKind::Inaction && timer.key == key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::record::Origin;

    const CAMPAIGN: CampaignId = CampaignId(1);
    const KEY: Key = [0; 8];

    /// Clocks of 30 that started at these times.
    fn clocks(starts: &[i64]) -> Vec<Timer> {
        let clock = |at: i64| Timer {
            campaign: CAMPAIGN,
            kind: TimerKind::Inaction,
            key: KEY,
            due: Timestamp(at + 30),
            origin: Origin { timestamp: Timestamp(at), ..Origin::default() },
        };
        starts.iter().map(|at| clock(*at)).collect()
    }

    #[test]
    fn a_without_inside_the_window_stops_the_clock() {
        let check = |starts: &[i64], campaign: u64, key: u8, at: i64, left: &[i64]| {
            let mut timers = clocks(starts);
            cancel(&mut timers, CampaignId(campaign), [key; 8], Timestamp(at));
            let kept: Vec<i64> = timers.iter().map(|timer| timer.origin.timestamp.0).collect();
            assert_eq!(kept, left, "{starts:?} at {at}");
        };
        check(&[10], 1, 0, 9, &[10]);
        check(&[10], 1, 0, 10, &[]);
        check(&[10], 1, 0, 39, &[]);
        check(&[10], 1, 0, 40, &[10]);
        check(&[10], 2, 0, 20, &[10]);
        check(&[10], 1, 7, 20, &[10]);
        check(&[10, 40], 1, 0, 40, &[10]);
        check(&[10, 40], 1, 0, 39, &[40]);
    }

    #[test]
    fn an_after_while_one_pends() {
        let check = |starts: &[i64], again, at: i64, expect| {
            let started = start(&clocks(starts), CAMPAIGN, KEY, Timestamp(at), Duration::from_millis(30), again);
            assert_eq!(started, expect, "{starts:?} {again:?} at {at}");
        };
        check(&[], Again::Ignore, 10, Start::New);
        check(&[10], Again::Ignore, 10, Start::Ignored);
        check(&[10], Again::Ignore, 39, Start::Ignored);
        check(&[10], Again::Ignore, 40, Start::New);
        check(&[10], Again::Ignore, -19, Start::Ignored);
        check(&[10], Again::Ignore, -20, Start::New);
        check(&[10], Again::Restart, 10, Start::Restart(0));
        check(&[10], Again::Restart, 39, Start::Restart(0));
        check(&[10], Again::Restart, 40, Start::New);
        check(&[10], Again::Restart, 9, Start::Ignored);
        check(&[10], Again::Restart, -20, Start::New);
        check(&[10, 40], Again::Restart, 45, Start::Restart(1));
        check(&[10, 40], Again::Restart, 39, Start::Ignored);
    }

    #[test]
    fn clocks_of_other_keys_and_campaigns_do_not_count() {
        let timers = clocks(&[10]);
        let within = Duration::from_millis(30);
        assert_eq!(start(&timers, CAMPAIGN, [7; 8], Timestamp(11), within, Again::Ignore), Start::New);
        assert_eq!(start(&timers, CampaignId(2), KEY, Timestamp(11), within, Again::Ignore), Start::New);
    }
}

//! The campaign rules: keys, calendar caps, quiet hours, deferral, control groups, goals, limits, active windows, refunds. `0s` is
//! Friday 2026-11-20 10:00 UTC.

use super::*;
use crate::engine::calendar::{self, TimeOfDay};

mod arms;
mod deferral;
mod explain;
mod keys;
mod limits;
mod quiet;
mod replay;

/// Rules of a campaign, to be chained.
trait Ruled: With {
    fn per(self, path: &str) -> Campaign {
        self.with(|campaign| campaign.fatigue.per.push(path.into()))
    }

    fn control(self, per_ten_thousand: u16) -> Campaign {
        self.with(|campaign| campaign.control = Control { per_ten_thousand })
    }

    fn limit(self, users: u64) -> Campaign {
        self.with(|campaign| campaign.limit = Some(Limit { users, per_run: false }))
    }

    fn active(self, from: &str, until: &str) -> Campaign {
        self.with(|campaign| campaign.active = Active { from: Some(at(from)), until: Some(at(until)) })
    }

    fn defer(self, longest: &str) -> Campaign {
        self.with(|campaign| campaign.fatigue.defer_on_cap = Some(span(longest)))
    }

    fn loud(self) -> Campaign {
        self.with(|campaign| campaign.fatigue.quiet_hours = false)
    }

    fn refunding(self) -> Campaign {
        self.with(|campaign| campaign.fatigue.refund_on_failure = true)
    }

    fn goal(self, event: &str, within: &str) -> Campaign {
        self.with(|campaign| campaign.goal = Some(Goal { pattern: pattern(event), within: span(within) }))
    }
}

impl Ruled for Campaign {}

/// Quiet from 21:00 (`11h`) to 08:00 (`22h`), UTC.
fn quiet(on_hit: OnQuiet) -> Workspace {
    Workspace {
        quiet_hours: Some(QuietHours { from: TimeOfDay::of_minutes(21 * 60), to: TimeOfDay::of_minutes(8 * 60), on_hit }),
        ..Workspace::default()
    }
}

/// Runs a script in which every request is answered at once with 2xx.
fn check_settled(workspace: Workspace, campaigns: &[Campaign], script: &str) {
    let mut bench = Bench::new(campaigns, workspace);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (input, expected) = line.split_once("=>").unwrap_or((line, ""));
        assert_eq!(bench.line(input.trim()), expected.trim(), "at `{line}` of{script}");
        bench.settle();
    }
}

fn capped(caps: &[FrequencyCap]) -> Workspace {
    Workspace { frequency_caps: caps.to_vec(), ..Workspace::default() }
}

impl Bench {
    /// All that is being sent is delivered.
    fn settle(&mut self) {
        for entry in self.known.record.pending.clone() {
            let (id, attempt) = (entry.id, entry.phase.attempt());
            self.give(&Input::Attempted { id, attempt, verdict: Verdict::Delivered, status: Some(200), cause: None });
        }
    }
}

fn daily(limit: u32) -> FrequencyCap {
    FrequencyCap { period: Period::Calendar(calendar::Period::Day), ..cap(limit, "1d") }
}

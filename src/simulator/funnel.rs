//! What a simulation has done with each campaign: its outcome lines, counted as a worker counts them. Nothing is counted here.

use std::collections::BTreeMap;

use crate::engine::statistics::{Line, Report, Tally, read};

/// The funnels of all campaigns, by key.
#[derive(Default)]
pub struct Funnels {
    by_campaign: BTreeMap<Box<str>, Counted>,
    /// How many lines there were: a simulation's log has one partition and forgets what is read.
    lines: i64,
}

#[derive(Default)]
struct Counted {
    tally: Tally,
    has_goal: bool,
}

/// What a simulation says of a campaign.
pub struct Funnel<'a> {
    pub campaign: &'a str,
    pub has_goal: bool,
    pub report: Report,
}

/// A log that is never made anew.
const GENERATION: u32 = 1;

impl Funnels {
    /// Lists a campaign although nothing may happen to it.
    pub fn list(&mut self, campaign: &str, has_goal: bool) {
        self.by_campaign.entry(campaign.into()).or_default().has_goal |= has_goal;
    }

    /// Counts outcome lines (contract, section 6), each given once.
    pub fn note<'a>(&mut self, lines: impl IntoIterator<Item = &'a [u8]>) {
        let mut by_campaign: BTreeMap<&str, Vec<Line>> = BTreeMap::new();
        for line in lines {
            self.lines += 1;
            // Of some nothing is counted, and none is of another form: they were written a moment ago.
            if let Ok(Some((campaign, line))) = read(0, self.lines, line) {
                by_campaign.entry(campaign).or_default().push(line);
            }
        }
        for (campaign, lines) in by_campaign {
            if !self.by_campaign.contains_key(campaign) {
                self.list(campaign, false);
            }
            if let Some(counted) = self.by_campaign.get_mut(campaign) {
                counted.tally.fold(GENERATION, &lines);
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Funnel<'_>> {
        let all = self.by_campaign.iter();
        all.map(|(campaign, Counted { tally, has_goal })| Funnel { campaign, has_goal: *has_goal, report: tally.report(None) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_by_campaign_as_they_come() {
        let line = |campaign: &str, more: &str| {
            format!(r#"{{"v":1,"at":"2026-11-20T10:00:00Z","campaign":"{campaign}","user_id":"u1","event_id":"m1",{more}}}"#)
        };
        let sent = |id: &str| format!(r#""type":"decision","outcome":"sent","delivery_id":"{id}""#);
        let mut funnels = Funnels::default();
        funnels.list("listed", true);
        let first = [line("a", &sent("msg_1")), line("b", r#""type":"decision","outcome":"suppressed","reason":"stale""#)];
        funnels.note(first.iter().map(|line| line.as_bytes()));
        let second = [line("a", &sent("msg_2")), line("a", r#""type":"attempt","result":"delivered","delivery_id":"msg_1""#)];
        funnels.note(second.iter().map(|line| line.as_bytes()));
        let shown = funnels.iter().map(|funnel| {
            let totals = funnel.report.totals;
            (funnel.campaign.to_owned(), funnel.has_goal, [totals.matched, totals.sent, totals.delivered, totals.suppressed])
        });
        let expect = [("a", false, [2, 2, 1, 0]), ("b", false, [1, 0, 0, 1]), ("listed", true, [0, 0, 0, 0])];
        assert_eq!(shown.collect::<Vec<_>>(), expect.map(|(key, goal, counts)| (key.to_owned(), goal, counts)));
    }
}

//! A tally as people read it: the funnel, what held back, what failed, day by day, and what came of it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::{Counts, Named, Tally};
use crate::engine::effect::Reason;
use crate::engine::time::Timestamp;

/// The funnel. `matched` = decisions that came to an end; of these `in_audience` got past the audience.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub matched: u64,
    pub in_audience: u64,
    /// Held out as control group.
    pub control: u64,
    /// Held back because the campaign had reached the user: `already_sent`, `resend_wait`.
    pub duplicate: u64,
    /// Held back by a frequency cap.
    pub capped: u64,
    /// Decisions that were put off; each comes to an end later, and is matched then.
    pub deferred: u64,
    pub sent: u64,
    pub delivered: u64,
    pub failed: u64,
    /// All that was held back, for whatever reason.
    pub suppressed: u64,
}

/// One UTC day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayTotals {
    /// Counted from 1970-01-01.
    pub day: i32,
    pub totals: Totals,
}

/// One arm: how often somebody was sent to (or held out), and how many of these led to the goal.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Converting {
    /// Exposures: whoever is sent to twice is counted twice, as an event converts one exposure.
    pub users: u64,
    pub conversions: u64,
    /// 0 without users.
    pub rate: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Arms {
    pub treatment: Converting,
    pub control: Converting,
    /// How much higher the treatment's rate is, as a part of the control's (0.25: a quarter more). `None` where nobody of the control
    /// converted: then nothing can be said.
    pub lift: Option<f64>,
}

/// Everything, for one campaign or over several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// When the counts last changed; `None`: never.
    pub as_of: Option<Timestamp>,
    pub totals: Totals,
    pub reasons: BTreeMap<Box<str>, u64>,
    pub failed_by: BTreeMap<Box<str>, u64>,
    pub by_day: Vec<DayTotals>,
    pub conversions: Arms,
}

/// The gates before the audience, and the audience itself.
pub const BEFORE_AUDIENCE: [Reason; 5] =
    [Reason::CampaignPaused, Reason::CampaignEnded, Reason::LateEvent, Reason::NotInAudience, Reason::HistoryIncomplete];

impl Tally {
    /// The report of all time, or of these UTC days (counted from 1970-01-01), of which [`super::KEPT_DAYS`] are known.
    pub fn report(&self, days: Option<RangeInclusive<i32>>) -> Report {
        let wanted = |day: i32| days.as_ref().is_none_or(|days| days.contains(&day));
        let kept: Vec<_> = self.days.iter().filter(|(day, _)| wanted(*day)).collect();
        let mut report = Report { as_of: self.changed, ..Report::default() };
        match days {
            None => report.count(&self.names, &self.total),
            Some(_) => kept.iter().for_each(|(_, counts)| report.count(&self.names, counts)),
        }
        report.by_day = kept.iter().map(|(day, counts)| DayTotals { day: *day, totals: self.totals(counts) }).collect();
        report.finish();
        report
    }

    fn totals(&self, counts: &Counts) -> Totals {
        let mut report = Report::default();
        report.count(&self.names, counts);
        report.totals
    }
}

impl Report {
    /// Adds another campaign's.
    pub fn merge(&mut self, other: &Report) {
        self.as_of = self.as_of.max(other.as_of);
        self.totals.add(&other.totals);
        let sum = |into: &mut BTreeMap<Box<str>, u64>, from: &BTreeMap<Box<str>, u64>| {
            from.iter().for_each(|(name, count)| *into.entry(name.clone()).or_default() += count);
        };
        sum(&mut self.reasons, &other.reasons);
        sum(&mut self.failed_by, &other.failed_by);
        for of_day in &other.by_day {
            match self.by_day.binary_search_by_key(&of_day.day, |known| known.day) {
                Ok(place) => self.by_day[place].totals.add(&of_day.totals),
                Err(place) => self.by_day.insert(place, of_day.clone()),
            }
        }
        for (into, from) in
            [(&mut self.conversions.treatment, &other.conversions.treatment), (&mut self.conversions.control, &other.conversions.control)]
        {
            into.users += from.users;
            into.conversions += from.conversions;
        }
        self.finish();
    }

    fn count(&mut self, names: &[Box<str>], counts: &Counts) {
        let Counts { sent, deferred, delivered, failed, held, taken_back, causes, converted } = counts;
        let name = |place: u8| names.get(usize::from(place)).map_or(super::OTHER, |name| &**name);
        let of = |named: &Named, reasons: &[Reason]| -> u64 {
            let is_one = |place: u8| reasons.iter().any(|reason| reason.as_str() == name(place));
            named.iter().filter(|(place, _)| is_one(*place)).map(|(_, count)| count).sum()
        };
        let all = |named: &Named| -> u64 { named.iter().map(|(_, count)| count).sum() };
        let matched = sent + all(held);
        self.totals.add(&Totals {
            matched,
            in_audience: matched - of(held, &BEFORE_AUDIENCE),
            control: of(held, &[Reason::ControlGroup]),
            duplicate: of(held, &[Reason::AlreadySent, Reason::ResendWait]),
            capped: of(held, &[Reason::FrequencyCap]),
            deferred: *deferred,
            sent: *sent,
            delivered: *delivered,
            failed: *failed,
            suppressed: all(held) + all(taken_back),
        });
        let into = |named: &Named, known: &mut BTreeMap<Box<str>, u64>| {
            named.iter().for_each(|(place, count)| *known.entry(name(*place).into()).or_default() += count);
        };
        into(held, &mut self.reasons);
        into(taken_back, &mut self.reasons);
        into(causes, &mut self.failed_by);
        let Arms { treatment, control, .. } = &mut self.conversions;
        treatment.users += sent.saturating_sub(all(taken_back));
        control.users += of(held, &[Reason::ControlGroup]) + of(taken_back, &[Reason::ControlGroup]);
        treatment.conversions += converted[0];
        control.conversions += converted[1];
    }

    fn finish(&mut self) {
        let Arms { treatment, control, lift } = &mut self.conversions;
        for arm in [&mut *treatment, &mut *control] {
            arm.rate = if arm.users == 0 { 0.0 } else { arm.conversions as f64 / arm.users as f64 };
        }
        *lift = (control.rate > 0.0 && treatment.users > 0).then(|| treatment.rate / control.rate - 1.0);
    }
}

impl Totals {
    fn add(&mut self, other: &Totals) {
        let Totals { matched, in_audience, control, duplicate, capped, deferred, sent, delivered, failed, suppressed } = other;
        self.matched += matched;
        self.in_audience += in_audience;
        self.control += control;
        self.duplicate += duplicate;
        self.capped += capped;
        self.deferred += deferred;
        self.sent += sent;
        self.delivered += delivered;
        self.failed += failed;
        self.suppressed += suppressed;
    }
}

//! Measuring what is kept, as of one instant, and saying how much of it is known.

use std::collections::BTreeMap;

use super::tracker::{self, Tracker, What};
use super::trackers::needed_for_absence;
use super::{Trackers, distinct, samples, totals};
use crate::engine::condition::Truth;
use crate::engine::definition::{Absence, Bound, Did, Measure, Window};
use crate::engine::id::TrackerId;
use crate::engine::record::{Data, Kept, Totals};
use crate::engine::time::Timestamp;

/// A user's past, seen from one instant.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    pub kept: &'a Kept,
    pub trackers: &'a Trackers,
    /// `tracked_since` of each tracker. One that is missing has seen nothing; [`Timestamp::MIN`]: everything that ever happened.
    pub tracked: &'a BTreeMap<TrackerId, Timestamp>,
    /// Windows end here, included. For the triggering event to count, not before its time, which may be minutes ahead of the
    /// clock.
    pub at: Timestamp,
}

/// What a `did` came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    pub found: Found,
    /// Since when the history is known that this was measured in.
    pub since: Timestamp,
    /// By what is known, as if nothing else had happened.
    pub as_known: bool,
    /// Unknown where something that happened before `since` could change it.
    pub truth: Truth,
}

/// `None`: there is nothing to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found {
    Number(Option<f64>),
    Time(Option<Timestamp>),
}

impl History<'_> {
    pub fn measure(&self, did: &Did) -> Measured {
        let Source { found, since } = self.find(did);
        let complete = self.is_whole(window_of(did), since);
        let (as_known, truth) = match (found, &did.measure) {
            (Found::Time(first), Measure::First(window)) => self.judge_first(first, *window, since),
            (Found::Time(last), Measure::Last(window)) => self.judge_last(last, *window, since),
            (Found::Number(number), measure) => judge_number(measure, number, complete),
            (Found::Time(_), _) => (false, Truth::Unknown),
        };
        Measured { found, since, as_known, truth }
    }

    /// The next instant after this one at which passing time alone changes what [`History::measure`] says.
    pub fn changes_after(&self, did: &Did) -> Option<Timestamp> {
        let Window::InLast(within) = window_of(did) else { return None };
        let now = self.measure(did);
        let (own, ahead) = self.trackers.answering(&did.pattern, &tracker::needed(did));
        let mut moments = Vec::new();
        for tracker in [own, ahead].into_iter().flatten() {
            let mut edge = |at: Timestamp| moments.extend([at, at.after(within)]);
            edge(self.since(tracker.id));
            self.data(tracker).into_iter().for_each(|data| each_time(data, &mut edge));
        }
        moments.retain(|moment| *moment > self.at && *moment < Timestamp::MAX);
        moments.sort_unstable();
        moments.dedup();
        let is_other = |moment: &Timestamp| {
            let then = History { at: *moment, ..*self }.measure(did);
            (then.as_known, then.truth) != (now.as_known, now.truth)
        };
        moments.into_iter().find(is_other)
    }

    /// Since when a tracker's history is known for this user.
    fn since(&self, tracker: TrackerId) -> Timestamp {
        let since = self.tracked.get(&tracker).copied().unwrap_or(Timestamp::MAX);
        self.kept.lost.map_or(since, |lost| lost.max(since))
    }

    fn data(&self, tracker: &Tracker) -> Option<&Data> {
        let tracked = &self.kept.tracked;
        tracked.binary_search_by_key(&tracker.id, |one| one.tracker).ok().and_then(|place| tracked.get(place)).map(|one| &one.data)
    }

    /// What the own tracker says, or the one that remembers ahead where it goes back further and can tell.
    fn find(&self, did: &Did) -> Source {
        let (own, ahead) = self.trackers.answering(&did.pattern, &tracker::needed(did));
        let of_own = match own {
            Some(own) => Source { found: self.found(did, self.data(own)), since: self.since(own.id) },
            None => Source { found: self.found(did, None), since: Timestamp::MAX },
        };
        let of_ahead = ahead.filter(|ahead| self.since(ahead.id) < of_own.since).and_then(|ahead| {
            let found = self.found_ahead(did, self.data(ahead))?;
            Some(Source { found, since: self.since(ahead.id) })
        });
        of_ahead.unwrap_or(of_own)
    }

    fn found(&self, did: &Did, data: Option<&Data>) -> Found {
        match (&did.measure, data) {
            (Measure::First(_), Some(Data::Ends { first, .. })) => Found::Time(Some(*first)),
            (Measure::Last(_), Some(Data::Ends { last, .. })) => Found::Time(Some(*last)),
            (Measure::Last(_), Some(Data::Newest(newest))) => Found::Time(self.newest_by_now(newest)),
            (Measure::First(_) | Measure::Last(_), _) => Found::Time(None),
            (Measure::Count(_), _) => Found::Number(Some(self.count(did.window, data) as f64)),
            (Measure::Sum(..), _) => Found::Number(Some(totals::sum(&self.totals(did.window, data)))),
            (Measure::Avg(..), _) => {
                let sum = self.totals(did.window, data);
                Found::Number((sum.count > 0).then(|| totals::sum(&sum) / sum.count as f64))
            }
            (Measure::Min(..), _) => {
                let sum = self.totals(did.window, data);
                Found::Number((sum.count > 0).then_some(sum.min))
            }
            (Measure::Max(..), _) => {
                let sum = self.totals(did.window, data);
                Found::Number((sum.count > 0).then_some(sum.max))
            }
            (Measure::Distinct(..), Some(Data::Distinct(kept))) => {
                // Between two dates nothing else is kept, and both belong to it.
                let after = if matches!(did.window, Window::Between(..)) { Timestamp::MIN } else { self.begins(did.window) };
                Found::Number(Some(distinct::measure(kept, after) as f64))
            }
            (Measure::Distinct(..), _) => Found::Number(Some(0.0)),
        }
    }

    /// `None`: too much happened for what is kept ahead.
    fn found_ahead(&self, did: &Did, data: Option<&Data>) -> Option<Found> {
        let (count, first, newest) = match data {
            Some(Data::Ahead { count, first, newest }) => (*count, Some(*first), newest.as_slice()),
            _ => (0, None, [].as_slice()),
        };
        let reaches = |from: Timestamp| newest.len() as u64 == count || newest.first().is_some_and(|oldest| *oldest <= from);
        let counted = |within: &dyn Fn(Timestamp) -> bool| Found::Number(Some(newest.iter().filter(|at| within(**at)).count() as f64));
        match (&did.measure, did.window) {
            (Measure::First(_), _) => Some(Found::Time(first)),
            (Measure::Last(_), _) => Some(Found::Time(self.newest_by_now(newest))),
            (Measure::Count(_), Window::Ever) => Some(Found::Number(Some(count as f64))),
            (Measure::Count(_), Window::Between(from, until)) => {
                reaches(from.before(std::time::Duration::from_millis(1))).then(|| counted(&|at| from <= at && at <= until))
            }
            (Measure::Count(_), Window::InLast(_)) => {
                let after = self.begins(did.window);
                let decided = matches!(tracker::needed(did), What::Newest { n, .. } if n as usize <= newest.len());
                (decided || reaches(after)).then(|| counted(&|at| after < at && at <= self.at))
            }
            _ => None,
        }
    }

    fn newest_by_now(&self, newest: &[Timestamp]) -> Option<Timestamp> {
        newest.iter().rev().copied().find(|at| *at <= self.at)
    }

    fn count(&self, window: Window, data: Option<&Data>) -> u64 {
        match data {
            Some(Data::Count(count)) => *count,
            Some(Data::Newest(newest)) => {
                let after = self.begins(window);
                newest.iter().filter(|at| after < **at && **at <= self.at).count() as u64
            }
            _ => self.totals(window, data).count,
        }
    }

    fn totals(&self, window: Window, data: Option<&Data>) -> Totals {
        match data {
            Some(Data::Totals(sum)) => *sum,
            Some(Data::Samples(kept)) => samples::measure(kept, self.begins(window), self.at),
            _ => totals::NONE,
        }
    }

    /// The instant after which a window lies; what is known since then is all of it.
    fn begins(&self, window: Window) -> Timestamp {
        match window {
            Window::Ever => Timestamp::MIN,
            Window::InLast(within) => self.at.before(within),
            Window::Between(from, _) => from,
        }
    }

    /// Whether what is known since then is all that the window asks for. Without a window, what came before anybody asked counts as not
    /// having happened (`validate` and `start` warn of it); what was known and given up does not.
    fn is_whole(&self, window: Window, since: Timestamp) -> bool {
        match window {
            Window::Ever => since <= self.at && self.kept.lost.is_none(),
            Window::InLast(_) | Window::Between(..) => since <= self.begins(window),
        }
    }

    fn contains(&self, window: Window, at: Timestamp) -> bool {
        match window {
            Window::Ever => true,
            Window::InLast(_) => self.begins(window) < at && at <= self.at,
            Window::Between(from, until) => from <= at && at <= until,
        }
    }

    /// A first time is one by absence before it. As far as the window goes back that must be known; what lies before it is taken as
    /// known, or nothing could ever be a first time.
    fn judge_first(&self, first: Option<Timestamp>, window: Window, since: Timestamp) -> (bool, Truth) {
        let as_known = first.is_some_and(|first| self.contains(window, first));
        let begins = self.begins(window);
        let decided = self.is_whole(window, since) || first.is_some_and(|first| window == Window::Ever || (first <= begins && !as_known));
        (as_known, if decided { Truth::from(as_known) } else { Truth::Unknown })
    }

    /// A last time is one by absence after it.
    fn judge_last(&self, last: Option<Timestamp>, window: Window, since: Timestamp) -> (bool, Truth) {
        let as_known = last.is_some_and(|last| self.contains(window, last));
        let ends = match window {
            Window::Between(_, until) => until,
            Window::Ever | Window::InLast(_) => self.at,
        };
        let decided = match last {
            _ if self.is_whole(window, since) => true,
            Some(last) if as_known => since <= last.max(ends),
            Some(last) => last > ends,
            None => false,
        };
        // Of what lies in the window now, nothing unknown can come later than now.
        let decided = decided || (as_known && !matches!(window, Window::Between(..)));
        (as_known, if decided { Truth::from(as_known) } else { Truth::Unknown })
    }
}

/// T4: whether `without` did not happen before, as of `history.at`, the time of `after`; unknown where that is not known for the whole
/// span. `itself`: the event that is `after` is a `without` too, and does not count.
pub fn never(history: &History, absence: &Absence, itself: bool) -> Truth {
    before(history, absence, itself).never
}

/// What is known of a `without` before its `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    pub never: Truth,
    /// The last time that it happened in the span, as far as that is kept.
    pub last: Option<Timestamp>,
    /// Since when the past is known.
    pub since: Timestamp,
}

/// As [`never`], with what it looked at.
pub fn before(history: &History, absence: &Absence, itself: bool) -> Before {
    let at = history.at;
    let begins = absence.in_last.map_or(Timestamp::MIN, |within| at.before(within));
    let counts = |one: Timestamp| begins < one && if itself { one < at } else { one <= at };
    let (own, ahead) = history.trackers.answering(&absence.without, &needed_for_absence(absence));
    let (mut last, mut since) = (None, Timestamp::MAX);
    for tracker in [own, ahead].into_iter().flatten() {
        history
            .data(tracker)
            .into_iter()
            .for_each(|data| each_time(data, &mut |one| last = last.max(Some(one).filter(|one| counts(*one)))));
        since = since.min(history.since(tracker.id));
    }
    let known = match absence.in_last {
        Some(_) => since <= begins,
        None => history.is_whole(Window::Ever, since),
    };
    let never = match last {
        Some(_) => Truth::False,
        None if known => Truth::True,
        None => Truth::Unknown,
    };
    Before { never, last, since }
}

struct Source {
    found: Found,
    since: Timestamp,
}

/// Over which time something is measured.
fn window_of(did: &Did) -> Window {
    match did.measure {
        Measure::First(window) | Measure::Last(window) => window,
        _ => did.window,
    }
}

fn each_time(data: &Data, show: &mut dyn FnMut(Timestamp)) {
    match data {
        Data::Count(_) | Data::Totals(_) => {}
        Data::Ends { first, last } => [*first, *last].into_iter().for_each(show),
        Data::Newest(newest) => newest.iter().copied().for_each(show),
        Data::Samples(kept) => samples::times(kept).for_each(show),
        Data::Distinct(kept) => kept.values.iter().for_each(|(_, at)| show(*at)),
        Data::Ahead { first, newest, .. } => std::iter::once(first).chain(newest).copied().for_each(show),
    }
}

/// What is known of a number: it lies between these, both included.
#[derive(Clone, Copy)]
struct Range {
    low: f64,
    high: f64,
}

fn judge_number(measure: &Measure, number: Option<f64>, complete: bool) -> (bool, Truth) {
    // What is not known can only add: a count, a sum (of prices, points: of what is added up) and a maximum grow, a minimum falls. An
    // average may have been anything.
    let (bounds, low, high) = match measure {
        Measure::Count(bounds) | Measure::Sum(_, bounds) | Measure::Distinct(_, bounds) | Measure::Max(_, bounds) => {
            (bounds, number, Some(f64::INFINITY))
        }
        Measure::Min(_, bounds) => (bounds, Some(f64::NEG_INFINITY), number),
        Measure::Avg(_, bounds) => (bounds, Some(f64::NEG_INFINITY), Some(f64::INFINITY)),
        Measure::First(_) | Measure::Last(_) => return (false, Truth::Unknown),
    };
    let holds = |range: Range| Truth::all(bounds.iter().map(|bound| judge_bound(bound, range)));
    let as_known = number.is_some_and(|number| holds(Range { low: number, high: number }) == Truth::True);
    let truth = match (complete, low, high) {
        (true, ..) => Truth::from(as_known),
        (false, Some(low), Some(high)) => holds(Range { low, high }),
        (false, ..) => Truth::Unknown,
    };
    (as_known, truth)
}

fn judge_bound(bound: &Bound, Range { low, high }: Range) -> Truth {
    let decided = |always: bool, never: bool| match (always, never) {
        (true, _) => Truth::True,
        (_, true) => Truth::False,
        _ => Truth::Unknown,
    };
    match *bound {
        Bound::Eq(number) => decided(low == number && high == number, number < low || high < number),
        Bound::Ne(number) => decided(number < low || high < number, low == number && high == number),
        Bound::Gt(number) => decided(low > number, high <= number),
        Bound::Gte(number) => decided(low >= number, high < number),
        Bound::Lt(number) => decided(high < number, low >= number),
        Bound::Lte(number) => decided(high <= number, low > number),
        Bound::Between(from, to) => decided(from <= low && high <= to, high < from || to < low),
    }
}

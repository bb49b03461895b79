//! F3, F4: how much of each frequency cap is used up, and when it frees. Counts sends, never attempts.

use std::ops::Range;
use std::time::Duration;

use crate::engine::calendar::{self, Zone};
use crate::engine::definition::{Campaign, FrequencyCap, Period};
use crate::engine::id::stable_hash;
use crate::engine::record::{CountedSend, Ledger};
use crate::engine::time::Timestamp;

/// Counted sends a ledger keeps even if no cap asks for them: a cap that is defined tomorrow finds them.
pub const MIN_COUNTED_SENDS: usize = 16;

/// Longer than any window of a cap: 30 days (contract, section 3), a month of 31 that the clock makes longer, in a zone that the
/// user has just come to. Older sends are forgotten.
pub const LONGEST_CAP: Duration = Duration::from_secs(33 * DAY_S);

const DAY_S: u64 = 86_400;

/// A cap that a send would count in, and what counts in it now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counted<'a> {
    pub cap: &'a FrequencyCap,
    pub sends: usize,
    /// The first instant at which one more is allowed, if no other comes before it; `None` while it is allowed now, and when it
    /// never is.
    pub frees: Option<Timestamp>,
}

impl Counted<'_> {
    /// Whether one more send would exceed the cap.
    pub fn is_full(&self) -> bool {
        self.sends >= limit(self.cap)
    }
}

/// The caps that concern this campaign, in the order of their definition. `zone` is asked for the user's zone only where a calendar
/// decides.
pub fn counted<'a>(
    ledger: &'a Ledger,
    campaign: &'a Campaign,
    caps: &'a [FrequencyCap],
    now: Timestamp,
    zone: impl Fn() -> Zone + 'a,
) -> impl Iterator<Item = Counted<'a>> {
    concerned(campaign, caps).map(move |cap| count(ledger, cap, now, &zone))
}

/// Those of [`counted`] that one more send would exceed.
pub fn exceeded<'a>(
    ledger: &'a Ledger,
    campaign: &'a Campaign,
    caps: &'a [FrequencyCap],
    now: Timestamp,
    zone: impl Fn() -> Zone + 'a,
) -> impl Iterator<Item = Counted<'a>> {
    // Labels are hashed, and days computed, only where it may come to that.
    let reachable = concerned(campaign, caps).filter(|cap| ledger.sends.len() >= limit(cap));
    reachable.map(move |cap| count(ledger, cap, now, &zone)).filter(Counted::is_full)
}

/// A send stays while it is among the newest [`MIN_COUNTED_SENDS`], or among the newest `limit` that some cap counts: more than
/// that no cap needs, less would let mails push the text messages out of sight.
pub(super) fn prune(ledger: &mut Ledger, caps: &[FrequencyCap], now: Timestamp) {
    ledger.sends.retain(|send| send.at > now.before(LONGEST_CAP));
    if ledger.sends.len() <= MIN_COUNTED_SENDS {
        return;
    }
    let mut room: Vec<(u32, Vec<Label>, Timestamp)> =
        caps.iter().map(|cap| (cap.limit, labels_of_cap(cap), now.before(longest(cap)))).collect();
    let count = ledger.sends.len();
    let mut kept: Vec<bool> = vec![false; count];
    for (place, send) in ledger.sends.iter().enumerate().rev() {
        kept[place] = place + MIN_COUNTED_SENDS >= count;
        for (left, labels, from) in &mut room {
            if *left > 0 && send.at > *from && carries(send, labels) {
                *left -= 1;
                kept[place] = true;
            }
        }
    }
    let mut kept = kept.into_iter();
    ledger.sends.retain(|_| kept.next().unwrap_or(true));
}

/// The caps that its sends count in and may be stopped by.
pub fn concerned<'a>(campaign: &'a Campaign, caps: &'a [FrequencyCap]) -> impl Iterator<Item = &'a FrequencyCap> {
    let caps = if campaign.fatigue.frequency_cap { caps } else { &[] };
    caps.iter().filter(|cap| {
        let channel = cap.channel.as_ref().is_none_or(|channel| campaign.channel.as_ref() == Some(channel));
        channel && cap.tag.as_ref().is_none_or(|tag| campaign.tags.contains(tag))
    })
}

fn count<'a>(ledger: &Ledger, cap: &'a FrequencyCap, now: Timestamp, zone: impl Fn() -> Zone) -> Counted<'a> {
    let labels = labels_of_cap(cap);
    let carrying = ledger.sends.iter().filter(|send| carries(send, &labels)).map(|send| send.at);
    match cap.period {
        Period::Sliding(span) => {
            let within: Vec<Timestamp> = carrying.filter(|at| *at > now.before(span)).collect();
            // The oldest leave first, each when it is `span` old; after this one, one more is allowed.
            let last = within.len().checked_sub(limit(cap)).and_then(|place| within.get(place));
            Counted { cap, sends: within.len(), frees: last.map(|at| at.after(span)) }
        }
        Period::Calendar(unit) => {
            let Range { start, end } = calendar::window(unit, now, &zone());
            let sends = carrying.filter(|at| *at >= start).count();
            Counted { cap, sends, frees: (sends >= limit(cap) && cap.limit > 0).then_some(end) }
        }
    }
}

fn limit(cap: &FrequencyCap) -> usize {
    usize::try_from(cap.limit).unwrap_or(usize::MAX)
}

/// How far back a cap can reach, whatever the zone: a day may have 48 hours where one was skipped before it.
fn longest(cap: &FrequencyCap) -> Duration {
    match cap.period {
        Period::Sliding(span) => span,
        Period::Calendar(calendar::Period::Day) => Duration::from_secs(2 * DAY_S),
        Period::Calendar(calendar::Period::Week) => Duration::from_secs(9 * DAY_S),
        Period::Calendar(calendar::Period::Month) => LONGEST_CAP,
    }
}

/// A channel or a tag in four bytes. Two that collide count for each other, once in four thousand million pairs.
type Label = [u8; 4];

fn label(kind: &str, name: &str) -> Label {
    let hash = stable_hash(&[kind.as_bytes(), name.as_bytes()]).to_le_bytes();
    [hash[0], hash[1], hash[2], hash[3]]
}

pub(super) fn labels(channel: Option<&str>, tags: &[Box<str>]) -> Vec<Label> {
    channel.map(|name| label("channel", name)).into_iter().chain(tags.iter().map(|name| label("tag", name))).collect()
}

fn labels_of_cap(cap: &FrequencyCap) -> Vec<Label> {
    labels(cap.channel.as_deref(), cap.tag.as_slice())
}

fn carries(send: &CountedSend, labels: &[Label]) -> bool {
    labels.iter().all(|label| send.labels.contains(label))
}

//! Actions: several events that all happened, in any or in a given order, the last less than `within` after the first.
//!
//! All by the events' own time, so that what is read out of order counts as what it is. Of a repeated event the latest counts, a
//! completed set is used up, and no event stands for two. What is kept is bounded in sets and in events. Nothing here sends.

use std::time::Duration;

use crate::engine::definition::{Actions, Order};
use crate::engine::id::CampaignId;
use crate::engine::record::{Happened, Sequence};
use crate::engine::time::Timestamp;

use super::correlation::Key;

/// Incomplete sets of a user, over all campaigns and correlating values; the one that is longest without news gives way.
pub const MAX_SEQUENCES: usize = 32;

/// Events kept of one set; the oldest gives way. Twice the events that a set can have: repeats between them may matter.
pub const MAX_HAPPENED: usize = 16;

/// The place of the set of this campaign and key, made if there is none. `version` is the campaign's.
pub fn sequence(sequences: &mut Vec<Sequence>, campaign: CampaignId, key: Key, version: u32) -> &mut Sequence {
    let known = sequences.iter().position(|sequence| sequence.campaign == campaign && sequence.key == key);
    let place = known.unwrap_or_else(|| {
        if sequences.len() >= MAX_SEQUENCES {
            let stalest = (0..sequences.len()).min_by_key(|place| sequences[*place].happened.last().map(|last| last.timestamp));
            stalest.map(|place| sequences.remove(place));
        }
        sequences.push(Sequence { campaign, key, version, happened: Vec::new() });
        sequences.len() - 1
    });
    &mut sequences[place]
}

/// Adds an event. The completed set in the order of the definition, if it completes one: what belongs to it, and what is older, is
/// gone from the sequence then.
pub fn add(sequence: &mut Sequence, actions: &Actions, event: Happened) -> Option<Vec<Happened>> {
    let happened = &mut sequence.happened;
    let place = happened.partition_point(|known| known.timestamp <= event.timestamp);
    happened.insert(place, event);
    let chosen = match actions.order {
        Order::Given => in_order(happened, actions),
        Order::Any => in_any_order(happened, actions),
    };
    // Only now: what is read late may complete a set with what is older than a repeat.
    let Some(chosen) = chosen else {
        thin(happened, actions.order);
        return None;
    };
    let last = chosen.iter().copied().max()?;
    let later = happened.split_off(last + 1);
    let used = std::mem::replace(happened, later);
    Some(chosen.into_iter().filter_map(|place| used.get(place).cloned()).collect())
}

/// Forgets sets that `keep` denies, and events that cannot complete one any more: all that are still to be read happened at `horizon`
/// or later. `keep` answers how long a set of the campaign may take.
pub fn prune(sequences: &mut Vec<Sequence>, horizon: Timestamp, keep: impl Fn(CampaignId) -> Keep) {
    sequences.retain_mut(|sequence| {
        match keep(sequence.campaign) {
            Keep::No => sequence.happened.clear(),
            Keep::All => {}
            Keep::Within(span) => sequence.happened.retain(|known| known.timestamp > horizon.before(span)),
        }
        !sequence.happened.is_empty()
    });
}

/// What is kept of a campaign's sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    No,
    All,
    Within(Duration),
}

/// Of events that mean the same, those count that are the latest: as many as they can stand for. In a given order only those that
/// follow each other immediately are such, for an earlier one may be what came before another.
fn thin(happened: &mut Vec<Happened>, order: Order) {
    let mut place = happened.len();
    while place > 0 {
        place -= 1;
        let meets = happened[place].meets;
        let later = happened[place + 1..].iter();
        let repeats = match order {
            Order::Any => later.filter(|later| later.meets == meets).count(),
            Order::Given => later.take_while(|later| later.meets == meets).count(),
        };
        if repeats >= meets.count_ones() as usize {
            happened.remove(place);
        }
    }
    let excess = happened.len().saturating_sub(MAX_HAPPENED);
    happened.drain(..excess);
}

/// The set that ends last and of those begins last: backwards from an end, each time the latest that comes before.
fn in_order(happened: &[Happened], actions: &Actions) -> Option<Vec<usize>> {
    let count = actions.events.len();
    let mut ends = (0..happened.len()).rev().filter(|end| meets(&happened[*end], count.wrapping_sub(1)));
    ends.find_map(|end| {
        let mut chosen = vec![end];
        for event in (0..count - 1).rev() {
            let before = *chosen.last()?;
            chosen.push((0..before).rev().find(|place| meets(&happened[*place], event))?);
        }
        chosen.reverse();
        let first = happened.get(*chosen.first()?)?;
        is_within(actions, first.timestamp, happened[end].timestamp).then_some(chosen)
    })
}

/// For each possible end, the latest first: one event each among those that lie less than `within` before it.
fn in_any_order(happened: &[Happened], actions: &Actions) -> Option<Vec<usize>> {
    (0..happened.len()).rev().find_map(|end| {
        let latest_first = || (0..=end).rev().filter(|place| is_within(actions, happened[*place].timestamp, happened[end].timestamp));
        let mut chosen: Vec<Option<usize>> = vec![None; actions.events.len()];
        let places: Vec<usize> = latest_first().collect();
        let complete = (0..chosen.len()).all(|event| assign(event, happened, &places, &mut chosen, &mut Vec::new()));
        complete.then(|| chosen.into_iter().flatten().collect())
    })
}

/// Finds an event a place, moving others to other places where they stand in its way (an augmenting path, Kuhn 1955).
fn assign(event: usize, happened: &[Happened], places: &[usize], chosen: &mut [Option<usize>], tried: &mut Vec<usize>) -> bool {
    for place in places.iter().copied().filter(|place| meets(&happened[*place], event)) {
        if tried.contains(&place) {
            continue;
        }
        tried.push(place);
        let holder = chosen.iter().position(|taken| *taken == Some(place));
        if holder.is_none_or(|holder| assign(holder, happened, places, chosen, tried)) {
            chosen[event] = Some(place);
            return true;
        }
    }
    false
}

fn meets(happened: &Happened, event: usize) -> bool {
    u32::try_from(event).is_ok_and(|event| happened.meets.checked_shr(event).is_some_and(|rest| rest & 1 == 1))
}

fn is_within(actions: &Actions, first: Timestamp, last: Timestamp) -> bool {
    actions.within.is_none_or(|within| last < first.after(within))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::definition::{Condition, Pattern};

    /// Plays events such as `a10 b20 ab30` (letters: the events of the definition it meets; number: its time) for a set of as many
    /// letters as `count`. Shows each completed set by its times, and at last what is kept.
    fn play(count: usize, order: Order, within: Option<u64>, events: &str) -> String {
        let pattern = Pattern { event: "e".into(), condition: Condition::ALWAYS };
        let within = within.map(Duration::from_millis);
        let actions = Actions { events: vec![pattern; count], order, within, same: Vec::new() };
        let mut sequences = Vec::new();
        let mut shown = Vec::new();
        let times = |events: &[Happened]| events.iter().map(|event| event.timestamp.0.to_string()).collect::<Vec<_>>().join("+");
        for event in events.split_whitespace() {
            let digits = event.find(|c: char| c.is_ascii_digit()).unwrap();
            let meets = event[..digits].bytes().fold(0, |meets, letter| meets | 1 << (letter - b'a'));
            let happened = Happened {
                meets,
                event: "e".into(),
                message_id: event.into(),
                timestamp: Timestamp(event[digits..].parse().unwrap()),
                properties: Default::default(),
                depth: 0,
            };
            let sequence = sequence(&mut sequences, CampaignId(1), [0; 8], 1);
            shown.extend(add(sequence, &actions, happened).map(|set| times(&set)));
        }
        shown.push(format!("[{}]", times(&sequences[0].happened)));
        shown.join(" ")
    }

    #[test]
    fn any_order() {
        let check = |count, within, events: &str, expect: &str| assert_eq!(play(count, Order::Any, within, events), expect, "{events}");
        check(2, None, "a1 b2", "1+2 []");
        check(2, None, "b1 a2", "2+1 []");
        check(2, None, "a1 a2 b3", "2+3 []");
        check(2, None, "a1 b2 b3 a4 b5", "1+2 4+3 [5]");
        check(3, None, "c1 a2 a3 b4", "3+4+1 []");
        // Read out of order.
        check(2, None, "b9 a1", "1+9 []");
        check(2, None, "a5 a3 b4", "5+4 []");
        // The last less than `within` after the first.
        check(2, Some(10), "a1 b11", "[1+11]");
        check(2, Some(10), "a1 b10", "1+10 []");
        check(2, Some(10), "a1 b20 a25", "25+20 []");
        check(2, Some(10), "a1 b50 b5", "1+5 [50]");
        // No event stands for two.
        check(2, None, "ab1", "[1]");
        check(2, None, "ab1 ab2", "1+2 []");
        check(2, None, "ab1 a2", "2+1 []");
        check(2, None, "a1 ab2 a3", "1+2 [3]");
        check(3, None, "ab1 ab2 bc3", "1+2+3 []");
    }

    #[test]
    fn given_order() {
        let check = |count, within, events: &str, expect: &str| assert_eq!(play(count, Order::Given, within, events), expect, "{events}");
        check(2, None, "a1 b2", "1+2 []");
        check(2, None, "b1 a2", "[1+2]");
        check(2, None, "b1 a2 b3", "2+3 []");
        check(3, None, "a1 b2 a3 c4", "1+2+4 []");
        check(3, None, "a1 b2 a3 b4 c5", "3+4+5 []");
        check(3, None, "a1 a2 b3 b4 c5", "2+4+5 []");
        check(3, Some(10), "a1 b5 c11", "[1+5+11]");
        check(3, Some(10), "a1 b5 a6 b7 c11", "6+7+11 []");
        // Read out of order.
        check(2, None, "b9 a1", "1+9 []");
        check(3, None, "c9 b5 a1", "1+5+9 []");
        check(2, None, "a9 b5 a1", "1+5 [9]");
        // In the same millisecond the order of reading.
        check(2, None, "a1 b1", "1+1 []");
        check(2, None, "b1 a1", "[1+1]");
        // No event stands for two.
        check(2, None, "ab1", "[1]");
        check(2, None, "ab1 ab2", "1+2 []");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let alternating: String = (0..40).map(|i| format!("{}{i} ", if i % 2 == 0 { 'b' } else { 'a' })).collect();
        let kept = play(3, Order::Given, None, &alternating);
        assert_eq!(kept.matches('+').count() + 1, MAX_HAPPENED, "{kept}");
        let mut sequences = Vec::new();
        for key in 0..=MAX_SEQUENCES {
            let happened = Happened {
                meets: 1,
                event: "e".into(),
                message_id: "m".into(),
                timestamp: Timestamp(key as i64),
                properties: Default::default(),
                depth: 0,
            };
            sequence(&mut sequences, CampaignId(1), [key as u8; 8], 1).happened.push(happened);
        }
        assert_eq!((sequences.len(), sequences[0].key), (MAX_SEQUENCES, [1; 8]));
    }

    #[test]
    fn what_cannot_be_completed_is_forgotten() {
        let check = |keep, horizon, expect: &[i64]| {
            let happened = |at| Happened {
                meets: 1,
                event: "e".into(),
                message_id: "m".into(),
                timestamp: Timestamp(at),
                properties: Default::default(),
                depth: 0,
            };
            let mut sequences =
                vec![Sequence { campaign: CampaignId(1), key: [0; 8], version: 1, happened: vec![happened(10), happened(20)] }];
            prune(&mut sequences, Timestamp(horizon), |_| keep);
            let kept: Vec<i64> = sequences.iter().flat_map(|sequence| sequence.happened.iter().map(|known| known.timestamp.0)).collect();
            assert_eq!(kept, expect, "{keep:?} {horizon}");
        };
        check(Keep::All, 1000, &[10, 20]);
        check(Keep::No, 0, &[]);
        check(Keep::Within(Duration::from_millis(5)), 14, &[10, 20]);
        check(Keep::Within(Duration::from_millis(5)), 15, &[20]);
        check(Keep::Within(Duration::from_millis(5)), 25, &[]);
    }
}

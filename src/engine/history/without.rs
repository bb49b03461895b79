//! Instants of the `without` events of inaction campaigns: one that is read before its `after` must still cancel it. Bounded in
//! lists and in instants; it keeps times, never the events.

use crate::engine::id::CampaignId;
use crate::engine::record::{Instants, Kept};
use crate::engine::time::Timestamp;

/// Lists a record has at most, over all campaigns and correlating values; the one that is longest without news gives way.
pub const MAX_LISTS: usize = 32;

/// Instants a list has at most; the oldest gives way, for the newest is the likeliest to lie in the window of what comes late.
pub const MAX_INSTANTS: usize = 8;

/// Notes that a campaign's `without` happened at `at`.
pub fn note(kept: &mut Kept, tracker: CampaignId, key: [u8; 8], at: Timestamp) {
    let history = &mut kept.without;
    let Some(list) = history.iter_mut().find(|list| list.tracker == tracker && list.key == key) else {
        if history.len() >= MAX_LISTS {
            let stalest = (0..history.len()).min_by_key(|i| history[*i].at.last().copied());
            stalest.map(|i| history.swap_remove(i));
        }
        history.push(Instants { tracker, key, at: vec![at] });
        return;
    };
    let place = list.at.partition_point(|known| *known < at);
    if list.at.get(place) != Some(&at) {
        list.at.insert(place, at);
    }
    if list.at.len() > MAX_INSTANTS {
        list.at.remove(0);
    }
}

/// Whether a campaign's `without` is known to have happened within [from, until).
pub fn any_within(kept: &Kept, tracker: CampaignId, key: [u8; 8], from: Timestamp, until: Timestamp) -> bool {
    let mut lists = kept.without.iter().filter(|list| list.tracker == tracker && list.key == key);
    lists.any(|list| list.at.iter().any(|at| *at >= from && *at < until))
}

/// Drops what happened before `horizon`, the oldest time that an event still to be read can have.
pub(super) fn prune(history: &mut Vec<Instants>, horizon: Timestamp) {
    for list in history.iter_mut() {
        list.at.retain(|at| *at >= horizon);
    }
    history.retain(|list| !list.at.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMPAIGN: CampaignId = CampaignId(1);

    fn noted(instants: &[i64]) -> Kept {
        let mut history = Kept::default();
        instants.iter().for_each(|at| note(&mut history, CAMPAIGN, [0; 8], Timestamp(*at)));
        history
    }

    #[test]
    fn instants_are_sorted_unique_and_bounded() {
        let check = |instants: &[i64], expect: &[i64]| {
            let kept: Vec<i64> = noted(instants).without[0].at.iter().map(|at| at.0).collect();
            assert_eq!(kept, expect, "{instants:?}");
        };
        check(&[3, 1, 2, 2, 3], &[1, 2, 3]);
        check(&[1, 2, 3, 4, 5, 6, 7, 8, 9], &[2, 3, 4, 5, 6, 7, 8, 9]);
        check(&[9, 8, 7, 6, 5, 4, 3, 2, 1], &[2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn windows_are_half_open_and_apart_by_campaign_and_key() {
        let history = noted(&[10, 20]);
        let check = |tracker, key, from, until, expect| {
            assert_eq!(any_within(&history, CampaignId(tracker), [key; 8], Timestamp(from), Timestamp(until)), expect, "{from}..{until}");
        };
        check(1, 0, 10, 11, true);
        check(1, 0, 11, 20, false);
        check(1, 0, 11, 21, true);
        check(1, 0, 21, 99, false);
        check(2, 0, 0, 99, false);
        check(1, 7, 0, 99, false);
    }

    #[test]
    fn the_stalest_list_gives_way() {
        let mut history = Kept::default();
        for i in 0..=MAX_LISTS {
            note(&mut history, CAMPAIGN, [i as u8; 8], Timestamp(1000 - i as i64));
        }
        assert_eq!(history.without.len(), MAX_LISTS);
        assert!(!any_within(&history, CAMPAIGN, [MAX_LISTS as u8 - 1; 8], Timestamp(0), Timestamp(2000)));
        assert!(any_within(&history, CAMPAIGN, [0; 8], Timestamp(0), Timestamp(2000)));
    }

    #[test]
    fn pruning_drops_what_is_older_than_the_horizon() {
        let mut history = noted(&[10, 20]).without;
        prune(&mut history, Timestamp(20));
        assert_eq!(history[0].at, [Timestamp(20)]);
        prune(&mut history, Timestamp(21));
        assert!(history.is_empty());
    }
}

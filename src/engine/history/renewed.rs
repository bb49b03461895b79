//! What was kept for a question that nobody asked for a while. Meanwhile events were not noted, so the numbers have a hole that no record
//! knows of, and a backfill would note what lies before it a second time: a question that is asked again begins anew.

use std::collections::BTreeMap;

use super::Trackers;
use crate::engine::id::TrackerId;
use crate::engine::record::Kept;

/// The revision of the definitions with which each tracker was asked for, without a break since. One that is missing always was.
pub type Asked = BTreeMap<TrackerId, u64>;

impl Trackers {
    /// [`Asked`] when definitions are applied that will have this revision: as it was for those that were there.
    pub fn asked_with(&self, known: &Asked, is_known: impl Fn(TrackerId) -> bool, revision: u64) -> Asked {
        let new = |id: TrackerId| (!is_known(id)).then_some(revision);
        self.all().iter().filter_map(|tracker| Some((tracker.id, known.get(&tracker.id).copied().or_else(|| new(tracker.id))?))).collect()
    }
}

/// Forgets what a record that was last stepped with `revision` kept for trackers that were asked for anew since.
pub fn forget_former(kept: &mut Kept, asked: &Asked, revision: u64) {
    let is_former = |tracker: &TrackerId| asked.get(tracker).is_some_and(|asked| *asked > revision);
    kept.tracked.retain(|tracked| !is_former(&tracked.tracker));
    kept.early.retain(|early| !is_former(&early.tracker));
    kept.backfilled.iter_mut().for_each(|one| one.until.retain(|(tracker, _)| !is_former(tracker)));
    kept.backfilled.retain(|one| !one.until.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::SourceId;
    use crate::engine::record::{Backfilled, Data, Early, Mark, Tracked};
    use crate::engine::time::Timestamp;

    #[test]
    fn what_was_kept_before_a_break_is_forgotten() {
        let id = TrackerId;
        let mark = Mark { source: SourceId(1), offset: 9, broker_time: Timestamp(9) };
        let kept = Kept {
            tracked: [1, 2, 3].map(|n| Tracked { tracker: id(n), data: Data::Count(n) }).into(),
            early: [1, 2].map(|n| Early { tracker: id(n), source: SourceId(1), offset: 5, broker_time: Timestamp(5) }).into(),
            backfilled: [vec![1], vec![1, 2]]
                .map(|of| Backfilled {
                    id: 7,
                    from: Timestamp(0),
                    until: of.into_iter().map(|n| (id(n), Timestamp(3))).collect(),
                    mark,
                    seen: Vec::new(),
                })
                .into(),
            ..Kept::default()
        };
        let check = |revision: u64, expect: (&[u64], &[u64], &[&[u64]])| {
            let mut kept = kept.clone();
            forget_former(&mut kept, &Asked::from([(id(1), 5), (id(2), 2)]), revision);
            let tracked: Vec<u64> = kept.tracked.iter().map(|one| one.tracker.0).collect();
            let early: Vec<u64> = kept.early.iter().map(|one| one.tracker.0).collect();
            let backfilled: Vec<Vec<u64>> = kept.backfilled.iter().map(|one| one.until.iter().map(|(of, _)| of.0).collect()).collect();
            assert_eq!(
                (&*tracked, &*early, backfilled),
                (expect.0, expect.1, expect.2.iter().map(|of| of.to_vec()).collect()),
                "{revision}"
            );
        };
        check(5, (&[1, 2, 3], &[1, 2], &[&[1], &[1, 2]]));
        check(4, (&[2, 3], &[2], &[&[2]]));
        check(1, (&[3], &[], &[]));
    }
}

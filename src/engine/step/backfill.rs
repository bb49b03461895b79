//! An event that is read again for history: noted, and nothing else. What a deletion has forgotten stays forgotten.

use super::happening::condition_scope;
use super::{Trace, Work};
use crate::engine::event::{Body, Event};
use crate::engine::history::{self, Noted, Plan};

impl Work<'_> {
    pub(super) fn backfill(&mut self, event: &Event, plan: &Plan) {
        let record = &mut self.known.record;
        let forgotten = record.tombstone.is_some_and(|deleted| event.timestamp <= deleted);
        let Body::Track { name, properties } = &event.body else {
            self.trace = Trace::Skipped;
            return;
        };
        let noted = Noted { name, properties, at: event.timestamp, position: Some(event.position) };
        let scope = condition_scope(self.in_force, self.user, &self.known.profile, event.timestamp, properties);
        let trackers = &self.in_force.trackers;
        if forgotten || !history::note_again(&mut record.history, trackers, plan, &event.message_id, &noted, &scope) {
            self.trace = Trace::Skipped;
        }
    }
}

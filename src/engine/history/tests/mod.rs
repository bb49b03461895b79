//! History: against an oracle that keeps every event, and as tables of what is known.

mod backfill;
mod kept;
mod known;
mod oracle;

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::engine::condition::notation::{condition, object};
use crate::engine::condition::{Scope, Truth};
use crate::engine::definition::{Bound, Cohort, Did, Measure, Members, Pattern, Rule, Window, Workspace};
use crate::engine::id::TrackerId;
use crate::engine::profile::Profile;
use crate::engine::record::Kept;
use crate::engine::time::Timestamp;

fn pattern(event: &str, where_: &str) -> Pattern {
    Pattern { event: event.into(), condition: condition(where_) }
}

fn did(measure: Measure, window: Window) -> Did {
    Did { pattern: pattern("e", "{}"), measure, window }
}

fn count(bound: Bound) -> Measure {
    Measure::Count(vec![bound])
}

fn last(ms: u64) -> Window {
    Window::InLast(Duration::from_millis(ms))
}

fn between(from: i64, until: i64) -> Window {
    Window::Between(Timestamp(from), Timestamp(until))
}

/// One user's past under some questions.
struct World {
    trackers: Trackers,
    tracked: BTreeMap<TrackerId, Timestamp>,
    kept: Kept,
}

impl World {
    /// All that is asked is known since `since`.
    fn asking(questions: &[Did], track: &[&str], since: i64) -> World {
        let rules = questions.iter().map(|did| Rule::Did(Box::new(did.clone()))).collect();
        let cohort = Cohort { key: "c".into(), members: Members::Rule(Rule::Any(rules)) };
        let workspace = Workspace { track: track.iter().map(|event| (*event).into()).collect(), ..Workspace::default() };
        let trackers = Trackers::compile([], [&cohort], &workspace);
        let tracked = trackers.all().iter().map(|tracker| (tracker.id, Timestamp(since))).collect();
        World { trackers, tracked, kept: Kept::default() }
    }

    fn note(&mut self, event: &str, properties: &str, at: i64) -> bool {
        let profile = Profile::default();
        let scope = Scope { event: None, user: Some(&profile), user_id: "u", now: Timestamp(at), zone: "UTC" };
        note_event(&mut self.kept, &self.trackers, event, &object(properties), Timestamp(at), &scope)
    }

    /// The event `e`, often.
    fn note_all(&mut self, events: impl IntoIterator<Item = (i64, String)>) {
        for (at, properties) in events {
            self.note("e", &properties, at);
        }
    }

    fn at(&self, at: i64) -> History<'_> {
        History { kept: &self.kept, trackers: &self.trackers, tracked: &self.tracked, at: Timestamp(at) }
    }

    fn prune(&mut self, horizon: i64) {
        prune(&mut self.kept, Some(&self.trackers), Timestamp(horizon));
    }
}

fn truth(known: bool) -> Truth {
    Truth::from(known)
}

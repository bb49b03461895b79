//! The trackers of all definitions in force, each once, filed by the events they want.

use std::collections::BTreeMap;
use std::time::Duration;

use hashbrown::HashMap;

use super::tracker::{self, Tracker, What};
use crate::engine::condition::Scope;
use crate::engine::definition::{Absence, Campaign, Cohort, Condition, Did, Members, Pattern, Rule, Status, Trigger, Workspace};
use crate::engine::id::TrackerId;
use crate::engine::matching::Filed;
use crate::engine::time::Timestamp;
use crate::engine::value::Object;

/// All workers note for a new tracker this long after its definition was applied: they ask for changes each second.
pub const FOLLOWED_WITHIN: Duration = Duration::from_secs(5);

/// Everything that is remembered of users. Compiled from the definitions, then only read.
#[derive(Debug, Default)]
pub struct Trackers {
    /// In order of their ids.
    all: Vec<Tracker>,
    /// By what is asked, see [`tracker::key`].
    by_question: HashMap<Box<[u8]>, u32>,
    /// By the name of the event.
    by_event: HashMap<Box<str>, OfEvent>,
}

#[derive(Debug, Default)]
struct OfEvent {
    filed: Filed<u32>,
    /// The one that remembers ahead, if any does.
    ahead: Option<u32>,
}

impl Trackers {
    /// What the audiences and triggers of all campaigns but the ended, the cohorts and `workspace.track` ask for.
    pub fn compile<'a>(
        campaigns: impl IntoIterator<Item = &'a Campaign>,
        cohorts: impl IntoIterator<Item = &'a Cohort>,
        workspace: &Workspace,
    ) -> Trackers {
        let mut asked: BTreeMap<TrackerId, Tracker> = BTreeMap::new();
        let mut ask = |pattern: &Pattern, what: What| {
            let tracker = Tracker::new(pattern, what);
            asked.entry(tracker.id).or_insert(tracker);
        };
        for campaign in campaigns.into_iter().filter(|campaign| campaign.status != Some(Status::Ended)) {
            each_did(&campaign.audience, &mut |did| ask(&did.pattern, tracker::needed(did)));
            if let Trigger::Absence(absence) = &campaign.trigger {
                ask(&absence.without, needed_for_absence(absence));
            }
        }
        for cohort in cohorts {
            if let Members::Rule(rule) = &cohort.members {
                each_did(rule, &mut |did| ask(&did.pattern, tracker::needed(did)));
            }
        }
        for event in &workspace.track {
            ask(&Pattern { event: event.clone(), condition: Condition::ALWAYS }, What::Ahead);
        }
        Trackers::of(asked.into_values().collect())
    }

    fn of(all: Vec<Tracker>) -> Trackers {
        let mut waiting: BTreeMap<&str, Vec<(u32, &Condition)>> = BTreeMap::new();
        let mut by_question = HashMap::new();
        for (place, tracker) in (0u32..).zip(&all) {
            waiting.entry(&tracker.pattern.event).or_default().push((place, &tracker.pattern.condition));
            by_question.insert(tracker::key(&tracker.pattern, &tracker.what).into(), place);
        }
        let ahead = |place: &u32| all.get(*place as usize).is_some_and(|tracker| tracker.what == What::Ahead);
        let by_event = waiting.into_iter().map(|(event, waiting)| {
            let ahead = waiting.iter().map(|(place, _)| *place).find(ahead);
            (event.into(), OfEvent { filed: Filed::build(&waiting), ahead })
        });
        let by_event = by_event.collect();
        Trackers { all, by_question, by_event }
    }

    /// In order of their ids.
    pub fn all(&self) -> &[Tracker] {
        &self.all
    }

    /// `tracked_since` of each, when definitions are applied at `now`: as it was for those that were there, soon for new ones. Those that
    /// nobody asks for any more are forgotten.
    pub fn tracked_since(&self, known: &BTreeMap<TrackerId, Timestamp>, now: Timestamp) -> BTreeMap<TrackerId, Timestamp> {
        let soon = now.after(FOLLOWED_WITHIN);
        self.all.iter().map(|tracker| (tracker.id, known.get(&tracker.id).copied().unwrap_or(soon))).collect()
    }

    pub fn get(&self, id: TrackerId) -> Option<&Tracker> {
        self.all.binary_search_by_key(&id, |tracker| tracker.id).ok().and_then(|place| self.all.get(place))
    }

    /// The names of all events that are remembered, in no order.
    pub fn events(&self) -> impl Iterator<Item = &str> {
        self.by_event.keys().map(|event| &**event)
    }

    /// Whether any tracker wants this event. What depends on the user counts as wanted. `zone` is the workspace's IANA zone.
    pub fn wants(&self, event: &str, properties: &Object, now: Timestamp, zone: &str) -> bool {
        let Some(of_event) = self.by_event.get(event) else { return false };
        let scope = Scope { event: Some(properties), user: None, user_id: "", now, zone };
        let mut wanted = false;
        of_event.filed.each_possible(properties, &scope, &mut |_| wanted = true);
        wanted
    }

    /// Shows each tracker that wants the event of this user.
    pub(super) fn each_wanting(&self, event: &str, properties: &Object, scope: &Scope, show: &mut dyn FnMut(&Tracker)) {
        let Some(of_event) = self.by_event.get(event) else { return };
        of_event.filed.each_possible(properties, scope, &mut |place| {
            self.all.get(place as usize).into_iter().for_each(&mut *show);
        });
    }

    /// The trackers that can answer for events like these: the question's own, and the one that remembers ahead if the question sets
    /// no condition.
    pub(super) fn answering(&self, pattern: &Pattern, what: &What) -> (Option<&Tracker>, Option<&Tracker>) {
        let own = self.by_question.get(&*tracker::key(pattern, what));
        let ahead = self.by_event.get(&pattern.event).and_then(|of_event| of_event.ahead.as_ref());
        let ahead = ahead.filter(|_| pattern.condition == Condition::ALWAYS);
        let tracker = |place: &u32| self.all.get(*place as usize);
        (own.and_then(tracker), ahead.and_then(tracker))
    }
}

/// Shows each `did` of a rule. Cohorts are not entered: they are asked on their own.
pub fn each_did(rule: &Rule, show: &mut dyn FnMut(&Did)) {
    match rule {
        Rule::All(rules) | Rule::Any(rules) => rules.iter().for_each(|rule| each_did(rule, show)),
        Rule::Not(rule) => each_did(rule, show),
        Rule::Did(did) => show(did),
        Rule::User(_) | Rule::Cohort(_) => {}
    }
}

/// What T4 asks of its `without`.
pub(super) fn needed_for_absence(absence: &Absence) -> What {
    match absence.in_last {
        Some(within) => What::Newest { n: 1, within },
        None => What::Ends,
    }
}

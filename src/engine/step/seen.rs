//! Explaining, before any gate: what an event means to a campaign's trigger, part by part, with what its conditions compared. It
//! changes nothing.

use serde::Serialize;

use super::compared;
use super::happening::condition_scope;
use super::{Known, Shown};
use crate::engine::catalog::InForce;
use crate::engine::condition::{Truth, explain_event};
use crate::engine::definition::{Campaign, EventDate, Pattern, Trigger};
use crate::engine::id::UserId;
use crate::engine::time::Timestamp;
use crate::engine::value::Object;

/// What one part of a trigger makes of an event of its name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeenView {
    pub part: Part,
    pub meets: bool,
    /// The tests of the part's conditions; none where it has none.
    pub compared: Vec<Shown>,
}

impl SeenView {
    /// Whether the event leads to a send by this part, now or later.
    pub fn triggers(&self) -> bool {
        self.meets && !matches!(self.part, Part::Without | Part::Goal)
    }
}

/// A part of a trigger, or the goal: by the word that stands for it in definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Action,
    Actions,
    After,
    Without,
    Date,
    /// A request of an API: no conditions.
    Api,
    Goal,
}

/// Every part of a campaign that waits for events of this name. `known`: the user as of the event.
pub fn seen(
    in_force: &InForce,
    user: &UserId,
    known: &Known,
    campaign: &Campaign,
    (name, properties, at): (&str, &Object, Timestamp),
) -> Vec<SeenView> {
    let scope = condition_scope(in_force, user, &known.profile, at, properties);
    let waiting = parts(campaign).into_iter().filter(|(_, pattern)| *pattern.event == *name);
    waiting
        .map(|(part, pattern)| {
            let judged = explain_event(&pattern.condition, properties, &scope);
            let mut compared = compared::of_condition("event", &judged);
            if let (Part::Date, Trigger::EventDate(EventDate { property: Some(path), .. })) = (part, &campaign.trigger) {
                compared.push(compared::date(format!("event.{path}"), properties.lookup(path)));
            }
            SeenView { part, meets: judged.truth() == Truth::True, compared }
        })
        .collect()
}

fn parts(campaign: &Campaign) -> Vec<(Part, &Pattern)> {
    let mut parts = match &campaign.trigger {
        Trigger::Action(pattern) => vec![(Part::Action, pattern)],
        Trigger::Actions(actions) => actions.events.iter().map(|pattern| (Part::Actions, pattern)).collect(),
        Trigger::Inaction(inaction) => vec![(Part::After, &inaction.after), (Part::Without, &inaction.without)],
        Trigger::Absence(absence) => vec![(Part::After, &absence.after), (Part::Without, &absence.without)],
        Trigger::EventDate(date) => vec![(Part::Date, &date.pattern)],
        Trigger::UserDate(_) | Trigger::Schedule(_) | Trigger::Api | Trigger::Cohort { .. } => Vec::new(),
    };
    parts.extend(campaign.goal.as_ref().map(|goal| (Part::Goal, &goal.pattern)));
    parts
}

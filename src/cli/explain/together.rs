//! Why events that each meet a part of a trigger are no occasion together: `same`, `within` and order, with the values of both events. It
//! shows what a replay has seen and decides nothing.

use std::time::Duration;

use crate::engine::definition::{Actions, Inaction, Order, Path, Trigger, duration_text};
use crate::engine::step::{Known, Part, SeenView, Shown};
use crate::engine::time::Timestamp;
use crate::engine::value::{Object, Value};

/// The events kept to be compared with; the earliest gives way.
const MAX_MET: usize = 256;

/// An event that met a part.
#[derive(Clone)]
pub struct Met {
    /// Of the events of `actions`; 0 for `after`.
    place: usize,
    name: Box<str>,
    event_id: Box<str>,
    at: Timestamp,
    properties: Object,
}

impl Met {
    pub fn new(name: &str, event_id: &str, at: Timestamp, properties: &Object) -> Met {
        Met { place: 0, name: name.into(), event_id: event_id.into(), at, properties: properties.clone() }
    }

    fn value(&self, path: &Path) -> &Value {
        self.properties.lookup(path).unwrap_or(&Value::Null)
    }
}

/// The events that met a part so far.
#[derive(Default)]
pub struct Together {
    met: Vec<Met>,
}

impl Together {
    /// Puts beside each part that this event meets how it lies to the events of the other parts. `known`: the user after it.
    pub fn compare(&mut self, trigger: &Trigger, event: &Met, parts: &mut [SeenView], known: &Known) {
        match trigger {
            Trigger::Actions(actions) => self.one_of_several(actions, event, parts, known),
            Trigger::Inaction(inaction) => self.around(inaction, event, parts),
            Trigger::Action(_)
            | Trigger::Absence(_)
            | Trigger::EventDate(_)
            | Trigger::UserDate(_)
            | Trigger::Schedule(_)
            | Trigger::Api
            | Trigger::Cohort { .. } => {}
        }
    }

    fn one_of_several(&mut self, actions: &Actions, event: &Met, parts: &mut [SeenView], known: &Known) {
        let same: Vec<(&Path, &Path)> = actions.same.iter().map(|path| (path, path)).collect();
        let places = actions.events.iter().enumerate().filter(|(_, pattern)| pattern.event == event.name).map(|(place, _)| place);
        let views = parts.iter_mut().filter(|view| view.part == Part::Actions);
        let met: Vec<(usize, &mut SeenView)> = places.zip(views).filter(|(_, view)| view.meets).collect();
        let mut new = Vec::new();
        for (place, view) in met {
            for other in (0..actions.events.len()).filter(|other| *other != place) {
                let compare = |one: &Met| {
                    let mut lines = of_same(&same, event, one);
                    lines.extend(actions.within.map(|within| apart(event, one, within)));
                    lines.extend((actions.order == Order::Given).then(|| ordered(event, one, other < place)));
                    lines
                };
                view.compared.extend(self.nearest(other, compare));
            }
            new.push(Met { place, ..event.clone() });
        }
        let waits = known.record.sequences.iter().flat_map(|sequence| &sequence.happened).any(|kept| kept.message_id == event.event_id);
        if waits {
            new.into_iter().for_each(|met| self.push(met));
        } else if !new.is_empty() {
            // It made a set complete, which is used up.
            self.met.retain(|one| same.iter().any(|(path, _)| one.value(path) != event.value(path)));
        }
    }

    fn around(&mut self, inaction: &Inaction, event: &Met, parts: &mut [SeenView]) {
        let same: Vec<(&Path, &Path)> = inaction.same.iter().map(|pair| (&pair.without, &pair.after)).collect();
        let compare = |after: &Met| {
            let mut lines = of_same(&same, event, after);
            lines.push(apart(event, after, inaction.within));
            lines
        };
        for view in parts.iter_mut().filter(|view| view.part == Part::Without && view.meets) {
            view.compared.extend(self.nearest(0, compare));
        }
        if parts.iter().any(|view| view.part == Part::After && view.meets) {
            self.push(event.clone());
        }
    }

    /// The lines for the event of a place with which the fewest are wrong; of several the latest.
    fn nearest(&self, place: usize, compare: impl Fn(&Met) -> Vec<Shown>) -> Vec<Shown> {
        let wrong = |lines: &Vec<Shown>| lines.iter().filter(|line| line.holds == Some(false)).count();
        self.met.iter().rev().filter(|one| one.place == place).map(compare).min_by_key(wrong).unwrap_or_default()
    }

    fn push(&mut self, met: Met) {
        let place = self.met.partition_point(|one| one.at <= met.at);
        self.met.insert(place, met);
        if self.met.len() > MAX_MET {
            self.met.remove(0);
        }
    }
}

/// Of each pair of properties, of the event and of the other one, whether they are equal.
fn of_same(same: &[(&Path, &Path)], event: &Met, other: &Met) -> Vec<Shown> {
    let line = |(own, path): &(&Path, &Path)| {
        let (value, wanted) = (event.value(own), other.value(path));
        let against = format!("same as {wanted} of {} ({})", other.name, other.event_id);
        Shown::part(format!("event.{own}"), value.to_string(), against, value == wanted)
    };
    same.iter().map(line).collect()
}

fn apart(event: &Met, other: &Met, within: Duration) -> Shown {
    let (earlier, later) = (event.at.min(other.at), event.at.max(other.at));
    let apart = later.since(earlier);
    let what = format!("time from {} ({})", other.name, other.event_id);
    Shown::part(what, duration_text::format(apart), format!("within {}", duration_text::format(within)), apart < within)
}

/// In the order that is given.
fn ordered(event: &Met, other: &Met, first: bool) -> Shown {
    let (place, holds) = if first { ("after", other.at <= event.at) } else { ("before", event.at <= other.at) };
    Shown::part("happened", event.at.to_string(), format!("{place} {} ({}), {}", other.name, other.event_id, other.at), holds)
}

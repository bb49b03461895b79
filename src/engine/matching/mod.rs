//! Matching: which campaigns an event concerns. An index built from all campaigns in force, so that the cost of an event grows
//! with the campaigns it may match and not with those that exist. It knows no users: what depends on one counts as matching,
//! and whoever knows the user judges again.
//!
//! An event goes by its name, then by the values of the properties under which campaigns are filed (the most selective equality
//! of each), and only the campaigns found there are verified. Campaigns without any equality on a literal are verified on
//! every event of their name.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use smallvec::SmallVec;

use self::cover::{Census, Cover, covers};
use self::key::{Key, KeyRef};
use super::condition::{Scope, Truth, judge, reach};
use super::definition::{Campaign, Condition, Path, Pattern, Status, Trigger};
use super::time::Timestamp;
use super::value::{Object, Value};

mod cover;
mod key;

#[cfg(test)]
mod tests;

/// The index. Campaigns are named by their position in the slice it was built from.
#[derive(Debug, Default)]
pub struct Index {
    names: HashMap<Box<str>, Name>,
}

/// What an event means to a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It is the `without` of an inaction: it stops a clock.
    Cancels,
    /// It is the `after` of an inaction, or has the date: it starts a clock.
    Starts,
    /// It is the action, or one of several.
    Fires,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    pub campaign: u32,
    pub role: Role,
}

/// All that wait for events of one name.
#[derive(Debug, Default)]
struct Name {
    /// In order of campaign, then role.
    entries: Vec<Entry>,
    /// In order of path.
    fields: Vec<Field>,
    /// Entries that every event must be verified against.
    unfiled: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    found: Match,
    condition: Condition,
}

/// The entries that are filed under one property.
#[derive(Debug)]
struct Field {
    path: Path,
    by_value: HashMap<Key, SmallVec<[u32; 2]>>,
}

impl Index {
    /// Files the campaigns that are running or paused (a paused one's clocks are still started and stopped). Campaigns that only
    /// wait for an API request are in no list. Cost: a few microseconds a campaign.
    pub fn build(campaigns: &[&Campaign]) -> Index {
        // Ordered, so that equal campaigns give equal indexes.
        let mut by_name: BTreeMap<&str, Vec<(Match, &Condition)>> = BTreeMap::new();
        for (position, campaign) in (0u32..).zip(campaigns) {
            if !matches!(campaign.status, Some(Status::Running | Status::Paused)) {
                continue;
            }
            for (role, pattern) in waits_for(&campaign.trigger) {
                by_name.entry(&pattern.event).or_default().push((Match { campaign: position, role }, &pattern.condition));
            }
        }
        Index { names: by_name.into_iter().map(|(name, entries)| (name.into(), Name::build(&entries))).collect() }
    }

    /// Whether any campaign waits for events of this name: one look-up.
    pub fn knows(&self, event: &str) -> bool {
        self.names.contains_key(event)
    }

    /// Appends what the event means to whom, in order of campaign, and for one campaign in the order of [`Role`]. Conditions that
    /// need the user count as met. `zone` is the workspace's IANA zone, `now` the instant of judging.
    pub fn matches(&self, event: &str, properties: &Object, now: Timestamp, zone: &str, out: &mut Vec<Match>) {
        let Some(name) = self.names.get(event) else { return };
        let scope = Scope { event: Some(properties), user: None, user_id: "", now, zone };
        let mut met: SmallVec<[u32; 16]> = SmallVec::new();
        let mut verify = |position: u32| {
            if name.entries.get(position as usize).is_some_and(|entry| judge(&entry.condition, properties, &scope) != Truth::False) {
                met.push(position);
            }
        };
        name.unfiled.iter().copied().for_each(&mut verify);
        for field in &name.fields {
            field.each_filed(properties, &mut verify);
        }
        // An entry filed under several values may be found by several.
        met.sort_unstable();
        met.dedup();
        out.extend(met.iter().filter_map(|position| name.entries.get(*position as usize)).map(|entry| entry.found));
    }
}

impl Name {
    fn build(waiting: &[(Match, &Condition)]) -> Name {
        let mut census = Census::default();
        waiting.iter().for_each(|(_, condition)| census.count(&covers(condition)));
        let mut name = Name::default();
        let mut fields: BTreeMap<&str, Field> = BTreeMap::new();
        for (position, (found, condition)) in (0u32..).zip(waiting) {
            name.entries.push(Entry { found: *found, condition: (*condition).clone() });
            match census.most_selective(covers(condition)) {
                Some(cover) => file(&mut fields, cover, position),
                None => name.unfiled.push(position),
            }
        }
        name.fields = fields.into_values().collect();
        name
    }
}

impl Field {
    /// Names the entries filed under any value that the property has.
    fn each_filed(&self, properties: &Object, found: &mut impl FnMut(u32)) {
        let mut look_up = |value: &Value| {
            if let Some(filed) = KeyRef::of(value).and_then(|key| self.by_value.get(&key)) {
                filed.iter().copied().for_each(&mut *found);
            }
        };
        reach::any_at(properties, &self.path, &mut |value| {
            match value {
                Value::List(items) => items.iter().for_each(&mut look_up),
                single => look_up(single),
            }
            false
        });
    }
}

fn file<'a>(fields: &mut BTreeMap<&'a str, Field>, cover: Cover<'a>, position: u32) {
    for equality in cover {
        let field = fields.entry(equality.path).or_insert_with(|| Field { path: equality.path.into(), by_value: HashMap::new() });
        let filed = field.by_value.entry(equality.key).or_default();
        if filed.last() != Some(&position) {
            filed.push(position);
        }
    }
}

/// The events a trigger waits for, in the order of [`Role`].
fn waits_for(trigger: &Trigger) -> Vec<(Role, &Pattern)> {
    match trigger {
        Trigger::Action(pattern) => vec![(Role::Fires, pattern)],
        Trigger::Actions(actions) => actions.events.iter().map(|pattern| (Role::Fires, pattern)).collect(),
        Trigger::Inaction(inaction) => vec![(Role::Cancels, &inaction.without), (Role::Starts, &inaction.after)],
        Trigger::EventDate(date) => vec![(Role::Starts, &date.pattern)],
        _ => Vec::new(),
    }
}

//! Conditions on events of one name, filed by their most selective equality, so that an event is verified against the few that it
//! may meet.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::cover::{Census, Cover, covers};
use super::key::{Key, KeyRef};
use crate::engine::condition::{Scope, Truth, judge, reach};
use crate::engine::definition::{Condition, Path};
use crate::engine::value::{Object, Value};

/// Things that wait for events which meet their conditions.
#[derive(Debug)]
pub struct Filed<T> {
    /// In the order they were given.
    entries: Vec<Entry<T>>,
    /// In order of path.
    pub(super) fields: Vec<Field>,
    /// Entries that every event must be verified against.
    pub(super) unfiled: Vec<u32>,
}

#[derive(Debug)]
struct Entry<T> {
    waiting: T,
    condition: Condition,
}

/// The entries that are filed under one property.
#[derive(Debug)]
pub(super) struct Field {
    pub path: Path,
    pub by_value: HashMap<Key, SmallVec<[u32; 2]>>,
}

impl<T> Default for Filed<T> {
    fn default() -> Filed<T> {
        Filed { entries: Vec::new(), fields: Vec::new(), unfiled: Vec::new() }
    }
}

impl<T: Copy> Filed<T> {
    pub fn build(waiting: &[(T, &Condition)]) -> Filed<T> {
        let mut census = Census::default();
        waiting.iter().for_each(|(_, condition)| census.count(&covers(condition)));
        let mut filed = Filed::default();
        let mut fields: BTreeMap<&str, Field> = BTreeMap::new();
        for (position, (waiting, condition)) in (0u32..).zip(waiting) {
            filed.entries.push(Entry { waiting: *waiting, condition: (*condition).clone() });
            match census.most_selective(covers(condition)) {
                Some(cover) => file(&mut fields, cover, position),
                None => filed.unfiled.push(position),
            }
        }
        filed.fields = fields.into_values().collect();
        filed
    }

    /// Shows what waits for such an event, in the order given to [`Filed::build`]. Conditions that need what the scope does not
    /// have (the user) count as met.
    pub fn each_possible(&self, properties: &Object, scope: &Scope, show: &mut dyn FnMut(T)) {
        let mut met: SmallVec<[u32; 16]> = SmallVec::new();
        let mut verify = |position: u32| {
            if self.entries.get(position as usize).is_some_and(|entry| judge(&entry.condition, properties, scope) != Truth::False) {
                met.push(position);
            }
        };
        self.unfiled.iter().copied().for_each(&mut verify);
        for field in &self.fields {
            field.each_filed(properties, &mut verify);
        }
        // An entry filed under several values may be found by several.
        met.sort_unstable();
        met.dedup();
        met.iter().filter_map(|position| self.entries.get(*position as usize)).for_each(|entry| show(entry.waiting));
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

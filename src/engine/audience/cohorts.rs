//! The cohorts in force, by key.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::definition::{Cohort, Members, Pattern, Rule};

/// Cohorts within cohorts are followed so deep. Definitions that go in circles are refused when they are checked; this only
/// keeps judging finite.
pub const MAX_DEPTH: usize = 16;

/// All cohorts in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cohorts {
    by_key: BTreeMap<Box<str>, Cohort>,
}

impl Cohorts {
    pub fn new(cohorts: impl IntoIterator<Item = Cohort>) -> Cohorts {
        Cohorts { by_key: cohorts.into_iter().map(|cohort| (cohort.key.clone(), cohort)).collect() }
    }

    pub fn get(&self, key: &str) -> Option<&Cohort> {
        self.by_key.get(key)
    }

    /// In order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Cohort> {
        self.by_key.values()
    }

    /// The events that can change who is in a cohort, those of cohorts within it included.
    pub fn patterns(&self, key: &str) -> Vec<&Pattern> {
        let mut found = Vec::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&Cohort> = self.get(key).into_iter().collect();
        while let Some(cohort) = open.pop() {
            if let (true, Members::Rule(rule)) = (seen.insert(&cohort.key), &cohort.members) {
                patterns_of(rule, &mut found);
                each_cohort(rule, &mut |key| open.extend(self.get(key)));
            }
        }
        found
    }
}

fn patterns_of<'a>(rule: &'a Rule, found: &mut Vec<&'a Pattern>) {
    match rule {
        Rule::All(rules) | Rule::Any(rules) => rules.iter().for_each(|rule| patterns_of(rule, found)),
        Rule::Not(rule) => patterns_of(rule, found),
        Rule::Did(did) => found.push(&did.pattern),
        Rule::User(_) | Rule::Cohort(_) => {}
    }
}

/// Shows the cohorts that a rule names.
pub fn each_cohort<'a>(rule: &'a Rule, show: &mut dyn FnMut(&'a str)) {
    match rule {
        Rule::All(rules) | Rule::Any(rules) => rules.iter().for_each(|rule| each_cohort(rule, show)),
        Rule::Not(rule) => each_cohort(rule, show),
        Rule::Cohort(key) => show(key),
        Rule::User(_) | Rule::Did(_) => {}
    }
}

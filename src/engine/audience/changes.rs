//! When a verdict can change without anything happening: instants leave windows, windows come to lie in the known past.

use super::cohorts::MAX_DEPTH;
use super::{Members, Scope};
use crate::engine::condition;
use crate::engine::definition::Rule;
use crate::engine::time::Timestamp;

/// The next instant after `now` at which passing time alone can change the verdict, for whoever waits for the change. Judged then,
/// the verdict may still be the same: the answer is by each part of the rule. `None`: never.
pub fn changes_after(rule: &Rule, scope: &Scope) -> Option<Timestamp> {
    next(rule, scope, 0)
}

fn next(rule: &Rule, scope: &Scope, depth: usize) -> Option<Timestamp> {
    match rule {
        Rule::All(rules) | Rule::Any(rules) => rules.iter().filter_map(|rule| next(rule, scope, depth)).min(),
        Rule::Not(rule) => next(rule, scope, depth),
        Rule::User(condition) => condition::changes_after(condition, &scope.of_condition()),
        Rule::Did(did) => scope.history.and_then(|history| history.changes_after(did)),
        Rule::Cohort(key) => match scope.cohorts.get(key).map(|cohort| &cohort.members).filter(|_| depth < MAX_DEPTH) {
            Some(Members::Rule(rule)) => next(rule, scope, depth + 1),
            Some(Members::List(_)) | None => None,
        },
    }
}

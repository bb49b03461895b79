//! Audience: whether a user belongs to a rule, by what is known of them now. It never looks at what was sent to them (that is
//! `fatigue`), and it changes nothing.

use super::condition::{Scope, Truth, judge_user};
use super::definition::Rule;

#[cfg(test)]
mod tests;

/// Whether the user is in the audience. Without `scope.user` only a rule that asks nothing of the user includes anyone.
pub fn includes(rule: &Rule, scope: &Scope) -> bool {
    judge_rule(rule, scope) == Truth::True
}

fn judge_rule(rule: &Rule, scope: &Scope) -> Truth {
    match rule {
        Rule::All(rules) => Truth::all(rules.iter().map(|rule| judge_rule(rule, scope))),
        Rule::Any(rules) => Truth::any(rules.iter().map(|rule| judge_rule(rule, scope))),
        Rule::Not(rule) => !judge_rule(rule, scope),
        Rule::User(condition) => judge_user(condition, scope),
        Rule::Cohort(_) | Rule::Did(_) => Truth::Unknown,
    }
}

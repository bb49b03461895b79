//! Why a rule says what it says: each of its parts with what was found, what it was compared with, and what came of it. Data for
//! whoever explains; the words are theirs.

use super::cohorts::MAX_DEPTH;
use super::{Members, Scope, is_listed};
use crate::engine::condition::{Compared, Truth, explain_user};
use crate::engine::definition::{Did, Rule};
use crate::engine::history::Measured;

/// One part of a rule. `truth` is what is certain: a part is unknown where history is incomplete.
#[derive(Clone, Debug, PartialEq)]
pub struct Why<'a> {
    pub truth: Truth,
    pub because: Because<'a>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Because<'a> {
    All(Vec<Why<'a>>),
    Any(Vec<Why<'a>>),
    Not(Box<Why<'a>>),
    /// A condition on traits, down to each test with the values.
    User(Compared<'a>),
    /// `measured`: `None` without a history.
    Did {
        did: &'a Did,
        measured: Option<Measured>,
    },
    /// By its rule.
    Cohort {
        key: &'a str,
        rule: Box<Why<'a>>,
    },
    /// By its list, of so many users.
    Listed {
        key: &'a str,
        users: usize,
    },
    /// Not in force, or cohorts that go in circles.
    NoCohort {
        key: &'a str,
    },
}

/// Judges every part of a rule, also those that no longer decide.
pub fn why<'a>(rule: &'a Rule, scope: &Scope<'a>) -> Why<'a> {
    explain(rule, scope, 0)
}

fn explain<'a>(rule: &'a Rule, scope: &Scope<'a>, depth: usize) -> Why<'a> {
    let each = |rules: &'a [Rule]| rules.iter().map(|rule| explain(rule, scope, depth)).collect::<Vec<_>>();
    match rule {
        Rule::All(rules) => {
            let parts = each(rules);
            Why { truth: Truth::all(parts.iter().map(|part| part.truth)), because: Because::All(parts) }
        }
        Rule::Any(rules) => {
            let parts = each(rules);
            Why { truth: Truth::any(parts.iter().map(|part| part.truth)), because: Because::Any(parts) }
        }
        Rule::Not(rule) => {
            let part = explain(rule, scope, depth);
            Why { truth: !part.truth, because: Because::Not(Box::new(part)) }
        }
        Rule::User(condition) => {
            let compared = explain_user(condition, &scope.of_condition());
            Why { truth: compared.truth(), because: Because::User(compared) }
        }
        Rule::Did(did) => {
            let measured = scope.history.map(|history| history.measure(did));
            Why { truth: measured.map_or(Truth::Unknown, |measured| measured.truth), because: Because::Did { did, measured } }
        }
        Rule::Cohort(key) => match scope.cohorts.get(key).map(|cohort| &cohort.members).filter(|_| depth < MAX_DEPTH) {
            Some(Members::Rule(rule)) => {
                let rule = explain(rule, scope, depth + 1);
                Why { truth: rule.truth, because: Because::Cohort { key, rule: Box::new(rule) } }
            }
            Some(Members::List(users)) => Why { truth: is_listed(users, scope), because: Because::Listed { key, users: users.len() } },
            None => Why { truth: Truth::Unknown, because: Because::NoCohort { key } },
        },
    }
}

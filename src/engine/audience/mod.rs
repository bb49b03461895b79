//! Audience: whether a user belongs to a rule, by what is known of them now: traits, cohorts, history. It never looks at what was
//! sent to them (that is `fatigue`), and it changes nothing.
//!
//! Three-valued (Kleene): what is not known makes a rule unknown only where it decides. Who is in an audience only because
//! something is not known to have happened, at a time from which nothing is known, is not in it: [`Verdict::Unknown`].

use super::condition::{self, Truth, judge_user};
use super::definition::{Members, Rule};
use super::history::History;
use super::profile::Profile;
use super::time::Timestamp;
use super::value::Object;

mod changes;
mod cohorts;
mod why;

pub use changes::changes_after;
pub use cohorts::{Cohorts, MAX_DEPTH, each_cohort};
pub use why::{Because, Why, why};

#[cfg(test)]
mod tests;

/// All that a rule may look at.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The properties of the triggering event: what `{event: path}` means.
    pub event: Option<&'a Object>,
    pub user: Option<&'a Profile>,
    /// `user.id`; only read where `user` is there.
    pub user_id: &'a str,
    /// The instant of judging, for traits; history has its own.
    pub now: Timestamp,
    /// The IANA name of the zone in which dates and local date-times are read; an unknown one counts as UTC.
    pub zone: &'a str,
    /// `None`: nothing is known of what the user did.
    pub history: Option<History<'a>>,
    pub cohorts: &'a Cohorts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    In,
    Out,
    Unknown(Lack),
}

/// What is missing to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It would be true by absence over a time from which nothing is known: `history_incomplete`.
    History,
    /// A cohort that the rule names is not in force.
    Cohort,
    /// It depends on the triggering event, or on the user, and the scope has none.
    Scope,
}

/// Whether the user is in the audience, as far as can be said.
pub fn judge(rule: &Rule, scope: &Scope) -> Verdict {
    // First as if nothing happened but what is known: who is out then is out, whatever is missing.
    let mut as_known = Judging { scope, trusting: true, lacks_cohort: false };
    match as_known.rule(rule, 0) {
        Truth::False => Verdict::Out,
        Truth::Unknown => Verdict::Unknown(if as_known.lacks_cohort { Lack::Cohort } else { Lack::Scope }),
        Truth::True => match (Judging { scope, trusting: false, lacks_cohort: false }).rule(rule, 0) {
            Truth::True => Verdict::In,
            Truth::False | Truth::Unknown => Verdict::Unknown(Lack::History),
        },
    }
}

/// Whether the user is certainly in the audience.
pub fn includes(rule: &Rule, scope: &Scope) -> bool {
    judge(rule, scope) == Verdict::In
}

impl<'a> Scope<'a> {
    /// What a condition may look at.
    pub fn of_condition(&self) -> condition::Scope<'a> {
        condition::Scope { event: self.event, user: self.user, user_id: self.user_id, now: self.now, zone: self.zone }
    }
}

struct Judging<'a> {
    scope: &'a Scope<'a>,
    /// What is known is taken for all there is.
    trusting: bool,
    lacks_cohort: bool,
}

impl Judging<'_> {
    fn rule(&mut self, rule: &Rule, depth: usize) -> Truth {
        match rule {
            Rule::All(rules) => Truth::all(rules.iter().map(|rule| self.rule(rule, depth))),
            Rule::Any(rules) => Truth::any(rules.iter().map(|rule| self.rule(rule, depth))),
            Rule::Not(rule) => !self.rule(rule, depth),
            Rule::User(condition) => judge_user(condition, &self.scope.of_condition()),
            Rule::Cohort(key) => self.cohort(key, depth),
            Rule::Did(did) => match self.scope.history {
                Some(history) => {
                    let measured = history.measure(did);
                    if self.trusting { Truth::from(measured.as_known) } else { measured.truth }
                }
                None => Truth::Unknown,
            },
        }
    }

    fn cohort(&mut self, key: &str, depth: usize) -> Truth {
        match self.scope.cohorts.get(key).map(|cohort| &cohort.members).filter(|_| depth < MAX_DEPTH) {
            Some(Members::Rule(rule)) => self.rule(rule, depth + 1),
            Some(Members::List(users)) => is_listed(users, self.scope),
            None => {
                self.lacks_cohort = true;
                Truth::Unknown
            }
        }
    }
}

/// `users` are sorted.
fn is_listed(users: &[Box<str>], scope: &Scope) -> Truth {
    match scope.user {
        Some(_) => Truth::from(users.binary_search_by(|user| (**user).cmp(scope.user_id)).is_ok()),
        None => Truth::Unknown,
    }
}

//! Conditions: whether the properties of an event, or the traits of a user, meet a `where` (contract, section 3).
//!
//! Total and without conversion: a missing value or one of the wrong type makes an operator false, never an error. Three-valued,
//! because the matching index judges before the user is known; what then depends on the user is [`Truth::Unknown`].

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Not;

use super::definition::{Condition, Operand, Test};
use super::profile::Profile;
use super::time::Timestamp;
use super::value::{Object, Value};

mod changes;
mod compare;
mod explain;
pub mod instant;
pub mod reach;
mod shown;
mod version;

pub use changes::changes_after;
pub use compare::whole;
pub use explain::{Compared, explain_event, explain_user, operands};
pub use shown::{operator, shown, wanted};

#[cfg(test)]
pub mod notation;
#[cfg(test)]
mod tests;

/// What a condition may look at besides its subject.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The properties of the triggering event: what `{event: path}` means.
    pub event: Option<&'a Object>,
    /// What `{user: path}` means.
    pub user: Option<&'a Profile>,
    /// `user.id`; only read where `user` is there.
    pub user_id: &'a str,
    /// The instant of judging.
    pub now: Timestamp,
    /// The IANA name of the zone in which dates and local date-times are read; an unknown one counts as UTC.
    pub zone: &'a str,
}

/// The outcome of judging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    True,
    False,
    /// It depends on the user, or the event, and none was given.
    Unknown,
}

/// Judges a condition on the properties of an event.
pub fn judge(condition: &Condition, subject: &Object, scope: &Scope) -> Truth {
    Judging { subject: Subject::Properties(subject), scope }.condition(condition)
}

/// Judges a condition on `scope.user`: its traits, and `id` and `push_token`, which need not be traits.
pub fn judge_user(condition: &Condition, scope: &Scope) -> Truth {
    match scope.user {
        Some(profile) => Judging { subject: Subject::User(profile), scope }.condition(condition),
        None => Truth::Unknown,
    }
}

/// Whether the condition is certainly met.
pub fn holds(condition: &Condition, subject: &Object, scope: &Scope) -> bool {
    judge(condition, subject, scope) == Truth::True
}

impl Truth {
    /// False as soon as one is false, else unknown as soon as one is unknown.
    pub fn all(truths: impl Iterator<Item = Truth>) -> Truth {
        let mut sum = Truth::True;
        for truth in truths {
            match truth {
                Truth::False => return Truth::False,
                Truth::Unknown => sum = Truth::Unknown,
                Truth::True => {}
            }
        }
        sum
    }

    /// True as soon as one is true, else unknown as soon as one is unknown.
    pub fn any(truths: impl Iterator<Item = Truth>) -> Truth {
        !Truth::all(truths.map(Truth::not))
    }
}

impl Not for Truth {
    type Output = Truth;

    fn not(self) -> Truth {
        match self {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            Truth::Unknown => Truth::Unknown,
        }
    }
}

impl From<bool> for Truth {
    fn from(truth: bool) -> Truth {
        if truth { Truth::True } else { Truth::False }
    }
}

#[derive(Clone, Copy)]
enum Subject<'a> {
    Properties(&'a Object),
    User(&'a Profile),
    /// There is no user: nothing is found.
    Nobody,
}

#[derive(Clone, Copy)]
struct Judging<'a> {
    subject: Subject<'a>,
    scope: &'a Scope<'a>,
}

/// An operand in the given scope. Null is missing.
enum Resolved<'a> {
    Value(Cow<'a, Value>),
    Missing,
    Unknown,
}

impl Judging<'_> {
    fn condition(&self, condition: &Condition) -> Truth {
        match condition {
            Condition::All(parts) => Truth::all(parts.iter().map(|part| self.condition(part))),
            Condition::Any(parts) => Truth::any(parts.iter().map(|part| self.condition(part))),
            Condition::Not(part) => !self.condition(part),
            Condition::Test { path, test } => self.test(path, test),
        }
    }

    fn test(&self, path: &str, test: &Test) -> Truth {
        match test {
            Test::Eq(operand) => self.equal(path, operand),
            Test::Ne(operand) => !self.equal(path, operand),
            Test::In(operands) => self.among(path, operands),
            Test::NotIn(operands) => !self.among(path, operands),
            Test::Gt(operand) => self.ordered(path, operand, Ordering::is_gt),
            Test::Gte(operand) => self.ordered(path, operand, Ordering::is_ge),
            Test::Lt(operand) => self.ordered(path, operand, Ordering::is_lt),
            Test::Lte(operand) => self.ordered(path, operand, Ordering::is_le),
            Test::Between(low, high) => self.between(path, low, high),
            Test::Contains(operand) => self.value_against(path, operand, compare::contains),
            Test::NotContains(operand) => !self.value_against(path, operand, compare::contains),
            Test::StartsWith(operand) => self.text(path, operand, |text, start| text.starts_with(start)),
            Test::EndsWith(operand) => self.text(path, operand, |text, end| text.ends_with(end)),
            Test::Ieq(operand) => self.text(path, operand, compare::equal_ignoring_case),
            Test::Icontains(operand) => self.value_against(path, operand, compare::contains_ignoring_case),
            Test::IstartsWith(operand) => self.text(path, operand, compare::starts_ignoring_case),
            Test::IendsWith(operand) => self.text(path, operand, compare::ends_ignoring_case),
            Test::Matches(regex) => self.element(path, |value| value.as_str().is_some_and(|text| regex.0.is_match(text))),
            Test::Exists(wanted) => Truth::from(self.exists(path) == *wanted),
            Test::Before(operand) => self.instant(path, operand, Ordering::is_lt),
            Test::After(operand) => self.instant(path, operand, Ordering::is_gt),
            // Half open, as all windows: what happened exactly the span ago is no longer in it.
            Test::InLast(span) => {
                let (from, now) = (self.scope.now.before(*span), self.scope.now);
                self.moment(path, |at| from < at && at <= now)
            }
            Test::InNext(span) => {
                let (now, until) = (self.scope.now, self.scope.now.after(*span));
                self.moment(path, |at| now <= at && at < until)
            }
            Test::MultipleOf(operand) => self.element_against(path, operand, compare::is_multiple),
            Test::VersionGt(operand) => self.version(path, operand, Ordering::is_gt),
            Test::VersionGte(operand) => self.version(path, operand, Ordering::is_ge),
            Test::VersionLt(operand) => self.version(path, operand, Ordering::is_lt),
            Test::VersionLte(operand) => self.version(path, operand, Ordering::is_le),
        }
    }

    fn equal(&self, path: &str, operand: &Operand) -> Truth {
        self.value_against(path, operand, compare::equal_or_has)
    }

    /// `in`: a list that an operand refers to offers its elements.
    fn among(&self, path: &str, operands: &[Operand]) -> Truth {
        Truth::any(operands.iter().map(|operand| match operand {
            Operand::Value(_) => self.equal(path, operand),
            Operand::Event(_) | Operand::User(_) => self.value_against(path, operand, |value, offered| match offered {
                Value::List(items) => items.iter().any(|item| !item.is_null() && compare::equal_or_has(value, item)),
                single => compare::equal_or_has(value, single),
            }),
        }))
    }

    fn ordered(&self, path: &str, operand: &Operand, wanted: fn(Ordering) -> bool) -> Truth {
        self.element_against(path, operand, |value, bound| value.compare_numbers(bound).is_some_and(wanted))
    }

    /// One and the same element must lie between both ends.
    fn between(&self, path: &str, low: &Operand, high: &Operand) -> Truth {
        let (low, high) = match (self.resolve(low), self.resolve(high)) {
            (Resolved::Missing, _) | (_, Resolved::Missing) => return Truth::False,
            (Resolved::Unknown, _) | (_, Resolved::Unknown) => return self.unknown_where_present(path),
            (Resolved::Value(low), Resolved::Value(high)) => (low, high),
        };
        self.element(path, |value| {
            value.compare_numbers(&low).is_some_and(Ordering::is_ge) && value.compare_numbers(&high).is_some_and(Ordering::is_le)
        })
    }

    fn text(&self, path: &str, operand: &Operand, wanted: fn(&str, &str) -> bool) -> Truth {
        self.element_against(path, operand, |value, other| match (value, other) {
            (Value::Text(text), Value::Text(other)) => wanted(text, other),
            _ => false,
        })
    }

    fn version(&self, path: &str, operand: &Operand, wanted: fn(Ordering) -> bool) -> Truth {
        self.element_against(path, operand, |value, bound| version::compare(value, bound).is_some_and(wanted))
    }

    fn instant(&self, path: &str, operand: &Operand, wanted: fn(Ordering) -> bool) -> Truth {
        let bound = match self.resolve(operand) {
            Resolved::Value(value) => instant::of(&value, self.scope.zone),
            Resolved::Missing => None,
            Resolved::Unknown => return self.unknown_where_present(path),
        };
        match bound {
            Some(bound) => self.moment(path, |at| wanted(at.cmp(&bound))),
            None => Truth::False,
        }
    }

    fn moment(&self, path: &str, wanted: impl Fn(Timestamp) -> bool) -> Truth {
        self.element(path, |value| instant::of(value, self.scope.zone).is_some_and(&wanted))
    }

    fn exists(&self, path: &str) -> bool {
        self.reach(path, &mut |value| !value.is_null())
    }

    /// Whether any element at the path, or the value itself if it is no array, is wanted.
    fn element(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Truth {
        Truth::from(self.reach(path, &mut |value| match value {
            Value::List(items) => items.iter().any(&wanted),
            single => wanted(single),
        }))
    }

    fn element_against(&self, path: &str, operand: &Operand, wanted: impl Fn(&Value, &Value) -> bool) -> Truth {
        match self.resolve(operand) {
            Resolved::Value(other) => self.element(path, |value| wanted(value, &other)),
            Resolved::Missing => Truth::False,
            Resolved::Unknown => self.unknown_where_present(path),
        }
    }

    /// As [`Self::element_against`], for operators that look at an array as a whole.
    fn value_against(&self, path: &str, operand: &Operand, wanted: impl Fn(&Value, &Value) -> bool) -> Truth {
        match self.resolve(operand) {
            Resolved::Value(other) => Truth::from(self.reach(path, &mut |value| wanted(value, &other))),
            Resolved::Missing => Truth::False,
            Resolved::Unknown => self.unknown_where_present(path),
        }
    }

    /// A missing property fails every positive operator, whatever the operand will turn out to be.
    fn unknown_where_present(&self, path: &str) -> Truth {
        if self.exists(path) { Truth::Unknown } else { Truth::False }
    }

    fn resolve<'o>(&'o self, operand: &'o Operand) -> Resolved<'o> {
        let found = match operand {
            Operand::Value(value) => Some(Cow::Borrowed(value)),
            Operand::Event(path) => match self.scope.event {
                Some(properties) => properties.lookup(path).map(Cow::Borrowed),
                None => return Resolved::Unknown,
            },
            Operand::User(path) => match self.scope.user {
                Some(profile) => match self.beside_traits(profile, path) {
                    Some(value) => value.map(Cow::Owned),
                    None => profile.traits().lookup(path).map(Cow::Borrowed),
                },
                None => return Resolved::Unknown,
            },
        };
        found.filter(|value| !value.is_null()).map_or(Resolved::Missing, Resolved::Value)
    }

    /// Shows the values at a path of the subject until one is accepted; answers whether one was.
    fn reach(&self, path: &str, accept: &mut dyn FnMut(&Value) -> bool) -> bool {
        let object = match self.subject {
            Subject::Properties(properties) => properties,
            Subject::User(profile) => match self.beside_traits(profile, path) {
                Some(value) => return value.is_some_and(|value| accept(&value)),
                None => profile.traits(),
            },
            Subject::Nobody => return false,
        };
        reach::any_at(object, path, accept)
    }

    /// The paths of a user that are not, or not only, traits. The outer `None`: the path is a trait like any other.
    fn beside_traits(&self, profile: &Profile, path: &str) -> Option<Option<Value>> {
        match path {
            "id" => Some(Some(Value::text(self.scope.user_id))),
            "push_token" => Some(profile.push_token().map(Value::text)),
            _ => None,
        }
    }
}

//! A condition taken apart: what each of its tests found, what it was compared with, and what came of it.

use super::{Judging, Resolved, Scope, Subject, Truth};
use crate::engine::definition::{Condition, Operand, Test};
use crate::engine::value::{Object, Value};

/// One part of a condition, judged.
#[derive(Clone, Debug, PartialEq)]
pub enum Compared<'a> {
    All(Truth, Vec<Compared<'a>>),
    Any(Truth, Vec<Compared<'a>>),
    Not(Truth, Box<Compared<'a>>),
    Test {
        truth: Truth,
        path: &'a str,
        test: &'a Test,
        /// The values at the path; several where it leads through an array, none where there is nothing.
        found: Vec<Value>,
        /// The operands as they were at that moment, in the order of the test; `None`: missing.
        operands: Vec<Option<Value>>,
    },
}

impl Compared<'_> {
    pub fn truth(&self) -> Truth {
        match self {
            Compared::All(truth, _) | Compared::Any(truth, _) | Compared::Not(truth, _) | Compared::Test { truth, .. } => *truth,
        }
    }
}

/// Judges each part of a condition on `scope.user`, also those that no longer decide.
pub fn explain_user<'a>(condition: &'a Condition, scope: &Scope) -> Compared<'a> {
    let subject = scope.user.map_or(Subject::Nobody, Subject::User);
    Judging { subject, scope }.explain(condition)
}

/// The same of a condition on the properties of an event.
pub fn explain_event<'a>(condition: &'a Condition, properties: &Object, scope: &Scope) -> Compared<'a> {
    Judging { subject: Subject::Properties(properties), scope }.explain(condition)
}

impl Judging<'_> {
    fn explain<'c>(&self, condition: &'c Condition) -> Compared<'c> {
        let each = |parts: &'c [Condition]| parts.iter().map(|part| self.explain(part)).collect::<Vec<_>>();
        match condition {
            Condition::All(parts) => {
                let parts = each(parts);
                Compared::All(Truth::all(parts.iter().map(Compared::truth)), parts)
            }
            Condition::Any(parts) => {
                let parts = each(parts);
                Compared::Any(Truth::any(parts.iter().map(Compared::truth)), parts)
            }
            Condition::Not(part) => {
                let part = self.explain(part);
                Compared::Not(!part.truth(), Box::new(part))
            }
            Condition::Test { path, test } => self.explain_test(path, test),
        }
    }

    fn explain_test<'c>(&self, path: &'c str, test: &'c Test) -> Compared<'c> {
        let mut found = Vec::new();
        self.reach(path, &mut |value| {
            found.push(value.clone());
            false
        });
        let resolve = |operand: &Operand| match self.resolve(operand) {
            Resolved::Value(value) => Some(value.into_owned()),
            Resolved::Missing | Resolved::Unknown => None,
        };
        let operands = operands(test).into_iter().map(resolve).collect();
        let truth = if matches!(self.subject, Subject::Nobody) { Truth::Unknown } else { self.test(path, test) };
        Compared::Test { truth, path, test, found, operands }
    }
}

/// What a test compares with, in the order it is written.
pub fn operands(test: &Test) -> Vec<&Operand> {
    match test {
        Test::In(operands) | Test::NotIn(operands) => operands.iter().collect(),
        Test::Between(low, high) => vec![low, high],
        Test::Matches(_) | Test::Exists(_) | Test::InLast(_) | Test::InNext(_) => Vec::new(),
        Test::Eq(operand)
        | Test::Ne(operand)
        | Test::Gt(operand)
        | Test::Gte(operand)
        | Test::Lt(operand)
        | Test::Lte(operand)
        | Test::Contains(operand)
        | Test::NotContains(operand)
        | Test::StartsWith(operand)
        | Test::EndsWith(operand)
        | Test::Ieq(operand)
        | Test::Icontains(operand)
        | Test::IstartsWith(operand)
        | Test::IendsWith(operand)
        | Test::Before(operand)
        | Test::After(operand)
        | Test::MultipleOf(operand)
        | Test::VersionGt(operand)
        | Test::VersionGte(operand)
        | Test::VersionLt(operand)
        | Test::VersionLte(operand) => vec![operand],
    }
}

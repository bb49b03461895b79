//! When a condition on a user can change by passing time alone: `in_last` and `in_next` are seen from the instant of judging. All
//! other operators compare what stays as it is.

use super::{Judging, Scope, Subject, instant};
use crate::engine::definition::{Condition, Test};
use crate::engine::time::Timestamp;
use crate::engine::value::Value;

/// The next instant after `scope.now` at which a test of the condition on `scope.user` becomes true or false. `None`: never.
pub fn changes_after(condition: &Condition, scope: &Scope) -> Option<Timestamp> {
    let subject = Subject::User(scope.user?);
    Judging { subject, scope }.changes_after(condition)
}

impl Judging<'_> {
    fn changes_after(&self, condition: &Condition) -> Option<Timestamp> {
        match condition {
            Condition::All(parts) | Condition::Any(parts) => parts.iter().filter_map(|part| self.changes_after(part)).min(),
            Condition::Not(part) => self.changes_after(part),
            // In the window from the moment until it is the span ago.
            Condition::Test { path, test: Test::InLast(span) } => self.next_edge(path, |at| [at, at.after(*span)]),
            // In the window from just after it was the span ahead, to the moment included.
            Condition::Test { path, test: Test::InNext(span) } => {
                let next = |at: Timestamp| Timestamp(at.0.saturating_add(1));
                self.next_edge(path, |at| [next(at.before(*span)), next(at)])
            }
            Condition::Test { .. } => None,
        }
    }

    fn next_edge(&self, path: &str, edges: impl Fn(Timestamp) -> [Timestamp; 2]) -> Option<Timestamp> {
        let mut earliest: Option<Timestamp> = None;
        let mut look = |value: &Value| {
            let moments = instant::of(value, self.scope.zone).map(&edges).into_iter().flatten();
            let next = moments.filter(|moment| *moment > self.scope.now && *moment < Timestamp::MAX).min();
            earliest = [earliest, next].into_iter().flatten().min();
        };
        self.reach(path, &mut |value| {
            match value {
                Value::List(items) => items.iter().for_each(&mut look),
                single => look(single),
            }
            false
        });
        earliest
    }
}

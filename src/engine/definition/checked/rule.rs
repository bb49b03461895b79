//! Conditions on properties and traits; rules over a user; cohorts.

use std::time::Duration;

use super::Pattern;
use crate::engine::time::Timestamp;
use crate::engine::value::Value;

/// A dotted property name; [`super::value::Object::lookup`] says how it is resolved.
pub type Path = Box<str>;

/// A condition on the properties of one event, or on traits. `All(vec![])` always holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Test { path: Path, test: Test },
}

impl Condition {
    /// Holds for everything.
    pub const ALWAYS: Condition = Condition::All(Vec::new());
}

/// An operator with its operand. Missing or wrong type: a positive operator is false, `Ne NotIn NotContains` are the exact
/// opposite of `Eq In Contains`. An array matches when any element does.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    Eq(Operand),
    Ne(Operand),
    In(Vec<Operand>),
    NotIn(Vec<Operand>),
    Gt(Operand),
    Gte(Operand),
    Lt(Operand),
    Lte(Operand),
    /// Both ends included.
    Between(Operand, Operand),
    Contains(Operand),
    NotContains(Operand),
    StartsWith(Operand),
    EndsWith(Operand),
    /// Equal without regard to case (Unicode lower case).
    Ieq(Operand),
    Icontains(Operand),
    IstartsWith(Operand),
    IendsWith(Operand),
    Matches(Regex),
    Exists(bool),
    /// Instants: ISO 8601, a date (midnight of the zone), Unix seconds or milliseconds.
    Before(Operand),
    After(Operand),
    /// Within the span before now / after now, seen from the instant of judging.
    InLast(Duration),
    InNext(Duration),
    MultipleOf(Operand),
    VersionGt(Operand),
    VersionGte(Operand),
    VersionLt(Operand),
    VersionLte(Operand),
}

/// What a property is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    Value(Value),
    /// A property of the triggering event.
    Event(Path),
    /// A trait of the user.
    User(Path),
}

/// A compiled regular expression, equal when its text is.
#[derive(Clone, Debug)]
pub struct Regex(pub regex::Regex);

impl PartialEq for Regex {
    fn eq(&self, other: &Regex) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// A rule over a user.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    All(Vec<Rule>),
    Any(Vec<Rule>),
    Not(Box<Rule>),
    User(Condition),
    /// A cohort's key.
    Cohort(Box<str>),
    /// W2; `did_not` is `Not` of it.
    Did(Box<Did>),
}

/// What a user did, measured over a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Did {
    pub pattern: Pattern,
    pub measure: Measure,
    pub window: Window,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// How often; `did` without a measure is at least once.
    Count(Vec<Bound>),
    Sum(Path, Vec<Bound>),
    Avg(Path, Vec<Bound>),
    Min(Path, Vec<Bound>),
    Max(Path, Vec<Bound>),
    /// How many different values.
    Distinct(Path, Vec<Bound>),
    /// When it was done for the first time that is known.
    First(Window),
    /// When it was done for the last time.
    Last(Window),
}

/// A comparison of a measured number; all of a measure's must hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    Eq(f64),
    Ne(f64),
    Gt(f64),
    Gte(f64),
    Lt(f64),
    Lte(f64),
    /// Both ends included.
    Between(f64, f64),
}

/// Which past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    Ever,
    /// Half open: (now - span, now].
    InLast(Duration),
    /// [from, until]
    Between(Timestamp, Timestamp),
}

/// A named group of users.
#[derive(Clone, Debug, PartialEq)]
pub struct Cohort {
    pub key: Box<str>,
    pub members: Members,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Members {
    Rule(Rule),
    /// User ids, sorted.
    List(Vec<Box<str>>),
}

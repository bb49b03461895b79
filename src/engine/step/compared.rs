//! What a rule compared, line by line: each part with the value found, the rule as definitions write it, and what came of it. It judges
//! nothing.

use serde::Serialize;

use crate::engine::audience::{Because, Why};
use crate::engine::calendar::read_date;
use crate::engine::condition::{self, Compared, Truth, operator};
use crate::engine::definition::{Bound, Did, Measure, Path, Pattern, Test, Window, duration_text};
use crate::engine::history::{Found, Measured};
use crate::engine::time::Timestamp;
use crate::engine::value::Value;

/// A value that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    pub what: Box<str>,
    pub value: Box<str>,
    /// What the value was compared with.
    pub against: Option<Box<str>>,
    /// Whether this part holds, where a rule has several; `None` where it is no part of a rule, or nobody can know.
    pub holds: Option<bool>,
    /// Nobody can know whether this part holds.
    pub unknown: bool,
    /// How deep it lies in `any`, `all`, `not` and cohorts, each of which is a line before its parts; 0: it must hold itself.
    pub depth: usize,
}

/// What is said of a value that must be a date.
const A_DATE: &str = "a date (2027-01-31, 2027-01-31T09:00:00Z, or Unix time as a number)";

/// The parts of a rule, each before its own parts.
pub(super) fn of_rule(why: &Why) -> Vec<Shown> {
    let mut lines = Lines::default();
    lines.rule(why, Within::All);
    lines.lines
}

/// The tests of a condition. `subject`: before the dot of what is tested.
pub(super) fn of_condition(subject: &str, compared: &Compared) -> Vec<Shown> {
    let mut lines = Lines::default();
    lines.condition(subject, compared, Within::All);
    lines.lines
}

/// A value that must be a date.
pub(super) fn date(what: String, found: Option<&Value>) -> Shown {
    let value = found.map_or_else(|| "missing".to_owned(), Value::to_string);
    shown(what, value).against(A_DATE).judged(Some(found.and_then(read_date).is_some()))
}

/// An event and its conditions: `buy where amount gte 100`.
pub(super) fn pattern(pattern: &Pattern) -> String {
    match condition::shown(&pattern.condition) {
        condition if condition.is_empty() => pattern.event.to_string(),
        condition => format!("{} where {condition}", pattern.event),
    }
}

/// Since when a past is known.
pub(super) fn since(since: Timestamp) -> String {
    match since {
        Timestamp::MIN => "the beginning".to_owned(),
        Timestamp::MAX => "never".to_owned(),
        since => since.to_string(),
    }
}

pub(super) fn shown(what: impl Into<Box<str>>, value: impl ToString) -> Shown {
    Shown { what: what.into(), value: value.to_string().into(), against: None, holds: None, unknown: false, depth: 0 }
}

impl Shown {
    /// A part of a rule that holds, or does not.
    pub fn part(what: impl Into<Box<str>>, value: String, against: String, holds: bool) -> Shown {
        shown(what, value).against(against).judged(Some(holds))
    }

    pub(super) fn against(self, other: impl ToString) -> Shown {
        Shown { against: Some(other.to_string().into()), ..self }
    }

    /// It is a part of a rule; `None`: nobody can know.
    pub(super) fn judged(self, holds: Option<bool>) -> Shown {
        Shown { holds, unknown: holds.is_none(), ..self }
    }
}

/// What the line above the parts says of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// All must hold: those of an `all` need no line of their own.
    All,
    /// One must hold, or the one must not.
    Other,
}

#[derive(Default)]
struct Lines {
    lines: Vec<Shown>,
    depth: usize,
}

impl Lines {
    fn rule(&mut self, why: &Why, within: Within) {
        let holds = why.truth;
        match &why.because {
            Because::All(parts) => self.all(holds, parts, within, Lines::rule),
            Because::Any(parts) => self.group("any", "", holds, |lines| parts.iter().for_each(|part| lines.rule(part, Within::Other))),
            Because::Not(inner) => self.group("not", "", holds, |lines| lines.rule(inner, Within::Other)),
            Because::User(compared) => self.condition("user", compared, within),
            Because::Did { did, measured } => self.push(done(did, *measured), holds),
            Because::Cohort { key, rule } => self.group(&format!("cohort {key}"), "", holds, |lines| lines.rule(rule, Within::All)),
            Because::Listed { key, users } => self.push(shown(format!("cohort {key}"), format!("a list of {users}")), holds),
            Because::NoCohort { key } => self.push(shown(format!("cohort {key}"), "not defined"), holds),
        }
    }

    fn condition(&mut self, subject: &str, compared: &Compared, within: Within) {
        match compared {
            Compared::All(holds, parts) => self.all(*holds, parts, within, |lines, part, within| lines.condition(subject, part, within)),
            Compared::Any(holds, parts) => {
                self.group("any", "", *holds, |lines| parts.iter().for_each(|part| lines.condition(subject, part, Within::Other)));
            }
            Compared::Not(holds, inner) => self.group("not", "", *holds, |lines| lines.condition(subject, inner, Within::Other)),
            Compared::Test { truth, path, test, found, operands } => {
                let found: Vec<String> = found.iter().map(Value::to_string).collect();
                let value = if found.is_empty() { "missing".to_owned() } else { found.join(", ") };
                self.push(shown(format!("{subject}.{path}"), value).against(wanted(test, operands)), *truth);
            }
        }
    }

    /// Parts that must all hold.
    fn all<T>(&mut self, holds: Truth, parts: &[T], within: Within, show: impl Fn(&mut Lines, &T, Within)) {
        if within == Within::All || parts.len() == 1 {
            return parts.iter().for_each(|part| show(self, part, within));
        }
        self.group("all", "", holds, |lines| parts.iter().for_each(|part| show(lines, part, Within::All)));
    }

    /// A line, and below it its parts.
    fn group(&mut self, what: &str, value: &str, holds: Truth, parts: impl FnOnce(&mut Lines)) {
        self.push(shown(what, value), holds);
        self.depth += 1;
        parts(self);
        self.depth -= 1;
    }

    fn push(&mut self, line: Shown, holds: Truth) {
        self.lines.push(Shown { depth: self.depth, ..line.judged(truth(holds)) });
    }
}

/// The operator, and what it compared with: the values of references, else what the definition says.
fn wanted(test: &Test, operands: &[Option<Value>]) -> String {
    if operands.is_empty() {
        return condition::wanted(test);
    }
    let operands = operands.iter().map(|operand| operand.as_ref().map_or_else(|| "missing".to_owned(), Value::to_string));
    format!("{} {}", operator(test), operands.collect::<Vec<_>>().join(", "))
}

/// What was measured, against the measure, its bounds and its window.
fn done(did: &Did, measured: Option<Measured>) -> Shown {
    let value = measured.map_or_else(|| "not known".to_owned(), |measured| found(measured.found));
    let known = measured.map_or_else(String::new, |measured| format!("; known since {}", since(measured.since)));
    shown(format!("did {}", pattern(&did.pattern)), value).against(measure(did) + &known)
}

/// A measure as definitions write it: `sum amount gte 100 in_last 30d`.
fn measure(did: &Did) -> String {
    let of = |name: &str, path: &Path, all: &[Bound]| format!("{name} {path} {}{}", bounds(all), window(did.window));
    match &did.measure {
        Measure::Count(all) => format!("count {}{}", bounds(all), window(did.window)),
        Measure::Sum(path, all) => of("sum", path, all),
        Measure::Avg(path, all) => of("avg", path, all),
        Measure::Min(path, all) => of("min", path, all),
        Measure::Max(path, all) => of("max", path, all),
        Measure::Distinct(path, all) => of("distinct", path, all),
        Measure::First(own) => format!("first{}", window(*own)),
        Measure::Last(own) => format!("last{}", window(*own)),
    }
}

fn bounds(all: &[Bound]) -> String {
    let bound = |bound: &Bound| match bound {
        Bound::Eq(number) => format!("eq {number}"),
        Bound::Ne(number) => format!("ne {number}"),
        Bound::Gt(number) => format!("gt {number}"),
        Bound::Gte(number) => format!("gte {number}"),
        Bound::Lt(number) => format!("lt {number}"),
        Bound::Lte(number) => format!("lte {number}"),
        Bound::Between(least, most) => format!("between {least}, {most}"),
    };
    all.iter().map(bound).collect::<Vec<_>>().join(" and ")
}

fn window(window: Window) -> String {
    match window {
        Window::Ever => String::new(),
        Window::InLast(span) => format!(" in_last {}", duration_text::format(span)),
        Window::Between(from, until) => format!(" between {from}, {until}"),
    }
}

fn found(found: Found) -> String {
    match found {
        Found::Number(number) => number.map(|number| number.to_string()),
        Found::Time(time) => time.map(|time| time.to_string()),
    }
    .unwrap_or_else(|| "nothing".to_owned())
}

pub(super) fn truth(truth: Truth) -> Option<bool> {
    match truth {
        Truth::True => Some(true),
        Truth::False => Some(false),
        Truth::Unknown => None,
    }
}

//! `did`: what a user did, how often, how much, when.

use std::time::Duration;

use super::condition::{CONDITION, every};
use super::part;
use super::problem::Problems;
use super::reader::{self, MAX_SPAN, Reader};
use super::shape::{Shape, Type, key, required};
use super::text::{Data, Entry, Node};
use super::{Bound, Did, Measure, Path, Window, duration_text, trigger};
use crate::engine::time::Timestamp;
use crate::engine::value::Value;

/// Highest number that a count over a window is compared with: the instants that it counts are kept one by one.
pub const MAX_COUNT: f64 = 1000.0;

const BOUNDS: [&str; 7] = ["eq", "ne", "gt", "gte", "lt", "lte", "between"];

const INSTANTS: &str = "From one instant to another, both included: [from, until].";

pub(super) static DID: Shape = Shape::new(
    "did",
    "`did`",
    "Did this event; at least once, if nothing else is said.",
    &[
        required("event", Type::Name, "The name of the event."),
        key("where", Type::Named(&CONDITION), "What its properties must be."),
        key("count", Type::Map(&COUNT), "How often, such as {gte: 3}. `lt` includes not at all."),
        key("sum", Type::Map(&MEASURE), "The sum of a property, such as {property: amount, gte: 500000}."),
        key("avg", Type::Map(&MEASURE), "The average of a property."),
        key("min", Type::Map(&MEASURE), "The least value of a property."),
        key("max", Type::Map(&MEASURE), "The greatest value of a property."),
        key("distinct", Type::Map(&MEASURE), "How many different values of a property."),
        key(
            "first",
            Type::Map(&WINDOW),
            "When it was done for the first time that is known: what came before this was first asked counts once it is backfilled.",
        ),
        key("last", Type::Map(&WINDOW), "When it was done for the last time."),
        key("in_last", Type::Duration, "Only what was done in this time before now."),
        key("between", Type::List(&Type::Instant, 2, 2), INSTANTS),
    ],
);

static COUNT: Shape = Shape::new(
    "count",
    "`count`",
    "What a number must be; all must hold.",
    &[
        key("eq", Type::Number, "Equal."),
        key("ne", Type::Number, "Not equal."),
        key("gt", Type::Number, "Greater."),
        key("gte", Type::Number, "Greater or equal."),
        key("lt", Type::Number, "Less."),
        key("lte", Type::Number, "Less or equal."),
        key("between", Type::List(&Type::Number, 2, 2), "From the first to the second, both included."),
    ],
);

static MEASURE: Shape = Shape::new(
    "measure",
    "a measure",
    "A property, and what the number must be; all must hold.",
    &[
        required("property", Type::Name, "The property that is measured."),
        key("eq", Type::Number, "Equal."),
        key("ne", Type::Number, "Not equal."),
        key("gt", Type::Number, "Greater."),
        key("gte", Type::Number, "Greater or equal."),
        key("lt", Type::Number, "Less."),
        key("lte", Type::Number, "Less or equal."),
        key("between", Type::List(&Type::Number, 2, 2), "From the first to the second, both included."),
    ],
);

static WINDOW: Shape = Shape::new(
    "window",
    "a window",
    "Which past: one of the two.",
    &[key("in_last", Type::Duration, "In this time before now."), key("between", Type::List(&Type::Instant, 2, 2), INSTANTS)],
);

const MEASURES: [&str; 8] = ["count", "sum", "avg", "min", "max", "distinct", "first", "last"];

pub(super) fn did(node: &Node, what: &str, problems: &Problems) -> Option<Did> {
    if let Data::Scalar(Value::Text(text)) = &node.data {
        problems.error_with_help(node.place, format!("{what} must be a map, not text"), format!("write {{event: {text}}}"));
        return None;
    }
    let mut reader = Reader::of_named(node, &DID, what, problems)?;
    let pattern = trigger::pattern_fields(&mut reader);
    let measures = reader.among(&MEASURES);
    let window_place = ["in_last", "between"].into_iter().find_map(|key| reader.entry(key)).map(|entry| entry.place);
    let window = window(&mut reader);
    reader.close();
    let mut read: Vec<Option<Measure>> = measures.iter().map(|entry| measure(entry, window, problems)).collect();
    if let Some(second) = measures.get(1) {
        problems.error_with_help(
            second.place,
            format!("{what} measures one thing"),
            "write another rule for the other: a list means all of them",
        );
        return None;
    }
    let measure = read.pop().unwrap_or_else(|| Some(Measure::Count(vec![Bound::Gte(1.0)])))?;
    if let (Measure::First(_) | Measure::Last(_), Some(place)) = (&measure, window_place) {
        let help = "write it inside: {first: {in_last: 30d}}";
        problems.error_with_help(place, "`first` and `last` have a window of their own", help);
        return None;
    }
    Some(Did { pattern: pattern?, measure, window: window? })
}

/// Whether a measure holds of who did nothing.
pub(super) fn holds_of_nothing(measure: &Measure) -> bool {
    match measure {
        Measure::Count(bounds) | Measure::Sum(_, bounds) | Measure::Distinct(_, bounds) => bounds.iter().all(|bound| match *bound {
            Bound::Eq(number) => number == 0.0,
            Bound::Ne(number) => number != 0.0,
            Bound::Gt(number) => 0.0 > number,
            Bound::Gte(number) => 0.0 >= number,
            Bound::Lt(number) => 0.0 < number,
            Bound::Lte(number) => 0.0 <= number,
            Bound::Between(least, most) => (least..=most).contains(&0.0),
        }),
        Measure::Avg(..) | Measure::Min(..) | Measure::Max(..) | Measure::First(_) | Measure::Last(_) => false,
    }
}

fn measure(entry: &Entry, window: Option<Window>, problems: &Problems) -> Option<Measure> {
    let (key, node) = (&*entry.key, &entry.value);
    let what = format!("`{key}`");
    let counts = matches!(key, "count" | "distinct") && window.is_some_and(|window| window != Window::Ever);
    match key {
        "count" => count(node, counts, problems).map(Measure::Count),
        "first" | "last" => {
            let window = own_window(node, &what, problems)?;
            Some(if key == "first" { Measure::First(window) } else { Measure::Last(window) })
        }
        _ => {
            let (property, bounds) = measured(node, &what, counts, problems)?;
            Some(match key {
                "sum" => Measure::Sum(property, bounds),
                "avg" => Measure::Avg(property, bounds),
                "min" => Measure::Min(property, bounds),
                "max" => Measure::Max(property, bounds),
                _ => Measure::Distinct(property, bounds),
            })
        }
    }
}

fn count(node: &Node, kept: bool, problems: &Problems) -> Option<Vec<Bound>> {
    if let Data::Scalar(value @ Value::Int(_)) = &node.data {
        return reader::wrong(node, "`count`", "a map", Some(format!("write {{gte: {value}}} or {{eq: {value}}}")), problems);
    }
    let mut reader = Reader::of(node, &COUNT, problems)?;
    let bounds = bounds(&mut reader, "`count`", kept);
    reader.close();
    bounds
}

fn measured(node: &Node, what: &str, kept: bool, problems: &Problems) -> Option<(Path, Vec<Bound>)> {
    if let Data::Scalar(Value::Text(text)) = &node.data {
        let help = format!("write {{property: {text}, gte: ...}}");
        return reader::wrong(node, what, "a map", Some(help), problems);
    }
    let mut reader = Reader::of_named(node, &MEASURE, what, problems)?;
    let property = reader.require("property", "the property that is measured, such as amount");
    let bounds = bounds(&mut reader, what, kept);
    reader.close();
    let property = property.and_then(|node| part::path(node, "`property`", problems));
    Some((property?, bounds?))
}

/// The comparisons of a measure. Those of a count that is kept instant by instant have an upper limit.
fn bounds(reader: &mut Reader<'_>, what: &str, kept: bool) -> Option<Vec<Bound>> {
    let written = reader.among(&BOUNDS);
    if written.is_empty() {
        let help = format!("say what it must be, such as `gte: 3`: {}", BOUNDS.join(", "));
        reader.problems.error_with_help(reader.place, format!("{what} compares with nothing"), help);
        return None;
    }
    every(written.iter().map(|entry| bound(entry, kept, reader.problems)))
}

fn bound(entry: &Entry, kept: bool, problems: &Problems) -> Option<Bound> {
    let what = format!("`{}`", entry.key);
    let number = |node: &Node| {
        let number = reader::number(node, &what, problems)?;
        if kept && number > MAX_COUNT {
            problems.error(node.place, format!("over a window {what} compares with at most {MAX_COUNT}, not {number}"));
            return None;
        }
        Some(number)
    };
    match &*entry.key {
        "eq" => number(&entry.value).map(Bound::Eq),
        "ne" => number(&entry.value).map(Bound::Ne),
        "gt" => number(&entry.value).map(Bound::Gt),
        "gte" => number(&entry.value).map(Bound::Gte),
        "lt" => number(&entry.value).map(Bound::Lt),
        "lte" => number(&entry.value).map(Bound::Lte),
        _ => {
            let [least, most] = pair(&entry.value, "two numbers", problems)?;
            let (least, most) = (number(least), number(most));
            let (least, most) = (least?, most?);
            if least > most {
                problems.error_with_help(
                    entry.value.place,
                    format!("nothing is between {least} and {most}"),
                    format!("write [{most}, {least}]"),
                );
                return None;
            }
            Some(Bound::Between(least, most))
        }
    }
}

fn pair<'a>(node: &'a Node, wanted: &str, problems: &Problems) -> Option<[&'a Node; 2]> {
    let items = reader::list(node, "`between`", problems)?;
    let [first, second] = items else {
        problems.error(node.place, format!("`between` needs {wanted}, not {}", items.len()));
        return None;
    };
    Some([first, second])
}

/// The window that `first` and `last` need.
fn own_window(node: &Node, what: &str, problems: &Problems) -> Option<Window> {
    if let Data::Scalar(Value::Text(text)) = &node.data
        && duration_text::parse(text).is_some()
    {
        return reader::wrong(node, what, "a map", Some(format!("write {{in_last: {text}}}")), problems);
    }
    let mut reader = Reader::of_named(node, &WINDOW, what, problems)?;
    let window = window(&mut reader);
    reader.close();
    if window == Some(Window::Ever) {
        problems.error_with_help(node.place, format!("{what} needs `in_last` or `between`"), "such as {in_last: 30d}");
        return None;
    }
    window
}

/// `in_last` or `between`; neither is ever.
fn window(reader: &mut Reader<'_>) -> Option<Window> {
    let problems = reader.problems;
    let last = reader.get("in_last").is_some();
    let span = reader.duration("in_last", Duration::from_millis(1)..=MAX_SPAN);
    let between = reader.entry("between").filter(|entry| !entry.value.is_null());
    let Some(entry) = between else {
        return if last { span.map(Window::InLast) } else { Some(Window::Ever) };
    };
    let instants = pair(&entry.value, "two instants", problems).map(|pair| pair.map(|node| reader::instant(node, "`between`", problems)));
    if last {
        problems.error_with_help(entry.place, "`in_last` excludes `between`", "keep the one that is meant");
        return None;
    }
    let [Some(from), Some(until)] = instants? else { return None };
    ordered(from, until, entry, problems)
}

fn ordered(from: Timestamp, until: Timestamp, entry: &Entry, problems: &Problems) -> Option<Window> {
    if from > until {
        problems.error_with_help(entry.value.place, "`between` ends before it begins", "write the earlier instant first");
        return None;
    }
    Some(Window::Between(from, until))
}

//! Conditions (`where`, and `user` in a rule): reading them, with every operator's operand checked for its kind.

use std::time::Duration;

use super::part::{self, check_path};
use super::problem::{Problems, nearest};
use super::reader::{self, MAX_SPAN};
use super::shape::{Named, Shape, Type, key};
use super::text::{Data, Entry, Node, truth_meant};
use super::{Condition, Operand, Path, Regex, Test};
use crate::engine::calendar::DateValue;
use crate::engine::value::Value;

/// Compiled size of a regular expression, in bytes: far beyond any that is written by hand.
const MAX_REGEX_BYTES: usize = 1 << 20;

pub(super) static CONDITION: Named =
    Named { id: "condition", doc: "Properties with what they must be; all must hold.", value: Type::Map(&PROPERTIES) };

static PROPERTIES: Shape = Shape::new(
    "properties",
    "a condition",
    "Dotted names reach into objects. `property: value` is equality, a list is `in`, a map holds operators.",
    &[
        key("any", Type::List(&Type::Named(&CONDITION), 1, usize::MAX), "At least one of these conditions."),
        key("all", Type::List(&Type::Named(&CONDITION), 1, usize::MAX), "All of these conditions."),
        key("not", Type::Named(&CONDITION), "The opposite of this condition."),
    ],
)
.and(Type::AnyOf(&[Type::Scalar, LITERALS, Type::Map(&OPERATORS)]));

/// The list of `in`.
const LITERALS: Type = Type::List(&SINGLE, 1, usize::MAX);
/// A value, or that of another property.
const SINGLE: Type = Type::AnyOf(&[Type::Scalar, Type::Map(&REFERENCE)]);
const NUMBER: Type = Type::AnyOf(&[Type::Number, Type::Map(&REFERENCE)]);
const TEXT: Type = Type::AnyOf(&[Type::Name, Type::Map(&REFERENCE)]);
const ONE_OF: Type = Type::AnyOf(&[LITERALS, Type::Map(&REFERENCE)]);

static REFERENCE: Shape = Shape::kinds(
    "reference",
    "another property",
    "The value of another property.",
    &[key("event", Type::Name, "A property of the triggering event."), key("user", Type::Name, "A trait of the user.")],
);

static OPERATORS: Shape = Shape::new(
    "operators",
    "operators",
    "What a property must be; all must hold.",
    &[
        key("eq", SINGLE, "Equal. Nothing is converted: \"20\" is not 20."),
        key("ne", SINGLE, "The exact opposite of `eq`: also true where the property is missing."),
        key("in", ONE_OF, "One of these values."),
        key("not_in", ONE_OF, "The exact opposite of `in`."),
        key("gt", NUMBER, "A greater number."),
        key("gte", NUMBER, "A greater or equal number."),
        key("lt", NUMBER, "A lesser number."),
        key("lte", NUMBER, "A lesser or equal number."),
        key("between", Type::List(&NUMBER, 2, 2), "From the first number to the second, both included."),
        key("contains", SINGLE, "Text: this is part of it. List: this is one of its elements."),
        key("not_contains", SINGLE, "The exact opposite of `contains`."),
        key("starts_with", TEXT, "Text that begins so."),
        key("ends_with", TEXT, "Text that ends so."),
        key("matches", Type::Text, "A regular expression (Rust's regex), found anywhere in the text."),
        key("exists", Type::Boolean, "Whether the property is there."),
        key("before", SINGLE, "An earlier instant: ISO 8601, a date, Unix seconds or milliseconds."),
        key("after", SINGLE, "A later instant."),
        key("in_last", Type::Duration, "An instant within this time before now."),
        key("in_next", Type::Duration, "An instant within this time after now."),
        key("multiple_of", NUMBER, "A multiple of this number."),
        key("version_gt", SINGLE, "A later version, such as 1.10.2."),
        key("version_gte", SINGLE, "This version or a later one."),
        key("version_lt", SINGLE, "An earlier version."),
        key("version_lte", SINGLE, "This version or an earlier one."),
        key("ieq", TEXT, "Equal text, whatever the case."),
        key("icontains", TEXT, "This is part of the text, whatever the case."),
        key("istarts_with", TEXT, "Text that begins so, whatever the case."),
        key("iends_with", TEXT, "Text that ends so, whatever the case."),
    ],
);

/// What people coming from code or other tools write.
#[rustfmt::skip]
const LIKELY: [(&str, &str); 12] = [
    ("=", "eq"), ("==", "eq"), ("equals", "eq"), ("!=", "ne"), ("<>", "ne"), (">", "gt"), (">=", "gte"), ("<", "lt"), ("<=", "lte"),
    ("min", "gte"), ("max", "lte"), ("regex", "matches"),
];

/// Reads a map of properties with what they must be; all must hold. `what` names it in messages.
pub(super) fn condition(node: &Node, what: &str, problems: &Problems) -> Option<Condition> {
    if let Data::List(_) = node.data {
        let help = "write the properties in one map; to combine alternatives, `any: [...]`";
        problems.error_with_help(node.place, format!("{what} must be a map, not a list"), help);
        return None;
    }
    let entries = reader::map(node, what, problems)?;
    all(in_order(entries).into_iter().map(|entry| part(entry, problems)))
}

fn part(entry: &Entry, problems: &Problems) -> Option<Condition> {
    match &*entry.key {
        "any" => combined(entry, problems).map(Condition::Any),
        "all" => combined(entry, problems).map(Condition::All),
        "not" => condition(&entry.value, "`not`", problems).map(|inner| Condition::Not(Box::new(inner))),
        _ => property(entry, problems),
    }
}

fn combined(entry: &Entry, problems: &Problems) -> Option<Vec<Condition>> {
    let what = format!("`{}`", entry.key);
    let items = reader::list(&entry.value, &what, problems)?;
    if items.is_empty() {
        problems.error(entry.value.place, format!("{what} needs at least one condition"));
        return None;
    }
    let item = format!("an item of {what}");
    every(items.iter().map(|node| condition(node, &item, problems)))
}

/// `property: value` is equality, a list is `in`, a map holds operators, which must all hold.
fn property(entry: &Entry, problems: &Problems) -> Option<Condition> {
    let path: &Path = &entry.key;
    if path.trim().is_empty() {
        problems.error(entry.place, "a property's name must not be empty");
        return None;
    }
    check_path(path, entry.place, problems);
    let test = |test| Condition::Test { path: path.clone(), test };
    match &entry.value.data {
        Data::Broken => None,
        Data::Scalar(Value::Null) => {
            let help = format!("write {path}: {{exists: false}}");
            problems.error_with_help(entry.value.place, "null means missing and cannot be compared with", help);
            None
        }
        Data::Scalar(value) => {
            warn_of_doubt(&entry.value, problems);
            Some(test(Test::Eq(Operand::Value(value.clone()))))
        }
        Data::List(_) => operands(&entry.value, "in", problems).map(|list| test(Test::In(list))),
        Data::Map(operators) => {
            if let [Entry { key, .. }] = &operators[..]
                && matches!(&**key, "event" | "user")
            {
                let help = "write the operator too: {eq: {event: ...}}";
                problems.error_with_help(entry.value.place, format!("`{key}` is no operator"), help);
                return None;
            }
            if operators.is_empty() {
                problems.error_with_help(entry.value.place, format!("`{path}` says nothing"), format!("write {path}: {{exists: true}}"));
                return None;
            }
            all(in_order(operators).into_iter().map(|operator| self::operator(operator, path, problems).map(test)))
        }
    }
}

fn operator(entry: &Entry, path: &str, problems: &Problems) -> Option<Test> {
    let (name, node) = (&*entry.key, &entry.value);
    let single = |wanted| operand(node, name, wanted, problems);
    let span = || reader::duration(node, &format!("`{name}`"), Duration::from_millis(1)..=MAX_SPAN, problems);
    match name {
        "eq" => single(Wanted::Scalar).map(Test::Eq),
        "ne" => single(Wanted::Scalar).map(Test::Ne),
        "in" => operands(node, name, problems).map(Test::In),
        "not_in" => operands(node, name, problems).map(Test::NotIn),
        "gt" => single(Wanted::Number).map(Test::Gt),
        "gte" => single(Wanted::Number).map(Test::Gte),
        "lt" => single(Wanted::Number).map(Test::Lt),
        "lte" => single(Wanted::Number).map(Test::Lte),
        "between" => between(node, problems),
        "contains" => single(Wanted::Scalar).map(Test::Contains),
        "not_contains" => single(Wanted::Scalar).map(Test::NotContains),
        "starts_with" => single(Wanted::Text).map(Test::StartsWith),
        "ends_with" => single(Wanted::Text).map(Test::EndsWith),
        "ieq" => single(Wanted::Text).map(Test::Ieq),
        "icontains" => single(Wanted::Text).map(Test::Icontains),
        "istarts_with" => single(Wanted::Text).map(Test::IstartsWith),
        "iends_with" => single(Wanted::Text).map(Test::IendsWith),
        "matches" => regex(node, problems).map(Test::Matches),
        "exists" => reader::boolean(node, "`exists`", problems).map(Test::Exists),
        "before" => single(Wanted::Instant).map(Test::Before),
        "after" => single(Wanted::Instant).map(Test::After),
        "in_last" => span().map(Test::InLast),
        "in_next" => span().map(Test::InNext),
        "multiple_of" => single(Wanted::Divisor).map(Test::MultipleOf),
        "version_gt" => single(Wanted::Version).map(Test::VersionGt),
        "version_gte" => single(Wanted::Version).map(Test::VersionGte),
        "version_lt" => single(Wanted::Version).map(Test::VersionLt),
        "version_lte" => single(Wanted::Version).map(Test::VersionLte),
        _ => unknown_operator(entry, path, problems),
    }
}

fn unknown_operator(entry: &Entry, path: &str, problems: &Problems) -> Option<Test> {
    let name = &*entry.key;
    let likely = LIKELY.iter().find(|(written, _)| *written == name).map(|(_, meant)| *meant);
    let help = match likely.or_else(|| nearest(name, OPERATORS.names())) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("to reach into an object write `{path}.{name}`; operators: {}", OPERATORS.names().collect::<Vec<_>>().join(", ")),
    };
    problems.error_with_help(entry.place, format!("unknown operator `{name}`"), help);
    None
}

/// What an operator compares with.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    Scalar,
    Text,
    Number,
    /// A number that is not zero.
    Divisor,
    Instant,
    Version,
}

impl Wanted {
    fn described(self) -> &'static str {
        match self {
            Wanted::Scalar => "one value",
            Wanted::Text => "text",
            Wanted::Number => "a number",
            Wanted::Divisor => "a number other than zero",
            Wanted::Instant => "an instant or a date",
            Wanted::Version => "a version such as 1.10.2",
        }
    }

    fn accepts(self, value: &Value) -> bool {
        match self {
            Wanted::Scalar => !value.is_null(),
            Wanted::Text => value.as_str().is_some_and(|text| !text.is_empty()),
            Wanted::Number => is_number(value),
            Wanted::Divisor => is_number(value) && *value != Value::Int(0),
            Wanted::Instant => is_number(value) || value.as_str().is_some_and(is_instant),
            Wanted::Version => matches!(value, Value::Int(0..)) || value.as_str().is_some_and(is_version),
        }
    }

    fn help(self, value: &Value) -> Option<String> {
        match (self, value) {
            (_, Value::Null) => Some("null means missing: use {exists: false}".into()),
            (Wanted::Number | Wanted::Divisor, Value::Text(text)) if text.parse::<f64>().is_ok() => {
                Some(format!("remove the quotes: {text}; nothing is converted, so the property must be a number too"))
            }
            (Wanted::Number, Value::Text(text)) if is_instant(text) => Some("to compare instants use `before` and `after`".into()),
            (Wanted::Version, value) if is_number(value) => Some("put it in quotes: as a number 1.10 is 1.1".into()),
            (Wanted::Text, value) if is_number(value) => Some("put it in quotes".into()),
            (Wanted::Instant, Value::Text(_)) => Some("such as 2026-11-01T09:00:00+09:00, 2026-11-01, or Unix seconds".into()),
            _ => None,
        }
    }
}

/// A literal of the wanted kind, or `{event: path}` or `{user: path}`.
fn operand(node: &Node, operator: &str, wanted: Wanted, problems: &Problems) -> Option<Operand> {
    let alone = wanted == Wanted::Scalar && !matches!(operator, "in" | "not_in");
    let wrong = |shown: String, help: Option<String>| {
        let message = format!("`{operator}` needs {}, not {shown}", wanted.described());
        match help {
            Some(help) => problems.error_with_help(node.place, message, help),
            None => problems.error(node.place, message),
        }
        None
    };
    match &node.data {
        Data::Broken => None,
        Data::Scalar(value) if wanted.accepts(value) => {
            if wanted == Wanted::Scalar {
                warn_of_doubt(node, problems);
            }
            Some(Operand::Value(value.clone()))
        }
        Data::Scalar(Value::Text(text)) => wrong(format!("`{text}`"), wanted.help(&Value::Text(text.clone()))),
        Data::Scalar(value) => wrong(value.to_string(), wanted.help(value)),
        Data::List(_) => wrong("a list".into(), Some("for one of several values use `in`".into()).filter(|_| alone)),
        Data::Map(entries) => match &entries[..] {
            [Entry { key, value, .. }] if &**key == "event" => part::path(value, "`event`", problems).map(Operand::Event),
            [Entry { key, value, .. }] if &**key == "user" => part::path(value, "`user`", problems).map(Operand::User),
            _ => wrong("a map".into(), Some("to compare with another property write {event: name} or {user: name}".into())),
        },
    }
}

/// A value without quotes that stands for something else than it looks like.
pub(super) fn warn_of_doubt(node: &Node, problems: &Problems) {
    let Some(written) = problems.doubtful(node.place) else { return };
    match truth_meant(&written) {
        Some(truth) => {
            let message = format!("`{written}` without quotes is text here, and {truth} to other YAML readers");
            problems.warn(node.place, message, format!("write {truth}, or \"{written}\" in quotes"));
        }
        None => {
            let value = node.to_value();
            let message = format!("`{written}` without quotes is the number {value}");
            problems.warn(node.place, message, format!("write \"{written}\" in quotes if it is text such as a version, else {value}"));
        }
    }
}

/// The list of `in` and `not_in`; a single `{event: path}` stands for the elements of that property.
fn operands(node: &Node, operator: &str, problems: &Problems) -> Option<Vec<Operand>> {
    if let Data::Map(_) = node.data {
        return operand(node, operator, Wanted::Scalar, problems).map(|single| vec![single]);
    }
    let items = reader::list(node, &format!("`{operator}`"), problems)?;
    if items.is_empty() {
        problems.error(node.place, format!("`{operator}` needs at least one value"));
        return None;
    }
    every(items.iter().map(|item| operand(item, operator, Wanted::Scalar, problems)))
}

fn between(node: &Node, problems: &Problems) -> Option<Test> {
    let Data::List(items) = &node.data else {
        return reader::list(node, "`between`", problems).and(None);
    };
    let [low, high] = &items[..] else {
        problems.error_with_help(
            node.place,
            format!("`between` needs two numbers, not {}", items.len()),
            "both ends are included: [1, 10]",
        );
        return None;
    };
    let (low, high) = (operand(low, "between", Wanted::Number, problems), operand(high, "between", Wanted::Number, problems));
    let (low, high) = (low?, high?);
    if let (Operand::Value(least), Operand::Value(most)) = (&low, &high)
        && least.compare_numbers(most).is_some_and(std::cmp::Ordering::is_gt)
    {
        problems.error_with_help(node.place, format!("nothing is between {least} and {most}"), format!("write [{most}, {least}]"));
        return None;
    }
    Some(Test::Between(low, high))
}

fn regex(node: &Node, problems: &Problems) -> Option<Regex> {
    let pattern = reader::text(node, "`matches`", problems)?;
    match regex::RegexBuilder::new(pattern).size_limit(MAX_REGEX_BYTES).build() {
        Ok(regex) => Some(Regex(regex)),
        Err(regex::Error::CompiledTooBig(_)) => {
            problems.error(node.place, format!("this regular expression takes more than {MAX_REGEX_BYTES} bytes when compiled"));
            None
        }
        Err(error) => {
            // The crate draws the pattern with a caret; its last line says what is wrong.
            let shown = error.to_string();
            let why = shown.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            problems.error_with_help(node.place, format!("not a regular expression: {why}"), "the syntax is that of Rust's regex crate");
            None
        }
    }
}

fn is_number(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::Unsigned(_) | Value::Float(_))
}

/// As the calendar reads it when the condition is judged.
fn is_instant(text: &str) -> bool {
    DateValue::parse(text).is_some()
}

/// Numbers between dots, with a pre-release or a build behind them: `2.10.3`, `v1.4.0-rc.1`.
fn is_version(text: &str) -> bool {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    numbers.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// By key: the order in which properties and operators are written means nothing, so it makes no difference either.
fn in_order(entries: &[Entry]) -> Vec<&Entry> {
    let mut entries: Vec<&Entry> = entries.iter().collect();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries
}

/// All of these; one stands for itself.
fn all(parts: impl Iterator<Item = Option<Condition>>) -> Option<Condition> {
    let mut parts = every(parts)?;
    if parts.len() == 1 { parts.pop() } else { Some(Condition::All(parts)) }
}

/// Every item, or `None` once all of them had the chance to report what is wrong with them.
pub(super) fn every<T>(parts: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    parts.collect::<Vec<_>>().into_iter().collect()
}

//! For tests: conditions from the JSON of their definition, so that a case reads as a user would write it. No checks: what is
//! wrong panics.

use crate::engine::definition::{Condition, Operand, Regex, Test, duration_text};
use crate::engine::value::{Object, Value};

pub fn object(json: &str) -> Object {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

pub fn condition(json: &str) -> Condition {
    all(&object(json))
}

fn all(map: &Object) -> Condition {
    Condition::All(map.iter().map(|(key, value)| entry(key, value)).collect())
}

fn entry(key: &str, value: &Value) -> Condition {
    match (key, value) {
        ("all", Value::List(parts)) => Condition::All(parts.iter().map(part).collect()),
        ("any", Value::List(parts)) => Condition::Any(parts.iter().map(part).collect()),
        ("not", inner) => Condition::Not(Box::new(part(inner))),
        (path, Value::Object(operators)) => {
            Condition::All(operators.iter().map(|(name, operand)| leaf(path, operator(name, operand))).collect())
        }
        (path, Value::List(members)) => leaf(path, Test::In(members.iter().map(operand).collect())),
        (path, value) => leaf(path, Test::Eq(operand(value))),
    }
}

fn part(value: &Value) -> Condition {
    all(value.as_object().expect("a map"))
}

fn leaf(path: &str, test: Test) -> Condition {
    Condition::Test { path: path.into(), test }
}

fn operator(name: &str, value: &Value) -> Test {
    let members = || match value {
        Value::List(members) => members.iter().map(operand).collect(),
        single => vec![operand(single)],
    };
    let text = || value.as_str().expect("text");
    let span = || duration_text::parse(text()).expect("a duration");
    match name {
        "eq" => Test::Eq(operand(value)),
        "ne" => Test::Ne(operand(value)),
        "in" => Test::In(members()),
        "not_in" => Test::NotIn(members()),
        "gt" => Test::Gt(operand(value)),
        "gte" => Test::Gte(operand(value)),
        "lt" => Test::Lt(operand(value)),
        "lte" => Test::Lte(operand(value)),
        "between" => match &members()[..] {
            [low, high] => Test::Between(low.clone(), high.clone()),
            _ => panic!("between takes two"),
        },
        "contains" => Test::Contains(operand(value)),
        "not_contains" => Test::NotContains(operand(value)),
        "starts_with" => Test::StartsWith(operand(value)),
        "ends_with" => Test::EndsWith(operand(value)),
        "ieq" => Test::Ieq(operand(value)),
        "icontains" => Test::Icontains(operand(value)),
        "istarts_with" => Test::IstartsWith(operand(value)),
        "iends_with" => Test::IendsWith(operand(value)),
        "matches" => Test::Matches(Regex(regex::Regex::new(text()).expect("a regex"))),
        "exists" => Test::Exists(*value == Value::Bool(true)),
        "before" => Test::Before(operand(value)),
        "after" => Test::After(operand(value)),
        "in_last" => Test::InLast(span()),
        "in_next" => Test::InNext(span()),
        "multiple_of" => Test::MultipleOf(operand(value)),
        "version_gt" => Test::VersionGt(operand(value)),
        "version_gte" => Test::VersionGte(operand(value)),
        "version_lt" => Test::VersionLt(operand(value)),
        "version_lte" => Test::VersionLte(operand(value)),
        other => panic!("no operator `{other}`"),
    }
}

fn operand(value: &Value) -> Operand {
    let reference = |key| value.as_object().and_then(|map| map.get(key)).and_then(Value::as_str);
    match (reference("event"), reference("user")) {
        (Some(path), _) => Operand::Event(path.into()),
        (_, Some(path)) => Operand::User(path.into()),
        _ => Operand::Value(value.clone()),
    }
}

//! Conditions as text for people, close to how definitions write them.

use super::explain::operands;
use crate::engine::definition::{Condition, Operand, Test, duration_text};

/// `amount gte 10000 and (plan eq "gold" or plan eq "vip")`; empty for what always holds.
pub fn shown(condition: &Condition) -> String {
    match condition {
        Condition::All(parts) => joined(parts, " and "),
        Condition::Any(parts) => format!("({})", joined(parts, " or ")),
        Condition::Not(part) => format!("not ({})", shown(part)),
        Condition::Test { path, test } => format!("{path} {}", wanted(test)),
    }
}

/// An operator with what it compares with: `matches "^x"`.
pub fn wanted(test: &Test) -> String {
    format!("{} {}", operator(test), compared_with(test))
}

/// An operator as definitions spell it: the variant's name, in small letters with underscores.
pub fn operator(test: &Test) -> String {
    let name = format!("{test:?}");
    let mut spelt = String::new();
    for letter in name.chars().take_while(char::is_ascii_alphabetic) {
        if letter.is_ascii_uppercase() && !spelt.is_empty() {
            spelt.push('_');
        }
        spelt.push(letter.to_ascii_lowercase());
    }
    spelt
}

fn joined(parts: &[Condition], word: &str) -> String {
    parts.iter().map(shown).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(word)
}

fn compared_with(test: &Test) -> String {
    match test {
        Test::Matches(regex) => format!("{:?}", regex.0.as_str()),
        Test::Exists(exists) => exists.to_string(),
        Test::InLast(span) | Test::InNext(span) => duration_text::format(*span),
        _ => operands(test).into_iter().map(operand).collect::<Vec<_>>().join(", "),
    }
}

fn operand(operand: &Operand) -> String {
    match operand {
        Operand::Value(value) => value.to_string(),
        Operand::Event(path) => format!("event.{path}"),
        Operand::User(path) => format!("user.{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::notation::condition;
    use super::*;

    #[test]
    fn a_condition_reads_as_it_is_written() {
        for (json, expect) in [
            ("{}", ""),
            (r#"{"plan": "gold"}"#, r#"plan eq "gold""#),
            (r#"{"amount": {"gte": 10000, "lt": 2}, "plan": ["a", "b"]}"#, r#"amount gte 10000 and amount lt 2 and plan in "a", "b""#),
            (r#"{"any": [{"a": 1}, {"not": {"b": {"exists": true}}}]}"#, "(a eq 1 or not (b exists true))"),
            (r#"{"at": {"in_last": "7d"}, "name": {"matches": "^x"}}"#, r#"at in_last 7d and name matches "^x""#),
        ] {
            assert_eq!(shown(&condition(json)), expect, "{json}");
        }
    }
}

//! One text for all conditions that mean the same as they are written: what a tracker's id is the hash of. Never changes, for
//! ids are stored. Equal where only the order of parts differs, or a repetition.

use crate::engine::condition::operands;
use crate::engine::definition::{Condition, Operand, Test};
use crate::engine::time::millis;
use crate::engine::trigger::correlation;

/// Appends the condition.
pub fn condition(condition: &Condition, out: &mut Vec<u8>) {
    match condition {
        Condition::All(parts) => combined(b'&', parts, out),
        Condition::Any(parts) => combined(b'|', parts, out),
        Condition::Not(part) => {
            out.push(b'!');
            self::condition(part, out);
        }
        Condition::Test { path, test } => {
            out.push(b'?');
            text(path, out);
            self::test(test, out);
        }
    }
}

/// Appends text with its length.
pub fn text(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

/// One part alone is that part.
fn combined(tag: u8, parts: &[Condition], out: &mut Vec<u8>) {
    if let [part] = parts {
        return condition(part, out);
    }
    let written = parts.iter().map(|part| {
        let mut bytes = Vec::with_capacity(48);
        condition(part, &mut bytes);
        bytes
    });
    let mut written: Vec<Vec<u8>> = written.collect();
    written.sort_unstable();
    written.dedup();
    out.push(tag);
    out.extend((written.len() as u32).to_le_bytes());
    out.extend(written.iter().flatten());
}

/// The numbers are part of the stored ids: new operators take new ones.
fn test(test: &Test, out: &mut Vec<u8>) {
    let number = match test {
        Test::Eq(_) => 0,
        Test::Ne(_) => 1,
        Test::In(operands) => return among(2, operands, out),
        Test::NotIn(operands) => return among(3, operands, out),
        Test::Gt(_) => 4,
        Test::Gte(_) => 5,
        Test::Lt(_) => 6,
        Test::Lte(_) => 7,
        Test::Between(..) => 8,
        Test::Contains(_) => 9,
        Test::NotContains(_) => 10,
        Test::StartsWith(_) => 11,
        Test::EndsWith(_) => 12,
        Test::Ieq(_) => 13,
        Test::Icontains(_) => 14,
        Test::IstartsWith(_) => 15,
        Test::IendsWith(_) => 16,
        Test::Matches(regex) => {
            out.push(17);
            return text(regex.0.as_str(), out);
        }
        Test::Exists(wanted) => return out.extend([18, u8::from(*wanted)]),
        Test::Before(_) => 19,
        Test::After(_) => 20,
        Test::InLast(span) => return number_with(21, millis(*span), out),
        Test::InNext(span) => return number_with(22, millis(*span), out),
        Test::MultipleOf(_) => 23,
        Test::VersionGt(_) => 24,
        Test::VersionGte(_) => 25,
        Test::VersionLt(_) => 26,
        Test::VersionLte(_) => 27,
    };
    out.push(number);
    operands(test).into_iter().for_each(|operand| self::operand(operand, out));
}

fn among(number: u8, operands: &[Operand], out: &mut Vec<u8>) {
    let written = operands.iter().map(|one| {
        let mut bytes = Vec::with_capacity(24);
        operand(one, &mut bytes);
        bytes
    });
    let mut written: Vec<Vec<u8>> = written.collect();
    written.sort_unstable();
    written.dedup();
    number_with(number, written.len() as i64, out);
    out.extend(written.iter().flatten());
}

fn number_with(number: u8, value: i64, out: &mut Vec<u8>) {
    out.push(number);
    out.extend(value.to_le_bytes());
}

fn operand(operand: &Operand, out: &mut Vec<u8>) {
    match operand {
        Operand::Value(value) => {
            out.push(b'=');
            correlation::write(value, out);
        }
        Operand::Event(path) => {
            out.push(b'e');
            text(path, out);
        }
        Operand::User(path) => {
            out.push(b'u');
            text(path, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::condition::notation;

    fn bytes(where_: &str) -> Vec<u8> {
        let mut out = Vec::new();
        super::condition(&notation::condition(where_), &mut out);
        out
    }

    #[test]
    fn what_means_the_same_has_one_text() {
        let check = |a: &str, b: &str, equal: bool| assert_eq!(bytes(a) == bytes(b), equal, "{a} {b}");
        check(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1.0}"#, true);
        check(r#"{"a":1}"#, r#"{"all":[{"a":1}]}"#, true);
        check(r#"{"any":[{"a":1},{"a":2}]}"#, r#"{"any":[{"a":2},{"a":1},{"a":1}]}"#, true);
        check(r#"{"a":[1,2]}"#, r#"{"a":{"in":[2,1,1]}}"#, true);
        check(r#"{"a":1}"#, r#"{"a":"1"}"#, false);
        check(r#"{"a":1}"#, r#"{"b":1}"#, false);
        check(r#"{"a":{"gte":1}}"#, r#"{"a":{"gt":1}}"#, false);
        check(r#"{"any":[{"a":1},{"a":2}]}"#, r#"{"all":[{"a":1},{"a":2}]}"#, false);
        check(r#"{"a":{"eq":{"user":"x"}}}"#, r#"{"a":{"eq":{"event":"x"}}}"#, false);
        check(r#"{"a":{"eq":{"user":"x"}}}"#, r#"{"a":"x"}"#, false);
        check(r#"{"a":{"in_last":"1h"}}"#, r#"{"a":{"in_last":"60m"}}"#, true);
        check(r#"{"a":{"in_last":"1h"}}"#, r#"{"a":{"in_next":"1h"}}"#, false);
        check(r#"{"a":{"between":[1,2]}}"#, r#"{"a":{"between":[2,1]}}"#, false);
        check(r#"{"a":{"matches":"x"}}"#, r#"{"a":{"matches":"y"}}"#, false);
        check(r#"{"a":{"exists":true}}"#, r#"{"a":{"exists":false}}"#, false);
        check(r#"{"not":{"a":1}}"#, r#"{"a":1}"#, false);
        check("{}", r#"{"any":[]}"#, false);
    }
}

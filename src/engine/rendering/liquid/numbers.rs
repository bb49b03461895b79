//! Filters that count: arithmetic that neither overflows nor panics, and numbers as people read them. What is not finite, or does not
//! fit, is an error: it is never sent.

use liquid_core::error::Result;
use liquid_core::model::ValueCow;
use liquid_core::{Error, Runtime, Value, ValueView};

/// Most digits after the point that can be asked for.
const MAX_DECIMALS: i64 = 20;

const BY_ZERO: &str = "divided by 0";

/// Whole numbers stay whole; where they would overflow, or one is a fraction, the result is a fraction.
pub fn arithmetic(
    input: &dyn ValueView,
    operand: Option<&ValueCow<'_>>,
    whole: impl Fn(i64, i64) -> Option<i64>,
    fraction: impl Fn(f64, f64) -> f64,
) -> Result<Value> {
    let zero = Value::scalar(0_i64);
    let (a, b) = (parsed(input)?, parsed(operand.map_or(&zero, |operand| operand.as_view()))?);
    if let (Ok(a), Ok(b)) = (a, b)
        && let Some(result) = whole(a, b)
    {
        return Ok(Value::scalar(result));
    }
    let float = |number: std::result::Result<i64, f64>| number.map_or_else(|float| float, |whole| whole as f64);
    Ok(Value::scalar(fraction(float(a), float(b))))
}

pub fn divide(
    input: &dyn ValueView,
    operand: &ValueCow<'_>,
    whole: impl Fn(i64, i64) -> Option<i64>,
    fraction: impl Fn(f64, f64) -> f64,
) -> Result<Value> {
    match parsed(operand.as_view())? {
        Ok(0) | Err(0.0) => Err(Error::with_msg(BY_ZERO)),
        _ => arithmetic(input, Some(operand), whole, fraction),
    }
}

/// Whole numbers by `rounding`, as `ceil` and `floor` do it.
pub fn whole(input: &dyn ValueView, rounding: impl Fn(f64) -> f64) -> Result<Value> {
    match parsed(input)? {
        Ok(whole) => Ok(Value::scalar(whole)),
        // Between these bounds (-2^63 and 2^63) the conversion is exact.
        Err(fraction) => match rounding(fraction) {
            rounded if (i64::MIN as f64..-(i64::MIN as f64)).contains(&rounded) => Ok(Value::scalar(rounded as i64)),
            _ => Err(Error::with_msg("the result is too large for a whole number")),
        },
    }
}

/// Half away from zero, to so many decimals (default 0) of the number as it is written: 2.675 to two is 2.68.
pub fn round(input: &dyn ValueView, arguments: &[ValueCow<'_>], _runtime: &dyn Runtime) -> Result<Value> {
    let decimals = arguments.first().map_or(Ok(0), |argument| decimals(argument.as_view()))?;
    match parsed(input)? {
        _ if decimals == 0 => whole(input, f64::round),
        Ok(whole) => Ok(Value::scalar(whole as f64)),
        Err(number) => {
            let written = number.to_string();
            let (sign, whole, fraction) = split(&written);
            let (whole, fraction) = rounded(whole, fraction, decimals);
            let rounded = format!("{sign}{whole}.{fraction}").parse::<f64>();
            // Nothing is written as -0.
            rounded.map(|rounded| Value::scalar(rounded + 0.0)).map_err(|error| Error::with_msg(error.to_string()))
        }
    }
}

/// What can never be counted with.
pub fn refuse_operand(_argument: usize, value: &dyn ValueView) -> Option<String> {
    parsed(value).is_err().then(|| format!("it needs a number, not `{}`", value.to_kstr()))
}

pub fn refuse_divisor(argument: usize, value: &dyn ValueView) -> Option<String> {
    match parsed(value) {
        Ok(Ok(0) | Err(0.0)) => Some(BY_ZERO.to_owned()),
        _ => refuse_operand(argument, value),
    }
}

pub fn refuse_decimals(argument: usize, value: &dyn ValueView) -> Option<String> {
    (argument == 0 && known_decimals(value).is_none()).then(|| wrong_decimals(value))
}

/// A whole number at which text is cut.
pub fn place(value: &dyn ValueView) -> Result<i64> {
    parsed(value)?.map_err(|_| Error::with_msg(format!("expected a whole number, found {}", value.type_name())))
}

/// `Ok` a whole number, `Err` a fraction; text is read as a number, as Liquid does, but not `inf` and `nan`.
fn parsed(value: &dyn ValueView) -> Result<std::result::Result<i64, f64>> {
    let scalar = value.as_scalar().filter(|_| !value.is_nil());
    let Some(scalar) = scalar else {
        return Err(Error::with_msg(format!("expected a number, found {}", value.type_name())));
    };
    match (scalar.to_integer(), scalar.to_float()) {
        (Some(whole), _) => Ok(Ok(whole)),
        (None, Some(float)) if float.is_finite() => Ok(Err(float)),
        (None, _) => Err(Error::with_msg(format!("expected a number, found {}", value.type_name()))),
    }
}

/// The sum of a list, with an argument of that property of its items. What is missing counts as nothing.
pub fn sum(input: &dyn ValueView, arguments: &[ValueCow<'_>], _runtime: &dyn Runtime) -> Result<Value> {
    let Some(items) = input.as_array() else {
        return Err(Error::with_msg(format!("expected a list, found {}", input.type_name())));
    };
    let property = arguments.first().map(ValueView::to_kstr);
    let values = items.values().filter_map(|item| match &property {
        Some(name) => item.as_object()?.get(name.as_str()),
        None => Some(item),
    });
    values
        .filter(|value| !value.is_nil())
        .try_fold(Value::scalar(0_i64), |total, value| arithmetic(&total, Some(&ValueCow::Borrowed(value)), i64::checked_add, |a, b| a + b))
}

/// A number as people read it: rounded half away from zero to so many decimals (absent: all it has), with a separator of thousands
/// (default a comma) and a decimal point.
pub fn number(input: &dyn ValueView, arguments: &[ValueCow<'_>], _runtime: &dyn Runtime) -> Result<Value> {
    let decimals = arguments.first().map(|argument| decimals(argument.as_view())).transpose()?;
    let separator = arguments.get(1).map_or_else(|| ",".into(), ValueView::to_kstr);
    let point = arguments.get(2).map_or_else(|| ".".into(), ValueView::to_kstr);
    let written = match parsed(input)? {
        Ok(whole) => whole.to_string(),
        // The shortest text that is this number, never with an exponent: what the author sees is what is rounded.
        Err(float) => float.to_string(),
    };
    let (sign, whole, fraction) = split(&written);
    let (whole, fraction) = rounded(whole, fraction, decimals.unwrap_or(fraction.len()));
    let mut text = String::new();
    if (whole.bytes().chain(fraction.bytes())).any(|digit| digit != b'0') {
        text.push_str(sign);
    }
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            text.push_str(separator.as_str());
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text.push_str(point.as_str());
        text.push_str(&fraction);
    }
    Ok(Value::scalar(text))
}

fn decimals(value: &dyn ValueView) -> Result<usize> {
    known_decimals(value).ok_or_else(|| Error::with_msg(wrong_decimals(value)))
}

fn known_decimals(value: &dyn ValueView) -> Option<usize> {
    let wanted = parsed(value).ok()?.ok().filter(|decimals| (0..=MAX_DECIMALS).contains(decimals))?;
    usize::try_from(wanted).ok()
}

fn wrong_decimals(value: &dyn ValueView) -> String {
    format!("decimals are a whole number from 0 to {MAX_DECIMALS}, not {}", value.to_kstr())
}

/// The sign of a written number, and its digits before and after the point.
fn split(written: &str) -> (&str, &str, &str) {
    let (sign, digits) = written.split_at(usize::from(written.starts_with('-')));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    (sign, whole, fraction)
}

/// Digits before and after the point, with so many after it.
fn rounded(whole: &str, fraction: &str, decimals: usize) -> (String, String) {
    let up = fraction.as_bytes().get(decimals).is_some_and(|digit| *digit >= b'5');
    let kept = &fraction[..fraction.len().min(decimals)];
    let mut digits: Vec<u8> = whole.bytes().chain(kept.bytes()).chain(std::iter::repeat_n(b'0', decimals - kept.len())).collect();
    if up {
        let nines = digits.iter().rev().take_while(|digit| **digit == b'9').count();
        let carried = digits.len() - nines;
        digits[carried..].fill(b'0');
        match carried.checked_sub(1) {
            Some(last) => digits[last] += 1,
            None => digits.insert(0, b'1'),
        }
    }
    let text: String = digits.into_iter().map(char::from).collect();
    let (whole, fraction) = text.split_at(text.len() - decimals);
    (whole.to_owned(), fraction.to_owned())
}

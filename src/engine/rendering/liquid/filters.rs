//! Filters. Most are the crate's, behind a guard: what is missing passes through as missing (only `default`, `json`, `size`,
//! `append` and `prepend` make something of it), and the work is counted. Ours are those of the crate's that overflow, grow
//! without bound or read the clock, and `json`.

use std::fmt;
use std::ops::RangeInclusive;

use jiff::fmt::strtime::BrokenDownTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};
use liquid_core::error::Result;
use liquid_core::model::{State, ValueCow};
use liquid_core::parser::{FilterArguments, ParameterReflection};
use liquid_core::{Error, Expression, Filter, FilterReflection, ParseFilter, Runtime, Value, ValueView};
use liquid_lib::stdlib;

use super::runtime::{Meter, charge};
use super::values::push_json;
use super::{FilterSignature, MAX_WORK_BYTES, tags::STEP_BYTES};

/// Filters that make something of a missing value.
const ACCEPT_MISSING: [&str; 5] = ["default", "json", "size", "append", "prepend"];

/// Every filter.
pub fn all() -> Vec<Box<dyn ParseFilter>> {
    let mut filters: Vec<Box<dyn ParseFilter>> = crates().into_iter().map(|inner| Guard { inner }.into()).collect();
    filters.extend(OWN.iter().map(|own| Guard { inner: own.clone().into() }.into()));
    filters
}

/// Every filter as it is written.
pub fn signatures() -> Vec<FilterSignature> {
    let crates = crates().into_iter().map(|filter| {
        let reflection = filter.reflection();
        let parameters = reflection.positional_parameters();
        let least = parameters.iter().filter(|parameter| !parameter.is_optional).count();
        // Once for the life of the process: names are kept by whoever asks.
        FilterSignature { name: Box::leak(reflection.name().into()), arguments: least..=parameters.len() }
    });
    crates.chain(OWN.iter().map(|own| FilterSignature { name: own.name, arguments: own.arguments.clone() })).collect()
}

/// About how many bytes a value holds.
pub fn size(value: &dyn ValueView) -> usize {
    const CELL: usize = 8;
    if let Some(items) = value.as_array() {
        items.values().map(|item| CELL + size(item)).sum()
    } else if let Some(object) = value.as_object() {
        object.iter().map(|(key, value)| CELL + key.len() + size(value)).sum()
    } else if value.type_name() == "string" {
        value.to_kstr().len()
    } else {
        CELL
    }
}

fn crates() -> Vec<Box<dyn ParseFilter>> {
    vec![
        stdlib::Append.into(),
        stdlib::AtLeast.into(),
        stdlib::AtMost.into(),
        stdlib::Capitalize.into(),
        stdlib::Ceil.into(),
        stdlib::Compact.into(),
        stdlib::Concat.into(),
        stdlib::Downcase.into(),
        stdlib::Escape.into(),
        stdlib::EscapeOnce.into(),
        stdlib::First.into(),
        stdlib::Floor.into(),
        stdlib::Last.into(),
        stdlib::Lstrip.into(),
        stdlib::Map.into(),
        stdlib::NewlineToBr.into(),
        stdlib::Prepend.into(),
        stdlib::Remove.into(),
        stdlib::RemoveFirst.into(),
        stdlib::ReplaceFirst.into(),
        stdlib::Reverse.into(),
        stdlib::Round.into(),
        stdlib::Rstrip.into(),
        stdlib::Size.into(),
        stdlib::Slice.into(),
        stdlib::Sort.into(),
        stdlib::SortNatural.into(),
        stdlib::Split.into(),
        stdlib::Strip.into(),
        stdlib::StripHtml.into(),
        stdlib::StripNewlines.into(),
        stdlib::Truncate.into(),
        stdlib::TruncateWords.into(),
        stdlib::Uniq.into(),
        stdlib::Upcase.into(),
        stdlib::UrlDecode.into(),
        stdlib::UrlEncode.into(),
        stdlib::Where.into(),
    ]
}

const OWN: [Own; 11] = [
    own("abs", 0..=0, |input, _, _| arithmetic(input, None, |a, _| a.checked_abs(), |a, _| a.abs())),
    own("date", 1..=1, date),
    own("default", 1..=1, default),
    own("divided_by", 1..=1, |input, arguments, _| divide(input, &arguments[0], i64::checked_div, |a, b| a / b)),
    own("join", 0..=1, join),
    own("json", 0..=0, json),
    own("minus", 1..=1, |input, arguments, _| arithmetic(input, Some(&arguments[0]), i64::checked_sub, |a, b| a - b)),
    own("modulo", 1..=1, |input, arguments, _| divide(input, &arguments[0], i64::checked_rem, |a, b| a % b)),
    own("plus", 1..=1, |input, arguments, _| arithmetic(input, Some(&arguments[0]), i64::checked_add, |a, b| a + b)),
    own("replace", 1..=2, replace),
    own("times", 1..=1, |input, arguments, _| arithmetic(input, Some(&arguments[0]), i64::checked_mul, |a, b| a * b)),
];

type Evaluate = fn(&dyn ValueView, &[ValueCow<'_>], &dyn Runtime) -> Result<Value>;

/// A filter of ours.
#[derive(Clone)]
struct Own {
    name: &'static str,
    arguments: RangeInclusive<usize>,
    evaluate: Evaluate,
}

const fn own(name: &'static str, arguments: RangeInclusive<usize>, evaluate: Evaluate) -> Own {
    Own { name, arguments, evaluate }
}

impl FilterReflection for Own {
    fn name(&self) -> &str {
        self.name
    }

    fn description(&self) -> &str {
        ""
    }

    fn positional_parameters(&self) -> &'static [ParameterReflection] {
        &[]
    }

    fn keyword_parameters(&self) -> &'static [ParameterReflection] {
        &[]
    }
}

impl ParseFilter for Own {
    fn parse(&self, mut arguments: FilterArguments<'_>) -> Result<Box<dyn Filter>> {
        // The expression's check has counted them; this is for whoever parses without it.
        let given: Vec<Expression> = arguments.positional.collect();
        if !self.arguments.contains(&given.len()) || arguments.keyword.next().is_some() {
            return Err(Error::with_msg(format!("`{}` with {} arguments", self.name, given.len())));
        }
        Ok(Box::new(OwnUse { own: self.clone(), arguments: given }))
    }

    fn reflection(&self) -> &dyn FilterReflection {
        self
    }
}

struct OwnUse {
    own: Own,
    arguments: Vec<Expression>,
}

impl Filter for OwnUse {
    fn evaluate(&self, input: &dyn ValueView, runtime: &dyn Runtime) -> Result<Value> {
        let arguments = self.arguments.iter().map(|argument| argument.evaluate(runtime)).collect::<Result<Vec<_>>>()?;
        (self.own.evaluate)(input, &arguments, runtime)
    }
}

impl fmt::Debug for OwnUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for OwnUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.own.name)?;
        self.arguments.iter().enumerate().try_for_each(|(i, argument)| write!(f, "{}{argument}", if i == 0 { ": " } else { ", " }))
    }
}

/// The guard before every filter.
#[derive(Clone)]
struct Guard {
    inner: Box<dyn ParseFilter>,
}

impl ParseFilter for Guard {
    fn parse(&self, arguments: FilterArguments<'_>) -> Result<Box<dyn Filter>> {
        let accepts_missing = ACCEPT_MISSING.contains(&self.inner.reflection().name());
        Ok(Box::new(Guarded { inner: self.inner.parse(arguments)?, accepts_missing }))
    }

    fn reflection(&self) -> &dyn FilterReflection {
        self.inner.reflection()
    }
}

#[derive(Debug)]
struct Guarded {
    inner: Box<dyn Filter>,
    accepts_missing: bool,
}

impl Filter for Guarded {
    fn evaluate(&self, input: &dyn ValueView, runtime: &dyn Runtime) -> Result<Value> {
        if input.is_nil() && !self.accepts_missing {
            return Ok(Value::Nil);
        }
        charge(runtime, STEP_BYTES + size(input))?;
        let output = self.inner.evaluate(input, runtime)?;
        charge(runtime, size(&output))?;
        Ok(output)
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// The value as JSON text; null for what is missing.
fn json(input: &dyn ValueView, _arguments: &[ValueCow<'_>], _runtime: &dyn Runtime) -> Result<Value> {
    let mut text = String::new();
    push_json(&mut text, input);
    Ok(Value::scalar(text))
}

/// The argument where the input is missing, false or empty.
fn default(input: &dyn ValueView, arguments: &[ValueCow<'_>], _runtime: &dyn Runtime) -> Result<Value> {
    Ok(if input.query_state(State::DefaultValue) { arguments[0].to_value() } else { input.to_value() })
}

fn replace(input: &dyn ValueView, arguments: &[ValueCow<'_>], _runtime: &dyn Runtime) -> Result<Value> {
    let (text, search) = (input.to_kstr(), arguments[0].to_kstr());
    let with = arguments.get(1).map(ValueView::to_kstr).unwrap_or_default();
    let found = text.matches(search.as_str()).count();
    refuse_above(text.len().saturating_add(found.saturating_mul(with.len())))?;
    Ok(Value::scalar(text.replace(search.as_str(), with.as_str())))
}

fn join(input: &dyn ValueView, arguments: &[ValueCow<'_>], _runtime: &dyn Runtime) -> Result<Value> {
    let Some(items) = input.as_array() else {
        return Ok(input.to_value());
    };
    let separator = arguments.first().map_or_else(|| " ".into(), ValueView::to_kstr);
    let count = usize::try_from(items.size()).unwrap_or(0);
    refuse_above(size(input).saturating_add(count.saturating_mul(separator.len())))?;
    let parts: Vec<String> = items.values().map(|item| item.to_kstr().into_owned().to_string()).collect();
    Ok(Value::scalar(parts.join(separator.as_str())))
}

fn refuse_above(bytes: usize) -> Result<()> {
    if bytes > MAX_WORK_BYTES { Err(Error::with_msg(format!("the result would have {bytes} bytes"))) } else { Ok(()) }
}

/// Whole numbers stay whole; where they would overflow, or one is a fraction, the result is a fraction.
fn arithmetic(
    input: &dyn ValueView,
    operand: Option<&ValueCow<'_>>,
    whole: impl Fn(i64, i64) -> Option<i64>,
    fraction: impl Fn(f64, f64) -> f64,
) -> Result<Value> {
    let zero = Value::scalar(0_i64);
    let (a, b) = (number(input)?, number(operand.map_or(&zero, |operand| operand.as_view()))?);
    if let (Ok(a), Ok(b)) = (a, b)
        && let Some(result) = whole(a, b)
    {
        return Ok(Value::scalar(result));
    }
    let float = |number: std::result::Result<i64, f64>| number.map_or_else(|float| float, |whole| whole as f64);
    Ok(Value::scalar(fraction(float(a), float(b))))
}

fn divide(
    input: &dyn ValueView,
    operand: &ValueCow<'_>,
    whole: impl Fn(i64, i64) -> Option<i64>,
    fraction: impl Fn(f64, f64) -> f64,
) -> Result<Value> {
    match number(operand.as_view())? {
        Ok(0) => Err(Error::with_msg("divided by 0")),
        _ => arithmetic(input, Some(operand), whole, fraction),
    }
}

/// `Ok` a whole number, `Err` a fraction; text is read as a number, as Liquid does.
fn number(value: &dyn ValueView) -> Result<std::result::Result<i64, f64>> {
    let scalar = value.as_scalar().filter(|_| !value.is_nil());
    let Some(scalar) = scalar else {
        return Err(Error::with_msg(format!("expected a number, found {}", value.type_name())));
    };
    match (scalar.to_integer(), scalar.to_float()) {
        (Some(whole), _) => Ok(Ok(whole)),
        (None, Some(float)) => Ok(Err(float)),
        (None, None) => Err(Error::with_msg(format!("expected a number, found {}", value.type_name()))),
    }
}

/// Formats an instant (ISO 8601 text, Unix seconds or milliseconds, `now`) as `strftime` does, in the offset it was written
/// with, else UTC. `now` is the time of decision. What is no instant stays as it is, as in Liquid.
fn date(input: &dyn ValueView, arguments: &[ValueCow<'_>], runtime: &dyn Runtime) -> Result<Value> {
    let now = runtime.registers().get_mut::<Meter>().now;
    let Some(at) = instant(input, now.0) else {
        return Ok(input.to_value());
    };
    let format = arguments[0].to_kstr();
    // Padding such as %200d is bounded by the crate (a width has one byte); the format itself by the work.
    let text = BrokenDownTime::from(&at)
        .to_string(format.as_str())
        .map_err(|error| Error::with_msg(format!("date format `{format}`: {error}")))?;
    Ok(Value::scalar(text))
}

/// Numbers above this are milliseconds (as seconds they lie beyond the year 5000).
const LARGEST_SECONDS: u64 = 100_000_000_000;

fn instant(input: &dyn ValueView, now_ms: i64) -> Option<Zoned> {
    let utc = |ms: i64| Some(Timestamp::from_millisecond(ms).ok()?.to_zoned(TimeZone::UTC));
    if input.type_name() != "string" {
        let number = input.as_scalar()?.to_integer()?;
        return utc(if number.unsigned_abs() > LARGEST_SECONDS { number } else { number.checked_mul(1000)? });
    }
    let text = input.to_kstr();
    let text = text.trim();
    if text.eq_ignore_ascii_case("now") || text.eq_ignore_ascii_case("today") {
        return utc(now_ms);
    }
    let pieces = Pieces::parse(text).ok()?;
    let offset = pieces.to_numeric_offset().unwrap_or(Offset::UTC);
    pieces.date().to_datetime(pieces.time().unwrap_or_default()).to_zoned(TimeZone::fixed(offset)).ok()
}

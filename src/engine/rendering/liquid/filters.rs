//! Filters. Most are the crate's, behind a guard: what is missing passes through as missing (only `default`, `json`, `size`,
//! `append` and `prepend` make something of it), the work is counted, and a number that is not finite is an error. Ours are those of
//! the crate's that overflow, grow without bound, read the clock or count bytes as characters, and those that the crate lacks.
//! `docs/filters.md` lists them all; a test compares.

use std::fmt;
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use liquid_core::error::Result;
use liquid_core::model::{State, ValueCow};
use liquid_core::parser::{FilterArguments, ParameterReflection};
use liquid_core::{Error, Expression, Filter, FilterReflection, ParseFilter, Runtime, Value, ValueView};
use liquid_lib::stdlib;
use sha2::{Digest, Sha256};

use super::dates::{self, date, time_zone};
use super::numbers::{self, arithmetic, divide, number, round, sum, whole};
use super::runtime::charge;
use super::texts::{self, size as count, slice, split, truncate};
use super::values::push_json;
use super::{FilterSignature, MAX_WORK_BYTES, Refuse, tags::STEP_BYTES};

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
        FilterSignature { name: Box::leak(reflection.name().into()), arguments: least..=parameters.len(), refuse: None }
    });
    let own = OWN.iter().map(|own| FilterSignature { name: own.name, arguments: own.arguments.clone(), refuse: own.refuse });
    crates.chain(own).collect()
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
        stdlib::Capitalize.into(),
        stdlib::Compact.into(),
        stdlib::Concat.into(),
        stdlib::Downcase.into(),
        stdlib::Escape.into(),
        stdlib::EscapeOnce.into(),
        stdlib::First.into(),
        stdlib::Last.into(),
        stdlib::Lstrip.into(),
        stdlib::Map.into(),
        stdlib::NewlineToBr.into(),
        stdlib::Prepend.into(),
        stdlib::Remove.into(),
        stdlib::RemoveFirst.into(),
        stdlib::ReplaceFirst.into(),
        stdlib::Reverse.into(),
        stdlib::Rstrip.into(),
        stdlib::Sort.into(),
        stdlib::SortNatural.into(),
        stdlib::Strip.into(),
        stdlib::StripHtml.into(),
        stdlib::StripNewlines.into(),
        stdlib::TruncateWords.into(),
        stdlib::Uniq.into(),
        stdlib::Upcase.into(),
        stdlib::UrlDecode.into(),
        stdlib::UrlEncode.into(),
        stdlib::Where.into(),
    ]
}

const OWN: [Own; 27] = [
    own("abs", 0..=0, |input, _, _| arithmetic(input, None, |a, _| a.checked_abs(), |a, _| a.abs())),
    own("at_least", 1..=1, |input, arguments, _| arithmetic(input, Some(&arguments[0]), |a, b| Some(a.max(b)), f64::max))
        .refusing(numbers::refuse_operand),
    own("at_most", 1..=1, |input, arguments, _| arithmetic(input, Some(&arguments[0]), |a, b| Some(a.min(b)), f64::min))
        .refusing(numbers::refuse_operand),
    own("base64_encode", 0..=0, |input, _, _| Ok(Value::scalar(BASE64_STANDARD.encode(input.to_kstr().as_bytes())))),
    own("ceil", 0..=0, |input, _, _| whole(input, f64::ceil)),
    own("date", 1..=1, date).refusing(dates::refuse_format),
    own("default", 1..=1, default),
    own("divided_by", 1..=1, |input, arguments, _| divide(input, &arguments[0], i64::checked_div, |a, b| a / b))
        .refusing(numbers::refuse_divisor),
    own("floor", 0..=0, |input, _, _| whole(input, f64::floor)),
    own("join", 0..=1, join),
    own("json", 0..=0, json),
    own("minus", 1..=1, |input, arguments, _| arithmetic(input, Some(&arguments[0]), i64::checked_sub, |a, b| a - b))
        .refusing(numbers::refuse_operand),
    own("modulo", 1..=1, |input, arguments, _| divide(input, &arguments[0], i64::checked_rem, |a, b| a % b))
        .refusing(numbers::refuse_divisor),
    own("number", 0..=3, number).refusing(numbers::refuse_decimals),
    own("plus", 1..=1, |input, arguments, _| arithmetic(input, Some(&arguments[0]), i64::checked_add, |a, b| a + b))
        .refusing(numbers::refuse_operand),
    own("remove_last", 1..=1, replace_last),
    own("replace", 1..=2, replace),
    own("replace_last", 2..=2, replace_last),
    own("round", 0..=1, round).refusing(numbers::refuse_decimals),
    own("sha256", 0..=0, sha256),
    own("size", 0..=0, count),
    own("slice", 1..=2, slice).refusing(texts::refuse_slice),
    own("split", 1..=1, split),
    own("sum", 0..=1, sum),
    own("time_zone", 1..=1, time_zone).refusing(dates::refuse_zone),
    own("times", 1..=1, |input, arguments, _| arithmetic(input, Some(&arguments[0]), i64::checked_mul, |a, b| a * b))
        .refusing(numbers::refuse_operand),
    own("truncate", 0..=2, truncate).refusing(texts::refuse_truncate),
];

type Evaluate = fn(&dyn ValueView, &[ValueCow<'_>], &dyn Runtime) -> Result<Value>;

/// A filter of ours.
#[derive(Clone)]
struct Own {
    name: &'static str,
    arguments: RangeInclusive<usize>,
    evaluate: Evaluate,
    refuse: Option<Refuse>,
}

const fn own(name: &'static str, arguments: RangeInclusive<usize>, evaluate: Evaluate) -> Own {
    Own { name, arguments, evaluate, refuse: None }
}

impl Own {
    /// Constant arguments that can never work are told when the template is compiled.
    const fn refusing(self, refuse: Refuse) -> Own {
        let Own { name, arguments, evaluate, .. } = self;
        Own { name, arguments, evaluate, refuse: Some(refuse) }
    }
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
        // Whatever the filter: such a number is none that anybody could read, and none in JSON.
        if output.type_name() == "fractional number"
            && output.as_scalar().and_then(|number| number.to_float()).is_some_and(|n| !n.is_finite())
        {
            return Err(Error::with_msg("the result is too large for a number"));
        }
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

/// Without a second argument it is removed.
fn replace_last(input: &dyn ValueView, arguments: &[ValueCow<'_>], _runtime: &dyn Runtime) -> Result<Value> {
    let (text, search) = (input.to_kstr(), arguments[0].to_kstr());
    let with = arguments.get(1).map(ValueView::to_kstr).unwrap_or_default();
    Ok(Value::scalar(match text.rsplit_once(search.as_str()) {
        Some((before, after)) => format!("{before}{with}{after}"),
        None => text.into_owned().to_string(),
    }))
}

/// The hash of the text, in hexadecimal: how services want addresses that are not to be read.
fn sha256(input: &dyn ValueView, _arguments: &[ValueCow<'_>], _runtime: &dyn Runtime) -> Result<Value> {
    let hash = Sha256::digest(input.to_kstr().as_bytes());
    Ok(Value::scalar(hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
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

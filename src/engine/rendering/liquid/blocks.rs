//! Tags with a body: `if` and `unless`, `case`, `for`, `capture`. Loops are bounded before they begin; a range is never built.

use std::io::{self, Write};

use liquid_core::error::Result;
use liquid_core::model::{KString, ValueCow};
use liquid_core::parser::{BlockElement, TryMatchToken};
use liquid_core::runtime::{Interrupt, InterruptRegister, Template as Elements};
use liquid_core::{
    BlockReflection, Error, Expression, Language, ParseBlock, Renderable, Runtime, TagBlock, TagTokenIter, Value as Liquid, ValueView,
};

use super::compare::{contains, equal, is_true, order};
use super::filters;
use super::runtime::{Pass, charge, charge_passes};
use super::tags::STEP_BYTES;
use super::values::sorted;

macro_rules! reflection {
    ($block:ty, $start:expr, $end:expr) => {
        impl BlockReflection for $block {
            fn start_tag(&self) -> &str {
                $start(self)
            }

            fn end_tag(&self) -> &str {
                $end(self)
            }

            fn description(&self) -> &str {
                ""
            }
        }
    };
}

/// `if` (expects true) and `unless` (expects false).
#[derive(Clone, Copy, Debug)]
pub struct IfBlock {
    pub expected: bool,
}

reflection!(IfBlock, |block: &IfBlock| if block.expected { "if" } else { "unless" }, |block: &IfBlock| if block.expected {
    "endif"
} else {
    "endunless"
});

impl ParseBlock for IfBlock {
    fn parse(&self, arguments: TagTokenIter<'_>, mut tokens: TagBlock<'_, '_>, options: &Language) -> Result<Box<dyn Renderable>> {
        let mut branches = Vec::new();
        let mut condition = parse_condition(arguments)?;
        let mut expected = self.expected;
        let mut body = Vec::new();
        let mut otherwise = None;
        while let Some(element) = tokens.next()? {
            match element {
                BlockElement::Tag(tag) if tag.name() == "elsif" => {
                    let next = parse_condition(tag.into_tokens())?;
                    branches.push((std::mem::replace(&mut condition, next), expected, Elements::new(std::mem::take(&mut body))));
                    expected = true;
                }
                BlockElement::Tag(mut tag) if tag.name() == "else" => {
                    tag.tokens().expect_nothing()?;
                    otherwise = Some(Elements::new(tokens.parse_all(options)?));
                    break;
                }
                element => body.push(element.parse(&mut tokens, options)?),
            }
        }
        tokens.assert_empty();
        branches.push((condition, expected, Elements::new(body)));
        Ok(Box::new(If { branches, otherwise }))
    }

    fn reflection(&self) -> &dyn BlockReflection {
        self
    }
}

#[derive(Debug)]
struct If {
    branches: Vec<(Condition, bool, Elements)>,
    otherwise: Option<Elements>,
}

impl Renderable for If {
    fn render_to(&self, writer: &mut dyn Write, runtime: &dyn Runtime) -> Result<()> {
        for (condition, expected, body) in &self.branches {
            if condition.judge(runtime)? == *expected {
                return body.render_to(writer, runtime);
            }
        }
        self.otherwise.as_ref().map_or(Ok(()), |body| body.render_to(writer, runtime))
    }
}

/// `a`, `a == b`, joined by `and` and `or`, which as in Liquid bind alike and from the right.
#[derive(Debug)]
struct Condition {
    test: Test,
    rest: Option<(Joint, Box<Condition>)>,
}

#[derive(Debug)]
enum Test {
    Truth(Expression),
    Binary(Expression, Operator, Expression),
}

#[derive(Clone, Copy, Debug)]
enum Joint {
    And,
    Or,
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    Eq,
    Ne,
    Lt,
    Lte,
    Gt,
    Gte,
    Contains,
}

/// Longest chain of conditions: judging recurses along it.
const MAX_CONDITIONS: usize = 50;

impl Condition {
    fn judge(&self, runtime: &dyn Runtime) -> Result<bool> {
        let truth = self.test.judge(runtime)?;
        match &self.rest {
            None => Ok(truth),
            Some((Joint::And, rest)) => Ok(truth && rest.judge(runtime)?),
            Some((Joint::Or, rest)) => Ok(truth || rest.judge(runtime)?),
        }
    }
}

impl Test {
    fn judge(&self, runtime: &dyn Runtime) -> Result<bool> {
        let (a, operator, b) = match self {
            Test::Truth(value) => {
                charge(runtime, STEP_BYTES)?;
                return Ok(is_true(value.evaluate(runtime)?.as_view()));
            }
            Test::Binary(a, operator, b) => (a.evaluate(runtime)?, operator, b.evaluate(runtime)?),
        };
        let (a, b) = (a.as_view(), b.as_view());
        charge(runtime, STEP_BYTES + filters::size(a))?;
        Ok(match operator {
            Operator::Eq => equal(a, b),
            Operator::Ne => !equal(a, b),
            Operator::Lt => order(a, b).is_some_and(|order| order.is_lt()),
            Operator::Lte => order(a, b).is_some_and(|order| order.is_le()),
            Operator::Gt => order(a, b).is_some_and(|order| order.is_gt()),
            Operator::Gte => order(a, b).is_some_and(|order| order.is_ge()),
            Operator::Contains => contains(a, b),
        })
    }
}

fn parse_condition(mut arguments: TagTokenIter<'_>) -> Result<Condition> {
    let mut tests = Vec::new();
    loop {
        let a = arguments.expect_next("a condition is missing")?.expect_value().into_result()?;
        let Some(token) = arguments.next() else {
            tests.push((Test::Truth(a), None));
            break;
        };
        let joint = |text: &str| match text {
            "and" => Some(Joint::And),
            "or" => Some(Joint::Or),
            _ => None,
        };
        if let Some(joint) = joint(token.as_str().trim()) {
            tests.push((Test::Truth(a), Some(joint)));
            continue;
        }
        let operator = match token.as_str().trim() {
            "==" => Operator::Eq,
            "!=" | "<>" => Operator::Ne,
            "<" => Operator::Lt,
            "<=" => Operator::Lte,
            ">" => Operator::Gt,
            ">=" => Operator::Gte,
            "contains" => Operator::Contains,
            _ => return Err(token.raise_custom_error("expected an operator: == != < <= > >= contains, or `and`, `or`")),
        };
        let b = arguments.expect_next("a value is missing after the operator")?.expect_value().into_result()?;
        let test = Test::Binary(a, operator, b);
        let Some(token) = arguments.next() else {
            tests.push((test, None));
            break;
        };
        match joint(token.as_str().trim()) {
            Some(joint) => tests.push((test, Some(joint))),
            None => return Err(token.raise_custom_error("expected `and` or `or`")),
        }
    }
    if tests.len() > MAX_CONDITIONS {
        return Err(arguments.raise_error(&format!("more than {MAX_CONDITIONS} conditions")));
    }
    let mut whole: Option<Box<Condition>> = None;
    for (test, joint) in tests.into_iter().rev() {
        let rest = joint.zip(whole.take());
        whole = Some(Box::new(Condition { test, rest }));
    }
    whole.map(|condition| *condition).ok_or_else(|| Error::with_msg("a condition is missing"))
}

/// Elements not yet closed into a template.
type Body = Vec<Box<dyn Renderable>>;

/// `case` with `when a or b`, `else`.
#[derive(Clone, Copy, Debug)]
pub struct CaseBlock;

reflection!(CaseBlock, |_| "case", |_| "endcase");

impl ParseBlock for CaseBlock {
    fn parse(&self, mut arguments: TagTokenIter<'_>, mut tokens: TagBlock<'_, '_>, options: &Language) -> Result<Box<dyn Renderable>> {
        let subject = arguments.expect_next("a value is missing")?.expect_value().into_result()?;
        arguments.expect_nothing()?;
        let mut branches: Vec<(Vec<Expression>, Body)> = Vec::new();
        let mut otherwise = None;
        while let Some(element) = tokens.next()? {
            match element {
                BlockElement::Tag(mut tag) if tag.name() == "when" => branches.push((parse_alternatives(tag.tokens())?, Vec::new())),
                BlockElement::Tag(mut tag) if tag.name() == "else" => {
                    tag.tokens().expect_nothing()?;
                    otherwise = Some(Elements::new(tokens.parse_all(options)?));
                    break;
                }
                element => {
                    // What stands before the first `when` is never shown.
                    let parsed = element.parse(&mut tokens, options)?;
                    if let Some((_, body)) = branches.last_mut() {
                        body.push(parsed);
                    }
                }
            }
        }
        tokens.assert_empty();
        let branches = branches.into_iter().map(|(values, body)| (values, Elements::new(body))).collect();
        Ok(Box::new(Case { subject, branches, otherwise }))
    }

    fn reflection(&self) -> &dyn BlockReflection {
        self
    }
}

fn parse_alternatives(arguments: &mut TagTokenIter<'_>) -> Result<Vec<Expression>> {
    let mut values = vec![arguments.expect_next("a value is missing")?.expect_value().into_result()?];
    while let Some(token) = arguments.next() {
        if !matches!(token.as_str().trim(), "or" | ",") {
            return Err(token.raise_custom_error("expected `or` or `,`"));
        }
        values.push(arguments.expect_next("a value is missing")?.expect_value().into_result()?);
    }
    Ok(values)
}

#[derive(Debug)]
struct Case {
    subject: Expression,
    branches: Vec<(Vec<Expression>, Elements)>,
    otherwise: Option<Elements>,
}

impl Renderable for Case {
    fn render_to(&self, writer: &mut dyn Write, runtime: &dyn Runtime) -> Result<()> {
        let subject = self.subject.evaluate(runtime)?;
        for (values, body) in &self.branches {
            for value in values {
                charge(runtime, STEP_BYTES)?;
                if equal(subject.as_view(), value.evaluate(runtime)?.as_view()) {
                    return body.render_to(writer, runtime);
                }
            }
        }
        self.otherwise.as_ref().map_or(Ok(()), |body| body.render_to(writer, runtime))
    }
}

/// `for item in list`, `for n in (1..5)`, with `limit`, `offset`, `reversed`, `else`.
#[derive(Clone, Copy, Debug)]
pub struct ForBlock;

reflection!(ForBlock, |_| "for", |_| "endfor");

impl ParseBlock for ForBlock {
    fn parse(&self, mut arguments: TagTokenIter<'_>, mut tokens: TagBlock<'_, '_>, options: &Language) -> Result<Box<dyn Renderable>> {
        let name = arguments.expect_next("a name is missing")?.expect_identifier().into_result()?.to_owned().into();
        arguments.expect_next("`in` is missing")?.expect_str("in").into_result_custom_msg("`in` is missing")?;
        let over = match arguments.expect_next("a list is missing")?.expect_value() {
            TryMatchToken::Matches(list) => Over::List(list),
            TryMatchToken::Fails(token) => {
                let (from, to) = token.expect_range().into_result()?;
                Over::Range(from, to)
            }
        };
        let mut block = For { name, over, limit: None, offset: None, reversed: false, body: Elements::new(vec![]), otherwise: None };
        while let Some(token) = arguments.next() {
            match token.as_str().trim() {
                "limit" => block.limit = Some(parse_bound(&mut arguments)?),
                "offset" => block.offset = Some(parse_bound(&mut arguments)?),
                "reversed" => block.reversed = true,
                _ => return Err(token.raise_custom_error("expected `limit`, `offset` or `reversed`")),
            }
        }
        let mut body = Vec::new();
        while let Some(element) = tokens.next()? {
            match element {
                BlockElement::Tag(mut tag) if tag.name() == "else" => {
                    tag.tokens().expect_nothing()?;
                    block.otherwise = Some(Elements::new(tokens.parse_all(options)?));
                    break;
                }
                element => body.push(element.parse(&mut tokens, options)?),
            }
        }
        tokens.assert_empty();
        block.body = Elements::new(body);
        Ok(Box::new(block))
    }

    fn reflection(&self) -> &dyn BlockReflection {
        self
    }
}

fn parse_bound(arguments: &mut TagTokenIter<'_>) -> Result<Expression> {
    arguments.expect_next("`:` is missing")?.expect_str(":").into_result_custom_msg("`:` is missing")?;
    arguments.expect_next("a number is missing")?.expect_value().into_result()
}

#[derive(Debug)]
enum Over {
    List(Expression),
    Range(Expression, Expression),
}

#[derive(Debug)]
struct For {
    name: KString,
    over: Over,
    limit: Option<Expression>,
    offset: Option<Expression>,
    reversed: bool,
    body: Elements,
    otherwise: Option<Elements>,
}

impl Renderable for For {
    fn render_to(&self, writer: &mut dyn Write, runtime: &dyn Runtime) -> Result<()> {
        let offset = self.offset.as_ref().map_or(Ok(0), |offset| bound(offset, runtime))?;
        let limit = self.limit.as_ref().map_or(Ok(usize::MAX), |limit| bound(limit, runtime))?;
        match &self.over {
            Over::Range(from, to) => {
                let (from, to) = (whole_number(from, runtime)?, whole_number(to, runtime)?);
                let length = usize::try_from((i128::from(to) - i128::from(from) + 1).max(0)).unwrap_or(usize::MAX);
                let item = |at: usize| ValueCow::Owned(Liquid::scalar(from.saturating_add(i64::try_from(at).unwrap_or(i64::MAX))));
                self.passes(length, offset, limit, &item, writer, runtime)
            }
            Over::List(list) => {
                let list = list.evaluate(runtime)?;
                let items = items(list.as_view());
                let item = |at: usize| match &items[at] {
                    ValueCow::Owned(value) => ValueCow::Owned(value.clone()),
                    ValueCow::Borrowed(value) => ValueCow::Borrowed(*value),
                };
                self.passes(items.len(), offset, limit, &item, writer, runtime)
            }
        }
    }
}

impl For {
    fn passes<'i>(
        &self,
        length: usize,
        offset: usize,
        limit: usize,
        item: &dyn Fn(usize) -> ValueCow<'i>,
        writer: &mut dyn Write,
        runtime: &dyn Runtime,
    ) -> Result<()> {
        let offset = offset.min(length);
        let count = (length - offset).min(limit);
        if count == 0 {
            return self.otherwise.as_ref().map_or(Ok(()), |body| body.render_to(writer, runtime));
        }
        charge_passes(runtime, count)?;
        for index in 0..count {
            let at = if self.reversed { offset + count - 1 - index } else { offset + index };
            let pass = Pass { parent: runtime, name: &self.name, item: item(at), index, length: count };
            charge(runtime, STEP_BYTES)?;
            self.body.render_to(writer, &pass)?;
            let interrupt = pass.registers().get_mut::<InterruptRegister>().reset();
            if matches!(interrupt, Some(Interrupt::Break)) {
                break;
            }
        }
        Ok(())
    }
}

/// What a loop goes over: a list's elements, an object's pairs by key, nothing for what is missing, else the value itself.
fn items(value: &dyn ValueView) -> Vec<ValueCow<'_>> {
    if let Some(list) = value.as_array() {
        list.values().map(ValueCow::Borrowed).collect()
    } else if let Some(object) = value.as_object() {
        let pair = |(key, value): (liquid_core::model::KStringCow<'_>, &dyn ValueView)| {
            ValueCow::Owned(Liquid::Array(vec![Liquid::scalar(key.into_owned()), value.to_value()]))
        };
        sorted(object).into_iter().map(pair).collect()
    } else if value.is_nil() || value.is_state() || value.query_state(liquid_core::model::State::Empty) {
        Vec::new()
    } else {
        vec![ValueCow::Borrowed(value)]
    }
}

fn bound(expression: &Expression, runtime: &dyn Runtime) -> Result<usize> {
    Ok(usize::try_from(whole_number(expression, runtime)?).unwrap_or(0))
}

fn whole_number(expression: &Expression, runtime: &dyn Runtime) -> Result<i64> {
    let value = expression.evaluate(runtime)?;
    if value.is_nil() {
        return Ok(0);
    }
    value
        .as_scalar()
        .and_then(|scalar| scalar.to_integer())
        .ok_or_else(|| Error::with_msg(format!("expected a whole number, found {}", value.type_name())))
}

/// `{% capture name %}...{% endcapture %}`
#[derive(Clone, Copy, Debug)]
pub struct CaptureBlock;

reflection!(CaptureBlock, |_| "capture", |_| "endcapture");

impl ParseBlock for CaptureBlock {
    fn parse(&self, mut arguments: TagTokenIter<'_>, mut tokens: TagBlock<'_, '_>, options: &Language) -> Result<Box<dyn Renderable>> {
        let name = arguments.expect_next("a name is missing")?.expect_identifier().into_result()?.to_owned().into();
        arguments.expect_nothing()?;
        let body = Elements::new(tokens.parse_all(options)?);
        tokens.assert_empty();
        Ok(Box::new(Capture { name, body }))
    }

    fn reflection(&self) -> &dyn BlockReflection {
        self
    }
}

#[derive(Debug)]
struct Capture {
    name: KString,
    body: Elements,
}

impl Renderable for Capture {
    fn render_to(&self, _writer: &mut dyn Write, runtime: &dyn Runtime) -> Result<()> {
        let mut captured = Captured { bytes: Vec::new(), runtime };
        self.body.render_to(&mut captured, runtime)?;
        let text = String::from_utf8(captured.bytes).map_err(|_| Error::with_msg("captured text is not UTF-8"))?;
        runtime.set_global(self.name.clone(), Liquid::scalar(text));
        Ok(())
    }
}

/// Captured text counts as work, so that it cannot grow without bound.
struct Captured<'r> {
    bytes: Vec<u8>,
    runtime: &'r dyn Runtime,
}

impl Write for Captured<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        charge(self.runtime, bytes.len()).map_err(|error| io::Error::other(error.to_string()))?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

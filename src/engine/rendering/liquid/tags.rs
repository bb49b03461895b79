//! Tags without a body: the output in its disguise, `assign`, `abort`.

use std::io::Write;

use liquid_core::error::{Result, ResultLiquidReplaceExt};
use liquid_core::model::KString;
use liquid_core::parser::{FilterChain, TryMatchToken};
use liquid_core::{Error, Expression, Language, ParseTag, Renderable, Runtime, TagReflection, TagTokenIter, ValueView};

use super::runtime::{Meter, charge};
use super::values::{push_json, push_printed};
use super::{Form, filters};
use crate::engine::rendering::style::{self, Style};

/// What one output, tag or condition costs even when it touches nothing.
pub const STEP_BYTES: usize = 16;

/// Names of the tag that stands for an output, whether it ends in `| json`, whether it has a `default`.
pub const OUTPUTS: [(&str, bool, bool); 4] =
    [("output", false, false), ("output_json", true, false), ("output_or", false, true), ("output_json_or", true, true)];

/// The tag to write for an output.
pub fn output_tag(json: bool, has_default: bool) -> &'static str {
    OUTPUTS.iter().find(|(_, j, d)| (*j, *d) == (json, has_default)).map_or("output", |(name, ..)| name)
}

/// `{{ expression }}`
#[derive(Clone, Copy, Debug)]
pub struct OutputTag {
    pub form: Form,
    pub name: &'static str,
    pub json: bool,
    pub has_default: bool,
}

impl TagReflection for OutputTag {
    fn tag(&self) -> &str {
        self.name
    }

    fn description(&self) -> &str {
        ""
    }
}

impl ParseTag for OutputTag {
    fn parse(&self, mut arguments: TagTokenIter<'_>, options: &Language) -> Result<Box<dyn Renderable>> {
        let chain = arguments.expect_next("an expression is missing")?.expect_filter_chain(options).into_result()?;
        arguments.expect_nothing()?;
        Ok(Box::new(Output { chain, tag: *self }))
    }

    fn reflection(&self) -> &dyn TagReflection {
        self
    }
}

#[derive(Debug)]
struct Output {
    chain: FilterChain,
    tag: OutputTag,
}

impl Renderable for Output {
    fn render_to(&self, writer: &mut dyn Write, runtime: &dyn Runtime) -> Result<()> {
        let before = runtime.registers().get_mut::<Meter>().begin_output();
        let value = self.chain.evaluate(runtime)?;
        runtime.registers().get_mut::<Meter>().end_output(before, self.tag.has_default);
        let mut text = String::new();
        match (self.tag.form, self.tag.json) {
            // The filter has made JSON of it already.
            (Form::Value, true) | (Form::Styled(Style::JsonInside), true) => text.push_str(&value.to_kstr()),
            (Form::Styled(style), _) => push_printed(&mut text, value.as_view(), style),
            (Form::Value, false) if value.is_nil() => style::push_json_text(&mut text, ""),
            (Form::Value, false) => push_json(&mut text, value.as_view()),
        }
        charge(runtime, STEP_BYTES + text.len())?;
        writer.write_all(text.as_bytes()).replace("it does not fit")
    }
}

/// `{% assign name = expression %}`
#[derive(Clone, Copy, Debug)]
pub struct AssignTag;

impl TagReflection for AssignTag {
    fn tag(&self) -> &str {
        "assign"
    }

    fn description(&self) -> &str {
        ""
    }
}

impl ParseTag for AssignTag {
    fn parse(&self, mut arguments: TagTokenIter<'_>, options: &Language) -> Result<Box<dyn Renderable>> {
        let name = arguments.expect_next("a name is missing")?.expect_identifier().into_result()?.to_owned().into();
        arguments.expect_next("`=` is missing")?.expect_str("=").into_result_custom_msg("`=` is missing")?;
        let chain = arguments.expect_next("an expression is missing")?.expect_filter_chain(options).into_result()?;
        arguments.expect_nothing()?;
        Ok(Box::new(Assign { name, chain }))
    }

    fn reflection(&self) -> &dyn TagReflection {
        self
    }
}

#[derive(Debug)]
struct Assign {
    name: KString,
    chain: FilterChain,
}

impl Renderable for Assign {
    fn render_to(&self, _writer: &mut dyn Write, runtime: &dyn Runtime) -> Result<()> {
        let value = self.chain.evaluate(runtime)?;
        charge(runtime, STEP_BYTES + filters::size(value.as_view()))?;
        runtime.set_global(self.name.clone(), value.into_owned());
        Ok(())
    }
}

/// `{% abort "why" %}`: nothing is sent, and the reason is recorded.
#[derive(Clone, Copy, Debug)]
pub struct AbortTag;

impl TagReflection for AbortTag {
    fn tag(&self) -> &str {
        "abort"
    }

    fn description(&self) -> &str {
        ""
    }
}

impl ParseTag for AbortTag {
    fn parse(&self, mut arguments: TagTokenIter<'_>, _options: &Language) -> Result<Box<dyn Renderable>> {
        let why = match arguments.next().map(liquid_core::parser::TagToken::expect_value) {
            None => None,
            Some(TryMatchToken::Matches(why)) => Some(why),
            Some(TryMatchToken::Fails(token)) => return Err(token.raise_custom_error("`abort` takes one text: {% abort \"why\" %}")),
        };
        arguments.expect_nothing()?;
        Ok(Box::new(Abort { why }))
    }

    fn reflection(&self) -> &dyn TagReflection {
        self
    }
}

#[derive(Debug)]
struct Abort {
    why: Option<Expression>,
}

/// Longest reason that is kept, in characters.
const MAX_WHY: usize = 200;

impl Renderable for Abort {
    fn render_to(&self, _writer: &mut dyn Write, runtime: &dyn Runtime) -> Result<()> {
        let why = match &self.why {
            Some(why) => why.evaluate(runtime)?.to_kstr().chars().take(MAX_WHY).collect(),
            None => String::new(),
        };
        runtime.registers().get_mut::<Meter>().abort = Some(why);
        Err(Error::with_msg("aborted"))
    }
}

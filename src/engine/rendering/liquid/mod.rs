//! The part that needs a Liquid run-time: filters and tags. The grammar, the expressions and most filters are the `liquid-lib`
//! and `liquid-core` crates'; ours are the run-time (a missing variable is empty instead of an error, values are borrowed from
//! the engine's), the tags (bounded, compared without conversion, outputs escaped for their place) and the filters that could
//! overflow, read a clock, grow without bound or take bytes for characters.
//!
//! Outputs reach the crate's parser as a tag of ours (`{%output ...%}`), because its own output cannot be escaped.

mod blocks;
mod compare;
mod dates;
mod filters;
mod numbers;
mod runtime;
mod tags;
mod texts;
mod values;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use liquid_core::runtime::Template as Elements;
use liquid_core::{Language, Renderable, ValueView};
use liquid_lib::stdlib;

use super::style::Style;

pub use runtime::Run;
pub use tags::output_tag;
pub use texts::characters;

/// Loop passes of one request, all loops together.
pub const MAX_LOOP_PASSES: u32 = 10_000;

/// What filters, outputs and loops of one request may read and write, in bytes: far above any honest template, and some tens of
/// milliseconds of work at most.
pub const MAX_WORK_BYTES: usize = 8 << 20;

/// How outputs are written, which is all that distinguishes the languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Printed in this style; what ends in `| json` is written as JSON and, inside a JSON string, not escaped.
    Styled(Style),
    /// As a JSON value of its own type.
    Value,
}

/// Parses what was rewritten by `text.rs`. The error is the crate's text.
pub fn parse(source: &str, form: Form) -> Result<Box<dyn Renderable>, String> {
    static LANGUAGES: LazyLock<[(Form, Language); 5]> = LazyLock::new(|| {
        [Form::Styled(Style::Plain), Form::Styled(Style::JsonInside), Form::Styled(Style::Percent), Form::Styled(Style::Url), Form::Value]
            .map(|form| (form, language(form)))
    });
    let Some((_, language)) = LANGUAGES.iter().find(|(known, _)| *known == form) else {
        unreachable!("every form has its language");
    };
    // The crate panics on some malformed text where it should return an error.
    match catch_unwind(AssertUnwindSafe(|| liquid_core::parser::parse(source, language))) {
        Ok(Ok(mut elements)) if elements.len() == 1 => Ok(elements.remove(0)),
        Ok(Ok(elements)) => Ok(Box::new(Elements::new(elements))),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("this is not Liquid".to_owned()),
    }
}

/// A filter as it is written.
#[derive(Clone, Debug)]
pub struct FilterSignature {
    pub name: &'static str,
    /// How many arguments it takes, at least and at most.
    pub arguments: std::ops::RangeInclusive<usize>,
    /// Whether a constant argument can never work.
    pub refuse: Option<Refuse>,
}

/// Why a constant argument, counted from 0, can never work; `None` where it may.
pub type Refuse = fn(usize, &dyn ValueView) -> Option<String>;

/// Every filter, by name.
pub fn filters() -> &'static [FilterSignature] {
    static SIGNATURES: LazyLock<Vec<FilterSignature>> = LazyLock::new(|| {
        let mut signatures = filters::signatures();
        signatures.sort_unstable_by_key(|signature| signature.name);
        signatures
    });
    &SIGNATURES
}

/// The text of the crate's error, in one line: its message in plain words and, where it has them, cause and filter.
pub fn one_line(error: &str) -> String {
    let mut line = match error.lines().find_map(|line| line.trim().strip_prefix("= ")) {
        Some(message) => GRAMMAR_WORDS.iter().fold(message.to_owned(), |message, (rule, word)| message.replace(rule, word)),
        None => error.lines().next().unwrap_or_default().trim_start_matches("liquid:").trim().to_owned(),
    };
    for key in ["cause=", "argument=", "filter="] {
        if let Some(value) = error.lines().find_map(|line| line.trim().strip_prefix(key)) {
            line.push_str(if key == "filter=" { ", in filter " } else { ": " });
            line.push_str(value);
        }
    }
    line
}

/// Rules of the crate's grammar, in words; longer names first.
const GRAMMAR_WORDS: [(&str, &str); 8] = [
    ("ExpressionInner", "expression"),
    ("FilterChain", "expression"),
    ("FilterArgument", "argument"),
    ("Identifier", "name"),
    ("Variable", "variable"),
    ("Literal", "literal"),
    ("Range", "range"),
    ("Value", "value"),
];

fn language(form: Form) -> Language {
    let mut language = Language::empty();
    for (name, json, has_default) in tags::OUTPUTS {
        language.tags.register(name.to_owned(), tags::OutputTag { form, name, json, has_default }.into());
    }
    let tags: [Box<dyn liquid_core::ParseTag>; 6] = [
        tags::AssignTag.into(),
        tags::AbortTag.into(),
        stdlib::BreakTag.into(),
        stdlib::ContinueTag.into(),
        stdlib::IncrementTag.into(),
        stdlib::DecrementTag.into(),
    ];
    for tag in tags {
        language.tags.register(tag.reflection().tag().to_owned(), tag);
    }
    let blocks: [Box<dyn liquid_core::ParseBlock>; 6] = [
        blocks::IfBlock { expected: true }.into(),
        blocks::IfBlock { expected: false }.into(),
        blocks::CaseBlock.into(),
        blocks::ForBlock.into(),
        blocks::CaptureBlock.into(),
        stdlib::RawBlock.into(),
    ];
    for block in blocks {
        language.blocks.register(block.reflection().start_tag().to_owned(), block);
    }
    for filter in filters::all() {
        language.filters.register(filter.reflection().name().to_owned(), filter);
    }
    language
}

//! One template text, compiled into parts: fixed text is already written for its place, simple variables need no run-time, the
//! rest is Liquid. `renderer.rs` renders them.

use liquid_core::Renderable;

use super::expression::{self, Links, Names, Simple, Tokens};
use super::liquid::{self, Form, output_tag};
use super::profiles::ProfilePart;
use super::scan::{Segment, scan};
use super::style::{Style, push};
use super::{Fault, MAX_TEMPLATE_BYTES};
use crate::engine::record::Quoting;

/// Deepest nesting of `if`, `for` and the like: parser and run-time recurse there.
const MAX_NESTING: usize = 16;

/// Where a text stands, which decides how it is written.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Everything that is written, fixed text too.
    pub all: Style,
    /// Outputs, before that.
    pub outputs: Style,
    pub secrets: Secrets,
    /// A text that is one lone `{{ expression }}` becomes a JSON value of its own type.
    pub lone_is_value: bool,
    /// Only `campaign` and `secret` are known.
    pub campaign_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    Never,
    /// As the whole text.
    Lone(Quoting),
    /// Anywhere outside of tags.
    Within(Quoting),
}

/// A compiled piece.
#[derive(Debug)]
pub enum Part {
    /// Written as it is.
    Fixed(Box<str>),
    Output(Box<Output>),
    /// What the run-time writes is written once more in this style.
    Liquid(Box<dyn Renderable>, Style),
    Secret(Box<str>, Quoting),
    /// A template text ends: what it assigned is forgotten.
    Forget,
    /// A comma, unless this is the first entry of its map.
    Comma,
    /// A map entry, key and colon first, that is left out if its value is empty.
    Unless {
        key: Box<str>,
        value: Box<Part>,
    },
    /// The user as an entry of a `profiles` body.
    Profile(Box<ProfilePart>),
}

/// A simple expression and how it is written.
#[derive(Debug)]
pub struct Output {
    pub simple: Simple,
    pub form: Form,
    /// Once more, around the form.
    pub all: Style,
    /// Not counted when missing: the author deals with it.
    pub expected_missing: bool,
}

/// Compiles one text. Every fault of its expressions is reported; of its structure the first.
pub fn compile(text: &str, place: &Place, links: Links<'_>, parts: &mut Vec<Part>) -> Result<(), Vec<Fault>> {
    if text.len() > MAX_TEMPLATE_BYTES {
        return Err(vec![Fault::at(0, format!("a template of {} bytes; at most {MAX_TEMPLATE_BYTES} are allowed", text.len()))]);
    }
    let segments = scan(text).map_err(|fault| vec![fault])?;
    if let [Segment::Output { inner, at }] = segments[..]
        && text.starts_with("{{")
        && text.ends_with("}}")
    {
        let whole = Lone { inner, at, omit_allowed: false };
        return whole.compile(place, links).map(|(part, _)| parts.push(part));
    }
    let locals = locals(&segments);
    let names = Names { campaign_only: place.campaign_only, locals: &locals, links };
    let mut compiler = Compiler { place, names, parts, faults: Vec::new(), block: None, open: Vec::new() };
    for segment in &segments {
        compiler.segment(segment);
    }
    if let Some((name, at)) = compiler.open.pop() {
        compiler.faults.push(Fault::at(at, format!("`{name}` is not closed: `{{% end{name} %}}` is missing")));
    }
    if !compiler.faults.is_empty() {
        return Err(compiler.faults);
    }
    if segments.iter().any(|segment| matches!(segment, Segment::Tag { .. })) {
        parts.push(Part::Forget);
    }
    Ok(())
}

/// A text that is nothing but one `{{ expression }}`.
#[derive(Clone, Copy)]
pub struct Lone<'t> {
    inner: &'t str,
    at: usize,
    omit_allowed: bool,
}

impl<'t> Lone<'t> {
    /// Recognises it, in a place where `| omit` means something.
    pub fn of(text: &'t str) -> Option<Lone<'t>> {
        match scan(text).ok()?[..] {
            [Segment::Output { inner, at }] if text.starts_with("{{") && text.ends_with("}}") => {
                Some(Lone { inner, at, omit_allowed: true })
            }
            _ => None,
        }
    }

    /// Answers the part, and whether it is to be left out when empty.
    pub fn compile(self, place: &Place, links: Links<'_>) -> Result<(Part, bool), Vec<Fault>> {
        let mut tokens = expression::tokens(self.inner, self.at).map_err(|fault| vec![fault])?;
        let mut inner = self.inner;
        let omit_at = if self.omit_allowed { expression::strip_omit(&mut tokens) } else { None };
        if let Some(end) = omit_at {
            inner = &inner[..end - self.at];
        }
        let form = if place.lone_is_value { Form::Value } else { Form::Styled(place.outputs) };
        if let (Some(name), Secrets::Lone(quoting) | Secrets::Within(quoting)) = (expression::secret(&tokens), place.secrets)
            && omit_at.is_none()
        {
            return Ok((Part::Secret(name.into(), quoting), false));
        }
        let mut faults = Vec::new();
        expression::check(&tokens, Names { campaign_only: place.campaign_only, locals: &[], links }, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        let all = if place.lone_is_value { Style::Plain } else { place.all };
        let part = output(inner, self.at, &tokens, form, all, omit_at.is_some()).map_err(|fault| vec![fault])?;
        Ok((part, omit_at.is_some()))
    }
}

/// The secrets that a text names; none where it is no sound template.
pub fn secrets_named(text: &str) -> Vec<Box<str>> {
    let segments = scan(text).unwrap_or_default();
    let name = |segment: &Segment<'_>| match segment {
        Segment::Output { inner, at } => expression::secret(&expression::tokens(inner, *at).ok()?).map(Into::into),
        Segment::Text(_) | Segment::Tag { .. } => None,
    };
    segments.iter().filter_map(name).collect()
}

/// Names that the text itself introduces.
fn locals<'t>(segments: &[Segment<'t>]) -> Vec<&'t str> {
    let mut locals = Vec::new();
    for segment in segments {
        let Segment::Tag { name: "assign" | "capture" | "for" | "increment" | "decrement", arguments, .. } = segment else { continue };
        let arguments = arguments.trim_start();
        let end = arguments.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(arguments.len());
        locals.push(&arguments[..end]);
    }
    if segments.iter().any(|segment| matches!(segment, Segment::Tag { name: "for", .. })) {
        locals.push("forloop");
    }
    locals
}

struct Compiler<'c, 't> {
    place: &'c Place,
    names: Names<'c>,
    parts: &'c mut Vec<Part>,
    faults: Vec<Fault>,
    /// The outermost block being gathered.
    block: Option<Block>,
    open: Vec<(&'t str, usize)>,
}

/// A block with everything in it, rewritten for the crate's parser.
#[derive(Default)]
struct Block {
    source: String,
    /// Where stretches of the source come from: (in source, in template).
    origins: Vec<(usize, usize)>,
}

impl<'t> Compiler<'_, 't> {
    fn segment(&mut self, segment: &Segment<'t>) {
        match *segment {
            Segment::Text(text) => match &mut self.block {
                None => push_fixed(self.parts, text, self.place.all),
                // `raw` keeps a brace of the text from meeting the one of the next tag.
                Some(block) if text.contains('{') => {
                    ["{%raw%}", text, "{%endraw%}"].iter().for_each(|piece| block.source.push_str(piece));
                }
                Some(block) => block.source.push_str(text),
            },
            Segment::Output { inner, at } => self.output(inner, at),
            Segment::Tag { name, name_at, arguments, at } => self.tag(name, name_at, arguments, at),
        }
    }

    fn output(&mut self, inner: &'t str, at: usize) {
        let Some(tokens) = self.tokens(inner, at) else { return };
        if let (Some(name), Secrets::Within(quoting), None) = (expression::secret(&tokens), self.place.secrets, &self.block) {
            self.parts.push(Part::Secret(name.into(), quoting));
            return;
        }
        let before = self.faults.len();
        expression::check(&tokens, self.names, &mut self.faults);
        if self.faults.len() > before {
            return;
        }
        if let Some(block) = &mut self.block {
            block.push_tag(output_tag_of(&tokens), inner, at);
            return;
        }
        match output(inner, at, &tokens, Form::Styled(self.place.outputs), self.place.all, false) {
            Ok(part) => self.parts.push(part),
            Err(fault) => self.fault(fault),
        }
    }

    fn tag(&mut self, name: &'t str, name_at: usize, arguments: &'t str, at: usize) {
        let Some(tokens) = self.tokens(arguments, at) else { return };
        if let Some(problem) = self.structure(name, name_at) {
            self.fault(Fault::at(name_at, problem));
            return;
        }
        // The name that a tag introduces is no variable yet, but it is among the locals.
        expression::check(&tokens, self.names, &mut self.faults);
        self.block.get_or_insert_default().push_tag(name, arguments, at);
        if self.open.is_empty() {
            self.finish_block();
        }
    }

    /// Keeps the stack of open blocks; answers what is wrong with this tag here.
    fn structure(&mut self, name: &'t str, at: usize) -> Option<String> {
        let inside = self.open.last().map(|(name, _)| *name);
        match name {
            "if" | "unless" | "case" | "for" | "capture" => {
                self.open.push((name, at));
                (self.open.len() > MAX_NESTING).then(|| format!("tags are nested deeper than {MAX_NESTING}"))
            }
            "elsif" => (!matches!(inside, Some("if" | "unless"))).then(|| "`elsif` outside of `if`".to_owned()),
            "else" => {
                (!matches!(inside, Some("if" | "unless" | "case" | "for"))).then(|| "`else` outside of `if`, `case` or `for`".to_owned())
            }
            "when" => (inside != Some("case")).then(|| "`when` outside of `case`".to_owned()),
            "break" | "continue" => (!self.open.iter().any(|(name, _)| *name == "for")).then(|| format!("`{name}` outside of `for`")),
            "assign" | "abort" | "increment" | "decrement" => None,
            _ => match name.strip_prefix("end") {
                Some(ended) if inside == Some(ended) => {
                    self.open.pop();
                    None
                }
                Some(ended) if BLOCKS.contains(&ended) => Some(match inside {
                    Some(open) => format!("`{name}` here, but `{open}` is open: `end{open}` is expected first"),
                    None => format!("`{name}` without `{ended}` before it"),
                }),
                _ => Some(format!("there is no tag `{name}`{}", expression::suggestion(name, TAGS))),
            },
        }
    }

    fn finish_block(&mut self) {
        let Some(block) = self.block.take() else { return };
        if !self.faults.is_empty() {
            return;
        }
        match liquid::parse(&block.source, Form::Styled(self.place.outputs)) {
            Ok(element) => self.parts.push(Part::Liquid(element, self.place.all)),
            Err(error) => self.faults.push(block.fault(&error)),
        }
    }

    fn tokens(&mut self, text: &'t str, at: usize) -> Option<Tokens<'t>> {
        expression::tokens(text, at).map_err(|fault| self.fault(fault)).ok()
    }

    fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }
}

const BLOCKS: [&str; 7] = ["if", "unless", "case", "for", "capture", "raw", "comment"];
const TAGS: [&str; 16] = [
    "if",
    "unless",
    "case",
    "for",
    "capture",
    "raw",
    "comment",
    "elsif",
    "else",
    "when",
    "assign",
    "abort",
    "break",
    "continue",
    "increment",
    "decrement",
];

impl Block {
    fn push_tag(&mut self, name: &str, arguments: &str, at: usize) {
        self.source.push_str("{%");
        self.source.push_str(name);
        self.source.push(' ');
        self.origins.push((self.source.len(), at));
        self.source.push_str(arguments);
        self.source.push_str("%}");
    }

    /// The crate's error, at its place in the template: it names line and column of the source.
    fn fault(&self, error: &str) -> Fault {
        let in_source = error.lines().find_map(|line| {
            let (line, column) = line.split_once("--> ")?.1.split_once(':')?;
            let (line, column): (usize, usize) = (line.parse().ok()?, column.trim().parse().ok()?);
            let start: usize = self.source.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
            let characters = self.source.get(start..)?.chars().take(column.checked_sub(1)?);
            Some(start + characters.map(char::len_utf8).sum::<usize>())
        });
        let at = in_source.and_then(|at| {
            let (source, template) = self.origins.iter().rev().find(|(source, _)| *source <= at)?;
            Some(template + (at - source))
        });
        Fault::at(at.or(self.origins.first().map(|(_, template)| *template)).unwrap_or(0), liquid::one_line(error))
    }
}

/// One expression outside of blocks.
fn output(inner: &str, at: usize, tokens: &Tokens<'_>, form: Form, all: Style, expected_missing: bool) -> Result<Part, Fault> {
    if tokens.is_empty() {
        return Err(Fault::at(at, "an expression is missing between `{{` and `}}`"));
    }
    if let Some(simple) = expression::simple(tokens) {
        return Ok(Part::Output(Box::new(Output { simple, form, all, expected_missing })));
    }
    let mut block = Block::default();
    block.push_tag(output_tag_of(tokens), inner, at);
    let element = liquid::parse(&block.source, form).map_err(|error| block.fault(&error))?;
    Ok(Part::Liquid(element, all))
}

fn output_tag_of(tokens: &Tokens<'_>) -> &'static str {
    let (json, has_default) = expression::filters(tokens);
    output_tag(json, has_default)
}

/// Appends fixed text, joined to fixed text before it.
pub fn push_fixed(parts: &mut Vec<Part>, text: &str, style: Style) {
    let mut whole = match parts.last_mut() {
        Some(Part::Fixed(before)) => String::from(std::mem::take(before)),
        _ => {
            parts.push(Part::Fixed(Box::default()));
            String::new()
        }
    };
    push(&mut whole, text, style);
    if let Some(Part::Fixed(last)) = parts.last_mut() {
        *last = whole.into();
    }
}

/// Whether the parts hold nothing but fixed text.
pub fn is_fixed(parts: &[Part]) -> bool {
    parts.iter().all(|part| matches!(part, Part::Fixed(_)))
}

/// Bytes that are written whatever the values are.
pub fn fixed_bytes(parts: &[Part]) -> usize {
    parts.iter().map(|part| if let Part::Fixed(text) = part { text.len() } else { 0 }).sum()
}

//! A template text cut into fixed text, outputs `{{ }}` and tags `{% %}`, with whitespace control, `raw` and `comment` already
//! applied. Knows the shape of Liquid, not its words.

use super::Fault;

/// One stretch of a template. `at` is where the inside begins, in bytes of the template text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'t> {
    Text(&'t str),
    Output { inner: &'t str, at: usize },
    Tag { name: &'t str, name_at: usize, arguments: &'t str, at: usize },
}

/// Cuts a text. Only an unclosed `{{`, `{%`, quote, `raw` or `comment` can go wrong here.
pub fn scan(text: &str) -> Result<Vec<Segment<'_>>, Fault> {
    let mut segments = Vec::new();
    let mut rest = 0;
    // The element before asked for the whitespace after it to be dropped.
    let mut trim = false;
    while let Some(open) = next_open(text, rest) {
        let element = element(text, open)?;
        push_text(&mut segments, &text[rest..open], trim, element.trims_before);
        trim = element.trims_after;
        rest = element.end;
        if element.is_output {
            segments.push(Segment::Output { inner: element.inner, at: element.inner_at });
            continue;
        }
        let (name, name_at) = tag_name(&element)?;
        let arguments_at = name_at + name.len();
        let arguments = &text[arguments_at..element.inner_at + element.inner.len()];
        match name {
            "raw" | "comment" => {
                let end = find_end(text, element.end, name)
                    .ok_or_else(|| Fault::at(name_at, format!("`{name}` is not closed: `{{% end{name} %}}` is missing")))?;
                if name == "raw" {
                    push_text(&mut segments, &text[rest..end.start], trim, end.trims_before);
                }
                trim = end.trims_after;
                rest = end.end;
            }
            _ => segments.push(Segment::Tag { name, name_at, arguments, at: arguments_at }),
        }
    }
    push_text(&mut segments, &text[rest..], trim, false);
    Ok(segments)
}

/// Whether a text has no template in it at all.
pub fn is_fixed(text: &str) -> bool {
    next_open(text, 0).is_none()
}

struct Element<'t> {
    is_output: bool,
    inner: &'t str,
    inner_at: usize,
    end: usize,
    trims_before: bool,
    trims_after: bool,
}

fn next_open(text: &str, from: usize) -> Option<usize> {
    text[from..].match_indices('{').map(|(at, _)| from + at).find(|at| matches!(text.as_bytes().get(at + 1), Some(b'{' | b'%')))
}

/// Reads the element that opens at `open`; quotes hide what would close it.
fn element(text: &str, open: usize) -> Result<Element<'_>, Fault> {
    let bytes = text.as_bytes();
    let is_output = bytes[open + 1] == b'{';
    let close = if is_output { "}}" } else { "%}" };
    let trims_before = bytes.get(open + 2) == Some(&b'-');
    let inner_at = open + 2 + usize::from(trims_before);
    let mut quote: Option<(u8, usize)> = None;
    for at in inner_at..bytes.len() {
        match (quote, bytes[at]) {
            (Some((mark, _)), byte) if byte == mark => quote = None,
            (Some(_), _) => {}
            (None, mark @ (b'"' | b'\'')) => quote = Some((mark, at)),
            (None, _) if bytes[at..].starts_with(close.as_bytes()) => {
                let trims_after = at > inner_at && bytes[at - 1] == b'-';
                let inner = &text[inner_at..at - usize::from(trims_after)];
                return Ok(Element { is_output, inner, inner_at, end: at + 2, trims_before, trims_after });
            }
            _ => {}
        }
    }
    Err(match quote {
        Some((mark, at)) => Fault::at(at, format!("the quote {} is not closed", mark as char)),
        None => Fault::at(open, format!("`{}` is not closed: `{close}` is missing", &text[open..open + 2])),
    })
}

fn tag_name<'t>(element: &Element<'t>) -> Result<(&'t str, usize), Fault> {
    let trimmed = element.inner.trim_start();
    let at = element.inner_at + element.inner.len() - trimmed.len();
    let length = trimmed.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(trimmed.len());
    if length == 0 {
        return Err(Fault::at(at, "a tag needs a name, such as `{% if %}`"));
    }
    Ok((&trimmed[..length], at))
}

struct End {
    start: usize,
    end: usize,
    trims_before: bool,
    trims_after: bool,
}

/// Finds `{% endNAME %}`. What stands before it is not read as Liquid.
fn find_end(text: &str, from: usize, name: &str) -> Option<End> {
    text[from..].match_indices("{%").find_map(|(at, _)| {
        let start = from + at;
        let close = start + text[start..].find("%}")?;
        let inner = text.get(start + 2..close)?;
        let (trims_before, inner) = inner.strip_prefix('-').map_or((false, inner), |inner| (true, inner));
        let (trims_after, inner) = inner.strip_suffix('-').map_or((false, inner), |inner| (true, inner));
        let is_end = inner.trim().strip_prefix("end") == Some(name);
        is_end.then_some(End { start, end: close + 2, trims_before, trims_after })
    })
}

fn push_text<'t>(segments: &mut Vec<Segment<'t>>, text: &'t str, trim_start: bool, trim_end: bool) {
    let text = if trim_start { text.trim_start() } else { text };
    let text = if trim_end { text.trim_end() } else { text };
    if !text.is_empty() {
        segments.push(Segment::Text(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match scan(text) {
            Err(fault) => format!("{}: {}", fault.offset, fault.message),
            Ok(segments) => segments
                .iter()
                .map(|segment| match segment {
                    Segment::Text(text) => format!("<{text}>"),
                    Segment::Output { inner, at } => format!("({inner}@{at})"),
                    Segment::Tag { name, arguments, .. } => format!("[{name}:{arguments}]"),
                })
                .collect(),
        }
    }

    #[test]
    fn texts_are_cut_into_segments() {
        let check = |text: &str, expect: &str| assert_eq!(shown(text), expect, "{text:?}");
        check("", "");
        check("plain { } }} %} text", "<plain { } }} %} text>");
        check("{{ a }}", "( a @2)");
        check("x{{a}}y{{b}}", "<x>(a@3)<y>(b@9)");
        check("{{ 'a}}b' }}", "( 'a}}b' @2)");
        check("{{ \"a'}}\" }}", "( \"a'}}\" @2)");
        check("a {{- b -}} c", "<a>( b @5)<c>");
        check("a {%- if b -%} c {%- endif %} d", "<a>[if: b ]<c>[endif: ]< d>");
        check("a\n\t{{-b-}}\n\tc", "<a>(b@6)<c>");
        check("{% abort \"x %} y\" %}", "[abort: \"x %} y\" ]");
        check("{% raw %}{{ x }}{% if %}{% endraw %}!", "<{{ x }}{% if %}><!>");
        check("{% raw -%} a {%- endraw -%} b", "<a><b>");
        check("a{% comment %}{{ x {% y %}{% endcomment %}b", "<a><b>");
        check("{{}}", "(@2)");
        check("한{{ x }}", "<한>( x @5)");
    }

    #[test]
    fn what_is_not_closed_is_named_with_its_place() {
        let check = |text: &str, expect: &str| assert_eq!(shown(text), expect, "{text:?}");
        check("ab{{ x", "2: `{{` is not closed: `}}` is missing");
        check("{{ x }", "0: `{{` is not closed: `}}` is missing");
        check("{% if x }}", "0: `{%` is not closed: `%}` is missing");
        check("{{ user's }}", "7: the quote ' is not closed");
        check("{% raw %} x", "3: `raw` is not closed: `{% endraw %}` is missing");
        check("{% comment %} x {% endraw %}", "3: `comment` is not closed: `{% endcomment %}` is missing");
        check("{% %}", "3: a tag needs a name, such as `{% if %}`");
        check("{%", "0: `{%` is not closed: `%}` is missing");
    }
}

//! What stands between `{{` and `}}` or after a tag's name: its tokens, what is wrong with its names, and whether it is simple
//! enough to be evaluated without the Liquid run-time (one variable, perhaps a literal `default`).

use smallvec::SmallVec;

use crate::engine::value::Value;

use super::Fault;
use super::liquid::{self, FilterSignature};
use super::lookup::{ROOTS, Root};

/// Deepest nesting of `a[b[c]]`: the parser recurses there.
const MAX_BRACKETS: usize = 4;

const LITERALS: [&str; 6] = ["nil", "null", "empty", "blank", "true", "false"];
const OPERATORS: [&str; 7] = ["and", "or", "contains", "in", "reversed", "limit", "offset"];

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind<'t> {
    Word(&'t str),
    /// Without its quotes.
    Text(&'t str),
    Number(&'t str),
    Symbol(char),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token<'t> {
    pub kind: Kind<'t>,
    /// In bytes of the template text.
    pub at: usize,
}

/// The names a text may use.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// Destination headers see only `campaign` and `secret`.
    pub campaign_only: bool,
    /// Assigned, captured or looped over in the same text.
    pub locals: &'a [&'a str],
    pub links: Links<'a>,
}

/// Which links a text may use.
#[derive(Clone, Copy, Debug, Default)]
pub enum Links<'a> {
    /// It is the URL of one: no link is fetched yet.
    #[default]
    None,
    Named(&'a [Box<str>]),
}

/// A variable below a root.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    pub root: Root,
    pub path: Box<[Box<str>]>,
}

impl Variable {
    /// As templates write it.
    pub fn name(&self) -> String {
        let root = ROOTS.iter().find(|(_, root)| *root == self.root).map_or("", |(name, _)| *name);
        std::iter::once(root).chain(self.path.iter().map(AsRef::as_ref)).collect::<Vec<_>>().join(".")
    }
}

/// An expression that needs no run-time.
#[derive(Clone, Debug, PartialEq)]
pub struct Simple {
    pub variable: Variable,
    pub default: Option<Value>,
    /// Ends in `| json`.
    pub json: bool,
}

pub type Tokens<'t> = SmallVec<[Token<'t>; 12]>;

/// Cuts an expression into tokens; `at` is where it begins in the template.
pub fn tokens(text: &str, at: usize) -> Result<Tokens<'_>, Fault> {
    let mut tokens = Tokens::new();
    let mut brackets = 0;
    let mut from = 0;
    while let Some(first) = text[from..].chars().next() {
        let here = at + from;
        let rest = &text[from..];
        let (kind, length) = match first {
            ' ' | '\t' | '\r' | '\n' => {
                from += 1;
                continue;
            }
            '"' | '\'' => {
                let end = rest[1..].find(first).ok_or_else(|| Fault::at(here, format!("the quote {first} is not closed")))?;
                (Kind::Text(&rest[1..1 + end]), end + 2)
            }
            '0'..='9' => number(rest, here)?,
            '-' | '+' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => number(rest, here)?,
            c if c.is_ascii_alphabetic() || c == '_' => {
                let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
                (Kind::Word(&rest[..length]), length)
            }
            '|' | ':' | ',' | '.' | '[' | ']' | '(' | ')' | '=' | '<' | '>' | '!' => (Kind::Symbol(first), 1),
            c if c.is_alphabetic() => {
                let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
                let word = &rest[..length];
                return Err(Fault::at(here, format!("`{word}`: a name with letters beyond a-z goes into brackets: user['{word}']")));
            }
            other => return Err(Fault::at(here, format!("`{other}` has no meaning in an expression"))),
        };
        brackets = match kind {
            Kind::Symbol('[') => brackets + 1,
            Kind::Symbol(']') => brackets - 1,
            _ => brackets,
        };
        if brackets > MAX_BRACKETS as i32 {
            return Err(Fault::at(here, format!("brackets are nested deeper than {MAX_BRACKETS}")));
        }
        tokens.push(Token { kind, at: here });
        from += length;
    }
    Ok(tokens)
}

/// Checks every name of an expression or of a tag's arguments: filters, roots, their fields, secrets.
pub fn check(tokens: &[Token<'_>], names: Names<'_>, faults: &mut Vec<Fault>) {
    for (i, token) in tokens.iter().enumerate() {
        let Kind::Word(word) = token.kind else { continue };
        let before = i.checked_sub(1).map(|i| tokens[i].kind);
        match before {
            Some(Kind::Symbol('.')) => {}
            Some(Kind::Symbol('|')) => check_filter(word, token.at, &tokens[i + 1..], faults),
            _ if LITERALS.contains(&word) || OPERATORS.contains(&word) => {}
            _ if tokens.get(i + 1).is_some_and(|next| next.kind == Kind::Symbol(':')) => {}
            _ => check_variable(word, &tokens[i..], names, faults),
        }
    }
}

/// `secret.<name>` and nothing else.
pub fn secret<'t>(tokens: &[Token<'t>]) -> Option<&'t str> {
    match tokens {
        [Token { kind: Kind::Word("secret"), .. }, Token { kind: Kind::Symbol('.'), .. }, Token { kind: Kind::Word(name), .. }] => {
            Some(name)
        }
        _ => None,
    }
}

/// Takes a trailing `| omit` off; answers where the rest ends, in bytes of the template.
pub fn strip_omit(tokens: &mut Tokens<'_>) -> Option<usize> {
    let [.., pipe, Token { kind: Kind::Word("omit"), .. }] = tokens.as_slice() else { return None };
    let (pipe_at, is_pipe) = (pipe.at, pipe.kind == Kind::Symbol('|'));
    is_pipe.then(|| {
        tokens.truncate(tokens.len() - 2);
        pipe_at
    })
}

/// Recognises `root.path`, `... | default: literal`, `... | json`.
pub fn simple(tokens: &[Token<'_>]) -> Option<Simple> {
    let (Token { kind: Kind::Word(root), .. }, mut rest) = tokens.split_first()? else { return None };
    let root = Root::of(root)?;
    let mut path: SmallVec<[Box<str>; 4]> = SmallVec::new();
    loop {
        let kinds: SmallVec<[Kind<'_>; 4]> = rest.iter().take(3).map(|token| token.kind).collect();
        let (segment, taken) = match kinds.as_slice() {
            [Kind::Symbol('.'), Kind::Word(name), ..] => (*name, 2),
            [Kind::Symbol('['), Kind::Text(name), Kind::Symbol(']')] => (*name, 3),
            [Kind::Symbol('['), Kind::Number(index), Kind::Symbol(']')] if !index.contains('.') => (*index, 3),
            _ => break,
        };
        path.push(segment.into());
        rest = &rest[taken..];
    }
    let mut simple = Simple { variable: Variable { root, path: path.into_vec().into() }, default: None, json: false };
    if let [pipe, name, colon, literal, after @ ..] = rest
        && (pipe.kind, name.kind, colon.kind) == (Kind::Symbol('|'), Kind::Word("default"), Kind::Symbol(':'))
    {
        simple.default = Some(self::literal(literal.kind)?);
        rest = after;
    }
    if let [pipe, name, after @ ..] = rest
        && (pipe.kind, name.kind) == (Kind::Symbol('|'), Kind::Word("json"))
    {
        simple.json = true;
        rest = after;
    }
    rest.is_empty().then_some(simple)
}

/// Whether the last filter is `json`, and whether `default` is among the filters.
pub fn filters(tokens: &[Token<'_>]) -> (bool, bool) {
    let mut used = tokens.windows(2).filter_map(|pair| match (pair[0].kind, pair[1].kind) {
        (Kind::Symbol('|'), Kind::Word(name)) => Some(name),
        _ => None,
    });
    (used.clone().next_back() == Some("json"), used.any(|name| name == "default"))
}

/// The known name nearest to a wrong one, if any is near.
pub fn nearest<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, name)| *distance <= (name.len().max(word.len()) / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// ` (did you mean ...?)`, or nothing.
pub fn suggestion<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    nearest(word, known).map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}

fn number(rest: &str, at: usize) -> Result<(Kind<'_>, usize), Fault> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let sign = usize::from(rest.starts_with(['-', '+']));
    let mut length = sign + digits(&rest[sign..]);
    if rest[length..].starts_with('.') && rest[length + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        length += 1 + digits(&rest[length + 1..]);
    } else if rest[..length].parse::<i64>().is_err() {
        return Err(Fault::at(at, format!("{} is too large for a whole number", &rest[..length])));
    }
    Ok((Kind::Number(&rest[..length]), length))
}

fn literal(kind: Kind<'_>) -> Option<Value> {
    match kind {
        Kind::Text(text) => Some(Value::text(text)),
        Kind::Number(number) => number.parse().map(Value::Int).or_else(|_| number.parse().map(Value::Float)).ok(),
        Kind::Word("true") => Some(Value::Bool(true)),
        Kind::Word("false") => Some(Value::Bool(false)),
        _ => None,
    }
}

fn check_filter(name: &str, at: usize, after: &[Token<'_>], faults: &mut Vec<Fault>) {
    if name == "omit" {
        faults.push(Fault::at(at, "`omit` works only at the end of a lone `{{ expression }}` in a map body"));
        return;
    }
    let Some(FilterSignature { arguments, refuse, .. }) = liquid::filters().iter().find(|filter| filter.name == name) else {
        let known = liquid::filters().iter().map(|filter| filter.name).chain(["omit"]);
        faults.push(Fault::at(at, format!("there is no filter `{name}`{}", suggestion(name, known))));
        return;
    };
    let given = count_arguments(after);
    if !arguments.contains(&given) {
        let wanted = match (*arguments.start(), *arguments.end()) {
            (0, 0) => "no argument".to_owned(),
            (1, 1) => "1 argument".to_owned(),
            (least, most) if least == most => format!("{least} arguments"),
            (least, most) => format!("{least} to {most} arguments"),
        };
        faults.push(Fault::at(at, format!("filter `{name}` takes {wanted}, here it has {given}")));
    } else if let Some(refuse) = refuse {
        let refused = constants(after).filter_map(|(place, at, value)| refuse(place, &value).map(|why| (at, why)));
        faults.extend(refused.map(|(at, why)| Fault::at(at, format!("filter `{name}`: {why}"))));
    }
}

/// Arguments that are constant: which one, where it stands, and its value.
fn constants<'t>(after: &[Token<'t>]) -> impl Iterator<Item = (usize, usize, Value)> {
    let end = after.iter().position(|token| token.kind == Kind::Symbol('|')).unwrap_or(after.len());
    let arguments = after[..end].get(1..).unwrap_or_default().split(|token| token.kind == Kind::Symbol(','));
    arguments.enumerate().filter_map(|(place, tokens)| match tokens {
        [token] => literal(token.kind).map(|value| (place, token.at, value)),
        _ => None,
    })
}

/// Arguments of the filter whose name stands before these tokens.
fn count_arguments(after: &[Token<'_>]) -> usize {
    if after.first().map(|token| token.kind) != Some(Kind::Symbol(':')) {
        return 0;
    }
    1 + after.iter().take_while(|token| token.kind != Kind::Symbol('|')).filter(|token| token.kind == Kind::Symbol(',')).count()
}

fn check_variable(word: &str, tokens: &[Token<'_>], names: Names<'_>, faults: &mut Vec<Fault>) {
    let at = tokens[0].at;
    if word == "secret" {
        faults.push(Fault::at(
            at,
            "`secret.<name>` may stand only as a lone `{{ secret.<name> }}` or within a header, without filters and outside of tags",
        ));
        return;
    }
    if names.locals.contains(&word) {
        return;
    }
    let Some(root) = Root::of(word) else {
        let known = ROOTS.iter().map(|(name, _)| *name).chain(["secret"]).chain(names.locals.iter().copied());
        let hint = match nearest(word, known) {
            Some(name) => format!("; did you mean `{name}`?"),
            None => ": a variable begins with `event.`, `user.`, `campaign.`, `trigger.` or `delivery.`".to_owned(),
        };
        faults.push(Fault::at(at, format!("there is no variable `{word}`{hint}")));
        return;
    };
    if names.campaign_only && root != Root::Campaign {
        faults.push(Fault::at(at, format!("`{word}` is not known here: a destination's headers see `campaign` and `secret` only")));
        return;
    }
    if root == Root::Link {
        return check_link(tokens, names.links, faults);
    }
    let [_, Token { kind: Kind::Symbol('.'), .. }, Token { kind: Kind::Word(field), at }, ..] = tokens else { return };
    let fields = root.fields();
    if !fields.is_empty() && !fields.contains(field) {
        faults.push(Fault::at(*at, format!("`{word}` has no `{field}`{}", suggestion(field, fields.iter().copied()))));
    }
}

fn check_link(tokens: &[Token<'_>], links: Links<'_>, faults: &mut Vec<Fault>) {
    let Links::Named(known) = links else {
        return faults.push(Fault::at(tokens[0].at, "the URL of a link cannot use `link`: nothing is fetched yet"));
    };
    let [_, Token { kind: Kind::Symbol('.'), .. }, Token { kind: Kind::Word(name), at }, ..] = tokens else { return };
    if !known.iter().any(|link| &**link == *name) {
        let hint = match nearest(name, known.iter().map(AsRef::as_ref)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write it under `webhook.link.{name}`"),
        };
        faults.push(Fault::at(*at, format!("there is no link `{name}`; {hint}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        let mut faults = Vec::new();
        match tokens(text, 0) {
            Ok(tokens) => check(&tokens, Names { campaign_only: false, locals: &["item"], links: Links::None }, &mut faults),
            Err(fault) => faults.push(fault),
        }
        faults.iter().map(|fault| format!("{}: {}", fault.offset, fault.message)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn names_are_checked() {
        let check = |text: &str, expect: &str| assert_eq!(problems(text), expect, "{text:?}");
        check("event.a.b[0]['x y'] | default: 'q' | json", "");
        check("item.name | upcase | append: user.x", "");
        check("user.name | defualt: 'x'", "12: there is no filter `defualt`; did you mean `default`?");
        check("user.name | shout", "12: there is no filter `shout`");
        check("user.x | omit | json", "9: `omit` works only at the end of a lone `{{ expression }}` in a map body");
        check("usr.name", "0: there is no variable `usr`; did you mean `user`?");
        check(
            "cart_total",
            "0: there is no variable `cart_total`: a variable begins with `event.`, `user.`, `campaign.`, `trigger.` or `delivery.`",
        );
        check("event.a | plus", "10: filter `plus` takes 1 argument, here it has 0");
        check(
            "event.a | replace: 'x', 'y', 'z' | upcase: 1",
            concat!("10: filter `replace` takes 1 to 2 arguments, here it has 3\n", "35: filter `upcase` takes no argument, here it has 1",),
        );
        check("campaign.titel", "9: `campaign` has no `titel`; did you mean `title`?");
        check("delivery.id", "");
        check("trigger.message_id", "");
        check("trigger.nothing", "8: `trigger` has no `nothing`");
        check("event[user.x[item[event.y[0]]]]", "");
        check("event[user.x[item[event.y[item[0]]]]]", "30: brackets are nested deeper than 4");
        check("99999999999999999999", "0: 99999999999999999999 is too large for a whole number");
        check("user.이름", "5: `이름`: a name with letters beyond a-z goes into brackets: user['이름']");
        check("event.a & 1", "8: `&` has no meaning in an expression");
        check("event.a == true and event.b contains 'x'", "");
        check(
            "secret.x | upcase",
            "0: `secret.<name>` may stand only as a lone `{{ secret.<name> }}` or within a header, without filters and outside of tags",
        );
    }

    #[test]
    fn simple_expressions_are_recognised() {
        let check = |text: &str, expect: Option<(Root, &[&str], Option<&str>, bool)>| {
            let found = simple(&tokens(text, 0).unwrap());
            let found = found.as_ref().map(|simple| {
                let path: Vec<&str> = simple.variable.path.iter().map(|segment| &**segment).collect();
                (simple.variable.root, path, simple.default.as_ref().map(Value::to_string), simple.json)
            });
            let expect = expect.map(|(root, path, default, json)| (root, path.to_vec(), default.map(str::to_owned), json));
            assert_eq!(found, expect, "{text:?}");
        };
        check("user.name", Some((Root::User, &["name"], None, false)));
        check("event", Some((Root::Event, &[], None, false)));
        check("event.a.b", Some((Root::Event, &["a", "b"], None, false)));
        check("event['a b'][0].c", Some((Root::Event, &["a b", "0", "c"], None, false)));
        check("event.a[-1]", Some((Root::Event, &["a", "-1"], None, false)));
        check("user.name | default: 'there'", Some((Root::User, &["name"], Some("\"there\""), false)));
        check("user.n | default: 1.5", Some((Root::User, &["n"], Some("1.5"), false)));
        check("user.n | default: true | json", Some((Root::User, &["n"], Some("true"), true)));
        check("event.items | json", Some((Root::Event, &["items"], None, true)));
        check("user.name | default: user.nick", None);
        check("user.name | upcase", None);
        check("event.a[event.b]", None);
        check("'text'", None);
        check("item.name", None);
        check("", None);
        check("user.", None);
        check("user.name user.name", None);
    }
}

//! What must not be seen of the answer to a test request: endpoints may send back what they were sent, as it was or written anew.

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;

/// What stands where a secret was.
const MASK: &str = "***";

/// A secret with fewer characters cannot be looked for: it would be found in everything. Then nothing of the answer is shown.
const SHORTEST_HIDDEN: usize = 4;

/// Bytes of one character in whichever way it is written, about.
const LONGEST_ESCAPE: usize = 16;

/// Texts that are not shown, however they are written.
pub struct Hidden {
    texts: Vec<Vec<char>>,
    everything: bool,
}

impl Hidden {
    /// Secrets, and what was made of them: the value of `Authorization`.
    pub fn of(secrets: &[String], authorization: Option<&str>) -> Hidden {
        let credentials = authorization.map(|value| value.split_once(' ').map_or(value, |(_, credentials)| credentials));
        let sent: Vec<&str> = secrets.iter().map(String::as_str).chain(credentials).filter(|text| !text.is_empty()).collect();
        let encoded = sent.iter().map(|text| BASE64_STANDARD_NO_PAD.encode(text));
        let texts = sent.iter().map(|text| (*text).to_owned()).chain(encoded).map(|text| {
            let mut text: Vec<char> = text.chars().collect();
            // However many stand there, they are read as one.
            text.dedup_by(|a, b| (*a, *b) == ('\\', '\\'));
            text
        });
        Hidden { texts: texts.collect(), everything: sent.iter().any(|text| text.chars().count() < SHORTEST_HIDDEN) }
    }

    /// The beginning of an answer, as it may be shown.
    pub fn mask(&self, excerpt: &str) -> String {
        if self.everything {
            return format!(
                "{MASK} (not shown: a secret with fewer than {SHORTEST_HIDDEN} characters was sent, and may stand anywhere in it)"
            );
        }
        let mut shown = String::with_capacity(excerpt.len());
        let mut rest = excerpt;
        while let Some(next) = rest.chars().next() {
            let hidden = self.texts.iter().filter_map(|text| written(rest, text)).max();
            match hidden {
                Some(_) => shown.push_str(MASK),
                None => shown.push(next),
            }
            rest = &rest[hidden.unwrap_or(next.len_utf8())..];
        }
        shown
    }
}

/// How many bytes at the beginning of `rest` are this text, or as much of it as there is room for: an excerpt may end within a secret.
fn written(rest: &str, text: &[char]) -> Option<usize> {
    let mut at = 0;
    for (number, character) in text.iter().enumerate() {
        match character_at(&rest[at..], *character) {
            Some(bytes) => at += bytes,
            None => {
                let left = &rest[at..];
                let cut_off = left.is_empty() || (left.len() < LONGEST_ESCAPE && left.starts_with(['\\', '%', '&']));
                return (cut_off && number >= SHORTEST_HIDDEN).then_some(rest.len());
            }
        }
    }
    Some(at)
}

/// How many bytes at the beginning of `rest` stand for this character: itself, escaped within a JSON string (within a JSON string), in a URL,
/// in a form, in HTML. Slashes before it may be there or not: they may have been read as a slash of the secret.
fn character_at(rest: &str, character: char) -> Option<usize> {
    const SHORT: [(char, char); 5] = [('\n', 'n'), ('\r', 'r'), ('\t', 't'), ('\u{8}', 'b'), ('\u{c}', 'f')];
    const HTML: [(char, &str); 6] = [('"', "&quot;"), ('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('\'', "&#39;"), ('\'', "&#x27;")];
    let unescaped = rest.trim_start_matches('\\');
    let slashes = rest.len() - unescaped.len();
    if character == '\\' && slashes > 0 {
        return Some(slashes);
    }
    let escape = |(of, letter): &(char, char)| *of == character && unescaped.starts_with(*letter);
    if unescaped.starts_with(character) {
        return Some(slashes + character.len_utf8());
    }
    if SHORT.iter().any(escape) {
        return Some(slashes + 1);
    }
    if character == ' ' && rest.starts_with('+') {
        return Some(1);
    }
    let html = HTML.iter().find(|(of, name)| *of == character && rest.starts_with(name)).map(|(_, name)| name.len());
    html.or_else(|| in_hexadecimal(rest, character))
}

/// As `\u0041`, by the units of UTF-16, or `%41`, by the bytes of UTF-8; digits in either case.
fn in_hexadecimal(rest: &str, character: char) -> Option<usize> {
    let digits = |text: &str, count: usize| text.get(..count).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let mut at = 0;
    let units = character.encode_utf16(&mut [0; 2]).iter().all(|unit| {
        let unescaped = rest[at..].trim_start_matches('\\');
        let slashes = rest.len() - at - unescaped.len();
        at += slashes + 5;
        unescaped.strip_prefix('u').and_then(|text| digits(text, 4)) == Some(u32::from(*unit))
    });
    if units {
        return Some(at);
    }
    let bytes = character.encode_utf8(&mut [0; 4]).bytes().collect::<Vec<u8>>();
    let is_there = |(number, byte): (usize, &u8)| {
        let piece = rest.get(3 * number..).and_then(|text| text.strip_prefix('%'));
        piece.and_then(|text| digits(text, 2)) == Some(u32::from(*byte))
    };
    bytes.iter().enumerate().all(is_there).then_some(3 * bytes.len())
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    #[test]
    fn a_secret_is_hidden_however_it_is_written() {
        let check = |secret: &str, excerpt: &str, expect: &str| {
            let hidden = Hidden::of(&[secret.to_owned()], None);
            assert_eq!(hidden.mask(excerpt), expect, "{secret} in {excerpt}");
        };
        let secret = "a\"b/c d+é\\🔔";
        let in_json = serde_json::Value::from(secret).to_string();
        let within = serde_json::Value::from(format!("{{\"key\":{in_json}}}")).to_string();
        check(secret, "no such thing", "no such thing");
        check(secret, &format!("<{secret}>"), "<***>");
        check(secret, &format!("{{\"key\":{in_json}}}"), "{\"key\":\"***\"}");
        check(secret, &within, "\"{\\\"key\\\":\\\"***\\\"}\"");
        check(secret, r#"a\"b\/c d+\u00e9\\\uD83D\uDD14!"#, "***!");
        check(secret, "k=a%22b%2Fc%20d%2B%C3%A9%5C%F0%9F%94%94&n=1", "k=***&n=1");
        check(secret, "k=a%22b%2fc+d%2b%c3%a9%5c%f0%9f%94%94", "k=***");
        check(secret, "a&quot;b/c d+é\\🔔", "***");
        check(secret, &BASE64_STANDARD.encode(secret), "***");
        check("s3cret7", &BASE64_STANDARD.encode("s3cret7"), "***==");
        check("s3cret", "s3cret s3cret, s3cres", "*** ***, s3cres");
        check("line\nbreak", r#"{"k":"line\nbreak"}"#, r#"{"k":"***"}"#);
        // The excerpt ends within it.
        check("s3cret", "and then s3cre", "and then ***");
        check("s3cret", "and then s3c", "and then s3c");
        check("s3cr/t", "and then s3cr%2", "and then ***");
        check("", "abc", "abc");
        // Too short to be looked for.
        let refused = Hidden::of(&["s3cret".to_owned(), "abc".to_owned()], None).mask("whatever it says");
        assert!(refused.starts_with("*** (not shown") && !refused.contains("whatever"), "{refused}");
    }

    #[test]
    fn what_was_made_of_secrets_is_hidden_too() {
        let (secrets, basic) = (["pass".to_owned()], BASE64_STANDARD.encode("user:pass"));
        let check = |authorization: &str, excerpt: &str, expect: &str| {
            assert_eq!(Hidden::of(&secrets, Some(authorization)).mask(excerpt), expect, "{authorization}");
        };
        check(&format!("Basic {basic}"), &format!("authorization: Basic {basic}, pass"), "authorization: Basic ***, ***");
        check("Own", "Own?", "*** (not shown: a secret with fewer than 4 characters was sent, and may stand anywhere in it)");
        check("Bearer t/ken", "Bearer t%2Fken", "Bearer ***");
    }
}

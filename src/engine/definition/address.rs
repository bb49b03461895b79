//! Hosts: the part of a URL that must be fixed text, because it chooses the destination and decides who gets the secrets.

use url::Url;

/// Why an address is refused, and the way out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub message: String,
    pub help: String,
}

/// The `host[:port]` of a URL whose path and query may be templates: lower case, without the scheme's own port.
pub(super) fn host_of_url(url: &str, allow_http: bool) -> Result<Box<str>, Refused> {
    let lower = url.to_ascii_lowercase();
    let scheme = ["https://", "http://"].into_iter().find(|scheme| lower.starts_with(scheme));
    let Some(scheme) = scheme else { return Err(without_scheme(url)) };
    if scheme == "http://" && !allow_http {
        return Err(refused("`url` must begin with https://", "http is allowed only with `delivery.allow_http: true`"));
    }
    if url.chars().any(char::is_control) {
        return Err(refused("`url` has a line break or another control character", "write it on one line"));
    }
    let rest = &url[scheme.len()..];
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    if has_literal(rest, '#') {
        return Err(refused("`url` has a fragment, which is never sent", "remove `#` and what follows"));
    }
    host(scheme, authority)
}

/// Whether a character stands outside of what a template puts in its place (which is percent-encoded).
fn has_literal(template: &str, sought: char) -> bool {
    let mut rest = template;
    while let Some(open) = rest.find(['{', sought]) {
        if rest[open..].starts_with(sought) {
            return true;
        }
        let close = [("{{", "}}"), ("{%", "%}")].into_iter().find(|(begin, _)| rest[open..].starts_with(begin));
        let after = close.map_or(Some(open + 1), |(_, end)| rest[open..].find(end).map(|at| open + at + end.len()));
        // What is not closed is a problem of the template.
        let Some(after) = after else { return false };
        rest = &rest[after..];
    }
    false
}

/// The `match` of a destination: `host[:port]`.
pub(super) fn host_of_match(text: &str) -> Result<Box<str>, Refused> {
    if text.contains("://") {
        let bare = text.split("://").nth(1).and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        return Err(refused("`match` is a host, not a url", &format!("write {bare}")));
    }
    if text.contains(['{', '}', '*']) {
        return Err(refused("`match` is one host, without templates or wildcards", "write a destination for each host"));
    }
    if let Some(end) = text.find(['/', '?', '#']) {
        return Err(refused("`match` is a host without a path", &format!("write {}", &text[..end])));
    }
    host("https://", text)
}

fn host(scheme: &str, authority: &str) -> Result<Box<str>, Refused> {
    if authority.contains(['{', '}']) {
        let help = "templates may stand after the host, in path, `params`, headers and body";
        return Err(refused("the host must be fixed text, not a template", help));
    }
    if authority.contains('@') {
        return Err(refused("user name and password do not belong into a url", "send them in a header"));
    }
    let parsed = if authority.contains(['\\', ' ']) { None } else { Url::parse(&format!("{scheme}{authority}/")).ok() };
    let Some((parsed, host)) = parsed.as_ref().and_then(|url| url.host_str().map(|host| (url, host))) else {
        return Err(refused(&format!("`{authority}` is no host"), "such as api.example or api.example:8443"));
    };
    if parsed.port() == Some(0) {
        return Err(refused("nobody listens on port 0", "leave the port away for the scheme's own"));
    }
    Ok(parsed.port().map_or_else(|| host.into(), |port| format!("{host}:{port}").into()))
}

fn without_scheme(url: &str) -> Refused {
    if url.trim_start().starts_with("{{") || url.trim_start().starts_with("{%") {
        return refused("the host must be fixed text, not a template", "begin with https:// and the host, then the template");
    }
    if url.contains("://") {
        return refused("`url` must begin with https://", "other schemes are not known");
    }
    refused("`url` must begin with https://", &format!("did you mean `https://{}`?", url.trim_start_matches('/')))
}

fn refused(message: &str, help: &str) -> Refused {
    Refused { message: message.into(), help: help.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_url_is_normal_and_fixed() {
        for (url, expect) in [
            ("https://api.example/v1", "api.example"),
            ("HTTPS://API.Example:443/v1", "api.example"),
            ("https://api.example:8443?x={{ user.id }}", "api.example:8443"),
            ("https://api.example", "api.example"),
            ("http://127.0.0.1:9000/{{ event.kind }}", "127.0.0.1:9000"),
            ("http://127.0.0.1:80/", "127.0.0.1"),
            ("https://[::1]:8443/", "[::1]:8443"),
            ("https://bücher.example/", "xn--bcher-kva.example"),
            ("https://api.example/a@b/{{ x }}/{{ y | append: '#' }}{% if z == '#' %}{z}{% endif %}", "api.example"),
        ] {
            assert_eq!(host_of_url(url, true).as_deref(), Ok(expect), "{url}");
        }
    }

    #[test]
    fn other_urls_are_refused_with_a_reason() {
        for (url, expect) in [
            ("http://api.example/", "`url` must begin with https://"),
            ("ftp://api.example/", "`url` must begin with https://"),
            ("api.example/x", "`url` must begin with https://"),
            ("https://api.example:0/", "nobody listens on port 0"),
            ("{{ user.url }}", "the host must be fixed text, not a template"),
            ("https://{{ user.host }}/x", "the host must be fixed text, not a template"),
            ("https://api.{{ user.zone }}.example/x", "the host must be fixed text, not a template"),
            ("https://api.example{{ user.rest }}", "the host must be fixed text, not a template"),
            ("https://u:p@api.example/", "user name and password do not belong into a url"),
            ("https:///x", "`` is no host"),
            ("https://api.example\\@evil.example/", "user name and password do not belong into a url"),
            ("https://api.example\\x/", "`api.example\\x` is no host"),
            ("https://api .example/", "`api .example` is no host"),
            ("https://api.example:99999/", "`api.example:99999` is no host"),
            ("https://api.example/x#y", "`url` has a fragment, which is never sent"),
            // What is appended as `params` would vanish behind it.
            ("https://api.example/{{ x }}#y", "`url` has a fragment, which is never sent"),
            ("https://api.example/#{{ x }}", "`url` has a fragment, which is never sent"),
            ("https://api.example/{% if x %}#{% endif %}", "`url` has a fragment, which is never sent"),
            ("https://api.example/{#{{ x }}", "`url` has a fragment, which is never sent"),
            ("https://api.exa\nmple/x", "`url` has a line break or another control character"),
        ] {
            assert_eq!(host_of_url(url, false).map_err(|refused| refused.message), Err(expect.into()), "{url}");
        }
    }

    #[test]
    fn a_match_is_a_host() {
        assert_eq!(host_of_match("API.kakao.example:443").as_deref(), Ok("api.kakao.example"));
        assert_eq!(host_of_match("localhost:9000").as_deref(), Ok("localhost:9000"));
        for (text, help) in [
            ("https://api.example/x", "write api.example"),
            ("api.example/x", "write api.example"),
            ("*.example", "write a destination for each host"),
        ] {
            assert_eq!(host_of_match(text).map_err(|refused| refused.help), Err(help.into()), "{text}");
        }
    }
}

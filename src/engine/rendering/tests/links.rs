//! Links: their URLs, and what was fetched in the templates.

use std::time::Duration;

use super::*;
use crate::engine::definition::{Link, OnLinkError};

fn link(name: &str, url: &str) -> Link {
    let second = Duration::from_secs(1);
    let host = "w.example".into();
    Link { name: name.into(), url: url.into(), host, ttl: second, timeout: second, on_error: OnLinkError::Drop }
}

fn linked(links: &[(&str, &str)], body: &str) -> Case {
    let mut case = Case::text(body, ContentType::Text);
    case.campaign.webhook.links = links.iter().map(|(name, url)| link(name, url)).collect();
    case
}

#[test]
fn urls_are_rendered_and_encoded() {
    let check = |path: &str, expect: &str| {
        let case = linked(&[("weather", &format!("https://w.example{path}"))], "x");
        let expect =
            if path.is_empty() || !expect.starts_with('/') { expect.to_owned() } else { format!("weather https://w.example{expect}") };
        assert_eq!(case.wanted(), expect, "{path}");
    };
    check("/fixed", "/fixed");
    check("/{{ user.city }}", "/%EC%84%9C%EC%9A%B8");
    check("/{{ event.slash }}?q={{ event.name | upcase }}", "/a%2Fb%3Fc%3Dd%26e%20f?q=ANNA%20%22A%22%20%C3%96");
    check("/{{ event.missing }}", "/");
    check("/{{ event.up }}/x", "render_failed: url: the path has a segment `..` after rendering");
    check("/{% if event.yes %}{% abort 'no' %}{% endif %}", "aborted_by_template: no");
    assert_eq!(
        linked(&[("a", "https://w.example/1"), ("b", "https://v.example/{{ event.count }}")], "x").wanted(),
        "a https://w.example/1\nb https://v.example/3"
    );
}

#[test]
fn what_was_fetched_is_a_variable() {
    let mut case = linked(&[("w", "https://w.example/"), ("n", "https://w.example/")], "");
    case.links = vec![("w".into(), json(r#"{"temperature":3,"days":[{"sky":"clear"}],"a.b":1}"#)), ("n".into(), Value::Null)];
    let mut check = |template: &str, expect: &str| {
        case.campaign.webhook.body = Body::Text(template.into());
        assert_eq!(shown_result(case.render()), expect, "{template}");
    };
    check("{{ link.w.temperature }} {{ link.w.days[0].sky }} {{ link.w['a.b'] }}", "3 clear 1");
    check("{{ link.w.temperature | plus: 1 }} {{ link.w.days | map: 'sky' | join }}", "4 clear");
    check("{% for day in link.w.days %}{{ day.sky }}{% endfor %}", "clear");
    check("{{ link.w.days | json }}", r#"[{"sky":"clear"}]"#);
    check("[{{ link.n }}{{ link.n.x | default: 'none' }}]", "[none]");
    case.campaign.webhook.content_type = ContentType::Json;
    case.campaign.webhook.body = Body::Map(json(r#"{"t":"{{ link.w.temperature }}","d":"{{ link.w.days }}","n":"{{ link.n | omit }}"}"#));
    assert_eq!(shown_result(case.render()), r#"{"t":3,"d":[{"sky":"clear"}]}"#);
}

#[test]
fn problems_have_their_place() {
    let check = |links: &[(&str, &str)], body: &str, expect: &str| assert_eq!(linked(links, body).problems(), expect, "{links:?} {body}");
    let at = "https://w.example/";
    check(&[("weather", at)], "{{ link.wether.x }}", "webhook.body (line 1, column 9): there is no link `wether`; did you mean `weather`?");
    check(&[], "{{ link.x }}", "webhook.body (line 1, column 9): there is no link `x`; write it under `webhook.link.x`");
    check(
        &[("a", at), ("b", "https://w.example/{{ link.a }}")],
        "x",
        "webhook.link.b.url (line 1, column 22): the URL of a link cannot use `link`: nothing is fetched yet",
    );
    check(
        &[("a", "https://{{ event.host }}/")],
        "x",
        "webhook.link.a.url (line 1, column 9): the host is fixed text: a template may stand only after it, in path, query and `params`",
    );
    check(
        &[("a", "https://w.example/{{ secret.k }}")],
        "x",
        "webhook.link.a.url (line 1, column 22): `secret.<name>` may stand only as a lone `{{ secret.<name> }}` or within a header, without \
         filters and outside of tags",
    );
}

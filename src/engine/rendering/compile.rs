//! A checked campaign's webhook made into a [`Template`], or every problem of its texts with its place.

use super::expression::Links;
use super::profiles::ProfilePart;
use super::style::{self, Style};
use super::text::{self, Lone, Part, Place, Secrets, push_fixed};
use super::{Fault, Header, Link, MAX_REQUEST_BYTES, Template, TemplateProblem, scan};
use crate::engine::definition::{self, Body, Campaign, ContentType, Destination, Method, Profiles, Webhook};
use crate::engine::record::Quoting;
use crate::engine::value::{Object, Value};

const URL: Place = Place { all: Style::Url, outputs: Style::Percent, secrets: Secrets::Never, lone_is_value: false, campaign_only: false };
const PARAM: Place =
    Place { all: Style::Percent, outputs: Style::Plain, secrets: Secrets::Lone(Quoting::Url), lone_is_value: false, campaign_only: false };
const HEADER: Place = Place {
    all: Style::Plain,
    outputs: Style::Plain,
    secrets: Secrets::Within(Quoting::Plain),
    lone_is_value: false,
    campaign_only: false,
};
/// The inside of a string in a map body.
const LEAF: Place =
    Place { all: Style::JsonInside, outputs: Style::Plain, secrets: Secrets::Never, lone_is_value: false, campaign_only: false };
const LONE_LEAF: Place = Place { secrets: Secrets::Lone(Quoting::Json), lone_is_value: true, ..LEAF };
const RAW_JSON: Place = Place { all: Style::Plain, outputs: Style::JsonInside, secrets: Secrets::Lone(Quoting::Json), ..LEAF };
const RAW_TEXT: Place = Place { all: Style::Plain, outputs: Style::Plain, secrets: Secrets::Lone(Quoting::Plain), ..LEAF };

/// Compiles a campaign's webhook for its destination, whose headers it adds (the webhook's own win).
pub fn compile(campaign: &Campaign, destination: Option<&Destination>) -> Result<Template, Vec<TemplateProblem>> {
    let webhook = &campaign.webhook;
    let names: Vec<Box<str>> = webhook.links.iter().map(|link| link.name.clone()).collect();
    let mut problems = Problems::default();
    let links = webhook.links.iter().map(|link| self::link(link, &mut problems)).collect();
    problems.links = Links::Named(&names);
    let url = url(webhook, &mut problems);
    let mut headers = headers(&webhook.headers, HEADER, "webhook.headers", &mut problems);
    if let Some(destination) = destination {
        let place = Place { campaign_only: true, ..HEADER };
        let added = self::headers(&destination.headers, place, "destination.headers", &mut problems);
        let own = webhook.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect::<Vec<_>>();
        headers.extend(added.into_iter().filter(|(name, _)| !own.contains(&name.to_ascii_lowercase())));
    }
    headers.sort_by_key(|(name, _)| name.to_ascii_lowercase());
    let body = body(campaign, &mut problems);
    let fixed = text::fixed_bytes(&url)
        + headers.iter().map(|(_, parts)| text::fixed_bytes(parts)).sum::<usize>()
        + body.as_deref().map_or(0, text::fixed_bytes);
    if fixed > MAX_REQUEST_BYTES {
        problem(&mut problems, "webhook", format!("its fixed text alone has {fixed} bytes; a request has at most {MAX_REQUEST_BYTES}"));
    }
    if !problems.found.is_empty() {
        return Err(problems.found);
    }
    let body_is_raw_json = matches!(webhook.body, Body::Text(_)) && webhook.content_type == ContentType::Json;
    Ok(Template {
        destination: destination.map_or_else(|| webhook.host.clone(), |destination| destination.key.clone()),
        method: webhook.method,
        content_type: webhook.content_type,
        url: url.into(),
        headers: headers.into(),
        // What is fixed was checked below; it stays what it is.
        body_is_raw_json: body_is_raw_json && body.as_deref().is_some_and(|body| !text::is_fixed(body)),
        body: body.map(Into::into),
        links,
    })
}

/// Where problems are gathered, and the links that the texts may use.
#[derive(Default)]
struct Problems<'l> {
    found: Vec<TemplateProblem>,
    links: Links<'l>,
}

/// A link is fetched before anything is rendered, so its URL knows no other.
fn link(link: &definition::Link, problems: &mut Problems<'_>) -> Link {
    let mut parts = Vec::new();
    templated_url(&link.url, &format!("webhook.link.{}.url", link.name), &mut parts, problems);
    Link { name: link.name.clone(), url: parts.into(), ttl: link.ttl, timeout: link.timeout, on_error: link.on_error }
}

/// Checks the headers of a destination by themselves; fields are `headers.<name>`.
pub fn check_destination(destination: &Destination) -> Vec<TemplateProblem> {
    let mut problems = Problems::default();
    headers(&destination.headers, Place { campaign_only: true, ..HEADER }, "headers", &mut problems);
    problems.found
}

fn url(webhook: &Webhook, problems: &mut Problems<'_>) -> Vec<Part> {
    let mut parts = Vec::new();
    if !templated_url(&webhook.url, "webhook.url", &mut parts, problems) {
        return parts;
    }
    let mut separator = if webhook.url.contains('?') { "&" } else { "?" };
    for (name, value) in &webhook.params {
        let field = format!("webhook.params.{name}");
        let values = match value {
            Value::List(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in values {
            push_fixed(&mut parts, separator, Style::Plain);
            push_fixed(&mut parts, name, Style::Percent);
            push_fixed(&mut parts, "=", Style::Plain);
            separator = "&";
            match value {
                Value::Text(text) => compile_text(text, &PARAM, &field, &mut parts, problems),
                Value::Object(_) | Value::List(_) => {
                    problem(problems, &field, "a query parameter is text, a number, true or false, or a list of these".to_owned());
                }
                other => {
                    let mut text = String::new();
                    style::push_value(&mut text, other, Style::Plain);
                    push_fixed(&mut parts, &text, Style::Percent);
                }
            }
        }
    }
    parts
}

/// A URL whose host is fixed; answers whether it is.
fn templated_url(url: &str, field: &str, parts: &mut Vec<Part>, problems: &mut Problems<'_>) -> bool {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let path_at = url[authority..].find(['/', '?', '#']).map_or(url.len(), |at| authority + at);
    let host_is_fixed = scan::is_fixed(&url[..path_at]);
    if host_is_fixed {
        compile_text(url, &URL, field, parts, problems);
    } else {
        let at = url.find('{').unwrap_or(0);
        let fault = Fault::at(at, "the host is fixed text: a template may stand only after it, in path, query and `params`");
        report(problems, field, url, vec![fault]);
    }
    host_is_fixed
}

fn headers(written: &[(Box<str>, Box<str>)], place: Place, field: &str, problems: &mut Problems<'_>) -> Vec<Header> {
    let compile_one = |(name, value): &(Box<str>, Box<str>)| {
        let mut parts = Vec::new();
        let field = format!("{field}.{name}");
        compile_text(value, &place, &field, &mut parts, problems);
        let fixed_break = parts.iter().any(|part| matches!(part, Part::Fixed(text) if text.chars().any(|c| c.is_control() && c != '\t')));
        if fixed_break {
            problem(problems, &field, "a line break or control character cannot stand in a header".to_owned());
        }
        (name.clone(), parts.into())
    };
    written.iter().map(compile_one).collect()
}

fn body(campaign: &Campaign, problems: &mut Problems<'_>) -> Option<Vec<Part>> {
    let webhook = &campaign.webhook;
    if webhook.method == Method::Get {
        return None;
    }
    let mut parts = Vec::new();
    match &webhook.body {
        Body::Default => default_body(campaign, &mut parts, problems),
        Body::Profiles(profiles) => profiles_body(campaign, profiles, &mut parts, problems),
        Body::Map(value) => map_body(value, "webhook.body", &mut parts, problems),
        Body::Text(text) if webhook.content_type == ContentType::Text => {
            compile_text(text, &RAW_TEXT, "webhook.body", &mut parts, problems);
        }
        Body::Text(text) => {
            compile_text(text, &RAW_JSON, "webhook.body", &mut parts, problems);
            check_fixed_json(&parts, text, problems);
        }
    }
    Some(parts)
}

/// A raw body without outputs can be judged now.
fn check_fixed_json(parts: &[Part], text: &str, problems: &mut Problems<'_>) {
    if !problems.found.is_empty() || !text::is_fixed(parts) {
        return;
    }
    let fixed = if let [Part::Fixed(fixed)] = parts { &**fixed } else { "" };
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(fixed) {
        let at = (fixed == text).then(|| (error.line().max(1), error.column().max(1)));
        let message = format!("the text is not JSON ({error}); write a map, or `content_type: text`");
        problems.found.push(TemplateProblem { field: "webhook.body".into(), message, at });
    }
}

/// What is sent when no body is written (contract, section 3).
fn default_body(campaign: &Campaign, parts: &mut Vec<Part>, problems: &mut Problems<'_>) {
    push_fixed(parts, "{\"campaign\":", Style::Plain);
    let mut key = String::new();
    style::push_json_text(&mut key, &campaign.key);
    push_fixed(parts, &key, Style::Plain);
    let fields = [
        ("delivery_id", "{{ delivery.id }}"),
        ("user_id", "{{ user.id }}"),
        ("event", "{{ trigger.event }}"),
        ("timestamp", "{{ trigger.timestamp }}"),
        ("properties", "{{ event }}"),
    ];
    for (name, template) in fields {
        push_fixed(parts, &format!(",\"{name}\":"), Style::Plain);
        leaf(template, "webhook.body", parts, problems);
    }
    push_fixed(parts, "}", Style::Plain);
}

/// CleverTap's payload.
fn profiles_body(campaign: &Campaign, profiles: &Profiles, parts: &mut Vec<Part>, problems: &mut Problems<'_>) {
    push_fixed(parts, "{\"targetId\":", Style::Plain);
    match &profiles.target_id {
        Some(target) => leaf(target, "webhook.body.profiles.target_id", parts, problems),
        None => {
            let mut key = String::new();
            style::push_json_text(&mut key, &campaign.key);
            push_fixed(parts, &key, Style::Plain);
        }
    }
    if profiles.key_values.as_object().is_some_and(|values| !values.is_empty()) {
        push_fixed(parts, ",\"key_values\":", Style::Plain);
        map_body(&profiles.key_values, "webhook.body.profiles.key_values", parts, problems);
    }
    push_fixed(parts, ",\"profiles\":[", Style::Plain);
    parts.push(Part::Profile(Box::new(ProfilePart::of(profiles))));
    push_fixed(parts, "]}", Style::Plain);
}

/// A value of a map body: its shape is fixed, so what comes out is JSON whatever the values are.
fn map_body(value: &Value, field: &str, parts: &mut Vec<Part>, problems: &mut Problems<'_>) {
    match value {
        Value::Object(object) => map(object, field, parts, problems),
        Value::List(items) => {
            push_fixed(parts, "[", Style::Plain);
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    push_fixed(parts, ",", Style::Plain);
                }
                map_body(item, &format!("{field}[{i}]"), parts, problems);
            }
            push_fixed(parts, "]", Style::Plain);
        }
        Value::Text(text) => leaf(text, field, parts, problems),
        fixed => {
            let mut text = String::new();
            style::push_json(&mut text, fixed);
            push_fixed(parts, &text, Style::Plain);
        }
    }
}

fn map(object: &Object, field: &str, parts: &mut Vec<Part>, problems: &mut Problems<'_>) {
    // Commas must be decided while rendering only from the first entry on that may be left out.
    let mut first_is_open = false;
    push_fixed(parts, "{", Style::Plain);
    for (i, (name, value)) in object.iter().enumerate() {
        let field = format!("{field}.{name}");
        if !scan::is_fixed(name) {
            problem(problems, &field, "a key of a map body is fixed text".to_owned());
        }
        let mut key = String::new();
        style::push_json_text(&mut key, name);
        key.push(':');
        let lone = match value.as_str().and_then(Lone::of).map(|lone| lone.compile(&LONE_LEAF, problems.links)) {
            Some(Ok((value, true))) => {
                first_is_open |= i == 0;
                parts.push(Part::Unless { key: key.into(), value: Box::new(value) });
                continue;
            }
            Some(Ok((part, false))) => Some(part),
            Some(Err(faults)) => {
                report(problems, &field, value.as_str().unwrap_or_default(), faults);
                continue;
            }
            None => None,
        };
        if i > 0 {
            if first_is_open { parts.push(Part::Comma) } else { push_fixed(parts, ",", Style::Plain) }
        }
        push_fixed(parts, &key, Style::Plain);
        match lone {
            Some(part) => parts.push(part),
            None => map_body(value, &field, parts, problems),
        }
        // An entry that is always there: from here on a comma is certain.
        first_is_open = false;
    }
    push_fixed(parts, "}", Style::Plain);
}

fn leaf(text: &str, field: &str, parts: &mut Vec<Part>, problems: &mut Problems<'_>) {
    if let Some(lone) = Lone::of(text) {
        match lone.compile(&LONE_LEAF, problems.links) {
            Ok((_, true)) => report(problems, field, text, vec![Fault::at(0, "`omit` drops a key: it works in a map, not in a list")]),
            Ok((part, false)) => parts.push(part),
            Err(faults) => report(problems, field, text, faults),
        }
        return;
    }
    push_fixed(parts, "\"", Style::Plain);
    compile_text(text, &LEAF, field, parts, problems);
    push_fixed(parts, "\"", Style::Plain);
}

fn compile_text(text: &str, place: &Place, field: &str, parts: &mut Vec<Part>, problems: &mut Problems<'_>) {
    if let Err(faults) = text::compile(text, place, problems.links, parts) {
        report(problems, field, text, faults);
    }
}

fn report(problems: &mut Problems<'_>, field: &str, text: &str, faults: Vec<Fault>) {
    for fault in faults {
        let before = text.get(..fault.offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        problems.found.push(TemplateProblem { field: field.to_owned(), message: fault.message, at: Some((line, column)) });
    }
}

fn problem(problems: &mut Problems<'_>, field: &str, message: String) {
    problems.found.push(TemplateProblem { field: field.to_owned(), message, at: None });
}

//! Which secrets a document names, and where. Names only: a value never comes here.

use std::collections::BTreeSet;

use crate::engine::definition::{Document, Kind, Place, Problem};
use crate::engine::rendering;
use crate::engine::value::Value;

/// Every secret that a document names, with the place: `{secret: name}` in a destination's credentials, `{{ secret.name }}` in templates.
fn secrets_named(document: &Document) -> Vec<(Box<str>, Place)> {
    let mut found = Vec::new();
    each_secret(document.kind, &document.canonical, &mut |path, name| found.push((name, document.places.of(path))));
    found
}

/// What is wrong with the secrets that a document names, each with its place. `fault` tells what is with a name, and the way out.
pub fn secrets_wrong(document: &Document, fault: impl Fn(&str) -> Option<(String, String)>) -> Vec<Problem> {
    let faults = secrets_named(document).into_iter().filter_map(|(name, place)| Some((place, fault(&name)?)));
    faults.map(|(place, (message, help))| Problem::error(&document.file, place, message).help(help)).collect()
}

/// The same names of a stored document, which has no places any more; each once.
pub fn secrets_of(document: &super::Document) -> BTreeSet<Box<str>> {
    let mut found = BTreeSet::new();
    each_secret(document.kind, &document.canonical, &mut |_, name| {
        found.insert(name);
    });
    found
}

fn each_secret(kind: Kind, canonical: &str, show: &mut impl FnMut(&str, Box<str>)) {
    // A canonical text is JSON by construction.
    let Ok(Value::Object(written)) = Value::from_json(canonical) else { return };
    for (key, value) in written.iter() {
        let look = match (kind, key) {
            (Kind::Campaign, "webhook") | (Kind::Destination, "headers") => in_templates,
            (Kind::Destination, "auth" | "sign" | "ca") => in_credentials,
            _ => continue,
        };
        walk(key, value, &mut |path, value| look(value).into_iter().for_each(|name| show(path, name)));
    }
}

fn in_templates(value: &Value) -> Vec<Box<str>> {
    value.as_str().map(rendering::secrets_named).unwrap_or_default()
}

fn in_credentials(value: &Value) -> Vec<Box<str>> {
    value.as_object().and_then(|credential| credential.get("secret")?.as_str()).map(Into::into).into_iter().collect()
}

fn walk(path: &str, value: &Value, each: &mut impl FnMut(&str, &Value)) {
    each(path, value);
    match value {
        Value::Object(entries) => entries.iter().for_each(|(key, value)| walk(&format!("{path}.{key}"), value, each)),
        Value::List(items) => items.iter().enumerate().for_each(|(at, item)| walk(&format!("{path}.{at}"), item, each)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::definition::{ReadOptions, Reading, read};

    fn check(text: &str, expect: &[&str]) {
        let Reading { documents, problems, .. } = read("t", text, &ReadOptions::default());
        assert!(problems.is_empty(), "{text}: {problems:?}");
        let shown = |(name, place): (Box<str>, Place)| format!("{}:{} {name}", place.line, place.column);
        let named: Vec<String> = documents.iter().flat_map(secrets_named).map(shown).collect();
        assert_eq!(named, expect, "{text}");
    }

    #[test]
    fn secrets_are_found_where_they_may_stand() {
        let campaign = |webhook: &str| format!("kind: campaign\nkey: k\ntrigger: {{api: {{}}}}\nwebhook: {webhook}\n");
        check(&campaign("{url: 'https://h.example/', body: {secret: none, text: secret.none}}"), &[]);
        check(&campaign("{url: 'https://h.example/', headers: {X-Key: 'a {{ secret.a }} {{secret.b-2}}'}}"), &["4:55 a", "4:55 b-2"]);
        check(&campaign("{url: 'https://h.example/', body: {deep: [{token: '{{ secret.a }}'}]}}"), &["4:60 a"]);
        check(&campaign("{url: 'https://h.example/?k=1', params: {k: '{{ secret.a }}'}}"), &["4:54 a"]);
        let destination = |more: &str| format!("kind: destination\nkey: d\nmatch: h.example\n{more}\n");
        check(&destination("auth: {basic: {username: u, password: {secret: p}}}"), &["4:39 p"]);
        check(
            &destination("auth: {bearer: {secret: t}}\nsign: [{secret: new}, {secret: old}]\nca: {secret: pem}"),
            &["4:16 t", "6:5 pem", "5:8 new", "5:23 old"],
        );
        check(&destination("headers: {X-Key: 'Key {{ secret.t }}'}"), &["4:18 t"]);
    }
}

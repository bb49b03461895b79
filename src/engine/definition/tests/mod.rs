//! Definitions in tables: texts that are read, and texts that are refused with place, message and help.

mod accepted;
mod audiences;
mod campaigns;
mod endpoints;
mod language;
mod schema;
mod together;
mod triggers;

use super::{Definition, Document, Problem, ReadOptions, Reading, check_batches, check_together, read};

/// A trigger and a webhook without anything special, for cases about the rest.
const API: &str = "trigger: {api: {}}";
const HOOK: &str = "webhook: {url: 'https://h.example/'}";

/// Problems a line each: `line:column: error: message (help: ...)`.
fn shown(problems: &[Problem]) -> String {
    let line = |problem: &Problem| {
        let text = Problem { help: None, ..problem.clone() }.to_string();
        let text = text.strip_prefix("t:").unwrap_or(&text).to_owned();
        problem.help.as_ref().map_or(text.clone(), |help| format!("{text} (help: {help})"))
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The text has exactly these problems, and is returned only if they are warnings.
fn refused(text: &str, expect: &str) {
    let Reading { documents, problems, .. } = read("t", text, &ReadOptions::default());
    assert_eq!(shown(&problems), expect, "{text}");
    assert_eq!(documents.is_empty(), problems.iter().any(Problem::is_error), "{text}");
    schema::agrees(text, &problems);
}

/// The documents of a text without problems.
fn accepted(text: &str) -> Vec<Document> {
    let Reading { documents, problems, .. } = read("t", text, &ReadOptions { allow_http: true });
    assert_eq!(shown(&problems), "", "{text}");
    schema::agrees(text, &[]);
    documents
}

/// The only definition of a text without problems.
fn definition(text: &str) -> Definition {
    let mut documents = accepted(text);
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0).definition
}

/// Documents that are sound one by one have exactly these problems together.
fn clash(text: &str, expect: &str) {
    assert_eq!(shown(&check_together(&accepted(text), &[])), expect, "{text}");
}

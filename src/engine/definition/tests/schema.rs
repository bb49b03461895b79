//! The schema against the readers: what they take it takes, what is wrong in shape for them is wrong for it.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

use super::super::problem::Problems;
use super::super::text::{Data, Node, documents};
use super::super::{Kind, Problem, reference, schema};

static ANY: LazyLock<Validator> = LazyLock::new(|| jsonschema::draft202012::new(&schema(None)).expect("a schema"));

/// Problems of a kind that a schema sees too.
const OF_SHAPE: [&str; 13] = [
    "unknown key",
    "unknown kind",
    "unknown operator",
    " must be text, not",
    " must be a list, not",
    " must be a map, not text",
    " must be a map, not a number",
    " must be true or false",
    " must be a whole number",
    " must be a number",
    " must be a duration",
    " must be a time of day",
    " needs `key`",
];

/// The schema takes a text that has no errors, and refuses one that has errors of shape.
pub(super) fn agrees(text: &str, problems: &[Problem]) {
    let unread = Problems::of("t");
    let trees = documents(text, &unread);
    if unread.errors() > 0 {
        return;
    }
    let refused: Vec<String> =
        trees.iter().flat_map(|tree| ANY.iter_errors(&bare(&tree.root)).map(|error| error.to_string()).collect::<Vec<_>>()).collect();
    if !problems.iter().any(Problem::is_error) {
        assert_eq!(refused, [""; 0], "the schema refuses what is sound: {text}");
    }
    let of_shape = problems.iter().find(|problem| problem.is_error() && OF_SHAPE.iter().any(|kind| problem.message.contains(kind)));
    if let Some(problem) = of_shape {
        assert_ne!(refused, [""; 0], "the schema passes over `{}`: {text}", problem.message);
    }
}

/// A document without what is null, which counts as absent.
fn bare(node: &Node) -> Value {
    match &node.data {
        Data::Map(entries) => {
            let written = entries.iter().filter(|entry| !entry.value.is_null() || &*entry.key == "api");
            Value::Object(
                written
                    .map(|entry| (entry.key.to_string(), if entry.value.is_null() { serde_json::json!({}) } else { bare(&entry.value) }))
                    .collect(),
            )
        }
        Data::List(items) => Value::Array(items.iter().map(bare).collect()),
        Data::Scalar(_) | Data::Broken => serde_json::from_str(&node.to_value().to_string()).expect("a value is JSON"),
    }
}

#[test]
fn every_key_is_described() {
    let whole = schema(None);
    let parts = whole["$defs"].as_object().expect("parts");
    for (name, part) in parts {
        assert!(part["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        for (key, value) in part["properties"].as_object().into_iter().flatten() {
            assert!(value["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}.{key}");
        }
    }
    assert!(parts.len() > 30, "{} parts", parts.len());
}

#[test]
fn each_kind_has_a_schema_of_its_own() {
    for kind in [Kind::Campaign, Kind::Cohort, Kind::Destination, Kind::Workspace] {
        let validator = jsonschema::draft202012::new(&schema(Some(kind))).expect("a schema");
        let is_valid = |text: &str| validator.is_valid(&serde_json::from_str(text).expect("JSON"));
        let campaign = r#"{"kind":"campaign","key":"k","trigger":{"api":{}},"webhook":{"url":"https://h.example/"}}"#;
        assert_eq!(is_valid(campaign), kind == Kind::Campaign, "{kind}");
        assert_eq!(is_valid(r#"{"kind":"workspace"}"#), kind == Kind::Workspace, "{kind}");
        assert_eq!(is_valid(r#"{"kind":"cohort","key":"k","users":["u1",2]}"#), kind == Kind::Cohort, "{kind}");
        assert_eq!(is_valid(r#"{"kind":"destination","key":"k","match":"h.example"}"#), kind == Kind::Destination, "{kind}");
    }
}

/// The published files, and what they are made of.
const PUBLISHED: [(&str, &str, Option<Kind>); 5] = [
    ("definitions", include_str!("../../../../docs/schema/definitions.json"), None),
    ("campaign", include_str!("../../../../docs/schema/campaign.json"), Some(Kind::Campaign)),
    ("cohort", include_str!("../../../../docs/schema/cohort.json"), Some(Kind::Cohort)),
    ("destination", include_str!("../../../../docs/schema/destination.json"), Some(Kind::Destination)),
    ("workspace", include_str!("../../../../docs/schema/workspace.json"), Some(Kind::Workspace)),
];

#[test]
fn the_published_schema_is_the_one_that_is_made() {
    for (name, text, kind) in PUBLISHED {
        assert!(text == format!("{:#}\n", schema(kind)), "docs/schema/{name}.json is of another version: `make schema` writes it anew");
    }
}

#[test]
fn the_published_reference_is_the_one_that_is_made_and_its_links_lead_somewhere() {
    let text = reference();
    assert!(text == include_str!("../../../../docs/reference.md"), "docs/reference.md is of another version: `make schema` writes it anew");
    for target in text.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(text.lines().any(|line| line.trim_start_matches('#').trim() == target && line.starts_with('#')), "#{target}");
    }
}

#[test]
fn the_samples_fit_and_tell_editors_where_the_schema_is() {
    for text in [
        include_str!("../../../../config/campaigns/cart-abandoned.yaml"),
        include_str!("../../../../config/campaigns/points.yaml"),
        include_str!("../../../../config/campaigns/review-thanks.yaml"),
        include_str!("../../../../config/campaigns/workspace.yaml"),
        include_str!("../../../../config/demo/definitions.yaml"),
        include_str!("../../../../config/try/campaigns.yaml"),
    ] {
        assert!(text.starts_with("# yaml-language-server: $schema=../../docs/schema/definitions.json\n"), "{text}");
        agrees(text, &[]);
    }
}

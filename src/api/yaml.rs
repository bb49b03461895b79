//! A stored definition back as YAML, to be read by people and applied again.

use crate::engine::value::{Object, Text, Value};

/// The document with its status, what names it first, what is long last. Deeper keys stay in their order: of what is sent it is part.
///
/// # Errors
/// What is not the JSON object that a stored definition is, in words.
pub fn document(canonical: &str, status: Option<&str>) -> Result<String, String> {
    let Value::Object(written) = Value::from_json(canonical).map_err(|error| error.to_string())? else {
        return Err("not an object".to_owned());
    };
    let mut fields: Vec<(Text, Value)> = written.iter().map(|(key, value)| (key.into(), value.clone())).collect();
    fields.extend(status.map(|status| ("status".into(), Value::text(status))));
    fields.sort_by_key(|(key, _)| match key.as_str() {
        "kind" => 0,
        "key" => 1,
        "title" => 2,
        "status" => 3,
        "webhook" => 5,
        _ => 4,
    });
    serde_saphyr::to_string(&fields.into_iter().collect::<Object>()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::definition::{ReadOptions, Reading, read};

    #[test]
    fn what_is_written_reads_as_the_same_document() {
        // Texts that YAML could take for something else, templates, several lines, an order of keys that counts.
        let text = r#"{"kind": "campaign", "key": "a", "title": "yes", "description": "two\nlines: # no comment\n", "channel": "21:00",
            "tags": ["1.10", "null", "~", "2026-11-01", "- x", "é\u0007"], "trigger": {"schedule": {"monthly": {"day": 7, "at": "09:00"}}},
            "audience": {"user": {"plan": {"in": ["gold", 1.5, true]}}}, "fatigue": {"resend": "always"},
            "webhook": {"url": "https://h.example/{{ user.id }}", "headers": {"X-Z": "{% if user.a %}: {% endif %}", "X-A": ""},
                "body": {"z": "{{ event.amount }}", "a": [{"nested": {}}, [], null], "m": "'\"&*!|>%@`"}}}"#;
        let Reading { documents, problems, .. } = read("t", text, &ReadOptions::default());
        assert_eq!(problems, []);
        let yaml = document(&documents[0].canonical, Some("paused")).unwrap();
        let Reading { documents: again, problems, .. } = read("t", &yaml, &ReadOptions::default());
        assert_eq!(problems, [], "{yaml}");
        assert_eq!(again[0].canonical, documents[0].canonical, "{yaml}");
        assert!(yaml.starts_with("kind: campaign\nkey: a\n") && yaml.contains("\nstatus: paused\n"), "{yaml}");
    }
}

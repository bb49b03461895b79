//! Whatever the template text and the values: no panic, and a map body is JSON.

use proptest::prelude::*;

use super::super::liquid;
use super::*;

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<i32>().prop_map(|number| Value::Float(f64::from(number) / 64.0)),
        ((i64::MAX as u64 + 1)..=u64::MAX).prop_map(Value::Unsigned),
        ".{0,12}".prop_map(Value::text),
        "[\\x00-\\x1f\"\\\\{}%']{0,8}".prop_map(Value::text),
        "-?[0-9]{1,20}".prop_map(Value::text),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::vec(("[ab.{}\"]{0,3}".prop_map(crate::engine::value::Text::from), inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn any_properties() -> impl Strategy<Value = Object> {
    prop::collection::vec(any_value(), 4)
        .prop_map(|values| ["a", "b", "c", "d"].into_iter().map(crate::engine::value::Text::from).zip(values).collect())
}

fn variable() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "event.a",
        "event.b",
        "event.c.a",
        "event.d[0]",
        "event.a.b.a",
        "event.a.first",
        "event.b.size",
        "event.a[event.b]",
        "event",
        "user.id",
        "user.plan",
        "campaign.tags",
        "delivery.time",
        "event.missing",
        "5",
        "-9223372036854775808",
        "'x'",
        "1.5",
        "nil",
        "true",
        "'now'",
    ])
    .prop_map(str::to_owned)
}

/// Expressions with every filter there is, and arguments that fit or do not.
fn expression() -> impl Strategy<Value = String> {
    let call =
        (prop::sample::select(liquid::filters().to_vec()), prop::collection::vec(variable(), 0..3)).prop_map(|(filter, arguments)| {
            let name = filter.name;
            let arguments = &arguments[..arguments.len().min(*filter.arguments.end())];
            if arguments.is_empty() { name.to_owned() } else { format!("{name}: {}", arguments.join(", ")) }
        });
    (variable(), prop::collection::vec(call, 0..3))
        .prop_map(|(start, calls)| calls.iter().fold(start, |whole, call| format!("{whole} | {call}")))
}

fn template() -> impl Strategy<Value = String> {
    let output = expression().prop_map(|expression| format!("{{{{ {expression} }}}}"));
    let leaf = prop_oneof![3 => output, 1 => "[a-z \"\\\\{}]{0,6}"];
    leaf.prop_recursive(3, 12, 3, move |inner| {
        let inner = prop::collection::vec(inner, 0..3).prop_map(|parts| parts.join(" "));
        prop_oneof![
            (variable(), "(==|!=|<|>=|contains)", variable(), inner.clone())
                .prop_map(|(a, operator, b, body)| format!("{{% if {a} {operator} {b} %}}{body}{{% else %}}-{{% endif %}}")),
            (variable(), inner.clone()).prop_map(|(over, body)| format!("{{% for i in {over} %}}{{{{ i.a }}}}{body}{{% endfor %}}")),
            (variable(), inner.clone())
                .prop_map(|(to, body)| format!("{{% for i in (1..{to}) limit: 4 %}}{{{{ i }}}}{body}{{% endfor %}}")),
            (expression(), inner.clone()).prop_map(|(value, body)| format!("{{% assign x = {value} %}}{{{{ x | json }}}}{body}")),
            (variable(), variable(), inner).prop_map(|(a, b, body)| format!("{{% case {a} %}}{{% when {b} %}}{body}{{% endcase %}}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_map_body_is_always_json(properties in any_properties(), texts in prop::collection::vec(template(), 1..4), omit in any::<bool>()) {
        let mut map: Object = texts.iter().enumerate().map(|(i, text)| (format!("k{i}").into(), Value::text(text.clone()))).collect();
        if omit {
            map.insert("o", Value::text("{{ event.a | omit }}"));
            map.insert("p", Value::List(vec![Value::text("{{ event }}")]));
        }
        let mut case = Case::new(Body::Map(Value::Object(map)));
        case.properties = properties;
        if let Ok(template) = compile(&case.campaign, None)
            && let Ok(rendered) = case.render_with(&template)
        {
            let body = body_of(&rendered);
            let parsed = Value::from_json(&body);
            prop_assert!(parsed.is_ok(), "{body}");
            prop_assert!(body.len() <= MAX_REQUEST_BYTES);
        }
    }

    #[test]
    fn a_lone_expression_gives_the_value_back(properties in any_properties()) {
        let mut case = Case::new(Body::Map(Value::text("{{ event }}")));
        case.properties = properties.clone();
        let body = body_of(&case.render().unwrap());
        prop_assert_eq!(Value::from_json(&body).unwrap(), Value::Object(properties));
    }

    #[test]
    fn raw_json_text_is_json_or_held(properties in any_properties(), text in template()) {
        let mut case = Case::text(&format!("{{\"a\":\"{text}\"}}"), ContentType::Json);
        case.properties = properties;
        if let Ok(template) = compile(&case.campaign, None) {
            match case.render_with(&template) {
                Ok(rendered) => prop_assert!(Value::from_json(&body_of(&rendered)).is_ok()),
                Err(held) => prop_assert!(matches!(held.reason, Reason::RenderFailed)),
            }
        }
    }

    #[test]
    fn urls_and_headers_stay_what_they_are(properties in any_properties(), text in template()) {
        let mut case = Case::new(Body::Default);
        case.campaign.webhook.url = format!("https://a.example/v1/{text}").into();
        case.campaign.webhook.params = vec![("q".into(), Value::text(text.clone()))];
        case.campaign.webhook.headers = vec![("X".into(), text.into())];
        case.properties = properties;
        if let Ok(template) = compile(&case.campaign, None)
            && let Ok(rendered) = case.render_with(&template)
        {
            let url = frozen_text(&rendered.request.url);
            let parsed = url::Url::parse(&url);
            prop_assert!(parsed.as_ref().is_ok_and(|parsed| parsed.host_str() == Some("a.example") && parsed.path().starts_with("/v1/")), "{url}");
            prop_assert!(!frozen_text(&rendered.request.headers[0].1).contains(['\r', '\n', '\0']));
        }
    }

    #[test]
    fn any_text_compiles_or_is_refused(text in "(\\{\\{|\\}\\}|\\{%|%\\}|-|'|\"|\\[|\\]|\\.|\\||:|,| |\\n|if|for|in|endif|endfor|else|raw|endraw|event|user|x|assign|=|1|9|é|[a-z]|\\PC){0,24}") {
        for content_type in [ContentType::Text, ContentType::Json] {
            let case = Case::text(&text, content_type);
            match compile(&case.campaign, None) {
                Ok(template) => drop(case.render_with(&template)),
                Err(problems) => prop_assert!(!problems.is_empty()),
            }
            let case = Case::new(Body::Map(Value::List(vec![Value::text(text.clone())])));
            if let Ok(template) = compile(&case.campaign, None)
                && let Ok(rendered) = case.render_with(&template)
            {
                prop_assert!(Value::from_json(&body_of(&rendered)).is_ok());
            }
        }
    }
}

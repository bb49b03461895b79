//! Bodies: maps keep types and are always JSON, raw text is escaped, the default is the contract's.

use super::*;

fn map(body: &str) -> String {
    let result = shown_result(Case::new(Body::Map(json(body))).render());
    assert!(
        serde_json::from_str::<serde::de::IgnoredAny>(&result).is_ok() || result.contains(": ") || result.contains("<k:"),
        "not JSON: {result}"
    );
    result
}

#[test]
fn a_map_body_is_json_and_lone_expressions_keep_their_type() {
    let check = |body: &str, expect: &str| assert_eq!(map(body), expect, "{body}");
    // Without templates it is a constant.
    check("{}", "{}");
    check(r#"{"a":1,"b":[true,null,1.5,"x\"y"],"c":{"d":{}}}"#, r#"{"a":1,"b":[true,null,1.5,"x\"y"],"c":{"d":{}}}"#);
    check(r#"[1,{"a":"{{ event.count }}"}]"#, r#"[1,{"a":3}]"#);
    check(r#""{{ event.items }}""#, r#"[{"id":"i1","n":1},{"id":"i2","n":2}]"#);
    // Types.
    for (name, expect) in [
        ("name", r#""Anna \"A\" Ö""#),
        ("amount", "120.5"),
        ("count", "3"),
        ("big", "18446744073709551615"),
        ("whole", "10.0"),
        ("yes", "true"),
        ("no", "false"),
        ("empty", r#""""#),
        ("lines", r#""a\nb\r\nc""#),
        ("words", r#"["x","y","z"]"#),
        ("none", "[]"),
        ("void", "{}"),
        ("items[0]", r#"{"id":"i1","n":1}"#),
        ("items[1].id", r#""i2""#),
        ("items[-1].id", r#""i2""#),
        ("items.first.n", "1"),
        ("items.last.n", "2"),
        ("items.size", "2"),
        ("text.size", "13"),
        ("void.size", "0"),
        ("deep.a.b[1]", "20"),
        ("deep.a.b.last", "30"),
        ("['dot.ted']", r#""full""#),
        ("dot.ted", r#""full""#),
        ("deep.a", r#""wins""#),
        ("deep.x.y", "7"),
        ("deep['x.y']", "7"),
        // Nothing there.
        ("nothing", r#""""#),
        ("missing", r#""""#),
        ("missing.deeper[3]", r#""""#),
        ("items[9].id", r#""""#),
        ("items.nope", r#""""#),
        ("count.x", r#""""#),
    ] {
        let path = if name.starts_with('[') { format!("event{name}") } else { format!("event.{name}") };
        check(&format!("{{\"v\":\"{{{{ {path} }}}}\"}}"), &format!("{{\"v\":{expect}}}"));
        // The same through the run-time, which a filter that changes nothing brings in.
        if !matches!(name, "big" | "whole" | "deep.a" | "text.size") {
            let (list, object) = (expect.starts_with('['), expect.starts_with('{'));
            let filter = if list || object { "default: ''" } else { "append: ''" };
            let through = map(&format!("{{\"v\":\"{{{{ {path} | {filter} | default: event.missing }}}}\"}}"));
            let expect = if list || object || expect.starts_with('"') { expect.to_owned() } else { format!("\"{expect}\"") };
            let expect = if matches!(expect.as_str(), "[]" | "{}") { "\"\"".to_owned() } else { expect };
            assert_eq!(through, format!("{{\"v\":{expect}}}"), "{path} through the run-time");
        }
    }
}

#[test]
fn mixed_strings_are_text() {
    let check = |template: &str, expect: &str| {
        let body = Value::Object([("v".into(), Value::text(template))].into_iter().collect());
        let result = shown_result(Case::new(Body::Map(body)).render());
        assert_eq!(json(&result).as_object().unwrap().get("v"), Some(&Value::text(expect)), "{template}");
    };
    check("Hi {{ event.name }}!", "Hi Anna \"A\" Ö!");
    check("{{ event.count }}{{ event.amount }}", "3120.5");
    check(" {{ event.count }}", " 3");
    check("{{ event.whole }} won", "10 won");
    check("\"{{ event.lines }}\"", "\"a\nb\r\nc\"");
    check("{{ event.yes }}/{{ event.no }}/{{ event.nothing }}/{{ event.missing }}", "true/false//");
    check("{{ event.items }} ", "[{\"id\":\"i1\",\"n\":1},{\"id\":\"i2\",\"n\":2}] ");
    check("x {{ event.words | json }}", "x [\"x\",\"y\",\"z\"]");
    check("x {{ event.name | json }}", "x \"Anna \\\"A\\\" Ö\"");
    check("x {{ event.missing | json }}", "x null");
    check("{% if event.yes %}\"{{ event.name | upcase }}\"{% endif %}\n", "\"ANNA \"A\" Ö\"\n");
    check("{% for w in event.words %}{{ w }}\\{% endfor %}", "x\\y\\z\\");
    check("{{ user.id }} {{ user.push_token }} {{ user.city }}", "u1 device-1 서울");
    check(
        "{{ campaign.key }} {{ campaign.title }} {{ campaign.version }} {{ campaign.tags | join: ',' }}|{{ campaign.channel }}|",
        "cart Cart \"left\" 3 promo,한||",
    );
    check(
        "{{ trigger.kind }} {{ trigger.event }} {{ trigger.timestamp }} {{ trigger.message_id }}",
        "action cart_added 2023-11-14T22:13:20.000Z m1",
    );
    check("{{ delivery.id }} {{ delivery.time }}", "msg_07070707070707070707070707070707 2023-11-14T22:15:00.000Z");
    check("{{ campaign.tags[1] }} {{ campaign.tags.size }}", "한 2");
}

#[test]
fn json_and_default_in_lone_expressions() {
    let check = |expression: &str, expect: &str| {
        assert_eq!(map(&format!("{{\"v\":\"{{{{ {expression} }}}}\"}}")), format!("{{\"v\":{expect}}}"), "{expression}")
    };
    check("event.missing | json", "null");
    check("event.nothing | json", "null");
    check("event.name | json", r#""Anna \"A\" Ö""#);
    check("event.items | json", r#"[{"id":"i1","n":1},{"id":"i2","n":2}]"#);
    check("event.name | upcase | json", r#""ANNA \"A\" Ö""#);
    check("event.missing | upcase | json", "null");
    check("event.missing | default: 'x'", r#""x""#);
    check("event.empty | default: 'x'", r#""x""#);
    check("event.blank | default: 'x'", r#""  ""#);
    check("event.no | default: true", "true");
    check("event.none | default: 7", "7");
    check("event.void | default: 1.5", "1.5");
    check("event.count | default: 7", "3");
    check("event.missing | default: user.plan", r#""gold""#);
    check("event.missing | default: user.nope", r#""""#);
    check("event.count | times: 2", "6");
    check("event.amount | plus: 1", "121.5");
    check("event.words | size", "3");
    check("event.words | first", r#""x""#);
    check("event.count | at_least: 5", "5");
    check("event", &json_text(&Case::new(Body::Default).properties));
    check("'text'", r#""text""#);
    check("5", "5");
    check("nil", r#""""#);
    check("true", "true");
}

fn json_text(object: &Object) -> String {
    serde_json::to_string(object).unwrap()
}

#[test]
fn omit_drops_a_key_whose_value_is_empty() {
    let check = |body: &str, expect: &str| assert_eq!(map(body), expect, "{body}");
    let gone = r#""{{ event.missing | omit }}""#;
    let there = r#""{{ event.count | omit }}""#;
    check(&format!(r#"{{"a":{gone}}}"#), "{}");
    check(&format!(r#"{{"a":{there}}}"#), r#"{"a":3}"#);
    check(&format!(r#"{{"a":{gone},"b":1}}"#), r#"{"b":1}"#);
    check(&format!(r#"{{"a":{there},"b":1}}"#), r#"{"a":3,"b":1}"#);
    check(&format!(r#"{{"a":1,"b":{gone}}}"#), r#"{"a":1}"#);
    check(&format!(r#"{{"a":1,"b":{gone},"c":2}}"#), r#"{"a":1,"c":2}"#);
    check(&format!(r#"{{"a":{gone},"b":{gone},"c":{there},"d":{gone},"e":5,"f":{there}}}"#), r#"{"c":3,"e":5,"f":3}"#);
    check(&format!(r#"{{"a":{gone},"b":{gone}}}"#), "{}");
    check(
        &format!(r#"{{"o":{{"a":{gone}}},"p":{{"a":{gone},"x":"{{{{ event.count }}}}"}},"q":[{{"a":{gone}}}]}}"#),
        r#"{"o":{},"p":{"x":3},"q":[{}]}"#,
    );
    check(&format!(r#"{{"a":{gone},"s":"{{{{ secret.k }}}}","b":{there}}}"#), r#"{"s":<k:json>,"b":3}"#);
    for (empty, is_empty) in [
        ("event.nothing", true),
        ("event.empty", true),
        ("event.none", true),
        ("event.void", true),
        ("event.missing | json", true),
        ("event.missing | upcase", true),
        ("event.blank | strip", true),
        ("event.no", false),
        ("event.blank", false),
        ("event.missing | default: 0", false),
        ("event.count | minus: 3", false),
    ] {
        let result = map(&format!("{{\"a\":\"{{{{ {empty} | omit }}}}\"}}"));
        assert_eq!(result == "{}", is_empty, "{empty}: {result}");
    }
}

#[test]
fn raw_json_text_escapes_outputs_and_must_parse() {
    let check = |template: &str, expect: &str| {
        assert_eq!(shown_result(Case::text(template, ContentType::Json).render()), expect, "{template}");
    };
    check(r#"{"a":"{{ event.name }}"}"#, r#"{"a":"Anna \"A\" Ö"}"#);
    check(r#"{"a":{{ event.name | json }}}"#, r#"{"a":"Anna \"A\" Ö"}"#);
    check(r#"{"a":{{ event.items | json }},"b":{{ event.missing | json }}}"#, r#"{"a":[{"id":"i1","n":1},{"id":"i2","n":2}],"b":null}"#);
    check(r#"{"a":{{ event.count }},"b":"{{ event.lines }}"}"#, r#"{"a":3,"b":"a\nb\r\nc"}"#);
    check(r#"[{% for i in event.items %}{{ i.id | json }}{% unless forloop.last %},{% endunless %}{% endfor %}]"#, r#"["i1","i2"]"#);
    check(r#"{% if event.yes %}{"a":"{{ event.name | upcase }}"}{% endif %}"#, r#"{"a":"ANNA \"A\" Ö"}"#);
    check(r#"{"a":"{{ event.items }}"}"#, r#"{"a":"[{\"id\":\"i1\",\"n\":1},{\"id\":\"i2\",\"n\":2}]"}"#);
    check(r#""{{ event.name | append: '"' }}""#, r#""Anna \"A\" Ö\"""#);
    check("{{ secret.k }}", "<k:json>");
    // Nothing that a value holds can add a key.
    check(r#"{"a":"{{ event.name | replace: 'Anna', '","admin":"' }}"}"#, r#"{"a":"\",\"admin\":\" \"A\" Ö"}"#);
    for (broken, why) in [
        (r#"{"a":{{ event.name }}}"#, "body: the rendered text is not JSON: "),
        (r#"{"a":{{ event.missing }}}"#, "body: the rendered text is not JSON: "),
        (r#"{"a":1{{ event.missing }}"#, "body: the rendered text is not JSON: "),
        ("{% if event.no %}{}{% endif %}", "body: the rendered text is empty, which is not JSON"),
    ] {
        let result = shown_result(Case::text(broken, ContentType::Json).render());
        assert!(result.starts_with(&format!("render_failed: {why}")), "{broken}: {result}");
    }
}

#[test]
fn text_bodies_escape_nothing() {
    let check = |template: &str, expect: &str| assert_eq!(plain(template), expect, "{template}");
    check("fixed \"text\" {", "fixed \"text\" {");
    check("{{ event.name }}&{{ event.html }}", "Anna \"A\" Ö&<b>&</b>");
    check("{{ event.name | json }}", "\"Anna \\\"A\\\" Ö\"");
    check("{{ secret.k }}", "<k:plain>");
    check("", "");
}

#[test]
fn the_default_body_is_the_contracts() {
    let mut case = Case::new(Body::Default);
    case.properties = object(r#"{"b":1,"a":"x"}"#);
    let expect = concat!(
        r#"{"campaign":"cart","delivery_id":"msg_07070707070707070707070707070707","user_id":"u1","event":"cart_added","#,
        r#""timestamp":"2023-11-14T22:13:20.000Z","properties":{"b":1,"a":"x"}}"#
    );
    assert_eq!(shown_result(case.render()), expect);
    case.campaign.webhook.method = Method::Get;
    assert_eq!(case.render().unwrap().request.body, None);
}

#[test]
fn missing_outputs_are_counted_unless_the_author_deals_with_them() {
    let check = |template: &str, expect: u32| {
        assert_eq!(Case::text(template, ContentType::Text).render().unwrap().missing, expect, "{template}");
    };
    check("{{ event.count }} {{ event.empty }} {{ event.no }}", 0);
    check("{{ event.missing }}", 1);
    check("{{ event.nothing }} {{ event.missing }} {{ user.nope }}", 3);
    check("{{ event.missing | json }}", 1);
    check("{{ event.missing | default: 'x' }}", 0);
    check("{{ event.missing | upcase | default: 'x' }}", 0);
    check("{{ event.missing | upcase }}", 1);
    check("{{ event.count | append: user.nope }}", 1);
    check("{% if event.missing %}{% endif %}{% if event.missing == 1 %}{% endif %}", 0);
    check("{% for i in event.items %}{{ i.nope }}{% endfor %}", 2);
    check("{% for i in event.missing %}{{ i.nope }}{% endfor %}", 0);
    check("{% for i in event.words %}{{ event.missing | upcase }}{% endfor %}{{ event.missing }}", 4);
    assert_eq!(Case::new(Body::Map(json(r#"{"a":"{{ event.missing | omit }}"}"#))).render().unwrap().missing, 0);
    assert_eq!(Case::new(Body::Map(json(r#"{"a":"{{ event.missing }}"}"#))).render().unwrap().missing, 1);
}

//! URLs, parameters, headers, and what joins them.

use super::*;

fn url(url: &str, params: &[(&str, &str)]) -> String {
    let mut case = Case::new(Body::Default);
    case.campaign.webhook.url = url.into();
    case.campaign.webhook.params = params.iter().map(|(name, value)| ((*name).into(), json(value))).collect();
    match case.render() {
        Ok(rendered) => frozen_text(&rendered.request.url),
        Err(held) => format!("{}: {}", held.reason.as_str(), held.why),
    }
}

#[test]
fn outputs_in_the_path_and_parameters_are_percent_encoded() {
    let check = |template: &str, params: &[(&str, &str)], expect: &str| {
        assert_eq!(url(template, params), format!("https://a.example{expect}"), "{template} {params:?}");
    };
    let at = |path: &str| format!("https://a.example{path}");
    check(&at(""), &[], "");
    check(&at("/v1/messages"), &[], "/v1/messages");
    check(&at("/{{ event.slash }}/x"), &[], "/a%2Fb%3Fc%3Dd%26e%20f/x");
    check(&at("/{{ user.city }}"), &[], "/%EC%84%9C%EC%9A%B8");
    check(&at("/서울 {{ event.count }}%20"), &[], "/%EC%84%9C%EC%9A%B8%203%20");
    check(&at("/{{ event.missing }}/{{ event.count }}"), &[], "//3");
    check(&at("/{{ event.missing | default: 'a b' }}"), &[], "/a%20b");
    check(&at("/{{ event.name | upcase }}"), &[], "/ANNA%20%22A%22%20%C3%96");
    check(&at("/{% if event.yes %}é/{{ event.slash }}{% endif %}"), &[], "/%C3%A9/a%2Fb%3Fc%3Dd%26e%20f");
    check(&at("/x?u={{ user.phone }}"), &[], "/x?u=%2B82%2010");
    check(&at("/x?a=1"), &[("b", "2")], "/x?a=1&b=2");
    check(&at("/x"), &[("user", "\"{{ user.id }}\""), ("q", "\"a&b=c d\"")], "/x?user=u1&q=a%26b%3Dc%20d");
    check(&at("/x"), &[("a b", "\"{{ event.slash }}!\"")], "/x?a%20b=a%2Fb%3Fc%3Dd%26e%20f%21");
    check(&at("/x"), &[("n", "1.5"), ("t", "true"), ("e", "null")], "/x?n=1.5&t=true&e=");
    check(&at("/x"), &[("id", "[\"{{ event.count }}\",2,\"z\"]")], "/x?id=3&id=2&id=z");
    check(&at("/x"), &[("j", "\"{{ event.words | json }}\"")], "/x?j=%5B%22x%22%2C%22y%22%2C%22z%22%5D");
    check(&at("/x"), &[("l", "\"{{ event.words }}\"")], "/x?l=%5B%22x%22%2C%22y%22%2C%22z%22%5D");
    check(&at("/x"), &[("f", "\"{% if event.yes %}a b{{ event.slash }}{% endif %}\"")], "/x?f=a%20ba%2Fb%3Fc%3Dd%26e%20f");
    check(&at("/x"), &[("k", "\"{{ secret.key }}\""), ("z", "1")], "/x?k=<key:url>&z=1");
}

#[test]
fn a_value_cannot_climb_out_of_the_path() {
    for (path, segment) in [
        ("/v1/{{ event.up }}/admin", ".."),
        ("/v1/.{{ event.missing }}/x", "."),
        ("/{{ event.up }}", ".."),
        ("/v1/%2e{{ event.missing }}%2E/x", "%2e%2E"),
    ] {
        let expect = format!("render_failed: url: the path has a segment `{segment}` after rendering");
        assert_eq!(url(&format!("https://a.example{path}"), &[]), expect);
    }
    assert_eq!(url("https://a.example/x{{ event.up }}?q=..", &[]), "https://a.example/x..?q=..");
}

fn headers(own: &[(&str, &str)], destination: Option<&[(&str, &str)]>) -> String {
    let pairs = |list: &[(&str, &str)]| list.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let mut case = Case::new(Body::Default);
    case.campaign.webhook.headers = pairs(own);
    case.destination = destination.map(|list| Destination { headers: pairs(list), ..Destination::new("kakao".into(), "a.example".into()) });
    match case.render() {
        Ok(rendered) => {
            let lines = rendered.request.headers.iter().map(|(name, value)| format!("{name}: {}", frozen_text(value)));
            format!("{}|{}", rendered.request.destination, lines.collect::<Vec<_>>().join("|"))
        }
        Err(held) => format!("{}: {}", held.reason.as_str(), held.why),
    }
}

#[test]
fn headers_join_the_destinations_and_are_sorted() {
    let check = |own: &[(&str, &str)], destination: Option<&[(&str, &str)]>, expect: &str| {
        assert_eq!(headers(own, destination), expect, "{own:?} {destination:?}");
    };
    check(&[], None, "a.example|");
    check(&[("X-B", "2"), ("x-a", "{{ event.count }}")], None, "a.example|x-a: 3|X-B: 2");
    check(&[("X-B", "2")], Some(&[("x-b", "no"), ("X-A", "{{ campaign.key }}")]), "kakao|X-A: cart|X-B: 2");
    check(&[("X-K", "Key {{ secret.token }}/{{ user.id }}")], None, "a.example|X-K: Key <token:plain>/u1");
    check(&[("X-K", "{{ secret.a }}{{ secret.b }}")], None, "a.example|X-K: <a:plain><b:plain>");
    check(&[], Some(&[("Auth", "{{ secret.token }}")]), "kakao|Auth: <token:plain>");
    check(&[("X-N", "{{ event.name | json }}")], None, "a.example|X-N: \"Anna \\\"A\\\" Ö\"");
    check(&[("X-M", "{{ event.missing }}")], None, "a.example|X-M: ");
    check(&[("X-L", "{{ event.lines }}")], None, "render_failed: header X-L: a line break or control character in the rendered value");
    check(
        &[("X-L", "{% if true %}{{ event.lines }}{% endif %}")],
        None,
        "render_failed: header X-L: a line break or control character in the rendered value",
    );
    check(&[("X-J", "{{ event.lines | json }}")], None, "a.example|X-J: \"a\\nb\\r\\nc\"");
}

#[test]
fn a_request_is_the_same_however_often_it_is_rendered() {
    let case = Case::new(Body::Map(json(
        r#"{"a":"{% for p in event.deep %}{{ p }}{% endfor %}","b":"{% assign o = event.deep %}{{ o | json }}"}"#,
    )));
    let template = compile(&case.campaign, None).unwrap();
    let first = case.render_with(&template).unwrap();
    for _ in 0..20 {
        assert_eq!(case.render_with(&template).unwrap(), first);
        assert_eq!(case.render().unwrap(), first);
    }
}

#[test]
fn a_template_without_variables_is_a_constant() {
    let case = Case::new(Body::Map(json(r#"{"a":[1,2,{"b":"c"}],"d":"{% raw %}{{ x }}{% endraw %}{% comment %} no {% endcomment %}"}"#)));
    let template = compile(&case.campaign, None).unwrap();
    assert!(matches!(template.body.as_deref(), Some([Part::Fixed(_)])));
    assert_eq!(body_of(&case.render_with(&template).unwrap()), r#"{"a":[1,2,{"b":"c"}],"d":"{{ x }}"}"#);
}

#[test]
fn templates_cross_threads_and_stay_small() {
    fn assert_shared<T: Send + Sync>(_: &T) {}
    let case = Case::new(Body::Map(json(r#"{"to":"{{ user.phone }}","text":"{{ user.name | default: 'there' }}, your cart waits"}"#)));
    let template = compile(&case.campaign, None).unwrap();
    assert_shared(&template);
    assert!(size_of::<Template>() + template.body.as_ref().unwrap().len() * size_of::<Part>() < 512);
}

#[test]
fn a_request_has_a_largest_size() {
    let mut case = Case::text("{{ event.big }}", ContentType::Text);
    let check = |case: &Case, expect: &str| {
        let result = shown_result(case.render());
        assert!(result.starts_with(expect), "{}", result.chars().take(120).collect::<String>());
    };
    let url = "https://a.example/v1".len();
    case.properties = [("big".into(), Value::text("x".repeat(MAX_REQUEST_BYTES - url)))].into_iter().collect();
    check(&case, "xxx");
    case.properties = [("big".into(), Value::text("x".repeat(MAX_REQUEST_BYTES - url + 1)))].into_iter().collect();
    check(&case, "render_failed: body: the rendered request is larger than 32768 bytes");
    case.properties = [("big".into(), Value::text("x".repeat(1 << 20)))].into_iter().collect();
    check(&case, "render_failed: body: the rendered request is larger than 32768 bytes");
    case.campaign.webhook.body = Body::Text("{% for i in (1..20) %}{{ event.big }}{% endfor %}".into());
    check(&case, "render_failed: body: the rendered request is larger than 32768 bytes");
    case.campaign.webhook.body = Body::Text("x".into());
    case.campaign.webhook.headers = vec![("X".into(), "{{ event.big }}".into())];
    check(&case, "render_failed: header X: the rendered request is larger than 32768 bytes");
}

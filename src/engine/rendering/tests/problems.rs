//! What is wrong with a template is found when it is compiled: the field, the line and column, the likely meaning.

use super::*;

fn text_problem(template: &str) -> String {
    Case::text(template, ContentType::Text).problems()
}

#[test]
fn problems_name_place_and_meaning() {
    let check = |template: &str, expect: &str| {
        let found = text_problem(template);
        let expect: Vec<String> = expect.lines().map(|line| format!("webhook.body {line}")).collect();
        assert_eq!(found, expect.join("\n"), "{template:?}");
    };
    check("ok {{ user.name }}", "");
    check("a {{ user.name | defalt: 'x' }}", "(line 1, column 18): there is no filter `defalt`; did you mean `default`?");
    check("a\nb {{ usr.name }}", "(line 2, column 6): there is no variable `usr`; did you mean `user`?");
    check("한글 {{ usr.name }}", "(line 1, column 7): there is no variable `usr`; did you mean `user`?");
    check(
        "{{ a }} {{ b.c | up }}",
        concat!(
            "(line 1, column 4): there is no variable `a`: a variable begins with `event.`, `user.`, `campaign.`, `trigger.` or `delivery.`\n",
            "(line 1, column 12): there is no variable `b`: a variable begins with `event.`, `user.`, `campaign.`, `trigger.` or `delivery.`\n",
            "(line 1, column 18): there is no filter `up`",
        ),
    );
    check("{{ event.a", "(line 1, column 1): `{{` is not closed: `}}` is missing");
    check("{% if event.a %}x", "(line 1, column 4): `if` is not closed: `{% endif %}` is missing");
    check("x{% endif %}", "(line 1, column 5): `endif` without `if` before it");
    check(
        "{% if event.a %}{% for i in event.b %}{% endif %}{% endfor %}{% endif %}",
        "(line 1, column 42): `endif` here, but `for` is open: `endfor` is expected first",
    );
    check("{% iff event.a %}", "(line 1, column 4): there is no tag `iff`; did you mean `if`?");
    check("{% include 'x' %}", "(line 1, column 4): there is no tag `include`");
    check("{% cycle 'a', 'b' %}", "(line 1, column 4): there is no tag `cycle`");
    check("{% else %}", "(line 1, column 4): `else` outside of `if`, `case` or `for`");
    check("{% elsif event.a %}", "(line 1, column 4): `elsif` outside of `if`");
    check("{% when 1 %}", "(line 1, column 4): `when` outside of `case`");
    check("{% break %}", "(line 1, column 4): `break` outside of `for`");
    check("{{ }}", "(line 1, column 3): an expression is missing between `{{` and `}}`");
    check("x{{ }}", "(line 1, column 4): an expression is missing between `{{` and `}}`");
    check("{{ event.a | omit }}", "(line 1, column 14): `omit` works only at the end of a lone `{{ expression }}` in a map body");
    check("{{ campaign.keyy }}", "(line 1, column 13): `campaign` has no `keyy`; did you mean `key`?");
    check("{{ event.n | plus: 123456789012345678901 }}", "(line 1, column 20): 123456789012345678901 is too large for a whole number");
    check("{{ event.a | plus }}", "(line 1, column 14): filter `plus` takes 1 argument, here it has 0");
}

#[test]
fn constant_arguments_that_can_never_work_are_told() {
    let check = |expression: &str, expect: &str| {
        for template in
            [format!("{{{{ event.a | {expression} }}}}"), format!("{{% assign x = event.a | {expression} | upcase %}}{{{{ x }}}}")]
        {
            let found = text_problem(&template);
            let why = found.split_once("): ").map_or(&*found, |(_, why)| why);
            assert_eq!(why, expect, "{template}");
        }
    };
    check("time_zone: 'Asia/Soul'", "filter `time_zone`: there is no time zone `Asia/Soul`; did you mean `Asia/Seoul`?");
    check("time_zone: 'Mars/Olympus'", "filter `time_zone`: there is no time zone `Mars/Olympus`");
    check("time_zone: 'asia/seoul' | date: '%d.%L'", "");
    check("time_zone: '' | time_zone: user.timezone", "");
    for format in ["%", "%999999999d", "%!"] {
        let found = text_problem(&format!("{{{{ event.a | date: '{format}' }}}}"));
        assert!(found.starts_with(&format!("webhook.body (line 1, column 20): filter `date`: date format `{format}`: ")), "{found}");
    }
    check("number: -1", "filter `number`: decimals are a whole number from 0 to 20, not -1");
    check("number: 20, '-1', 'x'", "");
    check("number: 'two'", "filter `number`: decimals are a whole number from 0 to 20, not two");
    check("round: 21", "filter `round`: decimals are a whole number from 0 to 20, not 21");
    check("divided_by: 0", "filter `divided_by`: divided by 0");
    check("modulo: 0.0", "filter `modulo`: divided by 0");
    check("plus: 'x'", "filter `plus`: it needs a number, not `x`");
    check("plus: '1' | at_most: event.b", "");
    check("slice: 0, 0", "filter `slice`: the length of a piece is at least 1");
    check("slice: 1.5", "filter `slice`: it needs a whole number, not `1.5`");
    check("truncate: -1", "filter `truncate`: a length is not below 0");
    check("truncate: 5, 7", "");
    let place = "webhook.body (line 1, column 32): filter `number`: decimals are a whole number from 0 to 20, not -1";
    assert_eq!(text_problem("{{ event.a | plus: 1 | number: -1 }}"), place);
}

#[test]
fn what_the_grammar_refuses_has_a_place_too() {
    for template in [
        "{{ event.a event.b }}",
        "{{ event. }}",
        "{{ | upcase }}",
        "{{ event.a | }}",
        "{{ event[ }}",
        "{% if %}x{% endif %}",
        "{% if event.a = 1 %}x{% endif %}",
        "{% if event.a == %}x{% endif %}",
        "{% if event.a and %}x{% endif %}",
        "{% for x event.a %}{% endfor %}",
        "{% for x in %}{% endfor %}",
        "{% for x in event.a limit 2 %}{% endfor %}",
        "{% for x in (1..) %}{% endfor %}",
        "{% assign x %}",
        "{% assign x event.a %}",
        "{% assign = 1 %}",
        "{% capture %}{% endcapture %}",
        "{% case %}{% when 1 %}{% endcase %}",
        "{% case event.a %}{% when %}{% endcase %}",
        "{% abort event.a event.b %}",
        "{% if event.a %}{{ event.a event.b }}{% endif %}",
    ] {
        let problem = text_problem(template);
        assert!(problem.starts_with("webhook.body (line 1, column "), "{template}: {problem}");
    }
    // The place is that of the template, not of what the parser was given.
    let problem = text_problem("line one\n{{ event.a }} {% if event.a %}\n  {{ event.b }} {{ event.a event.b }}{% endif %}");
    assert!(problem.starts_with("webhook.body (line 3, column 28): unexpected expression"), "{problem}");
}

#[test]
fn secrets_stand_only_where_they_may() {
    let sentence = "`secret.<name>` may stand only as a lone `{{ secret.<name> }}` or within a header, without filters and outside of tags";
    for template in [
        "key={{ secret.k }}",
        "{{ secret.k }} ",
        "{{ secret.k | upcase }}",
        "{{ secret.k | default: 'x' }}",
        "{{ secret }}",
        "{{ secret['k'] }}",
        "{{ user.name | append: secret.k }}",
        "{% if secret.k %}x{% endif %}",
        "{% assign x = secret.k %}",
        "{% capture x %}{{ secret.k }}{% endcapture %}",
        "{% for c in secret.k %}{% endfor %}",
        "{% abort secret.k %}",
    ] {
        let problem = text_problem(template);
        assert!(problem.contains(sentence), "{template}: {problem}");
    }
    let refused = |change: &dyn Fn(&mut Case)| {
        let mut case = Case::new(Body::Default);
        change(&mut case);
        let problem = case.problems();
        assert!(problem.contains(sentence) || problem.contains("omit"), "{problem}");
    };
    refused(&|case| case.campaign.webhook.url = "https://a.example/{{ secret.k }}".into());
    refused(&|case| case.campaign.webhook.params = vec![("k".into(), Value::text("x{{ secret.k }}"))]);
    refused(&|case| case.campaign.webhook.headers = vec![("X".into(), "{% if true %}{{ secret.k }}{% endif %}".into())]);
    refused(&|case| case.campaign.webhook.headers = vec![("X".into(), "{{ secret.k | upcase }}".into())]);
    refused(&|case| case.campaign.webhook.body = Body::Map(json(r#"{"a":"x {{ secret.k }}"}"#)));
    refused(&|case| case.campaign.webhook.body = Body::Map(json(r#"{"a":"{{ secret.k | omit }}"}"#)));
}

#[test]
fn every_field_is_named_and_all_problems_come_at_once() {
    let mut case = Case::new(Body::Map(json(r#"{"a":{"b":["{{ usr.x }}"]},"{{ k }}":1,"l":["{{ event.x | omit }}"]}"#)));
    case.campaign.webhook.url = "https://a.example/{{ evnt.x }}".into();
    case.campaign.webhook.params = vec![("p".into(), Value::text("{{ x | y }}")), ("o".into(), json("{}"))];
    case.campaign.webhook.headers = vec![("X-H".into(), "{{ user.x".into()), ("X-L".into(), "a\nb".into())];
    case.destination = Some(Destination {
        headers: vec![("X-D".into(), "{{ user.name }}".into())],
        ..Destination::new("kakao".into(), "a.example".into())
    });
    let expect = "\
webhook.url (line 1, column 22): there is no variable `evnt`; did you mean `event`?
webhook.params.p (line 1, column 4): there is no variable `x`: a variable begins with `event.`, `user.`, `campaign.`, `trigger.` or `delivery.`
webhook.params.p (line 1, column 8): there is no filter `y`
webhook.params.o: a query parameter is text, a number, true or false, or a list of these
webhook.headers.X-H (line 1, column 1): `{{` is not closed: `}}` is missing
webhook.headers.X-L: a line break or control character cannot stand in a header
destination.headers.X-D (line 1, column 4): `user` is not known here: a destination's headers see `campaign` and `secret` only
webhook.body.a.b[0] (line 1, column 4): there is no variable `usr`; did you mean `user`?
webhook.body.{{ k }}: a key of a map body is fixed text
webhook.body.l[0] (line 1, column 1): `omit` drops a key: it works in a map, not in a list";
    assert_eq!(case.problems(), expect);
    let destination = case.destination.unwrap();
    assert_eq!(
        shown(&check_destination(&destination)),
        "headers.X-D (line 1, column 4): `user` is not known here: a destination's headers see `campaign` and `secret` only"
    );
}

#[test]
fn the_host_is_fixed() {
    for url in ["https://{{ event.host }}/x", "https://a.{{ event.x }}", "{{ event.url }}", "https://a.example:{{ event.port }}/x"] {
        let mut case = Case::new(Body::Default);
        case.campaign.webhook.url = url.into();
        assert!(case.problems().contains("the host is fixed text"), "{url}: {}", case.problems());
    }
}

#[test]
fn what_could_never_work_is_refused_at_once() {
    let check = |template: &str, content_type, expect: &str| {
        let problem = Case::text(template, content_type).problems();
        assert!(problem.contains(expect), "{}", problem.chars().take(200).collect::<String>());
    };
    check("hello", ContentType::Json, "(line 1, column 1): the text is not JSON");
    check("{\n \"a\": 1,\n}", ContentType::Json, "(line 3, column 1): the text is not JSON");
    check("", ContentType::Json, "the text is not JSON");
    check(&"x".repeat(MAX_REQUEST_BYTES + 1), ContentType::Text, "its fixed text alone has 32789 bytes; a request has at most 32768");
    check(
        &format!("{{{{ event.a }}}}{}", " ".repeat(MAX_TEMPLATE_BYTES)),
        ContentType::Text,
        "a template of 65549 bytes; at most 65536 are allowed",
    );
    let nested = format!("{}x{}", "{% if event.a %}".repeat(17), "{% endif %}".repeat(17));
    check(&nested, ContentType::Text, "tags are nested deeper than 16");
    let brackets = format!("{{{{ {}'a'{} }}}}", "event[".repeat(5), "]".repeat(5));
    check(&brackets, ContentType::Text, "brackets are nested deeper than 4");
}

//! The language: filters, tags, comparisons, bounds.

use super::*;

/// As a preview tells them.
#[test]
fn variables_without_a_value_are_named() {
    let check = |text: &str, expect: &[&str]| {
        let case = Case::text(text, ContentType::Text);
        let template = compile(&case.campaign, None).unwrap_or_else(|problems| panic!("{}", shown(&problems)));
        assert_eq!(case.with_scope(|scope| missing(&template, scope)), expect, "{text}");
    };
    check("{{ event.nope }} {{ event.count }}", &["event.nope"]);
    check("{{ event.nope | plus: 1 }}", &["event.nope"]);
    check("{{ event.nope | plus: 1 }}{{ user.nope }}{{ event.nope | upcase }}", &["event.nope", "user.nope"]);
    check("{{ event.name | append: user.nope | append: event.nope }}", &["user.nope", "event.nope"]);
    check("{{ event.nope | default: 'x' | upcase }}", &[]);
    check("{% if event.nope %}a{% endif %}{{ event.other | upcase }}", &["event.other"]);
    check("{% for item in event.items %}{{ item.nope | upcase }}{% endfor %}", &["item.nope"]);
    check("{% abort 'why' %}{{ event.nope }}", &["event.nope"]);
}

#[test]
fn filters() {
    let check =
        |expression: &str, expect: &str| assert_eq!(plain(&format!("[{{{{ {expression} }}}}]")), format!("[{expect}]"), "{expression}");
    check("event.text | upcase", "ONE TWO THREE");
    check("event.text | capitalize", "One two three");
    check("event.text | truncate: 7", "one ...");
    check("event.text | truncatewords: 2", "one two...");
    check("event.text | split: ' ' | join: '-'", "one-two-three");
    check("event.text | split: ' ' | last", "three");
    check("event.text | replace: 'o', '0'", "0ne tw0 three");
    check("event.text | replace: 'one '", "two three");
    check("event.text | replace_first: 'e', 'E'", "onE two three");
    check("event.text | remove: 'one '", "two three");
    check("event.text | slice: 4, 3", "two");
    check("event.text | size", "13");
    check("event.text | append: '!' | prepend: '?'", "?one two three!");
    check("event.html | escape", "&lt;b&gt;&amp;&lt;/b&gt;");
    check("event.html | strip_html", "&");
    check("event.slash | url_encode", "a%2Fb%3Fc%3Dd%26e%20f");
    check("'a%20b' | url_decode", "a b");
    check("event.blank | strip", "");
    check("event.lines | strip_newlines", "abc");
    check("event.count | plus: 1", "4");
    check("event.count | minus: 5", "-2");
    check("event.count | times: 2.5", "7.5");
    check("event.count | divided_by: 2", "1");
    check("event.count | divided_by: 2.0", "1.5");
    check("event.count | modulo: 2", "1");
    check("event.number | plus: 1", "21");
    check("-7 | abs", "7");
    check("event.amount | round", "121");
    check("event.amount | ceil", "121");
    check("event.amount | floor", "120");
    check("event.count | at_most: 2", "2");
    check("event.words | reverse | join: ''", "zyx");
    check("event.words | join", "x y z");
    check("event.words | concat: event.none | size", "3");
    check("event.items | map: 'id' | join: ','", "i1,i2");
    check("event.items | where: 'id', 'i2' | size", "1");
    check("event.words | sort | first", "x");
    check("event.words | json", "[\"x\",\"y\",\"z\"]");
    check("event.deep.a | default: 'n'", "wins");
    check("event.at | date: '%Y-%m-%d %H:%M'", "2026-11-20 19:00");
    check("event.unix | date: '%Y'", "2023");
    check("'2026-11-20' | date: '%-d %b %Y'", "20 Nov 2026");
    check("'now' | date: '%Y-%m-%dT%H:%M:%S'", "2023-11-14T22:15:00");
    check("'today' | date: '%F'", "2023-11-14");
    check("event.empty | date: '%Y'", "");
    check("event.blank | date: '%Y' | strip", "");
    check("1700000000.5 | date: '%T.%L'", "22:13:20.500");
    check("1700000000000 | date: '%F %T'", "2023-11-14 22:13:20");
    check("'2026-11-20 10:30:00' | date: '%I:%M %p'", "10:30 AM");
    check("'2026-11-20T01:02:03.5Z' | date: '%e %B'", "20 November");
    check("delivery.time | date: '%H:%M'", "22:15");
    check("'2026-11-20T10:00:00Z' | time_zone: 'Asia/Seoul' | date: '%F %H:%M %z'", "2026-11-20 19:00 +0900");
    check("event.unix | time_zone: 'America/New_York' | date: '%F %T'", "2023-11-14 17:13:20");
    check("'2026-07-01T12:00:00+02:00' | time_zone: 'america/st_johns'", "2026-07-01T07:30:00-02:30");
    check("event.at | time_zone: user.timezone", "2026-11-20T19:00:00+09:00");
    check("event.empty | time_zone: 'UTC'", "");
    // A day is the same day everywhere, also where its midnight is skipped.
    check("'2026-11-20' | time_zone: 'America/New_York' | date: '%F %H:%M %z'", "2026-11-20 00:00 -0500");
    check("'2026-11-20' | time_zone: 'Pacific/Kiritimati' | date: '%F %H:%M %z'", "2026-11-20 00:00 +1400");
    check("'2025-09-07' | time_zone: 'America/Santiago' | date: '%F %H:%M'", "2025-09-07 01:00");
    check("'2026-11-20' | time_zone: user.timezone", "2026-11-20");
    check("'2026-11-20T01:02:03.5Z' | date: '%L %%L'", "500 %L");
    // What is missing stays missing, and is caught by a later default.
    for filter in ["upcase", "times: 2", "date: '%Y'", "join: ','", "first", "map: 'x'", "round", "split: ','", "reverse", "slice: 0, 2"] {
        check(&format!("event.missing | {filter}"), "");
        check(&format!("event.missing | {filter} | default: 'd'"), "d");
    }
    check("event.missing | append: 'x'", "x");
    check("event.missing | size", "0");
}

#[test]
fn filters_beyond_the_usual() {
    for (expression, expect) in [
        ("1234567.891 | number", "1,234,567.891"),
        ("1234567 | number", "1,234,567"),
        ("1234567.891 | number: 2", "1,234,567.89"),
        ("1234567.891 | number: 0", "1,234,568"),
        ("1234567.891 | number: 2, '.', ','", "1.234.567,89"),
        ("1234567.891 | number: 2, ' '", "1 234 567.89"),
        ("1234567.891 | number: 2, ''", "1234567.89"),
        ("999 | number: 2", "999.00"),
        ("999.995 | number: 2", "1,000.00"),
        ("2.675 | number: 2", "2.68"),
        ("0.05 | number: 1", "0.1"),
        ("-1234.5 | number: 0", "-1,235"),
        ("-0.001 | number: 2", "0.00"),
        ("'1234.5' | number: 1", "1,234.5"),
        ("-9223372036854775808 | number", "-9,223,372,036,854,775,808"),
        ("event.items | sum: 'n'", "3"),
        ("event.deep.a.b | sum", "60"),
        ("event.items | sum: 'none'", "0"),
        ("event.items | map: 'n' | sum | plus: 0.5", "3.5"),
        ("event.text | replace_last: 'e', 'E'", "one two threE"),
        ("event.text | remove_last: 'three'", "one two "),
        ("event.text | replace_last: 'x', 'y'", "one two three"),
        ("user.city | base64_encode", "7ISc7Jq4"),
        ("'a@b.example' | downcase | sha256", "ebb18a030bf15174f5714e24d63af1a81355c951ea7389bd2a9bd18e3d0c2477"),
    ] {
        assert_eq!(plain(&format!("[{{{{ {expression} }}}}]")), format!("[{expect}]"), "{expression}");
    }
}

/// As people see them: a syllable of three code points and an emoji of five are one each.
#[test]
fn text_is_counted_in_characters() {
    let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
    let parts = "\u{1112}\u{1161}\u{11ab}";
    let check =
        |expression: &str, expect: &str| assert_eq!(plain(&format!("[{{{{ {expression} }}}}]")), format!("[{expect}]"), "{expression}");
    check("'안녕하세요 여러분' | size", "9");
    check(&format!("'{family}{parts}' | size"), "2");
    check("event.items | size", "2");
    check("event.items | first | size", "2");
    check("12345 | size", "5");
    check("'안녕하세요 여러분' | slice: -3, 2", "여러");
    check("'안녕하세요 여러분' | slice: -3, 9", "여러분");
    check("'안녕하세요 여러분' | slice: 0", "안");
    check("'안녕하세요 여러분' | slice: 7, 9223372036854775807", "러분");
    check("'안녕하세요 여러분' | slice: 9, 2", "");
    check("'안녕하세요 여러분' | slice: -10, 2", "");
    check("'안녕하세요 여러분' | slice: -9223372036854775808, 2", "");
    check(&format!("'a{family}{parts}b' | slice: -3, 2"), &format!("{family}{parts}"));
    check("event.words | slice: 1, 2 | join", "y z");
    check("event.words | slice: -1 | join", "z");
    check("'안녕하세요 여러분' | truncate: 9", "안녕하세요 여러분");
    check("'안녕하세요 여러분' | truncate: 8", "안녕하세요...");
    check("'안녕하세요 여러분' | truncate: 6, '…'", "안녕하세요…");
    check("'안녕하세요 여러분' | truncate: 6, ''", "안녕하세요 ");
    check("'안녕하세요 여러분' | truncate: 2", "..");
    check("'안녕하세요 여러분' | truncate", "안녕하세요 여러분");
    check("'안녕하세요 여러분' | truncatewords: 1", "안녕하세요...");
    check("'안녕하세요' | split: '' | join: '-'", "안-녕-하-세-요");
    check("'' | split: '' | size", "0");
    check("'안녕 여러분' | split: ' ' | last", "여러분");
    check("'éa' | capitalize", "Éa");
    for template in ["{{ user.city.size }}", "{% assign x = user.city %}{{ x.size }}", "{% for x in user.city %}{{ x.size }}{% endfor %}"] {
        assert_eq!(plain(template), "2", "{template}");
    }
}

#[test]
fn every_filter_is_in_the_documentation_and_only_those() {
    let listed = |line: &'static str| line.strip_prefix("| `").and_then(|rest| rest.split([':', '`']).next());
    let documented: Vec<&str> = include_str!("../../../../docs/filters.md").lines().filter_map(listed).collect();
    let mut sorted = documented.clone();
    sorted.sort_unstable();
    let mut registered: Vec<&str> = super::super::liquid::filters().iter().map(|filter| filter.name).chain(["omit"]).collect();
    registered.sort_unstable();
    assert_eq!(sorted, registered);
}

/// Every example of the documentation, which stands there as `expression` and `result`.
#[test]
fn the_examples_of_the_documentation_are_true() {
    let rows = include_str!("../../../../docs/filters.md").lines().filter(|line| line.starts_with("| `"));
    let mut checked = 0;
    for row in rows {
        let cells: Vec<&str> = row.split(" | `").skip(1).map(|cell| cell.trim_end_matches([' ', '|', '`'])).collect();
        let [expression, expect] = cells[..] else { continue };
        let expression = expression.replace("\\|", "|");
        assert_eq!(plain(&format!("{{{{ {expression} }}}}!")), format!("{expect}!"), "{row}");
        checked += 1;
    }
    assert!(checked > 40, "only {checked} examples were found");
}

#[test]
fn arithmetic_neither_overflows_nor_panics() {
    let check =
        |expression: &str, expect: &str| assert_eq!(plain(&format!("{{{{ {expression} }}}}x")), format!("{expect}x"), "{expression}");
    check("9223372036854775807 | plus: 1", "9223372036854776000");
    check("9223372036854775807 | times: 9223372036854775807", "85070591730234620000000000000000000000");
    check("-9223372036854775808 | abs", "9223372036854776000");
    check("-9223372036854775808 | divided_by: -1", "9223372036854776000");
    check("-9223372036854775808 | minus: 1", "-9223372036854776000");
    check("9007199254740993 | round", "9007199254740993");
    check("2.675 | round: 2", "2.68");
    check("-2.5 | round", "-3");
    check("-0.004 | round: 2", "0");
    check("5 | round: 20", "5");
    check("-2.9 | ceil", "-2");
    check("9007199254740993 | at_least: 1", "9007199254740993");
    check("-9223372036854775808.0 | floor", "-9223372036854775808");
    let held = |expression: &str, expect: &str| {
        assert_eq!(plain(&format!("{{{{ {expression} }}}}x")), format!("render_failed: body: {expect}"), "{expression}")
    };
    // What a constant cannot be, a variable can.
    let by = |operand: &str, expression: &str, expect: &str| {
        let template = format!("{{% assign it = {operand} %}}{{{{ {expression} }}}}x");
        assert_eq!(plain(&template), format!("render_failed: body: {expect}"), "{template}");
    };
    for filter in ["divided_by", "modulo"] {
        by("0", &format!("7 | {filter}: it"), &format!("divided by 0, in filter {filter}: it"));
        by("0.0", &format!("7 | {filter}: it"), &format!("divided by 0, in filter {filter}: it"));
        by("'0'", &format!("7.5 | {filter}: it"), &format!("divided by 0, in filter {filter}: it"));
    }
    let huge = &format!("1{}.0", "0".repeat(308));
    by(huge, "it | times: it", "the result is too large for a number, in filter times: it");
    by(&format!("17{}", &huge[2..]), "it | plus: it", "the result is too large for a number, in filter plus: it");
    by(huge, "it | divided_by: 0.00001 | at_least: 1", "the result is too large for a number, in filter divided_by: 0.00001");
    for filter in ["round", "ceil", "floor"] {
        by(huge, &format!("it | {filter}"), &format!("the result is too large for a whole number, in filter {filter}"));
        by("9223372036854775808.0", &format!("it | {filter}"), &format!("the result is too large for a whole number, in filter {filter}"));
    }
    for word in ["inf", "nan", "-infinity"] {
        by(&format!("'{word}'"), "it | at_most: 1", "expected a number, found string, in filter at_most: 1");
    }
    by(
        "'%!'",
        "'now' | date: it | size",
        "date format `%!`: strftime formatting failed: found unrecognized specifier directive `!`, in filter date: it",
    );
    by("21", "1 | number: it", "decimals are a whole number from 0 to 20, not 21, in filter number: it");
    by("-1", "'a' | truncate: it", "a length is not below 0, in filter truncate: it");
    by("0", "'a' | slice: 0, it", "the length of a piece is at least 1, in filter slice: 0, it");
    by("'Mars/Base'", "event.unix | time_zone: it", "there is no time zone `Mars/Base`, in filter time_zone: it");
    held("event.text | number", "expected a number, found string, in filter number");
    held("event.text | sum", "expected a list, found string, in filter sum");
    held("event.text | plus: 1", "expected a number, found string, in filter plus: 1");
    held("event.words | times: 2", "expected a number, found array, in filter times: 2");
    held("'soon' | date: '%d'", "expected a time, found other text, in filter date: \"%d\"");
    held("event.words | date: '%d'", "expected a time, found array, in filter date: \"%d\"");
    held("-9223372036854775808 | date: '%d'", "expected a time, found whole number, in filter date: \"%d\"");
    held("event.text | time_zone: 'UTC'", "expected a time, found other text, in filter time_zone: \"UTC\"");
    held("event.text | time_zone: user.timezone", "expected a time, found other text, in filter time_zone: user[\"timezone\"]");
}

#[test]
fn conditions_compare_without_conversion() {
    let check = |condition: &str, expect: bool| {
        let text = format!("{{% if {condition} %}}yes{{% else %}}no{{% endif %}}");
        assert_eq!(plain(&text), if expect { "yes" } else { "no" }, "{condition}");
    };
    for (condition, expect) in [
        ("event.yes", true),
        ("event.no", false),
        ("event.missing", false),
        ("event.nothing", false),
        ("event.empty", true),
        ("event.count", true),
        ("event.count == 3", true),
        ("event.count == 3.0", true),
        ("event.count == '3'", false),
        ("event.number == 20", false),
        ("event.number == '20'", true),
        ("event.count != 4", true),
        ("event.count > 2 and event.count < 4", true),
        ("event.count >= 3 and event.count <= 3", true),
        ("event.count > '2'", false),
        ("event.amount > 120", true),
        ("event.text < 'two'", true),
        ("event.yes == true", true),
        ("event.text == true", false),
        ("event.count == true", false),
        ("user.vip == true", true),
        ("user.nope == true", false),
        ("user.nope == false", false),
        ("user.nope == nil", true),
        ("user.nope == blank", true),
        ("user.nope == ''", true),
        ("user.nope != ''", false),
        ("event.blank == blank", true),
        ("event.empty == empty", true),
        ("event.text == empty", false),
        ("event.none == empty", true),
        ("event.words == event.words", true),
        ("event.words == event.items", false),
        ("event.deep == event.deep", true),
        ("event.missing > 1", false),
        ("event.missing <= 1", false),
        ("event.text contains 'two'", true),
        ("event.text contains event.missing", false),
        ("event.words contains 'y'", true),
        ("event.words contains 'q'", false),
        ("event.deep contains 'x.y'", true),
        ("event.missing contains 'x'", false),
        ("event.no or event.yes", true),
        ("event.yes and event.no or event.yes", true),
        ("event.no and event.no or event.yes", false),
        ("event.items[0].n == 1", true),
        ("event.deep[user.nope] == nil", true),
        ("event.words[event.missing]", false),
    ] {
        check(condition, expect);
    }
}

#[test]
fn tags() {
    let check = |template: &str, expect: &str| assert_eq!(plain(template), expect, "{template}");
    check("{% unless event.no %}a{% else %}b{% endunless %}", "a");
    check("{% if event.no %}a{% elsif event.count == 3 %}b{% else %}c{% endif %}", "b");
    check("{% case user.plan %}{% when 'free' %}f{% when 'gold', 'vip' %}g{% else %}?{% endcase %}", "g");
    check("{% case user.nope %}{% when 'free' or 'gold' %}f{% else %}?{% endcase %}", "?");
    check("{% for w in event.words %}{{ forloop.index }}{{ w }}{% unless forloop.last %},{% endunless %}{% endfor %}", "1x,2y,3z");
    check("{% for w in event.words reversed %}{{ w }}{% endfor %}", "zyx");
    check("{% for w in event.words limit: 2 offset: 1 %}{{ w }}{% endfor %}", "yz");
    check("{% for w in event.words limit:1 %}{{ w }}{{ forloop.length }}{% endfor %}", "x1");
    check("{% for i in (1..3) %}{{ i }}{% endfor %}", "123");
    check("{% for i in (1..event.count) %}{{ i }}{% endfor %}", "123");
    check("{% for i in (3..1) %}{{ i }}{% else %}none{% endfor %}", "none");
    check("{% for i in event.missing %}{{ i }}{% else %}none{% endfor %}", "none");
    check("{% for i in event.text %}{{ i }}{% endfor %}", "one two three");
    check("{% for p in event.deep.a %}{{ p }}{% endfor %}", "wins");
    check("{% for p in event.items[0] %}{{ p[0] }}={{ p[1] }};{% endfor %}", "id=i1;n=1;");
    check("{% for i in event.items %}{{ i.id }}{{ i.nope }}{{ i.n }}{% endfor %}", "i11i22");
    check("{% for i in (1..2) %}{% for j in (1..2) %}{{ forloop.parentloop.index }}{{ j }} {% endfor %}{% endfor %}", "11 12 21 22 ");
    check("{% for i in (1..9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}", "13");
    check("{% assign x = event.count | times: 2 %}{{ x }}{{ x | plus: 1 }}", "67");
    check("{% assign l = event.words %}{{ l[1] }}{{ l.size }}{{ l.nope }}", "y3");
    check("{% capture c %}<{{ user.id }}>{% endcapture %}{{ c }}{{ c }}", "<u1><u1>");
    check("{% if event.no %}{% assign x = 1 %}{% endif %}[{{ x }}]", "[]");
    check("{% increment n %}{% increment n %}{% decrement m %}", "01-1");
    check("a {%- if event.yes -%} b {%- endif -%} c", "abc");
    check("{% if event.yes %}{ {{- event.count -}} }{% endif %}", "{3}");
    check("{% if event.yes %}{% raw %}{{ x }}{% endraw %}{% endif %}", "{{ x }}");
    check("{% comment %}{{ nonsense {% endcomment %}ok", "ok");
    check("{{ 'a}}b' | upcase }}", "A}}B");
    check("{% if event.text contains '%}' %}x{% endif %}ok", "ok");
}

#[test]
fn locals_end_with_their_text() {
    let body = json(r#"{"a":"{% assign x = 1 %}{{ x }}!","b":"{% if event.no %}{% assign x = 2 %}{% endif %}{{ x }}!"}"#);
    assert_eq!(shown_result(Case::new(Body::Map(body)).render()), r#"{"a":"1!","b":"!"}"#);
}

#[test]
fn abort_holds_the_send_with_its_words() {
    let check = |template: &str, expect: &str| assert_eq!(plain(template), expect, "{template}");
    check("a{% abort \"no stock\" %}b", "aborted_by_template: no stock");
    check("{% abort %}", "aborted_by_template: ");
    check("{% if event.count < 5 %}{% abort event.text %}{% endif %}b", "aborted_by_template: one two three");
    check("{% if event.count > 5 %}{% abort 'x' %}{% endif %}b", "b");
    check("{% for i in event.items %}{% if i.n == 2 %}{% abort i.id %}{% endif %}{% endfor %}", "aborted_by_template: i2");
    check("{% abort event.missing %}", "aborted_by_template: ");
}

#[test]
fn work_is_bounded() {
    let check = |template: &str, expect: &str| {
        let result = plain(template);
        assert!(
            result.starts_with(&format!("render_failed: body: {expect}")),
            "{template}: {}",
            result.chars().take(200).collect::<String>()
        );
    };
    check("{% for i in (1..1000000000) %}{% endfor %}", "loops of more than 10000 passes");
    check("{% for i in (-9223372036854775808..9223372036854775807) %}{% endfor %}", "loops of more than 10000 passes");
    check(
        "{% for i in (1..9000) %}{% if i == 9000 %}{% for j in (1..1001) %}{% endfor %}{% endif %}{% endfor %}",
        "loops of more than 10000 passes",
    );
    check("{% for i in (1..200) %}{% for j in (1..200) %}{% endfor %}{% endfor %}", "loops of more than 10000 passes");
    check(
        "{% assign x = 'aaaaaaaaaa' %}{% for i in (1..60) %}{% assign x = x | append: x %}{% endfor %}",
        "the template works through more than",
    );
    check(
        "{% assign x = event.text %}{% for i in (1..60) %}{% capture x %}{{ x }}{{ x }}{% endcapture %}{% endfor %}",
        "the template works through more than",
    );
    check("{% assign x = event.text %}{% for i in (1..20) %}{% assign x = x | replace: '', x %}{% endfor %}", "the result would have");
    check(
        "{% assign x = event.words %}{% for i in (1..60) %}{% assign x = x | concat: x %}{% endfor %}",
        "the template works through more than",
    );
    check("{% for i in (1..9000) %}{{ event.text }}{% endfor %}", "the rendered request is larger than");
    assert_eq!(plain("{% for i in (1..1000000000) limit: 3 %}{{ i }}{% endfor %}"), "123");
    assert_eq!(
        plain("{% for i in (9223372036854775806..9223372036854775807) %}{{ i }} {% endfor %}"),
        "9223372036854775806 9223372036854775807 "
    );
}

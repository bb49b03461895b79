//! What a simulated world answers: rules for endpoints and for linked services, as scenario files and the lists of `simulate` write them
//! (contract, section 9). Given text and a name; opens nothing.

use std::collections::BTreeMap;

use crate::engine::definition::problem::{Place, Problem, Problems};
use crate::engine::definition::reader::{self, Reader};
use crate::engine::definition::text::{self, Data, Node};
use crate::engine::value::Value;

/// How some requests are answered; what is absent matches all. The first that matches and is not used up answers; default 200.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerRule {
    pub campaign: Option<String>,
    pub user_id: Option<String>,
    /// The whole URL.
    pub url: Option<String>,
    /// 0 = no answer: a timeout.
    pub status: u16,
    /// How often; absent = always.
    pub times: Option<u32>,
    /// `Retry-After`, as the endpoint writes it.
    pub retry_after: Option<String>,
    /// The answer's text.
    pub body: Option<String>,
}

/// What a linked service answers.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkRule {
    /// The whole URL.
    pub url: String,
    /// 0 = no answer: a timeout.
    pub status: u16,
    pub body: Value,
}

/// No status of HTTP is larger.
const MAX_STATUS: i64 = 599;

impl AnswerRule {
    /// `None` when something is wrong, which is reported.
    pub fn read(node: &Node, problems: &Problems) -> Option<AnswerRule> {
        let before = problems.errors();
        let mut map = Reader::open(node, "an answer", problems)?;
        map.require("status", "such as 503; 0 = no answer");
        let rule = AnswerRule {
            campaign: map.name("campaign").map(Into::into),
            user_id: map.get("user_id").and_then(|node| id(node, "`user_id`", problems)),
            url: map.name("url").map(Into::into),
            status: status(&mut map).unwrap_or_default(),
            times: map.integer("times", 1..=i64::from(u32::MAX)).and_then(|times| u32::try_from(times).ok()),
            retry_after: map.get("retry_after").and_then(|node| id(node, "`retry_after`", problems)),
            body: map.get("body").map(Node::to_value).map(|body| body.as_str().map_or_else(|| body.to_string(), str::to_owned)),
        };
        map.close();
        (problems.errors() == before).then_some(rule)
    }
}

impl LinkRule {
    /// `None` when something is wrong, which is reported.
    pub fn read(node: &Node, problems: &Problems) -> Option<LinkRule> {
        let before = problems.errors();
        let mut map = Reader::open(node, "a link", problems)?;
        map.require("url", "the whole URL that is fetched");
        let rule = LinkRule {
            url: map.name("url").unwrap_or_default().to_owned(),
            status: status(&mut map).unwrap_or(200),
            body: map.get("body").map_or(Value::Null, Node::to_value),
        };
        map.close();
        (problems.errors() == before).then_some(rule)
    }
}

/// Reads a list of rules: YAML or JSON, or a JSON object a line.
///
/// # Errors
/// Every problem, with its place.
pub fn read_list<T>(file: &str, source: &str, read: impl Fn(&Node, &Problems) -> Option<T>) -> Result<Vec<T>, Vec<Problem>> {
    let problems = Problems::of(file);
    let mut rules = Vec::new();
    if source.trim_start().starts_with('{') {
        for (number, line) in source.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let of_line = Problems::of(file);
            rules.extend(text::documents(line, &of_line).iter().filter_map(|tree| read(&tree.root, &of_line)));
            for problem in of_line.into_sorted() {
                let line = u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
                problems.push(Problem { place: Place { line, ..problem.place }, ..problem });
            }
        }
    } else {
        for tree in text::documents(source, &problems) {
            rules.extend(reader::list(&tree.root, "the file", &problems).into_iter().flatten().filter_map(|item| read(item, &problems)));
        }
    }
    if problems.errors() > 0 { Err(problems.into_sorted()) } else { Ok(rules) }
}

/// Reads a map of secrets: names and texts.
///
/// # Errors
/// Every problem, with its place.
pub fn read_secrets(file: &str, source: &str) -> Result<BTreeMap<String, String>, Vec<Problem>> {
    let problems = Problems::of(file);
    let trees = text::documents(source, &problems);
    let read = trees.iter().flat_map(|tree| secrets(&tree.root, "the file", &problems)).collect();
    if problems.errors() > 0 { Err(problems.into_sorted()) } else { Ok(read) }
}

pub(super) fn secrets(node: &Node, what: &str, problems: &Problems) -> BTreeMap<String, String> {
    let entries = reader::map(node, what, problems).into_iter().flatten();
    entries
        .filter_map(|entry| {
            let value = reader::text(&entry.value, &format!("secret `{}`", entry.key), problems)?;
            Some((entry.key.to_string(), value.to_owned()))
        })
        .collect()
}

/// An id: text, or a whole number, which is its text.
pub(super) fn id(node: &Node, what: &str, problems: &Problems) -> Option<String> {
    match &node.data {
        Data::Scalar(Value::Int(number)) => Some(number.to_string()),
        _ => reader::name(node, what, problems).map(Into::into),
    }
}

fn status(map: &mut Reader<'_>) -> Option<u16> {
    map.integer("status", 0..=MAX_STATUS).and_then(|status| u16::try_from(status).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(problems: Vec<Problem>) -> String {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    fn check(source: &str, expect: Result<&[(Option<&str>, u16)], &str>) {
        let read = read_list("a", source, AnswerRule::read).map_err(shown);
        let read = read.map(|rules| rules.into_iter().map(|rule| (rule.user_id, rule.status)).collect::<Vec<_>>());
        let expect = expect.map(|rules| rules.iter().map(|(user, status)| (user.map(str::to_owned), *status)).collect::<Vec<_>>());
        assert_eq!(read, expect.map_err(str::to_owned), "{source}");
    }

    #[test]
    fn answers_are_a_list_or_a_line_each() {
        check("- {user_id: u1, status: 503, times: 2}\n- {status: 0}\n", Ok(&[(Some("u1"), 503), (None, 0)]));
        check("[{\"user_id\": 7, \"status\": 500, \"retry_after\": 30, \"body\": {\"a\": 1}}]", Ok(&[(Some("7"), 500)]));
        check("{\"status\": 500}\n\n{\"user_id\": \"u2\", \"status\": 429}\n", Ok(&[(None, 500), (Some("u2"), 429)]));
        check("", Ok(&[]));
        check(
            "{\"status\": 500}\n{\"stats\": 429}\n",
            Err("a:2:1: error: an answer needs `status`\n  help: such as 503; 0 = no answer\n\
                 a:2:2: error: unknown key `stats` in an answer\n  help: did you mean `status`?"),
        );
        check("- {status: 700}", Err("a:1:12: error: `status` must be from 0 to 599, not 700"));
        check("status: 500", Err("a:1:1: error: the file must be a list, not a map"));
    }

    #[test]
    fn links_have_a_url_and_answer_200() {
        let links = read_list("l", "- {url: \"https://w.example/Seoul\", body: {temperature: 3}}", LinkRule::read).map_err(shown);
        let body = Value::from_json(r#"{"temperature":3}"#).expect("json");
        assert_eq!(links, Ok(vec![LinkRule { url: "https://w.example/Seoul".into(), status: 200, body }]));
        let wrong = read_list("l", "- {status: 200}", LinkRule::read).map_err(shown);
        assert_eq!(wrong, Err("l:1:3: error: a link needs `url`\n  help: the whole URL that is fetched".into()));
    }

    #[test]
    fn secrets_are_a_map_of_texts() {
        assert_eq!(read_secrets("s", "token: t\n").map_err(shown), Ok(BTreeMap::from([("token".into(), "t".into())])));
        assert_eq!(
            read_secrets("s", "token: 1\n").map_err(shown),
            Err("s:1:8: error: secret `token` must be text, not a number\n  help: put it in quotes: \"1\"".into())
        );
    }
}

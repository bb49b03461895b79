//! Cohorts: named groups of users, by a rule or by a list.

use super::part::{UNKNOWN, key};
use super::problem::{Place, Problem, Problems};
use super::reader::{self, Reader};
use super::rule::{RULE, rule};
use super::shape::{self, Shape, Type, required};
use super::text::{Data, Node};
use super::{Cohort, Members};
use crate::engine::id::{MAX_ID_BYTES, PSEUDO};
use crate::engine::value::Value;

/// How many users a list may name: it is stored with the definitions, and every worker holds it.
pub const MAX_LISTED: usize = 100_000;

pub(super) static COHORT: Shape = Shape::new(
    "cohort",
    "a cohort",
    "A named group of users: one of `where`, `users` and `users_file`.",
    &[
        required("kind", Type::Choice(&["cohort"]), "What this document is."),
        required("key", Type::DocumentKey, "Its name in rules and triggers."),
        shape::key("title", Type::Text, "For people."),
        shape::key("description", Type::Text, "For people."),
        shape::key("where", Type::Named(&RULE), "Everyone whom this rule includes."),
        shape::key("users", Type::List(&Type::AnyOf(&[Type::Name, Type::Integer(i64::MIN, i64::MAX)]), 0, MAX_LISTED), "These user ids."),
        shape::key("users_file", Type::Name, "A file with a user id a line, beside this one; the command line reads and uploads it."),
    ],
);

/// A cohort, and the file that its users are in when they are not written here. What cannot be read has a stand-in.
pub(super) fn cohort(node: &Node, problems: &Problems) -> Option<(Cohort, Option<Box<str>>)> {
    let mut reader = Reader::of(node, &COHORT, problems)?;
    reader.get("kind");
    let key = key(&mut reader);
    reader.text("title");
    reader.text("description");
    let written: Vec<_> = reader.among(&["where", "users", "users_file"]).into_iter().filter(|entry| !entry.value.is_null()).collect();
    reader.close();
    let members: Vec<Option<(Members, Option<Box<str>>)>> = written
        .iter()
        .map(|entry| match &*entry.key {
            "where" => rule(&entry.value, "`where`", problems).map(|rule| (Members::Rule(rule), None)),
            "users" => users(&entry.value, problems).map(|users| (Members::List(users), None)),
            _ => {
                let file = reader::name(&entry.value, "`users_file`", problems)?;
                Some((Members::List(Vec::new()), Some(file.into())))
            }
        })
        .collect();
    if members.len() != 1 {
        let place = written.get(1).map_or(node.place, |second| second.place);
        let help = "a rule, such as `where: {user: {country: KR}}`, or a list, such as `users: [u1, u2]`";
        problems.error_with_help(place, "a cohort needs one of `where`, `users` and `users_file`", help);
    }
    let (members, file) = problems.or_stand_in(members.into_iter().flatten().next(), || (Members::List(Vec::new()), None));
    Some((Cohort { key: problems.or_stand_in(key, || UNKNOWN).into(), members }, file))
}

/// The user ids of a file, one a line; empty lines are passed over. Sorted, each once; or what is wrong.
pub fn users_of_file(file: &str, text: &str) -> Result<Vec<Box<str>>, Vec<Problem>> {
    let problems = Problems::of(file);
    let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().zip(1..);
    let ids: Vec<Box<str>> = lines
        .map(|(line, number)| (line.trim(), Place { line: number, column: 1 }))
        .filter(|(id, place)| !id.is_empty() && check_id(id, *place, &problems))
        .map(|(id, _)| id.into())
        .collect();
    let users = sorted(ids, Place::START, &problems);
    match problems.into_sorted() {
        wrong if wrong.is_empty() => Ok(users.unwrap_or_default()),
        wrong => Err(wrong),
    }
}

fn users(node: &Node, problems: &Problems) -> Option<Vec<Box<str>>> {
    let items = reader::list(node, "`users`", problems)?;
    let ids: Vec<Option<Box<str>>> = items.iter().map(|item| user(item, problems)).collect();
    sorted(ids.into_iter().collect::<Option<Vec<_>>>()?, node.place, problems)
}

/// A numeric id is its text, as in events.
fn user(node: &Node, problems: &Problems) -> Option<Box<str>> {
    match &node.data {
        Data::Scalar(Value::Int(number)) => Some(number.to_string().into()),
        _ => {
            let id = reader::name(node, "an item of `users`", problems)?;
            check_id(id, node.place, problems).then(|| id.into())
        }
    }
}

fn check_id(id: &str, place: Place, problems: &Problems) -> bool {
    if id.len() > MAX_ID_BYTES {
        problems.error(place, format!("a user id has at most {MAX_ID_BYTES} bytes, not {}", id.len()));
    } else if id.starts_with(PSEUDO) {
        problems.error(place, "a user id does not begin with a control character");
    }
    id.len() <= MAX_ID_BYTES && !id.starts_with(PSEUDO)
}

fn sorted(mut ids: Vec<Box<str>>, place: Place, problems: &Problems) -> Option<Vec<Box<str>>> {
    ids.sort_unstable();
    ids.dedup();
    if ids.len() > MAX_LISTED {
        let help = "mark the members with a trait, and write a rule";
        problems.error_with_help(place, format!("a cohort lists at most {MAX_LISTED} users, not {}", ids.len()), help);
        return None;
    }
    Some(ids)
}

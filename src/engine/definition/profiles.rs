//! The `profiles` body: CleverTap's payload.

use super::condition::every;
use super::problem::{Problems, meant};
use super::reader::{self, Reader};
use super::shape::{Shape, Type, key};
use super::text::Node;
use super::webhook::warn_of_doubts;
use super::{PROFILE_FIELDS, Profiles};
use crate::engine::value::{Object, Value};

/// How many traits may be named.
const MAX_TRAITS: usize = 256;

pub(super) static PROFILES: Shape = Shape::new(
    "profiles",
    "`profiles`",
    "CleverTap's payload.",
    &[
        key("target_id", Type::Name, "`targetId`, a template. Absent: the campaign's key."),
        key("key_values", Type::Map(&KEY_VALUES), "`key_values`: fixed values and templates."),
        key(
            "fields",
            Type::List(&Type::Choice(&PROFILE_FIELDS), 0, PROFILE_FIELDS.len()),
            "Only these of a profile's six fields. Absent: all.",
        ),
        key("profile_data", Type::List(&Type::Name, 0, MAX_TRAITS), "The traits in ProfileData. Absent: all but email."),
    ],
);

static KEY_VALUES: Shape = Shape::new("key_values", "`key_values`", "Values by name; texts are templates.", &[]).and(Type::Anything);

/// The payload; what of it cannot be read has a stand-in.
pub(super) fn profiles(node: &Node, problems: &Problems) -> Option<Profiles> {
    let mut reader = Reader::of(node, &PROFILES, problems)?;
    let target_id = reader.name("target_id").map(Into::into);
    let key_values = reader.get("key_values").map(|node| {
        reader::map(node, "`key_values`", problems)?;
        warn_of_doubts(node, problems);
        Some(node.to_value())
    });
    let fields = reader.list("fields").map(|items| every(items.iter().map(|item| field(item, problems))));
    let traits = reader.list("profile_data").map(|items| {
        if let Some(extra) = items.get(MAX_TRAITS) {
            problems.error(extra.place, format!("`profile_data` has at most {MAX_TRAITS} items"));
        }
        every(items.iter().map(|item| reader::name(item, "an item of `profile_data`", problems).map(Into::into)))
    });
    reader.close();
    let nothing = || Value::Object(Object::default());
    let key_values = key_values.map_or_else(nothing, |read| problems.or_stand_in(read, nothing));
    let fields = fields.and_then(|read| problems.or_stand_in(read.map(Some), || None));
    let profile_data = traits.and_then(|read| problems.or_stand_in(read.map(Some), || None));
    Some(Profiles { target_id, key_values, fields, profile_data })
}

/// One of the six, in the payload's spelling.
fn field(node: &Node, problems: &Problems) -> Option<Box<str>> {
    let name = reader::name(node, "an item of `fields`", problems)?;
    if PROFILE_FIELDS.contains(&name) {
        return Some(name.into());
    }
    problems.error_with_help(node.place, format!("`fields` cannot name `{name}`"), meant(name, "one of", PROFILE_FIELDS));
    None
}

//! What a variable stands for: `event.<property>`, `events.<name>.<property>`, `user.<trait>`, `campaign`, `trigger`, `delivery`, `link.<name>`. Borrows, never copies
//! what is already a value. A value that is null counts as missing, as everywhere in the language.

use crate::engine::value::{Object, Value};

use super::Scope;
use super::liquid::characters;

/// Where a variable begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    Event,
    /// The events of a completed set, by name.
    Events,
    User,
    Campaign,
    Trigger,
    Delivery,
    /// What was fetched, by the link's name.
    Link,
}

/// Roots by name.
pub const ROOTS: [(&str, Root); 7] = [
    ("event", Root::Event),
    ("events", Root::Events),
    ("user", Root::User),
    ("campaign", Root::Campaign),
    ("trigger", Root::Trigger),
    ("delivery", Root::Delivery),
    ("link", Root::Link),
];

impl Root {
    pub fn of(name: &str) -> Option<Root> {
        ROOTS.iter().find(|(known, _)| *known == name).map(|(_, root)| *root)
    }

    /// The names that may follow; empty = any.
    pub fn fields(self) -> &'static [&'static str] {
        match self {
            Root::Event | Root::Events | Root::User | Root::Link => &[],
            Root::Campaign => &["key", "title", "version", "tags", "channel"],
            Root::Trigger => &["kind", "event", "timestamp", "message_id"],
            Root::Delivery => &["id", "time"],
        }
    }
}

/// What was found.
#[derive(Debug)]
pub enum Found<'v> {
    Value(&'v Value),
    /// A whole root: all properties, all traits.
    Object(&'v Object),
    Text(&'v str),
    Owned(Value),
    Missing,
}

impl<'v> Found<'v> {
    /// Hands it over as a value, a borrowed one where there is one.
    pub fn with<R>(&self, then: impl FnOnce(Option<&Value>) -> R) -> R {
        match self {
            Found::Value(value) => then(Some(value)),
            Found::Object(object) => then(Some(&Value::Object((*object).clone()))),
            Found::Text(text) => then(Some(&Value::text(*text))),
            Found::Owned(value) => then(Some(value)),
            Found::Missing => then(None),
        }
    }

    fn text(text: Option<&'v str>) -> Found<'v> {
        text.map_or(Found::Missing, Found::Text)
    }
}

/// Looks a path up below a root. In objects a property whose full name has the dots wins over reaching in; then lists answer to
/// an index (negative from the end), `first`, `last` and `size`, objects and text to `size`.
pub fn lookup<'v, S: AsRef<str>>(scope: &Scope<'v>, root: Root, path: &[S]) -> Found<'v> {
    let Some((head, rest)) = path.split_first() else {
        return whole(scope, root);
    };
    let field = match (root, head.as_ref()) {
        (Root::Event, _) => return in_object(scope.trigger.properties, path),
        (Root::Events, _) => return in_events(scope, path),
        (Root::Link, name) => {
            let fetched = scope.links.iter().find(|(known, _)| **known == *name);
            return fetched.map_or(Found::Missing, |(_, value)| below(value, rest));
        }
        (Root::User, "id") => Found::Text(scope.user_id),
        (Root::User, "push_token") => Found::text(scope.user.push_token()),
        (Root::User, _) => return in_object(scope.user.traits(), path),
        (Root::Campaign, "key") => Found::Text(&scope.campaign.key),
        (Root::Campaign, "title") => Found::text(scope.campaign.title.as_deref()),
        (Root::Campaign, "version") => Found::Owned(Value::Int(scope.campaign.version.into())),
        (Root::Campaign, "tags") => Found::Owned(Value::List(scope.campaign.tags.iter().map(|tag| Value::text(tag.clone())).collect())),
        (Root::Campaign, "channel") => Found::text(scope.campaign.channel.as_deref()),
        (Root::Trigger, "kind") => Found::Text(scope.trigger.kind),
        (Root::Trigger, "event") => Found::Text(scope.trigger.event),
        (Root::Trigger, "message_id") => Found::Text(scope.trigger.message_id),
        (Root::Trigger, "timestamp") => Found::Owned(Value::text(scope.trigger.timestamp.to_string())),
        (Root::Delivery, "id") => Found::Owned(Value::text(scope.delivery.to_string())),
        (Root::Delivery, "time") => Found::Owned(Value::text(scope.now.to_string())),
        _ => Found::Missing,
    };
    if rest.is_empty() { field } else { owned(field.with(|value| value.and_then(|value| below(value, rest).with(|value| value.cloned())))) }
}

fn whole<'v>(scope: &Scope<'v>, root: Root) -> Found<'v> {
    match root {
        Root::Event => Found::Object(scope.trigger.properties),
        Root::User => Found::Object(scope.user.traits()),
        Root::Link => Found::Owned(Value::Object(scope.links.iter().map(|(name, value)| ((&**name).into(), value.clone())).collect())),
        Root::Events => {
            let events = scope.trigger.others.iter().map(|(name, properties)| ((&**name).into(), Value::Object(properties.clone())));
            Found::Owned(Value::Object(events.collect()))
        }
        _ => {
            let fields = root.fields().iter().filter_map(|name| {
                let value = lookup(scope, root, &[name]).with(|value| value.cloned())?;
                Some(((*name).into(), value))
            });
            Found::Owned(Value::Object(fields.collect()))
        }
    }
}

/// The name of an event may have dots: the first that spans the beginning of the path.
fn in_events<'v, S: AsRef<str>>(scope: &Scope<'v>, path: &[S]) -> Found<'v> {
    let mut prefixes = (1..=path.len()).flat_map(|length| scope.trigger.others.iter().map(move |other| (length, other)));
    match prefixes.find(|(length, (name, _))| is_joined(name, &path[..*length])) {
        Some((length, (_, properties))) if length == path.len() => Found::Object(properties),
        Some((length, (_, properties))) => in_object(properties, &path[length..]),
        None => Found::Missing,
    }
}

fn in_object<'v, S: AsRef<str>>(object: &'v Object, path: &[S]) -> Found<'v> {
    match member(object, path) {
        Some(Value::Null) => Found::Missing,
        Some(value) => Found::Value(value),
        None => augmented_object(object, path),
    }
}

/// Plain members only: first the longest name that spans the path, then reaching in.
fn member<'v, S: AsRef<str>>(object: &'v Object, path: &[S]) -> Option<&'v Value> {
    let (head, rest) = path.split_first()?;
    if rest.is_empty() {
        return object.get(head.as_ref());
    }
    if let Some(value) = named(object, path) {
        return Some(value);
    }
    (1..path.len()).find_map(|length| match named(object, &path[..length])? {
        Value::Object(inner) => member(inner, &path[length..]),
        _ => None,
    })
}

/// The property whose name is these segments joined by dots.
fn named<'v, S: AsRef<str>>(object: &'v Object, segments: &[S]) -> Option<&'v Value> {
    if let [only] = segments {
        return object.get(only.as_ref());
    }
    object.iter().find(|(key, _)| is_joined(key, segments)).map(|(_, value)| value)
}

fn is_joined<S: AsRef<str>>(key: &str, segments: &[S]) -> bool {
    let mut rest = key;
    for (i, segment) in segments.iter().enumerate() {
        if i > 0 {
            match rest.strip_prefix('.') {
                Some(after) => rest = after,
                None => return false,
            }
        }
        match rest.strip_prefix(segment.as_ref()) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

fn augmented_object<'v, S: AsRef<str>>(object: &'v Object, path: &[S]) -> Found<'v> {
    let Some((head, rest)) = path.split_first() else {
        return Found::Missing;
    };
    match object.get(head.as_ref()) {
        Some(value) => below(value, rest),
        None if head.as_ref() == "size" && rest.is_empty() => size(object.len()),
        None => Found::Missing,
    }
}

/// What lies below a value.
fn below<'v, S: AsRef<str>>(value: &'v Value, path: &[S]) -> Found<'v> {
    let Some((head, rest)) = path.split_first() else {
        return if value.is_null() { Found::Missing } else { Found::Value(value) };
    };
    match (value, head.as_ref()) {
        (Value::Object(object), _) => in_object(object, path),
        (Value::List(items), "size") if rest.is_empty() => size(items.len()),
        (Value::List(items), index) => element(items, index).map_or(Found::Missing, |item| below(item, rest)),
        (Value::Text(text), "size") if rest.is_empty() => size(characters(text).count()),
        _ => Found::Missing,
    }
}

fn element<'v>(items: &'v [Value], index: &str) -> Option<&'v Value> {
    match index {
        "first" => items.first(),
        "last" => items.last(),
        _ => {
            let index: i64 = index.parse().ok()?;
            let from_end = usize::try_from(index.unsigned_abs()).ok()?;
            if index < 0 { items.len().checked_sub(from_end).and_then(|at| items.get(at)) } else { items.get(from_end) }
        }
    }
}

fn size<'v>(size: usize) -> Found<'v> {
    Found::Owned(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

fn owned<'v>(value: Option<Value>) -> Found<'v> {
    value.map_or(Found::Missing, Found::Owned)
}

//! The `profiles` body, CleverTap's payload: `{"targetId":..,"key_values":{..},"profiles":[{..}]}` (contract, section 3). What has
//! no value has no key. Here is how one profile is written; `compile.rs` joins the rest of the body from templates.

use crate::engine::definition::{PROFILE_FIELDS, Profiles};
use crate::engine::value::{Object, Value};

use super::Scope;
use super::style::{push_json, push_json_text};

/// The trait that is a field of its own, and therefore not in ProfileData unless that names it.
const EMAIL: &str = "email";

/// One user as an entry of `profiles`.
#[derive(Debug)]
pub struct ProfilePart {
    /// Of [`PROFILE_FIELDS`], in their order.
    fields: Box<[&'static str]>,
    /// `None`: all but email.
    traits: Option<Box<[Box<str>]>>,
}

impl ProfilePart {
    pub fn of(profiles: &Profiles) -> ProfilePart {
        let asked = |field: &&&str| profiles.fields.as_ref().is_none_or(|asked| asked.iter().any(|name| &**name == **field));
        ProfilePart {
            fields: PROFILE_FIELDS.iter().filter(asked).copied().collect(),
            traits: profiles.profile_data.as_ref().map(|names| names.iter().cloned().collect()),
        }
    }

    /// Appends the entry as JSON.
    pub fn push(&self, out: &mut String, scope: &Scope<'_>) {
        let mut entries = Entries::open(out);
        for field in &self.fields {
            match *field {
                "Email" => entries.value(field, scope.user.traits().get(EMAIL)),
                "Identity" => entries.text(field, Some(scope.user_id)),
                "ObjectId" => entries.text(field, scope.user.anonymous_id()),
                "Push_token" => entries.text(field, scope.user.push_token()),
                "ProfileData" => self.push_traits(field, scope.user.traits(), &mut entries),
                _ => entries.object(field, scope.trigger.properties.iter()),
            }
        }
        entries.close();
    }

    fn push_traits(&self, field: &str, traits: &Object, entries: &mut Entries<'_>) {
        match &self.traits {
            None => entries.object(field, traits.iter().filter(|(name, _)| *name != EMAIL)),
            Some(names) => entries.object(field, names.iter().filter_map(|name| Some((&**name, traits.get(name)?)))),
        }
    }
}

/// An object being written.
struct Entries<'o> {
    out: &'o mut String,
    first: bool,
}

impl Entries<'_> {
    fn open(out: &mut String) -> Entries<'_> {
        out.push('{');
        Entries { out, first: true }
    }

    fn close(self) {
        self.out.push('}');
    }

    fn text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.key(name);
            push_json_text(self.out, text);
        }
    }

    fn value(&mut self, name: &str, value: Option<&Value>) {
        match value {
            None | Some(Value::Null) => {}
            Some(Value::Text(text)) => self.text(name, Some(text)),
            Some(value) => {
                self.key(name);
                push_json(self.out, value);
            }
        }
    }

    /// An object of entries; null is missing, and one that has none is no value.
    fn object<'v>(&mut self, name: &str, entries: impl Iterator<Item = (&'v str, &'v Value)>) {
        let mut entries = entries.filter(|(_, value)| !value.is_null()).peekable();
        if entries.peek().is_none() {
            return;
        }
        self.key(name);
        let mut inner = Entries::open(self.out);
        for (name, value) in entries {
            inner.key(name);
            push_json(inner.out, value);
        }
        inner.close();
    }

    fn key(&mut self, name: &str) {
        if !std::mem::replace(&mut self.first, false) {
            self.out.push(',');
        }
        push_json_text(self.out, name);
        self.out.push(':');
    }
}

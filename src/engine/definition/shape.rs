//! What the language allows, as data: the keys of every map with their types and a sentence each. The readers ask only for keys
//! that stand here, and must ask for all of them (asserted where debug assertions are on, so in every test); `schema` makes
//! JSON Schema of it. So what is read and what an editor completes are one thing.

/// A map of the language.
#[derive(Debug)]
pub struct Shape {
    /// Its name among the schema's definitions.
    pub id: &'static str,
    /// For messages: `a campaign`, `` `webhook` ``.
    pub what: &'static str,
    pub doc: &'static str,
    pub keys: &'static [Key],
    /// Keys that are not in the list: what their values are. `None` = there are none.
    pub rest: Option<Type>,
    pub form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any of the keys, those that are required always.
    Fields,
    /// Exactly one of the keys, which says what kind of thing it is.
    OneKind,
    /// Any keys, but not this one alone with a map: that would be something else.
    NotOnly(&'static str),
}

/// A key of a map.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub doc: &'static str,
    pub required: bool,
    pub value: Type,
}

/// What a value may be. Null is absence, everywhere.
#[derive(Debug)]
pub enum Type {
    Text,
    /// Text that is not empty.
    Name,
    /// `[a-z0-9][a-z0-9-]{0,62}`
    DocumentKey,
    Boolean,
    Integer(i64, i64),
    Number,
    /// An instant with its offset.
    Instant,
    /// `30s 15m 12h 7d 2w 1mo`
    Duration,
    /// One that may begin with a minus.
    SignedDuration,
    /// `09:00`
    TimeOfDay,
    /// Text, number, true or false.
    Scalar,
    Anything,
    Choice(&'static [&'static str]),
    /// Of at least and at most so many items.
    List(&'static Type, usize, usize),
    Map(&'static Shape),
    AnyOf(&'static [Type]),
    Named(&'static Named),
}

/// A type that several places share, or that holds itself.
#[derive(Debug)]
pub struct Named {
    pub id: &'static str,
    pub doc: &'static str,
    pub value: Type,
}

impl Shape {
    pub const fn new(id: &'static str, what: &'static str, doc: &'static str, keys: &'static [Key]) -> Shape {
        Shape { id, what, doc, keys, rest: None, form: Form::Fields }
    }

    /// One whose only key says what kind of thing it is.
    pub const fn kinds(id: &'static str, what: &'static str, doc: &'static str, keys: &'static [Key]) -> Shape {
        Shape { id, what, doc, keys, rest: None, form: Form::OneKind }
    }

    /// With other keys beside the known ones.
    pub const fn and(mut self, rest: Type) -> Shape {
        self.rest = Some(rest);
        self
    }

    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.keys.iter().map(|key| key.name)
    }
}

/// A key that may be absent.
pub const fn key(name: &'static str, value: Type, doc: &'static str) -> Key {
    Key { name, doc, required: false, value }
}

/// A key that must be there.
pub const fn required(name: &'static str, value: Type, doc: &'static str) -> Key {
    Key { name, doc, required: true, value }
}

//! What a posting list is found by: one scalar, such that two scalars have the same key exactly when conditions call them equal.

use std::hash::{Hash, Hasher};

use hashbrown::Equivalent;

use crate::engine::condition::whole;
use crate::engine::value::Value;

/// A key as the index keeps it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Bool(bool),
    /// Also of a float without a fraction: 1 and 1.0 are equal.
    Whole(i128),
    /// The bits of any other number.
    Fraction(u64),
    Text(Box<str>),
}

/// The same, borrowed from an event: looking up copies nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyRef<'a> {
    Bool(bool),
    Whole(i128),
    Fraction(u64),
    Text(&'a str),
}

impl KeyRef<'_> {
    /// `None` for null, lists and objects: no index entry stands for those.
    pub fn of(value: &Value) -> Option<KeyRef<'_>> {
        match value {
            Value::Bool(truth) => Some(KeyRef::Bool(*truth)),
            Value::Text(text) => Some(KeyRef::Text(text)),
            Value::Float(number) => Some(whole(value).map_or(KeyRef::Fraction(number.to_bits()), KeyRef::Whole)),
            Value::Int(_) | Value::Unsigned(_) => whole(value).map(KeyRef::Whole),
            Value::Null | Value::List(_) | Value::Object(_) => None,
        }
    }

    pub fn to_key(self) -> Key {
        match self {
            KeyRef::Bool(truth) => Key::Bool(truth),
            KeyRef::Whole(number) => Key::Whole(number),
            KeyRef::Fraction(bits) => Key::Fraction(bits),
            KeyRef::Text(text) => Key::Text(text.into()),
        }
    }
}

impl Key {
    fn borrowed(&self) -> KeyRef<'_> {
        match self {
            Key::Bool(truth) => KeyRef::Bool(*truth),
            Key::Whole(number) => KeyRef::Whole(*number),
            Key::Fraction(bits) => KeyRef::Fraction(*bits),
            Key::Text(text) => KeyRef::Text(text),
        }
    }
}

// As the borrowed form, so that either finds the other.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.borrowed()
    }
}

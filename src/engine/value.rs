//! Values of properties and traits: what JSON can say, compared by the contract's rules (no conversion; 1 equals 1.0).

use std::cmp::Ordering;
use std::fmt;

use compact_str::CompactString;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text of keys and values: up to 24 bytes in place, which is most of them. An event's properties are parsed on one thread and dropped on
/// another, the dearest way to use an allocator.
pub type Text = CompactString;

/// A JSON value. Objects keep the order in which they were written.
#[derive(Clone, Debug, Default)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    /// Only above `i64::MAX`.
    Unsigned(u64),
    Float(f64),
    Text(Text),
    List(Vec<Value>),
    Object(Object),
}

/// A JSON object: a short list of keys and values, in the order of the text; of a repeated key the last counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(Vec<(Text, Value)>);

impl Object {
    pub fn new() -> Object {
        Object::default()
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| &**name == key).map(|(_, value)| value)
    }

    /// Sets a key, in its old place if it was there.
    pub fn insert(&mut self, key: impl Into<Text>, value: Value) {
        let key = key.into();
        match self.0.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.0.iter().position(|(name, _)| &**name == key)?;
        Some(self.0.remove(at).1)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Looks a dotted path up: a property whose full name has the dot wins, then `a.b` reaches into the object `a`.
    pub fn lookup(&self, path: &str) -> Option<&Value> {
        if let Some(value) = self.get(path) {
            return Some(value);
        }
        path.match_indices('.').find_map(|(dot, _)| match self.get(&path[..dot]) {
            Some(Value::Object(inner)) => inner.lookup(&path[dot + 1..]),
            _ => None,
        })
    }
}

/// What has more keys than this probably has many more: an event's properties. Small objects get no more room than they need, so that
/// a text full of them does not become ten times its size.
const FEW_KEYS: usize = 4;
const MORE_KEYS: usize = 12;

/// Up to this many keys, duplicates are found by looking through all.
const SHORT_OBJECT: usize = 48;

impl From<Vec<(Text, Value)>> for Object {
    fn from(mut list: Vec<(Text, Value)>) -> Object {
        if list.len() <= SHORT_OBJECT {
            let is_repeated = |at: usize| list[..at].iter().any(|(key, _)| *key == list[at].0);
            if !(1..list.len()).any(is_repeated) {
                return Object(list);
            }
            let mut object = Object(Vec::with_capacity(list.len()));
            list.into_iter().for_each(|(key, value)| object.insert(key, value));
            return object;
        }
        // A long list would make the search above quadratic: sort (stable, so the last of equals stays last), then restore the order.
        let mut order: Vec<usize> = (0..list.len()).collect();
        order.sort_by(|a, b| list[*a].0.cmp(&list[*b].0));
        let mut keep: Vec<(usize, usize)> = Vec::with_capacity(list.len());
        for run in order.chunk_by(|a, b| list[*a].0 == list[*b].0) {
            keep.push((run[0], run[run.len() - 1]));
        }
        keep.sort_unstable();
        Object(keep.into_iter().map(|(_, last)| std::mem::take(&mut list[last])).collect())
    }
}

impl FromIterator<(Text, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (Text, Value)>>(pairs: I) -> Object {
        pairs.into_iter().collect::<Vec<(Text, Value)>>().into()
    }
}

impl Value {
    pub fn text(text: impl Into<Text>) -> Value {
        Value::Text(text.into())
    }

    /// Parses JSON text.
    pub fn from_json(text: &str) -> Result<Value, serde_json::Error> {
        serde_json::from_str(text)
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// What JSON calls this kind of value, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Unsigned(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
        }
    }

    /// The order of two numbers, exact also between integers and fractions; `None` when either is no number.
    pub fn compare_numbers(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Value::Unsigned(a), Value::Unsigned(b)) => Some(a.cmp(b)),
            (Value::Int(_), Value::Unsigned(_)) => Some(Ordering::Less),
            (Value::Unsigned(_), Value::Int(_)) => Some(Ordering::Greater),
            (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
            (Value::Float(a), Value::Int(b)) => compare_float_int(*a, i128::from(*b)),
            (Value::Float(a), Value::Unsigned(b)) => compare_float_int(*a, i128::from(*b)),
            (Value::Int(a), Value::Float(b)) => compare_float_int(*b, i128::from(*a)).map(Ordering::reverse),
            (Value::Unsigned(a), Value::Float(b)) => compare_float_int(*b, i128::from(*a)).map(Ordering::reverse),
            _ => None,
        }
    }
}

/// Compares without the rounding that a conversion of a large integer to `f64` would bring.
fn compare_float_int(float: f64, int: i128) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // Every f64 beyond this is beyond every 64-bit integer.
    if float.abs() >= 3.7e19 {
        return Some(if float > 0.0 { Ordering::Greater } else { Ordering::Less });
    }
    let whole = float.trunc();
    Some((whole as i128).cmp(&int).then_with(|| (float - whole).partial_cmp(&0.0).unwrap_or(Ordering::Equal)))
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::List(a), Value::List(b)) => a == b,
            (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().all(|(key, value)| b.get(key) == Some(value)),
            _ => self.compare_numbers(other) == Some(Ordering::Equal),
        }
    }
}

/// JSON text.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Value {
        Value::Bool(truth)
    }
}

// In JSON a value is itself; in the record's binary format, which does not describe itself, it carries its variant.
#[derive(Serialize)]
enum TaggedRef<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Unsigned(u64),
    Float(f64),
    Text(&'a str),
    List(&'a [Value]),
    Object(&'a [(Text, Value)]),
}

#[derive(Deserialize)]
enum Tagged {
    Null,
    Bool(bool),
    Int(i64),
    Unsigned(u64),
    Float(f64),
    Text(Text),
    List(Vec<Value>),
    Object(Vec<(Text, Value)>),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return match self {
                Value::Null => TaggedRef::Null,
                Value::Bool(truth) => TaggedRef::Bool(*truth),
                Value::Int(number) => TaggedRef::Int(*number),
                Value::Unsigned(number) => TaggedRef::Unsigned(*number),
                Value::Float(number) => TaggedRef::Float(*number),
                Value::Text(text) => TaggedRef::Text(text),
                Value::List(items) => TaggedRef::List(items),
                Value::Object(object) => TaggedRef::Object(&object.0),
            }
            .serialize(serializer);
        }
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(truth) => serializer.serialize_bool(*truth),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Unsigned(number) => serializer.serialize_u64(*number),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Value::Object(object) => object.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_any(JsonVisitor);
        }
        Ok(match Tagged::deserialize(deserializer)? {
            Tagged::Null => Value::Null,
            Tagged::Bool(truth) => Value::Bool(truth),
            Tagged::Int(number) => Value::Int(number),
            Tagged::Unsigned(number) => Value::Unsigned(number),
            Tagged::Float(number) => Value::Float(number),
            Tagged::Text(text) => Value::Text(text),
            Tagged::List(items) => Value::List(items),
            Tagged::Object(pairs) => Value::Object(Object(pairs)),
        })
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return self.0.serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        if !deserializer.is_human_readable() {
            return Vec::deserialize(deserializer).map(Object);
        }
        match Value::deserialize(deserializer)? {
            Value::Object(object) => Ok(object),
            other => Err(serde::de::Error::custom(format_args!("expected an object, found {}", other.kind()))),
        }
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Unsigned(number), Value::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::text(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(pair) = pairs.next_entry::<Text, Value>()? {
            if list.len() == FEW_KEYS {
                list.reserve(MORE_KEYS);
            }
            list.push(pair);
        }
        Ok(Value::Object(list.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Value {
        Value::from_json(text).unwrap()
    }

    #[test]
    fn numbers_are_equal_across_kinds_and_nothing_is_converted() {
        assert_eq!(json("1"), json("1.0"));
        assert_ne!(json("20"), json("\"20\""));
        assert_ne!(json("true"), json("1"));
        assert_ne!(json("9007199254740993"), json("9007199254740992.0"));
        assert_eq!(json("18446744073709551615"), json("18446744073709551615"));
        assert_eq!(json("1.5").compare_numbers(&json("1")), Some(Ordering::Greater));
        assert_eq!(json("-1.5").compare_numbers(&json("-1")), Some(Ordering::Less));
    }

    #[test]
    fn objects_are_equal_in_any_order_and_the_last_of_a_repeated_key_counts() {
        assert_eq!(json(r#"{"a":1,"b":2}"#), json(r#"{"b":2,"a":1}"#));
        assert_eq!(json(r#"{"a":1,"a":2}"#).to_string(), r#"{"a":2}"#);
    }

    #[test]
    fn a_long_object_keeps_order_and_last_values() {
        let text: Vec<String> = (0..200).map(|i| format!("\"k{}\":{i}", i % 100)).collect();
        let object = json(&format!("{{{}}}", text.join(",")));
        let object = object.as_object().unwrap();
        assert_eq!(object.len(), 100);
        assert_eq!(object.iter().nth(7), Some(("k7", &Value::Int(107))));
    }

    #[test]
    fn a_path_prefers_the_full_name_then_reaches_into_objects() {
        let object = json(r#"{"a":{"b":{"c":1},"b.c":2},"a.b.c":3,"x":{"y.z":4}}"#);
        let object = object.as_object().unwrap();
        assert_eq!(object.lookup("a.b.c"), Some(&Value::Int(3)));
        assert_eq!(object.lookup("a.b"), Some(&json(r#"{"c":1}"#)));
        assert_eq!(object.lookup("x.y.z"), Some(&Value::Int(4)));
        assert_eq!(object.lookup("x.y"), None);
    }

    #[test]
    fn binary_and_json_both_read_back() {
        for text in ["null", "true", "-3", "18446744073709551615", "1.5", "\"é\"", "[1,[\"a\"]]", r#"{"k":{"l":[null]}}"#] {
            let value = json(text);
            assert_eq!(value.to_string(), text);
            let bytes = postcard::to_stdvec(&value).unwrap();
            assert_eq!(postcard::from_bytes::<Value>(&bytes).unwrap(), value);
        }
    }
}

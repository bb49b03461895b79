//! What is known of a user as a person: traits with the time each was learned, and the last device seen.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::Timestamp;
use super::value::{Object, Value};

/// Most traits one user has, removed ones that are still remembered included.
pub const MAX_TRAITS: usize = 1000;

/// Most bytes the traits of one user take, about.
pub const MAX_TRAITS_BYTES: usize = 256 * 1024;

/// That the same device was seen again is noted when it was not for so long: noting each event would cost a write for each.
const SEEN_AGAIN: Duration = Duration::from_secs(60);

/// A user's profile. Traits merge per top-level key: the newest timestamp wins, null removes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    traits: Object,
    /// When each key was last written or removed, in the order of the first writing; removed keys stay until pruned, so that
    /// an older value arriving late does not come back.
    learned: Vec<(Box<str>, Timestamp)>,
    anonymous_id: Option<(Box<str>, Timestamp)>,
    device_token: Option<(Box<str>, Timestamp)>,
}

/// What came of traits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    pub changed: bool,
    /// Traits for which there was no room.
    pub refused: u32,
}

impl Profile {
    /// The traits as conditions and templates see them.
    pub fn traits(&self) -> &Object {
        &self.traits
    }

    /// The `anonymousId` last seen.
    pub fn anonymous_id(&self) -> Option<&str> {
        self.anonymous_id.as_ref().map(|(id, _)| &**id)
    }

    /// `user.push_token`: the trait of that name, else the last `context.device.token`.
    pub fn push_token(&self) -> Option<&str> {
        match self.traits.get("push_token") {
            Some(Value::Text(token)) => Some(token),
            _ => self.device_token.as_ref().map(|(token, _)| &**token),
        }
    }

    /// When anything was last learned; [`Timestamp::MIN`] when nothing was.
    pub fn newest(&self) -> Timestamp {
        let devices = [&self.anonymous_id, &self.device_token].into_iter().flatten().map(|(_, at)| *at);
        self.learned.iter().map(|(_, at)| *at).chain(devices).max().unwrap_or(Timestamp::MIN)
    }

    pub fn is_empty(&self) -> bool {
        *self == Profile::default()
    }

    /// Merges traits learned at `at`. Answers whether anything changed.
    pub fn merge(&mut self, traits: &Object, at: Timestamp) -> bool {
        self.learn(traits, at).changed
    }

    /// The same, and how many were refused. What goes beyond [`MAX_TRAITS`] or [`MAX_TRAITS_BYTES`] is not learned: nobody's profile may
    /// grow without end. A trait that was known until then is no longer: its old value is not so any more.
    pub fn learn(&mut self, traits: &Object, at: Timestamp) -> Learned {
        let mut learned = Learned::default();
        let mut room = MAX_TRAITS_BYTES.saturating_sub(object_weight(&self.traits));
        for (key, value) in traits.iter() {
            let freed = self.traits.get(key).map_or(0, weight);
            let too_heavy = !value.is_null() && weight(value) > room + freed;
            let full = self.learned.len() >= MAX_TRAITS;
            match self.learned.iter_mut().find(|(name, _)| &**name == key) {
                Some((_, known_at)) if *known_at > at => continue,
                Some((_, known_at)) => {
                    learned.changed |= *known_at != at;
                    *known_at = at;
                }
                None if full || too_heavy => {
                    learned.refused += u32::from(!value.is_null());
                    continue;
                }
                None => {
                    self.learned.push((key.into(), at));
                    learned.changed = true;
                }
            }
            learned.refused += u32::from(too_heavy);
            if value.is_null() || too_heavy {
                room += freed;
                learned.changed |= self.traits.remove(key).is_some();
            } else if self.traits.get(key) != Some(value) {
                room = room + freed - weight(value);
                self.traits.insert(key, value.clone());
                learned.changed = true;
            }
        }
        learned
    }

    /// Notes the identifiers an event carried; the newest timestamp wins.
    pub fn note_device(&mut self, anonymous_id: Option<&str>, device_token: Option<&str>, at: Timestamp) -> bool {
        let noted = note(&mut self.anonymous_id, anonymous_id, at);
        note(&mut self.device_token, device_token, at) || noted
    }

    /// Forgets when keys were removed, where that is older than `horizon`: nothing that old is accepted any more. Answers whether
    /// anything was forgotten.
    pub fn prune(&mut self, horizon: Timestamp) -> bool {
        let before = self.learned.len();
        let traits = &self.traits;
        self.learned.retain(|(key, at)| *at >= horizon || traits.get(key).is_some());
        self.learned.len() < before
    }
}

/// Keeps the newest, and when it was last seen, to [`SEEN_AGAIN`]: what was seen before that and comes late is not the last.
fn note(slot: &mut Option<(Box<str>, Timestamp)>, value: Option<&str>, at: Timestamp) -> bool {
    match (value, &slot) {
        (Some(_), Some((_, known_at))) if *known_at > at => false,
        (Some(value), Some((known, known_at))) if &**known == value && at.since(*known_at) < SEEN_AGAIN => false,
        (Some(value), _) => {
            *slot = Some((value.into(), at));
            true
        }
        (None, _) => false,
    }
}

/// About how many bytes a value takes.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Int(_) | Value::Unsigned(_) | Value::Float(_) => 8,
        Value::Text(text) => text.len() + 2,
        Value::List(items) => items.iter().map(weight).sum::<usize>() + 2,
        Value::Object(object) => object_weight(object) + 2,
    }
}

fn object_weight(object: &Object) -> usize {
    object.iter().map(|(key, value)| key.len() + 2 + weight(value)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_newest_value_of_each_key_wins_whatever_the_order() {
        let mut profile = Profile::default();
        assert!(profile.merge(&object(r#"{"plan":"gold","city":"Seoul"}"#), Timestamp(20)));
        assert!(!profile.merge(&object(r#"{"plan":"free"}"#), Timestamp(10)));
        assert!(profile.merge(&object(r#"{"city":null}"#), Timestamp(30)));
        assert!(!profile.merge(&object(r#"{"city":"Busan"}"#), Timestamp(25)));
        assert_eq!(profile.traits(), &object(r#"{"plan":"gold"}"#));
        assert!(!profile.merge(&object(r#"{"plan":"gold"}"#), Timestamp(20)));
    }

    #[test]
    fn a_profile_does_not_grow_without_end() {
        let mut profile = Profile::default();
        let many: Object = (0..MAX_TRAITS + 5).map(|i| (format!("k{i}").into(), Value::Int(1))).collect();
        assert_eq!(profile.learn(&many, Timestamp(1)), Learned { changed: true, refused: 5 });
        assert_eq!(profile.traits().len(), MAX_TRAITS);
        let heavy: Object = [("k0".into(), Value::text("x".repeat(MAX_TRAITS_BYTES)))].into_iter().collect();
        assert_eq!(profile.learn(&heavy, Timestamp(0)), Learned::default(), "an older one changes nothing");
        // What was known is not so any more.
        assert_eq!(profile.learn(&heavy, Timestamp(2)), Learned { changed: true, refused: 1 });
        assert_eq!(profile.traits().get("k0"), None);
        assert_eq!(profile.learn(&object(r#"{"more":1,"none":null,"k1":2}"#), Timestamp(2)), Learned { changed: true, refused: 1 });
        let fits: Object = [("k0".into(), Value::text("x".repeat(MAX_TRAITS_BYTES / 2)))].into_iter().collect();
        assert_eq!(profile.learn(&fits, Timestamp(3)), Learned { changed: true, refused: 0 });
        assert_eq!(profile.learn(&fits, Timestamp(3)), Learned::default());
    }

    #[test]
    fn a_removed_key_is_remembered_until_nothing_older_can_come() {
        let mut profile = Profile::default();
        profile.merge(&object(r#"{"a":1,"b":2}"#), Timestamp(10));
        profile.merge(&object(r#"{"a":null}"#), Timestamp(20));
        assert!(!profile.prune(Timestamp(20)));
        assert!(profile.prune(Timestamp(21)));
        assert!(profile.merge(&object(r#"{"a":3}"#), Timestamp(15)));
    }

    #[test]
    fn the_last_device_is_the_one_that_was_seen_last() {
        // What was seen, and when, in the order in which it is read; the last one then.
        let check = |seen: &[(&str, i64)], expect: &str, writes: usize| {
            let mut profile = Profile::default();
            let minute = 60_000;
            let written = seen.iter().filter(|(id, at)| profile.note_device(Some(id), Some(id), Timestamp(at * minute))).count();
            assert_eq!((profile.push_token(), profile.anonymous_id(), written), (Some(expect), Some(expect), writes), "{seen:?}");
        };
        check(&[("old", 1), ("new", 2)], "new", 2);
        check(&[("new", 2), ("old", 1)], "new", 1);
        // Seen again, and only then the other, which is older, is read.
        check(&[("new", 10), ("new", 12), ("old", 11)], "new", 2);
        check(&[("new", 10), ("new", 10)], "new", 1);
        check(&[("new", 10), ("new", 9), ("old", 11)], "old", 2);
    }

    #[test]
    fn the_token_trait_wins_over_the_device() {
        let mut profile = Profile::default();
        assert!(profile.note_device(Some("a1"), Some("d1"), Timestamp(1)));
        assert!(!profile.note_device(Some("a1"), Some("d1"), Timestamp(2)));
        assert_eq!(profile.push_token(), Some("d1"));
        profile.merge(&object(r#"{"push_token":"t1"}"#), Timestamp(2));
        assert_eq!((profile.push_token(), profile.anonymous_id()), (Some("t1"), Some("a1")));
    }
}

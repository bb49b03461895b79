//! The names of everything kept in Redis, and the bytes of a stored record. Nothing here talks to Redis.
//!
//! Every key begins with a hash tag, the part in braces that a Redis Cluster hashes: `{<prefix>:<group>}` for what belongs to
//! users, `{<prefix>}` for what belongs to the store. All keys of a group thus lie on one node, and one script can change them.

use crate::engine::id::{UserId, stable_hash};
use crate::worker::ports::{StateError, Stored, Token};

use super::slots::Slot;

/// `{<prefix>:<group>}:u:<user>`, a string: a user's record. One byte of format ([`FORMAT`]), the 16 bytes of the token that
/// the last write left, then the record as the worker gave it. It is there exactly while the user exists.
pub const RECORD: &str = "u";

/// `{<prefix>:<group>}:p:<user>`, a string: a user's profile as the worker gave it, absent when empty. Apart from the record
/// because it changes seldom. It has no token of its own: it is written only together with the record, whose token guards it.
pub const PROFILE: &str = "p";

/// `{<prefix>:<group>}:wake`, a sorted set: user -> when the record next wants a look, in ms since 1970. Every record is in it, so
/// it is also the list of the group's users. Whoever takes a due user moves the time forward, which hides the user for a while.
pub const WAKE: &str = "wake";

/// `{<prefix>:<group>}:led`, a hash: incarnation of a session -> `<its last operation> <when, in s since 1970>`. Written by
/// every commit. A session that finds less than it was told knows that the store lost writes. Sessions silent for
/// a week are dropped from it once it holds a thousand.
pub const LEDGER: &str = "led";

/// `{<prefix>:<group>}:seq`, a number: the commits of all sessions in this group. The store's sequence is the sum over all groups.
pub const SEQUENCE: &str = "seq";

/// `{<prefix>}:store`, a hash: `id` (made once, at random), `format` and `groups` (fixed when it was founded), `incarnation`
/// (the last one given to a session).
pub const STORE: &str = "store";

/// `{<prefix>}:doc`, a hash: `revision` (a number, from 1) and `body` of the documents. Absent until they are first put.
pub const DOCUMENTS: &str = "doc";

/// `{<prefix>}:read`, a hash: `<partition>/<topic>` -> how far the input was read, in ms since 1970, by whoever reads it.
pub const READ: &str = "read";

/// `{<prefix> <name>}:in`, a set: the users in a bounded set, who never become more than it may hold. In a slot of its own, like
/// every name: one that is asked about often burdens one node, not the one that has the documents. Expires when nobody has
/// asked about it for at least half of the span that it is to be kept. (A prefix has no white space, so names cannot collide.)
pub const MEMBERS: &str = "in";

/// `{<prefix> <name>}:bud`, a hash: a token bucket, with `tokens` (a fraction) as they were `at` a time in us. Absent = full;
/// expires when it would be.
pub const BUDGET: &str = "bud";

/// The layout that the above describes: the field `format` of [`STORE`] and the first byte of every record. A store of a
/// higher format was written by a newer version and is refused.
pub const FORMAT: u8 = 1;

/// Format byte and token, in front of every record.
pub const HEAD_BYTES: usize = 17;

/// Most groups that a store can be founded with: a Cluster has 16,384 slots on at most some hundred nodes, and every lane asks
/// every group for what is due.
pub const MAX_GROUPS: u16 = 1024;

/// Builds the keys of one store.
#[derive(Debug)]
pub struct Keys {
    store: String,
    store_slot: Slot,
    groups: Vec<String>,
    slots: Vec<Slot>,
}

impl Keys {
    /// `groups` is at least 1.
    pub fn new(prefix: &str, groups: u16) -> Keys {
        let store = format!("{{{prefix}}}:");
        let groups: Vec<String> = (0..groups).map(|group| format!("{{{prefix}:{group}}}:")).collect();
        let slots = groups.iter().map(|head| Slot::of(head)).collect();
        Keys { store_slot: Slot::of(&store), store, groups, slots }
    }

    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The group of a user: never changes for a given number of groups.
    pub fn group_of(&self, user: &UserId) -> usize {
        match self.groups.len() {
            1 => 0,
            groups => (stable_hash(&[user.as_bytes()]) % groups as u64) as usize,
        }
    }

    /// Where a group's keys lie.
    pub fn slot(&self, group: usize) -> Slot {
        self.slots[group]
    }

    /// Where the keys of the store lie.
    pub fn store_slot(&self) -> Slot {
        self.store_slot
    }

    /// The key of [`RECORD`] or [`PROFILE`].
    pub fn user(&self, group: usize, kind: &str, user: &UserId) -> String {
        let head = &self.groups[group];
        let mut key = String::with_capacity(head.len() + kind.len() + 1 + user.len());
        key.push_str(head);
        key.push_str(kind);
        key.push(':');
        key.push_str(user);
        key
    }

    /// Where in a user's key its kind stands, counted from 1 as Lua does.
    pub fn kind_at(&self, group: usize) -> usize {
        self.groups[group].len() + 1
    }

    /// The key of [`WAKE`], [`LEDGER`] or [`SEQUENCE`].
    pub fn group(&self, group: usize, name: &str) -> String {
        format!("{}{name}", self.groups[group])
    }

    /// The key of [`MEMBERS`] or [`BUDGET`] of this name.
    pub fn own(&self, kind: &str, name: &str) -> String {
        let prefix = self.store.trim_end_matches("}:");
        format!("{prefix} {name}}}:{kind}")
    }

    /// The key of [`STORE`], [`DOCUMENTS`] or [`READ`].
    pub fn store(&self, name: &str) -> String {
        format!("{}{name}", self.store)
    }
}

/// The token of one operation of one session.
pub fn token(incarnation: u64, operation: u64) -> Token {
    Token((u128::from(incarnation) << 64 | u128::from(operation)).to_be_bytes())
}

/// A record as it is stored. Replaces what `out` held.
pub fn encode(token: Token, record: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.reserve(HEAD_BYTES + record.len());
    out.push(FORMAT);
    out.extend_from_slice(&token.0);
    out.extend_from_slice(record);
}

/// A stored record and the profile beside it. Errors: what is stored is from a newer version, or not ours.
pub fn decode(mut value: Vec<u8>, profile: Option<Vec<u8>>) -> Result<Stored, StateError> {
    match value.first() {
        Some(&FORMAT) if value.len() >= HEAD_BYTES => {
            let mut token = [0; 16];
            token.copy_from_slice(&value[1..HEAD_BYTES]);
            value.drain(..HEAD_BYTES);
            Ok(Stored { token: Token(token), record: value, profile })
        }
        Some(&format) if format > FORMAT => Err(StateError::Refused(format!(
            "a record has storage format {format} and this version reads up to {FORMAT}: a newer version wrote it; run that version"
        ))),
        first => Err(StateError::Refused(format!(
            "a record of {} bytes, first byte {first:?}, is damaged: something else writes under the same prefix; restore it or delete its key",
            value.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_group_share_its_hash_tag() {
        let keys = Keys::new("campanile", 3);
        let user = UserId::from("a {b} ü");
        assert_eq!(keys.user(2, RECORD, &user), "{campanile:2}:u:a {b} ü");
        assert_eq!(keys.user(2, PROFILE, &user), "{campanile:2}:p:a {b} ü");
        assert_eq!(&keys.user(2, RECORD, &user)[keys.kind_at(2) - 1..][..1], "u");
        assert_eq!(keys.group(0, WAKE), "{campanile:0}:wake");
        assert_eq!(keys.store(STORE), "{campanile}:store");
        assert_eq!(keys.own(MEMBERS, "summer/2026-12-01T09:00:00"), "{campanile summer/2026-12-01T09:00:00}:in");
    }

    #[test]
    fn the_group_of_a_user_never_changes() {
        let group = |user: &str, groups| Keys::new("c", groups).group_of(&UserId::from(user));
        assert_eq!([group("u1", 1), group("u1", 4), group("u2", 4), group("u3", 4)], [0, 3, 2, 1]);
    }

    #[test]
    fn a_record_reads_back_and_others_are_refused() {
        let mut value = Vec::new();
        encode(token(1, 2), b"body", &mut value);
        let stored = decode(value.clone(), None).unwrap();
        assert_eq!((stored.token, stored.record.as_slice()), (Token([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]), b"body".as_slice()));
        value[0] = FORMAT + 1;
        for (bytes, expect) in [(value, "newer version"), (b"\x01short".to_vec(), "damaged"), (Vec::new(), "damaged")] {
            let error = decode(bytes, None).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        }
    }
}

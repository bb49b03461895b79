//! Names of things: newtypes that keep a user from being taken for a campaign, and the one stable hash behind them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A person, by `userId` or else `anonymousId`. At most [`MAX_ID_BYTES`] bytes.
pub type UserId = Arc<str>;

/// Longest user id, message id and event name, in bytes (contract, section 4).
pub const MAX_ID_BYTES: usize = 256;

/// What ids begin with that are no users but notes of the worker's own, kept like users: with a token and a wake. An event about such
/// a user is refused when it is read, so that no id from outside ever begins so.
pub const PSEUDO: char = '\u{1}';

/// A campaign in a record: a stable hash of its key, eight bytes instead of up to 63. Two keys of one deployment with the
/// same hash are refused when definitions are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CampaignId(pub u64);

impl CampaignId {
    pub fn of(key: &str) -> CampaignId {
        CampaignId(stable_hash(&[b"campaign", key.as_bytes()]))
    }
}

/// What is remembered of one kind of event, in a record and in the catalog: a stable hash of what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackerId(pub u64);

// Fixed width: a hash as a variable-length integer would take ten bytes.
impl Serialize for CampaignId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.to_le_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CampaignId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<CampaignId, D::Error> {
        <[u8; 8]>::deserialize(deserializer).map(|bytes| CampaignId(u64::from_le_bytes(bytes)))
    }
}

impl Serialize for TrackerId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.to_le_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TrackerId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<TrackerId, D::Error> {
        <[u8; 8]>::deserialize(deserializer).map(|bytes| TrackerId(u64::from_le_bytes(bytes)))
    }
}

/// One delivery: the same on every attempt, not guessable (a keyed hash). Shown as `msg_` and 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub [u8; 16]);

impl DeliveryId {
    pub fn parse(text: &str) -> Option<DeliveryId> {
        let digits = text.strip_prefix("msg_")?;
        (digits.len() == 32 && digits.is_ascii()).then_some(())?;
        u128::from_str_radix(digits, 16).ok().map(|number| DeliveryId(number.to_be_bytes()))
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "msg_{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for DeliveryId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for DeliveryId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<DeliveryId, D::Error> {
        if !deserializer.is_human_readable() {
            return <[u8; 16]>::deserialize(deserializer).map(DeliveryId);
        }
        let text = String::deserialize(deserializer)?;
        DeliveryId::parse(&text).ok_or_else(|| serde::de::Error::custom("not a delivery id"))
    }
}

/// A hash that never changes: the first eight bytes of SHA-256 over the parts, each preceded by its length, so that
/// `("ab", "c")` and `("a", "bc")` differ. Used where the value is stored; never for tables in memory.
pub fn stable_hash(parts: &[&[u8]]) -> u64 {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let bytes = digest.finalize();
    u64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stable_hash_never_changes() {
        assert_eq!(stable_hash(&[b"campaign", b"cart-abandoned"]), CampaignId::of("cart-abandoned").0);
        assert_ne!(stable_hash(&[b"ab", b"c"]), stable_hash(&[b"a", b"bc"]));
    }

    #[test]
    fn a_delivery_id_reads_back() {
        let id = DeliveryId([7; 16]);
        assert_eq!(DeliveryId::parse(&id.to_string()), Some(id));
        assert_eq!(DeliveryId::parse("msg_7"), None);
        assert_eq!(DeliveryId::parse("7"), None);
    }
}

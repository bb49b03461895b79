//! Signatures by the Standard Webhooks specification 1.0.0, scheme `v1` (symmetric, HMAC-SHA256): making them, and checking them
//! as a receiver does. <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::engine::time::Timestamp;

/// The header that carries the signatures, separated by spaces.
pub const SIGNATURE: &str = "webhook-signature";

/// How the specification writes secrets: this, then the key in base64.
const PREFIX: &str = "whsec_";

/// The identifier of the scheme, before each signature.
const SCHEME: &str = "v1,";

/// How far a receiver lets `webhook-timestamp` be from its own clock, either way: five minutes, as the specification's libraries do.
pub const TOLERANCE_SECONDS: i64 = 5 * 60;

/// Signatures looked at in one header: a sender in rotation makes two or three.
const MAX_SIGNATURES: usize = 16;

/// A key to sign with. Not `Debug`: it is a secret.
pub struct Key(Hmac<Sha256>);

/// Why a text cannot be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    Empty,
    NotBase64,
}

impl KeyError {
    /// What follows the name of the secret in a sentence.
    pub fn why(self) -> &'static str {
        match self {
            KeyError::Empty => "is empty",
            KeyError::NotBase64 => "has no base64 after `whsec_`: copy the whole secret",
        }
    }
}

impl Key {
    /// `whsec_` and base64, else the text's own bytes.
    pub fn parse(secret: &str) -> Result<Key, KeyError> {
        let key = match secret.strip_prefix(PREFIX) {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| KeyError::NotBase64)?,
            None => secret.as_bytes().to_vec(),
        };
        if key.is_empty() {
            return Err(KeyError::Empty);
        }
        let Ok(mac) = Hmac::new_from_slice(&key) else {
            unreachable!("HMAC takes keys of any length");
        };
        Ok(Key(mac))
    }

    fn over(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac
    }
}

/// The value of `webhook-signature`: one signature by each key, over `id.timestamp.body`. Neither `id` nor `timestamp` may hold a
/// dot, or a request could be read as another; a request without a body signs the empty one.
pub fn sign(keys: &[Key], id: &str, timestamp: &str, body: &[u8]) -> String {
    let mut header = String::new();
    for key in keys {
        if !header.is_empty() {
            header.push(' ');
        }
        header.push_str(SCHEME);
        STANDARD.encode_string(key.over(id, timestamp, body).finalize().into_bytes(), &mut header);
    }
    header
}

/// What a receiver has of a request; `None` for a header that is not there.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    pub id: Option<&'a str>,
    pub timestamp: Option<&'a str>,
    pub signature: Option<&'a str>,
    pub body: &'a [u8],
}

/// Why a request cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    #[error("no `{0}`")]
    Missing(&'static str),
    #[error("`webhook-timestamp` is no number of seconds")]
    NoTime,
    /// Seconds by which the clocks differ; more than [`TOLERANCE_SECONDS`].
    #[error("`webhook-timestamp` is {0} s away from this clock")]
    OtherTime(u64),
    #[error("no signature is by a known secret over this id, time and body")]
    Wrong,
}

/// Checks a request at this time; answers which of the keys signed it. Signatures of other schemes are passed over, and all are compared in
/// constant time.
pub fn verify(keys: &[Key], signed: &Signed<'_>, now: Timestamp) -> Result<usize, Distrust> {
    let id = signed.id.ok_or(Distrust::Missing("webhook-id"))?;
    let timestamp = signed.timestamp.ok_or(Distrust::Missing("webhook-timestamp"))?;
    let signature = signed.signature.ok_or(Distrust::Missing(SIGNATURE))?;
    let seconds: i64 = timestamp.parse().map_err(|_| Distrust::NoTime)?;
    let apart = seconds.abs_diff(now.0.div_euclid(1000));
    if apart > TOLERANCE_SECONDS.unsigned_abs() {
        return Err(Distrust::OtherTime(apart));
    }
    let signatures = signature.split(' ').filter_map(|one| one.strip_prefix(SCHEME)).take(MAX_SIGNATURES);
    let decoded: Vec<Vec<u8>> = signatures.filter_map(|one| STANDARD.decode(one).ok()).collect();
    let signed_by = |key: &Key| decoded.iter().any(|one| key.over(id, timestamp, signed.body).verify_slice(one).is_ok());
    keys.iter().position(signed_by).ok_or(Distrust::Wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &str) -> Key {
        Key::parse(secret).unwrap_or_else(|error| panic!("{secret}: {}", error.why()))
    }

    /// The vector of the specification's reference libraries, the same in each language.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    #[test]
    fn signatures_are_those_of_the_published_vectors() {
        let check = |secret: &str, id: &str, timestamp: &str, body: &str, expect: &str| {
            assert_eq!(sign(&[key(secret)], id, timestamp, body.as_bytes()), expect, "{id}");
        };
        check(
            SECRET,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            r#"{"test": 2432232314}"#,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        );
        check(
            OTHER,
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            "1649367553",
            r#"{"email":"test@example.com","username":"test_user"}"#,
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        );
    }

    #[test]
    fn keys_are_base64_after_their_prefix_and_text_without() {
        let same = |a: &str, b: &str| sign(&[key(a)], "m", "1", b"") == sign(&[key(b)], "m", "1", b"");
        assert!(same("whsec_cGxhaW4gdGV4dA==", "plain text"));
        assert!(!same("cGxhaW4gdGV4dA==", "plain text"));
        let check = |secret: &str, expect: KeyError| assert_eq!(Key::parse(secret).err(), Some(expect), "{secret:?}");
        check("", KeyError::Empty);
        check("whsec_", KeyError::Empty);
        check("whsec_not base64", KeyError::NotBase64);
        check("whsec_cGxhaW4gdGV4dA", KeyError::NotBase64);
        check("whsec_cGxhaW4gdGV4dA==\n", KeyError::NotBase64);
    }

    #[test]
    fn a_receiver_takes_what_one_of_its_keys_signed_and_nothing_else() {
        const NOW: Timestamp = Timestamp(1_614_265_330_999);
        let good = sign(&[key(SECRET), key(OTHER)], "msg_1", "1614265330", b"{}");
        assert_eq!(good.split(' ').count(), 2);
        let signed = Signed { id: Some("msg_1"), timestamp: Some("1614265330"), signature: Some(&good), body: b"{}" };
        let check = |secrets: &[&str], signed: &Signed<'_>, now: Timestamp, expect: Result<usize, Distrust>| {
            let keys: Vec<Key> = secrets.iter().map(|secret| key(secret)).collect();
            assert_eq!(verify(&keys, signed, now), expect);
        };
        check(&[SECRET], &signed, NOW, Ok(0));
        check(&[OTHER], &signed, NOW, Ok(0));
        check(&["unknown", OTHER], &signed, NOW, Ok(1));
        check(&["unknown"], &signed, NOW, Err(Distrust::Wrong));
        check(&[], &signed, NOW, Err(Distrust::Wrong));
        check(&[SECRET], &Signed { body: b"{} ", ..signed }, NOW, Err(Distrust::Wrong));
        check(&[SECRET], &Signed { id: Some("msg_2"), ..signed }, NOW, Err(Distrust::Wrong));
        check(&[SECRET], &Signed { timestamp: Some("1614265331"), ..signed }, NOW, Err(Distrust::Wrong));
        check(&[SECRET], &Signed { timestamp: Some("soon"), ..signed }, NOW, Err(Distrust::NoTime));
        check(&[SECRET], &Signed { id: None, ..signed }, NOW, Err(Distrust::Missing("webhook-id")));
        check(&[SECRET], &Signed { timestamp: None, ..signed }, NOW, Err(Distrust::Missing("webhook-timestamp")));
        check(&[SECRET], &Signed { signature: None, ..signed }, NOW, Err(Distrust::Missing("webhook-signature")));
        for signature in ["", "v1", "v1,", "v1,AA==", "v1a,AA==", "v2,x v1,?", " "] {
            check(&[SECRET], &Signed { signature: Some(signature), ..signed }, NOW, Err(Distrust::Wrong));
        }
        let away = |seconds: i64| Timestamp(NOW.0 + seconds * 1000);
        check(&[SECRET], &signed, away(300), Ok(0));
        check(&[SECRET], &signed, away(-300), Ok(0));
        check(&[SECRET], &signed, away(301), Err(Distrust::OtherTime(301)));
        check(&[SECRET], &signed, away(-301), Err(Distrust::OtherTime(301)));
    }
}

//! A record and a profile as bytes: one format byte, four of a checksum, then postcard. Whoever changes what is behind a
//! format byte raises it and keeps reading the old one; the golden files under `tests/golden/` say what format 1 is.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Record;
use crate::engine::profile::Profile;
use crate::engine::runs::Agenda;

/// What this version writes, and the newest it reads.
pub const FORMAT: u8 = 1;

/// Why stored bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("stored in format {0}, this version of campanile reads up to {FORMAT}: upgrade this worker to the version that wrote it")]
    NewerFormat(u8),
    #[error("the stored bytes are damaged")]
    Damaged,
}

/// A batch stands behind the rest: the bytes of a user's record know nothing of batches.
pub fn encode(record: &Record) -> Vec<u8> {
    match &record.batch {
        None => write(record),
        Some(batch) => write(&(record, batch)),
    }
}

pub fn decode(bytes: &[u8]) -> Result<Record, CodecError> {
    match postcard::take_from_bytes(body(bytes)?) {
        Ok((record, [])) => Ok(record),
        Ok((record, rest)) => Ok(Record { batch: Some(whole(rest)?), ..record }),
        Err(_) => Err(CodecError::Damaged),
    }
}

pub fn encode_profile(profile: &Profile) -> Vec<u8> {
    write(profile)
}

pub fn decode_profile(bytes: &[u8]) -> Result<Profile, CodecError> {
    read(bytes)
}

/// A campaign's walks, kept beside the records of users.
pub fn encode_agenda(agenda: &Agenda) -> Vec<u8> {
    write(agenda)
}

pub fn decode_agenda(bytes: &[u8]) -> Result<Agenda, CodecError> {
    read(bytes)
}

/// How many bytes a part of a record takes.
pub fn size<T: Serialize>(part: &T) -> usize {
    postcard::experimental::serialized_size(part).unwrap_or(usize::MAX)
}

/// Bytes set aside for a record; one with a request or two is no larger.
const ENCODED_GUESS: usize = 1024;

/// The format byte and the checksum.
const HEAD_BYTES: usize = 5;

pub(in crate::engine) fn write<T: Serialize>(value: &T) -> Vec<u8> {
    let mut head = Vec::with_capacity(ENCODED_GUESS);
    head.extend_from_slice(&[FORMAT, 0, 0, 0, 0]);
    #[expect(
        clippy::expect_used,
        reason = "postcard fails on a full buffer or a sequence of unknown length; a Vec grows, all ours know theirs"
    )]
    let mut bytes = postcard::serialize_with_flavor(value, Growing(head)).expect("a record always has an encoding");
    let sum = checksum(&bytes[HEAD_BYTES..]);
    bytes[1..HEAD_BYTES].copy_from_slice(&sum);
    bytes
}

/// Appends to what is there. The crate's own flavor for a `Vec` begins with an empty one, its general one appends bytes singly.
struct Growing(Vec<u8>);

impl Flavor for Growing {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

pub(in crate::engine) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    whole(body(bytes)?)
}

fn whole<T: DeserializeOwned>(body: &[u8]) -> Result<T, CodecError> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        _ => Err(CodecError::Damaged),
    }
}

/// What is behind the head, whose format is known and whose checksum holds.
fn body(bytes: &[u8]) -> Result<&[u8], CodecError> {
    match bytes.split_first() {
        Some((&FORMAT, _)) => {}
        Some((&format, _)) if format > FORMAT => return Err(CodecError::NewerFormat(format)),
        _ => return Err(CodecError::Damaged),
    }
    let (head, body) = bytes.split_at_checked(HEAD_BYTES).ok_or(CodecError::Damaged)?;
    // Before parsing: damaged bytes may well parse, as something else, or nest without end.
    if head[1..] != checksum(body) {
        return Err(CodecError::Damaged);
    }
    Ok(body)
}

/// Tells damaged bytes from whole ones; no defence against intent. Eight bytes at a time, for it is paid on every load: the
/// multiplier is the golden ratio's (Knuth, The Art of Computer Programming 3, 6.4).
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let add = |sum: u64, word: [u8; 8]| (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    let (words, rest) = bytes.as_chunks();
    let mut sum = words.iter().fold(bytes.len() as u64, |sum, word| add(sum, *word));
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        sum = add(sum, word);
    }
    let folded = (sum >> 32) ^ sum;
    [folded as u8, (folded >> 8) as u8, (folded >> 16) as u8, (folded >> 24) as u8]
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::engine::definition::{ContentType, Method};
    use crate::engine::effect::FailCause;
    use crate::engine::event::SourceId;
    use crate::engine::id::{CampaignId, DeliveryId, TrackerId};
    use crate::engine::record::*;
    use crate::engine::time::Timestamp;
    use crate::engine::value::Object;

    const GOLDEN_RECORD: &str = include_str!("../../../tests/golden/record-1.hex");
    const GOLDEN_BATCH: &str = include_str!("../../../tests/golden/batch-1.hex");
    const GOLDEN_PROFILE: &str = include_str!("../../../tests/golden/profile-1.hex");

    fn object(text: &str) -> Object {
        serde_json::from_str(text).unwrap()
    }

    fn timer(key: u8) -> Timer {
        let origin = Origin {
            kind: TriggerKind::Inaction,
            event: "cart_added".into(),
            message_id: "m1".into(),
            timestamp: Timestamp(1_795_168_800_000),
            properties: object(r#"{"amount":60000,"cart":{"id":"c1","items":[1,2.5,null,true]}}"#),
            ..Origin::default()
        };
        Timer { campaign: CampaignId(9), kind: TimerKind::Inaction, key: [key; 8], due: Timestamp(1_795_170_600_000), origin }
    }

    fn deferred() -> Timer {
        let origin = Origin {
            kind: TriggerKind::Actions,
            others: vec![("app_launched".into(), object(r#"{"n":1}"#))],
            depth: 2,
            run: Some("2026-12-07T09:00".into()),
            ..timer(0).origin
        };
        Timer { kind: TimerKind::Deferred { decided: Timestamp(1_795_168_800_000) }, origin, ..timer(1) }
    }

    fn linking() -> Timer {
        let [due, decided] = [1_795_170_600_000, 1_795_168_800_000].map(|at| Some(Timestamp(at)));
        Timer { kind: TimerKind::Linking { due, decided }, ..timer(2) }
    }

    fn pending(number: u8, phase: Phase, request: Option<Request>) -> Pending {
        let claim = Claim {
            at: Timestamp(1_795_170_601_000),
            campaign: "cart-abandoned".into(),
            version: 3,
            channel: Some("sms".into()),
            tags: vec!["cart".into()],
            event_id: "m1".into(),
            run: Some("2026-12-07T09:00".into()),
            arm: Arm::Treatment,
        };
        let expires = Timestamp(1_795_257_001_000);
        let counts = Counts { key: Some([5; 8]), in_caps: true };
        let origin = request.is_some().then(|| Box::new(timer(0).origin));
        let (claim, request) = (Arc::new(claim), request.map(Arc::new));
        Pending { id: DeliveryId([number; 16]), campaign: CampaignId(9), claim, counts, expires, phase, origin, request }
    }

    fn full_history() -> Kept {
        let at = Timestamp(1_795_168_800_000);
        let totals = Totals { count: 2, sum: 3.5, rest: -0.25, min: 1.0, max: 2.5 };
        let samples = Samples { recent: vec![Sample { at, value: 2.5 }], older: vec![Bucket { slice: 7, newest: Timestamp(9), totals }] };
        let kinds = vec![
            Data::Count(300),
            Data::Ends { first: Timestamp(-1), last: at },
            Data::Newest(vec![Timestamp(-1), at]),
            Data::Totals(totals),
            Data::Samples(samples),
            Data::Distinct(Distinct { level: 2, values: vec![([4; 8], at)] }),
            Data::Ahead { count: 1, first: at, newest: vec![at] },
        ];
        Kept {
            without: vec![Instants { tracker: CampaignId(9), key: [3; 8], at: vec![Timestamp(-1), at] }],
            tracked: (0..).zip(kinds).map(|(id, data)| Tracked { tracker: TrackerId(id), data }).collect(),
            lost: Some(at),
            early: vec![Early { tracker: TrackerId(1), source: SourceId(7), offset: 999_999, broker_time: at }],
            backfilled: vec![Backfilled {
                id: 5,
                from: Timestamp(-1),
                until: vec![(TrackerId(1), at)],
                mark: Mark { source: SourceId(7), offset: 500_000, broker_time: at },
                seen: vec![[2; 8]],
            }],
        }
    }

    /// One of everything that a record can hold.
    fn full_record() -> Record {
        let request = Request {
            destination: "kakao".into(),
            method: Method::Post,
            url: Frozen(vec![Piece::Text("https://api.kakao.example/v1?k=".into()), Piece::Secret("key".into(), Quoting::Url)]),
            headers: vec![("X-Key".into(), Frozen(vec![Piece::Secret("key".into(), Quoting::Plain)]))],
            content_type: ContentType::Json,
            body: Some(Frozen(vec![Piece::Text("{\"k\":".into()), Piece::Secret("key".into(), Quoting::Json), Piece::Text("}".into())])),
        };
        Record {
            definitions: 12,
            marks: vec![Mark { source: SourceId(7), offset: 1_000_000, broker_time: Timestamp(1_795_168_801_000) }],
            seen: vec![SeenId { hash: [1; 8], broker_time: Timestamp(1_795_168_801_000) }],
            history: full_history(),
            timers: vec![timer(0), deferred(), linking()],
            sequences: vec![Sequence {
                campaign: CampaignId(9),
                key: [4; 8],
                version: 3,
                happened: vec![Happened {
                    meets: 3,
                    event: "app_launched".into(),
                    message_id: "m1".into(),
                    timestamp: Timestamp(1_795_168_800_000),
                    properties: object(r#"{"n":1}"#),
                    depth: 1,
                }],
            }],
            occurrences: vec![Occurrence { campaign: CampaignId(9), name: "2027".into(), at: Timestamp(1_795_168_800_000) }],
            ledger: Ledger {
                exposures: vec![Exposure {
                    campaign: CampaignId(9),
                    key: Some([5; 8]),
                    arm: Arm::Control,
                    last: Timestamp(1_795_170_601_000),
                    count: 2,
                }],
                sends: vec![CountedSend { at: Timestamp(1_795_170_601_000), labels: vec![[1, 2, 3, 4]] }],
                goals: vec![OpenGoal {
                    campaign: CampaignId(9),
                    sent_at: Timestamp(1_795_170_601_000),
                    until: Timestamp(1_795_775_401_000),
                    delivery: Some(DeliveryId([1; 16])),
                    converted: Some([6; 8]),
                }],
            },
            pending: vec![
                pending(1, Phase::Sending { attempt: 1, lease: Timestamp(1_795_170_634_000) }, Some(request)),
                pending(2, Phase::Parked { attempt: 2, until: Timestamp(1_795_170_700_000) }, None),
                pending(3, Phase::Failing { attempt: 3, cause: FailCause::Ended, again: Timestamp(1_795_170_700_000) }, None),
            ],
            tombstone: Some(Timestamp(1_795_000_000_000)),
            batch: None,
        }
    }

    /// An open batch, and what other phases have.
    fn batches() -> [Record; 3] {
        let at = Timestamp(1_795_170_601_000);
        let text = |text: &str| Frozen(vec![Piece::Text(text.into())]);
        let shared = Request {
            destination: "clevertap".into(),
            method: Method::Post,
            url: text("https://api.clevertap.example/"),
            headers: Vec::new(),
            content_type: ContentType::Json,
            body: Some(text("{\"profiles\":[")),
        };
        let member = Member {
            user: "u1".into(),
            id: DeliveryId([1; 16]),
            asked: at,
            claimed: at,
            expires: at,
            profile: "{\"Identity\":\"u1\"}".into(),
            span: (13, 17),
        };
        let ending = Ending { delivered: false, attempt: 4, status: Some(503), cause: Some("http 503".into()) };
        let phases =
            [BatchPhase::Open { until: at, shared: Box::new(shared) }, BatchPhase::Closed, BatchPhase::Settled { ending, again: at }];
        phases.map(|phase| {
            let claim = pending(1, Phase::Batched { place: 1, profile_at: 13, again: at }, None).claim;
            let batch = Batch { campaign: CampaignId(9), claim, members: vec![member.clone()], phase };
            let entry = pending(2, Phase::Batched { place: 1, profile_at: 13, again: at }, None);
            Record { definitions: 3, pending: vec![entry], batch: Some(Box::new(batch)), ..Record::default() }
        })
    }

    fn full_profile() -> Profile {
        let mut profile = Profile::default();
        profile.merge(&object(r#"{"country":"KR","age":31,"gone":1,"tags":["a",{"b":1.5}]}"#), Timestamp(1_795_168_800_000));
        profile.merge(&object(r#"{"gone":null}"#), Timestamp(1_795_168_900_000));
        profile.note_device(Some("a-1"), Some("token"), Timestamp(1_795_168_900_000));
        profile
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().enumerate().fold(String::new(), |mut text, (at, byte)| {
            let _ = write!(text, "{byte:02x}{}", if at % 64 == 63 { "\n" } else { "" });
            text
        })
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn format_1_stays_what_it_is() {
        assert_eq!(hex(&encode(&full_record())).trim(), GOLDEN_RECORD.trim(), "the bytes of format 1 have changed: raise FORMAT");
        assert_eq!(hex(&encode_profile(&full_profile())).trim(), GOLDEN_PROFILE.trim(), "the bytes of format 1 have changed: raise FORMAT");
        assert_eq!(decode(&unhex(GOLDEN_RECORD)), Ok(full_record()));
        assert_eq!(decode_profile(&unhex(GOLDEN_PROFILE)), Ok(full_profile()));
        let written: Vec<String> = batches().iter().map(|batch| hex(&encode(batch)).trim().to_owned()).collect();
        assert_eq!(written.join("\n\n"), GOLDEN_BATCH.trim(), "the bytes of format 1 have changed: raise FORMAT");
        let read: Vec<_> = GOLDEN_BATCH.split("\n\n").map(|batch| decode(&unhex(batch))).collect();
        assert_eq!(read, batches().map(Ok));
        assert_eq!(decode(&[encode(&batches()[0]), vec![0]].concat()), Err(CodecError::Damaged));
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let good = encode(&full_record());
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let mut longer = good.clone();
        longer.push(0);
        let nested = [vec![FORMAT, 0, 0, 0, 0], [6, 1].repeat(200_000)].concat();
        let cases = [
            (with(0, 2), CodecError::NewerFormat(2)),
            (with(0, 255), CodecError::NewerFormat(255)),
            (with(0, 0), CodecError::Damaged),
            (with(3, !good[3]), CodecError::Damaged),
            (with(40, !good[40]), CodecError::Damaged),
            (good[..good.len() - 1].to_vec(), CodecError::Damaged),
            (good[..3].to_vec(), CodecError::Damaged),
            (Vec::new(), CodecError::Damaged),
            (longer, CodecError::Damaged),
            (nested, CodecError::Damaged),
        ];
        for (bytes, expected) in cases {
            assert_eq!(decode(&bytes), Err(expected));
            assert_eq!(decode_profile(&bytes), Err(expected));
        }
        assert!(CodecError::NewerFormat(2).to_string().contains("upgrade"));
    }

    #[test]
    fn an_ordinary_record_is_small() {
        let at = Timestamp(1_795_168_800_000);
        let record = Record {
            definitions: 12,
            marks: vec![Mark { source: SourceId(u64::MAX), offset: 1_000_000, broker_time: at }],
            history: Kept {
                tracked: vec![
                    Tracked { tracker: TrackerId(1), data: Data::Count(100) },
                    Tracked { tracker: TrackerId(2), data: Data::Newest(vec![at; 3]) },
                    Tracked { tracker: TrackerId(3), data: Data::Ends { first: at, last: at } },
                ],
                ..Kept::default()
            },
            timers: vec![Timer { origin: Origin { properties: Object::new(), ..timer(0).origin }, ..timer(0) }],
            ledger: Ledger {
                exposures: (0..5)
                    .map(|i| Exposure { campaign: CampaignId(i), key: None, arm: Arm::Treatment, last: at, count: 1 })
                    .collect(),
                sends: (0..3).map(|_| CountedSend { at, labels: vec![[1; 4]] }).collect(),
                ..Ledger::default()
            },
            ..Record::default()
        };
        let bytes = encode(&record).len();
        assert!(bytes <= 300, "{bytes} bytes");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn one_changed_bit_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut bytes = encode(&full_record());
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(decode(&bytes).is_err());
        }
    }
}

//! Golden bytes of each format, and what is refused.

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

const GOLDEN_RECORD: &str = include_str!("../../../../tests/golden/record-1.hex");
const GOLDEN_RESUMED: &str = include_str!("../../../../tests/golden/record-2.hex");
const GOLDEN_BATCHED: &str = include_str!("../../../../tests/golden/record-3.hex");
const GOLDEN_PROFILE: &str = include_str!("../../../../tests/golden/profile-1.hex");

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
        resumed: Resumed::default(),
        batch: None,
    }
}

fn resumed_record() -> Record {
    let mut record = full_record();
    record.resumed.note(DeliveryId([8; 16]), 4, Some(4), Timestamp(1_795_170_602_000));
    record.resumed.note(DeliveryId([8; 16]), 5, None, Timestamp(1_795_170_603_000));
    record
}

/// A user's record with a delivery in a batch, and a batch in each phase.
fn batched_records() -> [Record; 4] {
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
    let member =
        Member { user: "u1".into(), id: DeliveryId([1; 16]), asked: at, claimed: at, expires: at, profile: "{\"Identity\":\"u1\"}".into() };
    let ending = Ending { delivered: false, attempt: 4, status: Some(503), cause: Some("http 503".into()) };
    let phases = [BatchPhase::Open { until: at, shared: Box::new(shared) }, BatchPhase::Closed, BatchPhase::Settled { ending, again: at }];
    let [open, closed, settled] = phases.map(|phase| {
        let claim = pending(1, Phase::Parked { attempt: 1, until: at }, None).claim;
        let batch = Batch { campaign: CampaignId(9), claim, members: vec![member.clone()], phase };
        Record { definitions: 3, batch: Some(Box::new(batch)), ..Record::default() }
    });
    let mut batched = resumed_record();
    batched.pending.push(pending(4, Phase::Batched { place: 1, profile_at: 13, again: at }, None));
    [batched, open, closed, settled]
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
fn format_2_stays_what_it_is() {
    assert_eq!(hex(&encode(&resumed_record())).trim(), GOLDEN_RESUMED.trim(), "the bytes of format 2 have changed: raise NEWEST");
    assert_eq!(decode(&unhex(GOLDEN_RESUMED)), Ok(resumed_record()));
}

#[test]
fn what_a_dead_letter_keeps_reads_back() {
    for entry in full_record().pending {
        let dead = Dead { at: Timestamp(1_795_170_700_000), entry };
        assert_eq!(decode_dead(&encode_dead(&dead)), Ok(dead));
    }
}

#[test]
fn format_1_stays_what_it_is() {
    assert_eq!(hex(&encode(&full_record())).trim(), GOLDEN_RECORD.trim(), "the bytes of format 1 have changed: raise FORMAT");
    assert_eq!(hex(&encode_profile(&full_profile())).trim(), GOLDEN_PROFILE.trim(), "the bytes of format 1 have changed: raise FORMAT");
    assert_eq!(decode(&unhex(GOLDEN_RECORD)), Ok(full_record()));
    assert_eq!(decode_profile(&unhex(GOLDEN_PROFILE)), Ok(full_profile()));
}

#[test]
fn format_3_stays_what_it_is() {
    let written: Vec<String> = batched_records().iter().map(|record| hex(&encode(record)).trim().to_owned()).collect();
    assert_eq!(written.join("\n\n"), GOLDEN_BATCHED.trim(), "the bytes of format 3 have changed: raise NEWEST");
    let read: Vec<_> = GOLDEN_BATCHED.split("\n\n").map(|record| decode(&unhex(record))).collect();
    assert_eq!(read, batched_records().map(Ok));
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
        (with(0, 4), CodecError::NewerFormat(4)),
        (with(0, 255), CodecError::NewerFormat(255)),
        (with(0, 0), CodecError::Damaged),
        (with(0, 2), CodecError::Damaged),
        (with(0, 3), CodecError::Damaged),
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
    assert!(CodecError::NewerFormat(3).to_string().contains("upgrade"));
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
            exposures: (0..5).map(|i| Exposure { campaign: CampaignId(i), key: None, arm: Arm::Treatment, last: at, count: 1 }).collect(),
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

//! What is on a retry topic: what is not for this worker, what rests, and when what is comes back.

use futures_util::FutureExt;

use super::*;
use crate::engine::definition::{ContentType, Method};
use crate::engine::record::{Claim, Counts, Frozen, Phase, Piece, codec};
use crate::simulator::ports::{MemoryLog, SharedFaults, VirtualClock};
use crate::worker::commits::LaneStatus;
use crate::worker::ports::{Clock, Identity};
use crate::worker::store_clock::StoreClock;

const NOW: Timestamp = Timestamp(1_795_168_800_000);

fn request() -> Arc<Request> {
    Arc::new(Request {
        destination: "d".into(),
        method: Method::Post,
        url: Frozen(vec![Piece::Text("https://a.example/".into())]),
        headers: Vec::new(),
        content_type: ContentType::Json,
        body: None,
    })
}

fn text(message: &RetryMessage) -> String {
    String::from_utf8(outcomes::json(message)).unwrap()
}

fn redriven() -> RetryMessage {
    let claim = Claim::of_test("c", NOW);
    let entry = Pending {
        id: DeliveryId([1; 16]),
        campaign: crate::engine::id::CampaignId::of("c"),
        claim: Arc::new(claim),
        counts: Counts::default(),
        expires: NOW,
        phase: Phase::Sending { attempt: 1, lease: NOW },
        origin: None,
        request: Some(request()),
    };
    RetryMessage::redriving("u1".into(), Dead { at: NOW, entry }, NOW, None).unwrap()
}

/// The delivery of a redriven message as a version to come stores it.
fn in_a_newer_format(message: &RetryMessage) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let dead = message.redrive.as_ref().unwrap();
    let mut bytes = codec::encode_dead(dead);
    let now = STANDARD.encode(&bytes);
    bytes[0] = 99;
    text(message).replace(&now, &STANDARD.encode(&bytes))
}

#[test]
fn a_newer_message_is_told_from_a_broken_one() {
    let retry = RetryMessage::new("u1".into(), DeliveryId([1; 16]), 1, NOW, request());
    for known in [&retry, &redriven()] {
        assert_eq!(RetryMessage::read(text(known).as_bytes()).as_ref(), Ok(known));
    }
    let check = |message: &str, newer: bool| match RetryMessage::read(message.as_bytes()) {
        Err(Unread::Newer(why)) => assert!(newer && why.contains("upgrade this worker"), "{message}: {why}"),
        Err(Unread::Broken(why)) => assert!(!newer && !why.is_empty(), "{message}: {why}"),
        Ok(read) => panic!("{message} was read as {read:?}"),
    };
    check(&text(&retry).replace("\"v\":1", "\"v\":3"), true);
    check("{\"v\":3,\"everything\":\"is other\"}", true);
    check(&in_a_newer_format(&redriven()), true);
    check("{\"v\":1}", false);
    check("{\"user\":\"u1\"}", false);
    check("[]", false);
    check(&text(&redriven()).replace("\"redrive\":\"", "\"redrive\":\"AAAA"), false);
}

/// A reader with a log of its own.
struct Reading {
    clock: VirtualClock,
    log: MemoryLog,
    member: u64,
    reader: RetryReader,
    commits: Commits,
    lane: OneLane,
}

/// A lane that takes so many, of destinations that may be called so often.
#[derive(Default)]
struct OneLane {
    room_for_halted: Option<usize>,
    room: usize,
    given: Vec<u8>,
}

impl Outlet for OneLane {
    fn room(&self, _: &str) -> Option<usize> {
        self.room_for_halted
    }

    fn give(&mut self, (message, ticket): Due) -> Result<(), Due> {
        if self.room == 0 {
            return Err((message, ticket));
        }
        self.room -= 1;
        self.given.push(message.delivery_id.0[0]);
        ticket.finish();
        Ok(())
    }
}

impl Reading {
    fn of(topics: &[&str]) -> Reading {
        let clock = VirtualClock::new(NOW);
        let log = MemoryLog::new(1, Arc::new(clock.clone()), SharedFaults::default());
        let source = log.source("campanile.retry", topics);
        let member = source.member();
        let reader = RetryReader::new(Box::new(source), Arc::new(log.clone()), Arc::new(Settings::of_one_lane()));
        let identity = Box::new(|| Ok(Identity { id: "s".into(), sequence: 0 }));
        let store_clock = Arc::new(StoreClock::new(Arc::new(clock.clone())));
        let commits = Commits::new(vec![Arc::new(LaneStatus::default())], store_clock, identity, false).unwrap();
        Reading { clock, log, member, reader, commits, lane: OneLane::default() }
    }

    fn put(&self, topic: &str, value: &str) {
        let line = Line { topic: topic.into(), key: None, value: value.as_bytes().to_vec() };
        self.log.append(&[line]).now_or_never().unwrap().unwrap();
    }

    /// Where such a message belongs, as often as that.
    fn put_all(&self, message: &RetryMessage, times: usize) {
        let line = message.line(&self.reader.settings.topics, NOW);
        self.log.append(&vec![line; times]).now_or_never().unwrap().unwrap();
    }

    /// What the lane was given in some turns at this moment.
    fn given(&mut self) -> Vec<u8> {
        (0..10).for_each(|_| self.turn().unwrap());
        std::mem::take(&mut self.lane.given)
    }

    fn turn(&mut self) -> Result<(), SourceError> {
        self.reader.turn(self.clock.now(), Duration::ZERO, &mut self.commits, &mut self.lane)
    }
}

fn retry_topics() -> [&'static str; 4] {
    ["campanile.retry", "campanile.retry.1m", "campanile.retry.5m", "campanile.retry.30m"]
}

const TIER: &str = "campanile.retry.30m";

/// Halted so often, and to come back after half an hour.
fn halted(id: u8, halts: u32) -> String {
    let not_before = NOW.after(Duration::from_secs(30 * 60));
    text(&RetryMessage { halts, ..RetryMessage::new("u1".into(), DeliveryId([id; 16]), 0, not_before, request()) })
}

#[test]
fn what_was_halted_comes_back_as_soon_as_its_destination_has_room() {
    let mut reading = Reading::of(&[TIER]);
    reading.lane.room = usize::MAX;
    // The fourth waits for half an hour of its own, and those behind it for the fourth.
    (1..=3).for_each(|id| reading.put(TIER, &halted(id, 4)));
    reading.put(TIER, &halted(4, 0));
    reading.put(TIER, &halted(5, 1));
    assert_eq!(reading.given(), [0_u8; 0], "its destination is not called");
    assert_eq!(reading.reader.next_ready(), Some(NOW.after(Duration::from_secs(30 * 60))));

    reading.lane.room_for_halted = Some(0);
    assert_eq!(reading.given(), [0_u8; 0], "its destination has no room");
    assert_eq!(reading.reader.next_ready(), Some(NOW.after(EARLY_EVERY)), "it looks again");
    reading.clock.advance(EARLY_EVERY);
    reading.lane.room_for_halted = Some(2);
    assert_eq!(reading.given(), [1, 2], "as many as have room, and no more before they are on their way");
    reading.clock.advance(EARLY_EVERY);
    assert_eq!(reading.given(), [3]);
    reading.clock.advance(Duration::from_secs(29 * 60));
    assert_eq!(reading.given(), [0_u8; 0]);
    reading.clock.advance(Duration::from_secs(60));
    assert_eq!(reading.given(), [4, 5]);
}

#[test]
fn what_a_lane_has_no_room_for_stays_where_it_counts() {
    const RETRY: &str = "campanile.retry";
    let mut reading = Reading::of(&[RETRY]);
    for id in 1..=3 {
        reading.put(RETRY, &text(&RetryMessage::new("u1".into(), DeliveryId([id; 16]), 1, NOW, request())));
    }
    reading.lane.room = 1;
    assert_eq!(reading.given().len(), 1);
    assert!(reading.reader.is_stalled() && reading.reader.held_bytes() > 0);
    reading.lane.room = 2;
    assert_eq!(reading.given().len(), 2);
    assert!(!reading.reader.is_stalled() && reading.reader.held_bytes() == 0);
}

#[test]
fn what_rests_in_a_tier_leaves_the_room_to_what_is_due() {
    const RESTING: usize = 3000;
    let mut reading = Reading::of(&retry_topics());
    reading.lane.room = usize::MAX;
    let wait = |minutes: u64| NOW.after(Duration::from_secs(minutes * 60));
    let message = |id: u8, until: Timestamp| RetryMessage::new("u1".into(), DeliveryId([id; 16]), 1, until, request());
    let (soon, late) = (message(1, wait(2)), message(1, wait(7)));
    reading.put_all(&soon, RESTING);
    reading.put_all(&late, RESTING);
    reading.put_all(&message(2, NOW), 1);
    assert_eq!(reading.given(), [2]);
    assert_eq!(reading.reader.heap_bytes, 0, "what rests takes none of its room");
    let bound = 2 * 2 * TIER_BYTES;
    assert!(
        RESTING * text(&soon).len() > bound && (1..=bound).contains(&reading.reader.held_bytes()),
        "the beginning of each tier is read"
    );

    reading.clock.set(wait(2));
    let mut given = 0;
    while given < RESTING {
        let more = reading.given().len();
        assert!(more > 0, "{given} of {RESTING} were given out");
        given += more;
    }
    assert_eq!((given, reading.given().len()), (RESTING, 0), "each once");
}

#[test]
fn a_tier_that_comes_back_after_a_rebalance_rests_again() {
    let mut reading = Reading::of(&retry_topics());
    let message = RetryMessage::new("u1".into(), DeliveryId([1; 16]), 1, NOW.after(Duration::from_secs(120)), request());
    reading.put_all(&message, 3000);
    for _ in 0..3 {
        assert_eq!(reading.given().len(), 0);
        assert!((1..=2 * TIER_BYTES).contains(&reading.reader.held_bytes()));
        reading.log.expel("campanile.retry", reading.member);
    }
}

/// It may be put off for as long as another holds its attempt, or for want of room in its record.
#[test]
fn what_has_expired_and_is_put_off_does_not_come_back_at_once() {
    let later = NOW.after(Duration::from_secs(60));
    let check = |expires: Timestamp, expect: Timestamp| {
        let input = Input::Retry { id: DeliveryId([1; 16]), attempt: 1, unstarted: true, request: request() };
        let message = RetryMessage::of_input("u1".into(), input, later, Some(expires), NOW).unwrap();
        assert_eq!(message.not_before, expect, "expires {expires}");
    };
    check(NOW.after(Duration::from_secs(3600)), later);
    check(NOW.after(Duration::from_secs(30)), NOW.after(Duration::from_secs(30)));
    check(NOW, later);
    check(NOW.before(Duration::from_secs(1)), later);
}

/// During a rolling upgrade an old worker may meet it: whose delivery it is, it belongs to the workers that can read it.
#[test]
fn a_newer_message_ends_the_worker_and_stays_where_it_is() {
    let mut reading = Reading::of(&["campanile.retry"]);
    reading.put("campanile.retry", "{\"v\":1}");
    let letters = (0..10).find_map(|_| {
        reading.turn().unwrap();
        Some(reading.log.records("campanile.dead")).filter(|letters| !letters.is_empty())
    });
    let letter: serde_json::Value = serde_json::from_slice(&letters.expect("a letter")[0].1).unwrap();
    assert_eq!(letter["reason"], NOT_A_RETRY);

    reading.put("campanile.retry", "{\"v\":3}");
    let ended = (0..10).find_map(|_| reading.turn().err());
    let expect = "the message at campanile.retry/0/1 cannot be read: written in form 3, this version of campanile reads up to 2";
    assert!(matches!(&ended, Some(SourceError::Fatal(why)) if why.starts_with(expect)), "{ended:?}");
    assert_eq!(reading.log.records("campanile.dead").len(), 1, "it is no dead letter");
    assert_eq!(reading.lane.given, [0_u8; 0], "nor is any given out");
}

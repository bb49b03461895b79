//! What is on a retry topic and is not for this worker; what rests in a tier.

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

/// A reader of the retry topics in a log of one partition each.
struct World {
    clock: Arc<VirtualClock>,
    log: MemoryLog,
    member: u64,
    reader: RetryReader,
    commits: Commits,
}

fn world() -> World {
    let clock = Arc::new(VirtualClock::new(NOW));
    let log = MemoryLog::new(1, clock.clone(), SharedFaults::default());
    let settings = Arc::new(Settings::of_one_lane());
    let topics = settings.topics.retries();
    let source = log.source("campanile.retry", &topics.iter().map(|topic| &**topic).collect::<Vec<&str>>());
    let member = source.member();
    let reader = RetryReader::new(Box::new(source), Arc::new(log.clone()), settings);
    let identity = Box::new(|| Ok(Identity { id: "s".into(), sequence: 0 }));
    let store_clock = Arc::new(StoreClock::new(clock.clone()));
    let commits = Commits::new(vec![Arc::new(LaneStatus::default())], store_clock, identity, false).unwrap();
    World { clock, log, member, reader, commits }
}

impl World {
    /// Some turns; what was given out.
    fn turns(&mut self) -> Vec<UserId> {
        let mut given = Vec::new();
        for _ in 0..10 {
            let give_out = |message: Box<RetryMessage>, ticket: Ticket| {
                given.push(message.user);
                ticket.finish();
            };
            self.reader.turn(self.clock.now(), Duration::ZERO, &mut self.commits, give_out).unwrap();
        }
        given
    }

    fn line(&self, message: &RetryMessage) -> Line {
        message.line(&self.reader.settings.topics, NOW)
    }

    fn put(&self, message: &RetryMessage, times: usize) {
        let line = self.line(message);
        self.log.append(&vec![line; times]).now_or_never().unwrap().unwrap();
    }
}

#[test]
fn what_rests_in_a_tier_leaves_the_room_to_what_is_due() {
    const RESTING: usize = 1000;
    let mut world = world();
    let wait = |minutes: u64| NOW.after(Duration::from_secs(minutes * 60));
    let message = |user: &str, until: Timestamp| RetryMessage::new(user.into(), DeliveryId([1; 16]), 1, until, request());
    let (soon, late) = (message("u1", wait(2)), message("u1", wait(7)));
    assert_ne!(world.line(&soon).topic, world.line(&late).topic);
    world.put(&soon, RESTING);
    world.put(&late, RESTING);
    world.put(&message("u2", NOW), 1);
    assert_eq!(world.turns(), [UserId::from("u2")]);
    assert_eq!(world.reader.heap_bytes, 0, "what rests takes none of its room");
    assert_eq!(world.reader.held_bytes(), text(&soon).len() + text(&late).len(), "one of each tier is read");

    world.clock.set(wait(2));
    let mut given = 0;
    while given < RESTING {
        let more = world.turns().len();
        assert!(more > 0, "{given} of {RESTING} were given out");
        given += more;
    }
    assert_eq!((given, world.turns().len()), (RESTING, 0), "each once");
}

#[test]
fn a_tier_that_comes_back_after_a_rebalance_rests_again() {
    let mut world = world();
    let message = RetryMessage::new("u1".into(), DeliveryId([1; 16]), 1, NOW.after(Duration::from_secs(120)), request());
    world.put(&message, 1000);
    for _ in 0..3 {
        assert_eq!(world.turns().len(), 0);
        assert_eq!(world.reader.held_bytes(), text(&message).len());
        world.log.expel("campanile.retry", world.member);
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
    let clock = Arc::new(VirtualClock::new(NOW));
    let log = MemoryLog::new(1, clock.clone(), SharedFaults::default());
    let settings = Arc::new(Settings::of_one_lane());
    let source = Box::new(log.source("campanile.retry", &["campanile.retry"]));
    let mut reader = RetryReader::new(source, Arc::new(log.clone()), settings);
    let identity = Box::new(|| Ok(Identity { id: "s".into(), sequence: 0 }));
    let store_clock = Arc::new(StoreClock::new(clock));
    let mut commits = Commits::new(vec![Arc::new(LaneStatus::default())], store_clock, identity, false).unwrap();
    let mut turn = || reader.turn(NOW, Duration::ZERO, &mut commits, |message, _| panic!("{message:?} was given out"));
    let put = |value: &str| {
        let line = Line { topic: "campanile.retry".into(), key: None, value: value.as_bytes().to_vec() };
        log.append(&[line]).now_or_never().unwrap().unwrap();
    };
    put("{\"v\":1}");
    let letters = (0..10).find_map(|_| {
        turn().unwrap();
        Some(log.records("campanile.dead")).filter(|letters| !letters.is_empty())
    });
    let letter: serde_json::Value = serde_json::from_slice(&letters.expect("a letter")[0].1).unwrap();
    assert_eq!(letter["reason"], NOT_A_RETRY);

    put("{\"v\":3}");
    let ended = (0..10).find_map(|_| turn().err());
    let expect = "the message at campanile.retry/0/1 cannot be read: written in form 3, this version of campanile reads up to 2";
    assert!(matches!(&ended, Some(SourceError::Fatal(why)) if why.starts_with(expect)), "{ended:?}");
    assert_eq!(log.records("campanile.dead").len(), 1, "it is no dead letter");
}

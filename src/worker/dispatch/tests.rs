//! What a busy destination means for the others.

use super::*;
use crate::engine::effect::Fetch;
use crate::engine::id::{CampaignId, DeliveryId};

const MS: Duration = Duration::from_millis(1);
const T0: Timestamp = Timestamp(1_795_000_000_000);

const LIMITS: Limits = Limits { slots: 64, timeout: Duration::from_secs(3), rate: None };

fn wants(service: &str) -> Waiting {
    let fetch =
        Fetch { campaign: CampaignId(1), key: "k".into(), delivery: DeliveryId([0; 16]), wanted: Vec::new(), lease: Timestamp::MAX };
    Waiting::Fetch(Fetching { user: "u".into(), fetch: Box::new(fetch), service: service.into() })
}

/// Destinations of a worker that called `other` a moment ago, with all slots of `busy` taken after some were held for `hold`, and its
/// queue full.
fn busy(hold: Duration, turn: Duration) -> Destinations {
    let (sender, _receiver) = mpsc::unbounded_channel();
    let destinations = Destinations::new(vec![sender], 1024, true);
    destinations.shared(Some(Share { workers: 1, taken_until: Timestamp::MIN }), T0);
    (0..200).for_each(|_| destinations.turned(turn));
    assert!(matches!(destinations.offer(0, wants("other"), LIMITS, T0), Offered::Start(..)));
    for _ in 0..64 {
        let Offered::Start(_, slot) = destinations.offer(0, wants("busy"), LIMITS, T0) else { panic!("no slot") };
        destinations.released("busy", slot, hold, Health::Answered, T0);
    }
    for _ in 0..64 {
        assert!(matches!(destinations.offer(0, wants("busy"), LIMITS, T0), Offered::Start(..)));
    }
    for _ in 0..QUEUE_LIMIT {
        assert!(matches!(destinations.offer(0, wants("busy"), LIMITS, T0), Offered::Queued));
    }
    destinations
}

#[test]
fn what_answers_as_fast_as_the_worker_turns_is_waited_for_and_not_parked() {
    let check = |hold: Duration, turn: Duration, silence: Duration, parks: bool| {
        let destinations = busy(hold, turn);
        let offered = destinations.offer(0, wants("busy"), LIMITS, T0.after(silence));
        let parked = match offered {
            Offered::Park(..) => true,
            Offered::Later(_) => false,
            Offered::Start(..) | Offered::Queued => panic!("there was room"),
        };
        assert_eq!(parked, parks, "held for {hold:?}, turns of {turn:?}, silent for {silence:?}");
    };
    // 13,000 a second, and a moment without an answer.
    check(5 * MS, 5 * MS, Duration::ZERO, false);
    check(5 * MS, 5 * MS, 90 * MS, false);
    check(5 * MS, 5 * MS, 110 * MS, true);
    // 2,000 a second: the others go on while it is busy, unless the worker itself is no faster.
    check(32 * MS, 5 * MS, Duration::ZERO, true);
    check(32 * MS, 20 * MS, Duration::ZERO, false);
    check(300 * MS, 2_000 * MS, Duration::ZERO, true);
}

#[test]
fn who_stops_keeps_nobody_waiting() {
    let (sender, mut mail) = mpsc::unbounded_channel();
    let destinations = Destinations::new(vec![sender], 1024, true);
    destinations.shared(Some(Share { workers: 1, taken_until: Timestamp::MIN }), T0);
    let one_slot = Limits { slots: 1, ..LIMITS };
    let Offered::Start(_, slot) = destinations.offer(0, wants("d"), one_slot, T0) else { panic!("a slot is free") };
    assert!(matches!(destinations.offer(0, wants("d"), one_slot, T0), Offered::Queued));
    assert!(mail.try_recv().is_err(), "it waits");
    destinations.close(T0);
    let parked = |mail: Mail| matches!(mail, Mail::Park(_, Parking::Busy(T0)));
    assert!(parked(mail.try_recv().expect("who waited is parked")));
    assert!(matches!(destinations.offer(0, wants("d"), one_slot, T0), Offered::Queued));
    assert!(parked(mail.try_recv().expect("and so is who comes later")));
    destinations.released("d", slot, MS, Health::Answered, T0);
    assert!(mail.try_recv().is_err(), "nobody is left who waits");
    assert!(matches!(destinations.offer(0, wants("d"), one_slot, T0), Offered::Start(..)), "what is free is used");
}

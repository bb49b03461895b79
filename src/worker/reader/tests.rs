//! What a full lane keeps back is not lost, whatever the group does meanwhile.

use futures_util::FutureExt;

use super::*;
use crate::engine::id::UserId;
use crate::simulator::ports::{MemoryLog, SharedFaults, VirtualClock};
use crate::simulator::worker::policy;
use crate::telemetry::metrics::{CampaignLabel, Metrics};
use crate::worker::commits::LaneStatus;
use crate::worker::ports::{Identity, Line};

/// Lanes that are full until they are told otherwise.
#[derive(Default)]
struct Lanes {
    take: bool,
    taken: Vec<UserId>,
}

impl Intake for Lanes {
    fn offer(&mut self, _: usize, work: Work) -> Result<(), Box<Work>> {
        if !self.take {
            return Err(Box::new(work));
        }
        self.taken.push(work.user.clone());
        if let Some(origin) = work.origin {
            origin.ticket.finish();
        }
        Ok(())
    }
}

#[test]
fn a_partition_that_comes_while_a_lane_is_full_rests_like_the_others() {
    const USERS: usize = 6;
    let clock = VirtualClock::new(Timestamp(1_795_000_000_000));
    let log = MemoryLog::new(2, Arc::new(clock.clone()), SharedFaults::default());
    let store_clock = Arc::new(StoreClock::new(Arc::new(clock.clone())));
    let shared = Shared {
        append: Arc::new(log.clone()),
        settings: Arc::new(Settings::of_one_lane()),
        follower: Arc::new(Follower::new(policy())),
        clock: store_clock.clone(),
        positions: Arc::default(),
    };
    let counters = ReaderCounters::new(&Metrics::new(CampaignLabel::Auto).unwrap());
    let mut reader = Reader::new(Box::new(log.source("campanile", &["events"])), shared, counters);
    let identity = Box::new(|| Ok(Identity { id: "s".into(), sequence: 0 }));
    let mut commits = Commits::new(vec![Arc::new(LaneStatus::default())], store_clock, identity, false).unwrap();
    let other = log.source("campanile", &["events"]);
    for user in 0..USERS {
        let value = format!(r#"{{"type":"identify","userId":"u{user}","messageId":"m{user}","traits":{{"a":1}}}}"#);
        // Without a key each partition gets some.
        let line = Line { topic: "events".into(), key: None, value: value.into_bytes() };
        log.append(&[line]).now_or_never().unwrap().unwrap();
    }
    let mut lanes = Lanes::default();
    let mut look = |lanes: &mut Lanes| {
        clock.advance(Duration::from_millis(400));
        reader.look(Duration::ZERO, lanes, &mut commits).unwrap()
    };
    (0..10).for_each(|_| _ = look(&mut lanes));
    assert_eq!(look(&mut lanes), Looked::Stalled);
    // Its partition is this reader's now.
    drop(other);
    (0..10).for_each(|_| _ = look(&mut lanes));

    lanes.take = true;
    (0..10).for_each(|_| _ = look(&mut lanes));
    lanes.taken.sort();
    let all: Vec<UserId> = (0..USERS).map(|user| format!("u{user}").into()).collect();
    assert_eq!(lanes.taken, all, "each once");
}

//! Due users on their way to the lanes. Where very many are due at one moment they stay in the store until the lanes have room: a queue of
//! them would grow by every user that the store shows again, and whoever waits in it too long is taken by another worker as well.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::engine::id::UserId;
use crate::engine::time::Timestamp;

/// A due user, and up to when the events are read.
pub struct Wake {
    pub user: UserId,
    pub read_to: Timestamp,
}

/// How many wait for one lane: some turns of it.
pub const LANE_WAKES: usize = 512;

/// The lanes' queues, as whoever looks for due users sees them.
pub struct Wakes {
    lanes: Vec<mpsc::Sender<Wake>>,
    /// What a look found and a full lane could not take, with its lane.
    waiting: VecDeque<(usize, Wake)>,
}

impl Wakes {
    pub fn new(lanes: Vec<mpsc::Sender<Wake>>) -> Wakes {
        Wakes { lanes, waiting: VecDeque::new() }
    }

    /// Hands over what has room, and says whether that was all: only then more is to be taken.
    pub fn have_room(&mut self) -> bool {
        for (lane, wake) in std::mem::take(&mut self.waiting) {
            self.offer(lane, wake);
        }
        self.waiting.is_empty()
    }

    pub fn offer(&mut self, lane: usize, wake: Wake) {
        // A lane that is gone ends the worker: somebody else takes the user.
        if let Err(mpsc::error::TrySendError::Full(wake)) = self.lanes[lane].try_send(wake) {
            self.waiting.push_back((lane, wake));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_more_is_taken_while_a_lane_is_full() {
        let (full, mut taken) = mpsc::channel(1);
        let (free, _others) = mpsc::channel(8);
        let mut wakes = Wakes::new(vec![full, free]);
        let wake = |user: &str| Wake { user: user.into(), read_to: Timestamp(0) };
        assert!(wakes.have_room());
        for (lane, user) in [(0, "u1"), (0, "u2"), (1, "u3"), (0, "u4")] {
            wakes.offer(lane, wake(user));
        }
        let mut seen = Vec::new();
        while !wakes.have_room() {
            seen.push(taken.try_recv().expect("it is full").user);
        }
        seen.extend(std::iter::from_fn(|| taken.try_recv().ok()).map(|wake| wake.user));
        assert_eq!(seen, [UserId::from("u1"), "u2".into(), "u4".into()], "in their order, none lost");
    }
}

//! Idle connections by origin: the youngest is used first, and none stays longer than it may. A task closes what nobody takes; it
//! ends when nothing is left.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use tokio::time::{Instant, sleep_until};

/// A connection idle for longer is closed: load balancers drop theirs after 60 s, some after 20 s, and say nothing.
const MAX_IDLE: Duration = Duration::from_secs(15);
/// A connection is not used for longer, however busy it is: its name is asked for again, and an endpoint that moved is followed.
const LIVES: Duration = Duration::from_secs(300);
/// Idle connections kept to one origin, by each lane: the default of a destination's `max_in_flight`.
const MAX_IDLE_PER_ORIGIN: usize = 64;
/// Idle connections kept in one pool.
const MAX_IDLE_IN_ALL: usize = 1024;

/// A pool; its connections are closed with it.
pub struct Pool<T> {
    shelves: Arc<Mutex<Shelves<T>>>,
}

struct Shelves<T> {
    /// The oldest in front. An empty one stays for the next connection, until it is swept.
    by_origin: HashMap<Bytes, VecDeque<(Instant, T)>>,
    count: usize,
    swept: bool,
}

impl<T> Default for Pool<T> {
    fn default() -> Pool<T> {
        Pool { shelves: Arc::new(Mutex::new(Shelves { by_origin: HashMap::new(), count: 0, swept: false })) }
    }
}

impl<T: Send + 'static> Pool<T> {
    /// The connection to this origin that was used last.
    pub fn take(&self, origin: &[u8]) -> Option<T> {
        // What idled too long is not taken: the sweeper is late on a busy thread.
        lock(&self.shelves).take(origin, Instant::now)
    }

    /// Keeps a connection for the next exchange, or closes it when there are enough or it is too old.
    pub fn keep(&self, origin: &Bytes, connection: T, opened: Instant, now: Instant) {
        let mut shelves = lock(&self.shelves);
        shelves.keep(origin, connection, opened, now);
        if !std::mem::replace(&mut shelves.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(&self.shelves)));
        }
    }
}

impl<T> Shelves<T> {
    fn take(&mut self, origin: &[u8], now: impl FnOnce() -> Instant) -> Option<T> {
        let shelf = self.by_origin.get_mut(origin)?;
        let (since, connection) = shelf.pop_back()?;
        self.count -= 1;
        // The youngest: when it is too old, all are.
        (now() < since + MAX_IDLE).then_some(connection)
    }

    fn keep(&mut self, origin: &Bytes, connection: T, opened: Instant, now: Instant) {
        if self.count >= MAX_IDLE_IN_ALL || now >= opened + LIVES {
            return;
        }
        let shelf = self.by_origin.entry_ref(origin).or_default();
        if shelf.len() < MAX_IDLE_PER_ORIGIN {
            shelf.push_back((now, connection));
            self.count += 1;
        }
    }

    /// Closes what is too old; answers when the next will be.
    fn sweep(&mut self, now: Instant) -> Option<Instant> {
        let (mut next, mut closed) = (None, 0);
        self.by_origin.retain(|_, shelf| {
            let old = shelf.iter().take_while(|(since, _)| *since + MAX_IDLE <= now).count();
            shelf.drain(..old);
            closed += old;
            let due = shelf.front().map(|(since, _)| *since + MAX_IDLE);
            next = next.into_iter().chain(due).min();
            due.is_some()
        });
        self.count -= closed;
        next
    }
}

async fn sweep<T>(shelves: Weak<Mutex<Shelves<T>>>) {
    loop {
        let next = {
            let Some(shelves) = shelves.upgrade() else { return };
            let mut shelves = lock(&shelves);
            let next = shelves.sweep(Instant::now());
            shelves.swept = next.is_some();
            next
        };
        match next {
            Some(next) => sleep_until(next).await,
            None => return,
        }
    }
}

fn lock<T>(shelves: &Mutex<Shelves<T>>) -> MutexGuard<'_, Shelves<T>> {
    // Every change is whole.
    shelves.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Bytes = Bytes::from_static(b"https://a.example");
    const B: Bytes = Bytes::from_static(b"https://b.example");

    fn shelves() -> Shelves<usize> {
        Shelves { by_origin: HashMap::new(), count: 0, swept: false }
    }

    #[test]
    fn the_youngest_of_its_own_origin_is_taken() {
        let (mut shelves, now) = (shelves(), Instant::now());
        for (origin, connection) in [(A, 1), (B, 2), (A, 3)] {
            shelves.keep(&origin, connection, now, now);
        }
        for (origin, expect) in [(A, Some(3)), (A, Some(1)), (A, None), (B, Some(2)), (B, None)] {
            assert_eq!(shelves.take(&origin, || now), expect);
        }
        assert_eq!(shelves.count, 0);
    }

    #[test]
    fn what_idled_too_long_is_closed() {
        let (mut shelves, start) = (shelves(), Instant::now());
        let second = start + Duration::from_secs(1);
        shelves.keep(&A, 1, start, start);
        shelves.keep(&A, 2, second, second);
        shelves.keep(&B, 3, start, start);
        assert_eq!(shelves.sweep(start), Some(start + MAX_IDLE));
        assert_eq!(shelves.count, 3);
        assert_eq!(shelves.sweep(start + MAX_IDLE), Some(second + MAX_IDLE));
        assert_eq!(shelves.count, 1);
        assert_eq!(shelves.take(&A, || second + MAX_IDLE), None, "too old, though nobody swept");
        assert_eq!(shelves.sweep(second + MAX_IDLE), None);
        assert!(shelves.by_origin.is_empty() && shelves.count == 0);
    }

    #[test]
    fn a_busy_connection_is_not_kept_for_ever() {
        let (mut shelves, opened) = (shelves(), Instant::now());
        let mut uses = 0;
        for round in 1.. {
            let now = opened + round * Duration::from_secs(10);
            shelves.keep(&A, 1, opened, now);
            if shelves.take(&A, || now).is_none() {
                break;
            }
            uses += 1;
        }
        assert_eq!((uses, shelves.count), (29, 0), "for five minutes");
    }

    #[test]
    fn no_more_are_kept_than_the_bounds() {
        let (mut shelves, now) = (shelves(), Instant::now());
        for connection in 0..2 * MAX_IDLE_PER_ORIGIN {
            shelves.keep(&A, connection, now, now);
        }
        assert_eq!(shelves.count, MAX_IDLE_PER_ORIGIN);
        for connection in 0..2 * MAX_IDLE_IN_ALL {
            shelves.keep(&Bytes::from(connection.to_string()), connection, now, now);
        }
        assert_eq!(shelves.count, MAX_IDLE_IN_ALL);
    }
}

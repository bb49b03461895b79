//! A load that goes on by itself, as fast as it is dealt with, while the test does something to the servers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use campanile::adapter::clock::SystemClock;
use campanile::worker::ports::Clock;

use super::kafka::append_on;
use super::load::{Endpoints, Load, Mix};
use super::wait::{happens, until};

/// Events written at once.
const CHUNK: usize = 50;
/// Messages that are kept on their way: enough that whatever happens finds some in flight.
const ON_THEIR_WAY: usize = 150;
/// Between two looks whether there is room.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What the test tells the load, and the load the test.
pub struct Steady<'a> {
    endpoints: &'a Endpoints,
    brokers: &'a str,
    /// Only events whose effect does not depend on when they are written.
    timeless: AtomicBool,
    stopped: AtomicBool,
    written: AtomicUsize,
}

impl<'a> Steady<'a> {
    pub fn new(endpoints: &'a Endpoints, brokers: &'a str) -> Steady<'a> {
        Steady { endpoints, brokers, timeless: AtomicBool::new(false), stopped: AtomicBool::new(false), written: AtomicUsize::new(0) }
    }

    /// Writes until it is stopped, or the test fails.
    pub fn start<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, mut load: Load) -> ScopedJoinHandle<'scope, Load> {
        scope.spawn(move || {
            let append = append_on(self.brokers);
            while !self.stopped.load(Ordering::SeqCst) {
                let room = || load.expected.len() < self.endpoints.count() + ON_THEIR_WAY;
                if happens(LOOK_AGAIN, room) {
                    load.mix = if self.timeless.load(Ordering::SeqCst) { Mix::Timeless } else { Mix::Whole };
                    load.write(&append, CHUNK, SystemClock::new().now());
                    self.written.fetch_add(1, Ordering::SeqCst);
                }
            }
            load
        })
    }

    /// From the next events on. What was written before is on its way by the time this returns.
    pub fn set_timeless(&self, timeless: bool) {
        self.timeless.store(timeless, Ordering::SeqCst);
        self.goes_on(2);
    }

    /// Waits until so many more chunks have been written: the load is dealt with.
    pub fn goes_on(&self, chunks: usize) {
        const WITHIN: Duration = Duration::from_secs(90);
        let goal = self.written.load(Ordering::SeqCst) + chunks;
        until("deliveries are under way", WITHIN, || self.written.load(Ordering::SeqCst) >= goal);
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }
}

/// The load ends with the test that started it, however that ends.
pub struct Stopped<'a>(pub &'a Steady<'a>);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

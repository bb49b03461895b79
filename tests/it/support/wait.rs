//! Waiting for what can be observed, never for a time: every wait has a deadline and says what it waited for.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Looks until `look` answers something.
pub fn eventually<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    let happened = happens(within, || {
        found = look();
        found.is_some()
    });
    assert!(happened, "{what}: not within {within:?}");
    found.expect("it happened")
}

/// Looks until `look` says yes.
pub fn until(what: &str, within: Duration, look: impl FnMut() -> bool) {
    assert!(happens(within, look), "{what}: not within {within:?}");
}

/// Looks until `look` says yes, or the time is over.
pub fn happens(within: Duration, mut look: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + within;
    while !look() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(LOOK_AGAIN);
    }
    true
}

/// Held by a test that loads the whole machine, so that two of them do not starve each other.
pub fn heavy() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The runtime on which endpoints answer while a test blocks.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime"))
}

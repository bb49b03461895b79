//! The outcome lines of all workers as they are written: read from the end of the topic, of all partitions and in no group that keeps a
//! place, on a thread that lives as long as somebody listens. Whoever listens too slowly loses lines and is told how many.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::worker::ports::{OpenSource, Source, SourceError};

/// Lines kept for the slowest listener: under a tenth of a second at full load, some 400 KiB.
const KEPT_LINES: usize = 1024;

/// Who may listen at once.
pub const MAX_LISTENERS: usize = 64;

const POLL_WAIT: Duration = Duration::from_millis(100);

/// One reader for all who listen.
pub struct Tail {
    open: OpenSource,
    told: broadcast::Sender<Told>,
    /// Whether the thread lives. Locked while somebody begins to listen, so that it does not end just then.
    reads: Mutex<bool>,
}

/// What a listener is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Line {
        campaign: Arc<str>,
        /// As it was written.
        text: Arc<str>,
    },
    /// So many lines were lost on the way to this listener.
    Dropped(u64),
    /// The topic cannot be read; why.
    Ended(Arc<str>),
}

/// Somebody who listens, until it is dropped or closed.
pub struct Listener(Option<broadcast::Receiver<Told>>);

/// [`MAX_LISTENERS`] listen already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_LISTENERS} listen to the outcomes already")]
pub struct TooMany;

impl Tail {
    pub fn new(open: OpenSource) -> Tail {
        Tail { open, told: broadcast::channel(KEPT_LINES).0, reads: Mutex::new(false) }
    }

    /// Hears what is written from about now on.
    pub fn listen(self: &Arc<Tail>) -> Result<Listener, TooMany> {
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        if self.told.receiver_count() >= MAX_LISTENERS {
            return Err(TooMany);
        }
        let listener = Listener(Some(self.told.subscribe()));
        if !*reads {
            let tail = self.clone();
            *reads = thread::Builder::new().name("tail".into()).spawn(move || tail.read()).is_ok();
        }
        Ok(listener)
    }

    /// Reads as long as anybody listens.
    fn read(&self) {
        if let Err(error) = self.read_on() {
            tracing::warn!(%error, "the tail of the outcomes ends");
            let _ = self.told.send(Told::Ended(error.to_string().into()));
            *self.reads.lock().unwrap_or_else(PoisonError::into_inner) = false;
        }
    }

    fn read_on(&self) -> Result<(), SourceError> {
        let mut source = (self.open)()?;
        loop {
            match self.poll(&mut *source) {
                // The client goes on by itself.
                Ok(()) | Err(SourceError::Unavailable(_)) => {}
                Err(error) => return Err(error),
            }
            let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
            if self.told.receiver_count() == 0 {
                *reads = false;
                return Ok(());
            }
        }
    }

    fn poll(&self, source: &mut dyn Source) -> Result<(), SourceError> {
        let polled = source.poll(POLL_WAIT, &mut |message| {
            if let Some(told) = message.value.and_then(told) {
                let _ = self.told.send(told);
            }
            ControlFlow::Continue(())
        });
        polled.map(drop)
    }
}

impl Listener {
    /// What comes next; `None` after the end.
    pub async fn next(&mut self) -> Option<Told> {
        match self.0.as_mut()?.recv().await {
            Ok(told) => Some(told),
            Err(RecvError::Lagged(lines)) => Some(Told::Dropped(lines)),
            Err(RecvError::Closed) => None,
        }
    }

    /// Hears nothing more.
    pub fn close(&mut self) {
        self.0 = None;
    }
}

fn told(line: &[u8]) -> Option<Told> {
    #[derive(Deserialize)]
    struct Of<'a> {
        campaign: &'a str,
    }
    let text = std::str::from_utf8(line).ok()?;
    let Of { campaign } = serde_json::from_str(text).ok()?;
    Some(Told::Line { campaign: campaign.into(), text: text.into() })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;

    use super::*;
    use crate::engine::time::Timestamp;
    use crate::simulator::ports::{MemoryLog, SharedFaults, Start, VirtualClock};
    use crate::worker::ports::{Append, Line};

    fn write(log: &MemoryLog, number: usize) {
        let value = format!(r#"{{"v":1,"campaign":"a","number":{number}}}"#).into_bytes();
        log.append(&[Line { topic: "outcomes".into(), key: None, value }]).now_or_never().expect("at once").expect("written");
    }

    /// What is heard up to this line.
    fn lines(listener: &mut Listener, until: usize) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            match listener.next().now_or_never() {
                Some(Some(Told::Line { campaign, text })) => {
                    assert_eq!(&*campaign, "a");
                    seen.push(text.to_string());
                    if seen.last().is_some_and(|text| text.contains(&format!("\"number\":{until}}}"))) {
                        return seen;
                    }
                }
                Some(Some(Told::Dropped(lines))) => seen.push(format!("{lines} dropped")),
                Some(other) => panic!("{other:?}"),
                None => thread::yield_now(),
            }
        }
    }

    #[test]
    fn it_reads_from_the_end_for_all_who_listen_and_stops_after_the_last() {
        let log = MemoryLog::new(1, Arc::new(VirtualClock::new(Timestamp(0))), SharedFaults::default());
        write(&log, 0);
        let opened = Arc::new(AtomicUsize::new(0));
        let (of, count) = (log.clone(), opened.clone());
        let tail = Arc::new(Tail::new(Arc::new(move || {
            // Each in a group of its own, as on Kafka: the one before may be leaving still.
            let mut source = of.source_from(&format!("tail {}", count.load(Ordering::SeqCst)), &["outcomes"], Start::Latest);
            // From here on it reads.
            source.poll(Duration::ZERO, &mut |_| ControlFlow::Continue(()))?;
            count.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(source))
        })));
        let begun = |times| {
            while opened.load(Ordering::SeqCst) < times {
                thread::yield_now();
            }
        };
        let mut first = tail.listen().expect("room");
        let mut second = tail.listen().expect("room");
        begun(1);
        write(&log, 1);
        write(&log, 2);
        for listener in [&mut first, &mut second] {
            assert_eq!(lines(listener, 2).len(), 2, "from the end");
        }
        drop((first, second));
        while *tail.reads.lock().expect("whole") {
            thread::yield_now();
        }
        assert_eq!(opened.load(Ordering::SeqCst), 1, "one reader for both");
        let mut third = tail.listen().expect("room");
        begun(2);
        write(&log, 3);
        assert_eq!(lines(&mut third, 3).len(), 1);
    }

    #[test]
    fn who_is_slow_is_told_what_it_lost() {
        let tail = Arc::new(Tail::new(Arc::new(|| Err(SourceError::Fatal("no topic".into())))));
        let mut listener = Listener(Some(tail.told.subscribe()));
        let line = |number: usize| told(format!(r#"{{"campaign":"a","number":{number}}}"#).as_bytes()).expect("a line");
        for number in 0..KEPT_LINES + 5 {
            tail.told.send(line(number)).expect("a listener");
        }
        let seen = lines(&mut listener, KEPT_LINES + 4);
        assert_eq!((seen.len(), &*seen[0]), (KEPT_LINES + 1, "5 dropped"));
    }

    #[test]
    fn a_topic_that_cannot_be_read_ends_it_and_no_more_than_may_listen() {
        let tail = Arc::new(Tail::new(Arc::new(|| Err(SourceError::Fatal("no topic".into())))));
        let mut listener = tail.listen().expect("room");
        let told = loop {
            match listener.next().now_or_never() {
                Some(told) => break told,
                None => thread::yield_now(),
            }
        };
        assert_eq!(told, Some(Told::Ended("no topic".into())));
        let more: Vec<_> = (1..MAX_LISTENERS).map(|_| tail.listen().expect("room")).collect();
        assert_eq!(tail.listen().err(), Some(TooMany));
        drop(more);
    }
}

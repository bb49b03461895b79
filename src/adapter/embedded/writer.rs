//! The one thread that writes. It takes all calls that wait, applies them in order in one transaction, makes that durable, and
//! only then answers each: group commit, so that many callers share one fsync. What a call means is not its business.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::Database;

use super::tables::{Place, Tables};
use crate::worker::ports::SendFuture;

/// Most calls that share a transaction.
const MAX_GROUP_CALLS: usize = 4_096;
/// A group takes no further call once it carries so many bytes: a transaction holds its pages in memory.
const MAX_GROUP_BYTES: usize = 8 << 20;

/// Why a call was not carried out, or why that is not known. The file is as of the last durable transaction.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the embedded store cannot write: {0}; free or repair its disk, then restart")]
pub struct Failure(String);

/// Handle to the writing thread. Dropping it waits for the calls already made.
pub struct Writer {
    sender: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    counts: Arc<Counts>,
}

/// The durable ends of all partitions; readers wait on it.
#[derive(Default)]
pub struct Tail {
    ends: Mutex<BTreeMap<Place, i64>>,
    grown: Condvar,
}

#[derive(Default)]
struct Counts {
    waiting_bytes: AtomicUsize,
    transactions: AtomicU64,
}

/// A call on its way: applied within a transaction, finished when that is durable or has failed.
trait Job: Send {
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error>;
    fn finish(self: Box<Self>, outcome: &Result<(), Failure>);
    fn bytes(&self) -> usize;
}

struct Call<W, T, R> {
    work: Option<W>,
    value: Option<T>,
    reply: R,
    bytes: usize,
}

impl Writer {
    pub fn start(database: Arc<Database>, tail: Arc<Tail>) -> std::io::Result<Writer> {
        let (sender, receiver) = mpsc::channel();
        let counts = Arc::new(Counts::default());
        let seen = Arc::clone(&counts);
        let thread =
            std::thread::Builder::new().name("embedded-writer".to_owned()).spawn(move || run(&database, &receiver, &tail, &seen))?;
        Ok(Writer { sender: Some(sender), thread: Some(thread), counts })
    }

    /// Bytes of calls not answered yet.
    pub fn waiting_bytes(&self) -> usize {
        self.counts.waiting_bytes.load(Ordering::Relaxed)
    }

    /// Durable transactions since the start.
    pub fn transactions(&self) -> u64 {
        self.counts.transactions.load(Ordering::Relaxed)
    }

    /// Hands `work` over before it returns; the future completes when its transaction is durable. `work` must leave the
    /// tables alone when it refuses: the others in its group are committed with it.
    pub fn call<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error> + Send + 'static,
    ) -> SendFuture<'static, Result<T, Failure>> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // A receiver that is gone was not interested.
        self.submit(bytes, work, move |outcome| drop(sender.send(outcome)));
        Box::pin(async move { receiver.await.unwrap_or_else(|_| Err(ended())) })
    }

    /// The same for a thread that may wait.
    pub fn call_and_wait<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.submit(0, work, move |outcome| drop(sender.send(outcome)));
        receiver.recv().unwrap_or_else(|_| Err(ended()))
    }

    fn submit<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error> + Send + 'static,
        reply: impl FnOnce(Result<T, Failure>) + Send + 'static,
    ) {
        let Some(sender) = &self.sender else { return };
        self.counts.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        // If the thread is gone the call is dropped, and with it its reply: the caller sees that.
        drop(sender.send(Box::new(Call { work: Some(work), value: None, reply, bytes })));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was already told to whoever waited for it.
            drop(thread.join());
        }
    }
}

impl<W, T, R> Job for Call<W, T, R>
where
    W: FnOnce(&mut Tables<'_>) -> Result<T, redb::Error> + Send,
    T: Send,
    R: FnOnce(Result<T, Failure>) + Send,
{
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        if let Some(work) = self.work.take() {
            self.value = Some(work(tables)?);
        }
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: &Result<(), Failure>) {
        let Call { value, reply, .. } = *self;
        reply(outcome.clone().and_then(|()| value.ok_or_else(ended)));
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Tail {
    /// The end of a partition: the offset that its next record gets.
    pub fn end(&self, place: Place) -> i64 {
        self.lock().get(&place).copied().unwrap_or(0)
    }

    /// Waits until `ready` says yes of the ends, at most `wait`; answers what it said last.
    pub fn wait(&self, wait: Duration, mut ready: impl FnMut(&BTreeMap<Place, i64>) -> bool) -> bool {
        let (ends, _) = self.grown.wait_timeout_while(self.lock(), wait, |ends| !ready(ends)).unwrap_or_else(PoisonError::into_inner);
        ready(&ends)
    }

    pub fn publish(&self, ends: BTreeMap<Place, i64>) {
        self.lock().extend(ends);
        self.grown.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Place, i64>> {
        // The map is whole between any two statements that hold the lock.
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(database: &Database, receiver: &mpsc::Receiver<Box<dyn Job>>, tail: &Tail, counts: &Counts) {
    while let Ok(first) = receiver.recv() {
        let mut bytes = first.bytes();
        let mut group = vec![first];
        while group.len() < MAX_GROUP_CALLS && bytes < MAX_GROUP_BYTES {
            let Ok(next) = receiver.try_recv() else { break };
            bytes += next.bytes();
            group.push(next);
        }
        let outcome = match apply(database, &mut group) {
            Ok(ends) => {
                counts.transactions.fetch_add(1, Ordering::Relaxed);
                if !ends.is_empty() {
                    tail.publish(ends);
                }
                Ok(())
            }
            Err(error) => Err(Failure(error.to_string())),
        };
        counts.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        for call in group {
            call.finish(&outcome);
        }
    }
}

/// One transaction for all of them: durable as a whole, or nothing of it.
fn apply(database: &Database, group: &mut [Box<dyn Job>]) -> Result<BTreeMap<Place, i64>, redb::Error> {
    let transaction = database.begin_write()?;
    let mut tables = Tables::open(&transaction)?;
    for call in group {
        call.apply(&mut tables)?;
    }
    let ends = std::mem::take(&mut tables.ends);
    drop(tables);
    transaction.commit()?;
    Ok(ends)
}

fn ended() -> Failure {
    Failure("its writing thread has ended".to_owned())
}

//! The embedded store: log and state in one redb file, for one worker without servers. Adapts bytes, offsets and tokens; what they
//! mean it never asks.
//!
//! - **Durable**: an answer is given after fsync. One thread writes ([`writer`]) and commits all waiting calls together.
//! - **Crash-only**: there is no close; the file is whole at every instant, whatever kills the process. After a kill the next
//!   open verifies the file, which takes about two seconds per gigabyte.
//! - **One process**: redb locks the file.
//! - **Does not grow without end**: see [`retention`]. Freed room is used again, the file itself does not shrink.
//!
//! Its groups, in the sense of the Redis adapter, are one.

mod archive;
mod bounded;
mod file;
mod log;
mod retention;
mod source;
mod state;
mod tables;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};

use redb::Database;

pub use file::OpenError;

use crate::worker::ports::{Append, Archive, Clock, Source, SourceError, Store};
use bounded::Budgets;
use retention::Retention;
use writer::{Tail, Writer};

/// Partitions of a topic made by default. A worker has a lane per core and reads all partitions on one thread, so the number only
/// has to be more than one for nothing to depend on a total order.
pub const DEFAULT_PARTITIONS: u32 = 4;

/// How the store is opened.
#[derive(Clone, Debug)]
pub struct EmbeddedSettings {
    /// `None` = in memory, gone with the process.
    pub path: Option<PathBuf>,
    /// Partitions of a topic that is made from now on, at least one; a topic keeps the number it was made with, because
    /// another would move keys between partitions.
    pub partitions: u32,
}

impl Default for EmbeddedSettings {
    fn default() -> EmbeddedSettings {
        EmbeddedSettings { path: None, partitions: DEFAULT_PARTITIONS }
    }
}

/// Where a group begins that has committed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
}

/// Log and state. Cheap to clone; the file is released when the last of its clones, stores, sessions, sources and logs is dropped.
#[derive(Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
}

/// What every handle holds. The writer comes last: dropping it waits for the calls already made, and then the file is released.
struct Shared {
    database: Arc<Database>,
    tail: Arc<Tail>,
    clock: Arc<dyn Clock>,
    partitions: u32,
    retention: Retention,
    /// Group and topic of every living source.
    members: Mutex<BTreeSet<(String, String)>>,
    /// Spreads lines without a key.
    rotation: AtomicU32,
    budgets: Budgets,
    writer: Writer,
}

impl Embedded {
    /// Opens the file, or makes it. `clock` stamps the records of the log and is the store's time.
    pub fn open(settings: &EmbeddedSettings, clock: Arc<dyn Clock>) -> Result<Embedded, OpenError> {
        let database = match &settings.path {
            Some(path) => file::open(path)?,
            None => file::in_memory()?,
        };
        Embedded::start(database, settings.partitions, Retention::default(), clock)
    }

    /// The state, by user.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(state::EmbeddedStore::new(Arc::clone(&self.shared)))
    }

    /// Writing to the log. Topics come into being when they are first written or read.
    pub fn append(&self) -> Arc<dyn Append> {
        Arc::new(log::EmbeddedLog::new(Arc::clone(&self.shared)))
    }

    /// What is kept of the log's topics.
    pub fn archive(&self) -> Arc<dyn Archive> {
        Arc::new(archive::EmbeddedArchive::new(Arc::clone(&self.shared)))
    }

    /// Joins `group` as its only member for these topics; all partitions are assigned at the first poll. From now on the log
    /// keeps what the group has not committed. Waits for the disk. Fails when a living source of the group reads one of the topics.
    pub fn source(&self, group: &str, topics: &[&str], start: Start) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(source::EmbeddedSource::join(Arc::clone(&self.shared), group, topics, start, true)?))
    }

    /// The same, but the log keeps nothing for it: what was removed before it was read is passed over.
    pub fn observer(&self, group: &str, topics: &[&str], start: Start) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(source::EmbeddedSource::join(Arc::clone(&self.shared), group, topics, start, false)?))
    }

    /// Durable transactions since it was opened: fewer than calls, when calls come together.
    pub fn transactions(&self) -> u64 {
        self.shared.writer.transactions()
    }

    fn start(database: Database, partitions: u32, retention: Retention, clock: Arc<dyn Clock>) -> Result<Embedded, OpenError> {
        let (database, tail) = (Arc::new(database), Arc::new(Tail::default()));
        tail.publish(file::stored_ends(&database)?);
        let writer = Writer::start(Arc::clone(&database), Arc::clone(&tail)).map_err(OpenError::NoThread)?;
        let (partitions, members, rotation, budgets) = (partitions.max(1), Mutex::default(), AtomicU32::new(0), Budgets::default());
        Ok(Embedded { shared: Arc::new(Shared { database, tail, clock, partitions, retention, members, rotation, budgets, writer }) })
    }
}

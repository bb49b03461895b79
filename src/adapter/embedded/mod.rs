//! The embedded store: log and state in one redb file, for one worker without servers. Adapts bytes, offsets and tokens; what they
//! mean it never asks.
//!
//! - **Durable**: an answer is given after fsync. One thread writes ([`writer`]) and commits all waiting calls together.
//! - **Crash-only**: there is no close; the file is whole at every instant, whatever kills the process. After a kill the next
//!   open verifies the file, which takes about a second per gigabyte.
//! - **One process**: redb locks the file.
//! - **Does not grow without end**: see [`retention`]. Freed room is used again, the file itself does not shrink.
//!
//! Its groups, in the sense of the Redis adapter, are one.

mod log;
mod retention;
mod source;
mod state;
mod tables;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};

use redb::backends::InMemoryBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError};

use crate::worker::ports::{Append, Clock, Source, SourceError, Store};
use retention::Retention;
use tables::Tables;
use writer::{Tail, Writer};

/// Partitions of a topic made by default. A worker has a lane per core and reads all partitions on one thread, so the number only
/// has to be more than one for nothing to depend on a total order.
pub const DEFAULT_PARTITIONS: u32 = 4;

/// Memory that redb may use for pages. Its own default is 1 GiB, the worker's whole bound is 150 MB.
const CACHE_BYTES: usize = 48 << 20;

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

/// Why the file cannot be used, and the way out.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "{path} is in use by another process: stop that one, or set embedded.path to another file (several workers share Kafka and Redis, not a file)"
    )]
    InUse { path: String },
    #[error(
        "{path} has format {found}, this program knows formats up to {known}: run the newer program again, or set embedded.path to another file"
    )]
    NewerFormat { path: String, found: u64, known: u64 },
    #[error("{path} was not written by this program ({why}): set embedded.path to another file")]
    Foreign { path: String, why: String },
    #[error("{path} cannot be opened: {source}; see that its directory exists and may be written, or set embedded.path to another file")]
    Io { path: String, source: std::io::Error },
    #[error("{path} is damaged ({why}): restore it from a copy, or move it away to start anew without what it held")]
    Damaged { path: String, why: String },
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
    writer: Writer,
}

impl Embedded {
    /// Opens the file, or makes it. `clock` stamps the records of the log and is the store's time.
    pub fn open(settings: &EmbeddedSettings, clock: Arc<dyn Clock>) -> Result<Embedded, OpenError> {
        let path = settings.path.as_ref().map_or_else(|| "memory".to_owned(), |path| path.display().to_string());
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        let opened = match &settings.path {
            Some(path) => builder.create(path),
            None => builder.create_with_backend(InMemoryBackend::new()),
        };
        let database = opened.map_err(|error| open_error(&path, error))?;
        Embedded::start(database, &path, settings.partitions, Retention::default(), clock)
    }

    /// The state, by user.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(state::EmbeddedStore::new(Arc::clone(&self.shared)))
    }

    /// Writing to the log. Topics come into being when they are first written or read.
    pub fn append(&self) -> Arc<dyn Append> {
        Arc::new(log::EmbeddedLog::new(Arc::clone(&self.shared)))
    }

    /// Joins `group` as its only member for these topics; all partitions are assigned at the first poll. From now on the log
    /// keeps what the group has not committed. Fails when a living source of the group reads one of the topics.
    pub fn source(&self, group: &str, topics: &[&str], start: Start) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(source::EmbeddedSource::join(Arc::clone(&self.shared), group, topics, start)?))
    }

    /// Durable transactions since it was opened: fewer than calls, when calls come together.
    pub fn transactions(&self) -> u64 {
        self.shared.writer.transactions()
    }

    fn start(database: Database, path: &str, partitions: u32, retention: Retention, clock: Arc<dyn Clock>) -> Result<Embedded, OpenError> {
        check_format(&database, path)?;
        let damaged = |error: redb::Error| OpenError::Damaged { path: path.to_owned(), why: error.to_string() };
        let id = new_id().map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        prepare(&database, &id).map_err(damaged)?;
        let (database, tail) = (Arc::new(database), Arc::new(Tail::default()));
        tail.publish(stored_ends(&database).map_err(damaged)?);
        let writer =
            Writer::start(Arc::clone(&database), Arc::clone(&tail)).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        let (partitions, members, rotation) = (partitions.max(1), Mutex::default(), AtomicU32::new(0));
        Ok(Embedded { shared: Arc::new(Shared { database, tail, clock, partitions, retention, members, rotation, writer }) })
    }
}

/// Refuses a file that another program, or a newer one, has written.
fn check_format(database: &Database, path: &str) -> Result<(), OpenError> {
    let foreign = |why: String| OpenError::Foreign { path: path.to_owned(), why };
    let format = || -> Result<Option<u64>, redb::Error> {
        let transaction = database.begin_read()?;
        if transaction.list_tables()?.next().is_none() {
            return Ok(None);
        }
        Ok(Some(tables::number(&transaction.open_table(tables::META)?, tables::META_FORMAT)?))
    };
    match format().map_err(|error| foreign(error.to_string()))? {
        None | Some(tables::FORMAT) => Ok(()),
        Some(0) => Err(foreign("it has no format number".to_owned())),
        Some(found) => Err(OpenError::NewerFormat { path: path.to_owned(), found, known: tables::FORMAT }),
    }
}

/// Makes what a new file needs, `id` among it, and forgets the ledgers of sessions that ended with their process.
fn prepare(database: &Database, id: &str) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut tables = Tables::open(&transaction)?;
        tables.meta.insert(tables::META_FORMAT, tables::FORMAT)?;
        if tables.blobs.get(tables::BLOB_ID)?.is_none() {
            tables.blobs.insert(tables::BLOB_ID, id.as_bytes())?;
        }
        tables.ledgers.retain(|_, _| false)?;
    }
    Ok(transaction.commit()?)
}

fn stored_ends(database: &Database) -> Result<BTreeMap<tables::Place, i64>, redb::Error> {
    let partitions = database.begin_read()?.open_table(tables::PARTITIONS)?;
    let ends = partitions.iter()?.map(|row| row.map(|(place, ends)| (place.value(), ends.value().0)));
    Ok(ends.collect::<Result<_, _>>()?)
}

/// 128 random bits in hexadecimal.
fn new_id() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

fn open_error(path: &str, error: DatabaseError) -> OpenError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path },
        // redb says so of a file that does not begin as one of its own.
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() == std::io::ErrorKind::InvalidData => {
            OpenError::Foreign { path, why: source.to_string() }
        }
        DatabaseError::Storage(StorageError::Io(source)) => OpenError::Io { path, source },
        other => OpenError::Damaged { path, why: other.to_string() },
    }
}

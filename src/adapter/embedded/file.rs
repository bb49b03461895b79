//! Opening the file: whose it is, of which format, and made so that a kill while it is made leaves no half of it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use redb::backends::InMemoryBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError};

use super::tables::{self, Place, Tables};

/// Memory that redb may use for pages. Its own default is 1 GiB, the worker's whole bound is 150 MB.
const CACHE_BYTES: usize = 48 << 20;

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
    Io { path: String, source: io::Error },
    #[error("the embedded store cannot start its writing thread: {0}; raise the limit on threads")]
    NoThread(io::Error),
    #[error("{path} is damaged ({why}): restore it from a copy, or move it away to start anew without what it held")]
    Damaged { path: String, why: String },
}

/// Opens the file, makes it when there is none, and readies it for a new process.
pub fn open(path: &Path) -> Result<Database, OpenError> {
    let name = path.display().to_string();
    let io_error = |source| OpenError::Io { path: name.clone(), source };
    if !path.try_exists().map_err(io_error)? {
        create(path, &name)?;
    }
    let database = builder().open(path).map_err(|error| open_error(&name, error))?;
    ready(database, &name)
}

pub fn in_memory() -> Result<Database, OpenError> {
    let database = builder().create_with_backend(InMemoryBackend::new());
    ready(database.map_err(|error| open_error("memory", error))?, "memory")
}

/// Refuses a database that another program, or a newer one, has written; makes what a new one needs, and forgets the ledgers of
/// sessions that ended with their process.
pub fn ready(database: Database, name: &str) -> Result<Database, OpenError> {
    check_format(&database, name)?;
    let id = new_id().map_err(|source| OpenError::Io { path: name.to_owned(), source })?;
    prepare(&database, &id).map_err(|error| damaged(name, &error))?;
    Ok(database)
}

/// The next offset of every partition.
pub fn stored_ends(database: &Database) -> Result<BTreeMap<Place, i64>, OpenError> {
    let read = || -> Result<BTreeMap<Place, i64>, redb::Error> {
        let partitions = database.begin_read()?.open_table(tables::PARTITIONS)?;
        let ends = partitions.iter()?.map(|row| row.map(|(place, row)| (place.value(), row.value().0)));
        Ok(ends.collect::<Result<_, _>>()?)
    };
    read().map_err(|error| damaged("the embedded store", &error))
}

/// Makes the file under another name and gives it its own when it is whole: redb writes its first page last, and half a file would
/// never open again. Whoever is faster wins; a kill leaves a file `<name>.<random>.new` that nobody needs.
fn create(path: &Path, name: &str) -> Result<(), OpenError> {
    let io_error = |source| OpenError::Io { path: name.to_owned(), source };
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", new_id().map_err(io_error)?));
    let draft = PathBuf::from(draft);
    let database = builder().create(&draft).map_err(|error| open_error(name, error))?;
    drop(ready(database, name)?);
    publish(&draft, path).map_err(io_error)
}

/// Moves the draft to its place unless something is there, durably.
fn publish(draft: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(draft, path) {
        Ok(()) => fs::remove_file(draft)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return fs::remove_file(draft),
        // A file system without links.
        Err(_) => fs::rename(draft, path)?,
    }
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    OpenOptions::new().read(true).open(directory)?.sync_all()
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn check_format(database: &Database, name: &str) -> Result<(), OpenError> {
    let foreign = |why: String| OpenError::Foreign { path: name.to_owned(), why };
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
        Some(found) => Err(OpenError::NewerFormat { path: name.to_owned(), found, known: tables::FORMAT }),
    }
}

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

/// 128 random bits in hexadecimal.
fn new_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

fn damaged(name: &str, error: &redb::Error) -> OpenError {
    OpenError::Damaged { path: name.to_owned(), why: error.to_string() }
}

fn open_error(name: &str, error: DatabaseError) -> OpenError {
    let path = name.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path },
        // redb says so of a file that does not begin as one of its own.
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() == io::ErrorKind::InvalidData => {
            OpenError::Foreign { path, why: source.to_string() }
        }
        DatabaseError::Storage(StorageError::Io(source)) => OpenError::Io { path, source },
        other => OpenError::Damaged { path, why: other.to_string() },
    }
}

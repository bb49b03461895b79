//! What stands in the file: every table, its key and its row. Rows are fixed here and nowhere else; it decides nothing.

use std::collections::BTreeMap;

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::engine::time::Timestamp;
use crate::worker::ports::Token;

/// The format of the file as a whole. Raised when a table or a row changes its meaning; a file with a higher one is refused.
pub const FORMAT: u64 = 1;

pub const META_FORMAT: &str = "format";
pub const META_SEQUENCE: &str = "sequence";
pub const META_INCARNATION: &str = "incarnation";
pub const META_REVISION: &str = "documents";

/// Single numbers, by the `META_` names.
pub const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// The store's id: one row under [`BLOB_ID`]; all documents: one row under [`BLOB_DOCUMENTS`].
pub const BLOBS: TableDefinition<&str, &[u8]> = TableDefinition::new("blobs");
pub const BLOB_ID: &str = "id";
pub const BLOB_DOCUMENTS: &str = "documents";

/// User -> token (16 bytes), then the record.
pub const RECORDS: TableDefinition<&str, &[u8]> = TableDefinition::new("records");
/// User -> profile. Guarded by the record's token.
pub const PROFILES: TableDefinition<&str, &[u8]> = TableDefinition::new("profiles");
/// User -> when the record next wants a look (ms).
pub const WAKES: TableDefinition<&str, i64> = TableDefinition::new("wakes");
/// The same by time, the index that `take_due` walks.
pub const DUE: TableDefinition<(i64, &str), ()> = TableDefinition::new("due");
/// Bounded set and user: the user is in it.
pub const MEMBERS: TableDefinition<(&str, &str), ()> = TableDefinition::new("members");
/// Bounded set -> how many are in it, and until when it is at least kept (ms).
pub const SETS: TableDefinition<&str, (u64, i64)> = TableDefinition::new("sets");
/// Incarnation -> the last operation it applied. Emptied when the file is opened: the sessions in it ended with their process.
pub const LEDGERS: TableDefinition<u64, u64> = TableDefinition::new("ledgers");
/// Topic and partition -> how far it was read (broker time, ms).
pub const POSITIONS: TableDefinition<(&str, i32), i64> = TableDefinition::new("positions");

/// Topic -> its number and how many partitions it was made with.
pub const TOPICS: TableDefinition<&str, (u32, u32)> = TableDefinition::new("topics");
/// Topic number and partition -> next offset, first offset kept, bytes kept.
pub const PARTITIONS: TableDefinition<Place, (i64, i64, u64)> = TableDefinition::new("partitions");
/// Topic number, partition, offset -> one record, see [`encode_line`].
pub const LOG: TableDefinition<(u32, i32, i64), &[u8]> = TableDefinition::new("log");
/// Topic number and group: the group reads the topic.
pub const READERS: TableDefinition<(u32, &str), ()> = TableDefinition::new("readers");
/// Group, topic number, partition -> the next offset to read, and the note.
pub const OFFSETS: TableDefinition<(&str, u32, i32), (i64, &str)> = TableDefinition::new("offsets");

/// Topic number and partition.
pub type Place = (u32, i32);

/// All tables of one write transaction, and what it appended.
pub struct Tables<'t> {
    pub meta: Table<'t, &'static str, u64>,
    pub blobs: Table<'t, &'static str, &'static [u8]>,
    pub records: Table<'t, &'static str, &'static [u8]>,
    pub profiles: Table<'t, &'static str, &'static [u8]>,
    pub wakes: Table<'t, &'static str, i64>,
    pub due: Table<'t, (i64, &'static str), ()>,
    pub members: Table<'t, (&'static str, &'static str), ()>,
    pub sets: Table<'t, &'static str, (u64, i64)>,
    pub ledgers: Table<'t, u64, u64>,
    pub positions: Table<'t, (&'static str, i32), i64>,
    pub topics: Table<'t, &'static str, (u32, u32)>,
    pub partitions: Table<'t, Place, (i64, i64, u64)>,
    pub log: Table<'t, (u32, i32, i64), &'static [u8]>,
    pub readers: Table<'t, (u32, &'static str), ()>,
    pub offsets: Table<'t, (&'static str, u32, i32), (i64, &'static str)>,
    /// The new ends of the partitions that this transaction appended to or made, for the readers once it is durable.
    pub ends: BTreeMap<Place, i64>,
}

impl<'t> Tables<'t> {
    pub fn open(transaction: &'t WriteTransaction) -> Result<Tables<'t>, redb::Error> {
        Ok(Tables {
            meta: transaction.open_table(META)?,
            blobs: transaction.open_table(BLOBS)?,
            records: transaction.open_table(RECORDS)?,
            profiles: transaction.open_table(PROFILES)?,
            wakes: transaction.open_table(WAKES)?,
            due: transaction.open_table(DUE)?,
            members: transaction.open_table(MEMBERS)?,
            sets: transaction.open_table(SETS)?,
            ledgers: transaction.open_table(LEDGERS)?,
            positions: transaction.open_table(POSITIONS)?,
            topics: transaction.open_table(TOPICS)?,
            partitions: transaction.open_table(PARTITIONS)?,
            log: transaction.open_table(LOG)?,
            readers: transaction.open_table(READERS)?,
            offsets: transaction.open_table(OFFSETS)?,
            ends: BTreeMap::new(),
        })
    }
}

/// A number of [`META`]; 0 when it was never written.
pub fn number(meta: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64, redb::Error> {
    Ok(meta.get(name)?.map_or(0, |row| row.value()))
}

/// A row of [`RECORDS`].
pub fn encode_record(token: Token, record: &[u8]) -> Vec<u8> {
    [&token.0, record].concat()
}

/// Token and record of a row of [`RECORDS`].
pub fn decode_record(row: &[u8]) -> Result<(Token, &[u8]), redb::Error> {
    let (token, record) = row.split_first_chunk().ok_or_else(|| damaged("a record is shorter than its token"))?;
    Ok((Token(*token), record))
}

/// One record of the log as it is stored.
pub struct StoredLine<'a> {
    pub time: Timestamp,
    pub key: Option<&'a [u8]>,
    pub value: &'a [u8],
}

/// Key length that stands for no key.
const NO_KEY: u32 = u32::MAX;

/// A row of [`LOG`]: time (8 bytes, big-endian), length of the key (4 bytes), key, value.
pub fn encode_line(time: Timestamp, key: Option<&[u8]>, value: &[u8]) -> Vec<u8> {
    let length = key.map_or(NO_KEY, |key| u32::try_from(key.len()).unwrap_or(NO_KEY));
    [&time.0.to_be_bytes(), &length.to_be_bytes()[..], key.unwrap_or_default(), value].concat()
}

pub fn decode_line(row: &[u8]) -> Result<StoredLine<'_>, redb::Error> {
    let line = || {
        let (time, rest) = row.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (key, value) = match u32::from_be_bytes(*length) {
            NO_KEY => (None, rest),
            length => rest.split_at_checked(length as usize).map(|(key, value)| (Some(key), value))?,
        };
        Some(StoredLine { time: Timestamp(i64::from_be_bytes(*time)), key, value })
    };
    line().ok_or_else(|| damaged("a record of the log is shorter than it says"))
}

/// A row that this code did not write.
fn damaged(what: &str) -> redb::Error {
    redb::Error::Corrupted(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back() {
        for (key, value) in [(None, &b""[..]), (Some(&b""[..]), b"v"), (Some(b"key"), b""), (Some(b"key"), b"value")] {
            let row = encode_line(Timestamp(-5), key, value);
            let line = decode_line(&row).unwrap();
            assert_eq!((line.time, line.key, line.value), (Timestamp(-5), key, value));
        }
    }

    #[test]
    fn a_short_row_is_an_error() {
        let row = encode_line(Timestamp(1), Some(b"key"), b"");
        assert!(decode_line(&row[..row.len() - 1]).is_err());
        assert!(decode_line(&[]).is_err());
        assert!(decode_record(&[0; 15]).is_err());
        assert_eq!(decode_record(&encode_record(Token([7; 16]), b"r")).unwrap(), (Token([7; 16]), &b"r"[..]));
    }
}

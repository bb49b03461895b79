//! A record and a profile as bytes: one format byte, four of a checksum, then postcard. Whoever changes what is behind a
//! format byte raises it and keeps reading the old one; the golden files under `tests/golden/` say what each format is.
//!
//! A record is written in the oldest format that can hold it, which an older worker reads too:
//! - 1: without the parts below. Profiles, agendas and what a dead letter keeps have no other.
//! - 2: with [`Resumed`] behind it.
//! - 3: with [`Resumed`] and, if it is one's, the [`Batch`] behind it; a delivery in a batch ([`Phase::Batched`]) is in no other.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Batch, Dead, Pending, Phase, Record, Resumed};
use crate::engine::profile::Profile;
use crate::engine::runs::Agenda;

/// What all is written in but some records.
pub const FORMAT: u8 = 1;
/// Of records that [`Resumed`] is behind.
const RESUMED: u8 = 2;
/// Of records that have to do with batches, and the newest that this version reads.
pub const NEWEST: u8 = 3;

/// Why stored bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("stored in format {0}, this version of campanile reads up to {NEWEST}: upgrade this worker to the version that wrote it")]
    NewerFormat(u8),
    #[error("the stored bytes are damaged")]
    Damaged,
}

pub fn encode(record: &Record) -> Vec<u8> {
    let Record { resumed, batch, pending, .. } = record;
    let batched = |entry: &Pending| matches!(entry.phase, Phase::Batched { .. });
    if batch.is_some() || pending.iter().any(batched) {
        write_as(NEWEST, &(record, resumed, batch))
    } else if !resumed.is_empty() {
        write_as(RESUMED, &(record, resumed))
    } else {
        write(record)
    }
}

pub fn decode(bytes: &[u8]) -> Result<Record, CodecError> {
    match bytes.first() {
        Some(&RESUMED) => {
            let (record, resumed): (Record, Resumed) = read_as(RESUMED, bytes)?;
            Ok(Record { resumed, ..record })
        }
        Some(&NEWEST) => {
            let (record, resumed, batch): (Record, Resumed, Option<Box<Batch>>) = read_as(NEWEST, bytes)?;
            Ok(Record { resumed, batch, ..record })
        }
        _ => read(bytes),
    }
}

/// What a dead letter keeps of its delivery.
pub fn encode_dead(dead: &Dead) -> Vec<u8> {
    write(dead)
}

pub fn decode_dead(bytes: &[u8]) -> Result<Dead, CodecError> {
    read(bytes)
}

pub fn encode_profile(profile: &Profile) -> Vec<u8> {
    write(profile)
}

pub fn decode_profile(bytes: &[u8]) -> Result<Profile, CodecError> {
    read(bytes)
}

/// A campaign's walks, kept beside the records of users.
pub fn encode_agenda(agenda: &Agenda) -> Vec<u8> {
    write(agenda)
}

pub fn decode_agenda(bytes: &[u8]) -> Result<Agenda, CodecError> {
    read(bytes)
}

/// How many bytes a part of a record takes.
pub fn size<T: Serialize>(part: &T) -> usize {
    postcard::experimental::serialized_size(part).unwrap_or(usize::MAX)
}

/// Bytes set aside for a record; one with a request or two is no larger.
const ENCODED_GUESS: usize = 1024;

/// The format byte and the checksum.
const HEAD_BYTES: usize = 5;

pub(in crate::engine) fn write<T: Serialize>(value: &T) -> Vec<u8> {
    write_as(FORMAT, value)
}

fn write_as<T: Serialize>(format: u8, value: &T) -> Vec<u8> {
    let mut head = Vec::with_capacity(ENCODED_GUESS);
    head.extend_from_slice(&[format, 0, 0, 0, 0]);
    #[expect(
        clippy::expect_used,
        reason = "postcard fails on a full buffer or a sequence of unknown length; a Vec grows, all ours know theirs"
    )]
    let mut bytes = postcard::serialize_with_flavor(value, Growing(head)).expect("a record always has an encoding");
    let sum = checksum(&bytes[HEAD_BYTES..]);
    bytes[1..HEAD_BYTES].copy_from_slice(&sum);
    bytes
}

/// Appends to what is there. The crate's own flavor for a `Vec` begins with an empty one, its general one appends bytes singly.
struct Growing(Vec<u8>);

impl Flavor for Growing {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

pub(in crate::engine) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    read_as(FORMAT, bytes)
}

fn read_as<T: DeserializeOwned>(format: u8, bytes: &[u8]) -> Result<T, CodecError> {
    match bytes.split_first() {
        Some((&found, _)) if found == format => {}
        Some((&format, _)) if format > NEWEST => return Err(CodecError::NewerFormat(format)),
        _ => return Err(CodecError::Damaged),
    }
    let (head, body) = bytes.split_at_checked(HEAD_BYTES).ok_or(CodecError::Damaged)?;
    // Before parsing: damaged bytes may well parse, as something else, or nest without end.
    if head[1..] != checksum(body) {
        return Err(CodecError::Damaged);
    }
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        _ => Err(CodecError::Damaged),
    }
}

/// Tells damaged bytes from whole ones; no defence against intent. Eight bytes at a time, for it is paid on every load: the
/// multiplier is the golden ratio's (Knuth, The Art of Computer Programming 3, 6.4).
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let add = |sum: u64, word: [u8; 8]| (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    let (words, rest) = bytes.as_chunks();
    let mut sum = words.iter().fold(bytes.len() as u64, |sum, word| add(sum, *word));
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        sum = add(sum, word);
    }
    let folded = (sum >> 32) ^ sum;
    [folded as u8, (folded >> 8) as u8, (folded >> 16) as u8, (folded >> 24) as u8]
}

#[cfg(test)]
mod tests;

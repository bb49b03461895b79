//! The memory of deliveries: which were counted as sent, which as delivered or failed. It recognises lines that were written twice: a
//! take-over repeats the `sent` line of what it takes over, a claim that is taken anew writes its own, and an attempt whose settling write
//! was lost is made again.

use std::collections::VecDeque;

use hashbrown::HashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Deliveries, and conversions, that are remembered of one campaign.
pub const REMEMBERED: usize = 4096;

/// From so many lines on a table is worth its making.
const TABLE_FROM: usize = 32;

/// One number a delivery: 61 bits of its key and a bit for each line.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    entries: VecDeque<u64>,
    /// How many were forgotten.
    forgotten: u64,
    /// Number of each key's entry, counted from the first ever; only while many are looked for.
    table: Option<HashMap<u64, u64>>,
}

const KEY: u64 = !0 << 3;

/// The lines of a delivery that are counted once.
#[derive(Clone, Copy)]
pub(super) enum Once {
    Sent = 1,
    Delivered = 2,
    Failed = 4,
}

impl Seen {
    /// Says how many lines come now.
    pub fn expect(&mut self, lines: usize) {
        if lines < TABLE_FROM {
            self.table = None;
        } else if self.table.is_none() {
            self.table = Some(self.entries.iter().zip(self.forgotten..).map(|(entry, number)| (entry & KEY, number)).collect());
        }
    }

    /// Whether this line of the delivery is the first of its kind, as far as is remembered.
    pub fn is_first(&mut self, key: u64, line: Once) -> bool {
        let Some(entry) = self.find(key).and_then(|place| self.entries.get_mut(place)) else {
            self.remember((key & KEY) | line as u64);
            return true;
        };
        let first = *entry & line as u64 == 0;
        *entry |= line as u64;
        first
    }

    fn find(&self, key: u64) -> Option<usize> {
        match &self.table {
            Some(table) => table.get(&(key & KEY)).and_then(|number| usize::try_from(number - self.forgotten).ok()),
            // What ends was claimed a moment ago.
            None => self.entries.iter().rposition(|entry| entry & KEY == key & KEY),
        }
    }

    fn remember(&mut self, entry: u64) {
        if self.entries.len() >= REMEMBERED
            && let Some(oldest) = self.entries.pop_front()
        {
            self.forgotten += 1;
            self.table.as_mut().map(|table| table.remove(&(oldest & KEY)));
        }
        self.entries.push_back(entry);
        let number = self.forgotten + self.entries.len() as u64 - 1;
        self.table.as_mut().map(|table| table.insert(entry & KEY, number));
    }
}

impl PartialEq for Seen {
    fn eq(&self, other: &Seen) -> bool {
        self.entries == other.entries
    }
}

// Fixed width: most of a key as a variable-length integer would take ten bytes.
impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.entries.iter().map(|entry| entry.to_le_bytes()))
    }
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seen, D::Error> {
        let entries: Vec<[u8; 8]> = Vec::deserialize(deserializer)?;
        Ok(Seen { entries: entries.into_iter().map(u64::from_le_bytes).collect(), ..Seen::default() })
    }
}

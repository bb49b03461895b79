//! Events in the order of their time, equal ones as they came: what fits is sorted in memory, the rest in runs on disk that are merged.
//! Input that is nearly in order becomes few runs, in order one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

use crate::engine::time::Timestamp;

/// Bytes of events that are sorted at once.
pub const IN_MEMORY: usize = 64 << 20;

/// Of each run so much is read ahead.
const READ_AHEAD: usize = 64 << 10;

/// What an event in memory costs besides its text.
const OVERHEAD: usize = 48;

/// Time and length, before each event of a run.
const HEAD: usize = 12;

/// Collects events.
pub struct Sorter {
    limit: usize,
    events: Vec<(Timestamp, Box<[u8]>)>,
    bytes: usize,
    runs: Option<Runs>,
}

/// The runs on disk: one file without a name.
struct Runs {
    file: BufWriter<File>,
    /// Where each begins and ends.
    places: Vec<(u64, u64)>,
    end: u64,
    /// The last time of the last run: what follows it in order makes it longer.
    last: Timestamp,
}

/// All events in order.
pub struct Sorted {
    file: Option<File>,
    runs: Vec<Run>,
    memory: std::vec::IntoIter<(Timestamp, Box<[u8]>)>,
    /// The next event of each run and, numbered after them all, of the memory.
    next: BinaryHeap<Reverse<(Timestamp, usize)>>,
    waiting: Vec<Option<Box<[u8]>>>,
}

/// A run that is read.
struct Run {
    at: u64,
    end: u64,
    ahead: Vec<u8>,
    used: usize,
}

impl Sorter {
    pub fn new(limit: usize) -> Sorter {
        Sorter { limit, events: Vec::new(), bytes: 0, runs: None }
    }

    pub fn push(&mut self, at: Timestamp, event: &[u8]) -> io::Result<()> {
        self.bytes += event.len() + OVERHEAD;
        self.events.push((at, event.into()));
        if self.bytes > self.limit { self.spill() } else { Ok(()) }
    }

    /// All of them in order.
    pub fn into_sorted(mut self) -> io::Result<Sorted> {
        self.events.sort_by_key(|(at, _)| *at);
        let (file, places) = match self.runs {
            Some(runs) => (Some(runs.file.into_inner().map_err(io::IntoInnerError::into_error)?), runs.places),
            None => (None, Vec::new()),
        };
        let runs: Vec<Run> = places.into_iter().map(|(at, end)| Run { at, end, ahead: Vec::new(), used: 0 }).collect();
        let count = runs.len() + 1;
        let mut sorted =
            Sorted { file, runs, memory: self.events.into_iter(), next: BinaryHeap::new(), waiting: (0..count).map(|_| None).collect() };
        for source in 0..count {
            sorted.fetch(source)?;
        }
        Ok(sorted)
    }

    fn spill(&mut self) -> io::Result<()> {
        self.events.sort_by_key(|(at, _)| *at);
        let runs = match &mut self.runs {
            Some(runs) => runs,
            None => self.runs.insert(Runs { file: BufWriter::new(unnamed()?), places: Vec::new(), end: 0, last: Timestamp::MIN }),
        };
        let first = self.events.first().map_or(Timestamp::MAX, |(at, _)| *at);
        // A run in order after the last one is its continuation. Equal times stay as they came: what is spilled later came later.
        if runs.places.is_empty() || first < runs.last {
            runs.places.push((runs.end, runs.end));
        }
        for (at, event) in self.events.drain(..) {
            runs.file.write_all(&at.0.to_le_bytes())?;
            runs.file.write_all(&u32::try_from(event.len()).unwrap_or(u32::MAX).to_le_bytes())?;
            runs.file.write_all(&event)?;
            runs.end += (HEAD + event.len()) as u64;
            runs.last = at;
        }
        if let Some(place) = runs.places.last_mut() {
            place.1 = runs.end;
        }
        self.bytes = 0;
        Ok(())
    }
}

impl Sorted {
    /// The next event.
    pub fn next(&mut self) -> io::Result<Option<(Timestamp, Vec<u8>)>> {
        let Some(Reverse((at, source))) = self.next.pop() else { return Ok(None) };
        let event = self.waiting[source].take().unwrap_or_default();
        self.fetch(source)?;
        Ok(Some((at, event.into_vec())))
    }

    /// Has the next event of a source wait for its turn.
    fn fetch(&mut self, source: usize) -> io::Result<()> {
        let event = match (self.runs.get_mut(source), &mut self.file) {
            (Some(run), Some(file)) => run.next(file)?,
            _ => self.memory.next(),
        };
        if let Some((at, event)) = event {
            self.waiting[source] = Some(event);
            self.next.push(Reverse((at, source)));
        }
        Ok(())
    }
}

impl Run {
    fn next(&mut self, file: &mut File) -> io::Result<Option<(Timestamp, Box<[u8]>)>> {
        if !self.has(HEAD, file)? {
            return Ok(None);
        }
        let (mut at, mut length) = ([0; 8], [0; 4]);
        at.copy_from_slice(&self.ahead[self.used..self.used + 8]);
        length.copy_from_slice(&self.ahead[self.used + 8..self.used + HEAD]);
        let length = u32::from_le_bytes(length) as usize;
        if !self.has(HEAD + length, file)? {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a sorted run ends within an event"));
        }
        let event = &self.ahead[self.used + HEAD..self.used + HEAD + length];
        self.used += HEAD + length;
        Ok(Some((Timestamp(i64::from_le_bytes(at)), event.into())))
    }

    /// Reads ahead so far, unless the run ends before.
    fn has(&mut self, bytes: usize, file: &mut File) -> io::Result<bool> {
        if self.ahead.len() - self.used < bytes && self.at < self.end {
            self.ahead.drain(..self.used);
            self.used = 0;
            let from = self.ahead.len();
            let wanted = READ_AHEAD.max(bytes - from);
            let wanted = usize::try_from(self.end - self.at).unwrap_or(wanted).min(wanted);
            self.ahead.resize(from + wanted, 0);
            file.seek(SeekFrom::Start(self.at))?;
            file.read_exact(&mut self.ahead[from..])?;
            self.at += wanted as u64;
        }
        Ok(self.ahead.len() - self.used >= bytes)
    }
}

/// A file in the directory for temporary files that is gone when it is closed.
fn unnamed() -> io::Result<File> {
    let mut number: u32 = 0;
    loop {
        let path = std::env::temp_dir().join(format!("campanile-events-{}-{number}", std::process::id()));
        match File::options().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => {
                // Where an open file cannot be removed it stays behind.
                let _ = std::fs::remove_file(&path);
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sorts events of these times, each with its number as its text, and answers the numbers; and how many runs there were.
    fn sorted(times: &[i64], limit: usize) -> (Vec<usize>, usize) {
        let mut sorter = Sorter::new(limit);
        for (number, at) in times.iter().enumerate() {
            sorter.push(Timestamp(*at), number.to_string().as_bytes()).expect("the disk has room");
        }
        let runs = sorter.runs.as_ref().map_or(0, |runs| runs.places.len());
        let mut sorted = sorter.into_sorted().expect("the disk can be read");
        let mut numbers = Vec::new();
        while let Some((at, event)) = sorted.next().expect("the disk can be read") {
            let number: usize = String::from_utf8_lossy(&event).parse().expect("a number");
            assert_eq!(at, Timestamp(times[number]));
            numbers.push(number);
        }
        (numbers, runs)
    }

    #[test]
    fn what_is_in_order_stays_one_run() {
        let (numbers, runs) = sorted(&(0..1000).map(|at| at / 3).collect::<Vec<_>>(), 500);
        assert_eq!((numbers, runs), ((0..1000).collect(), 1));
    }

    proptest! {
        #[test]
        fn any_order_is_sorted_and_equal_times_stay_as_they_came(times in prop::collection::vec(-5i64..20, 0..200), limit in 1usize..4000) {
            let mut expect: Vec<usize> = (0..times.len()).collect();
            expect.sort_by_key(|number| times[*number]);
            prop_assert_eq!(sorted(&times, limit).0, expect);
        }
    }
}

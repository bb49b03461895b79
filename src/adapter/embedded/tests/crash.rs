//! Kill -9, at every single write to the file: what was acknowledged is there, what was not is there whole or not at all.

use std::io;
use std::sync::{Mutex, MutexGuard};

use redb::{Builder, StorageBackend};

use super::*;

/// A disk that stops at a given write. `written` is what a killed process leaves (the system's cache survives it), `synced` what a
/// lost power supply leaves.
#[derive(Clone, Debug)]
struct Disk(Arc<Mutex<Content>>);

#[derive(Debug)]
struct Content {
    written: Vec<u8>,
    synced: Vec<u8>,
    writes_left: usize,
}

impl Disk {
    fn new(image: Vec<u8>, writes_left: usize) -> Disk {
        Disk(Arc::new(Mutex::new(Content { written: image.clone(), synced: image, writes_left })))
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut Content)) -> io::Result<()> {
        let mut content = self.lock();
        content.writes_left = content.writes_left.checked_sub(1).ok_or_else(|| io::Error::other("killed"))?;
        change(&mut content);
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = offset as usize;
        out.copy_from_slice(&self.lock().written[offset..offset + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|content| content.written.resize(len as usize, 0))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(|content| content.synced.clone_from(&content.written))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|content| content.written[offset as usize..][..data.len()].copy_from_slice(data))
    }
}

/// What the process was told before it died.
#[derive(Debug, Default, PartialEq)]
struct Acknowledged {
    lines: usize,
    commits: u64,
    offset: i64,
}

fn start(disk: Disk) -> Result<Embedded, OpenError> {
    let database =
        Builder::new().create_with_backend(disk).map_err(|error| OpenError::Damaged { path: "disk".into(), why: error.to_string() })?;
    Embedded::start(file::ready(database, "disk")?, 1, Retention::default(), clock())
}

/// Appends, commits state and offsets, until it is done (true) or dead.
fn live(embedded: &Embedded, known: &mut Acknowledged) -> bool {
    let Ok(mut session) = block_on(embedded.store().session()) else { return false };
    let Ok(mut source) = embedded.source("g", &["events"], Start::Earliest) else { return false };
    let mut token = None;
    for round in 0..4 {
        if block_on(embedded.append().append(&lines(round * 3..round * 3 + 3))).is_err() {
            return false;
        }
        known.lines += 3;
        let Ok(committed) = block_on(session.commit(&[change("a", token, &round.to_string())])) else { return false };
        token = Some(committed.token);
        known.commits += 1;
        let partition = Partition { topic: "events".into(), number: 0 };
        if source.commit(&[Offset { partition, next: known.offset + 3, note: "note".to_owned() }]).is_err() {
            return false;
        }
        known.offset += 3;
    }
    true
}

/// What is in the file: never less than what was acknowledged, at most one call more, each call whole.
fn check(image: Vec<u8>, known: &Acknowledged, when: &str) {
    let embedded = start(Disk::new(image, usize::MAX)).unwrap_or_else(|error| panic!("{when}: {error}"));
    let mut session = session(&*embedded.store());
    let commits = block_on(session.identity()).unwrap().sequence;
    assert!((known.commits..=known.commits + 1).contains(&commits), "{when}: {commits} commits, {known:?}");
    let record = load(&mut *session, "a").map(|stored| stored.record);
    assert_eq!(record, commits.checked_sub(1).map(|round| round.to_string().into_bytes()), "{when}: record and sequence are of one commit");
    let all = values(&mut *join(&embedded, "all"));
    assert!([known.lines, known.lines + 3].contains(&all.len()), "{when}: {} lines, {known:?}", all.len());
    assert_eq!(all, (0..all.len()).map(|number| number.to_string()).collect::<Vec<_>>(), "{when}");
    let offset = all.len() - values(&mut *join(&embedded, "g")).len();
    assert!([known.offset, known.offset + 3].contains(&(offset as i64)), "{when}: offset {offset}, {known:?}");
}

#[test]
fn a_kill_at_any_write_leaves_the_file_whole() {
    // Making the file is another matter: it has its name only when it is whole.
    let new = Disk::new(Vec::new(), usize::MAX);
    drop(start(new.clone()).unwrap());
    let image = new.lock().written.clone();
    for writes in 0.. {
        let disk = Disk::new(image.clone(), writes);
        let mut known = Acknowledged::default();
        let done = start(disk.clone()).is_ok_and(|embedded| live(&embedded, &mut known));
        let content = Arc::try_unwrap(disk.0).unwrap().into_inner().unwrap();
        check(content.written, &known, &format!("killed at write {writes}"));
        check(content.synced, &known, &format!("without power at write {writes}"));
        if done {
            assert!(writes > 50 && known == Acknowledged { lines: 12, commits: 4, offset: 12 }, "{writes} {known:?}");
            return;
        }
    }
}

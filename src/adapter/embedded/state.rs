//! State by user: sessions that load, compare and set. Reads see the last durable transaction; writes go through the writer.
//! Reading blocks the calling thread for as long as the pages take; they are nearly always in memory.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use redb::{ReadableDatabase, ReadableTable};

use super::tables::{self, Tables, decode_record, encode_record, number};
use super::writer::Failure;
use super::{Shared, bounded};
use crate::engine::id::UserId;
use crate::engine::time::Timestamp;
use crate::worker::draw::Draw;
use crate::worker::ledger::{Ruling, Weighed, judge, next_incarnation, rolled_back, token, weigh};
use crate::worker::ports::{
    Admit, Change, Committed, Cursor, Documents, Future, Identity, Loaded, PSEUDO, Page, Partition, ProfileChange, Put, Sampled, Spend,
    State, StateError, Store, Stored, Token,
};

pub struct EmbeddedStore {
    shared: Arc<Shared>,
}

struct Session {
    shared: Arc<Shared>,
    incarnation: u64,
    /// The last operation handed to the writer.
    operation: u64,
    /// The last one whose reply came.
    told: u64,
}

impl EmbeddedStore {
    pub fn new(shared: Arc<Shared>) -> EmbeddedStore {
        EmbeddedStore { shared }
    }
}

impl Store for EmbeddedStore {
    fn session(&self) -> Future<'_, Result<Box<dyn State>, StateError>> {
        Box::pin(async {
            let now = self.shared.clock.now();
            let incarnation = self.shared.writer.call(0, move |tables| enter(tables, now)).await?;
            let session: Box<dyn State> = Box::new(Session { shared: Arc::clone(&self.shared), incarnation, operation: 0, told: 0 });
            Ok(session)
        })
    }
}

impl State for Session {
    fn load<'a>(&'a mut self, users: &'a [UserId]) -> Future<'a, Result<Loaded, StateError>> {
        Box::pin(async move {
            let transaction = self.shared.database.begin_read().map_err(unreadable)?;
            let records = transaction.open_table(tables::RECORDS).map_err(unreadable)?;
            let profiles = transaction.open_table(tables::PROFILES).map_err(unreadable)?;
            let users = users.iter().map(|user| stored(&records, &profiles, user)).collect::<Result<_, _>>()?;
            Ok(Loaded { now: self.shared.clock.now(), users })
        })
    }

    fn commit<'a>(&'a mut self, changes: &'a [Change]) -> Future<'a, Result<Committed, StateError>> {
        Box::pin(async move {
            // A new number each time: should the caller drop this future, what it leaves behind is told from what comes after.
            self.operation += 1;
            let (incarnation, told, operation) = (self.incarnation, self.told, self.operation);
            let (changes, clock) = (changes.to_vec(), Arc::clone(&self.shared.clock));
            let bytes = changes.iter().map(|change| change.record.as_ref().map_or(0, Vec::len)).sum();
            let work = move |tables: &mut Tables<'_>| apply(tables, clock.now(), incarnation, told, operation, &changes);
            let committed = self.shared.writer.call(bytes, work).await??;
            self.told = operation;
            Ok(committed)
        })
    }

    fn confirm(&mut self) -> Future<'_, Result<(), StateError>> {
        Box::pin(async move {
            let transaction = self.shared.database.begin_read().map_err(unreadable)?;
            let ledgers = transaction.open_table(tables::LEDGERS).map_err(unreadable)?;
            let stored = ledgers.get(self.incarnation).map_err(unreadable)?.map(|row| row.value());
            match judge(stored, self.told, self.operation) {
                Ruling::Go | Ruling::Repeat => Ok(()),
                Ruling::RolledBack => Err(rolled_back(self.incarnation, stored, self.told)),
            }
        })
    }

    fn take_due(&mut self, now: Timestamp, limit: usize, hide: Duration) -> Future<'_, Result<Vec<UserId>, StateError>> {
        Box::pin(async move {
            // Most of the time nothing is due, and that is known without an fsync.
            let transaction = self.shared.database.begin_read().map_err(unreadable)?;
            let due = transaction.open_table(tables::DUE).map_err(unreadable)?;
            if due_until(&due, now, 1)?.is_empty() {
                return Ok(Vec::new());
            }
            drop((due, transaction));
            Ok(self.shared.writer.call(0, move |tables| hide_due(tables, now, limit, hide)).await?)
        })
    }

    fn users<'a>(&'a mut self, cursor: Option<&'a Cursor>, limit: usize) -> Future<'a, Result<Page, StateError>> {
        Box::pin(async move {
            let transaction = self.shared.database.begin_read().map_err(unreadable)?;
            let wakes = transaction.open_table(tables::WAKES).map_err(unreadable)?;
            Ok(page(&wakes, cursor, limit)?)
        })
    }

    fn sample(&mut self, limit: usize, seed: u64) -> Future<'_, Result<Sampled, StateError>> {
        Box::pin(async move {
            let transaction = self.shared.database.begin_read().map_err(unreadable)?;
            let wakes = transaction.open_table(tables::WAKES).map_err(unreadable)?;
            Ok(sample(&wakes, Draw::new(limit, seed))?)
        })
    }

    fn admit<'a>(&'a mut self, asked: &'a [Admit]) -> Future<'a, Result<Vec<bool>, StateError>> {
        Box::pin(async move {
            // Most of the time the answer stands, and that is known without an fsync.
            let now = self.shared.clock.now();
            let transaction = self.shared.database.begin_read().map_err(unreadable)?;
            let members = transaction.open_table(tables::MEMBERS).map_err(unreadable)?;
            let sets = transaction.open_table(tables::SETS).map_err(unreadable)?;
            let known = asked.iter().map(|one| bounded::known(&members, &sets, one, now)).collect::<Result<Option<Vec<_>>, _>>()?;
            drop((members, sets, transaction));
            if let Some(known) = known {
                return Ok(known);
            }
            let asked = asked.to_vec();
            Ok(self.shared.writer.call(0, move |tables| bounded::admit(tables, &asked, now)).await?)
        })
    }

    fn spend<'a>(&'a mut self, wanted: &'a [Spend]) -> Future<'a, Result<Vec<u32>, StateError>> {
        Box::pin(async move { Ok(self.shared.budgets.spend(wanted, self.shared.clock.now())) })
    }

    fn documents(&mut self, known: Option<u64>) -> Future<'_, Result<Option<Documents>, StateError>> {
        Box::pin(async move {
            let transaction = self.shared.database.begin_read().map_err(unreadable)?;
            let meta = transaction.open_table(tables::META).map_err(unreadable)?;
            let revision = number(&meta, tables::META_REVISION)?;
            if known == Some(revision) {
                return Ok(None);
            }
            let blobs = transaction.open_table(tables::BLOBS).map_err(unreadable)?;
            let body = blobs.get(tables::BLOB_DOCUMENTS).map_err(unreadable)?.map_or_else(Vec::new, |row| row.value().to_vec());
            Ok(Some(Documents { revision, body }))
        })
    }

    fn put_documents<'a>(&'a mut self, expected: u64, body: &'a [u8]) -> Future<'a, Result<Put, StateError>> {
        Box::pin(async move {
            let body = body.to_vec();
            Ok(self.shared.writer.call(body.len(), move |tables| put(tables, expected, &body)).await?)
        })
    }

    fn read_positions<'a>(&'a mut self, ours: &'a [(Partition, Timestamp)]) -> Future<'a, Result<Vec<(Partition, Timestamp)>, StateError>> {
        Box::pin(async move {
            let known = self.positions()?;
            if ours.iter().all(|position| known.contains(position)) {
                return Ok(known);
            }
            let ours = ours.to_vec();
            self.shared.writer.call(0, move |tables| publish(tables, &ours)).await?;
            self.positions()
        })
    }

    fn identity(&mut self) -> Future<'_, Result<Identity, StateError>> {
        Box::pin(async move {
            let transaction = self.shared.database.begin_read().map_err(unreadable)?;
            let blobs = transaction.open_table(tables::BLOBS).map_err(unreadable)?;
            let id = blobs.get(tables::BLOB_ID).map_err(unreadable)?;
            let id = id.map_or_else(String::new, |row| String::from_utf8_lossy(row.value()).into_owned());
            let meta = transaction.open_table(tables::META).map_err(unreadable)?;
            Ok(Identity { id, sequence: number(&meta, tables::META_SEQUENCE)? })
        })
    }
}

impl Session {
    fn positions(&self) -> Result<Vec<(Partition, Timestamp)>, StateError> {
        let transaction = self.shared.database.begin_read().map_err(unreadable)?;
        let positions = transaction.open_table(tables::POSITIONS).map_err(unreadable)?;
        let mut known = Vec::new();
        for row in positions.iter().map_err(unreadable)? {
            let (partition, time) = row.map_err(unreadable)?;
            let (topic, number) = partition.value();
            known.push((Partition { topic: topic.into(), number }, Timestamp(time.value())));
        }
        Ok(known)
    }
}

/// A new incarnation, with its ledger at operation 0.
fn enter(tables: &mut Tables<'_>, now: Timestamp) -> Result<u64, redb::Error> {
    let incarnation = next_incarnation(number(&tables.meta, tables::META_INCARNATION)?, now);
    tables.meta.insert(tables::META_INCARNATION, incarnation)?;
    tables.ledgers.insert(incarnation, 0)?;
    Ok(incarnation)
}

/// One operation: judged by the ledger, then each change compared and set.
pub(super) fn apply(
    tables: &mut Tables<'_>,
    now: Timestamp,
    incarnation: u64,
    told: u64,
    operation: u64,
    changes: &[Change],
) -> Result<Result<Committed, StateError>, redb::Error> {
    let ledger = tables.ledgers.get(incarnation)?.map(|row| row.value());
    let ruling = judge(ledger, told, operation);
    if ruling == Ruling::RolledBack {
        return Ok(Err(rolled_back(incarnation, ledger, told)));
    }
    let ours = token(incarnation, operation);
    let mut conflicts = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        let current = stored_token(tables, &change.user)?;
        match weigh(ruling, current, change.expected, change.record.is_none(), ours) {
            Weighed::Write => write(tables, change, ours)?,
            Weighed::Written => {}
            Weighed::Conflict => conflicts.push((index, stored(&tables.records, &tables.profiles, &change.user)?)),
        }
    }
    let mut sequence = number(&tables.meta, tables::META_SEQUENCE)?;
    if ruling == Ruling::Go {
        sequence += 1;
        tables.meta.insert(tables::META_SEQUENCE, sequence)?;
        tables.ledgers.insert(incarnation, operation)?;
    }
    Ok(Ok(Committed { now, sequence, token: ours, conflicts }))
}

fn write(tables: &mut Tables<'_>, change: &Change, ours: Token) -> Result<(), redb::Error> {
    let user = &*change.user;
    let Some(record) = &change.record else {
        tables.records.remove(user)?;
        tables.profiles.remove(user)?;
        return set_wake(tables, user, None);
    };
    tables.records.insert(user, encode_record(ours, record).as_slice())?;
    match &change.profile {
        ProfileChange::Keep => {}
        ProfileChange::Set(profile) => drop(tables.profiles.insert(user, profile.as_slice())?),
        ProfileChange::Remove => drop(tables.profiles.remove(user)?),
    }
    match change.wake {
        Some(wake) => set_wake(tables, user, Some(wake)),
        None => Ok(()),
    }
}

fn set_wake(tables: &mut Tables<'_>, user: &str, wake: Option<Timestamp>) -> Result<(), redb::Error> {
    let before = match wake {
        Some(wake) => tables.wakes.insert(user, wake.0)?.map(|row| row.value()),
        None => tables.wakes.remove(user)?.map(|row| row.value()),
    };
    if let Some(before) = before {
        tables.due.remove((before, user))?;
    }
    if let Some(wake) = wake {
        tables.due.insert((wake.0, user), ())?;
    }
    Ok(())
}

fn hide_due(tables: &mut Tables<'_>, now: Timestamp, limit: usize, hide: Duration) -> Result<Vec<UserId>, redb::Error> {
    let users = due_until(&tables.due, now, limit)?;
    for user in &users {
        set_wake(tables, user, Some(now.after(hide)))?;
    }
    Ok(users)
}

/// The users whose wake is not after `now`, the longest overdue first.
fn due_until(due: &impl ReadableTable<(i64, &'static str), ()>, now: Timestamp, limit: usize) -> Result<Vec<UserId>, redb::Error> {
    let mut users = Vec::new();
    // From the front, because no text is the greatest that could bound the range.
    for row in due.iter()?.take(limit) {
        let (key, ()) = row.map(|(key, value)| (key, value.value()))?;
        let (wake, user) = key.value();
        if wake > now.0 {
            break;
        }
        users.push(UserId::from(user));
    }
    Ok(users)
}

/// The next users by name, after the last one of the page before: a walk that any session goes on with.
fn page(wakes: &impl ReadableTable<&'static str, i64>, cursor: Option<&Cursor>, limit: usize) -> Result<Page, redb::Error> {
    let last = cursor.map_or("", |Cursor(bytes)| std::str::from_utf8(bytes).unwrap_or_default());
    let mut users: Vec<UserId> = Vec::new();
    let mut seen = last.to_owned();
    for (walked, row) in wakes.range::<&str>((Bound::Excluded(last), Bound::Unbounded))?.enumerate() {
        if walked == limit {
            return Ok(Page { users, next: Some(Cursor(seen.into_bytes())) });
        }
        let row = row?;
        let user = row.0.value();
        if !user.starts_with(PSEUDO) {
            users.push(user.into());
        }
        seen.clear();
        seen.push_str(user);
    }
    Ok(Page { users, next: None })
}

/// By a look at all names: a file of one worker holds few enough, and a leap to a random name would prefer those after a gap.
fn sample(wakes: &impl ReadableTable<&'static str, i64>, mut draw: Draw) -> Result<Sampled, redb::Error> {
    for row in wakes.iter()? {
        let row = row?;
        let user = row.0.value();
        if !user.starts_with(PSEUDO) {
            draw.offer(user);
        }
    }
    Ok(draw.end())
}

fn put(tables: &mut Tables<'_>, expected: u64, body: &[u8]) -> Result<Put, redb::Error> {
    let stored = number(&tables.meta, tables::META_REVISION)?;
    if stored != expected {
        return Ok(Put::Conflict { revision: stored });
    }
    let revision = stored + 1;
    tables.meta.insert(tables::META_REVISION, revision)?;
    tables.blobs.insert(tables::BLOB_DOCUMENTS, body)?;
    Ok(Put::Stored { revision })
}

/// The last word counts: a reader that starts again from an earlier offset has not read what its predecessor had.
fn publish(tables: &mut Tables<'_>, ours: &[(Partition, Timestamp)]) -> Result<(), redb::Error> {
    for (partition, time) in ours {
        tables.positions.insert((&*partition.topic, partition.number), time.0)?;
    }
    Ok(())
}

fn stored(
    records: &impl ReadableTable<&'static str, &'static [u8]>,
    profiles: &impl ReadableTable<&'static str, &'static [u8]>,
    user: &str,
) -> Result<Option<Stored>, redb::Error> {
    let Some(row) = records.get(user)? else { return Ok(None) };
    let (token, record) = decode_record(row.value())?;
    let profile = profiles.get(user)?.map(|row| row.value().to_vec());
    Ok(Some(Stored { token, record: record.to_vec(), profile }))
}

fn stored_token(tables: &Tables<'_>, user: &str) -> Result<Option<Token>, redb::Error> {
    tables.records.get(user)?.map(|row| decode_record(row.value()).map(|(token, _)| token)).transpose()
}

/// A read that failed: the file or its disk is broken, and asking again does not mend it.
fn unreadable(error: impl Into<redb::Error>) -> StateError {
    StateError::from(error.into())
}

impl From<redb::Error> for StateError {
    fn from(error: redb::Error) -> StateError {
        StateError::Refused(format!("the embedded store cannot be read: {error}; repair its disk or restore the file, then restart"))
    }
}

impl From<Failure> for StateError {
    fn from(failure: Failure) -> StateError {
        StateError::Refused(failure.to_string())
    }
}

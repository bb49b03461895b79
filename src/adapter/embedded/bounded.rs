//! Bounded sets of users, which stand in the file, and budgets, which stand in memory: one process owns the file, so that nobody
//! else spends of them, and a new process begins with full ones.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use redb::ReadableTable;

use super::tables::Tables;
use crate::engine::time::Timestamp;
use crate::worker::budget::Bucket;
use crate::worker::ports::{Admit, Spend};

/// Budgets by name. As many as there are destinations.
#[derive(Default)]
pub struct Budgets(Mutex<BTreeMap<Box<str>, Bucket>>);

impl Budgets {
    pub fn spend(&self, wanted: &[Spend], now: Timestamp) -> Vec<u32> {
        // The map is whole between any two statements that hold the lock.
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |wish: &Spend| buckets.entry(wish.budget.clone()).or_insert_with(|| Bucket::full(wish, now)).spend(wish, now);
        wanted.iter().map(one).collect()
    }
}

/// What is known of an answer without writing: who is in stays in, a full set lets nobody in. `None`: it must be asked of the writer.
/// A set that is to be kept longer must be written, too; half its span is soon enough.
pub fn known(
    members: &impl ReadableTable<(&'static str, &'static str), ()>,
    sets: &impl ReadableTable<&'static str, (u64, i64)>,
    asked: &Admit,
    now: Timestamp,
) -> Result<Option<bool>, redb::Error> {
    let Some((count, kept_until)) = sets.get(&*asked.set)?.map(|row| row.value()) else {
        return Ok((asked.limit == 0).then_some(false));
    };
    if Timestamp(kept_until) < now.after(asked.keep / 2) {
        return Ok(None);
    }
    let member = members.get((&*asked.set, &*asked.user))?.is_some();
    Ok((member || count >= asked.limit).then_some(member))
}

/// Lets in who may be.
pub fn admit(tables: &mut Tables<'_>, asked: &[Admit], now: Timestamp) -> Result<Vec<bool>, redb::Error> {
    let mut answers = Vec::with_capacity(asked.len());
    for Admit { set, user, limit, keep } in asked {
        let stored = tables.sets.get(&**set)?.map(|row| row.value());
        if stored.is_none() && *limit == 0 {
            answers.push(false);
            continue;
        }
        if stored.is_none() {
            forget_expired(tables, now)?;
        }
        let (mut count, kept_until) = stored.unwrap_or((0, now.0));
        let mut member = tables.members.get((&**set, &**user))?.is_some();
        if !member && count < *limit {
            tables.members.insert((&**set, &**user), ())?;
            (member, count) = (true, count + 1);
        }
        tables.sets.insert(&**set, (count, kept_until.max(now.after(*keep).0)))?;
        answers.push(member);
    }
    Ok(answers)
}

/// Drops sets that nobody asked about for as long as they were to be kept. Looked at when a new one is made: there are few.
fn forget_expired(tables: &mut Tables<'_>, now: Timestamp) -> Result<(), redb::Error> {
    let mut expired = Vec::new();
    for row in tables.sets.iter()? {
        let (set, row) = row?;
        if Timestamp(row.value().1) < now {
            expired.push(set.value().to_owned());
        }
    }
    for set in expired {
        tables.sets.remove(&*set)?;
        // Names hold no NUL: what follows the set's own rows begins with a larger name.
        let after = format!("{set}\0");
        tables.members.retain_in((&*set, "")..(&*after, ""), |_, ()| false)?;
    }
    Ok(())
}

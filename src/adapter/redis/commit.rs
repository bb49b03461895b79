//! One commit as script calls, one for each group that it concerns, and what their replies say. Pure: it builds and reads, the
//! session sends.
//!
//! # Operations and unknown replies
//!
//! A commit takes the session's next operation number before anything is sent, and the number is never used for other content.
//! A session knows of each group the last operation that was acknowledged; the group's ledger tells the script which one it
//! applied last. For an operation `n` after an acknowledged `a` the ledger may hold:
//!
//! | ledger | how it comes about | the script |
//! |---|---|---|
//! | `a` | nothing was lost | applies `n` |
//! | between `a` and `n` | commits after `a` were given up with `Unavailable`, yet one arrived | applies `n`; its tokens are then no longer the expected ones, so those users conflict and their current value is answered |
//! | `n` | this commit arrived before, its reply was lost | writes nothing; own tokens tell what was written |
//! | below `a` | the store lost writes | does nothing: rolled back |
//! | above `n` | somebody else writes as this incarnation | does nothing: rolled back |
//!
//! A request of a given-up connection that arrives late finds its own number (writes nothing) or a higher one (does nothing);
//! before the next commit it is the second row. So the session repeats a commit after an unknown reply, with the same number
//! and the same bytes, and may give up at any time. "No ledger" counts as 0, and operations begin at 1.
//!
//! What was only read is guarded by the group's sequence: a group whose sequence is lower than this session has seen has lost
//! somebody's write, which may be what was read.

use std::collections::BTreeMap;

use redis::{Cmd, Value};

use crate::engine::time::Timestamp;
use crate::worker::ports::{Change, ProfileChange, StateError, Stored};

use super::keys::{self, Keys};
use super::link::COMMIT;
use super::nodes::Batch;
use super::reply;

/// The part of a commit that lies in one group.
pub struct Part {
    pub group: usize,
    /// Positions in the changes, in their order; empty when only the ledger is advanced.
    positions: Vec<usize>,
}

/// What a session tells a group of itself.
pub struct Standing {
    pub incarnation: u64,
    pub operation: u64,
    pub acknowledged: u64,
    pub seen: u64,
}

/// What a group answered.
pub enum Outcome {
    Done { sequence: u64, now: Timestamp, conflicts: Vec<(usize, Option<Stored>)> },
    Behind { operation: u64, sequence: u64 },
}

/// Sorts changes by group; `also` are groups whose ledger must advance in any case.
pub fn parts(keys: &Keys, changes: &[Change], also: impl Iterator<Item = usize>) -> Vec<Part> {
    let mut by_group: BTreeMap<usize, Vec<usize>> = also.map(|group| (group, Vec::new())).collect();
    for (position, change) in changes.iter().enumerate() {
        by_group.entry(keys.group_of(&change.user)).or_default().push(position);
    }
    by_group.into_iter().map(|(group, positions)| Part { group, positions }).collect()
}

/// The script calls of a commit, in the order of its parts.
pub fn calls(keys: &Keys, parts: &[Part], changes: &[Change], standing: impl Fn(usize) -> Standing) -> Batch {
    let mut calls = Batch::with_capacity(parts.len());
    for part in parts {
        calls.add(keys.slot(part.group), call(keys, part, changes, &standing(part.group)));
    }
    calls
}

/// Arguments as `commit.lua` describes them.
fn call(keys: &Keys, part: &Part, changes: &[Change], standing: &Standing) -> Cmd {
    let group = part.group;
    let own = keys::token(standing.incarnation, standing.operation);
    let changes = || part.positions.iter().enumerate().map(|(at, &position)| (at + 1, &changes[position]));
    let profiles: Vec<(usize, &Change, &ProfileChange)> = changes()
        .map(|(at, change)| (at, change, profile_change(change)))
        .filter(|(.., profile)| **profile != ProfileChange::Keep)
        .collect();
    let wakes = || changes().filter(|(_, change)| change.record.is_none() || change.wake.is_some());

    let mut names = Vec::with_capacity(3 + part.positions.len() + profiles.len());
    names.extend([keys::LEDGER, keys::SEQUENCE, keys::WAKE].map(|name| keys.group(group, name)));
    names.extend(changes().map(|(_, change)| keys.user(group, keys::RECORD, &change.user)));
    names.extend(profiles.iter().map(|(_, change, _)| keys.user(group, keys::PROFILE, &change.user)));

    let mut call = COMMIT.call(&names);
    call.arg(standing.incarnation).arg(standing.operation).arg(standing.acknowledged).arg(standing.seen);
    call.arg(own.0.as_slice()).arg(keys.kind_at(group));
    call.arg(part.positions.len()).arg(profiles.len()).arg(wakes().count());
    let mut value = Vec::new();
    for (_, change) in changes() {
        call.arg(change.expected.as_ref().map_or(&[][..], |token| token.0.as_slice()));
        match &change.record {
            Some(record) => keys::encode(own, record, &mut value),
            None => value.clear(),
        }
        call.arg(value.as_slice());
    }
    for (at, _, profile) in profiles {
        match profile {
            ProfileChange::Set(profile) => call.arg(at).arg(profile.as_slice()),
            ProfileChange::Keep | ProfileChange::Remove => call.arg(format!("-{at}")).arg(""),
        };
    }
    for (at, change) in wakes() {
        call.arg(at);
        match (&change.record, change.wake) {
            (Some(_), Some(wake)) => call.arg(wake.0),
            _ => call.arg(""),
        };
        call.arg(change.user.as_bytes());
    }
    call
}

/// What becomes of the profile: it goes with its record.
fn profile_change(change: &Change) -> &ProfileChange {
    match &change.record {
        None => &ProfileChange::Remove,
        Some(_) => &change.profile,
    }
}

/// Reads the reply to a part's call.
pub fn outcome(part: &Part, value: Value) -> Result<Outcome, StateError> {
    let [done, operation, sequence, now, conflicts] = reply::array(value)?;
    let sequence = reply::number(sequence)?;
    if reply::number::<u8>(done)? == 0 {
        return Ok(Outcome::Behind { operation: reply::number(operation)?, sequence });
    }
    let mut entries = reply::list(conflicts)?.into_iter();
    let mut conflicts = Vec::new();
    while let (Some(at), Some(value), Some(profile)) = (entries.next(), entries.next(), entries.next()) {
        let at = reply::number::<usize>(at)?;
        let position = at.checked_sub(1).and_then(|at| part.positions.get(at));
        let position =
            *position.ok_or_else(|| StateError::Refused(format!("redis answers with a conflict at {at}, which was not sent")))?;
        let profile = reply::bytes(profile)?;
        let stored = reply::bytes(value)?.map(|value| keys::decode(value, profile)).transpose()?;
        conflicts.push((position, stored));
    }
    Ok(Outcome::Done { sequence, now: Timestamp(reply::number(now)?), conflicts })
}

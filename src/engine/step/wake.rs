//! When a record next wants a look, and whether it is worth keeping at all.

use std::time::Duration;

use super::pending::given_up;
use super::{Known, applied};
use crate::engine::catalog::InForce;
use crate::engine::definition::Status;
use crate::engine::fatigue;
use crate::engine::history;
use crate::engine::id::UserId;
use crate::engine::record::{BatchPhase, Phase};
use crate::engine::time::{Timestamp, millis};

/// How soon a clock that is due is looked at again while its campaign is paused.
pub const PAUSED_LOOK: Duration = Duration::from_secs(60);

/// A record with nothing to do is looked at this rarely, to forget what is over.
const IDLE_LOOK: Duration = Duration::from_secs(30 * 86_400);

/// One that holds only what keeps repeats out is looked at by the day.
const DAY: Duration = Duration::from_secs(86_400);

/// When this record next wants a look: the earliest of its timers, leases and expiries, else some day. `None`: nothing is worth
/// keeping and it may be deleted. For the same record the answer seldom changes, as every change costs a write: an idle
/// one's day is one of the user's own days, spread over all users.
pub fn wake(user: &UserId, known: &Known, in_force: &InForce, now: Timestamp) -> Option<Timestamp> {
    let record = &known.record;
    let timers = record.timers.iter().map(|timer| match super::status_of(in_force, timer.campaign) {
        Status::Ready | Status::Paused if timer.due <= now => now.after(PAUSED_LOOK),
        _ => timer.due,
    });
    let pending = record.pending.iter().map(|entry| match entry.phase {
        Phase::Sending { lease, .. } => lease,
        Phase::Parked { .. } if super::status_of(in_force, entry.campaign) == Status::Ended => now,
        Phase::Parked { .. } => given_up(entry),
        Phase::Failing { again, .. } | Phase::Batched { again, .. } => again,
    });
    let batch = record.batch.as_ref().and_then(|batch| match batch.phase {
        BatchPhase::Open { until: wake, .. } | BatchPhase::Settled { again: wake, .. } => Some(wake),
        BatchPhase::Closed => None,
    });
    if let Some(next) = timers.chain(pending).chain(batch).min() {
        return Some(next);
    }
    let collected =
        !record.sequences.is_empty() || history::must_stay(&record.history) || !record.occurrences.is_empty() || !record.resumed.is_empty();
    if collected || !fatigue::is_empty(&record.ledger) || !known.profile.is_empty() {
        return Some(own_time(user, now.after(IDLE_LOOK), IDLE_LOOK));
    }
    let newest = history::newest(&record.history).into_iter().chain(applied::newest(record)).chain(record.tombstone).max()?;
    let over = newest.after(in_force.policy.max_lateness);
    Some(own_time(user, over.max(now.after(DAY)), DAY))
}

/// When the first of its timers falls due, or fell due. Those of a campaign that does not run are held, not late.
pub fn due(known: &Known, in_force: &InForce) -> Option<Timestamp> {
    let running = |campaign| super::status_of(in_force, campaign) == Status::Running;
    known.record.timers.iter().filter(|timer| running(timer.campaign)).map(|timer| timer.due).min()
}

/// The first of a user's own instants, one each `period`, that is not before `from`.
fn own_time(user: &UserId, from: Timestamp, period: Duration) -> Timestamp {
    // FNV-1a; any worker computes the same, and nothing stored depends on it.
    let hash = user.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let period = millis(period).max(1);
    let phase = i64::try_from(hash % period.unsigned_abs()).unwrap_or(0);
    let missing = (phase.saturating_sub(from.0)).rem_euclid(period);
    Timestamp(from.0.saturating_add(missing))
}

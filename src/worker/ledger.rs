//! The arithmetic of the ledger, once for every store that runs in this process: who may apply an operation, what its token is,
//! and what becomes of one change. Pure; it holds nothing and knows no store. (Redis says the same in its commit script.)

use crate::engine::time::Timestamp;

use super::ports::{StateError, Token};

/// What the ledger says about an operation that a session wants to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It was not applied yet: apply it.
    Go,
    /// It was applied, the reply got lost: answer again, write nothing.
    Repeat,
    /// The store lost writes that it had acknowledged: write nothing, say so.
    RolledBack,
}

/// What becomes of one change of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighed {
    Write,
    /// It is there already: our own write, recognised.
    Written,
    Conflict,
}

/// Judges an operation of one incarnation.
///
/// `stored` is the operation that the ledger holds for it (opening a session writes 0, so `None` is a loss), `told` the last
/// one whose reply reached the session, `operation` the one to apply, `told <= operation`. An operation whose reply never
/// came lies between: it may have been applied or not, both are in order.
pub fn judge(stored: Option<u64>, told: u64, operation: u64) -> Ruling {
    match stored {
        Some(stored) if stored == operation => Ruling::Repeat,
        Some(stored) if told <= stored && stored < operation => Ruling::Go,
        _ => Ruling::RolledBack,
    }
}

/// Weighs one change: `current` is the stored token, `expected` the one it was loaded with, `ours` the token of this operation.
/// A repeated operation writes nothing: what it had not written the first time stays a conflict.
pub fn weigh(ruling: Ruling, current: Option<Token>, expected: Option<Token>, deletes: bool, ours: Token) -> Weighed {
    match ruling {
        Ruling::Go if current == expected => Weighed::Write,
        Ruling::Repeat if current == Some(ours) || (deletes && current.is_none()) => Weighed::Written,
        Ruling::Go | Ruling::Repeat | Ruling::RolledBack => Weighed::Conflict,
    }
}

/// The token of everything that one operation writes.
pub fn token(incarnation: u64, operation: u64) -> Token {
    Token((u128::from(incarnation) << u64::BITS | u128::from(operation)).to_be_bytes())
}

/// The next incarnation after `last`. It follows the clock, so that a store which was set back, and has forgotten numbers it gave
/// away, does not give them a second time.
pub fn next_incarnation(last: u64, now: Timestamp) -> u64 {
    last.saturating_add(1).max(u64::try_from(now.0).unwrap_or(0))
}

/// The error for [`Ruling::RolledBack`].
pub fn rolled_back(incarnation: u64, stored: Option<u64>, told: u64) -> StateError {
    let stored = stored.map_or_else(|| "nothing".to_owned(), |operation| format!("operation {operation}"));
    StateError::RolledBack(format!("the ledger of incarnation {incarnation} holds {stored}, it had acknowledged operation {told}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_by_the_ledger() {
        let check = |stored, told, operation, expect| assert_eq!(judge(stored, told, operation), expect, "{stored:?} {told} {operation}");
        check(Some(0), 0, 1, Ruling::Go); // the first
        check(Some(7), 7, 8, Ruling::Go); // the next
        check(Some(8), 7, 8, Ruling::Repeat); // applied, its reply was lost
        check(Some(8), 8, 8, Ruling::Repeat); // asked about what is known
        check(Some(8), 7, 9, Ruling::Go); // 8 was given up, and had been applied
        check(Some(7), 7, 9, Ruling::Go); // 8 was given up, and had not been applied
        check(Some(6), 7, 8, Ruling::RolledBack); // 7 is gone
        check(Some(6), 7, 9, Ruling::RolledBack);
        check(Some(9), 7, 8, Ruling::RolledBack); // somebody else's number: the store forgot that it gave it away
        check(None, 7, 8, Ruling::RolledBack); // emptied
        check(None, 0, 1, Ruling::RolledBack); // emptied before the first
    }

    #[test]
    fn weighs_each_change() {
        let (ours, theirs) = (Some(token(1, 2)), Some(token(9, 9)));
        let check = |ruling, current, expected, deletes, expect| {
            assert_eq!(
                weigh(ruling, current, expected, deletes, token(1, 2)),
                expect,
                "{ruling:?} {current:?} {expected:?} deletes={deletes}"
            );
        };
        check(Ruling::Go, None, None, false, Weighed::Write);
        check(Ruling::Go, theirs, theirs, false, Weighed::Write);
        check(Ruling::Go, theirs, theirs, true, Weighed::Write);
        check(Ruling::Go, theirs, None, false, Weighed::Conflict);
        check(Ruling::Go, None, theirs, false, Weighed::Conflict);
        check(Ruling::Go, None, theirs, true, Weighed::Conflict);
        check(Ruling::Repeat, ours, theirs, false, Weighed::Written);
        check(Ruling::Repeat, None, theirs, true, Weighed::Written);
        check(Ruling::Repeat, theirs, theirs, false, Weighed::Conflict);
        check(Ruling::Repeat, None, None, false, Weighed::Conflict);
        check(Ruling::RolledBack, None, None, false, Weighed::Conflict);
    }

    #[test]
    fn a_token_is_incarnation_then_operation_big_endian() {
        assert_eq!(token(1, 2).0, [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert!(token(1, u64::MAX) < token(2, 0));
    }

    #[test]
    fn incarnations_follow_the_clock_and_never_repeat() {
        assert_eq!(next_incarnation(0, Timestamp(1_000)), 1_000);
        assert_eq!(next_incarnation(1_000, Timestamp(1_000)), 1_001);
        assert_eq!(next_incarnation(5_000, Timestamp(1_000)), 5_001);
        assert_eq!(next_incarnation(3, Timestamp(-1)), 4);
    }
}

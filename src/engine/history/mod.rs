//! History: what of a user's past is remembered, how it is measured, and since when it is known. Compiled from the definitions: a
//! tracker for each question, shared by all that ask the same. It keeps times, counters and samples, never events, and decides
//! nothing about a send.
//!
//! | measure | window | what is kept | exact |
//! |---|---|---|---|
//! | count | ever, between | a counter | always |
//! | count up to [`MAX_NEWEST`] | in the last | the newest instants, as many as decide | always; as of an earlier time while at most [`SPARE_NEWEST`] known events are later |
//! | count beyond | in the last | see [`samples`] | to 1/32 of the window |
//! | sum, avg, min, max | ever, between | their totals | always |
//! | sum, avg, min, max | in the last | see [`samples`] | up to [`samples::MAX_RECENT`] numbers, then to 1/32 of the window |
//! | distinct up to [`MAX_DISTINCT`] | all | the values seen last, as many as decide | always |
//! | distinct beyond | all | see [`distinct`] | up to [`distinct::MAX_SAMPLED`] values, then estimated |
//! | first, last | all | two instants | always |
//!
//! What a record keeps is bounded by [`MAX_TRACKED_BYTES`]; when something had to give way the record says until when, and what
//! is true by absence before that is unknown.

mod backfill;
mod canonical;
pub mod distinct;
mod measure;
mod note;
mod renewed;
pub mod samples;
mod totals;
mod tracker;
mod trackers;
mod without;

pub use backfill::{Noted, Plan, note_again, note_read, prune_backfilled};
pub use measure::{Before, Found, History, Measured, before, never};
pub use note::{MAX_AHEAD, MAX_TRACKED_BYTES, SPARE_NEWEST, must_stay, newest, note_event, note_where, prune};
pub use renewed::{Asked, forget_former};
pub use tracker::{Dates, MAX_DISTINCT, MAX_NEWEST, Tracker, What};
pub use trackers::{FOLLOWED_WITHIN, Trackers, each_did};
pub use without::{MAX_INSTANTS, MAX_LISTS, any_within, note};

#[cfg(test)]
mod tests;

//! The pure part: decides, from what is known and one input, what is now known and what should be done.
//!
//! Nothing here reads a clock, randomness, the environment, a file or a socket; time is an argument. It compiles without any
//! client crate (`cargo check --lib --no-default-features`).
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod id;
pub mod time;
pub mod value;

pub mod calendar;

pub mod event;
pub mod profile;
pub mod reading;

pub mod definition;

pub mod condition;
pub mod history;

pub mod matching;

pub mod audience;
pub mod trigger;

pub mod fatigue;

pub mod rendering;

pub mod delivery;

pub mod record;

pub mod effect;

pub mod step;

pub mod catalog;

pub mod preview;

pub mod runs;

pub mod statistics;

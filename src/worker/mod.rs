//! The worker: turns inputs into records, deliveries and lines. It owns the order in which things become durable and knows no
//! client: the world is reached through the five ports.
//!
//! What runs beside what: one thread reads the events, one the retry topics, one the users that runs have reached, each lane (one per
//! core) turns on a thread of its own with its own store session and HTTP client, one walks over all users when a run is due, one counts
//! what was decided and delivered, one follows the definitions, and one more looks for what is due. `run` starts them; everything below
//! it is driven step by step and can be driven by a simulator just as well.

pub mod budget;
pub mod draw;
pub mod ledger;
pub mod ports;
pub mod settings;

pub mod cache;
pub mod counters;
pub mod offsets;
pub mod outcomes;
pub mod store_clock;

pub mod appending;
pub mod attempt;
pub mod budgets;
pub mod complaints;
pub mod dispatch;
pub mod lane;
pub mod leaving;
pub mod links;
pub mod members;
pub mod turn;

pub mod commits;
pub mod definitions;
pub mod due;
pub mod form;
pub mod letters;
pub mod read_positions;
pub mod reader;
pub mod redrive;
pub mod retry;
pub mod runs;
pub mod stats;

pub mod tail;

mod driver;
pub mod run;

//! Campanile: an event-stream worker for event-triggered webhook campaigns.
//!
//! All that is known of a user is one record. An engine decides, purely; a worker turns; adapters touch the world; a
//! simulator stands in for it. The one function that everything else serves is
//!
//! ```text
//! step(definitions, record, profile, input, now) -> (record', profile', effects)
//! ```
//!
//! # The rooms
//!
//! | room | what it is for |
//! |---|---|
//! | [`engine`] | decides: reads events and definitions, matches, judges, renders; pure, compiles alone |
//! | [`worker`] | turns: reads, loads, steps, commits, appends, dispatches, in an order that survives crashes |
//! | [`adapter`] | Kafka, Redis, the embedded file, HTTP, the clock: one client crate each, no business word |
//! | [`simulator`] | the same worker in virtual time, on ports in memory, with seeded faults; runs scenario files |
//! | [`api`] | events and sends over HTTP |
//! | [`telemetry`] | metrics, probes, logs |
//! | [`config`] | settings: raw to checked; the default file is the documentation |
//! | [`secrets`] | secrets from files and the environment, resolved at the moment of sending |
//! | [`cli`] | the commands; assembles everything, is imported by nothing |
//!
//! # What is deliberately absent
//!
//! - The engine has no clock, randomness, environment, files or sockets; `step` has no error: a refusal is data.
//! - No state is owned by a partition: any worker may turn any user, compare-and-set decides. There is no leader and no shard.
//! - No offset waits for an endpoint, and no delivery depends on a replay: what is decided stands in the record.
//! - No exactly-once delivery: a receiver may see a repeat when an answer, a settling write or a worker was lost, with the same
//!   `webhook-id`.
//! - Ports have no business word, and adapters no rule: what a store or a log must promise is said once, in `worker::ports`.
//!
//! A change's room: what an event or a rule means, `engine`; when something becomes durable, `worker::turn`; how a server is
//! spoken to, `adapter`; what a user types or reads, `cli`.

pub mod engine;

#[cfg(feature = "worker")]
pub mod worker;

#[cfg(feature = "worker")]
pub mod adapter;
#[cfg(feature = "worker")]
pub mod simulator;

#[cfg(feature = "worker")]
pub mod api;
#[cfg(feature = "worker")]
pub mod telemetry;

#[cfg(feature = "worker")]
pub mod config;
#[cfg(feature = "worker")]
pub mod secrets;

#[cfg(feature = "worker")]
pub mod cli;

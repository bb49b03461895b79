//! The one integration binary: each module a subject, `support` what they start and share.
#![cfg(feature = "worker")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests have deadlines, files and processes; the ban is the engine's"
)]

mod support {
    pub mod certificates;
    pub mod endpoint;
    pub mod foreign;
    pub mod hostile;
    pub mod kafka;
    pub mod kafka_cluster;
    pub mod kafka_log;
    pub mod load;
    pub mod names;
    pub mod plane;
    pub mod process;
    pub mod redis;
    pub mod redis_cluster;
    pub mod steady;
    pub mod topic;
    pub mod wait;
    pub mod witness;
    pub mod worker;
}

mod api;
mod architecture;
mod cli_tools;
mod console;
mod contract;
mod control;
mod corpus;
mod corpus_live;
mod deploy;
mod docs;
mod e2e_backfill;
mod e2e_batches;
mod e2e_cli;
mod e2e_cluster;
mod e2e_control;
mod e2e_crash;
mod e2e_dead;
mod e2e_delivery;
mod e2e_destinations;
mod e2e_hostile;
mod e2e_idle;
mod e2e_links;
mod e2e_outage;
mod e2e_refusals;
mod e2e_retry_after;
mod e2e_runs;
mod e2e_secured;
mod e2e_stats;
mod kafka;
mod log;
mod log_local;
mod outage;
mod overview;
mod probes;
mod roles;
mod scenarios;
mod secrets;
mod state;
mod state_cluster;
mod state_local;
mod state_redis;
mod state_sentinel;
mod state_spanning;
mod statistics;
mod users;
mod webhook;
mod webhook_addresses;
mod webhook_hostile;

//! The one integration binary: each module a subject, `support` what they start and share.
#![cfg(feature = "worker")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests have deadlines, files and processes; the ban is the engine's"
)]

mod support {
    pub mod endpoint;
    pub mod kafka;
    pub mod redis;
}

mod api;
mod kafka;
mod log;
mod probes;
mod state;
mod state_redis;
mod webhook;

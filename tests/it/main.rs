//! The one integration binary: each module a subject, `support` what they start and share.
#![cfg(feature = "worker")]

mod support {
    pub mod endpoint;
    pub mod redis;
}

mod api;
mod architecture;
mod probes;
mod scenarios;
mod state;
mod state_redis;
mod webhook;

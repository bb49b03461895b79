//! Campanile: event-triggered webhook campaigns.

pub mod engine;

#[cfg(feature = "worker")]
pub mod adapter;
#[cfg(feature = "worker")]
pub mod simulator;
#[cfg(feature = "worker")]
pub mod worker;

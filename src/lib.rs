//! Campanile: event-triggered webhook campaigns.

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
pub mod cli;
#[cfg(feature = "worker")]
pub mod config;
#[cfg(feature = "worker")]
pub mod secrets;

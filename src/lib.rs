//! Campanile: event-triggered webhook campaigns.
pub mod engine;

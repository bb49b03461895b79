//! The worker: turns inputs into records, deliveries and lines.
pub mod ledger;
pub mod ports;

#[cfg(test)]
pub mod cases;

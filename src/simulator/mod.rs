//! The simulator: stands in for the world, deterministically. It has no second engine and no second turn.

pub mod endpoints;
pub mod ports;
pub mod rules;
pub mod scenario;
pub mod worker;

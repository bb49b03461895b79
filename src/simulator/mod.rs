//! The simulator: stands in for the world, deterministically. It has no second engine and no second turn.

pub mod endpoints;
pub mod funnel;
pub mod ports;
pub mod replay;
pub mod rules;
pub mod scenario;
pub mod worker;

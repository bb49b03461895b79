//! What is seen of a worker: its metrics, its log lines, its probes. Nothing here decides anything, and nothing is global:
//! instruments are handed to whoever uses them.

mod children;
pub mod logging;
pub mod metrics;
pub mod probes;

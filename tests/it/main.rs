//! Tests of the adapters and commands against the real thing, in one binary.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests have deadlines, files and processes; the ban is the engine's"
)]

mod support {
    pub mod kafka;
}

mod kafka;
mod log;

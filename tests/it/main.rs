//! Tests of the adapters and commands against the real thing, in one binary.

mod support {
    pub mod kafka;
}

mod kafka;
mod log;

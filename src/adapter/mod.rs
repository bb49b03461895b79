//! The adapters: one client crate each, no business word.

pub mod clock;
pub mod embedded;
pub mod kafka;
pub mod redis;
pub mod webhook;

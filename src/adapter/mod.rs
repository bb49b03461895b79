//! The adapters: one client crate each, no business word.

pub mod webhook;

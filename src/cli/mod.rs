//! The commands. Everything may be imported here; nothing imports it.

pub mod receive;

//! Checked definitions: what the rest of the engine works with. Times and spans are checked; templates are text that
//! `rendering` compiles. No reading here, and no rules.

mod campaign;
mod destination;
pub mod duration_text;
mod rule;
mod trigger;
mod webhook;
mod workspace;

pub use campaign::*;
pub use destination::*;
pub use rule::*;
pub use trigger::*;
pub use webhook::*;
pub use workspace::*;

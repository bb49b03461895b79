//! Definitions: text in, checked definitions out, or every problem with its place. This room is given text and a name; it
//! never opens a file, and it knows nothing of templates beyond their text (`catalog` has them compiled).
//!
//! `text` makes a tree with places, `reader` reads it with types and collects problems (both serve settings and scenario
//! files too); `document` says what a file's documents are, and hands each to the file named after its kind; `together`
//! checks what only shows among several.

pub mod problem;
pub mod reader;
pub mod text;

mod checked;

mod document;
mod together;

mod campaign;
mod condition;
mod rule;
mod trigger;

mod address;
mod webhook;

mod destination;
mod workspace;

#[cfg(test)]
mod tests;

pub use checked::*;
pub use document::{Document, Kind, Places, ReadOptions, WORKSPACE_KEY, read, read_canonical};
pub use problem::{Place, Problem, Severity};
pub use together::check_together;

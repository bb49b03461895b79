//! Definitions: text in, checked definitions out, or every problem with its place. This room is given text and a name; it
//! never opens a file, and it knows nothing of templates beyond their text (`catalog` has them compiled).
//!
//! `text` makes a tree with places, `reader` reads it with types and collects problems (both serve settings and scenario
//! files too); `shape` says as data what the language allows, `schema` makes JSON Schema of it and `reference` what people read; `reading`
//! says what a file's documents are, also the faulty ones; `document` hands each to the file named after its kind; `together` checks what only
//! shows among several.

pub mod problem;
pub mod reader;
pub mod text;

mod checked;

mod reference;
mod schema;
mod shape;

mod document;
mod reading;
mod together;

mod part;

mod campaign;
mod cohort;
mod condition;
mod did;
mod fatigue;
mod rule;
mod trigger;

mod address;
mod headers;
mod link;
mod profiles;
mod webhook;

mod destination;
mod workspace;

#[cfg(test)]
mod tests;

pub use checked::*;
pub use cohort::{MAX_LISTED, users_of_file};
pub use destination::MAX_RETRIES;
pub use document::{Document, Kind, Places, ReadOptions, WORKSPACE_KEY};
pub use problem::{Place, Problem, Severity};
pub use reading::{Faulty, Reading, read, read_canonical};
pub use reference::reference;
pub use schema::schema;
pub use together::{check_batches, check_together, never_shared};

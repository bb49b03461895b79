//! The integration tests: one binary, a module per subject.

mod support {
    pub mod endpoint;
}

mod api;
mod probes;
mod webhook;

//! The value of a secret, on its way from who keeps it to the request that needs it. It is never stored and does not print itself.

use std::fmt;
use std::sync::Arc;

/// A value that does not print itself: no `Display`, and `Debug` is `***`. Clones share the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn new(value: impl Into<Arc<str>>) -> Secret {
        Secret(value.into())
    }

    /// The value itself, for the wire and for comparing.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// As [`Secret::expose`], shared: the same secret is the same text in memory until it changes.
    pub fn share(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

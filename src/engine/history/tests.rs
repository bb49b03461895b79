//! History against an oracle.

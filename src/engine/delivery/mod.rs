//! Delivery, as rules: what a response means, how long to wait, what identifies a delivery, which headers an attempt carries.
//! Nothing is sent here.

mod answer;

pub use answer::{Answer, Failure};

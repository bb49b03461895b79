//! What starts a send. An action is judged at once and an API request names its campaign, so neither needs a rule here;
//! inaction and dates run clocks, actions collect events. Nothing here decides whether a send is allowed.

pub mod actions;
pub mod correlation;
pub mod date;
pub mod inaction;
pub mod schedule;

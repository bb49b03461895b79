//! What starts a send. An action is judged at once and an API request names its campaign, so neither needs a rule here;
//! inaction runs clocks. Nothing here decides whether a send is allowed.

pub mod correlation;
pub mod inaction;

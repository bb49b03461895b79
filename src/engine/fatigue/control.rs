//! C7: who is held out. A function of campaign and user alone, so that it is the same on every worker and for ever.

use crate::engine::definition::Campaign;
use crate::engine::id::stable_hash;

/// In so many parts the users of a campaign are split.
const SHARES: u64 = 10_000;

/// The user's place among all users of a campaign: 0 to 9,999, evenly spread, other for every campaign.
pub fn share(campaign: &Campaign, user: &str) -> u16 {
    (stable_hash(&[b"control", campaign.key.as_bytes(), user.as_bytes()]) % SHARES) as u16
}

/// Whether the user is in the control group. Who is in it stays in it while the percentage grows.
pub fn held_out(campaign: &Campaign, user: &str) -> bool {
    let threshold = campaign.control.per_ten_thousand;
    threshold > 0 && share(campaign, user) < threshold
}

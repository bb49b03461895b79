//! Whom a campaign would reach as things stand, before it starts: users drawn at random are looked at, and what is found of them is
//! said of all, with how far off that may be.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::Shared;
use super::problem::Problem;
use crate::engine::catalog::InForce;
use crate::engine::id::UserId;
use crate::engine::record::codec;
use crate::engine::step;
use crate::engine::time::Timestamp;
use crate::worker::ports::State;

/// Users that are drawn. The estimate is then off by at most 1.4 % of all users, in 95 of 100 cases.
pub const SAMPLE_USERS: usize = 5_000;
/// Users of one job at the desk.
const PAGE_USERS: usize = 500;
/// Whoever waits for an overview waits no longer for the estimate. What was looked at until then is as random as the rest.
const ESTIMATED_WITHIN: Duration = Duration::from_secs(3);

/// So many deviations hold 95 of 100 cases.
const DEVIATIONS: f64 = 1.96;

/// How many users are in the audience as things stand, by a look at some who were drawn at random, or at all if there are few.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Estimate {
    /// Of those who were looked at, who is in it for certain: not whom the triggering event decides.
    pub users: u64,
    /// How many were looked at: up to 5,000.
    pub of: u64,
    /// They are a random sample: there are more users.
    pub sampled: bool,
    /// How many users there are.
    pub total: u64,
    /// Of all users, so many are in it at least, with 95 % certainty (`most` likewise).
    pub least: u64,
    pub most: u64,
}

impl Estimate {
    /// From what was found of `of` users out of `total`: the interval of Wilson ("Probable inference", 1927), which holds also where
    /// nearly nobody or nearly everybody is in it.
    pub fn new(users: u64, of: u64, total: u64) -> Estimate {
        if of >= total {
            return Estimate { users, of, sampled: false, total: of, least: users, most: users };
        }
        let all = |part: f64| (part.clamp(0.0, 1.0) * total as f64).round() as u64;
        let (n, square) = (of.max(1) as f64, DEVIATIONS * DEVIATIONS);
        let part = users as f64 / n;
        let middle = (part + square / (2.0 * n)) / (1.0 + square / n);
        let half = DEVIATIONS / (1.0 + square / n) * (part * (1.0 - part) / n + square / (4.0 * n * n)).sqrt();
        let (least, most) =
            if of == 0 { (0, total) } else { (all(middle - half).max(users), all(middle + half).min(total - (of - users))) };
        Estimate { users, of, sampled: true, total, least, most }
    }
}

impl Shared {
    /// Looks at users drawn at random, a page at a time, so that others at the desk do not wait for long.
    pub async fn estimate(&self, key: &str) -> Result<Estimate, Problem> {
        let in_force = self.in_force().await?;
        let until = Instant::now() + ESTIMATED_WITHIN;
        let seed = getrandom::u64().map_err(|error| Problem::internal(format!("no randomness for a sample: {error}")))?;
        let drawn = self.desk.run(async move |state| Ok(state.sample(SAMPLE_USERS, seed).await?)).await?;
        // Who was deleted meanwhile, or cannot be read, was not looked at.
        let (mut belong, mut looked, mut unread) = (0, 0, 0);
        for users in drawn.users.chunks(PAGE_USERS) {
            let (key, in_force, now, users) = (key.to_owned(), in_force.clone(), self.ingest.clock.now(), users.to_vec());
            let asked = users.len() as u64;
            let found = self.desk.run(async move |state| look(state, &in_force, &key, &users, now).await).await?;
            belong += found.belong;
            looked += found.users;
            unread += asked - found.users;
            if Instant::now() >= until {
                break;
            }
        }
        Ok(Estimate::new(belong, looked, drawn.of.saturating_sub(unread).max(looked)))
    }
}

/// What was found of a page.
#[derive(Default)]
struct Looked {
    users: u64,
    belong: u64,
}

async fn look(state: &mut dyn State, in_force: &Arc<InForce>, key: &str, users: &[UserId], now: Timestamp) -> Result<Looked, Problem> {
    let mut looked = Looked::default();
    let Some(campaign) = in_force.by_key(key).map(|campaign| &campaign.definition) else { return Ok(looked) };
    let loaded = state.load(users).await?;
    for (user, stored) in users.iter().zip(loaded.users) {
        let Some(stored) = stored else { continue };
        let profile = stored.profile.as_deref().map(codec::decode_profile).transpose();
        // What a newer version wrote is not looked at.
        let (Ok(record), Ok(profile)) = (codec::decode(&stored.record), profile) else { continue };
        looked.users += 1;
        looked.belong += u64::from(step::belongs(in_force, campaign, user, &record, &profile.unwrap_or_default(), now));
    }
    Ok(looked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_says_how_far_off_it_may_be() {
        let check = |users: u64, of: u64, total: u64, expect: (u64, u64, bool)| {
            let estimate = Estimate::new(users, of, total);
            assert_eq!((estimate.least, estimate.most, estimate.sampled), expect, "{users} of {of}, {total} in all");
        };
        check(0, 0, 0, (0, 0, false));
        check(3, 10, 10, (3, 3, false));
        check(0, 0, 10, (0, 10, true));
        // A half of 5,000: 1.4 % of all users to either side.
        check(2_500, 5_000, 1_000_000, (486_146, 513_854, true));
        // Nobody was found, which does not mean that there is nobody.
        check(0, 5_000, 1_000_000, (0, 768, true));
        check(5_000, 5_000, 1_000_000, (999_232, 1_000_000, true));
        check(1, 5_000, 1_000_000, (35, 1_132, true));
        // Who was looked at is known.
        check(1, 5_000, 5_001, (1, 2, true));
    }
}

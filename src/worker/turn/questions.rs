//! What steps must know of the store before they can decide: whether a user is among those that a bounded set lets in, whether a delivery
//! still is its batch's. Asked for all that are turned together at once; a step never waits.

use std::time::Duration;

use super::{StateError, Turning, remember};
use crate::engine::catalog::InForce;
use crate::engine::delivery::batch;
use crate::engine::id::UserId;
use crate::engine::step::Ask;
use crate::worker::ports::{Admit, State};

/// How long the set of a campaign is kept that nobody asks about, give or take half: what is still in force is asked about every
/// day (see `runs`), so it is forgotten 30 to 60 days after the campaign is gone.
pub const CAMPAIGN_KEPT: Duration = Duration::from_secs(60 * 86_400);

/// The same for the set of one run, beyond the longest deferral of a send in it.
const RUN_KEPT: Duration = Duration::from_secs(7 * 86_400);

/// Rounds of asking for one batch, each of which answers all that its steps ask. A user's inputs can start so many limited campaigns
/// one after another at most; a step that goes on asking would hold its lane for ever.
const ROUNDS: usize = 64;

/// Asks the store for these users and lays the answers beside what is stored of them now: they are to step again.
pub(super) async fn answer(
    state: &mut dyn State,
    in_force: &InForce,
    turning: &mut [Turning],
    asking: &[usize],
    round: usize,
) -> Result<(), StateError> {
    let mut asked = Vec::new();
    let mut whose = Vec::new();
    let mut members = Vec::new();
    for &at in asking {
        let user = turning[at].user.clone();
        for ask in std::mem::take(&mut turning[at].asks) {
            match ask {
                Ask::Admitted { counter, limit } => {
                    whose.push((at, counter.clone()));
                    asked.push(Admit { keep: kept(in_force, &counter), set: counter, user: user.clone(), limit });
                }
                Ask::Stands { user, id } => members.push((at, user, id)),
            }
        }
    }
    if round >= ROUNDS {
        let sets: Vec<&str> = asked.iter().take(3).map(|one| &*one.set).collect();
        let members = members.len();
        return Err(StateError::Refused(format!(
            "steps ask about {sets:?} and {members} members of batches after {round} rounds of answers: this is a defect"
        )));
    }
    if !asked.is_empty() {
        for ((at, counter), answer) in whose.into_iter().zip(state.admit(&asked).await?) {
            turning[at].admitted.push((counter, answer));
        }
    }
    if !members.is_empty() {
        let users: Vec<UserId> = members.iter().map(|(_, user, _)| user.clone()).collect();
        for ((at, _, id), stored) in members.into_iter().zip(state.load(&users).await?.users) {
            let stands = batch::stands(&remember(stored)?.known.record, id, &turning[at].user);
            turning[at].standing.push((id, stands));
        }
    }
    let users: Vec<UserId> = asking.iter().map(|&at| turning[at].user.clone()).collect();
    for (&at, stored) in asking.iter().zip(state.load(&users).await?.users) {
        turning[at].restart(remember(stored)?);
    }
    Ok(())
}

/// How long the asked set must at least live.
fn kept(in_force: &InForce, counter: &str) -> Duration {
    let Some((campaign, _)) = counter.split_once('/') else { return CAMPAIGN_KEPT };
    let deferral = in_force.by_key(campaign).and_then(|campaign| campaign.definition.fatigue.defer_on_cap);
    2 * (RUN_KEPT + deferral.unwrap_or_default())
}

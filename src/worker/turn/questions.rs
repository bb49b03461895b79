//! What steps must know of the store before they can decide: whether a user is among those that a bounded set lets in, whether a delivery
//! still is its batch's. Asked for all that are turned together at once; a step never waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{StateError, Turning, remember};
use crate::engine::catalog::InForce;
use crate::engine::delivery::batch;
use crate::engine::id::UserId;
use crate::engine::step::{Ask, Counter};
use crate::worker::ports::{Admit, State};

/// How long the set of a campaign is kept that nobody asks about, give or take half: what is still in force is asked about every
/// day (see `runs`), so it is forgotten 30 to 60 days after the campaign is gone.
pub const CAMPAIGN_KEPT: Duration = Duration::from_secs(60 * 86_400);

/// The same for the set of one run, beyond the longest deferral of a send in it.
const RUN_KEPT: Duration = Duration::from_secs(7 * 86_400);

/// A step asks about one limited campaign after another, in as many rounds as there are such. From this round on (and in every round
/// that is a power of two) it is told, beside what it asks, of all sets that are known to be full: that lets nobody in.
pub(super) const LOOK_AHEAD: usize = 8;

/// Full sets that a lane knows.
const MOST_FULL: usize = 4096;

/// Sets that turned somebody away, each with how many it held by then at least. What is in a set stays in it.
#[derive(Default)]
pub(super) struct FullSets(BTreeMap<Counter, u64>);

impl FullSets {
    fn note(&mut self, set: &Counter, holds: u64) {
        if self.0.len() >= MOST_FULL && !self.0.contains_key(set) {
            self.0.clear();
        }
        let known = self.0.entry(set.clone()).or_default();
        *known = holds.max(*known);
    }

    /// Those that are full by the limits in force.
    fn now<'a>(&'a self, in_force: &'a InForce) -> impl Iterator<Item = &'a Counter> {
        let limit = |set: &Counter| in_force.by_key(set.split('/').next().unwrap_or(set))?.definition.limit;
        self.0.iter().filter(move |(set, holds)| limit(set).is_some_and(|limit| limit.users <= **holds)).map(|(set, _)| set)
    }
}

/// Asks the store for these users and lays the answers beside what is stored of them now: they are to step again. Whoever asks again
/// what was answered would ask for ever and hold its lane: that is refused. What can be asked is as much as is in force.
pub(super) async fn answer(
    state: &mut dyn State,
    in_force: &InForce,
    turning: &mut [Turning],
    asking: &[usize],
    round: usize,
    full: &mut FullSets,
) -> Result<(), StateError> {
    let mut asked = Vec::new();
    let mut whose = Vec::new();
    let mut members = Vec::new();
    for &at in asking {
        let user = turning[at].user.clone();
        for ask in std::mem::take(&mut turning[at].asks) {
            if turning[at].is_answered(&ask) {
                return Err(StateError::Refused(format!("a step asks again what it was told, {ask:?}: this is a defect")));
            }
            match ask {
                Ask::Admitted { counter, limit } => {
                    whose.push((at, counter.clone()));
                    asked.push(Admit { keep: kept(in_force, &counter), set: counter, user: user.clone(), limit });
                }
                Ask::Stands { user, id } => members.push((at, user, id)),
            }
        }
    }
    if round >= LOOK_AHEAD && round.is_power_of_two() {
        for (at, set) in unanswered(turning, asking, full, in_force, &whose) {
            whose.push((at, set.clone()));
            asked.push(Admit { keep: kept(in_force, &set), set, user: turning[at].user.clone(), limit: 0 });
        }
    }
    if !asked.is_empty() {
        let answers = state.admit(&asked).await?;
        for ((at, counter), (asked, answer)) in whose.into_iter().zip(asked.iter().zip(answers)) {
            if !answer {
                full.note(&asked.set, asked.limit);
            }
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

/// The full sets that those who ask have not asked about.
fn unanswered(
    turning: &[Turning],
    asking: &[usize],
    full: &FullSets,
    in_force: &InForce,
    asked: &[(usize, Counter)],
) -> Vec<(usize, Counter)> {
    let full: Vec<&Counter> = full.now(in_force).collect();
    let mut unanswered = Vec::new();
    for &at in asking {
        let now = asked.iter().filter(|(whose, _)| *whose == at).map(|(_, set)| set);
        let told: BTreeSet<&Counter> = turning[at].admitted.iter().map(|(set, _)| set).chain(now).collect();
        unanswered.extend(full.iter().filter(|set| !told.contains(**set)).map(|set| (at, (*set).clone())));
    }
    unanswered
}

/// How long the asked set must at least live.
fn kept(in_force: &InForce, counter: &str) -> Duration {
    let Some((campaign, _)) = counter.split_once('/') else { return CAMPAIGN_KEPT };
    let deferral = in_force.by_key(campaign).and_then(|campaign| campaign.definition.fatigue.defer_on_cap);
    2 * (RUN_KEPT + deferral.unwrap_or_default())
}

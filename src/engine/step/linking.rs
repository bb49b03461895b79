//! H5: sends whose content is linked. When all other gates allow, the record stores the wish, a clock that is the lease of whoever
//! fetches; what was fetched comes back as an input, and all gates are judged again before the claim. When the lease ends
//! without it, the wish is judged and fetched again. It comes to an end: an occasion too old or overdue for its gates is not
//! fetched for again.

use super::claim::Occasion;
use super::gates::Stop;
use super::{Fetched, Work, bounds};
use crate::engine::catalog::CampaignInForce;
use crate::engine::definition::Status;
use crate::engine::delivery::{delivery_id, lease};
use crate::engine::effect::{Effect, Fetch, Reason, RuleShown};
use crate::engine::id::{CampaignId, DeliveryId};
use crate::engine::record::{Timer, TimerKind};
use crate::engine::rendering;
use crate::engine::time::Timestamp;

pub(super) fn is_wish(timer: &Timer) -> bool {
    matches!(timer.kind, TimerKind::Linking { .. })
}

/// Whether a `without` at `at` comes before the end of the window that this wish's clock waited for. One that was deferred may
/// be cancelled until it is sent.
pub(super) fn is_cancelled(timer: &Timer, at: Timestamp) -> bool {
    match timer.kind {
        TimerKind::Linking { due, decided } => decided.is_some() || due.is_some_and(|due| at < due),
        _ => false,
    }
}

/// What could not be fetched, and why.
pub(super) fn failed(why: &str) -> Stop {
    Stop { rule: Some(RuleShown::Text(why.into())), ..Stop::from(Reason::LinkFailed) }
}

impl<'a> Work<'a> {
    /// Asks for what the templates link to.
    pub(super) fn wish(&mut self, campaign: &CampaignInForce, occasion: &Occasion, id: DeliveryId) {
        let definition = &campaign.definition;
        let wanted = match rendering::wanted(&campaign.template, &self.rendering_scope(campaign, occasion, id)) {
            Ok(wanted) => wanted,
            Err(held) => return self.hold(campaign, occasion, held.into()),
        };
        let lease = self.now.after(lease::length(campaign.template.longest_fetch()));
        let kind = TimerKind::Linking { due: occasion.due, decided: occasion.decided };
        let timer = Timer { campaign: definition.id, kind, key: occasion.key, due: lease, origin: occasion.to_origin() };
        if !bounds::has_room_for_timer(&self.known.record, &timer, None) {
            return self.hold(campaign, occasion, Reason::StateFull.into());
        }
        self.known.record.timers.push(timer);
        let fetch = Fetch { campaign: definition.id, key: definition.key.clone(), delivery: id, wanted, lease };
        self.effects.push(Effect::Fetch(Box::new(fetch)));
    }

    /// What a wish came to. Nobody may wish for it any more: it was decided by what another fetched, or its user is forgotten. A pause
    /// holds it like a clock, and it is fetched anew afterwards.
    pub(super) fn fetched(&mut self, campaign: CampaignId, delivery: DeliveryId, fetched: &Fetched) {
        let in_force: &'a _ = self.in_force;
        let running = self.status(campaign) == Status::Running;
        let Some(campaign) = in_force.campaign(campaign).filter(|_| running) else { return self.skip() };
        let is_this = |timer: &Timer| {
            let instance = || delivery_id(&in_force.policy.id_key, timer.campaign, self.user, &Occasion::of_timer(timer).instance());
            is_wish(timer) && timer.campaign == campaign.definition.id && instance() == delivery
        };
        let Some(place) = self.known.record.timers.iter().position(is_this) else { return self.skip() };
        let timer = self.known.record.timers.remove(place);
        self.decide_with(campaign, &Occasion::of_timer(&timer), Some(fetched));
    }
}

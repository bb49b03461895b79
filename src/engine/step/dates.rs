//! Clocks of dates: those that events start, and those that follow a user's profile.

use super::Work;
use super::bounds;
use super::claim::Occasion;
use super::gates;
use super::happening::Happening;
use crate::engine::calendar::Zone;
use crate::engine::catalog::CampaignInForce;
use crate::engine::definition::{EventDate, Status, Trigger, ZoneChoice};
use crate::engine::effect::Reason;
use crate::engine::id::CampaignId;
use crate::engine::record::{Occurrence, Origin, Timer, TimerKind, TriggerKind};
use crate::engine::trigger::correlation::{self, NO_KEY};
use crate::engine::trigger::date::{self, Coming};
use crate::engine::trigger::inaction::Start;

impl<'a> Work<'a> {
    /// An event with a date: starts its clock, unless one pends. A date that has passed is overdue at once.
    pub(super) fn start_date(&mut self, campaign: &CampaignInForce, date: &EventDate, event: &Happening) {
        let definition = &campaign.definition;
        let occasion = Occasion::of_event(TriggerKind::Date, event);
        let zone = self.zone(&date.when.zone);
        let Some(due) = date::due_of_event(date, event.timestamp, event.properties, &zone) else { return };
        if self.status(definition.id) != Status::Running {
            return self.hold(campaign, &occasion, Reason::CampaignPaused.into());
        }
        let key = correlation::key(date.same.iter().map(|path| &**path), event.properties);
        let place = match date::start(&self.known.record.timers, definition.id, key, event.timestamp, date.again) {
            Start::New => None,
            Start::Restart(place) => Some(place),
            Start::Ignored => return,
        };
        let timer = Timer { campaign: definition.id, kind: TimerKind::EventDate, key, due, origin: occasion.to_origin() };
        self.set_timer(campaign, place, timer, &occasion);
    }

    /// The profile may have changed: every clock of a user date follows it.
    pub(super) fn follow_dates(&mut self) {
        let in_force: &'a _ = self.in_force;
        for place in &in_force.user_dates {
            if let Some(campaign) = in_force.campaigns.get(*place) {
                self.follow_date(campaign);
            }
        }
    }

    /// Sets, moves or removes the clock of a user date, so that it is what the profile says. Only for a campaign that was started;
    /// without room it is not set.
    pub(super) fn follow_date(&mut self, campaign: &CampaignInForce) {
        let definition = &campaign.definition;
        let Trigger::UserDate(date) = &definition.trigger else { return };
        if !matches!(self.status(definition.id), Status::Running | Status::Paused) {
            return;
        }
        let timers = &self.known.record.timers;
        let place = timers.iter().position(|timer| timer.campaign == definition.id && timer.kind == TimerKind::UserDate);
        let clock = place.and_then(|place| timers.get(place));
        // One that is due already stays this year's.
        let from = clock.map_or(self.now, |clock| clock.due.min(self.now));
        let decided = self.known.record.occurrences.iter().find(|known| known.campaign == definition.id);
        let zone = self.zone(&date.when.zone);
        let coming = date::of_user(date, self.known.profile.traits(), &zone, from, decided.map(|known| &*known.name));
        let same = |clock: &Timer| coming.as_ref().is_some_and(|to| to.due == clock.due && Some(&*to.name) == clock.origin.run.as_deref());
        if clock.is_some_and(same) {
            return;
        }
        if let Some(place) = place {
            self.known.record.timers.remove(place);
        }
        if let Some(Coming { due, name }) = coming {
            let origin = Origin { kind: TriggerKind::Date, timestamp: due, run: Some(name), ..Origin::default() };
            let timer = Timer { campaign: definition.id, kind: TimerKind::UserDate, key: NO_KEY, due, origin };
            if bounds::has_room_for_timer(&self.known.record, &timer, None) {
                self.known.record.timers.push(timer);
            }
        }
    }

    /// A user date is due: it is decided, once and for all, and a yearly one is set for its next year.
    pub(super) fn fire_user_date(&mut self, campaign: &CampaignInForce, timer: &Timer) {
        self.decide(campaign, &Occasion::of_timer(timer));
        if let Some(name) = &timer.origin.run {
            self.note_occurrence(campaign.definition.id, name);
        }
        self.follow_date(campaign);
    }

    /// Remembers which date or run of a campaign was decided last.
    pub(super) fn note_occurrence(&mut self, campaign: CampaignId, name: &str) {
        let occurrences = &mut self.known.record.occurrences;
        occurrences.retain(|known| known.campaign != campaign);
        occurrences.push(Occurrence { campaign, name: name.into(), at: self.now });
    }

    /// The zone in which a definition's local times are meant, for this user.
    pub(super) fn zone(&self, choice: &ZoneChoice) -> Zone {
        let name = match choice {
            ZoneChoice::User => gates::zone(&self.known.profile, &self.in_force.workspace),
            ZoneChoice::Workspace => self.in_force.zone(),
            ZoneChoice::Named(name) => name,
        };
        Zone::find(name).unwrap_or(Zone::UTC)
    }
}

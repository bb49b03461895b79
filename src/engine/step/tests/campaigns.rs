//! Campaigns for scripts: one constructor a trigger, and changes to be chained.

use super::*;
use crate::engine::calendar::{self, Cron, TimeOfDay};

pub(super) fn pattern(event: &str) -> Pattern {
    Pattern { event: event.into(), condition: Condition::ALWAYS }
}

pub(super) fn campaign(key: &str, trigger: Trigger) -> Campaign {
    Campaign {
        status: Some(Status::Running),
        ..Campaign::new(key, trigger, Webhook::new("https://api.example.com/send", "api.example.com"))
    }
}

/// Sends whenever `event` happens, once per user.
pub(super) fn action(key: &str, event: &str) -> Campaign {
    campaign(key, Trigger::Action(pattern(event)))
}

pub(super) fn api(key: &str) -> Campaign {
    campaign(key, Trigger::Api)
}

/// 30 minutes without `without` after `after`, once per user.
pub(super) fn inaction(key: &str, after: &str, without: &str) -> Campaign {
    let (after, without) = (pattern(after), pattern(without));
    campaign(key, Trigger::Inaction(Inaction { after, without, within: span("30m"), same: Vec::new(), again: Again::Ignore }))
}

/// Both events, in any order, for ever, of whatever properties.
pub(super) fn actions(key: &str, events: &[&str]) -> Campaign {
    let events = events.iter().map(|event| pattern(event)).collect();
    campaign(key, Trigger::Actions(Actions { events, order: Order::Any, within: None, same: Vec::new() }))
}

pub(super) fn elapsed(offset: &str) -> DateOffset {
    DateOffset { offset_ms: at(offset).0 - START.0, at: None, zone: ZoneChoice::User }
}

pub(super) fn event_date(key: &str, event: &str, property: Option<&str>, offset: &str) -> Campaign {
    let (pattern, property) = (pattern(event), property.map(Into::into));
    campaign(key, Trigger::EventDate(EventDate { pattern, property, when: elapsed(offset), same: Vec::new(), again: Again::Ignore }))
}

pub(super) fn user_date(key: &str, property: &str, yearly: bool, offset: &str) -> Campaign {
    campaign(key, Trigger::UserDate(UserDate { property: property.into(), yearly, when: elapsed(offset) })).always()
}

pub(super) fn schedule(key: &str, cron: &str, zone: ZoneChoice) -> Campaign {
    campaign(key, Trigger::Schedule(Schedule { times: calendar::Schedule::Cron(Cron::parse(cron).unwrap()), zone })).always()
}

/// Changes of a campaign, to be chained.
pub(super) trait With: Sized {
    fn with(self, change: impl FnOnce(&mut Campaign)) -> Campaign;

    fn always(self) -> Campaign {
        self.with(|campaign| campaign.fatigue.resend = Resend::Always)
    }

    fn every(self, period: &str) -> Campaign {
        self.with(|campaign| campaign.fatigue.resend = Resend::After(span(period)))
    }

    fn uncapped(self) -> Campaign {
        self.with(|campaign| campaign.fatigue.frequency_cap = false)
    }

    fn priority(self, priority: i64) -> Campaign {
        self.with(|campaign| campaign.priority = priority)
    }

    fn channel(self, channel: &str) -> Campaign {
        self.with(|campaign| campaign.channel = Some(channel.into()))
    }

    fn tags(self, tags: &[&str]) -> Campaign {
        self.with(|campaign| campaign.tags = tags.iter().map(|tag| (*tag).into()).collect())
    }

    fn body(self, text: &str) -> Campaign {
        self.with(|campaign| campaign.webhook.body = Body::Text(text.into()))
    }

    /// Sends what it fetches from `/<trait city>`, within 2 s: so for a lease of 12 s.
    fn linked(self) -> Campaign {
        self.with(|campaign| {
            campaign.webhook.links.push(Link {
                name: "w".into(),
                url: "https://w.example/{{ user.city }}".into(),
                host: "w.example".into(),
                ttl: Duration::ZERO,
                timeout: Duration::from_secs(2),
                on_error: OnLinkError::Drop,
            });
            campaign.webhook.body = Body::Text(r#"{"t":"{{ link.w.t }}"}"#.into());
        })
    }

    /// Only users whose trait has this value.
    fn only(self, path: &str, value: impl Into<Value>) -> Campaign {
        let condition = Condition::Test { path: path.into(), test: Test::Eq(Operand::Value(value.into())) };
        self.with(|campaign| campaign.audience = Rule::User(condition))
    }

    fn again(self, chosen: Again) -> Campaign {
        self.with(|campaign| match &mut campaign.trigger {
            Trigger::Inaction(inaction) => inaction.again = chosen,
            Trigger::EventDate(date) => date.again = chosen,
            _ => panic!("no again"),
        })
    }

    fn same(self, after: &str, without: &str) -> Campaign {
        self.with(|campaign| match &mut campaign.trigger {
            Trigger::Inaction(inaction) => inaction.same.push(SamePair { after: after.into(), without: without.into() }),
            Trigger::EventDate(EventDate { same, .. }) | Trigger::Actions(Actions { same, .. }) => same.push(after.into()),
            _ => panic!("no same"),
        })
    }

    fn at(self, hour: u16) -> Campaign {
        self.with(|campaign| match &mut campaign.trigger {
            Trigger::EventDate(EventDate { when, .. }) | Trigger::UserDate(UserDate { when, .. }) => {
                when.at = Some(TimeOfDay::of_minutes(hour * 60))
            }
            _ => panic!("no date"),
        })
    }

    fn within(self, order: Order, span: Option<&str>) -> Campaign {
        self.with(|campaign| match &mut campaign.trigger {
            Trigger::Actions(actions) => (actions.order, actions.within) = (order, span.map(super::span)),
            _ => panic!("no actions"),
        })
    }

    /// The (first) pattern holds only where this does.
    fn given(self, path: &str, test: Test) -> Campaign {
        let condition = Condition::Test { path: path.into(), test };
        self.with(|campaign| match &mut campaign.trigger {
            Trigger::Action(pattern)
            | Trigger::Inaction(Inaction { after: pattern, .. })
            | Trigger::EventDate(EventDate { pattern, .. }) => {
                pattern.condition = condition;
            }
            Trigger::Actions(actions) => actions.events[0].condition = condition,
            _ => panic!("no pattern"),
        })
    }
}

impl With for Campaign {
    fn with(mut self, change: impl FnOnce(&mut Campaign)) -> Campaign {
        change(&mut self);
        self
    }
}

pub(super) fn cap(limit: u32, per: &str) -> FrequencyCap {
    FrequencyCap { limit, period: Period::Sliding(span(per)), channel: None, tag: None }
}

/// The period of a cap, as it is written.
pub(super) fn period(cap: &FrequencyCap) -> String {
    match cap.period {
        Period::Sliding(span) => duration_text::format(span),
        Period::Calendar(unit) => format!("{unit:?}").to_lowercase(),
    }
}

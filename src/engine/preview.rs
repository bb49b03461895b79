//! What a campaign would send to somebody because of an event: the request and what is probably not as it was meant. For people who try a
//! campaign before it sends; no gate is judged, nothing is decided, and secrets stay placeholders.

use super::catalog::{CampaignInForce, InForce};
use super::definition::{Campaign, Trigger};
use super::delivery::delivery_id;
use super::effect::Reason;
use super::event::{Body, Event};
use super::id::{DeliveryId, UserId};
use super::profile::Profile;
use super::record::{Request, TriggerKind};
use super::rendering::{self, Held, Scope, Triggered};
use super::value::Value;

/// Somebody, and the event.
pub struct Case<'a> {
    pub user: &'a UserId,
    /// As it was known before the event.
    pub profile: Profile,
    pub event: &'a Event,
    /// What linked services answer, by the names of the campaign's links.
    pub links: &'a [(Box<str>, Value)],
}

/// What would be sent.
pub struct Preview {
    /// Its delivery's.
    pub id: DeliveryId,
    /// Or why nothing would.
    pub request: Result<Request, Held>,
    /// Variables without a value, as they are written, apart from those of the links below.
    pub missing: Vec<String>,
    /// The campaign's links of which nothing says what the service answers: they are empty.
    pub unanswered: Vec<Box<str>>,
    pub warnings: Vec<String>,
}

/// Who an identify says that somebody is.
pub fn profile_of(identify: &Event) -> Profile {
    let mut profile = Profile::default();
    profile.note_device(identify.anonymous_id.as_deref(), identify.device_token.as_deref(), identify.timestamp);
    profile.merge(&identify.context_traits, identify.timestamp);
    if let Body::Identify { traits } = &identify.body {
        profile.merge(traits, identify.timestamp);
    }
    profile
}

/// Renders the campaign's request.
pub fn preview(in_force: &InForce, campaign: &CampaignInForce, case: Case<'_>) -> Preview {
    let Case { user, mut profile, event, links } = case;
    let definition = &campaign.definition;
    learn(&mut profile, event);
    let mut warnings = doubts(in_force, definition, user, event);
    let given = |name: &str| links.iter().any(|(given, _)| **given == *name);
    let unanswered = definition.webhook.links.iter().filter(|link| !given(&link.name)).map(|link| link.name.clone()).collect();
    let id = delivery_id(&in_force.policy.id_key, definition.id, user, &event.message_id);
    let kind = TriggerKind::of(&definition.trigger).as_str();
    let (name, properties) = match &event.body {
        Body::Track { name, properties } => (&**name, properties),
        Body::Send { properties, .. } => ("", properties),
        Body::Identify { .. } | Body::Delete => {
            let why = "the event must be a track or a send".to_owned();
            return Preview { id, request: Err(Held { reason: Reason::RenderFailed, why }), missing: Vec::new(), unanswered, warnings };
        }
    };
    let trigger = Triggered { kind, event: name, message_id: &event.message_id, timestamp: event.timestamp, properties, others: &[] };
    let scope = Scope { user_id: user, user: &profile, trigger, campaign: definition, delivery: id, now: event.timestamp, links };
    let names = rendering::missing(&campaign.template, &scope);
    let found = names.len();
    let of_given = |link: &str| links.iter().any(|(given, _)| link.split('.').next() == Some(given));
    let missing: Vec<String> = names.into_iter().filter(|name| name.strip_prefix("link.").is_none_or(of_given)).collect();
    let rendered = rendering::render(&campaign.template, &scope);
    if let Ok(rendered) = &rendered
        && let more @ 1.. = (rendered.missing as usize).saturating_sub(found)
    {
        warnings.push(format!("{more} more outputs have no value"));
    }
    Preview { id, request: rendered.map(|rendered| rendered.request), missing, unanswered, warnings }
}

/// What the event says of its user, as if it came last: its own traits win.
fn learn(profile: &mut Profile, event: &Event) {
    profile.note_device(event.anonymous_id.as_deref(), event.device_token.as_deref(), event.timestamp);
    let newest = profile.newest().max(event.timestamp);
    profile.merge(&event.context_traits, newest);
    if let Body::Send { traits, .. } = &event.body {
        profile.merge(traits, newest);
    }
}

/// What is probably not as it was meant.
fn doubts(in_force: &InForce, campaign: &Campaign, user: &UserId, event: &Event) -> Vec<String> {
    let mut doubts = Vec::new();
    if *user != event.user {
        doubts.push(format!("the event is of user `{}`, who is shown is `{user}`", event.user));
    }
    let key = &campaign.key;
    match (&event.body, &campaign.trigger) {
        (Body::Track { name, properties }, Trigger::Action(_) | Trigger::Inaction(_)) => {
            let mut matches = Vec::new();
            in_force.index.matches(name, properties, event.timestamp, in_force.zone(), &mut matches);
            let is_own = |place: u32| in_force.campaigns.get(place as usize).is_some_and(|found| found.definition.key == *key);
            if !matches.iter().any(|found| is_own(found.campaign)) {
                doubts.push(format!("this event `{name}` would not trigger campaign `{key}`"));
            }
        }
        (Body::Send { campaign: asked, .. }, _) if asked != key => doubts.push(format!("this send asks for campaign `{asked}`")),
        _ => {}
    }
    doubts
}

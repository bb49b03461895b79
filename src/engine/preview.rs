//! What a campaign would send to somebody because of an event: the request and what is probably not as it was meant. For people who try a
//! campaign before it sends; no gate is judged, nothing is decided, and secrets stay placeholders.

use super::catalog::{CampaignInForce, InForce};
use super::definition::{Campaign, Trigger};
use super::delivery::delivery_id;
use super::delivery::wire::AUTHORIZATION;
use super::effect::Reason;
use super::event::{Body, Event};
use super::id::{DeliveryId, UserId};
use super::profile::Profile;
use super::record::{Frozen, Piece, Request, TriggerKind};
use super::rendering::{self, Held, Scope, Triggered};
use super::step::{Known, SeenView, seen};
use super::value::{Object, Value};

/// Somebody, and the event.
pub struct Case<'a> {
    pub user: &'a UserId,
    /// As it was known before the event.
    pub profile: Profile,
    pub event: &'a Event,
    /// For a campaign that waits for several: those that came before, the last of one name counts.
    pub earlier: &'a [Event],
    /// What linked services answer, by the names of the campaign's links.
    pub links: &'a [(Box<str>, Value)],
}

/// What would be sent.
pub struct Preview {
    /// Its delivery's.
    pub id: DeliveryId,
    /// Or why nothing would. Without what its destination adds when it is sent.
    pub request: Result<Request, Held>,
    /// What the destination identifies itself by, hidden.
    authorization: Option<&'static str>,
    /// Variables without a value, as they are written, apart from those of the links below.
    pub missing: Vec<String>,
    /// The campaign's links of which nothing says what the service answers: they are empty.
    pub unanswered: Vec<Box<str>>,
    pub warnings: Vec<String>,
}

impl Preview {
    /// The request as people should see it: with what its destination adds, hidden. `None` where nothing would be sent.
    pub fn shown(&self) -> Option<Request> {
        let mut request = self.request.as_ref().ok()?.clone();
        if let Some(hidden) = self.authorization {
            request.headers.insert(0, (AUTHORIZATION.into(), Frozen(vec![Piece::Text(hidden.into())])));
        }
        Some(request)
    }
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
    let Case { user, mut profile, event, earlier, links } = case;
    let definition = &campaign.definition;
    earlier.iter().chain([event]).for_each(|event| learn(&mut profile, event));
    let warnings = doubts(in_force, definition, user, &profile, earlier.iter().chain([event]));
    let given = |name: &str| links.iter().any(|(given, _)| **given == *name);
    let unanswered = definition.webhook.links.iter().filter(|link| !given(&link.name)).map(|link| link.name.clone()).collect();
    let id = delivery_id(&in_force.policy.id_key, definition.id, user, &event.message_id);
    let kind = TriggerKind::of(&definition.trigger).as_str();
    let (name, properties) = match &event.body {
        Body::Track { name, properties } => (&**name, properties),
        Body::Send { properties, .. } => ("", properties),
        Body::Identify { .. } | Body::Delete => {
            let why = "the event must be a track or a send".to_owned();
            let request = Err(Held { reason: Reason::RenderFailed, why });
            return Preview { id, request, authorization: None, missing: Vec::new(), unanswered, warnings };
        }
    };
    let others = if matches!(definition.trigger, Trigger::Actions(_)) { by_name(earlier, event) } else { Vec::new() };
    let trigger = Triggered { kind, event: name, message_id: &event.message_id, timestamp: event.timestamp, properties, others: &others };
    let scope = Scope { user_id: user, user: &profile, trigger, campaign: definition, delivery: id, now: event.timestamp, links };
    let names = rendering::missing(&campaign.template, &scope);
    let of_given = |link: &str| links.iter().any(|(given, _)| link.split('.').next() == Some(given));
    let missing: Vec<String> = names.into_iter().filter(|name| name.strip_prefix("link.").is_none_or(of_given)).collect();
    let request = rendering::render(&campaign.template, &scope).map(|rendered| rendered.request);
    let authorization = request.as_ref().ok().and_then(|request| hidden_authorization(in_force, request));
    Preview { id, request, authorization, missing, unanswered, warnings }
}

/// `events.<name>`, as a completed set has them: of two of one name the later one.
fn by_name(earlier: &[Event], last: &Event) -> Vec<(Box<str>, Object)> {
    let mut others: Vec<(Box<str>, Object)> = Vec::new();
    for event in [last].into_iter().chain(earlier.iter().rev()) {
        if let Body::Track { name, properties } = &event.body
            && others.iter().all(|(known, _)| known != name)
        {
            others.push((name.clone(), properties.clone()));
        }
    }
    others
}

/// A request that has one of its own keeps it.
fn hidden_authorization(in_force: &InForce, request: &Request) -> Option<&'static str> {
    let has_own = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(AUTHORIZATION));
    in_force.credentials(request).filter(|_| !has_own)?.hidden_authorization()
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
fn doubts<'e>(
    in_force: &InForce,
    campaign: &Campaign,
    user: &UserId,
    profile: &Profile,
    events: impl Iterator<Item = &'e Event>,
) -> Vec<String> {
    let (mut doubts, mut given) = (Vec::new(), 0);
    let known = Known { profile: profile.clone(), ..Known::default() };
    let key = &campaign.key;
    for event in events {
        given += 1;
        if *user != event.user {
            doubts.push(format!("the event is of user `{}`, who is shown is `{user}`", event.user));
        }
        match (&event.body, &campaign.trigger) {
            (Body::Track { name, .. }, Trigger::Api) => {
                doubts.push(format!("this event `{name}` would not trigger campaign `{key}`: that waits for a `send`"));
            }
            // Whatever happened, these go by the user or the clock.
            (Body::Track { .. }, Trigger::Schedule(_) | Trigger::UserDate(_) | Trigger::Cohort { .. }) => {}
            (Body::Track { name, properties }, _) => {
                let parts = seen(in_force, user, &known, campaign, (name, properties, event.timestamp));
                if !parts.iter().any(SeenView::triggers) {
                    doubts.push(format!("this event `{name}` would not trigger campaign `{key}`"));
                }
            }
            (Body::Send { campaign: asked, .. }, _) if asked != key => doubts.push(format!("this send asks for campaign `{asked}`")),
            (Body::Send { .. }, trigger) if *trigger != Trigger::Api => {
                doubts.push(format!("a send does not trigger campaign `{key}`: its trigger is another"));
            }
            (Body::Send { .. } | Body::Identify { .. } | Body::Delete, _) => {}
        }
    }
    if given > 1 && !matches!(campaign.trigger, Trigger::Actions(_)) {
        doubts.push(format!("campaign `{key}` does not wait for several events: only the last that is given counts"));
    }
    doubts
}

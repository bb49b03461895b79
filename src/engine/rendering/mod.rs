//! Stand-in for the rendering room: to be dropped when that is merged.

use super::definition::{Body, Campaign, Destination};
use super::effect::Reason;
use super::id::DeliveryId;
use super::profile::Profile;
use super::record::{Frozen, Origin, Piece, Request};
use super::time::Timestamp;

pub struct Template;

pub struct Scope<'a> {
    pub user_id: &'a str,
    pub user: &'a Profile,
    pub origin: &'a Origin,
    pub trigger_kind: &'a str,
    pub campaign: &'a Campaign,
    pub delivery: DeliveryId,
    pub now: Timestamp,
}

#[derive(Debug)]
pub struct Rendered {
    pub request: Request,
    pub missing: u32,
}

#[derive(Debug)]
pub struct Held {
    pub reason: Reason,
    pub why: String,
}

#[derive(Debug)]
pub struct TemplateProblem {
    pub field: String,
    pub message: String,
    pub at: Option<(usize, usize)>,
}
pub const COMPONENT: &percent_encoding::AsciiSet = percent_encoding::NON_ALPHANUMERIC;

pub fn compile(_: &Campaign, _: Option<&Destination>) -> Result<Template, Vec<TemplateProblem>> {
    Ok(Template)
}

pub fn render(_: &Template, scope: &Scope) -> Result<Rendered, Held> {
    let text = match &scope.campaign.webhook.body {
        Body::Text(text) => text.to_string(),
        _ => format!("{{\"properties\":{}}}", serde_json::to_string(&scope.origin.properties).unwrap_or_default()),
    };
    if text.contains("{% abort") {
        return Err(Held { reason: Reason::AbortedByTemplate, why: "enough".into() });
    }
    if text == "{" {
        return Err(Held { reason: Reason::RenderFailed, why: "not JSON".into() });
    }
    let request = Request {
        destination: scope.campaign.webhook.destination.clone().unwrap_or_else(|| scope.campaign.webhook.host.clone()),
        method: scope.campaign.webhook.method,
        url: Frozen(vec![Piece::Text(scope.campaign.webhook.url.clone())]),
        headers: Vec::new(),
        content_type: scope.campaign.webhook.content_type,
        body: Some(Frozen(vec![Piece::Text(text.replace("{{ event.nope }}", "").into())])),
    };
    Ok(Rendered { request, missing: text.matches("{{ event.nope }}").count() as u32 })
}

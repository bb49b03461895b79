//! Tables of templates and what they render to.

mod any;
mod bodies;
mod links;
mod liquid;
mod problems;
mod profiles;
mod requests;

use super::*;
use crate::engine::definition::{Body, Condition, ContentType, Destination, Method, Pattern, Trigger, Webhook};
use crate::engine::record::Quoting;
use crate::engine::value::Value;

/// What a case starts from.
pub struct Case {
    pub campaign: Campaign,
    pub destination: Option<Destination>,
    pub properties: Object,
    pub traits: Object,
    pub anonymous_id: Option<&'static str>,
    /// What was fetched.
    pub links: Vec<(Box<str>, Value)>,
}

pub fn json(text: &str) -> Value {
    Value::from_json(text).unwrap()
}

fn object(text: &str) -> Object {
    serde_json::from_str(text).unwrap()
}

impl Case {
    pub fn new(body: Body) -> Case {
        let webhook = Webhook { body, ..Webhook::new("https://a.example/v1", "a.example") };
        let campaign = Campaign {
            title: Some("Cart \"left\"".into()),
            version: 3,
            tags: vec!["promo".into(), "한".into()],
            ..Campaign::new("cart", Trigger::Action(Pattern { event: "cart_added".into(), condition: Condition::ALWAYS }), webhook)
        };
        let properties = object(
            r#"{"name":"Anna \"A\" Ö","amount":120.5,"count":3,"big":18446744073709551615,"whole":10.0,"yes":true,"no":false,"nothing":null,
            "empty":"","blank":"  ","lines":"a\nb\r\nc","slash":"a/b?c=d&e f","items":[{"id":"i1","n":1},{"id":"i2","n":2}],"words":["x","y","z"],
            "deep":{"a":{"b":[10,20,30]},"x.y":7},"dot.ted":"full","deep.a":"wins","none":[],"void":{},"html":"<b>&</b>","number":"20",
            "text":"one two three","up":"..","at":"2026-11-20T19:00:00+09:00","unix":1700000000}"#,
        );
        Case {
            campaign,
            destination: None,
            properties,
            traits: object(r#"{"phone":"+82 10","city":"서울","vip":true,"plan":"gold","id":"trait-id"}"#),
            anonymous_id: None,
            links: Vec::new(),
        }
    }

    pub fn text(text: &str, content_type: ContentType) -> Case {
        let mut case = Case::new(Body::Text(text.into()));
        case.campaign.webhook.content_type = content_type;
        case
    }

    pub fn render(&self) -> Result<Rendered, Held> {
        let template = compile(&self.campaign, self.destination.as_ref()).unwrap_or_else(|problems| panic!("{}", shown(&problems)));
        self.render_with(&template)
    }

    pub fn render_with(&self, template: &Template) -> Result<Rendered, Held> {
        self.with_scope(|scope| render(template, scope))
    }

    /// The URLs of its links, a line each.
    pub fn wanted(&self) -> String {
        let template = compile(&self.campaign, None).unwrap_or_else(|problems| panic!("{}", shown(&problems)));
        match self.with_scope(|scope| wanted(&template, scope)) {
            Ok(wanted) => wanted.iter().map(|wanted| format!("{} {}", wanted.name, wanted.url)).collect::<Vec<_>>().join("\n"),
            Err(held) => format!("{}: {}", held.reason.as_str(), held.why),
        }
    }

    fn with_scope<R>(&self, then: impl FnOnce(&Scope<'_>) -> R) -> R {
        let mut user = Profile::default();
        user.merge(&self.traits, Timestamp(1));
        user.note_device(self.anonymous_id, Some("device-1"), Timestamp(1));
        let trigger = Triggered {
            kind: "action",
            event: "cart_added",
            message_id: "m1",
            timestamp: Timestamp(1_700_000_000_000),
            properties: &self.properties,
            others: &[],
        };
        then(&Scope {
            user_id: "u1",
            user: &user,
            trigger,
            campaign: &self.campaign,
            delivery: DeliveryId([7; 16]),
            now: Timestamp(1_700_000_100_000),
            links: &self.links,
        })
    }

    pub fn problems(&self) -> String {
        compile(&self.campaign, self.destination.as_ref()).err().map_or_else(String::new, |problems| shown(&problems))
    }
}

fn shown(problems: &[TemplateProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The body's text, secrets as `<name:quoting>`.
pub fn body_of(rendered: &Rendered) -> String {
    rendered.request.body.as_ref().map(frozen_text).unwrap_or_default()
}

pub fn frozen_text(frozen: &Frozen) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.to_string(),
        Piece::Secret(name, quoting) => {
            let quoting = match quoting {
                Quoting::Plain => "plain",
                Quoting::Json => "json",
                Quoting::Url => "url",
            };
            format!("<{name}:{quoting}>")
        }
    };
    frozen.0.iter().map(piece).collect()
}

/// Renders a plain text body; a held send shows as `reason: why`.
pub fn plain(template: &str) -> String {
    shown_result(Case::text(template, ContentType::Text).render())
}

pub fn shown_result(result: Result<Rendered, Held>) -> String {
    match result {
        Ok(rendered) => body_of(&rendered),
        Err(held) => format!("{}: {}", held.reason.as_str(), held.why),
    }
}

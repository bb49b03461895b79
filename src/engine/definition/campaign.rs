//! Campaigns: who they are, and how often one person may get them. Trigger, audience and webhook have files of their own.

use std::time::Duration;

use super::document::ReadOptions;
use super::problem::Problems;
use super::reader::{self, MAX_SPAN, Reader};
use super::text::{Data, Node};
use super::{Active, Campaign, Control, Fatigue, Resend, Rule, Status, rule, trigger, webhook};
use crate::engine::id::CampaignId;
use crate::engine::value::Value;

/// Longest key of a document, in characters.
pub const MAX_KEY: usize = 63;

/// How many tags a campaign may have; each is kept with every counted send.
const MAX_TAGS: usize = 16;

/// Keys that come with the rest of the language.
const LATER: [&str; 4] = ["active", "control", "limit", "goal"];
const FATIGUE_LATER: [&str; 4] = ["per", "on_cap", "quiet_hours", "refund_on_failure"];

const STATUSES: [(&str, Status); 4] =
    [("ready", Status::Ready), ("running", Status::Running), ("paused", Status::Paused), ("ended", Status::Ended)];

pub(super) fn campaign(node: &Node, options: &ReadOptions, problems: &Problems) -> Option<Campaign> {
    let mut reader = Reader::open(node, "a campaign", problems)?;
    reader.get("kind");
    let key = key(&mut reader);
    let title = reader.text("title").map(Into::into);
    let description = reader.text("description").map(Into::into);
    let status = reader.choice("status", &STATUSES);
    let tags = tags(&mut reader);
    let channel = reader.name("channel").map(Into::into);
    let priority = reader.integer("priority", i64::MIN..=i64::MAX).unwrap_or(0);
    let trigger = reader
        .require("trigger", "what starts a send: {action: {event: ...}}, {inaction: ...} or {api: {}}")
        .and_then(|node| trigger::trigger(node, problems));
    let audience = match reader.get("audience") {
        Some(node) => rule::rule(node, "`audience`", problems),
        None => Some(Rule::All(Vec::new())),
    };
    let fatigue = fatigue(&mut reader);
    let webhook =
        reader.require("webhook", "where to send it: {url: \"https://...\"}").and_then(|node| webhook::webhook(node, options, problems));
    reader.close(&LATER);
    let key: Box<str> = key?.into();
    Some(Campaign {
        id: CampaignId::of(&key),
        key,
        title,
        description,
        version: 1,
        status,
        tags,
        channel,
        priority,
        active: Active::default(),
        trigger: trigger?,
        audience: audience?,
        control: Control::default(),
        limit: None,
        fatigue,
        goal: None,
        webhook: webhook?,
    })
}

/// `[a-z0-9][a-z0-9-]{0,62}`
pub(super) fn key<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    let node = reader.require("key", "a name of its own: lower-case letters, digits and hyphens")?;
    let key = reader::text(node, "`key`", reader.problems)?;
    if is_key(key) {
        return Some(key);
    }
    let message = format!("`{key}` cannot be a key");
    let rule = format!("at most {MAX_KEY} lower-case letters, digits and hyphens, the first no hyphen");
    let likely: String = key.to_lowercase().chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect();
    let likely = likely.trim_matches('-');
    let help = if is_key(likely) { format!("{rule}: `{likely}`?") } else { rule };
    reader.problems.error_with_help(node.place, message, help);
    None
}

fn is_key(key: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=MAX_KEY).contains(&key.len()) && fits(key.as_bytes()[0]) && key.bytes().all(|byte| fits(byte) || byte == b'-')
}

fn tags(reader: &mut Reader<'_>) -> Vec<Box<str>> {
    let written = reader.names("tags").unwrap_or_default();
    if let Some((_, place)) = written.get(MAX_TAGS) {
        reader.problems.error(*place, format!("a campaign has at most {MAX_TAGS} tags"));
    }
    for (position, (tag, place)) in written.iter().enumerate() {
        if written[..position].iter().any(|(earlier, _)| earlier == tag) {
            reader.problems.error(*place, format!("the tag `{tag}` comes twice"));
        }
    }
    written.into_iter().map(|(tag, _)| tag.into()).collect()
}

fn fatigue(campaign: &mut Reader<'_>) -> Fatigue {
    let mut fatigue = Fatigue::default();
    let Some(mut reader) = campaign.map("fatigue") else { return fatigue };
    if let Some(node) = reader.get("resend") {
        fatigue.resend = resend(node, reader.problems).unwrap_or(Resend::Never);
    }
    fatigue.frequency_cap = reader.boolean("frequency_cap").unwrap_or(true);
    reader.close(&FATIGUE_LATER);
    fatigue
}

fn resend(node: &Node, problems: &Problems) -> Option<Resend> {
    if let Data::Map(_) = node.data {
        let mut reader = Reader::open(node, "`resend`", problems)?;
        reader.require("after", "how long after the last send, such as {after: 7d}");
        let after = reader.duration("after", Duration::from_millis(1)..=MAX_SPAN);
        reader.close(&[]);
        return after.map(Resend::After);
    }
    if let Data::Scalar(Value::Text(text)) = &node.data
        && super::duration_text::parse(text).is_some()
    {
        problems.error_with_help(node.place, format!("`resend` cannot be `{text}`"), format!("write {{after: {text}}}"));
        return None;
    }
    reader::choice(node, "`resend`", &[("never", Resend::Never), ("always", Resend::Always)], problems)
}

//! Campaigns whose destination sends batches: which cannot share a request at all, and which never do.

use super::Destinations;
use crate::engine::definition::{Body, Campaign, Destination, Document, Problem, Webhook};
use crate::engine::value::Value;

/// What templates call by these names is one user's own, or one send's.
const OWN: [&str; 6] = ["user", "event", "events", "trigger", "delivery", "link"];

/// Only a body that is a list of profiles can carry several users.
pub(super) fn batch_problem(document: &Document, campaign: &Campaign, destination: &Destination) -> Option<Problem> {
    if destination.batch.is_none() || matches!(campaign.webhook.body, Body::Profiles(_)) {
        return None;
    }
    let message = format!("the destination `{}` sends batches, which need a `profiles` body", destination.key);
    let help = "write `body: {profiles: {...}}`, or name a destination without `batch`";
    Some(document.error("webhook.body", message).help(help))
}

/// Warnings of campaigns that are sent in batches of one, for something that all would share is each user's own.
pub fn check_batches(documents: &[Document]) -> Vec<Problem> {
    let destinations = Destinations::of(documents, &[]);
    let warning = |document: &Document| {
        let campaign = super::in_use(document)?;
        let destination = destinations.of_campaign(document, campaign).ok()??;
        destination.batch.as_ref()?;
        let (field, own) = never_shared(&campaign.webhook)?;
        let message =
            format!("each user is alone in a request of `{}`, which sends batches: `{own}` is not the same for all", destination.key);
        let help =
            "what is a user's own belongs into the entry of `profiles`: name the trait in `profile_data`, send the property with the event";
        Some(document.warning(field, message).help(help))
    };
    documents.iter().filter_map(warning).collect()
}

/// The first field outside of the entries of `profiles` that differs from user to user, and the variable that makes it so. A text that is
/// assembled by tags may be missed.
pub fn never_shared(webhook: &Webhook) -> Option<(&'static str, String)> {
    let Body::Profiles(profiles) = &webhook.body else { return None };
    let mut found = None;
    let mut look = |field: &'static str, text: &str| {
        if found.is_none() {
            found = own_variable(text).map(|variable| (field, variable));
        }
    };
    look("webhook.url", &webhook.url);
    webhook.params.iter().for_each(|(_, value)| texts(value, &mut |text| look("webhook.params", text)));
    webhook.headers.iter().for_each(|(_, text)| look("webhook.headers", text));
    profiles.target_id.iter().for_each(|text| look("webhook.body", text));
    texts(&profiles.key_values, &mut |text| look("webhook.body", text));
    found
}

fn texts(value: &Value, look: &mut impl FnMut(&str)) {
    match value {
        Value::Text(text) => look(text),
        Value::List(items) => items.iter().for_each(|item| texts(item, look)),
        Value::Object(object) => object.iter().for_each(|(_, value)| texts(value, look)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Unsigned(_) | Value::Float(_) => {}
    }
}

/// The first variable of one's own within `{{ }}` or `{% %}`, outside of quotes.
fn own_variable(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some((opened, close)) = opening(rest) {
        let inside = opened.find(close).map_or(opened, |end| &opened[..end]);
        // Every other part stands in quotes.
        let outside = inside.split(['"', '\'']).step_by(2);
        let mut words = outside.flat_map(|part| part.split(|letter: char| !(letter.is_alphanumeric() || "_.".contains(letter))));
        if let Some(own) = words.find(|word| OWN.contains(&word.split('.').next().unwrap_or_default())) {
            return Some(own.to_owned());
        }
        rest = &opened[inside.len()..];
    }
    None
}

/// What follows the first opening of an output or a tag, and what closes it.
fn opening(text: &str) -> Option<(&str, &'static str)> {
    let at = text.match_indices('{').map(|(at, _)| at).find(|at| text[*at..].starts_with("{{") || text[*at..].starts_with("{%"))?;
    Some((&text[at + 2..], if text[at..].starts_with("{{") { "}}" } else { "%}" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_variables_are_found_where_templates_look_them_up() {
        let check = |text: &str, expect: &str| assert_eq!(own_variable(text).unwrap_or_default(), expect, "{text}");
        check("https://h.example/{{ user.id }}", "user.id");
        check("{{campaign.key}}-{{ event.n | default: 'x' }}", "event.n");
        check("{% if trigger.kind == 'api' %}a{% endif %}", "trigger.kind");
        check("{{ 'a' | append: delivery.id }}", "delivery.id");
        check("{{ link.weather.t }}", "link.weather.t");
        check("{{ campaign.title | append: ' user.id' }} {{ secret.key }}", "");
        check("user.id {user.id} {{ campaign.user }} {{ username }}", "");
        check("{{ user.id", "user.id");
        check("{", "");
    }
}

//! Whether the secrets are there that definitions name. A delivery without one waits for it until it expires, so whoever starts a
//! campaign is told before. Names only: a value is looked at for nothing but whether there is any.

use crate::engine::catalog::{self, Catalog, InForce, secrets_of, secrets_wrong};
use crate::engine::definition::{self, Kind, Place, Problem};
use crate::engine::delivery::credentials::variable;
use crate::worker::attempt::Secrets;

/// What a stored campaign and the destination that its requests go to name, and this worker has not.
pub fn missing(catalog: &Catalog, in_force: &InForce, campaign: &catalog::Document, secrets: &Secrets) -> Vec<Problem> {
    let webhook = in_force.by_key(&campaign.key).map(|campaign| &campaign.definition.webhook);
    let destination = webhook.and_then(|webhook| catalog.get(Kind::Destination, in_force.destination_of(webhook).name));
    let of_document = |document: &catalog::Document| {
        let faults = secrets_of(document).into_iter().filter_map(|name| fault(&name, secrets));
        faults.map(|(message, help)| Problem::error(&document.shown_as(), Place::START, message).help(help)).collect::<Vec<_>>()
    };
    [Some(campaign), destination].into_iter().flatten().flat_map(of_document).collect()
}

/// The same of definitions as they are sent, each with its place.
pub fn missing_in(documents: &[definition::Document], secrets: &Secrets) -> Vec<Problem> {
    documents.iter().flat_map(|document| secrets_wrong(document, |name| fault(name, secrets))).collect()
}

/// As one sentence.
pub fn said(problem: &Problem) -> String {
    match &problem.help {
        Some(help) => format!("{}: {help}", problem.message),
        None => problem.message.clone(),
    }
}

fn fault(name: &str, secrets: &Secrets) -> Option<(String, String)> {
    let what = match secrets(name) {
        Some(secret) if secret.expose().is_empty() => "is empty",
        Some(_) => return None,
        None => "does not exist",
    };
    let help = format!("this worker looks for a file `{name}` in `secrets.dir`, then for {}; deliveries wait for it", variable(name));
    Some((format!("secret `{name}` {what}"), help))
}

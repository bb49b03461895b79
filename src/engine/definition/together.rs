//! What only shows when all documents are seen together: names that clash, and references to what is not there.

use std::collections::BTreeMap;

use super::document::{Document, Kind};
use super::problem::{Problem, meant, sort};
use super::{Campaign, Definition, Destination, Status};
use crate::engine::id::CampaignId;

/// Every problem among these documents. Ended campaigns refer to nothing any more.
pub fn check_together(documents: &[Document]) -> Vec<Problem> {
    let mut problems = Vec::new();
    repeated(documents, &mut problems);
    colliding(documents, CampaignId::of, &mut problems);
    let destinations: Vec<&Destination> = documents
        .iter()
        .filter_map(|document| match &document.definition {
            Definition::Destination(destination) => Some(&**destination),
            _ => None,
        })
        .collect();
    for document in documents {
        if let Definition::Campaign(campaign) = &document.definition
            && campaign.status != Some(Status::Ended)
        {
            problems.extend(destination_problem(document, campaign, &destinations));
        }
    }
    sort(&mut problems);
    problems
}

fn repeated(documents: &[Document], problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<(Kind, &str), &Document> = BTreeMap::new();
    for document in documents {
        let Some(first) = seen.get(&(document.kind, &*document.key)) else {
            seen.insert((document.kind, &document.key), document);
            continue;
        };
        let message = match document.kind {
            Kind::Workspace => "there is more than one workspace".to_owned(),
            kind => format!("the key `{}` is taken by another {kind}", document.key),
        };
        problems.push(document.error("key", message).help(format!("the first is at {}:{}", first.file, first.line)));
    }
}

/// Two campaigns that a record could not tell apart. With a hash of 64 bits nobody will see this, but a clash would mix up
/// who got what, so it is refused.
fn colliding(documents: &[Document], id: impl Fn(&str) -> CampaignId, problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<CampaignId, &str> = BTreeMap::new();
    for document in documents.iter().filter(|document| document.kind == Kind::Campaign) {
        let first = *seen.entry(id(&document.key)).or_insert(&document.key);
        if first != &*document.key {
            let message = format!("the keys `{}` and `{first}` have the same hash", document.key);
            problems.push(document.error("key", message).help("choose another key"));
        }
    }
}

fn destination_problem(document: &Document, campaign: &Campaign, destinations: &[&Destination]) -> Option<Problem> {
    let webhook = &campaign.webhook;
    let Some(name) = &webhook.destination else {
        let host = |destination: &&&Destination| destination.host == webhook.host;
        let mut matching: Vec<&str> = destinations.iter().filter(host).map(|destination| &*destination.key).collect();
        matching.sort_unstable();
        if matching.len() < 2 {
            return None;
        }
        let message = format!("several destinations match `{}`: {}", webhook.host, matching.join(", "));
        return Some(document.error("webhook.url", message).help("name the one that is meant with `webhook.destination`"));
    };
    match destinations.iter().find(|destination| destination.key == *name) {
        Some(destination) if destination.host == webhook.host => None,
        Some(destination) => {
            let message = format!("the destination `{name}` is for `{}`, not for `{}`", destination.host, webhook.host);
            Some(
                document
                    .error("webhook.destination", message)
                    .help("its headers would go to another host: correct the url or the destination"),
            )
        }
        None => {
            let message = format!("there is no destination `{name}`");
            let help = match destinations {
                [] => "write a document with `kind: destination` and this key".to_owned(),
                _ => meant(name, "destinations", destinations.iter().map(|destination| &*destination.key)),
            };
            Some(document.error("webhook.destination", message).help(help))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ReadOptions, read};
    use super::*;

    #[test]
    fn campaigns_whose_hashes_clash_are_refused() {
        let text = "{kind: campaign, key: a, trigger: {api: {}}, webhook: {url: 'https://h.example/'}}\n---\n{kind: campaign, key: b, trigger: {api: {}}, webhook: {url: 'https://h.example/'}}";
        let (documents, _) = read("t", text, &ReadOptions::default());
        let mut problems = Vec::new();
        colliding(&documents, |_| CampaignId(7), &mut problems);
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["t:3:18: error: the keys `b` and `a` have the same hash\n  help: choose another key"]);
    }
}

//! What only shows when all documents are seen together: names that clash, references to what is not there, and circles.

mod batches;
mod chains;
mod cohorts;
mod cycles;

use std::collections::BTreeMap;

use super::document::{Document, Kind};
use super::part::UNKNOWN;
use super::problem::{Problem, meant, sort};
use super::{Campaign, Definition, Destination, Faulty, Status};
use crate::engine::id::CampaignId;

pub use batches::{check_batches, never_shared};

/// Every problem among these documents, with which there are faulty ones. What may be one of those is not missed. Ended campaigns refer to
/// nothing any more.
pub fn check_together(documents: &[Document], faulty: &[Faulty]) -> Vec<Problem> {
    let mut problems = Vec::new();
    repeated(documents, &mut problems);
    colliding(documents, CampaignId::of, &mut problems);
    let destinations = Destinations::of(documents, faulty);
    let campaigns: Vec<(&Document, &Campaign)> = documents.iter().filter_map(|document| Some((document, in_use(document)?))).collect();
    for (document, campaign) in &campaigns {
        match destinations.of_campaign(document, campaign) {
            Ok(destination) => problems.extend(destination.and_then(|destination| batches::batch_problem(document, campaign, destination))),
            Err(problem) => problems.push(problem),
        }
    }
    problems.extend(cohorts::cohort_problems(documents, faulty));
    problems.extend(chains::chain_problems(&campaigns));
    problems.extend(documents.iter().filter_map(not_uploaded));
    sort(&mut problems);
    problems
}

fn in_use(document: &Document) -> Option<&Campaign> {
    match &document.definition {
        Definition::Campaign(campaign) => Some(&**campaign).filter(|campaign| campaign.status != Some(Status::Ended)),
        Definition::Cohort(_) | Definition::Destination(_) | Definition::Workspace(_) => None,
    }
}

/// A file of users that nobody has read: it exists only where the command line runs.
fn not_uploaded(document: &Document) -> Option<Problem> {
    let file = document.users_file.as_ref()?;
    let message = format!("the users of `{file}` are not here");
    Some(document.error("users_file", message).help("apply it with `campanile apply`, which reads and uploads the file, or write `users`"))
}

fn repeated(documents: &[Document], problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<(Kind, &str), &Document> = BTreeMap::new();
    for document in documents.iter().filter(|document| &*document.key != UNKNOWN) {
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

/// Destinations by key and by host.
struct Destinations<'a> {
    by_key: BTreeMap<&'a str, &'a Destination>,
    by_host: BTreeMap<&'a str, Vec<&'a Destination>>,
    faulty: &'a [Faulty],
}

impl<'a> Destinations<'a> {
    fn of(documents: &'a [Document], faulty: &'a [Faulty]) -> Destinations<'a> {
        let mut destinations = Destinations { by_key: BTreeMap::new(), by_host: BTreeMap::new(), faulty };
        for document in documents {
            if let Definition::Destination(destination) = &document.definition {
                if &*destination.key != UNKNOWN {
                    destinations.by_key.insert(&destination.key, destination);
                }
                if &*destination.host != UNKNOWN {
                    destinations.by_host.entry(&destination.host).or_default().push(destination);
                }
            }
        }
        destinations
    }

    /// The destination of a campaign, if it has one, or why it has none.
    fn of_campaign(&self, document: &Document, campaign: &Campaign) -> Result<Option<&'a Destination>, Problem> {
        let webhook = &campaign.webhook;
        let Some(name) = &webhook.destination else {
            let matching = self.by_host.get(&*webhook.host).map_or(&[][..], |matching| matching);
            if matching.len() < 2 {
                return Ok(matching.first().copied());
            }
            let mut keys: Vec<&str> = matching.iter().map(|destination| &*destination.key).filter(|key| *key != UNKNOWN).collect();
            keys.sort_unstable();
            let message = format!("several destinations match `{}`: {}", webhook.host, keys.join(", "));
            return Err(document.error("webhook.url", message).help("name the one that is meant with `webhook.destination`"));
        };
        match self.by_key.get(&**name) {
            Some(destination) if destination.host == webhook.host => Ok(Some(destination)),
            // It cannot be compared.
            Some(destination) if [&destination.host, &webhook.host].iter().any(|host| &***host == UNKNOWN) => Ok(Some(destination)),
            Some(destination) => {
                let message = format!("the destination `{name}` is for `{}`, not for `{}`", destination.host, webhook.host);
                let help = "its headers would go to another host: correct the url or the destination";
                Err(document.error("webhook.destination", message).help(help))
            }
            None if self.faulty.iter().any(|faulty| faulty.may_be(Kind::Destination, name)) => Ok(None),
            None => {
                let help = match self.by_key.is_empty() {
                    true => "write a document with `kind: destination` and this key".to_owned(),
                    false => meant(name, "destinations", self.by_key.keys().copied()),
                };
                Err(document.error("webhook.destination", format!("there is no destination `{name}`")).help(help))
            }
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
        let documents = read("t", text, &ReadOptions::default()).documents;
        let mut problems = Vec::new();
        colliding(&documents, |_| CampaignId(7), &mut problems);
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["t:3:18: error: the keys `b` and `a` have the same hash\n  help: choose another key"]);
    }
}

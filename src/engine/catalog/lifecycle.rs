//! The life of one campaign, and taking one definition away. Changes nothing in place: like [`super::apply`] it answers the catalog
//! as it would be, or why not.

use super::apply::check_start;
use super::destinations::Finder;
use super::in_force::trackers;
use super::{Catalog, Change, Document, What};
use crate::engine::definition::{Definition, Document as Read, Kind, Problem, ReadOptions, Status, read_canonical};
use crate::engine::time::Timestamp;

/// What may be asked of a campaign: `ready` -> `running` -> `paused` <-> `running` -> `ended`, which is final and can also follow
/// `ready` and `paused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Start,
    Pause,
    End,
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// There is no such definition.
    Unknown,
    /// Not from this status; these acts are possible from it.
    NotFrom { status: Status, possible: Vec<Act> },
    /// It cannot be started as it is.
    Invalid(Vec<Problem>),
    /// A campaign that has run stays, so that its key is never used again; so does one that has ended without.
    Stays(Status),
    /// These definitions need it, as `campaign cart`.
    NeededBy(Vec<String>),
}

impl Act {
    pub const ALL: [Act; 3] = [Act::Start, Act::Pause, Act::End];

    pub fn as_str(self) -> &'static str {
        match self {
            Act::Start => "start",
            Act::Pause => "pause",
            Act::End => "end",
        }
    }

    /// What a campaign is after it.
    pub fn done(self) -> &'static str {
        match self {
            Act::Start => "started",
            Act::Pause => "paused",
            Act::End => "ended",
        }
    }

    /// The status after it, if it is possible from this one.
    fn after(self, status: Status) -> Option<Status> {
        match (self, status) {
            (Act::Start, Status::Ready | Status::Paused) => Some(Status::Running),
            (Act::Pause, Status::Running) => Some(Status::Paused),
            (Act::End, Status::Ready | Status::Running | Status::Paused) => Some(Status::Ended),
            (Act::Start, Status::Running | Status::Ended)
            | (Act::Pause, Status::Ready | Status::Paused | Status::Ended)
            | (Act::End, Status::Ended) => None,
        }
    }
}

impl Refusal {
    /// In words. `name` is the definition, as `campaign cart`; `done` what it was not, as `started`.
    pub fn told(&self, name: &str, done: &str) -> String {
        match self {
            Refusal::Unknown => format!("there is no {name}"),
            Refusal::NotFrom { status, possible } => {
                if possible.is_empty() {
                    return format!("{name} has {} and cannot be {done}: that is final", status.as_str());
                }
                let possible: Vec<&str> = possible.iter().map(|act| act.as_str()).collect();
                format!("{name} is {} and cannot be {done}: possible is {}", status.as_str(), possible.join(" and "))
            }
            Refusal::Invalid(_) => format!("{name} cannot be {done} as it is"),
            Refusal::Stays(status) => {
                let way_out = if *status == Status::Ended { "" } else { "; end it, if it shall send no more" };
                format!("{name} is {} and stays, so that its key is never used again{way_out}", status.as_str())
            }
            Refusal::NeededBy(names) => format!("{name} cannot be {done}: needed by {}", names.join(", ")),
        }
    }
}

/// The catalog after this, and what it changed. A campaign starts only if it is sound and its content compiles (C3); pausing and
/// ending are possible whatever it holds.
pub fn act(current: &Catalog, key: &str, act: Act, read: &ReadOptions, now: Timestamp) -> Result<(Catalog, Change), Refusal> {
    let stored = current.get(Kind::Campaign, key).ok_or(Refusal::Unknown)?;
    let from = stored.status.unwrap_or(Status::Ready);
    let Some(to) = act.after(from) else {
        let possible = Act::ALL.into_iter().filter(|act| act.after(from).is_some()).collect();
        return Err(Refusal::NotFrom { status: from, possible });
    };
    if act == Act::Start {
        check_start(current, stored, read).map_err(Refusal::Invalid)?;
    }
    let turned = Document { status: Some(to), since: stored.since_as(Some(to), false, now), ..stored.clone() };
    let change =
        Change { kind: Kind::Campaign, key: key.into(), what: What::Status { from }, version: turned.version, status: turned.status };
    let documents = current.documents.iter().map(|document| if document == stored { turned.clone() } else { document.clone() });
    Ok((current.with_documents(documents.collect(), read, now), change))
}

/// The catalog without this definition. What others need stays, and of campaigns all but those that never ran.
pub fn delete(current: &Catalog, kind: Kind, key: &str, read: &ReadOptions, now: Timestamp) -> Result<Catalog, Refusal> {
    let stored = current.get(kind, key).ok_or(Refusal::Unknown)?;
    match stored.status {
        None | Some(Status::Ready) => {}
        Some(status) => return Err(Refusal::Stays(status)),
    }
    let needed = needed_by(current, kind, key, read);
    if !needed.is_empty() {
        return Err(Refusal::NeededBy(needed));
    }
    let others = current.documents.iter().filter(|document| *document != stored).cloned();
    Ok(current.with_documents(others.collect(), read, now))
}

impl Catalog {
    /// These documents, with what is tracked for them since when.
    pub(super) fn with_documents(&self, documents: Vec<Document>, read: &ReadOptions, now: Timestamp) -> Catalog {
        let mut catalog = Catalog { revision: self.revision, documents, ..Catalog::default() };
        let trackers = trackers(&catalog, read);
        catalog.tracked = trackers.tracked_since(&self.tracked, now);
        catalog.asked = trackers.asked_with(&self.asked, |id| self.tracked.contains_key(&id), self.revision.saturating_add(1));
        catalog.backfills = self.still_wanted(&catalog.tracked);
        catalog
    }
}

/// Whoever names a cohort, or sends to a destination. Ended campaigns need nothing any more.
fn needed_by(catalog: &Catalog, kind: Kind, key: &str, options: &ReadOptions) -> Vec<String> {
    let read = |document: &Document| read_canonical(&document.shown_as(), &document.canonical, options).ok();
    let alive = catalog.documents.iter().filter(|document| document.status != Some(Status::Ended));
    let all: Vec<Read> = alive.filter_map(read).collect();
    let destinations = all.iter().filter_map(|document| match &document.definition {
        Definition::Destination(destination) => Some(&**destination),
        Definition::Campaign(_) | Definition::Cohort(_) | Definition::Workspace(_) => None,
    });
    let destinations: Vec<_> = destinations.collect();
    let finder = Finder::of(destinations.iter().copied());
    let needs = |document: &&Read| match (kind, &document.definition) {
        (Kind::Cohort, _) => document.cohorts.iter().any(|(cohort, _)| &**cohort == key),
        (Kind::Destination, Definition::Campaign(campaign)) => {
            finder.of_webhook(&campaign.webhook).is_some_and(|at| &*destinations[at].key == key)
        }
        _ => false,
    };
    all.iter().filter(needs).map(|document| format!("{} {}", document.kind, document.key)).collect()
}

#[cfg(test)]
mod tests;

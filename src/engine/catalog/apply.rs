//! Applying documents to a catalog: all or nothing. Decides what is new, what was edited and what became of each status; says
//! which campaign's content does not render. Changes nothing in place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::destinations::Finder;
use super::{Catalog, Document};
use crate::engine::definition::problem::sort;
use crate::engine::definition::{
    Campaign, Definition, Destination, Document as Written, Faulty, Kind, Problem, ReadOptions, Reading, Status, check_together,
    read_canonical,
};
use crate::engine::rendering::{self, TemplateProblem};
use crate::engine::time::Timestamp;

/// How documents are applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Apply {
    /// A running campaign may be edited: paused, changed and resumed in one step.
    pub cycle: bool,
    /// What is not among the documents leaves: campaigns end, cohorts, destinations and the workspace are removed.
    pub prune: bool,
    /// By which stored documents are read again.
    pub read: ReadOptions,
}

/// What became of one document. Shown as `campaign cart-abandoned: changed to version 3, running`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub kind: Kind,
    pub key: Box<str>,
    pub what: What,
    /// Afterwards.
    pub version: u32,
    /// Afterwards; campaigns only.
    pub status: Option<Status>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Created,
    /// Edited; its status may be another, too.
    Changed,
    /// Only the status is another.
    Status {
        from: Status,
    },
    Unchanged,
    /// A campaign that left.
    Ended,
    /// A cohort, destination or workspace that left.
    Removed,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.kind, self.key)?;
        match self.what {
            What::Created => f.write_str("created")?,
            What::Changed => write!(f, "changed to version {}", self.version)?,
            What::Status { from } => return write!(f, "{} -> {}", from.as_str(), self.status.unwrap_or(from).as_str()),
            What::Unchanged => f.write_str("unchanged")?,
            What::Ended => return f.write_str("ended"),
            What::Removed => return f.write_str("removed"),
        }
        self.status.map_or(Ok(()), |status| write!(f, ", {}", status.as_str()))
    }
}

/// The catalog with these documents at this time, and what became of each in the order of kind and key; or every reason why not.
/// The revision stays: it is the store's to count. If every change is `Unchanged` there is nothing to store.
pub fn apply(current: &Catalog, written: Vec<Written>, options: &Apply, now: Timestamp) -> Result<(Catalog, Vec<Change>), Vec<Problem>> {
    let Plan { next, changes, mut problems } = Plan::of(current, &written, options, now);
    problems.extend(check_all(written, &[], &next, &changes, options));
    if !problems.is_empty() {
        sort(&mut problems);
        return Err(problems);
    }
    let catalog = current.with_documents(next.into_values().collect(), &options.read, now);
    Ok((catalog, changes.into_values().collect()))
}

/// Everything that is to be said of what was read, all at once and sorted: what was found while reading, and why [`apply`] would refuse it.
/// A faulty document is checked as far as it was read, and what others refer to in it is not missed.
pub fn check(current: &Catalog, read: Reading, options: &Apply, now: Timestamp) -> Vec<Problem> {
    let Reading { documents: mut written, faulty, mut problems } = read;
    for mut part in faulty.iter().filter_map(|faulty| faulty.part.clone()) {
        // That it would be an edit goes without saying.
        if let Some(stored) = current.get(part.kind, &part.key) {
            part.canonical = stored.canonical.clone();
        }
        written.push(part);
    }
    let Plan { next, changes, problems: refused } = Plan::of(current, &written, options, now);
    problems.extend(refused);
    problems.extend(check_all(written, &faulty, &next, &changes, options));
    sort(&mut problems);
    problems
}

/// What would be stored, what would become of each document, and why some cannot be.
struct Plan {
    next: BTreeMap<Name, Document>,
    changes: BTreeMap<Name, Change>,
    problems: Vec<Problem>,
}

impl Plan {
    fn of(current: &Catalog, written: &[Written], options: &Apply, now: Timestamp) -> Plan {
        let stored: BTreeMap<Name, Document> =
            current.documents.iter().map(|document| ((document.kind, document.key.clone()), document.clone())).collect();
        let mut plan = Plan { next: stored.clone(), changes: BTreeMap::new(), problems: Vec::new() };
        for document in written {
            let name = name(document);
            match decide(stored.get(&name), document, options, now) {
                Ok((stored, what)) => {
                    plan.changes.insert(name.clone(), change(&stored, what));
                    plan.next.insert(name, stored);
                }
                Err(problem) => plan.problems.push(problem),
            }
        }
        if options.prune {
            let names: BTreeSet<Name> = written.iter().map(name).collect();
            prune(&names, &mut plan.next, &mut plan.changes);
        }
        plan
    }
}

/// What is wrong with starting a stored campaign, seen with all others.
pub(super) fn check_start(current: &Catalog, campaign: &Document, read: &ReadOptions) -> Result<(), Vec<Problem>> {
    let written = read_canonical(&campaign.shown_as(), &campaign.canonical, read)?;
    let mut next: BTreeMap<Name, Document> =
        current.documents.iter().map(|document| ((document.kind, document.key.clone()), document.clone())).collect();
    next.insert(name(&written), Document { status: Some(Status::Running), ..campaign.clone() });
    let options = Apply { read: *read, ..Apply::default() };
    let problems = check_all(vec![written], &[], &next, &BTreeMap::new(), &options);
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

type Name = (Kind, Box<str>);

fn name(document: &Written) -> Name {
    (document.kind, document.key.clone())
}

fn change(stored: &Document, what: What) -> Change {
    Change { kind: stored.kind, key: stored.key.clone(), what, version: stored.version, status: stored.status }
}

/// What is to be stored for a written document.
fn decide(stored: Option<&Document>, written: &Written, options: &Apply, now: Timestamp) -> Result<(Document, What), Problem> {
    let wanted = campaign_of(written).and_then(|campaign| campaign.status);
    let Some(stored) = stored else {
        let status = (written.kind == Kind::Campaign).then(|| wanted.unwrap_or(Status::Ready));
        let (kind, key, canonical) = (written.kind, written.key.clone(), written.canonical.clone());
        return Ok((Document { kind, key, version: 1, status, since: status.map(|_| now), canonical }, What::Created));
    };
    let edited = stored.canonical != written.canonical;
    let status = match stored.status {
        None => None,
        Some(from) => {
            let to = next_status(from, wanted, edited, options.cycle).map_err(|refused| {
                let field = if wanted.is_some() && !refused.of_content { "status" } else { "key" };
                written.error(field, format!("campaign `{}` {}", stored.key, refused.message)).help(refused.help)
            })?;
            Some(to)
        }
    };
    let what = match stored.status {
        _ if edited => What::Changed,
        Some(from) if stored.status != status => What::Status { from },
        _ => What::Unchanged,
    };
    let version = stored.version.saturating_add(u32::from(edited));
    let since = stored.since_as(status, edited, now);
    Ok((Document { version, status, since, canonical: written.canonical.clone(), ..stored.clone() }, what))
}

/// Why a status or an edit is refused.
struct Refused {
    message: &'static str,
    help: &'static str,
    /// The edit is what is refused, not the status.
    of_content: bool,
}

/// `ready` -> `running` -> `paused` <-> `running` -> `ended`, which is final and can also follow `ready` and `paused`.
fn next_status(from: Status, wanted: Option<Status>, edited: bool, cycle: bool) -> Result<Status, Refused> {
    use Status::{Ended, Paused, Ready, Running};
    let refuse = |message, help, of_content| Err(Refused { message, help, of_content });
    match (from, wanted.unwrap_or(from)) {
        (Ended, Ended) if edited => refuse("has ended and cannot be changed", "ended is final; use a new key", true),
        (Ended, Ready | Running | Paused) => refuse("has ended and cannot start again", "ended is final; use a new key", false),
        (Running | Paused, Ready) => refuse("has run and cannot be `ready` again", "remove `status`, or write `paused`", false),
        (Ready, Paused) => refuse("never ran and cannot be paused", "leave it `ready`", false),
        (Running, Running) if edited && !cycle => {
            refuse("is running and must be paused to be changed", "pause it first, or apply with `--cycle`", true)
        }
        (_, to) => Ok(to),
    }
}

/// Ends campaigns and removes everything else that is not among `names`.
fn prune(names: &BTreeSet<Name>, next: &mut BTreeMap<Name, Document>, changes: &mut BTreeMap<Name, Change>) {
    next.retain(|name, document| {
        if names.contains(name) || document.status == Some(Status::Ended) {
            return true;
        }
        let stays = document.kind == Kind::Campaign;
        if stays {
            document.status = Some(Status::Ended);
        }
        changes.insert(name.clone(), change(document, if stays { What::Ended } else { What::Removed }));
        stays
    });
}

/// What is wrong with the whole as it would be: references, and the content of campaigns that this touches. A stored
/// document that this version cannot read takes no part; [`super::InForce`] leaves it out and says so.
fn check_all(
    written: Vec<Written>,
    faulty: &[Faulty],
    next: &BTreeMap<Name, Document>,
    changes: &BTreeMap<Name, Change>,
    options: &Apply,
) -> Vec<Problem> {
    let names: BTreeSet<Name> = written.iter().map(name).collect();
    let untouched = next.iter().filter(|(name, _)| !names.contains(*name)).map(|(_, document)| document);
    let mut all = written;
    all.extend(untouched.filter_map(|document| read_canonical(&document.shown_as(), &document.canonical, &options.read).ok()));
    for document in &mut all {
        let stored = next.get(&(document.kind, document.key.clone()));
        if let (Definition::Campaign(campaign), Some(stored)) = (&mut document.definition, stored) {
            campaign.status = stored.status;
        }
    }
    let mut problems = check_together(&all, faulty);
    let destinations: Vec<&Destination> = all.iter().filter_map(destination_of).collect();
    let finder = Finder::of(destinations.iter().copied());
    let moved = |kind| changes.values().any(|change| change.kind == kind && change.what != What::Unchanged);
    let destinations_moved = moved(Kind::Destination);
    let is_written = |document: &Written| names.contains(&(document.kind, document.key.clone()));
    for document in &all {
        if let Some(destination) = destination_of(document).filter(|_| is_written(document)) {
            problems.extend(as_problems(document, rendering::check_destination(destination)));
        }
        let Some(campaign) = campaign_of(document).filter(|campaign| campaign.status != Some(Status::Ended)) else { continue };
        let running = campaign.status == Some(Status::Running);
        if is_written(document) || (destinations_moved && running) {
            let destination = finder.of_webhook(&campaign.webhook).map(|at| destinations[at]);
            // What is wrong with a destination's headers was said where it is written, not for each campaign that uses it.
            let is_own = |problem: &TemplateProblem| !problem.field.starts_with("destination.");
            let found = rendering::compile(campaign, destination).err().unwrap_or_default();
            problems.extend(as_problems(document, found.into_iter().filter(is_own)));
        }
    }
    problems
}

/// Templates that do not compile, at their places in the document.
fn as_problems(document: &Written, found: impl IntoIterator<Item = TemplateProblem>) -> Vec<Problem> {
    let place = |at: Option<(usize, usize)>| at.filter(|(line, _)| *line > 1).map(|(line, _)| format!(" (line {line} of the template)"));
    let shown = found.into_iter().map(|problem| {
        let message = format!("`{}` does not compile: {}{}", problem.field, problem.message, place(problem.at).unwrap_or_default());
        document.error(&problem.field, message)
    });
    shown.collect()
}

fn campaign_of(document: &Written) -> Option<&Campaign> {
    match &document.definition {
        Definition::Campaign(campaign) => Some(campaign),
        Definition::Cohort(_) | Definition::Destination(_) | Definition::Workspace(_) => None,
    }
}

fn destination_of(document: &Written) -> Option<&Destination> {
    match &document.definition {
        Definition::Destination(destination) => Some(destination),
        Definition::Campaign(_) | Definition::Cohort(_) | Definition::Workspace(_) => None,
    }
}

//! What is in force: a catalog read back, with templates compiled and the index built. Made anew for every revision, then only
//! read; shared by all lanes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::destinations::{Finder, Keyring, Route};
use super::{Backfill, Catalog, Document};
use crate::engine::audience::Cohorts;
use crate::engine::definition::problem::meant;
use crate::engine::definition::{
    Campaign, Cohort, Definition, Destination, Document as Read, Kind, Place, Problem, ReadOptions, Status, Trigger, Webhook, Workspace,
    read_canonical,
};
use crate::engine::delivery::{Backoff, Credentials};
use crate::engine::history::{Asked, Trackers};
use crate::engine::id::{CampaignId, TrackerId};
use crate::engine::matching::Index;
use crate::engine::record::Request;
use crate::engine::rendering::{self, Template};
use crate::engine::time::Timestamp;
use crate::engine::value::Value;

/// Definitions as `step` sees them.
pub struct InForce {
    pub revision: u64,
    /// By priority, highest first, then key. Ended ones too: what is pending of them wants to know.
    pub campaigns: Vec<CampaignInForce>,
    /// Its positions are those of `campaigns`.
    pub index: Index,
    pub cohorts: Cohorts,
    /// What is remembered of users.
    pub trackers: Trackers,
    /// Since when each tracker has seen everything (`tracked_since`).
    pub tracked: BTreeMap<TrackerId, Timestamp>,
    /// The revision with which each of them was asked for, see [`Asked`].
    pub asked: Asked,
    /// Backfills that began and did not end.
    pub backfills: Vec<Backfill>,
    pub workspace: Workspace,
    /// By key.
    pub destinations: Vec<Destination>,
    pub policy: Policy,
    /// Documents that this version cannot use, with the reasons: they are not in force, all others are.
    pub left_out: Vec<Problem>,
    /// Positions of the running and paused campaigns whose trigger is a date of the user: their clocks follow profiles.
    pub user_dates: Vec<usize>,
    by_id: HashMap<CampaignId, usize>,
    finder: Finder,
    keyring: Keyring,
    waits_for_reading: bool,
}

pub struct CampaignInForce {
    /// With its true version and status.
    pub definition: Campaign,
    pub template: Template,
}

/// What the settings decide for all campaigns (contract, section 2).
#[derive(Clone, Debug)]
pub struct Policy {
    /// An event older than this sends nothing itself.
    pub max_age: Duration,
    /// How much older than its record in the log an event may be.
    pub max_lateness: Duration,
    /// A timer overdue by more is stale.
    pub max_overdue: Duration,
    /// For the whole exchange, where the destination does not say.
    pub timeout: Duration,
    /// Attempts after the first, where the destination does not say.
    pub max_retries: u32,
    pub backoff: Backoff,
    /// From the decision: then a delivery is dead-lettered.
    pub expires: Duration,
    /// Keys the hash of delivery ids.
    pub id_key: Vec<u8>,
    pub allow_http: bool,
}

impl InForce {
    /// Reads a catalog back. A campaign or destination that cannot be used is left out and reported, with the campaigns that
    /// need it. A workspace that cannot be used refuses the whole: without it the caps would not hold.
    pub fn compile(catalog: &Catalog, policy: Policy) -> Result<InForce, Vec<Problem>> {
        let in_force =
            InForce::from_sorted(catalog.revision, Sorted::read(catalog, &ReadOptions { allow_http: policy.allow_http })?, policy);
        Ok(InForce { tracked: catalog.tracked.clone(), asked: catalog.asked.clone(), backfills: catalog.backfills.clone(), ..in_force })
    }

    /// Checked definitions in force, with their versions and statuses as they are; without cohorts.
    pub fn assemble(
        revision: u64,
        campaigns: Vec<Campaign>,
        destinations: Vec<Destination>,
        workspace: Workspace,
        policy: Policy,
    ) -> InForce {
        InForce::from_sorted(revision, Sorted { campaigns, destinations, workspace, ..Sorted::default() }, policy)
    }

    /// With these cohorts, and all history known since one instant: as `simulate` and `test` see it.
    #[must_use]
    pub fn with_history(self, cohorts: Vec<Cohort>, since: Timestamp) -> InForce {
        let campaigns: Vec<&Campaign> = self.campaigns.iter().map(|campaign| &campaign.definition).collect();
        let (cohorts, trackers, index) = look_back(&campaigns, cohorts, &self.workspace);
        let tracked = trackers.all().iter().map(|tracker| (tracker.id, since)).collect();
        InForce { cohorts, trackers, tracked, index, ..self }
    }

    fn from_sorted(revision: u64, sorted: Sorted, policy: Policy) -> InForce {
        let Sorted { mut campaigns, cohorts, mut destinations, workspace, mut left_out, lost } = sorted;
        destinations.sort_by(|a, b| a.key.cmp(&b.key));
        campaigns.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.key.cmp(&b.key)));
        let finder = Finder::of(&destinations);
        let keyring = Keyring::of(&destinations, lost.iter().map(|lost| (&*lost.key, lost.host.as_deref())));
        let mut in_force = Vec::with_capacity(campaigns.len());
        for campaign in campaigns {
            let destination = finder.of_webhook(&campaign.webhook).map(|at| &destinations[at]);
            match compile_campaign(&campaign, destination, &lost) {
                Ok(template) => in_force.push(CampaignInForce { definition: campaign, template }),
                Err(problems) => left_out.extend(problems),
            }
        }
        let definitions: Vec<&Campaign> = in_force.iter().map(|campaign| &campaign.definition).collect();
        let (cohorts, trackers, index) = look_back(&definitions, cohorts, &workspace);
        let by_id = in_force.iter().enumerate().map(|(at, campaign)| (campaign.definition.id, at)).collect();
        let waits_for_reading = in_force.iter().any(|campaign| matches!(campaign.definition.trigger, Trigger::Inaction(_)));
        let user_dates = awake(&in_force, |trigger| matches!(trigger, Trigger::UserDate(_)));
        InForce {
            revision,
            campaigns: in_force,
            index,
            cohorts,
            trackers,
            tracked: BTreeMap::new(),
            asked: Asked::new(),
            backfills: Vec::new(),
            workspace,
            destinations,
            policy,
            left_out,
            user_dates,
            by_id,
            finder,
            keyring,
            waits_for_reading,
        }
    }

    pub fn campaign(&self, id: CampaignId) -> Option<&CampaignInForce> {
        self.by_id.get(&id).map(|at| &self.campaigns[*at])
    }

    /// Where it stands among the campaigns.
    pub fn position(&self, id: CampaignId) -> Option<u32> {
        self.by_id.get(&id).and_then(|at| u32::try_from(*at).ok())
    }

    /// The zone of who has none of their own.
    pub fn zone(&self) -> &str {
        self.workspace.timezone.as_deref().unwrap_or("UTC")
    }

    /// Whether anything waits for the events topics to be read up to some time: what did not happen.
    pub fn waits_for_reading(&self) -> bool {
        self.waits_for_reading
    }

    pub fn by_key(&self, key: &str) -> Option<&CampaignInForce> {
        self.campaign(CampaignId::of(key)).filter(|campaign| &*campaign.definition.key == key)
    }

    /// The same; else a sentence that names the nearest there is.
    pub fn named(&self, key: &str) -> Result<&CampaignInForce, String> {
        self.by_key(key).ok_or_else(|| {
            let keys = self.campaigns.iter().map(|campaign| &*campaign.definition.key);
            format!("there is no campaign `{key}`: {}", meant(key, "campaigns", keys))
        })
    }

    /// Where a webhook goes: the destination it names, else the one that its host has alone, else just its host.
    pub fn destination_of<'a>(&'a self, webhook: &'a Webhook) -> Route<'a> {
        self.route_to(self.finder.of_webhook(webhook), &webhook.host)
    }

    /// The route that a frozen request names. Of a destination that has left since, the defaults remain.
    pub fn route<'a>(&'a self, destination_name: &'a str) -> Route<'a> {
        self.route_to(self.finder.of_key(destination_name), destination_name)
    }

    /// What the destination of a frozen request asks for now; `None` = nothing.
    pub fn credentials(&self, request: &Request) -> Option<Arc<Credentials>> {
        self.keyring.of_request(&self.finder, request)
    }

    fn route_to<'a>(&'a self, at: Option<usize>, otherwise: &'a str) -> Route<'a> {
        let destination = at.map(|at| &self.destinations[at]);
        Route::new(destination.map_or(otherwise, |destination| &destination.key), destination, &self.policy)
    }
}

/// The documents of a catalog, read and sorted by kind.
#[derive(Default)]
struct Sorted {
    campaigns: Vec<Campaign>,
    cohorts: Vec<Cohort>,
    destinations: Vec<Destination>,
    workspace: Workspace,
    left_out: Vec<Problem>,
    lost: Vec<Lost>,
}

/// What of the past a catalog's definitions ask for.
pub(super) fn trackers(catalog: &Catalog, options: &ReadOptions) -> Trackers {
    let Sorted { campaigns, cohorts, workspace, .. } = Sorted::read(catalog, options).unwrap_or_default();
    Trackers::compile(&campaigns, &cohorts, &workspace)
}

/// A destination that could not be read: nothing may be sent to it with the wrong limits or without its headers.
struct Lost {
    key: Box<str>,
    host: Option<Box<str>>,
}

impl Sorted {
    fn read(catalog: &Catalog, options: &ReadOptions) -> Result<Sorted, Vec<Problem>> {
        let mut sorted = Sorted::default();
        let mut read = Vec::with_capacity(catalog.documents.len());
        let mut lost_cohorts = BTreeSet::new();
        for document in &catalog.documents {
            match read_canonical(&document.shown_as(), &document.canonical, options) {
                Ok(found) => read.push((document, found)),
                Err(problems) if document.kind == Kind::Workspace => return Err(problems),
                Err(problems) => {
                    match document.kind {
                        Kind::Destination => sorted.lost.push(Lost { key: document.key.clone(), host: host_written(document) }),
                        Kind::Cohort => drop(lost_cohorts.insert(document.key.clone())),
                        Kind::Campaign | Kind::Workspace => {}
                    }
                    sorted.left_out.extend(problems);
                }
            }
        }
        sorted.left_out.extend(without_cohorts(&mut read, lost_cohorts));
        for (stored, found) in read {
            match found.definition {
                Definition::Campaign(campaign) => {
                    let status = stored.status.or(Some(Status::Ready));
                    sorted.campaigns.push(Campaign { version: stored.version, status, since: stored.since, ..*campaign });
                }
                Definition::Cohort(cohort) => sorted.cohorts.push(*cohort),
                Definition::Destination(destination) => sorted.destinations.push(*destination),
                Definition::Workspace(workspace) => sorted.workspace = *workspace,
            }
        }
        Ok(sorted)
    }
}

/// The positions of campaigns that are running or paused and have such a trigger.
fn awake(campaigns: &[CampaignInForce], such: impl Fn(&Trigger) -> bool) -> Vec<usize> {
    let is_awake = |campaign: &Campaign| matches!(campaign.status, Some(Status::Running | Status::Paused));
    let found = campaigns.iter().enumerate().filter(|(_, campaign)| is_awake(&campaign.definition) && such(&campaign.definition.trigger));
    found.map(|(place, _)| place).collect()
}

/// What looks back, and the index that finds it.
fn look_back(campaigns: &[&Campaign], cohorts: Vec<Cohort>, workspace: &Workspace) -> (Cohorts, Trackers, Index) {
    let cohorts = Cohorts::new(cohorts);
    let trackers = Trackers::compile(campaigns.iter().copied(), cohorts.iter(), workspace);
    let index = Index::build(campaigns, &cohorts, &trackers);
    (cohorts, trackers, index)
}

/// Takes out what names a cohort that could not be read, and what names that in turn: nobody can say who is meant.
fn without_cohorts(read: &mut Vec<(&Document, Read)>, mut lost: BTreeSet<Box<str>>) -> Vec<Problem> {
    let mut left_out = Vec::new();
    loop {
        let before = left_out.len();
        read.retain(|(stored, found)| {
            let Some((cohort, _)) = found.cohorts.iter().find(|(key, _)| lost.contains(key)) else { return true };
            let message = format!("its cohort `{cohort}` cannot be used");
            left_out.push(Problem::error(&stored.shown_as(), Place::START, message));
            if stored.kind == Kind::Cohort {
                lost.insert(stored.key.clone());
            }
            false
        });
        if left_out.len() == before {
            return left_out;
        }
    }
}

fn compile_campaign(campaign: &Campaign, destination: Option<&Destination>, lost: &[Lost]) -> Result<Template, Vec<Problem>> {
    let name = format!("(stored campaign {})", campaign.key);
    let webhook = &campaign.webhook;
    let needed = lost.iter().find(|lost| match &webhook.destination {
        Some(named) => lost.key == *named,
        None => lost.host.as_ref() == Some(&webhook.host),
    });
    if let Some(lost) = needed {
        let message = format!("its destination `{}` cannot be used", lost.key);
        return Err(vec![Problem::error(&name, Place::START, message)]);
    }
    rendering::compile(campaign, destination).map_err(|problems| {
        let shown = problems
            .into_iter()
            .map(|problem| Problem::error(&name, Place::START, format!("`{}` does not compile: {}", problem.field, problem.message)));
        shown.collect()
    })
}

/// `match` of a destination that could not be read as a whole.
fn host_written(document: &Document) -> Option<Box<str>> {
    let value = Value::from_json(&document.canonical).ok()?;
    value.as_object()?.get("match")?.as_str().map(|host| host.to_ascii_lowercase().into())
}

//! One campaign as people look at it before they start it: what it is, when it runs next, what holds it back, whom it would reach and
//! what is probably not meant. Nothing is decided here.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::problem::Problem;
use super::{Shared, shown, yaml};
use crate::engine::catalog::{Document, InForce};
use crate::engine::definition::{Campaign, Kind, ReadOptions, Resend, Rule, Severity, Status, Trigger, duration_text, never_shared, read};
use crate::engine::id::UserId;
use crate::engine::record::codec;
use crate::engine::time::Timestamp;
use crate::engine::{fatigue, runs, step};
use crate::worker::ports::{Cursor, State};

/// Users that are looked at for an estimate.
const SAMPLE_USERS: u64 = 10_000;
/// Users of one job at the desk.
const PAGE_USERS: usize = 500;
/// Whoever waits for an overview waits no longer for the estimate.
const ESTIMATED_WITHIN: Duration = Duration::from_secs(3);

/// One campaign.
#[derive(Serialize, ToSchema)]
pub struct Overview {
    pub key: String,
    pub title: Option<String>,
    pub description: Option<String>,
    #[schema(value_type = shown::Status)]
    pub status: Status,
    pub version: u32,
    pub channel: Option<String>,
    pub tags: Vec<String>,
    /// Higher first, then key.
    pub priority: i64,
    /// Which kind of trigger it has.
    #[schema(example = "inaction")]
    pub trigger: &'static str,
    pub destination: Destination,
    /// The document as it was written, without `status`.
    #[schema(value_type = Object)]
    pub definition: Box<RawValue>,
    /// The same as YAML.
    pub yaml: String,
    /// When its schedule runs next, were it running.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_run: Option<Timestamp>,
    /// What stops its sends or counts them.
    pub caps: Vec<Cap>,
    /// Whom it would reach; only where a start was asked for with `dry_run`.
    pub estimated_audience: Option<Estimate>,
    /// What is probably not meant.
    pub warnings: Vec<String>,
    /// Of a running campaign: since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub running_since: Option<Timestamp>,
}

/// Where its requests go.
#[derive(Serialize, ToSchema)]
pub struct Destination {
    /// The destination's key, else the host.
    pub name: String,
    /// `host[:port]`
    pub host: String,
}

/// One rule that stops sends.
#[derive(Serialize, ToSchema)]
pub struct Cap {
    /// As it was defined.
    #[schema(value_type = Object)]
    pub rule: Value,
    /// `workspace` for all campaigns, `campaign` for this one.
    #[schema(value_type = shown::Scope)]
    pub scope: &'static str,
}

/// How many of the users that were looked at are in the audience as things stand.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct Estimate {
    /// Who is in it for certain: not whom the triggering event decides.
    pub users: u64,
    /// How many were looked at.
    pub of: u64,
    /// There are more users than were looked at.
    pub sampled: bool,
}

impl Shared {
    /// A campaign as it is stored now.
    ///
    /// # Errors
    /// 404 when there is none, or none that this version can use.
    pub async fn overview(&self, key: &str) -> Result<Overview, Problem> {
        let (catalog, in_force) = (self.catalog().await?, self.in_force().await?);
        let document = catalog.get(Kind::Campaign, key).ok_or_else(|| Problem::not_found(format!("there is no campaign {key}")))?;
        let Some(campaign) = in_force.by_key(key).map(|campaign| &campaign.definition) else {
            let why = in_force.left_out.iter().find(|problem| problem.file.contains(&format!("campaign {key})")));
            let why = why.map(|problem| format!(": {}", problem.message)).unwrap_or_default();
            return Err(Problem::not_found(format!("campaign {key} is stored but not in force{why}")));
        };
        overview(document, campaign, &in_force, self.ingest.clock.now())
    }

    /// Looks at some users, a page at a time, so that others at the desk do not wait for long.
    pub async fn estimate(&self, key: &str) -> Result<Estimate, Problem> {
        let in_force = self.in_force().await?;
        let until = Instant::now() + ESTIMATED_WITHIN;
        let (mut estimate, mut cursor) = (Estimate::default(), None);
        loop {
            let (key, in_force, now, from) = (key.to_owned(), in_force.clone(), self.ingest.clock.now(), cursor.take());
            let page = self.desk.run(async move |state| look(state, &in_force, &key, from.as_ref(), now).await).await?;
            estimate.users += page.belong;
            estimate.of += page.users;
            cursor = page.next;
            if cursor.is_none() || estimate.of >= SAMPLE_USERS || Instant::now() >= until {
                return Ok(Estimate { sampled: cursor.is_some(), ..estimate });
            }
        }
    }
}

/// A page of an estimate.
struct Looked {
    users: u64,
    belong: u64,
    next: Option<Cursor>,
}

async fn look(state: &mut dyn State, in_force: &Arc<InForce>, key: &str, from: Option<&Cursor>, now: Timestamp) -> Result<Looked, Problem> {
    let page = state.users(from, PAGE_USERS).await?;
    let mut looked = Looked { users: 0, belong: 0, next: page.next };
    let Some(campaign) = in_force.by_key(key).map(|campaign| &campaign.definition) else { return Ok(looked) };
    for users in page.users.chunks(PAGE_USERS) {
        let loaded = state.load(users).await?;
        for (user, stored) in users.iter().zip(loaded.users) {
            let Some(stored) = stored else { continue };
            let profile = stored.profile.as_deref().map(codec::decode_profile).transpose();
            // What a newer version wrote is not looked at.
            let (Ok(record), Ok(profile)) = (codec::decode(&stored.record), profile) else { continue };
            let user: &UserId = user;
            looked.users += 1;
            looked.belong += u64::from(step::belongs(in_force, campaign, user, &record, &profile.unwrap_or_default(), now));
        }
    }
    Ok(looked)
}

fn overview(document: &Document, campaign: &Campaign, in_force: &InForce, now: Timestamp) -> Result<Overview, Problem> {
    let text = |text: &str| text.to_owned();
    let webhook = &campaign.webhook;
    let status = document.status.unwrap_or(Status::Ready);
    let next_run = (status != Status::Ended).then(|| runs::next_run(in_force, campaign, now)).flatten();
    Ok(Overview {
        key: text(&campaign.key),
        title: campaign.title.as_deref().map(text),
        description: campaign.description.as_deref().map(text),
        status,
        version: document.version,
        channel: campaign.channel.as_deref().map(text),
        tags: campaign.tags.iter().map(|tag| text(tag)).collect(),
        priority: campaign.priority,
        trigger: campaign.trigger.name(),
        destination: Destination { name: text(in_force.destination_of(webhook).name), host: text(&webhook.host) },
        definition: RawValue::from_string(document.canonical.clone()).unwrap_or_default(),
        yaml: yaml::document(&document.canonical, document.status.map(Status::as_str))
            .map_err(|why| Problem::internal(format!("the stored campaign {} has no text: {why}", document.key)))?,
        next_run,
        caps: caps(campaign, in_force),
        estimated_audience: None,
        warnings: warnings(document, campaign, in_force, next_run, now),
        running_since: document.since.filter(|_| status == Status::Running),
    })
}

fn caps(campaign: &Campaign, in_force: &InForce) -> Vec<Cap> {
    let workspace = fatigue::concerned(campaign, &in_force.workspace.frequency_caps);
    let mut caps: Vec<Cap> = workspace.map(|cap| Cap { rule: json!(cap), scope: "workspace" }).collect();
    if let Some(limit) = campaign.limit {
        let rule = if limit.per_run { json!({"users": limit.users, "per": "run"}) } else { json!({"users": limit.users}) };
        caps.push(Cap { rule: json!({"limit": rule}), scope: "campaign" });
    }
    match campaign.fatigue.resend {
        Resend::Never => caps.push(Cap { rule: json!({"resend": "never"}), scope: "campaign" }),
        Resend::After(span) => caps.push(Cap { rule: json!({"resend": {"after": duration_text::format(span)}}), scope: "campaign" }),
        Resend::Always => {}
    }
    caps
}

fn warnings(document: &Document, campaign: &Campaign, in_force: &InForce, next_run: Option<Timestamp>, now: Timestamp) -> Vec<String> {
    let options = ReadOptions { allow_http: in_force.policy.allow_http };
    let (_, read) = read("stored", &document.canonical, &options);
    let mut warnings: Vec<String> =
        read.into_iter().filter(|problem| problem.severity == Severity::Warning).map(|problem| problem.message).collect();
    let everyone = matches!(&campaign.audience, Rule::All(rules) if rules.is_empty());
    if everyone && matches!(campaign.trigger, Trigger::Schedule(_)) {
        warnings.push("it is for all users".into());
    }
    if campaign.fatigue.resend == Resend::Always && fatigue::concerned(campaign, &in_force.workspace.frequency_caps).next().is_none() {
        warnings.push("nothing limits how often one user gets it: `resend` is `always` and no frequency cap concerns it".into());
    }
    match (campaign.active.until, campaign.active.from) {
        (Some(until), _) if until <= now => warnings.push(format!("its active window ended at {until}: nothing will be sent")),
        (_, Some(from)) if from > now => warnings.push(format!("its active window begins at {from}: nothing is sent before")),
        _ => {}
    }
    if matches!(campaign.trigger, Trigger::Schedule(_)) && next_run.is_none() {
        warnings.push("its schedule has no run to come: nothing will be sent".into());
    }
    if in_force.destination_of(&campaign.webhook).batch.is_some()
        && let Some((_, own)) = never_shared(&campaign.webhook)
    {
        warnings.push(format!("each user is alone in a request, though its destination sends batches: `{own}` is not the same for all"));
    }
    warnings.extend(campaign.webhook.url.starts_with("http:").then(|| "its requests go out in plain text (http)".into()));
    warnings
}

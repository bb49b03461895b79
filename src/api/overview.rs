//! One campaign as people look at it before they start it: what it is, when it runs next, what holds it back, whom it would reach and
//! what is probably not meant. Nothing is decided here.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::estimate::Estimate;
use super::problem::Problem;
use super::{Shared, secrets, shown, yaml};
use crate::engine::catalog::{Document, InForce};
use crate::engine::definition::{Campaign, Kind, ReadOptions, Resend, Rule, Severity, Status, Trigger, duration_text, never_shared, read};
use crate::engine::time::Timestamp;
use crate::engine::{fatigue, runs};

/// What is said of a campaign wherever it occurs.
#[derive(Serialize, ToSchema)]
pub struct Brief {
    pub key: String,
    pub title: Option<String>,
    #[schema(value_type = shown::Status)]
    pub status: Status,
    pub version: u32,
    pub channel: Option<String>,
    pub tags: Vec<String>,
    /// Higher first, then key.
    pub priority: i64,
    /// Which kind of trigger it has; `null` when it is left out.
    #[schema(example = "inaction")]
    pub trigger: Option<&'static str>,
    /// Where its requests go; `null` when it is left out.
    pub destination: Option<Destination>,
    /// When its schedule runs next, were it running.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_run: Option<Timestamp>,
    /// Why it is stored and not in force: this version cannot use it, or what it needs. It matches nothing then.
    pub left_out: Option<String>,
}

/// One campaign.
#[derive(Serialize, ToSchema)]
pub struct Overview {
    #[serde(flatten)]
    pub brief: Brief,
    pub description: Option<String>,
    /// The document as it was written, without `status`.
    #[schema(value_type = Object)]
    pub definition: Box<RawValue>,
    /// The same as YAML.
    pub yaml: String,
    /// What stops its sends or counts them.
    pub caps: Vec<Cap>,
    /// Whom it would reach; only where a start was asked for with `dry_run`.
    pub estimated_audience: Option<Estimate>,
    /// What is probably not meant, and what it lacks.
    pub warnings: Vec<String>,
    /// Of a running campaign: since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub running_since: Option<Timestamp>,
}

/// Where requests go.
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

impl Shared {
    /// A campaign as it is stored now.
    ///
    /// # Errors
    /// 404 when there is none.
    pub async fn overview(&self, key: &str) -> Result<Overview, Problem> {
        let (catalog, in_force) = (self.catalog().await?, self.in_force().await?);
        let document = catalog.get(Kind::Campaign, key).ok_or_else(|| Problem::not_found(format!("there is no campaign {key}")))?;
        let mut overview = overview(document, &in_force, self.ingest.clock.now())?;
        let missing = secrets::missing(&catalog, &in_force, document, &self.trial.secrets);
        overview.warnings.extend(missing.iter().map(secrets::said));
        Ok(overview)
    }
}

impl Brief {
    pub fn of(document: &Document, in_force: &InForce, now: Timestamp) -> Brief {
        let text = |text: &str| text.to_owned();
        let status = document.status.unwrap_or(Status::Ready);
        let Some(campaign) = in_force.by_key(&document.key).map(|campaign| &campaign.definition) else {
            return left_out(document, in_force, status);
        };
        let webhook = &campaign.webhook;
        Brief {
            key: text(&campaign.key),
            title: campaign.title.as_deref().map(text),
            status,
            version: document.version,
            channel: campaign.channel.as_deref().map(text),
            tags: campaign.tags.iter().map(|tag| text(tag)).collect(),
            priority: campaign.priority,
            trigger: Some(campaign.trigger.name()),
            destination: Some(Destination { name: text(in_force.destination_of(webhook).name), host: text(&webhook.host) }),
            next_run: (status != Status::Ended).then(|| runs::next_run(in_force, campaign, now)).flatten(),
            left_out: None,
        }
    }
}

/// What can be read of a campaign that cannot be used.
fn left_out(document: &Document, in_force: &InForce, status: Status) -> Brief {
    let written: Value = serde_json::from_str(&document.canonical).unwrap_or_default();
    let text = |field: &str| written[field].as_str().map(str::to_owned);
    let tags = written["tags"].as_array().into_iter().flatten().filter_map(|tag| tag.as_str().map(str::to_owned));
    Brief {
        key: document.key.to_string(),
        title: text("title"),
        status,
        version: document.version,
        channel: text("channel"),
        tags: tags.collect(),
        priority: written["priority"].as_i64().unwrap_or_default(),
        trigger: None,
        destination: None,
        next_run: None,
        left_out: Some(in_force.why_left_out(document).unwrap_or_else(|| "it has changed a moment ago".to_owned())),
    }
}

fn overview(document: &Document, in_force: &InForce, now: Timestamp) -> Result<Overview, Problem> {
    let brief = Brief::of(document, in_force, now);
    let campaign = in_force.by_key(&document.key).map(|campaign| &campaign.definition);
    Ok(Overview {
        description: campaign.and_then(|campaign| campaign.description.as_deref()).map(str::to_owned),
        definition: RawValue::from_string(document.canonical.clone()).unwrap_or_default(),
        yaml: yaml::document(&document.canonical, document.status.map(Status::as_str))
            .map_err(|why| Problem::internal(format!("the stored campaign {} has no text: {why}", document.key)))?,
        caps: campaign.map(|campaign| caps(campaign, in_force)).unwrap_or_default(),
        estimated_audience: None,
        warnings: campaign.map(|campaign| warnings(document, campaign, in_force, brief.next_run, now)).unwrap_or_default(),
        running_since: document.since.filter(|_| brief.status == Status::Running),
        brief,
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
    let read = read("stored", &document.canonical, &options).problems;
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

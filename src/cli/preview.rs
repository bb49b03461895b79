//! `campanile preview`: renders the request that a campaign would send to a user because of an event; offline, nothing is sent.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Failure;
use super::settings::{join, read_file};
use super::validate::read_paths;
use crate::engine::catalog::{Apply, CampaignInForce, Catalog, InForce, apply};
use crate::engine::definition::problem::meant;
use crate::engine::definition::{Problem, ReadOptions, Trigger};
use crate::engine::delivery::delivery_id;
use crate::engine::event::{Body, Event, SourceId};
use crate::engine::profile::Profile;
use crate::engine::reading::{self, Limits, Place};
use crate::engine::record::Request;
use crate::engine::rendering::{self, Rendered, Scope, Triggered, view};
use crate::engine::time::Timestamp;
use crate::simulator::worker::policy;

/// Renders a campaign's request for a user and an event; nothing is sent
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: what would this customer get?

  campanile preview cart-abandoned --definitions config/campaigns --user identify.json --event track.json

The user is an identify, the event a track (or a send), as they are written to the events topic. Secrets are shown as ***.")]
pub struct PreviewArgs {
    /// The campaign's key
    #[arg(value_name = "KEY")]
    key: String,
    /// A file or directory of definitions
    #[arg(long, value_name = "DIR")]
    definitions: Vec<PathBuf>,
    /// A file with an identify event: the user
    #[arg(long, value_name = "FILE")]
    user: PathBuf,
    /// A file with the event that triggers
    #[arg(long, value_name = "FILE")]
    event: PathBuf,
    /// What a linked service answers: a file of JSON under the link's name
    #[arg(long, value_name = "NAME=FILE")]
    link: Vec<String>,
    /// How the request is printed
    #[arg(long, value_enum, default_value_t = Shown::Curl)]
    format: Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shown {
    Curl,
    Table,
    Json,
}

/// No event of a file is too late for its preview.
const LIMITS: Limits = Limits { max_lateness: std::time::Duration::MAX };

pub fn run(args: &PreviewArgs) -> Result<(), Failure> {
    if args.definitions.is_empty() {
        return Err(Failure::Refused("a preview from a running server is not supported by this version: give --definitions DIR".into()));
    }
    let in_force = definitions(&args.definitions)?;
    let campaign = in_force.by_key(&args.key).ok_or_else(|| {
        let keys: Vec<&str> = in_force.campaigns.iter().map(|campaign| &*campaign.definition.key).collect();
        Failure::Refused(format!("there is no campaign `{}`: {}", args.key, meant(&args.key, "campaigns", keys)))
    })?;
    if let Some(link) = args.link.first() {
        let name = link.split('=').next().unwrap_or_default();
        return Err(Failure::Refused(format!("campaign `{}` has no link `{name}`: leave --link out", args.key)));
    }
    let user = read(&args.user)?;
    let event = read(&args.event)?;
    let Body::Identify { traits } = &user.body else {
        return Err(Failure::Refused(format!("{}: the user must be an identify: {{\"type\":\"identify\",...}}", args.user.display())));
    };
    let mut profile = Profile::default();
    profile.note_device(user.anonymous_id.as_deref(), user.device_token.as_deref(), user.timestamp);
    profile.merge(&user.context_traits, user.timestamp);
    profile.merge(traits, user.timestamp);
    // Of the event as if it came after: its own traits win.
    profile.note_device(event.anonymous_id.as_deref(), event.device_token.as_deref(), user.timestamp.max(event.timestamp));
    profile.merge(&event.context_traits, user.timestamp.max(event.timestamp));
    if let Body::Send { traits, .. } = &event.body {
        profile.merge(traits, user.timestamp.max(event.timestamp));
    }
    let mut warnings = warnings(&in_force, campaign, &user, &event);
    let rendered = render(&in_force, campaign, &user, &event, &profile, &mut warnings)
        .map_err(|why| tell(&warnings, Failure::Refused(format!("campaign `{}` would send nothing: {why}", args.key))))?;
    match args.format {
        Shown::Curl => println!("{}", view::curl(&rendered.request)),
        Shown::Table => print!("{}", view::table(&rendered.request)),
        Shown::Json => println!("{}", as_json(&rendered.request, &warnings)),
    }
    if args.format != Shown::Json {
        warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    }
    Ok(())
}

/// Warnings before a failure: they often say why.
fn tell(warnings: &[String], failure: Failure) -> Failure {
    warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    failure
}

fn definitions(paths: &[PathBuf]) -> Result<InForce, Failure> {
    let refused = |problems: Vec<Problem>| Failure::Refused(format!("the definitions cannot be used\n{}", join(&problems)));
    let options = ReadOptions { allow_http: true };
    let (documents, problems) = read_paths(paths, &options)?;
    if problems.iter().any(Problem::is_error) {
        return Err(refused(problems));
    }
    let options = Apply { read: options, ..Apply::default() };
    let (catalog, _) = apply(&Catalog::default(), documents, &options, Timestamp::MIN).map_err(refused)?;
    InForce::compile(&crate::simulator::replay::started(catalog), policy()).map_err(refused)
}

/// The one event of a file.
fn read(path: &Path) -> Result<Event, Failure> {
    let text = read_file(path)?;
    let refused = |unreadable: reading::Unreadable| Failure::Refused(format!("{}: {unreadable}", path.display()));
    let header = reading::header(text.trim().as_bytes()).map_err(refused)?;
    let broker_time = header.timestamp().unwrap_or_default();
    let place = Place { source: SourceId::of("preview", 1, 0), topic: "preview", partition: 0, generation: 1, offset: 0, broker_time };
    header.into_event(&place, &LIMITS).map_err(refused)
}

/// What is probably not as it was meant.
fn warnings(in_force: &InForce, campaign: &CampaignInForce, user: &Event, event: &Event) -> Vec<String> {
    let mut warnings = Vec::new();
    if user.user != event.user {
        warnings.push(format!("the event is of user `{}`, the identify of `{}`: the latter is shown", event.user, user.user));
    }
    let key = &campaign.definition.key;
    match (&event.body, &campaign.definition.trigger) {
        (Body::Track { name, properties }, Trigger::Action(_) | Trigger::Inaction(_)) => {
            let mut matches = Vec::new();
            in_force.index.matches(name, properties, event.timestamp, in_force.zone(), &mut matches);
            let is_own = |place: u32| in_force.campaigns.get(place as usize).is_some_and(|found| found.definition.key == *key);
            if !matches.iter().any(|found| is_own(found.campaign)) {
                warnings.push(format!("this event `{name}` would not trigger campaign `{key}`"));
            }
        }
        (Body::Send { campaign: asked, .. }, _) if asked != key => warnings.push(format!("this send asks for campaign `{asked}`")),
        _ => {}
    }
    warnings
}

/// The request, or why there is none.
fn render(
    in_force: &InForce,
    campaign: &CampaignInForce,
    user: &Event,
    event: &Event,
    profile: &Profile,
    warnings: &mut Vec<String>,
) -> Result<Rendered, String> {
    let (kind, name, properties) = match (&event.body, &campaign.definition.trigger) {
        (Body::Track { name, properties }, Trigger::Inaction(_)) => ("inaction", &**name, properties),
        (Body::Track { name, properties }, _) => ("action", &**name, properties),
        (Body::Send { properties, .. }, _) => ("api", "", properties),
        (Body::Identify { .. } | Body::Delete, _) => return Err("the event must be a track or a send".into()),
    };
    let id = delivery_id(&in_force.policy.id_key, campaign.definition.id, &user.user, &event.message_id);
    let trigger = Triggered { kind, event: name, message_id: &event.message_id, timestamp: event.timestamp, properties, others: &[] };
    let now: Timestamp = event.timestamp;
    let scope = Scope { user_id: &user.user, user: profile, trigger, campaign: &campaign.definition, delivery: id, now };
    let names = rendering::missing(&campaign.template, &scope);
    warnings.extend(names.iter().map(|name| format!("`{name}` has no value: it is empty in the request")));
    let rendered = rendering::render(&campaign.template, &scope).map_err(|held| format!("{}: {}", held.reason.as_str(), held.why))?;
    let more = (rendered.missing as usize).saturating_sub(names.len());
    if more > 0 {
        warnings.push(format!("{more} more outputs have no value"));
    }
    Ok(rendered)
}

fn as_json(request: &Request, warnings: &[String]) -> Value {
    let text = |frozen| view::text(frozen);
    let mut headers = serde_json::Map::new();
    headers.insert("content-type".into(), request.content_type.media_type().into());
    headers.extend(request.headers.iter().map(|(name, value)| (name.to_string(), text(value).into())));
    let body = request.body.as_ref().map(text).map(|body| serde_json::from_str(&body).unwrap_or(Value::String(body)));
    let request = json!({
        "destination": request.destination, "method": request.method.as_str(), "url": text(&request.url), "headers": headers, "body": body,
    });
    json!({"request": request, "warnings": warnings})
}

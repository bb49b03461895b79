//! `campanile preview`: renders the request that a campaign would send to a user because of an event, by definitions in files or by those of
//! a worker. Nothing is sent.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Failure;
use super::client::{Client, Request as Ask, ServerArgs};
use super::settings::{join, read_file};
use crate::adapter::clock::SystemClock;
use crate::engine::catalog::{CampaignInForce, InForce};
use crate::engine::definition::Problem;
use crate::engine::definition::problem::meant;
use crate::engine::event::{Body, Event, SourceId};
use crate::engine::preview::{Case, Preview, preview, profile_of};
use crate::engine::reading::{self, Limits, Place};
use crate::engine::record::Request;
use crate::engine::rendering::view;
use crate::engine::time::Timestamp;
use crate::engine::value as engine;
use crate::simulator::worker::policy;
use crate::worker::ports::Clock;

/// Renders a campaign's request for a user and an event; nothing is sent
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: what would this customer get?

  campanile preview cart-abandoned --definitions config/campaigns --user identify.json --event track.json

The user is an identify, the event a track (or a send), as they are written to the events topic. Secrets are shown as ***.
Without --definitions a worker is asked, with the definitions that it has.")]
pub struct PreviewArgs {
    /// The campaign's key
    #[arg(value_name = "KEY")]
    key: String,
    /// A file or directory of definitions [default: those of the worker at --server]
    #[arg(long, value_name = "DIR")]
    definitions: Vec<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
    /// A file with an identify event: the user
    #[arg(long, value_name = "FILE")]
    user: PathBuf,
    /// A file with the event that triggers; again for each event of a campaign that waits for several, the last one last
    #[arg(long, required = true, value_name = "FILE")]
    event: Vec<PathBuf>,
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
        return from_server(args);
    }
    let in_force = definitions(&args.definitions)?;
    let campaign = in_force.named(&args.key).map_err(Failure::Refused)?;
    let links = links(&args.link, campaign)?;
    // What the event says of its user comes after who the user is.
    let user = read(&args.user, Timestamp::default())?;
    let now = SystemClock::new().now();
    let mut earlier = args.event.iter().map(|path| read(path, now)).collect::<Result<Vec<_>, _>>()?;
    let Some(event) = earlier.pop() else { return Err(Failure::Refused("give the event that triggers: --event FILE".into())) };
    if !matches!(user.body, Body::Identify { .. }) {
        return Err(Failure::Refused(format!("{}: the user must be an identify: {{\"type\":\"identify\",...}}", args.user.display())));
    }
    let case = Case { user: &user.user, profile: profile_of(&user), event: &event, earlier: &earlier, links: &links };
    let preview = preview(&in_force, campaign, case);
    let shown = preview.shown();
    let Preview { request, missing, unanswered, mut warnings, .. } = preview;
    let from_file = |name| format!("`link.{name}` is empty: what the service answers comes from a file, --link {name}=FILE");
    warnings.extend(unanswered.iter().map(from_file));
    warnings.extend(missing.iter().map(|name| format!("`{name}` has no value: it is empty in the request")));
    let request = shown.map_or_else(|| request, Ok).map_err(|held| {
        let why = format!("campaign `{}` would send nothing: {}: {}", args.key, held.reason.as_str(), held.why);
        tell(&warnings, Failure::Refused(why))
    })?;
    match args.format {
        Shown::Curl => println!("{}", view::curl(&request)),
        Shown::Table => print!("{}", view::table(&request)),
        Shown::Json => println!("{}", as_json(&request, &warnings)),
    }
    if args.format != Shown::Json {
        warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    }
    Ok(())
}

/// By the definitions that a worker has.
fn from_server(args: &PreviewArgs) -> Result<(), Failure> {
    let body = asked(Some(&args.user), &args.event, &args.link)?;
    let shown: Value = Client::new(&args.server)?.ask(Ask::post(["v1", "campaigns", &args.key, "preview"]).json(&body))?;
    let texts = |name: &str| shown[name].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
    let mut warnings = texts("warnings");
    warnings.extend(texts("missing").iter().map(|name| format!("`{name}` has no value: it is empty in the request")));
    if shown["outcome"] != "rendered" {
        let why = format!("campaign `{}` would send nothing: {}", args.key, shown["error"].as_str().unwrap_or_default());
        return Err(tell(&warnings, Failure::Refused(why)));
    }
    match args.format {
        Shown::Curl => println!("{}", shown["curl"].as_str().unwrap_or_default()),
        Shown::Table => {
            let rows: Vec<[String; 3]> = serde_json::from_value(shown["table"].clone()).unwrap_or_default();
            print!("{}", view::aligned(&rows));
        }
        Shown::Json => println!("{}", json!({"request": shown["request"], "warnings": warnings})),
    }
    if args.format != Shown::Json {
        warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    }
    Ok(())
}

/// What a worker is asked for: the files' content. The last event triggers.
pub(super) fn asked(user: Option<&Path>, events: &[PathBuf], links: &[String]) -> Result<Value, Failure> {
    let json = |path: &Path| -> Result<Value, Failure> {
        let refused = |error| Failure::Refused(format!("{}: not JSON: {error}", path.display()));
        serde_json::from_str(&read_file(path)?).map_err(refused)
    };
    let mut body = json!({});
    if let Some(path) = user {
        body["user"] = json(path)?;
    }
    if let Some((event, earlier)) = events.split_last() {
        body["event"] = json(event)?;
        if !earlier.is_empty() {
            body["earlier"] = earlier.iter().map(|path| json(path)).collect::<Result<Vec<_>, _>>()?.into();
        }
    }
    for argument in links {
        let (name, file) = named(argument)?;
        let text = read_file(Path::new(file))?;
        body["links"][name] = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text.trim_end()));
    }
    Ok(body)
}

fn named(argument: &str) -> Result<(&str, &str), Failure> {
    argument.split_once('=').ok_or_else(|| Failure::Refused(format!("--link {argument}: write NAME=FILE")))
}

/// Warnings before a failure: they often say why.
fn tell(warnings: &[String], failure: Failure) -> Failure {
    warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    failure
}

fn definitions(paths: &[PathBuf]) -> Result<InForce, Failure> {
    let refused = |problems: Vec<Problem>| Failure::Refused(format!("the definitions cannot be used\n{}", join(&problems)));
    let catalog = super::simulate::definitions(paths)?;
    InForce::compile(&crate::simulator::replay::started(catalog), policy()).map_err(refused)
}

/// What linked services answer: files under the names of the campaign's links. JSON is a value, anything else text, as when it is fetched.
fn links(arguments: &[String], campaign: &CampaignInForce) -> Result<Vec<(Box<str>, engine::Value)>, Failure> {
    let known: Vec<&str> = campaign.definition.webhook.links.iter().map(|link| &*link.name).collect();
    let read = arguments.iter().map(|argument| {
        let (name, file) = named(argument)?;
        if !known.contains(&name) {
            let key = &campaign.definition.key;
            return Err(Failure::Refused(match known.is_empty() {
                true => format!("campaign `{key}` has no link `{name}`: leave --link out"),
                false => format!("campaign `{key}` has no link `{name}`: {}", meant(name, "links", known.iter().copied())),
            }));
        }
        let text = read_file(Path::new(file))?;
        Ok((name.into(), engine::Value::from_json(&text).unwrap_or_else(|_| engine::Value::text(text.trim_end()))))
    });
    read.collect()
}

/// The one event of a file. Where it does not say when it happened, it happened `otherwise`.
fn read(path: &Path, otherwise: Timestamp) -> Result<Event, Failure> {
    let text = read_file(path)?;
    let refused = |unreadable: reading::Unreadable| Failure::Refused(format!("{}: {unreadable}", path.display()));
    let header = reading::header(text.trim().as_bytes()).map_err(refused)?;
    let broker_time = header.timestamp().unwrap_or(otherwise);
    let place = Place { source: SourceId::of("preview", 1, 0), topic: "preview", partition: 0, generation: 1, offset: 0, broker_time };
    header.into_event(&place, &LIMITS).map_err(refused)
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

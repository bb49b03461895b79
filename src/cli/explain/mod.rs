//! `campanile explain`: why a user did, or did not, get a campaign. Replays the user's events in virtual time, then shows what the
//! trigger saw, what came of it, and every gate with the values it compared.

mod shown;
mod together;
mod watched;

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use self::shown::text;
use self::watched::Watched;
use super::Failure;
use super::client::{Client, Request, ServerArgs};
use super::past::{Past, Times, Written};
use super::settings::join;
use super::simulate::{definitions, instant};
use super::validate::Format;
use super::world::WorldArgs;
use crate::engine::catalog::{CampaignInForce, Catalog, InForce};
use crate::engine::definition::Trigger;
use crate::engine::event::{Event, SourceId};
use crate::engine::reading::{self, Limits, Place};
use crate::engine::record::Origin;
use crate::engine::runs;
use crate::engine::step::{Delivering, Exposed, GateView, Known, SeenView, Standing, Waiting, explain, standing, verdict};
use crate::engine::time::Timestamp;
use crate::simulator::endpoints::Endpoints;
use crate::simulator::replay::{Replay, started};
use crate::simulator::worker::{Stopped, policy};

/// Shows why a user did, or did not, get a campaign: what its trigger saw, what came of it, and every gate as it stands
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: why did this customer not get the reminder?

  campanile explain --user u2 --campaign cart-abandoned --definitions config/campaigns --events week.ndjson

From a running worker, by what it knows of the user now:

  campanile explain --user u2 --campaign cart-abandoned

With --definitions and --events the user's events are replayed in virtual time; campaigns that are ready or paused count as started at --from. --answers, --links and
--secrets say what is outside, as in `simulate`: else endpoints answer 200, and what comes of linked content is not known.
The gates are shown as they stand at --at, were the campaign triggered once more then.")]
pub struct ExplainArgs {
    /// The user's id
    #[arg(long, value_name = "ID")]
    user: String,
    /// The campaign's key
    #[arg(long, value_name = "KEY")]
    campaign: String,
    #[command(flatten)]
    server: ServerArgs,
    /// A file or directory of definitions
    #[arg(long, value_name = "DIR")]
    definitions: Vec<PathBuf>,
    /// Files of events, a JSON object a line (- for standard input)
    #[arg(long, num_args = 1.., value_name = "FILE")]
    events: Vec<PathBuf>,
    /// When the campaigns start [default: the first event]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Option<Timestamp>,
    /// As of when; later events do not count [default: when nothing of the user's events is left to come]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    at: Option<Timestamp>,
    #[command(flatten)]
    world: WorldArgs,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// All that is to be said: what a worker says of it (`GET /v1/users/{id}/explain`), and what the replay has seen.
#[derive(Serialize)]
pub struct Explained {
    pub user_id: String,
    pub campaign: Box<str>,
    pub status: &'static str,
    pub from: Timestamp,
    pub at: Timestamp,
    /// Whether anything is known of the user.
    pub known: bool,
    /// How many events of this user there are.
    pub events: usize,
    pub seen: Vec<SeenEvent>,
    /// Outcome lines of this campaign, as they would stand in the outcomes topic.
    pub lines: Vec<Value>,
    pub waiting: Vec<Waiting>,
    /// Of its schedule, unless it has ended.
    pub next_run: Option<Timestamp>,
    pub pending: Vec<Delivering>,
    pub exposures: Vec<Exposed>,
    /// Were it triggered at `at`.
    pub gates: Vec<GateView>,
    /// What they come to together, in a sentence.
    pub verdict: String,
    /// What is said where `seen` is empty.
    #[serde(skip)]
    pub waits_for: &'static str,
}

/// An event that a part of the trigger waits for.
#[derive(Serialize)]
pub struct SeenEvent {
    pub at: Timestamp,
    pub event_id: Box<str>,
    pub event: Box<str>,
    pub parts: Vec<SeenView>,
}

/// No event of a file is too late to be explained.
const LIMITS: Limits = Limits { max_lateness: std::time::Duration::MAX };

pub fn run(args: &ExplainArgs) -> Result<(), Failure> {
    match (args.definitions.is_empty(), args.events.is_empty()) {
        (true, true) if !args.world.is_empty() => {
            let why = "--answers, --links and --secrets are of a replay: give --definitions and --events too";
            return Err(Failure::Refused(why.into()));
        }
        (true, true) => return from_server(args),
        (false, false) => {}
        _ => return Err(Failure::Refused("give both --definitions and --events, or neither to ask the worker at --server".into())),
    }
    let mut catalog = started(definitions(&args.definitions)?);
    let input = Input::read(args)?;
    let Some(from) = args.from.or(input.first) else {
        return Err(Failure::Refused("there is no event in these files that can be read; give --from to explain without".into()));
    };
    catalog.begin_at(from);
    let in_force = InForce::compile(&catalog, policy()).map_err(|problems| Failure::Refused(join(&problems)))?;
    let campaign = in_force.named(&args.campaign).map_err(Failure::Refused)?;
    let explained = replay(args, &catalog, (&in_force, campaign), args.world.endpoints()?, from, input)
        .map_err(|stopped| Failure::Refused(format!("the replay cannot go on: {stopped}")))?;
    match args.format {
        Format::Json => println!("{}", serde_json::to_string(&explained).unwrap_or_default()),
        Format::Text => print!("{}", text(&explained)),
    }
    Ok(())
}

/// Every gate as it stands now, by what a worker knows of the user.
fn from_server(args: &ExplainArgs) -> Result<(), Failure> {
    let ask = Request::get(["v1", "users", &args.user, "explain"]).query("campaign", Some(&args.campaign));
    let asked: Value = Client::new(&args.server)?.ask(ask)?;
    match args.format {
        Format::Json => println!("{asked}"),
        Format::Text => print!("{}", shown::of_server(&asked)),
    }
    Ok(())
}

/// The user's events, in the order of their time.
struct Input {
    events: Vec<(Timestamp, Vec<u8>)>,
    /// Of anybody's.
    first: Option<Timestamp>,
}

impl Input {
    fn read(args: &ExplainArgs) -> Result<Input, Failure> {
        let mut input = Input { events: Vec::new(), first: None };
        let mut past = Past::Files(args.events.clone());
        let mut times = Times::default();
        let bar = past.bar();
        past.read(&bar, &mut |written| input.take(written, &mut times, args))?;
        bar.finish_and_clear();
        input.events.retain(|(at, _)| args.at.is_none_or(|until| *at <= until));
        input.events.sort_by_key(|(at, _)| *at);
        Ok(input)
    }

    /// What cannot be read is told and passed over.
    fn take(&mut self, written: &Written<'_>, times: &mut Times, args: &ExplainArgs) -> Result<(), Failure> {
        let Written { name, number, bytes, .. } = written;
        match reading::header(bytes) {
            Ok(header) => {
                let at = times.of(written, header.timestamp(), args.from)?;
                self.first = Some(self.first.map_or(at, |first| first.min(at)));
                if header.user() == args.user {
                    self.events.push((at, bytes.to_vec()));
                }
            }
            Err(why) => eprintln!("{name}:{number}: {why}"),
        }
        Ok(())
    }
}

fn replay(
    args: &ExplainArgs,
    catalog: &Catalog,
    (in_force, campaign): (&InForce, &CampaignInForce),
    endpoints: Endpoints,
    from: Timestamp,
    input: Input,
) -> Result<Explained, Stopped> {
    let first = input.events.first().map_or(from, |(at, _)| *at);
    let mut replay = Replay::new(from.min(first), endpoints)?;
    let (mut defined, mut watched) = (false, Watched::new(&args.user, in_force, campaign));
    let events = input.events.len();
    for (offset, (at, json)) in (0i64..).zip(input.events) {
        if !defined && at >= from {
            replay.until(from)?;
            replay.define(catalog)?;
            defined = true;
        }
        let event = parse(&json, at, offset);
        replay.event(at, json)?;
        watched.note(&mut replay, event.as_ref().filter(|_| defined));
    }
    if !defined {
        replay.until(from)?;
        replay.define(catalog)?;
    }
    match args.at {
        Some(at) => replay.until(at.max(from))?,
        None => replay.finish()?,
    }
    watched.note(&mut replay, None);
    let (at, known) = (replay.now(), replay.known(&args.user));
    let Watched { user, seen, mut lines, origin, .. } = watched;
    if !args.world.knows_links() {
        lines.iter_mut().for_each(without_links);
    }
    let gates = explain(in_force, &user, &known, campaign, &Origin { timestamp: at, ..origin }, None, at);
    let Standing { waiting, pending, exposures } = standing(&known, &campaign.definition);
    Ok(Explained {
        user_id: args.user.clone(),
        campaign: campaign.definition.key.clone(),
        status: campaign.definition.status.map_or("ready", |status| status.as_str()),
        from,
        at,
        known: known != Known::default(),
        events,
        seen,
        lines,
        waiting,
        next_run: runs::next_run(in_force, &campaign.definition, at),
        waits_for: waits_for(&campaign.definition.trigger),
        pending,
        exposures,
        verdict: verdict(&gates),
        gates,
    })
}

/// Why there may be no event to show.
fn waits_for(trigger: &Trigger) -> &'static str {
    match trigger {
        Trigger::UserDate(_) => "it waits for no event: its trigger is a date of the user, which stands in the gates",
        Trigger::Schedule(_) => "it waits for no event: its trigger is a schedule",
        Trigger::Cohort { .. } => "it waits for no event: its trigger is a cohort",
        Trigger::Action(_) | Trigger::Actions(_) | Trigger::Inaction(_) | Trigger::Absence(_) | Trigger::EventDate(_) | Trigger::Api => {
            "no event that it waits for"
        }
    }
}

/// Nobody has said what linked services answer: what came of a send that needs it is not known either.
fn without_links(line: &mut Value) {
    if line["reason"] == "link_failed" {
        line["outcome"] = "unknown".into();
        line["reason"] = Value::Null;
        line["rule"] = "what its links answer is not known: --links FILE says it".into();
    }
}

fn parse(json: &[u8], at: Timestamp, offset: i64) -> Option<Event> {
    let place = Place { source: SourceId::of("events", 1, 0), topic: "events", partition: 0, generation: 1, offset, broker_time: at };
    reading::header(json).ok()?.into_event(&place, &LIMITS).ok()
}

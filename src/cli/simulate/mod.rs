//! `campanile simulate`: runs definitions over past events in virtual time. Reads the files once, keeping only events of interest, then
//! replays these in the order of their time.

mod sends;
mod sorted;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde_json::json;

use self::sends::Sends;
use self::sorted::{IN_MEMORY, Sorted, Sorter};
use super::assemble::kafka;
use super::client::text;
use super::past::{Past, Times};
use super::settings::{join, load};
use super::validate::read_paths;
use super::world::WorldArgs;
use super::{ConfigArgs, Failure, funnel};
use crate::engine::catalog::{Apply, Catalog, InForce, apply, check};
use crate::engine::definition::{ReadOptions, Status};
use crate::engine::event::SourceId;
use crate::engine::matching::Match;
use crate::engine::reading::{self, Header, Kind, Place};
use crate::engine::statistics::Report;
use crate::engine::time::Timestamp;
use crate::simulator::endpoints::{Endpoints, Seen};
use crate::simulator::funnel::{Funnel, Funnels};
use crate::simulator::replay::{Replay, started};
use crate::simulator::worker::policy;
use crate::worker::reader::interest;

/// Runs definitions over past events in virtual time, without network: what would have been sent to whom, what held back
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: what would these campaigns have sent last week?

  campanile simulate --definitions config/campaigns --events week.ndjson --sends sends.ndjson

Campaigns that are ready or paused count as started at --from. Events before it only teach what users are (identify).
An event of a file without a timestamp has that of the line before, at the beginning that of --from.")]
pub struct SimulateArgs {
    /// A file or directory of definitions
    #[arg(long, required = true, value_name = "DIR")]
    definitions: Vec<PathBuf>,
    /// Files of events, a JSON object a line (- for standard input)
    #[arg(long, required_unless_present = "topic", num_args = 1.., value_name = "FILE")]
    events: Vec<PathBuf>,
    /// A Kafka topic instead of files, from its beginning to its end; the settings say where the brokers are
    #[arg(long, conflicts_with = "events", value_name = "TOPIC")]
    topic: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// When the campaigns start [default: the first event]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Option<Timestamp>,
    /// When it ends [default: when no event has anything left to come]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    to: Option<Timestamp>,
    #[command(flatten)]
    world: WorldArgs,
    /// Where every decision and attempt goes, a JSON object a line
    #[arg(long, value_name = "FILE")]
    sends: Option<PathBuf>,
    /// How the funnel is printed
    #[arg(long, value_enum, default_value_t = Shown::Table)]
    format: Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shown {
    Table,
    Json,
}

/// Events that cannot be read are named up to here; then they are only counted.
const NAMED: u64 = 10;

/// The bar is moved every so many events.
const MOVE_EVERY: u64 = 4096;

/// What was read of the files.
#[derive(Default)]
struct Input {
    events: u64,
    of_interest: u64,
    unreadable: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

pub fn run(args: &SimulateArgs) -> Result<(), Failure> {
    if args.from.zip(args.to).is_some_and(|(from, to)| to < from) {
        return Err(Failure::Refused("--to lies before --from".into()));
    }
    let mut catalog = started(definitions(&args.definitions)?);
    let endpoints = args.world.endpoints()?;
    let in_force = InForce::compile(&catalog, policy()).map_err(|problems| Failure::Refused(join(&problems)))?;
    let past = open_past(args)?;
    let bar = past.bar();
    let (input, sorted) = gather(args, past, &in_force, &bar)?;
    let Some(from) = args.from.or(input.first) else {
        return Err(Failure::Refused("there is no event that can be read; give --from to simulate without".into()));
    };
    catalog.begin_at(from);
    let mut funnels = Funnels::default();
    let campaigns = in_force.campaigns.iter().filter(|campaign| campaign.definition.status != Some(Status::Ended));
    campaigns.for_each(|campaign| funnels.list(&campaign.definition.key, campaign.definition.goal.is_some()));
    let sends = args.sends.as_deref().map(create).transpose()?;
    let mut teller = Teller { funnels, sends: sends.map(Sends::new), dead_events: 0 };
    let until = replay(args, &catalog, endpoints, (from, &input), sorted, &mut teller, &bar)?;
    bar.finish_and_clear();
    let simulated = as_json(&input, (from, until), &teller.funnels);
    match args.format {
        Shown::Json => println!("{simulated}"),
        Shown::Table => print!("{}", table(&simulated)),
    }
    Ok(())
}

pub(super) fn definitions(paths: &[PathBuf]) -> Result<Catalog, Failure> {
    let options = ReadOptions { allow_http: true };
    let reading = read_paths(paths, &options)?;
    let options = Apply { read: options, ..Apply::default() };
    let applied = match reading.is_sound() {
        true => apply(&Catalog::default(), reading.documents, &options, Timestamp::MIN),
        false => Err(check(&Catalog::default(), reading, &options, Timestamp::MIN)),
    };
    let (catalog, _) = applied.map_err(|problems| Failure::Refused(format!("the definitions cannot be used\n{}", join(&problems))))?;
    Ok(catalog)
}

/// Reads everything: what is of interest is kept, sorted.
fn gather(args: &SimulateArgs, mut past: Past, in_force: &InForce, bar: &ProgressBar) -> Result<(Input, Sorted), Failure> {
    let mut input = Input::default();
    let mut sorter = Sorter::new(IN_MEMORY);
    let (mut matches, mut times) = (Vec::new(), Times::default());
    bar.set_message("read");
    past.read(bar, &mut |written| {
        input.events += 1;
        let judged = match reading::header(written.bytes) {
            Ok(header) => {
                let at = times.of(written, header.timestamp(), args.from)?;
                is_wanted(header, at, in_force, args, &mut matches).map(|wanted| (at, wanted))
            }
            Err(unreadable) => Err(unreadable.to_string()),
        };
        match judged {
            Ok((at, wanted)) if args.to.is_none_or(|to| at <= to) => {
                input.first = Some(input.first.map_or(at, |first| first.min(at)));
                input.last = Some(input.last.map_or(at, |last| last.max(at)));
                if wanted {
                    input.of_interest += 1;
                    sorter.push(at, written.bytes).map_err(no_room)?;
                }
            }
            Ok(_) => {}
            Err(why) => {
                input.unreadable += 1;
                if input.unreadable <= NAMED {
                    bar.suspend(|| eprintln!("{}:{}: {why}", written.name, written.number));
                }
            }
        }
        Ok(())
    })?;
    if input.unreadable > NAMED {
        eprintln!("... and {} more that cannot be read", input.unreadable - NAMED);
    }
    Ok((input, sorter.into_sorted().map_err(no_room)?))
}

/// The files, or the topic from its beginning to its end as it is now.
fn open_past(args: &SimulateArgs) -> Result<Past, Failure> {
    let Some(topic) = &args.topic else { return Ok(Past::Files(args.events.clone())) };
    let loaded = load(&args.config)?;
    let Some(settings) = kafka(&loaded.config)? else {
        let why = "kafka.brokers is `embedded`: that log belongs to the worker that runs";
        return Err(Failure::Refused(format!("{why}; give --events, or --config with the brokers that have `{topic}`")));
    };
    Past::of_topics(&settings, std::slice::from_ref(topic), loaded.config.kafka.generation, None)
}

/// Whether an event of this time is to be replayed: as the worker's own reader judges.
fn is_wanted(header: Header<'_>, at: Timestamp, in_force: &InForce, args: &SimulateArgs, matches: &mut Vec<Match>) -> Result<bool, String> {
    // Before the start nothing is defined: only what users are is learnt.
    let early = args.from.is_some_and(|from| at < from);
    if early && !matches!(header.kind(), Kind::Identify | Kind::Delete) {
        return Ok(false);
    }
    let place = Place { source: SourceId::of("events", 1, 0), topic: "events", partition: 0, generation: 1, offset: 0, broker_time: at };
    let found = interest(in_force, header, &place, at, matches).map_err(|unreadable| unreadable.to_string())?;
    Ok(found.is_some())
}

/// Replays the events and answers when the world ended.
fn replay(
    args: &SimulateArgs,
    catalog: &Catalog,
    endpoints: Endpoints,
    (from, input): (Timestamp, &Input),
    mut events: Sorted,
    teller: &mut Teller,
    bar: &ProgressBar,
) -> Result<Timestamp, Failure> {
    let stopped = |stopped: crate::simulator::worker::Stopped| Failure::Refused(format!("the simulation cannot go on: {stopped}"));
    let mut replay = Replay::new(from.min(input.first.unwrap_or(from)), endpoints).map_err(stopped)?;
    let mut defined = false;
    bar.set_message("replayed");
    let mut count: u64 = 0;
    while let Some((at, event)) = events.next().map_err(no_room)? {
        if !defined && at >= from {
            replay.until(from).and_then(|()| replay.define(catalog)).map_err(stopped)?;
            defined = true;
        }
        replay.event(at, event).map_err(stopped)?;
        teller.tell(&mut replay)?;
        count += 1;
        if count.is_multiple_of(MOVE_EVERY) {
            bar.set_position(count);
        }
    }
    if !defined {
        replay.until(from).and_then(|()| replay.define(catalog)).map_err(stopped)?;
    }
    match args.to {
        Some(to) => replay.until(to).map_err(stopped)?,
        None => {
            replay.until(input.last.unwrap_or(from).max(from)).map_err(stopped)?;
            replay.finish().map_err(stopped)?;
        }
    }
    teller.tell(&mut replay)?;
    if let Some(sends) = &mut teller.sends {
        sends.finish().map_err(no_room)?;
    }
    if teller.dead_events > 0 {
        eprintln!("{} events were dead-lettered", teller.dead_events);
    }
    Ok(replay.now())
}

/// Counts and writes what a replay has done.
struct Teller {
    funnels: Funnels,
    sends: Option<Sends<BufWriter<File>>>,
    dead_events: u64,
}

impl Teller {
    fn tell(&mut self, replay: &mut Replay) -> Result<(), Failure> {
        let done = replay.take();
        let requests: BTreeMap<&str, &Seen> = done.requests.iter().map(|request| (&*request.webhook_id, request)).collect();
        self.funnels.note(done.lines.iter().map(|line| &**line));
        if let Some(sends) = &mut self.sends {
            done.lines.iter().try_for_each(|line| sends.note(line, &requests)).map_err(no_room)?;
        }
        self.dead_events += done.dead.iter().filter(|letter| is_event(letter)).count() as u64;
        Ok(())
    }
}

fn is_event(letter: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Letter<'a> {
        kind: &'a str,
    }
    serde_json::from_slice::<Letter<'_>>(letter).is_ok_and(|letter| letter.kind == "event")
}

/// The same words as `stats` has, of each campaign.
fn table(simulated: &serde_json::Value) -> String {
    let (events, none) = (&simulated["events"], serde_json::Map::new());
    let campaigns = simulated["campaigns"].as_object().unwrap_or(&none);
    let mut lines = vec![
        format!(
            "{} to {}: {} events, {} of interest, {} unreadable",
            text(&simulated["from"]),
            text(&simulated["to"]),
            events["read"],
            events["of_interest"],
            events["unreadable"]
        ),
        String::new(),
    ];
    let rows: Vec<(String, &serde_json::Value)> = campaigns.iter().map(|(key, counts)| (key.clone(), counts)).collect();
    lines.extend(funnel::table("campaign", &rows));
    for (key, counts) in campaigns {
        let notes = funnel::notes(counts, !counts["conversions"].is_null());
        if !notes.is_empty() {
            lines.extend([String::new(), key.clone()]);
            lines.extend(notes.into_iter().map(|note| format!("  {note}")));
        }
    }
    lines.join("\n") + "\n"
}

fn as_json(input: &Input, (from, until): (Timestamp, Timestamp), funnels: &Funnels) -> serde_json::Value {
    let of_one = |funnel: Funnel<'_>| {
        let Report { totals, reasons, failed_by, conversions, .. } = funnel.report;
        let mut counts = json!(totals);
        counts["reasons"] = json!(reasons);
        counts["failed_by"] = json!(failed_by);
        counts["conversions"] = if funnel.has_goal { json!(conversions) } else { serde_json::Value::Null };
        (funnel.campaign.to_owned(), counts)
    };
    let campaigns: serde_json::Map<String, serde_json::Value> = funnels.iter().map(of_one).collect();
    let events = json!({"read": input.events, "of_interest": input.of_interest, "unreadable": input.unreadable});
    json!({"from": from, "to": until, "events": events, "campaigns": campaigns})
}

fn create(path: &Path) -> Result<BufWriter<File>, Failure> {
    let file = File::create(path).map_err(|error| Failure::Refused(format!("{} cannot be written: {error}", path.display())))?;
    Ok(BufWriter::new(file))
}

fn no_room(error: io::Error) -> Failure {
    Failure::Refused(format!("cannot write or read back what was written: {error}; make room, or set TMPDIR"))
}

/// A time on the command line.
pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "expected an instant with its offset, such as 2026-11-01T00:00:00Z".to_owned())
}

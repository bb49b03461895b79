//! `campanile start`, `pause`, `end`, `delete`: the life of one campaign, and definitions that nobody needs.

use clap::ValueEnum;
use serde_json::Value;

use super::Failure;
use super::client::{Client, Request, ServerArgs, text};

/// Starts a campaign; first prints what it is, when it runs next, whom it would reach, what holds it back, and warnings
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: look first, then start

  campanile start cart-abandoned --dry-run
  campanile start cart-abandoned")]
pub struct StartArgs {
    /// The campaign's key
    #[arg(value_name = "KEY")]
    key: String,
    /// Only print the overview
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

/// Pauses a running campaign: what is started is finished, everything else waits until it is started again
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:

  campanile pause cart-abandoned")]
pub struct PauseArgs {
    /// The campaign's key
    #[arg(value_name = "KEY")]
    key: String,
    #[command(flatten)]
    common: Common,
}

/// Ends a campaign for good: nothing that is not started is sent; its statistics stay
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:

  campanile end cart-abandoned")]
pub struct EndArgs {
    /// The campaign's key
    #[arg(value_name = "KEY")]
    key: String,
    #[command(flatten)]
    common: Common,
}

/// Deletes a definition that nothing needs; campaigns only if they never ran
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:

  campanile delete cohort/vip")]
pub struct DeleteArgs {
    /// What to delete: campaign/KEY, cohort/KEY, destination/KEY or workspace/workspace
    #[arg(value_name = "KIND/KEY")]
    what: String,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(clap::Args, Debug)]
struct Common {
    #[command(flatten)]
    server: ServerArgs,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

pub fn start(args: &StartArgs) -> Result<(), Failure> {
    let client = Client::new(&args.common.server)?;
    let overview: Value = client.ask(to(&args.key, "start").query("dry_run", Some(true)))?;
    let json = args.common.format == Format::Json;
    if !json {
        print!("{}", shown(&overview));
    }
    if args.dry_run {
        if json {
            println!("{overview}");
        }
        return Ok(());
    }
    let started: Value = client.ask(to(&args.key, "start"))?;
    if json {
        println!("{started}")
    } else {
        println!("{}", became(&started))
    }
    Ok(())
}

pub fn pause(args: &PauseArgs) -> Result<(), Failure> {
    turn(&args.key, "pause", &args.common)
}

pub fn end(args: &EndArgs) -> Result<(), Failure> {
    turn(&args.key, "end", &args.common)
}

pub fn delete(args: &DeleteArgs) -> Result<(), Failure> {
    let (kind, key) = kind_and_key(&args.what)?;
    let reply = Client::new(&args.server)?.send(Request::delete(["v1", "definitions", kind, key]))?;
    if !reply.is_success() {
        return Err(reply.refusal());
    }
    println!("{kind} {key}: removed");
    Ok(())
}

/// `cohort/vip` in two.
pub fn kind_and_key(what: &str) -> Result<(&str, &str), Failure> {
    let parts = what.split_once('/').filter(|(kind, key)| !kind.is_empty() && !key.is_empty());
    parts.ok_or_else(|| Failure::Refused(format!("`{what}` is not KIND/KEY: write campaign/{what}, cohort/{what} or destination/{what}")))
}

fn to(key: &str, act: &str) -> Request {
    Request::post(["v1", "campaigns", key, act])
}

fn turn(key: &str, act: &str, common: &Common) -> Result<(), Failure> {
    let overview: Value = Client::new(&common.server)?.ask(to(key, act))?;
    match common.format {
        Format::Json => println!("{overview}"),
        Format::Text => println!("{}", became(&overview)),
    }
    Ok(())
}

fn became(overview: &Value) -> String {
    format!("campaign {} is {}", text(&overview["key"]), text(&overview["status"]))
}

/// The overview as text: a line for what there is, then the warnings.
pub fn shown(overview: &Value) -> String {
    let mut lines = vec![format!("campaign {}, version {}, {}", text(&overview["key"]), overview["version"], text(&overview["status"]))];
    let mut line = |name: &str, value: String| lines.push(format!("  {name:<12} {value}"));
    for field in ["title", "description", "channel"] {
        if !overview[field].is_null() {
            line(field, text(&overview[field]));
        }
    }
    line("trigger", text(&overview["trigger"]));
    line("destination", format!("{} ({})", text(&overview["destination"]["name"]), text(&overview["destination"]["host"])));
    if !overview["next_run"].is_null() {
        line("next run", text(&overview["next_run"]));
    }
    let estimate = &overview["estimated_audience"];
    if !estimate.is_null() {
        let sampled = if estimate["sampled"] == true { " that were looked at" } else { "" };
        line("audience", format!("{} of the {} users{sampled} are in it now", estimate["users"], estimate["of"]));
    }
    for cap in overview["caps"].as_array().into_iter().flatten() {
        line("holds back", format!("{} ({})", cap["rule"], text(&cap["scope"])));
    }
    for warning in overview["warnings"].as_array().into_iter().flatten() {
        line("warning", text(warning));
    }
    lines.join("\n") + "\n"
}

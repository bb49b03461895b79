//! `campanile user`: what is known of one user, and its deletion.

use serde_json::Value;

use super::Failure;
use super::client::{Client, Request, ServerArgs, text};
use super::validate::Format;

/// Shows what is known of one user, or has it forgotten
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: what does Campanile know of this customer, and what is still to come?

  campanile user get u-4711

  campanile user delete u-4711")]
pub struct UserArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Profile, past, what was sent, what still runs
    Get(GetArgs),
    /// Forgets profile, past, clocks and pending deliveries; prints what is left elsewhere
    Delete(DeleteArgs),
}

#[derive(clap::Args, Debug)]
struct GetArgs {
    /// The user's id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    server: ServerArgs,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(clap::Args, Debug)]
struct DeleteArgs {
    /// The user's id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(args: &UserArgs) -> Result<(), Failure> {
    match &args.what {
        What::Get(args) => get(args),
        What::Delete(args) => delete(args),
    }
}

fn get(args: &GetArgs) -> Result<(), Failure> {
    let user: Value = Client::new(&args.server)?.ask(Request::get(["v1", "users", &args.id]))?;
    match args.format {
        Format::Json => println!("{user}"),
        Format::Text => print!("{}", shown(&user)),
    }
    Ok(())
}

fn delete(args: &DeleteArgs) -> Result<(), Failure> {
    let deleted: Value = Client::new(&args.server)?.ask(Request::delete(["v1", "users", &args.id]))?;
    println!("user {} is deleted as soon as the worker reads it (event {})", args.id, text(&deleted["message_id"]));
    println!("what is left elsewhere:");
    for remains in list(&deleted["remains"]) {
        println!("  {}: {}, until {}", text(&remains["where"]), text(&remains["what"]), text(&remains["until"]));
    }
    Ok(())
}

/// One section after the other, those without content left out.
fn shown(user: &Value) -> String {
    let mut out = format!("user {}, timezone {}\n", text(&user["user_id"]), text(&user["timezone"]));
    if !user["deleted"].is_null() {
        out.push_str(&format!("deleted at {}\n", text(&user["deleted"])));
    }
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            out.push_str(&format!("\n{title}\n"));
            lines.iter().for_each(|line| out.push_str(&format!("  {line}\n")));
        }
    };
    let of = |name: &str, line: fn(&Value) -> String| list(&user[name]).iter().map(line).collect::<Vec<String>>();
    let traits = user["traits"].as_object().into_iter().flatten();
    section("traits", traits.map(|(name, value)| format!("{name}: {value}")).collect());
    section("cohorts", of("cohorts", text));
    section("what is remembered", of("history", |kept| format!("{}: {}", text(&kept["what"]), text(&kept["value"]))));
    section(
        "what was sent",
        of("exposures", |sent| {
            let held_out = if sent["arm"] == "control" { "  held out as control" } else { "" };
            format!("{}  {}, {} in all{held_out}", text(&sent["last"]), text(&sent["campaign"]), text(&sent["times"]))
        }),
    );
    section(
        "what is still to come",
        of("timers", |clock| format!("{}  {} of {}", text(&clock["due"]), text(&clock["what"]), text(&clock["campaign"]))),
    );
    section(
        "deliveries under way",
        of("pending", |entry| {
            let (phase, attempt, until) = (text(&entry["phase"]), text(&entry["attempt"]), text(&entry["until"]));
            format!("{} of {}: {phase}, attempt {attempt}, until {until}", text(&entry["delivery_id"]), text(&entry["campaign"]))
        }),
    );
    out
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

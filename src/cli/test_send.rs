//! `campanile test-send`: one marked request of a campaign, sent by a worker now.

use std::path::PathBuf;

use serde_json::Value;

use super::Failure;
use super::client::{Client, Request, ServerArgs};
use super::preview::asked;
use super::validate::Format;

/// Sends a campaign's request once, marked by `webhook-test: true`: no caps, no statistics, no retry
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: does the endpoint take what this campaign sends?

  campanile test-send cart-abandoned --user identify.json --event track.json

  campanile test-send cart-abandoned --user-id u-4711")]
pub struct TestSendArgs {
    /// The campaign's key
    #[arg(value_name = "KEY")]
    key: String,
    /// A user that the worker knows
    #[arg(long, value_name = "ID", conflicts_with = "user", required_unless_present = "user")]
    user_id: Option<String>,
    /// A file with an identify event: the user
    #[arg(long, value_name = "FILE")]
    user: Option<PathBuf>,
    /// A file with the event that triggers; again for each event of a campaign that waits for several, the last one last [default: one without properties]
    #[arg(long, value_name = "FILE")]
    event: Vec<PathBuf>,
    /// What a linked service answers: a file of JSON under the link's name
    #[arg(long, value_name = "NAME=FILE")]
    link: Vec<String>,
    #[command(flatten)]
    server: ServerArgs,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Exit code 1 when a delivery would not have been done by it.
pub fn run(args: &TestSendArgs) -> Result<(), Failure> {
    let mut body = asked(args.user.as_deref(), &args.event, &args.link)?;
    if let Some(id) = &args.user_id {
        body["user_id"] = id.as_str().into();
    }
    let tested: Value = Client::new(&args.server)?.ask(Request::post(["v1", "campaigns", &args.key, "test"]).json(&body))?;
    match args.format {
        Format::Json => println!("{tested}"),
        Format::Text => {
            tested["warnings"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .for_each(|warning| eprintln!("warning: {warning}"));
            tested["curl"].as_str().into_iter().for_each(|curl| println!("{curl}\n"));
            println!("{}", tested["says"].as_str().unwrap_or_default());
            tested["body_excerpt"].as_str().filter(|text| !text.is_empty()).into_iter().for_each(|text| println!("\n{text}"));
        }
    }
    if tested["meaning"] == "delivered" { Ok(()) } else { Err(Failure::Told) }
}

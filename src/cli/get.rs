//! `campanile get`: what definitions a deployment has.

use clap::ValueEnum;
use serde_json::Value;

use super::Failure;
use super::client::{Client, Request, ServerArgs};

/// Shows the definitions of a deployment: their versions and statuses, and since when history is known
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: what is running

  campanile get")]
pub struct GetArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    /// As `GET /v1/definitions` answers
    Json,
}

pub fn run(args: &GetArgs) -> Result<(), Failure> {
    let answer: Value = Client::new(&args.server)?.ask(Request::get(["v1", "definitions"]))?;
    match args.format {
        Format::Json => println!("{answer}"),
        Format::Text => print!("{}", text(&answer)),
    }
    Ok(())
}

fn text(answer: &Value) -> String {
    let field = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let mut lines = vec![format!("revision {}", answer["revision"])];
    for definition in answer["definitions"].as_array().into_iter().flatten() {
        let name = format!("{} {}", field(definition, "kind"), field(definition, "key"));
        lines.push(format!("{name:<40} version {:<4} {}", definition["version"], field(definition, "status")).trim_end().to_owned());
    }
    for tracked in answer["tracked"].as_array().into_iter().flatten() {
        lines.push(format!("tracked since {}: {}", field(tracked, "since"), field(tracked, "what")));
    }
    lines.join("\n") + "\n"
}

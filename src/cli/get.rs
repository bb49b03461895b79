//! `campanile get`: what definitions a deployment has, and one of them as it was written.

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Failure;
use super::client::{Client, Request, ServerArgs};
use super::lifecycle::{kind_and_key, shown};
use crate::api::yaml;

/// Shows the definitions of a deployment: their versions and statuses, and since when history is known; or one campaign
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: what there is, one campaign, and one campaign as a file

  campanile get
  campanile get cart-abandoned
  campanile get cart-abandoned --format yaml > cart-abandoned.yaml")]
pub struct GetArgs {
    /// A campaign's key, or KIND/KEY; everything without it
    #[arg(value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    /// As the API answers
    Json,
    /// The document, to be changed and applied again
    Yaml,
}

/// The stored definitions, as far as a file is made of them.
#[derive(Deserialize)]
struct Stored {
    definitions: Vec<Written>,
}

#[derive(Deserialize)]
struct Written {
    key: String,
    status: Option<String>,
    definition: Box<RawValue>,
}

pub fn run(args: &GetArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let all = || Request::get(["v1", "definitions"]);
    match (&args.key, args.format) {
        (None, Format::Yaml) => print!("{}", files(&client.ask::<Stored>(all())?.definitions)?),
        (None, Format::Json) => println!("{}", client.ask::<Value>(all())?),
        (None, Format::Text) => print!("{}", table(&client.ask(all())?)),
        (Some(key), format) if !key.contains('/') || key.starts_with("campaign/") => {
            let key = key.strip_prefix("campaign/").unwrap_or(key);
            let campaign: Value = client.ask(Request::get(["v1", "campaigns", key]))?;
            match format {
                Format::Json => println!("{campaign}"),
                Format::Yaml => print!("{}", field(&campaign, "yaml")),
                Format::Text => print!("{}\n{}", shown(&campaign), field(&campaign, "yaml")),
            }
        }
        (Some(what), format) => {
            let (kind, key) = kind_and_key(what)?;
            let mut of_kind: Stored = client.ask(all().query("kind", Some(kind)))?;
            of_kind.definitions.retain(|definition| definition.key == key);
            match (&of_kind.definitions[..], format) {
                ([], _) => return Err(Failure::Refused(format!("there is no {kind} {key}"))),
                ([found, ..], Format::Json) => println!("{}", found.definition),
                (found, Format::Text | Format::Yaml) => print!("{}", files(found)?),
            }
        }
    }
    Ok(())
}

/// Definitions as documents of a file.
fn files(definitions: &[Written]) -> Result<String, Failure> {
    let documents: Result<Vec<String>, Failure> = definitions.iter().map(yaml).collect();
    Ok(documents?.join("---\n"))
}

fn yaml(definition: &Written) -> Result<String, Failure> {
    let refused = |why: String| Failure::Refused(format!("the worker's answer cannot be written: {why}"));
    yaml::document(definition.definition.get(), definition.status.as_deref()).map_err(refused)
}

fn table(all: &Value) -> String {
    let mut lines = vec![format!("revision {}", all["revision"])];
    for definition in list(all, "definitions") {
        let name = format!("{}/{}", field(definition, "kind"), field(definition, "key"));
        let version = definition["version"].to_string();
        lines.push(format!("{name:<40} version {version:<4} {}", field(definition, "status")).trim_end().to_owned());
    }
    for tracked in list(all, "tracked") {
        lines.push(format!("tracked since {}: {}", field(tracked, "since"), field(tracked, "what")));
    }
    lines.join("\n") + "\n"
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

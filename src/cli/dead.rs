//! `campanile dead`: what finally failed, to be looked at and sent again. All of it is done by a worker; here it is asked and shown.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Failure;
use super::client::{Client, Request, ServerArgs};
use crate::engine::definition::duration_text;
use crate::engine::time::Timestamp;

/// Looks at what finally failed, and sends it again
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: see what failed today, then send it again

  campanile dead list --since 24h

  campanile dead redrive --since 24h --reason expired")]
pub struct DeadArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    List(ListArgs),
    Redrive(RedriveArgs),
}

/// Shows what could not be read and deliveries that finally failed, the newest first
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: what failed at one endpoint since this morning

  campanile dead list --destination kakao --since 2026-11-20T09:00:00+09:00

Events that could not be read are not sent again by `redrive`. To correct them and send them:

  campanile dead list --kind event --format value > events.ndjson
  campanile ingest events.ndjson")]
struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// What it was
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    #[command(flatten)]
    which: Which,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Sends deliveries again that finally failed: the same bytes, the same webhook-id. Doing it twice is harmless
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: the endpoint was down, and is back

  campanile dead redrive --destination kakao --reason expired --since 12h --per-second 50

What was delivered or sent again since is skipped, as is what belongs to an ended campaign or a deleted user. Frequency caps count it no
second time. Of a batch each user is sent to alone, under a webhook-id of its own: its delivery_id, not the batch's.")]
struct RedriveArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    which: Which,
    /// Begin at most so many in a second [default: what the destinations' own limits allow]
    #[arg(long, value_name = "N")]
    per_second: Option<f64>,
    #[arg(long, value_enum, default_value_t = Shown::Text)]
    format: Shown,
}

#[derive(clap::Args, Debug)]
struct Which {
    /// Only of this campaign
    #[arg(long, value_name = "KEY")]
    campaign: Option<String>,
    /// Only to this destination: its key, else host[:port]
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Only since an instant (2026-11-20T09:00:00Z), or a time ago (12h)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// Only for this reason: `http 503`, `expired`, `not_json`
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// It could not be read
    Event,
    /// It finally failed
    Delivery,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    /// The letters, one a line
    Json,
    /// The bytes of events, one a line
    Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shown {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug)]
struct Since(Timestamp);

/// A page of letters.
#[derive(Deserialize)]
struct Page {
    records: Vec<Value>,
    next: Option<String>,
}

/// What a worker answers, and all answers together.
#[derive(Default, Deserialize, Serialize)]
struct Redriven {
    redriven: u64,
    skipped: BTreeMap<String, u64>,
    #[serde(skip_serializing)]
    next: Option<String>,
}

pub fn run(args: &DeadArgs) -> Result<(), Failure> {
    match &args.what {
        What::List(args) => list(args),
        What::Redrive(args) => redrive(args),
    }
}

/// A page asks for so many.
const PAGE: usize = 100;

fn list(args: &ListArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let kind = args.kind.map(|kind| if kind == Kind::Event { "event" } else { "delivery" });
    let (mut cursor, mut left) = (None, args.limit);
    while left > 0 {
        let Which { campaign, destination, since, reason } = &args.which;
        let request = Request::get(["v1", "dead"])
            .query("kind", kind)
            .query("campaign", campaign.as_ref())
            .query("destination", destination.as_ref())
            .query("since", since.map(|Since(since)| since))
            .query("reason", reason.as_ref())
            .query("limit", Some(left.min(PAGE)))
            .query("cursor", cursor.as_ref());
        let page: Page = client.ask(request)?;
        left -= left.min(page.records.len());
        page.records.iter().try_for_each(|letter| print(letter, args.format))?;
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
    if args.format == Format::Text {
        println!("... and older ones: `--limit` shows more");
    }
    Ok(())
}

fn print(letter: &Value, format: Format) -> Result<(), Failure> {
    match format {
        Format::Text => println!("{}", line(letter)),
        Format::Json => println!("{letter}"),
        Format::Value if letter["kind"] != "event" => {}
        Format::Value => {
            let bytes = STANDARD.decode(letter["value"].as_str().unwrap_or_default()).unwrap_or_default();
            let written = io::stdout().write_all(&[&bytes[..], b"\n"].concat());
            written.map_err(|error| Failure::Refused(format!("the output cannot be written: {error}")))?;
        }
    }
    Ok(())
}

/// One letter for people.
fn line(letter: &Value) -> String {
    let text = |name: &str| letter[name].as_str().unwrap_or("-").to_owned();
    let number = |name: &str| letter[name].as_i64().map_or("-".to_owned(), |number| number.to_string());
    let what = if letter["kind"] == "event" {
        format!("event {}/{}/{}: {}", text("topic"), number("partition"), number("offset"), text("error"))
    } else {
        let (campaign, user, destination) = (text("campaign"), text("user_id"), text("destination"));
        format!("delivery {} of {campaign} to {user} at {destination} after {} attempts", text("delivery_id"), number("attempts"))
    };
    format!("{}  {:<16} {what}", text("at"), text("reason"))
}

fn redrive(args: &RedriveArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let bar = if io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let mut all = Redriven::default();
    loop {
        let Which { campaign, destination, since, reason } = &args.which;
        let since = since.map(|Since(since)| since);
        let mut wish = json!({
            "campaign": campaign, "destination": destination, "since": since, "reason": reason,
            "per_second": args.per_second, "cursor": all.next,
        });
        if let Some(wish) = wish.as_object_mut() {
            wish.retain(|_, value| !value.is_null());
        }
        let Redriven { redriven, skipped, next } = client.ask(Request::post(["v1", "dead", "redrive"]).json(&wish))?;
        all.redriven += redriven;
        for (why, count) in skipped {
            *all.skipped.entry(why).or_default() += count;
        }
        all.next = next;
        bar.set_message(format!("{} on their way", all.redriven));
        if all.next.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    match args.format {
        Shown::Json => println!("{}", json!(all)),
        Shown::Text => {
            println!("{} on their way", all.redriven);
            all.skipped.iter().for_each(|(why, count)| println!("{count} skipped: {why}"));
        }
    }
    Ok(())
}

fn since(text: &str) -> Result<Since, String> {
    let ago = || duration_text::parse(text).map(|ago| now().before(ago));
    Timestamp::parse(text).or_else(ago).map(Since).ok_or_else(|| "write an instant (2026-11-20T09:00:00Z) or a time ago (12h)".to_owned())
}

fn now() -> Timestamp {
    use crate::worker::ports::Clock as _;
    crate::adapter::clock::SystemClock::new().now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_one_line() {
        let check = |letter: Value, expect: &str| assert_eq!(line(&letter), expect);
        check(
            json!({"at": "2026-11-20T10:00:00.000Z", "kind": "delivery", "reason": "http 410", "campaign": "cart", "user_id": "u1",
                "delivery_id": "msg_1", "destination": "kakao", "attempts": 1}),
            "2026-11-20T10:00:00.000Z  http 410         delivery msg_1 of cart to u1 at kakao after 1 attempts",
        );
        check(
            json!({"at": "2026-11-20T10:00:00.000Z", "kind": "event", "reason": "no_user", "topic": "events", "partition": 3,
                "offset": 7, "error": "neither userId nor anonymousId"}),
            "2026-11-20T10:00:00.000Z  no_user          event events/3/7: neither userId nor anonymousId",
        );
    }

    #[test]
    fn since_is_an_instant_or_a_time_ago() {
        assert_eq!(since("2026-11-20T09:00:00Z").unwrap().0, Timestamp::parse("2026-11-20T09:00:00Z").unwrap());
        let ago = since("12h").unwrap().0;
        assert!(now().since(ago).as_secs() >= 12 * 3600);
        assert!(since("yesterday").is_err());
    }
}

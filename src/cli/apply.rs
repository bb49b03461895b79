//! `campanile apply`: sends definitions to a worker. `run --apply`: puts a directory of them into the store before the worker starts;
//! many workers doing so apply once.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Failure;
use super::assemble::state_failure;
use super::client::{Client, Request, ServerArgs};
use super::lifecycle::Format;
use super::settings::join;
use super::validate::{find_definitions, read_paths, read_text};
use crate::adapter::clock::SystemClock;
use crate::api;
use crate::engine::catalog::{Apply, Catalog, Change, What, apply, check};
use crate::engine::definition::{Definition, Document, Faulty, Problem, ReadOptions, Reading};
use crate::worker::attempt::Secrets;
use crate::worker::ports::{Clock, Put, Store};

/// Adds and changes definitions on a deployment, all or nothing; removes nothing without --prune
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: what would change, then change it

  campanile apply config/campaigns --dry-run
  campanile apply config/campaigns --cycle")]
pub struct ApplyArgs {
    /// Files, or directories whose .yaml, .yml and .json files are read
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Pause, change and resume running campaigns in one step
    #[arg(long)]
    cycle: bool,
    /// What is not among the files leaves: campaigns end, cohorts, destinations and the workspace are deleted
    #[arg(long)]
    prune: bool,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: ServerArgs,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub fn run(args: &ApplyArgs) -> Result<(), Failure> {
    let upload = Upload::read(&args.paths)?;
    let set = |flag: bool| flag.then_some(true);
    let request = Request::put(["v1", "definitions"])
        .query("cycle", set(args.cycle))
        .query("prune", set(args.prune))
        .query("dry_run", set(args.dry_run))
        .yaml(&upload.body);
    let reply = Client::new(&args.server)?.send(request)?;
    if !reply.is_success() {
        return Err(reply.refusal_of(&|line| upload.place(line)));
    }
    let applied: Value = reply.read()?;
    for warning in applied["warnings"].as_array().into_iter().flatten() {
        eprintln!("{}", upload.warning(warning));
    }
    match args.format {
        Format::Json => println!("{applied}"),
        Format::Text => {
            applied["changes"].as_array().into_iter().flatten().for_each(|change| println!("{}", change_line(change)));
            println!("revision {}{}", applied["revision"], if args.dry_run { ", nothing was changed" } else { "" });
        }
    }
    Ok(())
}

fn change_line(change: &Value) -> String {
    let text = |name: &str| change[name].as_str().unwrap_or_default();
    let status = change["status"].as_str().map(|status| format!(", {status}")).unwrap_or_default();
    format!("{} {}: {}, version {}{status}", text("kind"), text("key"), text("change"), change["version"])
}

/// What is sent, and where each of its lines came from.
struct Upload {
    body: String,
    /// First line in the body, file, and the line there.
    places: Vec<(u32, String, Lines)>,
}

/// How lines of the body are those of a file.
#[derive(Clone, Copy)]
enum Lines {
    /// Line for line.
    Verbatim,
    /// One line is the whole document that begins there.
    OneOf(u32),
}

impl Upload {
    /// Files go as they are, so that problems keep their places; where a cohort's users are in a file of their own, document by document
    /// with the users put in.
    fn read(paths: &[PathBuf]) -> Result<Upload, Failure> {
        // The worker says whether http is allowed there.
        let options = ReadOptions { allow_http: true };
        let mut upload = Upload { body: String::new(), places: Vec::new() };
        let mut all = Reading::default();
        for (path, text) in find_definitions(paths)? {
            let file = path.display().to_string();
            let (reading, had_users_file) = read_text(&path, &text, &options);
            if had_users_file {
                for document in &reading.documents {
                    upload.push(&file, Lines::OneOf(document.line), &with_status(document));
                }
            } else {
                upload.push(&file, Lines::Verbatim, &text);
            }
            all.extend(reading);
        }
        if all.is_sound() {
            return Ok(upload);
        }
        // What they refer to may be stored at the worker.
        all.faulty.push(Faulty::anything());
        let problems = check(&Catalog::default(), all, &Apply { read: options, ..Apply::default() }, SystemClock::new().now());
        Err(Failure::Refused(format!("nothing was applied\n{}", join(&problems))))
    }

    fn push(&mut self, file: &str, from: Lines, text: &str) {
        if !self.body.is_empty() {
            self.body.push_str("---\n");
        }
        self.places.push((line_count(&self.body) + 1, file.to_owned(), from));
        self.body.push_str(text);
        if !self.body.ends_with('\n') {
            self.body.push('\n');
        }
    }

    /// File and line of a line of the body, and whether its column is the file's.
    fn place(&self, line: u32) -> Option<(&str, u32, bool)> {
        let at = self.places.partition_point(|(first, ..)| *first <= line).checked_sub(1)?;
        let (first, file, from) = &self.places[at];
        match from {
            Lines::Verbatim => Some((file, line - first + 1, true)),
            Lines::OneOf(line) => Some((file, *line, false)),
        }
    }

    fn warning(&self, warning: &Value) -> String {
        let number = |name: &str| u32::try_from(warning[name].as_u64().unwrap_or(1)).unwrap_or(1);
        let (file, line, exact) = self.place(number("line")).unwrap_or(("body", 1, false));
        let column = if exact { number("column") } else { 1 };
        let help = warning["meant"].as_str().map(|meant| format!("\n  help: {meant}")).unwrap_or_default();
        format!("{file}:{line}:{column}: warning: {}{help}", warning["problem"].as_str().unwrap_or_default())
    }
}

fn line_count(text: &str) -> u32 {
    u32::try_from(text.bytes().filter(|byte| *byte == b'\n').count()).unwrap_or(u32::MAX)
}

/// The document on one line, with its status, which its canonical text leaves out.
fn with_status(document: &Document) -> String {
    let status = match &document.definition {
        Definition::Campaign(campaign) => campaign.status,
        Definition::Cohort(_) | Definition::Destination(_) | Definition::Workspace(_) => None,
    };
    match status {
        Some(status) => format!("{{\"status\":\"{}\",{}", status.as_str(), document.canonical.trim_start_matches('{')),
        None => document.canonical.clone(),
    }
}

/// Applies all definitions below `path`, or none. Running campaigns are paused, changed and resumed in one step.
pub async fn apply_directory(store: &dyn Store, path: &PathBuf, allow_http: bool, secrets: &Secrets) -> Result<Vec<Change>, Failure> {
    if is_empty_directory(path) {
        tracing::warn!(directory = %path.display(), "there is nothing to apply: what is stored stays in force");
        return Ok(Vec::new());
    }
    let options = Apply { cycle: true, prune: false, read: ReadOptions { allow_http } };
    let reading = read_paths(std::slice::from_ref(path), &options.read)?;
    let refused =
        |problems: &[Problem]| Failure::Refused(format!("the definitions in {} cannot be applied\n{}", path.display(), join(problems)));
    let clock = SystemClock::new();
    let mut state = store.session().await.map_err(state_failure)?;
    if reading.is_sound() {
        reading.problems.iter().for_each(|problem| eprintln!("{problem}"));
        for missing in api::missing_secrets(&reading.documents, secrets) {
            tracing::warn!("{missing}");
        }
    }
    loop {
        let stored = state.documents(None).await.map_err(state_failure)?;
        let current = match &stored {
            Some(stored) => Catalog::decode(stored.revision, &stored.body).map_err(|error| Failure::Refused(error.to_string()))?,
            None => Catalog::default(),
        };
        if !reading.is_sound() {
            return Err(refused(&check(&current, reading, &options, clock.now())));
        }
        let (next, changes) = apply(&current, reading.documents.clone(), &options, clock.now()).map_err(|problems| refused(&problems))?;
        if changes.iter().all(|change| change.what == What::Unchanged) {
            return Ok(changes);
        }
        match state.put_documents(current.revision, &next.encode()).await.map_err(state_failure)? {
            Put::Stored { .. } => return Ok(changes),
            // Another worker applied at the same time: look again, there is probably nothing left to do.
            Put::Conflict { .. } => {}
        }
    }
}

/// A directory that was made for definitions to come.
fn is_empty_directory(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

//! `campanile test`: runs scenario files in virtual time and says where they differ from what they expect.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Failure;
use super::settings::read_file;
use super::validate::{Format, as_json, find};
use crate::engine::definition::Problem;
use crate::simulator::ports::SharedFaults;
use crate::simulator::scenario::{Difference, Ended, Restarts, Scenario, is_definitions};

/// Runs scenario files (definitions, events, answers, expectations) in virtual time
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: run every scenario of a directory

  campanile test tests/scenarios

Exit code 1 where a scenario differs from what it expects, or cannot be read.")]
pub struct TestArgs {
    /// Scenario files, or directories whose .yaml, .yml and .json files are read (files of definitions in them are passed over)
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// What became of one file.
struct Tested {
    file: String,
    name: Option<String>,
    problems: Vec<Problem>,
    differences: Vec<Difference>,
    /// Why it could not be run to its end.
    stopped: Option<String>,
    /// Events of the scenario that were dead-lettered.
    unreadable: Vec<String>,
}

pub fn run(args: &TestArgs) -> Result<(), Failure> {
    let mut results = Vec::new();
    for file in find(&args.paths)? {
        let text = read_file(&file)?;
        if args.paths.contains(&file) || !is_definitions(&text) {
            let result = run_file(&file, &text);
            if args.format == Format::Text {
                print!("{}", result.show());
            }
            results.push(result);
        }
    }
    let failed = results.iter().filter(|result| !result.is_ok()).count();
    let passed = results.len() - failed;
    match args.format {
        Format::Json => {
            let scenarios: Vec<Value> = results.iter().map(Tested::as_json).collect();
            println!("{}", json!({"scenarios": scenarios, "passed": passed, "failed": failed}));
        }
        Format::Text => println!("{passed} ok, {failed} failed"),
    }
    if results.is_empty() {
        return Err(Failure::Refused("there is no scenario among these files: they all hold definitions".into()));
    }
    if failed == 0 { Ok(()) } else { Err(Failure::Told) }
}

fn run_file(file: &Path, text: &str) -> Tested {
    let shown = file.display().to_string();
    let mut result =
        Tested { file: shown.clone(), name: None, problems: Vec::new(), differences: Vec::new(), stopped: None, unreadable: Vec::new() };
    let scenario = match Scenario::read(&shown, text, &|directory| open(file, directory)) {
        Ok(scenario) => scenario,
        Err(problems) => {
            result.problems = problems;
            return result;
        }
    };
    match scenario.run(Restarts::Never, SharedFaults::default()) {
        Ok(ended) => {
            result.differences = scenario.differences(&ended);
            result.unreadable = unreadable(&ended);
        }
        Err(why) => result.stopped = Some(why),
    }
    result.problems = scenario.warnings;
    result.name = Some(scenario.name);
    result
}

/// The definitions of a directory that a scenario names.
fn open(scenario: &Path, directory: &str) -> Result<Vec<(String, String)>, String> {
    let path = scenario.parent().unwrap_or(Path::new("")).join(directory);
    let files = find(std::slice::from_ref(&path)).map_err(|failure| failure.to_string())?;
    let mut texts = Vec::with_capacity(files.len());
    for file in files {
        let text = read_file(&file).map_err(|failure| failure.to_string())?;
        // The scenarios themselves may stand beside the definitions.
        if is_definitions(&text) {
            texts.push((file.display().to_string(), text));
        }
    }
    if texts.is_empty() { Err(format!("there are no definitions in {}", path.display())) } else { Ok(texts) }
}

/// Events that the run could not read: often the reason why something did not come.
fn unreadable(ended: &Ended) -> Vec<String> {
    let dead = ended.dead.iter().filter_map(|letter| letter.as_object());
    let events = dead.filter(|letter| letter.get("kind").and_then(|kind| kind.as_str()) == Some("event"));
    let text = |letter: &crate::engine::value::Object, key| letter.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    events.map(|letter| format!("{}: {}", text(letter, "reason"), text(letter, "error"))).collect()
}

impl Tested {
    fn is_ok(&self) -> bool {
        self.differences.is_empty() && self.stopped.is_none() && !self.problems.iter().any(Problem::is_error)
    }

    fn show(&self) -> String {
        let state = if self.is_ok() { "ok    " } else { "FAILED" };
        let mut text = match &self.name {
            Some(name) => format!("{state}  {}: {name}\n", self.file),
            None => format!("{state}  {}\n", self.file),
        };
        let mut add = |shown: String| shown.lines().for_each(|line| text.push_str(&format!("        {line}\n")));
        self.problems.iter().for_each(|problem| add(problem.to_string()));
        self.differences.iter().for_each(|difference| add(difference.to_string()));
        self.stopped.iter().for_each(|why| add(format!("cannot go on: {why}")));
        if !self.is_ok() {
            self.unreadable.iter().for_each(|why| add(format!("an event was dead-lettered: {why}")));
        }
        text
    }

    fn as_json(&self) -> Value {
        json!({
            "file": self.file, "name": self.name, "ok": self.is_ok(),
            "problems": self.problems.iter().map(as_json).collect::<Vec<_>>(),
            "differences": self.differences.iter().map(difference_as_json).collect::<Vec<_>>(),
            "stopped": self.stopped,
            "unreadable": self.unreadable,
        })
    }
}

fn difference_as_json(difference: &Difference) -> Value {
    match difference {
        Difference::Unexpected { got } => json!({"kind": "unexpected", "got": got}),
        Difference::Missing { place, expected, nearest, why } => json!({
            "kind": "missing", "line": place.line, "column": place.column, "expected": expected,
            "nearest": nearest.iter().map(|near| json!({"got": near.got, "differs": near.differs})).collect::<Vec<_>>(),
            "why": why,
        }),
    }
}

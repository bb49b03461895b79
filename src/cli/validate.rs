//! `campanile validate`: checks definitions offline, all problems at once, and (for `run --apply`) reads a directory of them,
//! with the files of users that cohorts name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;

use super::Failure;
use super::settings::{join, read_file};
use crate::adapter::clock::SystemClock;
use crate::engine::catalog::{Apply, Catalog, check, secrets_wrong};
use crate::engine::definition::problem::{nearest, sort};
use crate::engine::definition::{Document, Problem, ReadOptions, Reading, Severity, check_batches, read, users_of_file};
use crate::engine::delivery::credentials::variable;
use crate::engine::runs::past_schedules;
use crate::secrets::{Secret, Secrets};
use crate::simulator::rules::read_secrets;
use crate::simulator::scenario::is_scenario;
use crate::worker::ports::Clock;

/// Checks definitions offline: file, line, column, what is wrong, what was probably meant
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: check everything in a directory

  campanile validate config/campaigns

Example: also check that every secret they name is there, as the worker will look for it

  campanile validate config/campaigns --secrets /run/secrets/campanile")]
pub struct ValidateArgs {
    /// Files, or directories whose .yaml, .yml and .json files are read
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Accept http:// URLs, as `delivery.allow_http` does
    #[arg(long)]
    allow_http: bool,
    /// Also check that every secret which they name exists: in this directory (a file each, as `secrets.dir`) or the environment; or in this
    /// file (a map of names and texts, as `simulate --secrets` takes)
    #[arg(long, value_name = "FILE|DIR")]
    secrets: Option<PathBuf>,
    /// How problems are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

pub fn run(args: &ValidateArgs) -> Result<(), Failure> {
    let options = ReadOptions { allow_http: args.allow_http };
    let reading = read_paths(&args.paths, &options)?;
    let count = reading.documents.len();
    let http_refused = !args.allow_http && refuses_http(&args.paths, &reading)?;
    let now = SystemClock::new().now();
    let mut more = past_schedules(&reading.documents, now);
    more.extend(check_batches(&reading.documents));
    if let Some(path) = &args.secrets {
        let kept = Kept::open(path)?;
        more.extend(reading.parts().flat_map(|document| secrets_wrong(document, |name| kept.fault(name))));
    }
    let mut problems = check(&Catalog::default(), reading, &Apply { read: options, ..Apply::default() }, now);
    problems.extend(more);
    sort(&mut problems);
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    match args.format {
        Format::Json => println!("{}", json!({"definitions": count, "problems": problems.iter().map(as_json).collect::<Vec<_>>()})),
        Format::Text => {
            problems.iter().for_each(|problem| println!("{problem}"));
            if http_refused {
                println!("http:// URLs are accepted here with --allow-http, and by a worker with `delivery.allow_http: true`");
            }
            let warnings = problems.len() - errors;
            let (definitions, warned) = (counted(count, "definition"), counted(warnings, "warning"));
            match (errors, warnings) {
                (0, 0) if count == 1 => println!("{definitions}, sound"),
                (0, 0) => println!("{definitions}, all sound"),
                (0, _) => println!("{definitions}, sound; {warned}"),
                _ => println!("{}, {warned}", counted(errors, "error")),
            }
        }
    }
    if errors == 0 { Ok(()) } else { Err(Failure::Told) }
}

/// Whether any of the mistakes is one only because http is not allowed.
fn refuses_http(paths: &[PathBuf], strict: &Reading) -> Result<bool, Failure> {
    let errors = |reading: &Reading| reading.problems.iter().filter(|problem| problem.is_error()).count();
    Ok(errors(strict) > 0 && errors(&read_paths(paths, &ReadOptions { allow_http: true })?) < errors(strict))
}

pub fn as_json(problem: &Problem) -> serde_json::Value {
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({
        "file": problem.file, "line": problem.place.line, "column": problem.place.column,
        "severity": severity, "message": problem.message, "help": problem.help,
    })
}

/// `1 definition`, `2 definitions`.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// What is kept of secrets, to be checked.
enum Kept {
    /// As the worker looks: a file in the directory, else a variable of the environment.
    Worker {
        secrets: Secrets,
        dir: PathBuf,
        files: Vec<String>,
    },
    Map {
        file: String,
        values: BTreeMap<String, String>,
    },
}

impl Kept {
    fn open(path: &Path) -> Result<Kept, Failure> {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
            let files = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
            let files = files.filter(|name| !name.starts_with('.')).collect();
            return Ok(Kept::Worker { secrets: Secrets::new(Some(path.to_owned())), dir: path.to_owned(), files });
        }
        let file = path.display().to_string();
        let values = read_secrets(&file, &read_file(path)?).map_err(|problems| Failure::Refused(join(&problems)))?;
        Ok(Kept::Map { file, values })
    }

    /// What is wrong with a secret, and the way out; never what it is.
    fn fault(&self, name: &str) -> Option<(String, String)> {
        let (value, place, names): (_, _, Vec<&str>) = match self {
            Kept::Worker { secrets, dir, files } => {
                (secrets.get(name), format!("{}, nor in the environment", dir.display()), files.iter().map(String::as_str).collect())
            }
            Kept::Map { file, values } => {
                (values.get(name).map(|text| Secret::new(text.as_str())), file.clone(), values.keys().map(String::as_str).collect())
            }
        };
        let holder = format!("the worker looks for a file `{name}` in `secrets.dir`, then for {}", variable(name));
        match value {
            Some(secret) if secret.expose().is_empty() => Some((format!("secret `{name}` is empty"), holder)),
            Some(_) => None,
            None => {
                let near = nearest(name, names).map_or_else(String::new, |near| format!("did you mean `{near}`? "));
                Some((format!("secret `{name}` is not in {place}"), format!("{near}{holder}")))
            }
        }
    }
}

/// All definitions below these paths, in the order of the file names.
pub fn read_paths(paths: &[PathBuf], options: &ReadOptions) -> Result<Reading, Failure> {
    let mut reading = Reading::default();
    for (file, text) in find_definitions(paths)? {
        reading.extend(read_text(&file, &text, options).0);
    }
    Ok(reading)
}

/// The definitions of one file, and whether users of any were in a file of their own, from which they are put in.
pub fn read_text(file: &Path, text: &str, options: &ReadOptions) -> (Reading, bool) {
    let mut reading = read(&file.display().to_string(), text, options);
    let mut had_users_file = false;
    let mut problems = Vec::new();
    for document in reading.parts_mut() {
        had_users_file |= document.users_file.is_some();
        problems.extend(put_users(document, file));
    }
    reading.problems.extend(problems);
    (reading, had_users_file)
}

/// The files of definitions below these paths, in the order of their names, with their texts. Scenarios that lie beside them are passed over.
pub fn find_definitions(paths: &[PathBuf]) -> Result<Vec<(PathBuf, String)>, Failure> {
    let mut found = Vec::new();
    for file in find(paths)? {
        let text = read_file(&file)?;
        if !is_scenario(&text) {
            found.push((file, text));
        } else if paths.contains(&file) {
            let shown = file.display();
            return Err(Failure::Refused(format!("{shown} is a scenario, not definitions: `campanile test {shown}` runs it")));
        }
    }
    if found.is_empty() { Err(Failure::Refused(format!("there are only scenarios in {}", shown(paths)))) } else { Ok(found) }
}

/// The files below these paths that can hold YAML or JSON, each once, in the order of their names.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let (mut files, mut met) = (Vec::new(), BTreeSet::new());
    for path in paths {
        collect(path, &mut met, &mut files)?;
    }
    if files.is_empty() {
        return Err(Failure::Refused(format!("no .yaml, .yml or .json file in {}", shown(paths))));
    }
    Ok(files)
}

fn shown(paths: &[PathBuf]) -> String {
    join(&paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>())
}

/// Puts the users of a cohort's file into its document. The file's path is seen from the definition's.
fn put_users(document: &mut Document, definition: &Path) -> Vec<Problem> {
    // Whatever comes of it: who reads the document further is not to ask for the file again.
    let Some(written) = document.users_file.take() else { return Vec::new() };
    let path = definition.parent().unwrap_or(Path::new("")).join(&*written);
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("{name} cannot be read: {error}");
            return vec![document.error("users_file", message).help("a path as seen from this file, to a text file with a user id a line")];
        }
    };
    match users_of_file(&name, &text) {
        Ok(users) => {
            document.put_users(users);
            Vec::new()
        }
        Err(problems) => problems,
    }
}

/// `met`: what was come to already, as it lies on the disk. A link may lead back to where it lies.
fn collect(path: &Path, met: &mut BTreeSet<PathBuf>, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| unreadable(path, &error);
    if !met.insert(std::fs::canonicalize(path).map_err(unreadable)?) {
        return Ok(());
    }
    if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut inside: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        inside.push(entry.map_err(unreadable)?.path());
    }
    inside.sort();
    for path in inside {
        // Kubernetes mounts a ConfigMap through hidden directories (`..data`): what is hidden is not ours.
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let definitions = path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
        if !hidden && (definitions || path.is_dir()) {
            collect(&path, met, files)?;
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Refused(format!("{} cannot be read: {error}", path.display()))
}

//! The commands. Everything may be imported here; nothing imports it.

#[macro_use]
mod output;

mod apply;
mod assemble;
mod backfill;
mod client;
mod dead;
mod demo;
mod explain;
mod funnel;
mod get;
mod ingest;
mod init;
mod lifecycle;
mod past;
mod preview;
pub mod receive;
mod run;
mod schema;
mod serve;
mod settings;
mod simulate;
mod stats;
mod test;
mod test_send;
mod user;
mod validate;
mod world;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Event-triggered webhook campaigns: reads user events, rings a webhook when a person does, or fails to do, something.
#[derive(Parser)]
#[command(name = "campanile", version, about, arg_required_else_help = true, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::RunArgs),
    Demo(demo::DemoArgs),
    Init(init::InitArgs),
    Ingest(ingest::IngestArgs),
    Validate(validate::ValidateArgs),
    Test(test::TestArgs),
    Preview(preview::PreviewArgs),
    Simulate(simulate::SimulateArgs),
    Backfill(backfill::BackfillArgs),
    Explain(explain::ExplainArgs),
    TestSend(test_send::TestSendArgs),
    User(user::UserArgs),
    Apply(apply::ApplyArgs),
    Get(get::GetArgs),
    Start(lifecycle::StartArgs),
    Pause(lifecycle::PauseArgs),
    End(lifecycle::EndArgs),
    Delete(lifecycle::DeleteArgs),
    Stats(stats::StatsArgs),
    Dead(dead::DeadArgs),
    Schema(schema::SchemaArgs),
    Receive(receive::ReceiveArgs),
}

/// Where settings are read from.
#[derive(clap::Args, Clone, Debug)]
pub struct ConfigArgs {
    /// The settings file [default: CAMPANILE_CONFIG, ./campanile.yaml, /etc/campanile/campanile.yaml, else built-in defaults]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Why a command ends without success, and with which exit code.
#[derive(Debug)]
pub enum Failure {
    /// 1: refused, invalid or different. The sentence says what and the way out.
    Refused(String),
    /// 1, and everything was said already.
    Told,
    /// 3: something that should answer does not.
    Unreachable(String),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Failure::Refused(_) | Failure::Told => 1,
            Failure::Unreachable(_) => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(why) | Failure::Unreachable(why) => f.write_str(why),
            Failure::Told => Ok(()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Refused(format!("{error:#}"))
    }
}

/// Reads the command line and runs the command. Exit codes: 0; 1 refused, invalid or different; 2 usage; 3 unreachable.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Ingest(args) => ingest::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Preview(args) => preview::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Backfill(args) => backfill::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::TestSend(args) => test_send::run(&args),
        Command::User(args) => user::run(&args),
        Command::Apply(args) => apply::run(&args),
        Command::Get(args) => get::run(&args),
        Command::Start(args) => lifecycle::start(&args),
        Command::Pause(args) => lifecycle::pause(&args),
        Command::End(args) => lifecycle::end(&args),
        Command::Delete(args) => lifecycle::delete(&args),
        Command::Stats(args) => stats::run(&args),
        Command::Dead(args) => dead::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Receive(args) => runtime().block_on(receive::run(args)).map_err(Failure::from),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.to_string();
            if !text.is_empty() {
                eprintln!("campanile: {text}");
            }
            ExitCode::from(failure.code())
        }
    }
}

/// A runtime for what a command waits for.
fn runtime() -> tokio::runtime::Runtime {
    #[expect(clippy::expect_used, reason = "out of threads or file descriptors at start")]
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("the system gives a runtime its threads")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// A worker says what it does in its log (`log.format: json`); a schema is JSON.
    const WITHOUT_FORMAT: [&str; 2] = ["run", "schema"];

    fn check(command: &clap::Command, names: &[&str]) {
        let name = names.join(" ");
        let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(example.contains("Example") && example.contains(&format!("campanile {name}")), "`{name} --help` has no example: {example}");
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            check(below, &[names, &[below.get_name()]].concat());
        }
        let speaks_json = |argument: &clap::Arg| argument.get_possible_values().iter().any(|value| value.matches("json", false));
        if !command.has_subcommands() && !WITHOUT_FORMAT.contains(&name.as_str()) {
            assert!(
                command.get_arguments().any(|argument| argument.get_id() == "format" && speaks_json(argument)),
                "`{name}` has no --format json"
            );
        }
    }

    #[test]
    fn every_command_has_an_example_and_speaks_json() {
        let mut cli = Cli::command();
        cli.build();
        let commands: Vec<&clap::Command> = cli.get_subcommands().filter(|command| command.get_name() != "help").collect();
        assert!(commands.len() > 20);
        commands.into_iter().for_each(|command| check(command, &[command.get_name()]));
    }
}

//! Running the real binary: a command to its end, or a process that is watched, signalled and killed.

use std::ffi::OsStr;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::NamedTempFile;

use super::wait::eventually;

/// No command that ends by itself takes longer, on however busy a machine.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);
/// Lines of a log that are shown when a test fails.
const SHOWN_LINES: usize = 40;

/// The binary with these arguments, in this directory, with nothing from the environment of the test.
pub fn campanile(directory: &Path, arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campanile"));
    command.args(arguments).current_dir(directory).env_clear();
    command
}

/// Runs a command to its end.
pub fn run(command: Command) -> Ran {
    run_with(command, b"")
}

/// Runs a command to its end with this on its standard input.
pub fn run_with(command: Command, input: &[u8]) -> Ran {
    Process::start(command, input).ended(COMMAND_DEADLINE)
}

/// What a command left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Fails unless it ended with this code, and every part is somewhere in what it printed.
    #[track_caller]
    pub fn expect(self, code: i32, parts: &[&str]) -> Ran {
        let printed = format!("stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        assert_eq!(self.code, Some(code), "{printed}");
        for part in parts {
            assert!(printed.contains(part), "`{part}` is missing in\n{printed}");
        }
        self
    }
}

/// A process with its output in files. Killed when it is dropped; the end of what it said is shown when the test fails.
pub struct Process {
    name: String,
    child: Child,
    stdout: NamedTempFile,
    stderr: NamedTempFile,
}

impl Process {
    pub fn start(mut command: Command, input: &[u8]) -> Process {
        let file = || NamedTempFile::new().expect("a temporary file");
        let (stdout, stderr) = (file(), file());
        let mut stdin = tempfile::tempfile().expect("a temporary file");
        stdin.write_all(input).and_then(|()| stdin.rewind()).expect("the disk has room");
        let writer = |file: &NamedTempFile| Stdio::from(file.reopen().expect("it is there"));
        let child = command.stdin(stdin).stdout(writer(&stdout)).stderr(writer(&stderr)).spawn().expect("the binary can be started");
        let name = command.get_args().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ");
        Process { name, child, stdout, stderr }
    }

    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// How it ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is ours to wait for")
    }

    /// kill -9.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().expect("it is ours to wait for");
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let status = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status().expect("a shell");
        assert!(status.success(), "{} cannot be signalled: {status}", self.name);
    }

    /// Waits until it has ended.
    pub fn ended(mut self, within: Duration) -> Ran {
        let what = format!("`campanile {}` has ended", self.name);
        let status = eventually(&what, within, || self.status());
        Ran { code: status.code(), stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let said = format!("{}{}", self.stdout(), self.stderr());
            let lines: Vec<&str> = said.lines().collect();
            let end = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
            eprintln!("---- the last of {} lines of `campanile {}`:\n{end}", lines.len(), self.name);
        }
    }
}

fn text(file: &NamedTempFile) -> String {
    let mut bytes = Vec::new();
    file.reopen().and_then(|mut file| file.read_to_end(&mut bytes)).expect("it is there");
    String::from_utf8_lossy(&bytes).into_owned()
}

//! What commands print. `println!` and its kin of the standard library panic when nobody reads any more (`campanile validate DIR | head -1`);
//! the macros of the same names here take their place in every command. What is printed into a closed pipe is dropped, and the command goes on
//! to its end and its own exit code: it was asked for that, too. Anything else that keeps it from printing (a full disk) ends it with code 1.

use std::borrow::Cow;
use std::fmt::{Arguments, format};
use std::io::{self, ErrorKind, IsTerminal, Write};

macro_rules! print {
    ($($text:tt)*) => { $crate::cli::output::to_stdout(format_args!($($text)*)) };
}

macro_rules! println {
    () => { $crate::cli::output::to_stdout(format_args!("\n")) };
    ($($text:tt)*) => { $crate::cli::output::to_stdout(format_args!("{}\n", format_args!($($text)*))) };
}

macro_rules! eprintln {
    ($($text:tt)*) => { $crate::cli::output::to_stderr(format_args!("{}\n", format_args!($($text)*))) };
}

/// What is printed may hold what others wrote: ids, properties, answers of endpoints. Control characters in it could steer the terminal that shows
/// it, so that something else is read than what stands there: they are replaced, but for line breaks and tabs. JSON has none of ASCII; those above
/// it (C1) stay where no terminal is, for whoever reads the output is a program.
pub fn shown(text: &str, on_terminal: bool) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\t') && (on_terminal || c.is_ascii());
    if !text.contains(steers) {
        return text.into();
    }
    text.replace(steers, "\u{fffd}").into()
}

pub fn to_stdout(text: Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(shown(&format(text), stdout.is_terminal()).as_bytes()).and_then(|()| stdout.flush());
    if let Err(error) = printed.or_else(closed_is_no_error) {
        to_stderr(format_args!("campanile: cannot print: {error}\n"));
        std::process::exit(1);
    }
}

/// Who cannot be told cannot be told of that either.
pub fn to_stderr(text: Arguments<'_>) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(shown(&format(text), stderr.is_terminal()).as_bytes());
}

fn closed_is_no_error(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_printed_steers_a_terminal() {
        let check = |text: &str, terminal: &str, program: &str| {
            assert_eq!((&*shown(text, true), &*shown(text, false)), (terminal, program), "{text:?}");
        };
        check("user u1\n\ttimezone \u{c548}", "user u1\n\ttimezone \u{c548}", "user u1\n\ttimezone \u{c548}");
        check("u\u{1b}[2J\u{7}1", "u\u{fffd}[2J\u{fffd}1", "u\u{fffd}[2J\u{fffd}1");
        check("real\rfake\u{7f}\0", "real\u{fffd}fake\u{fffd}\u{fffd}", "real\u{fffd}fake\u{fffd}\u{fffd}");
        check("\u{9b}2J", "\u{fffd}2J", "\u{9b}2J");
    }
}

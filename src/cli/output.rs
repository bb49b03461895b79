//! What commands print. `println!` and its kin of the standard library panic when nobody reads any more (`campanile validate DIR | head -1`);
//! the macros of the same names here take their place in every command. What is printed into a closed pipe is dropped, and the command goes on
//! to its end and its own exit code: it was asked for that, too. Anything else that keeps it from printing (a full disk) ends it with code 1.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

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

pub fn to_stdout(text: Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_fmt(text).and_then(|()| stdout.flush());
    if let Err(error) = printed.or_else(closed_is_no_error) {
        to_stderr(format_args!("campanile: cannot print: {error}\n"));
        std::process::exit(1);
    }
}

/// Who cannot be told cannot be told of that either.
pub fn to_stderr(text: Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

fn closed_is_no_error(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

//! Log lines: text or JSON, to stderr, so that stdout stays for a command's own output. Lines carry values as fields; secrets,
//! bodies and traits of users are never among them.

use std::io::{self, IsTerminal};
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// `log.format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    /// One object a line: `timestamp`, `level`, `target`, `message` and the fields.
    Json,
}

/// `log.level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a log level: error, warn, info, debug or trace")]
pub struct LevelError(String);

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Level, LevelError> {
        [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace]
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| LevelError(text.to_owned()))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("cannot set up the log: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("the log is set up already: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends this process's log lines to stderr. Once a process.
pub fn init(level: Level, format: Format) -> Result<(), LoggingError> {
    let filter = EnvFilter::try_new(directives(level))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    match format {
        Format::Text => builder.finish().try_init()?,
        Format::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).finish().try_init()?,
    }
    Ok(())
}

/// Our own lines at the level that was asked for; the libraries' warnings. The certificate verifier logs every refusal as an error, which
/// would be a line an attempt: the attempt's own cause says `tls`. Who changed what (`audit`) is written at every level.
fn directives(level: Level) -> String {
    let others = if level == Level::Error { "error" } else { "warn" };
    format!("{others},campanile={},audit=info,rustls_platform_verifier=off", level.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_read_back() {
        for level in [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace] {
            assert_eq!(level.as_str().parse(), Ok(level));
            assert!(EnvFilter::try_new(directives(level)).is_ok());
        }
        assert_eq!("INFO".parse::<Level>(), Err(LevelError("INFO".into())));
    }
}

//! Past events, from files or from topics: what commands read that look back.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::Failure;
use super::assemble::source_failure;
use crate::adapter::kafka::{KafkaSettings, KafkaSpan};
use crate::engine::event::SourceId;
use crate::engine::reading::Place;
use crate::engine::time::Timestamp;
use crate::worker::ports::Message;

/// Where past events are.
pub enum Past {
    /// A JSON object a line; `-` is standard input, which can be read once.
    Files(Vec<PathBuf>),
    Topics {
        span: KafkaSpan,
        /// `kafka.generation`
        generation: u32,
    },
}

/// One event as it is written, and where.
#[derive(Clone, Copy)]
pub struct Written<'a> {
    pub source: SourceId,
    /// The topic, or the name of the file.
    pub name: &'a str,
    pub partition: i32,
    pub generation: u32,
    /// The offset; of a file the line, from 1.
    pub number: i64,
    /// The broker's time; a file has none.
    pub time: Option<Timestamp>,
    pub bytes: &'a [u8],
}

/// When the events of files happened that do not say so: as their neighbour before.
#[derive(Default)]
pub struct Times {
    last: Option<(String, Timestamp)>,
}

impl Times {
    /// When this event happened: what it says itself (`own`), its topic, the line before, or the time at which all begins.
    pub fn of(&mut self, written: &Written<'_>, own: Option<Timestamp>, from: Option<Timestamp>) -> Result<Timestamp, Failure> {
        let Written { name, number, .. } = written;
        let before = self.last.as_ref().filter(|(file, _)| file == name).map(|(_, at)| *at);
        let Some(at) = own.or(written.time).or(before).or(from) else {
            let why = "no `timestamp`, and no line before has one: nothing says when it happened";
            return Err(Failure::Refused(format!("{name}:{number}: {why}; give --from, or the event a timestamp")));
        };
        match &mut self.last {
            Some((file, last)) if file == name => *last = at,
            last => *last = Some(((*name).to_owned(), at)),
        }
        Ok(at)
    }
}

/// The bar is moved every so many events.
const MOVE_EVERY: u64 = 4096;

impl Past {
    /// The topic from a time, or its beginning, to its end as it is now.
    pub fn of_topics(settings: &KafkaSettings, topics: &[String], generation: u32, from: Option<Timestamp>) -> Result<Past, Failure> {
        Ok(Past::Topics { span: KafkaSpan::open(settings, topics, from).map_err(source_failure)?, generation })
    }

    /// Hands out all events, from the beginning; those of one user in their order.
    pub fn read(&mut self, bar: &ProgressBar, each: &mut dyn FnMut(&Written<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
        match self {
            Past::Files(files) => files.iter().try_for_each(|path| read_file(path, bar, each)),
            Past::Topics { span, generation } => read_topics(span, *generation, bar, each),
        }
    }

    /// A progress bar, hidden where nobody sees it.
    pub fn bar(&self) -> ProgressBar {
        if !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let (bar, template) = match self {
            Past::Files(_) => (ProgressBar::new_spinner(), "{spinner} {human_pos} events {msg}, {per_sec}, {elapsed}"),
            Past::Topics { span, .. } => {
                (ProgressBar::new(span.len()), "{bar:30} {human_pos} of {human_len} events {msg}, {per_sec}, {eta}")
            }
        };
        bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()))
    }
}

impl Written<'_> {
    /// As the reader of the worker has it; `time` is when it happened, for a file.
    pub fn place(&self, time: Timestamp) -> Place<'_> {
        let Written { source, name, partition, generation, number, time: written, .. } = *self;
        Place { source, topic: name, partition, generation, offset: number, broker_time: written.unwrap_or(time) }
    }
}

fn read_file(path: &Path, bar: &ProgressBar, each: &mut dyn FnMut(&Written<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
    let name = path.display().to_string();
    let unreadable = |error: io::Error| Failure::Refused(format!("{name} cannot be read: {error}"));
    let source = SourceId::of(&format!("file {name}"), 0, 0);
    let mut file = open(path).map_err(unreadable)?;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if file.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        let bytes = line.trim_ascii();
        if !bytes.is_empty() {
            each(&Written { source, name: &name, partition: 0, generation: 0, number, time: None, bytes })?;
        }
        if number.unsigned_abs().is_multiple_of(MOVE_EVERY) {
            bar.inc(MOVE_EVERY);
        }
    }
    Ok(())
}

fn read_topics(
    span: &mut KafkaSpan,
    generation: u32,
    bar: &ProgressBar,
    each: &mut dyn FnMut(&Written<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    span.begin().map_err(source_failure)?;
    loop {
        let mut failed = None;
        let mut count = 0;
        let more = span.read(&mut |message: Message<'_>| {
            count += 1;
            let Some(bytes) = message.value.filter(|_| failed.is_none()) else { return };
            let written = Written {
                source: SourceId::of(message.topic, generation, message.partition),
                name: message.topic,
                partition: message.partition,
                generation,
                number: message.offset,
                time: Some(message.time),
                bytes,
            };
            failed = each(&written).err();
        });
        bar.inc(count);
        match (more.map_err(source_failure)?, failed) {
            (_, Some(failure)) => return Err(failure),
            (true, None) => {}
            (false, None) => return Ok(()),
        }
    }
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    const BUFFER: usize = 1 << 20;
    if path.as_os_str() == "-" {
        return Ok(Box::new(BufReader::with_capacity(BUFFER, io::stdin())));
    }
    #[expect(clippy::disallowed_types, reason = "files enter here")]
    Ok(Box::new(BufReader::with_capacity(BUFFER, File::open(path)?)))
}

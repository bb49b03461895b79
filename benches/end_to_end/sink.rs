//! The receiver: answers 200 to everything, counts, and remembers webhook-ids. One thread, HTTP/1.1 with kept connections.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Result;
use hashbrown::HashSet;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::events::{Log, PARTITIONS};

/// Where the marker campaigns post; everything else is a message.
pub const START_PATH: &str = "/start";
pub const END_PATH: &str = "/end";

pub const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

pub struct Sink {
    pub port: u16,
    tally: Arc<Mutex<Tally>>,
}

struct Tally {
    starts: u64,
    ends: u64,
    arrivals: u64,
    /// Hashes of the webhook-ids of messages.
    ids: HashSet<u64>,
    last: Instant,
    watch_from: Option<Instant>,
    resumed: Option<Instant>,
}

impl Sink {
    pub fn start() -> Result<Sink> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let tally = Arc::new(Mutex::new(Tally::new()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = tally.clone();
        std::thread::spawn(move || runtime.block_on(accept(listener, shared)));
        Ok(Sink { port, tally })
    }

    pub fn reset(&self) {
        *self.tally() = Tally::new();
    }

    pub fn starts(&self) -> u64 {
        self.tally().starts
    }

    /// Messages, repeats included, markers not.
    pub fn arrivals(&self) -> u64 {
        self.tally().arrivals
    }

    /// Messages by webhook-id.
    pub fn distinct(&self) -> u64 {
        self.tally().ids.len() as u64
    }

    pub fn last_arrival(&self) -> Instant {
        self.tally().last
    }

    /// Every partition was read to its end and everything wanted was here.
    pub fn is_done(&self, log: &Log) -> bool {
        let tally = self.tally();
        tally.ends >= PARTITIONS as u64 && tally.ids.len() as u64 >= log.wanted
    }

    /// Notes the first message after this instant.
    pub fn watch_from(&self, at: Instant) {
        self.tally().watch_from = Some(at);
    }

    pub fn resumed(&self) -> Option<Instant> {
        self.tally().resumed
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    fn new() -> Tally {
        Tally { starts: 0, ends: 0, arrivals: 0, ids: HashSet::new(), last: Instant::now(), watch_from: None, resumed: None }
    }

    fn arrived(&mut self, request: &Request) {
        self.last = Instant::now();
        match request.path.as_str() {
            START_PATH => self.starts += 1,
            END_PATH => self.ends += 1,
            _ => {
                self.arrivals += 1;
                self.ids.insert(request.id);
                if self.resumed.is_none() && self.watch_from.is_some_and(|from| self.last > from) {
                    self.resumed = Some(self.last);
                }
            }
        }
    }
}

async fn accept(listener: std::net::TcpListener, tally: Arc<Mutex<Tally>>) {
    let tasks = tokio::task::LocalSet::new();
    let serve_all = async {
        let listener = TcpListener::from_std(listener).expect("inside a runtime");
        while let Ok((stream, _)) = listener.accept().await {
            let tally = tally.clone();
            tokio::task::spawn_local(async move {
                // A connection that breaks is the worker's business.
                let _ = serve(stream, &tally).await;
            });
        }
    };
    tasks.run_until(serve_all).await;
}

async fn serve(stream: TcpStream, tally: &Mutex<Tally>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await? {
        tally.lock().unwrap_or_else(PoisonError::into_inner).arrived(&request);
        stream.get_mut().write_all(ANSWER).await?;
    }
    Ok(())
}

pub struct Request {
    path: String,
    /// Hash of the webhook-id.
    pub id: u64,
    /// From 1; 0 where it does not say.
    pub attempt: u32,
}

/// Leaves the body in the buffer. `None` when the connection was closed.
pub async fn read(stream: &mut BufReader<TcpStream>, buffer: &mut Vec<u8>) -> std::io::Result<Option<Request>> {
    let (mut path, mut id, mut attempt, mut length) = (None, 0, 0, 0);
    loop {
        buffer.clear();
        if stream.read_until(b'\n', buffer).await? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(buffer);
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        match (line.split_once(": "), &path) {
            (_, None) => path = Some(line.split(' ').nth(1).unwrap_or_default().to_owned()),
            (Some((name, value)), _) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap_or(0),
            (Some((name, value)), _) if name.eq_ignore_ascii_case("webhook-id") => id = hash(value),
            (Some((name, value)), _) if name.eq_ignore_ascii_case("webhook-attempt") => attempt = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    buffer.resize(length, 0);
    stream.read_exact(buffer).await?;
    Ok(path.map(|path| Request { path, id, attempt }))
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

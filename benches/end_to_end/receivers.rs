//! Twenty receivers with a port each, some of which are hostile. On one thread; the healthy ones note when what they get was sent.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, interval};

use crate::events::now_ms;
use crate::sink::{ANSWER, read};

/// How a receiver answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Healthy,
    /// Reads the request and says nothing.
    Hole,
    /// Nobody listens.
    Refuses,
    /// Takes the connection and reads nothing.
    NeverReads,
    Resets,
    /// Closes without an answer.
    Closes,
    /// A byte of the head every 100 ms, for ever.
    Drips,
    /// A body without end.
    Floods,
    /// What is not HTTP.
    Babbles,
    /// 503.
    Unavailable,
    /// 429 with `Retry-After: 1`.
    TooMany,
}

/// One of each hostile manner.
pub const HOSTILE: [Manner; 10] = [
    Manner::Hole,
    Manner::Refuses,
    Manner::NeverReads,
    Manner::Resets,
    Manner::Closes,
    Manner::Drips,
    Manner::Floods,
    Manner::Babbles,
    Manner::Unavailable,
    Manner::TooMany,
];

/// What came to the healthy ones: the receiver, when it was sent and when it came, in milliseconds. Repeats are left out.
#[derive(Default)]
pub struct Arrived {
    pub all: Vec<(usize, i64, i64)>,
    ids: BTreeSet<u64>,
}

pub struct Receivers {
    pub ports: Vec<u16>,
    arrived: Arc<Mutex<Arrived>>,
    _runtime: tokio::runtime::Runtime,
}

impl Receivers {
    pub fn start(manners: &[Manner]) -> Result<Receivers> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let arrived: Arc<Mutex<Arrived>> = Arc::default();
        let mut ports = Vec::new();
        for (number, &manner) in manners.iter().enumerate() {
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
            ports.push(listener.local_addr()?.port());
            if manner != Manner::Refuses {
                runtime.spawn(accept(listener, number, manner, arrived.clone()));
            }
        }
        Ok(Receivers { ports, arrived, _runtime: runtime })
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut Arrived) -> T) -> T {
        look(&mut self.arrived.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn accept(listener: TcpListener, number: usize, manner: Manner, arrived: Arc<Mutex<Arrived>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let arrived = arrived.clone();
        tokio::spawn(async move {
            // A connection that breaks is the worker's business.
            let _ = serve(stream, number, manner, &arrived).await;
        });
    }
}

async fn serve(stream: TcpStream, number: usize, manner: Manner, arrived: &Mutex<Arrived>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    match manner {
        Manner::Resets => return stream.set_zero_linger(),
        Manner::NeverReads => std::future::pending().await,
        _ => {}
    }
    let mut stream = BufReader::new(stream);
    let mut body = Vec::new();
    while let Some(request) = read(&mut stream, &mut body).await? {
        let answer: &[u8] = match manner {
            Manner::Healthy => {
                let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
                if arrived.ids.insert(request.id) {
                    arrived.all.push((number, sent_ms(&body), now_ms()));
                }
                ANSWER
            }
            Manner::Unavailable => b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
            Manner::TooMany => b"HTTP/1.1 429 No\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
            Manner::Babbles => b"220 mail.example ESMTP ready\r\n",
            Manner::Closes => return Ok(()),
            Manner::Drips => return drip(stream.get_mut()).await,
            Manner::Floods => return flood(stream.get_mut()).await,
            // Until the worker goes away.
            _ => return stream.read_to_end(&mut body).await.map(drop),
        };
        stream.get_mut().write_all(answer).await?;
    }
    Ok(())
}

async fn drip(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut tick = interval(Duration::from_millis(100));
    stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await?;
    loop {
        tick.tick().await;
        stream.write_all(b"x").await?;
    }
}

async fn flood(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n").await?;
    let chunk = vec![b'x'; 64 * 1024];
    loop {
        stream.write_all(&chunk).await?;
    }
}

/// From the body, as the campaign writes it.
fn sent_ms(body: &[u8]) -> i64 {
    let text = String::from_utf8_lossy(body);
    let digits = text.split_once("\"sent_ms\":").map(|(_, rest)| rest.trim_start_matches(['"', ' ']));
    let digits = digits.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

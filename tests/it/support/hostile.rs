//! An endpoint that follows a script on every connection, whatever the other side does: what no HTTP server would.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::interval;
use tokio_rustls::TlsAcceptor;

/// What is written at once by [`Step::Repeat`].
const CHUNK_BYTES: usize = 16 * 1024;
/// Between two bytes of [`Step::Drip`].
const DRIP: Duration = Duration::from_millis(10);
/// Where a flood ends that nobody stops.
const FLOOD_BYTES: usize = 1 << 30;

/// One line of a script. A script that is over closes the connection.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Reads to the end of a request's head.
    ReadHead,
    /// Reads once, whatever it is.
    ReadSome,
    Write(&'static str),
    /// Writes this again and again until the other side goes away, or 1 GiB is written.
    Repeat(&'static str),
    /// As `Repeat`, a byte at a time.
    Drip(&'static str),
    /// Reads and says nothing until the other side goes away.
    Hang,
    /// Neither reads nor writes until it is released; then as `Hang`.
    Freeze,
    /// The connection will end with a reset.
    Reset,
}

/// Listens until it is dropped.
pub struct Hostile {
    address: SocketAddr,
    written: Arc<AtomicUsize>,
    /// Scripts begun and over.
    scripts: watch::Receiver<(usize, usize)>,
    released: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Hostile {
    pub async fn start(tls: Option<Arc<ServerConfig>>, script: &'static [Step]) -> Hostile {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let written = Arc::new(AtomicUsize::new(0));
        let (count, scripts) = watch::channel((0, 0));
        let (released, release) = watch::channel(false);
        let scene = Scene { script, written: written.clone(), release };
        let accepting = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (scene, count, tls) = (scene.clone(), count.clone(), tls.clone());
                count.send_modify(|(begun, _)| *begun += 1);
                tokio::spawn(async move {
                    // An error here is a client that went away: what is waited for.
                    let _ = scene.play(tcp, tls).await;
                    count.send_modify(|(_, over)| *over += 1);
                });
            }
        });
        Hostile { address, written, scripts, released, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that the kernel took.
    pub fn written(&self) -> usize {
        self.written.load(Ordering::Relaxed)
    }

    /// Waits until there was a connection and every script is over, which those that go on for ever are when the other side has closed; answers how
    /// many there were.
    pub async fn all_over(&mut self) -> usize {
        self.released.send_replace(true);
        self.scripts.wait_for(|(begun, over)| *begun > 0 && begun == over).await.expect("it counts").0
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(Clone)]
struct Scene {
    script: &'static [Step],
    written: Arc<AtomicUsize>,
    release: watch::Receiver<bool>,
}

impl Scene {
    async fn play(mut self, tcp: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
        if self.script.iter().any(|step| matches!(step, Step::Reset)) {
            tcp.set_zero_linger()?;
        }
        match tls {
            None => self.follow(tcp).await,
            Some(tls) => {
                let stream = TlsAcceptor::from(tls).accept(tcp).await?;
                self.follow(stream).await
            }
        }
    }

    async fn follow<S: AsyncRead + AsyncWrite + Unpin>(&mut self, mut stream: S) -> io::Result<()> {
        let mut read = Vec::new();
        for step in self.script {
            match step {
                Step::ReadHead => {
                    while !read.windows(4).any(|window| window == b"\r\n\r\n") {
                        some(stream.read_buf(&mut read).await?)?;
                    }
                    read.clear();
                }
                Step::ReadSome => drop(some(stream.read_buf(&mut read).await?)?),
                Step::Write(text) => self.write(&mut stream, text.as_bytes()).await?,
                Step::Repeat(text) => {
                    let chunk = text.repeat(CHUNK_BYTES.div_ceil(text.len()));
                    for _ in 0..FLOOD_BYTES / chunk.len() {
                        self.write(&mut stream, chunk.as_bytes()).await?;
                    }
                }
                Step::Drip(text) => {
                    let mut ticks = interval(DRIP);
                    for byte in text.as_bytes().iter().cycle() {
                        ticks.tick().await;
                        self.write(&mut stream, &[*byte]).await?;
                    }
                }
                Step::Hang => drain(&mut stream).await?,
                Step::Freeze => {
                    let _ = self.release.wait_for(|released| *released).await;
                    drain(&mut stream).await?;
                }
                Step::Reset => return Ok(()),
            }
        }
        stream.shutdown().await
    }

    async fn write<S: AsyncWrite + Unpin>(&self, stream: &mut S, bytes: &[u8]) -> io::Result<()> {
        stream.write_all(bytes).await?;
        stream.flush().await?;
        self.written.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(())
    }
}

fn some(bytes: usize) -> io::Result<usize> {
    if bytes == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

async fn drain<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<()> {
    let mut scratch = vec![0; CHUNK_BYTES];
    while stream.read(&mut scratch).await? > 0 {}
    Ok(())
}

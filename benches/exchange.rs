//! What one exchange costs its sender, with the receiver in another process: the webhook client, and reqwest set up to do the same.
//! Kept connections, plain and TLS: `cargo bench --bench exchange`.
//!
//! CPU of the whole process, of which nothing else is done; the least and the middle of some rounds, taken in turns, because what else
//! the machine does disturbs them. hyper-util's pooled client and connections driven without a task of their own were measured, too,
//! when the client was built: see `adapter/webhook/connection.rs`.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use campanile::adapter::webhook::{WebhookClient, WebhookSettings};
use campanile::engine::definition::Method;
use campanile::worker::ports::{EXCERPT_BYTES, Exchange, HttpRequest};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
const EXCHANGES: usize = 40_000;
/// In flight at once.
const CONCURRENCY: [usize; 2] = [16, 64];
const BODY_BYTES: usize = 300;
const TIMEOUT: Duration = Duration::from_secs(10);
/// Ticks a second in `/proc/*/stat`: the same on every Linux that Rust runs on.
const USER_HZ: f64 = 100.0;
/// Makes this program the receiver.
const RECEIVER: &str = "receiver";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some(RECEIVER) {
        return receive();
    }
    let receiver = Receiver::start()?;
    println!("one POST of {BODY_BYTES} bytes over a kept connection, CPU of the sender, {ROUNDS} rounds of {EXCHANGES}");
    for concurrency in CONCURRENCY {
        for url in [&receiver.plain, &receiver.tls] {
            let (mut ours, mut reqwest) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let client = Sender::Campanile(Box::new(WebhookClient::new(&receiver.settings()?)?));
                ours.push(measure(client, url, concurrency)?);
                reqwest.push(measure(Sender::Reqwest(reqwest_client(&receiver.pem)?), url, concurrency)?);
            }
            let scheme = url.split(':').next().unwrap_or_default();
            for (name, figures) in [("campanile", &mut ours), ("reqwest", &mut reqwest)] {
                figures.sort_by(f64::total_cmp);
                println!(
                    "{scheme:<6} {concurrency:>3} in flight  {name:<10} {:>6.2} us least {:>6.2} us middle",
                    figures[0],
                    figures[ROUNDS / 2]
                );
            }
        }
    }
    Ok(())
}

enum Sender {
    Campanile(Box<WebhookClient>),
    Reqwest(reqwest::Client),
}

impl Sender {
    async fn send(&self, url: &str, number: usize) -> Result<u16> {
        let url = format!("{url}?to={number}");
        let headers = [
            ("webhook-id", "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"),
            ("webhook-timestamp", "1674087231"),
            ("webhook-attempt", "1"),
            ("user-agent", "campanile/0"),
            ("content-type", "application/json"),
        ];
        let body = Some(vec![b'x'; BODY_BYTES]);
        match self {
            Sender::Campanile(client) => {
                let headers = headers.map(|(name, value)| (name.into(), value.into())).into();
                let request =
                    HttpRequest { method: Method::Post, url, headers, body, ca: None, timeout: TIMEOUT, keep_bytes: EXCERPT_BYTES };
                client.exchange(request).await.status.map_err(|failure| anyhow::anyhow!("{failure:?}"))
            }
            Sender::Reqwest(client) => {
                let mut request = reqwest::Request::new(reqwest::Method::POST, url.parse()?);
                for (name, value) in headers {
                    request.headers_mut().append(name, value.to_owned().try_into()?);
                }
                *request.body_mut() = body.map(Into::into);
                let exchange = async {
                    let mut response = client.execute(request).await?;
                    while response.chunk().await?.is_some() {}
                    Ok(response.status().as_u16())
                };
                tokio::time::timeout(TIMEOUT, exchange).await?
            }
        }
    }
}

fn reqwest_client(pem: &str) -> Result<reqwest::Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .tcp_nodelay(true)
        .pool_idle_timeout(Duration::from_secs(15))
        .pool_max_idle_per_host(64);
    Ok(builder.tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes())?]).build()?)
}

/// CPU microseconds of this process for each exchange.
fn measure(sender: Sender, url: &str, concurrency: usize) -> Result<f64> {
    let sender = Rc::new(sender);
    LocalSet::new().block_on(&runtime()?, async {
        run(&sender, url, concurrency, EXCHANGES / 20).await?;
        let before = cpu_s()?;
        run(&sender, url, concurrency, EXCHANGES).await?;
        Ok((cpu_s()? - before) * 1e6 / EXCHANGES as f64)
    })
}

async fn run(sender: &Rc<Sender>, url: &str, concurrency: usize, exchanges: usize) -> Result<()> {
    let jobs = (0..concurrency).map(|_| {
        let (sender, url) = (sender.clone(), url.to_owned());
        tokio::task::spawn_local(async move {
            for number in 0..exchanges / concurrency {
                anyhow::ensure!(sender.send(&url, number).await? == 200, "the receiver answers 200");
            }
            Ok(())
        })
    });
    for job in jobs.collect::<Vec<_>>() {
        job.await??;
    }
    Ok(())
}

/// User and system time of this process.
fn cpu_s() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok()).context("an unknown /proc/self/stat");
    Ok((ticks(11)? + ticks(12)?) / USER_HZ)
}

/// The other process, which ends with this.
struct Receiver {
    process: Child,
    pem: String,
    plain: String,
    tls: String,
}

impl Receiver {
    fn start() -> Result<Receiver> {
        let mut process = Command::new(std::env::current_exe()?).arg(RECEIVER).stdout(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(process.stdout.take().context("its output")?).lines();
        let mut line = || said.next().context("the receiver ended")?.context("the receiver's output");
        let (plain, tls) = (line()?, line()?);
        let mut pem = String::new();
        while !pem.contains("-----END") {
            pem += &(line()? + "\n");
        }
        Ok(Receiver { process, pem, plain, tls })
    }

    fn settings(&self) -> Result<WebhookSettings> {
        let allow_networks = vec!["127.0.0.0/8".parse()?, "::1".parse()?];
        Ok(WebhookSettings { allow_http: true, allow_networks, extra_roots: vec![self.pem.clone()] })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Prints its URLs and its certificate, and answers until it is killed.
fn receive() -> Result<()> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params.is_ca = IsCa::ExplicitNoCa;
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(authority, authority_key)?;
    let certificate = params.signed_by(&key, &authority)?;
    let server = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
    let tls = TlsAcceptor::from(Arc::new(server));
    runtime()?.block_on(async {
        let (plain, encrypted) = (listen().await?, listen().await?);
        let mut out = std::io::stdout();
        writeln!(out, "http://localhost:{}/sms", plain.1.port())?;
        writeln!(out, "https://localhost:{}/sms", encrypted.1.port())?;
        writeln!(out, "{}", authority.pem().trim())?;
        out.flush()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = plain.0.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream));
            }
        });
        while let Ok((stream, _)) = encrypted.0.accept().await {
            let _ = stream.set_nodelay(true);
            let tls = tls.clone();
            tokio::spawn(async move { tls.accept(stream).await.map(serve)?.await });
        }
        Ok(())
    })
}

async fn listen() -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let head_bytes = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        while buffer.len() < head_bytes + BODY_BYTES {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        buffer.drain(..head_bytes + BODY_BYTES);
        stream.write_all(ANSWER).await?;
        stream.flush().await?;
    }
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

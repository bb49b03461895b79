//! An HTTP listener of a worker: a router over hyper, with bounds on what whoever connects can hold. Connections take descriptors that
//! deliveries need, and anybody may open one before a token is asked for.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// What one connection may hold while a head is read. The standard of servers for heads is 8 to 16 KiB.
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// A machine without descriptors has some again when others were closed.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How many may connect, and for how long without asking anything.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// At a time. Who comes on top waits to be accepted, in the system's own queue.
    pub connections: usize,
    /// From the connection to its first byte.
    pub first_byte: Duration,
    /// For the head of a request, and for the next one: load balancers keep theirs for 60 s and should be the first to close.
    pub idle: Duration,
}

/// Of the API: half of the 1,024 descriptors that a process commonly has.
pub const OF_API: Bounds = Bounds { connections: 512, first_byte: Duration::from_secs(10), idle: Duration::from_secs(75) };
/// Of the probes: a kubelet and some Prometheus.
pub const OF_PROBES: Bounds = Bounds { connections: 64, first_byte: Duration::from_secs(5), idle: Duration::from_secs(75) };

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, router: Router, bounds: Bounds) -> Infallible {
    let room = Arc::new(Semaphore::new(bounds.connections));
    loop {
        // Nobody closes it.
        let permit = room.clone().acquire_owned().await.ok();
        let stream = accept(&listener).await;
        let router = router.clone();
        tokio::spawn(async move {
            // What went wrong is the other end's to know: it hung up, was too slow, or does not speak HTTP.
            let _ = converse(stream, router, bounds).await;
            drop(permit);
        });
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, at = %shown(listener.local_addr()), "no connection can be accepted");
                sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
}

/// It was gone before it was accepted.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn shown(address: io::Result<SocketAddr>) -> String {
    address.map_or_else(|error| error.to_string(), |address| address.to_string())
}

async fn converse(stream: TcpStream, router: Router, bounds: Bounds) -> Result<(), hyper::Error> {
    if !matches!(timeout(bounds.first_byte, stream.peek(&mut [0])).await, Ok(Ok(1..))) {
        return Ok(());
    }
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(bounds.idle).max_buf_size(MAX_BUFFER_BYTES);
    builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinHandle;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    struct Server {
        address: SocketAddr,
        serving: JoinHandle<Infallible>,
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.serving.abort();
        }
    }

    impl Server {
        async fn with(bounds: Bounds) -> Server {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let router = Router::new().route("/", get(|| async { "here" }));
            Server { address, serving: tokio::spawn(serve(listener, router, bounds)) }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }
    }

    async fn ask(stream: &mut TcpStream) -> String {
        stream.write_all(REQUEST).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"here") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "it hung up");
        }
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn who_asks_nothing_is_hung_up_on() {
        let check = async |said: &[u8], bounds: Bounds| {
            let server = Server::with(bounds).await;
            let mut stream = server.connect().await;
            stream.write_all(said).await.unwrap();
            let mut answer = Vec::new();
            let read = timeout(LONG, stream.read_to_end(&mut answer)).await;
            assert!(read.is_ok_and(|read| read.is_ok()), "{said:?} with {bounds:?}");
            String::from_utf8(answer).unwrap()
        };
        let silent = Bounds { connections: 8, first_byte: SHORT, idle: LONG };
        assert_eq!(check(b"", silent).await, "");
        let idle = Bounds { connections: 8, first_byte: LONG, idle: SHORT };
        assert!(check(REQUEST, idle).await.ends_with("here"), "answered, then closed");
        assert!(!check(b"GET / HTTP/1.1\r\nhost", idle).await.contains("200 OK"));
    }

    #[tokio::test]
    async fn a_connection_serves_many_requests_and_no_more_are_open_than_the_bound() {
        let server = Server::with(Bounds { connections: 1, first_byte: LONG, idle: LONG }).await;
        let mut first = server.connect().await;
        for _ in 0..3 {
            assert!(ask(&mut first).await.starts_with("HTTP/1.1 200 OK"));
        }
        let mut second = server.connect().await;
        assert!(timeout(SHORT, ask(&mut second)).await.is_err(), "a second connection beside the one that is allowed");
        drop(first);
        let mut answer = Vec::new();
        while !answer.ends_with(b"here") {
            assert!(second.read_buf(&mut answer).await.unwrap() > 0, "who waited is not served");
        }
    }
}

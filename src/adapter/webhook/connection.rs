//! One HTTP/1.1 connection: hyper's own, with a task that drives it. Dropping it closes it at once, whatever its other end does.
//!
//! The task is what this machine prefers: driving the connection from within the exchange costs a wake-up of itself for each signal
//! inside hyper (measured over TLS: 11.6 us of CPU an exchange; with a task 10.2, with hyper-util's pooled client 11.3, with reqwest 15.1).

use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::stream::{Allowance, Stream};

/// Longest head of a response, status line and headers; also of trailers. Servers send less than 2 KiB as a rule, and refuse heads
/// above 8 or 16 KiB themselves. hyper's own bound on their number is 100.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// What hyper gathers before it gives up; above the longest head.
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// What an exchange may receive in all: a body to its bound, in chunks of a few bytes if need be, and a head. What goes on beyond
/// (interim answers without end, padding of chunks) is cut off.
const MAX_RECEIVED_BYTES: usize = 256 * 1024;

/// A connection to one origin.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// hyper would first write out what is left and say goodbye, to an end that may not listen.
    driver: AbortOnDrop,
    allowance: Arc<Allowance>,
    opened: Instant,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a request has no response.
pub enum Broken {
    /// The connection was over before the request was begun: not a byte of it was written, so it may go over another.
    Unsent(Box<Request<Full<Bytes>>>),
    Failed(hyper::Error),
}

impl Connection {
    pub async fn new(stream: Stream, allowance: Arc<Allowance>) -> Result<Connection, hyper::Error> {
        let mut builder = http1::Builder::new();
        // One write of one buffer: TLS gathers by copying anyway.
        builder.max_header_size(MAX_HEAD_BYTES).max_buf_size(MAX_BUFFER_BYTES).writev(false);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            // What went wrong is told to whoever waits for the response or its body.
            let _ = connection.await;
        });
        Ok(Connection { sender, driver: AbortOnDrop(driver.abort_handle()), allowance, opened: Instant::now() })
    }

    /// Sends a request and waits for the head of its response. A connection that was dropped halfway is closed.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Broken> {
        // Before, the rest of the last response is taken note of, or the end of the connection.
        if self.sender.ready().await.is_err() {
            return Err(Broken::Unsent(Box::new(request)));
        }
        self.allowance.renew(MAX_RECEIVED_BYTES);
        self.sender.try_send_request(request).await.map_err(|mut error| match error.take_message() {
            Some(request) => Broken::Unsent(Box::new(request)),
            None => Broken::Failed(error.into_error()),
        })
    }

    /// Since when it stands.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// False when it is known to be of no further use.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed() && !self.driver.0.is_finished()
    }
}

/// The next piece of a response's body; `None` at its end.
pub async fn next_piece(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    // Asking costs a turn of the driver, and the end is often known.
    while !body.is_end_stream() {
        match body.frame().await? {
            Ok(frame) => match frame.into_data() {
                Ok(data) => return Some(Ok(data)),
                // Trailers are of no use here.
                Err(_) => continue,
            },
            Err(error) => return Some(Err(error)),
        }
    }
    None
}

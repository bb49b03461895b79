//! Reads a request's body within bounds: of its size, of the time it may take, and of what all bodies together may hold.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use flate2::read::GzDecoder;
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::problem::Problem;

/// What one permit of the shared room stands for.
pub const PERMIT_BYTES: usize = 1024;
/// A sender slower than this holds room that others need.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// A body, unpacked, and the room it takes until it is dropped.
#[derive(Debug)]
pub struct Bounded {
    pub bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

/// Reads a body of at most `limit` bytes, packed and unpacked. Room is taken before the first byte is read: as much as the request
/// says that it needs, all of `limit` when it does not say.
pub async fn read(request: Request, limit: usize, room: &Arc<Semaphore>) -> Result<Bounded, Problem> {
    let too_large = || Problem::too_large(format!("the body is larger than {limit} bytes"));
    let (parts, body) = request.into_parts();
    let gzip = is_gzip(&parts.headers)?;
    let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > limit) {
        return Err(too_large());
    }
    let needed = if gzip { limit } else { announced.unwrap_or(limit) };
    let permits = u32::try_from(needed.div_ceil(PERMIT_BYTES).max(1)).unwrap_or(u32::MAX);
    let room = room
        .clone()
        .try_acquire_many_owned(permits)
        .map_err(|_| Problem::busy("too much waits for the log already: send it again a little later"))?;
    let bytes = timeout(READ_WITHIN, collect(body, limit))
        .await
        .map_err(|_| Problem::too_slow(format!("the body took longer than {} s", READ_WITHIN.as_secs())))??;
    let bytes = bytes.ok_or_else(too_large)?;
    let bytes = if gzip { unpack(&bytes, limit)?.ok_or_else(too_large)? } else { bytes };
    Ok(Bounded { bytes, _room: room })
}

/// Refuses a body that says it is something else than one of these; one that says nothing is taken.
pub fn expect_type(headers: &HeaderMap, known: &[&str]) -> Result<(), Problem> {
    let Some(written) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let written = written.to_str().unwrap_or("?");
    let essence = written.split(';').next().unwrap_or_default().trim();
    match known.iter().any(|known| essence.eq_ignore_ascii_case(known)) {
        true => Ok(()),
        false => Err(Problem::unsupported_type(written, known)),
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Problem> {
    let encoding = headers.get(header::CONTENT_ENCODING).map_or("identity", |value| value.to_str().unwrap_or("?"));
    match encoding.trim() {
        encoding if encoding.eq_ignore_ascii_case("gzip") => Ok(true),
        encoding if encoding.eq_ignore_ascii_case("identity") || encoding.is_empty() => Ok(false),
        encoding => Err(Problem::unsupported_encoding(encoding)),
    }
}

/// `None` when there is more than `limit`.
async fn collect(body: Body, limit: usize) -> Result<Option<Vec<u8>>, Problem> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| Problem::broken_body(format!("the body broke off: {error}")))?;
        if bytes.len() + chunk.len() > limit {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

/// `None` when it unpacks to more than `limit`.
fn unpack(packed: &[u8], limit: usize) -> Result<Option<Vec<u8>>, Problem> {
    let mut bytes = Vec::new();
    let mut bounded = GzDecoder::new(packed).take(limit as u64 + 1);
    bounded.read_to_end(&mut bytes).map_err(|error| Problem::invalid(format!("the body is not gzip: {error}")))?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

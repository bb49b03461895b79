//! Lines on their way to the log: who waits for their acknowledgement, and what becomes of those that are not accepted. The only place of
//! the worker's rules that waits for a while by itself, where a topic takes nothing.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Shared;

use super::offsets::Ticket;
use super::ports::{Append, AppendError, Line, SendFuture};

/// An acknowledgement that several deliveries wait for.
#[derive(Clone, Default)]
pub struct Ack(Option<Shared<SendFuture<'static, Result<(), AppendError>>>>);

impl Ack {
    /// Nothing to wait for.
    pub fn done() -> Ack {
        Ack(None)
    }

    pub fn of(append: SendFuture<'static, Result<(), AppendError>>) -> Ack {
        Ack(Some(append.shared()))
    }

    pub async fn wait(self) -> Result<(), AppendError> {
        match self.0 {
            Some(shared) => shared.await,
            None => Ok(()),
        }
    }
}

/// Between two tries to write to a topic that somebody has to mend.
const BLOCKED_AGAIN: Duration = Duration::from_secs(1);

/// A line that its log will never accept.
#[derive(Debug)]
pub struct NotWritten;

/// Appends until it is acknowledged: the caller cannot go on without. Only a line that the log refuses for good is given up, so that it
/// does not hold everything behind it: whoever would lose more than a report by that leaves the delivery as it is.
pub async fn append_surely(append: &dyn Append, lines: Vec<Line>) -> Result<(), NotWritten> {
    loop {
        match append.append(&lines).await {
            Ok(()) => return Ok(()),
            Err(AppendError::Unavailable(error)) => {
                tracing::warn!(%error, lines = lines.len(), "the log does not acknowledge: trying again")
            }
            Err(AppendError::Blocked(error)) => {
                tracing::error!(%error, lines = lines.len(), "the log does not accept: trying again");
                tokio::time::sleep(BLOCKED_AGAIN).await;
            }
            Err(AppendError::Refused(error)) => {
                tracing::error!(%error, topic = %lines.first().map_or("", |line| &line.topic), "the log refuses a line for good");
                return Err(NotWritten);
            }
        }
    }
}

/// Appends a line that is all that is left of what it holds, as often as it takes: a topic that refuses what another one had may be mended.
pub async fn append_in_the_end(append: &dyn Append, line: Line) {
    while append_surely(append, vec![line.clone()]).await.is_err() {
        tokio::time::sleep(BLOCKED_AGAIN).await;
    }
}

/// Lines on their way, each with the ticket that its acknowledgement finishes.
#[derive(Default)]
pub struct Appending(Vec<InFlight>);

struct InFlight {
    answer: SendFuture<'static, Result<(), AppendError>>,
    line: Line,
    ticket: Ticket,
    if_refused: IfRefused,
    /// That it is not accepted was said.
    said: bool,
}

/// What becomes of a record whose line the log refuses for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfRefused {
    /// It is done with: the line only tells of it.
    Finish,
    /// It is tried again, as somebody may mend the topic: the line is all that is left of it.
    TryAgain,
}

impl Appending {
    pub fn push(&mut self, append: &dyn Append, line: Line, ticket: Ticket, if_refused: IfRefused) {
        self.0.push(InFlight { answer: append.append(std::slice::from_ref(&line)), line, ticket, if_refused, said: false });
    }

    /// Looks which have been acknowledged; what failed is handed over again.
    pub fn look(&mut self, append: &dyn Append) {
        for mut waiting in std::mem::take(&mut self.0) {
            match (&mut waiting.answer).now_or_never() {
                None => self.0.push(waiting),
                Some(Ok(())) => waiting.ticket.finish(),
                Some(Err(AppendError::Unavailable(error))) => {
                    tracing::warn!(%error, topic = %waiting.line.topic, "the log does not acknowledge: trying again");
                    self.again(append, waiting);
                }
                Some(Err(AppendError::Refused(error))) if waiting.if_refused == IfRefused::Finish => {
                    tracing::error!(%error, topic = %waiting.line.topic, bytes = waiting.line.value.len(), "the log refuses a line for good: its record is only in its own topic");
                    waiting.ticket.finish();
                }
                Some(Err(AppendError::Blocked(error) | AppendError::Refused(error))) => {
                    if !std::mem::replace(&mut waiting.said, true) {
                        tracing::error!(%error, topic = %waiting.line.topic, bytes = waiting.line.value.len(), "the log does not accept: trying again");
                    }
                    self.again(append, waiting);
                }
            }
        }
    }

    fn again(&mut self, append: &dyn Append, waiting: InFlight) {
        let answer = append.append(std::slice::from_ref(&waiting.line));
        self.0.push(InFlight { answer, ..waiting });
    }
}

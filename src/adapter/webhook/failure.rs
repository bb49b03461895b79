//! Why an exchange failed, read from the types along the chain of its error, never from its words.

use std::error::Error;
use std::io;

use crate::engine::delivery::Failure;

use super::stream::Flooded;

/// The first type that says something decides; what says nothing is a connection that broke.
pub fn of(error: &(dyn Error + 'static)) -> Failure {
    let mut found = None;
    visit(error, &mut |link| {
        found = found.or_else(|| judge(link));
    });
    found.unwrap_or(Failure::Connect)
}

fn judge(link: &(dyn Error + 'static)) -> Option<Failure> {
    if link.is::<rustls::Error>() {
        return Some(Failure::Tls);
    }
    if link.is::<Flooded>() {
        return Some(Failure::Protocol);
    }
    if let Some(error) = link.downcast_ref::<hyper::Error>() {
        return (error.is_parse() || error.is_user()).then_some(Failure::Protocol);
    }
    // A body whose chunks are none, from hyper. What wraps another says it by that one: TLS uses the same kind.
    let error = link.downcast_ref::<io::Error>().filter(|error| !error.get_ref().is_some_and(|wrapped| wrapped.is::<rustls::Error>()))?;
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput).then_some(Failure::Protocol)
}

/// Visits an error and its sources. An `io::Error` that wraps another answers with that one's source, so the wrapped one has to
/// be asked for.
fn visit(error: &(dyn Error + 'static), each: &mut dyn FnMut(&(dyn Error + 'static))) {
    let mut next = Some(error);
    while let Some(link) = next {
        each(link);
        if let Some(wrapped) = link.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            return visit(wrapped, each);
        }
        next = link.source();
    }
}

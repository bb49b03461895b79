//! Why an exchange failed, read from the types along the chain of its error, never from its words.

use std::error::Error;
use std::io;

use crate::engine::delivery::Failure;

use super::resolver::Refused;

/// The first type that says something decides; what says nothing is a connection that broke.
pub fn of(error: &reqwest::Error) -> Failure {
    let mut found = None;
    visit(error, &mut |link| {
        found = found.or_else(|| judge(link));
    });
    match found {
        Some(failure) => failure,
        None if error.is_timeout() => Failure::Timeout,
        None if error.is_dns() => Failure::Dns,
        // The client could not make a request of it.
        None if error.is_builder() => Failure::Protocol,
        None => Failure::Connect,
    }
}

fn judge(link: &(dyn Error + 'static)) -> Option<Failure> {
    if link.is::<Refused>() {
        return Some(Failure::AddressRefused);
    }
    if link.is::<rustls::Error>() {
        return Some(Failure::Tls);
    }
    let hyper = link.downcast_ref::<hyper::Error>()?;
    (hyper.is_parse() || hyper.is_user()).then_some(Failure::Protocol)
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

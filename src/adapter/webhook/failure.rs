//! Why an exchange failed, read from the types along the chain of its error, never from its words.

use std::error::Error;
use std::io;

use hickory_resolver::net::NetError;

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

/// Whether it is this machine that has no room for another connection.
pub fn is_ours(error: &io::Error) -> bool {
    /// `errno` of Linux and the BSDs: no more descriptors in the system, in the process; no memory. The last is 55 elsewhere than on Linux.
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOMEM: i32 = 12;
    const ENOBUFS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE | ENOMEM | ENOBUFS))
}

fn judge(link: &(dyn Error + 'static)) -> Option<Failure> {
    // The resolver's error does not name what it wraps as its source.
    let of_resolver = link.downcast_ref().and_then(|error| if let NetError::Io(error) = error { Some(&**error) } else { None });
    if link.downcast_ref().or(of_resolver).is_some_and(is_ours) {
        return Some(Failure::Unsent);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_descriptors_has_sent_nothing() {
        let check = |number, expect| {
            assert_eq!(of(&io::Error::from_raw_os_error(number)), expect, "{number}");
            assert_eq!(of(&io::Error::other(io::Error::from_raw_os_error(number))), expect, "{number}, wrapped");
            let of_resolver = NetError::from(io::Error::from_raw_os_error(number));
            assert_eq!(of(&of_resolver), expect, "{number}, while a name was looked up");
        };
        check(24, Failure::Unsent);
        check(23, Failure::Unsent);
        check(111, Failure::Connect);
        check(104, Failure::Connect);
    }
}

//! `Retry-After` (RFC 9110, section 10.2.3): seconds, or one of the three forms of an HTTP date. What it cannot read, or what
//! lies in the past, is as if it had not been sent: a hint never fails a delivery.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::fmt::{rfc2822, strtime};

use super::MAX_HINT;
use crate::engine::time::Timestamp;

/// Longest text that is looked at; the longest true form has 35 characters.
const MAX_LENGTH: usize = 64;

/// How long the receiver asks to wait, at most [`MAX_HINT`].
pub fn parse(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_LENGTH {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a long wait, not garbage.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)).min(MAX_HINT));
    }
    let at = Timestamp(http_date(text)?.as_millisecond());
    (at > now).then(|| at.since(now).min(MAX_HINT))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, or the two obsolete forms that RFC 9110 (section 5.6.7) still asks receivers to read.
fn http_date(text: &str) -> Option<jiff::Timestamp> {
    if let Ok(zoned) = rfc2822::parse(text) {
        return Some(zoned.timestamp());
    }
    ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"].iter().find_map(|format| {
        let date: DateTime = strtime::parse(format, text).ok()?.to_datetime().ok()?;
        Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_seconds_and_every_form_of_a_date_and_ignores_the_rest() {
        let now = Timestamp::parse("1994-11-06T08:49:07Z").unwrap();
        let check = |text: &str, expect: Option<u64>| assert_eq!(parse(text, now), expect.map(Duration::from_secs), "{text:?}");
        check("0", Some(0));
        check("7", Some(7));
        check(" 120 ", Some(120));
        check("007", Some(7));
        check("3600", Some(3600));
        check("3601", Some(3600));
        check("99999999999999999999999999", Some(3600));
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(30));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(30));
        check("Sun Nov  6 08:49:37 1994", Some(30));
        check("Sun, 06 Nov 1994 08:49:37 +0000", Some(30));
        check("Mon, 06 Nov 2034 08:49:37 GMT", Some(3600));
        // In the past: nothing to wait for beyond the backoff.
        check("Sun, 06 Nov 1994 08:49:07 GMT", None);
        check("Sun, 06 Nov 1994 08:00:00 GMT", None);
        check("Sunday, 06-Nov-70 08:49:37 GMT", None);
        for garbage in [
            "",
            " ",
            "-1",
            "+5",
            "1.5",
            "5s",
            "1e3",
            "soon",
            "0x10",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994",
            "1994-11-06T09:49:37Z",
            "٣",
            "Sun Nov 6",
            "\u{0}",
        ] {
            check(garbage, None);
        }
        check(&"9".repeat(65), None);
    }
}
